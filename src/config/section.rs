//! Reads one section key by key and notes every problem, so that all are told at once.
//!
//! A getter gives `None` when it has noted a problem; a section is read whole before it is put
//! together with `?`.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use ipnet::IpNet;

use crate::domain::Secret;

use super::{
    error::Problems,
    secrets::Sources,
    tree::{Table, Value, join, shown_text},
};

/// What all sections share while they are read.
pub(super) struct Context {
    pub(super) problems: Problems,
    pub(super) sources: Sources,
    /// Every key that was asked for.
    pub(super) known: RefCell<BTreeSet<String>>,
    /// Keys that nobody asked for: section, key, and the section's known keys.
    unknown: RefCell<Vec<(String, String, Vec<&'static str>)>>,
}

impl Context {
    pub(super) fn new(problems: Problems, sources: Sources) -> Self {
        Self { problems, sources, known: RefCell::default(), unknown: RefCell::default() }
    }

    /// Notes the unknown keys, once everything was read: only then all known ones are known.
    pub(super) fn note_unknown(&self) {
        let known = self.known.borrow();
        let mut by_name: HashMap<&str, &String> = HashMap::new();
        for path in known.iter() {
            by_name.entry(path.rsplit('.').next().unwrap_or(path)).or_insert(path);
        }
        for (section, key, siblings) in self.unknown.take() {
            let path = join(&section, &key);
            let elsewhere = by_name.get(key.as_str()).copied();
            let beside = nearest(&key, siblings.into_iter()).map(|near| join(&section, near));
            match elsewhere.cloned().or(beside) {
                Some(near) => self
                    .problems
                    .at(&path, format_args!("is not known; the nearest known key is `{near}`")),
                None => self.problems.at(&path, "is not known"),
            }
        }
    }
}

/// The candidate most like `name`.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates.max_by(|a, b| {
        let likeness = |other| strsim::normalized_damerau_levenshtein(name, other);
        likeness(a).total_cmp(&likeness(b))
    })
}

