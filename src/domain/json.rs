//! JSON read once, as raw slices: what a vendor wrote stays what the vendor wrote.
//!
//! A [`Tape`] lists where every value of a text begins and ends. Numbers keep their digits,
//! repeated names stay, and nothing is copied; what is hashed, read and kept is one and the same
//! text. Neither serde's derive (it refuses a repeated key) nor `serde_json::Value` (it keeps one
//! of them, and rounds) does for the vendors' own samples, and a raw value per level reads the
//! text again at each level.

use std::borrow::Cow;

/// How deeply a text may be nested. Whoever reads `extra` later must not be brought down by it.
pub const MAX_DEPTH: usize = 64;

/// Why a text has no tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it is not JSON")]
    NotJson,
    #[error("it is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

/// What kind of value a JSON text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    Text,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// The kind in words, for messages that must not show the value itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        }
    }
}

/// One value. Of an object its members follow, name and value in turn; of an array its elements.
#[derive(Debug, Clone, Copy)]
struct Node {
    start: u32,
    end: u32,
    /// The node after this value and all that is in it.
    next: u32,
    kind: Kind,
    /// A text with escapes in it.
    escaped: bool,
}

/// Where the values of one text are. It holds no text, so it can be kept beside it.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// Reads a whole text (RFC 8259), blanks around it included.
    pub fn of(text: &str) -> Result<Self, Malformed> {
        if u32::try_from(text.len()).is_err() {
            return Err(Malformed::NotJson);
        }
        // A webhook's value and its name take about sixteen bytes each.
        let nodes = Vec::with_capacity(text.len() / 8 + 1);
        let mut reader = Reader { bytes: text.as_bytes(), at: 0, nodes };
        reader.value(0)?;
        reader.blanks();
        if reader.at < reader.bytes.len() {
            return Err(Malformed::NotJson);
        }
        Ok(Self { nodes: reader.nodes })
    }

    /// The value of the whole text. `text` is the one the tape was made of.
    pub fn root<'t>(&'t self, text: &'t str) -> Value<'t> {
        Value { text, tape: self, at: 0 }
    }
}

/// A value in its text.
#[derive(Debug, Clone, Copy)]
pub struct Value<'t> {
    text: &'t str,
    tape: &'t Tape,
    at: usize,
}

impl<'t> Value<'t> {
    fn node(self) -> Option<&'t Node> {
        self.tape.nodes.get(self.at)
    }

    /// The value as it was written.
    pub fn raw(self) -> &'t str {
        let node = self.node();
        node.and_then(|node| self.text.get(node.start as usize..node.end as usize)).unwrap_or("")
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        self.node().map_or(Kind::Null, |node| node.kind)
    }

    /// The content of a text; `None` where it is no text, or one with half a surrogate pair.
    pub fn text(self) -> Option<Cow<'t, str>> {
        let node = self.node().filter(|node| node.kind == Kind::Text)?;
        if node.escaped {
            return serde_json::from_str(self.raw()).ok().map(Cow::Owned);
        }
        let inside = node.start as usize + 1..(node.end as usize).saturating_sub(1);
        self.text.get(inside).map(Cow::Borrowed)
    }

    /// The exact text of a number, or the content of a text; `None` for anything else.
    pub fn text_or_number(self) -> Option<Cow<'t, str>> {
        match self.kind() {
            Kind::Number => Some(Cow::Borrowed(self.raw())),
            Kind::Text => self.text(),
            Kind::Object | Kind::Array | Kind::Boolean | Kind::Null => None,
        }
    }

    /// The members of an object in the order they came, repeated ones included.
    pub fn members(self) -> Option<Members<'t>> {
        let inside = self.inside(Kind::Object)?;
        Some(Members { inside })
    }

    /// The elements of an array.
    pub fn elements(self) -> Option<Elements<'t>> {
        let inside = self.inside(Kind::Array)?;
        Some(Elements { inside })
    }

    fn inside(self, kind: Kind) -> Option<Inside<'t>> {
        let node = self.node().filter(|node| node.kind == kind)?;
        let (next, end) = (self.at + 1, node.next as usize);
        Some(Inside { text: self.text, tape: self.tape, next, end })
    }
}

#[derive(Debug, Clone)]
struct Inside<'t> {
    text: &'t str,
    tape: &'t Tape,
    next: usize,
    end: usize,
}

