//! Reads an object's members into typed fields and keeps what is left.
//!
//! The vendor's samples are loosely typed, so each reader takes every form seen in them. What a
//! field cannot hold exactly, and what nobody asked for, ends in `extra` as raw JSON text.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::{civil::DateTime, tz::TimeZone};
use serde_json::value::RawValue;

use super::super::json::{Members, Objects, is_number, kind, text, text_or_number};
use crate::domain::Unrecognized;

/// Further members by name, values as JSON text.
pub(super) type Extra = BTreeMap<String, String>;

/// An object that is being read.
pub(super) struct Fields<'a> {
    path: String,
    members: Vec<(Cow<'a, str>, &'a str)>,
    /// Which of the members were asked for.
    taken: Vec<bool>,
    /// The names asked for: a further member of the frame must not hide behind one of them.
    asked: Vec<&'static str>,
    /// Values that a field replaced or does not hold exactly.
    kept: Vec<(&'static str, &'a str)>,
}

impl<'a> Fields<'a> {
    /// Begins to read `members`, which stand at `path` (empty for the frame itself).
    pub(super) fn new(path: impl Into<String>, members: Members<'a>) -> Self {
        let taken = vec![false; members.0.len()];
        Self { path: path.into(), members: members.0, taken, asked: Vec::new(), kept: Vec::new() }
    }

