//! Whether everything that a webhook says can be found again in the record it became.
//!
//! It shares nothing with the code it judges: the JSON is read by a reader of its own, the Avro
//! from its bytes with its schema. The fuzz targets use the same file.

use std::collections::BTreeMap;

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};

/// A JSON value and its exact text.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw<'a> {
    pub text: &'a str,
    pub node: Node<'a>,
}

/// What kind of value it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// Members in their order, repeated ones included.
    Object(Vec<(String, Raw<'a>)>),
    Array(Vec<Raw<'a>>),
    Scalar,
}

/// A record's fields as decoded.
pub type Fields = Vec<(String, Value)>;

/// Fields of ours, which no member of a webhook fills.
const OURS: [&str; 5] = ["eventId", "account", "sentAt", "receivedAt", "extra"];

/// Decodes the whole of a datum with its schema.
pub fn decode(schema: &Schema, mut datum: &[u8]) -> Result<Fields, String> {
    let reader = GenericDatumReader::builder(schema).build().map_err(|e| e.to_string())?;
    let value = reader.read_value(&mut datum).map_err(|e| e.to_string())?;
    match value {
        Value::Record(fields) if datum.is_empty() => Ok(fields),
        Value::Record(_) => Err(format!("{} bytes are left over", datum.len())),
        _ => Err("no record".to_owned()),
    }
}

/// Reads a text that is valid JSON.
pub fn read(text: &str) -> Option<Raw<'_>> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value()?;
    reader.blanks();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn token(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn string(&mut self) -> Option<&'a str> {
        let from = self.at;
        self.token(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(from..self.at)
    }

    fn value(&mut self) -> Option<Raw<'a>> {
        self.blanks();
        let from = self.at;
        let node = match self.peek()? {
            b'{' => {
                self.at += 1;
                let mut members = Vec::new();
                self.blanks();
                if self.peek()? == b'}' {
                    self.at += 1;
                } else {
                    loop {
                        self.blanks();
                        let name = unescaped(self.string()?)?;
                        self.token(b':')?;
                        members.push((name, self.value()?));
                        if self.token(b',').is_none() {
                            self.token(b'}')?;
                            break;
                        }
                    }
                }
                Node::Object(members)
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                self.blanks();
                if self.peek()? == b']' {
                    self.at += 1;
                } else {
                    loop {
                        items.push(self.value()?);
                        if self.token(b',').is_none() {
                            self.token(b']')?;
                            break;
                        }
                    }
                }
                Node::Array(items)
            }
            b'"' => {
                self.string()?;
                Node::Scalar
            }
            _ => {
                while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                {
                    self.at += 1;
                }
                Node::Scalar
            }
        };
        let text = self.text.get(from..self.at).filter(|text| !text.is_empty())?;
        Some(Raw { text, node })
    }
}

/// The content of a JSON string; `None` where half a surrogate pair makes it no text.
pub fn unescaped(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut units: Vec<u16> = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        units.push(match chars.next()? {
            'n' => 10,
            't' => 9,
            'r' => 13,
            'b' => 8,
            'f' => 12,
            'u' => {
                let hex: String = chars.by_ref().take(4).collect();
                u16::from_str_radix(&hex, 16).ok()?
            }
            other => u16::try_from(u32::from(other)).ok()?,
        });
    }
    String::from_utf16(&units).ok()
}

/// A string's content, a number's or boolean's text.
fn scalar(raw: &Raw<'_>) -> Option<String> {
    match raw.node {
        Node::Scalar if raw.text.starts_with('"') => unescaped(raw.text),
        Node::Scalar if raw.text != "null" => Some(raw.text.to_owned()),
        _ => None,
    }
}

