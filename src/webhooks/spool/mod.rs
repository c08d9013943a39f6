//! The spool: webhooks on the local disk while Kafka is away.
//!
//! ```text
//! put ──▶ one write and one sync for all that wait ──▶ answered 0
//!                                   drain: the oldest first, published, then forgotten
//! ```
//!
//! Nobody knows whether a vendor sends a refused webhook again, so what Kafka does not take in
//! time may be kept here. While a topic has records waiting, all of that topic pass through, so that
//! order is kept; the other topics' go to Kafka, so that one topic that takes nothing fills the spool
//! with its own webhooks and leaves the others alone.
//! What the file holds is the finished record: it is published as it would have been.

mod drain;
mod store;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use store::{Contents, StoreError};
use store::{Store, size};
pub use usage::Usage;
use usage::{Bound, source};

use crate::{clock, kafka::OutgoingRecord, metrics::Metrics};

/// So many records share one sync of the disk at most.
const GROUP: usize = 512;

/// `[ingress.spool]`.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    pub path: PathBuf,
    /// The bytes of records it may hold.
    pub max_bytes: u64,
    /// The sources of the accounts' records; each has a part of the bytes for itself.
    pub sources: BTreeSet<String>,
    /// What the largest record takes.
    pub largest: u64,
    /// What is left of a webhook's time for the disk, when Kafka has not confirmed it.
    pub reserve: Duration,
}

/// Why a record is not known to be in the spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool has no room for more of this account (`ingress.spool.max_bytes`)")]
    Full,
    #[error("the disk did not take the record in time")]
    TimedOut,
    #[error("{0}")]
    Failed(String),
}

struct Put {
    record: OutgoingRecord,
    room: Room,
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
    /// Only ever locked where blocking is allowed.
    store: Mutex<Store>,
    bound: Bound,
    state: Mutex<State>,
    /// Whether anything waits, or is just being written: read by every webhook, and nearly always
    /// false.
    waiting: AtomicBool,
    written: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    contents: Contents,
    /// What is on its way to the disk: records by topic, and bytes.
    coming: BTreeMap<String, u64>,
    coming_bytes: Usage,
    /// The topics whose records wait, or are on their way.
    waiting_topics: BTreeSet<String>,
    /// Why the disk last failed, until it worked again.
    trouble: Option<String>,
}

/// The room of a record on its way to the disk. Given back when that ended, however it ended: a
/// sender may hang up in the middle.
#[derive(Debug)]
struct Room {
    shared: Arc<Shared>,
    topic: String,
    source: String,
    bytes: u64,
}

impl Room {
    /// Taken before the record is written, so that a crowd cannot get past the bound together.
    fn take(shared: &Arc<Shared>, record: &OutgoingRecord) -> Option<Self> {
        let (source, bytes) = (source(record), size(record));
        let mut state = shared.state();
        if !shared.bound.fits(&state.contents.bytes, &state.coming_bytes, source, bytes) {
            return None;
        }
        *state.coming.entry(record.topic.clone()).or_default() += 1;
        state.coming_bytes.add(source, bytes);
        shared.tell(&mut state);
        drop(state);
        let (topic, source) = (record.topic.clone(), source.to_owned());
        Some(Self { shared: Arc::clone(shared), topic, source, bytes })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        store::count_down(&mut state.coming, &self.topic);
        state.coming_bytes.remove(&self.source, self.bytes);
        self.shared.tell(&mut state);
    }
}

/// The other end of the spool: what writes and what drains.
#[derive(Debug)]
pub struct Works {
    shared: Arc<Shared>,
    puts: mpsc::Receiver<Put>,
}

/// Opens the spool's file. Nothing is written or drained before [`Works`] runs. Blocks.
pub fn open(settings: &SpoolSettings, metrics: Metrics) -> Result<(Spool, Works), StoreError> {
    let store = Store::open(&settings.path)?;
    let contents = store.contents().clone();
    if contents.waiting > 0 {
        tracing::warn!(records = contents.waiting, "webhooks of an earlier run wait in the spool");
    }
    let waiting_topics: BTreeSet<String> = contents.topics.keys().cloned().collect();
    let waiting = AtomicBool::new(!waiting_topics.is_empty());
    let shared = Arc::new(Shared {
        store: Mutex::new(store),
        bound: Bound::new(settings.max_bytes, settings.sources.clone(), settings.largest),
        state: Mutex::new(State { contents, waiting_topics, ..State::default() }),
        waiting,
        written: Notify::new(),
        metrics,
    });
    let (sender, puts) = mpsc::channel(GROUP);
    let reserve = settings.reserve;
    shared.report();
    Ok((Spool { shared: Arc::clone(&shared), puts: sender, reserve }, Works { shared, puts }))
}

