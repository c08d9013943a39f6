//! Where the reading of a partition begins. PURE.
//!
//! Never left to the client (`auto.offset.reset=error`): beginning too early does everything again
//! that the topic still holds, and a `call` twice; beginning too late loses commands.

use jiff::Timestamp;

use super::offsets::{LogId, Progress};

/// Where a group without a commit begins on a topic that holds records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With what is sent from now on.
    End,
    /// With the oldest record there is.
    Earliest,
    /// With what was sent at this time or later.
    At(Timestamp),
}

/// What the group committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub position: i64,
    pub leader_epoch: Option<i32>,
    pub progress: Progress,
}

/// What is known of a partition that is about to be read.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub committed: Option<Committed>,
    /// The log's first offset, and the one after its last record; asked for only where it matters.
    pub log_offsets: Option<(i64, i64)>,
    /// Which log it is, where the cluster says.
    pub log: Option<LogId>,
    /// Another partition of the topic has a commit: this one was added later.
    pub topic_is_known: bool,
    /// What this process read of it before.
    pub earlier: Option<Earlier>,
}

/// What a process remembers of a partition that it read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Earlier {
    pub log: Option<LogId>,
    /// The last position, where no other process can have read on since.
    pub position: Option<i64>,
    /// The offset at which the log was cut off, where it was.
    pub cut_at: Option<i64>,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub position: i64,
    pub leader_epoch: Option<i32>,
    pub progress: Progress,
    pub why: Why,
    /// The group's commit says just this.
    pub committed: bool,
}

/// Why there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is what was committed.
    Committed,
    /// There is nothing to read yet.
    Empty,
    /// The partition was added to a topic that is read already.
    Added,
    /// `commands.begin` says so.
    Configured,
    /// The commit vanished while this process read.
    CommitVanished,
    /// The topic was deleted and made again.
    MadeAgain,
    /// The log was cut off below what was committed.
    CutOff,
    /// The commit is beyond the log's end.
    BeyondEnd,
    /// The commit is below the log's beginning: what lay between was deleted unread.
    BelowBeginning,
}

impl Why {
    /// The label in `wms_offset_resets_total`, for what is no usual beginning.
    pub fn reset(self) -> Option<&'static str> {
        match self {
            Self::Committed | Self::Empty | Self::Added => None,
            Self::Configured => Some("configured"),
            Self::CommitVanished => Some("commit-vanished"),
            Self::MadeAgain => Some("made-again"),
            Self::CutOff => Some("cut-off"),
            Self::BeyondEnd => Some("beyond-end"),
            Self::BelowBeginning => Some("below-beginning"),
        }
    }
}

/// Why it is not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// The log's offsets are to be asked for first.
    NeedsOffsets,
    /// No commit on a log that holds records: a person decides, with `commands.begin`.
    NeedsBegin,
}

/// Decides where reading begins; `commands.begin` is the caller's, who alone can look a time up.
pub fn decide(found: &Found) -> Result<Start, Undecided> {
    match &found.committed {
        Some(committed) => after_commit(found, committed),
        None => without_commit(found),
    }
}

/// The start that `commands.begin` chose.
pub fn configured(found: &Found, position: i64) -> Start {
    plain(found, position, Why::Configured)
}

fn plain(found: &Found, position: i64, why: Why) -> Start {
    let progress = Progress { log: found.log, ..Progress::default() };
    Start { position, leader_epoch: None, progress, why, committed: false }
}

