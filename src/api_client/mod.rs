//! The one way out over HTTP.
//!
//! ```text
//! plan ─▶ limit ─▶ circuit ─▶ tokens ─▶ clock, nonce ─▶ one request ─▶ answer ─▶ (caller judges)
//!           ▲         ▲          ▲            ▲                                        │
//!           └─────────┴──────────┴────────────┴────────────────── report ◀─────────────┘
//! ```
//!
//! [`ApiClient::send`] makes one attempt of one call and never a second: whether a call is sent
//! again is the caller's decision, who alone knows what sending twice would do. The caller judges
//! the answer with its vendor and tells what it found ([`ApiClient::report`]); from that the
//! account's circuit, limits, clock offset and nonce learn. Nothing here knows a vendor.

mod account;
mod authorize;
pub mod breaker;
mod circuits;
pub mod clock_offset;
mod errors;
mod http;
pub mod http_date;
pub mod limits;
mod line;
mod report;
pub mod seal;
mod sealed_tokens;
#[cfg(test)]
mod tests;
mod token_file;
mod token_need;
mod token_store;
mod tokens;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use tokio::time::{Instant, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use account::Sent;
pub use breaker::{CircuitSettings, CircuitState};
pub use circuits::Caller;
pub use errors::{AuthorizeError, InvalidBaseUrl, SendError, SetupError};
pub use limits::EVERY_OTHER;
pub use report::{Report, RequestClass, RequestObserver, Unobserved};
pub use seal::{InvalidKey, OpenError, Sealed, SealingKeys};
pub use sealed_tokens::SealedTokens;
pub use token_file::FileTokenStore;
pub use token_need::TokenStatus;
pub use token_store::{
    MemoryTokenStore, StoreError, StoredTokens, TokenState, TokenStore, may_follow,
};

use self::{
    account::Account,
    http::{BaseUrl, Transport, TransportError},
    limits::Limits,
    tokens::{Memory, TokenKeeper},
};
use crate::{
    domain::{AccountName, Attempt, PlannedCall, Secret, Tokens},
    vendors::Vendor,
};

/// How often [`ApiClient::keep_tokens_fresh`] looks after the tokens.
const TOKEN_ROUND: Duration = Duration::from_secs(10);

/// Changes of the store come in pairs (*refreshing*, then the tokens): looked at together.
const AFTER_CHANGE: Duration = Duration::from_millis(100);

/// What holds for the calls of all accounts.
#[derive(Debug, Clone)]
pub struct ApiClientSettings {
    /// From the opening of the connection to the last byte of the answer
    /// (`commands.call_timeout`, 30 s).
    pub call_timeout: Duration,
    /// For the connection alone (5 s).
    pub connect_timeout: Duration,
    /// An answer with more bytes is not read (8 MiB).
    pub max_body: usize,
    /// `[commands.circuit]`.
    pub circuit: CircuitSettings,
    /// The proxy for all calls; none is used unless it is set here. It may hold a password.
    pub proxy: Option<Secret>,
}

impl Default for ApiClientSettings {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_body: 8 << 20,
            circuit: CircuitSettings::default(),
            proxy: None,
        }
    }
}

/// Where and how an account's calls go.
#[derive(Debug)]
pub struct AccountEndpoint {
    /// `https://host`, also with a path below which the vendor's paths begin.
    pub base_url: String,
    pub vendor: Arc<dyn Vendor>,
    /// How many digits of the nonce are sent, until the vendor refuses them.
    pub nonce_digits: u32,
    /// At most so many calls of an operation begin in each such time; [`EVERY_OTHER`] is one
    /// limit for all operations that are not named.
    pub limits: Vec<(String, u32, Duration)>,
}

/// The client of all accounts.
pub struct ApiClient {
    transport: Arc<Transport>,
    settings: ApiClientSettings,
    store: Arc<dyn TokenStore>,
    observer: Arc<dyn RequestObserver>,
    tasks: TaskTracker,
    accounts: HashMap<AccountName, Arc<Account>>,
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient").field("accounts", &self.accounts.keys()).finish_non_exhaustive()
    }
}

impl ApiClient {
    /// A client without accounts. Renewals of tokens run on `tasks`: shutdown has to wait for
    /// them, or a refresh token may be lost.
    pub fn new(
        settings: ApiClientSettings,
        store: Arc<dyn TokenStore>,
        observer: Arc<dyn RequestObserver>,
        tasks: TaskTracker,
    ) -> Result<Self, SetupError> {
        let transport = Arc::new(Transport::new(&settings)?);
        Ok(Self { transport, settings, store, observer, tasks, accounts: HashMap::new() })
    }

