//! An event's record, and the bytes it becomes.
//!
//! Records are written by code that knows their fields: Avro's binary encoding has neither names
//! nor types in it, and going through a schema costs ten times the writing. What a record writes
//! is therefore held against its schema by the tests, with the Avro library in between.

use std::collections::BTreeMap;

/// An event's record, field for field as in its schema. As `Serialize` it is the same with its
/// fields' names.
pub trait Record: erased_serde::Serialize + Send + Sync {
    /// Writes the Avro datum: the fields in the schema's order.
    fn write(&self, datum: &mut Datum);
}

erased_serde::serialize_trait_object!(Record);

impl<T: erased_serde::Serialize + Field + Send + Sync> Record for T {
    fn write(&self, datum: &mut Datum) {
        Field::write(self, datum);
    }
}

/// A datum being written (Avro specification, Binary Encoding).
#[derive(Debug, Default)]
pub struct Datum {
    bytes: Vec<u8>,
}

impl Datum {
    /// Begins behind `prefix`.
    pub fn behind(prefix: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(prefix);
        Self { bytes }
    }

    /// The prefix and everything that was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A `long`: zigzag, then seven bits a byte, the low ones first.
    #[allow(clippy::cast_possible_truncation, reason = "seven bits are meant")]
    pub fn long(&mut self, value: i64) {
        let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while left >= 0x80 {
            self.bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.bytes.push(left as u8);
    }

    /// A `string`.
    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        // No text and no list in memory is longer than an `i64` counts.
        self.long(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// What a field of a record may be.
pub trait Field {
    /// Writes it.
    fn write(&self, datum: &mut Datum);
}

impl Field for i64 {
    fn write(&self, datum: &mut Datum) {
        datum.long(*self);
    }
}

impl Field for String {
    fn write(&self, datum: &mut Datum) {
        datum.text(self);
    }
}

/// The union of null, which comes first in all our schemas, and a type.
impl<T: Field> Field for Option<T> {
    fn write(&self, datum: &mut Datum) {
        match self {
            None => datum.long(0),
            Some(value) => {
                datum.long(1);
                value.write(datum);
            }
        }
    }
}

/// An array, in one block.
impl<T: Field> Field for Vec<T> {
    fn write(&self, datum: &mut Datum) {
        if !self.is_empty() {
            datum.count(self.len());
            self.iter().for_each(|item| item.write(datum));
        }
        datum.long(0);
    }
}

/// A map, in one block.
impl<T: Field> Field for BTreeMap<String, T> {
    fn write(&self, datum: &mut Datum) {
        if !self.is_empty() {
            datum.count(self.len());
            for (name, value) in self {
                datum.text(name);
                value.write(datum);
            }
        }
        datum.long(0);
    }
}

/// Declares structures that are written field by field, in the order in which they stand here.
macro_rules! avro_fields {
    ($($(#[$attribute:meta])* struct $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$attribute])*
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct $name {
            $($field: $type,)*
        }

        impl $crate::domain::Field for $name {
            fn write(&self, datum: &mut $crate::domain::Datum) {
                $($crate::domain::Field::write(&self.$field, datum);)*
            }
        }
    )*};
}
pub(crate) use avro_fields;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_those_of_the_specification() {
        for (value, expected) in [
            (0, vec![0x00]),
            (-1, vec![0x01]),
            (1, vec![0x02]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (i64::MAX, [vec![0xfe], vec![0xff; 8], vec![0x01]].concat()),
            (i64::MIN, [vec![0xff; 9], vec![0x01]].concat()),
        ] {
            let mut datum = Datum::default();
            datum.long(value);
            assert_eq!(datum.into_bytes(), expected, "{value}");
        }
    }
}
