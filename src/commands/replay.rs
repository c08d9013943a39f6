//! What a dead letter says of itself, and the command it becomes again. PURE.

use super::dead_letters::{
    ATTEMPTS, CATEGORY_CLASS, HEADERS_DROPPED, KEY_DROPPED, PREFIX, VALUE_DROPPED,
};
use crate::{
    domain::ReplyCategory,
    kafka::{Headers, OutgoingRecord, ReadRecord},
};

/// What a replay takes off: everything that Connect's convention adds.
const CONNECT: &str = "__connect.";

/// A dead letter's headers, read. Whatever is missing or wrong is `None`: somebody else may have
/// written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where the command came from.
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// Where in the pipeline it ended.
    pub stage: Option<String>,
    /// How it ended.
    pub category: Option<ReplyCategory>,
    /// Why.
    pub message: Option<String>,
    /// How often it was sent to the vendor.
    pub attempts: Option<u32>,
    /// Whether the value, the headers or the key had to be left away.
    pub incomplete: bool,
}

/// Why a dead letter is not replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no header `__connect.errors.topic` says where it came from")]
    NoOrigin,
    #[error("it says that it came from the dead-letter topic itself")]
    OriginIsDeadLetterTopic,
    #[error(
        "it is not whole: it was too large, and its value, headers or key were left away \
         (`wms_value_dropped`)"
    )]
    Incomplete,
    #[error(
        "it ended UNKNOWN and may have taken effect; look at the vendor first, then name \
         --may-take-effect-twice"
    )]
    MayHaveTakenEffect,
    #[error(
        "no header says how it ended, so it may have taken effect; look at the vendor first, then \
         name --may-take-effect-twice"
    )]
    EndNotKnown,
}

impl Letter {
    /// Reads the headers of a record of a dead-letter topic.
    pub fn of(headers: &Headers) -> Self {
        let text = |name: &str| {
            let value = headers.iter().rev().find(|header| header.0 == name)?.1.as_deref()?;
            std::str::from_utf8(value).ok()
        };
        let error = |name: &str| text(&format!("{PREFIX}{name}"));
        let class = error("exception.class.name");
        Self {
            topic: error("topic").filter(|topic| !topic.is_empty()).map(str::to_owned),
            partition: error("partition").and_then(|n| n.parse().ok()).filter(|n| *n >= 0),
            offset: error("offset").and_then(|n| n.parse().ok()),
            stage: error("stage").map(str::to_owned),
            category: class
                .and_then(|class| class.strip_prefix(CATEGORY_CLASS))
                .and_then(ReplyCategory::of_name),
            message: error("exception.message").map(str::to_owned),
            attempts: text(ATTEMPTS).and_then(|n| n.parse().ok()),
            incomplete: [VALUE_DROPPED, HEADERS_DROPPED, KEY_DROPPED]
                .iter()
                .any(|name| text(name) == Some("true")),
        }
    }

    /// Whether a replay may give the command a second effect. Only `UNKNOWN` has the category
    /// `UNCERTAIN`, and it has no other.
    pub fn may_have_taken_effect(&self) -> bool {
        self.category.is_none_or(|category| category == ReplyCategory::Uncertain)
    }

    /// Where it goes again, if it may.
    fn origin(&self, letters: &str, twice: bool) -> Result<&str, Refusal> {
        let topic = self.topic.as_deref().ok_or(Refusal::NoOrigin)?;
        if topic == letters {
            return Err(Refusal::OriginIsDeadLetterTopic);
        }
        if self.incomplete {
            return Err(Refusal::Incomplete);
        }
        match self.category {
            Some(ReplyCategory::Uncertain) if !twice => Err(Refusal::MayHaveTakenEffect),
            None if !twice => Err(Refusal::EndNotKnown),
            Some(_) | None => Ok(topic),
        }
    }
}

