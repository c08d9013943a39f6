//! The record a reply becomes: which topic, which partition, which headers, which form. PURE.

use jiff::Timestamp;

use super::Record;
use crate::{
    domain::CommandReply,
    kafka::{CloudEvent, Headers, OutgoingRecord, TraceParent, printable},
};

/// The CloudEvents type of a reply.
const CE_TYPE: &str = "wms.commands.CommandReply";
/// Spring Kafka's names.
const CORRELATION_ID: &str = "kafka_correlationId";
const REPLY_TOPIC: &str = "kafka_replyTopic";
const REPLY_PARTITION: &str = "kafka_replyPartition";
/// Says why a reply did not go where its command wanted it.
const REPLY_ERROR: &str = "wms_reply_error";

/// Said where a reply has neither its command's key nor its correlation.
pub(super) const BARE: &str =
    "the command's key or kafka_correlationId is too large to come back on a reply";
/// The most characters a text of a shortened reply has.
const SHORT: usize = 500;
/// The most names a list of a shortened reply has.
const FEW: usize = 20;

/// Where a reply goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub topic: String,
    pub partition: Option<i32>,
    /// Why it is not where the command wanted it.
    pub error: Option<String>,
}

impl Destination {
    /// Where the command wants its reply, as far as that is allowed.
    pub fn of(record: &Record, default: &str, allowed: &[String]) -> Self {
        let partition = match record.header(REPLY_PARTITION) {
            None => Ok(None),
            Some(bytes) => match <[u8; 4]>::try_from(bytes).map(i32::from_be_bytes) {
                Ok(partition) if partition >= 0 => Ok(Some(partition)),
                Ok(_) | Err(_) => Err(()),
            },
        };
        let Some(topic) = record.header(REPLY_TOPIC) else {
            // A partition without a topic is one of the default topic.
            return match partition {
                Ok(partition) => Self { topic: default.to_owned(), partition, error: None },
                Err(()) => Self::default_topic(default, BAD_PARTITION),
            };
        };
        let Ok(topic) = std::str::from_utf8(topic) else {
            return Self::default_topic(
                default,
                "the header kafka_replyTopic is not a topic's name",
            );
        };
        if topic != default && !allowed.iter().any(|pattern| matches(pattern, topic)) {
            let why = format!("the reply topic `{topic}` is not among `commands.reply_topics`");
            return Self::default_topic(default, why);
        }
        match partition {
            Ok(partition) => Self { topic: topic.to_owned(), partition, error: None },
            Err(()) => Self::default_topic(default, BAD_PARTITION),
        }
    }

    /// The default topic, and why.
    pub fn default_topic(default: &str, why: impl Into<String>) -> Self {
        Self { topic: default.to_owned(), partition: None, error: Some(why.into()) }
    }
}

const BAD_PARTITION: &str = "the header kafka_replyPartition is not a 4-byte big-endian number";

/// Whether a topic (or a path) matches a pattern in which `*` stands for any text.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| topic.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What a reply's form is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Avro,
    Json,
}

impl Form {
    /// The default reply topic is always Avro; a JSON command gets JSON on a topic of its own.
    pub fn of(json: bool, destination: &Destination, default: &str) -> Self {
        if json && destination.topic != default { Self::Json } else { Self::Avro }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Avro => "application/avro",
            Self::Json => "application/json",
        }
    }
}

/// The command's `traceparent` where it is well-formed, else one started from `random`.
pub fn trace(record: &Record, random: u128) -> TraceParent {
    let given = record.text_header("traceparent").and_then(TraceParent::parse);
    given.unwrap_or_else(|| TraceParent::start(random, random as u64))
}

/// The record of a reply.
pub fn record(
    command: &Record,
    reply: &CommandReply,
    destination: &Destination,
    form: Form,
    payload: Vec<u8>,
    trace: &TraceParent,
) -> OutgoingRecord {
    OutgoingRecord {
        topic: destination.topic.clone(),
        partition: destination.partition,
        key: command.key.clone(),
        payload: Some(payload),
        headers: headers(command, reply, destination, form, trace),
        timestamp: None,
    }
}

