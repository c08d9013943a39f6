//! Which dead letters are meant, and reading them.

use std::ops::{ControlFlow, Range};

use super::super::{CliError, Output, args::DeadLetterSelection};
use crate::{
    app::{self, topics},
    commands::replay::Letter,
    config::Config,
    kafka::{PartitionBounds, RangeReader, ReadRecord},
};

/// The dead letters that are meant: up to what was there when they were asked for, so that what a
/// replay brings back is not replayed again.
pub(super) struct Selected<'a> {
    which: &'a DeadLetterSelection,
    reader: RangeReader,
    parts: Vec<PartitionBounds>,
    output: &'a Output,
    topic: String,
}

impl<'a> Selected<'a> {
    /// Asks Kafka what there is on a topic: one of dead letters, or the command topic that is meant.
    pub(super) fn open(
        config: &Config,
        which: &'a DeadLetterSelection,
        topic: &str,
        output: &'a Output,
    ) -> Result<Self, CliError> {
        if let (Some(from), Some(to)) = (which.from, which.last())
            && from > to
        {
            return Err(CliError::Usage(format!("--from {from} lies behind --to {to}")));
        }
        let asked = topic;
        let topic = dead_letter_topic(config, asked)?;
        if topic != asked {
            output.complain(format_args!(
                "`{asked}` is a command topic; its dead letters are on `{topic}`"
            ));
        }
        let client = app::client_settings(config).reader();
        let (reader, mut parts) =
            RangeReader::open(&client, &topic, *which.timeout).map_err(CliError::failed)?;
        if let Some(wanted) = which.partition {
            let count = parts.len();
            parts.retain(|part| part.partition == wanted);
            if parts.is_empty() {
                return Err(CliError::Usage(format!(
                    "topic `{topic}` has {count} partitions, counted from 0; there is no {wanted}"
                )));
            }
        }
        Ok(Self { which, reader, parts, output, topic })
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
            let range = wanted(self.which, part);
            if let Some(gone) = gone(self.which, part) {
                complete = false;
                self.output.complain(format_args!(
                    "partition {}: offsets {} to {} are gone from `{}` (its retention)",
                    part.partition,
                    gone.start,
                    gone.end - 1,
                    self.topic
                ));
            }
            let read = self.reader.read(part.partition, range, *self.which.timeout, |record| {
                any = true;
                if !fits(self.which, &record) {
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
        match self.which.offset {
            Some(offset) if !any => {
                Err(CliError::Failed(format!("`{}` has no record at offset {offset}", self.topic)))
            }
            Some(_) | None => Ok(complete),
        }
    }
}

/// The dead-letter topic that is meant by a name.
fn dead_letter_topic(config: &Config, name: &str) -> Result<String, CliError> {
    let commands = topics::command_topics(config);
    if commands.iter().any(|topic| topic == name) {
        return Ok(config.topics.dlq(name));
    }
    // One of another deployment's is none of our list, and can be read all the same.
    let letters: Vec<String> = commands.iter().map(|topic| config.topics.dlq(topic)).collect();
    if letters.iter().any(|topic| topic == name) || name.ends_with(".dlq") {
        return Ok(name.to_owned());
    }
    Err(CliError::Usage(format!(
        "`{name}` is no dead-letter topic; there are {}",
        letters.join(", ")
    )))
}

/// The command topic whose dead letters a topic holds, as this configuration has it.
pub(super) fn command_topic(config: &Config, letters: &str) -> Option<String> {
    topics::command_topics(config).into_iter().find(|topic| config.topics.dlq(topic) == letters)
}

/// The offsets of a partition that are there and wanted.
fn wanted(which: &DeadLetterSelection, part: &PartitionBounds) -> Range<i64> {
    let from = which.offset.or(which.from).unwrap_or(part.low);
    let end = which.offset.or(which.last()).map_or(part.high, |last| last.saturating_add(1));
    from.max(part.low)..end.min(part.high)
}

/// The offsets of a partition that are wanted by name and no longer there.
fn gone(which: &DeadLetterSelection, part: &PartitionBounds) -> Option<Range<i64>> {
    let from = which.offset.or(which.from)?;
    let end = which.offset.or(which.last()).map_or(part.low, |last| last.saturating_add(1));
    let gone = from..end.min(part.low);
    (!gone.is_empty()).then_some(gone)
}

/// Whether a record is one that is meant, its place apart.
fn fits(which: &DeadLetterSelection, record: &ReadRecord) -> bool {
    let category = || Letter::of(&record.headers).category;
    let in_category = which.category.is_empty()
        || category().is_some_and(|category| which.category.contains(&category));
    let time = record.timestamp;
    let since = which.since.is_none_or(|since| time.is_some_and(|t| t >= since.as_millisecond()));
    let until = which.until.is_none_or(|until| time.is_some_and(|t| t < until.as_millisecond()));
    in_category && since && until
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(offset: Option<i64>, from: Option<i64>, to: Option<i64>) -> DeadLetterSelection {
        DeadLetterSelection {
            topic: Some("t.dlq".to_owned()),
            partition: None,
            offset,
            from,
            to: to.map(crate::cli::args::To::Offset).into_iter().collect(),
            category: Vec::new(),
            since: None,
            until: None,
            timeout: std::time::Duration::from_secs(15).into(),
        }
    }

    #[test]
    fn a_range_is_what_is_wanted_and_there() {
        let part = PartitionBounds { partition: 0, low: 10, high: 20 };
        let table = [
            (selection(None, None, None), 10..20, None),
            (selection(Some(10), None, None), 10..11, None),
            (selection(Some(9), None, None), 10..10, Some(9..10)),
            (selection(None, Some(12), None), 12..20, None),
            (selection(None, Some(8), None), 10..20, Some(8..10)),
            (selection(None, Some(8), Some(12)), 10..13, Some(8..10)),
            (selection(None, Some(2), Some(3)), 10..10, Some(2..4)),
            (selection(None, None, Some(15)), 10..16, None),
            (selection(None, None, Some(i64::MAX)), 10..20, None),
            (selection(None, Some(30), None), 20..20, None),
        ];
        for (which, expected, lost) in table {
            let range = wanted(&which, &part);
            let same = range == expected || (range.is_empty() && expected.is_empty());
            assert!(same, "{which:?}: {range:?}");
            assert_eq!(gone(&which, &part), lost, "{which:?}");
        }
    }

    #[test]
    fn a_filter_takes_what_fits_all_of_it() {
        let record = |class: &str, timestamp| ReadRecord {
            topic: "t.dlq".to_owned(),
            partition: 0,
            offset: 0,
            key: None,
            payload: None,
            headers: vec![(
                "__connect.errors.exception.class.name".to_owned(),
                Some(class.as_bytes().to_vec()),
            )],
            timestamp,
        };
        let away = record("wms.commands.UNAVAILABLE", Some(1_000));
        let mut which = selection(None, None, None);
        let mut check = |change: &dyn Fn(&mut DeadLetterSelection), record: &ReadRecord, fit| {
            change(&mut which);
            assert_eq!(fits(&which, record), fit, "{which:?}");
        };
        let at = |ms| jiff::Timestamp::from_millisecond(ms).ok();
        check(&|_| {}, &away, true);
        check(&|w| w.since = at(1_000), &away, true);
        check(&|w| w.since = at(1_001), &away, false);
        check(&|w| w.since = None, &away, true);
        check(&|w| w.until = at(1_000), &away, false);
        check(&|w| w.until = at(1_001), &away, true);
        check(&|_| {}, &record("wms.commands.UNAVAILABLE", None), false);
        check(&|w| w.category = vec![crate::domain::ReplyCategory::Expired], &away, false);
        check(&|w| w.category.push(crate::domain::ReplyCategory::Unavailable), &away, true);
        check(&|_| {}, &record("java.lang.Error", Some(0)), false);
    }
}
