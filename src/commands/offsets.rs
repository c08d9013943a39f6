//! Which offset of a partition may be committed, and what is told about the records above it.
//!
//! ```text
//!   committed            fetched
//!       │ ✓  ✗  ✓  ✓  ▶  ✗ │            ✓ finished  ▶ begun  ✗ neither
//!       └─ position: the lowest unfinished; the metadata lists ✓ and ▶ above it
//! ```
//!
//! Records finish out of order; the committed position is the lowest unfinished one. What is
//! finished above it travels in the commit's metadata, so that a crash repeats little, and so does
//! what at-most-once work has begun, so that a crash never repeats it. Offsets have gaps
//! (transaction markers, compaction): a run of finished records covers the gaps within it, where
//! no record can ever appear. The metadata also says which log the offsets belong to: a topic that
//! was deleted and made again has other records at the same offsets.

use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// Kafka's default `offset.metadata.max.bytes`.
pub const METADATA_LIMIT: usize = 4096;

/// The version of the metadata's form; another one is not ours to read.
const VERSION: &str = "1.";

/// Which log offsets belong to: a topic of a cluster, in the 61 bits that a commit has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId(i64);

impl LogId {
    const TOPIC_BITS: u32 = 41;

    /// Of the topic with this id, in the cluster with this id.
    pub fn new(cluster_id: &str, topic_id: u128) -> Self {
        let digest = Sha256::digest(cluster_id.as_bytes());
        let cluster = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        // Topic ids are random; their lowest bits are as good as any.
        let topic = (topic_id & ((1 << Self::TOPIC_BITS) - 1)) as u64;
        let cluster = cluster >> (64 - 61 + Self::TOPIC_BITS);
        Self((cluster << Self::TOPIC_BITS | topic) as i64)
    }

    /// Whether both are of one cluster.
    pub fn same_cluster(self, other: Self) -> bool {
        self.0 >> Self::TOPIC_BITS == other.0 >> Self::TOPIC_BITS
    }
}

/// A run of finished records that begins so far above the one before it is none: its length is the
/// `LogId`. An earlier version takes it for a run that no offset ever reaches, and writes it again.
const LOG_ID_GAP: i64 = 1 << 61;

/// What a commit's metadata says about the records at and above the committed offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// First and last offset of each run of finished records, ascending, disjoint.
    pub finished: Vec<(i64, i64)>,
    /// At-most-once records whose call has begun, ascending; the finished ones among them too, for
    /// their runs may not fit, and they may not be done again.
    pub begun: Vec<i64>,
    /// The log that these offsets belong to, where that is known.
    pub log: Option<LogId>,
}

impl Progress {
    /// Reads the metadata of a commit at `position`. What is not ours, or of another version,
    /// says nothing: the records are then done again, which every other rule allows for.
    pub fn decode(position: i64, metadata: &str) -> Self {
        metadata
            .strip_prefix(VERSION)
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .and_then(|bytes| Self::parse(position, &bytes))
            .unwrap_or_default()
    }

    fn parse(position: i64, bytes: &[u8]) -> Option<Self> {
        let mut input = bytes.iter().copied();
        let mut progress = Self::default();
        let mut at = position;
        for _ in 0..read_varint(&mut input)?? {
            at = at.checked_add(i64::try_from(read_varint(&mut input)??).ok()?)?;
            progress.begun.push(at);
            at = at.checked_add(1)?;
        }
        let mut at = position;
        while let Some(gap) = read_varint(&mut input)? {
            let gap = i64::try_from(gap).ok()?;
            let length = i64::try_from(read_varint(&mut input)??).ok()?;
            // An earlier version, which wrote it again, wrote it with the gap from its own last run.
            if gap >= LOG_ID_GAP / 2 {
                progress.log = Some(LogId(length));
                continue;
            }
            let first = at.checked_add(gap)?;
            let last = first.checked_add(length)?;
            progress.finished.push((first, last));
            at = last.checked_add(1)?;
        }
        Some(progress)
    }

