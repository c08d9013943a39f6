//! JSON read as raw slices: what the vendor wrote stays what the vendor wrote.
//!
//! Neither serde's derive (it refuses a repeated key) nor `serde_json::Value` (it keeps one of
//! them) does for the guide's own samples, so objects are read by a visitor of our own.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deeply a text may be nested. A raw value alone lets 200,000 brackets through, which would
/// bring down whoever reads `extra` later.
pub(super) const MAX_DEPTH: usize = 64;

/// Whether brackets are nested more deeply than [`MAX_DEPTH`].
pub(super) fn too_deep(text: &str) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_text = true,
                b'{' | b'[' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return true;
                    }
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    false
}

/// The members of an object in the order they came, repeated ones included; values as raw texts.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// Reads the text of one object.
    pub(super) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The raw text of a member; of a repeated one the last.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(member, _)| member == name).map(|(_, raw)| *raw)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(12);
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value::<&'de RawValue>()?.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A member's name, borrowed where it holds no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The content of a raw JSON text; `None` where it is no text, or one with half a surrogate pair.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The exact text of a number, or the content of a text; `None` for anything else.
pub(super) fn text_or_number(raw: &str) -> Option<Cow<'_, str>> {
    if is_number(raw) { Some(Cow::Borrowed(raw)) } else { text(raw) }
}

/// Whether a raw JSON value is a number.
pub(super) fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_their_repetitions_and_their_numbers() {
        let members = Members::read(
            r#"{ "a" : 1.10, "a":12345678901234567890123, "\u0062":"x\ny", "c":[ 1 ] }"#,
        )
        .unwrap();
        let found: Vec<_> = members.0.iter().map(|(name, raw)| (name.as_ref(), *raw)).collect();
        assert_eq!(
            found,
            [("a", "1.10"), ("a", "12345678901234567890123"), ("b", r#""x\ny""#), ("c", "[ 1 ]")]
        );
        assert_eq!(members.get("a"), Some("12345678901234567890123"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["1", "[]", "null", "{", r#"{"a":}"#, r#"{"a":1}x"#, r#"{"a":01}"#, ""] {
            assert!(Members::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_is_counted_outside_texts() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for (text, deep) in [
            (nested(64), false),
            (nested(65), true),
            (format!("\"{}\"", "[".repeat(100)), false),
            (format!(r#""\"{}""#, "[".repeat(100)), false),
            (format!(r#""\\"{}"#, nested(65)), true),
            ("[]".repeat(100), false),
        ] {
            assert_eq!(too_deep(&text), deep, "{text}");
        }
    }

    #[test]
    fn texts_are_unescaped() {
        for (raw, expected) in [
            (r#""a""#, Some("a")),
            (r#""\u4e2d\n""#, Some("中\n")),
            (r#""\ud800""#, None),
            ("1", None),
            ("null", None),
        ] {
            assert_eq!(text(raw).as_deref(), expected, "{raw}");
        }
    }
}