fn after_commit(found: &Found, committed: &Committed) -> Result<Start, Undecided> {
    let Committed { position, leader_epoch, ref progress } = *committed;
    let mut progress = progress.clone();
    if let (Some(of_commit), Some(of_log)) = (progress.log, found.log)
        && of_commit != of_log
    {
        if of_commit.same_cluster(of_log) {
            // The broker deletes a group's commits with the topic; this one was written after. It
            // speaks of other records, also where the new log holds more than the old one did.
            let (low, _) = found.log_offsets.ok_or(Undecided::NeedsOffsets)?;
            return Ok(plain(found, low, Why::MadeAgain));
        }
        // Copied from another cluster, whose offsets were translated, but not those in the
        // metadata. What began there is never done again; what was finished may be.
        progress.finished.clear();
    }
    progress.log = found.log.or(progress.log);
    let resume = |position: i64, leader_epoch, mut progress: Progress, why| {
        progress.finished.retain(|run| run.1 >= position);
        progress.begun.retain(|offset| *offset >= position);
        let same = position == committed.position && progress == committed.progress;
        Start { position, leader_epoch, progress, why, committed: same }
    };
    if let Some(cut_at) = found.earlier.and_then(|earlier| earlier.cut_at)
        && found.earlier.is_some_and(|earlier| earlier.log == progress.log)
    {
        // From there on the log holds other records than the ones that were read.
        progress.finished.retain(|run| run.0 < cut_at);
        for run in &mut progress.finished {
            run.1 = run.1.min(cut_at - 1);
        }
        progress.begun.retain(|offset| *offset < cut_at);
        let (low, _) = found.log_offsets.ok_or(Undecided::NeedsOffsets)?;
        let position = position.min(cut_at).max(low);
        return Ok(resume(position, None, progress, Why::CutOff));
    }
    match found.log_offsets {
        Some((_, high)) if position > high => Ok(plain(found, high, Why::BeyondEnd)),
        Some((low, _)) if position < low => Ok(resume(low, None, progress, Why::BelowBeginning)),
        // librdkafka says so where it is not within the log; then it is asked for.
        Some(_) | None => Ok(resume(position, leader_epoch, progress, Why::Committed)),
    }
}

