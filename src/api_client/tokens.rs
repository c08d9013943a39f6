//! The tokens of one account: which may be used, and when they are renewed.
//!
//! A renewal runs as a task of its own, one at a time an account: if the command that asked for
//! it is given up, the vendor's answer, which may hold the only refresh token that still works,
//! is stored all the same. Its order is: write *refreshing* → call → write new and previous → use.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{
    account::SharedCircuits,
    errors::SendError,
    http::{BaseUrl, Transport, TransportError},
    locked,
    report::{RequestClass, RequestObserver},
    token_need::{Need, TokenStatus, need, same},
    token_store::{StoreError, StoredTokens, TokenState, TokenStore},
};
use crate::{
    domain::{AccountName, PlannedCall, Secret, TokenRefusal, Tokens, VendorAnswer},
    vendors::{TokenCalls, Vendor},
};

/// The store is asked again for tokens that somebody else may have put there after this long.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Renewals of an account are at least this far apart: a vendor that refuses each new token at
/// once must not be flooded with renewals.
const APART: Duration = Duration::from_secs(1);

/// The longest wait between two tries of a renewal that cannot be done now.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How long a process waits for the one that renews the tokens, before its commands wait.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks meanwhile, where nothing tells it to; and how long after it was told.
const LOOK_FOR_LEADER: Duration = Duration::from_secs(1);
const SETTLING: Duration = Duration::from_millis(50);

/// What a keeper works with.
#[derive(Debug)]
pub(super) struct TokenKeeper {
    pub account: AccountName,
    pub vendor: Arc<dyn Vendor>,
    pub base: BaseUrl,
    pub transport: Arc<Transport>,
    pub call_timeout: Duration,
    pub circuits: Arc<SharedCircuits>,
    pub store: Arc<dyn TokenStore>,
    pub observer: Arc<dyn RequestObserver>,
    pub tasks: TaskTracker,
    pub memory: std::sync::Mutex<Memory>,
    /// Held while tokens are read from the store, renewed or asked for.
    pub flight: Arc<tokio::sync::Mutex<()>>,
}

/// What the keeper knows without asking anybody.
#[derive(Debug, Default)]
pub(super) struct Memory {
    record: Option<StoredTokens>,
    /// The record is newer than the store: it could not be written.
    unsaved: bool,
    looked_at: Option<Instant>,
    renewed_at: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
    /// Why the last renewal could not be done, for whoever asks.
    trouble: Option<String>,
    /// The access token whose renewal another process was asked for.
    asked: Option<Secret>,
    /// The access token that the vendor refused last: no call goes out with it again.
    refused: Option<Secret>,
}

impl Memory {
    /// What was just stored.
    pub(super) fn of(record: StoredTokens) -> Self {
        Self { record: Some(record), looked_at: Some(Instant::now()), ..Self::default() }
    }
}

/// Why somebody came for tokens.
#[derive(Debug, Clone)]
enum Reason {
    Use,
    Early,
    /// The vendor refused this access token.
    Refused(Secret),
}

impl TokenKeeper {
    fn calls(&self) -> Result<&dyn TokenCalls, SendError> {
        self.vendor.tokens().ok_or_else(|| SendError::NoTokens {
            message: format!("the vendor of account `{}` has no tokens", self.account),
        })
    }

    /// Tokens for a call that begins now.
    pub(super) async fn usable(self: &Arc<Self>) -> Result<Tokens, SendError> {
        let (record, stale, refused) = {
            let memory = locked(&self.memory);
            let looked = memory.looked_at;
            let stale = looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
            (memory.record.clone(), stale, memory.refused.clone())
        };
        // Until it is renewed a call with it would be refused again, and count as an attempt.
        if let (Some(record), Some(refused)) = (&record, refused)
            && record.current.access_token == refused
            && record.current.refresh_token.is_some()
            && record.state != TokenState::Refused
        {
            return self.fly(Reason::Refused(refused)).await;
        }
        match (need(record.as_ref(), crate::clock::now()), record) {
            (Need::Nothing, Some(record)) => Ok(record.current),
            (Need::Early, Some(record)) => {
                // The old one still works: this call does not wait.
                if let Ok(guard) = Arc::clone(&self.flight).try_lock_owned() {
                    let keeper = Arc::clone(self);
                    self.tasks.spawn(async move {
                        let _guard = guard;
                        // Its failure is logged there, and the old token is still in use.
                        keeper.settle(Reason::Early).await.ok();
                    });
                }
                Ok(record.current)
            }
            (Need::Person, record) if !stale => Err(self.person_needed(record.as_ref())),
            (Need::Nothing | Need::Early | Need::Now | Need::Person, _) => {
                self.fly(Reason::Use).await
            }
        }
    }

