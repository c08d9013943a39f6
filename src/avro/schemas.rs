//! The schemas that are compiled in: one line each, the same list as the files in `schemas/`.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use apache_avro::Schema;
use serde_json::Value;

use super::{
    canonical,
    shape::{SchemaError, Shape},
};

/// The largest allocation the Avro library is let make (its own limit is 512 MiB, which five
/// bytes can claim).
const MAX_ALLOCATION: usize = 8 << 20;

macro_rules! schemas {
    ($($name:literal),* $(,)?) => {
        /// Full name and text of every schema.
        const TEXTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../schemas/", $name, ".avsc")))),*];
        /// The last released version of every schema; what was written with it must stay readable.
        const RELEASED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../schemas/released/", $name, ".avsc")))),*];
    };
}

// One line a schema. A new one needs its file in `schemas/` and a copy in `schemas/released/`.
schemas![
    "wms.commands.Call",
    "wms.commands.CancelAsn",
    "wms.commands.CancelOrder",
    "wms.commands.CommandReply",
    "wms.commands.CreateAsn",
    "wms.commands.CreateOrder",
    "wms.jfwms.Adjust",
    "wms.jfwms.Convert",
    "wms.jfwms.InventoryCount",
    "wms.jfwms.Move",
    "wms.jfwms.Order",
    "wms.jfwms.OrderCancel",
    "wms.jfwms.OrderCreate",
    "wms.jfwms.OrderIntercept",
    "wms.jfwms.Return",
    "wms.jfwms.Storage",
    "wms.qianyi.Asn",
    "wms.qianyi.Odo",
    "wms.qianyi.ReturnOrder",
    "wms.qianyi.SalesOrderShipping",
    "wms.qianyi.TrackingPackage",
];

/// The reply's record.
pub const COMMAND_REPLY: &str = "wms.commands.CommandReply";

/// One compiled-in schema.
#[derive(Debug)]
pub struct Known {
    /// The record's full name, which is also the file's.
    pub record: &'static str,
    /// The schema's file, laid out for people.
    pub source: &'static str,
    /// The text that is registered: one line without blanks, what Java's `Schema.toString()`
    /// gives. Registries that compare texts byte for byte (Apicurio) find it for a client that
    /// looks its schema up by text.
    pub text: String,
    /// CRC-64-AVRO of the Parsing Canonical Form.
    pub fingerprint: u64,
    pub(crate) schema: Schema,
    pub(crate) shape: Arc<Shape>,
}

impl Known {
    fn new(record: &'static str, source: &'static str) -> Result<Self, SchemaError> {
        let broken = |e: String| SchemaError(format!("{record}: {e}"));
        let json: Value = serde_json::from_str(source).map_err(|e| broken(e.to_string()))?;
        let text = json.to_string();
        let schema = Schema::parse_str(&text).map_err(|e| broken(e.to_string()))?;
        let shape = Shape::of(&schema).map_err(|e| broken(e.to_string()))?;
        if shape.record().is_none_or(|found| found.name != record) {
            return Err(broken("the file holds another record".to_owned()));
        }
        let fingerprint = canonical::fingerprint(&canonical::canonical_form(&shape));
        Ok(Self { record, source, text, fingerprint, schema, shape: Arc::new(shape) })
    }
}

struct Table {
    current: Vec<Known>,
    /// Shapes by fingerprint: the current ones and the last released ones.
    by_fingerprint: HashMap<u64, Arc<Shape>>,
}

static TABLE: LazyLock<Result<Table, SchemaError>> = LazyLock::new(|| {
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
    let read = |texts: &[(&'static str, &'static str)]| {
        texts.iter().map(|(record, text)| Known::new(record, text)).collect::<Result<Vec<_>, _>>()
    };
    let current = read(TEXTS)?;
    let released = read(RELEASED)?;
    let by_fingerprint = released
        .iter()
        .chain(&current)
        .map(|known| (known.fingerprint, Arc::clone(&known.shape)))
        .collect();
    Ok(Table { current, by_fingerprint })
});

fn table() -> Result<&'static Table, SchemaError> {
    TABLE.as_ref().map_err(Clone::clone)
}

/// Every schema that is compiled in.
pub fn all() -> Result<&'static [Known], SchemaError> {
    Ok(&table()?.current)
}

/// The schema of a record.
pub fn of_record(record: &str) -> Result<&'static Known, SchemaError> {
    all()?
        .iter()
        .find(|known| known.record == record)
        .ok_or_else(|| SchemaError(format!("no schema of `{record}` is compiled in")))
}

