//! Records to bytes: the prefix that names the schema, then the datum, written field by field
//! without a tree in between.

use std::{collections::HashMap, fmt};

use apache_avro::{error::Details, writer::datum::GenericDatumWriter};

use super::{
    json::shorten_to,
    schemas::{self, Known},
    shape::SchemaError,
};
use crate::domain::{Datum, Event};

/// How a record says which schema it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Confluent's wire format: `0x00` and the registry's id, big-endian.
    Confluent(u32),
    /// Avro's single-object encoding: `C3 01` and the schema's CRC-64-AVRO, little-endian.
    SingleObject,
}

impl Prefix {
    /// The bytes before the datum.
    pub(crate) fn bytes(self, known: &Known) -> Vec<u8> {
        match self {
            Self::Confluent(id) => [&[0x00][..], &id.to_be_bytes()].concat(),
            Self::SingleObject => [&[0xc3, 0x01][..], &known.fingerprint.to_le_bytes()].concat(),
        }
    }
}

/// Why a record could not be encoded. Both are mistakes of ours, not of a sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("`{0}` has no schema, or no id in the registry")]
    UnknownRecord(String),
    #[error("`{record}` does not fit its schema: {message}")]
    Mismatch { record: String, message: String },
}

/// An encoder for every record, built once.
pub struct Encoders {
    by_record: HashMap<&'static str, Encoder>,
}

struct Encoder {
    prefix: Vec<u8>,
    writer: GenericDatumWriter<'static>,
}

impl fmt::Debug for Encoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_record.keys()).finish()
    }
}

impl Encoders {
    /// Every record in single-object encoding, for a cluster without a registry.
    pub fn single_object() -> Result<Self, SchemaError> {
        Self::build(|_| Some(Prefix::SingleObject))
    }

    /// Records in Confluent's wire format, by the ids of their subjects (of the reply: that of the
    /// default reply topic's). A record without an id is not written.
    pub fn confluent(ids: &HashMap<String, u32>) -> Result<Self, SchemaError> {
        Self::build(|known| ids.get(known.record).copied().map(Prefix::Confluent))
    }

    fn build(prefix: impl Fn(&Known) -> Option<Prefix>) -> Result<Self, SchemaError> {
        let mut by_record = HashMap::new();
        for known in schemas::all()? {
            if let Some(prefix) = prefix(known) {
                let writer = GenericDatumWriter::builder(&known.schema)
                    .build()
                    .map_err(|e| SchemaError(format!("{}: {e}", known.record)))?;
                by_record.insert(known.record, Encoder { prefix: prefix.bytes(known), writer });
            }
        }
        Ok(Self { by_record })
    }

    /// Encodes an event's record, which writes itself.
    pub fn event(&self, event: &Event) -> Result<Vec<u8>, EncodeError> {
        let mut datum = Datum::behind(&self.of(event.event_type.record)?.prefix);
        event.record.write(&mut datum);
        Ok(datum.into_bytes())
    }

    fn of(&self, record: &str) -> Result<&Encoder, EncodeError> {
        let encoder = self.by_record.get(record);
        encoder.ok_or_else(|| EncodeError::UnknownRecord(record.to_owned()))
    }

    /// Encodes a record, whose members are those of its schema, in the schema's order.
    pub fn encode(
        &self,
        record_full_name: &str,
        value: &dyn erased_serde::Serialize,
    ) -> Result<Vec<u8>, EncodeError> {
        let encoder = self.of(record_full_name)?;
        let mut bytes = Vec::with_capacity(1_024);
        bytes.extend_from_slice(&encoder.prefix);
        encoder.writer.write_ser(&mut bytes, &value).map_err(|error| EncodeError::Mismatch {
            record: record_full_name.to_owned(),
            message: explain(error),
        })?;
        Ok(bytes)
    }
}

/// The library's error without the schema it repeats in full.
fn explain(error: apache_avro::Error) -> String {
    let text = match error.into_details() {
        Details::SerializeRecordFieldWithSchema { field_name, error, .. } => {
            format!("field `{field_name}`: {error}")
        }
        Details::SerializeValueWithSchema { value_type, value, .. } => {
            format!("a {value_type}: {value}")
        }
        other => other.to_string(),
    };
    shorten_to(&text, 300)
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::{super::canonical, *};

    #[test]
    fn the_prefix_names_the_schema() {
        let known = schemas::of_record("wms.commands.Call").unwrap();
        assert_eq!(Prefix::Confluent(0x0102).bytes(known), [0, 0, 0, 1, 2]);
        let form = canonical::canonical_form(&known.shape);
        let single = Prefix::SingleObject.bytes(known);
        assert_eq!(single[..2], [0xc3, 0x01]);
        assert_eq!(single[2..], canonical::fingerprint(&form).to_le_bytes());
    }

    #[test]
    fn a_record_that_has_no_id_or_does_not_fit_is_refused() {
        #[derive(Serialize)]
        struct Call {
            account: i64,
        }
        let ids = HashMap::from([("wms.commands.Call".to_owned(), 7)]);
        let encoders = Encoders::confluent(&ids).unwrap();
        let unknown = encoders.encode("wms.commands.CancelAsn", &Call { account: 1 });
        assert_eq!(unknown, Err(EncodeError::UnknownRecord("wms.commands.CancelAsn".into())));
        match encoders.encode("wms.commands.Call", &Call { account: 1 }) {
            Err(EncodeError::Mismatch { record, message }) => {
                assert_eq!(record, "wms.commands.Call");
                assert!(message.contains("account"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
