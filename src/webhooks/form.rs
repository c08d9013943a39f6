//! The fields of a form, url-encoded or multipart. Pure.
//!
//! Senders and the gateways between us write multipart in more ways than RFC 7578 allows: a
//! boundary with characters that ask for quotes, without them; blanks before `;`; bare line feeds;
//! no closing boundary. Each of them says plainly what the fields are, and the signature decides
//! whether they were read right, so all of them are read. Values stay byte for byte.

/// What a form may hold. The vendors' have five fields; a body of nothing but `&` would otherwise
/// cost fifty times its size.
const MAX_FIELDS: usize = 256;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// RFC 2046 allows 70 characters.
const MAX_BOUNDARY: usize = 200;

/// Names and values in the order they were sent.
pub type Fields = Vec<(String, String)>;

/// Why a body that claims to be a form has no fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the multipart body has no line with its boundary")]
    NoBoundary,
    #[error("a multipart part has no blank line between its headers and its value")]
    NoValue,
    #[error("a multipart part has no name")]
    NoName,
    #[error("a multipart field is not UTF-8")]
    NotUtf8,
    #[error("the form has more than {MAX_FIELDS} fields")]
    TooManyFields,
}

/// The fields of the body, if it is a form. A body that begins as JSON does is JSON, whatever the
/// content type says: `curl -d` claims a form for it.
pub fn fields(content_type: Option<&str>, body: &[u8]) -> Result<Option<Fields>, FormError> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    let media_type = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    let media_type = media_type.trim();
    let is = |name: &str| media_type.eq_ignore_ascii_case(name);
    let (urlencoded, multipart) =
        (is("application/x-www-form-urlencoded"), is("multipart/form-data"));
    if !(urlencoded || multipart) || matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Ok(None);
    }
    if multipart {
        let boundary = content_type.and_then(|text| parameter(text, "boundary"));
        return parts(boundary, body).map(Some);
    }
    let fields: Fields =
        form_urlencoded::parse(body).into_owned().take(MAX_FIELDS.saturating_add(1)).collect();
    if fields.len() > MAX_FIELDS { Err(FormError::TooManyFields) } else { Ok(Some(fields)) }
}

/// A parameter behind the first `;` of a header: quoted, or whatever stands there up to the next
/// `;`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (name, after) = rest.split_at_checked(rest.find(['=', ';'])?)?;
        let Some(value) = after.strip_prefix('=') else {
            rest = after.strip_prefix(';')?;
            continue;
        };
        let value = value.trim_start();
        let (value, next) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, next) = value.split_once(';').unwrap_or((value, ""));
                (value.trim_end().to_owned(), next)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value).filter(|value| !value.is_empty());
        }
        rest = next.trim_start().strip_prefix(';').unwrap_or(next);
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

/// One line of a body.
#[derive(Clone, Copy)]
struct Line<'a> {
    start: usize,
    /// Where the next line begins.
    next: usize,
    /// Without its end.
    text: &'a [u8],
    /// Whether it ended with CR LF.
    crlf: bool,
}

fn lines(body: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    body.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = text.strip_suffix(b"\r").filter(|_| text.len() < line.len());
        let from = start;
        start += line.len();
        Line { start: from, next: start, text: bare.unwrap_or(text), crlf: bare.is_some() }
    })
}

/// What a line is to the boundary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Part,
    Last,
}

fn mark(line: &[u8], boundary: &[u8]) -> Option<Mark> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    match rest.trim_ascii_end() {
        b"" => Some(Mark::Part),
        b"--" => Some(Mark::Last),
        _ => None,
    }
}