    /// The raw value of a member. Of a repeated one the last wins (the guide's own samples repeat
    /// `finishTime`) and the earlier ones are kept.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a str> {
        self.asked.push(name);
        let mut last = None;
        for ((member, raw), taken) in self.members.iter().zip(&mut self.taken) {
            if member == name {
                *taken = true;
                if let Some(earlier) = last.replace(*raw) {
                    self.kept.push((name, earlier));
                }
            }
        }
        last
    }

    /// A member that is looked at and stays where it is.
    pub(super) fn peek(&self, name: &str) -> Option<&'a str> {
        self.members.iter().rev().find(|(member, _)| member == name).map(|(_, raw)| *raw)
    }

    /// Puts a value into `extra` that its field does not hold.
    pub(super) fn keep(&mut self, name: &'static str, raw: &'a str) {
        self.kept.push((name, raw));
    }

    /// Drops members that are no content (signatures).
    pub(super) fn drop_where(&mut self, unwanted: impl Fn(&str, &str) -> bool) {
        for ((member, raw), taken) in self.members.iter().zip(&mut self.taken) {
            *taken |= unwanted(member, raw);
        }
    }

    /// A text, number or null as text: ids, which the samples write either way.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Unrecognized> {
        match self.take(name) {
            None | Some("null") => Ok(None),
            Some(raw) => match text_or_number(raw) {
                Some(text) => Ok(Some(text.into_owned())),
                None => Err(self.wrong(name, "a text or a number", raw)),
            },
        }
    }

    /// A text that may not be missing.
    pub(super) fn required_text(&mut self, name: &'static str) -> Result<String, Unrecognized> {
        let text = self.text(name)?;
        text.ok_or_else(|| self.missing(name))
    }

    /// `status`: the storage sample writes null as the text `"null"`.
    pub(super) fn status(&mut self) -> Result<Option<String>, Unrecognized> {
        Ok(self.text("status")?.filter(|status| status != "null"))
    }

    /// A whole number, as a number or as text.
    pub(super) fn long(&mut self, name: &'static str) -> Result<Option<i64>, Unrecognized> {
        let raw = match self.take(name) {
            None | Some("null") => return Ok(None),
            Some(raw) => raw,
        };
        let number = text_or_number(raw).ok_or_else(|| self.wrong(name, "an integer", raw))?;
        let Ok(value) = number.trim().parse::<i64>() else {
            return Err(self.wrong(name, "an integer of 64 bits", raw));
        };
        // "007" or "-0" say more than the number does.
        if value.to_string() != number {
            self.keep(name, raw);
        }
        Ok(Some(value))
    }

    /// A whole number that may not be missing.
    pub(super) fn required_long(&mut self, name: &'static str) -> Result<i64, Unrecognized> {
        let value = self.long(name)?;
        value.ok_or_else(|| self.missing(name))
    }

    /// A time without a zone, in milliseconds as if it were UTC (Avro's local-timestamp-millis).
    pub(super) fn local_time(&mut self, name: &'static str) -> Result<Option<i64>, Unrecognized> {
        let raw = match self.take(name) {
            None | Some("null") => return Ok(None),
            Some(raw) => raw,
        };
        if raw == "\"\"" {
            self.keep(name, raw);
            return Ok(None);
        }
        match local_time(raw) {
            Some(time) => {
                if !time.exact {
                    self.keep(name, raw);
                }
                Ok(Some(time.millis))
            }
            None => Err(self.wrong(name, "a time such as 2025-02-07T08:07:56.908", raw)),
        }
    }

    /// The lines of a document; missing and null mean none.
    pub(super) fn lines<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(Fields<'a>) -> Result<T, Unrecognized>,
    ) -> Result<Vec<T>, Unrecognized> {
        let raw = match self.take(name) {
            None | Some("null") => return Ok(Vec::new()),
            Some(raw) => raw,
        };
        let lines: Objects<'a> =
            serde_json::from_str(raw).map_err(|_| self.no_objects(name, raw))?;
        let path = self.path_of(name);
        let line = |(i, members)| read(Fields::new(format!("{path}[{i}]"), members));
        lines.0.into_iter().enumerate().map(line).collect()
    }

    /// What nobody asked for and what fields did not hold. A name with several values gets them
    /// as an array.
    pub(super) fn extra(self) -> Extra {
        self.left().0
    }

    /// The same for `data`, with what is left of the frame: under its name, or under `$.name`
    /// where that is a field of the record or taken.
    pub(super) fn extra_with_frame(self, frame: Self) -> Extra {
        let (mut extra, asked) = self.left();
        for (mut name, value) in frame.left().0 {
            while extra.contains_key(&name) || asked.contains(&name.as_str()) {
                name.insert_str(0, "$.");
            }
            extra.insert(name, value);
        }
        extra
    }

    fn left(self) -> (Extra, Vec<&'static str>) {
        let untaken = self.members.iter().zip(&self.taken).filter(|(_, taken)| !**taken);
        let untaken = untaken.map(|((name, raw), _)| (name.as_ref(), *raw));
        let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, raw) in self.kept.iter().copied().chain(untaken) {
            values.entry(name).or_default().push(raw);
        }
        let as_text = |(name, raws): (&str, Vec<&str>)| {
            let value = match raws.as_slice() {
                [only] => (*only).to_owned(),
                several => format!("[{}]", several.join(",")),
            };
            (name.to_owned(), value)
        };
        (values.into_iter().map(as_text).collect(), self.asked)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Says which element of an array is no object.
    fn no_objects(&self, name: &str, raw: &str) -> Unrecognized {
        let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
        let mut elements = elements.iter().map(|element| element.get()).enumerate();
        match elements.find(|(_, element)| Members::read(element).is_err()) {
            Some((i, element)) => self.wrong(&format!("{name}[{i}]"), "an object", element),
            None => self.wrong(name, "an array of objects", raw),
        }
    }

    fn missing(&self, name: &str) -> Unrecognized {
        Unrecognized::Undecodable(format!("{}: missing", self.path_of(name)))
    }

    fn wrong(&self, name: &str, expected: &str, raw: &str) -> Unrecognized {
        // A short number helps to see what is wrong; a text may be a person's name.
        let found = if is_number(raw) && raw.len() <= 40 { raw } else { kind(raw) };
        let path = self.path_of(name);
        Unrecognized::Undecodable(format!("{path}: expected {expected}, found {found}"))
    }
}

/// A time without a zone.
pub(super) struct LocalTime {
    pub(super) millis: i64,
    /// Whether the text said no more than `millis` does.
    pub(super) exact: bool,
}

/// Reads `2025-02-07T08:07:56.908`, or the same with a blank.
pub(super) fn local_time(raw: &str) -> Option<LocalTime> {
    let text = text(raw)?;
    let (date, time) = text.trim().split_once(['T', ' '])?;
    // An offset or a zone would be dropped in silence by the parser.
    let plain =
        |text: &str, also: &[char]| text.chars().all(|c| c.is_ascii_digit() || also.contains(&c));
    if !plain(date, &['-']) || !plain(time, &[':', '.']) {
        return None;
    }
    let time: DateTime = format!("{date}T{time}").parse().ok()?;
    let millis = TimeZone::UTC.to_timestamp(time).ok()?.as_millisecond();
    Some(LocalTime { millis, exact: time.subsec_nanosecond() % 1_000_000 == 0 })
}
