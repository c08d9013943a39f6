//! Finds out where the partitions of a process begin: asks the cluster what `begin` decides on.
//!
//! Everything here blocks; it runs before the group is joined, and in the committer's thread.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::Offset,
};
use wms_kafka_raw::{DescribedTopic, describe_topics, has_controller};

use super::{
    assignment::locked,
    begin::{self, Begin, Committed, Earlier, Found, Start, Undecided, Why},
    consumer::Context,
    offsets::{LogId, METADATA_LIMIT, Progress},
};
use crate::kafka::{self, Quiet};

/// How long one question to the cluster may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A partition of a topic.
pub(super) type Partition = (Arc<str>, i32);

/// Why it is not known where a partition begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(
        "group `{group}` has no committed offset on topic `{topic}`, partition {partition}, which \
         holds the offsets {low} to {high}: a new group, a renamed one, one whose offsets expired, or \
         another cluster. Set `commands.begin` to \"end\" (only what is sent from now on), to \
         \"earliest\" (everything again that the topic holds, `call`s too), or to the time \
         (RFC 3339) from which on commands were not carried out yet"
    )]
    NeedsBegin { group: String, topic: String, partition: i32, low: i64, high: i64 },
}

/// What is remembered of a partition while the process runs, also where the pipeline starts again.
#[derive(Debug, Clone, Copy, Default)]
struct Remembered {
    earlier: Earlier,
    /// Its offsets went back: the next offset it would have read, and the leader epoch of the record
    /// before.
    went_back: Option<(i64, Option<i32>)>,
}

/// What the process remembers of the partitions it read.
#[derive(Debug, Clone, Default)]
pub(super) struct History(Arc<Mutex<HashMap<Partition, Remembered>>>);

impl History {
    /// The partition is read on from here by the next run of the pipeline.
    pub(super) fn left(&self, partition: Partition, log: Option<LogId>, position: Option<i64>) {
        let mut all = locked(&self.0);
        let remembered = all.entry(partition).or_default();
        remembered.earlier = Earlier { log, position, cut_at: None };
    }

    /// What comes next in this partition is not what came after the last record.
    pub(super) fn went_back(&self, partition: Partition, next: i64, leader_epoch: Option<i32>) {
        locked(&self.0).entry(partition).or_default().went_back = Some((next, leader_epoch));
    }

    fn of(&self, partition: &Partition) -> Option<Remembered> {
        locked(&self.0).get(partition).copied()
    }

    /// It is known again where the partition is read.
    fn settled(&self, partition: &Partition) {
        if let Some(remembered) = locked(&self.0).get_mut(partition) {
            remembered.went_back = None;
        }
    }
}

/// What the cluster says of its topics.
#[derive(Debug, Clone, Default)]
pub(super) struct Cluster {
    /// Its id; `None` where topics have no ids, or nobody to ask for them.
    id: Option<String>,
}

impl Cluster {
    /// Whether the logs of this cluster can be told apart.
    pub(super) fn has_ids(&self) -> bool {
        self.id.is_some()
    }

    /// The logs of topics now. A topic that does not exist at the moment is not among them.
    pub(super) fn logs(
        &self,
        consumer: &BaseConsumer<Context>,
        topics: &[&str],
    ) -> Result<HashMap<String, LogId>, KafkaError> {
        let Some(cluster) = &self.id else { return Ok(HashMap::new()) };
        let described = describe_topics(consumer.client(), topics, TIMEOUT)
            .map_err(KafkaError::MetadataFetch)?;
        let log = |topic: DescribedTopic| match (topic.error, topic.id) {
            (None, Some(id)) => Some(Ok((topic.name, LogId::new(cluster, id)))),
            // One that may not be described takes nothing from the others.
            (None, None)
            | (
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::TopicAuthorizationFailed,
                ),
                _,
            ) => None,
            (Some(error), _) => Some(Err(KafkaError::MetadataFetch(error))),
        };
        described.into_iter().filter_map(log).collect()
    }
}

