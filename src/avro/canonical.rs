//! The Parsing Canonical Form of a schema and its CRC-64-AVRO fingerprint (Avro specification,
//! "Parsing Canonical Form for Schemas").
//!
//! Written here because the library's form keeps `precision` and `scale` and does not reduce a
//! logical type to its primitive's name: its fingerprint of any schema with a decimal or a
//! timestamp is another one than Java's or Python's, and their readers would not find the schema.

use std::{collections::HashSet, fmt::Write};

use super::shape::{Fixed, Shape, Type, TypeId};

/// The canonical text.
pub(crate) fn canonical_form(shape: &Shape) -> String {
    let mut text = String::new();
    write_type(shape, shape.root(), &mut HashSet::new(), &mut text);
    text
}

/// The fingerprint of a canonical text.
pub(crate) fn fingerprint(canonical: &str) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    canonical.bytes().fold(EMPTY, |mut crc, byte| {
        crc ^= u64::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (EMPTY & (crc & 1).wrapping_neg());
        }
        crc
    })
}

fn write_type<'s>(shape: &'s Shape, id: TypeId, seen: &mut HashSet<&'s str>, out: &mut String) {
    match shape.get(id) {
        Type::Null => out.push_str("\"null\""),
        Type::Boolean => out.push_str("\"boolean\""),
        Type::Int | Type::Date => out.push_str("\"int\""),
        Type::Long | Type::Timestamp(_) | Type::LocalTimestamp(_) => out.push_str("\"long\""),
        Type::Float => out.push_str("\"float\""),
        Type::Double => out.push_str("\"double\""),
        Type::Bytes | Type::Decimal { fixed: None, .. } => out.push_str("\"bytes\""),
        Type::String => out.push_str("\"string\""),
        Type::Fixed(fixed) | Type::Decimal { fixed: Some(fixed), .. } => {
            write_fixed(fixed, seen, out);
        }
        Type::Array(items) => {
            out.push_str("{\"type\":\"array\",\"items\":");
            write_type(shape, *items, seen, out);
            out.push('}');
        }
        Type::Map(values) => {
            out.push_str("{\"type\":\"map\",\"values\":");
            write_type(shape, *values, seen, out);
            out.push('}');
        }
        Type::Union(variants) => {
            out.push('[');
            separated(variants, out, |variant, out| write_type(shape, *variant, seen, out));
            out.push(']');
        }
        Type::Enum { name, symbols, .. } => {
            if name_only(name, seen, out) {
                return;
            }
            push(out, format_args!("{{\"name\":\"{name}\",\"type\":\"enum\",\"symbols\":["));
            separated(symbols, out, |symbol, out| push(out, format_args!("\"{symbol}\"")));
            out.push_str("]}");
        }
        Type::Record(record) => {
            if name_only(&record.name, seen, out) {
                return;
            }
            let name = &record.name;
            push(out, format_args!("{{\"name\":\"{name}\",\"type\":\"record\",\"fields\":["));
            separated(&record.fields, out, |field, out| {
                push(out, format_args!("{{\"name\":\"{}\",\"type\":", field.name));
                write_type(shape, field.type_id, seen, out);
                out.push('}');
            });
            out.push_str("]}");
        }
    }
}

fn write_fixed<'s>(fixed: &'s Fixed, seen: &mut HashSet<&'s str>, out: &mut String) {
    let Fixed { name, size } = fixed;
    if !name_only(name, seen, out) {
        push(out, format_args!("{{\"name\":\"{name}\",\"type\":\"fixed\",\"size\":{size}}}"));
    }
}

/// Writes the name alone where the type was defined before.
fn name_only<'s>(name: &'s str, seen: &mut HashSet<&'s str>, out: &mut String) -> bool {
    let again = !seen.insert(name);
    if again {
        push(out, format_args!("\"{name}\""));
    }
    again
}

fn separated<T>(items: &[T], out: &mut String, mut write: impl FnMut(&T, &mut String)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    out.write_fmt(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_the_specifications() {
        // Avro's own test data (schema-tests.txt): canonical form and fingerprint as a signed long.
        for (schema, canonical, expected) in [
            (r#""null""#, r#""null""#, 7_195_948_357_588_979_594_i64),
            (r#"{"type":"boolean"}"#, r#""boolean""#, -6_970_731_678_124_411_036),
            (r#""int""#, r#""int""#, 8_247_732_601_305_521_295),
            (
                r#"{"type":"fixed","name":"foo","namespace":"","size":15}"#,
                r#"{"name":"foo","type":"fixed","size":15}"#,
                1_756_455_273_707_447_556,
            ),
            (
                r#"{"type":"record","name":"foo","doc":"d","fields":[{"name":"f1","type":"boolean","default":true}]}"#,
                r#"{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"}]}"#,
                7_843_277_075_252_814_651,
            ),
        ] {
            let form = canonical_form(&Shape::parse(schema).unwrap());
            assert_eq!(form, canonical);
            assert_eq!(fingerprint(&form).cast_signed(), expected, "{schema}");
        }
    }

    #[test]
    fn logical_types_are_reduced_and_names_are_written_once() {
        let schema = r#"{"type":"record","name":"R","namespace":"a.b","fields":[
            {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":4}},
            {"name":"t","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["X"],"default":"X"}},
            {"name":"f","type":"E"}]}"#;
        assert_eq!(
            canonical_form(&Shape::parse(schema).unwrap()),
            r#"{"name":"a.b.R","type":"record","fields":[{"name":"d","type":"bytes"},{"name":"t","type":["null","long"]},{"name":"e","type":{"name":"a.b.E","type":"enum","symbols":["X"]}},{"name":"f","type":"a.b.E"}]}"#
        );
    }
}
