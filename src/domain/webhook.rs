//! A webhook on its way from "somebody sent this" to "the vendor sent this".
//!
//! The typestate keeps the two apart: [`Webhook<Unverified>`] gives its content only under names
//! that begin with `unverified_`; a [`Webhook<Verified>`] comes only out of a vendor's `verify`, or of
//! its `reread` for what was verified before.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    AccountName, EventId,
    json::{self, Tape},
};

/// What arrived over HTTP, as it arrived.
pub struct Received {
    /// The configured account whose URL was called.
    pub account: AccountName,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// The fields of a form (multipart or url-encoded), if the body is one. Values byte for byte.
    pub form: Option<Vec<(String, String)>>,
    /// When the connector received it.
    pub received_at: Timestamp,
}

impl Received {
    /// The body as text. Some senders write a byte order mark in front of it.
    pub fn text(&self) -> Result<&str, Refusal> {
        let text = std::str::from_utf8(&self.body).map_err(|_| Refusal::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_ascii().is_empty() { Err(Refusal::Empty) } else { Ok(text) }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies hold names, phones and addresses; headers and query may hold the signature.
        f.debug_struct("Received")
            .field("account", &self.account)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Nobody has checked the signature yet.
#[derive(Debug)]
pub struct Unverified;

/// The signature matched.
#[derive(Debug)]
pub struct Verified {
    /// Which of the vendor's signature forms matched.
    pub form: &'static str,
    /// The webhook's type as the vendor writes it, also when it is unknown to us.
    pub type_name: String,
    /// A pure function of account, type and every member but the time and the signature.
    pub event_id: EventId,
    /// A digest of exactly what the signature covers, to notice the same content under another
    /// type.
    pub signed_digest: [u8; 16],
    /// The frame: exactly what was verified is decoded.
    pub content: Content,
}

/// A verified frame.
pub enum Content {
    /// The body is JSON, and this is where its values are.
    Json(Tape),
    /// The frame's members, texts in the order they came.
    Members(Vec<(String, String)>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json(_) => "Json",
            Self::Members(_) => "Members",
        })
    }
}

/// A webhook in state `S`.
#[derive(Debug)]
pub struct Webhook<S> {
    received: Arc<Received>,
    state: S,
}

impl Webhook<Unverified> {
    /// Takes in what arrived.
    pub fn new(received: Received) -> Self {
        Self { received: Arc::new(received), state: Unverified }
    }

    /// What arrived; nothing in it may be believed.
    pub fn unverified(&self) -> &Received {
        &self.received
    }

    /// What arrived, kept beyond the verification (a raw body goes to `unrecognized`).
    pub fn unverified_shared(&self) -> Arc<Received> {
        Arc::clone(&self.received)
    }

    /// Called by a vendor's `verify`, once the signature matched, and by its `reread`.
    pub fn verified(self, state: Verified) -> Webhook<Verified> {
        Webhook { received: self.received, state }
    }
}

impl Webhook<Verified> {
    /// What arrived, now authentic.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// What arrived, kept beyond its event (a body that the broker does not take in one record).
    pub fn received_shared(&self) -> Arc<Received> {
        Arc::clone(&self.received)
    }

    /// What the verification found out.
    pub fn state(&self) -> &Verified {
        &self.state
    }

    /// What the verification found out, without what arrived.
    pub fn into_state(self) -> Verified {
        self.state
    }

    /// The frame, where the body is JSON.
    pub fn json(&self) -> Option<json::Value<'_>> {
        match &self.state.content {
            Content::Json(tape) => self.received.text().ok().map(|body| tape.root(body)),
            Content::Members(_) => None,
        }
    }

    /// The frame's members, where the body is not simply JSON.
    pub fn members(&self) -> &[(String, String)] {
        match &self.state.content {
            Content::Json(_) => &[],
            Content::Members(members) => members,
        }
    }
}

/// Which forms of the signature are worth a try, from an account's earlier webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureHint {
    /// The forms that matched last, newest first. They are always tried: a sender of anything else
    /// cannot make an authentic webhook fail.
    pub known: [Option<&'static str>; 2],
    /// Whether the other forms are tried when none of these matches. Each costs a hash of the body.
    pub further: bool,
}

impl SignatureHint {
    /// Nothing is known yet: every form is tried.
    pub const ANY: Self = Self { known: [None; 2], further: true };
}

/// Why a webhook is not the vendor's, or not readable far enough to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the body is empty")]
    Empty,
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not JSON")]
    NotJson,
    #[error("the body is JSON, but not an object")]
    NotAnObject,
    #[error("the frame's `{0}` is missing or not what is documented")]
    NotAFrame(&'static str),
    #[error("the frame has no `data`")]
    NoData,
    #[error("the frame has two `data` members")]
    TwoData,
    #[error("the body is nested too deeply")]
    TooDeep,
    #[error("there is no signature in header, body or query")]
    NoSignature,
    #[error("the signature does not match")]
    WrongSignature,
    #[error(
        "the signature matches no form that matched before; the other forms were not tried, after \
         too many wrong signatures from this address"
    )]
    SignatureNotTried,
    #[error("the webhook is for another application id")]
    AnotherApplication,
}

/// What the sender is told. The HTTP status follows from it (see `webhooks`), the body is the
/// vendor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// In Kafka, or known to be there.
    Accepted,
    /// No such account, or a wrong path secret.
    UnknownAccount,
    NoSignature,
    WrongSignature,
    /// Not every form of the signature was tried: *not known*, send again.
    SignatureNotTried,
    /// Addressed to another application id.
    AnotherApplication,
    SourceNotAllowed,
    /// Not JSON, no `data`, two `data`.
    Malformed,
    TooLarge,
    /// A content encoding that is not read.
    UnknownEncoding,
    /// Kafka did not confirm in time, or too much is in flight: *not known*, send again.
    Unavailable,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Empty
            | Refusal::NotUtf8
            | Refusal::NotJson
            | Refusal::NotAnObject
            | Refusal::NotAFrame(_)
            | Refusal::NoData
            | Refusal::TwoData
            | Refusal::TooDeep => Self::Malformed,
            Refusal::NoSignature => Self::NoSignature,
            Refusal::WrongSignature => Self::WrongSignature,
            Refusal::SignatureNotTried => Self::SignatureNotTried,
            Refusal::AnotherApplication => Self::AnotherApplication,
        }
    }
}
