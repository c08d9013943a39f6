//! Both vendors, simulated as HTTP servers: for tests, for `demo`, and alone.
//!
//! ```text
//!            connector ── signed calls ──▶ JFWMS server ──┐
//!            connector ── signed calls ──▶ Qianyi server ─┤ faults → verify → work → books
//!            connector ◀── signed webhooks ── outbox ◀────┘
//!            test, drill ── faults, books, webhooks ──▶ control server
//! ```
//!
//! The sandbox verifies every signature, header, repeat and clock by code of its own that shares
//! nothing with the rest of this crate: otherwise a wrong signature would agree with itself.
//! What the vendors leave undocumented is a setting, with the case that is harder for a client as
//! the default.

mod behaviour;
mod books;
mod control;
mod exchange;
mod faults;
mod jfwms;
mod outbox;
mod qianyi;
mod server;
mod settings;
mod stock;
#[cfg(test)]
mod tests;
mod time;
mod webhook;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use behaviour::{Behaviour, CancelMode, JfwmsBehaviour, QianyiBehaviour, WebhookBehaviour};
pub use books::{
    Books, Delivery, Effect, EffectKind, KeptDocument, SeenRequest, SentWebhook, Totals,
};
pub use faults::{Fault, FaultError, FaultRule, FaultState, Faults, RetryAfter};
pub use settings::{
    DuplicateAsn, ExpiryUnit, FixtureToken, Goods, JfwmsSettings, JfwmsUser, NonceScope,
    PushFormat, QianyiSettings, QianyiWarehouse, RefreshRotation, SandboxLimits, SandboxSettings,
    SignForm, SignOrder, SignTransport,
};
pub use webhook::{Webhook, WebhookError};

/// How long a shutdown waits for what is under way.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// One of the two simulated vendors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// JFWMS (极风WMS).
    Jfwms,
    /// Qianyi (千易ERP).
    Qianyi,
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jfwms => "jfwms",
            Self::Qianyi => "qianyi",
        })
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// An address could not be taken.
    #[error("the sandbox's {server} server cannot listen on {address}: {source}")]
    Listen {
        /// Which of the three.
        server: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The client for webhooks could not be built.
    #[error("the sandbox cannot send webhooks: {0}")]
    Client(#[source] reqwest::Error),
}

/// A running sandbox. It ends with [`Sandbox::shutdown`], or when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    jfwms: SocketAddr,
    qianyi: SocketAddr,
    control: SocketAddr,
}

