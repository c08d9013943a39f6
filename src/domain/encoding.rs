//! `Content-Encoding`: gzip and deflate, bounded in what comes out of them. Pure.

use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};

/// So much is read at a time: what comes out is counted before more of it does.
const STEP: usize = 32 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    /// The zlib format (RFC 9110), or the bare stream that some send under the same name.
    Deflate,
}

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDecoded {
    #[error("the compressed body is broken or incomplete")]
    Broken,
    #[error("the body is over the limit once it is decompressed")]
    TooLarge,
    #[error("there is no room for the decompressed body now")]
    NoRoom,
}

/// What the headers name; `None` for what is not read. One layer only: each further one would
/// multiply what a small body can cost.
pub fn named<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Encoding> {
    let mut encoding = Encoding::Identity;
    for name in headers.flat_map(|header| header.split(',')).map(str::trim) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let next = if is("gzip") || is("x-gzip") {
            Encoding::Gzip
        } else if is("deflate") {
            Encoding::Deflate
        } else if name.is_empty() || is("identity") {
            continue;
        } else {
            return None;
        };
        if encoding != Encoding::Identity {
            return None;
        }
        encoding = next;
    }
    Some(encoding)
}

/// How the body is really written. Some gateways unpack a body and leave the header, others drop
/// the header and leave the body packed; what begins as JSON or a boundary is not packed, and no
/// text begins with gzip's two bytes.
pub fn found(named: Encoding, body: &[u8]) -> Encoding {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match named {
        _ if body.starts_with(GZIP) => Encoding::Gzip,
        Encoding::Gzip | Encoding::Deflate
            if matches!(text.first(), Some(b'{' | b'[')) || text.starts_with(b"--") =>
        {
            Encoding::Identity
        }
        Encoding::Identity | Encoding::Gzip | Encoding::Deflate => named,
    }
}

