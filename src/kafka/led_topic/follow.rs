//! Reads the topic from its beginning, and on, and anew where it is not the topic that it was.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use wms_kafka_raw::{describe_topics, has_controller};

use super::{AGAIN, POLL, Shared, locked};
use crate::kafka::{admin::Quiet, client::create};

/// How often it is looked whether the topic was made again, and how long one look may take.
const LOOK_AT_TOPIC: Duration = Duration::from_secs(10);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a reading ended.
enum Ended {
    /// The process stops, or somebody asked for a reading anew.
    Asked,
    /// The topic was made again, or its log was cut off.
    WentBack,
}

impl Shared {
    pub(super) fn follow(&self) {
        while !self.stopped() {
            match self.follow_once() {
                Ok(Ended::Asked) => {}
                Ok(Ended::WentBack) => {
                    tracing::warn!(
                        topic = self.topic,
                        "the topic was made again, or its log was cut off: it is read anew"
                    );
                    self.caught_up.send_replace(false);
                    locked(&self.values).forget();
                    self.changed.send_replace(());
                }
                Err(error) => {
                    tracing::warn!(topic = self.topic, %error, "the topic cannot be followed; tried again");
                    self.rest(AGAIN);
                }
            }
        }
    }

    fn follow_once(&self) -> Result<Ended, KafkaError> {
        let asked = *self.reread.borrow();
        let consumer: BaseConsumer<Quiet> = create(&self.reader, Quiet)?;
        let id = self.topic_id(&consumer)?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&self.topic, 0, Offset::Beginning)?;
        consumer.assign(&assignment)?;
        locked(&self.values).begin();
        let mut next_look = Instant::now() + LOOK_AT_TOPIC;
        while !self.stopped() && *self.reread.borrow() == asked {
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    if let Some(key) = message.key() {
                        locked(&self.values).read(key, message.offset(), message.payload());
                        self.changed.send_replace(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    locked(&self.values).reached_the_end();
                    self.read_anew.send_replace(asked);
                    self.caught_up.send_replace(true);
                    self.changed.send_replace(());
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    return Ok(Ended::WentBack);
                }
                Some(Err(error)) => return Err(error),
            }
            if id.is_some() && Instant::now() >= next_look {
                match self.topic_id(&consumer) {
                    Ok(now) if now.is_some() && now != id => return Ok(Ended::WentBack),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(topic = self.topic, %error, "the topic's id is not known");
                    }
                }
                next_look = Instant::now() + LOOK_AT_TOPIC;
            }
        }
        Ok(Ended::Asked)
    }

    /// The topic's id, new with each topic of that name; `None` where nobody can say.
    fn topic_id(&self, consumer: &BaseConsumer<Quiet>) -> Result<Option<u128>, KafkaError> {
        if !self.ids.load(Ordering::Acquire) {
            return Ok(None);
        }
        if !has_controller(consumer.client(), &self.topic, LOOK_TIMEOUT)? {
            return Ok(None);
        }
        match describe_topics(consumer.client(), &[&self.topic], LOOK_TIMEOUT) {
            Ok(described) => Ok(described.into_iter().find_map(|topic| topic.id)),
            Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion) => {
                self.ids.store(false, Ordering::Release);
                Ok(None)
            }
            Err(error) => Err(KafkaError::MetadataFetch(error)),
        }
    }

    /// Has the topic read anew, and waits until that is done. Blocks.
    pub(super) fn read_anew(&self, patience: Duration) -> bool {
        let mut wanted = 0;
        self.reread.send_modify(|number| {
            *number += 1;
            wanted = *number;
        });
        let deadline = Instant::now() + patience;
        while *self.read_anew.borrow() < wanted {
            if self.stopped() || Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(WAIT);
        }
        true
    }
}

/// How often a reading that is waited for is looked at.
const WAIT: Duration = Duration::from_millis(5);
