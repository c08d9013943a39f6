//! How much one webhook may hold.
//!
//! A body is bounded in bytes, but what is made of it is not bounded by that alone: an empty line of
//! three bytes (`{},`) becomes a record of twelve in Avro and of hundreds in memory. What is over
//! goes to `unrecognized`, byte for byte, with the reason.

use std::collections::BTreeMap;

use crate::domain::Unrecognized;

/// Bytes of the frame's unknown members that a record keeps. No signature covers them: whoever has one
/// captured webhook could send it again with megabytes of his own.
pub(super) const FRAME_BYTES: usize = 16 * 1024;
/// The member that names those left out.
const LEFT_OUT: &str = "$.leftOut";
/// So many of them are named, with so many characters.
const NAMED: usize = 10;
const NAME_SHOWN: usize = 64;

/// The members of a frame that are kept: in their order as many as fit; the names of the others, as a
/// JSON array under `$.leftOut`.
pub(super) fn of_frame(members: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (mut kept, mut left_out, mut bytes) = (BTreeMap::new(), Vec::new(), 0_usize);
    for (name, text) in members {
        let size = name.len() + text.len();
        if bytes + size <= FRAME_BYTES {
            bytes += size;
            kept.insert(name, text);
        } else {
            left_out.push(name);
        }
    }
    if !left_out.is_empty() {
        let shown = |name: &String| name.chars().take(NAME_SHOWN).collect::<String>();
        let mut names: Vec<_> = left_out.iter().take(NAMED).map(shown).collect();
        if let Some(more) = left_out.len().checked_sub(NAMED).filter(|more| *more > 0) {
            names.push(format!("and {more} more"));
        }
        kept.insert(LEFT_OUT.to_owned(), serde_json::Value::from(names).to_string());
    }
    kept
}

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
    fn a_frames_members_are_kept_up_to_a_bound_and_the_rest_is_named() {
        let members = |sizes: &[usize]| -> BTreeMap<String, String> {
            sizes
                .iter()
                .enumerate()
                .map(|(n, size)| (format!("m{n:02}"), "x".repeat(*size)))
                .collect()
        };
        let small = members(&[10, FRAME_BYTES - 16]);
        assert_eq!(of_frame(small.clone()), small);
        let kept = of_frame(members(&[10, FRAME_BYTES, 20]));
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["$.leftOut", "m00", "m02"]);
        assert_eq!(kept["$.leftOut"], "[\"m01\"]");
        let kept = of_frame(members(&[FRAME_BYTES; 12]));
        assert_eq!(kept.len(), 1);
        assert!(kept["$.leftOut"].ends_with("\"and 2 more\"]"), "{kept:?}");
        let long = BTreeMap::from([("仓".repeat(FRAME_BYTES), "1".to_owned())]);
        assert!(of_frame(long)["$.leftOut"].len() < 300);
    }

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
