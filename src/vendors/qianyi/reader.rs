//! Reads the fields of a pushed object, loosely where the vendor is loose, and keeps the rest.
//!
//! The documented types and the vendor's own samples disagree (numbers as text, times as text or
//! number), so each kind of field says here what it accepts. What no field takes goes to `extra`.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::DateTime, tz::Offset};

use super::json::{self, Members};
use crate::{
    domain::{Unrecognized, whole},
    vendors::bounds,
};

/// Milliseconds of an epoch value below this are before 1973: it counts seconds.
const SECONDS_BELOW: i64 = 100_000_000_000;

/// A time as it came: with a zone (or as epoch value), or without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) instant: Option<i64>,
    pub(super) local: Option<i64>,
}

/// Raw texts under the names they came with, for `extra`.
#[derive(Debug, Default)]
pub(super) struct Extra(BTreeMap<String, Vec<String>>);

impl Extra {
    /// Keeps a raw text; several under one name become a JSON array in their order.
    pub(super) fn keep(&mut self, name: String, raw: impl Into<String>) {
        self.0.entry(name).or_default().push(raw.into());
    }

    fn finish(self) -> BTreeMap<String, String> {
        self.0
            .into_iter()
            .map(|(name, mut texts)| match (texts.pop(), texts.is_empty()) {
                (Some(only), true) => (name, only),
                (last, _) => {
                    texts.extend(last);
                    (name, format!("[{}]", texts.join(",")))
                }
            })
            .collect()
    }
}

/// One pushed object, field by field.
pub(super) struct Reader<'a> {
    path: String,
    members: Members<'a>,
    extra: Extra,
    /// What stands beside the object in its frame.
    frame: Extra,
    /// The fields asked for: a member of the frame must not be taken for one of them.
    asked: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads an object; `path` is where it stands, for messages.
    pub(super) fn new(path: &str, text: &'a str) -> Result<Self, Unrecognized> {
        let members = json::members(text).ok_or_else(|| {
            let at = if path.is_empty() { "bizParam" } else { path };
            Unrecognized::Undecodable(format!("{at}: not a JSON object"))
        })?;
        let (extra, frame) = (Extra::default(), Extra::default());
        Ok(Self { path: path.to_owned(), members, extra, frame, asked: Vec::new() })
    }

    /// A text; a number or boolean is taken as its text. Anything else stays in `extra`: a record can
    /// live without it.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let raw = self.take(name)?;
        let text = json::scalar(raw);
        if text.is_none() {
            self.extra.keep(name.to_owned(), raw);
        }
        text
    }

    /// A whole number, also as text (`"5"`), however it is written. What is none, and what the text says
    /// beyond the number ("007", "2.0"), stays in `extra`.
    pub(super) fn long(&mut self, name: &str) -> Option<i64> {
        let raw = self.take(name)?;
        let text = json::scalar(raw).unwrap_or_default();
        let value = whole(text.trim());
        if value.is_none_or(|value| value.to_string() != text) {
            self.extra.keep(name.to_owned(), raw);
        }
        value
    }

    /// A time as text or number, with or without a zone. What is neither, and what the fields
    /// cannot hold whole, stays in `extra`.
    pub(super) fn time(&mut self, name: &str) -> Time {
        let Some(raw) = self.take(name) else { return Time::default() };
        let (time, whole) = json::scalar(raw).map_or((Time::default(), false), |t| time(t.trim()));
        if !whole {
            self.extra.keep(name.to_owned(), raw);
        }
        time
    }

    /// Any JSON value, as its text.
    pub(super) fn json(&mut self, name: &str) -> Option<String> {
        self.take(name).map(str::to_owned)
    }

    /// An array of objects, in their order.
    pub(super) fn objects<T>(
        &mut self,
        name: &str,
        read: impl Fn(Reader<'a>) -> Result<T, Unrecognized>,
    ) -> Result<Vec<T>, Unrecognized> {
        let Some(raw) = self.take(name) else { return Ok(Vec::new()) };
        let elements = json::elements(raw)
            .ok_or_else(|| self.undecodable(name, "an array of objects is expected"))?;
        let path = self.at(name);
        elements
            .into_iter()
            .enumerate()
            .map(|(i, element)| read(Reader::new(&format!("{path}[{i}]"), element)?))
            .collect()
    }

    /// Keeps members of the frame, under their name, or under `$.name` where that is a field of
    /// this object or taken.
    pub(super) fn keep_frame<'f>(&mut self, others: impl Iterator<Item = (&'f str, &'f str)>) {
        for (name, raw) in others {
            self.frame.keep(name.to_owned(), raw);
        }
    }

    /// What no field took, as JSON texts.
    pub(super) fn extra(mut self) -> BTreeMap<String, String> {
        for (name, raw) in std::mem::take(&mut self.members) {
            self.extra.keep(name, raw);
        }
        let mut extra = self.extra.finish();
        for (mut name, text) in bounds::of_frame(self.frame.finish()) {
            while extra.contains_key(&name) || self.asked.contains(&name) {
                name.insert_str(0, "$.");
            }
            extra.insert(name, text);
        }
        extra
    }

    /// Takes a field: the last of that name wins, the earlier ones go to `extra`. `null` is none.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        self.asked.push(name.to_owned());
        let mut taken = None;
        let extra = &mut self.extra;
        self.members.retain(|(member, raw)| {
            let wanted = member == name;
            if wanted && let Some(earlier) = taken.replace(*raw) {
                extra.keep(name.to_owned(), earlier);
            }
            !wanted
        });
        taken.filter(|raw| *raw != "null")
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn undecodable(&self, name: &str, expected: &str) -> Unrecognized {
        Unrecognized::Undecodable(format!("{}: {expected}", self.at(name)))
    }
}

