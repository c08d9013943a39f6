//! Writers with schemas of their own, older or newer than ours: what Avro's resolution promises
//! them.

use serde_json::json;

use super::{
    super::{super::written_tests::written, *},
    read, reader,
};

fn resolved(operation: Operation, schema: &str, value: Value) -> Result<ReadCommand, ReadError> {
    let shape = Shape::parse(schema).unwrap();
    reader().read_avro(Some(operation), None, &shape, &written(schema, &value))
}

fn from_json(operation: Operation, value: &Value) -> Command {
    read(Some(operation), None, value.to_string().as_bytes()).unwrap().command
}

/// The writer's fields in another order, without most of ours, with narrower types and records of
/// other names.
#[test]
fn an_older_writer_gets_our_defaults() {
    let schema = r#"{"type": "record", "name": "CreateOrder", "namespace": "wms.commands", "fields": [
        {"name": "lines", "type": {"type": "array", "items":
            {"type": "record", "name": "Position", "namespace": "shop", "fields": [
                {"name": "quantity", "type": "int"}, {"name": "sku", "type": "string"}]}}},
        {"name": "expiresAt", "type": ["null", "int"]},
        {"name": "recipient", "type": {"type": "record", "name": "Recipient", "fields": [
            {"name": "name", "type": "string"}, {"name": "country", "type": "string"}]}},
        {"name": "orderNumber", "type": "string"},
        {"name": "account", "type": ["string", "null"]}
    ]}"#;
    let value = json!({
        "lines": [{"quantity": 7, "sku": "S"}], "expiresAt": 1_000, "account": "a",
        "recipient": {"name": "Ä", "country": "DE"}, "orderNumber": "N",
    });
    let read = resolved(Operation::CreateOrder, schema, value.clone()).unwrap();
    assert_eq!(read.command, from_json(Operation::CreateOrder, &value));
    assert_eq!(read.ignored, [""; 0]);
    assert!(!read.json);
}

/// What a newer writer knows and we do not is told where it was set, at every level.
#[test]
fn a_newer_writers_fields_are_told() {
    let schema = |extra: &str, line_extra: &str| {
        format!(
            r#"{{"type": "record", "name": "CreateOrder", "namespace": "wms.commands", "fields": [
            {{"name": "account", "type": "string"}}, {{"name": "orderNumber", "type": "string"}},
            {{"name": "recipient", "type": {{"type": "record", "name": "Recipient", "fields": [
                {{"name": "country", "type": "string"}}]}}}},
            {{"name": "lines", "type": {{"type": "array", "items":
                {{"type": "record", "name": "OrderLine", "fields": [
                    {{"name": "sku", "type": "string"}}, {{"name": "quantity", "type": "long"}}
                    {line_extra}]}}}}}}{extra}]}}"#
        )
    };
    let base = json!({
        "account": "a", "orderNumber": "N", "recipient": {"country": "DE"},
        "lines": [{"sku": "S", "quantity": 1}, {"sku": "T", "quantity": 2}],
    });
    let newer = schema(
        r#", {"name": "insured", "type": "boolean", "default": false},
             {"name": "gift", "type": {"type": "record", "name": "Gift", "fields": [
                {"name": "text", "type": "string"}]}}"#,
        r#", {"name": "colour", "type": ["null", "string"], "default": null}"#,
    );
    let mut value = base.clone();
    value["insured"] = json!(false);
    value["gift"] = json!({"text": "x"});
    value["lines"][0]["colour"] = Value::Null;
    value["lines"][1]["colour"] = json!("red");
    let read = resolved(Operation::CreateOrder, &newer, value).unwrap();
    assert_eq!(read.command, from_json(Operation::CreateOrder, &base));
    assert_eq!(read.ignored, ["gift", "lines[1].colour"]);
}

#[test]
fn what_cannot_be_resolved_is_named_with_its_path() {
    let schema = |name: &str, of: &str| {
        format!(
            r#"{{"type": "record", "name": "CreateOrder", "namespace": "wms.commands", "fields": [
            {{"name": "account", "type": "string"}}, {{"name": "orderNumber", "type": "string"}},
            {{"name": "recipient", "type": {{"type": "record", "name": "Recipient", "fields": [
                {{"name": "country", "type": "string"}}]}}}},
            {{"name": "lines", "type": {{"type": "array", "items": "null"}}}},
            {{"name": "{name}", "type": {of}}}]}}"#
        )
    };
    let kind = r#"{"type": "record", "name": "Logistics", "fields": [{"name": "kind", "type":
        {"type": "enum", "name": "LogisticsKind", "symbols": ["PLATFORM", "DRONE"]}}]}"#;
    for (name, of, value, field, says) in [
        ("amount", r#""double""#, json!(1.5), "amount", "got a floating-point number"),
        ("amount", r#""long""#, json!(1), "amount", "got a whole number"),
        ("shop", r#""long""#, json!(1), "shop", "expected string, got a whole number"),
        ("audit", r#""string""#, json!("yes"), "audit", "expected boolean, got a string"),
        (
            "logistics",
            kind,
            json!({"kind": "DRONE"}),
            "logistics.kind",
            "one of PLATFORM, OFFLINE, got `DRONE`",
        ),
        (
            "vendorFields",
            r#"{"type": "map", "values": "long"}"#,
            json!({"x": 1}),
            "vendorFields.x",
            "a string of JSON text, got a whole number",
        ),
    ] {
        let mut given = json!({
            "account": "a", "orderNumber": "N", "recipient": {"country": "DE"}, "lines": [],
        });
        given[name] = value;
        match resolved(Operation::CreateOrder, &schema(name, of), given) {
            Err(ReadError::Invalid { faults, identity }) => {
                let Invalid { field: found, message } = faults.first;
                assert_eq!(found.as_deref(), Some(field), "{message}");
                assert!(message.contains(says), "{message}");
                assert_eq!(identity.document_number.as_deref(), Some("N"));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // A field that we require and the writer does not have.
    let short = r#"{"type": "record", "name": "CancelOrder", "namespace": "wms.commands", "fields": [
        {"name": "account", "type": "string"}]}"#;
    match resolved(Operation::CancelOrder, short, json!({"account": "a"})) {
        Err(ReadError::Invalid { faults, .. }) => {
            let Invalid { field, message } = faults.first;
            assert_eq!(field.as_deref(), Some("orderNumber"));
            assert!(message.contains("missing"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
