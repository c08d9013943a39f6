//! The thread that owns the consumer and always polls.
//!
//! A rebalance callback runs inside the poll and only notes what is asked; the answer (assign,
//! unassign) is given from the loop, once the committed offsets are read or what is in flight has
//! ended and is committed. librdkafka waits for it, pauses what is affected, and keeps the session
//! alive, because the loop goes on polling meanwhile.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    topic_partition_list::Offset,
    types::RDKafkaRespErr,
};
use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    Coordinates, Metrics, Record, Settings,
    assignment::{Assignment, Group, Held, locked},
    begin::Start,
    committer::Job,
    offsets::Fetched,
    pipeline::RunError,
    positions::{History, Partition, PositionError, resets},
};
use crate::kafka::{self, LoggingContext, ReadHeaders};

/// How long a poll waits; pauses, releases and shutdown are noticed so soon.
const POLL: Duration = Duration::from_millis(10);

/// What the last commit of a shutdown is left of its time at most.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// A command that was fetched and is to be done.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) assignment: Arc<Assignment>,
    pub(super) record: Record,
    /// Its at-most-once call began before a restart; its outcome is not known.
    pub(super) begun: bool,
    /// Its bytes, held until it is finished.
    pub(super) _held: Held,
}

#[derive(Debug)]
enum Rebalance {
    Assign(TopicPartitionList),
    Revoke { partitions: TopicPartitionList, lost: bool },
}

/// What the callbacks note.
pub(super) struct Context {
    group: Arc<Group>,
    metrics: Arc<dyn Metrics>,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// The consumer is being dropped: the group's first question is answered at once, and no other.
    closing: AtomicBool,
    answered: AtomicBool,
    /// A partition's next record is not where it is looked for; the statistics say which one's.
    out_of_range: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        LoggingContext.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        LoggingContext.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        let coordinator = statistics.brokers.values().find(|broker| broker.source == "logical");
        if let Some(broker) = coordinator
            && let Ok(idle) = u64::try_from(broker.rxidle)
        {
            let receipt = statistics.ts.saturating_sub(broker.rxidle);
            self.group.heard(Duration::from_micros(idle), receipt);
        }
        let active = self.group.active();
        let joined = statistics.cgrp.is_some_and(|group| group.join_state == "steady");
        self.metrics.group(joined);
        let out_of_range = self.out_of_range.swap(false, Ordering::SeqCst);
        for assignment in active {
            let partition = statistics
                .topics
                .get(&*assignment.topic)
                .and_then(|topic| topic.partitions.get(&assignment.partition.to_string()));
            if out_of_range && partition.is_some_and(|p| p.fetch_state == "none") {
                self.group.went_back(&assignment);
            }
            let end = partition.map(|partition| partition.ls_offset).filter(|end| *end >= 0);
            if let (Some(end), Some(position)) = (end, assignment.position()) {
                let lag = Some((end - position).max(0));
                self.metrics.lag(&assignment.topic, assignment.partition, lag);
            }
        }
    }
}

/// The part of librdkafka's statistics that is looked at.
#[derive(Deserialize)]
struct Statistics {
    /// librdkafka's monotonic clock, in microseconds.
    #[serde(default)]
    ts: i64,
    #[serde(default)]
    brokers: HashMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
    cgrp: Option<GroupStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    source: String,
    /// Microseconds since anything was received, -1 if nothing was.
    rxidle: i64,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    ls_offset: i64,
    /// `none` once the client gave up: the offset is not within the log.
    #[serde(default)]
    fetch_state: String,
}

#[derive(Deserialize)]
struct GroupStatistics {
    join_state: String,
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assign = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            // When the process ends in the middle of a rebalance, two questions are on their way.
            // A closing consumer takes any answer as "everything is given back" and ends; librdkafka
            // drops an answer that is in its queue at that moment, and whoever gave it waits for ever.
            if self.answered.swap(true, Ordering::SeqCst) {
                return;
            }
            if assign {
                assign_partitions(consumer, partitions)
            } else {
                unassign(consumer, partitions)
            }
            return;
        }
        let partitions = partitions.clone();
        locked(&self.rebalances).push_back(if assign {
            Rebalance::Assign(partitions)
        } else {
            Rebalance::Revoke { partitions, lost: consumer.assignment_lost() }
        });
    }
}

