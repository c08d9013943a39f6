//! What a dead letter says of itself, and the command it becomes again. PURE.

use std::collections::HashMap;

use super::dead_letters::{
    ATTEMPTS, CATEGORY_CLASS, HEADERS_DROPPED, KEY_DROPPED, PREFIX, VALUE_DROPPED,
};
use crate::{
    domain::ReplyCategory,
    kafka::{Headers, OutgoingRecord, ReadRecord},
};

/// What a replay takes off: everything that Connect's convention adds.
const CONNECT: &str = "__connect.";
/// Which dead letter a command is the replay of: `<topic>/<partition>/<offset>`. It stands on the
/// command itself, so that a second replay finds it wherever it is run, as long as the command is kept.
const REPLAYED_FROM: &str = "wms_replayed_from";

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
    #[error(
        "no header `__connect.errors.topic` says where it came from; --to names a command topic"
    )]
    NoOrigin,
    #[error(
        "its header says that it came from `{0}`, which is not the topic whose dead letters these \
         are; --to names the command topic that is meant"
    )]
    AnotherOrigin(String),
    #[error(
        "it is not whole: it was too large, and its value, headers or key were left out \
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
    #[error("{0} can only end the same way again; --category {0} sends it all the same")]
    CannotSucceed(&'static str),
    #[error("it was replayed as partition {0} offset {1}; --again sends it all the same")]
    Replayed(i32, i64),
}

impl Refusal {
    /// Whether leaving it out is what is wanted, rather than a failure.
    pub const fn is_expected(&self) -> bool {
        match self {
            Self::CannotSucceed(_) | Self::Replayed(..) => true,
            Self::NoOrigin
            | Self::AnotherOrigin(_)
            | Self::Incomplete
            | Self::MayHaveTakenEffect
            | Self::EndNotKnown => false,
        }
    }
}

/// What may be sent, and where to.
#[expect(missing_debug_implementations, reason = "it holds a closure, for one call")]
pub struct Rules<'a> {
    /// The command topic.
    pub to: &'a str,
    /// Whether the operator named it: then it takes the dead letters of other topics too.
    pub to_is_named: bool,
    /// Whether those go too that may have taken effect.
    pub twice: bool,
    /// Whether dead letters of a category go although they can only end the same way again.
    pub names: &'a dyn Fn(ReplyCategory) -> bool,
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

    /// Whether a replay may be sent.
    pub fn refusal(&self, rules: &Rules<'_>) -> Option<Refusal> {
        match self.topic.as_deref() {
            _ if rules.to_is_named => {}
            None => return Some(Refusal::NoOrigin),
            // A header is the sender's text. A replay writes commands to command topics, never what
            // somebody made up to an event topic or to the tokens.
            Some(topic) if topic != rules.to => {
                return Some(Refusal::AnotherOrigin(topic.to_owned()));
            }
            Some(_) => {}
        }
        if self.incomplete {
            return Some(Refusal::Incomplete);
        }
        match self.category {
            Some(ReplyCategory::Uncertain) if !rules.twice => Some(Refusal::MayHaveTakenEffect),
            None if !rules.twice => Some(Refusal::EndNotKnown),
            Some(category @ (ReplyCategory::Expired | ReplyCategory::Unreadable))
                if !(rules.names)(category) =>
            {
                Some(Refusal::CannotSucceed(category.name()))
            }
            Some(_) | None => None,
        }
    }
}

/// The command that a dead letter was: on the partition it was on, so that it stands behind whatever
/// else has its key; key, value and headers unchanged but for Connect's.
pub fn command(letter: &ReadRecord, to: &str) -> OutgoingRecord {
    let says = Letter::of(&letter.headers);
    let kept = |name: &str| !name.starts_with(CONNECT) && name != REPLAYED_FROM;
    let mut headers: Headers =
        letter.headers.iter().filter(|header| kept(&header.0)).cloned().collect();
    let from = format!("{}/{}/{}", letter.topic, letter.partition, letter.offset);
    headers.push((REPLAYED_FROM.to_owned(), Some(from.into_bytes())));
    OutgoingRecord {
        topic: to.to_owned(),
        partition: says.partition.filter(|_| says.topic.as_deref() == Some(to)),
        key: letter.key.clone(),
        payload: letter.payload.clone(),
        headers,
        timestamp: None,
    }
}

/// Which dead letters of a topic were replayed already, by their partition and offset, and where the
/// replay is.
#[derive(Debug, Default)]
pub struct Replayed(HashMap<(i32, i64), (i32, i64)>);

