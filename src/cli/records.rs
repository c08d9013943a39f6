//! Records of a topic that an operator means, read from a terminal: which they are, and how they
//! are written down.

use std::{
    io::{self, IsTerminal, Write},
    ops::{ControlFlow, Range},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{CliError, Output, args::RecordRange};
use crate::{
    app,
    config::Config,
    kafka::{PartitionBounds, RangeReader, ReadRecord},
};

/// The most characters of a message in a list.
const SHORT: usize = 120;

/// The records that are meant: up to what was there when they were asked for, so that what is written
/// meanwhile is not read.
pub(super) struct Selected<'a> {
    range: &'a RecordRange,
    /// The last offset that is meant.
    last: Option<i64>,
    reader: RangeReader,
    parts: Vec<PartitionBounds>,
    output: &'a Output,
    topic: String,
    /// Whether a record is meant, its place and its time apart.
    fits: Box<dyn Fn(&ReadRecord) -> bool + 'a>,
}

impl<'a> Selected<'a> {
    /// Asks Kafka what there is on a topic.
    pub(super) fn open(
        config: &Config,
        topic: String,
        (range, last): (&'a RecordRange, Option<i64>),
        output: &'a Output,
        fits: impl Fn(&ReadRecord) -> bool + 'a,
    ) -> Result<Self, CliError> {
        if let (Some(from), Some(to)) = (range.from, last)
            && from > to
        {
            return Err(CliError::Usage(format!("--from {from} lies behind --to {to}")));
        }
        let client = app::client_settings(config).reader();
        let (reader, mut parts) =
            RangeReader::open(&client, &topic, *range.timeout).map_err(CliError::failed)?;
        if let Some(wanted) = range.partition {
            let count = parts.len();
            parts.retain(|part| part.partition == wanted);
            if parts.is_empty() {
                return Err(CliError::Usage(format!(
                    "topic `{topic}` has {count} partitions, counted from 0; there is no {wanted}"
                )));
            }
        }
        Ok(Self { range, last, reader, parts, output, topic, fits: Box::new(fits) })
    }

    /// The topic they are on.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Whether its topic holds any, meant or not.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.low >= part.high)
    }

    /// Gives each, partition by partition, in order, and says what is gone. Whether all that was
    /// named by its offset was there.
    pub(super) fn each(
        &self,
        mut each: impl FnMut(ReadRecord) -> Result<(), CliError>,
    ) -> Result<bool, CliError> {
        let mut complete = true;
        let mut any = false;
        for part in &self.parts {
            let range = wanted(self.range, self.last, part);
            if let Some(gone) = gone(self.range, self.last, part) {
                complete = false;
                self.output.complain(format_args!(
                    "partition {}: offsets {} to {} are gone from `{}` (its retention)",
                    part.partition,
                    gone.start,
                    gone.end - 1,
                    self.topic
                ));
            }
            let read = self.reader.read(part.partition, range, *self.range.timeout, |record| {
                any = true;
                if !(in_time(self.range, &record) && (self.fits)(&record)) {
                    return ControlFlow::Continue(());
                }
                match each(record) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(error),
                }
            });
            if let ControlFlow::Break(error) = read.map_err(CliError::failed)? {
                return Err(error);
            }
        }
        match self.range.offset {
            Some(offset) if !any => {
                Err(CliError::Failed(format!("`{}` has no record at offset {offset}", self.topic)))
            }
            Some(_) | None => Ok(complete),
        }
    }
}

/// The offsets of a partition that are there and wanted.
fn wanted(range: &RecordRange, last: Option<i64>, part: &PartitionBounds) -> Range<i64> {
    let from = range.offset.or(range.from).unwrap_or(part.low);
    let end = range.offset.or(last).map_or(part.high, |last| last.saturating_add(1));
    from.max(part.low)..end.min(part.high)
}

/// The offsets of a partition that are wanted by name and no longer there.
fn gone(range: &RecordRange, last: Option<i64>, part: &PartitionBounds) -> Option<Range<i64>> {
    let from = range.offset.or(range.from)?;
    let end = range.offset.or(last).map_or(part.low, |last| last.saturating_add(1));
    let gone = from..end.min(part.low);
    (!gone.is_empty()).then_some(gone)
}

fn in_time(range: &RecordRange, record: &ReadRecord) -> bool {
    let time = record.timestamp;
    let since = range.since.is_none_or(|since| time.is_some_and(|t| t >= since.as_millisecond()));
    let until = range.until.is_none_or(|until| time.is_some_and(|t| t < until.as_millisecond()));
    since && until
}

/// What is about to be sent, and whether it may be.
pub(super) struct Consent<'a> {
    /// What goes and what stays.
    pub(super) plan: &'a str,
    pub(super) sends: usize,
    pub(super) question: &'a str,
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    /// Whether an option says which records are meant.
    pub(super) narrowed: bool,
    /// The options that would.
    pub(super) narrowing: &'a str,
}

