//! JSON read as raw texts, so that every number and every repeated key stays as it was sent.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Nobody nests a push deeper; a body of brackets must not cost a stack.
pub(super) const MAX_DEPTH: usize = 64;

/// An object's members in the order they came, repeated keys included, values as raw texts.
pub(super) type Members<'a> = Vec<(String, &'a str)>;

/// Why a text is not read as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    NotJson,
    TooDeep,
}

/// Whether a text is one JSON value, not nested too deeply.
pub(super) fn well_formed(text: &str) -> Result<(), Malformed> {
    // `RawValue` reads any depth without a stack of its own; what reads it later may not.
    if depth(text) > MAX_DEPTH {
        return Err(Malformed::TooDeep);
    }
    serde_json::from_str::<&RawValue>(text).map(|_| ()).map_err(|_| Malformed::NotJson)
}

/// The members of an object; `None` where the text is not an object.
pub(super) fn members(text: &str) -> Option<Members<'_>> {
    struct Object<'a>(Members<'a>);
    impl<'de> Deserialize<'de> for Object<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(EachMember).map(Self)
        }
    }
    struct EachMember;
    impl<'de> Visitor<'de> for EachMember {
        type Value = Members<'de>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                members.push((name, map.next_value::<&'de RawValue>()?.get()));
            }
            Ok(members)
        }
    }
    serde_json::from_str::<Object<'_>>(text).ok().map(|object| object.0)
}

/// The elements of an array; `None` where the text is not an array.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The text of a JSON string; `None` where it is not one.
pub(super) fn string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// The text of a string, number or boolean; `None` for `null`, an array or an object.
pub(super) fn scalar(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => string(raw),
        b'{' | b'[' | b'n' => None,
        _ => Some(raw.to_owned()),
    }
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The last of an object's members of that name: the one that wins.
pub(super) fn last<'a>(members: &Members<'a>, name: &str) -> Option<&'a str> {
    members.iter().rev().find(|(member, _)| member == name).map(|(_, raw)| *raw)
}

/// How deeply arrays and objects are nested. Brackets inside strings do not count.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_order_repetition_and_number_texts() {
        let text = r#"{"a":1.10,"b":{"c":[1, 2]},"a":12345678901234567890123,"é":"x"}"#;
        let raw = |t: &[(&'static str, &'static str)]| -> Vec<(String, &'static str)> {
            t.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect()
        };
        let expected = raw(&[
            ("a", "1.10"),
            ("b", r#"{"c":[1, 2]}"#),
            ("a", "12345678901234567890123"),
            ("é", "\"x\""),
        ]);
        assert_eq!(members(text).unwrap(), expected);
        assert_eq!(last(&members(text).unwrap(), "a"), Some("12345678901234567890123"));
        for not_an_object in ["[1]", "1", "\"x\"", "null", "", "{", "{} x"] {
            assert_eq!(members(not_an_object), None, "{not_an_object}");
        }
    }

    #[test]
    fn depth_is_bounded_and_strings_do_not_nest() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        for (text, result) in [
            (nested(64), Ok(())),
            (nested(65), Err(Malformed::TooDeep)),
            (nested(200_000), Err(Malformed::TooDeep)),
            (format!("\"{}\"", "[".repeat(100)), Ok(())),
            (format!("\"\\\"{}\"", "{".repeat(100)), Ok(())),
            ("{\"a\":1".to_owned(), Err(Malformed::NotJson)),
            (String::new(), Err(Malformed::NotJson)),
        ] {
            assert_eq!(well_formed(&text), result);
        }
    }
}
