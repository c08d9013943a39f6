//! Reading a part of a topic to an end that is fixed before: without a group, committing nothing.

use std::{
    fmt,
    ops::{ControlFlow, Range},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{ReadRecord, admin::Quiet, client::create};

/// How long one poll waits; only how soon the deadline is noticed depends on it.
const POLL: Duration = Duration::from_millis(200);

/// What a partition held when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionBounds {
    pub partition: i32,
    /// The first offset that is still there, or may be.
    pub low: i64,
    /// The offset that the next record will have.
    pub high: i64,
}

/// Why a part of a topic could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    #[error("topic `{0}` does not exist; `wms-connector topics plan` shows those that should")]
    UnknownTopic(String),
    #[error("Kafka did not answer: {0}; check `kafka.bootstrap_servers` and `kafka.properties`")]
    Unreachable(KafkaError),
    #[error("topic `{topic}` cannot be read: {source}")]
    Refused { topic: String, source: KafkaError },
    #[error(
        "nothing came of topic `{topic}`, partition {partition}, for {}: offset {offset} and what \
         follows was not read{}",
        humantime::format_duration(*silence),
        last.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
    )]
    Silent {
        topic: String,
        partition: i32,
        offset: i64,
        silence: Duration,
        last: Option<Box<KafkaError>>,
    },
}

/// Reads one partition of a topic after the other.
pub struct RangeReader {
    consumer: BaseConsumer<Quiet>,
    topic: String,
}

impl fmt::Debug for RangeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl RangeReader {
    /// Finds the topic's partitions and what each holds now. Blocks.
    pub fn open(
        config: &ClientConfig,
        topic: &str,
        timeout: Duration,
    ) -> Result<(Self, Vec<PartitionBounds>), RangeError> {
        let consumer: BaseConsumer<Quiet> =
            create(config, Quiet).map_err(RangeError::Unreachable)?;
        let metadata =
            consumer.fetch_metadata(Some(topic), timeout).map_err(RangeError::Unreachable)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        // A missing right is no missing topic.
        match found.and_then(|found| found.error()).map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
            Some(error) => {
                let source = KafkaError::MetadataFetch(error);
                return Err(RangeError::Refused { topic: topic.to_owned(), source });
            }
        }
        let partitions = found.map(|found| found.partitions()).unwrap_or_default();
        if partitions.is_empty() {
            return Err(RangeError::UnknownTopic(topic.to_owned()));
        }
        let mut bounds = Vec::new();
        for partition in partitions.iter().map(|partition| partition.id()) {
            let (low, high) = consumer
                .fetch_watermarks(topic, partition, timeout)
                .map_err(RangeError::Unreachable)?;
            bounds.push(PartitionBounds { partition, low, high });
        }
        bounds.sort_unstable_by_key(|bounds| bounds.partition);
        Ok((Self { consumer, topic: topic.to_owned() }, bounds))
    }

    /// The offset of the partition's first record of this time (milliseconds since the epoch) or
    /// later; `None`: there is none. Blocks.
    pub fn offset_at(
        &self,
        partition: i32,
        milliseconds: i64,
        timeout: Duration,
    ) -> Result<Option<i64>, RangeError> {
        let refused = |source| RangeError::Refused { topic: self.topic.clone(), source };
        let mut asked = TopicPartitionList::new();
        asked
            .add_partition_offset(&self.topic, partition, Offset::Offset(milliseconds))
            .map_err(refused)?;
        let found = self.consumer.offsets_for_times(asked, timeout).map_err(refused)?;
        Ok(found.elements().first().and_then(|found| match found.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        }))
    }

    /// Gives every record of the partition whose offset lies in the range, in order, until it is
    /// told to stop. What the range lacks (deleted, compacted) is passed over. Ends in an error
    /// where nothing comes for the time of `silence`. Blocks.
    pub fn read<B>(
        &self,
        partition: i32,
        range: Range<i64>,
        silence: Duration,
        mut each: impl FnMut(ReadRecord) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, RangeError> {
        if range.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let refused = |source| RangeError::Refused { topic: self.topic.clone(), source };
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&self.topic, partition, Offset::Offset(range.start))
            .map_err(refused)?;
        self.consumer.assign(&assignment).map_err(refused)?;
        let mut next = range.start;
        let mut last = None;
        let mut deadline = Instant::now() + silence;
        loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if message.partition() == partition => {
                    if message.offset() >= range.end {
                        return Ok(ControlFlow::Continue(()));
                    }
                    next = message.offset().saturating_add(1);
                    if let ControlFlow::Break(end) = each(ReadRecord::of(&message)) {
                        return Ok(ControlFlow::Break(end));
                    }
                    if next >= range.end {
                        return Ok(ControlFlow::Continue(()));
                    }
                    deadline = Instant::now() + silence;
                }
                // The last offsets may be compacted away, or a transaction's markers: then the
                // partition's end is all that comes.
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => {
                    return Ok(ControlFlow::Continue(()));
                }
                Some(Err(error)) if is_final(&error) => return Err(refused(error)),
                Some(Err(error)) => last = Some(Box::new(error)),
                Some(Ok(_)) | None => {}
            }
            if Instant::now() >= deadline {
                return Err(RangeError::Silent {
                    topic: self.topic.clone(),
                    partition,
                    offset: next,
                    silence,
                    last,
                });
            }
        }
    }
}

/// Whether waiting cannot help.
fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
        )
    )
}
