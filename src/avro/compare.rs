//! Whether data written with one schema can be read with another, and which field stands in the
//! way. Registries differ in what they tell (one of them says only "no"), so we say it ourselves.

use std::{collections::HashSet, fmt};

use super::shape::{Field, Shape, Type, TypeId, short};

/// One reason why a reader cannot read what a writer writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The field as a path (`recipient.country`); empty for the record itself.
    pub path: String,
    /// What does not fit, with both types.
    pub message: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "field `{}`: {}", self.path, self.message)
        }
    }
}

/// Everything that keeps `reader` from reading what was written with `writer` (Avro specification,
/// "Schema Resolution"). Decimals are held to equal precision and scale.
pub(crate) fn misfits(reader: &Shape, writer: &Shape) -> Vec<Misfit> {
    let mut comparison = Comparison { reader, writer, seen: HashSet::new(), found: Vec::new() };
    comparison.types(reader.root(), writer.root(), "");
    comparison.found
}

struct Comparison<'s> {
    reader: &'s Shape,
    writer: &'s Shape,
    /// Pairs that were compared: a recursive schema would never end.
    seen: HashSet<(TypeId, TypeId)>,
    found: Vec<Misfit>,
}

impl<'s> Comparison<'s> {
    fn report(&mut self, path: &str, message: String) {
        self.found.push(Misfit { path: path.to_owned(), message });
    }

    fn types(&mut self, reader: TypeId, writer: TypeId, path: &str) {
        if !self.seen.insert((reader, writer)) {
            return;
        }
        let (ours, theirs) = (self.reader, self.writer);
        let (r, w) = (ours.get(reader), theirs.get(writer));
        match (r, w) {
            (_, Type::Union(variants)) => {
                for variant in variants {
                    self.types(reader, *variant, path);
                }
            }
            (Type::Union(variants), _) => self.against_union(variants, writer, path),
            (Type::Record(r), Type::Record(w)) => {
                if r.short_name() != w.short_name() {
                    self.report(
                        path,
                        format!("the record is `{}`, registered is `{}`", r.name, w.name),
                    );
                    return;
                }
                for field in &r.fields {
                    self.field(field, &w.fields, path);
                }
            }
            (
                Type::Enum { name, symbols, default },
                Type::Enum { name: other, symbols: theirs, .. },
            ) => {
                if short(name) != short(other) {
                    self.report(path, format!("the enum is `{name}`, registered is `{other}`"));
                }
                if default.is_none() {
                    for symbol in theirs.iter().filter(|symbol| !symbols.contains(symbol)) {
                        self.report(path, format!("the symbol `{symbol}` of {name} is gone"));
                    }
                }
            }
            (Type::Array(r), Type::Array(w)) => self.types(*r, *w, &format!("{path}[]")),
            (Type::Map(r), Type::Map(w)) => self.types(*r, *w, &format!("{path}{{}}")),
            (r, w) => {
                if !fits(r, w) {
                    let (r, w) = (r.describe(), w.describe());
                    self.report(path, format!("the type is {r}, registered is {w}"));
                }
            }
        }
    }

    /// A writer's type against a reader's union: the one variant it fits best is what is reported.
    fn against_union(&mut self, variants: &[TypeId], writer: TypeId, path: &str) {
        let mut fewest: Option<Vec<Misfit>> = None;
        for variant in variants {
            let before = std::mem::take(&mut self.found);
            // What was seen on another way counts here again: this is only a trial.
            let seen = self.seen.clone();
            self.types(*variant, writer, path);
            let trial = std::mem::replace(&mut self.found, before);
            if trial.is_empty() {
                return;
            }
            self.seen = seen;
            // A record or array that fits in part tells more than `null`, which fits in nothing.
            let same_kind = std::mem::discriminant(self.reader.get(*variant))
                == std::mem::discriminant(self.writer.get(writer));
            if same_kind || fewest.is_none() {
                fewest = Some(trial);
            }
        }
        match fewest {
            Some(trial) if trial.iter().any(|misfit| misfit.path != path) => {
                self.found.extend(trial);
            }
            _ => {
                let ours: Vec<_> =
                    variants.iter().map(|v| self.reader.get(*v).describe()).collect();
                let theirs = self.writer.get(writer).describe();
                self.report(
                    path,
                    format!("the type is {}, registered is {theirs}", ours.join(" or ")),
                );
            }
        }
    }

