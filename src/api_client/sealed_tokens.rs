//! An account's tokens as they lie in a file or a topic: sealed, as JSON. Pure: the nonce is an
//! argument.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    seal::{NONCE_BYTES, Sealed, SealingKeys},
    token_store::StoredTokens,
};
use crate::domain::AccountName;

/// A sealed record. The version lies open: it is compared without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedTokens {
    /// The record's own.
    pub version: u64,
    key: String,
    nonce: String,
    sealed: String,
}

impl SealedTokens {
    /// Seals a record with the current key. The nonce has to be random and new.
    pub fn of(
        record: &StoredTokens,
        keys: &SealingKeys,
        account: &AccountName,
        nonce: [u8; NONCE_BYTES],
    ) -> Option<Self> {
        let json = record.to_json();
        let sealed = keys.seal(account, record.version, nonce, json.expose().as_bytes())?;
        Some(Self {
            version: record.version,
            key: sealed.key_id,
            nonce: STANDARD.encode(sealed.nonce),
            sealed: STANDARD.encode(sealed.ciphertext),
        })
    }

    /// Opens it with whichever live key sealed it; says why that cannot be done.
    pub fn open(&self, keys: &SealingKeys, account: &AccountName) -> Result<StoredTokens, String> {
        let sealed = self.read().ok_or("the entry is damaged")?;
        let plain = keys.open(account, self.version, &sealed).map_err(|error| error.to_string())?;
        StoredTokens::from_json(&plain).ok_or_else(|| "its content is unknown".to_owned())
    }

    fn read(&self) -> Option<Sealed> {
        Some(Sealed {
            key_id: self.key.clone(),
            nonce: STANDARD.decode(&self.nonce).ok()?.try_into().ok()?,
            ciphertext: STANDARD.decode(&self.sealed).ok()?,
        })
    }
}
