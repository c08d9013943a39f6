//! The vendors' tokens in the topic `connector.tokens`: sealed, one record an account.
//!
//! Who owns the topic's partition in the group `<group_id>.tokens` renews; everybody follows. A
//! process whose token the vendor refused leaves a word for the leader under the key
//! `ask/<account>`, at most one an account.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    api_client::{
        SealedTokens, SealingKeys, StoreError, StoredTokens, TokenState, TokenStore, may_follow,
    },
    clock,
    domain::AccountName,
    kafka::{CloudEvent, Headers, LedTopic, TraceParent, WriteError},
};

/// How long a reading of the topic may be waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A word to the leader.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ask {
    /// Names the token without saying anything of it.
    token: String,
}

impl Ask {
    fn of(record: &StoredTokens) -> Self {
        let digest = Sha256::new()
            .chain_update(b"wms-connector token\0")
            .chain_update(record.current.access_token.expose());
        let digest = digest.finalize();
        Self { token: hex::encode(digest.get(..8).unwrap_or_default()) }
    }
}

fn ask_key(account: &AccountName) -> Vec<u8> {
    // No account's name holds a slash.
    format!("ask/{account}").into_bytes()
}

/// The store `[tokens] store = "topic"`.
pub(super) struct TopicTokenStore {
    topic: Arc<LedTopic>,
    keys: SealingKeys,
}

impl fmt::Debug for TopicTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicTokenStore").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl TopicTokenStore {
    pub(super) fn new(topic: LedTopic, keys: SealingKeys) -> Self {
        Self { topic: Arc::new(topic), keys }
    }
}

/// Kafka is written to on a thread that may wait.
async fn on_a_thread(
    work: impl FnOnce() -> Result<(), WriteError> + Send + 'static,
) -> Result<(), StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(StoreError::from),
        Err(_) => Err(StoreError::Failed("the thread that writes the tokens ended".to_owned())),
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotLeader => Self::NotLeader,
            WriteError::Superseded => Self::Superseded,
            WriteError::Failed { .. } => Self::Failed(error.to_string()),
        }
    }
}

fn version_of(value: &[u8]) -> Option<u64> {
    serde_json::from_slice::<SealedTokens>(value).ok().map(|sealed| sealed.version)
}

fn headers(account: &AccountName, event_type: &str, id: &str) -> Headers {
    CloudEvent {
        id,
        source: &format!("/wms-connector/{account}"),
        event_type,
        time: clock::now(),
        subject: Some(account.as_str()),
        content_type: "application/json",
        trace: &TraceParent::start(rand::random(), rand::random()),
    }
    .headers()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Failed(error.to_string()))
}

impl TokenStore for TopicTokenStore {
    fn load<'a>(
        &'a self,
        account: &'a AccountName,
    ) -> BoxFuture<'a, Result<Option<StoredTokens>, StoreError>> {
        Box::pin(async move {
            let Some(value) = self.topic.get(account.as_str().as_bytes(), PATIENCE).await? else {
                return Ok(None);
            };
            let broken = |why: &str| {
                StoreError::Failed(format!(
                    "the stored tokens of `{account}` cannot be read: {why}"
                ))
            };
            let sealed: SealedTokens = serde_json::from_slice(&value)
                .map_err(|_| broken("they are not of this version"))?;
            sealed.open(&self.keys, account).map(Some).map_err(|why| broken(&why))
        })
    }

    fn save<'a>(
        &'a self,
        account: &'a AccountName,
        record: &'a StoredTokens,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let sealed = SealedTokens::of(record, &self.keys, account, rand::random());
            let sealed = sealed.ok_or_else(|| {
                StoreError::Failed("the tokens are too large to be sealed".to_owned())
            })?;
            let (value, version) = (json(&sealed)?, record.version);
            // New tokens end a renewal that this process began. They are kept also when it does not
            // lead any more: unless its successor has begun one of its own, nobody else has them.
            let anyone = record.state == TokenState::Settled;
            let id = format!("tokens-{account}-{version}");
            let headers = headers(account, "wms.connector.Tokens", &id);
            let (topic, key) = (Arc::clone(&self.topic), account.as_str().as_bytes().to_vec());
            on_a_thread(move || {
                topic.write(&key, &value, &headers, anyone, |stored| {
                    may_follow(stored.and_then(version_of), version).is_ok()
                })
            })
            .await
        })
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let topic = Arc::clone(&self.topic);
        Box::pin(on_a_thread(move || topic.prepare()))
    }

    fn ask<'a>(
        &'a self,
        account: &'a AccountName,
        record: &'a StoredTokens,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let ask = Ask::of(record);
            let (key, value) = (ask_key(account), json(&ask)?);
            let headers = headers(account, "wms.connector.RenewalAsked", &ask.token);
            let topic = Arc::clone(&self.topic);
            on_a_thread(move || topic.tell(&key, &value, &headers)).await
        })
    }

    fn is_asked(&self, account: &AccountName, record: &StoredTokens) -> bool {
        let asked = self.topic.known(&ask_key(account));
        let asked = asked.and_then(|value| serde_json::from_slice::<Ask>(&value).ok());
        self.topic.leads() && asked == Some(Ask::of(record))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let mut changes = self.topic.changes();
        Box::pin(async move {
            if changes.changed().await.is_err() {
                std::future::pending().await
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let topic = Arc::clone(&self.topic);
        Box::pin(async move {
            // A thread that panicked has said so itself.
            tokio::task::spawn_blocking(move || topic.stop()).await.ok();
        })
    }
}