/// One section while it is read.
pub(super) struct Section<'a> {
    pub(super) context: &'a Context,
    pub(super) path: String,
    /// `None` when it is no table at all, which was noted.
    table: Option<Table>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(context: &'a Context, path: String, value: Value) -> Self {
        let table = match value {
            Value::Table(table) => Some(table),
            other => {
                context
                    .problems
                    .at(&path, format_args!("takes a section [{path}], found {}", other.kind()));
                None
            }
        };
        Self { context, path, table, known: Vec::new() }
    }

    /// A section within this one.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let value = self.take(key).unwrap_or(Value::Table(Table::new()));
        Section::new(self.context, self.key(key), value)
    }

    /// Everything within a section whose keys are names of the user's.
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<(String, Value)> {
        let section = self.section(key);
        let table = section.table.unwrap_or_default();
        table.into_iter().map(|(key, node)| (key, node.value)).collect()
    }

    /// The whole path of a key.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Notes a problem with a key; `what` follows the key's name in the sentence.
    pub(super) fn problem(&self, key: &str, what: impl std::fmt::Display) {
        self.context.problems.at(&self.key(key), what);
    }

    /// Ends the reading: what nobody asked for is not known.
    pub(super) fn finish(self) {
        let unknown = self.table.into_iter().flat_map(Table::into_keys);
        let mut all = self.context.unknown.borrow_mut();
        all.extend(unknown.map(|key| (self.path.clone(), key, self.known.clone())));
    }

    /// The value of a key, if there is one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.context.known.borrow_mut().insert(self.key(key));
        Some(self.table.as_mut()?.remove(key)?.value)
    }

    /// The value of a key that has to be there, read by `read`.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        takes: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        match self.take(key) {
            Some(value) => self.read(key, takes, &value, read),
            None => {
                self.missing(key, takes);
                None
            }
        }
    }

    fn read<T>(
        &self,
        key: &str,
        takes: &str,
        value: &Value,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let read = read(value);
        if read.is_none() {
            self.problem(key, format_args!("takes {takes}, found {}", value.shown()));
        }
        read
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, takes: &str) {
        if self.table.is_some() {
            let what = format_args!("is missing; it takes {takes}");
            self.context.problems.beside(&self.path, &self.key(key), what);
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, "a text that is not empty", |value| {
            value.text().filter(|text| !text.trim().is_empty()).map(str::to_owned)
        })
    }

    /// A value that need not be there, read by `read`; absent or an empty text is none.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        takes: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.take(key) {
            Some(value) if value.text() != Some("") => {
                self.read(key, takes, &value, read).map(Some)
            }
            Some(_) | None => Some(None),
        }
    }

    /// A text; absent or empty is none.
    pub(super) fn optional_text(&mut self, key: &'static str) -> Option<Option<String>> {
        self.optional(key, "text", |value| value.text().map(str::to_owned))
    }

    /// A file's name; absent or empty is none.
    pub(super) fn optional_path(&mut self, key: &'static str) -> Option<Option<PathBuf>> {
        Some(self.optional_text(key)?.map(PathBuf::from))
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.parsed(key, "true or false", Value::boolean)
    }

    /// A whole number above 0.
    pub(super) fn count(&mut self, key: &'static str) -> Option<usize> {
        self.parsed(key, "a whole number above 0", |value| {
            usize::try_from(value.integer()?).ok().filter(|count| *count > 0)
        })
    }

    /// A whole number above 0 of 32 bits.
    pub(super) fn small_count(&mut self, key: &'static str) -> Option<u32> {
        self.parsed(key, "a whole number from 1 to 4294967295", |value| {
            Some(NonZeroU32::new(u32::try_from(value.integer()?).ok()?)?.get())
        })
    }

    /// A duration above zero.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, "a duration above zero with its unit, such as \"30s\"", |value| {
            duration(value).filter(|duration| !duration.is_zero())
        })
    }

    /// A duration; zero is allowed.
    pub(super) fn duration_or_zero(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, "a duration with its unit, such as \"10m\", or \"0s\"", duration)
    }

    /// A duration above zero; absent or empty is none.
    pub(super) fn optional_duration(&mut self, key: &'static str) -> Option<Option<Duration>> {
        self.optional(key, "a duration above zero with its unit, such as \"45s\"", |value| {
            duration(value).filter(|duration| !duration.is_zero())
        })
    }

    /// A size in bytes, above zero.
    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        self.parsed(key, "a size above zero with its unit, such as \"768KiB\"", |value| {
            let size = match value.text() {
                Some(text) => text.trim().parse::<ByteSize>().ok()?.as_u64(),
                None => u64::try_from(value.integer()?).ok()?,
            };
            (size > 0).then_some(size)
        })
    }

    /// An address to listen on.
    pub(super) fn address(&mut self, key: &'static str) -> Option<SocketAddr> {
        let takes = "an IP address and a port, such as \"127.0.0.1:8081\" or \"[::]:8080\"";
        self.parsed(key, takes, |value| value.text()?.trim().parse().ok())
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.parsed(key, &names.join(" or "), |value| {
            let text = value.text()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
        })
    }

    /// A list of texts; absent is empty.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.list(key, "texts, such as [\"one\", \"two\"]", |value| {
            value.text().filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }

    /// A list of users' ids, as numbers or texts; absent is empty.
    pub(super) fn ids(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.list(key, "users' ids, such as [8, \"9\"]", super::accounts::id)
    }

    /// A list of networks; absent is empty.
    pub(super) fn networks(&mut self, key: &'static str) -> Option<Vec<IpNet>> {
        let takes = "networks (CIDR), such as [\"10.0.0.0/8\", \"203.0.113.7/32\"]";
        self.list(key, takes, |value| value.text()?.trim().parse().ok())
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        of: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(value) = self.take(key) else { return Some(Vec::new()) };
        let takes = format!("a list in brackets of {of}");
        let values = self.read(key, &takes, &value, Value::list)?;
        let mut list = Vec::with_capacity(values.len());
        for value in values {
            list.push(self.read(key, &takes, &value, &read)?);
        }
        Some(list)
    }

    /// A secret; absent or empty is none.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Option<Secret>> {
        let Some(value) = self.take(key) else { return Some(None) };
        match self.context.sources.secret(&value) {
            Ok(secret) => Some(secret),
            Err(what) => {
                self.problem(key, what);
                None
            }
        }
    }

    /// An `http` or `https` address without a slash at its end; absent or empty is none.
    pub(super) fn url(&mut self, key: &'static str) -> Option<Option<String>> {
        let Some(text) = self.optional_text(key)? else { return Some(None) };
        match check_url(&text) {
            Ok(()) => Some(Some(text.trim_end_matches('/').to_owned())),
            Err(what) => {
                self.problem(key, what);
                None
            }
        }
    }
}

fn duration(value: &Value) -> Option<Duration> {
    humantime::parse_duration(value.text()?.trim()).ok()
}

/// Addresses are logged, so one that holds a password is refused without being shown.
fn check_url(text: &str) -> Result<(), String> {
    let takes = "takes an address that begins with http:// or https://";
    let found = || format!("{takes}, found {}", shown_text(text));
    if text.contains('@') {
        return Err(format!("{takes} and holds no user or password: they have keys of their own"));
    }
    let url = reqwest::Url::parse(text).map_err(|_| found())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(found());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{takes} and ends without `?` or `#`"));
    }
    Ok(())
}
