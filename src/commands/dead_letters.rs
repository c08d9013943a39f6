//! The record a dead letter becomes: the command byte for byte, with Kafka Connect's headers. PURE.

use super::{Record, outcome::Outcome};
use crate::kafka::{OutgoingRecord, printable};

/// What all of Connect's error headers begin with; a second hop replaces them.
pub(super) const PREFIX: &str = "__connect.errors.";
pub(super) const ATTEMPTS: &str = "wms_attempts";
pub(super) const VALUE_DROPPED: &str = "wms_value_dropped";
pub(super) const HEADERS_DROPPED: &str = "wms_headers_dropped";
pub(super) const KEY_DROPPED: &str = "wms_key_dropped";
/// What stands before the category, where Connect has the name of an exception's class.
pub(super) const CATEGORY_CLASS: &str = "wms.commands.";
/// The most bytes of a message.
const MESSAGE_LIMIT: usize = 4096;

/// Where in the pipeline a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It could not be read.
    Reading,
    /// It was read, and its call did not work.
    Calling,
}

impl Stage {
    /// Connect's name of the stage.
    const fn name(self) -> &'static str {
        match self {
            Self::Reading => "VALUE_CONVERTER",
            Self::Calling => "TASK_PUT",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Reading => "wms_connector::avro",
            Self::Calling => "wms_connector::commands",
        }
    }
}

/// Whether a header is one that is put on a dead letter.
fn ours(name: &str) -> bool {
    name.starts_with(PREFIX)
        || [ATTEMPTS, VALUE_DROPPED, HEADERS_DROPPED, KEY_DROPPED].contains(&name)
}

/// The dead letter of a command.
pub fn record(
    command: &Record,
    outcome: &Outcome,
    attempts: u32,
    stage: Stage,
    connector: &str,
    topic: String,
) -> OutgoingRecord {
    let mut headers: Vec<_> = command.headers.iter().filter(|h| !ours(&h.0)).cloned().collect();
    let mut add = |name: &str, value: &str| {
        headers.push((format!("{PREFIX}{name}"), Some(printable(value))));
    };
    add("topic", &command.at.topic);
    add("partition", &command.at.partition.to_string());
    add("offset", &command.at.offset.to_string());
    add("connector.name", connector);
    add("task.id", &command.at.partition.to_string());
    add("stage", stage.name());
    add("class.name", stage.class());
    add("exception.class.name", &format!("{CATEGORY_CLASS}{}", outcome.category.name()));
    add("exception.message", cut(&outcome.message, MESSAGE_LIMIT));
    headers.push((ATTEMPTS.to_owned(), Some(attempts.to_string().into_bytes())));
    if command.unreadable_header.is_some() {
        headers.push((HEADERS_DROPPED.to_owned(), Some(b"true".to_vec())));
    }
    OutgoingRecord {
        topic,
        partition: None,
        key: command.key.clone(),
        payload: command.payload.clone(),
        headers,
        timestamp: None,
    }
}

/// Makes a dead letter smaller that its topic does not take: without its value, then without the
/// command's own headers, then without its key. Whether there was anything left to leave away.
///
/// A command whose key alone fills a record would otherwise hold up its partition for ever.
pub fn shrink(record: &mut OutgoingRecord) -> bool {
    let dropped = if record.payload.is_some() {
        record.payload = None;
        VALUE_DROPPED
    } else if record.headers.iter().any(|header| !ours(&header.0)) {
        record.headers.retain(|header| ours(&header.0));
        HEADERS_DROPPED
    } else if record.key.is_some() {
        record.key = None;
        KEY_DROPPED
    } else {
        return false;
    };
    record.headers.push((dropped.to_owned(), Some(b"true".to_vec())));
    true
}

/// At most `limit` bytes, cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Coordinates;
    use super::*;
    use crate::domain::{Details, ReplyCategory};

    #[test]
    fn a_second_hop_replaces_the_first() {
        let header = |n: &str, v: &str| (n.to_owned(), Some(v.as_bytes().to_vec()));
        let mut command = Record {
            at: Coordinates { topic: "wms.commands.call".into(), partition: 3, offset: 42 },
            key: Some(vec![0, 1]),
            payload: Some(vec![0xff, 0]),
            headers: vec![header("a", "1"), header("a", "2"), ("n".to_owned(), None)],
            unreadable_header: None,
            timestamp: None,
        };
        let message = format!("x\n{}", "仓".repeat(2000));
        let outcome = Outcome::failed(ReplyCategory::Unreadable, Details::default(), message);
        let first = record(
            &command,
            &outcome,
            0,
            Stage::Reading,
            "wms",
            "wms.commands.call.dlq".to_owned(),
        );
        command.headers.clone_from(&first.headers);
        let outcome = Outcome::unknown(Details::default(), "gone");
        let second = record(
            &command,
            &outcome,
            7,
            Stage::Calling,
            "wms",
            "wms.commands.call.dlq".to_owned(),
        );
        assert_eq!(second.topic, "wms.commands.call.dlq");
        assert_eq!((&second.key, &second.payload), (&command.key, &command.payload));
        let shown: Vec<String> = second
            .headers
            .iter()
            .map(|(n, v)| format!("{n}={}", v.as_deref().unwrap_or(b"-").escape_ascii()))
            .collect();
        assert_eq!(
            shown,
            [
                "a=1",
                "a=2",
                "n=-",
                "__connect.errors.topic=wms.commands.call",
                "__connect.errors.partition=3",
                "__connect.errors.offset=42",
                "__connect.errors.connector.name=wms",
                "__connect.errors.task.id=3",
                "__connect.errors.stage=TASK_PUT",
                "__connect.errors.class.name=wms_connector::commands",
                "__connect.errors.exception.class.name=wms.commands.UNCERTAIN",
                "__connect.errors.exception.message=gone",
                "wms_attempts=7",
            ]
        );
        let long = first.headers.iter().find(|h| h.0.ends_with(".message")).unwrap();
        let long = long.1.as_deref().unwrap();
        assert!(long.len() <= MESSAGE_LIMIT && std::str::from_utf8(long).is_ok());
        let mut smaller = second.clone();
        assert!(shrink(&mut smaller));
        assert_eq!((smaller.payload.as_ref(), &smaller.key), (None, &second.key));
        assert_eq!(smaller.headers.last(), Some(&header("wms_value_dropped", "true")));
        assert!(shrink(&mut smaller));
        assert_eq!((smaller.headers.len(), &smaller.key), (12, &second.key));
        assert!(shrink(&mut smaller));
        assert_eq!(smaller.key, None);
        assert_eq!(smaller.headers.last(), Some(&header("wms_key_dropped", "true")));
        assert!(!shrink(&mut smaller));
    }
}