fn assign_partitions(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
    let result = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    };
    if let Err(error) = result {
        tracing::warn!(%error, "the group's assignment could not be taken");
    }
}

fn unassign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
    let result = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    };
    if let Err(error) = result {
        tracing::warn!(%error, "partitions could not be given back");
    }
}

/// Makes the consumer, which subscribes to nothing yet. Its statistics say when the group was last
/// heard from.
pub(super) fn create(
    mut config: ClientConfig,
    settings: &Settings,
    group: Arc<Group>,
    metrics: Arc<dyn Metrics>,
) -> KafkaResult<Arc<BaseConsumer<Context>>> {
    let every = settings.session.look_every();
    config.set("statistics.interval.ms", every.as_millis().to_string());
    let consumer: BaseConsumer<Context> = kafka::create(
        &config,
        Context {
            group,
            metrics,
            rebalances: Mutex::new(VecDeque::new()),
            closing: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            out_of_range: AtomicBool::new(false),
        },
    )?;
    Ok(Arc::new(consumer))
}

/// Where partitions begin.
pub(super) type Starts = Result<Vec<(Partition, Start)>, PositionError>;

enum Pending {
    /// Where each begins is being found out.
    Assign { partitions: TopicPartitionList, found: Option<mpsc::Receiver<Starts>> },
    /// What is in flight ends, then it is committed.
    Revoke {
        partitions: TopicPartitionList,
        leaving: Vec<Arc<Assignment>>,
        until: Instant,
        last: Option<LastCommit>,
    },
}

/// The last commit of partitions that are given back. A group that is being rebalanced refuses
/// commits for a while (`REBALANCE_IN_PROGRESS`), so it is asked for until it works: without it the
/// next owner would repeat everything since the rebalance began.
#[derive(Default)]
struct LastCommit {
    asked: Option<mpsc::Receiver<bool>>,
    not_before: Option<Instant>,
}

impl LastCommit {
    const PAUSE: Duration = Duration::from_millis(50);

    fn done(&mut self, this: &Loop, leaving: &[Arc<Assignment>]) -> bool {
        match self.asked.as_ref().map(mpsc::Receiver::try_recv) {
            Some(Ok(true) | Err(mpsc::TryRecvError::Disconnected)) => return true,
            Some(Ok(false)) => {
                self.asked = None;
                self.not_before = Some(Instant::now() + Self::PAUSE);
            }
            Some(Err(mpsc::TryRecvError::Empty)) => {}
            None if self.not_before.is_none_or(|at| at <= Instant::now()) => {
                let (answer, asked) = mpsc::channel();
                let assignments = leaving.to_vec();
                if this.jobs.send(Job::Last { assignments, answer }).is_err() {
                    return true;
                }
                self.asked = Some(asked);
            }
            None => {}
        }
        false
    }
}

/// The loop's state.
pub(super) struct Loop {
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) group: Arc<Group>,
    pub(super) settings: Settings,
    pub(super) metrics: Arc<dyn Metrics>,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) taken: UnboundedSender<Taken>,
    pub(super) stop: CancellationToken,
    pub(super) history: History,
    /// Why it ends by itself.
    pub(super) fault: RefCell<Option<RunError>>,
}

