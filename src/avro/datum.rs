//! Reads an Avro datum with its writer's schema, trusting nothing: every length is checked against
//! what is left before anything is allocated, the end of the input is an error everywhere, what is
//! left over is refused, and nesting and the number of values are bounded.

use super::{
    limits::Limits,
    shape::{Record, Shape, Type, TypeId, Unit},
};

/// A value as it was written; texts and names are borrowed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum<'a> {
    Null,
    Boolean(bool),
    /// `int` or `long`.
    Long(i64),
    Double(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Symbol(&'a str),
    /// A decimal's exact text.
    Decimal(String),
    /// Days since the epoch.
    Date(i32),
    Timestamp(i64, Unit),
    LocalTimestamp(i64, Unit),
    Array(Vec<Datum<'a>>),
    Map(Vec<(&'a str, Datum<'a>)>),
    Record(&'a Record, Vec<Datum<'a>>),
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Why bytes are not a datum of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenDatum {
    #[error("it ends too early: it is cut off, or was written with another schema")]
    Truncated,
    #[error("{0} bytes are left over: it was written with another schema")]
    LeftOver(usize),
    #[error("a number does not fit its type")]
    Number,
    #[error("a length or count is negative or larger than what was sent")]
    Length,
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    #[error("a text is not UTF-8")]
    Utf8,
    #[error("a union or enum has no such branch")]
    Branch,
    #[error("a decimal has more than {MAX_DECIMAL_BYTES} bytes")]
    Decimal,
    #[error("it is nested too deeply")]
    TooDeep,
    #[error("it holds too many values")]
    TooMany,
}

/// More than any decimal we know, and few enough that turning it into text costs nothing.
const MAX_DECIMAL_BYTES: usize = 32;

/// Decodes the whole of `bytes`.
pub(crate) fn decode<'a>(
    shape: &'a Shape,
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<Datum<'a>, BrokenDatum> {
    let mut reader = Reader { shape, rest: bytes, values: limits.values, depth: limits.depth };
    let datum = reader.value(shape.root())?;
    match reader.rest.len() {
        0 => Ok(datum),
        left => Err(BrokenDatum::LeftOver(left)),
    }
}

struct Reader<'a> {
    shape: &'a Shape,
    rest: &'a [u8],
    /// How many more values it may hold: an array of nulls claims 2^40 of them in six bytes.
    values: usize,
    /// How much deeper it may go: a recursive schema lets the sender choose.
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BrokenDatum> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(BrokenDatum::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BrokenDatum> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(BrokenDatum::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn long(&mut self) -> Result<i64, BrokenDatum> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            // The tenth byte has room for one bit only.
            if shift == 63 && byte > 1 {
                return Err(BrokenDatum::Number);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()));
            }
        }
        Err(BrokenDatum::Number)
    }

    fn int(&mut self) -> Result<i32, BrokenDatum> {
        i32::try_from(self.long()?).map_err(|_| BrokenDatum::Number)
    }

    fn bytes(&mut self) -> Result<&'a [u8], BrokenDatum> {
        let length = usize::try_from(self.long()?).map_err(|_| BrokenDatum::Length)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, BrokenDatum> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BrokenDatum::Utf8)
    }

    fn branch<T>(&mut self, branches: &'a [T]) -> Result<&'a T, BrokenDatum> {
        let index = usize::try_from(self.long()?).map_err(|_| BrokenDatum::Branch)?;
        branches.get(index).ok_or(BrokenDatum::Branch)
    }

    /// Reads the blocks of an array or a map.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), BrokenDatum>,
    ) -> Result<(), BrokenDatum> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            // A negative count is followed by the block's size in bytes.
            let end = if count < 0 {
                let size = usize::try_from(self.long()?).map_err(|_| BrokenDatum::Length)?;
                Some(self.rest.len().checked_sub(size).ok_or(BrokenDatum::Truncated)?)
            } else {
                None
            };
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
            if end.is_some_and(|end| end != self.rest.len()) {
                return Err(BrokenDatum::Length);
            }
        }
    }

    fn value(&mut self, id: TypeId) -> Result<Datum<'a>, BrokenDatum> {
        self.values = self.values.checked_sub(1).ok_or(BrokenDatum::TooMany)?;
        let shape = self.shape;
        Ok(match shape.get(id) {
            Type::Null => Datum::Null,
            Type::Boolean => match self.array()? {
                [0] => Datum::Boolean(false),
                [1] => Datum::Boolean(true),
                _ => return Err(BrokenDatum::Boolean),
            },
            Type::Int => Datum::Long(self.int()?.into()),
            Type::Long => Datum::Long(self.long()?),
            Type::Float => Datum::Double(f32::from_le_bytes(self.array()?).into()),
            Type::Double => Datum::Double(f64::from_le_bytes(self.array()?)),
            Type::Bytes => Datum::Bytes(self.bytes()?),
            Type::String => Datum::Text(self.text()?),
            Type::Fixed(fixed) => Datum::Bytes(self.take(fixed.size)?),
            Type::Date => Datum::Date(self.int()?),
            Type::Timestamp(unit) => Datum::Timestamp(self.long()?, *unit),
            Type::LocalTimestamp(unit) => Datum::LocalTimestamp(self.long()?, *unit),
            Type::Decimal { scale, fixed, .. } => {
                let bytes = match fixed {
                    Some(fixed) => self.take(fixed.size)?,
                    None => self.bytes()?,
                };
                Datum::Decimal(decimal_text(bytes, *scale)?)
            }
            Type::Enum { symbols, .. } => Datum::Symbol(self.branch(symbols)?),
            Type::Union(variants) => {
                let variant = *self.branch(variants)?;
                self.deeper(|reader| reader.value(variant))?
            }
            Type::Record(record) => {
                let values = self.deeper(|reader| {
                    record.fields.iter().map(|field| reader.value(field.type_id)).collect()
                })?;
                Datum::Record(record, values)
            }
            Type::Array(items) => {
                let mut values = Vec::new();
                self.deeper(|reader| {
                    reader.blocks(|reader| {
                        values.push(reader.value(*items)?);
                        Ok(())
                    })
                })?;
                Datum::Array(values)
            }
            Type::Map(items) => {
                let mut entries = Vec::new();
                self.deeper(|reader| {
                    reader.blocks(|reader| {
                        let key = reader.text()?;
                        entries.push((key, reader.value(*items)?));
                        Ok(())
                    })
                })?;
                Datum::Map(entries)
            }
        })
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, BrokenDatum>,
    ) -> Result<T, BrokenDatum> {
        self.depth = self.depth.checked_sub(1).ok_or(BrokenDatum::TooDeep)?;
        let result = read(self);
        self.depth += 1;
        result
    }
}