    /// The vendor refused `used`: renews it, unless that was done already.
    pub(super) async fn renew(self: &Arc<Self>, used: &Tokens) -> Result<(), SendError> {
        locked(&self.memory).refused = Some(used.access_token.clone());
        let reason = Reason::Refused(used.access_token.clone());
        self.fly(reason).await.map(|_| ())
    }

    async fn fly(self: &Arc<Self>, reason: Reason) -> Result<Tokens, SendError> {
        let guard = Arc::clone(&self.flight).lock_owned().await;
        let keeper = Arc::clone(self);
        let task = self.tasks.spawn(async move {
            let _guard = guard;
            keeper.settle(reason).await
        });
        match task.await {
            Ok(result) => result,
            Err(_) => Err(SendError::NotSent("the token's renewal was ended".to_owned())),
        }
    }

    /// Brings the tokens into order. Runs once at a time.
    async fn settle(&self, reason: Reason) -> Result<Tokens, SendError> {
        if self.must_look(&reason) {
            self.look().await?;
        }
        self.save_unsaved().await;
        // Each round after the first follows a newer record of somebody else.
        for _ in 0..4 {
            let (record, not_before) = {
                let memory = locked(&self.memory);
                (memory.record.clone(), memory.not_before)
            };
            let need = need(record.as_ref(), crate::clock::now());
            let Some(record) = record else { return Err(self.person_needed(None)) };
            match (&reason, need) {
                (_, Need::Person) => return Err(self.person_needed(Some(&record))),
                (Reason::Refused(used), _) if *used == record.current.access_token => {
                    if record.current.refresh_token.is_none() {
                        return Err(self.refused(&record, "nothing renews them").await);
                    }
                }
                (Reason::Refused(_), Need::Nothing | Need::Early)
                | (Reason::Use, Need::Nothing | Need::Early)
                | (Reason::Early, Need::Nothing) => return Ok(record.current),
                (Reason::Refused(_) | Reason::Use, Need::Now)
                | (Reason::Early, Need::Early | Need::Now) => {}
            }
            if let Some(until) = not_before.filter(|until| Instant::now() < *until) {
                return Err(SendError::CircuitOpen { until });
            }
            if let Some(tokens) = self.refresh(record, &reason).await? {
                return Ok(tokens);
            }
        }
        Err(self.not_now("others keep writing newer tokens", false))
    }

    fn must_look(&self, reason: &Reason) -> bool {
        let memory = locked(&self.memory);
        match (&memory.record, memory.looked_at) {
            (_, None) => true,
            (Some(record), Some(_)) if record.state != TokenState::Refused => {
                // The refused token may be old news: somebody else may have renewed it.
                matches!(reason, Reason::Refused(used) if *used == record.current.access_token)
                    && !memory.unsaved
            }
            (Some(_) | None, Some(at)) => at.elapsed() >= LOOK_AGAIN,
        }
    }

    /// Reads the store; the configuration's own tokens are used while it holds nothing newer.
    async fn look(&self) -> Result<(), SendError> {
        let stored = match self.store.load(&self.account).await {
            Ok(stored) => stored,
            Err(error) => return Err(self.not_now(&error.to_string(), false)),
        };
        let configured = self.calls()?.configured();
        let now = crate::clock::now();
        let mut memory = locked(&self.memory);
        memory.looked_at = Some(Instant::now());
        let record = match (stored, configured) {
            (Some(stored), Some(configured)) if stored.state == TokenState::Refused => {
                let known = [Some(&stored.current), stored.previous.as_ref()];
                if known.into_iter().flatten().any(|known| same(known, &configured)) {
                    Some(stored)
                } else {
                    // A person put new ones into the configuration since.
                    Some(StoredTokens {
                        current: configured,
                        previous: Some(stored.current),
                        state: TokenState::Settled,
                        obtained_at: now,
                        version: stored.version,
                    })
                }
            }
            (Some(stored), _) => Some(stored),
            (None, Some(configured)) => Some(StoredTokens {
                version: 0,
                state: TokenState::Settled,
                current: configured,
                previous: None,
                obtained_at: now,
            }),
            (None, None) => None,
        };
        let version = memory.record.as_ref().map(|known| known.version);
        let newer = match (&record, version) {
            (Some(record), Some(known)) => record.version > known,
            (Some(_), None) => true,
            (None, _) => false,
        };
        // A refused record is replaced by the configuration's without a new version.
        let mended = memory.record.as_ref().is_some_and(|known| known.state == TokenState::Refused)
            && record.as_ref().is_some_and(|record| record.state != TokenState::Refused);
        if newer || mended {
            memory.record = record;
            memory.unsaved = false;
            memory.not_before = None;
            memory.failures = 0;
        }
        Ok(())
    }