impl Loop {
    /// Polls until `stop`, then waits for what is in flight, commits and gives everything back; the
    /// same after a panic, which the second part of the answer tells. The caller drops the consumer.
    pub(super) fn run(self) -> (Result<(), RunError>, bool) {
        let mut pending: Option<Pending> = None;
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&mut pending)));
        // A rebalance that was being answered when a panic came is answered by the end.
        let ended = catch_unwind(AssertUnwindSafe(|| self.finish(pending)));
        if ended.is_err() {
            let active = self.group.active();
            for assignment in &active {
                assignment.stop.cancel();
                assignment.gone.cancel();
            }
            locked(&self.group.active).clear();
        }
        match (polled, ended) {
            (Ok(result), Ok(())) => (result, false),
            (Ok(_) | Err(_), Ok(()) | Err(_)) => (Ok(()), true),
        }
    }

    fn poll(&self, pending: &mut Option<Pending>) -> Result<(), RunError> {
        let mut paused: HashMap<(Arc<str>, i32), Arc<Assignment>> = HashMap::new();
        while !self.stop.is_cancelled() {
            self.group.polled();
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => self.take(&message, &mut paused),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(RunError::Consumer(KafkaError::MessageConsumptionFatal(code)));
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    // It does not say of which partition.
                    self.consumer.context().out_of_range.store(true, Ordering::SeqCst);
                }
                Some(Err(error)) => tracing::warn!(%error, "the command consumer"),
                None => {}
            }
            if pending.is_none() {
                *pending = self.next_pending();
            }
            if let Some(this) = pending.take() {
                *pending = self.advance(this);
            }
            self.resume(&mut paused);
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            self.look_back()?;
        }
        Ok(())
    }

    /// Ends the run where a partition's offsets went back. The next one decides where it begins, with
    /// a client that remembers nothing of the old log: librdkafka's goes on to believe the old
    /// leader's epoch, and may never read the new one.
    fn look_back(&self) -> Result<(), RunError> {
        let went_back = self.group.take_went_back();
        let Some(first) = went_back.first() else { return Ok(()) };
        for assignment in &went_back {
            let (next, leader_epoch) = assignment.next();
            let partition = (Arc::clone(&assignment.topic), assignment.partition);
            self.history.went_back(partition, next, leader_epoch);
        }
        let (topic, partition) = (first.topic.to_string(), first.partition);
        Err(RunError::WentBack { topic, partition, others: went_back.len() - 1 })
    }

    fn take(
        &self,
        message: &BorrowedMessage<'_>,
        paused: &mut HashMap<(Arc<str>, i32), Arc<Assignment>>,
    ) {
        let key = (Arc::from(message.topic()), message.partition());
        let Some(assignment) = locked(&self.group.active).get(&key).cloned() else { return };
        if assignment.stop.is_cancelled() {
            return;
        }
        let fetched = assignment.fetch(message.offset(), wms_kafka_raw::leader_epoch(message));
        if fetched == Fetched::Repeated {
            self.group.went_back(&assignment);
        }
        if fetched == Fetched::New || fetched == Fetched::Begun {
            let record = record(message, &assignment.topic);
            let held = assignment.hold(record.bytes());
            let begun = fetched == Fetched::Begun;
            let taken = Taken { assignment: Arc::clone(&assignment), record, begun, _held: held };
            if self.taken.send(taken).is_err() {
                // The pipeline has ended; what was fetched is not finished and comes again.
                self.stop.cancel();
            }
        }
        let full = self.group.is_full(&assignment, self.settings.max_buffered_bytes);
        if assignment.len() >= self.settings.window || full {
            let list = [(&*assignment.topic, assignment.partition)];
            match self.consumer.pause(&partitions(list)) {
                Ok(()) => {
                    paused.insert(key, assignment);
                }
                Err(error) => tracing::warn!(%error, "a partition could not be paused"),
            }
        }
    }

    fn resume(&self, paused: &mut HashMap<(Arc<str>, i32), Arc<Assignment>>) {
        // At three quarters of the window. Each pause throws away what was fetched ahead, so not at
        // once; and where keys are many, half of it is used up before the next records are there:
        // keys then stand still.
        let room = self.settings.window - self.settings.window / 4;
        paused.retain(|(topic, partition), assignment| {
            if assignment.stop.is_cancelled() {
                return false;
            }
            let most = self.settings.max_buffered_bytes;
            if assignment.len() >= room || self.group.is_full(assignment, most) {
                return true;
            }
            match self.consumer.resume(&partitions([(&**topic, *partition)])) {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "a partition could not be resumed");
                    true
                }
            }
        });
    }

    fn next_pending(&self) -> Option<Pending> {
        let rebalance = locked(&self.consumer.context().rebalances).pop_front()?;
        match rebalance {
            Rebalance::Assign(partitions) => Some(Pending::Assign { partitions, found: None }),
            Rebalance::Revoke { partitions, lost: true } => {
                let leaving = self.leaving(&partitions);
                self.lost(&leaving);
                self.release(&leaving);
                unassign(&self.consumer, &partitions);
                None
            }
            Rebalance::Revoke { partitions, lost: false } => {
                let leaving = self.leaving(&partitions);
                let until = Instant::now() + self.settings.call_timeout;
                Some(Pending::Revoke { partitions, leaving, until, last: None })
            }
        }
    }

    /// Stops what has not begun in these partitions.
    fn leaving(&self, partitions: &TopicPartitionList) -> Vec<Arc<Assignment>> {
        let active = locked(&self.group.active);
        let elements = partitions.elements();
        let keys = elements.iter().map(|e| (Arc::from(e.topic()), e.partition()));
        let leaving: Vec<_> = keys.filter_map(|key| active.get(&key).cloned()).collect();
        for assignment in &leaving {
            assignment.stop.cancel();
        }
        leaving
    }

    fn lost(&self, leaving: &[Arc<Assignment>]) {
        tracing::warn!(
            partitions = leaving.len(),
            "partitions were lost: their next owner repeats what was finished since the last commit"
        );
        self.metrics.uncommitted(leaving.len());
    }

    fn release(&self, leaving: &[Arc<Assignment>]) {
        let mut active = locked(&self.group.active);
        for assignment in leaving {
            assignment.stop.cancel();
            assignment.gone.cancel();
            let partition = (Arc::clone(&assignment.topic), assignment.partition);
            active.remove(&partition);
            // Another process may read on from here.
            self.history.left(partition, assignment.log(), None);
            self.metrics.lag(&assignment.topic, assignment.partition, None);
        }
        self.metrics.owns(active.len());
    }

    fn advance(&self, pending: Pending) -> Option<Pending> {
        match pending {
            Pending::Assign { partitions, found } => self.assign(partitions, found),
            Pending::Revoke { partitions, leaving, until, last } => {
                if self.consumer.assignment_lost() {
                    self.lost(&leaving);
                } else if let Some(mut last) = last {
                    if !last.done(self, &leaving) {
                        if Instant::now() < until {
                            return Some(Pending::Revoke {
                                partitions,
                                leaving,
                                until,
                                last: Some(last),
                            });
                        }
                        tracing::warn!(
                            partitions = leaving.len(),
                            "partitions are given back, but the group took no commit: their next \
                             owner repeats what was finished since the last one"
                        );
                        self.metrics.uncommitted(leaving.len());
                    }
                } else {
                    let busy = leaving.iter().any(|assignment| assignment.is_busy());
                    if busy && Instant::now() < until {
                        return Some(Pending::Revoke { partitions, leaving, until, last: None });
                    }
                    // The coordinator gets as long again; after that another process may repeat a
                    // little, which is better than a group that cannot rebalance.
                    let until = Instant::now() + self.settings.call_timeout;
                    let last = Some(LastCommit::default());
                    return Some(Pending::Revoke { partitions, leaving, until, last });
                }
                self.release(&leaving);
                unassign(&self.consumer, &partitions);
                None
            }
        }
    }

    /// Takes partitions once it is known what an earlier owner finished and began in them.
    fn assign(
        &self,
        partitions: TopicPartitionList,
        found: Option<mpsc::Receiver<Starts>>,
    ) -> Option<Pending> {
        if partitions.count() == 0 {
            assign_partitions(&self.consumer, &partitions);
            return None;
        }
        let answer = match found.as_ref().map(mpsc::Receiver::try_recv) {
            Some(Err(mpsc::TryRecvError::Empty)) => {
                return Some(Pending::Assign { partitions, found });
            }
            None | Some(Err(mpsc::TryRecvError::Disconnected)) => None,
            Some(Ok(Ok(starts))) => Some(starts),
            Some(Ok(Err(error @ PositionError::NeedsBegin { .. }))) => {
                self.fault.replace(Some(RunError::Position(error)));
                return Some(Pending::Assign { partitions, found: None });
            }
            Some(Ok(Err(PositionError::Kafka(error)))) => {
                tracing::warn!(%error, "committed offsets could not be read; trying again");
                None
            }
        };
        let Some(starts) = answer else {
            let (answer, found) = mpsc::channel();
            self.jobs.send(Job::Find { partitions: partitions.clone(), answer }).ok();
            return Some(Pending::Assign { partitions, found: Some(found) });
        };
        for ((topic, reason), partitions) in resets(&starts) {
            self.metrics.offset_resets(&topic, reason, partitions);
        }
        let list = self.begin(starts);
        tracing::info!(partitions = list.count(), "partitions were assigned");
        assign_partitions(&self.consumer, &list);
        // A pause outlives the assignment it was made in.
        if let Err(error) = self.consumer.resume(&list) {
            tracing::warn!(%error, "assigned partitions could not be resumed");
        }
        None
    }

    /// Takes partitions in hand; the answer is where the client is to read.
    fn begin(&self, starts: Vec<(Partition, Start)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        let mut active = locked(&self.group.active);
        for (index, ((topic, partition), start)) in starts.into_iter().enumerate() {
            let mut element = list.add_partition(&topic, partition);
            if let Err(error) = element.set_offset(Offset::Offset(start.position)) {
                tracing::error!(%error, %topic, partition, "the offset cannot be read from");
            }
            wms_kafka_raw::set_leader_epoch(&mut list, index, start.leader_epoch);
            let buffered = Arc::clone(&self.group.buffered);
            let assignment = Assignment::new(&topic, partition, next_epoch(), start, buffered);
            active.insert((topic, partition), Arc::new(assignment));
        }
        self.metrics.owns(active.len());
        list
    }

    /// Shutdown: nothing new, wait for what is in flight, commit.
    fn finish(&self, pending: Option<Pending>) {
        let active = self.group.active();
        for assignment in &active {
            assignment.stop.cancel();
        }
        let timeout = self.settings.shutdown_timeout;
        let end = Instant::now() + timeout;
        // A call that takes all the time there is must not cost the others their commit.
        let calls_end = end - (timeout / 4).min(LAST_COMMIT);
        let wait = |until: Instant, done: &mut dyn FnMut() -> bool| loop {
            if done() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            self.group.polled();
            // Records that still come are not taken; the session stays alive.
            drop(self.consumer.poll(POLL));
        };
        wait(calls_end, &mut || !active.iter().any(|assignment| assignment.is_busy()));
        let mut last = LastCommit::default();
        if !active.is_empty() && !wait(end, &mut || last.done(self, &active)) {
            tracing::warn!(
                partitions = active.len(),
                "the last commit was not confirmed in time: what was finished since the one before \
                 may be repeated"
            );
            self.metrics.uncommitted(active.len());
        }
        self.consumer.context().closing.store(true, Ordering::SeqCst);
        let noted = std::mem::take(&mut *locked(&self.consumer.context().rebalances));
        let waiting = pending.into_iter().map(|pending| match pending {
            Pending::Assign { partitions, .. } => Rebalance::Assign(partitions),
            Pending::Revoke { partitions, .. } => Rebalance::Revoke { partitions, lost: false },
        });
        for rebalance in waiting.chain(noted) {
            match rebalance {
                Rebalance::Assign(partitions) => assign_partitions(&self.consumer, &partitions),
                Rebalance::Revoke { partitions, .. } => unassign(&self.consumer, &partitions),
            }
        }
        let left: Vec<_> = active
            .iter()
            .map(|assignment| {
                let partition = (Arc::clone(&assignment.topic), assignment.partition);
                (partition, assignment.log(), assignment.position())
            })
            .collect();
        self.release(&active);
        for (partition, log, position) in left {
            self.history.left(partition, log, position);
        }
        self.metrics.group(false);
    }
}

fn next_epoch() -> u64 {
    static EPOCH: AtomicU64 = AtomicU64::new(1);
    EPOCH.fetch_add(1, Ordering::Relaxed)
}

fn partitions<'a>(list: impl IntoIterator<Item = (&'a str, i32)>) -> TopicPartitionList {
    let mut partitions = TopicPartitionList::new();
    for (topic, partition) in list {
        partitions.add_partition(topic, partition);
    }
    partitions
}

fn record(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Record {
    let ReadHeaders { headers, unreadable } = ReadHeaders::of(message);
    Record {
        at: Coordinates {
            topic: Arc::clone(topic),
            partition: message.partition(),
            offset: message.offset(),
        },
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers,
        unreadable_header: unreadable,
        timestamp: message.timestamp().to_millis(),
    }
}
