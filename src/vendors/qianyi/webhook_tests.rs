//! Pushes from the bytes that arrive to the Avro that is written.

use apache_avro::{
    Schema,
    reader::datum::GenericDatumReader,
    types::Value::{self, Array, Boolean, Long, Map, Null, Record, TimestampMillis, Union},
    writer::datum::GenericDatumWriter,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::{Qianyi, Settings, SignedRequest};
use crate::{
    domain::{
        AccountName, Answer, Datum, Event, Received, Refusal, Secret, SignatureHint, Unrecognized,
        Unverified, Verified, Webhook,
    },
    vendors::Vendor,
};

const SECRET: &str = "openApi_TOKEN";
const SENT_AT: &str = "1754272685482";
const RECEIVED_AT: i64 = 1_754_272_686_000;

fn decode(webhook: &Webhook<Verified>) -> Result<Event, Unrecognized> {
    let qianyi = qianyi();
    qianyi.decode(webhook, &|_| Some(qianyi.account().clone()))
}

fn qianyi() -> Qianyi {
    let settings = Settings {
        app_id: "TEST".to_owned(),
        app_secret: Secret::new(SECRET),
        app_secret_previous: Some(Secret::new("older")),
    };
    Qianyi::new(AccountName::new("qy").unwrap(), settings).unwrap()
}

fn sign(service_type: &str, biz_param: &str, timestamp: &str, secret: &str) -> String {
    SignedRequest { app_id: "TEST", biz_param, service_type, timestamp }.sign(&Secret::new(secret))
}

fn received(body: Vec<u8>, form: Option<Vec<(String, String)>>) -> Webhook<Unverified> {
    Webhook::new(Received {
        account: AccountName::new("qy").unwrap(),
        body: Bytes::from(body),
        headers: Vec::new(),
        query: Vec::new(),
        form,
        received_at: jiff::Timestamp::from_millisecond(RECEIVED_AT).unwrap(),
    })
}

fn form(fields: &[(&str, &str)]) -> Webhook<Unverified> {
    let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    received(Vec::new(), Some(fields))
}

/// A push as a form, signed.
fn push(service_type: &str, biz_param: &str) -> Webhook<Unverified> {
    form(&[
        ("sign", &sign(service_type, biz_param, SENT_AT, SECRET)),
        ("appId", "TEST"),
        ("bizParam", biz_param),
        ("serviceType", service_type),
        ("timestamp", SENT_AT),
    ])
}

fn verified(webhook: Webhook<Unverified>) -> Webhook<Verified> {
    qianyi().verify(webhook, SignatureHint::ANY).unwrap()
}

/// Writes an event against its schema and reads it back.
fn written(event: &Event) -> Vec<(String, Value)> {
    let path = format!("{}/schemas/{}.avsc", env!("CARGO_MANIFEST_DIR"), event.event_type.record);
    let schema = Schema::parse_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(
        matches!(&schema, Schema::Record(r) if r.name.fullname(None) == event.event_type.record)
    );
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let bytes = writer.write_ser_to_vec(&event.record).unwrap();
    let mut datum = Datum::default();
    event.record.write(&mut datum);
    assert_eq!(datum.into_bytes(), bytes, "the record writes itself as the schema says");
    let mut rest = bytes.as_slice();
    let value =
        GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    match value {
        Record(fields) => fields,
        other => panic!("{other:?}"),
    }
}

/// A record's value as plain JSON, to compare with what is expected.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Null => json!(null),
        Boolean(b) => json!(b),
        Long(n) | TimestampMillis(n) | Value::LocalTimestampMillis(n) => json!(n),
        Value::String(s) => json!(s),
        Union(_, inner) => plain(inner),
        Array(items) => items.iter().map(plain).collect(),
        Map(entries) => {
            let sorted: std::collections::BTreeMap<_, _> = entries.iter().collect();
            sorted.into_iter().map(|(n, v)| (n.clone(), plain(v))).collect()
        }
        Record(fields) => fields.iter().map(|(n, v)| (n.clone(), plain(v))).collect(),
        other => panic!("{other:?}"),
    }
}