    /// Adds an account, before the client is shared.
    pub fn add_account(
        &mut self,
        name: AccountName,
        endpoint: AccountEndpoint,
    ) -> Result<(), SetupError> {
        let base = BaseUrl::new(&endpoint.base_url)
            .map_err(|problem| SetupError::BaseUrl { account: name.to_string(), problem })?;
        let mut account = Account::new(
            name.clone(),
            base.clone(),
            endpoint.nonce_digits,
            self.settings.circuit,
            Limits::new(endpoint.limits),
            Arc::clone(&self.observer),
        );
        if endpoint.vendor.tokens().is_some() {
            account.tokens = Some(Arc::new(TokenKeeper {
                account: name.clone(),
                vendor: endpoint.vendor,
                base,
                transport: Arc::clone(&self.transport),
                call_timeout: self.settings.call_timeout,
                circuits: Arc::clone(&account.circuits),
                store: Arc::clone(&self.store),
                observer: Arc::clone(&self.observer),
                tasks: self.tasks.clone(),
                memory: Mutex::new(Memory::default()),
                flight: Arc::default(),
            }));
        }
        self.accounts.insert(name, Arc::new(account));
        Ok(())
    }

    fn account(&self, name: &AccountName) -> Result<&Arc<Account>, SendError> {
        self.accounts.get(name).ok_or_else(|| SendError::Stopped {
            message: format!("account `{name}` is not in the configuration"),
        })
    }

    /// Makes one attempt of a call: waits until the account's limit, its circuits
    /// and its tokens let it through, plans it with what is true at that moment, and sends it
    /// once. `deadline` bounds all of it; the call itself is bounded by `call_timeout` as well.
    ///
    /// The answer has to be judged and reported. Dropping the future is safe at any time: what
    /// was sent by then may have taken effect.
    pub async fn send<P>(
        &self,
        account: &AccountName,
        caller: Caller<'_>,
        plan: P,
        deadline: Instant,
    ) -> Result<Sent, SendError>
    where
        P: Fn(&Attempt<'_>) -> PlannedCall + Send,
    {
        let account = self.account(account)?;
        let (mut pass, used) = loop {
            let (place, pass) = account.pass(caller, deadline).await?;
            let used = match &account.tokens {
                Some(keeper) => Some(match timeout_at(deadline, keeper.usable()).await {
                    Ok(tokens) => tokens?,
                    Err(_) => {
                        let why = "the token was not renewed before its deadline".to_owned();
                        return Err(SendError::NotSent(why));
                    }
                }),
                None => None,
            };
            if deadline <= Instant::now() {
                return Err(SendError::NotSent("its deadline came before its turn".to_owned()));
            }
            // The limit may be another since: the vendor throttled a call meanwhile.
            if account.lines.begin(caller.label, place) {
                break (pass, used);
            }
        };
        let nonce_digits = account.nonce_digits.load(Ordering::Relaxed);
        let call = plan(&Attempt {
            now: locked(&account.offset).correct(crate::clock::now()),
            nonce: rand::random(),
            nonce_digits,
            tokens: used.as_ref(),
            vendor_reference: None,
        });
        let left = deadline.saturating_duration_since(Instant::now());
        let begun = Instant::now();
        let timeout = self.settings.call_timeout.min(left);
        let result = self.transport.exchange(&account.base, call, timeout).await;
        let elapsed = begun.elapsed();
        match result {
            Ok(exchange) => {
                pass.answered(&exchange, elapsed);
                Ok(Sent { answer: exchange.answer, used, nonce_digits, pass })
            }
            Err(TransportError::Unsendable(why)) => Err(SendError::NotSent(why)),
            Err(TransportError::NotSent(why)) => {
                pass.failed(RequestClass::NotSent, elapsed);
                Err(SendError::NotSent(why))
            }
            Err(TransportError::NoAnswer(why)) => {
                pass.failed(RequestClass::NoAnswer, elapsed);
                Err(SendError::NoAnswer(why))
            }
            Err(TransportError::TooLarge) => {
                pass.failed(RequestClass::TooLarge, elapsed);
                Err(SendError::BodyTooLarge)
            }
        }
    }

    /// Says what the answer was. Only the first report of an answer counts; an answer that is
    /// dropped without one counts as not judged.
    pub fn report(&self, sent: &Sent, report: Report) {
        sent.report(report);
    }

    /// The vendor refused the tokens of a call as expired: renews them, unless another call did
    /// so meanwhile.
    pub async fn renew_after_refusal(
        &self,
        account: &AccountName,
        used: &Tokens,
    ) -> Result<(), SendError> {
        match &self.account(account)?.tokens {
            Some(keeper) => keeper.renew(used).await,
            None => Ok(()),
        }
    }

    /// Waits until a call that was told to wait ([`SendError::CircuitOpen`],
    /// [`SendError::NoTokens`], [`SendError::Stopped`]) may be tried again.
    #[cfg(test)]
    pub(crate) async fn wait_until_open(&self, account: &AccountName, caller: Caller<'_>) {
        let Some(account) = self.accounts.get(account) else {
            return std::future::pending().await;
        };
        loop {
            account.circuits.may_open(caller).await;
            let at = account.tokens.as_ref().and_then(|keeper| keeper.worth_asking_at());
            match at.filter(|at| Instant::now() < *at) {
                Some(at) => tokio::time::sleep_until(at).await,
                None => return,
            }
        }
    }

    /// Renews tokens well before they end, until `stop`. One for the process, on its task tracker.
    pub async fn keep_tokens_fresh(&self, stop: CancellationToken) {
        loop {
            for keeper in self.accounts.values().filter_map(|account| account.tokens.as_ref()) {
                // What is wrong is logged there, and shown by the metric.
                keeper.usable().await.ok();
                keeper.heed().await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TOKEN_ROUND) => {}
                () = self.store.changed() => tokio::time::sleep(AFTER_CHANGE).await,
            }
        }
    }

