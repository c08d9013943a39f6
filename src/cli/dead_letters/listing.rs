//! Dead letters as a person or a program reads them.

use std::{cell::Cell, collections::HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use crate::{
    app::topics,
    avro::{self, CommandReader, Limits, ReadError, Registry},
    commands::replay::Letter,
    config::Config,
    domain::Operation,
    kafka::ReadRecord,
};

/// The most characters of a message in a list.
const SHORT: usize = 120;

/// Reads commands as far as they can be read.
pub(super) struct Reader {
    reader: CommandReader,
    operations: HashMap<String, Option<Operation>>,
    runtime: Handle,
    /// A registry that did not answer once is not asked again: a list must not wait for each line.
    registry_is_away: Cell<bool>,
}

impl Reader {
    pub(super) fn new(config: &Config, registry: Option<Registry>, runtime: Handle) -> Self {
        Self {
            reader: CommandReader::new(registry, Limits::default()),
            operations: topics::command_operations(config).into_iter().collect(),
            runtime,
            registry_is_away: Cell::new(false),
        }
    }

    /// The value as JSON that a person reads, where it is Avro whose schema can be had.
    fn value(&self, payload: &[u8]) -> Option<Value> {
        if self.registry_is_away.get() {
            return None;
        }
        match self.runtime.block_on(avro::decode_to_json(&self.reader, payload)) {
            Ok(value) => Some(value),
            Err(ReadError::RegistryUnavailable { .. }) => {
                self.registry_is_away.set(true);
                None
            }
            Err(ReadError::Invalid { .. } | ReadError::Unreadable { .. }) => None,
        }
    }

    /// The account, which a command may name that is not readable as a whole.
    fn account(&self, record: &ReadRecord, says: &Letter) -> Option<String> {
        if self.registry_is_away.get() {
            return None;
        }
        let operation = says.topic.as_ref().and_then(|topic| *self.operations.get(topic)?);
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let reading = self.reader.read(operation, headers, record.payload.as_deref());
        match self.runtime.block_on(reading) {
            Ok(read) => Some(read.command.account().to_owned()),
            Err(ReadError::Invalid { identity, .. } | ReadError::Unreadable { identity, .. }) => {
                identity.account
            }
            Err(ReadError::RegistryUnavailable { .. }) => {
                self.registry_is_away.set(true);
                None
            }
        }
    }
}

/// Writes `list`.
pub(super) struct Listing {
    reader: Reader,
    json: bool,
    /// Whether each line names its topic.
    topics: bool,
}

impl Listing {
    pub(super) const fn new(reader: Reader, json: bool, topics: bool) -> Self {
        Self { reader, json, topics }
    }

    pub(super) fn line(&self, record: &ReadRecord) -> String {
        let says = Letter::of(&record.headers);
        let account = self.reader.account(record, &says);
        if self.json {
            let mut members = summary(record, &says);
            members.insert("account".to_owned(), json!(account));
            return Value::Object(members).to_string();
        }
        let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), one_line);
        let message = says.message.as_deref().map(shorten);
        let topic = if self.topics { format!("{}/", record.topic) } else { String::new() };
        [
            format!("{topic}{}/{}", record.partition, record.offset),
            time(record).unwrap_or_else(|| "-".to_owned()),
            or_dash(key(record).as_deref()),
            or_dash(says.category.map(|category| category.name())),
            or_dash(says.stage.as_deref()),
            or_dash(account.as_deref()),
            or_dash(message.as_deref()),
        ]
        .join("  ")
    }
}

/// Writes `show`.
pub(super) fn shown(record: &ReadRecord, reader: &Reader, value: bool, json: bool) -> String {
    let says = Letter::of(&record.headers);
    let headers = record.headers.iter();
    if json {
        let mut members = summary(record, &says);
        let headers = headers.map(|(name, value)| {
            let mut header = Map::new();
            header.insert("name".to_owned(), json!(name));
            put(&mut header, "value", value.as_deref());
            Value::Object(header)
        });
        members.insert("headers".to_owned(), Value::Array(headers.collect()));
        if value {
            put(&mut members, "value", record.payload.as_deref());
            // As it lies there, and as it reads: text is readable already.
            let avro =
                record.payload.as_deref().filter(|bytes| std::str::from_utf8(bytes).is_err());
            if let Some(value) = avro.and_then(|bytes| reader.value(bytes)) {
                members.insert("valueJson".to_owned(), value);
            }
        }
        return Value::Object(members).to_string();
    }
    let mut text =
        format!("{} partition {} offset {}", record.topic, record.partition, record.offset);
    let mut line = |name: &str, value: String| {
        text += &format!("\n  {name}: {value}");
    };
    line("time", time(record).unwrap_or_else(|| "-".to_owned()));
    line("key", readable(record.key.as_deref()));
    for (name, value) in headers {
        line(&one_line(name), readable(value.as_deref()));
    }
    line(
        "value",
        match &record.payload {
            Some(bytes) if !value => format!("{} bytes; --value prints it", bytes.len()),
            Some(bytes) => whole(bytes).unwrap_or_else(|| match reader.value(bytes) {
                Some(value) => format!("{value:#}"),
                None => format!("0x{}", hex::encode(bytes)),
            }),
            None => readable(None),
        },
    );
    text
}

/// What `list` and `show` have in common. Never the value: it holds names, phones and addresses.
fn summary(record: &ReadRecord, says: &Letter) -> Map<String, Value> {
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("topic", json!(record.topic));
    add("partition", json!(record.partition));
    add("offset", json!(record.offset));
    add("time", json!(time(record)));
    add("category", json!(says.category.map(|category| category.name())));
    add("stage", json!(says.stage));
    add("message", json!(says.message));
    add("attempts", json!(says.attempts));
    add("commandTopic", json!(says.topic));
    add("commandPartition", json!(says.partition));
    add("commandOffset", json!(says.offset));
    add("bytes", json!(record.payload.as_ref().map(Vec::len)));
    add("incomplete", json!(says.incomplete));
    put(&mut members, "key", record.key.as_deref());
    members
}

/// Text as it is; what is no text as base64, under a name that says so.
fn put(members: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => members.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => members.insert(name.to_owned(), json!(text)),
        Some(Err(_)) => {
            members.insert(format!("{name}Base64"), json!(bytes.map(|b| STANDARD.encode(b))))
        }
    };
}

fn time(record: &ReadRecord) -> Option<String> {
    let moment = Timestamp::from_millisecond(record.timestamp?).ok()?;
    Some(format!("{moment:.3}"))
}

fn key(record: &ReadRecord) -> Option<String> {
    record.key.as_deref().map(|key| readable(Some(key)))
}

/// Text, with what moves the cursor escaped; hexadecimal digits of what is no text.
fn readable(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("0x{}", hex::encode(bytes)) };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// A value that is text, which may have lines.
fn whole(bytes: &[u8]) -> Option<String> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars().all(harmless).then(|| text.to_owned())
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= SHORT {
        return text.to_owned();
    }
    text.chars().take(SHORT - 1).chain(['…']).collect()
}
