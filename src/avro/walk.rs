//! Brings a value, from Avro or from JSON, into the one form the command types deserialise from,
//! guided by our schema, and says precisely what does not fit.
//!
//! The form: decimals and dates as text, moments as milliseconds since the epoch, bytes as base64,
//! every field present (defaults filled in), `vendorFields` as any JSON.

use std::{collections::HashSet, fmt};

use serde_json::{Map, Value, value::RawValue};

use super::{
    datum::Datum,
    json::{self, Json, shorten},
    limits::Limits,
    scalar,
    shape::{Field, Record, Shape, Type, TypeId},
};
use crate::domain::{Faults, Findings, Invalid};

/// What is read.
pub(crate) enum Source<'a> {
    Json(&'a RawValue),
    Avro(Datum<'a>),
}

/// A value in the common form, with the paths of what the writer set and our schema does not know.
pub(crate) struct Normal {
    pub(crate) value: Value,
    pub(crate) ignored: Vec<String>,
}

/// Reads a whole record, and says everything that does not fit.
pub(crate) fn normalise(
    shape: &Shape,
    source: Source<'_>,
    limits: &Limits,
) -> Result<Normal, Faults> {
    let (findings, ignored) = (Findings::default(), Vec::new());
    let Limits { values, depth, .. } = *limits;
    let mut walker = Walker { shape, values, depth, ignored, findings, spent: false };
    let value = walker.value(shape.root(), source, &Path::Root);
    let value = walker.or_null(value).unwrap_or_else(|problem| {
        walker.findings.add(problem);
        Value::Null
    });
    walker.findings.or(Normal { value, ignored: walker.ignored })
}

/// Where the walk is; rendered only when something is said about it.
enum Path<'p> {
    Root,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Path::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    fn problem(&self, what: impl fmt::Display) -> Invalid {
        match self {
            Self::Root => Invalid { field: None, message: what.to_string() },
            _ => {
                let path = self.to_string();
                Invalid { message: format!("`{path}`: {what}"), field: Some(path) }
            }
        }
    }
}

/// Fields that mean more than their Avro type says.
enum Special {
    /// A map whose values are JSON text in Avro and any JSON in JSON.
    JsonMap,
    /// JSON text in Avro, any JSON in JSON.
    JsonText,
    /// A count of pieces.
    AtLeastOne,
}

fn special(record: &Record, field: &Field) -> Option<Special> {
    match (record.short_name(), field.name.as_str()) {
        (_, "vendorFields") => Some(Special::JsonMap),
        ("Call", "body") => Some(Special::JsonText),
        (_, "quantity") => Some(Special::AtLeastOne),
        _ => None,
    }
}

struct Walker<'s> {
    shape: &'s Shape,
    values: usize,
    depth: usize,
    ignored: Vec<String>,
    findings: Findings,
    /// Too many values were met: the walk ends.
    spent: bool,
}

impl<'s> Walker<'s> {
    fn count(&mut self, path: &Path<'_>) -> Result<(), Invalid> {
        match self.values.checked_sub(1) {
            Some(left) => {
                self.values = left;
                Ok(())
            }
            None => {
                self.spent = true;
                Err(path.problem("it holds too many values"))
            }
        }
    }

    /// Notes what is wrong with a part and goes on to the next: a sender mends all at once.
    fn or_null(&mut self, part: Result<Value, Invalid>) -> Result<Value, Invalid> {
        match part {
            Err(problem) if !self.spent => {
                self.findings.add(problem);
                Ok(Value::Null)
            }
            part => part,
        }
    }

    fn value(&mut self, id: TypeId, source: Source<'_>, path: &Path<'_>) -> Result<Value, Invalid> {
        self.count(path)?;
        let shape = self.shape;
        match shape.get(id) {
            Type::Union(variants) => self.nullable(variants, source, path),
            Type::Record(record) => self.record(record, source, path),
            Type::Array(items) => self.array(*items, source, path),
            Type::Map(values) => self.map(*values, source, path),
            simple => match source {
                Source::Json(raw) => {
                    let json = json::open(raw).map_err(|e| path.problem(e))?;
                    scalar::from_json(simple, json).map_err(|e| path.problem(e))
                }
                Source::Avro(datum) => {
                    scalar::from_avro(simple, datum).map_err(|e| path.problem(e))
                }
            },
        }
    }

    fn may_be_null(&self, id: TypeId) -> bool {
        match self.shape.get(id) {
            Type::Null => true,
            Type::Union(variants) => {
                variants.iter().any(|id| matches!(self.shape.get(*id), Type::Null))
            }
            _ => false,
        }
    }

    fn nullable(
        &mut self,
        variants: &'s [TypeId],
        source: Source<'_>,
        path: &Path<'_>,
    ) -> Result<Value, Invalid> {
        let is_null = is_null(&source);
        let shape = self.shape;
        let mut others =
            variants.iter().copied().filter(|id| !matches!(shape.get(*id), Type::Null));
        match others.next() {
            _ if is_null => Ok(Value::Null),
            // Our schemas have no union but a type or null.
            Some(other) => self.value(other, source, path),
            None => Err(path.problem("expected null")),
        }
    }