    /// Ends what the token store does by itself, once no renewal runs any more.
    pub async fn close_tokens(&self) {
        self.store.close().await;
    }

    /// Exchanges a person's one-time token for tokens and stores them. The one-time token is sent
    /// once, whatever happens.
    pub async fn authorize(
        &self,
        account: &AccountName,
        email: &str,
        one_time_token: &Secret,
        domain: Option<&str>,
    ) -> Result<(), AuthorizeError> {
        let unknown = || AuthorizeError::UnknownAccount(account.to_string());
        let found = self.accounts.get(account).ok_or_else(unknown)?;
        let no_tokens = || AuthorizeError::NoTokens(account.to_string());
        let keeper = found.tokens.as_ref().ok_or_else(no_tokens)?;
        keeper.authorize(email.to_owned(), one_time_token.clone(), domain.map(str::to_owned)).await
    }

    /// Sets this process's part of the vendors' limits: the part of the command partitions that
    /// it owns, between 0 and 1.
    pub fn set_share(&self, share: f64) {
        let now = Instant::now().into_std();
        for account in self.accounts.values() {
            account.lines.set_share(share, now);
        }
    }

    /// The state of each account's circuits, the worst of them (`wms_circuit_state`).
    pub fn circuit_states(&self) -> Vec<(AccountName, CircuitState)> {
        let accounts = self.accounts.values();
        accounts.map(|account| (account.name.clone(), account.circuits.state())).collect()
    }

    /// The operations of an account that have an open circuit of their own.
    pub fn open_operations(&self, account: &AccountName) -> Vec<String> {
        let found = self.accounts.get(account);
        found.map(|account| account.circuits.open_operations()).unwrap_or_default()
    }

    /// Whether the account's vendor is not known to be back for this operation: a circuit is open,
    /// or its probe is due or out. A slow vendor's circuit is half-open most of the time.
    pub fn circuit_is_open(&self, account: &AccountName, operation: &str) -> bool {
        let found = self.accounts.get(account);
        found.is_some_and(|account| account.circuits.is_open(operation))
    }

    /// How it stands with each account's tokens (`wms_token_expires_in_seconds`); accounts whose
    /// vendor has no tokens are left out. What the store holds is known once it was first needed.
    pub fn token_statuses(&self) -> Vec<(AccountName, TokenStatus)> {
        let accounts = self.accounts.values();
        accounts
            .filter_map(|account| Some((account.name.clone(), account.tokens.as_ref()?.status())))
            .collect()
    }

    /// Makes sure an account's tokens can be used, for `check`.
    pub async fn check_tokens(&self, account: &AccountName) -> Result<(), SendError> {
        match &self.account(account)?.tokens {
            Some(keeper) => keeper.usable().await.map(|_| ()).map_err(|error| {
                // "Wait" is what a call is told; a person wants to know what for.
                match (&error, keeper.trouble()) {
                    (SendError::CircuitOpen { .. }, Some(message)) => {
                        SendError::NoTokens { message }
                    }
                    _ => error,
                }
            }),
            None => Ok(()),
        }
    }

    /// The vendor's time minus ours, as far as it was measured.
    pub fn clock_offset(&self, account: &AccountName) -> Option<SignedDuration> {
        self.accounts.get(account).and_then(|account| locked(&account.offset).measured())
    }
}

/// Locks for a moment; nothing that is done under these locks can panic half-way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
