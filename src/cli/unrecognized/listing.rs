//! Unrecognized webhooks as a person or a program reads them.

use serde_json::{Map, Value, json};

use super::super::records::{self, or_dash, put, readable, shorten, time, whole};
use crate::{kafka::ReadRecord, webhooks::KeptHeaders};

/// One line of `list`.
pub(super) fn line(kept: &ReadRecord, topics: bool, as_json: bool) -> String {
    let says = KeptHeaders::of(kept);
    if as_json {
        return Value::Object(summary(kept, &says)).to_string();
    }
    let topic = if topics { format!("{}/", kept.topic) } else { String::new() };
    let part = says.part.map(|(number, count)| format!(", part {number} of {count}"));
    let bytes = kept.payload.as_ref().map_or(0, Vec::len);
    [
        format!("{topic}{}/{}", kept.partition, kept.offset),
        time(kept).unwrap_or_else(|| "-".to_owned()),
        or_dash(says.account.as_deref()),
        or_dash(says.type_name.as_deref()),
        format!("{bytes} bytes{}", part.unwrap_or_default()),
        or_dash(says.reason.as_deref().map(shorten).as_deref()),
    ]
    .join("  ")
}

/// One webhook of `show`.
pub(super) fn shown(kept: &ReadRecord, value: bool, as_json: bool) -> String {
    if as_json {
        let mut members = summary(kept, &KeptHeaders::of(kept));
        members.insert("headers".to_owned(), records::headers_json(kept));
        if value {
            put(&mut members, "value", kept.payload.as_deref());
        }
        return Value::Object(members).to_string();
    }
    let body = match &kept.payload {
        Some(bytes) if !value => format!("{} bytes; --value prints it", bytes.len()),
        Some(bytes) => whole(bytes).unwrap_or_else(|| format!("0x{}", hex::encode(bytes))),
        None => readable(None),
    };
    format!("{}\n  value: {body}", records::headers_text(kept))
}

/// What `list` and `show` have in common. Never the body.
fn summary(kept: &ReadRecord, says: &KeptHeaders) -> Map<String, Value> {
    let mut members = records::members(kept);
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("account", json!(says.account));
    add("type", json!(says.type_name));
    add("reason", json!(says.kind()));
    add("message", json!(says.reason));
    add("part", json!(says.part.map(|(number, _)| number)));
    add("parts", json!(says.part.map(|(_, count)| count)));
    members
}
