//! One account on its way out: its limits, circuits, clock and nonce, and the pass of one call.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    breaker::{CircuitSettings, CircuitState},
    circuits::{Caller, Change, Circuits, Closed, Ending, Entrance, Entry},
    clock_offset::ClockOffset,
    errors::SendError,
    http::{BaseUrl, Exchange},
    limits::Limits,
    line::{Lines, Place},
    locked,
    report::{Report, RequestClass, RequestObserver},
    tokens::TokenKeeper,
};
use crate::domain::{AccountName, Tokens, VendorAnswer};

/// A vendor's `Retry-After` holds all calls of an account at most this long; then one is tried.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The circuits of one account, shared by its calls and its tokens.
#[derive(Debug)]
pub(super) struct SharedCircuits {
    account: AccountName,
    inner: Mutex<Circuits>,
    changed: Notify,
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn refused(closed: Closed) -> SendError {
    match closed {
        Closed::Open { until } => SendError::CircuitOpen { until: Instant::from_std(until) },
        Closed::Parked { until, message } => {
            SendError::Parked { until: Instant::from_std(until), message }
        }
        Closed::Stopped { message } => SendError::Stopped { message },
    }
}

impl SharedCircuits {
    fn new(account: AccountName, settings: CircuitSettings) -> Self {
        Self { account, inner: Mutex::new(Circuits::new(settings)), changed: Notify::new() }
    }

    /// The worst of them.
    pub(super) fn state(&self) -> CircuitState {
        locked(&self.inner).state(now())
    }

    pub(super) fn open_operations(&self) -> Vec<String> {
        locked(&self.inner).open_operations(now())
    }

    pub(super) fn is_open(&self, operation: &str) -> bool {
        locked(&self.inner).is_open(operation, now())
    }

    fn check(&self, caller: Caller<'_>) -> Result<(), SendError> {
        locked(&self.inner).check(caller, now()).map_err(refused)
    }

    async fn enter(&self, caller: Caller<'_>, deadline: Instant) -> Result<Entry, SendError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listening before asking: a call that ends in between is not missed.
            changed.as_mut().enable();
            {
                let mut circuits = locked(&self.inner);
                match circuits.admit(caller, now()) {
                    Entrance::Granted(entry) => return Ok(entry),
                    Entrance::Refused(closed) => return Err(refused(closed)),
                    Entrance::Wait => {}
                }
            }
            if timeout_at(deadline, changed).await.is_err() {
                let why = "its turn did not come before its deadline".to_owned();
                return Err(SendError::NotSent(why));
            }
        }
    }

    /// Comes back when the circuits may let this caller's call through.
    #[cfg(test)]
    pub(super) async fn may_open(&self, caller: Caller<'_>) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let until = match locked(&self.inner).check(caller, now()) {
                Ok(()) => return,
                Err(Closed::Open { until } | Closed::Parked { until, .. }) => until,
                Err(Closed::Stopped { .. }) => now() + Duration::from_secs(1),
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(Instant::from_std(until)) => {}
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Circuits) -> T) -> T {
        let result = change(&mut locked(&self.inner));
        self.changed.notify_waiters();
        result
    }

    fn ended(&self, entry: &Entry, ending: Ending) {
        let account = &self.account;
        for change in self.change(|circuits| circuits.ended(entry, ending, now())) {
            match change {
                Change::Stopped(message) => {
                    tracing::error!(%account, "account stopped: {message}");
                }
                Change::Parked(message) => {
                    tracing::error!(%account, "account parked, its commands wait: {message}");
                }
                Change::Resumed { operation: None } => {
                    tracing::info!(%account, "account works again");
                }
                Change::Resumed { operation: Some(operation) } => {
                    tracing::info!(%account, operation, "its calls get through again");
                }
            }
        }
    }

    /// A call outside the circuits failed.
    pub(super) fn failed_beside(&self) {
        self.change(|circuits| circuits.failed_beside(now()));
    }

    /// A person corrected the account: the next call finds out.
    pub(super) fn corrected(&self) {
        self.change(|circuits| circuits.corrected(now()));
    }
}

fn capped(retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.map(|pause| pause.min(LONGEST_PAUSE))
}

/// One account.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: AccountName,
    pub(super) base: BaseUrl,
    pub(super) nonce_digits: AtomicU32,
    pub(super) circuits: Arc<SharedCircuits>,
    pub(super) lines: Lines,
    pub(super) offset: Mutex<ClockOffset>,
    pub(super) tokens: Option<Arc<TokenKeeper>>,
    observer: Arc<dyn RequestObserver>,
}

