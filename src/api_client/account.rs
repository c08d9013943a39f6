//! One account on its way out: its limits, circuit, clock and nonce, and the pass of one call.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    breaker::{Admission, Breaker, CircuitSettings, CircuitState, Passage},
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

/// A misconfigured account is tried again after this long: what was wrong may have been mended
/// at the vendor (an address added to its list), which nobody tells us.
const STOPPED_PROBE_AFTER: Duration = Duration::from_secs(60);

/// A vendor's `Retry-After` holds all calls of an account at most this long; then one is tried.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The circuit of one account, shared by its calls and its tokens.
#[derive(Debug)]
pub(super) struct Circuit {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    /// Why the account is stopped.
    stopped: Option<String>,
}

impl Inner {
    fn refusal(&self, until: std::time::Instant) -> SendError {
        match &self.stopped {
            Some(message) => SendError::Stopped { message: message.clone() },
            None => SendError::CircuitOpen { until: Instant::from_std(until) },
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl Circuit {
    fn new(settings: CircuitSettings) -> Self {
        let inner = Inner { breaker: Breaker::new(settings), stopped: None };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    pub(super) fn state(&self) -> CircuitState {
        locked(&self.inner).breaker.state(now())
    }

    fn check(&self) -> Result<(), SendError> {
        let inner = locked(&self.inner);
        inner.breaker.refused_until(now()).map_or(Ok(()), |until| Err(inner.refusal(until)))
    }

    async fn enter(&self, deadline: Instant) -> Result<Passage, SendError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listening before asking: a call that ends in between is not missed.
            changed.as_mut().enable();
            {
                let mut inner = locked(&self.inner);
                match inner.breaker.admit(now()) {
                    Admission::Granted(passage) => return Ok(passage),
                    Admission::Refused { until } => return Err(inner.refusal(until)),
                    Admission::Wait => {}
                }
            }
            if timeout_at(deadline, changed).await.is_err() {
                let why = "its turn did not come before its deadline".to_owned();
                return Err(SendError::NotSent(why));
            }
        }
    }

    /// Comes back when the circuit may let a call through.
    pub(super) async fn may_open(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Some(until) = locked(&self.inner).breaker.refused_until(now()) else { return };
            tokio::select! {
                () = changed => {}
                () = sleep_until(Instant::from_std(until)) => {}
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut locked(&self.inner));
        self.changed.notify_waiters();
        result
    }

    /// A call outside the circuit failed.
    pub(super) fn failed_beside(&self) {
        self.change(|inner| inner.breaker.failed_beside(now(), None));
    }

    /// A person mended the account: the next call finds out.
    pub(super) fn mended(&self) {
        self.change(|inner| {
            inner.stopped = None;
            inner.breaker.probe_now(now());
        });
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
    pub(super) circuit: Arc<Circuit>,
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
            name,
            base,
            nonce_digits: AtomicU32::new(nonce_digits),
            circuit: Arc::new(Circuit::new(circuit)),
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
        operation: &str,
        deadline: Instant,
    ) -> Result<(Place, Pass), SendError> {
        self.circuit.check()?;
        let place = timeout_at(deadline, self.lines.first(operation)).await.map_err(|_| {
            let why = "the vendor's limit for this operation has no room before its deadline";
            SendError::NotSent(why.to_owned())
        })?;
        let passage = self.circuit.enter(deadline).await?;
        let pass = Pass {
            account: Arc::clone(self),
            operation: operation.to_owned(),
            passage,
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
    operation: String,
    passage: Passage,
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
        self.close(class, |breaker, passage| breaker.failed(passage, now(), None));
    }

    /// The caller judged the answer. Only the first report of a call counts.
    fn report(&self, report: Report) {
        let account = &self.account;
        let class = report.class();
        match report {
            Report::Throttled { retry_after } | Report::Transient { retry_after } => {
                let pause = capped(retry_after);
                if class == RequestClass::Throttled
                    && let Some(pause) = pause
                {
                    account.lines.pause(&self.operation, now() + pause);
                }
                self.close(class, |breaker, passage| breaker.failed(passage, now(), pause));
                return;
            }
            Report::Misconfigured { message } => {
                account.circuit.change(|inner| {
                    if inner.stopped.is_none() {
                        tracing::error!(account = %account.name, "account stopped: {message}");
                    }
                    inner.stopped = Some(message);
                });
                self.close(class, |breaker, _| breaker.trip(now(), STOPPED_PROBE_AFTER));
                return;
            }
            Report::ClockSkew => locked(&account.offset).apply(),
            Report::NonceFormat => {
                account.nonce_digits.fetch_min(2, Ordering::Relaxed);
            }
            Report::Succeeded
            | Report::AlreadyExists
            | Report::Refused
            | Report::SessionExpired
            | Report::NonceRepeated => {}
        }
        self.close(class, |breaker, passage| breaker.succeeded(passage));
    }

    fn close(&self, class: RequestClass, end: impl FnOnce(&mut Breaker, Passage)) {
        if !std::mem::take(&mut *locked(&self.open)) {
            return;
        }
        let resumed = self.account.circuit.change(|inner| {
            end(&mut inner.breaker, self.passage);
            let closed = inner.breaker.state(now()) == CircuitState::Closed;
            closed && inner.stopped.take().is_some()
        });
        if resumed {
            tracing::info!(account = %self.account.name, "account works again");
        }
        if let Some(elapsed) = self.elapsed {
            self.account.observer.request(&self.account.name, &self.operation, class, elapsed);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.close(RequestClass::Unjudged, |breaker, passage| breaker.released(passage, now()));
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