/// One push from its text to its record: topic, key and the fields that are not null or empty.
fn check(service_type: &str, biz_param: &str, topic: &str, key: &str, expected: serde_json::Value) {
    let webhook = verified(push(service_type, biz_param));
    let event = decode(&webhook).unwrap();
    assert_eq!(event.event_type.topic, topic);
    assert_eq!(event.document_number.as_deref(), Some(key));
    let record = plain(&Record(written(&event)));
    let mut all = json!({
        "eventId": event.id.as_str(),
        "account": "qy",
        "sentAt": SENT_AT.parse::<i64>().unwrap(),
        "receivedAt": RECEIVED_AT,
    });
    for (name, value) in expected.as_object().unwrap() {
        all.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    assert_eq!(spare(&record), spare(&all), "{service_type}");
}

/// Without nulls, empty maps and empty arrays, names sorted.
fn spare(value: &serde_json::Value) -> serde_json::Value {
    let empty = |v: &serde_json::Value| {
        matches!(v, serde_json::Value::Null) || *v == json!({}) || *v == json!([])
    };
    match value {
        serde_json::Value::Object(members) => {
            let mut kept: Vec<_> = members
                .iter()
                .filter(|(_, v)| !empty(v))
                .map(|(n, v)| (n.clone(), spare(v)))
                .collect();
            kept.sort_by(|a, b| a.0.cmp(&b.0));
            serde_json::Value::Object(kept.into_iter().collect())
        }
        serde_json::Value::Array(items) => items.iter().map(spare).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_push_of_the_documents_becomes_its_record() {
    check(
        "PUSH_ASN_ORDER",
        include_str!("samples/push-asn-order.json"),
        "asn",
        "A250731147584",
        json!({"asnNumber": "A250731147584", "customNumber": "1000832922",
            "finishedTime": 1_753_942_939_000_i64, "status": "FINISHED", "trackNumber": "4700041511",
            "skuList": [{"sku": "PPB24700027", "quantity": 9, "goodNum": 9, "damageNum": 0}]}),
    );
    // One SKU on several lines stays on several lines.
    check(
        "PUSH_ASN_ORDER",
        include_str!("samples/push-asn-order-receiving.json"),
        "asn",
        "A250619145545",
        json!({"asnNumber": "A250619145545", "customNumber": "2025061900007",
            "status": "RECEIVING", "trackNumber": "CGDD0000787",
            "skuList": [{"sku": "LIP005", "quantity": 1}, {"sku": "LIP005", "quantity": 1}]}),
    );
    check(
        "PUSH_SALES_ORDER_SHIPPING_INFO",
        include_str!("samples/push-sales-order-shipping-info.json"),
        "sales-order-shipping",
        "S250731147586",
        json!({"orderNumber": "S250731147586", "onlineOrderNumber": "2507311347270601016525823",
            "carrier": "SHIPDOC", "trackingNumber": "223243444", "status": "WAIT_SHIP",
            "shippingTime": 1_754_014_435_000_i64}),
    );
    check(
        "PUSH_RETURN_ORDER_INFO",
        include_str!("samples/push-return-order-info.json"),
        "return-order",
        "B250801537077",
        json!({"returnNumber": "B250801537077", "orderNumber": "THTZD000859",
            "onlineOrderNumber": "THTZD000859", "status": "WAIT_STORAGE",
            "returnSkuList": [{"sku": "JCDF692024YH002", "orderSkuId": "45", "quantity": 1}]}),
    );
    check(
        "PUSH_TRACKING_PACKAGE",
        include_str!("samples/push-tracking-package.json"),
        "tracking-package",
        "S2508053858595",
        json!({"orderNumber": "S2508053858595", "onlineOrderId": "579877366324626911",
            "trackingNumber": "762388742732", "carrier": "J&T Express", "status": "CREATED"}),
    );
    check(
        "PUSH_ODO_ORDER",
        include_str!("samples/push-odo-order.json"),
        "odo",
        "O250731000001",
        json!({"number": "O250731000001", "customNumber": "OUT-1", "trackNumber": "T-1",
            "warehouseName": "best warehouse（测试用）", "type": "MANUAL", "status": "FINISHED",
            "shippingTimeLocal": 1_753_971_739_000_i64, "carrier": "SF",
            "skuList": [{"sku": "LIP005", "quantity": 2}]}),
    );
}

#[test]
fn loose_types_decode_and_nothing_is_lost() {
    check(
        "PUSH_ASN_ORDER",
        r#"{"customNumber":7,"status":"A","status":"B","finishedTime":"2025-08-01 10:13:55 123",
            "price":1.10,"big":12345678901234567890123,"snInfo":{"a": [1]},
            "skuList":[{"sku":5,"quantity":"3","goodNum":"2.0","damageNum":"","x":null,"x":{"y":1.0}}]}"#,
        "asn",
        "7",
        json!({"customNumber": "7", "status": "B", "finishedTimeLocal": 1_754_043_235_123_i64,
            "snInfo": "{\"a\": [1]}",
            "extra": {"status": "\"A\"", "price": "1.10", "big": "12345678901234567890123"},
            "skuList": [{"sku": "5", "quantity": 3, "goodNum": 2,
                "extra": {"goodNum": "\"2.0\"", "damageNum": "\"\"", "x": "[null,{\"y\":1.0}]"}}]}),
    );
    check(
        "PUSH_SALES_ORDER_SHIPPING_INFO",
        r#"{"onlineOrderNumber":"N","shippingTime":"next week"}"#,
        "sales-order-shipping",
        "N",
        json!({"onlineOrderNumber": "N", "extra": {"shippingTime": "\"next week\""}}),
    );
    check(
        "PUSH_SALES_ORDER_SHIPPING_INFO",
        r#"{"onlineOrderNumber":"N","shippingTime":"2025-08-01 10:13:55+08:00"}"#,
        "sales-order-shipping",
        "N",
        json!({"onlineOrderNumber": "N", "shippingTime": 1_754_014_435_000_i64,
            "extra": {"shippingTime": "\"2025-08-01 10:13:55+08:00\""}}),
    );
}

#[test]
fn what_does_not_decode_says_why() {
    let undecodable = |text: &str| Unrecognized::Undecodable(text.to_owned());
    for (service_type, biz_param, reason) in [
        ("SUBSCRIBE_ORDER", r#"{"orderType":"ASN"}"#, Unrecognized::UnknownType),
        ("PUSH_ASN_ORDER", "[]", undecodable("bizParam: not a JSON object")),
        (
            "PUSH_ASN_ORDER",
            r#"{"asnNumber":""}"#,
            undecodable("none of asnNumber, customNumber is given"),
        ),
        (
            "PUSH_ASN_ORDER",
            r#"{"asnNumber":{"a":1},"skuList":[{"sku":"x"}]}"#,
            undecodable("none of asnNumber, customNumber is given"),
        ),
        (
            "PUSH_ASN_ORDER",
            r#"{"asnNumber":"A","skuList":[{"sku":"x"},5]}"#,
            undecodable("skuList[1]: not a JSON object"),
        ),
        (
            "PUSH_ODO_ORDER",
            r#"{"number":"A","skuList":{}}"#,
            undecodable("skuList: an array of objects is expected"),
        ),
    ] {
        let webhook = verified(push(service_type, biz_param));
        assert_eq!(decode(&webhook).unwrap_err(), reason, "{service_type} {biz_param}");
    }
}

#[test]
fn a_json_frame_is_read_like_a_form_and_keeps_its_other_members() {
    let biz_param = "{\"asnNumber\":\"A（1）\",\r\n \"mark\":1}";
    for timestamp in [json!(SENT_AT), json!(SENT_AT.parse::<i64>().unwrap())] {
        let frame = json!({"appId": "TEST", "bizParam": biz_param, "serviceType": "PUSH_ASN_ORDER",
            "timestamp": timestamp, "sign": sign("PUSH_ASN_ORDER", biz_param, SENT_AT, SECRET),
            "mark": 2, "trace": {"id": 1}});
        let from_json = verified(received(frame.to_string().into_bytes(), None));
        let from_form = verified(push("PUSH_ASN_ORDER", biz_param));
        assert_eq!(from_json.state().event_id, from_form.state().event_id);
        assert_eq!(from_json.state().signed_digest, from_form.state().signed_digest);
        assert_eq!(from_json.state().form, "documented");
        let event = decode(&from_json).unwrap();
        let record = spare(&plain(&Record(written(&event))));
        assert_eq!(
            record.get("extra"),
            Some(&json!({"$.mark": "2", "mark": "1", "trace": "{\"id\":1}"}))
        );
    }
}

/// The type is under the signature, so a push of another type with the same content is genuine.
#[test]
fn the_digest_of_what_is_signed_covers_the_type() {
    let digest = |service_type: &str, biz_param: &str| {
        verified(push(service_type, biz_param)).state().signed_digest
    };
    let first = digest("PUSH_TRACKING_PACKAGE", r#"{"orderNumber":"S"}"#);
    assert_eq!(first, digest("PUSH_TRACKING_PACKAGE", r#"{"orderNumber":"S"}"#));
    assert_ne!(first, digest("PUSH_SALES_ORDER_SHIPPING_INFO", r#"{"orderNumber":"S"}"#));
    assert_ne!(first, digest("PUSH_TRACKING_PACKAGE", r#"{"orderNumber":"T"}"#));
}

#[test]
fn a_frame_that_is_not_this_accounts_is_refused() {
    let biz_param = r#"{"asnNumber":"A"}"#;
    let good = sign("PUSH_ASN_ORDER", biz_param, "1", SECRET);
    let fields = |changes: &[(&'static str, &str)]| {
        let mut fields = vec![
            ("appId", "TEST".to_owned()),
            ("bizParam", biz_param.to_owned()),
            ("serviceType", "PUSH_ASN_ORDER".to_owned()),
            ("timestamp", "1".to_owned()),
            ("sign", good.clone()),
        ];
        for (name, value) in changes {
            fields.retain(|(n, _)| n != name);
            if *value != "-" {
                fields.push((name, (*value).to_owned()));
            }
        }
        form(&fields.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>())
    };
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let older = sign("PUSH_ASN_ORDER", biz_param, "1", "older");
    for (changes, refusal) in [
        (vec![], None),
        (vec![("sign", good.to_uppercase())], None),
        (vec![("sign", older)], None),
        (vec![("sign", "-".to_owned())], Some(Refusal::NoSignature)),
        (vec![("sign", String::new())], Some(Refusal::NoSignature)),
        (vec![("sign", "0".repeat(32))], Some(Refusal::WrongSignature)),
        (vec![("timestamp", "2".to_owned())], Some(Refusal::WrongSignature)),
        (vec![("serviceType", "PUSH_ODO_ORDER".to_owned())], Some(Refusal::WrongSignature)),
        (vec![("timestamp", "1x".to_owned())], Some(Refusal::NotAFrame("timestamp"))),
        (vec![("timestamp", "-".to_owned())], Some(Refusal::NotAFrame("timestamp"))),
        (vec![("serviceType", "-".to_owned())], Some(Refusal::NotAFrame("serviceType"))),
        (vec![("appId", "OTHER".to_owned())], Some(Refusal::AnotherApplication)),
        (vec![("appId", "-".to_owned())], Some(Refusal::AnotherApplication)),
        (vec![("bizParam", "-".to_owned())], Some(Refusal::NoData)),
        (vec![("bizParam", "{".to_owned())], Some(Refusal::NotAFrame("bizParam"))),
        (vec![("bizParam", deep)], Some(Refusal::TooDeep)),
    ] {
        let borrowed: Vec<_> = changes.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let result = qianyi().verify(fields(&borrowed), SignatureHint::ANY);
        assert_eq!(result.err(), refusal, "{changes:?}");
    }
    let twice = format!(
        r#"{{"appId":"TEST","bizParam":"{{}}","bizParam":"{{}}","sign":"{good}","timestamp":1}}"#
    );
    for (body, refusal) in [
        (twice.as_bytes(), Refusal::TwoData),
        (b"{}".as_slice(), Refusal::NoData),
        (b"", Refusal::Empty),
        (b"[]", Refusal::NotAnObject),
        (b"\xff{}", Refusal::NotUtf8),
    ] {
        let result = qianyi().verify(received(body.to_vec(), None), SignatureHint::ANY);
        assert_eq!(result.err(), Some(refusal));
    }
}

#[test]
fn an_answer_is_in_the_vendors_shape() {
    for (answer, state, code) in [
        (Answer::Accepted, "success", "0"),
        (Answer::UnknownAccount, "failure", "APP_NOT_EXIST"),
        (Answer::NoSignature, "failure", "SIGNATURE_CANNOT_BE_BLANK"),
        (Answer::WrongSignature, "failure", "SIGNATURE_ERROR"),
        (Answer::SourceNotAllowed, "failure", "SYSTEM_ERROR"),
        (Answer::Malformed, "failure", "SYSTEM_ERROR"),
        (Answer::TooLarge, "failure", "SYSTEM_ERROR"),
        (Answer::Unavailable, "failure", "SYSTEM_ERROR"),
    ] {
        let body: serde_json::Value = serde_json::from_str(&qianyi().answer(answer)).unwrap();
        assert_eq!((&body["state"], &body["errorCode"]), (&json!(state), &json!(code)));
        assert_eq!(body["bizContent"], "");
    }
    assert_eq!(
        qianyi().answer(Answer::Accepted),
        r#"{"state":"success","errorCode":"0","errorMsg":"","bizContent":""}"#
    );
}

proptest! {
    /// Whatever arrives is refused or read, never a panic; unsigned content is never believed.
    #[test]
    fn unsigned_bytes_are_never_believed(body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(qianyi().verify(received(body, None), SignatureHint::ANY).is_err());
    }

    /// Every unknown member of a push is found again, with its exact text.
    #[test]
    fn unknown_members_survive(
        values in prop::collection::btree_map("x[a-z0-9]{0,8}", "-?[1-9][0-9]{0,30}(\\.[0-9]{1,9})?", 0..8),
    ) {
        let mut biz_param = String::from("{\"asnNumber\":\"A\"");
        for (name, value) in &values {
            biz_param.push_str(&format!(",\"{name}\":{value}"));
        }
        biz_param.push('}');
        let event = decode(&verified(push("PUSH_ASN_ORDER", &biz_param))).unwrap();
        let record = plain(&Record(written(&event)));
        let expected: serde_json::Value =
            values.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<serde_json::Map<_, _>>().into();
        prop_assert_eq!(&record["extra"], &expected);
    }
}