impl<'t> Inside<'t> {
    fn step(&mut self) -> Option<Value<'t>> {
        if self.next >= self.end {
            return None;
        }
        let value = Value { text: self.text, tape: self.tape, at: self.next };
        self.next = value.node()?.next as usize;
        Some(value)
    }
}

/// The members of an object. A name with half a surrogate pair stands as it was written.
#[derive(Debug, Clone)]
pub struct Members<'t> {
    inside: Inside<'t>,
}

impl Members<'_> {
    /// Those of an empty object.
    pub const NONE: Self =
        Self { inside: Inside { text: "", tape: &Tape { nodes: Vec::new() }, next: 0, end: 0 } };
}

impl<'t> Iterator for Members<'t> {
    type Item = (Cow<'t, str>, Value<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.inside.step()?;
        let name = name.text().unwrap_or(Cow::Borrowed(name.raw()));
        Some((name, self.inside.step()?))
    }
}

/// The elements of an array.
#[derive(Debug, Clone)]
pub struct Elements<'t> {
    inside: Inside<'t>,
}

impl<'t> Iterator for Elements<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inside.step()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
}

/// Whether a byte of a text is its end, begins an escape, or may not stand in it.
const fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Where the first special byte is. Eight bytes are looked at in one step: most of a webhook's
/// bytes are in texts.
fn special(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let mut at = 0;
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        // The high bit of each byte that is below the limit, or zero; borrows only reach bytes
        // above the first that is, and only the first counts.
        let below =
            |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
        let equals = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = below(word, 0x20) | equals(b'"') | equals(b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
        rest = behind;
    }
    rest.iter().position(|byte| is_special(*byte)).map(|found| at + found)
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        // No value begins with it, so the end of the text is refused wherever it is met.
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != byte {
            return Err(Malformed::NotJson);
        }
        self.at += 1;
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, reason = "the length of the text fits in 32 bits")]
    fn open(&mut self, kind: Kind) -> usize {
        let start = self.at as u32;
        self.nodes.push(Node { start, end: start, next: 0, kind, escaped: false });
        self.nodes.len() - 1
    }

    #[allow(clippy::cast_possible_truncation, reason = "the length of the text fits in 32 bits")]
    fn close(&mut self, index: usize) {
        let (end, next) = (self.at as u32, self.nodes.len() as u32);
        if let Some(node) = self.nodes.get_mut(index) {
            node.end = end;
            node.next = next;
        }
    }

    /// Recurses at most [`MAX_DEPTH`] times.
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        self.blanks();
        match self.peek() {
            b'"' => self.text(),
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true", Kind::Boolean),
            b'f' => self.word(b"false", Kind::Boolean),
            b'n' => self.word(b"null", Kind::Null),
            _ => Err(Malformed::NotJson),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::TooDeep);
        }
        let index = self.open(Kind::Object);
        self.at += 1;
        self.blanks();
        if self.peek() != b'}' {
            loop {
                self.blanks();
                if self.peek() != b'"' {
                    return Err(Malformed::NotJson);
                }
                self.text()?;
                self.blanks();
                self.expect(b':')?;
                self.value(depth)?;
                self.blanks();
                if self.peek() != b',' {
                    break;
                }
                self.at += 1;
            }
        }
        self.expect(b'}')?;
        self.close(index);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::TooDeep);
        }
        let index = self.open(Kind::Array);
        self.at += 1;
        self.blanks();
        if self.peek() != b']' {
            loop {
                self.value(depth)?;
                self.blanks();
                if self.peek() != b',' {
                    break;
                }
                self.at += 1;
            }
        }
        self.expect(b']')?;
        self.close(index);
        Ok(())
    }

    fn text(&mut self) -> Result<(), Malformed> {
        let index = self.open(Kind::Text);
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += special(rest).ok_or(Malformed::NotJson)?;
            match self.peek() {
                b'"' => break,
                b'\\' => {
                    if let Some(node) = self.nodes.get_mut(index) {
                        node.escaped = true;
                    }
                    self.at += 1;
                    self.escape()?;
                }
                _ => return Err(Malformed::NotJson),
            }
        }
        self.at += 1;
        self.close(index);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let length = match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
            b'u' => {
                let digits = self.bytes.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(Malformed::NotJson);
                }
                5
            }
            _ => return Err(Malformed::NotJson),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        let index = self.open(Kind::Number);
        if self.peek() == b'-' {
            self.at += 1;
        }
        // No digit follows a leading zero.
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        self.close(index);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !self.peek().is_ascii_digit() {
            return Err(Malformed::NotJson);
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(), Malformed> {
        let index = self.open(kind);
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(Malformed::NotJson);
        }
        self.at += word.len();
        self.close(index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_bytes_at_once_find_what_one_by_one_finds(
            plain in proptest::collection::vec(0x20_u8.., 0..40),
            bytes in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let text = [plain, bytes].concat();
            let expected = text.iter().position(|byte| is_special(*byte));
            prop_assert_eq!(special(&text), expected);
        }
    }

    #[test]
    fn members_keep_their_order_their_repetitions_and_their_numbers() {
        let text = r#" { "a" : 1.10, "a":12345678901234567890123, "\u0062":"x\ny", "c":[ 1 ] } "#;
        let tape = Tape::of(text).unwrap();
        let root = tape.root(text);
        let members: Vec<_> = root.members().unwrap().collect();
        let found: Vec<_> = members.iter().map(|(name, v)| (name.as_ref(), v.raw())).collect();
        assert_eq!(
            found,
            [("a", "1.10"), ("a", "12345678901234567890123"), ("b", r#""x\ny""#), ("c", "[ 1 ]")]
        );
        assert_eq!(members[2].1.text().as_deref(), Some("x\ny"));
        assert_eq!(members[1].1.text_or_number().as_deref(), Some("12345678901234567890123"));
        let elements: Vec<_> = members[3].1.elements().unwrap().map(Value::raw).collect();
        assert_eq!(elements, ["1"]);
        assert!(root.elements().is_none());
        assert_eq!(root.raw(), text.trim());
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text_and_is_kept() {
        let text = r#"{"\ud800":"\udc00"}"#;
        let tape = Tape::of(text).unwrap();
        let (name, value) = tape.root(text).members().unwrap().next().unwrap();
        assert_eq!((name.as_ref(), value.raw()), (r#""\ud800""#, r#""\udc00""#));
        assert_eq!(value.text(), None);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1}x",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "tru",
            "nul",
            "True",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u123\"",
            "\"a\nb\"",
            "'a'",
            "NaN",
            "\u{0}",
            "\u{feff}{}",
            "1 2",
        ] {
            assert_eq!(Tape::of(text).err(), Some(Malformed::NotJson), "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Tape::of(&nested(64)).is_ok());
        assert_eq!(Tape::of(&nested(65)).err(), Some(Malformed::TooDeep));
        assert_eq!(Tape::of(&"[".repeat(1_000_000)).err(), Some(Malformed::TooDeep));
        assert!(Tape::of(&format!("\"{}\"", "[".repeat(100))).is_ok());
        assert!(Tape::of(&format!("[{}1]", "[],".repeat(1000))).is_ok());
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((".{0,8}", inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Builds the value again from the slices alone.
    fn again(value: Value<'_>) -> serde_json::Value {
        match value.kind() {
            Kind::Object => {
                let members = value.members().unwrap();
                members.map(|(name, value)| (name.into_owned(), again(value))).collect()
            }
            Kind::Array => value.elements().unwrap().map(again).collect(),
            Kind::Text => value.text().unwrap().into(),
            Kind::Number | Kind::Boolean | Kind::Null => serde_json::from_str(value.raw()).unwrap(),
        }
    }

    proptest! {
        /// The library agrees on what JSON is, and on every value of it.
        #[test]
        fn a_tape_holds_what_serde_json_reads(value in json(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let tape = Tape::of(&text).unwrap();
            prop_assert_eq!(again(tape.root(&text)), value);
        }

        /// Also of what is nearly JSON.
        #[test]
        fn a_tape_refuses_what_serde_json_refuses(
            value in json(), at: prop::sample::Index, other in "[\\[\\]{}\",:0-9eE+.\\\\untf -]?",
        ) {
            let text = value.to_string();
            let at = at.index(text.chars().count() + 1);
            let text: String =
                text.chars().take(at).chain(other.chars()).chain(text.chars().skip(at + 1)).collect();
            let library = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(Tape::of(&text).is_ok(), library, "{}", text);
        }
    }
}
