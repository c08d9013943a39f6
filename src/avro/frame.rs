//! Which of the framings a record came in.

use uuid::Uuid;

use super::registry::SchemaKey;

/// The header in which newer Confluent serializers name the schema; the payload is then bare.
pub const SCHEMA_ID_HEADER: &str = "__value_schema_id";

/// A record's value, told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A datum whose schema the registry knows.
    Registered(SchemaKey, &'a [u8]),
    /// Single-object encoding: the schema's CRC-64-AVRO.
    SingleObject(u64, &'a [u8]),
    /// JSON, without byte order mark and blanks.
    Json(&'a str),
}

/// Tells a value's framing: the header, then the prefix `0x00`, then `C3 01`, then JSON.
pub(crate) fn split<'a>(
    header: Option<Option<&[u8]>>,
    payload: Option<&'a [u8]>,
) -> Result<Frame<'a>, String> {
    let payload = payload.ok_or("the value is null")?;
    if let Some(header) = header {
        let key = header.and_then(header_key).ok_or_else(|| {
            format!("the header `{SCHEMA_ID_HEADER}` is neither 0x00 and an id nor 0x01 and a UUID")
        })?;
        return Ok(Frame::Registered(key, payload));
    }
    match payload {
        [] => Err("the value is empty".to_owned()),
        [0x00, a, b, c, d, datum @ ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            Ok(Frame::Registered(SchemaKey::Id(id), datum))
        }
        [0x00, ..] => Err("the value ends inside its schema id".to_owned()),
        [0xc3, 0x01, rest @ ..] => match rest.split_first_chunk() {
            Some((fingerprint, datum)) => {
                Ok(Frame::SingleObject(u64::from_le_bytes(*fingerprint), datum))
            }
            None => Err("the value ends inside its schema fingerprint".to_owned()),
        },
        text => {
            let text = std::str::from_utf8(text)
                .map_err(|_| "the value is neither framed Avro nor JSON in UTF-8")?;
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            Ok(Frame::Json(text.trim_matches([' ', '\t', '\r', '\n'])))
        }
    }
}

fn header_key(value: &[u8]) -> Option<SchemaKey> {
    match value {
        [0x00, id @ ..] => Some(SchemaKey::Id(u32::from_be_bytes(id.try_into().ok()?))),
        [0x01, guid @ ..] => Some(SchemaKey::Guid(Uuid::from_bytes(guid.try_into().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framings_are_told_in_order() {
        let guid = [&[1][..], &[7; 16]].concat();
        let id = |id| SchemaKey::Id(id);
        for (header, payload, expected) in [
            (None, &b"\x00\x00\x00\x01\x02x"[..], Some(Frame::Registered(id(258), b"x"))),
            (None, b"\x00\x00\x00\x01", None),
            (
                None,
                b"\xc3\x01\x01\x00\x00\x00\x00\x00\x00\x00x",
                Some(Frame::SingleObject(1, b"x")),
            ),
            (None, b"\xc3\x01\x01", None),
            (None, b"\xc3", None),
            (None, b"", None),
            (None, b"\xef\xbb\xbf\r\n {}\n", Some(Frame::Json("{}"))),
            (None, b"{\xff}", None),
            (
                Some(Some(&b"\x00\x00\x00\x00\x05"[..])),
                b"{}",
                Some(Frame::Registered(id(5), b"{}")),
            ),
            (
                Some(Some(&guid[..])),
                b"\x00",
                Some(Frame::Registered(SchemaKey::Guid(Uuid::from_bytes([7; 16])), b"\x00")),
            ),
            (Some(Some(b"\x01\x02")), b"{}", None),
            (Some(Some(b"\x02")), b"{}", None),
            (Some(None), b"{}", None),
        ] {
            assert_eq!(split(header, Some(payload)).ok(), expected, "{header:?} {payload:?}");
        }
        assert!(split(None, None).is_err());
    }
}
