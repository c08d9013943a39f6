//! The tokens with which an account calls its vendor.

use jiff::Timestamp;

use super::Secret;

/// An access token with what is needed to renew it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Sent and signed with every business call.
    pub access_token: Secret,
    /// The vendor's user the token stands for; sent and signed too.
    pub user_id: String,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// Renews the access token.
    pub refresh_token: Option<Secret>,
    /// When the refresh token ends, after which a person has to authorise again.
    pub refresh_expires_at: Option<Timestamp>,
}

/// Why a vendor gave no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// The refresh token or code is refused for good: a person has to authorise again.
    #[error("the vendor refused with code {code}: {message}; run `wms-connector authorize`")]
    Refused { code: String, message: String },
    /// The vendor could not answer now.
    #[error("the vendor could not answer now: {0}")]
    Transient(String),
    /// The answer could not be understood.
    #[error("the vendor's answer holds no tokens: {0}")]
    Unreadable(String),
}
