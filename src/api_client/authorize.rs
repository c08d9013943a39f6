//! A person's authorisation: one-time token → code → tokens → store.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    errors::AuthorizeError,
    http::TransportError,
    locked,
    token_store::{StoreError, StoredTokens, TokenState},
    tokens::{Memory, TokenKeeper},
};
use crate::{
    domain::{Secret, TokenRefusal, Tokens},
    vendors::TokenCalls,
};

/// How long the tokens of a person who authorised are tried to be stored, and the pauses meanwhile.
const STORE_FOR: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

impl TokenKeeper {
    /// Exchanges a person's one-time token for tokens. It is sent once, whatever happens.
    pub(super) async fn authorize(
        self: &Arc<Self>,
        email: String,
        one_time_token: Secret,
        domain: Option<String>,
    ) -> Result<(), AuthorizeError> {
        let guard = Arc::clone(&self.flight).lock_owned().await;
        let keeper = Arc::clone(self);
        let task = self.tasks.spawn(async move {
            let _guard = guard;
            keeper.authorize_once(&email, &one_time_token, domain.as_deref()).await
        });
        task.await
            .unwrap_or_else(|_| Err(AuthorizeError::NoAnswer("the task was ended".to_owned())))
    }

    async fn authorize_once(
        &self,
        email: &str,
        one_time_token: &Secret,
        domain: Option<&str>,
    ) -> Result<(), AuthorizeError> {
        let no_tokens = || AuthorizeError::NoTokens(self.account.to_string());
        let calls = self.vendor.tokens().ok_or_else(no_tokens)?;
        // Asked first: a store that cannot be written or read would cost the person's token.
        self.store.prepare().await.map_err(AuthorizeError::StoreNotReady)?;
        let stored = self.store.load(&self.account).await;
        let stored = stored.map_err(AuthorizeError::StoreNotReady)?;

        let answer = self
            .call("authorize", calls.authorize(email, one_time_token, domain))
            .await
            .map_err(|error| match error {
            TransportError::Unsendable(why) | TransportError::NotSent(why) => {
                AuthorizeError::NotSent(why)
            }
            TransportError::NoAnswer(why) => AuthorizeError::NoAnswer(why),
            TransportError::TooLarge => {
                AuthorizeError::NoAnswer("the answer is too large".to_owned())
            }
        })?;
        let code = calls.read_code(&answer)?;
        let tokens = self.exchange_code(calls, &code).await?;

        let now = crate::clock::now();
        let of_now = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let mut known = stored.as_ref().map_or(0, |stored| stored.version);
        let mut record = StoredTokens {
            version: 0,
            state: TokenState::Settled,
            current: tokens,
            previous: stored.map(|stored| stored.current),
            obtained_at: now,
        };
        let until = Instant::now() + STORE_FOR;
        let mut pause = FIRST_PAUSE;
        loop {
            record.version = of_now.max(known + 1);
            match self.store.save(&self.account, &record).await {
                Ok(()) => break,
                // A running connector that writes in the same moment takes the transactional id
                // back. The one-time token is spent: only these tokens are worth anything now.
                Err(StoreError::Failed(why)) if Instant::now() < until => {
                    tracing::warn!(account = %self.account, %why, "the tokens are not stored yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(StoreError::Superseded) => {
                    // A running connector wrote meanwhile; a person's new tokens win.
                    let newest = self.store.load(&self.account).await;
                    let newest = newest.map_err(AuthorizeError::NotStored)?;
                    known = newest.map_or(0, |newest| newest.version);
                }
                Err(error @ (StoreError::Failed(_) | StoreError::NotLeader)) => {
                    return Err(AuthorizeError::NotStored(error));
                }
            }
        }
        *locked(&self.memory) = Memory::of(record);
        self.circuits.corrected();
        Ok(())
    }

    /// The code, unlike the person's token, may be sent again: the vendor refuses it if it is
    /// spent.
    async fn exchange_code(
        &self,
        calls: &dyn TokenCalls,
        code: &Secret,
    ) -> Result<Tokens, AuthorizeError> {
        let mut last = AuthorizeError::NoAnswer("the code was not exchanged".to_owned());
        for attempt in 0..3u32 {
            tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
            let now = crate::clock::now();
            match self.call("exchange-code", calls.exchange(code)).await {
                Ok(answer) => match calls.read_tokens(&answer, now, None) {
                    Ok(tokens) => return Ok(tokens),
                    Err(refusal @ TokenRefusal::Refused { .. }) => return Err(refusal.into()),
                    Err(TokenRefusal::Transient(why) | TokenRefusal::Unreadable(why)) => {
                        last = AuthorizeError::NoAnswer(why);
                    }
                },
                Err(
                    TransportError::Unsendable(why)
                    | TransportError::NotSent(why)
                    | TransportError::NoAnswer(why),
                ) => {
                    last = AuthorizeError::NoAnswer(why);
                }
                Err(TransportError::TooLarge) => {
                    last = AuthorizeError::NoAnswer("the answer is too large".to_owned());
                }
            }
        }
        Err(last)
    }
}
