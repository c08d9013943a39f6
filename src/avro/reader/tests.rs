use serde_json::json;

use super::super::{encode::Prefix, produce::encode_command};
use super::*;

#[path = "properties.rs"]
mod properties;
#[path = "writers.rs"]
mod writers;

fn reader() -> CommandReader {
    CommandReader::new(None, Limits::default())
}

/// Runs a read that needs no registry, so never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("a read without a registry waited"),
    }
}

fn read(
    expected: Option<Operation>,
    ce_type: Option<&str>,
    payload: &[u8],
) -> Result<ReadCommand, ReadError> {
    let headers = ce_type.map(|value| (CE_TYPE, Some(value.as_bytes())));
    now(reader().read(expected, headers.into_iter(), Some(payload)))
}

const ORDER: &str = r#"{
    "commandId": "c-1", "account": "jf-main", "expiresAt": "2026-01-31T08:00:00+08:00",
    "orderNumber": "SO-1", "shop": "店铺", "recipient": {"country": "DE", "name": "Ä"},
    "logistics": {"kind": "OFFLINE", "id": 7, "label": {"content": "AAE=", "type": "PDF"}},
    "amount": 12345678901234.5678, "freight": "1.10", "paidAt": 1767225600000,
    "lines": [{"sku": "A", "quantity": 2, "unitPrice": 0.1,
               "batch": {"manufacturedOn": "2026-01-31"}, "vendorFields": {"x": [1.10, null]}}],
    "vendorFields": {"big": 12345678901234567890123, "text": "t"}
}"#;

