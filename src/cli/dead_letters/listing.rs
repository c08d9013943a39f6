//! Dead letters as a person or a program reads them.

use std::{cell::Cell, collections::HashMap};

use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use super::super::records::{self, or_dash, put, readable, shorten, time, whole};
use crate::{
    app::topics,
    avro::{self, CommandReader, Limits, ReadError, Registry},
    commands::replay::Letter,
    config::Config,
    domain::Operation,
    kafka::ReadRecord,
};

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
        let message = says.message.as_deref().map(shorten);
        let topic = if self.topics { format!("{}/", record.topic) } else { String::new() };
        [
            format!("{topic}{}/{}", record.partition, record.offset),
            time(record).unwrap_or_else(|| "-".to_owned()),
            or_dash(record.key.as_deref().map(|key| readable(Some(key))).as_deref()),
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
    if json {
        let mut members = summary(record, &says);
        members.insert("headers".to_owned(), records::headers_json(record));
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
    let value = match &record.payload {
        Some(bytes) if !value => format!("{} bytes; --value prints it", bytes.len()),
        Some(bytes) => whole(bytes).unwrap_or_else(|| match reader.value(bytes) {
            Some(value) => format!("{value:#}"),
            None => format!("0x{}", hex::encode(bytes)),
        }),
        None => readable(None),
    };
    format!("{}\n  value: {value}", records::headers_text(record))
}

/// What `list` and `show` have in common. Never the value: it holds names, phones and addresses.
fn summary(record: &ReadRecord, says: &Letter) -> Map<String, Value> {
    let mut members = records::members(record);
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("category", json!(says.category.map(|category| category.name())));
    add("stage", json!(says.stage));
    add("message", json!(says.message));
    add("attempts", json!(says.attempts));
    add("commandTopic", json!(says.topic));
    add("commandPartition", json!(says.partition));
    add("commandOffset", json!(says.offset));
    add("incomplete", json!(says.incomplete));
    members
}
