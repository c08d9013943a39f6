//! A schema in the form that reading, checking and comparing work on: a flat table of types, names
//! resolved, logical types beside the primitive that carries them.
//!
//! The library's own decoder is not used for reading: decoding through its `Value` takes a
//! truncated record for a complete one and recurses as deep as a recursive writer schema lets the
//! sender say.

use std::collections::HashMap;

use apache_avro::{
    Schema,
    schema::{InnerDecimalSchema, NamespaceRef, UuidSchema},
};
use serde_json::Value;

/// Why a text is not a usable schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Avro schema: {0}")]
pub struct SchemaError(pub(crate) String);

/// The unit of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// The place of a type in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TypeId(usize);

/// One field of a record.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) type_id: TypeId,
    /// The default as the schema writes it; none: the field is required.
    pub(crate) default: Option<Value>,
}

/// A record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The full name.
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

impl Record {
    /// The name without its namespace.
    pub(crate) fn short_name(&self) -> &str {
        short(&self.name)
    }
}

/// A name without its namespace.
pub(crate) fn short(full_name: &str) -> &str {
    full_name.rsplit_once('.').map_or(full_name, |(_, name)| name)
}

/// A fixed-size byte string.
#[derive(Debug, Clone)]
pub(crate) struct Fixed {
    pub(crate) name: String,
    pub(crate) size: usize,
}

/// One type. Logical types that we give no meaning of their own appear as what carries them.
#[derive(Debug, Clone)]
pub(crate) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(Fixed),
    Enum { name: String, symbols: Vec<String>, default: Option<String> },
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Record),
    Decimal { precision: usize, scale: usize, fixed: Option<Fixed> },
    Date,
    Timestamp(Unit),
    LocalTimestamp(Unit),
}

impl Type {
    /// What a person calls it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Boolean => "boolean".into(),
            Self::Int => "int".into(),
            Self::Long => "long".into(),
            Self::Float => "float".into(),
            Self::Double => "double".into(),
            Self::Bytes => "bytes".into(),
            Self::String => "string".into(),
            Self::Fixed(fixed) => format!("fixed({}) {}", fixed.size, fixed.name),
            Self::Enum { name, .. } => format!("enum {name}"),
            Self::Array(_) => "array".into(),
            Self::Map(_) => "map".into(),
            Self::Union(_) => "union".into(),
            Self::Record(record) => format!("record {}", record.name),
            Self::Decimal { precision, scale, .. } => format!("decimal({precision},{scale})"),
            Self::Date => "date".into(),
            Self::Timestamp(unit) => format!("timestamp-{}", unit.name()),
            Self::LocalTimestamp(unit) => format!("local-timestamp-{}", unit.name()),
        }
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Millis => "millis",
            Self::Micros => "micros",
            Self::Nanos => "nanos",
        }
    }
}

/// A whole schema.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    types: Vec<Type>,
    root: TypeId,
}

impl Shape {
    /// Reads a schema's JSON text.
    pub(crate) fn parse(text: &str) -> Result<Self, SchemaError> {
        let schema = Schema::parse_str(text).map_err(|e| SchemaError(e.to_string()))?;
        Self::of(&schema)
    }

    /// Compiles a parsed schema.
    pub(crate) fn of(schema: &Schema) -> Result<Self, SchemaError> {
        let mut compiler = Compiler { types: Vec::new(), names: HashMap::new() };
        let root = compiler.add(schema, None)?;
        Ok(Self { types: compiler.types, root })
    }

    pub(crate) fn root(&self) -> TypeId {
        self.root
    }

    pub(crate) fn get(&self, id: TypeId) -> &Type {
        // An id comes out of the same table, so the fallback is never taken.
        self.types.get(id.0).unwrap_or(&Type::Null)
    }

    /// The record at the root, if the root is one.
    pub(crate) fn record(&self) -> Option<&Record> {
        match self.get(self.root) {
            Type::Record(record) => Some(record),
            _ => None,
        }
    }
}

struct Compiler {
    types: Vec<Type>,
    names: HashMap<String, TypeId>,
}

