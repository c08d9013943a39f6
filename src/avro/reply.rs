//! Replies: as Avro, in the JSON form, and read back for the one who waits for them.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    datum,
    encode::{EncodeError, Encoders},
    frame::{self, Frame},
    json,
    limits::Limits,
    reader::{CommandReader, Identity, ReadError},
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
            let (writer, bytes) =
                reader.writer(frame).await.map_err(|e| e.error(Identity::default()))?;
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
        .map_err(|problem| format!("not a {COMMAND_REPLY}: {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::readable::decode_to_json, *};
    use crate::domain::{ReplyCategory, ReplyStatus};

    fn reply(status: ReplyStatus, category: ReplyCategory) -> CommandReply {
        CommandReply {
            command_id: "c-1".into(),
            account: "jf-main".into(),
            vendor: "jfwms".into(),
            operation: "create-order".into(),
            status,
            category,
            message: "库存不足".into(),
            field: None,
            document_number: Some("SO-1".into()),
            vendor_reference: None,
            vendor_code: Some("50026".into()),
            vendor_message: None,
            vendor_request_id: None,
            attempts: 2,
            deduplicated: true,
            ignored_fields: vec!["platform".into()],
            result: Some(r#"{"n":1.10}"#.into()),
            result_truncated: false,
            command_topic: "wms.commands".into(),
            command_partition: 3,
            command_offset: i64::MAX,
            received_at: 1_767_225_600_123,
            completed_at: -1,
        }
    }

    #[tokio::test]
    async fn a_reply_comes_back_as_it_was_written() {
        use ReplyCategory as C;
        use ReplyStatus as S;
        let encoders = Encoders::single_object().unwrap();
        let reader = CommandReader::new(None, Limits::default());
        for status in [S::Succeeded, S::Accepted, S::Rejected, S::Failed, S::Unknown] {
            for category in [
                C::None,
                C::Unreadable,
                C::Invalid,
                C::Duplicate,
                C::NotFound,
                C::WrongState,
                C::OutOfStock,
                C::Refused,
                C::Configuration,
                C::Unauthorized,
                C::Throttled,
                C::Unavailable,
                C::Uncertain,
                C::Expired,
                C::Other,
            ] {
                let written = reply(status, category);
                let avro = encode_reply(&encoders, &written).unwrap();
                assert_eq!(read_reply(&reader, &avro).await.unwrap(), written);
                let json = reply_json(&written).unwrap();
                assert_eq!(read_reply(&reader, &json).await.unwrap(), written);
            }
        }
    }

    #[test]
    fn a_newer_connectors_category_is_other() {
        use super::super::{shape::Shape, written_tests::written};

        let ours = &schemas::of_record(COMMAND_REPLY).unwrap().text;
        let newer = ours.replacen("\"EXPIRED\"", "\"EXPIRED\",\"QUARANTINED\"", 1);
        assert_ne!(&newer, ours);
        let mut value =
            serde_json::to_value(reply(ReplyStatus::Rejected, ReplyCategory::Expired)).unwrap();
        value["category"] = json!("QUARANTINED");
        let bytes = written(&newer, &value);
        let shape = Shape::parse(&newer).unwrap();
        let datum = datum::decode(&shape, &bytes, &Limits::default()).unwrap();
        let read = reply_value(Source::Avro(datum), &Limits::default()).unwrap();
        let read: CommandReply = serde_json::from_value(read).unwrap();
        assert_eq!(read, reply(ReplyStatus::Rejected, ReplyCategory::Other));
    }

    #[tokio::test]
    async fn both_forms_read_well() {
        let written = reply(ReplyStatus::Rejected, ReplyCategory::OutOfStock);
        let json: Value = serde_json::from_slice(&reply_json(&written).unwrap()).unwrap();
        assert_eq!(json["category"], "OUT_OF_STOCK");
        assert_eq!(json["receivedAt"], "2026-01-01T00:00:00.123Z");
        assert_eq!(json["completedAt"], "1969-12-31T23:59:59.999Z");
        assert_eq!(json["field"], Value::Null);
        assert_eq!(json["ignoredFields"], json!(["platform"]));
        assert_eq!(json["result"], r#"{"n":1.10}"#);
        let reader = CommandReader::new(None, Limits::default());
        let avro = encode_reply(&Encoders::single_object().unwrap(), &written).unwrap();
        assert_eq!(decode_to_json(&reader, &avro).await.unwrap(), json);
        assert_eq!(
            decode_to_json(&reader, b"{\"n\":1.10}").await.unwrap().to_string(),
            "{\"n\":1.10}"
        );
    }
}