    fn field(&mut self, field: &Field, writer_fields: &[Field], path: &str) {
        let path =
            if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        let written = writer_fields
            .iter()
            .find(|written| written.name == field.name || field.aliases.contains(&written.name));
        match written {
            Some(written) => self.types(field.type_id, written.type_id, &path),
            None if field.default.is_none() => {
                let expected = self.reader.get(field.type_id).describe();
                self.report(
                    &path,
                    format!(
                        "{expected} without a default, and the registered schema has no such field"
                    ),
                );
            }
            None => {}
        }
    }
}

/// Whether a value of the one simple type can be read as the other.
fn fits(reader: &Type, writer: &Type) -> bool {
    let whole = |t: &Type| match t {
        Type::Int | Type::Date => Some(0),
        Type::Long | Type::Timestamp(_) | Type::LocalTimestamp(_) => Some(1),
        Type::Float => Some(2),
        Type::Double => Some(3),
        _ => None,
    };
    match (reader, writer) {
        (Type::Null, Type::Null) | (Type::Boolean, Type::Boolean) => true,
        (
            Type::Decimal { precision: p1, scale: s1, .. },
            Type::Decimal { precision: p2, scale: s2, .. },
        ) => p1 == p2 && s1 == s2,
        (
            Type::Bytes | Type::String | Type::Decimal { fixed: None, .. },
            Type::Bytes | Type::String | Type::Decimal { fixed: None, .. },
        ) => true,
        (
            Type::Fixed(r) | Type::Decimal { fixed: Some(r), .. },
            Type::Fixed(w) | Type::Decimal { fixed: Some(w), .. },
        ) => r.size == w.size && short(&r.name) == short(&w.name),
        (reader, writer) => match (whole(reader), whole(writer)) {
            (Some(reader), Some(writer)) => writer <= reader,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> Shape {
        Shape::parse(&format!(r#"{{"type":"record","name":"a.R","fields":[{fields}]}}"#)).unwrap()
    }

    #[test]
    fn the_field_that_does_not_fit_is_named_with_both_types() {
        let inner = |t: &str| {
            format!(
                r#"{{"name":"l","type":{{"type":"array","items":{{"type":"record","name":"L","fields":[{{"name":"q","type":{t}}}]}}}}}}"#
            )
        };
        let nullable = |t: &str| {
            format!(
                r#"{{"name":"n","type":["null",{{"type":"record","name":"N","fields":[{{"name":"x","type":{t}}}]}}],"default":null}}"#
            )
        };
        let decimal = |p: u8| {
            format!(
                r#"{{"name":"d","type":{{"type":"bytes","logicalType":"decimal","precision":{p},"scale":4}}}}"#
            )
        };
        let symbols = |s: &str| {
            format!(r#"{{"name":"e","type":{{"type":"enum","name":"E","symbols":[{s}]}}}}"#)
        };
        let plain = |t: &str| format!(r#"{{"name":"f","type":{t}}}"#);
        for (ours, registered, expected) in [
            (plain(r#""long""#), plain(r#""int""#), vec![]),
            (plain(r#""string""#), plain(r#""string""#), vec![]),
            (
                plain(r#""int""#),
                plain(r#""long""#),
                vec!["field `f`: the type is int, registered is long"],
            ),
            (
                plain(r#""string""#),
                plain(r#"["null","string"]"#),
                vec!["field `f`: the type is string, registered is null"],
            ),
            (
                plain(r#"["null","long"]"#),
                plain(r#""string""#),
                vec!["field `f`: the type is null or long, registered is string"],
            ),
            (
                plain(r#""string""#),
                String::new(),
                vec![
                    "field `f`: string without a default, and the registered schema has no such field",
                ],
            ),
            (r#"{"name":"f","type":"string","default":""}"#.into(), String::new(), vec![]),
            (String::new(), plain(r#""string""#), vec![]),
            (
                inner(r#""long""#),
                inner(r#""string""#),
                vec!["field `l[].q`: the type is long, registered is string"],
            ),
            (
                nullable(r#""boolean""#),
                nullable(r#""string""#),
                vec!["field `n.x`: the type is boolean, registered is string"],
            ),
            (
                decimal(18),
                decimal(12),
                vec!["field `d`: the type is decimal(18,4), registered is decimal(12,4)"],
            ),
            (
                symbols(r#""A""#),
                symbols(r#""A","B""#),
                vec!["field `e`: the symbol `B` of a.E is gone"],
            ),
        ] {
            let found = misfits(&record(&ours), &record(&registered));
            let found: Vec<String> = found.iter().map(Misfit::to_string).collect();
            assert_eq!(found, expected, "{ours} against {registered}");
        }
    }

    #[test]
    fn a_recursive_schema_ends() {
        let list = record(r#"{"name":"next","type":["null","a.R"],"default":null}"#);
        assert_eq!(misfits(&list, &list), vec![]);
    }
}
