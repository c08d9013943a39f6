//! Sealing what must not lie about in the open: AES-256-GCM with two live keys. Pure: the nonce
//! is an argument.
//!
//! Account and version are associated data, so that a sealed record can neither be moved to
//! another account nor be passed off as a newer version of itself.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::domain::{AccountName, Secret};

/// The length of the nonce that [`SealingKeys::seal`] takes.
pub const NONCE_BYTES: usize = 12;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{setting}` is not a 32-byte key: give it as 44 characters of base64 or 64 of hex \
     (`openssl rand -base64 32` makes one)"
)]
pub struct InvalidKey {
    /// The setting that holds it (`tokens.key`).
    pub setting: &'static str,
}

/// Why a sealed record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(
        "it was sealed with a key that is neither `tokens.key` nor `tokens.previous_key`; \
         configure that key as `tokens.previous_key`, or authorise again"
    )]
    UnknownKey,
    #[error(
        "it was changed after it was sealed, or belongs to another account or version; authorise \
         again"
    )]
    Forged,
}

#[derive(Clone)]
struct Key {
    cipher: Aes256Gcm,
    id: String,
}

impl Key {
    fn read(text: &Secret, setting: &'static str) -> Result<Self, InvalidKey> {
        let text = text.expose().trim();
        let bytes = hex::decode(text).or_else(|_| STANDARD.decode(text));
        let bytes = bytes.map_err(|_| InvalidKey { setting })?;
        let cipher = Aes256Gcm::new_from_slice(&bytes).map_err(|_| InvalidKey { setting })?;
        // Tells the two live keys apart without saying anything about either.
        let digest = Sha256::new().chain_update(b"wms-connector key id\0").chain_update(&bytes);
        let id = hex::encode(digest.finalize().get(..6).unwrap_or_default());
        Ok(Self { cipher, id })
    }
}

/// The key that seals and the one before it, which still opens.
#[derive(Clone)]
pub struct SealingKeys {
    current: Key,
    previous: Option<Key>,
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKeys(***)")
    }
}

/// A sealed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key sealed it.
    pub key_id: String,
    pub nonce: [u8; NONCE_BYTES],
    pub ciphertext: Vec<u8>,
}

impl SealingKeys {
    /// Reads `tokens.key` and `tokens.previous_key`.
    pub fn new(key: &Secret, previous: Option<&Secret>) -> Result<Self, InvalidKey> {
        let previous = previous.map(|key| Key::read(key, "tokens.previous_key")).transpose()?;
        Ok(Self { current: Key::read(key, "tokens.key")?, previous })
    }

    /// Seals with the current key. The nonce has to be random and new.
    pub fn seal(
        &self,
        account: &AccountName,
        version: u64,
        nonce: [u8; NONCE_BYTES],
        plain: &[u8],
    ) -> Option<Sealed> {
        let aad = associated_data(account, version);
        let payload = Payload { msg: plain, aad: &aad };
        // Fails only beyond 64 GiB.
        let ciphertext = self.current.cipher.encrypt(&nonce.into(), payload).ok()?;
        Some(Sealed { key_id: self.current.id.clone(), nonce, ciphertext })
    }

    /// Opens with whichever live key sealed it.
    pub fn open(
        &self,
        account: &AccountName,
        version: u64,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, OpenError> {
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id == sealed.key_id)
            .ok_or(OpenError::UnknownKey)?;
        let aad = associated_data(account, version);
        let payload = Payload { msg: &sealed.ciphertext, aad: &aad };
        key.cipher.decrypt(&sealed.nonce.into(), payload).map_err(|_| OpenError::Forged)
    }
}

fn associated_data(account: &AccountName, version: u64) -> Vec<u8> {
    // An account's name holds no NUL, so the two cannot be confused.
    format!("wms-connector tokens\0{account}\0{version}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Secret {
        Secret::new(STANDARD.encode([byte; 32]))
    }

    fn account(name: &str) -> AccountName {
        AccountName::new(name).unwrap()
    }

    #[test]
    fn it_opens_only_as_it_was_sealed() {
        let keys = SealingKeys::new(&key(1), None).unwrap();
        let sealed = keys.seal(&account("a"), 3, [7; NONCE_BYTES], b"tokens").unwrap();
        assert_eq!(keys.open(&account("a"), 3, &sealed).unwrap(), b"tokens");
        assert_eq!(keys.open(&account("b"), 3, &sealed), Err(OpenError::Forged));
        assert_eq!(keys.open(&account("a"), 4, &sealed), Err(OpenError::Forged));
        for index in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[index] ^= 1;
            assert_eq!(keys.open(&account("a"), 3, &changed), Err(OpenError::Forged));
        }
    }

    #[test]
    fn the_previous_key_opens_and_the_current_one_seals() {
        let before = SealingKeys::new(&key(1), None).unwrap();
        let after = SealingKeys::new(&key(2), Some(&key(1))).unwrap();
        let old = before.seal(&account("a"), 1, [0; NONCE_BYTES], b"x").unwrap();
        assert_eq!(after.open(&account("a"), 1, &old).unwrap(), b"x");
        let new = after.seal(&account("a"), 2, [1; NONCE_BYTES], b"y").unwrap();
        assert_eq!(before.open(&account("a"), 2, &new), Err(OpenError::UnknownKey));
        let done = SealingKeys::new(&key(2), None).unwrap();
        assert_eq!(done.open(&account("a"), 2, &new).unwrap(), b"y");
        assert_eq!(done.open(&account("a"), 1, &old), Err(OpenError::UnknownKey));
    }

    #[test]
    fn a_key_has_32_bytes_and_is_never_shown() {
        assert!(SealingKeys::new(&Secret::new("11".repeat(32)), None).is_ok());
        for wrong in ["", "short", &"11".repeat(31), &STANDARD.encode([1; 33])] {
            let error = SealingKeys::new(&Secret::new(wrong), None).unwrap_err();
            assert_eq!(error.setting, "tokens.key");
            assert!(wrong.is_empty() || !error.to_string().contains(wrong));
        }
        let keys = SealingKeys::new(&key(1), Some(&key(2))).unwrap();
        assert_eq!(format!("{keys:?}"), "SealingKeys(***)");
    }
}
