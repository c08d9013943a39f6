//! The configuration as a tree in which every value knows where it came from.

use std::{borrow::Cow, collections::BTreeMap, fmt, rc::Rc};

use toml::de::{DeTable, DeValue};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// `default.toml`.
    Defaults,
    /// A line of a file.
    File { name: Rc<str>, line: usize },
    /// A variable of the environment.
    Variable(Rc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("default.toml"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A value with its origin. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A table of the tree.
pub(super) type Table = BTreeMap<String, Node>;

/// A value. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Table),
    /// A fraction, as it was written.
    Fraction(String),
    /// What no key takes: dates and times, integers beyond 64 bits.
    Other(&'static str),
    /// The text of a variable: what it means is known only to the one who reads the key.
    Variable(String),
}

impl Value {
    /// Text, from a file or from the environment.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Variable(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number; a variable is read as TOML.
    pub(super) fn integer(&self) -> Option<i64> {
        match self.resolved().as_ref() {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// True or false; a variable is read as TOML.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.resolved().as_ref() {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// A list; a variable is read as TOML.
    pub(super) fn list(&self) -> Option<Vec<Value>> {
        match self.resolved().into_owned() {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// What a variable's text means as TOML; everything else as it is.
    fn resolved(&self) -> Cow<'_, Self> {
        match self {
            Self::Variable(text) => match DeValue::parse(text.trim()) {
                Ok(value) => Cow::Owned(convert(value.get_ref(), &|_| Origin::Defaults)),
                Err(_) => Cow::Borrowed(self),
            },
            _ => Cow::Borrowed(self),
        }
    }

    /// The value for an error message. Not for secrets.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Variable(text) => shown_text(text),
            Self::Integer(number) => format!("the number {number}"),
            Self::Fraction(number) => format!("the number {number}"),
            Self::Boolean(value) => format!("{value}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    /// Only the kind of value, for error messages about secrets.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Variable(_) => "text",
            Self::Integer(_) | Self::Fraction(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        }
    }
}

/// A text for an error message: quoted, on one line, not endless.
pub(super) fn shown_text(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text.chars().take(LONGEST).collect();
    let more = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    format!("{:?}", format!("{short}{more}"))
}

/// The path of a key below another; quoted as TOML would have it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = if !key.is_empty() && key.chars().all(bare) {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(format!("{key:?}"))
    };
    if path.is_empty() { key.into_owned() } else { format!("{path}.{key}") }
}

/// Reads a TOML document. The error is one line and shows nothing of the text, which may hold
/// secrets.
pub(super) fn parse(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<Node, (usize, String)> {
    // Made once: counting from the start for each key takes minutes for ten thousand accounts.
    let breaks: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| breaks.partition_point(|line_break| *line_break < at) + 1;
    match DeTable::parse(text) {
        Ok(table) => {
            let at = |position| origin(line(position));
            Ok(Node { value: Value::Table(convert_table(table.get_ref(), &at)), origin: at(0) })
        }
        Err(error) => Err((line(error.span().map_or(0, |span| span.start)), {
            error.message().replace('\n', " ")
        })),
    }
}

fn convert_table(table: &DeTable<'_>, at: &dyn Fn(usize) -> Origin) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let origin = at(key.span().start);
            (key.get_ref().to_string(), Node { value: convert(value.get_ref(), at), origin })
        })
        .collect()
}

fn convert(value: &DeValue<'_>, at: &dyn Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("a number beyond 64 bits"),
        },
        DeValue::Float(number) => Value::Fraction(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(values) => {
            Value::List(values.iter().map(|value| convert(value.get_ref(), at)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, at)),
    }
}

/// Lays `over` over `base`: tables are joined, everything else is replaced.
pub(super) fn lay_over(base: &mut Node, over: Node) {
    base.origin = over.origin;
    match (&mut base.value, over.value) {
        (Value::Table(base), Value::Table(over)) => {
            for (key, node) in over {
                match base.get_mut(&key) {
                    Some(below) => lay_over(below, node),
                    None => {
                        base.insert(key, node);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}
