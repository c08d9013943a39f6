//! The way out to the vendors: client, token store, metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Connected, StartError, token_topic::TopicTokenStore};
use crate::{
    api_client::{
        AccountEndpoint, ApiClient, ApiClientSettings, CircuitSettings, CircuitState,
        FileTokenStore, MemoryTokenStore, RequestClass, RequestObserver, SealingKeys, TokenStore,
    },
    clock,
    config::{self, Config},
    domain::AccountName,
    kafka::{LedTopic, Role},
    metrics::Metrics,
};

/// How often the state of circuits and tokens is copied to the metrics.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// What a process has to do with stored tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokensUse {
    /// It calls no vendor.
    Nothing,
    /// It calls, and renews tokens when it is its turn.
    Renew,
    /// It looks whether there are tokens.
    Look,
    /// It stores what a person has just been given.
    Authorize,
}

/// The client with every account of the configuration.
pub fn api_client(
    config: &Config,
    accounts: &BTreeMap<AccountName, Connected>,
    metrics: &Metrics,
    tasks: &TaskTracker,
    tokens_use: TokensUse,
) -> Result<ApiClient, StartError> {
    let circuit = &config.commands.circuit;
    let settings = ApiClientSettings {
        call_timeout: config.commands.call_timeout,
        circuit: CircuitSettings {
            failures: circuit.failures,
            probe_after: circuit.probe_after,
            ..CircuitSettings::default()
        },
        ..ApiClientSettings::default()
    };
    let observer = Arc::new(Observer { metrics: metrics.clone() });
    let mut client = ApiClient::new(
        settings,
        token_store(config, accounts, tokens_use)?,
        observer,
        tasks.clone(),
    )?;
    for (name, connected) in accounts {
        let Some(account) = config.accounts.get(name) else { continue };
        let endpoint = AccountEndpoint {
            base_url: account.base_url.clone(),
            vendor: Arc::clone(&connected.vendor),
            nonce_digits: connected.nonce_digits,
            limits: connected.limits.clone(),
        };
        client.add_account(name.clone(), endpoint)?;
    }
    Ok(client)
}

fn token_store(
    config: &Config,
    accounts: &BTreeMap<AccountName, Connected>,
    tokens_use: TokensUse,
) -> Result<Arc<dyn TokenStore>, StartError> {
    let tokens = &config.tokens;
    match (tokens.store, &tokens.path) {
        (config::TokenStore::File, Some(path)) => {
            let key = tokens.key.as_ref().ok_or_else(|| {
                StartError::Tokens(
                    "`tokens.key` is not set: the file's tokens have to be sealed; make one with \
                     `openssl rand -hex 32`"
                        .to_owned(),
                )
            })?;
            let store = FileTokenStore::new(path, key, tokens.previous_key.as_ref())
                .map_err(|error| StartError::Tokens(error.to_string()))?;
            Ok(Arc::new(store))
        }
        (config::TokenStore::File, None) => {
            Err(StartError::Tokens("`tokens.path` has to name a file".to_owned()))
        }
        (config::TokenStore::Topic, _) => topic_store(config, accounts, tokens_use),
    }
}