/// What a spool is found to be, by somebody who does not run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There is no file yet, and one can be made.
    Nothing,
    /// A process works with it.
    InUse,
    Holds(Contents),
}

/// Looks at a spool's file, or whether one could be made. Blocks.
pub fn look(path: &Path) -> Result<Found, StoreError> {
    if !path.exists() {
        return store::can_be_made(path).map(|()| Found::Nothing);
    }
    match Store::open(path) {
        Ok(store) => Ok(Found::Holds(store.contents().clone())),
        Err(StoreError::InUse { .. }) => Ok(Found::InUse),
        Err(error) => Err(error),
    }
}

impl Spool {
    /// Whether records of a topic wait: then every other one of it has to wait behind them.
    pub fn is_waiting(&self, topic: &str) -> bool {
        self.shared.waiting.load(Ordering::Acquire)
            && self.shared.state().waiting_topics.contains(topic)
    }

    /// What is left of a webhook's time for the disk.
    pub fn reserve(&self) -> Duration {
        self.reserve
    }

    /// Keeps a record; it is on the disk when this returns. After `TimedOut` it may be there.
    pub async fn put(&self, record: OutgoingRecord, deadline: Instant) -> Result<(), SpoolError> {
        let room = Room::take(&self.shared, &record).ok_or(SpoolError::Full)?;
        let (answer, kept) = oneshot::channel();
        let deadline = tokio::time::Instant::from_std(deadline);
        let put = self.puts.send(Put { record, room, answer });
        match tokio::time::timeout_at(deadline, put).await {
            Ok(Ok(())) => {}
            Ok(Err(_stopped)) => {
                return Err(SpoolError::Failed("the spool has stopped".to_owned()));
            }
            Err(_elapsed) => return Err(SpoolError::TimedOut),
        }
        match tokio::time::timeout_at(deadline, kept).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(SpoolError::Failed("the spool has stopped".to_owned())),
            Err(_elapsed) => Err(SpoolError::TimedOut),
        }
    }

    /// Whether a webhook could be kept now.
    pub fn ready(&self) -> Result<(), String> {
        let state = self.shared.state();
        if let Some(trouble) = &state.trouble {
            return Err(trouble.clone());
        }
        if state.contents.bytes.total() + state.coming_bytes.total() >= self.shared.bound.max() {
            return Err(format!(
                "the spool is full (`ingress.spool.max_bytes`): {} webhooks wait, {} are set aside",
                state.contents.waiting, state.contents.aside
            ));
        }
        Ok(())
    }
}

impl Shared {
    /// The state behind this lock is valid at every step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets every webhook know whether it has to wait behind others.
    fn tell(&self, state: &mut State) {
        let topics = state.contents.topics.keys().chain(state.coming.keys());
        let now: BTreeSet<String> = topics.cloned().collect();
        if now == state.waiting_topics {
            return;
        }
        for topic in now.difference(&state.waiting_topics) {
            tracing::warn!(topic, "webhooks of this topic go to the spool from now on");
        }
        for topic in state.waiting_topics.difference(&now) {
            tracing::info!(
                topic,
                "the topic's webhooks go to Kafka again: none waits in the spool"
            );
        }
        self.waiting.store(!now.is_empty(), Ordering::Release);
        state.waiting_topics = now;
    }

