//! Makes a record durable: in Kafka, or in the spool while Kafka is away.

use std::time::{Duration, Instant};

use super::{
    Sinks,
    spool::{Spool, SpoolError},
};
use crate::{
    domain::Answer,
    kafka::{OutgoingRecord, PublishError, Publisher},
};

/// Why a record is not known to be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotKept {
    #[error(transparent)]
    Kafka(#[from] PublishError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl NotKept {
    /// What the sender is told.
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Kafka(PublishError::TooLarge { .. }) => Answer::TooLarge,
            Self::Kafka(
                PublishError::UnknownTopic { .. }
                | PublishError::UnknownPartition { .. }
                | PublishError::TimedOut { .. }
                | PublishError::Retriable { .. }
                | PublishError::Refused { .. },
            )
            | Self::Spool(SpoolError::Full | SpoolError::TimedOut | SpoolError::Failed(_)) => {
                Answer::Unavailable
            }
        }
    }
}

/// Keeps a record within what is left of its webhook's time.
pub(super) async fn keep(
    sinks: &Sinks,
    record: OutgoingRecord,
    deadline: Instant,
) -> Result<(), NotKept> {
    match &sinks.spool {
        None => Ok(publish(&sinks.publisher, &record, deadline).await?),
        // Behind the others, so that a topic gets them in the order they came.
        Some(spool) if spool.is_waiting(&record.topic) => Ok(spool.put(record, deadline).await?),
        Some(spool) => publish_or_spool(&sinks.publisher, spool, record, deadline).await,
    }
}

async fn publish(
    publisher: &Publisher,
    record: &OutgoingRecord,
    deadline: Instant,
) -> Result<(), PublishError> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    publisher.publish_ref(record, left).await.map(drop)
}

async fn publish_or_spool(
    publisher: &Publisher,
    spool: &Spool,
    record: OutgoingRecord,
    deadline: Instant,
) -> Result<(), NotKept> {
    let for_kafka = deadline.checked_sub(spool.reserve()).unwrap_or(deadline);
    match publish(publisher, &record, for_kafka).await {
        Ok(()) => Ok(()),
        // It would never leave the spool.
        Err(error @ PublishError::TooLarge { .. }) => Err(error.into()),
        // One that timed out may be in the log as well: twice with one `ce_id` is allowed, lost
        // is not.
        Err(
            PublishError::UnknownTopic { .. }
            | PublishError::UnknownPartition { .. }
            | PublishError::TimedOut { .. }
            | PublishError::Retriable { .. }
            | PublishError::Refused { .. },
        ) => Ok(spool.put(record, deadline).await?),
    }
}
