//! The vendor's answers to operations and look-ups, and what they mean.

use serde_json::{Value, json};

use super::{
    Class, Code,
    api_tests::{
        attempt, call, cancel_asn, cancel_order, create_asn, create_order, planned, qianyi, with,
    },
};
use crate::{
    domain::{Command, Effect, LookUp, ReplyCategory, VendorAnswer, Verdict},
    vendors::Vendor,
};

fn answer(status: u16, body: &str) -> VendorAnswer {
    VendorAnswer {
        status,
        retry_after: None,
        date: None,
        content_type: None,
        body: body.as_bytes().to_vec(),
    }
}

/// An inner envelope inside an outer success.
fn inside(inner: &str) -> VendorAnswer {
    answer(
        200,
        &json!({"state": "success", "errorCode": "", "bizContent": inner, "requestId": "r"})
            .to_string(),
    )
}

fn failing(code: &str) -> VendorAnswer {
    inside(
        &json!({"errorCode": code, "errorMsg": "m", "notSuccess": true, "state": "failure"})
            .to_string(),
    )
}

/// A verdict in one word, with its category.
fn word(verdict: &Verdict) -> (&'static str, Option<ReplyCategory>) {
    match verdict {
        Verdict::Succeeded(_) => ("succeeded", None),
        Verdict::Duplicate(_) => ("duplicate", None),
        Verdict::Refused { category, .. } => ("refused", Some(*category)),
        Verdict::Throttled { .. } => ("throttled", None),
        Verdict::Transient { effect: Effect::Possible, .. } => ("uncertain", None),
        Verdict::Transient { effect: Effect::None, .. } => ("transient", None),
        Verdict::Blocked { .. } => ("blocked", None),
        Verdict::Misconfigured(_) => ("misconfigured", None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_are_judged_by_both_envelopes_and_the_status() {
    let (order, asn) = (create_order(&[]), create_asn(&[]));
    let query = call("shop", Some("QUERY_SHOP_LIST"), "{}");
    let refused = |category| ("refused", Some(category));
    for (command, answer, verdict) in [
        (
            &order,
            inside(r#"{"notSuccess":false,"result":{"orderNumber":"S1"},"state":"success"}"#),
            ("succeeded", None),
        ),
        (&order, failing("order.id.exist"), ("duplicate", None)),
        (&order, failing("sku.inventory.short.need.increase"), refused(ReplyCategory::OutOfStock)),
        (&order, failing("SKU_NOT_EXISTS_WITH_ARGS"), refused(ReplyCategory::NotFound)),
        (&order, failing("some.new.code"), refused(ReplyCategory::Refused)),
        (&order, inside(r#"{"errorMsg":"x","notSuccess":true}"#), refused(ReplyCategory::Refused)),
        (&order, failing("SYSTEM_ERROR"), ("uncertain", None)),
        (
            &order,
            answer(200, r#"{"state":"failure","errorCode":"SIGNATURE_ERROR"}"#),
            ("misconfigured", None),
        ),
        (&order, answer(200, r#"{"state":"success","bizContent":null}"#), ("uncertain", None)),
        (&order, answer(200, "<html>"), ("uncertain", None)),
        (&order, answer(502, "<html>"), ("uncertain", None)),
        (&order, answer(500, r#"{"state":"failure","errorCode":"new"}"#), ("uncertain", None)),
        (
            &order,
            answer(500, r#"{"state":"failure","errorCode":"APP_NOT_EXIST"}"#),
            ("misconfigured", None),
        ),
        (&order, answer(503, ""), ("uncertain", None)),
        (
            &order,
            VendorAnswer {
                retry_after: Some(std::time::Duration::from_secs(1)),
                ..answer(503, "")
            },
            ("throttled", None),
        ),
        (&order, answer(429, ""), ("throttled", None)),
        (&order, answer(403, ""), ("blocked", None)),
        (&order, answer(302, ""), ("blocked", None)),
        (
            &asn,
            inside(r#"{"notSuccess":false,"result":{"asnNumber":"A1"},"state":"success"}"#),
            ("succeeded", None),
        ),
        (&asn, inside(r#"{"notSuccess":false,"state":"success"}"#), ("uncertain", None)),
        (&asn, failing("custom.number.exist"), ("duplicate", None)),
        (&asn, failing("DATA_INPUT_ERROR"), ("duplicate", None)),
        (&asn, inside(r#"{"notSuccess":true}"#), ("duplicate", None)),
        (&asn, failing("SKU_NOT_EXISTS_WITH_ARGS"), refused(ReplyCategory::NotFound)),
        (
            &cancel_order(),
            inside(r#"{"errorMsg":null,"notSuccess":false,"state":"success"}"#),
            ("succeeded", None),
        ),
        (
            &cancel_order(),
            failing("order.status.cannot.operate"),
            refused(ReplyCategory::WrongState),
        ),
        (
            &cancel_order(),
            failing("SHOP_NOT_AUTHORIZED_OR_NOT_EXIST"),
            refused(ReplyCategory::NotFound),
        ),
        (&query, failing("SERVICE_TYPE_NOT_ALLOW"), refused(ReplyCategory::Configuration)),
        (&order, failing("SERVICE_TYPE_NOT_ALLOW"), ("misconfigured", None)),
        (&query, answer(404, ""), ("blocked", None)),
        (&query, inside("{\"a\":1}"), ("succeeded", None)),
    ] {
        let judged = qianyi().judge(command, &answer);
        assert_eq!(word(&judged), verdict, "{judged:?}");
    }
}

#[test]
fn a_status_without_the_vendors_answer_never_stops_the_account() {
    let query = call("shop", Some("QUERY_SHOP_LIST"), "{}");
    for status in 300..500 {
        for body in [
            "",
            "<html><body>Request blocked</body></html>",
            r#"{"timestamp":1,"status":400,"error":"Bad Request","path":"/api/v1/order"}"#,
            r#"{"code":403,"message":"Forbidden"}"#,
            r#"{"errorCode":"AccessDenied"}"#,
            r#"{"state":"success","bizContent":"{\"state\":\"success\"}"}"#,
            "[]",
        ] {
            for command in [&create_order(&[]), &create_asn(&[]), &cancel_order(), &query] {
                let answer = answer(status, body);
                let expected = |transient| match status {
                    408 | 425 => transient,
                    429 => "throttled",
                    _ => "blocked",
                };
                let verdict = qianyi().judge(command, &answer);
                assert_eq!(word(&verdict).0, expected("uncertain"), "{status} {body}");
                match (qianyi().judge_look_up(command, &answer), command) {
                    (LookUp::Failed(verdict), _) => {
                        assert_eq!(word(&verdict).0, expected("transient"), "{status} {body}");
                    }
                    (LookUp::NotFound { .. }, Command::Call(_)) => {}
                    (other, _) => panic!("{status} {body} {other:?}"),
                }
            }
        }
    }
}

#[test]
fn every_code_ends_an_order_as_its_class_says() {
    for code in Code::ALL {
        let verdict = qianyi().judge(&create_order(&[]), &failing(code.text()));
        let (word, category) = word(&verdict);
        let expected = match code.class() {
            Class::AlreadyExists => ("duplicate", None),
            Class::Refused => ("refused", Some(code.category())),
            Class::Transient => ("uncertain", None),
            Class::Configuration => ("misconfigured", None),
        };
        assert_eq!((word, category), expected, "{code:?}");
    }
}

#[test]
fn references_and_results_keep_their_text() {
    let reference = |command: &Command, inner: &str| match qianyi().judge(command, &inside(inner)) {
        Verdict::Succeeded(d) => (d.vendor_reference, d.result, d.vendor_request_id),
        other => panic!("{other:?}"),
    };
    let text = |t: &str| Some(t.to_owned());
    let query = call("shop", Some("QUERY_SHOP_LIST"), "{}");
    for (command, inner, number, result) in [
        (
            &create_order(&[]),
            r#"{"result":{"orderNumber":"S1","x":1.10},"state":"success"}"#,
            text("S1"),
            text(r#"{"orderNumber":"S1","x":1.10}"#),
        ),
        (
            &create_asn(&[]),
            r#"{"result":{"asnNumber":"A1"},"state":"success"}"#,
            text("A1"),
            text(r#"{"asnNumber":"A1"}"#),
        ),
        (&cancel_asn(Some("A1")), r#"{"state":"success"}"#, text("A1"), None),
        (&query, r#"{"result":[1.10, 2],"state":"success"}"#, None, text("[1.10, 2]")),
        (&query, r#"{"orderId":1.10}"#, None, text(r#"{"orderId":1.10}"#)),
    ] {
        assert_eq!(reference(command, inner), (number, result, text("r")));
    }
}

#[test]
fn a_document_is_looked_up_by_the_number_that_was_sent() {
    let renamed = create_order(&[("/vendorFields", json!({"onlineOrderNumber": "X"}))]);
    for (command, service_type, body) in [
        (
            create_order(&[]),
            "QUERY_SALES_ORDER_LIST",
            r#"{"onlineOrderNumber":"N-1","shop":"my shop","page":1,"pageSize":200}"#,
        ),
        (
            renamed,
            "QUERY_SALES_ORDER_LIST",
            r#"{"onlineOrderNumber":"X","shop":"my shop","page":1,"pageSize":200}"#,
        ),
        (
            cancel_order(),
            "QUERY_SALES_ORDER_LIST",
            r#"{"onlineOrderNumber":"N-1","shop":"my shop","page":1,"pageSize":200}"#,
        ),
        (create_asn(&[]), "QUERY_ASN_LIST", r#"{"number":"IN-1","page":1,"pageSize":200}"#),
        (cancel_asn(None), "QUERY_ASN_LIST", r#"{"number":"IN-1","page":1,"pageSize":200}"#),
        (cancel_asn(Some("A1")), "QUERY_ASN_LIST", r#"{"number":"A1","page":1,"pageSize":200}"#),
    ] {
        let (_, operation, sent) = planned(&qianyi().look_up(&command, &attempt()).unwrap());
        assert_eq!((operation.as_str(), sent.as_str()), (service_type, body));
    }
    assert!(qianyi().look_up(&call("shop", Some("X"), "{}"), &attempt()).is_none());
}

#[test]
fn what_a_look_up_finds_is_compared() {
    let row = json!({"orderNumber": "S1", "onlineOrderNumber": "N-1", "shop": "my shop",
        "status": "WAIT_AUDIT", "currency": "USD", "paymentMethod": "OPEN_ACCOUNT",
        "buyer": {"receiverName": "a", "country": "GB", "postCode": "***"},
        "skuList": [{"sku": "S1", "quantity": 2, "payAmount": "12345678901234.5678"}]});
    let in_asn = json!({"asnNumber": "A1", "customNumber": "IN-1", "warehouseName": "W（测试用）",
        "status": "NEW", "asnSkuVOList": [{"sku": "S1", "expectQuantity": 3, "purchasePrice": 1.1000},
            {"sku": "S2", "expectQuantity": "1"}]});
    let list = |rows: Vec<Value>| {
        inside(&json!({"state": "success", "total": rows.len(), "result": rows}).to_string())
    };
    let found = |command: &Command, rows: Vec<Value>| match qianyi()
        .judge_look_up(command, &list(rows))
    {
        LookUp::Found { details, differences, cancelled, .. } => {
            format!(
                "{} {cancelled} {}",
                details.vendor_reference.unwrap_or_default(),
                differences.join("; ")
            )
        }
        LookUp::NotFound { vendor_may_be_working } => format!("not found {vendor_may_be_working}"),
        LookUp::Ambiguous(_) => "ambiguous".to_owned(),
        LookUp::Failed(verdict) => format!("failed {:?}", word(&verdict)),
    };
    let changed = |changes: &[(&str, Value)]| vec![with(row.clone(), changes)];
    let asn_with = |changes: &[(&str, Value)]| vec![with(in_asn.clone(), changes)];
    let order = create_order(&[]);
    for (command, rows, expected) in [
        (&order, changed(&[]), "S1 false "),
        (&order, vec![], "not found false"),
        (&order, changed(&[("/onlineOrderNumber", json!("N-10"))]), "not found false"),
        (&order, changed(&[("/shop", json!("other"))]), "not found false"),
        (&order, vec![row.clone(), row.clone()], "ambiguous"),
        (
            &order,
            changed(&[("/currency", json!("EUR"))]),
            "S1 false currency: asked \"USD\", found \"EUR\"",
        ),
        (
            &order,
            changed(&[("/buyer/receiverName", json!("B"))]),
            "S1 false recipient.name: found another than was asked",
        ),
        (
            &order,
            changed(&[("/skuList/0/quantity", json!(3))]),
            "S1 false lines[0].quantity: asked 2, found 3",
        ),
        (
            &order,
            changed(&[("/skuList/0/payAmount", json!(1.5))]),
            "S1 false lines[0].paidAmount: asked 12345678901234.5678, found 1.5",
        ),
        (
            &order,
            changed(&[("/skuList/0/sku", json!("S9"))]),
            "S1 false lines[0].sku: asked \"S1\", found nothing; lines: found \"S9\", which was not asked for",
        ),
        (&cancel_order(), changed(&[("/status", json!("CLOSED"))]), "S1 true "),
        (&create_asn(&[]), asn_with(&[]), "A1 false "),
        (
            &create_asn(&[]),
            asn_with(&[("/customNumber", json!("x")), ("/asnNumber", json!("IN-1"))]),
            "not found false",
        ),
        (
            &create_asn(&[]),
            asn_with(&[("/warehouseName", json!("V"))]),
            "A1 false warehouse: asked \"W（测试用）\", found \"V\"",
        ),
        (
            &create_asn(&[]),
            asn_with(&[("/asnSkuVOList/1/expectQuantity", json!(2))]),
            "A1 false lines[1].quantity: asked 1, found 2",
        ),
        (&cancel_asn(None), asn_with(&[("/status", json!("DELETED"))]), "A1 true "),
        (&cancel_asn(Some("A1")), asn_with(&[("/status", json!("CLOSED"))]), "A1 true "),
        (
            &cancel_asn(None),
            asn_with(&[
                ("/status", json!("CLOSED")),
                ("/asnSkuVOList/0/receiveQuantity", json!(1)),
            ]),
            "A1 false ",
        ),
    ] {
        assert_eq!(found(command, rows), expected);
    }
    let LookUp::Found { compared, .. } = qianyi().judge_look_up(&order, &list(vec![row])) else {
        panic!("not found")
    };
    assert_eq!(compared, ["shop", "currency", "recipient.name", "recipient.country", "lines"]);
}

#[test]
fn a_look_up_that_fails_has_no_effect() {
    for (answer, expected) in [
        (answer(502, ""), ("transient", None)),
        (failing("SYSTEM_ERROR"), ("transient", None)),
        (failing("new.code"), ("refused", Some(ReplyCategory::Refused))),
        (inside(r#"{"state":"success","result":{}}"#), ("transient", None)),
        (inside("[]"), ("transient", None)),
        (answer(429, ""), ("throttled", None)),
    ] {
        match qianyi().judge_look_up(&create_asn(&[]), &answer) {
            LookUp::Failed(verdict) => assert_eq!(word(&verdict), expected),
            other => panic!("{other:?}"),
        }
    }
    // Twenty hits said, one shown: whether there is just one cannot be known.
    let partial = inside(r#"{"state":"success","total":20,"result":[{"customNumber":"IN-1"}]}"#);
    let judged = qianyi().judge_look_up(&create_asn(&[]), &partial);
    assert!(matches!(judged, LookUp::Ambiguous(_)), "{judged:?}");
}
