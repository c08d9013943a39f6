//! The thread that waits for the group's coordinator, so that the one that polls never does.
//!
//! librdkafka reports a commit's result only to a synchronous caller (rdkafka 0.39 sets no commit
//! callback), and a synchronous commit may wait for a minute while the coordinator moves. So
//! commits, and the reading of committed offsets, happen here, one after the other.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::Offset,
};
use tokio::sync::oneshot;

use super::{
    Settings,
    assignment::{Assignment, Group, Uncommitted},
    consumer::{Context, Starts},
    offsets::METADATA_LIMIT,
    positions::Positions,
};

/// How often it is looked whether the topics still are the ones that are read.
const LOOK_AT_TOPICS: Duration = Duration::from_secs(5);

/// How often a session that is the broker's is asked for: it may be changed while a group runs.
const ASK_FOR_SESSION: Duration = Duration::from_secs(60);

/// How long nothing is committed but for the last time, once the coordinator said that the group
/// rebalances. It ends with a new generation, and a commit of the old one that arrives in that moment
/// costs the whole assignment: what is in flight would be done again by others.
const REBALANCE_PAUSE: Duration = Duration::from_secs(1);

/// What earlier commits have taught.
struct Known {
    metadata_limit: usize,
    /// No commit but the last one is tried before.
    not_before: Instant,
}

impl Known {
    fn at(now: Instant) -> Self {
        Self { metadata_limit: METADATA_LIMIT, not_before: now }
    }

    /// Whether anything but the last commit may be tried.
    fn may_commit(&self, now: Instant) -> bool {
        self.not_before <= now
    }

    /// Learns from a commit that was refused.
    fn refused(&mut self, code: RDKafkaErrorCode, now: Instant) -> Refused {
        match code {
            // The broker takes less than Kafka's default (`offset.metadata.max.bytes`).
            RDKafkaErrorCode::OffsetMetadataTooLarge => self.metadata_limit /= 2,
            RDKafkaErrorCode::RebalanceInProgress => self.not_before = now + REBALANCE_PAUSE,
            RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::StaleMemberEpoch
            | RDKafkaErrorCode::FencedMemberEpoch => return Refused::NoMember,
            _ => {}
        }
        Refused::TryAgain
    }
}

/// What a refused commit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    TryAgain,
    /// The coordinator answers, and says that we are not of the group any more: no call begins on
    /// that answer.
    NoMember,
}

/// What the committer is asked for.
#[derive(Debug)]
pub(super) enum Job {
    /// Commit what has begun in a partition, now.
    Begin { assignment: Arc<Assignment>, answer: oneshot::Sender<bool> },
    /// Commit these partitions for the last time; the answer is whether that worked.
    Last { assignments: Vec<Arc<Assignment>>, answer: Sender<bool> },
    /// Find out where partitions begin.
    Find { partitions: TopicPartitionList, answer: Sender<Starts> },
}

/// Serves jobs, and commits what has changed every `every`, until nobody can ask any more.
pub(super) fn serve(
    positions: &Positions<'_>,
    group: &Group,
    jobs: &Receiver<Job>,
    settings: &Settings,
) {
    let consumer = positions.consumer;
    let every = settings.commit_every;
    let mut next_session = Instant::now() + ASK_FOR_SESSION;
    let mut known = Known::at(Instant::now());
    let mut next_look = Instant::now() + LOOK_AT_TOPICS;
    let mut next = Instant::now() + every;
    loop {
        let mut begins: Vec<(Arc<Assignment>, oneshot::Sender<bool>)> = Vec::new();
        let mut job = match jobs.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(this) = job {
            match this {
                Job::Begin { assignment, answer } => begins.push((assignment, answer)),
                Job::Last { assignments, answer } => {
                    let mut done = true;
                    for assignment in &assignments {
                        done &= commit(consumer, group, assignment, &mut known);
                    }
                    answer.send(done).ok();
                }
                Job::Find { partitions, answer } => {
                    answer.send(positions.find(&partitions)).ok();
                }
            }
            job = jobs.try_recv().ok();
        }
        // A call is at most once a record: it does not begin on a record of another log than the one
        // whose commits say what has begun.
        let asked: Vec<_> = begins.iter().map(|(assignment, _)| Arc::clone(assignment)).collect();
        let of_these_logs = asked.is_empty() || same_logs(positions, group, &asked);
        while let Some((assignment, answer)) = begins.pop() {
            // Beginnings of one partition share a commit.
            let done = of_these_logs
                && !assignment.stop.is_cancelled()
                && known.may_commit(Instant::now())
                && !group.left().is_zero()
                && commit(consumer, group, &assignment, &mut known);
            let mut answers = vec![answer];
            let mut index = 0;
            while index < begins.len() {
                if Arc::ptr_eq(&begins[index].0, &assignment) {
                    answers.push(begins.swap_remove(index).1);
                } else {
                    index += 1;
                }
            }
            for answer in answers {
                // Whoever asked may have given up; the beginning is then taken back by it.
                answer.send(done).ok();
            }
        }
        if Instant::now() >= next {
            // Who was not heard from for a session has nothing to say about these partitions; a
            // commit under a membership that begins anew would take back what their owner said.
            if !group.left().is_zero() && known.may_commit(Instant::now()) {
                for assignment in group.active() {
                    commit(consumer, group, &assignment, &mut known);
                }
            }
            next = Instant::now() + every;
        }
        if Instant::now() >= next_look {
            if !group.left().is_zero() {
                same_logs(positions, group, &group.active());
            }
            next_look = Instant::now() + LOOK_AT_TOPICS;
        }
        if settings.session.is_the_brokers() && Instant::now() >= next_session {
            ask_for_session(positions, group, settings);
            next_session = Instant::now() + ASK_FOR_SESSION;
        }
    }
}

