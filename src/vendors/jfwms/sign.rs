//! The two signatures of JFWMS: HMAC-SHA256 over a call's headers, MD5 over a webhook's data.

use std::{borrow::Cow, fmt};

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use serde::Deserialize;
use sha2::Sha256;

use super::json::quoted;
use crate::domain::Secret;

/// A signature with the text it stands for, as `wms-connector sign` shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// Exactly the text that was signed. It holds a secret or a token.
    pub string: String,
    /// The same text with secrets and tokens as `***`.
    pub shown: String,
    /// The signature, lower-case hex.
    pub sign: String,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("string", &self.shown).finish_non_exhaustive()
    }
}

/// What a call's signature covers (JFWMS guide, 签名生成方式). The body is not covered.
#[derive(Debug, Clone, Copy)]
pub struct CallHeaders<'a> {
    pub client_id: &'a str,
    pub access_token: &'a Secret,
    pub user_id: &'a str,
    /// Milliseconds since the epoch, as sent.
    pub timestamp: &'a str,
    /// As sent.
    pub nonce: &'a str,
    /// The path alone, without host and query.
    pub path: &'a str,
}

impl CallHeaders<'_> {
    /// Signs the call: the seven parameters as `name=value`, sorted, joined by `&`.
    pub fn sign(&self, client_secret: &Secret) -> Signed {
        let string = self.string(self.access_token.expose());
        let sign = hmac_sha256(client_secret.expose().as_bytes(), string.as_bytes());
        Signed { string, shown: self.string("***"), sign }
    }

    fn string(&self, access_token: &str) -> String {
        // The guide sorts the joined `name=value` texts. The names begin differently, so their
        // order here is that order whatever the values are.
        format!(
            "accessToken={access_token}&clientId={}&method=post&nonce={}&timestamp={}&url={}&userId={}",
            self.client_id, self.nonce, self.timestamp, self.path, self.user_id
        )
    }
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> String {
    // An HMAC takes keys of every length, so the error cannot occur; an empty signature would
    // only be refused by the vendor.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| hex::encode(mac.chain_update(text).finalize().into_bytes()))
        .unwrap_or_default()
}

/// How `data` stands in the JSON that a webhook's signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataAs {
    /// The bytes received.
    Raw,
    /// The bytes received without the blanks between tokens; numbers and texts stay as they are.
    Compact,
    /// The bytes received as one JSON text.
    Text,
}

/// The forms in which a webhook may be signed. The guide (Webhook签名) gives
/// `md5Hex(JSON of {data, clientSecret})` and leaves open how `data` is embedded and which key
/// comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookForm {
    RawDataFirst,
    CompactDataFirst,
    TextDataFirst,
    RawSecretFirst,
    CompactSecretFirst,
    TextSecretFirst,
}

impl WebhookForm {
    /// All of them, in the order they are tried: Java's `HashMap`, which the guide uses, iterates
    /// `data` before `clientSecret`.
    pub const ALL: [Self; 6] = [
        Self::RawDataFirst,
        Self::CompactDataFirst,
        Self::TextDataFirst,
        Self::RawSecretFirst,
        Self::CompactSecretFirst,
        Self::TextSecretFirst,
    ];

    /// The names of [`Self::ALL`], in the same order.
    pub const NAMES: [&'static str; 6] = {
        let mut names = [""; 6];
        let mut i = 0;
        while i < 6 {
            names[i] = Self::ALL[i].name();
            i += 1;
        }
        names
    };

    /// The name in the configuration and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RawDataFirst => "raw-data-first",
            Self::CompactDataFirst => "compact-data-first",
            Self::TextDataFirst => "text-data-first",
            Self::RawSecretFirst => "raw-secret-first",
            Self::CompactSecretFirst => "compact-secret-first",
            Self::TextSecretFirst => "text-secret-first",
        }
    }

    /// The form of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }

    /// How `data` stands in it.
    pub const fn data(self) -> DataAs {
        match self {
            Self::RawDataFirst | Self::RawSecretFirst => DataAs::Raw,
            Self::CompactDataFirst | Self::CompactSecretFirst => DataAs::Compact,
            Self::TextDataFirst | Self::TextSecretFirst => DataAs::Text,
        }
    }

    /// Whether `data` comes before `clientSecret`.
    pub const fn data_first(self) -> bool {
        match self {
            Self::RawDataFirst | Self::CompactDataFirst | Self::TextDataFirst => true,
            Self::RawSecretFirst | Self::CompactSecretFirst | Self::TextSecretFirst => false,
        }
    }

    /// Whether both forms sign one text for this `data`: raw and compact do where it has no blanks.
    pub(super) fn same_text(self, other: Self, data: &str) -> bool {
        let as_raw = |form: Self| match form.data() {
            DataAs::Compact if !data.contains(is_blank) => DataAs::Raw,
            as_it_is => as_it_is,
        };
        self.data_first() == other.data_first() && as_raw(self) == as_raw(other)
    }

    /// Signs the JSON text of `data`; blanks around it are not part of it.
    pub fn sign(self, data: &str, client_secret: &Secret) -> Signed {
        let data = trimmed(data);
        let string = self.parts(data, &quoted(client_secret.expose())).concat();
        let sign = hex::encode(Md5::digest(&string));
        Signed { string, shown: self.parts(data, "\"***\"").concat(), sign }
    }

    /// The digest alone, without building the text.
    pub(super) fn digest(self, data: &str, quoted_secret: &str) -> [u8; 16] {
        let mut hash = Md5::new();
        for part in self.parts(data, quoted_secret) {
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }

    fn parts<'a>(self, data: &'a str, quoted_secret: &'a str) -> [Cow<'a, str>; 5] {
        let data = match self.data() {
            DataAs::Raw => Cow::Borrowed(data),
            DataAs::Compact => compact(data),
            DataAs::Text => Cow::Owned(quoted(data)),
        };
        let secret = Cow::Borrowed(quoted_secret);
        if self.data_first() {
            ["{\"data\":".into(), data, ",\"clientSecret\":".into(), secret, "}".into()]
        } else {
            ["{\"clientSecret\":".into(), secret, ",\"data\":".into(), data, "}".into()]
        }
    }
}

