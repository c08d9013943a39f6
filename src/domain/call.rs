//! A call to a vendor as a value: planned here, sent by `api_client`, judged by the vendor.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::{ReplyCategory, Tokens};

/// What changes from one attempt of a call to the next. Pure code takes all of it as arguments.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// The present moment on the vendor's clock (ours, corrected by the measured offset).
    pub now: Timestamp,
    /// A random number, fresh for each attempt; the vendor takes as many digits as it wants.
    pub nonce: u64,
    /// How many digits of the nonce are sent (`nonce_digits`; 2 after a 10024).
    pub nonce_digits: u32,
    /// The account's tokens, where the vendor has any.
    pub tokens: Option<&'a Tokens>,
    /// The vendor's own number of the document, found by a look-up before.
    pub vendor_reference: Option<&'a str>,
}

/// The method of a planned call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// The body of a planned call: the literal bytes that were signed.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    Empty,
    Json(String),
    /// `multipart/form-data`, UTF-8.
    Multipart(Vec<(&'static str, String)>),
}

/// A signed call, ready to be sent to the account's `base_url`.
#[derive(Clone, PartialEq, Eq)]
pub struct PlannedCall {
    pub method: Method,
    /// The path below `base_url`, beginning with `/`.
    pub path: String,
    /// Query parameters; they may hold secrets and are never printed.
    pub query: Vec<(&'static str, String)>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Json(_) => "Json(***)",
            Self::Multipart(_) => "Multipart(***)",
        })
    }
}

impl fmt::Debug for PlannedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers, query and body hold tokens, signatures, names and addresses.
        f.debug_struct("PlannedCall")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What a vendor answered.
#[derive(Clone)]
pub struct VendorAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, as a time from now.
    pub retry_after: Option<Duration>,
    /// The vendor's clock, from the `Date` header.
    pub date: Option<Timestamp>,
    /// `Content-Type`, as it was sent.
    pub content_type: Option<String>,
    /// Decompressed.
    pub body: Vec<u8>,
}

impl VendorAnswer {
    /// The body as text. Some servers begin it with a byte order mark, which is no JSON.
    pub fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.body).ok()?;
        Some(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// Why a body that is not the vendor's answer cannot be read as one; nothing of it is repeated.
    pub fn unreadable(&self, vendor: &str) -> String {
        let content_type: String = match &self.content_type {
            Some(text) => text.chars().filter(|c| !c.is_control()).take(64).collect(),
            None => "none".to_owned(),
        };
        let reason = match self.text().map(str::trim_start) {
            _ if self.body.is_empty() => "the body is empty",
            None => "the body is not UTF-8",
            Some(text) if text.starts_with('<') => "the body is HTML or XML",
            Some(text) if !text.starts_with('{') => "the body is no JSON object",
            Some(_) => "the body is no whole JSON object of its kind",
        };
        let status = self.status;
        format!("HTTP {status}, content type {content_type}, without {vendor}'s answer: {reason}")
    }
}

impl fmt::Debug for VendorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VendorAnswer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// The connection never opened: nothing can have taken effect.
    #[error("no connection to the vendor: {0}")]
    NotSent(String),
    /// The request left, its answer never came: it may have taken effect.
    #[error("the vendor's answer never came: {0}")]
    NoAnswer(String),
}

/// What is wrong with a command, found before any call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The command's field as a path (`lines[2].quantity`).
    pub field: Option<String>,
    /// One sentence that says what is wrong and how to mend it.
    pub message: String,
}

impl Invalid {
    /// A command whose `field` is wrong.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: Some(field.into()), message: message.into() }
    }
}

/// Everything that is wrong with a command, in the order in which it was found: a sender mends it all at
/// once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first}")]
pub struct Faults {
    pub first: Invalid,
    pub further: Vec<Invalid>,
    /// So many more were found.
    pub left_out: usize,
}

impl Faults {
    /// So many are listed: ten thousand lines can have one each.
    pub const MOST: usize = 100;

    pub fn all(&self) -> impl Iterator<Item = &Invalid> {
        std::iter::once(&self.first).chain(&self.further)
    }
}

impl From<Invalid> for Faults {
    fn from(first: Invalid) -> Self {
        Self { first, further: Vec::new(), left_out: 0 }
    }
}

/// Collects what is wrong with a command.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    faults: Option<Faults>,
}

impl Findings {
    /// Notes what one check found.
    pub fn note(&mut self, checked: Result<(), Invalid>) {
        if let Err(invalid) = checked {
            self.add(invalid);
        }
    }

