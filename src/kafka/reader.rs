//! Reading topics from a chosen place, without a group: for the command line, never for commands.

use std::{fmt, time::Duration};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use super::{Headers, ReadHeaders, admin::Quiet, client::create};

/// A record as it was read.
#[derive(Clone)]
pub struct ReadRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Headers,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

impl fmt::Debug for ReadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadRecord")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl ReadRecord {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: ReadHeaders::of(message).headers,
            timestamp: message.timestamp().to_millis(),
        }
    }

    /// The last header of that name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.iter().rev().find(|(header, _)| header == name)?.1.as_deref()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Beginning,
    /// What is written from now on.
    End,
}

/// Reads every partition of some topics.
pub struct TopicReader {
    consumer: BaseConsumer<Quiet>,
}

impl fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicReader").finish_non_exhaustive()
    }
}

impl TopicReader {
    /// Finds the partitions and fixes where each begins. Blocks.
    pub fn open(
        config: &ClientConfig,
        topics: &[String],
        from: From,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<Quiet> = create(config, Quiet)?;
        let mut assignment = TopicPartitionList::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            // A missing right is no missing topic.
            if let Some(error) = found.and_then(|found| found.error()) {
                return Err(KafkaError::MetadataFetch(error.into()));
            }
            let partitions = found.map(|found| found.partitions()).unwrap_or_default();
            if partitions.is_empty() {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            for partition in partitions {
                let offset = match from {
                    From::Beginning => Offset::Beginning,
                    // Asked now: `Offset::End` is looked up at the first fetch, and what is
                    // written until then would be missed.
                    From::End => {
                        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), timeout)?;
                        Offset::Offset(end)
                    }
                };
                assignment.add_partition_offset(topic, partition.id(), offset)?;
            }
        }
        consumer.assign(&assignment)?;
        Ok(Self { consumer })
    }

    /// The next record, if there is one within the time. Blocks.
    pub fn next(&self, timeout: Duration) -> Option<Result<ReadRecord, KafkaError>> {
        match self.consumer.poll(timeout)? {
            // The end of a partition is not the end of reading.
            Err(KafkaError::PartitionEOF(_)) => None,
            Err(error) => Some(Err(error)),
            Ok(message) => Some(Ok(ReadRecord::of(&message))),
        }
    }
}