    /// Writes the metadata of a commit at `position`, at most `limit` bytes. Every begun record is
    /// in it or there is none (`None`): a begun record left out could be sent twice. Finished runs
    /// that do not fit are left out, highest first; they are merely done again after a crash.
    pub fn encode(&self, position: i64, limit: usize) -> Option<String> {
        if self.finished.is_empty() && self.begun.is_empty() && self.log.is_none() {
            return Some(String::new());
        }
        let room = limit.checked_sub(VERSION.len())? / 4 * 3;
        let mut log = Vec::new();
        if let Some(LogId(id)) = self.log {
            write_varint(&mut log, LOG_ID_GAP.cast_unsigned());
            write_varint(&mut log, id.cast_unsigned());
        }
        let mut bytes = Vec::new();
        write_varint(&mut bytes, self.begun.len() as u64);
        let mut at = position;
        for &offset in &self.begun {
            write_varint(&mut bytes, u64::try_from(offset - at).ok()?);
            at = offset + 1;
        }
        if bytes.len() > room {
            return None;
        }
        // Where the broker takes very little, what begun is more than where it was.
        if bytes.len() + log.len() > room {
            log.clear();
        }
        let room = room - log.len();
        let mut at = position;
        for &(first, last) in &self.finished {
            let before = bytes.len();
            write_varint(&mut bytes, u64::try_from(first - at).ok()?);
            write_varint(&mut bytes, u64::try_from(last - first).ok()?);
            if bytes.len() > room {
                bytes.truncate(before);
                break;
            }
            at = last + 1;
        }
        bytes.extend(log);
        Some(format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Whether it says that this record is finished.
    pub fn is_finished(&self, offset: i64) -> bool {
        let after = self.finished.partition_point(|&(first, _)| first <= offset);
        after.checked_sub(1).is_some_and(|i| self.finished[i].1 >= offset)
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// `Some(None)` at the end of the input, `None` where it ends inside a number.
fn read_varint(input: &mut impl Iterator<Item = u8>) -> Option<Option<u64>> {
    let Some(mut byte) = input.next() else { return Some(None) };
    let mut value = 0u64;
    let mut shift = 0;
    loop {
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(Some(value));
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
        byte = input.next()?;
    }
}

/// What is to be done with a fetched record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// Nothing is known of it: do it.
    New,
    /// It was finished before a restart: nothing to do.
    Finished,
    /// Its at-most-once call began before a restart and its outcome was not written: it may have
    /// taken effect.
    Begun,
    /// It was fetched in this assignment already.
    Repeated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Begun,
    Finished,
    /// Finished, and at most once.
    FinishedOnce,
}

impl State {
    fn is_finished(self) -> bool {
        match self {
            Self::Finished | Self::FinishedOnce => true,
            Self::Waiting | Self::Begun => false,
        }
    }

    fn is_once(self) -> bool {
        match self {
            Self::Begun | Self::FinishedOnce => true,
            Self::Waiting | Self::Finished => false,
        }
    }
}

/// There is no room left to note that a call has begun; it must not be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the commit's metadata has no room to note another call as begun")]
pub struct NoRoom;

/// What is to be committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The lowest unfinished offset.
    pub position: i64,
    /// What is known above it.
    pub metadata: String,
    /// The epoch of the leader that wrote the record at the position, or the one before it: by it a
    /// broker tells whether its log still is the one that was read.
    pub leader_epoch: Option<i32>,
}

/// The fetched records of one partition in one assignment.
#[derive(Debug)]
pub struct Window {
    /// From the lowest unfinished to the highest fetched; the first is never finished.
    entries: VecDeque<(i64, State)>,
    /// The offset after the highest fetched record; at first where reading begins.
    next: Option<i64>,
    /// What the commit of an earlier assignment said; what lies above `next` is still to come.
    recovered: Progress,
    /// From which offset on records are of which leader's epoch; ascending.
    epochs: VecDeque<(i64, i32)>,
    limit: usize,
}

impl Window {
    /// A window over a partition whose group committed `position` with `metadata`.
    pub fn resume(committed: Option<(i64, &str)>, metadata_limit: usize) -> Self {
        let progress = committed.map(|(at, metadata)| Progress::decode(at, metadata));
        Self {
            next: committed.map(|(position, _)| position),
            ..Self::begin_at(None, progress.unwrap_or_default(), None, metadata_limit)
        }
    }

    /// A window over a partition that is read from `position` on, of which `progress` is known.
    pub fn begin_at(
        position: Option<i64>,
        progress: Progress,
        leader_epoch: Option<i32>,
        metadata_limit: usize,
    ) -> Self {
        Self {
            entries: VecDeque::new(),
            next: position,
            recovered: progress,
            epochs: leader_epoch.map(|epoch| (position.unwrap_or(0), epoch)).into_iter().collect(),
            limit: metadata_limit,
        }
    }

    /// The log that is read, where that is known.
    pub fn log(&self) -> Option<LogId> {
        self.recovered.log
    }

    /// The next offset to be read, and the leader epoch of the record before.
    pub fn next(&self) -> (i64, Option<i32>) {
        (self.next.unwrap_or(0), self.epochs.back().map(|(_, epoch)| *epoch))
    }

    /// Takes in the next record.
    pub fn fetch(&mut self, offset: i64, leader_epoch: Option<i32>) -> Fetched {
        if self.next.is_some_and(|next| offset < next) {
            return Fetched::Repeated;
        }
        if let Some(epoch) = leader_epoch
            && self.epochs.back().is_none_or(|(_, last)| *last != epoch)
        {
            self.epochs.push_back((offset, epoch));
        }
        self.next = Some(offset + 1);
        let begun = self.recovered.begun.binary_search(&offset).is_ok();
        if self.recovered.is_finished(offset) {
            if !self.entries.is_empty() {
                let state = if begun { State::FinishedOnce } else { State::Finished };
                self.entries.push_back((offset, state));
            }
            return Fetched::Finished;
        }
        self.entries.push_back((offset, if begun { State::Begun } else { State::Waiting }));
        if begun { Fetched::Begun } else { Fetched::New }
    }

    /// Notes that the at-most-once call of a record is about to begin.
    pub fn begin(&mut self, offset: i64) -> Result<(), NoRoom> {
        let Some(index) = self.find(offset) else { return Err(NoRoom) };
        self.entries[index].1 = State::Begun;
        if self.commit().is_none() {
            self.entries[index].1 = State::Waiting;
            return Err(NoRoom);
        }
        Ok(())
    }

    /// Takes a beginning back: the call surely was not made, or surely had no effect.
    pub fn take_back(&mut self, offset: i64) {
        if let Some(index) = self.find(offset)
            && self.entries[index].1 == State::Begun
        {
            self.entries[index].1 = State::Waiting;
        }
    }

    /// Notes that a record is finished: replied to and acknowledged.
    pub fn finish(&mut self, offset: i64) {
        if let Some(index) = self.find(offset) {
            let once = self.entries[index].1.is_once();
            self.entries[index].1 = if once { State::FinishedOnce } else { State::Finished };
        }
        while self.entries.front().is_some_and(|entry| entry.1.is_finished()) {
            self.entries.pop_front();
        }
        if let Some(position) = self.position() {
            while self.epochs.get(1).is_some_and(|(first, _)| *first <= position) {
                self.epochs.pop_front();
            }
        }
    }

    fn find(&self, offset: i64) -> Option<usize> {
        self.entries.binary_search_by_key(&offset, |entry| entry.0).ok()
    }

    /// How many records lie between the lowest unfinished and the highest fetched.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything that was fetched is finished.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The lowest unfinished offset; `None` before anything was fetched where it is not known from
    /// which offset on.
    pub fn position(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.0).or(self.next)
    }

    /// The most bytes of metadata the broker takes.
    pub fn set_metadata_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// What to commit now; `None` without a position.
    pub fn commit(&self) -> Option<Commit> {
        let position = self.position()?;
        let metadata = self.progress().encode(position, self.limit)?;
        let of_position = self.epochs.iter().rev().find(|(first, _)| *first <= position);
        Some(Commit { position, metadata, leader_epoch: of_position.map(|(_, epoch)| *epoch) })
    }

    fn progress(&self) -> Progress {
        let mut progress = Progress { log: self.recovered.log, ..Progress::default() };
        let mut run: Option<(i64, i64)> = None;
        for &(offset, state) in &self.entries {
            match (state.is_finished(), &mut run) {
                (true, Some(run)) => run.1 = offset,
                (true, none) => *none = Some((offset, offset)),
                (false, _) => progress.finished.extend(run.take()),
            }
            if state.is_once() {
                progress.begun.push(offset);
            }
        }
        progress.finished.extend(run);
        // What an earlier assignment finished beyond what this one has fetched so far is still
        // true, and would be forgotten with the next commit.
        if let Some(next) = self.next {
            let ahead = self.recovered.finished.iter().filter(|run| run.1 >= next);
            for &(first, last) in ahead {
                let first = first.max(next);
                match progress.finished.last_mut() {
                    Some(before) if before.1 + 1 == first => before.1 = last,
                    Some(_) | None => progress.finished.push((first, last)),
                }
            }
            progress.begun.extend(self.recovered.begun.iter().filter(|&&offset| offset >= next));
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_position_is_the_lowest_unfinished_offset() {
        let mut window = Window::resume(None, METADATA_LIMIT);
        assert_eq!(window.commit(), None);
        for offset in [10, 11, 14, 15] {
            assert_eq!(window.fetch(offset, None), Fetched::New);
        }
        window.finish(11);
        window.finish(14);
        let commit = window.commit().unwrap();
        assert_eq!(commit.position, 10);
        // 12 and 13 are a gap within a finished run.
        let told = Progress { finished: vec![(11, 14)], ..Progress::default() };
        assert_eq!(Progress::decode(10, &commit.metadata), told);
        window.finish(10);
        assert_eq!(window.commit().unwrap().position, 15);
        window.finish(15);
        assert_eq!(
            window.commit(),
            Some(Commit { position: 16, metadata: String::new(), leader_epoch: None })
        );
        assert_eq!(window.fetch(12, None), Fetched::Repeated);
    }

    #[test]
    fn metadata_of_others_says_nothing() {
        let long = format!("1.{}", URL_SAFE_NO_PAD.encode([0xff; 20]));
        for text in ["", "x", "1.", "1.!", "2.AAAA", "consumer-1", "1._____w", long.as_str()] {
            assert_eq!(Progress::decode(5, text), Progress::default(), "{text}");
        }
    }

    #[test]
    fn reading_begins_where_it_is_told() {
        let mut window = Window::begin_at(Some(7), Progress::default(), Some(3), METADATA_LIMIT);
        let commit = Commit { position: 7, metadata: String::new(), leader_epoch: Some(3) };
        assert_eq!(window.commit(), Some(commit), "an idle partition has a position too");
        assert_eq!(window.fetch(6, Some(3)), Fetched::Repeated);
        assert_eq!(window.fetch(7, Some(3)), Fetched::New);
    }

    #[test]
    fn a_commit_names_the_log_and_the_epoch_of_its_position() {
        let log = LogId::new("cluster", 0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        let known = Progress { log: Some(log), ..Progress::default() };
        let mut window = Window::begin_at(Some(0), known, None, METADATA_LIMIT);
        for (offset, epoch) in [(0, 1), (1, 1), (2, 4), (3, 4), (9, 5)] {
            window.fetch(offset, Some(epoch));
        }
        let told = |window: &Window| {
            let commit = window.commit().unwrap();
            let progress = Progress::decode(commit.position, &commit.metadata);
            assert_eq!(progress.log, Some(log));
            (commit.position, commit.leader_epoch, progress.finished)
        };
        window.finish(1);
        assert_eq!(told(&window), (0, Some(1), vec![(1, 1)]));
        window.finish(0);
        assert_eq!(told(&window), (2, Some(4), vec![]));
        window.finish(2);
        window.finish(3);
        assert_eq!(told(&window), (9, Some(5), vec![]));
        window.finish(9);
        assert_eq!(told(&window), (10, Some(5), vec![]));
        // A broker that takes very little gets what has begun first.
        let progress = Progress { finished: vec![(3, 4)], begun: vec![2], log: Some(log) };
        let short = Progress::decode(2, &progress.encode(2, 24).unwrap());
        assert_eq!((short.begun, short.log), (vec![2], None));
    }

    #[test]
    fn an_earlier_version_takes_the_log_for_a_run_that_nothing_reaches() {
        let log = LogId::new("another", u128::MAX);
        let progress = Progress { finished: vec![(12, 13)], begun: vec![11], log: Some(log) };
        let text = progress.encode(10, METADATA_LIMIT).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(VERSION).unwrap()).unwrap();
        // As the version before read it: runs alone. It committed at another position.
        let mut input = bytes.iter().copied();
        let mut next = || read_varint(&mut input).unwrap().map(|n| i64::try_from(n).unwrap());
        assert_eq!((next(), next()), (Some(1), Some(1)), "one began, at 11");
        let mut at = 10;
        let mut runs = Vec::new();
        while let Some(gap) = next() {
            let first = at + gap;
            let last = first + next().unwrap();
            runs.push((first, last));
            at = last + 1;
        }
        assert_eq!(runs.len(), 2);
        assert!(runs[1].0 > 1 << 60, "{runs:?}");
        let mut again = Vec::new();
        write_varint(&mut again, 0);
        write_varint(&mut again, (runs[1].0 - 14).cast_unsigned());
        write_varint(&mut again, (runs[1].1 - runs[1].0).cast_unsigned());
        let again = Progress::decode(14, &format!("1.{}", URL_SAFE_NO_PAD.encode(again)));
        assert_eq!(again, Progress { log: Some(log), ..Progress::default() });
    }

    #[test]
    fn logs_are_told_apart() {
        let one = LogId::new("one", 1);
        assert_eq!(one, LogId::new("one", 1));
        assert_ne!(one, LogId::new("one", 2));
        assert!(one.same_cluster(LogId::new("one", 2)));
        assert!(!one.same_cluster(LogId::new("two", 1)));
    }

    #[test]
    fn no_call_begins_without_room_to_say_so() {
        let mut window = Window::resume(None, 10);
        for offset in 0..20 {
            window.fetch(offset, None);
        }
        let began = (0..20).take_while(|&offset| window.begin(offset).is_ok()).count();
        assert!((1..20).contains(&began), "{began}");
        let commit = window.commit().unwrap();
        assert!(commit.metadata.len() <= 10);
        assert_eq!(Progress::decode(0, &commit.metadata).begun.len(), began);
        window.finish(0);
        assert_eq!(window.begin(began as i64), Ok(()), "room again");
    }

    #[test]
    fn a_finished_call_is_not_repeated_where_its_run_does_not_fit() {
        let limit = 24;
        let mut window = Window::resume(None, limit);
        for offset in 0..100 {
            window.fetch(offset, None);
        }
        window.begin(99).unwrap();
        for offset in (1..100).step_by(2) {
            window.finish(offset);
        }
        // Twice: what is known of it outlives the next assignment, too.
        for _ in 0..2 {
            let commit = window.commit().unwrap();
            assert!(commit.metadata.len() <= limit);
            window = Window::resume(Some((commit.position, &commit.metadata)), limit);
            assert_eq!(window.fetch(0, None), Fetched::New);
            assert_eq!(window.fetch(1, None), Fetched::Finished);
        }
        let fetched: Vec<Fetched> = (2..100).map(|offset| window.fetch(offset, None)).collect();
        assert_eq!(fetched.last(), Some(&Fetched::Begun));
        assert_eq!(fetched[fetched.len() - 3], Fetched::New, "its run did not fit");
    }

    #[derive(Debug, Clone)]
    enum Action {
        Fetch(i64),
        Finish(prop::sample::Index),
        Begin(prop::sample::Index),
        Commit,
        Crash,
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (1..4i64).prop_map(Action::Fetch),
            4 => any::<prop::sample::Index>().prop_map(Action::Finish),
            1 => any::<prop::sample::Index>().prop_map(Action::Begin),
            2 => Just(Action::Commit),
            1 => Just(Action::Crash),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_what_was_committed_is_not_repeated(
            actions in prop::collection::vec(action(), 1..200),
        ) {
            let mut log: Vec<i64> = Vec::new();        // the partition's offsets, with gaps
            let mut read = 0;                          // how many of them this assignment fetched
            let mut finished = BTreeSet::new();        // truly finished
            let mut begun = BTreeSet::new();           // truly begun
            let mut told = (BTreeSet::new(), BTreeSet::new());
            let mut committed: Option<Commit> = None;
            let mut window = Window::resume(None, METADATA_LIMIT);
            let mut open: Vec<i64> = Vec::new();
            for action in actions {
                match action {
                    Action::Fetch(gap) => {
                        if read == log.len() {
                            log.push(log.last().map_or(0, |last| last + gap));
                        }
                        let offset = log[read];
                        read += 1;
                        match window.fetch(offset, None) {
                            Fetched::Finished => prop_assert!(finished.contains(&offset)),
                            Fetched::Begun => {
                                prop_assert!(begun.contains(&offset));
                                open.push(offset);
                            }
                            Fetched::New => {
                                prop_assert!(!told.0.contains(&offset), "{offset} repeated");
                                prop_assert!(!told.1.contains(&offset), "{offset} begun, forgotten");
                                open.push(offset);
                            }
                            Fetched::Repeated => prop_assert!(false, "{offset} fetched twice"),
                        }
                    }
                    Action::Finish(index) if !open.is_empty() => {
                        let offset = open.remove(index.index(open.len()));
                        window.finish(offset);
                        finished.insert(offset);
                    }
                    Action::Begin(index) if !open.is_empty() => {
                        let offset = open[index.index(open.len())];
                        prop_assert_eq!(window.begin(offset), Ok(()));
                        begun.insert(offset);
                    }
                    Action::Finish(_) | Action::Begin(_) => {}
                    Action::Commit => {
                        let Some(commit) = window.commit() else { continue };
                        let lowest = log.iter().find(|&offset| !finished.contains(offset));
                        let after = log.last().map_or(0, |last| last + 1);
                        prop_assert!(commit.position <= lowest.copied().unwrap_or(after));
                        prop_assert!(commit.metadata.len() <= METADATA_LIMIT);
                        told = (finished.clone(), begun.difference(&finished).copied().collect());
                        committed = Some(commit);
                    }
                    Action::Crash => {
                        let at = committed.as_ref().map_or(i64::MIN, |commit| commit.position);
                        read = log.partition_point(|&offset| offset < at);
                        prop_assert!(log[..read].iter().all(|offset| finished.contains(offset)));
                        let resumed = committed.as_ref().map(|c| (c.position, c.metadata.as_str()));
                        window = Window::resume(resumed, METADATA_LIMIT);
                        open.clear();
                        finished = told.0.clone();
                        begun.clone_from(&told.1);
                    }
                }
            }
        }

        #[test]
        fn metadata_is_read_back(
            position in 0..1_000_000i64,
            runs in prop::collection::vec((1..50i64, 0..50i64), 0..40),
            gaps in prop::collection::vec(1..300i64, 0..40),
            id in any::<Option<u128>>(),
        ) {
            let mut at = position;
            let finished = runs.iter().map(|&(gap, length)| {
                let run = (at + gap, at + gap + length);
                at = run.1 + 1;
                run
            }).collect();
            let mut at = position;
            let begun = gaps.iter().map(|gap| { at += gap; at }).collect();
            let log = id.map(|id| LogId::new("cluster", id));
            let progress = Progress { finished, begun, log };
            let text = progress.encode(position, METADATA_LIMIT).unwrap();
            prop_assert_eq!(Progress::decode(position, &text), progress);
        }

        #[test]
        fn any_metadata_is_survived(text in "\\PC*", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            Progress::decode(7, &text);
            Progress::decode(7, &format!("1.{}", URL_SAFE_NO_PAD.encode(bytes)));
        }
    }
}
