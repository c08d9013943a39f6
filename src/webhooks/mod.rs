//! The webhook pipeline: HTTP → verify → decode → encode → publish.
//!
//! ```text
//! server   a connection, its deadlines
//!   body   the bytes, bounded in size, in number and in time
//!   receive   account, source, signature, repeat, type → a record (record) → Kafka → the answer
//!   durable   the record in Kafka, or in the spool while Kafka is away
//! ```
//! The answer never comes before the broker's, and always within `publish_timeout`.

mod body;
mod connections;
mod durable;
mod fairness;
mod form;
mod forms;
mod pace;
mod parts;
mod receive;
mod receiving;
mod recent;
mod record;
mod reread;
mod server;
mod source;
pub mod spool;
mod watched;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use tokio_util::task::TaskTracker;

use crate::{
    avro::Encoders,
    domain::{AccountName, Secret},
    kafka::Publisher,
    metrics::Metrics,
    vendors::Vendor,
};

use fairness::Room;
pub use form::fields as form_fields;
use receiving::Receiving;
pub use record::source as record_source;
pub use reread::{KeptHeaders, Reread, Rereader, Stays, event_of};
pub use server::WebhookServer;
pub use source::sender;
use spool::Spool;

/// What to do with signed data that comes back under another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retyped {
    /// To `unrecognized`: the signature does not cover the type.
    Refuse,
    /// To the topic of the new type.
    Accept,
}

/// The limits of the listener.
#[derive(Debug, Clone)]
pub struct Settings {
    pub publish_timeout: Duration,
    /// How long a sender may take for its request.
    pub read_timeout: Duration,
    /// How long a connection without a request is kept.
    pub keep_alive: Duration,
    /// How long connections are still accepted once an end was asked for.
    pub drain: Duration,
    pub max_body: usize,
    pub max_in_flight: usize,
    pub max_in_flight_bytes: usize,
    pub max_connections: usize,
    /// Of one address that is no trusted proxy's.
    pub max_connections_per_source: usize,
    /// Bytes of one address's unfinished bodies.
    pub max_receiving_bytes_per_source: usize,
    /// Bytes a second, of a large body.
    pub min_transfer_rate: usize,
    pub duplicate_window: Duration,
    /// Webhooks remembered for each account.
    pub duplicate_entries: usize,
    /// Of the bodies of one sender's webhooks whose signature matched in no form that was known: so
    /// many bytes a minute and account are tried in every form.
    pub further_signature_bytes: u64,
    pub retyped: Retyped,
    pub trusted_proxies: Vec<IpNet>,
    pub trust_traceparent: bool,
}

/// What the listener knows of one configured account.
#[derive(Debug)]
pub struct Account {
    pub name: AccountName,
    pub vendor: Arc<dyn Vendor>,
    pub path_secret: Option<Secret>,
    pub allowed_sources: Vec<IpNet>,
    /// The topic of each of the vendor's types, by the vendor's name of the type.
    pub topics: Arc<BTreeMap<&'static str, String>>,
    /// Where authentic webhooks go that no topic fits.
    pub unrecognized_topic: String,
    /// Where a webhook of the vendor's user belongs; a user that is not named stays here.
    pub users: Users,
}

/// How webhooks are told apart that several accounts receive through one client of the vendor.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// The account of each configured user.
    pub accounts: Arc<BTreeMap<String, AccountName>>,
    /// Whether a user that nobody configured belongs to the account that was called; otherwise
    /// it goes to `unrecognized`.
    pub strangers_are_ours: bool,
}

impl Account {
    /// Whose webhook it is when several accounts share one client of the vendor; `stranger` is told
    /// of a user that nobody configured. `None`: it belongs to nobody.
    fn owner(&self, user: Option<&str>, stranger: impl FnOnce()) -> Option<AccountName> {
        let users = &self.users;
        if users.accounts.is_empty() {
            return Some(self.name.clone());
        }
        let configured = user.and_then(|user| users.accounts.get(user)).cloned();
        configured.or_else(|| {
            stranger();
            users.strangers_are_ours.then(|| self.name.clone())
        })
    }
}

/// So many webhooks of an account that were too large are remembered, so that a vendor that sends one
/// again and again does not fill the topic.
const KEPT_IN_PARTS: usize = 1_000;

/// The pipeline, shared by all connections.
pub struct Webhooks {
    settings: Settings,
    accounts: BTreeMap<AccountName, AccountState>,
    kafka: OnceLock<Sinks>,
    metrics: Metrics,
    receiving: Receiving,
    /// What is still read from senders that have been answered.
    discarding: TaskTracker,
}

/// Where webhooks end.
struct Sinks {
    encoders: Arc<Encoders>,
    publisher: Publisher,
    spool: Option<Spool>,
}

struct AccountState {
    account: Account,
    /// One permit a webhook being worked on.
    in_flight: Room,
    /// One permit a byte of their bodies.
    in_flight_bytes: Room,
    forms: Mutex<forms::SignatureForms>,
    recent: Mutex<recent::Recent>,
    /// The webhooks that were too large and are kept in parts.
    kept_in_parts: Mutex<recent::Recent>,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("accounts", &self.accounts.keys()).finish_non_exhaustive()
    }
}

impl Webhooks {
    /// Puts the pipeline together; nothing listens yet. Until `open` every webhook is checked and
    /// answered that it is not stored: a sender gets its answer in time also while the connector
    /// waits for Kafka.
    pub fn new(settings: Settings, accounts: Vec<Account>, metrics: Metrics) -> Self {
        receive::declare_metrics(&metrics, &accounts);
        metrics.in_flight("webhooks", 0);
        let least = settings.max_body;
        let in_flight = Room::divided(settings.max_in_flight, accounts.len(), 1);
        let in_flight_bytes = Room::divided(settings.max_in_flight_bytes, accounts.len(), least);
        let accounts = accounts
            .into_iter()
            .map(|account| {
                let recent =
                    recent::Recent::new(settings.duplicate_window, settings.duplicate_entries);
                let state = AccountState {
                    account,
                    in_flight: in_flight(),
                    in_flight_bytes: in_flight_bytes(),
                    forms: Mutex::new(forms::SignatureForms::default()),
                    recent: Mutex::new(recent),
                    kept_in_parts: Mutex::new(recent::Recent::new(
                        settings.duplicate_window,
                        settings.duplicate_entries.min(KEPT_IN_PARTS),
                    )),
                };
                (state.account.name.clone(), state)
            })
            .collect();
        let receiving = Receiving::new(settings.max_receiving_bytes_per_source);
        let (kafka, discarding) = (OnceLock::new(), TaskTracker::new());
        Self { settings, accounts, kafka, metrics, receiving, discarding }
    }

    /// From now on webhooks are published, or kept in the spool while Kafka is away.
    pub fn open(&self, encoders: Arc<Encoders>, publisher: Publisher, spool: Option<Spool>) {
        if self.kafka.set(Sinks { encoders, publisher, spool }).is_err() {
            tracing::debug!("the webhook pipeline was open already");
        }
    }
}

/// The state behind these locks is valid at every step, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
