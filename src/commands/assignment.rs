//! One partition in one assignment, and what the process knows of its group.
//!
//! Every completion goes through the `Assignment` it belongs to. Once the partition is given back
//! or lost, the assignment is no longer among the active ones, so what still comes home to it moves
//! nobody's offsets: that is its epoch.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    offsets::{Commit, Fetched, METADATA_LIMIT, NoRoom, Window},
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
    buffered: Arc<AtomicUsize>,
}

impl Assignment {
    pub(super) fn new(
        topic: &str,
        partition: i32,
        epoch: u64,
        committed: Option<(i64, &str)>,
        buffered: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            topic: topic.into(),
            partition,
            epoch,
            stop: CancellationToken::new(),
            gone: CancellationToken::new(),
            window: Mutex::new(Window::resume(committed, METADATA_LIMIT)),
            committed: Mutex::new(None),
            unsettled: Mutex::default(),
            ended: Notify::new(),
            busy: AtomicUsize::new(0),
            buffered,
        }
    }

    pub(super) fn fetch(&self, offset: i64) -> Fetched {
        locked(&self.window).fetch(offset)
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
        self.buffered.fetch_add(bytes, Ordering::Relaxed);
        Held { bytes, buffered: Arc::clone(&self.buffered) }
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
    buffered: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.buffered.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A moment on both clocks.
type Heard = (Instant, Timestamp);

/// The last sign of life from the group.
///
/// A process that was frozen past its session wakes up without knowing that its partitions are
/// somebody else's by now. Both clocks count: the monotonic one does not run while a machine
/// sleeps, the other may be set.
#[derive(Debug, Default)]
pub(super) struct Contact {
    /// The last one, and the one before it that is believed: whatever the group said with the
    /// last one (that the partitions are lost, perhaps) has been handled by the next.
    seen: Mutex<(Option<Heard>, Option<Heard>)>,
}

impl Contact {
    /// The group's coordinator was heard from `ago`.
    pub(super) fn heard(&self, ago: Duration) {
        let now = Instant::now();
        let wall = crate::clock::now();
        let Some(at) = now.checked_sub(ago) else { return };
        let mut seen = locked(&self.seen);
        seen.1 = seen.0;
        seen.0 = Some((at, wall.checked_sub(ago).unwrap_or(wall)));
    }

    /// How long a call may still begin.
    pub(super) fn left(&self, session: Duration) -> Duration {
        let Some((at, wall)) = locked(&self.seen).1 else { return Duration::ZERO };
        let passed = crate::clock::now().duration_since(wall);
        let passed = Duration::try_from(passed).unwrap_or(Duration::ZERO);
        session.saturating_sub(at.elapsed().max(passed))
    }
}

/// Assignments by topic and partition.
pub(super) type ByPartition = HashMap<(Arc<str>, i32), Arc<Assignment>>;

/// What all parts share.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) active: Mutex<ByPartition>,
    pub(super) contact: Contact,
    pub(super) buffered: Arc<AtomicUsize>,
}

impl Group {
    pub(super) fn active(&self) -> Vec<Arc<Assignment>> {
        locked(&self.active).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_counts_once_the_next_one_came() {
        let contact = Contact::default();
        let session = Duration::from_secs(45);
        assert_eq!(contact.left(session), Duration::ZERO);
        contact.heard(Duration::from_secs(1));
        assert_eq!(contact.left(session), Duration::ZERO);
        contact.heard(Duration::ZERO);
        let left = contact.left(session);
        assert!(left <= Duration::from_secs(44) && left > Duration::from_secs(40), "{left:?}");
        contact.heard(Duration::from_secs(50));
        contact.heard(Duration::from_secs(51));
        assert_eq!(contact.left(session), Duration::ZERO);
    }
}
