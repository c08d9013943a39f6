//! Any record as JSON that a person reads: moments as RFC 3339, times without a zone without one,
//! decimals as text, bytes as base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::tz::Offset;
use serde_json::{Map, Value};

use super::{
    datum::{self, Datum},
    frame::{self, Frame},
    json,
    reader::{CommandReader, Identity, ReadError},
    scalar,
};

/// Decodes a record's value, framed Avro or JSON, into readable JSON.
pub async fn decode_to_json(reader: &CommandReader, payload: &[u8]) -> Result<Value, ReadError> {
    let unreadable = |message: String| ReadError::Unreadable { message, identity: Box::default() };
    match frame::split(None, Some(payload)).map_err(unreadable)? {
        Frame::Json(text) => {
            let raw = json::parse(text, reader.limits().depth).map_err(unreadable)?;
            serde_json::from_str(raw.get()).map_err(|e| unreadable(e.to_string()))
        }
        frame => {
            let (writer, bytes) =
                reader.writer(frame).await.map_err(|e| e.error(Identity::default()))?;
            let datum = datum::decode(&writer, bytes, reader.limits())
                .map_err(|e| unreadable(e.to_string()))?;
            Ok(readable(datum))
        }
    }
}

fn readable(datum: Datum<'_>) -> Value {
    match datum {
        Datum::Null => Value::Null,
        Datum::Boolean(value) => Value::Bool(value),
        Datum::Long(value) => Value::from(value),
        Datum::Double(value) => Value::from(value),
        Datum::Text(text) | Datum::Symbol(text) => Value::from(text),
        Datum::Bytes(bytes) => Value::from(STANDARD.encode(bytes)),
        Datum::Decimal(text) => Value::from(text),
        Datum::Date(days) => scalar::epoch_date(days)
            .map_or_else(|| Value::from(days), |date| Value::from(date.to_string())),
        Datum::Timestamp(value, unit) => scalar::moment(value, unit)
            .map_or_else(|| Value::from(value), |moment| Value::from(moment.to_string())),
        Datum::LocalTimestamp(value, unit) => scalar::moment(value, unit).map_or_else(
            || Value::from(value),
            |moment| Value::from(Offset::UTC.to_datetime(moment).to_string()),
        ),
        Datum::Array(items) => Value::Array(items.into_iter().map(readable).collect()),
        Datum::Map(entries) => Value::Object(
            entries.into_iter().map(|(name, value)| (name.to_owned(), readable(value))).collect(),
        ),
        Datum::Record(record, values) => {
            let names = record.fields.iter().map(|field| field.name.clone());
            Value::Object(names.zip(values.into_iter().map(readable)).collect::<Map<_, _>>())
        }
    }
}
