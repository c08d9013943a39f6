//! Simple values, from JSON or from Avro, into the common form.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp, civil::Date};
use serde_json::Value;

use super::{
    datum::{self, Datum},
    json::{Json, shorten},
    shape::{Type, Unit},
};
use crate::domain::{command::Decimal, whole};

/// No decimal(18,4) is longer, written in any sensible way; and reading a number of a million
/// digits is work.
const MAX_NUMBER_TEXT: usize = 64;

/// What a person calls an Avro value.
pub(crate) fn describe(datum: &Datum<'_>) -> &'static str {
    match datum {
        Datum::Null => "null",
        Datum::Boolean(_) => "a boolean",
        Datum::Long(_) => "a whole number",
        Datum::Double(_) => "a floating-point number",
        Datum::Text(_) => "a string",
        Datum::Bytes(_) => "bytes",
        Datum::Symbol(_) => "an enum's symbol",
        Datum::Decimal(_) => "a decimal",
        Datum::Date(_) => "a date",
        Datum::Timestamp(..) => "a timestamp",
        Datum::LocalTimestamp(..) => "a timestamp without a zone",
        Datum::Array(_) => "an array",
        Datum::Map(_) => "a map",
        Datum::Record(..) => "a record",
    }
}

/// What is asked for, in the words of the JSON form.
fn expected(simple: &Type) -> String {
    match simple {
        Type::Null => "null".into(),
        Type::Boolean => "true or false".into(),
        Type::Int => "a whole number of 32 bits".into(),
        Type::Long => "a whole number of 64 bits".into(),
        Type::Float | Type::Double => "a number".into(),
        Type::Bytes | Type::Fixed(_) => "base64 text".into(),
        Type::Decimal { precision, scale, .. } => {
            format!("a number or its text, decimal({precision},{scale})")
        }
        Type::Date => "a date, yyyy-MM-dd".into(),
        Type::Timestamp(_) => {
            "a moment as RFC 3339 text (2026-01-31T08:00:00Z) or milliseconds since the epoch"
                .into()
        }
        Type::LocalTimestamp(_) => "a time without a zone".into(),
        Type::Enum { symbols, .. } => format!("one of {}", symbols.join(", ")),
        Type::String => "a string".into(),
        Type::Array(_) | Type::Map(_) | Type::Union(_) | Type::Record(_) => simple.describe(),
    }
}

/// Reads a simple value of the JSON form.
pub(crate) fn from_json(simple: &Type, json: Json<'_>) -> Result<Value, String> {
    let wrong = |got: &str| Err(format!("expected {}, got {got}", expected(simple)));
    match (simple, json) {
        (Type::Boolean, Json::Boolean(value)) => Ok(Value::Bool(value)),
        (Type::String, Json::String(text)) => Ok(Value::String(text)),
        (Type::Int | Type::Long, Json::Number(text)) => {
            // A sender that has only floating-point numbers writes 2.0.
            let number = plain_whole(text);
            let fits = number
                .filter(|number| matches!(simple, Type::Long) || i32::try_from(*number).is_ok());
            fits.map(Value::from).map_or_else(|| wrong(&shorten(text)), Ok)
        }
        (Type::Decimal { .. }, Json::Number(text)) => {
            decimal(text).map_or_else(|| wrong(&shorten(text)), Ok)
        }
        (Type::Decimal { .. }, Json::String(text)) => {
            decimal(&text).map_or_else(|| wrong("another text"), Ok)
        }
        (Type::Timestamp(_), Json::Number(text)) => match plain_whole(text) {
            Some(ms) if are_seconds(ms) => Err(SECONDS.to_owned()),
            ms => {
                let moment = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
                moment.map(millis).map_or_else(|| wrong(&shorten(text)), Ok)
            }
        },
        (Type::Timestamp(_), Json::String(text)) => {
            rfc3339(&text).map(millis).map_or_else(|| wrong("another text"), Ok)
        }
        (Type::Date, Json::String(text)) => date(&text)
            .map(|date| Value::from(date.to_string()))
            .map_or_else(|| wrong("another text"), Ok),
        (Type::Bytes, Json::String(text)) => match STANDARD.decode(&text) {
            Ok(_) => Ok(Value::String(text)),
            Err(_) => wrong("another text"),
        },
        (Type::Enum { symbols, .. }, Json::String(text)) => {
            if symbols.contains(&text) {
                return Ok(Value::String(text));
            }
            wrong(&if is_word(&text) { format!("`{text}`") } else { "another text".into() })
        }
        (_, json) => match json {
            Json::Object(members) if is_union_tag(&members) => {
                wrong("an object (the JSON form has no Avro union tags: give the value itself)")
            }
            other => wrong(other.describe()),
        },
    }
}

/// `{"string": "x"}`: how Avro's own JSON encoding writes a nullable value.
fn is_union_tag<T>(members: &[(String, T)]) -> bool {
    matches!(members, [(name, _)] if matches!(
        name.as_str(),
        "string" | "long" | "int" | "boolean" | "bytes"
    ))
}

/// Reads a simple Avro value, with the promotions of Avro's schema resolution.
pub(crate) fn from_avro(simple: &Type, datum: Datum<'_>) -> Result<Value, String> {
    let wrong = |got: &str| Err(format!("expected {}, got {got}", simple.describe()));
    match (simple, datum) {
        (Type::Boolean, Datum::Boolean(value)) => Ok(Value::Bool(value)),
        (Type::String, Datum::Text(text)) => Ok(Value::from(text)),
        (Type::String, Datum::Bytes(bytes)) => {
            std::str::from_utf8(bytes).map(Value::from).or_else(|_| wrong("bytes that are no text"))
        }
        (Type::Int, Datum::Long(number)) => match i32::try_from(number) {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => wrong("a larger number"),
        },
        (Type::Long, Datum::Long(number)) => Ok(Value::from(number)),
        // A writer that has only floating-point numbers; exact as long as it is below 2^53.
        (Type::Int | Type::Long, Datum::Double(number)) => match exact(number) {
            Some(number) if matches!(simple, Type::Long) || i32::try_from(number).is_ok() => {
                Ok(Value::from(number))
            }
            Some(_) | None => wrong("a floating-point number"),
        },
        (Type::Bytes, Datum::Bytes(bytes)) => Ok(Value::from(STANDARD.encode(bytes))),
        (Type::Bytes, Datum::Text(text)) => Ok(Value::from(STANDARD.encode(text))),
        (Type::Decimal { .. }, Datum::Decimal(text)) => {
            decimal(&text).map_or_else(|| wrong("a number with more digits"), Ok)
        }
        // A writer that left out the logical type wrote the unscaled number.
        (Type::Decimal { scale, .. }, Datum::Bytes(bytes)) => {
            let text = datum::decimal_text(bytes, *scale).ok();
            text.and_then(|text| decimal(&text))
                .map_or_else(|| wrong("a number with more digits"), Ok)
        }
        (Type::Date, Datum::Date(days)) => match epoch_date(days) {
            Some(date) => Ok(Value::from(date.to_string())),
            None => wrong("a date out of range"),
        },
        (Type::Timestamp(_), Datum::Timestamp(value, Unit::Millis) | Datum::Long(value))
            if are_seconds(value) =>
        {
            Err(SECONDS.to_owned())
        }
        (Type::Timestamp(_), Datum::Timestamp(value, unit)) => {
            moment(value, unit).map(millis).map_or_else(|| wrong("a moment out of range"), Ok)
        }
        (Type::Timestamp(_), Datum::Long(value)) => moment(value, Unit::Millis)
            .map(millis)
            .map_or_else(|| wrong("a moment out of range"), Ok),
        (Type::Enum { symbols, default, .. }, Datum::Symbol(symbol) | Datum::Text(symbol)) => {
            match (symbols.iter().any(|known| known == symbol), default) {
                (true, _) => Ok(Value::from(symbol)),
                (false, Some(default)) => Ok(Value::from(default.as_str())),
                (false, None) => Err(format!(
                    "expected {}, got {}",
                    expected(simple),
                    if is_word(symbol) { format!("`{symbol}`") } else { "another text".into() }
                )),
            }
        }
        (_, datum) => wrong(describe(&datum)),
    }
}

/// What a moment in seconds is told: in milliseconds it would lie in the first months of 1970, and a
/// command that expires there is never carried out.
const SECONDS: &str = "this looks like seconds since the epoch: give milliseconds, or RFC 3339 text \
     (2026-01-31T08:00:00Z)";

/// 2001 to 2128 in seconds.
fn are_seconds(value: i64) -> bool {
    (1_000_000_000..5_000_000_000).contains(&value)
}

/// A whole number that a double holds exactly.
fn exact(number: f64) -> Option<i64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < LARGEST).then_some(number as i64)
}