    pub fn add(&mut self, invalid: Invalid) {
        match &mut self.faults {
            None => self.faults = Some(invalid.into()),
            Some(faults) if faults.further.len() + 1 < Faults::MOST => faults.further.push(invalid),
            Some(faults) => faults.left_out += 1,
        }
    }

    /// Notes what another look found.
    pub fn join(&mut self, faults: Faults) {
        self.add(faults.first);
        faults.further.into_iter().for_each(|invalid| self.add(invalid));
        if let Some(all) = &mut self.faults {
            all.left_out += faults.left_out;
        }
    }

    /// The value, if nothing was found.
    pub fn or<T>(self, value: T) -> Result<T, Faults> {
        self.faults.map_or(Ok(value), Err)
    }
}

/// What a vendor said about one call, for the reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The vendor's code, as it gave it.
    pub vendor_code: Option<String>,
    /// The vendor's message, as it gave it.
    pub vendor_message: Option<String>,
    /// The vendor's id of this request.
    pub vendor_request_id: Option<String>,
    /// The vendor's own number of the document.
    pub vendor_reference: Option<String>,
    /// The vendor's data, JSON text.
    pub result: Option<String>,
    /// The command's field the refusal is about, where the vendor's code says which.
    pub field: Option<&'static str>,
}

/// Whether a failed call may have done its work all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Surely nothing happened.
    None,
    /// It may have happened: look before sending again.
    Possible,
}

/// What a vendor's answer to an operation means. The variants are the decisions a caller takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is in place.
    Succeeded(Details),
    /// The vendor took it, the outcome comes as an event.
    Accepted(Details),
    /// It was in place already, and the vendor says so without a doubt (an order cancelled
    /// before).
    AlreadyDone(Details),
    /// The document's number is taken: look it up and compare.
    Duplicate(Details),
    /// Refused for good.
    Refused { category: ReplyCategory, details: Details },
    /// Too many calls: wait, nothing took effect.
    Throttled { retry_after: Option<Duration>, details: Details },
    /// The vendor is not able now.
    Transient { effect: Effect, retry_after: Option<Duration>, details: Details },
    /// The access token is refused: renew it, then send again.
    SessionExpired(Details),
    /// Our time is too far from the vendor's: correct it, then send again.
    ClockSkew(Details),
    /// The nonce was seen before: send again with a new one.
    NonceRepeated(Details),
    /// The nonce has too many digits: send again with two.
    NonceFormat(Details),
    /// Refused with this HTTP status (300 to 499) by something before the vendor: a proxy, a
    /// firewall, a gateway. Nothing took effect; it is this request's fault until different
    /// commands in a row meet it.
    Blocked { status: u16, details: Details },
    /// The account cannot work as it is configured: stop this account, loudly.
    Misconfigured(Details),
}

/// What a look-up by the document's number found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUp {
    Found {
        details: Details,
        /// What the vendor returns differently from what was asked, one text each
        /// (`platformOrderNumber: asked "A", found "B"`).
        differences: Vec<String>,
        /// The names of the command's fields that could be compared.
        compared: Vec<&'static str>,
        /// Whether the document stands cancelled or closed.
        cancelled: bool,
    },
    /// Not there; or not there *yet*, where the vendor may still be working.
    NotFound { vendor_may_be_working: bool },
    /// More than one document answers to the number.
    Ambiguous(Details),
    /// The look-up itself was refused or failed.
    Failed(Verdict),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_says_why() {
        let unreadable = |content_type: Option<&str>, body: &[u8]| {
            let content_type = content_type.map(str::to_owned);
            let body = body.to_vec();
            VendorAnswer { status: 200, retry_after: None, date: None, content_type, body }
                .unreadable("JFWMS")
        };
        for (body, reason) in [
            (&b""[..], "empty"),
            (b"\xff\xfe", "not UTF-8"),
            (b"\n<html>secret</html>", "HTML"),
            (b"secret", "no JSON object"),
            (b"[1]", "no JSON object"),
            (b"{\"code\":", "no whole JSON object"),
        ] {
            let told = unreadable(Some("text/html;charset=utf-8"), body);
            assert!(told.contains(reason) && !told.contains("secret"), "{told}");
            assert!(told.starts_with("HTTP 200, content type text/html;charset=utf-8, "), "{told}");
        }
        assert!(unreadable(None, b"").contains("content type none"));
        assert!(unreadable(Some(&"x".repeat(1_000)), b"").len() < 200);
    }
}
