//! What the vendor's answers mean.

use std::time::Duration;

use serde_json::json;

use super::{
    super::super::codes::{Class, Code},
    command, vendor,
};
use crate::{
    domain::{Details, LookUp, ReplyCategory, VendorAnswer, Verdict},
    vendors::Vendor,
};

fn answer(status: u16, retry_after: Option<u64>, body: &str) -> VendorAnswer {
    VendorAnswer {
        status,
        retry_after: retry_after.map(Duration::from_secs),
        date: None,
        content_type: None,
        body: body.into(),
    }
}

/// A verdict in a word or two.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Succeeded(_) => "succeeded".into(),
        Verdict::Accepted(_) => "accepted".into(),
        Verdict::AlreadyDone(_) => "already".into(),
        Verdict::Duplicate(_) => "duplicate".into(),
        Verdict::Refused { category, .. } => format!("refused {category:?}"),
        Verdict::Throttled { retry_after, .. } => format!("throttled {retry_after:?}"),
        Verdict::Transient { effect, .. } => format!("transient {effect:?}"),
        Verdict::SessionExpired(_) => "session".into(),
        Verdict::ClockSkew(_) => "clock".into(),
        Verdict::NonceRepeated(_) => "nonce repeated".into(),
        Verdict::NonceFormat(_) => "nonce format".into(),
        Verdict::Blocked { status, .. } => format!("blocked {status}"),
        Verdict::Misconfigured(_) => "misconfigured".into(),
    }
}