/// What the servers, the timers and the outbox have in common.
#[derive(Debug)]
struct Shared {
    settings: SandboxSettings,
    behaviour: Mutex<Behaviour>,
    faults: Faults,
    books: books::Ledger,
    outbox: outbox::Outbox,
    jfwms: Mutex<jfwms::State>,
    qianyi: Mutex<qianyi::State>,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Sandbox {
    /// Binds the three listeners and serves on tasks of its own.
    pub async fn start(settings: SandboxSettings) -> Result<Self, SandboxError> {
        let (jfwms_wire, jfwms) = bind("JFWMS", settings.jfwms_listen).await?;
        let (qianyi_wire, qianyi) = bind("Qianyi", settings.qianyi_listen).await?;
        let (control_wire, control) = bind("control", settings.control_listen).await?;
        let outbox = outbox::Outbox::new(settings.limits.pending_webhooks);
        let limit = DefaultBodyLimit::max(settings.limits.body);
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(settings.behaviour.clone()),
            faults: Faults::new(settings.seed),
            books: books::Ledger::new(&settings.limits),
            outbox: outbox.map_err(SandboxError::Client)?,
            jfwms: Mutex::new(jfwms::State::new(&settings)),
            qianyi: Mutex::new(qianyi::State::new(&settings)),
            tracker: TaskTracker::new(),
            cancel: CancellationToken::new(),
            settings,
        });
        let vendor =
            |router: Router<Arc<Shared>>| router.layer(limit).with_state(Arc::clone(&shared));
        let (tracker, cancel) = (&shared.tracker, &shared.cancel);
        let app = vendor(Router::new().fallback(jfwms::handle));
        server::serve(jfwms_wire, app, tracker, cancel);
        let app = vendor(Router::new().fallback(qianyi::handle));
        server::serve(qianyi_wire, app, tracker, cancel);
        server::serve(control_wire, vendor(control::routes()), tracker, cancel);
        Ok(Self { shared, jfwms, qianyi, control })
    }

    /// The base address of the simulated JFWMS, without a trailing `/`.
    pub fn jfwms_url(&self) -> String {
        format!("http://{}", self.jfwms)
    }

    /// The base address of the simulated Qianyi, without a trailing `/`.
    pub fn qianyi_url(&self) -> String {
        format!("http://{}", self.qianyi)
    }

    /// The base address of the control server, without a trailing `/`.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// Everything that the sandbox remembers, at this moment.
    pub fn books(&self) -> Books {
        self.shared.snapshot()
    }

    /// How much of everything there was so far.
    pub fn totals(&self) -> Totals {
        self.shared.books.totals()
    }

    /// The switches of the faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What can be changed, as it is now.
    pub fn behaviour(&self) -> Behaviour {
        self.shared.behaviour()
    }

    /// Changes what can be changed.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut locked(&self.shared.behaviour));
    }

    /// Sets where webhooks of JFWMS go; the connector's port is often known only later.
    pub fn set_jfwms_webhook_url(&self, url: impl Into<String>) {
        self.change(|behaviour| behaviour.jfwms.webhook_url = Some(url.into()));
    }

    /// Sets where pushes of Qianyi go.
    pub fn set_qianyi_push_url(&self, url: impl Into<String>) {
        self.change(|behaviour| behaviour.qianyi.push_url = Some(url.into()));
    }

    /// Signs and queues any webhook; its fate shows in the books.
    pub fn send_webhook(&self, webhook: Webhook) -> Result<(), WebhookError> {
        webhook::send(&self.shared, webhook)
    }

    /// Ships the order with the caller's number now; false if there is none that can be.
    pub fn ship(&self, vendor: Vendor, number: &str) -> bool {
        self.shared.ship(vendor, number)
    }

    /// Puts the inbound or ASN with the caller's number away now; false if there is none that
    /// can be.
    pub fn receive(&self, vendor: Vendor, number: &str) -> bool {
        self.shared.receive(vendor, number)
    }

    /// Ends every access token of JFWMS; refresh tokens stay.
    pub fn expire_tokens(&self) {
        self.shared.expire_tokens();
    }

    /// Stops taking requests, leaves queued webhooks behind, and waits for the tasks to end.
    pub async fn shutdown(self) {
        self.shared.cancel.cancel();
        self.shared.tracker.close();
        if tokio::time::timeout(SHUTDOWN, self.shared.tracker.wait()).await.is_err() {
            tracing::warn!("tasks of the sandbox did not end in time");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
    }
}

impl Shared {
    fn behaviour(&self) -> Behaviour {
        locked(&self.behaviour).clone()
    }

    fn clock_offset(&self, vendor: Vendor) -> i64 {
        let behaviour = locked(&self.behaviour);
        match vendor {
            Vendor::Jfwms => behaviour.jfwms.clock_offset_ms,
            Vendor::Qianyi => behaviour.qianyi.clock_offset_ms,
        }
    }

    fn vendor_now(&self, vendor: Vendor) -> jiff::Timestamp {
        time::vendor_now(self.clock_offset(vendor))
    }

    fn snapshot(&self) -> Books {
        let (mut orders, mut asns) = locked(&self.jfwms).kept();
        let (more_orders, more_asns) = locked(&self.qianyi).kept();
        orders.extend(more_orders);
        asns.extend(more_asns);
        self.books.snapshot(orders, asns, self.outbox.pending())
    }

    fn expire_tokens(&self) {
        locked(&self.jfwms).tokens.expire_access();
    }

    fn ship(self: &Arc<Self>, vendor: Vendor, number: &str) -> bool {
        match vendor {
            Vendor::Jfwms => jfwms::orders::ship_any(self, number),
            Vendor::Qianyi => qianyi::sales_orders::ship_any(self, number),
        }
    }

    fn receive(self: &Arc<Self>, vendor: Vendor, number: &str) -> bool {
        match vendor {
            Vendor::Jfwms => jfwms::inbounds::receive_any(self, number),
            Vendor::Qianyi => qianyi::asns::receive_any(self, number),
        }
    }

    /// Does something later, unless the sandbox ends before.
    fn later(self: &Arc<Self>, after_ms: u64, what: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let owner = Arc::clone(self);
        let cancel = self.cancel.clone();
        self.tracker.spawn(cancel.run_until_cancelled_owned(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            what(&owner);
        }));
    }
}

async fn bind(
    server: &'static str,
    address: SocketAddr,
) -> Result<(server::Wire, SocketAddr), SandboxError> {
    server::Wire::bind(address).await.map_err(|source| SandboxError::Listen {
        server,
        address,
        source,
    })
}

/// A lock that a panic elsewhere does not poison: the sandbox goes on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
