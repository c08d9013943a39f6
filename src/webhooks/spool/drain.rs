//! From the spool to Kafka: the oldest first, and nothing is forgotten before it is acknowledged.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    store::{Entry, StoreError, size},
};
use crate::kafka::{PublishError, Publisher};

/// So many records are on their way to Kafka together.
const BATCH: usize = 256;
/// How long Kafka is left alone after a failure: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a record may take to be acknowledged. Nobody waits for it over HTTP any more.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// When records that Kafka refused are tried again.
const ASIDE_AGAIN: Duration = Duration::from_secs(600);
/// How often the age of what waits is told.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Drains a spool.
#[derive(Debug)]
pub struct Drain {
    shared: Arc<Shared>,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// There may be more.
    Go,
    /// Nothing waits.
    Idle,
    /// Kafka, or the disk, does not work now.
    Pause,
}

/// What a batch's outcomes ask for. Only what lies before the first failure is done with: the rest
/// is sent again behind it, so that a topic has the records in their order.
fn judge(outcomes: &[Result<(), PublishError>]) -> (usize, Option<&PublishError>) {
    let done = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    (done, outcomes.get(done).and_then(|outcome| outcome.as_ref().err()))
}

/// Whether the same record would be refused again however long one waits.
fn is_refused(error: &PublishError) -> bool {
    match error {
        PublishError::TooLarge { .. }
        | PublishError::UnknownTopic { .. }
        | PublishError::UnknownPartition { .. }
        | PublishError::Refused { .. } => true,
        PublishError::TimedOut { .. } | PublishError::Retriable { .. } => false,
    }
}

impl Drain {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Drains until `stop`. What is left then waits for the next start.
    pub async fn run(self, publisher: Publisher, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut aside_at = Instant::now() + ASIDE_AGAIN;
        while !stop.is_cancelled() {
            let next = self.batch(&publisher).await;
            self.shared.report();
            let wait = match next {
                Next::Go => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Next::Idle => {
                    pause = FIRST_PAUSE;
                    REPORT_EVERY
                }
                Next::Pause => {
                    let this = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    this
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.shared.written.notified(), if next == Next::Idle => {}
                () = stop.cancelled() => return,
            }
            if Instant::now() >= aside_at {
                aside_at = Instant::now() + ASIDE_AGAIN;
                self.take_up_again().await;
            }
        }
    }

    async fn batch(&self, publisher: &Publisher) -> Next {
        let entries = match self.blocking(|shared| shared.store.oldest(BATCH)).await {
            Ok(entries) if entries.is_empty() => {
                self.shared.oldest.store(0, Ordering::Release);
                return Next::Idle;
            }
            Ok(entries) => entries,
            Err(_noted) => return Next::Pause,
        };
        if let Some(first) = entries.first() {
            self.shared.oldest.store(first.at, Ordering::Release);
        }
        // Polled in order, so handed to the producer in order.
        let sending = entries.iter().map(|entry| async {
            publisher.publish(entry.record.clone(), PUBLISH_TIMEOUT).await.map(drop)
        });
        let outcomes = join_all(sending).await;
        let (done, failure) = judge(&outcomes);
        let (published, left) = entries.split_at(done);
        if !published.is_empty() && self.forget(published).await.is_err() {
            return Next::Pause;
        }
        match (failure, left.first()) {
            (Some(error), Some(entry)) if is_refused(error) => {
                tracing::error!(%error, sequence = entry.sequence, "Kafka refused a webhook of the spool; it is kept there and tried again later");
                match self.set_aside(entry).await {
                    Ok(()) => Next::Go,
                    Err(_noted) => Next::Pause,
                }
            }
            (Some(error), _) => {
                tracing::warn!(%error, "the spool waits for Kafka");
                Next::Pause
            }
            (None, _) => Next::Go,
        }
    }

    async fn forget(&self, published: &[Entry]) -> Result<(), StoreError> {
        let sequences: Vec<u64> = published.iter().map(|entry| entry.sequence).collect();
        let bytes: u64 = published.iter().map(|entry| size(&entry.record)).sum();
        let count = sequences.len() as u64;
        self.blocking(move |shared| shared.store.remove(&sequences)).await?;
        self.shared.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.shared.waiting.fetch_sub(count, Ordering::AcqRel);
        Ok(())
    }

    async fn set_aside(&self, entry: &Entry) -> Result<(), StoreError> {
        let sequence = entry.sequence;
        self.blocking(move |shared| shared.store.set_aside(sequence)).await?;
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        self.shared.aside.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn take_up_again(&self) {
        let aside = self.shared.aside.swap(0, Ordering::AcqRel);
        if aside == 0 {
            return;
        }
        self.shared.waiting.fetch_add(aside, Ordering::AcqRel);
        if self.blocking(|shared| shared.store.take_up_again()).await.is_err() {
            self.shared.waiting.fetch_sub(aside, Ordering::AcqRel);
            self.shared.aside.fetch_add(aside, Ordering::AcqRel);
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.noted(work(&shared))).await;
        done.unwrap_or_else(|panicked| {
            let (path, reason) = (String::new(), panicked.to_string());
            Err(StoreError::Failed { path, reason })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_before_the_first_failure_is_done_with() {
        let topic = || "t".to_owned();
        let late = || Err(PublishError::TimedOut { topic: topic() });
        let large = || Err(PublishError::TooLarge { topic: topic() });
        for (outcomes, done, refused) in [
            (vec![], 0, None),
            (vec![Ok(()), Ok(())], 2, None),
            (vec![Ok(()), late(), Ok(())], 1, Some(false)),
            (vec![large(), late()], 0, Some(true)),
        ] {
            let (count, failure) = judge(&outcomes);
            assert_eq!((count, failure.map(is_refused)), (done, refused), "{outcomes:?}");
        }
    }
}