/// The command that a dead letter was: to its topic, on the partition it was on, so that it stands
/// behind whatever else has its key; key, value and headers unchanged but for Connect's.
pub fn command(letter: &ReadRecord, twice: bool) -> Result<OutgoingRecord, Refusal> {
    let says = Letter::of(&letter.headers);
    let topic = says.origin(&letter.topic, twice)?.to_owned();
    let theirs = letter.headers.iter().filter(|header| !header.0.starts_with(CONNECT));
    Ok(OutgoingRecord {
        topic,
        partition: says.partition,
        key: letter.key.clone(),
        payload: letter.payload.clone(),
        headers: theirs.cloned().collect(),
        timestamp: None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{
        Coordinates, Record,
        dead_letters::{self, Stage},
        outcome::Outcome,
    };
    use super::*;
    use crate::domain::Details;

    fn written(outcome: &Outcome) -> ReadRecord {
        let header = |n: &str, v: &[u8]| (n.to_owned(), Some(v.to_vec()));
        let command = Record {
            at: Coordinates { topic: Arc::from("wms.commands"), partition: 3, offset: 42 },
            key: Some(vec![0, 0xff]),
            payload: Some(vec![0xff, 0, b'{']),
            headers: vec![header("a", b"1"), header("a", &[0xff]), ("n".to_owned(), None)],
            unreadable_header: None,
            timestamp: Some(1),
        };
        let name = "wms.commands.dlq".to_owned();
        let letter = dead_letters::record(&command, outcome, 5, Stage::Calling, "c", name);
        read(letter)
    }

    fn read(letter: OutgoingRecord) -> ReadRecord {
        ReadRecord {
            topic: letter.topic,
            partition: 0,
            offset: 7,
            key: letter.key,
            payload: letter.payload,
            headers: letter.headers,
            timestamp: Some(2),
        }
    }

    #[test]
    fn what_the_connector_wrote_is_read() {
        for category in ReplyCategory::ALL {
            let outcome = Outcome::failed(category, Details::default(), "why");
            let expected = Letter {
                topic: Some("wms.commands".to_owned()),
                partition: Some(3),
                offset: Some(42),
                stage: Some("TASK_PUT".to_owned()),
                category: Some(category),
                message: Some("why".to_owned()),
                attempts: Some(5),
                incomplete: false,
            };
            assert_eq!(Letter::of(&written(&outcome).headers), expected);
        }
    }

    #[test]
    fn a_replay_is_the_command_again() {
        let outcome = Outcome::failed(ReplyCategory::Unavailable, Details::default(), "away");
        let again = command(&written(&outcome), false).unwrap();
        assert_eq!((again.topic.as_str(), again.partition), ("wms.commands", Some(3)));
        assert_eq!(again.key, Some(vec![0, 0xff]));
        assert_eq!(again.payload, Some(vec![0xff, 0, b'{']));
        assert_eq!(again.timestamp, None);
        let header = |n: &str, v: &[u8]| (n.to_owned(), Some(v.to_vec()));
        assert_eq!(
            again.headers,
            [
                header("a", b"1"),
                header("a", &[0xff]),
                ("n".to_owned(), None),
                header("wms_attempts", b"5"),
            ]
        );
    }

    proptest::proptest! {
        /// Through the dead letters and back, as often as one likes, a command stays what it was.
        #[test]
        fn a_round_trip_keeps_the_command(
            key in proptest::option::of(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20)),
            payload in proptest::option::of(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)),
            names in proptest::collection::vec("(kafka_|ce_|wms_x|__connect|x)[a-zé]{0,3}", 0..8),
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..8),
            hops in 1_u32..4,
        ) {
            let value = |n: usize| (!n.is_multiple_of(3)).then(|| bytes.iter().copied().take(n).collect());
            let headers: Headers =
                names.into_iter().enumerate().map(|(n, name)| (name, value(n))).collect();
            let at = Coordinates { topic: Arc::from("t"), partition: 1, offset: 2 };
            let (unreadable_header, timestamp) = (None, None);
            let mut command = Record { at, key, payload, headers, unreadable_header, timestamp };
            let first = (command.key.clone(), command.payload.clone(), command.headers.clone());
            for attempts in 0..hops {
                let outcome = Outcome::unknown(Details::default(), "é\n");
                let letter = dead_letters::record(
                    &command, &outcome, attempts, Stage::Reading, "c", "t.dlq".to_owned(),
                );
                let again = super::command(&read(letter), true).unwrap();
                proptest::prop_assert_eq!((again.topic.as_str(), again.partition), ("t", Some(1)));
                command.headers = again.headers;
                (command.key, command.payload) = (again.key, again.payload);
            }
            let attempts = command.headers.pop();
            let sent = (hops - 1).to_string().into_bytes();
            proptest::prop_assert_eq!(attempts, Some((ATTEMPTS.to_owned(), Some(sent))));
            proptest::prop_assert_eq!((command.key, command.payload, command.headers), first);
        }
    }

    #[test]
    fn what_may_not_be_replayed_is_refused() {
        let failed = Outcome::failed(ReplyCategory::Unavailable, Details::default(), "away");
        let unknown = Outcome::unknown(Details::default(), "lost");
        let without = |name: &str| {
            let mut letter = written(&failed);
            letter.headers.retain(|header| header.0 != name);
            letter
        };
        let with = |name: &str, value: &[u8]| {
            let mut letter = without(name);
            letter.headers.push((name.to_owned(), Some(value.to_vec())));
            letter
        };
        let mut dropped = written(&failed);
        dropped.headers.push(("wms_value_dropped".to_owned(), Some(b"true".to_vec())));
        let class = "__connect.errors.exception.class.name";
        let topic = "__connect.errors.topic";
        let table = [
            (written(&failed), None, None),
            (written(&unknown), Some(Refusal::MayHaveTakenEffect), None),
            (without(class), Some(Refusal::EndNotKnown), None),
            (with(class, b"java.lang.RuntimeException"), Some(Refusal::EndNotKnown), None),
            (with(class, b"wms.commands.NEWER"), Some(Refusal::EndNotKnown), None),
            (without(topic), Some(Refusal::NoOrigin), Some(Refusal::NoOrigin)),
            (with(topic, b""), Some(Refusal::NoOrigin), Some(Refusal::NoOrigin)),
            (with(topic, &[0xff]), Some(Refusal::NoOrigin), Some(Refusal::NoOrigin)),
            (
                with(topic, b"wms.commands.dlq"),
                Some(Refusal::OriginIsDeadLetterTopic),
                Some(Refusal::OriginIsDeadLetterTopic),
            ),
            (dropped, Some(Refusal::Incomplete), Some(Refusal::Incomplete)),
            (with("__connect.errors.partition", b"-1"), None, None),
            (with("__connect.errors.partition", b"x"), None, None),
        ];
        for (n, (letter, once, twice)) in table.into_iter().enumerate() {
            assert_eq!(command(&letter, false).err(), once, "case {n}");
            assert_eq!(command(&letter, true).err(), twice, "case {n}");
        }
        let by_key = command(&with("__connect.errors.partition", b"-1"), false).unwrap();
        assert_eq!(by_key.partition, None);
    }
}