fn order(command: &Command) -> &crate::domain::command::CreateOrder {
    match command {
        Command::CreateOrder(order) => order,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_is_read_exactly() {
    let read = read(Some(Operation::CreateOrder), None, ORDER.as_bytes()).unwrap();
    assert!(read.json && read.ignored.is_empty());
    let order = order(&read.command);
    assert_eq!(order.account, "jf-main");
    assert_eq!(order.expires_at.unwrap().to_string(), "2026-01-31T00:00:00Z");
    assert_eq!(order.amount.as_ref().unwrap().plain(), "12345678901234.5678");
    assert_eq!(order.freight.as_ref().unwrap().plain(), "1.1");
    assert_eq!(order.logistics.as_ref().unwrap().label.as_ref().unwrap().content.0, [0, 1]);
    assert_eq!(order.vendor_fields["big"].to_string(), "12345678901234567890123");
    assert_eq!(order.lines[0].vendor_fields["x"].to_string(), "[1.10,null]");
    assert_eq!(
        order.lines[0].batch.as_ref().unwrap().manufactured_on.unwrap().to_string(),
        "2026-01-31"
    );
    assert!(!order.audit);
}

/// `ORDER` with one text replaced.
fn order_with(from: &str, to: &str) -> String {
    assert!(ORDER.contains(from), "{from}");
    ORDER.replacen(from, to, 1)
}

#[test]
fn a_senders_mistake_is_named_with_its_path() {
    let limits = |text: &str| text.repeat(40);
    for (json, field, says) in [
        (
            order_with("\"orderNumber\"", "\"ordernumber\""),
            "ordernumber",
            "nearest is `orderNumber`",
        ),
        (order_with("\"sku\"", "\"SKU\""), "lines[0].SKU", "nearest is `sku`"),
        (order_with("\"country\": \"DE\"", "\"city\": \"X\""), "recipient.country", "missing"),
        (order_with("\"SO-1\"", "null"), "orderNumber", "expected a string, got null"),
        (order_with("\"SO-1\"", "5"), "orderNumber", "expected a string, got a number"),
        (order_with("\"SO-1\"", "{\"string\":\"x\"}"), "orderNumber", "no Avro union tags"),
        (order_with("\"quantity\": 2", "\"quantity\": 0"), "lines[0].quantity", "at least 1"),
        (order_with("\"quantity\": 2", "\"quantity\": \"2\""), "lines[0].quantity", "whole number"),
        (order_with("\"quantity\": 2", "\"quantity\": 2.5"), "lines[0].quantity", "got 2.5"),
        (
            order_with("\"quantity\": 2", "\"quantity\": 9223372036854775808"),
            "lines[0].quantity",
            "64 bits",
        ),
        (order_with("\"1.10\"", "\"1.10001\""), "freight", "decimal(18,4)"),
        (order_with("\"1.10\"", "\"1,10\""), "freight", "decimal(18,4)"),
        (order_with("1767225600000", "\"2026-01-01T00:00:00\""), "paidAt", "RFC 3339"),
        (order_with("1767225600000", "1e13"), "paidAt", "RFC 3339"),
        (order_with("1767225600000", "99999999999999999"), "paidAt", "RFC 3339"),
        (
            order_with("\"2026-01-31\"", "\"2026-02-31\""),
            "lines[0].batch.manufacturedOn",
            "yyyy-MM-dd",
        ),
        (order_with("\"AAE=\"", "\"AAE\""), "logistics.label.content", "base64"),
        (
            order_with("\"OFFLINE\"", "\"offline\""),
            "logistics.kind",
            "one of PLATFORM, OFFLINE, got `offline`",
        ),
        (order_with("\"lines\": [", "\"lines\": [null, "), "lines[0]", "an object (OrderLine)"),
        (order_with("{\"x\": [1.10, null]}", "[]"), "lines[0].vendorFields", "expected an object"),
        (
            order_with("{\"x\": [1.10, null]}", "{\"x\": {\"a\":1,\"a\":2}}"),
            "lines[0].vendorFields.x",
            "`a` stands in it twice",
        ),
        (order_with("\"shop\"", "\"account\""), "", "`account` stands in it twice"),
        (order_with("\"shop\"", &format!("\"{}\"", limits("x"))), &limits("x"), "no such field"),
        ("[]".into(), "", "expected an object (CreateOrder), got an array"),
        ("\"x\"".into(), "", "got a string"),
    ] {
        match read(Some(Operation::CreateOrder), None, json.as_bytes()) {
            Err(ReadError::Invalid { faults, identity }) => {
                let Invalid { field: found, message } = faults.first;
                assert_eq!(found.unwrap_or_default(), field, "{message}");
                assert!(message.contains(says), "{message}");
                assert_eq!(identity.operation, Some(Operation::CreateOrder));
                assert!(identity.json);
            }
            other => panic!("{field}: {other:?} for {json}"),
        }
    }
}

/// The paths of all faults.
fn faulty(read: Result<ReadCommand, ReadError>) -> (Vec<String>, usize) {
    let Err(ReadError::Invalid { faults, .. }) = read else { panic!("{read:?}") };
    let field = |fault: &Invalid| fault.field.clone().unwrap_or_default();
    (faults.all().map(field).collect(), faults.left_out)
}

#[test]
fn every_fault_of_a_command_is_said_at_once() {
    let json = r#"{"acount": "a", "orderNumber": 7, "shopp": "s", "recipient": {"country": 1, "nam": "x"},
        "lines": [{"sku": "A", "quantity": 0}, 3, {"quantity": 1}], "paidAt": "soon",
        "vendorFields": []}"#;
    let (fields, left_out) = faulty(read(Some(Operation::CreateOrder), None, json.as_bytes()));
    assert_eq!(
        fields,
        [
            "acount",
            "shopp",
            "account",
            "orderNumber",
            "recipient.nam",
            "recipient.country",
            "paidAt",
            "lines[0].quantity",
            "lines[1]",
            "lines[2].sku",
            "vendorFields",
        ]
    );
    assert_eq!(left_out, 0);
    // As many as a reply can hold; how many more there are.
    let lines = vec!["{\"sku\": \"A\", \"quantity\": 0}"; 250].join(",");
    let many = format!(
        "{{\"account\": \"a\", \"orderNumber\": \"1\", \"recipient\": {{\"country\": \"DE\"}}, \"lines\": \
         [{lines}]}}"
    );
    let (fields, left_out) = faulty(read(Some(Operation::CreateOrder), None, many.as_bytes()));
    assert_eq!((fields.len(), left_out), (Faults::MOST, 250 - Faults::MOST));
}

#[test]
fn an_invalid_command_is_still_known_by_its_numbers() {
    let json = order_with("\"quantity\": 2", "\"quantity\": -2");
    let Err(ReadError::Invalid { identity, .. }) =
        read(None, Some("wms.commands.CreateOrder"), json.as_bytes())
    else {
        panic!("it was read");
    };
    assert_eq!(
        *identity,
        Identity {
            operation: Some(Operation::CreateOrder),
            account: Some("jf-main".into()),
            command_id: Some("c-1".into()),
            document_number: Some("SO-1".into()),
            json: true,
        }
    );
}

#[test]
fn what_nobody_can_read_is_unreadable() {
    let avro = encode_command(Operation::CreateOrder, ORDER, Prefix::SingleObject).unwrap();
    let reply = {
        let mut bytes = avro.clone();
        let known = schemas::of_record(schemas::COMMAND_REPLY).unwrap();
        bytes[2..10].copy_from_slice(&known.fingerprint.to_le_bytes());
        bytes
    };
    let create = Some(Operation::CreateOrder);
    let cancel = Some(Operation::CancelOrder);
    let deep = format!("{{\"vendorFields\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let mut foreign = avro.clone();
    foreign[5] ^= 1;
    for (expected, ce_type, payload, says) in [
        (create, None, &b""[..], "empty"),
        (create, None, b"{\"a\":", "no usable JSON"),
        (create, None, b"{} {}", "no usable JSON"),
        (create, None, b"hello", "no usable JSON"),
        (create, None, b"\xff\xfe{\0}\0", "neither framed Avro nor JSON"),
        (create, None, deep.as_bytes(), "nested"),
        (create, None, b"\0\0\0\0\x01x", "no schema registry is configured"),
        (create, None, &foreign, "none of ours"),
        (create, None, &reply, ""),
        (None, None, ORDER.as_bytes(), "needs the header `ce_type`"),
        (None, Some("com.shop.order"), ORDER.as_bytes(), "which is no command"),
        (None, Some("CreateOrder"), ORDER.as_bytes(), "which is no command"),
        (create, Some("wms.commands.CancelOrder"), ORDER.as_bytes(), "said to be both"),
        (cancel, None, &avro, "said to be both"),
        (None, Some("wms.commands.Call"), &avro, "said to be both"),
    ] {
        match read(expected, ce_type, payload) {
            Err(ReadError::Unreadable { message, .. }) => {
                assert!(message.contains(says), "{message}, not {says}");
            }
            other => panic!("{says}: {other:?}"),
        }
    }
    let nothing = now(reader().read(create, std::iter::empty(), None));
    assert!(matches!(nothing, Err(ReadError::Unreadable { .. })), "{nothing:?}");
    let small = CommandReader::new(None, Limits { bytes: 10, ..Limits::default() });
    let large = now(small.read(create, std::iter::empty(), Some(ORDER.as_bytes())));
    assert!(matches!(large, Err(ReadError::Unreadable { .. })), "{large:?}");
    let few = CommandReader::new(None, Limits { values: 10, ..Limits::default() });
    let many = now(few.read(create, std::iter::empty(), Some(ORDER.as_bytes())));
    assert!(matches!(many, Err(ReadError::Invalid { .. })), "{many:?}");
}

#[test]
fn a_header_of_the_senders_own_does_not_matter_on_a_topic_of_one_command() {
    for ce_type in [None, Some("com.shop.order"), Some("wms.commands.CreateOrder")] {
        let read = read(Some(Operation::CreateOrder), ce_type, ORDER.as_bytes());
        assert!(read.is_ok(), "{read:?}");
    }
    let avro = encode_command(Operation::CreateOrder, ORDER, Prefix::SingleObject).unwrap();
    let read = read(None, Some("com.shop.order"), &avro).unwrap();
    assert!(!read.json);
}

#[test]
fn a_calls_body_is_kept_to_the_letter() {
    let body = r#"{ "n": 1.10,"a": {"b":[ ]} }"#;
    let json = format!(r#"{{"account":"a","path":"/api/x","body":{body}}}"#);
    let from_json = read(Some(Operation::Call), None, json.as_bytes()).unwrap();
    let avro = encode_command(Operation::Call, &json, Prefix::SingleObject).unwrap();
    let from_avro = read(None, None, &avro).unwrap();
    for read in [from_json, from_avro] {
        let Command::Call(call) = read.command else { panic!() };
        assert_eq!(call.body, body);
        assert!(!call.idempotent);
    }
}

/// Reads an Avro record of another schema than ours.
fn written(schema: &str, datum: &[u8]) -> Result<ReadCommand, ReadError> {
    let shape = Shape::parse(schema).unwrap();
    reader().read_avro(Some(Operation::CancelOrder), None, &shape, datum)
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len() * 2).unwrap()];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[test]
fn older_and_newer_writers_are_resolved_to_our_schema() {
    let record = |fields: &str| {
        format!(
            r#"{{"type":"record","name":"CancelOrder","namespace":"wms.commands","fields":[
            {{"name":"account","type":"string"}},{{"name":"orderNumber","type":"bytes"}}{fields}]}}"#
        )
    };
    let both = [text("a"), text("N")].concat();
    let old = written(&record(""), &both).unwrap();
    assert_eq!(old.command.document_number(), Some("N"));
    assert_eq!(old.command.command_id(), "");

    let newer = record(
        r#",{"name":"urgent","type":"boolean","default":false},{"name":"why","type":["null","string"],"default":null}"#,
    );
    let unset = written(&newer, &[both.clone(), vec![0, 0]].concat()).unwrap();
    assert!(unset.ignored.is_empty());
    let set = written(&newer, &[both.clone(), vec![1, 2], text("x")].concat()).unwrap();
    assert_eq!(set.ignored, ["urgent", "why"]);

    let wrong = record(r#",{"name":"expiresAt","type":"string"}"#);
    match written(&wrong, &[both.clone(), text("x")].concat()) {
        Err(ReadError::Invalid { faults, identity }) => {
            let Invalid { field, message } = faults.first;
            assert_eq!(field.as_deref(), Some("expiresAt"));
            assert!(message.contains("expected timestamp-millis, got a string"), "{message}");
            assert_eq!(identity.account.as_deref(), Some("a"));
        }
        other => panic!("{other:?}"),
    }
    let micros =
        record(r#",{"name":"expiresAt","type":{"type":"long","logicalType":"timestamp-micros"}}"#);
    let finer = written(&micros, &[both.clone(), vec![0xd0, 0x0f]].concat()).unwrap();
    assert_eq!(finer.command.expires_at().unwrap().as_millisecond(), 1);
    let vendor = record(r#",{"name":"vendorFields","type":{"type":"map","values":"string"}}"#);
    for (value, field) in [("{\"y\":1.10}", None), ("y", Some("vendorFields.x"))] {
        let datum = [both.clone(), vec![2], text("x"), text(value), vec![0]].concat();
        match (written(&vendor, &datum), field) {
            (Ok(_), None) => {}
            (Err(ReadError::Invalid { faults, .. }), Some(expected)) => {
                assert_eq!(faults.first.field.as_deref(), Some(expected));
            }
            (other, _) => panic!("{other:?}"),
        }
    }
    let short = r#"{"type":"record","name":"com.shop.CancelOrder","fields":[
        {"name":"account","type":"string"},{"name":"orderNumber","type":"string"}]}"#;
    assert!(written(short, &both).is_ok());
    // A name of the writer's own, as Flink, Spark and Connect make them: on the topic of one kind the
    // fields decide.
    for name in
        ["record", "org.apache.flink.avro.generated.record", "topLevelRecord", "ConnectDefault"]
    {
        let generated = short.replace("com.shop.CancelOrder", name);
        assert!(written(&generated, &both).is_ok(), "{name}");
        let mixed = reader().read_avro(None, None, &Shape::parse(&generated).unwrap(), &both);
        let Err(ReadError::Unreadable { message, .. }) = mixed else { panic!("{mixed:?}") };
        assert!(message.contains("wms.commands.CancelOrder"), "{message}");
    }
    let another =
        r#"{"type":"record","name":"com.shop.Cart","fields":[{"name":"sku","type":"string"}]}"#;
    let (fields, _) = faulty(written(another, &text("A")));
    assert_eq!(fields, ["account", "orderNumber"]);
    // Another command's name is a contradiction, whatever its fields.
    let order = short.replace("com.shop.CancelOrder", "wms.commands.CreateOrder");
    assert!(matches!(written(&order, &both), Err(ReadError::Unreadable { .. })));
    let mixed = reader().read_avro(None, None, &Shape::parse(short).unwrap(), &both);
    assert!(matches!(mixed, Err(ReadError::Unreadable { .. })), "{mixed:?}");
}

