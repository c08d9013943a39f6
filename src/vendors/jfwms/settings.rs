//! One account's settings, as they stand in the configuration.

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};

use super::sign::WebhookForm;
use crate::domain::Secret;

/// The settings of one JFWMS account (`[accounts.<name>]`, `vendor = "jfwms"`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The `domain` of the authorisation. The vendor's clients disagree whether that is the
    /// provider's short name or its whole URL, so it is not made out of `base_url`.
    #[serde(default)]
    pub auth_domain: Option<String>,
    /// 开发者ID.
    pub client_id: String,
    /// 密钥: signs calls, and the vendor signs webhooks with it.
    pub client_secret: Secret,
    /// The secret before the last rotation: webhooks signed with it are still accepted.
    #[serde(default)]
    pub client_secret_previous: Option<Secret>,
    /// The zone of the vendor's times that carry none (`expectedTime`). Default: Asia/Shanghai.
    #[serde(default = "shanghai")]
    pub timezone: String,
    /// The OMS users that belong to this account; empty means all.
    #[serde(default, deserialize_with = "ids")]
    pub user_ids: Vec<String>,
    /// Under which names a webhook's signature is looked for in header, body and query. The guide
    /// does not say where it travels. Default: `sign`.
    #[serde(default = "sign_names")]
    pub webhook_sign_names: Vec<String>,
    /// The only form of signature that is accepted; without it every documented form is.
    #[serde(default)]
    pub webhook_sign_form: Option<WebhookForm>,
    /// Whether webhooks are answered with `"code":0` or `"code":"0"`. Default: number.
    #[serde(default)]
    pub answer_code: AnswerCode,
    /// How many digits the nonce of a call has. Default: 9.
    #[serde(default = "nine")]
    pub nonce_digits: u32,
    /// A fixed access token, used while the token store holds nothing newer.
    #[serde(default)]
    pub access_token: Option<Secret>,
    /// The user the fixed tokens stand for.
    #[serde(default, deserialize_with = "id")]
    pub user_id: Option<String>,
    /// A refresh token to begin with.
    #[serde(default)]
    pub refresh_token: Option<Secret>,
}

/// The kind of value `code` is in the answer to a webhook; the guide's sample does not settle it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerCode {
    #[default]
    Number,
    String,
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A setting that may not be empty is.
    #[error("`{0}` is empty: give it a value")]
    Empty(&'static str),
    /// What no header carries as it is: every call would fail, one command after the other.
    #[error(
        "`{0}` holds a line break, another control character, one that is not ASCII, or a blank at \
         its beginning or end, and cannot be sent in a header: give it the value alone"
    )]
    NotForHeader(&'static str),
    /// A zone the time-zone database does not know.
    #[error("`timezone` = \"{0}\" is not a zone of the IANA database: write e.g. Asia/Shanghai")]
    Timezone(String),
    /// A nonce the vendor or we could not bear.
    #[error("`nonce_digits` = {0} is out of range: use 2 to 18")]
    NonceDigits(u32),
    /// A token without its user; the user is signed with every call.
    #[error("`access_token` needs `user_id`: every call is signed with the user it is for")]
    NoUser,
}