impl Consent<'_> {
    /// Says the plan, and asks. What follows is done only after `Ok(true)`.
    pub(super) fn asked(&self, output: &Output) -> Result<bool, CliError> {
        output.complain(self.plan);
        if self.dry_run || self.yes || self.sends == 0 {
            return Ok(true);
        }
        if io::stdin().is_terminal() {
            let mut answer = String::new();
            let asked = write!(io::stderr(), "{} [y/N] ", self.question)
                .and_then(|()| io::stdin().read_line(&mut answer));
            asked.map_err(CliError::failed)?;
            return Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"));
        }
        if self.narrowed {
            return Ok(true);
        }
        Err(CliError::Usage(format!(
            "nothing was sent: nobody can be asked here. Add --yes, or say which records are meant \
             ({})",
            self.narrowing
        )))
    }
}

/// The place, the time and the sizes of a record, as JSON.
pub(super) fn members(record: &ReadRecord) -> Map<String, Value> {
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("topic", json!(record.topic));
    add("partition", json!(record.partition));
    add("offset", json!(record.offset));
    add("time", json!(time(record)));
    add("bytes", json!(record.payload.as_ref().map(Vec::len)));
    put(&mut members, "key", record.key.as_deref());
    members
}

/// The headers as a JSON array, in their order: names can repeat.
pub(super) fn headers_json(record: &ReadRecord) -> Value {
    let headers = record.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        header.insert("name".to_owned(), json!(name));
        put(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    Value::Array(headers.collect())
}

/// Where a record lies, its time, its key and its headers, one a line.
pub(super) fn headers_text(record: &ReadRecord) -> String {
    let mut text =
        format!("{} partition {} offset {}", record.topic, record.partition, record.offset);
    let time = time(record).unwrap_or_else(|| "-".to_owned());
    text += &format!("\n  time: {time}\n  key: {}", readable(record.key.as_deref()));
    for (name, value) in &record.headers {
        text += &format!("\n  {}: {}", one_line(name), readable(value.as_deref()));
    }
    text
}

/// Text as it is; what is no text as base64, under a name that says so.
pub(super) fn put(members: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => members.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => members.insert(name.to_owned(), json!(text)),
        Some(Err(_)) => {
            members.insert(format!("{name}Base64"), json!(bytes.map(|b| STANDARD.encode(b))))
        }
    };
}

pub(super) fn time(record: &ReadRecord) -> Option<String> {
    let moment = Timestamp::from_millisecond(record.timestamp?).ok()?;
    Some(format!("{moment:.3}"))
}

/// Text, with what moves the cursor escaped; hexadecimal digits of what is no text.
pub(super) fn readable(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("0x{}", hex::encode(bytes)) };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// A value that is text, which may have lines.
pub(super) fn whole(bytes: &[u8]) -> Option<String> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars().all(harmless).then(|| text.to_owned())
}

pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), one_line)
}

pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= SHORT {
        return text.to_owned();
    }
    text.chars().take(SHORT - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(offset: Option<i64>, from: Option<i64>) -> RecordRange {
        RecordRange {
            partition: None,
            offset,
            from,
            since: None,
            until: None,
            timeout: std::time::Duration::from_secs(15).into(),
        }
    }

    #[test]
    fn a_range_is_what_is_wanted_and_there() {
        let part = PartitionBounds { partition: 0, low: 10, high: 20 };
        let table = [
            (range(None, None), None, 10..20, None),
            (range(Some(10), None), None, 10..11, None),
            (range(Some(9), None), None, 10..10, Some(9..10)),
            (range(None, Some(12)), None, 12..20, None),
            (range(None, Some(8)), None, 10..20, Some(8..10)),
            (range(None, Some(8)), Some(12), 10..13, Some(8..10)),
            (range(None, Some(2)), Some(3), 10..10, Some(2..4)),
            (range(None, None), Some(15), 10..16, None),
            (range(None, None), Some(i64::MAX), 10..20, None),
            (range(None, Some(30)), None, 20..20, None),
        ];
        for (which, last, expected, lost) in table {
            let range = wanted(&which, last, &part);
            let same = range == expected || (range.is_empty() && expected.is_empty());
            assert!(same, "{which:?}: {range:?}");
            assert_eq!(gone(&which, last, &part), lost, "{which:?}");
        }
    }

    #[test]
    fn a_time_takes_what_lies_in_it() {
        let record = |timestamp| ReadRecord {
            topic: "t".to_owned(),
            partition: 0,
            offset: 0,
            key: None,
            payload: None,
            headers: Vec::new(),
            timestamp,
        };
        let at = |ms| Timestamp::from_millisecond(ms).ok();
        for (since, until, timestamp, fits) in [
            (None, None, Some(1_000), true),
            (at(1_000), None, Some(1_000), true),
            (at(1_001), None, Some(1_000), false),
            (None, at(1_000), Some(1_000), false),
            (None, at(1_001), Some(1_000), true),
            (None, at(1_001), None, false),
            (None, None, None, true),
        ] {
            let range = RecordRange { since, until, ..range(None, None) };
            assert_eq!(in_time(&range, &record(timestamp)), fits, "{range:?}");
        }
    }
}
