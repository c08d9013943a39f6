//! Commands as they come off a topic: Avro in any of its framings, or JSON.
//!
//! A sender's mistake is told apart from what nobody can read: the first is [`ReadError::Invalid`]
//! and names the field, the second is [`ReadError::Unreadable`]. A registry that does not answer is
//! neither, it is waited for.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use super::{
    datum::{self, Datum},
    frame::{self, Frame, SCHEMA_ID_HEADER},
    json::{self, Json},
    limits::Limits,
    registry::{Registry, RegistryError},
    schemas,
    shape::{Shape, short},
    walk::{self, Source},
};
use crate::domain::{Command, Faults, Invalid, Operation};

/// The CloudEvents header that says what a JSON command on the mixed topic is.
const CE_TYPE: &str = "ce_type";
/// The namespace of our command records.
const NAMESPACE: &str = "wms.commands.";

/// A command that could be read.
#[derive(Debug)]
pub struct ReadCommand {
    pub command: Command,
    /// Whether it came as JSON (its reply goes back as JSON where it names a topic of its own).
    pub json: bool,
    /// Paths of what a newer Avro schema set and ours does not know; for `ignoredFields`.
    pub ignored: Vec<String>,
}

/// What is known of a command that could not be read whole, so that its reply can name it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub operation: Option<Operation>,
    pub account: Option<String>,
    pub command_id: Option<String>,
    pub document_number: Option<String>,
    /// Whether it came as JSON, or at least not as Avro.
    pub json: bool,
}

/// Why there is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// An unknown or missing field or a wrong kind of value: `REJECTED`, `INVALID`.
    #[error("{faults}")]
    Invalid { faults: Box<Faults>, identity: Box<Identity> },
    /// Not JSON, broken Avro, no value, or not to be told what it is: `FAILED`, `UNREADABLE`.
    #[error("{message}")]
    Unreadable { message: String, identity: Box<Identity> },
    /// The registry does not answer: wait and read again.
    #[error("{message}")]
    RegistryUnavailable { message: String },
}

impl ReadError {
    fn unreadable(message: impl Into<String>, identity: Identity) -> Self {
        Self::Unreadable { message: message.into(), identity: Box::new(identity) }
    }

    fn invalid(faults: impl Into<Faults>, identity: Identity) -> Self {
        Self::Invalid { faults: Box::new(faults.into()), identity: Box::new(identity) }
    }
}

/// Reads commands.
#[derive(Debug, Clone)]
pub struct CommandReader {
    registry: Option<Registry>,
    limits: Limits,
}

impl CommandReader {
    /// Without a registry, Avro is read in single-object encoding only.
    pub fn new(registry: Option<Registry>, limits: Limits) -> Self {
        Self { registry, limits }
    }

