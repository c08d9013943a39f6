//! One partition in one assignment, and what the process knows of its group.
//!
//! Every completion goes through the `Assignment` it belongs to. Once the partition is given back
//! or lost, the assignment is no longer among the active ones, so what still comes home to it moves
//! nobody's offsets: that is its epoch.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    begin::Start,
    contact::{Contact, Moment},
    offsets::{Commit, Fetched, LogId, METADATA_LIMIT, NoRoom, Window},
    settled::{Before, Unsettled},
};

/// Locks for a moment; nothing that is done under these locks can panic half-way.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a commit has to say.
#[derive(Debug)]
pub(super) enum Uncommitted {
    /// The same as the last one.
    Nothing,
    /// What has begun does not fit into the metadata the broker takes.
    NoRoom,
    /// This.
    Changed(Commit),
}

/// One partition from its assignment to its revocation.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) epoch: u64,
    /// Nothing new starts: the partition is about to be given back.
    pub(super) stop: CancellationToken,
    /// The partition is not ours any more: what still runs for it ends.
    pub(super) gone: CancellationToken,
    window: Mutex<Window>,
    committed: Mutex<Option<Commit>>,
    unsettled: Mutex<Unsettled>,
    /// A command was finished.
    pub(super) ended: Notify,
    busy: AtomicUsize,
    /// Bytes of this partition, and of all, that are held in memory.
    held: Arc<AtomicUsize>,
    buffered: Arc<AtomicUsize>,
}

impl Assignment {
    pub(super) fn new(
        topic: &str,
        partition: i32,
        epoch: u64,
        start: Start,
        buffered: Arc<AtomicUsize>,
    ) -> Self {
        let Start { position, leader_epoch, progress, committed, .. } = start;
        let window = Window::begin_at(Some(position), progress, leader_epoch, METADATA_LIMIT);
        let committed = if committed { window.commit() } else { None };
        Self {
            topic: topic.into(),
            partition,
            epoch,
            stop: CancellationToken::new(),
            gone: CancellationToken::new(),
            window: Mutex::new(window),
            committed: Mutex::new(committed),
            unsettled: Mutex::default(),
            ended: Notify::new(),
            busy: AtomicUsize::new(0),
            held: Arc::default(),
            buffered,
        }
    }

    pub(super) fn fetch(&self, offset: i64, leader_epoch: Option<i32>) -> Fetched {
        locked(&self.window).fetch(offset, leader_epoch)
    }

    /// The log that is read, where that is known.
    pub(super) fn log(&self) -> Option<LogId> {
        locked(&self.window).log()
    }

    /// The next offset to be read, and the leader epoch of the record before.
    pub(super) fn next(&self) -> (i64, Option<i32>) {
        locked(&self.window).next()
    }

    pub(super) fn begin(&self, offset: i64) -> Result<(), NoRoom> {
        locked(&self.window).begin(offset)
    }

    pub(super) fn take_back(&self, offset: i64) {
        locked(&self.window).take_back(offset);
    }

    /// The command is replied to, and the broker has it.
    pub(super) fn finish(&self, key: Option<&[u8]>, offset: i64) {
        locked(&self.window).finish(offset);
        if let Some(key) = key {
            locked(&self.unsettled).finished(key, offset);
        }
        self.ended.notify_waiters();
    }

    /// The command has the turn of its key.
    pub(super) fn started(&self, key: Option<&[u8]>, offset: i64) {
        if let Some(key) = key {
            locked(&self.unsettled).started(key, offset);
        }
    }

    /// What is known of the commands before `offset` under its key.
    pub(super) fn before(&self, key: Option<&[u8]>, offset: i64) -> Before {
        key.map_or(Before::Settled, |key| locked(&self.unsettled).before(key, offset))
    }

    pub(super) fn len(&self) -> usize {
        locked(&self.window).len()
    }

    pub(super) fn position(&self) -> Option<i64> {
        locked(&self.window).position()
    }

    /// What is to be committed.
    pub(super) fn uncommitted(&self) -> Uncommitted {
        let window = locked(&self.window);
        match window.commit() {
            None if window.position().is_some() => Uncommitted::NoRoom,
            Some(commit) if locked(&self.committed).as_ref() != Some(&commit) => {
                Uncommitted::Changed(commit)
            }
            None | Some(_) => Uncommitted::Nothing,
        }
    }

    pub(super) fn committed(&self, commit: Commit) {
        locked(&self.unsettled).committed(&commit);
        *locked(&self.committed) = Some(commit);
    }

    pub(super) fn set_metadata_limit(&self, limit: usize) {
        locked(&self.window).set_metadata_limit(limit);
    }