/// The text of a decimal: two's complement, big-endian, `scale` digits after the point.
pub(crate) fn decimal_text(bytes: &[u8], scale: usize) -> Result<String, BrokenDatum> {
    use bigdecimal::{BigDecimal, num_bigint::BigInt};
    if bytes.len() > MAX_DECIMAL_BYTES {
        return Err(BrokenDatum::Decimal);
    }
    let scale = i64::try_from(scale).map_err(|_| BrokenDatum::Decimal)?;
    // A scale of millions would be a text of millions of zeros.
    if scale > 1_000 {
        return Err(BrokenDatum::Decimal);
    }
    Ok(BigDecimal::new(BigInt::from_signed_bytes_be(bytes), scale).to_plain_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_all(schema: &str, bytes: &[u8]) -> Result<String, BrokenDatum> {
        let shape = Shape::parse(schema).unwrap();
        decode(&shape, bytes, &Limits::default()).map(|datum| format!("{datum:?}"))
    }

    #[test]
    fn claims_beyond_what_was_sent_are_refused() {
        let nulls = r#"{"type":"array","items":"null"}"#;
        let empty = r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#;
        let list = r#"{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]}]}"#;
        let itself = r#"{"type":"record","name":"S","fields":[{"name":"s","type":"S"}]}"#;
        // 2^40 as a zigzag varint.
        let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
        for (schema, bytes, expected) in [
            (nulls, [&huge[..], &[0]].concat(), BrokenDatum::TooMany),
            (empty, [&huge[..], &[0]].concat(), BrokenDatum::TooMany),
            (r#"{"type":"array","items":"int"}"#, huge.to_vec(), BrokenDatum::Truncated),
            (r#""string""#, huge.to_vec(), BrokenDatum::Truncated),
            (r#""bytes""#, vec![0x01], BrokenDatum::Length),
            (r#"{"type":"map","values":"null"}"#, huge.to_vec(), BrokenDatum::Truncated),
            (list, vec![2; 1_000], BrokenDatum::TooDeep),
            (itself, vec![], BrokenDatum::TooDeep),
            (r#""int""#, vec![0x80, 0x80, 0x80, 0x80, 0x20], BrokenDatum::Number),
            (r#""long""#, vec![0xff; 10], BrokenDatum::Number),
            (r#""boolean""#, vec![2], BrokenDatum::Boolean),
            (r#""boolean""#, vec![], BrokenDatum::Truncated),
            (r#""string""#, vec![2, 0xff], BrokenDatum::Utf8),
            (r#"["null","int"]"#, vec![4], BrokenDatum::Branch),
            (r#"["null","int"]"#, vec![1], BrokenDatum::Branch),
            (r#""null""#, vec![0], BrokenDatum::LeftOver(1)),
            // A block that says two bytes and holds one.
            (r#"{"type":"array","items":"int"}"#, vec![1, 4, 2, 0], BrokenDatum::Length),
            (r#"{"type":"array","items":"int"}"#, vec![1, 1, 2, 0], BrokenDatum::Length),
        ] {
            assert_eq!(decode_all(schema, &bytes), Err(expected), "{schema} {bytes:?}");
        }
    }

    #[test]
    fn values_are_what_was_written() {
        for (schema, bytes, expected) in [
            (r#""long""#, vec![0x01], "Long(-1)"),
            (r#""long""#, [vec![0xff; 9], vec![1]].concat(), "Long(-9223372036854775808)"),
            (r#"{"type":"array","items":"int"}"#, vec![3, 4, 2, 4, 0], "Array([Long(1), Long(2)])"),
            (
                r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":4}"#,
                vec![4, 0xff, 0x38],
                r#"Decimal("-0.0200")"#,
            ),
            (
                r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":4}"#,
                vec![0],
                r#"Decimal("0.0000")"#,
            ),
            (r#"["null","string"]"#, vec![2, 2, b'x'], r#"Text("x")"#),
        ] {
            assert_eq!(decode_all(schema, &bytes).unwrap(), expected, "{schema}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let known = crate::avro::schemas::all().unwrap();
            for known in known {
                // Whether it is refused does not matter, only that it ends.
                prop_assert!(decode(&known.shape, &bytes, &Limits::default()).is_err()
                    || !bytes.is_empty());
            }
        }
    }
}
