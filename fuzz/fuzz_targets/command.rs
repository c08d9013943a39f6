//! A command's value, in every framing, on its own topic and on the mixed one.
#![no_main]

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use wms_connector::{
    avro::{CommandReader, Limits, Prefix, ReadError, SCHEMA_ID_HEADER, encode_command, schemas},
    domain::Operation,
};

fuzz_target!(|input: &[u8]| {
    let Some((kind, value)) = input.split_first() else { return };
    let operation = Operation::ALL[usize::from(kind & 0x0f) % Operation::ALL.len()];
    let reader = CommandReader::new(None, Limits::default());
    let mixed = kind & 0x10 != 0;
    let expected = (!mixed).then_some(operation);
    let framed: Vec<u8>;
    let (schema_id, payload): (Option<&[u8]>, &[u8]) = match kind >> 5 {
        // As it comes: JSON, or whatever its first bytes say.
        0..=2 => (None, value),
        // A datum of ours in single-object encoding.
        3 | 4 => {
            let fingerprint = schemas::of_record(operation.record()).expect("a schema").fingerprint;
            framed = [&[0xc3, 0x01], fingerprint.to_le_bytes().as_slice(), value].concat();
            (None, &framed)
        }
        // A registry's id, before the datum or in the header.
        5 => {
            framed = [&[0], value].concat();
            (None, &framed)
        }
        _ => (Some(value.get(..5.min(value.len())).unwrap_or_default()), value),
    };
    let ce_type = format!("wms.commands.{}", operation.record());
    let mut headers = vec![(
        "ce_type",
        Some(if kind & 1 == 0 { operation.record().as_bytes() } else { ce_type.as_bytes() }),
    )];
    if let Some(schema_id) = schema_id {
        headers.push((SCHEMA_ID_HEADER, Some(schema_id)));
    }
    let read = reader
        .read(expected, headers.into_iter(), Some(payload))
        .now_or_never()
        .expect("without a registry nothing is waited for");
    match read {
        Ok(read) => {
            // Written again from its own JSON form it is the same command.
            let command = &read.command;
            if read.json {
                let text = std::str::from_utf8(payload).expect("JSON is text");
                let text = text.trim_start_matches('\u{feff}');
                let avro = encode_command(operation, text, Prefix::SingleObject)
                    .expect("a command that was read can be written");
                let again = reader
                    .read(expected, std::iter::empty(), Some(&avro))
                    .now_or_never()
                    .expect("nothing to wait for")
                    .expect("what was written can be read");
                assert_eq!(&again.command, command);
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!matches!(error, ReadError::RegistryUnavailable { .. }));
        }
    }
});