/// Unpacks a body. `take` is asked for room before anything more is kept.
pub fn decoded(
    encoding: Encoding,
    body: &[u8],
    limit: usize,
    take: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, NotDecoded> {
    match encoding {
        Encoding::Identity => Ok(body.to_vec()),
        Encoding::Gzip => gunzip(body, limit, take),
        Encoding::Deflate => inflate(body, limit, take),
    }
}

/// Adds what was read, within the limit and the room.
fn keep(
    text: &mut Vec<u8>,
    more: &[u8],
    limit: usize,
    take: &mut impl FnMut(usize) -> bool,
) -> Result<(), NotDecoded> {
    if text.len() + more.len() > limit {
        return Err(NotDecoded::TooLarge);
    }
    if !take(more.len()) {
        return Err(NotDecoded::NoRoom);
    }
    text.extend_from_slice(more);
    Ok(())
}

fn gunzip(
    body: &[u8],
    limit: usize,
    mut take: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, NotDecoded> {
    let mut reader = MultiGzDecoder::new(body);
    let (mut text, mut step) = (Vec::new(), vec![0; STEP]);
    loop {
        let read = reader.read(&mut step).map_err(|_| NotDecoded::Broken)?;
        if read == 0 {
            return Ok(text);
        }
        keep(&mut text, step.get(..read).unwrap_or_default(), limit, &mut take)?;
    }
}

fn inflate(
    body: &[u8],
    limit: usize,
    mut take: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, NotDecoded> {
    // RFC 1950: method 8, and a check over the first two bytes. As the beginning of a bare stream
    // the same byte would be a stored block with dirt in its padding.
    let zlib = matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0);
    let mut stream = Decompress::new(zlib);
    let (mut text, mut step) = (Vec::new(), vec![0; STEP]);
    loop {
        let (consumed, produced) = (stream.total_in(), stream.total_out());
        let at = usize::try_from(consumed).map_err(|_| NotDecoded::Broken)?;
        let input = body.get(at..).unwrap_or_default();
        let status = stream
            .decompress(input, &mut step, FlushDecompress::None)
            .map_err(|_| NotDecoded::Broken)?;
        let read = usize::try_from(stream.total_out() - produced).unwrap_or(0);
        keep(&mut text, step.get(..read).unwrap_or_default(), limit, &mut take)?;
        match status {
            Status::StreamEnd if stream.total_in() == body.len() as u64 => return Ok(text),
            Status::StreamEnd => return Err(NotDecoded::Broken),
            Status::Ok | Status::BufError if read == 0 && stream.total_in() == consumed => {
                return Err(NotDecoded::Broken);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn packed(text: &[u8]) -> [(&'static str, Encoding, Vec<u8>); 4] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(text).unwrap();
        [
            ("gzip", Encoding::Gzip, gzip.clone()),
            ("zlib", Encoding::Deflate, zlib.finish().unwrap()),
            ("bare", Encoding::Deflate, bare.finish().unwrap()),
            ("two members", Encoding::Gzip, [&gzip[..], &gzip[..]].concat()),
        ]
    }

    #[test]
    fn what_was_packed_is_unpacked_within_the_limit() {
        let text = "{\"仓\":1}".repeat(20_000);
        for (what, encoding, body) in packed(text.as_bytes()) {
            let whole = text.repeat(if what == "two members" { 2 } else { 1 });
            let read = decoded(encoding, &body, whole.len(), |_| true);
            assert_eq!(read.as_deref(), Ok(whole.as_bytes()), "{what}");
            let over = decoded(encoding, &body, whole.len() - 1, |_| true);
            assert_eq!(over, Err(NotDecoded::TooLarge), "{what}");
            let mut left = whole.len() - 1;
            let full = decoded(encoding, &body, usize::MAX, |more| {
                let fits = more <= left;
                left = left.saturating_sub(more);
                fits
            });
            assert_eq!(full, Err(NotDecoded::NoRoom), "{what}");
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_broken() {
        for (what, encoding, body) in packed(&b"some text that is long enough".repeat(9)) {
            for cut in [0, 1, 2, body.len() / 4, body.len() - 1] {
                let read = decoded(encoding, &body[..cut], 1_000, |_| true);
                assert_eq!(read, Err(NotDecoded::Broken), "{what} {cut}");
            }
            let more = [&body[..], b"more"].concat();
            assert_eq!(
                decoded(encoding, &more, 1_000, |_| true),
                Err(NotDecoded::Broken),
                "{what}"
            );
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let (_, encoding, body) = packed(&vec![b' '; 64 << 20])[0].clone();
        let mut kept = 0;
        let read = decoded(encoding, &body, 1 << 20, |more| {
            kept += more;
            true
        });
        assert_eq!(read, Err(NotDecoded::TooLarge));
        assert!(kept <= 1 << 20, "{kept}");
    }

    #[test]
    fn one_encoding_is_named() {
        let named = |headers: &[&'static str]| named(headers.iter().copied());
        for (headers, expected) in [
            (&[][..], Some(Encoding::Identity)),
            (&["", "identity"], Some(Encoding::Identity)),
            (&["GZip"], Some(Encoding::Gzip)),
            (&["x-gzip"], Some(Encoding::Gzip)),
            (&["identity, deflate"], Some(Encoding::Deflate)),
            (&["gzip, gzip"], None),
            (&["gzip", "deflate"], None),
            (&["br"], None),
            (&["zstd, gzip"], None),
            (&["\u{fffd}"], None),
        ] {
            assert_eq!(named(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn the_body_tells_what_a_gateway_forgot() {
        for (encoding, body, expected) in [
            (Encoding::Gzip, &b"{}"[..], Encoding::Identity),
            (Encoding::Deflate, b"\xef\xbb\xbf [", Encoding::Identity),
            (Encoding::Gzip, b"--x\r\n", Encoding::Identity),
            (Encoding::Identity, b"\x1f\x8b\x08", Encoding::Gzip),
            (Encoding::Deflate, b"\x1f\x8b\x08", Encoding::Gzip),
            (Encoding::Gzip, b"hello", Encoding::Gzip),
            (Encoding::Identity, b"{}", Encoding::Identity),
        ] {
            assert_eq!(found(encoding, body), expected, "{encoding:?} {body:?}");
        }
    }
}