fn topic_store(
    config: &Config,
    accounts: &BTreeMap<AccountName, Connected>,
    tokens_use: TokensUse,
) -> Result<Arc<dyn TokenStore>, StartError> {
    let role = match tokens_use {
        // Nothing is called, so nothing is renewed.
        TokensUse::Nothing => return Ok(Arc::new(MemoryTokenStore::default())),
        TokensUse::Renew => Role::Member {
            group_id: format!("{}.tokens", config.commands.group_id),
            protocol: super::group_protocol(config),
        },
        TokensUse::Look => Role::Follower,
        TokensUse::Authorize => Role::Writer,
    };
    let Some(key) = &config.tokens.key else {
        // A refreshed token that nobody stored is lost with the process, and where the vendor
        // rotates refresh tokens a person would have to authorise again.
        let renewing = accounts.iter().find(|(_, connected)| {
            let configured = connected.vendor.tokens().and_then(|tokens| tokens.configured());
            configured.is_some_and(|tokens| tokens.refresh_token.is_some())
        });
        let why = match (renewing, tokens_use) {
            (Some((name, _)), _) => format!("account `{name}` has a `refresh_token`"),
            (None, TokensUse::Authorize) => {
                "the tokens of `authorize` are kept in Kafka".to_owned()
            }
            (None, TokensUse::Nothing | TokensUse::Renew | TokensUse::Look) => {
                return Ok(Arc::new(MemoryTokenStore::default()));
            }
        };
        return Err(StartError::Tokens(format!(
            "{why}, and `tokens.key`, which seals renewed tokens, is not set: make one with \
             `openssl rand -hex 32`"
        )));
    };
    let keys = SealingKeys::new(key, config.tokens.previous_key.as_ref())
        .map_err(|error| StartError::Tokens(error.to_string()))?;
    let topic = LedTopic::start(
        &super::client_settings(config),
        &config.topics.connector_tokens(),
        &format!("{}.tokens", config.commands.group_id),
        role,
    )
    .map_err(|error| StartError::Tokens(format!("a thread cannot be started: {error}")))?;
    Ok(Arc::new(TopicTokenStore::new(topic, keys)))
}

#[derive(Debug)]
struct Observer {
    metrics: Metrics,
}

impl RequestObserver for Observer {
    fn request(
        &self,
        account: &AccountName,
        operation: &str,
        class: RequestClass,
        elapsed: Duration,
    ) {
        let (account, class) = (account.as_str(), class.name());
        self.metrics.vendor_request(account, operation, class, elapsed.as_secs_f64());
    }
}

/// So often in a row an account has to be without usable tokens before it is said: at the start
/// the store has not been asked yet.
const SAID_AFTER: u32 = 3;

/// Copies what the accounts stand like to the metrics, until `stop`.
pub(super) async fn watch(client: Arc<ApiClient>, metrics: Metrics, stop: CancellationToken) {
    let mut without: BTreeMap<AccountName, u32> = BTreeMap::new();
    let (mut open, mut told) = (BTreeSet::new(), BTreeSet::new());
    loop {
        for (account, state) in client.circuit_states() {
            match (open.contains(&account), state) {
                (false, CircuitState::Open) => {
                    match client.open_operations(&account).join(", ") {
                        none if none.is_empty() => tracing::warn!(
                            %account,
                            "the vendor does not work: the account's commands wait"
                        ),
                        operations => tracing::warn!(
                            %account,
                            operations,
                            "the vendor does not work: the account's commands for these \
                             operations wait"
                        ),
                    }
                    open.insert(account.clone());
                }
                (true, CircuitState::Closed) => {
                    tracing::info!(%account, "the vendor works again");
                    open.remove(&account);
                }
                (true, CircuitState::Open)
                | (false, CircuitState::Closed)
                | (_, CircuitState::HalfOpen) => {}
            }
            let shown = match state {
                CircuitState::Closed => 0,
                CircuitState::HalfOpen => 1,
                CircuitState::Open => 2,
            };
            // A circuit that was always closed is shown without a series of its own.
            if shown != 0 || told.contains(&account) {
                metrics.circuit_state(account.as_str(), shown);
                told.insert(account);
            }
        }
        let now = clock::now();
        for (account, status) in client.token_statuses() {
            let times = without.entry(account.clone()).or_default();
            *times = if status.needs_authorization { times.saturating_add(1) } else { 0 };
            if *times == SAID_AFTER {
                tracing::error!(
                    %account,
                    "no tokens that the vendor takes: the account's commands wait; run \
                     `wms-connector authorize --account {account}`"
                );
            }
            if let Some(seconds) = status.expires_in_seconds(now) {
                metrics.token_expires_in(account.as_str(), seconds);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