    /// Something runs that the partition's release has to wait for.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(self))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    /// Holds a record's bytes against the memory all commands may take.
    pub(super) fn hold(&self, bytes: usize) -> Held {
        let of = [Arc::clone(&self.held), Arc::clone(&self.buffered)];
        for counter in &of {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
        Held { bytes, of }
    }

    /// Bytes of this partition that are held in memory.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// While it lives, the partition is not given back.
#[derive(Debug)]
pub(super) struct Busy(Arc<Assignment>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Bytes that are held in memory.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    of: [Arc<AtomicUsize>; 2],
}

impl Drop for Held {
    fn drop(&mut self) {
        for counter in &self.of {
            counter.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Assignments by topic and partition.
pub(super) type ByPartition = HashMap<(Arc<str>, i32), Arc<Assignment>>;

/// What all parts share.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) active: Mutex<ByPartition>,
    contact: Mutex<Contact>,
    /// Milliseconds; none is known before it was asked for.
    session: AtomicU64,
    pub(super) buffered: Arc<AtomicUsize>,
    /// Partitions whose next records are not the ones that follow what was read.
    went_back: Mutex<Vec<Arc<Assignment>>>,
}

impl Group {
    pub(super) fn active(&self) -> Vec<Arc<Assignment>> {
        locked(&self.active).values().cloned().collect()
    }

    /// What comes next in the partition is not what follows what was read: its topic was made again,
    /// or its log was cut off.
    pub(super) fn went_back(&self, assignment: &Arc<Assignment>) {
        if !assignment.stop.is_cancelled() {
            locked(&self.went_back).push(Arc::clone(assignment));
        }
    }

    /// Those of the partitions that are still ours.
    pub(super) fn take_went_back(&self) -> Vec<Arc<Assignment>> {
        let mut all = std::mem::take(&mut *locked(&self.went_back));
        all.retain(|assignment| !assignment.stop.is_cancelled());
        all
    }

    /// Whether a partition may hold no more, where all together may hold `most` bytes. Half of them
    /// is kept for the partitions, in equal parts: one that is stuck leaves room for the others.
    pub(super) fn is_full(&self, assignment: &Assignment, most: usize) -> bool {
        let all = self.buffered.load(Ordering::Relaxed);
        if all < most / 2 {
            return false;
        }
        let active = locked(&self.active);
        let kept = most / (2 * active.len().max(1));
        let free = active.values().map(|other| kept.saturating_sub(other.held())).sum::<usize>();
        assignment.held() >= kept && all.saturating_add(free) >= most
    }

    /// The loop that polls came round.
    pub(super) fn polled(&self) {
        locked(&self.contact).polled(now());
    }

    /// The coordinator was heard from `ago`; `receipt` is the same moment on librdkafka's clock, in
    /// microseconds.
    pub(super) fn heard(&self, ago: Duration, receipt: i64) {
        if let Some(at) = now().before(ago) {
            locked(&self.contact).heard(at, receipt);
        }
    }

    pub(super) fn set_session(&self, session: Duration) {
        let session = u64::try_from(session.as_millis()).unwrap_or(u64::MAX);
        self.session.store(session, Ordering::Release);
    }

    /// The group said that this process is not of it.
    pub(super) fn forget_contact(&self) {
        locked(&self.contact).forget();
    }

    /// How long a call may still begin.
    pub(super) fn left(&self) -> Duration {
        let session = Duration::from_millis(self.session.load(Ordering::Acquire));
        locked(&self.contact).left(session, now())
    }
}

fn now() -> Moment {
    Moment { monotonic: Instant::now(), wall: crate::clock::now() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{begin::Why, offsets::Progress};

    fn start() -> Start {
        let (progress, why) = (Progress::default(), Why::Empty);
        Start { position: 0, leader_epoch: None, progress, why, committed: false }
    }

    #[test]
    fn a_stuck_partition_leaves_bytes_to_the_others() {
        let group = Group::default();
        let partition = |number: i32, epoch: u64| {
            let buffered = Arc::clone(&group.buffered);
            let assignment = Arc::new(Assignment::new("t", number, epoch, start(), buffered));
            locked(&group.active).insert(("t".into(), number), Arc::clone(&assignment));
            assignment
        };
        let alone = partition(0, 1);
        let mut held = Vec::new();
        let mut fill = |assignment: &Assignment| {
            let mut count = 0;
            while !group.is_full(assignment, 100) {
                held.push(assignment.hold(1));
                count += 1;
            }
            count
        };
        assert_eq!(fill(&alone), 100, "alone it may hold all");
        held.clear();
        let others = [partition(1, 2), partition(2, 3)];
        let mut fill = |assignment: &Assignment| {
            let mut count = 0;
            while !group.is_full(assignment, 100) {
                held.push(assignment.hold(1));
                count += 1;
            }
            count
        };
        // 16 are kept for each of the others.
        assert_eq!(fill(&alone), 68);
        assert_eq!((fill(&others[0]), fill(&others[1])), (16, 16));
        assert_eq!(group.buffered.load(Ordering::Relaxed), 100);
        held.clear();
        assert_eq!((alone.held(), group.buffered.load(Ordering::Relaxed)), (0, 0));
    }
}