/// Whether an Avro value is what it would be had nobody set it.
pub(crate) fn is_unset(datum: &Datum<'_>, default: Option<&Value>) -> bool {
    match datum {
        Datum::Null => true,
        Datum::Array(items) => items.is_empty(),
        Datum::Map(entries) => entries.is_empty(),
        Datum::Boolean(value) => default == Some(&Value::from(*value)),
        Datum::Long(value) => default == Some(&Value::from(*value)),
        Datum::Text(text) | Datum::Symbol(text) => default == Some(&Value::from(*text)),
        Datum::Double(_)
        | Datum::Bytes(_)
        | Datum::Decimal(_)
        | Datum::Date(_)
        | Datum::Timestamp(..)
        | Datum::LocalTimestamp(..)
        | Datum::Record(..) => false,
    }
}

/// A whole number without an exponent: `2`, `2.0`.
fn plain_whole(text: &str) -> Option<i64> {
    whole(text).filter(|_| !text.contains(['e', 'E']))
}

/// An exact decimal from the text of a JSON number.
fn decimal(text: &str) -> Option<Value> {
    if text.len() > MAX_NUMBER_TEXT || !is_number(text) {
        return None;
    }
    Decimal::parse(text).map(|decimal| Value::from(decimal.plain()))
}

/// Whether a text is a number as JSON writes them (`1_000`, ` 1` and `+1` are not).
fn is_number(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text)
        .is_ok_and(|raw| raw.get().len() == text.len())
        && text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn millis(moment: Timestamp) -> Value {
    // Downwards, also before the epoch, as from a finer Avro unit.
    Value::from(moment.as_nanosecond().div_euclid(1_000_000) as i64)
}