/// Judges a whole webhook: `data` became the record's fields and its `extra`, and the rest of the
/// frame is in `extra` too. `known` are the frame's members that were used up elsewhere, by name.
pub fn nothing_lost(
    fields: &Fields,
    data: &Raw<'_>,
    frame: &[(String, Vec<&str>)],
) -> Result<(), String> {
    let mut extra = object(fields, data, "")?;
    let longest = extra.keys().map(String::len).max().unwrap_or_default();
    for (name, raws) in frame {
        let text = combined(raws);
        let mut key = name.clone();
        while extra.get(&key) != Some(&text) {
            key.insert_str(0, "$.");
            if key.len() > longest {
                return Err(format!("the frame's `{name}` is lost: {text}"));
            }
        }
        extra.remove(&key);
    }
    match extra.first_key_value() {
        None => Ok(()),
        Some((name, text)) => Err(format!("`{name}` was never sent: {text}")),
    }
}

/// Judges one object; what is left of `extra` is for the caller.
fn object(fields: &Fields, said: &Raw<'_>, path: &str) -> Result<BTreeMap<String, String>, String> {
    let Node::Object(members) = &said.node else {
        return Err(format!("{path}: not an object"));
    };
    let mut extra = extra_of(fields)?;
    let mut by_name: BTreeMap<&str, Vec<&Raw<'_>>> = BTreeMap::new();
    for (name, raw) in members {
        by_name.entry(name).or_default().push(raw);
    }
    for (name, raws) in by_name {
        let at = format!("{path}.{name}");
        let (held, earlier) = match (place(fields, name), raws.split_last()) {
            (Some(places), Some((last, earlier))) => (holds(&places, last, &at)?, earlier),
            _ => (false, raws.as_slice()),
        };
        let texts: Vec<&str> = raws.iter().map(|raw| raw.text).collect();
        let kept = extra.get(name);
        // A value that its field holds may stand in `extra` as well; one that it does not hold
        // has to.
        let everything = kept == Some(&combined(&texts));
        let all_but_held = held
            && match texts.get(..earlier.len()) {
                None | Some([]) => kept.is_none() || everything,
                Some(earlier) => kept == Some(&combined(earlier)),
            };
        if !everything && !all_but_held {
            // Nothing of `data` stands there: what does may be the frame's.
            let frames = held && earlier.is_empty();
            if !frames {
                return Err(format!("{at} is lost: {texts:?}, extra has {kept:?}"));
            }
            continue;
        }
        if everything || !earlier.is_empty() {
            extra.remove(name);
        }
    }
    Ok(extra)
}

/// The fields that hold a member of this name, if any do.
fn place<'f>(fields: &'f Fields, name: &str) -> Option<Vec<&'f Value>> {
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, v)| v);
    // A time without a zone has a field of its own beside that of the instant.
    let is_twin = name.strip_suffix("Local").is_some_and(|base| field(base).is_some());
    if OURS.contains(&name) || is_twin {
        return None;
    }
    let own = field(name)?;
    Some([Some(own), field(&format!("{name}Local"))].into_iter().flatten().collect())
}

fn holds(places: &[&Value], raw: &Raw<'_>, at: &str) -> Result<bool, String> {
    let mut unset = true;
    for value in places {
        let value = open(value);
        unset &= *value == Value::Null || *value == Value::Array(Vec::new());
        if holds_one(value, raw, at)? {
            return Ok(true);
        }
    }
    // The storage sample of JFWMS writes null as the text "null".
    Ok(unset && (raw.text == "null" || (raw.text == "\"null\"" && at.ends_with(".status"))))
}

fn holds_one(value: &Value, raw: &Raw<'_>, at: &str) -> Result<bool, String> {
    let text = scalar(raw);
    Ok(match value {
        Value::String(held) => text.as_ref() == Some(held) || held == raw.text,
        Value::Long(held) => text == Some(held.to_string()),
        Value::TimestampMillis(held) => {
            text.and_then(|text| text.trim().parse::<i128>().ok()).is_some_and(|said| {
                said == i128::from(*held) || said.checked_mul(1000) == Some(i128::from(*held))
            })
        }
        Value::LocalTimestampMillis(held) => {
            text.is_some_and(|text| same_digits(text.trim(), *held))
        }
        Value::Array(lines) => {
            let Node::Array(said) = &raw.node else { return Ok(false) };
            if said.len() != lines.len() {
                return Err(format!("{at}: {} lines became {}", said.len(), lines.len()));
            }
            for (i, (line, said)) in lines.iter().zip(said).enumerate() {
                let Value::Record(fields) = line else {
                    return Err(format!("{at}[{i}]: no record"));
                };
                if let Some((name, text)) =
                    object(fields, said, &format!("{at}[{i}]"))?.first_key_value()
                {
                    return Err(format!("{at}[{i}].{name} was never sent: {text}"));
                }
            }
            true
        }
        _ => false,
    })
}

