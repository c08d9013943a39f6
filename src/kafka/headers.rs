//! CloudEvents' Kafka binding (binary mode) and W3C trace context.

use jiff::Timestamp;
use rdkafka::message::BorrowedMessage;
use wms_kafka_raw::RawHeader;

/// Headers as Kafka has them: names may repeat, values are bytes or nothing.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record's headers as they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadHeaders {
    /// Those whose names are text, in their order.
    pub headers: Headers,
    /// The first name that is not UTF-8, escaped.
    pub unreadable: Option<String>,
}

impl ReadHeaders {
    /// Reads the headers of a record. rdkafka's own `headers()` panics at a name that is not UTF-8.
    pub fn of(message: &BorrowedMessage<'_>) -> Self {
        Self::from_raw(wms_kafka_raw::headers(message))
    }

    /// Tells the names that are text from those that are not.
    pub fn from_raw(raw: Vec<RawHeader>) -> Self {
        let mut read = Self::default();
        for RawHeader { name, value } in raw {
            match String::from_utf8(name) {
                Ok(name) => read.headers.push((name, value)),
                Err(error) => {
                    let escaped =
                        || error.as_bytes().escape_ascii().take(NAME_SHOWN).map(char::from);
                    read.unreadable.get_or_insert_with(|| escaped().collect());
                }
            }
        }
        read
    }
}

/// So much of a name that cannot be read is shown.
const NAME_SHOWN: usize = 64;

/// The attributes every record of the connector carries.
#[derive(Debug, Clone, Copy)]
pub struct CloudEvent<'a> {
    pub id: &'a str,
    /// `/<vendor>/<account>`.
    pub source: &'a str,
    pub event_type: &'a str,
    pub time: Timestamp,
    pub subject: Option<&'a str>,
    pub content_type: &'a str,
    pub trace: &'a TraceParent,
}

impl CloudEvent<'_> {
    /// The headers in the order of the specification.
    pub fn headers(&self) -> Headers {
        let header = |name: &str, value: &str| (name.to_owned(), Some(printable(value)));
        let mut headers = vec![
            header("ce_specversion", "1.0"),
            header("ce_id", self.id),
            header("ce_source", self.source),
            header("ce_type", self.event_type),
            header("ce_time", &rfc3339(self.time)),
        ];
        if let Some(subject) = self.subject {
            headers.push(header("ce_subject", subject));
        }
        headers.push(header("content-type", self.content_type));
        headers.push(header("traceparent", self.trace.as_str()));
        headers
    }
}

/// RFC 3339 with milliseconds, in UTC.
fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// A text as a header's value, without control characters: a line break in a vendor's number
/// must not end up as a line break in somebody's HTTP bridge.
pub fn printable(text: &str) -> Vec<u8> {
    if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return text.as_bytes().to_vec();
    }
    text.chars().filter(|c| !c.is_control()).collect::<String>().into_bytes()
}

/// A W3C `traceparent`, version 00.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// Reads a header's value; anything the specification does not allow is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let hex = |part: &str, digits: usize| {
            part.len() == digits
                && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
        match parts.as_slice() {
            ["00", trace, span, flags]
                if hex(trace, 32)
                    && hex(span, 16)
                    && hex(flags, 2)
                    && nonzero(trace)
                    && nonzero(span) =>
            {
                Some(Self(text.to_owned()))
            }
            _ => None,
        }
    }

    /// Starts a trace from random bits.
    pub fn start(trace: u128, span: u64) -> Self {
        Self(format!("00-{:032x}-{:016x}-01", trace.max(1), span.max(1)))
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wellformed_traceparent_is_taken_over() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (text, taken) in [
            (good, true),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("", false),
            ("00-x-y-z", false),
        ] {
            assert_eq!(TraceParent::parse(text).is_some(), taken, "{text}");
        }
        assert!(TraceParent::parse(TraceParent::start(7, 8).as_str()).is_some());
    }

    #[test]
    fn a_name_that_is_not_text_is_named_and_the_others_are_read() {
        let header = |name: &[u8], value: Option<&[u8]>| RawHeader {
            name: name.to_vec(),
            value: value.map(<[u8]>::to_vec),
        };
        let read = ReadHeaders::from_raw(vec![
            header(b"a", Some(b"\xff")),
            header(b"x-\xff", Some(b"1")),
            header("仓".as_bytes(), None),
            header(b"", Some(b"")),
            header(&[0xc3; 300], None),
        ]);
        let names: Vec<_> = read.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "仓", ""]);
        assert_eq!(read.unreadable.as_deref(), Some("x-\\xff"));
        let long = ReadHeaders::from_raw(vec![header(&[0xc3; 300], None)]);
        assert_eq!(long.unreadable.map(|name| name.len()), Some(NAME_SHOWN));
    }

    #[test]
    fn no_control_character_is_printed() {
        for code in (0..0x250).chain([0x4ed3]) {
            let Some(c) = char::from_u32(code) else { continue };
            let expected = if c.is_control() { "ab".to_owned() } else { format!("a{c}b") };
            assert_eq!(printable(&format!("a{c}b")), expected.as_bytes(), "{code:x}");
        }
    }

    #[test]
    fn headers_are_those_of_the_binding_and_printable() {
        let trace = TraceParent::start(1, 2);
        let headers = CloudEvent {
            id: "i",
            source: "/jfwms/a",
            event_type: "com.jfwms.order",
            time: Timestamp::from_millisecond(1_692_889_556_000).unwrap(),
            subject: Some("a\r\nb"),
            content_type: "application/avro",
            trace: &trace,
        }
        .headers();
        let text: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                format!("{name}={}", String::from_utf8_lossy(value.as_deref().unwrap()))
            })
            .collect();
        assert_eq!(
            text,
            [
                "ce_specversion=1.0",
                "ce_id=i",
                "ce_source=/jfwms/a",
                "ce_type=com.jfwms.order",
                "ce_time=2023-08-24T15:05:56.000Z",
                "ce_subject=ab",
                "content-type=application/avro",
                "traceparent=00-00000000000000000000000000000001-0000000000000002-01",
            ]
        );
    }
}
