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

use super::{TokenCalls, Vendor};
use crate::domain::{
    AccountName, Answer, Attempt, Command, Event, EventType, Invalid, LookUp, PlannedCall, Refusal,
    SignatureHint, Unrecognized, Unverified, VendorAnswer, Verdict, Verified, Webhook,
};

/// One JFWMS account.
#[derive(Debug)]
pub struct Jfwms {
    account: AccountName,
    settings: Settings,
    timezone: TimeZone,
}

impl Jfwms {
    /// An account with its settings, checked.
    pub fn new(account: AccountName, settings: Settings) -> Result<Self, SettingsError> {
        let timezone = settings.checked()?;
        Ok(Self { account, settings, timezone })
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

    fn decode(&self, webhook: &Webhook<Verified>) -> Result<Event, Unrecognized> {
        webhook::decode(self, webhook)
    }

    fn answer(&self, answer: Answer) -> String {
        // JFWMS guide, Webhook响应数据格式 (`msg`, not `message`), with the codes of 常见报错.
        let (code, msg) = match answer {
            Answer::Accepted => (0, ""),
            Answer::UnknownAccount => (10008, "no such account, or a wrong path"),
            Answer::NoSignature => (10021, "the webhook carries no sign"),
            Answer::WrongSignature => (10026, "the sign does not match data and client secret"),
            Answer::SourceNotAllowed => (10010, "this address may not send webhooks here"),
            Answer::Malformed => (10001, "not a JSON object with exactly one data"),
            Answer::TooLarge => (10001, "the webhook is too large"),
            Answer::Unavailable => (1, "not stored yet, please send it again"),
        };
        match self.settings.answer_code {
            AnswerCode::Number => format!(r#"{{"code":{code},"msg":"{msg}"}}"#),
            AnswerCode::String => format!(r#"{{"code":"{code}","msg":"{msg}"}}"#),
        }
    }

    fn check(&self, command: &Command) -> Result<Vec<String>, Invalid> {
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