    fn record(
        &mut self,
        record: &'s Record,
        source: Source<'_>,
        path: &Path<'_>,
    ) -> Result<Value, Invalid> {
        let mut given: Vec<(String, Option<Source<'_>>)> = match source {
            Source::Json(raw) => match json::open(raw).map_err(|e| path.problem(e))? {
                Json::Object(members) => {
                    members.into_iter().map(|(name, raw)| (name, Some(Source::Json(raw)))).collect()
                }
                other => {
                    return Err(path.problem(format_args!(
                        "expected an object ({}), got {}",
                        record.short_name(),
                        other.describe()
                    )));
                }
            },
            Source::Avro(Datum::Record(written, values)) => {
                self.avro_members(record, written, values, path)
            }
            Source::Avro(other) => {
                return Err(path.problem(format_args!(
                    "expected a record {}, got {}",
                    record.short_name(),
                    scalar::describe(&other)
                )));
            }
        };
        if matches!(path, Path::Root)
            && let Some(problem) = wrapped(record, &given)
        {
            return Err(problem);
        }
        let ours = |name: &str| record.fields.iter().any(|field| field.name == name);
        for (name, _) in given.iter().filter(|(name, _)| !ours(name)) {
            self.findings.add(unknown(record, name, path));
        }
        let mut normal = Map::with_capacity(record.fields.len());
        for field in &record.fields {
            let path = Path::Member(path, &field.name);
            let source =
                given.iter_mut().find(|(name, _)| *name == field.name).and_then(|(_, s)| s.take());
            let value = match (source, &field.default) {
                // Many senders write every field. What has a default and may not be null is not set.
                (Some(source), Some(default))
                    if is_null(&source) && !self.may_be_null(field.type_id) =>
                {
                    default.clone()
                }
                (Some(source), _) => {
                    let value = self.field(record, field, source, &path);
                    self.or_null(value)?
                }
                (None, Some(default)) => default.clone(),
                (None, None) => {
                    self.findings.add(path.problem("it is missing and has no default"));
                    Value::Null
                }
            };
            normal.insert(field.name.clone(), value);
        }
        Ok(Value::Object(normal))
    }

