//! Replies: as Avro, in the JSON form, and read back for the one who waits for them.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    datum,
    encode::{EncodeError, Encoders},
    frame::{self, Frame},
    json,
    limits::Limits,
    reader::{CommandReader, NoWriter, ReadError},
    schemas::{self, COMMAND_REPLY},
    walk::{self, Source},
};
use crate::domain::CommandReply;

/// A reply as Avro, framed.
pub fn encode_reply(encoders: &Encoders, reply: &CommandReply) -> Result<Vec<u8>, EncodeError> {
    encoders.encode(COMMAND_REPLY, reply)
}

/// A reply in the JSON form: the same names, nulls kept, moments as RFC 3339.
pub fn reply_json(reply: &CommandReply) -> Result<Vec<u8>, EncodeError> {
    let failed = |message: String| EncodeError::Mismatch { record: COMMAND_REPLY.into(), message };
    let mut value = serde_json::to_value(reply).map_err(|e| failed(e.to_string()))?;
    let members: &mut Map<String, Value> =
        value.as_object_mut().ok_or_else(|| failed("it is no object".into()))?;
    for name in ["receivedAt", "completedAt"] {
        let moment = members.get(name).and_then(Value::as_i64).map(Timestamp::from_millisecond);
        match moment {
            Some(Ok(moment)) => members.insert(name.to_owned(), Value::from(moment.to_string())),
            Some(Err(_)) | None => return Err(failed(format!("`{name}` is no moment"))),
        };
    }
    serde_json::to_vec(&value).map_err(|e| failed(e.to_string()))
}

/// Reads a reply, Avro in any framing or JSON.
pub async fn read_reply(reader: &CommandReader, payload: &[u8]) -> Result<CommandReply, ReadError> {
    let unreadable = |message: String| ReadError::Unreadable { message, identity: Box::default() };
    let frame = frame::split(None, Some(payload)).map_err(unreadable)?;
    let limits = reader.limits();
    let value = match frame {
        Frame::Json(text) => {
            let raw = json::parse(text, limits.depth).map_err(unreadable)?;
            reply_value(Source::Json(raw), limits)
        }
        frame => {
            let (writer, bytes) = reader.writer(frame).await.map_err(|error| match error {
                NoWriter::Unavailable(message) => ReadError::RegistryUnavailable { message },
                NoWriter::Unknown(message) => unreadable(message),
            })?;
            let datum =
                datum::decode(&writer, bytes, limits).map_err(|e| unreadable(e.to_string()))?;
            reply_value(Source::Avro(datum), limits)
        }
    };
    serde_json::from_value(value.map_err(unreadable)?).map_err(|e| unreadable(e.to_string()))
}

fn reply_value(source: Source<'_>, limits: &Limits) -> Result<Value, String> {
    let known = schemas::of_record(COMMAND_REPLY).map_err(|e| e.to_string())?;
    walk::normalise(&known.shape, source, limits)
        .map(|normal| normal.value)
        .map_err(|problem| format!("not a {COMMAND_REPLY}: {}", problem.message))
}