#[test]
fn a_released_schemas_defaults_are_the_commands_own() {
    for (operation, least) in [
        (
            Operation::CreateOrder,
            json!({"orderNumber":"1","recipient":{"country":"DE"},"lines":[]}),
        ),
        (Operation::CancelOrder, json!({"orderNumber":"1"})),
        (Operation::CreateAsn, json!({"asnNumber":"1","warehouse":"w","lines":[]})),
        (Operation::CancelAsn, json!({"asnNumber":"1"})),
        (Operation::Call, json!({"path":"/api/x","body":"{}"})),
    ] {
        let mut least = least;
        least["account"] = json!("a");
        let by_serde = command(operation, least.clone()).unwrap();
        let by_schema = read(Some(operation), None, least.to_string().as_bytes()).unwrap();
        let mut expected = by_serde;
        if let Command::Call(call) = &mut expected {
            call.body = "\"{}\"".into();
        }
        assert_eq!(by_schema.command, expected, "{operation}");
    }
}

/// What other people's serializers write: null where there is a default, 2.0 for two.
#[test]
fn what_serializers_of_all_kinds_write_is_read() {
    let text = r#"{"account": "a", "commandId": null, "audit": null, "vendorFields": null,
        "paymentMethod": null, "orderNumber": "SO-1", "recipient": {"country": "DE"},
        "expiresAt": 1769846400000.0, "lines": [{"sku": "A", "quantity": 2.0, "vendorFields": null}]}"#;
    let command = read(Some(Operation::CreateOrder), None, text.as_bytes()).unwrap().command;
    let order = order(&command);
    assert_eq!((order.command_id.as_str(), order.audit), ("", false));
    assert_eq!(order.lines[0].quantity, 2);
    assert_eq!(order.expires_at.unwrap().as_millisecond(), 1_769_846_400_000);
    // What has no default is missing when it is null.
    let text = text.replace(r#""SO-1""#, "null");
    let error = read(Some(Operation::CreateOrder), None, text.as_bytes());
    assert!(format!("{error:?}").contains("orderNumber"), "{error:?}");
}

#[test]
fn what_is_no_command_is_told_what_it_is() {
    for (text, part) in [
        (r#"{"specversion":"1.0","type":"t","data":{"account":"a"}}"#, "structured mode"),
        (r#"{"schema":{},"payload":{"account":"a"}}"#, "schemas.enable=false"),
        (r#"{"before":null,"after":{"account":"a"},"op":"c"}"#, "Debezium"),
        (
            r#"{"account":"a","orderNumber":"1","expiresAt":1769846400,"recipient":{"country":"DE"},"lines":[]}"#,
            "seconds since the epoch",
        ),
        (
            r#"{"account":"a","orderNumber":"1","recipient":{"country":"DE"},"lines":[{"sku":"A","quantity":2.5}]}"#,
            "a whole number",
        ),
    ] {
        let error = read(Some(Operation::CreateOrder), None, text.as_bytes()).unwrap_err();
        let told = format!("{error:?}");
        assert!(told.contains(part), "{text}: {told}");
    }
}
