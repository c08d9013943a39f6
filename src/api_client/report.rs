//! What became of a call: what its caller reports, and who listens.

use std::{fmt::Debug, time::Duration};

use crate::domain::{AccountName, LookUp, Verdict};

/// What the caller found in an answer, as far as the way out is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// In place, taken, or found.
    Succeeded,
    /// It exists already.
    AlreadyExists,
    /// Refused for good.
    Refused,
    /// Too many calls.
    Throttled {
        retry_after: Option<Duration>,
    },
    /// The vendor is not able now.
    Transient {
        retry_after: Option<Duration>,
    },
    /// The access token is refused; see [`ApiClient::renew_after_refusal`](super::ApiClient).
    SessionExpired,
    /// Our time was refused: from now on it is corrected by the measured offset.
    ClockSkew,
    NonceRepeated,
    /// From now on the nonce has two digits.
    NonceFormat,
    /// Refused before it reached the vendor, with this HTTP status.
    Blocked {
        status: u16,
    },
    /// The account is stopped, but for one call now and then that finds out if it was mended.
    Misconfigured {
        message: String,
    },
}

impl Report {
    /// What a verdict means for the way out.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Succeeded(_) | Verdict::Accepted(_) => Self::Succeeded,
            Verdict::AlreadyDone(_) | Verdict::Duplicate(_) => Self::AlreadyExists,
            Verdict::Refused { .. } => Self::Refused,
            Verdict::Throttled { retry_after, .. } => Self::Throttled { retry_after: *retry_after },
            Verdict::Transient { retry_after, .. } => Self::Transient { retry_after: *retry_after },
            Verdict::SessionExpired(_) => Self::SessionExpired,
            Verdict::ClockSkew(_) => Self::ClockSkew,
            Verdict::NonceRepeated(_) => Self::NonceRepeated,
            Verdict::NonceFormat(_) => Self::NonceFormat,
            Verdict::Blocked { status, .. } => Self::Blocked { status: *status },
            Verdict::Misconfigured(details) => {
                let code = details.vendor_code.as_deref().unwrap_or("no code");
                let text = details.vendor_message.as_deref().unwrap_or("no message");
                Self::Misconfigured {
                    message: format!(
                        "the vendor refuses this account as it is configured ({code}: {text}); \
                         mend its section of the configuration or its settings at the vendor"
                    ),
                }
            }
        }
    }

    /// What the answer to a look-up means for the way out.
    pub fn of_look_up(look_up: &LookUp) -> Self {
        match look_up {
            LookUp::Found { .. } | LookUp::NotFound { .. } | LookUp::Ambiguous(_) => {
                Self::Succeeded
            }
            LookUp::Failed(verdict) => Self::of(verdict),
        }
    }

    /// The class in the metric.
    pub fn class(&self) -> RequestClass {
        match self {
            Self::Succeeded => RequestClass::Succeeded,
            Self::AlreadyExists => RequestClass::AlreadyExists,
            Self::Refused => RequestClass::Refused,
            Self::Throttled { .. } => RequestClass::Throttled,
            Self::Transient { .. } => RequestClass::Transient,
            Self::SessionExpired => RequestClass::SessionExpired,
            Self::ClockSkew => RequestClass::ClockSkew,
            Self::NonceRepeated | Self::NonceFormat => RequestClass::Nonce,
            Self::Blocked { .. } => RequestClass::Blocked,
            Self::Misconfigured { .. } => RequestClass::Misconfigured,
        }
    }
}

/// The label `class` of `wms_vendor_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestClass {
    Succeeded,
    AlreadyExists,
    Refused,
    Throttled,
    Transient,
    SessionExpired,
    ClockSkew,
    Nonce,
    /// A proxy, firewall or gateway answered in the vendor's place.
    Blocked,
    Misconfigured,
    NotSent,
    NoAnswer,
    TooLarge,
    /// Answered, and nobody judged the answer (its command was given up meanwhile).
    Unjudged,
}

impl RequestClass {
    /// The label's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::AlreadyExists => "already-exists",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::SessionExpired => "session-expired",
            Self::ClockSkew => "clock-skew",
            Self::Nonce => "nonce",
            Self::Blocked => "blocked",
            Self::Misconfigured => "misconfigured",
            Self::NotSent => "not-sent",
            Self::NoAnswer => "no-answer",
            Self::TooLarge => "too-large",
            Self::Unjudged => "unjudged",
        }
    }
}

/// Hears of each request: `wms_vendor_requests_total` and `wms_vendor_request_seconds`.
pub trait RequestObserver: Debug + Send + Sync {
    /// One request to a vendor has ended.
    fn request(
        &self,
        account: &AccountName,
        operation: &str,
        class: RequestClass,
        elapsed: Duration,
    );
}

/// For commands of the command line that keep no metrics.
#[derive(Debug)]
pub struct Unobserved;

impl RequestObserver for Unobserved {
    fn request(&self, _: &AccountName, _: &str, _: RequestClass, _: Duration) {}
}
