//! Records as another program writes them: with a schema of its own, by the Avro library's writer.

use apache_avro::{Schema, types::Value as Avro, writer::datum::GenericDatumWriter};
use serde_json::Value;

/// The datum of a value that is given as plain JSON.
pub(super) fn written(schema: &str, value: &Value) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let value = avro(value).resolve(&schema).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(value).unwrap()
}

fn avro(value: &Value) -> Avro {
    match value {
        Value::Null => Avro::Null,
        Value::Bool(value) => Avro::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Avro::Long(whole),
            None => Avro::Double(number.as_f64().unwrap()),
        },
        Value::String(text) => Avro::String(text.clone()),
        Value::Array(items) => Avro::Array(items.iter().map(avro).collect()),
        Value::Object(members) => {
            Avro::Map(members.iter().map(|(name, value)| (name.clone(), avro(value))).collect())
        }
    }
}
