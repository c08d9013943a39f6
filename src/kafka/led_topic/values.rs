//! What is known of a compacted topic: the newest value of each key. PURE.

use std::collections::HashMap;

type ByKey = HashMap<Vec<u8>, (i64, Option<Vec<u8>>)>;

/// The newest value of each key, with its offset; `None` is a deleted one.
///
/// One reader fills it; what this process writes is there at once. A reading anew puts what it found
/// in place of everything, for a topic that was made again, or whose log was cut off, begins with
/// lower offsets than the ones that are known.
#[derive(Debug, Default)]
pub(super) struct Values {
    newest: ByKey,
    /// What a reading from the beginning found so far, and what was written since it began.
    reading: Option<ByKey>,
}

impl Values {
    /// A reading from the topic's beginning begins.
    pub(super) fn begin(&mut self) {
        self.reading = Some(ByKey::new());
    }

    /// A record was read.
    pub(super) fn read(&mut self, key: &[u8], offset: i64, value: Option<&[u8]>) {
        put(self.reading.as_mut().unwrap_or(&mut self.newest), key, offset, value);
    }

    /// A record was written and committed.
    pub(super) fn wrote(&mut self, key: &[u8], offset: i64, value: &[u8]) {
        if let Some(reading) = &mut self.reading {
            put(reading, key, offset, Some(value));
        }
        put(&mut self.newest, key, offset, Some(value));
    }

    /// Everything that was there when the reading began has been read.
    pub(super) fn reached_the_end(&mut self) {
        if let Some(read) = self.reading.take() {
            self.newest = read;
        }
    }

    /// Nothing that is known counts any more.
    pub(super) fn forget(&mut self) {
        self.newest.clear();
        self.reading = None;
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.newest.get(key).and_then(|(_, value)| value.as_ref())
    }
}

/// The reader may be behind what was written: it must not put an older value back.
fn put(values: &mut ByKey, key: &[u8], offset: i64, value: Option<&[u8]>) {
    let known = values.get(key).map(|(at, _)| *at);
    if known.is_none_or(|at| at < offset) {
        values.insert(key.to_owned(), (offset, value.map(<[u8]>::to_vec)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(values: &'a Values, key: &[u8]) -> Option<&'a [u8]> {
        values.get(key).map(Vec::as_slice)
    }

    #[test]
    fn a_slow_reader_puts_nothing_older_back() {
        let mut values = Values::default();
        values.read(b"a", 3, Some(b"refreshing"));
        values.wrote(b"a", 5, b"new");
        values.read(b"a", 4, Some(b"older"));
        assert_eq!(get(&values, b"a"), Some(&b"new"[..]));
        values.read(b"a", 7, None);
        values.read(b"a", 5, Some(b"new"));
        assert_eq!(get(&values, b"a"), None, "what was deleted stays deleted");
        values.read(b"b", 0, Some(b"other"));
        values.read(b"a", 8, Some(b"newest"));
        assert_eq!(get(&values, b"a"), Some(&b"newest"[..]));
    }

    #[test]
    fn a_reading_anew_takes_the_place_of_what_was_known() {
        let mut values = Values::default();
        values.read(b"a", 50, Some(b"of the old topic"));
        values.read(b"b", 51, Some(b"of the old topic"));
        values.begin();
        values.read(b"a", 0, Some(b"a person's"));
        // Until it has been read to its end, what was known is all there is.
        assert_eq!(get(&values, b"a"), Some(&b"of the old topic"[..]));
        values.reached_the_end();
        assert_eq!(get(&values, b"a"), Some(&b"a person's"[..]));
        assert_eq!(get(&values, b"b"), None);
        // The end is reached again and again.
        values.read(b"b", 1, Some(b"new"));
        values.reached_the_end();
        assert_eq!(get(&values, b"b"), Some(&b"new"[..]));
    }

    #[test]
    fn what_is_written_during_a_reading_stays() {
        let mut values = Values::default();
        values.begin();
        values.read(b"a", 3, Some(b"old"));
        values.wrote(b"a", 4, b"new");
        assert_eq!(get(&values, b"a"), Some(&b"new"[..]));
        values.reached_the_end();
        assert_eq!(get(&values, b"a"), Some(&b"new"[..]));
    }

    #[test]
    fn what_went_back_is_forgotten() {
        let mut values = Values::default();
        values.read(b"a", 5, Some(b"x"));
        values.begin();
        values.read(b"a", 6, Some(b"y"));
        values.forget();
        values.reached_the_end();
        assert_eq!(get(&values, b"a"), None);
        values.read(b"a", 0, Some(b"z"));
        assert_eq!(get(&values, b"a"), Some(&b"z"[..]));
    }
}
