//! The signatures of JFWMS, computed from the guide alone.

use std::collections::{HashMap, VecDeque};

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde_json::Value;
use sha2::Sha256;

use super::codes::Refusal;
use super::oauth::Tokens;
use crate::sandbox::settings::{JfwmsSettings, NonceScope, SignForm, SignOrder};

/// The signature of a call (guide, section 4.3): the seven parameters sorted and joined by `&`,
/// HMAC-SHA256 with the client secret, lower-case hex. The body is not signed.
pub(super) fn call_sign(secret: &str, call: &Call<'_>, path: &str) -> String {
    let text = format!(
        "accessToken={}&clientId={}&method=post&nonce={}&timestamp={}&url={path}&userId={}",
        call.access_token, call.client_id, call.nonce, call.timestamp, call.user_id
    );
    // HMAC takes a key of any length; the error exists for other constructions only.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The signature of a webhook (guide, section 3): the MD5 of the JSON of `data` and
/// `clientSecret`. The guide leaves open how `data` stands in it and which key comes first.
pub(super) fn webhook_sign(secret: &str, data: &str, form: SignForm, order: SignOrder) -> String {
    let data = match form {
        SignForm::Raw => data.to_owned(),
        SignForm::Compact => compact(data),
        SignForm::Text => Value::from(data).to_string(),
    };
    let secret = Value::from(secret).to_string();
    let text = match order {
        SignOrder::DataFirst => format!(r#"{{"data":{data},"clientSecret":{secret}}}"#),
        SignOrder::SecretFirst => format!(r#"{{"clientSecret":{secret},"data":{data}}}"#),
    };
    hex::encode(Md5::digest(text.as_bytes()))
}

/// JSON text without the blanks between its tokens; everything else stays, byte for byte.
fn compact(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for character in text.chars() {
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            quoted = character == '"';
        }
        compact.push(character);
    }
    compact
}

/// The headers of a call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) access_token: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) timestamp: &'a str,
    pub(super) user_id: &'a str,
    pub(super) sign: &'a str,
}

impl<'a> Call<'a> {
    /// All headers must be there and not empty. The guide's list leaves `clientId` out, but its
    /// sample sends it.
    pub(super) fn read(header: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refusal> {
        let needed = |name: &str, code: u32| {
            header(name).filter(|value| !value.is_empty()).ok_or_else(|| Refusal::new(code))
        };
        Ok(Self {
            access_token: needed("accessToken", 10004)?,
            client_id: needed("clientId", 10006)?,
            sign: needed("sign", 10021)?,
            nonce: needed("nonce", 10022)?,
            timestamp: needed("timestamp", 10023)?,
            user_id: needed("userId", 10029)?,
        })
    }
}

/// Verifies a call; gives the user. A nonce is remembered only for a call that is otherwise right.
pub(super) fn verify(
    settings: &JfwmsSettings,
    tokens: &Tokens,
    nonces: &mut Nonces,
    call: &Call<'_>,
    path: &str,
    now: Timestamp,
) -> Result<u64, Refusal> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if call.nonce.len() > settings.nonce_max_digits || !digits(call.nonce) {
        return Err(Refusal::new(10024));
    }
    // Milliseconds (guide, section 4.2): thirteen digits until the year 2286.
    if call.timestamp.len() != 13 || !digits(call.timestamp) {
        return Err(Refusal::new(10025));
    }
    if !digits(call.user_id) {
        return Err(Refusal::new(10029));
    }
    let user_id: u64 = call.user_id.parse().map_err(|_| Refusal::new(10029))?;
    if call.client_id != settings.client_id {
        return Err(Refusal::new(10008));
    }
    let owner =
        tokens.owner_of_access(call.access_token, now).ok_or_else(|| Refusal::new(10002))?;
    if owner != user_id {
        return Err(Refusal::new(10009));
    }
    if call.sign != call_sign(&settings.client_secret, call, path) {
        return Err(Refusal::new(10026));
    }
    let sent: i64 = call.timestamp.parse().map_err(|_| Refusal::new(10025))?;
    if let Some(tolerance) = settings.clock_tolerance {
        let apart = now.as_millisecond().abs_diff(sent);
        if u128::from(apart) > tolerance.as_millis() {
            return Err(Refusal::new(10028));
        }
    }
    let about = match settings.nonce_scope {
        NonceScope::Nonce => format!("{user_id} {}", call.nonce),
        NonceScope::NonceAndTimestamp => format!("{user_id} {} {sent}", call.nonce),
    };
    match nonces.is_new(about, now) {
        true => Ok(user_id),
        false => Err(Refusal::new(10027)),
    }
}

/// The nonces of the last minutes.
#[derive(Debug)]
pub(super) struct Nonces {
    window_ms: i64,
    most: usize,
    seen: HashMap<String, i64>,
    order: VecDeque<(i64, String)>,
}

impl Nonces {
    pub(super) fn new(window: std::time::Duration, most: usize) -> Self {
        let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self { window_ms, most: most.max(1), seen: HashMap::new(), order: VecDeque::new() }
    }

    fn is_new(&mut self, nonce: String, now: Timestamp) -> bool {
        let now = now.as_millisecond();
        while let Some((at, oldest)) = self.order.front() {
            if now.saturating_sub(*at) <= self.window_ms && self.order.len() < self.most {
                break;
            }
            self.seen.remove(oldest);
            self.order.pop_front();
        }
        if self.seen.contains_key(&nonce) {
            return false;
        }
        self.seen.insert(nonce.clone(), now);
        self.order.push_back((now, nonce));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";

    #[test]
    fn the_guides_sample_call_is_signed_alike() {
        let call = Call {
            access_token: "1b56814f081c432cb82751be145261d3",
            client_id: "fe73489a9b5948dbafd07e7b28d6e268",
            nonce: "14",
            timestamp: "1692889556000",
            user_id: "8",
            sign: "",
        };
        assert_eq!(
            call_sign(SECRET, &call, "/api/order/get"),
            "9bc08ba7552c5dfea4efab6bda78a4a9738010913f2403bd93f09c6bf974b939"
        );
    }

    #[test]
    fn the_forms_of_a_webhook_differ_as_they_should() {
        let md5 = |text: &str| hex::encode(Md5::digest(text.as_bytes()));
        let data = "{ \"a\" : \"x \\\" y\",\n \"n\":1.10 }";
        let table = [
            (
                SignForm::Raw,
                SignOrder::DataFirst,
                "{\"data\":{ \"a\" : \"x \\\" y\",\n \"n\":1.10 },\"clientSecret\":\"s\"}",
            ),
            (
                SignForm::Compact,
                SignOrder::SecretFirst,
                "{\"clientSecret\":\"s\",\"data\":{\"a\":\"x \\\" y\",\"n\":1.10}}",
            ),
            (
                SignForm::Text,
                SignOrder::DataFirst,
                "{\"data\":\"{ \\\"a\\\" : \\\"x \\\\\\\" y\\\",\\n \\\"n\\\":1.10 }\",\
                 \"clientSecret\":\"s\"}",
            ),
        ];
        for (form, order, text) in table {
            assert_eq!(webhook_sign("s", data, form, order), md5(text), "{form:?} {order:?}");
        }
    }

    #[test]
    fn a_nonce_is_forgotten_after_its_window_and_never_beyond_the_limit() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let mut nonces = Nonces::new(Duration::from_secs(1), 2);
        assert!(nonces.is_new("a".to_owned(), at(0)));
        assert!(!nonces.is_new("a".to_owned(), at(1_000)));
        assert!(nonces.is_new("a".to_owned(), at(1_001)));
        assert!(nonces.is_new("b".to_owned(), at(1_002)));
        assert!(nonces.is_new("c".to_owned(), at(1_003)));
        assert!(nonces.seen.len() <= 2 && nonces.order.len() <= 2);
    }
}