/// `2026-01-31T08:00:00+08:00`; a text without a zone is no moment.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let separated = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    // A bracketed zone name (RFC 9557) is not RFC 3339.
    (separated && !text.contains('[')).then(|| text.parse().ok()).flatten()
}

fn date(text: &str) -> Option<Date> {
    (text.len() == 10).then(|| Date::strptime("%Y-%m-%d", text).ok()).flatten()
}

/// The moment of an Avro timestamp.
pub(crate) fn moment(value: i64, unit: Unit) -> Option<Timestamp> {
    match unit {
        Unit::Millis => Timestamp::from_millisecond(value).ok(),
        Unit::Micros => Timestamp::from_microsecond(value).ok(),
        Unit::Nanos => Timestamp::from_nanosecond(value.into()).ok(),
    }
}

/// The day of an Avro date.
pub(crate) fn epoch_date(days: i32) -> Option<Date> {
    Date::constant(1970, 1, 1).checked_add(SignedDuration::from_hours(i64::from(days) * 24)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_are_read_strictly() {
        for (text, plain) in [
            ("1.10", Some("1.1")),
            ("-0.0001", Some("-0.0001")),
            ("1e3", Some("1000")),
            ("12345678901234.5678", Some("12345678901234.5678")),
            ("0.00001", None),
            ("1_000", None),
            (" 1", None),
            ("+1", None),
            ("", None),
            ("1e999999999", None),
            ("1e-999999999", None),
        ] {
            assert_eq!(decimal(text), plain.map(Value::from), "{text}");
        }
        assert_eq!(decimal(&"1".repeat(1_000_000)), None);
        for (text, accepted) in [
            ("2026-02-28", true),
            ("2026-02-29", false),
            ("2026-2-28", false),
            ("20260228", false),
            ("2026-02-28T00:00:00Z", false),
        ] {
            assert_eq!(date(text).is_some(), accepted, "{text}");
        }
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("1970-01-01T08:00:00.0019+08:00", Some(1)),
            ("1969-12-31T23:59:59.9995Z", Some(-1)),
            ("1970-01-01T00:00:01", None),
            ("1970-01-01", None),
            ("1970-01-01T08:00:00+08:00[Asia/Shanghai]", None),
            ("1000", None),
        ] {
            assert_eq!(rfc3339(text).map(millis), expected.map(Value::from), "{text}");
        }
        assert_eq!(epoch_date(20_000).unwrap().to_string(), "2024-10-04");
        assert_eq!(epoch_date(i32::MAX), None);
    }
}
