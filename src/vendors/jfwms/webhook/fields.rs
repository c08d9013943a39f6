//! Reads an object's members into typed fields and keeps what is left.
//!
//! The vendor's samples are loosely typed, so each reader takes every form seen in them. What a
//! field cannot hold exactly, and what nobody asked for, ends in `extra` as raw JSON text.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use jiff::{civil::DateTime, tz::TimeZone};

use crate::domain::{
    Unrecognized,
    json::{Kind, Members, Value},
};

/// Further members by name, values as JSON text.
pub(super) type Extra = BTreeMap<String, String>;

/// Where an object stands; written out only when something is wrong in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Frame,
    Data,
    /// A line: the member of `data` that holds it, and its number.
    Line(&'static str, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame => Ok(()),
            Self::Data => f.write_str("data."),
            Self::Line(member, number) => write!(f, "data.{member}[{number}]."),
        }
    }
}

/// A member that is being read.
struct Member<'a> {
    name: Cow<'a, str>,
    value: Value<'a>,
    /// Whether it was asked for.
    taken: bool,
}

/// An object that is being read.
pub(super) struct Fields<'a> {
    place: Place,
    members: Vec<Member<'a>>,
    /// The names asked for, of `data`: a further member of the frame must not hide behind one.
    asked: Vec<&'static str>,
    /// Values that a field replaced or does not hold exactly.
    kept: Vec<(&'static str, &'a str)>,
}

impl<'a> Fields<'a> {
    /// Begins to read `members`, which stand at `place`.
    pub(super) fn new(place: Place, members: Members<'a>) -> Self {
        let mut read = Vec::with_capacity(12);
        read.extend(members.map(|(name, value)| Member { name, value, taken: false }));
        Self { place, members: read, asked: Vec::new(), kept: Vec::new() }
    }

    /// The value of a member. Of a repeated one the last wins (the guide's own samples repeat
    /// `finishTime`) and the earlier ones are kept.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value<'a>> {
        if matches!(self.place, Place::Data) {
            self.asked.push(name);
        }
        let mut last: Option<Value<'a>> = None;
        for member in &mut self.members {
            if member.name == name {
                member.taken = true;
                if let Some(earlier) = last.replace(member.value) {
                    self.kept.push((name, earlier.raw()));
                }
            }
        }
        last
    }

    /// The same, where null means that there is none.
    fn given(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.take(name).filter(|value| value.kind() != Kind::Null)
    }

    /// A member that is looked at and stays where it is.
    pub(super) fn peek(&self, name: &str) -> Option<Value<'a>> {
        self.members.iter().rev().find(|member| member.name == name).map(|member| member.value)
    }

    /// Puts a value into `extra` that its field does not hold.
    pub(super) fn keep(&mut self, name: &'static str, raw: &'a str) {
        self.kept.push((name, raw));
    }

    /// Drops members that are no content (signatures).
    pub(super) fn drop_where(&mut self, unwanted: impl Fn(&str, Value<'_>) -> bool) {
        for member in &mut self.members {
            member.taken |= unwanted(&member.name, member.value);
        }
    }

    /// A text, number or null as text: ids, which the samples write either way.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Unrecognized> {
        match self.given(name) {
            None => Ok(None),
            Some(value) => match value.text_or_number() {
                Some(text) => Ok(Some(text.into_owned())),
                None => Err(self.wrong(name, "a text or a number", value)),
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
        let Some(found) = self.given(name) else { return Ok(None) };
        let number = found.text_or_number();
        let number = number.ok_or_else(|| self.wrong(name, "an integer", found))?;
        let Ok(value) = number.trim().parse::<i64>() else {
            return Err(self.wrong(name, "an integer of 64 bits", found));
        };
        if !is_plain(&number) {
            self.keep(name, found.raw());
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
        let Some(value) = self.given(name) else { return Ok(None) };
        if value.raw() == "\"\"" {
            self.keep(name, value.raw());
            return Ok(None);
        }
        match local_time(value) {
            Some(time) => {
                if !time.exact {
                    self.keep(name, value.raw());
                }
                Ok(Some(time.millis))
            }
            None => Err(self.wrong(name, "a time such as 2025-02-07T08:07:56.908", value)),
        }
    }

    /// The lines of a document; missing and null mean none.
    pub(super) fn lines<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(Fields<'a>) -> Result<T, Unrecognized>,
    ) -> Result<Vec<T>, Unrecognized> {
        let Some(value) = self.given(name) else { return Ok(Vec::new()) };
        let elements =
            value.elements().ok_or_else(|| self.wrong(name, "an array of objects", value))?;
        let mut lines = Vec::with_capacity(8);
        for (number, element) in elements.enumerate() {
            let Some(members) = element.members() else {
                return Err(self.wrong(&format!("{name}[{number}]"), "an object", element));
            };
            lines.push(read(Fields::new(Place::Line(name, number), members))?);
        }
        Ok(lines)
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
        let untaken = self.members.iter().filter(|member| !member.taken);
        let untaken = untaken.map(|member| (member.name.as_ref(), member.value.raw()));
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

    fn missing(&self, name: &str) -> Unrecognized {
        Unrecognized::Undecodable(format!("{}{name}: missing", self.place))
    }

    fn wrong(&self, name: &str, expected: &str, value: Value<'_>) -> Unrecognized {
        // A short number helps to see what is wrong; a text may be a person's name.
        let (kind, raw) = (value.kind(), value.raw());
        let found = if kind == Kind::Number && raw.len() <= 40 { raw } else { kind.name() };
        let place = self.place;
        Unrecognized::Undecodable(format!("{place}{name}: expected {expected}, found {found}"))
    }
}

/// Whether an integer is written as we would write it: "007", "+1" or "-0" say more than the
/// number does.
fn is_plain(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && (!digits.starts_with('0') || number == "0")
}

/// A time without a zone.
pub(super) struct LocalTime {
    pub(super) millis: i64,
    /// Whether the text said no more than `millis` does.
    pub(super) exact: bool,
}

/// Reads `2025-02-07T08:07:56.908`, or the same with a blank.
pub(super) fn local_time(value: Value<'_>) -> Option<LocalTime> {
    let text = value.text()?;
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