    /// Reads one record of a command topic. `expected` is the topic's operation, `None` on the
    /// mixed topic, where the Avro record's name or the header `ce_type` says which it is. A header
    /// or a record's name that says another command than the topic makes the record unreadable:
    /// nobody can tell what its sender meant.
    pub fn read<'a>(
        &'a self,
        expected: Option<Operation>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        payload: Option<&'a [u8]>,
    ) -> impl Future<Output = Result<ReadCommand, ReadError>> + Send + 'a {
        // The last of several headers with one name counts, as Kafka's clients have it.
        let (mut schema_id, mut ce_type) = (None, None);
        for (name, value) in headers {
            match name {
                SCHEMA_ID_HEADER => schema_id = Some(value),
                CE_TYPE => ce_type = value.and_then(|value| std::str::from_utf8(value).ok()),
                _ => {}
            }
        }
        self.read_framed(expected, schema_id, ce_type, payload)
    }

    async fn read_framed(
        &self,
        expected: Option<Operation>,
        schema_id: Option<Option<&[u8]>>,
        ce_type: Option<&str>,
        payload: Option<&[u8]>,
    ) -> Result<ReadCommand, ReadError> {
        let unknown = Identity { operation: expected, json: true, ..Identity::default() };
        if let Some(size) = payload.map(<[u8]>::len).filter(|size| *size > self.limits.bytes) {
            let limit = self.limits.bytes;
            let message = format!("the value has {size} bytes, more than {limit}");
            return Err(ReadError::unreadable(message, unknown));
        }
        let frame = frame::split(schema_id, payload)
            .map_err(|message| ReadError::unreadable(message, unknown.clone()))?;
        let said = ce_type.and_then(Operation::of_record);
        let (writer, bytes) = match frame {
            Frame::Json(text) => return self.read_json(expected, ce_type, said, text),
            frame => self
                .writer(frame)
                .await
                .map_err(|e| e.error(Identity { json: false, ..unknown }))?,
        };
        self.read_avro(expected, said, &writer, bytes)
    }

    fn read_json(
        &self,
        expected: Option<Operation>,
        ce_type: Option<&str>,
        said: Option<Operation>,
        text: &str,
    ) -> Result<ReadCommand, ReadError> {
        let mut identity =
            Identity { operation: expected.or(said), json: true, ..Identity::default() };
        let raw = match json::parse(text, self.limits.depth) {
            Ok(raw) => raw,
            Err(error) => {
                return Err(ReadError::unreadable(
                    format!("the value is no usable JSON: {error}"),
                    identity,
                ));
            }
        };
        identity.remember(&Source::Json(raw));
        let operation = match (expected, said) {
            (Some(expected), Some(said)) if expected != said => {
                return Err(contradiction(expected, said, identity));
            }
            (Some(operation), _) | (None, Some(operation)) => operation,
            (None, None) => {
                let message = match ce_type {
                    Some(other) => format!(
                        "the header `{CE_TYPE}` says `{}`, which is no command",
                        json::shorten(other)
                    ),
                    None => format!(
                        "JSON on this topic needs the header `{CE_TYPE}` ({})",
                        Operation::CreateOrder.record()
                    ),
                };
                return Err(ReadError::unreadable(message, identity));
            }
        };
        self.finish(operation, Source::Json(raw), identity)
    }

    fn read_avro(
        &self,
        expected: Option<Operation>,
        said: Option<Operation>,
        writer: &Shape,
        bytes: &[u8],
    ) -> Result<ReadCommand, ReadError> {
        let mut identity = Identity { operation: expected, ..Identity::default() };
        let datum = match datum::decode(writer, bytes, &self.limits) {
            Ok(datum) => datum,
            Err(error) => {
                return Err(ReadError::unreadable(format!("broken Avro: {error}"), identity));
            }
        };
        let Datum::Record(record, _) = &datum else {
            return Err(ReadError::unreadable("the Avro value is not a record", identity));
        };
        // On its own topic the name without its namespace is enough, as in Avro's resolution.
        let named = Operation::of_record(&record.name).or_else(|| {
            Operation::of_record(&format!("{NAMESPACE}{}", short(&record.name)))
                .filter(|operation| expected == Some(*operation))
        });
        // What somebody else's tool generates it also names (Flink, Spark, Connect). The topic says what
        // it is, and its fields whether they fit.
        let Some(operation) = named.or(expected) else {
            let message = format!(
                "the Avro record `{}` is no command; on this topic the name says which it is: {}",
                json::shorten(&record.name),
                Operation::ALL.map(Operation::record).join(", ")
            );
            return Err(ReadError::unreadable(message, identity));
        };
        let source = Source::Avro(datum);
        identity.remember(&source);
        for other in [expected, said].into_iter().flatten() {
            if other != operation {
                return Err(contradiction(other, operation, identity));
            }
        }
        identity.operation = Some(operation);
        self.finish(operation, source, identity)
    }

    fn finish(
        &self,
        operation: Operation,
        source: Source<'_>,
        identity: Identity,
    ) -> Result<ReadCommand, ReadError> {
        let known = match schemas::of_record(operation.record()) {
            Ok(known) => known,
            Err(error) => return Err(ReadError::unreadable(error.to_string(), identity)),
        };
        let normal = match walk::normalise(&known.shape, source, &self.limits) {
            Ok(normal) => normal,
            Err(faults) => return Err(ReadError::invalid(faults, identity)),
        };
        match command(operation, normal.value) {
            Ok(command) => {
                Ok(ReadCommand { command, json: identity.json, ignored: normal.ignored })
            }
            Err(message) => Err(ReadError::invalid(Invalid { field: None, message }, identity)),
        }
    }

    /// The writer's schema of a framed record, and its datum.
    pub(crate) async fn writer<'a>(
        &self,
        frame: Frame<'a>,
    ) -> Result<(Arc<Shape>, &'a [u8]), NoWriter> {
        match frame {
            Frame::Registered(key, datum) => {
                let Some(registry) = &self.registry else {
                    return Err(NoWriter::Unknown(format!(
                        "the value names a {key}, and no schema registry is configured"
                    )));
                };
                match registry.writer(key).await {
                    Ok(shape) => Ok((shape, datum)),
                    Err(error @ (RegistryError::NotFound(_) | RegistryError::Unusable { .. })) => {
                        Err(NoWriter::Unknown(error.to_string()))
                    }
                    Err(
                        error @ (RegistryError::Settings(_)
                        | RegistryError::Unavailable(_)
                        | RegistryError::Unauthorized(_)
                        | RegistryError::Refused { .. }),
                    ) => Err(NoWriter::Unavailable(error.to_string())),
                }
            }
            Frame::SingleObject(fingerprint, datum) => {
                schemas::of_fingerprint(fingerprint).map(|shape| (shape, datum)).ok_or_else(|| {
                    NoWriter::Unknown(format!(
                        "the value's schema fingerprint {fingerprint:016x} is none of ours"
                    ))
                })
            }
            Frame::Json(_) => Err(NoWriter::Unknown("JSON has no writer's schema".to_owned())),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Why the schema of a record is not at hand.
pub(crate) enum NoWriter {
    Unavailable(String),
    Unknown(String),
}

impl NoWriter {
    pub(crate) fn error(self, identity: Identity) -> ReadError {
        match self {
            Self::Unavailable(message) => ReadError::RegistryUnavailable { message },
            Self::Unknown(message) => ReadError::unreadable(message, identity),
        }
    }
}

fn contradiction(expected: Operation, said: Operation, identity: Identity) -> ReadError {
    let message = format!(
        "the record is said to be both {} and {}: correct the topic, the header `{CE_TYPE}` or the record",
        expected.record(),
        said.record()
    );
    ReadError::unreadable(message, identity)
}

/// The command of a value in the common form.
fn command(operation: Operation, value: Value) -> Result<Command, String> {
    fn of<T: DeserializeOwned>(value: Value) -> Result<T, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }
    Ok(match operation {
        Operation::CreateOrder => Command::CreateOrder(of(value)?),
        Operation::CancelOrder => Command::CancelOrder(of(value)?),
        Operation::CreateAsn => Command::CreateAsn(of(value)?),
        Operation::CancelAsn => Command::CancelAsn(of(value)?),
        Operation::Call => Command::Call(of(value)?),
    })
}

impl Identity {
    /// Takes what a reply has to name out of a record that may be wrong everywhere else.
    fn remember(&mut self, source: &Source<'_>) {
        let mut take = |name: &str, text: &str| {
            let place = match name {
                "account" => &mut self.account,
                "commandId" => &mut self.command_id,
                "orderNumber" | "asnNumber" => &mut self.document_number,
                _ => return,
            };
            // What is longer is no id, and does not belong in a reply's header.
            if !text.is_empty() && text.chars().count() <= 255 {
                place.get_or_insert_with(|| text.to_owned());
            }
        };
        match source {
            Source::Json(raw) => {
                for (name, raw) in members(raw) {
                    if let Ok(Json::String(text)) = json::open(raw) {
                        take(&name, &text);
                    }
                }
            }
            Source::Avro(Datum::Record(record, values)) => {
                for (field, value) in record.fields.iter().zip(values) {
                    if let Datum::Text(text) = value {
                        take(&field.name, text);
                    }
                }
            }
            Source::Avro(_) => {}
        }
    }
}

/// An object's members, also where it has one name twice.
fn members(raw: &RawValue) -> Vec<(String, &RawValue)> {
    if raw.get().starts_with('{') { json::members(raw).unwrap_or_default() } else { Vec::new() }
}

#[cfg(test)]
mod tests;