/// Asks the cluster for one consumer.
pub(super) struct Positions<'a> {
    pub(super) consumer: &'a BaseConsumer<Context>,
    /// The consumer's properties.
    pub(super) config: &'a ClientConfig,
    pub(super) begin: Option<Begin>,
    pub(super) history: &'a History,
    pub(super) cluster: &'a Cluster,
}

/// What the cluster has, asked before the group is joined.
pub(super) fn cluster(
    consumer: &BaseConsumer<Context>,
    topics: &[&str],
) -> Result<Cluster, KafkaError> {
    let Some(topic) = topics.first() else { return Ok(Cluster::default()) };
    if !has_controller(consumer.client(), topic, TIMEOUT)? {
        return Ok(Cluster::default());
    }
    let described = describe_topics(consumer.client(), topics, TIMEOUT);
    let ids = match described {
        Ok(topics) => topics.iter().any(|topic| topic.id.is_some()),
        Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion) => false,
        Err(error) => return Err(KafkaError::MetadataFetch(error)),
    };
    let id = if ids { consumer.client().fetch_cluster_id(TIMEOUT) } else { None };
    Ok(Cluster { id })
}

impl Positions<'_> {
    /// Decides where partitions without a commit begin, before any of them is read, and commits it:
    /// a process that starts a moment later, or again, is to find the same.
    pub(super) fn settle(&self, topics: &[&str]) -> Result<Vec<(Partition, Start)>, PositionError> {
        let mut all = TopicPartitionList::new();
        for topic in topics {
            let metadata = self.consumer.fetch_metadata(Some(topic), TIMEOUT)?;
            for found in metadata.topics() {
                for partition in found.partitions() {
                    all.add_partition(topic, partition.id());
                }
            }
        }
        let committed = self.committed(&all)?;
        let mut uncommitted = TopicPartitionList::new();
        for (topic, partition) in all.elements().iter().map(|e| (e.topic(), e.partition())) {
            if !committed.contains_key(&(Arc::from(topic), partition)) {
                uncommitted.add_partition(topic, partition);
            }
        }
        if uncommitted.count() == 0 {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::new();
        let starts = self.find(&uncommitted)?;
        for ((topic, partition), start) in &starts {
            let metadata = start.progress.encode(start.position, METADATA_LIMIT);
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(start.position))?;
            element.set_metadata(metadata.unwrap_or_default());
        }
        match self.consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => Ok(starts),
            // The group has members: the one that owns a partition decides, and commits it.
            Err(KafkaError::ConsumerCommit(code)) => {
                tracing::debug!(%code, "the first offsets are the members' to commit");
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where each of these partitions begins.
    pub(super) fn find(
        &self,
        partitions: &TopicPartitionList,
    ) -> Result<Vec<(Partition, Start)>, PositionError> {
        let elements = partitions.elements();
        let wanted: Vec<Partition> =
            elements.iter().map(|e| (Arc::from(e.topic()), e.partition())).collect();
        let topics: BTreeSet<&str> = wanted.iter().map(|(topic, _)| &**topic).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let mut committed = self.committed(partitions)?;
        let logs = self.cluster.logs(self.consumer, &topics)?;
        let known = self.known_topics(&wanted, &committed)?;
        let mut starts = Vec::with_capacity(wanted.len());
        for partition in wanted {
            let remembered = self.history.of(&partition);
            let mut found = Found {
                committed: committed.remove(&partition),
                log_offsets: None,
                log: logs.get(&*partition.0).copied(),
                topic_is_known: known.contains(&partition.0),
                earlier: remembered.map(|remembered| remembered.earlier),
            };
            if self.cluster.has_ids() && found.log.is_none() {
                // It is being deleted, or made again: read as it is, until it is there.
                let absent = found.committed.take();
                let position = absent.as_ref().map_or(0, |committed| committed.position);
                let progress = absent.map(|committed| committed.progress).unwrap_or_default();
                let why = Why::Committed;
                let start = Start { position, leader_epoch: None, progress, why, committed: true };
                starts.push((partition, start));
                continue;
            }
            if let Some((next, epoch)) = remembered.and_then(|remembered| remembered.went_back) {
                let (low, high) = self.log_offsets(&partition)?;
                found.log_offsets = Some((low, high));
                // Where the leader cannot say it, the client goes to the end there is by then.
                let cut_at = self.cut_at(&partition, next, epoch).map(|offset| offset.min(high));
                if let Some(earlier) = &mut found.earlier {
                    earlier.cut_at = cut_at;
                }
            }
            let start = self.decide(&partition, found)?;
            self.history.settled(&partition);
            report(&partition, &start);
            starts.push((partition, start));
        }
        Ok(starts)
    }

    fn decide(&self, partition: &Partition, mut found: Found) -> Result<Start, PositionError> {
        loop {
            match begin::decide(&found) {
                Ok(start) => return Ok(start),
                Err(Undecided::NeedsOffsets) => {
                    found.log_offsets = Some(self.log_offsets(partition)?);
                }
                Err(Undecided::NeedsBegin) => {
                    let (low, high) = found.log_offsets.unwrap_or_default();
                    let position = match self.begin {
                        Some(Begin::Earliest) => low,
                        Some(Begin::End) => high,
                        Some(Begin::At(time)) => {
                            self.offset_of(partition, time.as_millisecond())?.unwrap_or(high)
                        }
                        None => {
                            let group = self.config.get("group.id").unwrap_or_default().to_owned();
                            let (topic, partition) = (partition.0.to_string(), partition.1);
                            // The end is the offset after the last one.
                            let high = high - 1;
                            return Err(PositionError::NeedsBegin {
                                group,
                                topic,
                                partition,
                                low,
                                high,
                            });
                        }
                    };
                    return Ok(begin::configured(&found, position));
                }
            }
        }
    }

    /// The group's commits; a partition without one is not among them.
    fn committed(
        &self,
        partitions: &TopicPartitionList,
    ) -> Result<HashMap<Partition, Committed>, KafkaError> {
        let list = self.consumer.committed_offsets(partitions.clone(), TIMEOUT)?;
        // rdkafka's own `metadata()` panics where another client wrote what is not UTF-8.
        let metadata = wms_kafka_raw::metadata(&list);
        let epochs = wms_kafka_raw::leader_epochs(&list);
        let mut committed = HashMap::new();
        for ((element, metadata), leader_epoch) in list.elements().iter().zip(&metadata).zip(epochs)
        {
            element.error()?;
            let position = match element.offset() {
                Offset::Offset(position) => position,
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => continue,
            };
            let metadata = std::str::from_utf8(metadata).unwrap_or_else(|_| {
                tracing::warn!(
                    topic = element.topic(),
                    partition = element.partition(),
                    "the commit's metadata is not ours: another client commits in this group; \
                     reading goes on at its offset"
                );
                ""
            });
            let progress = Progress::decode(position, metadata);
            let partition = (Arc::from(element.topic()), element.partition());
            committed.insert(partition, Committed { position, leader_epoch, progress });
        }
        Ok(committed)
    }

    /// Those topics, of the partitions without a commit, that have one on another partition.
    fn known_topics(
        &self,
        wanted: &[Partition],
        committed: &HashMap<Partition, Committed>,
    ) -> Result<BTreeSet<Arc<str>>, KafkaError> {
        let without: BTreeSet<&Arc<str>> = wanted
            .iter()
            .filter(|partition| !committed.contains_key(*partition))
            .map(|(topic, _)| topic)
            .collect();
        let mut others = TopicPartitionList::new();
        for topic in without {
            let metadata = self.consumer.fetch_metadata(Some(topic), TIMEOUT)?;
            for found in metadata.topics().iter().filter(|found| found.name() == &**topic) {
                for partition in found.partitions() {
                    others.add_partition(topic, partition.id());
                }
            }
        }
        if others.count() == 0 {
            return Ok(BTreeSet::new());
        }
        Ok(self.committed(&others)?.into_keys().map(|(topic, _)| topic).collect())
    }

    fn log_offsets(&self, (topic, partition): &Partition) -> Result<(i64, i64), KafkaError> {
        self.consumer.fetch_watermarks(topic, *partition, TIMEOUT)
    }

    /// The offset of the first record of this time or later.
    fn offset_of(
        &self,
        (topic, partition): &Partition,
        milliseconds: i64,
    ) -> Result<Option<i64>, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, *partition, Offset::Offset(milliseconds))?;
        let found = self.consumer.offsets_for_times(list, TIMEOUT)?;
        let elements = found.elements();
        let Some(element) = elements.first() else { return Ok(None) };
        element.error()?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        })
    }

    /// The offset from which on a log holds other records than the ones that were read up to `next`,
    /// as far as its leader can say: librdkafka asks for it by the epoch of the last record read
    /// (KIP-320), and goes there, but tells it only by where it reads on.
    fn cut_at(
        &self,
        (topic, partition): &Partition,
        next: i64,
        leader_epoch: Option<i32>,
    ) -> Option<i64> {
        leader_epoch?;
        let mut config = self.config.clone();
        config
            .set("auto.offset.reset", "latest")
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", "0");
        let consumer: BaseConsumer<Quiet> = kafka::create(&config, Quiet).ok()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, *partition, Offset::Offset(next)).ok()?;
        wms_kafka_raw::set_leader_epoch(&mut list, 0, leader_epoch);
        consumer.assign(&list).ok()?;
        match consumer.poll(TIMEOUT)? {
            Ok(record) => Some(record.offset()).filter(|offset| *offset < next),
            Err(_nothing_after) => None,
        }
    }
}