    async fn save_unsaved(&self) {
        let record = {
            let memory = locked(&self.memory);
            memory.record.clone().filter(|_| memory.unsaved)
        };
        if let Some(record) = record
            && self.store.save(&self.account, &record).await.is_ok()
        {
            locked(&self.memory).unsaved = false;
        }
    }

    /// One renewal. `None`: somebody else stored newer tokens meanwhile, which are in memory now.
    async fn refresh(
        &self,
        record: StoredTokens,
        reason: &Reason,
    ) -> Result<Option<Tokens>, SendError> {
        let Some(refresh_token) = record.current.refresh_token.clone() else {
            return Err(self.refused(&record, "nothing renews them").await);
        };
        let apart = locked(&self.memory).renewed_at.map(|at| at + APART);
        if let Some(at) = apart {
            tokio::time::sleep_until(at).await;
        }
        let begun = record.next(TokenState::Refreshing);
        match self.store.save(&self.account, &begun).await {
            Ok(()) => {}
            Err(StoreError::NotLeader) => return self.wait_for_leader(&record, reason).await,
            Err(StoreError::Superseded) => return self.look().await.map(|()| None),
            Err(error @ StoreError::Failed(_)) => {
                // Nothing is renewed that could not be kept: the vendor may give each refresh
                // token once.
                return Err(self.not_now(&error.to_string(), false));
            }
        }
        locked(&self.memory).record = Some(begun.clone());

        let call = self.calls()?.refresh(&refresh_token, &begun.current.user_id);
        let now = crate::clock::now();
        let refusal = match self.call("refresh-token", call).await {
            Ok(answer) => match self.calls()?.read_tokens(&answer, now, Some(&begun.current)) {
                Ok(tokens) => return self.adopt(&begun, tokens, now).await,
                Err(refusal) => refusal,
            },
            Err(TransportError::Unsendable(why)) => return Err(self.not_now(&why, false)),
            Err(TransportError::NotSent(why) | TransportError::NoAnswer(why)) => {
                return Err(self.not_now(&why, true));
            }
            Err(TransportError::TooLarge) => {
                return Err(self.not_now("the answer is too large", true));
            }
        };
        match refusal {
            TokenRefusal::Transient(why) | TokenRefusal::Unreadable(why) => {
                Err(self.not_now(&why, true))
            }
            TokenRefusal::Refused { code, message } => {
                let why = format!("code {code}: {message}");
                // Somebody else may have renewed it in the same moment.
                self.look().await?;
                let newest = locked(&self.memory).record.clone();
                match newest {
                    Some(newest) if newest.version > begun.version => Ok(None),
                    Some(_) | None => Err(self.refused(&begun, &why).await),
                }
            }
        }
    }

    /// Another process renews the tokens. Where they cannot be used any more it is asked once for
    /// each token, and waited for. `None`: there are newer ones, which are in memory now.
    async fn wait_for_leader(
        &self,
        record: &StoredTokens,
        reason: &Reason,
    ) -> Result<Option<Tokens>, SendError> {
        let newer = || {
            let memory = locked(&self.memory);
            let newest = memory.record.as_ref().map(|newest| &newest.current.access_token);
            newest.is_some_and(|token| *token != record.current.access_token)
        };
        self.look().await?;
        if newer() {
            return Ok(None);
        }
        match reason {
            // They still work, and the leader renews them early too.
            Reason::Early => return Ok(Some(record.current.clone())),
            Reason::Use | Reason::Refused(_) => {}
        }
        let token = &record.current.access_token;
        let first = locked(&self.memory).asked.replace(token.clone()).as_ref() != Some(token);
        if first && let Err(error) = self.store.ask(&self.account, record).await {
            locked(&self.memory).asked = None;
            return Err(self.not_now(&error.to_string(), false));
        }
        let deadline = Instant::now() + LEADER_PATIENCE;
        while Instant::now() < deadline {
            let changed = tokio::time::timeout(LOOK_FOR_LEADER, self.store.changed()).await;
            if changed.is_ok() {
                // Others' accounts change it as well.
                tokio::time::sleep(SETTLING).await;
            }
            self.look().await?;
            let state = locked(&self.memory).record.as_ref().map(|newest| newest.state);
            if newer() || state == Some(TokenState::Refused) {
                return Ok(None);
            }
        }
        Err(self.not_now("the process that renews tokens has not done so yet", false))
    }

    /// Renews the tokens that another process found refused, where this one is to renew them.
    pub(super) async fn heed(self: &Arc<Self>) {
        let record = locked(&self.memory).record.clone();
        let Some(record) = record.filter(|record| record.state != TokenState::Refused) else {
            return;
        };
        if self.store.is_asked(&self.account, &record) {
            // What is wrong is logged there.
            self.renew(&record.current).await.ok();
        }
    }