/// The parts of a multipart body. Where the header names no boundary, or one that no line has, the
/// first line is it.
fn parts(boundary: Option<String>, body: &[u8]) -> Result<Fields, FormError> {
    let named = boundary.map(String::into_bytes);
    let used = |boundary: &Vec<u8>| lines(body).any(|line| mark(line.text, boundary).is_some());
    let boundary = named.filter(used).or_else(|| first_line(body)).ok_or(FormError::NoBoundary)?;
    let mut marks = lines(body).filter_map(|line| Some((line, mark(line.text, &boundary)?)));
    let (first, mut kind) = marks.next().ok_or(FormError::NoBoundary)?;
    let mut fields = Vec::new();
    let mut begin = first.next;
    while kind == Mark::Part {
        let next = marks.next();
        let end = next.map_or(body.len(), |(line, _)| line.start);
        let part = body.get(begin..end).unwrap_or_default();
        // The end of the line before a boundary belongs to the boundary. Which end that is, the
        // first boundary tells; where the closing one is missing, the last value loses one too.
        let part = part
            .strip_suffix(b"\n")
            .map_or(part, |part| part.strip_suffix(b"\r").filter(|_| first.crlf).unwrap_or(part));
        if fields.len() >= MAX_FIELDS {
            return Err(FormError::TooManyFields);
        }
        // A boundary with nothing behind it closes as well.
        if next.is_some() || !part.is_empty() {
            fields.push(field(part)?);
        }
        let Some((line, mark)) = next else { break };
        (begin, kind) = (line.next, mark);
    }
    Ok(fields)
}

fn first_line(body: &[u8]) -> Option<Vec<u8>> {
    let line = lines(body).map(|line| line.text).find(|text| !text.trim_ascii().is_empty())?;
    let boundary = line.strip_prefix(b"--")?.trim_ascii_end();
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then(|| boundary.to_vec())
}

/// Name and value of one part.
fn field(part: &[u8]) -> Result<(String, String), FormError> {
    let mut headers: Vec<String> = Vec::new();
    for line in lines(part) {
        let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
        if text.is_empty() {
            // A value without text has no line of its own.
            let value = part.get(line.next..).unwrap_or_default();
            let value = std::str::from_utf8(value).map_err(|_| FormError::NotUtf8)?;
            return Ok((name(&headers)?, value.to_owned()));
        }
        let text = std::str::from_utf8(text).map_err(|_| FormError::NotUtf8)?;
        match headers.last_mut() {
            // A folded header goes on in the next line.
            Some(header) if text.starts_with([' ', '\t']) => header.push_str(text),
            _ => headers.push(text.to_owned()),
        }
    }
    // Nothing stands behind the headers: the blank line and the boundary's shared their end.
    if part.ends_with(b"\n") {
        return Ok((name(&headers)?, String::new()));
    }
    Err(FormError::NoValue)
}