impl Account {
    pub(super) fn new(
        name: AccountName,
        base: BaseUrl,
        nonce_digits: u32,
        circuit: CircuitSettings,
        limits: Limits,
        observer: Arc<dyn RequestObserver>,
    ) -> Self {
        Self {
            circuits: Arc::new(SharedCircuits::new(name.clone(), circuit)),
            name,
            base,
            nonce_digits: AtomicU32::new(nonce_digits),
            lines: Lines::new(limits),
            offset: Mutex::default(),
            tokens: None,
            observer,
        }
    }

    /// Waits until the limit and the circuit let one call through. The place in the limit is used
    /// up when the call begins ([`Lines::begin`]); dropped before, it is free again.
    pub(super) async fn pass(
        self: &Arc<Self>,
        caller: Caller<'_>,
        deadline: Instant,
    ) -> Result<(Place, Pass), SendError> {
        self.circuits.check(caller)?;
        let place = timeout_at(deadline, self.lines.first(caller.label)).await.map_err(|_| {
            let why = "the vendor's limit for this operation has no room before its deadline";
            SendError::NotSent(why.to_owned())
        })?;
        let entry = self.circuits.enter(caller, deadline).await?;
        let pass = Pass {
            account: Arc::clone(self),
            label: caller.label.to_owned(),
            entry,
            elapsed: None,
            open: Mutex::new(true),
        };
        Ok((place, pass))
    }
}

/// One call's right to be made. It ends with a report; dropped without one, it is given back, so
/// that a command that was given up does not hold the circuit.
#[derive(Debug)]
pub(super) struct Pass {
    account: Arc<Account>,
    label: String,
    entry: Entry,
    elapsed: Option<Duration>,
    open: Mutex<bool>,
}

impl Pass {
    /// The call was answered.
    pub(super) fn answered(&mut self, exchange: &Exchange, elapsed: Duration) {
        self.elapsed = Some(elapsed);
        if let Some(date) = exchange.answer.date {
            locked(&self.account.offset).observe(exchange.sent_at, exchange.answered_at, date);
        }
    }

    /// The call failed on the way.
    pub(super) fn failed(mut self, class: RequestClass, elapsed: Duration) {
        self.elapsed = Some(elapsed);
        self.close(class, Ending::Failed { at_least: None });
    }

    /// The caller judged the answer. Only the first report of a call counts.
    fn report(&self, report: Report) {
        let account = &self.account;
        let class = report.class();
        let ending = match report {
            Report::Throttled { retry_after } => {
                let pause = capped(retry_after);
                if let Some(pause) = pause {
                    account.lines.pause(&self.label, now() + pause);
                }
                Ending::Failed { at_least: pause }
            }
            Report::Transient { retry_after } => Ending::Failed { at_least: capped(retry_after) },
            Report::Misconfigured { message } => Ending::Misconfigured { message },
            Report::Blocked { status } => Ending::Blocked { status },
            Report::ClockSkew => {
                locked(&account.offset).apply();
                Ending::Answered
            }
            Report::NonceFormat => {
                account.nonce_digits.fetch_min(2, Ordering::Relaxed);
                Ending::Answered
            }
            Report::Succeeded
            | Report::AlreadyExists
            | Report::Refused
            | Report::SessionExpired
            | Report::NonceRepeated => Ending::Answered,
        };
        self.close(class, ending);
    }

    fn close(&self, class: RequestClass, ending: Ending) {
        if !std::mem::take(&mut *locked(&self.open)) {
            return;
        }
        self.account.circuits.ended(&self.entry, ending);
        if let Some(elapsed) = self.elapsed {
            self.account.observer.request(&self.account.name, &self.label, class, elapsed);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.close(RequestClass::Unjudged, Ending::GivenUp);
    }
}

/// An answered call. Whoever judges the answer says so with
/// [`ApiClient::report`](super::ApiClient::report).
#[derive(Debug)]
pub struct Sent {
    pub answer: VendorAnswer,
    /// The tokens the call was made with, to be named when the vendor refuses them.
    pub used: Option<Tokens>,
    /// How many digits of the nonce were sent.
    pub nonce_digits: u32,
    pub(super) pass: Pass,
}

impl Sent {
    /// Tells the account's circuit, limits and clock what the answer was.
    pub(super) fn report(&self, report: Report) {
        self.pass.report(report);
    }
}