    /// Does something with the store, and notes what became of it. Blocks.
    fn with_store<T>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut store);
        let contents = store.contents().clone();
        // Under both locks, so that a later count is not overwritten with an earlier one.
        let mut state = self.state();
        state.contents = contents;
        match &result {
            Ok(_) => state.trouble = None,
            Err(error) => {
                let text = error.to_string();
                if state.trouble.as_ref() != Some(&text) {
                    tracing::error!(%error, "the spool does not work");
                }
                state.trouble = Some(text);
            }
        }
        self.tell(&mut state);
        result
    }

    /// The same, off the runtime.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || shared.with_store(work)).await;
        done.unwrap_or_else(|panicked| {
            let (path, reason) = ("file".to_owned(), panicked.to_string());
            Err(StoreError::Failed { path, reason })
        })
    }

    /// Brings the metrics up to date.
    fn report(&self) {
        let Contents { waiting, aside, bytes, oldest, topics: _ } = self.state().contents.clone();
        let age = oldest.map_or(0, |oldest| clock::now().as_millisecond().saturating_sub(oldest));
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        self.metrics.spool(waiting, aside, bytes.total(), age);
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
        let (mut records, mut rooms, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for Put { record, room, answer } in puts {
            records.push(record);
            rooms.push(room);
            answers.push(answer);
        }
        let written = self.shared.blocking(move |store| store.append(now, &records)).await;
        // Only now: what is on the disk was counted before it is no longer coming.
        drop(rooms);
        let result = written.map_err(|error| SpoolError::Failed(error.to_string()));
        if result.is_ok() {
            self.shared.written.notify_one();
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

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    fn record() -> OutgoingRecord {
        OutgoingRecord { topic: "t".into(), payload: Some(vec![0; 100]), ..Default::default() }
    }

    fn opened(folder: &tempfile::TempDir, max_bytes: u64) -> (Spool, Works) {
        let path = folder.path().join("spool");
        let settings = SpoolSettings {
            path,
            max_bytes,
            sources: BTreeSet::new(),
            largest: 0,
            reserve: Duration::from_secs(1),
        };
        open(&settings, Metrics::new().unwrap()).unwrap()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// What is on its way to the disk takes room and holds up others; whoever gives up, or whom the
    /// disk fails, takes nothing with him.
    #[tokio::test]
    async fn room_is_taken_before_the_disk_and_given_back_however_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, works) = opened(&folder, 2 * size(&record()));
        let mut context = Context::from_waker(Waker::noop());
        let (mut first, mut second) =
            (pin!(spool.put(record(), later())), pin!(spool.put(record(), later())));
        assert!(!spool.is_waiting("t"));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(spool.is_waiting("t"));
        assert!(!spool.is_waiting("another"), "others go to Kafka");
        assert_eq!(spool.put(record(), later()).await, Err(SpoolError::Full));
        assert!(spool.ready().is_err());
        // Nobody writes any more.
        drop(works);
        assert!(matches!(first.await, Err(SpoolError::Failed(_))));
        assert!(matches!(second.await, Err(SpoolError::Failed(_))));
        assert!(!spool.is_waiting("t"));
        assert_eq!(spool.ready(), Ok(()));
    }

    #[test]
    fn a_spool_is_looked_at_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        assert_eq!(look(&path), Ok(Found::Nothing));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        let nowhere = look(&folder.path().join("missing/spool"));
        assert!(matches!(nowhere, Err(StoreError::NotMade { .. })), "{nowhere:?}");
        let (spool, works) = opened(&folder, 1 << 20);
        assert_eq!(look(&path), Ok(Found::InUse));
        works.shared.with_store(|store| store.append(7, &[record(), record()])).unwrap();
        drop((spool, works));
        let mut bytes = Usage::default();
        bytes.add("", 2 * size(&record()));
        let topics = BTreeMap::from([("t".to_owned(), 2)]);
        let holds = Contents { waiting: 2, topics, aside: 0, bytes, oldest: Some(7) };
        for _ in 0..2 {
            assert_eq!(look(&path), Ok(Found::Holds(holds.clone())));
        }
        std::fs::write(&path, "no database").unwrap();
        let damaged = look(&path);
        assert!(matches!(damaged, Err(StoreError::Unusable { .. })), "{damaged:?}");
    }

    #[tokio::test]
    async fn what_is_put_is_in_the_file_when_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, works) = opened(&folder, 1 << 20);
        let stop = CancellationToken::new();
        let puts = async {
            let puts = (0..50).map(|_| spool.put(record(), later()));
            let all = futures_util::future::join_all(puts).await;
            stop.cancel();
            all
        };
        let (all, ()) = tokio::join!(puts, works.write(stop.clone()));
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert!(spool.is_waiting("t"));
        drop(spool);
        let (spool, works) = opened(&folder, 1 << 20);
        assert!(spool.is_waiting("t"));
        assert_eq!(works.shared.state().contents.waiting, 50);
    }
}
