//! The spool: webhooks on the local disk while Kafka is away.
//!
//! ```text
//! put ──▶ one write and one sync for all that wait ──▶ answered 0
//!                                   drain: the oldest first, published, then forgotten
//! ```
//!
//! Nobody knows whether a vendor sends a refused webhook again, so what Kafka does not take in
//! time may be kept here. While anything waits everything passes through, so that order is kept.
//! What the file holds is the finished record: it is published as it would have been.

mod drain;
mod store;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use store::StoreError;
use store::{Entry, Store, size};

use crate::{clock, kafka::OutgoingRecord, metrics::Metrics};

/// So many records share one sync of the disk at most.
const GROUP: usize = 512;

/// `[ingress.spool]`.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    pub path: PathBuf,
    /// The bytes of records it may hold.
    pub max_bytes: u64,
    /// What is left of a webhook's time for the disk, when Kafka has not confirmed it.
    pub reserve: Duration,
}

/// Why a record is not known to be in the spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool is full (`ingress.spool.max_bytes`)")]
    Full,
    #[error("the disk did not take the record in time")]
    TimedOut,
    #[error("{0}")]
    Failed(String),
}

struct Put {
    record: OutgoingRecord,
    answer: oneshot::Sender<Result<(), SpoolError>>,
}

/// Keeps records until Kafka has them. A clone is the same spool.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    puts: mpsc::Sender<Put>,
    reserve: Duration,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    max_bytes: u64,
    /// Records that wait, also those just being written: while this is not 0 nothing passes by.
    waiting: AtomicU64,
    aside: AtomicU64,
    bytes: AtomicU64,
    next: AtomicU64,
    /// When the oldest that waits was spooled, milliseconds since the epoch; 0: nothing waits.
    oldest: AtomicI64,
    /// Why the disk last failed, until it worked again.
    trouble: Mutex<Option<String>>,
    written: Notify,
    metrics: Metrics,
}

/// The other end of the spool: what writes and what drains.
#[derive(Debug)]
pub struct Works {
    shared: Arc<Shared>,
    puts: mpsc::Receiver<Put>,
}

/// Opens the spool's file. Nothing is written or drained before [`Works`] runs. Blocks.
pub fn open(settings: &SpoolSettings, metrics: Metrics) -> Result<(Spool, Works), StoreError> {
    let (store, contents) = Store::open(&settings.path)?;
    let oldest = store.oldest(1)?.first().map_or(0, |entry| entry.at);
    if contents.waiting > 0 {
        tracing::warn!(records = contents.waiting, "webhooks of an earlier run wait in the spool");
    }
    let shared = Arc::new(Shared {
        store,
        max_bytes: settings.max_bytes,
        waiting: contents.waiting.into(),
        aside: contents.aside.into(),
        bytes: contents.bytes.into(),
        next: contents.next.into(),
        oldest: oldest.into(),
        trouble: Mutex::default(),
        written: Notify::new(),
        metrics,
    });
    let (sender, puts) = mpsc::channel(GROUP);
    let reserve = settings.reserve;
    shared.report();
    Ok((Spool { shared: Arc::clone(&shared), puts: sender, reserve }, Works { shared, puts }))
}

impl Spool {
    /// Whether records wait: then every other one has to wait behind them.
    pub fn is_waiting(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) > 0
    }

    /// What is left of a webhook's time for the disk.
    pub fn reserve(&self) -> Duration {
        self.reserve
    }

    /// Keeps a record; it is on the disk when this returns. After `TimedOut` it may be there.
    pub async fn put(&self, record: OutgoingRecord, deadline: Instant) -> Result<(), SpoolError> {
        let bytes = size(&record);
        // Taken before the record is written, so that a crowd cannot get past the bound together.
        let before = self.shared.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before.saturating_add(bytes) > self.shared.max_bytes {
            self.shared.bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Err(SpoolError::Full);
        }
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        let (answer, kept) = oneshot::channel();
        let deadline = tokio::time::Instant::from_std(deadline);
        let not_written = |error| {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            self.shared.bytes.fetch_sub(bytes, Ordering::AcqRel);
            Err(error)
        };
        match tokio::time::timeout_at(deadline, self.puts.send(Put { record, answer })).await {
            Ok(Ok(())) => {}
            Ok(Err(_stopped)) => {
                return not_written(SpoolError::Failed("the spool has stopped".to_owned()));
            }
            Err(_elapsed) => return not_written(SpoolError::TimedOut),
        }
        match tokio::time::timeout_at(deadline, kept).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(SpoolError::Failed("the spool has stopped".to_owned())),
            Err(_elapsed) => Err(SpoolError::TimedOut),
        }
    }

    /// Whether a webhook could be kept now.
    pub fn ready(&self) -> Result<(), String> {
        if let Some(trouble) = self.shared.trouble() {
            return Err(trouble);
        }
        if self.shared.bytes.load(Ordering::Acquire) >= self.shared.max_bytes {
            return Err("the spool is full (`ingress.spool.max_bytes`)".to_owned());
        }
        Ok(())
    }
}

impl Shared {
    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes whether the disk works; a change is logged once.
    fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(_) => *trouble = None,
            Err(error) => {
                let text = error.to_string();
                if trouble.as_ref() != Some(&text) {
                    tracing::error!(%error, "the spool does not work");
                }
                *trouble = Some(text);
            }
        }
        result
    }

    /// Brings the metrics up to date.
    fn report(&self) {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let age = if oldest == 0 { 0 } else { clock::now().as_millisecond() - oldest };
        self.metrics.spool(
            self.waiting.load(Ordering::Relaxed),
            self.aside.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
            Duration::from_millis(u64::try_from(age).unwrap_or(0)),
        );
    }
}

impl Works {
    /// Writes what is put, until every [`Spool`] is gone or `stop`: whoever is answered by then
    /// has to have put before.
    pub async fn write(mut self, stop: CancellationToken) {
        let mut puts = Vec::new();
        loop {
            let received = tokio::select! {
                received = self.puts.recv_many(&mut puts, GROUP) => received,
                () = stop.cancelled() => return,
            };
            if received == 0 {
                return;
            }
            self.write_group(puts.drain(..)).await;
        }
    }

    async fn write_group(&self, puts: impl Iterator<Item = Put>) {
        let now = clock::now().as_millisecond();
        let (mut entries, mut answers) = (Vec::new(), Vec::new());
        for put in puts {
            let sequence = self.shared.next.fetch_add(1, Ordering::Relaxed);
            entries.push(Entry { sequence, at: now, record: put.record });
            answers.push(put.answer);
        }
        let (count, bytes) = (entries.len() as u64, entries.iter().map(|e| size(&e.record)).sum());
        let shared = Arc::clone(&self.shared);
        let written =
            tokio::task::spawn_blocking(move || shared.noted(shared.store.append(&entries)));
        let result = match written.await {
            Ok(result) => result.map_err(|error| SpoolError::Failed(error.to_string())),
            Err(panicked) => Err(SpoolError::Failed(panicked.to_string())),
        };
        if result.is_ok() {
            // Keeps an older one that still waits.
            let _older =
                self.shared.oldest.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
            self.shared.written.notify_one();
        } else {
            self.shared.waiting.fetch_sub(count, Ordering::AcqRel);
            self.shared.bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        self.shared.report();
        for answer in answers {
            // A sender that gave up meanwhile was told "not known", and sends again.
            answer.send(result.clone()).ok();
        }
    }

    /// What drains the spool into Kafka, to be run beside [`Self::write`].
    pub fn drain(&self) -> drain::Drain {
        drain::Drain::new(Arc::clone(&self.shared))
    }
}