/// Shortens what may be long in a reply that is too large also without its result. Whether there
/// was anything to shorten.
pub fn shorten(reply: &mut CommandReply) -> bool {
    let mut shortened = reply.ignored_fields.len() > FEW;
    reply.ignored_fields.truncate(FEW);
    let texts = [&mut reply.command_id, &mut reply.account, &mut reply.message]
        .into_iter()
        .chain(&mut reply.field)
        .chain(&mut reply.document_number)
        .chain(&mut reply.vendor_reference)
        .chain(&mut reply.vendor_code)
        .chain(&mut reply.vendor_message)
        .chain(&mut reply.vendor_request_id)
        .chain(&mut reply.ignored_fields);
    for text in texts {
        if text.chars().nth(SHORT).is_some() {
            *text = text.chars().take(SHORT - 1).chain(['…']).collect();
            shortened = true;
        }
    }
    shortened
}

/// Leaves away what a command can make as large as it likes.
pub fn strip(record: &mut OutgoingRecord) {
    record.key = None;
    record.headers.retain(|header| header.0 != CORRELATION_ID);
}

fn headers(
    command: &Record,
    reply: &CommandReply,
    destination: &Destination,
    form: Form,
    trace: &TraceParent,
) -> Headers {
    let at = &command.at;
    let mut headers = CloudEvent {
        id: &format!("reply-{at}"),
        source: &format!("/{}/{}", reply.vendor, reply.account),
        event_type: CE_TYPE,
        time: Timestamp::from_millisecond(reply.completed_at).unwrap_or(Timestamp::UNIX_EPOCH),
        subject: reply.document_number.as_deref(),
        content_type: form.content_type(),
        trace,
    }
    .headers();
    // Byte for byte: it is the caller's, and not always text.
    let correlation = command.headers.iter().rev().find(|header| header.0 == CORRELATION_ID);
    headers.extend(correlation.cloned());
    if let Some(error) = &destination.error {
        headers.push((REPLY_ERROR.to_owned(), Some(printable(error))));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::super::Coordinates;
    use super::*;

    fn command(headers: &[(&str, &[u8])]) -> Record {
        Record {
            at: Coordinates { topic: "wms.commands".into(), partition: 3, offset: 42 },
            key: Some(b"O-1".to_vec()),
            payload: None,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), Some(v.to_vec()))).collect(),
            unreadable_header: None,
            timestamp: None,
        }
    }

    #[test]
    fn patterns() {
        for (pattern, topic, expected) in [
            ("wms.replies", "wms.replies", true),
            ("wms.replies", "wms.replies.a", false),
            ("wms.replies.*", "wms.replies.a", true),
            ("wms.replies.*", "wms.replies.", true),
            ("wms.replies.*", "wms.replies", false),
            ("*", "x", true),
            ("*.replies", "shop.replies", true),
            ("*.replies", "shop.replies.x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_reply_goes_where_it_may() {
        let allowed = vec!["wms.replies".to_owned(), "wms.replies.*".to_owned()];
        type Wanted<'a> = &'a [(&'a str, &'a [u8])];
        let table: [(Wanted, &str, Option<i32>, bool); 8] = [
            (&[], "wms.replies", None, false),
            (&[(REPLY_TOPIC, b"wms.replies.shop")], "wms.replies.shop", None, false),
            (
                &[(REPLY_TOPIC, b"wms.replies.shop"), (REPLY_PARTITION, &[0, 0, 0, 7])],
                "wms.replies.shop",
                Some(7),
                false,
            ),
            (&[(REPLY_PARTITION, &[0, 0, 1, 0])], "wms.replies", Some(256), false),
            (&[(REPLY_TOPIC, b"orders")], "wms.replies", None, true),
            (&[(REPLY_TOPIC, &[0xff])], "wms.replies", None, true),
            (
                &[(REPLY_TOPIC, b"wms.replies.shop"), (REPLY_PARTITION, b"7")],
                "wms.replies",
                None,
                true,
            ),
            (&[(REPLY_PARTITION, &[0xff, 0, 0, 0])], "wms.replies", None, true),
        ];
        for (headers, topic, partition, error) in table {
            let went = Destination::of(&command(headers), "wms.replies", &allowed);
            assert_eq!((went.topic.as_str(), went.partition), (topic, partition), "{headers:?}");
            assert_eq!(went.error.is_some(), error, "{headers:?}");
        }
    }

    #[test]
    fn json_only_on_a_topic_of_its_own() {
        let to =
            |topic: &str| Destination { topic: topic.to_owned(), partition: None, error: None };
        for (json, topic, form) in [
            (true, "wms.replies", Form::Avro),
            (true, "wms.replies.shop", Form::Json),
            (false, "wms.replies.shop", Form::Avro),
        ] {
            assert_eq!(Form::of(json, &to(topic), "wms.replies"), form);
        }
    }

    #[test]
    fn a_shortened_reply_says_the_same() {
        let at = Coordinates { topic: "t".into(), partition: 0, offset: 0 };
        let outcome = super::super::outcome::Outcome::begun_before();
        let epoch = Timestamp::UNIX_EPOCH;
        let subject = Default::default();
        let mut reply = super::super::outcome::reply(&subject, &at, &outcome, 0, epoch, epoch);
        let untouched = reply.clone();
        assert!(!shorten(&mut reply));
        assert_eq!(reply, untouched);
        reply.command_id = "仓".repeat(100_000);
        reply.ignored_fields = (0..1_000).map(|n| format!("{n}{}", "x".repeat(1_000))).collect();
        assert!(shorten(&mut reply));
        assert_eq!(reply.command_id, format!("{}…", "仓".repeat(SHORT - 1)));
        assert_eq!(reply.ignored_fields.len(), FEW);
        assert!(reply.ignored_fields.iter().all(|field| field.chars().count() == SHORT));
        assert_eq!(reply.message, untouched.message);
        assert!(!shorten(&mut reply));
    }

    #[test]
    fn the_headers_of_a_reply() {
        let trace_id = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let command = command(&[
            (CORRELATION_ID, &[0, 0xff, b'\n']),
            ("traceparent", trace_id.as_bytes()),
            ("ce_id", b"c-1"),
        ]);
        let mut reply: CommandReply = super::super::outcome::reply(
            &Default::default(),
            &command.at,
            &super::super::outcome::Outcome::begun_before(),
            0,
            Timestamp::UNIX_EPOCH,
            Timestamp::UNIX_EPOCH,
        );
        reply.vendor = "jfwms".to_owned();
        reply.account = "jf-main".to_owned();
        reply.document_number = Some("O\r\n-1".to_owned());
        let destination = Destination::default_topic("wms.replies", "why");
        let trace = trace(&command, 5);
        let record = record(&command, &reply, &destination, Form::Avro, vec![1], &trace);
        let shown: Vec<String> = record
            .headers
            .iter()
            .map(|(n, v)| format!("{n}={}", v.as_deref().unwrap().escape_ascii()))
            .collect();
        let traceparent = format!("traceparent={trace_id}");
        assert_eq!(
            shown,
            [
                "ce_specversion=1.0",
                "ce_id=reply-wms.commands-3-42",
                "ce_source=/jfwms/jf-main",
                "ce_type=wms.commands.CommandReply",
                "ce_time=1970-01-01T00:00:00.000Z",
                "ce_subject=O-1",
                "content-type=application/avro",
                &traceparent,
                "kafka_correlationId=\\x00\\xff\\n",
                "wms_reply_error=why",
            ]
        );
        assert_eq!(record.key.as_deref(), Some(b"O-1".as_slice()));
    }

    #[test]
    fn a_trace_is_taken_over_or_started() {
        for text in ["", "x", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            let started = trace(&command(&[("traceparent", text.as_bytes())]), 0);
            assert_eq!(TraceParent::parse(started.as_str()), Some(started.clone()));
            assert_ne!(started.as_str(), text);
        }
    }
}