/// The shape that a single-object fingerprint stands for.
pub(crate) fn of_fingerprint(fingerprint: u64) -> Option<Arc<Shape>> {
    table().ok()?.by_fingerprint.get(&fingerprint).cloned()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::{super::compare, *};

    fn files(folder: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".avsc").map(str::to_owned))
            .collect()
    }

    #[test]
    fn the_list_equals_the_files() {
        let listed: BTreeSet<String> = TEXTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed.len(), TEXTS.len(), "a schema is listed twice");
        assert_eq!(listed, files("schemas"));
        assert_eq!(listed, files("schemas/released"));
    }

    #[test]
    fn a_file_is_named_after_its_record() {
        for known in all().unwrap() {
            assert_eq!(known.shape.record().unwrap().name, known.record);
        }
    }

    /// Calls `check` with each record of a schema's JSON, and the path to it.
    fn each_record(value: &Value, path: &str, check: &mut impl FnMut(&str, &Value)) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| each_record(item, path, check)),
            Value::Object(members) => {
                if members.get("type") == Some(&Value::from("record")) {
                    check(path, value);
                }
                for (name, member) in members {
                    each_record(member, &format!("{path}/{name}"), check);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_field_has_a_doc_and_no_default_is_braces_as_text() {
        for (record, text) in TEXTS {
            let json: Value = serde_json::from_str(text).unwrap();
            each_record(&json, record, &mut |path, found| {
                for field in found["fields"].as_array().unwrap() {
                    let name = &field["name"];
                    let doc = field["doc"].as_str().unwrap_or_default();
                    assert!(!doc.trim().is_empty(), "{path}: {name} has no doc");
                    // Apicurio refuses such a schema (422).
                    assert_ne!(field["default"], Value::from("{}"), "{path}: {name}");
                }
            });
        }
    }

    /// Java parses what it looks up and writes it anew: the text is found only if its attributes
    /// already stand in Java's order (`Schema.toString()`), and what Java leaves out is not there.
    #[test]
    fn attributes_stand_in_the_order_in_which_java_writes_them() {
        const FIELD: &[&str] = &["name", "type", "doc", "default", "order", "aliases"];
        const TYPE: &[&str] = &[
            "type",
            "name",
            "namespace",
            "doc",
            "fields",
            "items",
            "values",
            "symbols",
            "size",
            "default",
            "logicalType",
            "precision",
            "scale",
            "aliases",
        ];
        fn in_order(found: &serde_json::Map<String, Value>, order: &[&str], path: &str) {
            let places: Vec<_> = found
                .keys()
                .map(|key| order.iter().position(|known| known == key))
                .map(|place| place.unwrap_or_else(|| panic!("{path}: {:?}", found.keys())))
                .collect();
            assert!(places.is_sorted(), "{path}: {:?}", found.keys().collect::<Vec<_>>());
        }
        fn check(found: &Value, namespace: Option<&Value>, path: &str) {
            match found {
                Value::Array(union) => union.iter().for_each(|one| check(one, namespace, path)),
                Value::Object(members) => {
                    in_order(members, TYPE, path);
                    // A primitive without attributes is written as its name.
                    assert!(members.len() > 1, "{path}: {found}");
                    let own = members.get("namespace");
                    assert!(own.is_none() || own != namespace, "{path}: namespace twice");
                    for field in
                        members.get("fields").and_then(Value::as_array).into_iter().flatten()
                    {
                        let path = format!("{path}.{}", field["name"]);
                        in_order(field.as_object().unwrap(), FIELD, &path);
                        check(&field["type"], own.or(namespace), &path);
                    }
                    for inner in ["items", "values"] {
                        members
                            .get(inner)
                            .into_iter()
                            .for_each(|t| check(t, own.or(namespace), path));
                    }
                }
                _ => {}
            }
        }
        for known in all().unwrap() {
            assert!(!known.text.contains('\n') && !known.text.ends_with(' '), "{}", known.record);
            check(&serde_json::from_str(&known.text).unwrap(), None, known.record);
        }
    }

    #[test]
    fn every_schema_reads_what_its_released_version_wrote() {
        for ((record, released), known) in RELEASED.iter().zip(all().unwrap()) {
            assert_eq!(*record, known.record);
            let misfits = compare::misfits(&known.shape, &Shape::parse(released).unwrap());
            assert!(misfits.is_empty(), "{record}: {misfits:?}");
        }
    }
}