/// A JSON text without the blanks around it.
fn trimmed(json: &str) -> &str {
    json.trim_matches(is_blank)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A JSON text without the blanks between its tokens.
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    let (mut in_text, mut escaped) = (false, false);
    let mut kept = |c: char| {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            return true;
        }
        in_text = c == '"';
        !is_blank(c)
    };
    if !json.contains(is_blank) {
        return Cow::Borrowed(json);
    }
    Cow::Owned(json.chars().filter(|c| kept(*c)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_guides_call_has_the_guides_signature() {
        let signed = CallHeaders {
            client_id: "fe73489a9b5948dbafd07e7b28d6e268",
            access_token: &Secret::new("1b56814f081c432cb82751be145261d3"),
            user_id: "8",
            timestamp: "1692889556000",
            nonce: "14",
            path: "/api/order/get",
        }
        .sign(&Secret::new("4a506ccaf37e400bac4a42d2dc5f600a"));
        assert_eq!(signed.sign, "9bc08ba7552c5dfea4efab6bda78a4a9738010913f2403bd93f09c6bf974b939");
        assert_eq!(
            signed.shown,
            "accessToken=***&clientId=fe73489a9b5948dbafd07e7b28d6e268&method=post&nonce=14\
             &timestamp=1692889556000&url=/api/order/get&userId=8"
        );
        assert!(!format!("{signed:?}").contains("1b56814f"));
    }

    #[test]
    fn each_form_signs_its_own_text() {
        let data = "\n{ \"a\": \" x\\\" \", \"b\": 1.10 }\n";
        let secret = Secret::new("s\"1");
        for (form, expected) in [
            (
                WebhookForm::RawDataFirst,
                r#"{"data":{ "a": " x\" ", "b": 1.10 },"clientSecret":"s\"1"}"#,
            ),
            (
                WebhookForm::CompactDataFirst,
                r#"{"data":{"a":" x\" ","b":1.10},"clientSecret":"s\"1"}"#,
            ),
            (
                WebhookForm::TextDataFirst,
                r#"{"data":"{ \"a\": \" x\\\" \", \"b\": 1.10 }","clientSecret":"s\"1"}"#,
            ),
            (
                WebhookForm::RawSecretFirst,
                r#"{"clientSecret":"s\"1","data":{ "a": " x\" ", "b": 1.10 }}"#,
            ),
            (
                WebhookForm::CompactSecretFirst,
                r#"{"clientSecret":"s\"1","data":{"a":" x\" ","b":1.10}}"#,
            ),
            (
                WebhookForm::TextSecretFirst,
                r#"{"clientSecret":"s\"1","data":"{ \"a\": \" x\\\" \", \"b\": 1.10 }"}"#,
            ),
        ] {
            let signed = form.sign(data, &secret);
            assert_eq!(signed.string, expected, "{form:?}");
            assert_eq!(signed.shown, expected.replace("s\\\"1", "***"), "{form:?}");
            assert_eq!(
                signed.sign,
                hex::encode(form.digest(trimmed(data), &quoted(secret.expose()))),
                "{form:?}"
            );
        }
    }

    #[test]
    fn a_webhooks_signature_is_md5_over_its_text() {
        // md5 of {"data":{"a":1},"clientSecret":"s"}, computed with coreutils.
        let signed = WebhookForm::RawDataFirst.sign("{\"a\":1}", &Secret::new("s"));
        assert_eq!(signed.sign, "4a03edf7ab771da7deb54687e6b65c5e");
    }

    #[test]
    fn names_and_forms_are_one_to_one() {
        for (form, name) in WebhookForm::ALL.into_iter().zip(WebhookForm::NAMES) {
            assert_eq!(WebhookForm::of_name(name), Some(form));
        }
        assert_eq!(WebhookForm::of_name("raw"), None);
    }

    proptest! {
        #[test]
        fn compact_takes_out_blanks_and_nothing_else(text in "[\\[\\]{},:0-9a-f \\n\"\\\\]{0,60}") {
            let json = quoted(&text);
            let spaced = format!(" [ {json}\t,\r\n1 ]");
            prop_assert_eq!(compact(&spaced), format!("[{json},1]"));
        }
    }
}
