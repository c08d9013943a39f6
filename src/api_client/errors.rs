//! What can go wrong on the way out. The variants are the decisions a caller takes.

use tokio::time::Instant;

use super::{seal::InvalidKey, token_store::StoreError};
use crate::domain::TokenRefusal;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing left: the connection never opened, or the deadline came first.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The request may have been delivered: it may have taken effect.
    #[error("the vendor's answer never came: {0}")]
    NoAnswer(String),
    /// The vendor answered with more than we read: it may have taken effect.
    #[error("the vendor's answer is larger than is read")]
    BodyTooLarge,
    /// Nothing left: the account's circuit is open, or its token is being waited for.
    #[error("the vendor does not work now; calls wait for it")]
    CircuitOpen {
        /// When to ask again.
        until: Instant,
    },
    /// Nothing left: requests are refused before they reach the vendor.
    #[error("{message}")]
    Parked {
        /// When to ask again.
        until: Instant,
        message: String,
    },
    /// Nothing left: the account has no tokens that the vendor takes.
    #[error("{message}")]
    NoTokens { message: String },
    /// Nothing left: the account is stopped until a person mends it.
    #[error("{message}")]
    Stopped { message: String },
}

/// Why the client or one of its accounts cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    #[error("the HTTP client cannot be built: {0}")]
    Client(String),
    #[error("the proxy is not a URL: write it as http://host:port")]
    Proxy,
    #[error("the base_url of account `{account}` {problem}")]
    BaseUrl { account: String, problem: InvalidBaseUrl },
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

/// What is wrong with a base URL; the URL itself may hold a password and is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBaseUrl {
    #[error("is not a URL: write it as https://host")]
    NotAUrl,
    #[error("holds more than a host and a path: leave out user, password, query and fragment")]
    TooMuch,
}

/// Why an account could not be authorised. The one-time token is spent in any case, except where
/// it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeError {
    #[error("account `{0}` is not in the configuration")]
    UnknownAccount(String),
    #[error("account `{0}` needs no authorisation: its vendor has no tokens")]
    NoTokens(String),
    #[error("nothing was sent, the one-time token may be used again: {0}")]
    NotSent(String),
    #[error(
        "{0}; the one-time token may be spent and is never sent twice: copy a new one from OMS \
         and run `wms-connector authorize` again"
    )]
    NoAnswer(String),
    #[error("{0}")]
    Refused(#[from] TokenRefusal),
    #[error("the vendor gave tokens, but they could not be stored: {0}")]
    NotStored(StoreError),
    #[error("the tokens are not asked for, since they could not be stored: {0}")]
    StoreNotReady(StoreError),
}