/// An epoch value in milliseconds; seconds and milliseconds are told apart by size.
pub(super) fn epoch(digits: &str) -> Option<Timestamp> {
    let value: i64 = digits.parse().ok()?;
    let value = if value.abs() < SECONDS_BELOW { value.checked_mul(1000)? } else { value };
    Timestamp::from_millisecond(value).ok()
}

/// Reads a time; false when the value does not hold all that the text says.
fn time(text: &str) -> (Time, bool) {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        let instant = epoch(text).map(Timestamp::as_millisecond);
        return (Time { instant, local: None }, instant.is_some());
    }
    // "yyyy-MM-dd hh:mm:ss SSS" (Webhook 1.2.2): the milliseconds stand behind a blank.
    let dotted = match text.rsplit_once(' ') {
        Some((before, millis))
            if before.contains(':')
                && millis.len() == 3
                && millis.bytes().all(|b| b.is_ascii_digit()) =>
        {
            format!("{before}.{millis}")
        }
        _ => text.to_owned(),
    };
    if let Ok(instant) = dotted.parse::<Timestamp>() {
        // The offset itself is not in the value.
        return (Time { instant: Some(instant.as_millisecond()), local: None }, false);
    }
    let Ok(local) = dotted.parse::<DateTime>() else { return (Time::default(), false) };
    let whole = local.subsec_nanosecond() % 1_000_000 == 0 && dotted.contains(':');
    let local = Offset::UTC.to_timestamp(local).ok().map(Timestamp::as_millisecond);
    (Time { instant: None, local }, whole && local.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_as_numbers_or_texts_with_or_without_a_zone() {
        let instant = |ms| Time { instant: Some(ms), local: None };
        let local = |ms| Time { instant: None, local: Some(ms) };
        for (text, read, whole) in [
            ("1754014435000", instant(1_754_014_435_000), true),
            ("1731742317", instant(1_731_742_317_000), true),
            ("2025-08-01 10:13:55 123", local(1_754_043_235_123), true),
            ("2025-08-01 10:13:55.123", local(1_754_043_235_123), true),
            ("2025-08-01 10:13:55", local(1_754_043_235_000), true),
            ("2025-08-01T10:13:55", local(1_754_043_235_000), true),
            ("2025-08-01 10:13:55+08:00", instant(1_754_014_435_000), false),
            ("2025-08-01T02:13:55Z", instant(1_754_014_435_000), false),
            ("2025-08-01 10:13:55.1234", local(1_754_043_235_123), false),
            ("2025-08-01", local(1_754_006_400_000), false),
            ("99999999999999999999", Time::default(), false),
            ("9223372036854775807", Time::default(), false),
            ("yesterday", Time::default(), false),
            ("", Time::default(), false),
        ] {
            assert_eq!(time(text), (read, whole), "{text}");
        }
    }

    #[test]
    fn what_no_field_takes_is_kept_as_it_came() {
        let text = r#"{"a":1,"x":1.10,"a":2,"a":3,"y":[1],"y":{},"t":"soon","n":null}"#;
        let mut reader = Reader::new("", text).unwrap();
        let frame = [("x", "true"), ("z", "\"w\""), ("a", "9"), ("b", "8"), ("$.x", "7")];
        reader.keep_frame(frame.into_iter());
        assert_eq!(reader.long("b"), None);
        assert_eq!(reader.long("a"), Some(3));
        assert_eq!(reader.text("n"), None);
        assert_eq!(reader.time("t"), Time::default());
        let extra: Vec<_> = reader.extra().into_iter().collect();
        let expected = [
            ("$.$.x", "true"),
            ("$.a", "9"),
            ("$.b", "8"),
            ("$.x", "7"),
            ("a", "[1,2]"),
            ("t", "\"soon\""),
            ("x", "1.10"),
            ("y", "[[1],{}]"),
            ("z", "\"w\""),
        ];
        assert_eq!(extra, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_wrong_kind_is_named_with_its_path() {
        let text = r#"{"quantity":"many","sku":{},"lines":[{"quantity":1},5]}"#;
        let mut reader = Reader::new("skuList[1]", text).unwrap();
        let wrong = reader.objects("lines", |_| Ok(())).unwrap_err();
        let message = "skuList[1].lines[1]: not a JSON object";
        assert_eq!(wrong, Unrecognized::Undecodable(message.to_owned()));
        // What a record can live without is kept as it came.
        assert_eq!((reader.long("quantity"), reader.text("sku")), (None, None));
        let extra: Vec<_> = reader.extra().into_iter().collect();
        let expected = [("quantity", "\"many\""), ("sku", "{}")];
        assert_eq!(extra, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