/// Whether a time's text says exactly this moment: the same digits, down to the millisecond.
fn same_digits(text: &str, millis: i64) -> bool {
    let Ok(moment) = jiff::Timestamp::from_millisecond(millis) else { return false };
    let held = jiff::tz::Offset::UTC.to_datetime(moment);
    let held = held.strftime("%Y%m%d%H%M%S%3f").to_string();
    let said: String = text.chars().filter(char::is_ascii_digit).collect();
    said.trim_end_matches('0') == held.trim_end_matches('0')
}

fn open(value: &Value) -> &Value {
    match value {
        Value::Union(_, inner) => inner,
        other => other,
    }
}

fn extra_of(fields: &Fields) -> Result<BTreeMap<String, String>, String> {
    let extra = fields.iter().find(|(name, _)| name == "extra").map(|(_, value)| open(value));
    let Some(Value::Map(extra)) = extra else { return Err("no extra".to_owned()) };
    let entry = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        other => Err(format!("extra.{name}: {other:?}")),
    };
    extra.iter().map(entry).collect()
}

/// Several values of one name stand in `extra` as an array.
fn combined(raws: &[&str]) -> String {
    match raws {
        [only] => (*only).to_owned(),
        several => format!("[{}]", several.join(",")),
    }
}

/// Judges a JFWMS webhook. `signs` are the names under which a signature travels.
pub fn jfwms(body: &str, type_name: &str, signs: &[&str], fields: &Fields) -> Result<(), String> {
    let frame = read(body).ok_or("the frame cannot be read")?;
    let Node::Object(members) = &frame.node else { return Err("no frame".to_owned()) };
    let mut data = None;
    let mut left: BTreeMap<String, Vec<&Raw<'_>>> = BTreeMap::new();
    for (name, raw) in members {
        match name.as_str() {
            "data" => data = Some(raw),
            name if signs.contains(&name) && raw.text.starts_with('"') => {}
            name => left.entry(name.to_owned()).or_default().push(raw),
        }
    }
    // What the frame's own members were used for is not looked for in `extra`.
    for (name, raws) in &mut left {
        let Some(last) = raws.last() else { continue };
        let used = match name.as_str() {
            "type" => scalar(last).as_deref() == Some(type_name),
            "timestamp" => held_by(fields, "sentAt", last)?,
            "finishTime" if type_name == "return" => held_by(fields, "finishTime", last)?,
            _ => false,
        };
        if used {
            raws.pop();
        }
    }
    let frame: Vec<_> = left
        .into_iter()
        .filter(|(_, raws)| !raws.is_empty())
        .map(|(name, raws)| (name, raws.into_iter().map(|raw| raw.text).collect()))
        .collect();
    nothing_lost(fields, data.ok_or("no data")?, &frame)
}

/// Judges a push of Qianyi: `others` are the frame's members beside its five, as JSON texts.
pub fn qianyi(
    biz_param: &str,
    timestamp: &str,
    others: &[(&str, &str)],
    fields: &Fields,
) -> Result<(), String> {
    let data = read(biz_param).ok_or("bizParam cannot be read")?;
    let mut left: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let time = read(timestamp).ok_or("timestamp cannot be read")?;
    if !held_by(fields, "sentAt", &time)? {
        left.entry("timestamp".to_owned()).or_default().push(timestamp);
    }
    for (name, raw) in others {
        left.entry((*name).to_owned()).or_default().push(raw);
    }
    nothing_lost(fields, &data, &left.into_iter().collect::<Vec<_>>())
}

fn held_by(fields: &Fields, name: &str, raw: &Raw<'_>) -> Result<bool, String> {
    let value = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    holds(&value.into_iter().collect::<Vec<_>>(), raw, name)
}