impl Compiler {
    fn push(&mut self, item: Type) -> TypeId {
        self.types.push(item);
        TypeId(self.types.len() - 1)
    }

    /// Makes a named type known before its inside is read, so that it may hold itself.
    fn named(&mut self, name: &str) -> TypeId {
        let id = self.push(Type::Null);
        self.names.insert(name.to_owned(), id);
        id
    }

    fn set(&mut self, id: TypeId, item: Type) {
        if let Some(place) = self.types.get_mut(id.0) {
            *place = item;
        }
    }

    fn fixed(
        &mut self,
        schema: &apache_avro::schema::FixedSchema,
        namespace: NamespaceRef<'_>,
        wrap: impl FnOnce(Fixed) -> Type,
    ) -> TypeId {
        let name = schema.name.fullname(namespace);
        let id = self.named(&name);
        self.set(id, wrap(Fixed { name, size: schema.size }));
        id
    }

    fn add(&mut self, schema: &Schema, namespace: NamespaceRef<'_>) -> Result<TypeId, SchemaError> {
        let item = match schema {
            Schema::Null => Type::Null,
            Schema::Boolean => Type::Boolean,
            Schema::Int | Schema::TimeMillis => Type::Int,
            Schema::Long | Schema::TimeMicros => Type::Long,
            Schema::Float => Type::Float,
            Schema::Double => Type::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Type::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Type::String,
            Schema::Date => Type::Date,
            Schema::TimestampMillis => Type::Timestamp(Unit::Millis),
            Schema::TimestampMicros => Type::Timestamp(Unit::Micros),
            Schema::TimestampNanos => Type::Timestamp(Unit::Nanos),
            Schema::LocalTimestampMillis => Type::LocalTimestamp(Unit::Millis),
            Schema::LocalTimestampMicros => Type::LocalTimestamp(Unit::Micros),
            Schema::LocalTimestampNanos => Type::LocalTimestamp(Unit::Nanos),
            Schema::Fixed(fixed)
            | Schema::Duration(fixed)
            | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                return Ok(self.fixed(fixed, namespace, Type::Fixed));
            }
            Schema::Decimal(decimal) => {
                let (precision, scale) = (decimal.precision, decimal.scale);
                match &decimal.inner {
                    InnerDecimalSchema::Bytes => Type::Decimal { precision, scale, fixed: None },
                    InnerDecimalSchema::Fixed(fixed) => {
                        return Ok(self.fixed(fixed, namespace, |fixed| Type::Decimal {
                            precision,
                            scale,
                            fixed: Some(fixed),
                        }));
                    }
                }
            }
            Schema::Array(array) => Type::Array(self.add(&array.items, namespace)?),
            Schema::Map(map) => Type::Map(self.add(&map.types, namespace)?),
            Schema::Union(union) => {
                let variants = union.variants().iter();
                Type::Union(variants.map(|v| self.add(v, namespace)).collect::<Result<_, _>>()?)
            }
            Schema::Enum(schema) => {
                let name = schema.name.fullname(namespace);
                let id = self.named(&name);
                let (symbols, default) = (schema.symbols.clone(), schema.default.clone());
                self.set(id, Type::Enum { name, symbols, default });
                return Ok(id);
            }
            Schema::Record(schema) => {
                let name = schema.name.fullname(namespace);
                let id = self.named(&name);
                let inner = name.rsplit_once('.').map(|(namespace, _)| namespace.to_owned());
                let mut fields = Vec::with_capacity(schema.fields.len());
                for field in &schema.fields {
                    fields.push(Field {
                        name: field.name.clone(),
                        aliases: field.aliases.clone(),
                        type_id: self.add(&field.schema, inner.as_deref())?,
                        default: field.default.clone(),
                    });
                }
                self.set(id, Type::Record(Record { name, fields }));
                return Ok(id);
            }
            Schema::Ref { name } => {
                let name = name.fullname(namespace);
                return self
                    .names
                    .get(&name)
                    .copied()
                    .ok_or_else(|| SchemaError(format!("the type `{name}` is not defined in it")));
            }
        };
        Ok(self.push(item))
    }
}
