//! Reads events as a foreign consumer does: with the schemas that are published, by rules written
//! out here.

use std::fs;

use apache_avro::{Schema, reader::datum::GenericDatumReader};
use serde_json::{Value, json};

use crate::support::{
    backend::{Record, TestEnv},
    parts,
};

/// Decodes with the schema that is published, framed as the registry or Avro says.
pub(super) async fn decode(env: &TestEnv, record: &Record, name: &str) -> Value {
    let file = parts::crate_dir().join(format!("schemas/{name}.avsc"));
    let text = fs::read_to_string(file).unwrap();
    let schema = Schema::parse_str(&text).unwrap();
    if record.value().first() == Some(&0) {
        let registry = env.registry();
        let (id, _) = record.unframe();
        let registered = Schema::parse_str(&registry.schema(id).await.unwrap()).unwrap();
        assert_eq!(registered.canonical_form(), schema.canonical_form());
        let subject = format!("{}-value", record.topic);
        assert!(registry.subjects().await.unwrap().contains(&subject), "{subject}");
        return registry.decode_json(record.value()).await.unwrap();
    }
    let (frame, mut datum) = record.value().split_at(10);
    let fingerprint = fingerprint(&canonical(&serde_json::from_str(&text).unwrap(), ""));
    assert_eq!(frame, [&[0xc3, 0x01], fingerprint.as_slice()].concat(), "{record:?}");
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let value = reader.read_value(&mut datum).unwrap();
    assert!(datum.is_empty(), "{} bytes are left over", datum.len());
    Value::try_from(value).unwrap()
}

/// The Parsing Canonical Form, as far as our events need it.
fn canonical(schema: &Value, namespace: &str) -> String {
    let each = |items: &[Value], namespace: &str| {
        items.iter().map(|item| canonical(item, namespace)).collect::<Vec<_>>().join(",")
    };
    match schema {
        Value::String(primitive) => json!(primitive).to_string(),
        Value::Array(union) => format!("[{}]", each(union, namespace)),
        _ => match schema["type"].as_str().unwrap() {
            "record" => {
                let namespace = schema["namespace"].as_str().unwrap_or(namespace);
                let fields = schema["fields"].as_array().unwrap().iter().map(|field| {
                    let form = canonical(&field["type"], namespace);
                    format!("{{\"name\":{},\"type\":{form}}}", field["name"])
                });
                let fields = fields.collect::<Vec<_>>().join(",");
                let name = schema["name"].as_str().unwrap();
                format!(
                    "{{\"name\":\"{namespace}.{name}\",\"type\":\"record\",\"fields\":[{fields}]}}"
                )
            }
            "array" => {
                format!(
                    "{{\"type\":\"array\",\"items\":{}}}",
                    canonical(&schema["items"], namespace)
                )
            }
            "map" => {
                format!(
                    "{{\"type\":\"map\",\"values\":{}}}",
                    canonical(&schema["values"], namespace)
                )
            }
            primitive => json!(primitive).to_string(),
        },
    }
}

/// CRC-64-AVRO (Avro specification, "Schema Fingerprints"), as single-object encoding writes it.
fn fingerprint(text: &str) -> [u8; 8] {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    let table: Vec<u64> = (0..256)
        .map(|n: u64| (0..8).fold(n, |fp, _| (fp >> 1) ^ if fp & 1 == 1 { EMPTY } else { 0 }))
        .collect();
    let next = |fp: u64, byte: u8| (fp >> 8) ^ table[usize::from((fp as u8) ^ byte)];
    text.bytes().fold(EMPTY, next).to_le_bytes()
}
