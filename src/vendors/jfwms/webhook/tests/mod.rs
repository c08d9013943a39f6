//! The guide's samples, and what a webhook may look like besides.

mod verify;

use std::collections::BTreeMap;

use apache_avro::{
    Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use proptest::prelude::*;

use super::super::{Jfwms, Settings, json::Members, sign::WebhookForm};
use crate::{
    domain::{
        AccountName, Datum, Event, Received, Secret, SignatureHint, Unrecognized, Unverified,
        Verified, Webhook,
    },
    vendors::OwnerOf,
    vendors::Vendor,
};

const SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";
const RECEIVED: i64 = 1_750_840_206_000;

fn vendor(more: &str) -> Jfwms {
    let settings: Settings =
        toml::from_str(&format!("client_id = \"c\"\nclient_secret = \"{SECRET}\"\n{more}"))
            .unwrap();
    Jfwms::new(AccountName::new("jf-main").unwrap(), settings).unwrap()
}

fn sample(name: &str) -> String {
    let path =
        format!("{}/src/vendors/jfwms/samples/webhook/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn webhook(body: &str, headers: &[(&str, &str)], query: &[(&str, &str)]) -> Webhook<Unverified> {
    let owned = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Webhook::new(Received {
        account: AccountName::new("jf-main").unwrap(),
        body: body.to_owned().into(),
        headers: owned(headers),
        query: owned(query),
        form: None,
        received_at: jiff::Timestamp::from_millisecond(RECEIVED).unwrap(),
    })
}

/// The raw text of `data` in a frame.
fn data_of(body: &str) -> String {
    Members::read(body).unwrap().get("data").unwrap().to_owned()
}

fn verified(vendor: &Jfwms, body: &str) -> Webhook<Verified> {
    let sign = WebhookForm::RawDataFirst.sign(&data_of(body), &Secret::new(SECRET)).sign;
    vendor.verify(webhook(body, &[("sign", &sign)], &[]), SignatureHint::ANY).unwrap()
}

fn decoded_for(vendor: &Jfwms, body: &str, owner: OwnerOf<'_>) -> Result<Event, Unrecognized> {
    vendor.decode(&verified(vendor, body), owner)
}

fn decoded(vendor: &Jfwms, body: &str) -> Result<Event, Unrecognized> {
    decoded_for(vendor, body, &|_| Some(vendor.account().clone()))
}

/// The datum as the record writes it.
fn written(event: &Event) -> Vec<u8> {
    let mut datum = Datum::default();
    event.record.write(&mut datum);
    datum.into_bytes()
}

/// Writes the event's record with its schema and reads it back.
fn avro(event: &Event) -> BTreeMap<String, Value> {
    let path = format!("{}/schemas/{}.avsc", env!("CARGO_MANIFEST_DIR"), event.event_type.record);
    let schema = Schema::parse_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let bytes = writer.write_ser_to_vec(&event.record).unwrap();
    assert_eq!(written(event), bytes, "the record writes itself as the schema says");
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    match reader.read_value(&mut bytes.as_slice()).unwrap() {
        Value::Record(fields) => fields.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

/// An Avro value as JSON-like text, unions open.
fn show(value: &Value) -> String {
    match value {
        Value::Union(_, inner) => show(inner),
        Value::Null => "null".to_owned(),
        Value::String(text) => format!("{text:?}"),
        Value::Long(n) | Value::TimestampMillis(n) | Value::LocalTimestampMillis(n) => {
            n.to_string()
        }
        Value::Array(all) => format!("[{}]", all.iter().map(show).collect::<Vec<_>>().join(",")),
        Value::Map(map) => {
            let map: BTreeMap<_, _> = map.iter().collect();
            let pairs = map.iter().map(|(name, value)| format!("{name}:{}", show(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        Value::Record(fields) => {
            let pairs = fields.iter().map(|(name, value)| format!("{name}:{}", show(value)));
            format!("<{}>", pairs.collect::<Vec<_>>().join(","))
        }
        other => panic!("{other:?}"),
    }
}

/// The record's fields after the head, as text.
fn record(event: &Event) -> String {
    let head = ["eventId", "account", "sentAt", "receivedAt"];
    let fields = avro(event);
    let fields = fields.iter().filter(|(name, _)| !head.contains(&name.as_str()));
    fields.map(|(name, value)| format!("{name}={}", show(value))).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_sample_of_the_guide_becomes_a_record() {
    const STOCK: &str = r#"skuList=[<sku:"819-Dark GL",total:1,available:1,locked:0,nonGood:0,totalChange:1,availableChange:null,lockedChange:null,nonGoodChange:null,extra:{}>]"#;
    // 2025-02-07T09:10:03.951; the first of the two finishTime stays in `extra`.
    const TWICE: &str =
        r#"extra={finishTime:"\"2025-02-06T03:59:21.009\""} finishTime=1738919403951"#;
    for (name, number, expected) in [
        (
            "order",
            "123123",
            r#"erpNo="123123" extra={} skuList=[<sku:"2309-1Bei",total:26,available:26,locked:0,nonGood:0,totalChange:-1,availableChange:null,lockedChange:null,nonGoodChange:null,extra:{}>] status="Shipped" userId="1" warehouseCode="xxx""#.to_owned(),
        ),
        (
            "storage",
            "Lucky1704360185",
            r#"erpNo="Lucky1704360185" extra={} finishTime=1704360206729 putawayNo="P11240104100153" skuList=[<sku:"BUG_more898",skuCode:"BUG_more898",num:10,badNum:0,thisTimeNum:10,extra:{}>,<sku:"BUG_more899",skuCode:"BUG_more899",num:5,badNum:0,thisTimeNum:5,extra:{}>] status=null userId="24" warehouseCode="xxx""#.to_owned(),
        ),
        (
            "return",
            "ERP单号",
            r#"erpNo="ERP单号" extra={finishTime:"\"完成时间\""} finishTime=null skuList=[<sku:"sku",num:1,badNum:0,extra:{}>] status="FINISH" userId="1" warehouseCode="xxx""#.to_owned(),
        ),
        (
            "orderIntercept",
            "123123",
            r#"erpNo="123123" extra={} status="success" userId="1""#.to_owned(),
        ),
        (
            "inventoryCount",
            "xx",
            r#"documentNo="xx" extra={} finishTime=1738915676908 skuList=[<sku:"2309-1Bei",total:26,available:26,locked:0,nonGood:0,totalChange:-1,availableChange:null,lockedChange:null,nonGoodChange:null,extra:{}>] userId="1" warehouseCode="xxx""#.to_owned(),
        ),
        (
            "adjust",
            "ADSE02620",
            format!(r#"documentNo="ADSE02620" extra={{}} finishTime=1738919403951 {STOCK} userId="1" warehouseCode="01""#),
        ),
        (
            "move",
            "MOL703",
            format!(r#"documentNo="MOL703" {TWICE} {STOCK} userId="3256" warehouseCode="A""#),
        ),
        (
            "orderCreate",
            "BSZ1AF0608",
            format!(r#"documentNo="BSZ1AF0608" {TWICE} {STOCK} userId="3256" warehouseCode="YK""#),
        ),
        (
            "orderCancel",
            "BSZ1AF0609",
            format!(r#"documentNo="BSZ1AF0609" {TWICE} {STOCK} userId="3256" warehouseCode="YK""#),
        ),
        (
            "convert",
            "MOL704",
            format!(r#"documentNo="MOL704" {TWICE} {STOCK} userId="3256" warehouseCode="A""#),
        ),
    ] {
        let event = decoded(&vendor(""), &sample(name)).unwrap();
        assert_eq!(event.event_type.name, name);
        assert_eq!(event.document_number.as_deref(), Some(number), "{name}");
        assert_eq!(record(&event), expected, "{name}");
        let fields = avro(&event);
        assert_eq!(show(&fields["eventId"]), format!("{:?}", event.id.as_str()));
        assert_eq!(show(&fields["account"]), "\"jf-main\"");
        assert_eq!(show(&fields["sentAt"]), "1704360206729", "{name}");
        assert_eq!(show(&fields["receivedAt"]), RECEIVED.to_string());
    }
}

#[test]
fn every_type_has_a_sample_and_a_schema_of_its_name() {
    for event_type in vendor("").event_types() {
        assert!(sample(event_type.name).contains(event_type.name));
        let path = format!("{}/schemas/{}.avsc", env!("CARGO_MANIFEST_DIR"), event_type.record);
        let schema = Schema::parse_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(schema.name().unwrap().to_string(), event_type.record);
    }
}

#[test]
fn odd_webhooks_decode_and_lose_nothing() {
    let line = r#""sku":"s","total":1,"available":1,"locked":0,"nonGood":0"#;
    for (body, field, expected) in [
        // Unknown members, at both levels and beside `data`.
        (
            r#"{"type":"order","data":{"erpNo":"1","x": 1.10},"y":[ 1 ]}"#.to_owned(),
            "extra",
            r#"{x:"1.10",y:"[ 1 ]"}"#,
        ),
        (
            r#"{"type":"order","x":1,"data":{"erpNo":"1","x":2}}"#.to_owned(),
            "extra",
            r#"{$.x:"1",x:"2"}"#,
        ),
        (
            r#"{"type":"order","erpNo":"f","data":{"erpNo":"d"}}"#.to_owned(),
            "extra",
            r#"{$.erpNo:"\"f\""}"#,
        ),
        (
            r#"{"type":"order","x":1,"data":{"erpNo":"1","x":2,"$.x":3}}"#.to_owned(),
            "extra",
            r#"{$.$.x:"1",$.x:"3",x:"2"}"#,
        ),
        // Repeated members.
        (
            r#"{"type":"order","data":{"erpNo":"1","status":"a","status":"b","status":"c"}}"#
                .to_owned(),
            "extra",
            r#"{status:"[\"a\",\"b\"]"}"#,
        ),
        (
            r#"{"type":"order","data":{"erpNo":"1","x":1,"x":2}}"#.to_owned(),
            "extra",
            r#"{x:"[1,2]"}"#,
        ),
        (
            r#"{"type":"convert","type":"order","data":{"erpNo":"1"}}"#.to_owned(),
            "extra",
            r#"{type:"\"convert\""}"#,
        ),
        // The frame's own members.
        (
            r#"{"type":"order","timestamp":"时间戳","data":{"erpNo":"1"}}"#.to_owned(),
            "extra",
            r#"{timestamp:"\"时间戳\""}"#,
        ),
        (r#"{"type":"order","sign":"x","data":{"erpNo":"1"}}"#.to_owned(), "extra", "{}"),
        (
            r#"{"type":"order","sign":{"a":1},"data":{"erpNo":"1"}}"#.to_owned(),
            "extra",
            r#"{sign:"{\"a\":1}"}"#,
        ),
        (
            r#"{"type":"order","timestamp":1704360206,"data":{"erpNo":"1"}}"#.to_owned(),
            "sentAt",
            "1704360206000",
        ),
        (r#"{"type":"order","data":{"erpNo":"1"}}"#.to_owned(), "sentAt", "null"),
        (
            r#"{"type":"order","timestamp":99999999999999999,"data":{"erpNo":"1"}}"#.to_owned(),
            "sentAt",
            "null",
        ),
        (
            r#"{"type":"return","finishTime":"2025-02-07 09:10:03","data":{"erpNo":"1"}}"#
                .to_owned(),
            "finishTime",
            "1738919403000",
        ),
        (
            r#"{"type":"return","finishTime":"2025-02-07T09:10:03+08:00","data":{"erpNo":"1"}}"#
                .to_owned(),
            "finishTime",
            "null",
        ),
        (
            r#"{"type":"return","finishTime":7,"data":{"erpNo":"1","finishTime":8}}"#.to_owned(),
            "extra",
            r#"{$.finishTime:"7",finishTime:"8"}"#,
        ),
        // Numbers and texts.
        (
            r#"{"type":"order","data":{"erpNo":"1","userId":12345678901234567890123}}"#.to_owned(),
            "userId",
            r#""12345678901234567890123""#,
        ),
        (r#"{"type":"order","data":{"erpNo":"1","status":"null"}}"#.to_owned(), "status", "null"),
        (r#"{"type":"order","data":{"erpNo":"1","status":null}}"#.to_owned(), "status", "null"),
        (r#"{"type":"order","data":{"erpNo":"1","skuList":null}}"#.to_owned(), "skuList", "[]"),
        (
            r#"{"type":"move","data":{"documentNo":"1","finishTime":""}}"#.to_owned(),
            "extra",
            r#"{finishTime:"\"\""}"#,
        ),
        (
            r#"{"type":"move","data":{"documentNo":"1","finishTime":"2025-02-07T09:10:03.9511"}}"#
                .to_owned(),
            "extra",
            r#"{finishTime:"\"2025-02-07T09:10:03.9511\""}"#,
        ),
        (
            format!(
                r#"{{"type":"order","data":{{"skuList":[{{{line},"totalChange":" 007","batch":{{"a":1}}}}]}}}}"#
            ),
            "skuList",
            r#"[<sku:"s",total:1,available:1,locked:0,nonGood:0,totalChange:7,availableChange:null,lockedChange:null,nonGoodChange:null,extra:{batch:"{\"a\":1}",totalChange:"\" 007\""}>]"#,
        ),
        // Members of an unexpected kind, of which a record needs none.
        (
            r#"{"type":"move","data":{"documentNo":"1","finishTime":1738919403000}}"#.to_owned(),
            "extra",
            r#"{finishTime:"1738919403000"}"#,
        ),
        (
            r#"{"type":"move","data":{"documentNo":"1","finishTime":[2025,2,7,9,10,3]}}"#
                .to_owned(),
            "extra",
            r#"{finishTime:"[2025,2,7,9,10,3]"}"#,
        ),
        (
            r#"{"type":"move","data":{"documentNo":"1","finishTime":"2025-02-07"}}"#.to_owned(),
            "extra",
            r#"{finishTime:"\"2025-02-07\""}"#,
        ),
        (
            r#"{"type":"move","data":{"documentNo":"1","finishTime":"2025-02-07T09:10:03Z"}}"#
                .to_owned(),
            "finishTime",
            "null",
        ),
        (
            r#"{"type":"order","data":{"erpNo":"1","warehouseCode":{"a":1}}}"#.to_owned(),
            "extra",
            r#"{warehouseCode:"{\"a\":1}"}"#,
        ),
        (
            r#"{"type":"order","data":{"erpNo":"1","status":true}}"#.to_owned(),
            "extra",
            r#"{status:"true"}"#,
        ),
        (
            format!(
                r#"{{"type":"order","data":{{"skuList":[{{{line},"totalChange":26.0,"lockedChange":"","availableChange":1.5,"nonGoodChange":1.0E+2}}]}}}}"#
            ),
            "skuList",
            r#"[<sku:"s",total:1,available:1,locked:0,nonGood:0,totalChange:26,availableChange:null,lockedChange:null,nonGoodChange:100,extra:{availableChange:"1.5",lockedChange:"\"\"",nonGoodChange:"1.0E+2",totalChange:"26.0"}>]"#,
        ),
        // `data` as JSON text.
        (
            r#"{"type":"order","data":"{\"erpNo\":\"仓\",\"x\":1.10}"}"#.to_owned(),
            "extra",
            r#"{x:"1.10"}"#,
        ),
        (r#"{"type":"order","data":" {\"erpNo\":7} "}"#.to_owned(), "erpNo", r#""7""#),
    ] {
        let event = decoded(&vendor(""), &body).unwrap();
        assert_eq!(show(&avro(&event)[field]), expected, "{body}");
    }
}

#[test]
fn what_does_not_decode_names_its_path() {
    let undecodable = |text: &str| Unrecognized::Undecodable(text.to_owned());
    for (body, expected) in [
        (r#"{"type":"novel","data":{}}"#, Unrecognized::UnknownType),
        (r#"{"type":7,"data":{}}"#, Unrecognized::UnknownType),
        (r#"{"data":{}}"#, Unrecognized::UnknownType),
        (r#"{"type":"order","data":[]}"#, undecodable("data: expected an object, found an array")),
        (
            r#"{"type":"order","data":"[1]"}"#,
            undecodable("data: expected an object, found an array"),
        ),
        (r#"{"type":"order","data":"{"}"#, undecodable("data: a text that is not JSON")),
        (
            r#"{"type":"return","data":{"skuList":[{"sku":[],"num":1}]}}"#,
            undecodable("data.skuList[0].sku: expected a text or a number, found an array"),
        ),
        (
            r#"{"type":"return","data":{"skuList":[{"num":1}]}}"#,
            undecodable("data.skuList[0].sku: missing"),
        ),
        (
            r#"{"type":"order","data":{"skuList":[{"sku":"a","total":1.5}]}}"#,
            undecodable("data.skuList[0].total: expected an integer of 64 bits, found 1.5"),
        ),
        (
            r#"{"type":"order","data":{"skuList":[{"sku":"a","total":9223372036854775808}]}}"#,
            undecodable(
                "data.skuList[0].total: expected an integer of 64 bits, found 9223372036854775808",
            ),
        ),
        (
            r#"{"type":"order","data":{"skuList":[{"sku":"a","total":"many"}]}}"#,
            undecodable("data.skuList[0].total: expected an integer of 64 bits, found a text"),
        ),
        (
            r#"{"type":"order","data":{"skuList":[{"sku":"a"}]}}"#,
            undecodable("data.skuList[0].total: missing"),
        ),
        (
            r#"{"type":"return","data":{"skuList":[{"sku":"a","num":1},7]}}"#,
            undecodable("data.skuList[1]: expected an object, found 7"),
        ),
        (
            r#"{"type":"return","data":{"erpNo":1,"skuList":"x"}}"#,
            undecodable("data.skuList: expected an array of objects, found a text"),
        ),
    ] {
        assert_eq!(decoded(&vendor(""), body).unwrap_err(), expected, "{body}");
    }
}

/// What an event of each type cannot live without: a number of its document, or a line.
#[test]
fn what_names_no_document_and_no_line_is_no_event() {
    let nothing = "data: neither a document's number nor a line is in it";
    for event_type in super::EVENT_TYPES {
        let name = event_type.name;
        for data in [
            "{}",
            r#"{"x":1}"#,
            r#"{"data":{"erpNo":"1","documentNo":"2"}}"#,
            r#"{"skuList":[]}"#,
            r#"{"skuList":null,"erpNo":null,"documentNo":" ","userId":7}"#,
            r#"{"erpNo":{"a":1},"documentNo":[1]}"#,
            r#""{\"x\":1}""#,
        ] {
            let body = format!(r#"{{"type":"{name}","data":{data}}}"#);
            let error = decoded(&vendor(""), &body).unwrap_err();
            assert_eq!(error, Unrecognized::Undecodable(nothing.to_owned()), "{body}");
        }
        for data in [r#"{"erpNo":1}"#, r#"{"documentNo":"D"}"#] {
            let body = format!(r#"{{"type":"{name}","data":{data}}}"#);
            assert!(decoded(&vendor(""), &body).is_ok(), "{body}");
        }
    }
}

#[test]
fn the_key_is_the_documents_number() {
    for (data, number) in [
        (r#"{"erpNo":"a","documentNo":"b"}"#, Some("a")),
        (r#"{"erpNo":"","documentNo":"b"}"#, Some("b")),
        (r#"{"erpNo":null,"documentNo":7}"#, Some("7")),
        (r#"{"erpNo":" ","skuList":LINES}"#, None),
        (r#"{"skuList":LINES}"#, None),
    ] {
        let line = r#"[{"sku":"s","total":1,"available":1,"locked":0,"nonGood":0}]"#;
        let data = data.replace("LINES", line);
        for name in ["order", "move"] {
            let body = format!(r#"{{"type":"{name}","data":{data}}}"#);
            let event = decoded(&vendor(""), &body).unwrap();
            assert_eq!(event.document_number.as_deref(), number, "{body}");
        }
    }
}

#[test]
fn a_webhook_belongs_to_the_account_of_its_user() {
    let other = AccountName::new("other").unwrap();
    let owner = |user: Option<&str>| (user == Some("3256")).then(|| other.clone());
    for (data, account) in [
        (r#"{"erpNo":1,"userId":3256}"#, Some("other")),
        (r#"{"erpNo":1,"userId":"3256"}"#, Some("other")),
        (r#"{"erpNo":1,"userId":2}"#, None),
        (r#"{"erpNo":1}"#, None),
    ] {
        let body = format!(r#"{{"type":"order","data":{data}}}"#);
        match (decoded_for(&vendor(""), &body, &owner), account) {
            (Ok(event), Some(account)) => {
                assert_eq!(event.account.as_str(), account);
                assert_eq!(avro(&event)["account"], Value::String(account.to_owned()), "{data}");
            }
            (Err(error), None) => assert_eq!(error, Unrecognized::UnknownUser, "{data}"),
            (found, _) => panic!("{data}: {found:?}"),
        }
    }
}

proptest! {
    /// Whatever bytes come: a refusal, never a panic.
    #[test]
    fn any_bytes_are_answered(text in "[\\[\\]{}:,\"\\\\a-e0-9 ]{0,80}", data in "[\\[\\]{}:,\"\\\\a-e0-9.\\-]{0,60}") {
        prop_assert!(vendor("").verify(webhook(&text, &[("sign", "0")], &[]), SignatureHint::ANY).is_err());
        let body = format!(r#"{{"type":"order","data":{{"erpNo":{data},"skuList":[{{{data}}}]}}}}"#);
        if Members::read(&body).is_ok_and(|m| m.0.iter().filter(|(n, _)| n == "data").count() == 1) {
            let vendor = vendor("");
            if let Ok(event) = decoded(&vendor, &body) {
                prop_assert!(avro(&event).contains_key("extra"));
            }
        }
    }
}
