//! Commands written: from their JSON form to Avro, checked by the same rules as on reading.

use apache_avro::{
    Decimal as AvroDecimal, types::Value as AvroValue, writer::datum::GenericDatumWriter,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bigdecimal::BigDecimal;
use jiff::civil::Date;
use serde_json::Value;

use super::{
    encode::Prefix,
    json,
    limits::Limits,
    schemas,
    shape::{Shape, Type, TypeId},
    walk::{self, Source},
};
use crate::domain::{Faults, Invalid, Operation};

/// Encodes a command given in its JSON form. The error names the field.
pub fn encode_command(operation: Operation, json: &str, prefix: Prefix) -> Result<Vec<u8>, Faults> {
    let invalid = |message: String| Invalid { field: None, message };
    let limits = Limits::default();
    let known = schemas::of_record(operation.record()).map_err(|e| invalid(e.to_string()))?;
    let raw = json::parse(json.trim_start_matches('\u{feff}'), limits.depth).map_err(invalid)?;
    let normal = walk::normalise(&known.shape, Source::Json(raw), &limits)?;
    let value = to_avro(&known.shape, known.shape.root(), normal.value)
        .ok_or_else(|| invalid("it does not fit its schema".into()))?;
    let datum = GenericDatumWriter::builder(&known.schema)
        .build()
        .and_then(|writer| writer.write_value_to_vec(value))
        .map_err(|e| invalid(format!("it does not fit its schema: {e}")))?;
    Ok([prefix.bytes(known), datum].concat())
}

/// A value of the common form (see `walk`) as the library's.
fn to_avro(shape: &Shape, id: TypeId, value: Value) -> Option<AvroValue> {
    Some(match (shape.get(id), value) {
        (Type::Null, Value::Null) => AvroValue::Null,
        (Type::Boolean, Value::Bool(value)) => AvroValue::Boolean(value),
        (Type::Int, value) => AvroValue::Int(value.as_i64()?.try_into().ok()?),
        (Type::Long, value) => AvroValue::Long(value.as_i64()?),
        (Type::Timestamp(_), value) => AvroValue::TimestampMillis(value.as_i64()?),
        (Type::String, Value::String(text)) => AvroValue::String(text),
        // `vendorFields`: any JSON becomes its text.
        (Type::String, value) => AvroValue::String(value.to_string()),
        (Type::Bytes, Value::String(text)) => AvroValue::Bytes(STANDARD.decode(text).ok()?),
        (Type::Decimal { scale, .. }, Value::String(text)) => {
            let number: BigDecimal = text.parse().ok()?;
            let (unscaled, _) =
                number.with_scale(i64::try_from(*scale).ok()?).into_bigint_and_exponent();
            AvroValue::Decimal(AvroDecimal::from(unscaled.to_signed_bytes_be()))
        }
        (Type::Date, Value::String(text)) => {
            let date: Date = text.parse().ok()?;
            let days = (date - Date::constant(1970, 1, 1)).get_days();
            AvroValue::Date(days)
        }
        (Type::Enum { symbols, .. }, Value::String(symbol)) => {
            let index = symbols.iter().position(|known| *known == symbol)?;
            AvroValue::Enum(u32::try_from(index).ok()?, symbol)
        }
        (Type::Array(items), Value::Array(values)) => AvroValue::Array(
            values.into_iter().map(|value| to_avro(shape, *items, value)).collect::<Option<_>>()?,
        ),
        (Type::Map(values), Value::Object(members)) => AvroValue::Map(
            members
                .into_iter()
                .map(|(name, value)| Some((name, map_value(shape, *values, value)?)))
                .collect::<Option<_>>()?,
        ),
        (Type::Union(variants), value) => {
            let wants_null = value.is_null();
            let index = variants
                .iter()
                .position(|id| matches!(shape.get(*id), Type::Null) == wants_null)?;
            let inner = to_avro(shape, *variants.get(index)?, value)?;
            AvroValue::Union(u32::try_from(index).ok()?, Box::new(inner))
        }
        (Type::Record(record), Value::Object(mut members)) => AvroValue::Record(
            record
                .fields
                .iter()
                .map(|field| {
                    let value = members.remove(&field.name)?;
                    Some((field.name.clone(), to_avro(shape, field.type_id, value)?))
                })
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// The only maps of commands are `vendorFields`, whose strings are JSON texts.
fn map_value(shape: &Shape, id: TypeId, value: Value) -> Option<AvroValue> {
    match shape.get(id) {
        Type::String => Some(AvroValue::String(value.to_string())),
        _ => to_avro(shape, id, value),
    }
}