impl Replayed {
    /// Looks at a record of the command topic: is it the replay of a dead letter of `letters`?
    pub fn note(&mut self, record: &ReadRecord, letters: &str) {
        let header = record.headers.iter().rev().find(|header| header.0 == REPLAYED_FROM);
        let from = header.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok());
        let place = from.and_then(|from| {
            let (partition, offset) =
                from.strip_prefix(letters)?.strip_prefix('/')?.split_once('/')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        });
        if let Some(place) = place {
            self.0.insert(place, (record.partition, record.offset));
        }
    }

    /// Why a dead letter is not sent again, if it was.
    pub fn refusal(&self, partition: i32, offset: i64) -> Option<Refusal> {
        let (partition, offset) = self.0.get(&(partition, offset))?;
        Some(Refusal::Replayed(*partition, *offset))
    }
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
        let again = command(&written(&outcome), "wms.commands");
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
                header("wms_replayed_from", b"wms.commands.dlq/0/7"),
            ]
        );
        // Elsewhere its old partition means nothing.
        assert_eq!(command(&written(&outcome), "wms.commands.call").partition, None);
    }

    #[test]
    fn a_replay_is_found_on_the_command_topic() {
        let outcome = Outcome::failed(ReplyCategory::Unavailable, Details::default(), "away");
        let sent = |letters: &str| {
            let letter = ReadRecord { topic: letters.to_owned(), ..written(&outcome) };
            let mut sent = read(command(&letter, "wms.commands"));
            (sent.partition, sent.offset) = (3, 99);
            sent
        };
        let mut replayed = Replayed::default();
        replayed.note(&written(&outcome), "wms.commands.dlq");
        replayed.note(&sent("another.dlq"), "wms.commands.dlq");
        replayed.note(&sent("wms.commands.dlq"), "wms.commands.dl");
        assert_eq!(replayed.refusal(0, 7), None);
        replayed.note(&sent("wms.commands.dlq"), "wms.commands.dlq");
        assert_eq!(replayed.refusal(0, 7), Some(Refusal::Replayed(3, 99)));
        assert_eq!(replayed.refusal(0, 8), None);
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
                let mut again = super::command(&read(letter), "t");
                let from = again.headers.pop().unwrap();
                proptest::prop_assert_eq!(from.0, "wms_replayed_from");
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
        let expired = b"wms.commands.EXPIRED".as_slice();
        let other = Refusal::AnotherOrigin("wms.jfwms.order".to_owned());
        let named = [false, false, true];
        // Told nothing; --may-take-effect-twice; --to and the category, too.
        let all = |refusal: Refusal| [Some(refusal.clone()), Some(refusal.clone()), Some(refusal)];
        let unless_to = |refusal: Refusal| [Some(refusal.clone()), Some(refusal), None];
        let unless_twice = |refusal: Refusal| [Some(refusal), None, None];
        let table = [
            (written(&failed), [None, None, None]),
            (written(&unknown), unless_twice(Refusal::MayHaveTakenEffect)),
            (without(class), unless_twice(Refusal::EndNotKnown)),
            (with(class, b"java.lang.RuntimeException"), unless_twice(Refusal::EndNotKnown)),
            (with(class, b"wms.commands.NEWER"), unless_twice(Refusal::EndNotKnown)),
            (without(topic), unless_to(Refusal::NoOrigin)),
            (with(topic, b""), unless_to(Refusal::NoOrigin)),
            (with(topic, &[0xff]), unless_to(Refusal::NoOrigin)),
            (with(topic, b"wms.jfwms.order"), unless_to(other)),
            (
                with(topic, b"wms.commands.dlq"),
                unless_to(Refusal::AnotherOrigin("wms.commands.dlq".to_owned())),
            ),
            (dropped, all(Refusal::Incomplete)),
            (with(class, expired), unless_to(Refusal::CannotSucceed("EXPIRED"))),
            (with("__connect.errors.partition", b"-1"), [None, None, None]),
            (with("__connect.errors.partition", b"x"), [None, None, None]),
        ];
        for (n, (letter, expected)) in table.into_iter().enumerate() {
            for (case, expected) in expected.into_iter().enumerate() {
                let rules = Rules {
                    to: "wms.commands",
                    to_is_named: named[case],
                    twice: case > 0,
                    names: &|_| named[case],
                };
                assert_eq!(Letter::of(&letter.headers).refusal(&rules), expected, "{n} {case}");
            }
        }
        let by_key = command(&with("__connect.errors.partition", b"-1"), "wms.commands");
        assert_eq!(by_key.partition, None);
    }
}