#[test]
fn answers_are_judged_by_their_body_then_by_their_status() {
    let code =
        |code: &str| format!(r#"{{"code":{code},"message":"m","data":null,"requestId":"r"}}"#);
    for (kind, status, retry_after, body, expected) in [
        ("create-order", 200, None, code("0"), "succeeded"),
        ("create-order", 200, None, code("\"0\""), "succeeded"),
        ("create-order", 200, None, code("0.0"), "succeeded"),
        ("create-order", 200, None, code("\" 0.00 \""), "succeeded"),
        ("create-order", 200, None, code("0e0"), "succeeded"),
        ("create-order", 200, None, format!("\u{feff}{}", code("0")), "succeeded"),
        ("create-order", 200, None, code("50019.0"), "duplicate"),
        ("create-order", 200, None, code("5.0019E4"), "duplicate"),
        ("create-order", 200, None, code("\"50019.00\""), "duplicate"),
        ("create-order", 200, None, code("0.5"), "refused Refused"),
        ("create-order", 200, None, code("1e999999999"), "refused Refused"),
        ("create-order", 200, None, code("50019"), "duplicate"),
        ("create-order", 500, None, code("50019"), "duplicate"),
        ("create-order", 200, None, code("\"50026\""), "refused OutOfStock"),
        ("create-order", 200, None, code("50027"), "refused WrongState"),
        ("create-order", 200, None, code("40001"), "refused Duplicate"),
        ("create-order", 200, None, code("20023"), "refused Other"),
        ("create-order", 200, None, code("424242"), "refused Refused"),
        ("create-order", 400, None, code("424242"), "blocked 400"),
        ("create-order", 400, None, code("50019"), "duplicate"),
        ("create-order", 401, None, code("10002"), "session"),
        ("create-order", 403, None, code("403"), "blocked 403"),
        ("create-order", 403, None, code("\"FORBIDDEN\""), "blocked 403"),
        ("create-order", 403, None, code("0"), "blocked 403"),
        ("create-order", 502, None, code("502"), "transient Possible"),
        ("create-order", 502, None, code("424242"), "transient Possible"),
        ("create-order", 500, None, code("0"), "transient Possible"),
        ("create-order", 200, None, code("1"), "transient Possible"),
        ("create-order", 200, None, code("-1"), "transient Possible"),
        ("create-order", 200, None, code("50038"), "transient Possible"),
        ("create-order", 200, None, code("10002"), "session"),
        ("create-order", 200, None, code("10028"), "clock"),
        ("create-order", 200, None, code("10027"), "nonce repeated"),
        ("create-order", 200, None, code("10024"), "nonce format"),
        ("create-order", 200, None, code("10026"), "misconfigured"),
        ("create-asn", 200, None, code("40001"), "duplicate"),
        ("create-asn", 200, None, code("50019"), "refused Duplicate"),
        ("cancel-order", 200, None, code("0"), "succeeded"),
        ("cancel-order", 200, None, code("50027"), "already"),
        ("cancel-order", 200, None, code("20023"), "accepted"),
        ("cancel-order", 200, None, code("20022"), "refused Refused"),
        ("cancel-order", 200, None, code("50018"), "refused WrongState"),
        ("cancel-order", 200, None, code("50017"), "refused NotFound"),
        ("cancel-order", 200, None, code("50019"), "refused Duplicate"),
        ("cancel-asn", 200, None, code("40005"), "refused WrongState"),
        ("call", 200, None, code("20023"), "accepted"),
        ("call", 200, None, code("50019"), "refused Duplicate"),
        ("call", 200, None, code("1"), "transient Possible"),
        // Without the vendor's body.
        ("create-order", 429, Some(3), "<html>".into(), "throttled Some(3s)"),
        ("create-order", 429, None, String::new(), "throttled None"),
        ("create-order", 503, Some(3), String::new(), "throttled Some(3s)"),
        ("create-order", 503, None, String::new(), "transient Possible"),
        ("create-order", 500, Some(3), "{}".into(), "transient Possible"),
        ("create-order", 404, None, "<html>".into(), "blocked 404"),
        ("create-order", 302, None, String::new(), "blocked 302"),
        ("create-order", 200, None, "<html>".into(), "transient Possible"),
        ("create-order", 200, None, r#"{"code":"x"}"#.into(), "refused Refused"),
        ("create-order", 200, None, "{\"code\":0".into(), "transient Possible"),
    ] {
        let verdict =
            vendor().judge(&command(kind, json!({})), &answer(status, retry_after, &body));
        assert_eq!(word(&verdict), expected, "{kind} {status} {body}");
    }
    let idempotent = command("call", json!({"idempotent": true}));
    assert_eq!(word(&vendor().judge(&idempotent, &answer(500, None, ""))), "transient None");
}

/// Bodies that are not the vendor's: of a firewall, of frameworks, of gateways.
const STRANGERS: [&str; 7] = [
    "",
    "<html><body>Request blocked</body></html>",
    r#"{"timestamp":1,"status":400,"error":"Bad Request","path":"/api/order/create"}"#,
    r#"{"code":403,"message":"Forbidden"}"#,
    r#"{"code":"AccessDenied","message":"no"}"#,
    r#"{"error":{"code":1}}"#,
    "[]",
];

#[test]
fn a_status_without_the_vendors_answer_never_stops_the_account() {
    for status in 300..500 {
        for body in STRANGERS {
            for kind in ["create-order", "cancel-order", "create-asn", "cancel-asn", "call"] {
                let command = command(kind, json!({}));
                let answer = answer(status, None, body);
                let expected = |effect| match status {
                    408 | 425 => format!("transient {effect}"),
                    429 => "throttled None".to_owned(),
                    _ => format!("blocked {status}"),
                };
                let verdict = vendor().judge(&command, &answer);
                assert_eq!(word(&verdict), expected("Possible"), "{kind} {status} {body}");
                let LookUp::Failed(verdict) = vendor().judge_look_up(&command, &answer) else {
                    panic!("{kind} {status} {body}")
                };
                assert_eq!(word(&verdict), expected("None"), "{kind} {status} {body}");
            }
        }
    }
}

/// Every code, at the operation it can be about: the consequence is its class's.
#[test]
fn every_code_ends_as_its_class_says() {
    for code in Code::ALL {
        let number = code.number();
        let kind = match code {
            Code::InboundNumberExists => "create-asn",
            Code::OrderCancelled | Code::InterceptApplied => "cancel-order",
            _ => "create-order",
        };
        let body = format!(r#"{{"code":{number},"message":"m","data":null,"requestId":"r"}}"#);
        let verdict = vendor().judge(&command(kind, json!({})), &answer(200, None, &body));
        let expected = match code.class() {
            Class::Success => "succeeded".to_owned(),
            Class::Accepted => "accepted".to_owned(),
            Class::AlreadyCancelled => "already".to_owned(),
            Class::Duplicate => "duplicate".to_owned(),
            Class::NotFound | Class::Refused => format!("refused {:?}", code.category()),
            Class::InProgress | Class::Transient => "transient Possible".to_owned(),
            Class::SessionExpired => "session".to_owned(),
            Class::ClockSkew => "clock".to_owned(),
            Class::NonceRepeated => "nonce repeated".to_owned(),
            Class::NonceFormat => "nonce format".to_owned(),
            Class::Misconfigured => "misconfigured".to_owned(),
        };
        assert_eq!(word(&verdict), expected, "{number}");
    }
}

#[test]
fn an_inbound_that_is_refused_as_cancelled_is_cancelled() {
    for (message, expected) in [
        (
            "The current status (Cancelled) does not allow cancellation of the receipt order",
            "already",
        ),
        ("当前状态(已取消)不允许取消入库单", "already"),
        ("当前状态（已取消）不允许取消入库单", "already"),
        ("当前状态(已上架)不允许取消入库单", "refused WrongState"),
        ("当前状态(6)不允许取消入库单", "refused WrongState"),
        ("当前状态不允许取消入库单", "refused WrongState"),
        (
            "The current status (Finish) does not allow cancellation of the receipt order",
            "refused WrongState",
        ),
    ] {
        let body = json!({"code": 40005, "message": message}).to_string();
        let judged = |kind| vendor().judge(&command(kind, json!({})), &answer(200, None, &body));
        assert_eq!(word(&judged("cancel-asn")), expected, "{message}");
        assert_eq!(word(&judged("call")), "refused WrongState", "{message}");
    }
}

#[test]
fn details_are_the_vendors_own_words() {
    let refused = vendor().judge(
        &command("create-order", json!({})),
        &answer(200, None, include_str!("../../samples/order-get.answer.json")),
    );
    let expected = Details {
        vendor_code: Some("50017".into()),
        vendor_message: Some("The order was not found in the warehouse!".into()),
        vendor_request_id: Some("7bb5ddef9aed415a88163e5d39b41691".into()),
        field: Some("orderNumber"),
        ..Details::default()
    };
    assert_eq!(refused, Verdict::Refused { category: ReplyCategory::NotFound, details: expected });

    for (kind, data, reference) in [
        ("create-asn", r#"{"inboundNo":"IN5200096","x":1.10}"#, Some("IN5200096")),
        ("create-asn", r#""ok""#, None),
        ("create-order", r#""PNJ1412823""#, None),
    ] {
        let body = format!(r#"{{"code":0,"data": {data} }}"#);
        match vendor().judge(&command(kind, json!({})), &answer(200, None, &body)) {
            Verdict::Succeeded(details) => {
                assert_eq!(details.vendor_reference.as_deref(), reference);
                assert_eq!(details.result.as_deref(), Some(data));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_look_up_compares_what_comes_back() {
    let order = json!({"platformOrderNumber": "P1", "currency": "USD", "logistics": {"trackingNumber": "T1"}});
    let all = vec!["orderNumber", "platformOrderNumber", "logistics.trackingNumber"];
    for (kind, over, data, compared, differences, reference, cancelled) in [
        (
            "create-order",
            order.clone(),
            r#"{"erpNo":"N1","orderNo":"PNJ1","platformOrderNo":"P1","status":2,"trackingNo":"T1","currency":"USD"}"#,
            all.clone(),
            vec![],
            Some("PNJ1"),
            false,
        ),
        (
            "create-order",
            order.clone(),
            r#"{"erpNo":"N1","orderNo":"PNJ1","platformOrderNo":"P2","status":9,"trackingNo":"T1","currency":"EUR"}"#,
            all,
            vec!["platformOrderNumber: asked \"P1\", found \"P2\""],
            Some("PNJ1"),
            true,
        ),
        // The warehouse assigned a tracking number of its own; everything else is null.
        (
            "create-order",
            json!({}),
            r#"{"erpNo":"N1","orderNo":null,"platformOrderNo":null,"status":1,"trackingNo":"T9"}"#,
            vec!["orderNumber"],
            vec![],
            None,
            false,
        ),
        (
            "cancel-order",
            json!({}),
            r#"[{"erpNo":"N1","status":"9"}]"#,
            vec!["orderNumber"],
            vec![],
            None,
            true,
        ),
        (
            "create-asn",
            json!({"trackingNumbers": ["a", "b"]}),
            r#"{"inboundNo":"IN5","trackingNo":"a"}"#,
            vec!["trackingNumbers"],
            vec!["trackingNumbers: asked \"a,b\", found \"a\""],
            Some("IN5"),
            false,
        ),
        (
            "create-asn",
            json!({"lines": [{"sku": "S1", "quantity": 2}, {"sku": "S2", "quantity": 3}]}),
            r#"{"inboundNo":"IN5","skuList":[{"sku":"S2","count":"3"},{"sku":"S1","count":2.0}]}"#,
            vec!["lines"],
            vec![],
            Some("IN5"),
            false,
        ),
        (
            "create-asn",
            json!({"lines": [{"sku": "S1", "quantity": 2}]}),
            r#"{"inboundNo":"IN5","receiptType":"1","skuList":[{"sku":"S1","count":1},{"sku":"S3","count":1}]}"#,
            vec!["packing", "lines"],
            vec!["lines: asked S1 x 2, found S1 x 1, S3 x 1"],
            Some("IN5"),
            false,
        ),
        // Lines of another shape say nothing.
        (
            "create-asn",
            json!({"lines": [{"sku": "S1", "quantity": 2}]}),
            r#"{"inboundNo":"IN5","skuList":[{"sku":"S9","received":1}]}"#,
            vec![],
            vec![],
            Some("IN5"),
            false,
        ),
        (
            "create-asn",
            json!({}),
            r#"{"inboundNo":"IN5","status":9}"#,
            vec![],
            vec![],
            Some("IN5"),
            false,
        ),
        (
            "cancel-asn",
            json!({}),
            r#"{"inboundNo":"IN5","status":"已取消"}"#,
            vec![],
            vec![],
            Some("IN5"),
            true,
        ),
    ] {
        let body = format!(r#"{{"code":0,"data":{data}}}"#);
        match vendor().judge_look_up(&command(kind, over), &answer(200, None, &body)) {
            LookUp::Found { details, differences: d, compared: c, cancelled: x } => {
                assert_eq!(
                    (c, d, x),
                    (compared, differences.into_iter().map(String::from).collect(), cancelled),
                    "{data}"
                );
                assert_eq!(details.vendor_reference.as_deref(), reference, "{data}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_look_up_that_finds_nothing_proves_nothing() {
    let judged = |status, body: &str| {
        vendor().judge_look_up(&command("create-order", json!({})), &answer(status, None, body))
    };
    let absent = LookUp::NotFound { vendor_may_be_working: true };
    for body in [
        include_str!("../../samples/order-get.answer.json"),
        r#"{"code":"50071"}"#,
        r#"{"code":40004}"#,
        r#"{"code":0,"data":null}"#,
        r#"{"code":0,"data":[]}"#,
    ] {
        assert_eq!(judged(200, body), absent, "{body}");
    }
    assert!(matches!(judged(200, r#"{"code":0,"data":[{},{}]}"#), LookUp::Ambiguous(_)));
    assert!(matches!(judged(200, r#"{"code":0.0,"data":[{},{}]}"#), LookUp::Ambiguous(_)));
    for (status, body, expected) in [
        (500, "", "transient None"),
        (200, r#"{"code":50038}"#, "transient None"),
        (200, r#"{"code":0,"data":"x"}"#, "transient None"),
        (200, r#"{"code":10002}"#, "session"),
        (200, r#"{"code":10026}"#, "misconfigured"),
        (429, "", "throttled None"),
    ] {
        match judged(status, body) {
            LookUp::Failed(verdict) => assert_eq!(word(&verdict), expected, "{body}"),
            other => panic!("{other:?}"),
        }
    }
}