    /// The members of an Avro record under our names. Fields that our schema does not know are left
    /// out, as Avro's resolution says; those that were set are told.
    fn avro_members<'a>(
        &mut self,
        record: &Record,
        written: &'a Record,
        values: Vec<Datum<'a>>,
        path: &Path<'_>,
    ) -> Vec<(String, Option<Source<'a>>)> {
        let mut members = Vec::with_capacity(values.len());
        for (field, datum) in written.fields.iter().zip(values) {
            let ours = record
                .fields
                .iter()
                .find(|ours| ours.name == field.name || ours.aliases.contains(&field.name));
            match ours {
                Some(ours) => members.push((ours.name.clone(), Some(Source::Avro(datum)))),
                None if scalar::is_unset(&datum, field.default.as_ref()) => {}
                None => self.ignored.push(Path::Member(path, &field.name).to_string()),
            }
        }
        members
    }

    fn field(
        &mut self,
        record: &Record,
        field: &'s Field,
        source: Source<'_>,
        path: &Path<'_>,
    ) -> Result<Value, Invalid> {
        match special(record, field) {
            None => self.value(field.type_id, source, path),
            Some(Special::JsonMap) => self.json_map(source, path),
            Some(Special::JsonText) => self.json_text(source, path),
            Some(Special::AtLeastOne) => {
                let value = self.value(field.type_id, source, path)?;
                if value.as_i64().is_some_and(|count| count < 1) {
                    return Err(path.problem("it must be at least 1"));
                }
                Ok(value)
            }
        }
    }

    fn array(
        &mut self,
        items: TypeId,
        source: Source<'_>,
        path: &Path<'_>,
    ) -> Result<Value, Invalid> {
        let sources: Vec<Source<'_>> = match source {
            Source::Json(raw) => match json::open(raw).map_err(|e| path.problem(e))? {
                Json::Array(items) => items.into_iter().map(Source::Json).collect(),
                other => {
                    return Err(
                        path.problem(format_args!("expected an array, got {}", other.describe()))
                    );
                }
            },
            Source::Avro(Datum::Array(items)) => items.into_iter().map(Source::Avro).collect(),
            Source::Avro(other) => {
                return Err(path
                    .problem(format_args!("expected an array, got {}", scalar::describe(&other))));
            }
        };
        let normal = sources.into_iter().enumerate().map(|(index, source)| {
            let value = self.value(items, source, &Path::Item(path, index));
            self.or_null(value)
        });
        Ok(Value::Array(normal.collect::<Result<_, _>>()?))
    }

    fn entries<'a>(
        &mut self,
        source: Source<'a>,
        path: &Path<'_>,
    ) -> Result<Vec<(String, Source<'a>)>, Invalid> {
        match source {
            Source::Json(raw) => match json::open(raw).map_err(|e| path.problem(e))? {
                Json::Object(members) => {
                    Ok(members.into_iter().map(|(name, raw)| (name, Source::Json(raw))).collect())
                }
                other => {
                    Err(path.problem(format_args!("expected an object, got {}", other.describe())))
                }
            },
            Source::Avro(Datum::Map(entries)) => {
                let mut names = HashSet::with_capacity(entries.len());
                if let Some((name, _)) = entries.iter().find(|(name, _)| !names.insert(*name)) {
                    let name = shorten(name);
                    return Err(path.problem(format_args!("the name `{name}` stands in it twice")));
                }
                Ok(entries.into_iter().map(|(n, d)| (n.to_owned(), Source::Avro(d))).collect())
            }
            Source::Avro(other) => {
                Err(path.problem(format_args!("expected a map, got {}", scalar::describe(&other))))
            }
        }
    }

    fn map(
        &mut self,
        values: TypeId,
        source: Source<'_>,
        path: &Path<'_>,
    ) -> Result<Value, Invalid> {
        let mut normal = Map::new();
        for (name, source) in self.entries(source, path)? {
            let value = self.value(values, source, &Path::Member(path, &name));
            let value = self.or_null(value)?;
            normal.insert(name, value);
        }
        Ok(Value::Object(normal))
    }

    fn json_map(&mut self, source: Source<'_>, path: &Path<'_>) -> Result<Value, Invalid> {
        let mut normal = Map::new();
        for (name, source) in self.entries(source, path)? {
            let short = shorten(&name);
            let value = self.free(source, &Path::Member(path, &short), |raw| {
                serde_json::from_str::<Value>(raw.get()).map_err(|e| e.to_string())
            });
            let value = self.or_null(value)?;
            normal.insert(name, value);
        }
        Ok(Value::Object(normal))
    }

    fn json_text(&mut self, source: Source<'_>, path: &Path<'_>) -> Result<Value, Invalid> {
        self.free(source, path, |raw| Ok(Value::from(raw.get())))
    }

    /// A value that is any JSON (JSON form) or the text of any JSON (Avro).
    fn free(
        &mut self,
        source: Source<'_>,
        path: &Path<'_>,
        take: impl FnOnce(&RawValue) -> Result<Value, String>,
    ) -> Result<Value, Invalid> {
        self.count(path)?;
        let raw = match source {
            Source::Json(raw) => raw,
            Source::Avro(Datum::Text(text)) => json::parse(text, self.depth)
                .map_err(|e| path.problem(format_args!("its text is not usable JSON: {e}")))?,
            Source::Avro(other) => {
                return Err(path.problem(format_args!(
                    "expected a string of JSON text, got {}",
                    scalar::describe(&other)
                )));
            }
        };
        json::open_all(raw, &mut self.values).map_err(|e| {
            self.spent = self.values == 0;
            path.problem(e)
        })?;
        take(raw).map_err(|e| path.problem(e))
    }
}

fn is_null(source: &Source<'_>) -> bool {
    match source {
        Source::Json(raw) => raw.get() == "null",
        Source::Avro(datum) => *datum == Datum::Null,
    }
}

/// What a value is that holds the command inside something else.
fn wrapped(record: &Record, given: &[(String, Option<Source<'_>>)]) -> Option<Invalid> {
    let ours = |name: &str| record.fields.iter().any(|field| field.name == name);
    let has = |name: &str| !ours(name) && given.iter().any(|(given, _)| given == name);
    let (what, mend) = if has("specversion") && (has("data") || has("data_base64")) {
        (
            "a CloudEvent in structured mode",
            "send it in binary mode: its `data` as the record's value, its attributes as headers (`ce_…`)",
        )
    } else if has("schema") && has("payload") {
        (
            "Kafka Connect's JSON envelope",
            "set `value.converter.schemas.enable=false`, or send its `payload` alone",
        )
    } else if has("op") && (has("after") || has("before")) {
        (
            "a change event of Debezium",
            "unwrap it (`ExtractNewRecordState`), and send the command alone",
        )
    } else {
        return None;
    };
    let message = format!("the value is {what}, not the command {}: {mend}", record.short_name());
    Some(Invalid { field: None, message })
}

fn unknown(record: &Record, name: &str, path: &Path<'_>) -> Invalid {
    let lower = name.to_lowercase();
    let nearest = record
        .fields
        .iter()
        .min_by_key(|field| strsim::damerau_levenshtein(&field.name.to_lowercase(), &lower))
        .map(|field| field.name.as_str())
        .unwrap_or_default();
    let short = shorten(name);
    Path::Member(path, &short).problem(format_args!(
        "{} has no such field; the nearest is `{nearest}`",
        record.short_name()
    ))
}
