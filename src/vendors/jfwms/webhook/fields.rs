//! Reads an object's members into typed fields and keeps what is left.
//!
//! The vendor's samples are loosely typed, so each reader takes every form seen in them. What a
//! field cannot hold exactly, and what nobody asked for, ends in `extra` as raw JSON text.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use jiff::{civil::DateTime, tz::TimeZone};

use crate::domain::{
    Unrecognized,
    json::{Kind, Members, Value},
    whole,
};

use crate::vendors::bounds;

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

/// The names of a record's fields, best in the order in which its reader asks for them.
pub(super) type Names = &'static [&'static str];

/// No record has more fields.
const MOST_FIELDS: usize = 9;

/// An object that is being read.
pub(super) struct Fields<'a> {
    place: Place,
    names: Names,
    /// The value of each of `names`, until it is taken.
    values: [Option<Value<'a>>; MOST_FIELDS],
    /// Where in `names` the next one is expected: members mostly come in one order.
    next: usize,
    /// The members that are none of `names`, and the values that a field replaced or does not
    /// hold exactly.
    left: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Fields<'a> {
    /// Begins to read `members`, which stand at `place`, as the fields `names`.
    pub(super) fn new(place: Place, names: Names, members: Members<'a>) -> Self {
        debug_assert!(names.len() <= MOST_FIELDS, "{names:?} are too many");
        let values = [None; MOST_FIELDS];
        let mut fields = Self { place, names, values, next: 0, left: Vec::new() };
        fields.fill(members);
        fields
    }

    /// Sorts members into the fields. Of a repeated one the last wins (the guide's own samples
    /// repeat `finishTime`) and the earlier ones are kept.
    fn fill(&mut self, members: Members<'a>) {
        self.next = 0;
        for (name, value) in members {
            let at = self.at(&name);
            match at.and_then(|at| self.values.get_mut(at)) {
                Some(field) => {
                    if let Some(earlier) = field.replace(value) {
                        self.left.push((name, earlier));
                    }
                }
                None => self.left.push((name, value)),
            }
        }
        self.next = 0;
    }

    /// Where in `names` a name is.
    fn at(&mut self, name: &str) -> Option<usize> {
        let at = if self.names.get(self.next).is_some_and(|expected| same(expected, name)) {
            self.next
        } else {
            self.names.iter().position(|known| *known == name)?
        };
        self.next = at + 1;
        Some(at)
    }

    /// The value of a field.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value<'a>> {
        let at = self.at(name);
        debug_assert!(at.is_some(), "{name} is none of {:?}", self.names);
        self.values.get_mut(at?)?.take()
    }

    /// The same, where null means that there is none.
    fn given(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.take(name).filter(|value| value.kind() != Kind::Null)
    }

    /// A member that is looked at and stays where it is.
    pub(super) fn peek(&self, name: &str) -> Option<Value<'a>> {
        match self.names.iter().position(|known| *known == name) {
            Some(at) => *self.values.get(at)?,
            None => self.left.iter().rev().find(|(left, _)| left == name).map(|(_, value)| *value),
        }
    }

    /// Puts a value into `extra` that its field does not hold.
    pub(super) fn keep(&mut self, name: &'static str, value: Value<'a>) {
        self.left.push((Cow::Borrowed(name), value));
    }

    /// Drops members that are no fields and no content (signatures).
    pub(super) fn drop_where(&mut self, unwanted: impl Fn(&str, Value<'_>) -> bool) {
        self.left.retain(|(name, value)| !unwanted(name, *value));
    }

    /// A text, number or null as text: ids, which the samples write either way. Anything else stays in
    /// `extra`: a record can live without it.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.given(name)?;
        let text = value.text_or_number().map(Cow::into_owned);
        if text.is_none() {
            self.keep(name, value);
        }
        text
    }

    /// A text that may not be missing.
    pub(super) fn required_text(&mut self, name: &'static str) -> Result<String, Unrecognized> {
        let value = self.given(name).ok_or_else(|| self.missing(name))?;
        let text = value.text_or_number().map(Cow::into_owned);
        text.ok_or_else(|| self.wrong(name, "a text or a number", value))
    }

    /// `status`: the storage sample writes null as the text `"null"`.
    pub(super) fn status(&mut self) -> Option<String> {
        self.text("status").filter(|status| status != "null")
    }

    /// A whole number, as a number or as text, however it is written. What is none stays in `extra`.
    pub(super) fn long(&mut self, name: &'static str) -> Option<i64> {
        let found = self.given(name)?;
        let value = self.whole_number(name, found);
        if value.is_none() {
            self.keep(name, found);
        }
        value
    }

    /// A whole number that may not be missing.
    pub(super) fn required_long(&mut self, name: &'static str) -> Result<i64, Unrecognized> {
        let found = self.given(name).ok_or_else(|| self.missing(name))?;
        let value = self.whole_number(name, found);
        value.ok_or_else(|| self.wrong(name, "an integer of 64 bits", found))
    }

    /// The number of a value; what its text says beyond the number stays in `extra`.
    fn whole_number(&mut self, name: &'static str, found: Value<'a>) -> Option<i64> {
        let number = found.text_or_number()?;
        // Nearly always: a number as we would write it, short enough for any sum of its digits.
        if let Some(value) = short_and_plain(number.as_bytes()) {
            return Some(value);
        }
        let value = whole(number.trim())?;
        if !is_plain(&number) {
            self.keep(name, found);
        }
        Some(value)
    }

    /// A time without a zone, in milliseconds as if it were UTC (Avro's local-timestamp-millis). One in
    /// another form says something else (a moment, a day), and stays in `extra`.
    pub(super) fn local_time(&mut self, name: &'static str) -> Option<i64> {
        let value = self.given(name)?;
        let time = local_time(value);
        if time.as_ref().is_none_or(|time| !time.exact) {
            self.keep(name, value);
        }
        time.map(|time| time.millis)
    }

    /// The lines of a document; missing and null mean none.
    pub(super) fn lines<T>(
        &mut self,
        name: &'static str,
        names: Names,
        read: impl Fn(&mut Fields<'a>) -> Result<T, Unrecognized>,
    ) -> Result<Vec<T>, Unrecognized> {
        let Some(value) = self.given(name) else { return Ok(Vec::new()) };
        let elements =
            value.elements().ok_or_else(|| self.wrong(name, "an array of objects", value))?;
        let mut lines = Vec::with_capacity(8);
        // One for all lines: reading a line leaves nothing in it.
        let mut line = Fields::new(Place::Line(name, 0), names, Members::NONE);
        for (number, element) in elements.enumerate() {
            let Some(members) = element.members() else {
                return Err(self.wrong(&format!("{name}[{number}]"), "an object", element));
            };
            line.place = Place::Line(name, number);
            line.fill(members);
            lines.push(read(&mut line)?);
        }
        Ok(lines)
    }

    /// What nobody asked for and what fields did not hold. A name with several values gets them
    /// as an array.
    pub(super) fn extra(&mut self) -> Extra {
        // A field that no reader took is not lost either.
        for (name, value) in self.names.iter().zip(&mut self.values) {
            if let Some(untaken) = value.take() {
                self.left.push((Cow::Borrowed(name), untaken));
            }
        }
        if self.left.is_empty() {
            return Extra::new();
        }
        let left = std::mem::take(&mut self.left);
        let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &left {
            values.entry(name).or_default().push(value.raw());
        }
        let as_text = |(name, raws): (&str, Vec<&str>)| {
            let value = match raws.as_slice() {
                [only] => (*only).to_owned(),
                several => format!("[{}]", several.join(",")),
            };
            (name.to_owned(), value)
        };
        values.into_iter().map(as_text).collect()
    }

    /// The same for `data`, with what is left of the frame: under its name, or under `$.name`
    /// where that is a field of the record or taken.
    pub(super) fn extra_with_frame(mut self, mut frame: Self) -> Extra {
        let mut extra = self.extra();
        for (mut name, value) in bounds::of_frame(frame.extra()) {
            while extra.contains_key(&name) || self.names.contains(&name.as_str()) {
                name.insert_str(0, "$.");
            }
            extra.insert(name, value);
        }
        extra
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

/// Whether two names are equal. A reader's name and its list's are mostly one text in memory.
fn same(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other) || one == other
}

/// A number of at most 18 digits without a sign, as we would write it.
fn short_and_plain(digits: &[u8]) -> Option<i64> {
    let plain = match digits {
        [_] => true,
        [first, .., _] => *first != b'0' && digits.len() <= 18,
        [] => false,
    };
    if !plain {
        return None;
    }
    digits.iter().try_fold(0, |sum: i64, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then(|| sum * 10 + i64::from(digit))
    })
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
    let time: DateTime = text.trim().parse().ok()?;
    let millis = TimeZone::UTC.to_timestamp(time).ok()?.as_millisecond();
    Some(LocalTime { millis, exact: time.subsec_nanosecond() % 1_000_000 == 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_plain_when_it_is_written_as_we_would(text in "[-+]?[ 0]{0,2}[0-9]{1,20} ?") {
            let value = text.trim().parse::<i64>().ok();
            let rewritten = value.is_some_and(|value| value.to_string() == text);
            if let Some(short) = short_and_plain(text.as_bytes()) {
                prop_assert_eq!((Some(short), true), (value, rewritten));
            }
            if value.is_some() {
                prop_assert_eq!(is_plain(&text), rewritten);
            }
        }
    }

    #[test]
    fn a_field_that_nobody_takes_is_not_lost() {
        let text = r#"{"b":1,"x":2,"b":3,"a":4}"#;
        let tape = crate::domain::json::Tape::of(text).unwrap();
        let mut fields = Fields::new(Place::Data, &["a", "b"], tape.root(text).members().unwrap());
        assert_eq!(fields.take("a").map(Value::raw), Some("4"));
        let extra: Vec<_> = fields.extra().into_iter().collect();
        assert_eq!(extra, [("b".into(), "[1,3]".into()), ("x".into(), "2".into())]);
    }
}
