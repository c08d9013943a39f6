//! Publishing a record and knowing what became of it.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use tokio::{sync::oneshot, time::Instant};

use super::{Headers, LoggingContext, client};

/// A record on its way to Kafka.
#[derive(Clone, Default)]
pub struct OutgoingRecord {
    pub topic: String,
    /// `None`: chosen from the key as Java does.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Headers,
    /// Milliseconds since the epoch; `None`: now.
    pub timestamp: Option<i64>,
}

impl fmt::Debug for OutgoingRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingRecord").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Why a record is not known to be in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Larger than the client, the broker or the topic takes; the same again gives the same.
    #[error("the record is larger than topic `{topic}` takes (max.message.bytes)")]
    TooLarge { topic: String },
    #[error("topic `{topic}` does not exist; create it with `wms-connector topics apply`")]
    UnknownTopic { topic: String },
    #[error("topic `{topic}` has no such partition")]
    UnknownPartition { topic: String },
    /// Not confirmed in time: it may be in the log all the same.
    #[error("topic `{topic}` did not confirm the record in time")]
    TimedOut { topic: String },
    /// Not taken now, may be tried again.
    #[error("topic `{topic}` could not take the record now: {reason}")]
    Retriable { topic: String, reason: String },
    /// Refused, and the same again gives the same until somebody changes something.
    #[error("topic `{topic}` refused the record: {reason}")]
    Refused { topic: String, reason: String },
}

/// Records that may be on their way without waiting for company: one less than librdkafka takes
/// of a partition.
const MOST_PROMPT: usize = 4;

type Delivery = Result<(i32, i64), KafkaError>;

struct Context {
    /// Records that were taken and are neither confirmed nor failed.
    on_their_way: Arc<AtomicUsize>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        LoggingContext.log(level, facility, message);
    }
    fn stats(&self, _statistics: Statistics) {}
    fn error(&self, error: KafkaError, reason: &str) {
        LoggingContext.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Delivery>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let delivery = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.on_their_way.fetch_sub(1, Ordering::Relaxed);
        // The caller may have given up; its record is then simply in the log.
        drop(waiting.send(delivery));
    }
}

/// A producer that ends on a thread of its own. The last to hold one that failed for good may be a
/// webhook on the runtime, and ending it joins its thread and waits for its brokers.
struct OwnedProducer {
    producer: Option<ThreadedProducer<Context>>,
    on_their_way: Arc<AtomicUsize>,
}

impl OwnedProducer {
    fn on_their_way(&self) -> usize {
        self.on_their_way.load(Ordering::Relaxed)
    }
}

impl Deref for OwnedProducer {
    type Target = ThreadedProducer<Context>;

    fn deref(&self) -> &Self::Target {
        self.producer.as_ref().expect("only its end takes the producer away")
    }
}

impl Drop for OwnedProducer {
    fn drop(&mut self) {
        let producer = self.producer.take();
        let end = thread::Builder::new().name("producer-end".to_owned());
        // Without a thread it ends here.
        if let Err(error) = end.spawn(move || drop(producer)) {
            tracing::warn!(%error, "a producer ended without a thread of its own");
        }
    }
}

/// Publishes records; every outcome is known or said to be unknown within a deadline.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    prompt: Slot,
    /// Takes what comes while the other has its share.
    gathering: Option<Slot>,
    /// Sends every record in a batch of its own; made when it is first needed.
    alone: RwLock<Option<Arc<OwnedProducer>>>,
    refused: Refused,
}

/// That records are refused for good (a right is missing), and none has been taken since.
#[derive(Default)]
struct Refused {
    /// For those that are taken: there is mostly nothing to forget.
    some: AtomicBool,
    last: Mutex<Option<(Instant, String)>>,
}