fn ask_for_session(positions: &Positions<'_>, group: &Group, settings: &Settings) {
    let id = positions.config.get("group.id").unwrap_or_default();
    let topic = settings.topics.first().map_or("", |(topic, _)| topic);
    match settings.session.find(positions.consumer, id, topic) {
        Ok(session) => group.set_session(session),
        Err(error) => tracing::debug!(%error, "the group's session could not be asked for"),
    }
}

/// Whether these partitions still are of the logs that are read. A topic that was deleted and made
/// again goes on to be read where the old one was, as if nothing had happened, if it holds enough.
fn same_logs(positions: &Positions<'_>, group: &Group, assignments: &[Arc<Assignment>]) -> bool {
    if assignments.is_empty() || !positions.cluster.has_ids() {
        return true;
    }
    let topics: Vec<&str> = assignments.iter().map(|assignment| &*assignment.topic).collect();
    let logs = match positions.cluster.logs(positions.consumer, &topics) {
        Ok(logs) => logs,
        Err(error) => {
            tracing::debug!(%error, "the topics could not be described");
            return false;
        }
    };
    let mut same = true;
    for assignment in assignments {
        // One that is not there now may come again.
        if let Some(log) = logs.get(&*assignment.topic)
            && assignment.log() != Some(*log)
        {
            group.went_back(assignment);
            same = false;
        }
    }
    same
}

/// Commits what has changed in a partition. `false` where nobody knows that it is committed.
///
/// One partition a commit: the result of a commit of several is an error only where all of them
/// were refused. One whose metadata is too large for the broker would be taken for committed among
/// others, and its position would stand still unseen.
fn commit(
    consumer: &BaseConsumer<Context>,
    group: &Group,
    assignment: &Assignment,
    known: &mut Known,
) -> bool {
    if assignment.gone.is_cancelled() {
        return true;
    }
    assignment.set_metadata_limit(known.metadata_limit);
    let commit = match assignment.uncommitted() {
        Uncommitted::Changed(commit) => commit,
        Uncommitted::Nothing => return true,
        Uncommitted::NoRoom => return false,
    };
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(&assignment.topic, assignment.partition);
    if element.set_offset(Offset::Offset(commit.position)).is_err() {
        return false;
    }
    element.set_metadata(&commit.metadata);
    wms_kafka_raw::set_leader_epoch(&mut list, 0, commit.leader_epoch);
    match consumer.commit(&list, CommitMode::Sync) {
        Ok(()) => {
            assignment.committed(commit);
            true
        }
        Err(error) => {
            if let KafkaError::ConsumerCommit(code) = error
                && known.refused(code, Instant::now()) == Refused::NoMember
            {
                group.forget_contact();
            }
            let (topic, partition) = (&*assignment.topic, assignment.partition);
            tracing::warn!(%error, topic, partition, "an offset was not committed; trying again");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_commit_teaches_what_to_do_next() {
        use RDKafkaErrorCode as Code;
        let now = Instant::now();
        let pause = Duration::from_secs(1);
        for (code, refused, metadata_limit, not_before) in [
            (Code::OffsetMetadataTooLarge, Refused::TryAgain, METADATA_LIMIT / 2, now),
            (Code::RebalanceInProgress, Refused::TryAgain, METADATA_LIMIT, now + pause),
            (Code::UnknownMemberId, Refused::NoMember, METADATA_LIMIT, now),
            (Code::IllegalGeneration, Refused::NoMember, METADATA_LIMIT, now),
            (Code::FencedInstanceId, Refused::NoMember, METADATA_LIMIT, now),
            (Code::StaleMemberEpoch, Refused::NoMember, METADATA_LIMIT, now),
            (Code::FencedMemberEpoch, Refused::NoMember, METADATA_LIMIT, now),
            (Code::CoordinatorNotAvailable, Refused::TryAgain, METADATA_LIMIT, now),
            (Code::RequestTimedOut, Refused::TryAgain, METADATA_LIMIT, now),
        ] {
            let mut known = Known::at(now);
            assert_eq!(known.refused(code, now), refused, "{code}");
            assert_eq!((known.metadata_limit, known.not_before), (metadata_limit, not_before));
            assert_eq!(known.may_commit(now), not_before == now, "{code}");
            assert!(known.may_commit(now + pause), "{code}");
        }
    }
}