impl Settings {
    /// Checks what the types cannot say, and finds the zone.
    pub(super) fn checked(&self) -> Result<TimeZone, SettingsError> {
        let names_empty = self.webhook_sign_names.is_empty()
            || self.webhook_sign_names.iter().any(String::is_empty);
        let empty = |secret: &Option<Secret>| secret.as_ref().is_some_and(Secret::is_empty);
        for (name, empty) in [
            ("client_id", self.client_id.is_empty()),
            ("client_secret", self.client_secret.is_empty()),
            // An empty second secret would let anybody sign.
            ("client_secret_previous", empty(&self.client_secret_previous)),
            ("webhook_sign_names", names_empty),
            ("access_token", empty(&self.access_token)),
            ("refresh_token", empty(&self.refresh_token)),
            ("user_id", self.user_id.as_ref().is_some_and(String::is_empty)),
        ] {
            if empty {
                return Err(SettingsError::Empty(name));
            }
        }
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
        for (name, value) in [
            ("client_id", Some(self.client_id.clone())),
            ("access_token", exposed(&self.access_token)),
            ("refresh_token", exposed(&self.refresh_token)),
            ("user_id", self.user_id.clone()),
        ] {
            if value.is_some_and(|value| !fits_header(&value)) {
                return Err(SettingsError::NotForHeader(name));
            }
        }
        if !(2..=18).contains(&self.nonce_digits) {
            return Err(SettingsError::NonceDigits(self.nonce_digits));
        }
        if self.access_token.is_some() && self.user_id.is_none() {
            return Err(SettingsError::NoUser);
        }
        TimeZone::get(&self.timezone).map_err(|_| SettingsError::Timezone(self.timezone.clone()))
    }
}

/// Whether a text arrives as it is in a header.
pub(super) fn fits_header(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text
}

fn shanghai() -> String {
    "Asia/Shanghai".to_owned()
}

fn sign_names() -> Vec<String> {
    vec!["sign".to_owned()]
}

fn nine() -> u32 {
    9
}

/// A user's id: the vendor writes it as a number in one place and as a text in another, and so
/// may an operator.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Id>::deserialize(deserializer)?.into_iter().map(String::from).collect())
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Id>::deserialize(deserializer)?.map(String::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(&format!("client_id = \"c\"\nclient_secret = \"hidden\"\n{more}"))
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let settings = read("").unwrap();
        assert_eq!(settings.timezone, "Asia/Shanghai");
        assert_eq!(settings.webhook_sign_names, ["sign"]);
        assert_eq!(settings.webhook_sign_form, None);
        assert_eq!(settings.answer_code, AnswerCode::Number);
        assert_eq!(settings.nonce_digits, 9);
        assert!(settings.user_ids.is_empty());
        assert!(!format!("{settings:?}").contains("hidden"));
    }

    #[test]
    fn user_ids_are_texts_or_numbers() {
        let settings = read("user_ids = [1, \"2\"]\nuser_id = 8").unwrap();
        assert_eq!(settings.user_ids, ["1", "2"]);
        assert_eq!(settings.user_id.as_deref(), Some("8"));
    }

    #[test]
    fn an_unknown_name_or_form_is_refused() {
        for (more, named) in [
            ("clientid = \"x\"", "clientid"),
            ("webhook_sign_form = \"raw\"", "raw-data-first"),
            ("answer_code = \"text\"", "number"),
        ] {
            let error = read(more).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for (more, error) in [
            ("timezone = \"Mars/Base\"", SettingsError::Timezone("Mars/Base".into())),
            ("nonce_digits = 1", SettingsError::NonceDigits(1)),
            ("nonce_digits = 19", SettingsError::NonceDigits(19)),
            ("webhook_sign_names = []", SettingsError::Empty("webhook_sign_names")),
            ("client_secret_previous = \"\"", SettingsError::Empty("client_secret_previous")),
            ("access_token = \"a\\nb\"\nuser_id = 8", SettingsError::NotForHeader("access_token")),
            ("access_token = \"a\\n\"\nuser_id = 8", SettingsError::NotForHeader("access_token")),
            ("access_token = \" a\"\nuser_id = 8", SettingsError::NotForHeader("access_token")),
            ("access_token = \"a\"\nuser_id = \"8\\r\"", SettingsError::NotForHeader("user_id")),
            ("refresh_token = \"中\"", SettingsError::NotForHeader("refresh_token")),
            ("access_token = \"a\"", SettingsError::NoUser),
        ] {
            assert_eq!(read(more).unwrap().checked().unwrap_err(), error, "{more}");
        }
        assert!(read("access_token = \"a\"\nuser_id = \"8\"").unwrap().checked().is_ok());
    }
}