fn name(headers: &[String]) -> Result<String, FormError> {
    let mut dispositions = headers.iter().filter_map(|header| {
        let (name, value) = header.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    dispositions.next().and_then(|value| parameter(value, "name")).ok_or(FormError::NoName)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str) -> Result<Option<Fields>, FormError> {
        fields(Some(content_type), body.as_bytes())
    }

    fn two(a: &str, b: &str) -> Result<Option<Fields>, FormError> {
        Ok(Some(vec![("a".to_owned(), a.to_owned()), ("b".to_owned(), b.to_owned())]))
    }

    const PART_A: &str = "Content-Disposition: form-data; name=\"a\"";
    const PART_B: &str = "content-disposition: form-data; name=b";

    /// A body of two parts; `~` stands for the line's end.
    fn body(boundary: &str, end: &str, closing: &str) -> String {
        format!("--{boundary}~{PART_A}~~1~--{boundary}~{PART_B}~~{{ 仓 }}~{closing}")
            .replace('~', end)
    }

    #[test]
    fn a_form_is_read_however_it_is_written() {
        let plain = body("x", "\r\n", "--x--\r\n");
        for (what, content_type, body) in [
            ("the documented form", "multipart/form-data; boundary=x", plain.clone()),
            ("quoted", "Multipart/Form-Data; charset=UTF-8; Boundary=\"x\"", plain.clone()),
            (
                "blanks before `;`",
                "multipart/form-data ; boundary=x ; charset=utf-8",
                plain.clone(),
            ),
            ("blanks around `=`", "multipart/form-data;boundary = x", plain.clone()),
            ("a parameter without a value", "multipart/form-data; odd; boundary=x", plain.clone()),
            ("no boundary named", "multipart/form-data", plain.clone()),
            ("another boundary named", "multipart/form-data; boundary='x'", plain.clone()),
            ("a BOM", "multipart/form-data; boundary=x", format!("\u{feff}{plain}")),
            ("an empty boundary named", "multipart/form-data; boundary=", plain.clone()),
            (
                "odd and unquoted",
                "multipart/form-data; boundary=a b:c/d=(e)?,f'",
                body("a b:c/d=(e)?,f'", "\r\n", "--a b:c/d=(e)?,f'--"),
            ),
            (
                "odd and quoted",
                "multipart/form-data; boundary=\"a;b\\\"c\"",
                body("a;b\"c", "\r\n", "--a;b\"c--"),
            ),
            ("bare line feeds", "multipart/form-data; boundary=x", body("x", "\n", "--x--\n")),
            ("no closing boundary", "multipart/form-data; boundary=x", body("x", "\r\n", "")),
            ("neither", "multipart/form-data; boundary=x", body("x", "\n", "")),
            ("closed like a part", "multipart/form-data; boundary=x", body("x", "\r\n", "--x\r\n")),
            ("cut in the closing", "multipart/form-data; boundary=x", body("x", "\r\n", "--x")),
            ("padding", "multipart/form-data; boundary=x", plain.replace("--x\r", "--x \t\r")),
            (
                "text before and behind",
                "multipart/form-data; boundary=x",
                format!("hello\r\n{plain}--x\r\nbye"),
            ),
            (
                "folded headers",
                "multipart/form-data; boundary=x",
                plain.replace("form-data; name=\"a\"", "form-data;\r\n name=\"a\""),
            ),
        ] {
            assert_eq!(read(content_type, &body), two("1", "{ 仓 }"), "{what}");
        }
    }

    #[test]
    fn values_stay_byte_for_byte() {
        let multipart = |value: &str, end: &str| {
            let body = format!("--x~{PART_A}~~\0~--x~{PART_B}~~2~--x--~").replace('~', end);
            read("multipart/form-data; boundary=x", &body.replace('\0', value))
        };
        for value in ["", "\n", "{\r\n  \"a\": 1\r\n}", "\r\n", "--y", "a\n", " --x", "--xx"] {
            assert_eq!(multipart(value, "\r\n"), two(value, "2"), "{value:?}");
        }
        // With bare line feeds a carriage return belongs to the value.
        for value in ["", "\n", "{\n}", "a\r", "\r"] {
            assert_eq!(multipart(value, "\n"), two(value, "2"), "{value:?}");
        }
        let urlencoded = "application/x-www-form-urlencoded";
        assert_eq!(read(urlencoded, "a=1%2B1&b=%E4%BB%93"), two("1+1", "仓"));
    }

    #[test]
    fn what_is_no_form_says_what_is_missing() {
        let multipart = |body: &str| read("multipart/form-data; boundary=x", body);
        assert_eq!(multipart("hello"), Err(FormError::NoBoundary));
        assert_eq!(multipart(""), Err(FormError::NoBoundary));
        assert_eq!(read("multipart/form-data", "hello"), Err(FormError::NoBoundary));
        assert_eq!(multipart(&format!("--x\r\n{PART_A}\r\n--x--")), Err(FormError::NoValue));
        assert_eq!(multipart("--x\r\n\r\n1\r\n--x--"), Err(FormError::NoName));
        assert_eq!(multipart("--x--\r\n"), Ok(Some(Vec::new())));
        let latin = [format!("--x\r\n{PART_A}\r\n\r\n").as_bytes(), b"\xe9\r\n--x--"].concat();
        let latin = fields(Some("multipart/form-data; boundary=x"), &latin);
        assert_eq!(latin, Err(FormError::NotUtf8));
        let many = format!("--x\r\n{PART_A}\r\n\r\n\r\n").repeat(MAX_FIELDS + 1);
        assert_eq!(multipart(&many), Err(FormError::TooManyFields));
        let many = "a&".repeat(MAX_FIELDS + 1);
        assert_eq!(read("application/x-www-form-urlencoded", &many), Err(FormError::TooManyFields));
    }

    #[test]
    fn json_is_json_whatever_the_content_type_says() {
        for content_type in ["application/json", "application/x-www-form-urlencoded", "text/plain"]
        {
            assert_eq!(read(content_type, "{\"a\":1}"), Ok(None));
        }
        assert_eq!(read("multipart/form-data; boundary=x", " \r\n[1]"), Ok(None));
        assert_eq!(read("multipart/form-data; boundary=x", "\u{feff}{}"), Ok(None));
        assert_eq!(fields(None, b"a=1"), Ok(None));
    }
}
