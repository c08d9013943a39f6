//! Holds `docs/codes.md` equal to the tables of the code.

use std::{fmt::Write, fs};

use super::{jfwms, qianyi};

const KEPT: &str = include_str!("../../docs/codes.md");

/// The page, rendered.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str(JFWMS);
    page.push_str(&jfwms::codes::table());
    page.push_str(QIANYI);
    page.push_str("| code | what it says | class | category |\n|---|---|---|---|\n");
    for code in qianyi::Code::ALL {
        let category = serde_json::to_value(code.category()).unwrap();
        let (text, meaning, class) = (code.text(), code.meaning(), code.class());
        let category = category.as_str().unwrap();
        writeln!(page, "| `{text}` | {meaning} | {class:?} | `{category}` |").unwrap();
    }
    page.push_str("| any other | | Refused | `REFUSED` |\n");
    page
}

const INTRODUCTION: &str = "\
# The vendors' codes

Every code a vendor documents or was seen to send, with what the connector makes of it. The class
says what happens next, the category is what the reply carries ([commands.md](commands.md)).
A test holds this page equal to the tables of the code.

A code that is not here is a refusal for good: to send again what was refused for a reason that
nobody knows could only repeat it.
";

const JFWMS: &str = "
## JFWMS

| class | what happens |
|---|---|
| Success | `SUCCEEDED` |
| Accepted | `ACCEPTED`; the outcome comes as the event `orderIntercept` |
| AlreadyCancelled | `SUCCEEDED` for a cancellation, `REJECTED` for anything else |
| Duplicate | the document is looked up by its number and compared: equal is `SUCCEEDED` with `deduplicated`, different is `REJECTED`, `DUPLICATE` |
| NotFound | `REJECTED`; in a look-up it proves nothing while the vendor may still be working |
| Refused | `REJECTED`: the same again gives the same |
| InProgress | looked up, then sent again |
| Transient | sent again, with backoff |
| SessionExpired | the access token is renewed once, then sent again |
| ClockSkew | sent again with the time corrected by the vendor's `Date` header |
| NonceRepeated | sent again with a new nonce |
| NonceFormat | sent again with a nonce of two digits |
| Misconfigured | the account is stopped and its commands wait; the other accounts go on |

";

const QIANYI: &str = "
## Qianyi

| class | what happens |
|---|---|
| AlreadyExists | of a create: the document is looked up by its number and compared, as above |
| Refused | `REJECTED`: the same again gives the same. No code is documented for an ASN whose number is taken, so a failed `CREATE_ASN_ORDER` is looked up first, unless its code is about a field |
| Transient | looked up where it may have taken effect, then sent again, with backoff |
| Configuration | the account is stopped and its commands wait; the other accounts go on |

";

#[test]
fn the_page_of_codes_is_what_the_code_does() {
    if KEPT != page() {
        let new = std::env::temp_dir().join("codes.md");
        fs::write(&new, page()).unwrap();
        panic!("docs/codes.md is stale: copy {} over it", new.display());
    }
}
