//! The vendors as pure functions: what they sign, send, accept and answer.
//!
//! Twin folders with the same file names. Nothing here knows a transport, the clock, a random
//! source or another vendor: time, nonce and tokens are arguments.

use std::fmt::Debug;

use crate::domain::{
    AccountName, Answer, Attempt, Command, Event, EventType, Faults, LookUp, PlannedCall, Refusal,
    Secret, SignatureHint, TokenRefusal, Tokens, Unrecognized, Unverified, VendorAnswer, Verdict,
    Verified, Webhook,
};

mod bounds;
#[cfg(test)]
mod cells_tests;
#[cfg(test)]
mod codes_page_tests;
#[cfg(test)]
mod documents_tests;
pub mod jfwms;
pub mod qianyi;
#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod signature_tests;

/// The types of webhooks of one vendor, known without an account of it.
#[derive(Debug)]
pub struct VendorTypes {
    /// The vendor's name in topics, headers and replies.
    pub name: &'static str,
    pub event_types: &'static [EventType],
}

/// Every vendor.
pub const ALL: &[VendorTypes] = &[
    VendorTypes { name: "jfwms", event_types: jfwms::EVENT_TYPES },
    VendorTypes { name: "qianyi", event_types: qianyi::EVENT_TYPES },
];

/// What a caller of a URL that belongs to no account is told: JFWMS's code for an unknown
/// client, as no vendor is known to answer in the shape of.
pub const UNKNOWN_ACCOUNT_ANSWER: &str =
    r#"{"code":10008,"msg":"no such account, or a wrong path"}"#;

/// The signature form of a webhook whose signature is not checked again.
const REREAD: &str = "reread";

/// The account a user of the vendor belongs to (`None`: the webhook names no user); `None` where
/// nobody configured that user and it shall not be guessed.
pub type OwnerOf<'a> = &'a dyn Fn(Option<&str>) -> Option<AccountName>;

/// One account of a vendor: the vendor's ways with this account's keys and settings.
pub trait Vendor: Debug + Send + Sync {
    /// The vendor's name in topics, headers and replies (`jfwms`).
    fn name(&self) -> &'static str;

    // Webhooks in.

    /// Every type of webhook the vendor documents.
    fn event_types(&self) -> &'static [EventType];

    /// The forms in which the vendor may sign, in the order they are tried.
    fn signature_forms(&self) -> &'static [&'static str];

    /// Checks the frame and the signature, in constant time over the raw bytes.
    fn verify(
        &self,
        webhook: Webhook<Unverified>,
        hint: SignatureHint,
    ) -> Result<Webhook<Verified>, Refusal>;

    /// Reads the frame of a webhook whose signature was checked when it came in: `unrecognized` holds
    /// nothing else, and a signature that stood in a header or the query does not lie there with it.
    /// Never for what comes from outside.
    fn reread(&self, webhook: Webhook<Unverified>) -> Result<Webhook<Verified>, Refusal>;

    /// Reads a verified webhook into its type's record. One client of a vendor may serve several
    /// users: `owner` says whose account the webhook's user is.
    fn decode(
        &self,
        webhook: &Webhook<Verified>,
        owner: OwnerOf<'_>,
    ) -> Result<Event, Unrecognized>;

    /// The body (JSON) that tells the vendor what became of its webhook.
    fn answer(&self, answer: Answer) -> String;

    /// The body (JSON) of a webhook as the vendor would send it, signed: for trying out a running
    /// connector. Refuses what the vendor could not send.
    fn webhook_body(
        &self,
        type_name: &str,
        data: &str,
        now: jiff::Timestamp,
    ) -> Result<String, String>;

    // Commands out.

    /// Checks a command against what the vendor's documents say it will refuse, without a call.
    /// Returns the paths of the fields that the vendor has no place for and that only inform.
    fn check(&self, command: &Command) -> Result<Vec<String>, Faults>;

    /// Whether the operation takes the vendor's own number, which a look-up has to find first.
    fn needs_reference(&self, command: &Command) -> bool;

    /// The signed call of the operation. The command passed `check`.
    fn call(&self, command: &Command, attempt: &Attempt<'_>) -> PlannedCall;

    /// What the answer to that call means. Reads the body, not only the status.
    fn judge(&self, command: &Command, answer: &VendorAnswer) -> Verdict;

    /// The signed call that looks the document up by its number; `None` where the vendor gives
    /// nothing to look up by.
    fn look_up(&self, command: &Command, attempt: &Attempt<'_>) -> Option<PlannedCall>;

    /// What the answer to the look-up means for this command.
    fn judge_look_up(&self, command: &Command, answer: &VendorAnswer) -> LookUp;

    /// The vendor's ways with tokens, where it has any.
    fn tokens(&self) -> Option<&dyn TokenCalls> {
        None
    }
}

/// The calls with which a vendor gives and renews tokens.
pub trait TokenCalls: Debug + Send + Sync {
    /// The tokens the configuration itself holds, if any.
    fn configured(&self) -> Option<Tokens>;

    /// Renews the access token.
    fn refresh(&self, refresh_token: &Secret, user_id: &str) -> PlannedCall;

    /// Asks for an authorisation code with a person's one-time token.
    fn authorize(&self, email: &str, one_time_token: &Secret, domain: Option<&str>) -> PlannedCall;

    /// Reads the authorisation code.
    fn read_code(&self, answer: &VendorAnswer) -> Result<Secret, TokenRefusal>;

    /// Exchanges an authorisation code for tokens.
    fn exchange(&self, code: &Secret) -> PlannedCall;

    /// Reads tokens out of the answer to an exchange or a refresh (`previous`: the ones that were
    /// renewed).
    fn read_tokens(
        &self,
        answer: &VendorAnswer,
        now: jiff::Timestamp,
        previous: Option<&Tokens>,
    ) -> Result<Tokens, TokenRefusal>;
}
