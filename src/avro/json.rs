//! JSON read one level at a time: numbers and free values keep their exact text, repeated names are
//! seen, and nothing is built for what the schema does not ask for.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// One value, its children unread.
#[derive(Debug)]
pub(crate) enum Json<'a> {
    Null,
    Boolean(bool),
    /// The number's text.
    Number(&'a str),
    String(String),
    Array(Vec<&'a RawValue>),
    Object(Vec<(String, &'a RawValue)>),
}

impl Json<'_> {
    /// What a person calls it.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// The whole of `text` as one value, nested at most `depth` deep.
pub(crate) fn parse(text: &str, depth: usize) -> Result<&RawValue, String> {
    // Reading a raw value does not recurse, so the nesting is bounded by a count of our own.
    let raw: &RawValue = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if nesting(raw.get()) > depth {
        return Err(format!("it is nested more than {depth} deep"));
    }
    Ok(raw)
}

/// How deep the brackets of valid JSON go.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
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

/// Opens one level of a value.
pub(crate) fn open(raw: &RawValue) -> Result<Json<'_>, String> {
    let text = raw.get();
    let read = |e: serde_json::Error| e.to_string();
    Ok(match text.bytes().next() {
        Some(b'n') => Json::Null,
        Some(b't') => Json::Boolean(true),
        Some(b'f') => Json::Boolean(false),
        Some(b'"') => Json::String(serde_json::from_str(text).map_err(read)?),
        Some(b'[') => Json::Array(serde_json::from_str(text).map_err(read)?),
        Some(b'{') => {
            let members = members(raw).map_err(read)?;
            let mut names = HashSet::with_capacity(members.len());
            for (name, _) in &members {
                if !names.insert(name.as_str()) {
                    return Err(format!("the name `{}` stands in it twice", shorten(name)));
                }
                // These names mean something to the JSON library and would change the value.
                if name.starts_with("$serde_json::private::") {
                    return Err("it has a member with a reserved name".to_owned());
                }
            }
            Json::Object(members)
        }
        _ => Json::Number(text),
    })
}

/// An object's members as they come, repeated names included.
pub(crate) fn members(raw: &RawValue) -> Result<Vec<(String, &RawValue)>, serde_json::Error> {
    serde_json::from_str(raw.get()).map(|Members(members)| members)
}

/// Opens a free value to its bottom, so that nothing in it is lost when it is rebuilt. `values` is
/// what is left of the number of values.
pub(crate) fn open_all(raw: &RawValue, values: &mut usize) -> Result<(), String> {
    *values = values.checked_sub(1).ok_or_else(|| "it holds too many values".to_owned())?;
    match open(raw)? {
        Json::Array(items) => items.into_iter().try_for_each(|item| open_all(item, values)),
        Json::Object(members) => {
            members.into_iter().try_for_each(|(_, value)| open_all(value, values))
        }
        Json::Null | Json::Boolean(_) | Json::Number(_) | Json::String(_) => Ok(()),
    }
}

/// A sender's word, short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(text, 40)
}

/// A text of at most `length` characters, none of them a control character.
pub(crate) fn shorten_to(text: &str, length: usize) -> String {
    let mut short: String =
        text.chars().take(length).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(length).is_some() {
        short.push('…');
    }
    short
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sound_json_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        for (text, accepted) in [
            ("{}".to_owned(), true),
            (" [1, {\"a\": \"]]]\\\"[\"}] ".to_owned(), true),
            ("{".to_owned(), false),
            ("{} x".to_owned(), false),
            (String::new(), false),
            (deep(64), true),
            (deep(65), false),
            (deep(200_000), false),
        ] {
            assert_eq!(parse(&text, 64).is_ok(), accepted, "{}", shorten(&text));
        }
    }

    #[test]
    fn a_free_value_may_not_hold_what_rebuilding_would_lose() {
        for (text, accepted) in [
            (r#"{"a":1.10,"b":[{"c":null}]}"#, true),
            (r#"{"a":{"b":1,"b":2}}"#, false),
            (r#"[{"$serde_json::private::Number":"1"}]"#, false),
            (r#"["\ud800"]"#, false),
            ("[1,2,3,4,5,6,7,8,9,10]", false),
        ] {
            let raw = parse(text, 64).unwrap();
            assert_eq!(open_all(raw, &mut 10).is_ok(), accepted, "{text}");
        }
    }
}