    /// New tokens came: they are stored, then used.
    async fn adopt(
        &self,
        begun: &StoredTokens,
        tokens: Tokens,
        now: Timestamp,
    ) -> Result<Option<Tokens>, SendError> {
        let record = StoredTokens {
            current: tokens.clone(),
            previous: Some(begun.current.clone()),
            obtained_at: now,
            ..begun.next(TokenState::Settled)
        };
        let unsaved = match self.store.save(&self.account, &record).await {
            Ok(()) => false,
            // Ours came late: what is stored is what the others use.
            Err(StoreError::Superseded) => return self.look().await.map(|()| None),
            Err(error @ (StoreError::Failed(_) | StoreError::NotLeader)) => {
                let why = error.to_string();
                tracing::error!(
                    account = %self.account,
                    "the renewed tokens could not be stored; they are used, and storing them is \
                     tried again: {why}"
                );
                true
            }
        };
        let mut memory = locked(&self.memory);
        memory.record = Some(record);
        memory.unsaved = unsaved;
        memory.renewed_at = Some(Instant::now());
        memory.failures = 0;
        memory.not_before = None;
        drop(memory);
        tracing::info!(account = %self.account, "tokens renewed");
        Ok(Some(tokens))
    }

    /// The vendor refused the tokens for good.
    async fn refused(&self, record: &StoredTokens, why: &str) -> SendError {
        let refused = record.next(TokenState::Refused);
        if let Err(error) = self.store.save(&self.account, &refused).await {
            tracing::warn!(account = %self.account, "the refusal could not be stored: {error}");
        }
        let error = self.person_needed(Some(&refused));
        tracing::error!(account = %self.account, "{error} ({why})");
        locked(&self.memory).record = Some(refused);
        error
    }

    fn person_needed(&self, record: Option<&StoredTokens>) -> SendError {
        let account = &self.account;
        match record {
            Some(_) => SendError::Stopped {
                message: format!(
                    "the vendor refused the tokens of account `{account}`; run `wms-connector \
                     authorize --account {account}`, or give it new ones in the configuration"
                ),
            },
            None => SendError::NoTokens {
                message: format!(
                    "account `{account}` has no tokens; run `wms-connector authorize --account \
                     {account}`, or give it `access_token` and `user_id`, or a `refresh_token`"
                ),
            },
        }
    }

    /// The renewal cannot be done now; `circuit`: because the vendor does not answer it.
    fn not_now(&self, why: &str, circuit: bool) -> SendError {
        let mut memory = locked(&self.memory);
        let backoff = Duration::from_secs(1 << memory.failures.min(6)).min(LONGEST_BACKOFF);
        let until = Instant::now() + backoff;
        memory.failures = memory.failures.saturating_add(1);
        memory.not_before = Some(until);
        memory.trouble = Some(why.to_owned());
        drop(memory);
        tracing::warn!(account = %self.account, "tokens not renewed, tried again later: {why}");
        if circuit {
            self.circuits.failed_beside();
        }
        SendError::CircuitOpen { until }
    }

    /// One call about tokens.
    pub(super) async fn call(
        &self,
        operation: &str,
        call: PlannedCall,
    ) -> Result<VendorAnswer, TransportError> {
        let begun = Instant::now();
        let result = self.transport.exchange(&self.base, call, self.call_timeout).await;
        let class = match &result {
            Ok(exchange) => match exchange.answer.status {
                200..=299 => RequestClass::Succeeded,
                429 => RequestClass::Throttled,
                408 | 425 | 500.. => RequestClass::Transient,
                300..=499 => RequestClass::Blocked,
                _ => RequestClass::Refused,
            },
            Err(TransportError::Unsendable(_) | TransportError::NotSent(_)) => {
                RequestClass::NotSent
            }
            Err(TransportError::NoAnswer(_)) => RequestClass::NoAnswer,
            Err(TransportError::TooLarge) => RequestClass::TooLarge,
        };
        self.observer.request(&self.account, operation, class, begun.elapsed());
        result.map(|exchange| exchange.answer)
    }

    /// Why tokens could not be had the last time that was so.
    pub(super) fn trouble(&self) -> Option<String> {
        locked(&self.memory).trouble.clone()
    }

    /// What an operator should know.
    pub(super) fn status(&self) -> TokenStatus {
        TokenStatus::of(locked(&self.memory).record.as_ref())
    }

    #[cfg(test)]
    /// When it is worth asking again for tokens that could not be had; `None`: now.
    pub(super) fn worth_asking_at(&self) -> Option<Instant> {
        let memory = locked(&self.memory);
        match need(memory.record.as_ref(), crate::clock::now()) {
            Need::Nothing | Need::Early => None,
            Need::Now => memory.not_before,
            Need::Person => {
                let look = memory.looked_at.map(|at| at + LOOK_AGAIN);
                look.max(memory.not_before)
            }
        }
    }
}