impl Refused {
    fn note(&self, sent: &Result<(i32, i64), PublishError>) {
        match sent {
            Ok(_) => {
                if self.some.swap(false, Ordering::Relaxed) {
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
            }
            Err(error @ PublishError::Refused { .. }) => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some((Instant::now(), error.to_string()));
                self.some.store(true, Ordering::Relaxed);
            }
            Err(
                PublishError::TooLarge { .. }
                | PublishError::UnknownTopic { .. }
                | PublishError::UnknownPartition { .. }
                | PublishError::TimedOut { .. }
                | PublishError::Retriable { .. },
            ) => {}
        }
    }

    /// Why, where that was not long ago: nobody sends to a process that is not ready, so it is believed
    /// to work again after a while, and tried.
    fn now(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < REFUSED_FOR).map(|(_, why)| why.clone())
    }
}

/// How long a refusal says that the next record would be refused too.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// A producer and what it is rebuilt with.
struct Slot {
    config: ClientConfig,
    current: RwLock<Arc<OwnedProducer>>,
}

impl Slot {
    fn new(config: ClientConfig) -> Result<Self, KafkaError> {
        let current = RwLock::new(Arc::new(create(&config)?));
        Ok(Self { config, current })
    }

    fn get(&self) -> Arc<OwnedProducer> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces `failed`, unless somebody was faster.
    fn rebuild(&self, failed: &Arc<OwnedProducer>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, failed) {
            return;
        }
        match create(&self.config) {
            Ok(producer) => *current = Arc::new(producer),
            Err(error) => tracing::error!(%error, "the producer could not be rebuilt"),
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes the producer; nothing is sent yet.
    pub fn new(config: ClientConfig) -> Result<Self, KafkaError> {
        Self::of(Slot::new(config)?, None)
    }

    /// Makes two producers: `prompt` sends what comes alone at once, `gathering` lets what comes
    /// while others are on their way wait a moment for company (`linger.ms`).
    ///
    /// One producer cannot do both. Without a wait, and once five records of a partition are on
    /// their way, librdkafka's thread asks again and again whether more may follow, and takes a
    /// processor for it: an idempotent producer may have five *requests* under way, and the limit
    /// counts records (`rd_kafka_toppar_producer_serve`). With a wait, every single record waits,
    /// a millisecond at least.
    ///
    /// Records that are on their way at the same time may so change places; one that is published
    /// after another was confirmed never does.
    pub fn gathering(prompt: ClientConfig, gathering: ClientConfig) -> Result<Self, KafkaError> {
        Self::of(Slot::new(prompt)?, Some(Slot::new(gathering)?))
    }

    fn of(prompt: Slot, gathering: Option<Slot>) -> Result<Self, KafkaError> {
        let alone = RwLock::default();
        Ok(Self {
            shared: Arc::new(Shared { prompt, gathering, alone, refused: Refused::default() }),
        })
    }

    /// Whose turn it is. What gathers is finished first: whoever comes then would overtake it.
    fn producer(&self) -> Arc<OwnedProducer> {
        let prompt = self.shared.prompt.get();
        let Some(gathering) = &self.shared.gathering else { return prompt };
        let gathering = gathering.get();
        let idle = gathering.on_their_way() == 0 && prompt.on_their_way() < MOST_PROMPT;
        if idle { prompt } else { gathering }
    }

    /// Always the same one.
    fn producer_in_order(&self) -> Arc<OwnedProducer> {
        self.shared.gathering.as_ref().unwrap_or(&self.shared.prompt).get()
    }

    /// Sends a record and waits for the acknowledgement of all in-sync replicas: partition and
    /// offset. Ends within `timeout` whatever Kafka does.
    pub async fn publish(
        &self,
        record: OutgoingRecord,
        timeout: Duration,
    ) -> Result<(i32, i64), PublishError> {
        self.publish_ref(&record, timeout).await
    }

    /// The same for a record that is needed afterwards.
    pub async fn publish_ref(
        &self,
        record: &OutgoingRecord,
        timeout: Duration,
    ) -> Result<(i32, i64), PublishError> {
        self.publish_with(&self.producer(), record, timeout).await
    }

    /// The same for what was taken in long ago and has an order: records that are on their way
    /// together stay in the order of the calls.
    pub async fn publish_in_order(
        &self,
        record: &OutgoingRecord,
        timeout: Duration,
    ) -> Result<(i32, i64), PublishError> {
        self.publish_with(&self.producer_in_order(), record, timeout).await
    }

    async fn publish_with(
        &self,
        producer: &Arc<OwnedProducer>,
        record: &OutgoingRecord,
        timeout: Duration,
    ) -> Result<(i32, i64), PublishError> {
        let deadline = Instant::now() + timeout;
        let sent = self.send(producer, record, deadline).await;
        self.shared.refused.note(&sent);
        if !matches!(sent, Err(PublishError::TooLarge { .. })) {
            return sent;
        }
        // The broker measures batches, not records: it refuses a batch of small ones that is over
        // the topic's limit, or one that a single large record spoils for the others. Which it
        // was, only the record alone can tell. What was refused is certainly not in the log.
        match self.alone() {
            Ok(alone) => self.send(&alone, record, deadline).await,
            Err(error) => {
                tracing::error!(%error, "no producer for single records could be made");
                sent
            }
        }
    }

    async fn send(
        &self,
        producer: &Arc<OwnedProducer>,
        record: &OutgoingRecord,
        deadline: Instant,
    ) -> Result<(i32, i64), PublishError> {
        let topic = record.topic.clone();
        let (sender, delivered) = oneshot::channel();
        if let Err(error) = enqueue(producer, record, sender) {
            return Err(self.triage(producer, topic, &error));
        }
        match tokio::time::timeout_at(deadline, delivered).await {
            Err(_elapsed) => Err(PublishError::TimedOut { topic }),
            // The producer was dropped with the record in it: not known.
            Ok(Err(_dropped)) => Err(PublishError::TimedOut { topic }),
            Ok(Ok(Ok(position))) => Ok(position),
            Ok(Ok(Err(error))) => Err(self.triage(producer, topic, &error)),
        }
    }

    fn alone(&self) -> Result<Arc<OwnedProducer>, KafkaError> {
        let mut alone = self.shared.alone.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(alone) = &*alone {
            return Ok(Arc::clone(alone));
        }
        let mut config = self.shared.prompt.config.clone();
        config.set("batch.num.messages", "1");
        let producer = Arc::new(create(&config)?);
        *alone = Some(Arc::clone(&producer));
        Ok(producer)
    }

    /// Every producer that may hold records.
    fn producers(&self) -> Vec<Arc<OwnedProducer>> {
        let alone = self.shared.alone.read().unwrap_or_else(PoisonError::into_inner).clone();
        let gathering = self.shared.gathering.as_ref().map(Slot::get);
        [self.shared.prompt.get()].into_iter().chain(gathering).chain(alone).collect()
    }

    /// Waits until everything that was sent is confirmed or failed.
    pub async fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        let producers = self.producers();
        let deadline = Instant::now() + timeout;
        let flush = move || {
            producers.iter().try_for_each(|producer| {
                producer.flush(deadline.saturating_duration_since(Instant::now()))
            })
        };
        tokio::task::spawn_blocking(flush).await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Why records are refused now, where none has been taken since: that a broker answers does not say
    /// that it takes what is written.
    pub fn refused(&self) -> Option<String> {
        self.shared.refused.now()
    }

    /// Whether a broker answers now: asks for the topic's metadata.
    pub async fn reachable(&self, topic: String, timeout: Duration) -> Result<(), KafkaError> {
        let producer = self.shared.prompt.get();
        tokio::task::spawn_blocking(move || {
            producer.client().fetch_metadata(Some(&topic), timeout).map(|_| ())
        })
        .await
        .unwrap_or(Err(KafkaError::Canceled))
    }

    /// How many records are on their way.
    pub fn in_flight(&self) -> usize {
        self.producers().iter().map(|producer| producer.on_their_way()).sum()
    }

    /// Names the failure as a decision; a fatal one first replaces the producer, which refuses
    /// everything from then on.
    fn triage(
        &self,
        failed: &Arc<OwnedProducer>,
        topic: String,
        error: &KafkaError,
    ) -> PublishError {
        if let Some((code, reason)) = failed.client().fatal_error() {
            tracing::error!(%code, reason, "the producer failed for good and is rebuilt");
            self.rebuild(failed);
            return PublishError::Retriable { topic, reason };
        }
        classify(topic, error)
    }

    fn rebuild(&self, failed: &Arc<OwnedProducer>) {
        let mut alone = self.shared.alone.write().unwrap_or_else(PoisonError::into_inner);
        if alone.as_ref().is_some_and(|alone| Arc::ptr_eq(alone, failed)) {
            *alone = None;
            return;
        }
        drop(alone);
        for slot in [&self.shared.prompt].into_iter().chain(&self.shared.gathering) {
            slot.rebuild(failed);
        }
    }
}

fn create(config: &ClientConfig) -> Result<OwnedProducer, KafkaError> {
    let on_their_way = Arc::<AtomicUsize>::default();
    let context = Context { on_their_way: Arc::clone(&on_their_way) };
    client::create(config, context)
        .map(|producer| OwnedProducer { producer: Some(producer), on_their_way })
}

fn enqueue(
    producer: &OwnedProducer,
    record: &OutgoingRecord,
    sender: oneshot::Sender<Delivery>,
) -> Result<(), KafkaError> {
    let OutgoingRecord { topic, partition, key, payload, headers, timestamp } = record;
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (name, value) in headers {
        owned = owned.insert(Header { key: name, value: value.as_deref() });
    }
    let mut outgoing: BaseRecord<'_, [u8], [u8], _> =
        BaseRecord::with_opaque_to(topic, Box::new(sender)).headers(owned);
    outgoing.partition = *partition;
    outgoing.key = key.as_deref();
    outgoing.payload = payload.as_deref();
    outgoing.timestamp = *timestamp;
    producer.on_their_way.fetch_add(1, Ordering::Relaxed);
    producer.send(outgoing).map_err(|(error, _record)| {
        producer.on_their_way.fetch_sub(1, Ordering::Relaxed);
        error
    })
}

fn classify(topic: String, error: &KafkaError) -> PublishError {
    use RDKafkaErrorCode as Code;
    let Some(code) = error.rdkafka_error_code() else {
        return PublishError::Refused { topic, reason: error.to_string() };
    };
    match code {
        // The client's own limit, the broker's, the topic's: none of them changes by waiting.
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            PublishError::TooLarge { topic }
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition => PublishError::UnknownTopic { topic },
        Code::UnknownPartition => PublishError::UnknownPartition { topic },
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => {
            PublishError::TimedOut { topic }
        }
        // Purged with a dropped producer: it may be in the log.
        Code::PurgeInflight | Code::PurgeQueue => PublishError::TimedOut { topic },
        Code::QueueFull
        | Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::BrokerNotAvailable
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::NetworkException
        | Code::OutOfOrderSequenceNumber
        | Code::ThrottlingQuotaExceeded
        | Code::Fatal => PublishError::Retriable { topic, reason: code.to_string() },
        other => PublishError::Refused { topic, reason: other.to_string() },
    }
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod mock_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_decisions() {
        let decision = |code| classify("t".into(), &KafkaError::MessageProduction(code));
        assert!(matches!(
            decision(RDKafkaErrorCode::MessageSizeTooLarge),
            PublishError::TooLarge { .. }
        ));
        assert!(matches!(
            decision(RDKafkaErrorCode::MessageTimedOut),
            PublishError::TimedOut { .. }
        ));
        assert!(matches!(decision(RDKafkaErrorCode::QueueFull), PublishError::Retriable { .. }));
        assert!(matches!(
            decision(RDKafkaErrorCode::TopicAuthorizationFailed),
            PublishError::Refused { .. }
        ));
        assert!(matches!(
            decision(RDKafkaErrorCode::UnknownTopic),
            PublishError::UnknownTopic { .. }
        ));
    }
}