/// Says where a partition is read from, where that is not what was committed.
fn report((topic, partition): &Partition, start: &Start) {
    let (position, reason) = (start.position, start.why.reset());
    let topic = &**topic;
    match start.why {
        Why::Committed | Why::Empty => {}
        Why::Added => tracing::info!(
            topic,
            partition,
            position,
            "the partition is new: it is read from its beginning"
        ),
        Why::Configured => tracing::warn!(
            topic,
            partition,
            position,
            reason,
            "the group has no committed offset here: reading begins where `commands.begin` says"
        ),
        Why::MadeAgain => tracing::error!(
            topic,
            partition,
            position,
            reason,
            "the topic was deleted and made again: it is read from its beginning; what the old one \
             held and was not carried out is lost"
        ),
        Why::CutOff => tracing::error!(
            topic,
            partition,
            position,
            reason,
            "the log was cut off below what was read: it is read from there; what was written after \
             it and is gone may have been carried out"
        ),
        Why::BeyondEnd => tracing::error!(
            topic,
            partition,
            position,
            reason,
            "the committed offset is beyond the log's end: reading goes on at its end"
        ),
        Why::BelowBeginning => tracing::error!(
            topic,
            partition,
            position,
            reason,
            "the committed offset is below the log's beginning: commands were deleted before they \
             were read; raise the topic's retention"
        ),
        Why::CommitVanished => tracing::error!(
            topic,
            partition,
            position,
            reason,
            "the group's committed offset vanished: reading goes on where this process was"
        ),
    }
}

/// The resets among these starts, by topic and reason.
pub(super) fn resets(starts: &[(Partition, Start)]) -> BTreeMap<(Arc<str>, &'static str), u64> {
    let mut resets = BTreeMap::new();
    for ((topic, _), start) in starts {
        if let Some(reason) = start.why.reset() {
            *resets.entry((Arc::clone(topic), reason)).or_default() += 1;
        }
    }
    resets
}