fn without_commit(found: &Found) -> Result<Start, Undecided> {
    let (low, high) = found.log_offsets.ok_or(Undecided::NeedsOffsets)?;
    if let Some(earlier) = found.earlier {
        if matches!((earlier.log, found.log), (Some(was), Some(is)) if was != is) {
            return Ok(plain(found, low, Why::MadeAgain));
        }
        if let Some(position) = earlier.position {
            return Ok(plain(found, position.min(high).max(low), Why::CommitVanished));
        }
    }
    if low == high {
        return Ok(plain(found, high, Why::Empty));
    }
    if found.topic_is_known {
        return Ok(plain(found, low, Why::Added));
    }
    Err(Undecided::NeedsBegin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "cluster";

    fn log(id: u128) -> Option<LogId> {
        Some(LogId::new(CLUSTER, id))
    }

    fn committed(position: i64, log: Option<LogId>) -> Option<Committed> {
        let progress =
            Progress { finished: vec![(position + 2, position + 3)], begun: vec![position], log };
        Some(Committed { position, leader_epoch: Some(2), progress })
    }

    /// Position and reason.
    fn at(found: &Found) -> Result<(i64, Why), Undecided> {
        decide(found).map(|start| (start.position, start.why))
    }

    #[test]
    fn without_a_commit() {
        let found =
            |low, high| Found { log_offsets: Some((low, high)), log: log(1), ..Found::default() };
        assert_eq!(at(&Found::default()), Err(Undecided::NeedsOffsets));
        assert_eq!(at(&found(0, 0)), Ok((0, Why::Empty)));
        assert_eq!(at(&found(7, 7)), Ok((7, Why::Empty)));
        assert_eq!(at(&found(3, 9)), Err(Undecided::NeedsBegin));
        assert_eq!(configured(&found(3, 9), 5).position, 5);
        let added = Found { topic_is_known: true, ..found(3, 9) };
        assert_eq!(at(&added), Ok((3, Why::Added)));
        // A broker deletes the commits of a topic with it.
        let read = |id, position| {
            let earlier = Earlier { log: log(id), position, cut_at: None };
            Found { earlier: Some(earlier), ..found(3, 9) }
        };
        assert_eq!(at(&read(2, Some(8))), Ok((3, Why::MadeAgain)));
        assert_eq!(at(&read(2, None)), Ok((3, Why::MadeAgain)));
        assert_eq!(at(&read(1, Some(8))), Ok((8, Why::CommitVanished)));
        assert_eq!(at(&read(1, Some(80))), Ok((9, Why::CommitVanished)));
        assert_eq!(at(&read(1, Some(0))), Ok((3, Why::CommitVanished)));
        assert_eq!(at(&read(1, None)), Err(Undecided::NeedsBegin));
        let unnamed = Found { log: None, ..read(2, Some(8)) };
        assert_eq!(at(&unnamed), Ok((8, Why::CommitVanished)));
    }

    #[test]
    fn with_a_commit() {
        let found = |position, of_commit, of_log, log_offsets| Found {
            committed: committed(position, of_commit),
            log_offsets,
            log: of_log,
            ..Found::default()
        };
        for (of_commit, of_log) in [(None, None), (None, log(1)), (log(1), None), (log(1), log(1))]
        {
            let start = decide(&found(10, of_commit, of_log, None)).unwrap();
            assert_eq!((start.position, start.why), (10, Why::Committed));
            assert_eq!(start.progress.finished, [(12, 13)]);
            assert_eq!(start.progress.begun, [10]);
            assert_eq!(start.progress.log, of_log.or(of_commit));
            assert_eq!(start.leader_epoch, Some(2));
            for (bounds, expected) in [
                ((0, 10), (10, Why::Committed)),
                ((10, 10), (10, Why::Committed)),
                ((0, 9), (9, Why::BeyondEnd)),
                ((12, 20), (12, Why::BelowBeginning)),
            ] {
                assert_eq!(at(&found(10, of_commit, of_log, Some(bounds))), Ok(expected));
            }
        }
        let beyond = decide(&found(10, log(1), log(1), Some((0, 4)))).unwrap();
        assert_eq!(beyond.progress, Progress { log: log(1), ..Progress::default() });
        let below = decide(&found(10, log(1), log(1), Some((13, 20)))).unwrap();
        assert_eq!(below.progress.finished, [(12, 13)]);
        assert!(below.progress.begun.is_empty());
    }

    #[test]
    fn a_topic_made_again_is_read_from_its_beginning() {
        // Also where it holds more records than the one before.
        for bounds in [(0, 4), (0, 10), (0, 4_000)] {
            let found = Found {
                committed: committed(10, log(1)),
                log_offsets: Some(bounds),
                log: log(2),
                ..Found::default()
            };
            let start = decide(&found).unwrap();
            assert_eq!((start.position, start.why), (0, Why::MadeAgain));
            assert_eq!(start.progress, Progress { log: log(2), ..Progress::default() });
            let unasked = Found { log_offsets: None, ..found };
            assert_eq!(at(&unasked), Err(Undecided::NeedsOffsets));
        }
    }

    #[test]
    fn a_commit_copied_from_another_cluster_repeats_no_call() {
        let found = Found {
            committed: committed(10, Some(LogId::new("elsewhere", 1))),
            log: log(2),
            ..Found::default()
        };
        let start = decide(&found).unwrap();
        assert_eq!((start.position, start.why), (10, Why::Committed));
        assert_eq!((start.progress.begun, start.progress.finished), (vec![10], vec![]));
        assert_eq!(start.progress.log, log(2));
    }

    #[test]
    fn a_log_that_was_cut_off_is_read_from_there() {
        let found = |cut_at, bounds| Found {
            committed: committed(10, log(1)),
            log_offsets: Some(bounds),
            log: log(1),
            earlier: Some(Earlier { log: log(1), position: Some(10), cut_at: Some(cut_at) }),
            ..Found::default()
        };
        for (cut_at, bounds, position, finished, begun) in [
            (6, (0, 6), 6, vec![], vec![]),
            // Written to again since.
            (6, (0, 90), 6, vec![], vec![]),
            (10, (0, 90), 10, vec![], vec![]),
            (11, (0, 90), 10, vec![], vec![10]),
            (13, (0, 90), 10, vec![(12, 12)], vec![10]),
            (40, (0, 90), 10, vec![(12, 13)], vec![10]),
            (6, (8, 90), 8, vec![], vec![]),
        ] {
            let start = decide(&found(cut_at, bounds)).unwrap();
            assert_eq!((start.position, start.why), (position, Why::CutOff), "{cut_at}");
            assert_eq!((start.progress.finished, start.progress.begun), (finished, begun));
        }
        // It was remembered of another log.
        let mut other = found(6, (0, 90));
        other.earlier = other.earlier.map(|earlier| Earlier { log: log(3), ..earlier });
        assert_eq!(at(&other), Ok((10, Why::Committed)));
    }
}
