//! JFWMS (极风WMS): signed webhooks in, HMAC-signed JSON calls out, OAuth tokens.

mod api;
pub mod codes;
mod json;
mod settings;
pub mod sign;
mod tokens;
mod webhook;

use jiff::tz::TimeZone;

pub use settings::{AnswerCode, Settings, SettingsError};
pub use webhook::EVENT_TYPES;

use super::{OwnerOf, TokenCalls, Vendor};
use crate::domain::{
    AccountName, Answer, Attempt, Command, Event, EventType, Faults, LookUp, PlannedCall, Refusal,
    Secret, SignatureHint, Unrecognized, Unverified, VendorAnswer, Verdict, Verified, Webhook,
};

/// One JFWMS account.
#[derive(Debug)]
pub struct Jfwms {
    account: AccountName,
    settings: Settings,
    timezone: TimeZone,
    /// The live secrets as JSON texts, as they stand in what a webhook's signature covers.
    quoted_secrets: Vec<Secret>,
}

impl Jfwms {
    /// An account with its settings, checked.
    pub fn new(account: AccountName, settings: Settings) -> Result<Self, SettingsError> {
        let timezone = settings.checked()?;
        let live = [Some(&settings.client_secret), settings.client_secret_previous.as_ref()];
        let live = live.into_iter().flatten();
        let quoted_secrets =
            live.map(|secret| Secret::new(json::quoted(secret.expose()))).collect();
        Ok(Self { account, settings, timezone, quoted_secrets })
    }

    /// The account this is.
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The zone of the vendor's times that carry none.
    fn timezone(&self) -> &TimeZone {
        &self.timezone
    }

    /// Whether a member or query parameter of this name carries a webhook's signature.
    fn is_sign_name(&self, name: &str) -> bool {
        self.settings.webhook_sign_names.iter().any(|sign| sign == name)
    }

    /// The same for a header, whose case does not matter.
    fn is_sign_header(&self, name: &str) -> bool {
        self.settings.webhook_sign_names.iter().any(|sign| sign.eq_ignore_ascii_case(name))
    }
}

impl Vendor for Jfwms {
    fn name(&self) -> &'static str {
        "jfwms"
    }

    fn event_types(&self) -> &'static [EventType] {
        webhook::EVENT_TYPES
    }

    fn signature_forms(&self) -> &'static [&'static str] {
        let all: &'static [&'static str] = &sign::WebhookForm::NAMES;
        match self.settings.webhook_sign_form {
            Some(pinned) => all
                .iter()
                .position(|name| *name == pinned.name())
                .and_then(|i| all.get(i..=i))
                .unwrap_or(all),
            None => all,
        }
    }

    fn verify(
        &self,
        webhook: Webhook<Unverified>,
        hint: SignatureHint,
    ) -> Result<Webhook<Verified>, Refusal> {
        webhook::verify(self, webhook, hint)
    }

    fn reread(&self, webhook: Webhook<Unverified>) -> Result<Webhook<Verified>, Refusal> {
        webhook::reread(webhook)
    }

    fn decode(
        &self,
        webhook: &Webhook<Verified>,
        owner: OwnerOf<'_>,
    ) -> Result<Event, Unrecognized> {
        webhook::decode(self, webhook, owner)
    }

    fn answer(&self, answer: Answer) -> String {
        // JFWMS guide, Webhook响应数据格式 (`msg`, not `message`), with the codes of 常见报错.
        let (code, msg) = match answer {
            Answer::Accepted => (0, ""),
            Answer::UnknownAccount => (10008, "no such account, or a wrong path"),
            Answer::NoSignature => (10021, "the webhook carries no sign"),
            Answer::WrongSignature | Answer::AnotherApplication => {
                (10026, "the sign does not match data and client secret")
            }
            Answer::SourceNotAllowed => (10010, "this address may not send webhooks here"),
            Answer::Malformed => (10001, "not a JSON object with exactly one data"),
            Answer::TooLarge => (10001, "the webhook is too large"),
            Answer::UnknownEncoding => (10001, "the content encoding is not gzip or deflate"),
            Answer::SignatureNotTried => (1, "not checked, please send it again"),
            Answer::Unavailable => (1, "not stored yet, please send it again"),
        };
        match self.settings.answer_code {
            AnswerCode::Number => format!(r#"{{"code":{code},"msg":"{msg}"}}"#),
            AnswerCode::String => format!(r#"{{"code":"{code}","msg":"{msg}"}}"#),
        }
    }

    fn webhook_body(
        &self,
        type_name: &str,
        data: &str,
        now: jiff::Timestamp,
    ) -> Result<String, String> {
        let data: &serde_json::value::RawValue =
            serde_json::from_str(data).map_err(|error| format!("data: {error}"))?;
        let form = self.settings.webhook_sign_form.unwrap_or(sign::WebhookForm::ALL[0]);
        let signed = form.sign(data.get(), &self.settings.client_secret);
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let name = self.settings.webhook_sign_names.first().map_or("sign", String::as_str);
        Ok(format!(
            r#"{{"timestamp":{},"type":{},"data":{},{}:"{}"}}"#,
            now.as_millisecond(),
            quoted(type_name),
            data.get(),
            quoted(name),
            signed.sign
        ))
    }

    fn check(&self, command: &Command) -> Result<Vec<String>, Faults> {
        api::check(command)
    }

    fn needs_reference(&self, _: &Command) -> bool {
        // Every operation takes our own number (erpNo).
        false
    }

    fn call(&self, command: &Command, attempt: &Attempt<'_>) -> PlannedCall {
        api::call(self, command, attempt)
    }

    fn judge(&self, command: &Command, answer: &VendorAnswer) -> Verdict {
        api::judge(command, answer)
    }

    fn look_up(&self, command: &Command, attempt: &Attempt<'_>) -> Option<PlannedCall> {
        api::look_up(self, command, attempt)
    }

    fn judge_look_up(&self, command: &Command, answer: &VendorAnswer) -> LookUp {
        api::judge_look_up(self, command, answer)
    }

    fn tokens(&self) -> Option<&dyn TokenCalls> {
        Some(self)
    }
}
