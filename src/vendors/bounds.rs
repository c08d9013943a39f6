//! How much one webhook may hold.
//!
//! A body is bounded in bytes, but what is made of it is not bounded by that alone: an empty line of
//! three bytes (`{},`) becomes a record of twelve in Avro and of hundreds in memory. What is over
//! goes to `unrecognized`, byte for byte, with the reason.

use crate::domain::Unrecognized;

/// Objects in one webhook. A document of 4 MiB with real lines has some 27,000; so many empty ones add
/// at most 900 KB to the record, which so stays below `max.message.bytes` of its topic.
pub(super) const MAX_OBJECTS: usize = 100_000;

/// Members and elements in one webhook, of real lines some 8 each: at most some 150 MB of bookkeeping
/// while it is read.
pub(super) const MAX_VALUES: usize = 500_000;

/// Texts so short cannot hold too much, and are not looked through: an object has two bytes and a
/// comma, any other value one and a comma.
const SHORT: usize = 3 * MAX_OBJECTS;

/// Whether the JSON texts of a webhook hold more than a record may.
pub(super) fn check(texts: &[&[u8]]) -> Result<(), Unrecognized> {
    if texts.iter().map(|text| text.len()).sum::<usize>() <= SHORT {
        return Ok(());
    }
    let (mut objects, mut values) = (0_usize, 0_usize);
    for text in texts {
        let (mut in_text, mut escaped) = (false, false);
        for byte in *text {
            if in_text {
                in_text = escaped || *byte != b'"';
                escaped = !escaped && *byte == b'\\';
                continue;
            }
            match byte {
                b'"' => in_text = true,
                b'{' => {
                    objects += 1;
                    values += 1;
                }
                b'[' | b',' => values += 1,
                _ => {}
            }
        }
    }
    for (count, limit, what) in
        [(objects, MAX_OBJECTS, "objects"), (values, MAX_VALUES, "members and elements")]
    {
        if count > limit {
            let reason = format!("it holds {count} {what}, more than {limit}");
            return Err(Unrecognized::Undecodable(reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_outside_texts_is_counted() {
        let objects = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
        let values = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        let text = |inner: &str| format!("[{}\"\"]", format!("\"{inner}\",").repeat(150_000));
        for (json, said) in [
            (objects(MAX_OBJECTS), None),
            (objects(MAX_OBJECTS + 1), Some("it holds 100001 objects, more than 100000")),
            (values(MAX_VALUES), None),
            (
                values(MAX_VALUES + 1),
                Some("it holds 500001 members and elements, more than 500000"),
            ),
            (text("{{{,,,"), None),
            (text(r#"\"{\\"#), None),
            (text(r#"\\"#), None),
        ] {
            let said = said.map(|said| Unrecognized::Undecodable(said.to_owned()));
            assert_eq!(check(&[json.as_bytes()]).err(), said);
        }
    }
}
