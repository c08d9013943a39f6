//! Where tokens are kept: the record, the trait, and the store that keeps them in memory.

use std::{collections::HashMap, fmt, sync::Mutex};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::locked;
use crate::domain::{AccountName, Secret, Tokens};

/// How far the renewal of an account's tokens is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenState {
    /// The current tokens may be used.
    Settled,
    /// A renewal was begun with the current refresh token; its answer has not been stored. The
    /// same refresh token is tried again.
    Refreshing,
    /// The vendor refused them for good: a person has to authorise.
    Refused,
}

/// An account's tokens as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTokens {
    /// Rises with each write; 0 was never stored. A person's authorisation takes the time, in
    /// milliseconds: it counts more than what processes remember of a store that lost its records.
    pub version: u64,
    pub state: TokenState,
    pub current: Tokens,
    /// The ones before, for the operator who has to find out what happened.
    pub previous: Option<Tokens>,
    /// When the current ones were given, on our clock.
    pub obtained_at: Timestamp,
}

impl StoredTokens {
    /// The next version of this record.
    #[must_use]
    pub fn next(&self, state: TokenState) -> Self {
        Self { version: self.version + 1, state, ..self.clone() }
    }

    /// The record as JSON, which a store seals before it writes it anywhere.
    pub(crate) fn to_json(&self) -> Secret {
        let record = Record {
            version: self.version,
            state: self.state,
            current: TokensRecord::of(&self.current),
            previous: self.previous.as_ref().map(TokensRecord::of),
            obtained_at: self.obtained_at,
        };
        // Texts, numbers and times only: there is nothing in it that JSON cannot hold.
        Secret::new(serde_json::to_string(&record).unwrap_or_default())
    }

    /// Reads what [`Self::to_json`] wrote.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let record: Record = serde_json::from_slice(json).ok()?;
        Some(Self {
            version: record.version,
            state: record.state,
            current: record.current.read(),
            previous: record.previous.map(TokensRecord::read),
            obtained_at: record.obtained_at,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u64,
    state: TokenState,
    current: TokensRecord,
    previous: Option<TokensRecord>,
    obtained_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TokensRecord {
    access_token: String,
    user_id: String,
    expires_at: Option<Timestamp>,
    refresh_token: Option<String>,
    refresh_expires_at: Option<Timestamp>,
}

impl TokensRecord {
    fn of(tokens: &Tokens) -> Self {
        Self {
            access_token: tokens.access_token.expose().to_owned(),
            user_id: tokens.user_id.clone(),
            expires_at: tokens.expires_at,
            refresh_token: tokens.refresh_token.as_ref().map(|token| token.expose().to_owned()),
            refresh_expires_at: tokens.refresh_expires_at,
        }
    }

    fn read(self) -> Tokens {
        Tokens {
            access_token: Secret::new(self.access_token),
            user_id: self.user_id,
            expires_at: self.expires_at,
            refresh_token: self.refresh_token.map(Secret::new),
            refresh_expires_at: self.refresh_expires_at,
        }
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has stored something since: read it, and use that instead.
    #[error("the stored tokens are newer than the ones to be written")]
    Superseded,
    /// Another process renews the tokens.
    #[error("another process renews the tokens")]
    NotLeader,
    /// The store cannot be reached, read or written.
    #[error("{0}")]
    Failed(String),
}

/// Keeps one record an account.
pub trait TokenStore: fmt::Debug + Send + Sync {
    /// The newest record.
    fn load<'a>(
        &'a self,
        account: &'a AccountName,
    ) -> BoxFuture<'a, Result<Option<StoredTokens>, StoreError>>;

    /// Writes a record durably, if the stored one is of a lower version (or there is none): two
    /// renewals must never overwrite each other. See `may_follow`.
    fn save<'a>(
        &'a self,
        account: &'a AccountName,
        record: &'a StoredTokens,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Makes sure that a record could be written now: before a token is spent whose fruit has to
    /// be kept.
    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Asks the process that renews the tokens for a renewal of those in `record`, which the
    /// vendor does not take any more.
    fn ask<'a>(
        &'a self,
        _account: &'a AccountName,
        _record: &'a StoredTokens,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether another process asked for a renewal of exactly the tokens in `record`, and this one
    /// is to do it.
    fn is_asked(&self, _account: &AccountName, _record: &StoredTokens) -> bool {
        false
    }

    /// Returns when something may have changed that other processes write; at the latest never.
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Ends what the store does beside being asked. Others take over at once.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Keeps tokens as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryTokenStore {
    records: Mutex<HashMap<AccountName, StoredTokens>>,
}

impl TokenStore for MemoryTokenStore {
    fn load<'a>(
        &'a self,
        account: &'a AccountName,
    ) -> BoxFuture<'a, Result<Option<StoredTokens>, StoreError>> {
        let record = locked(&self.records).get(account).cloned();
        Box::pin(std::future::ready(Ok(record)))
    }

    fn save<'a>(
        &'a self,
        account: &'a AccountName,
        record: &'a StoredTokens,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut records = locked(&self.records);
        let stored = records.get(account).map(|stored| stored.version);
        let result = may_follow(stored, record.version);
        if result.is_ok() {
            records.insert(account.clone(), record.clone());
        }
        drop(records);
        Box::pin(std::future::ready(result))
    }
}

/// Whether a record of this version may replace the stored one. Who writes has read what it follows:
/// if anything was written since, its version is not above that. A gap is none of the writer's fault:
/// the topic's log was cut off, and the tokens of the writer are the newest that are left.
pub fn may_follow(stored: Option<u64>, version: u64) -> Result<(), StoreError> {
    match stored {
        Some(stored) if version <= stored => Err(StoreError::Superseded),
        Some(_) | None => Ok(()),
    }
}
