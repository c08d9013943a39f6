//! What a test gets: a Kafka, mock or real, and raw hands on it.
//!
//! Everything here waits with a limit and fails with what was there instead. Nothing here knows
//! the connector: these are the eyes with which the tests look at it from outside.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    message::{BorrowedMessage, OwnedHeaders},
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord, Producer},
};
use serde_json::Value as Json;

use super::{
    python::Python,
    registry::{self, Registry},
    suite::Shared,
};

/// How long any one call to the broker may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Which Kafka a test runs on.
pub(crate) enum Backend {
    /// librdkafka's mock cluster, in this process; every test has its own. It knows no topic
    /// administration and shows aborted transactions to everybody.
    Mock(MockCluster<'static, DefaultProducerContext>),
    /// The real broker, shared by all tests.
    Kafka,
}

/// A test's surroundings. Topics are told apart by `prefix`, new for every test.
pub(crate) struct TestEnv {
    backend: Backend,
    bootstrap_servers: String,
    prefix: String,
    shared: Arc<Shared>,
    created: Mutex<Vec<String>>,
}

impl TestEnv {
    pub(crate) fn mock(shared: Arc<Shared>) -> Self {
        let cluster = MockCluster::new(1).expect("librdkafka's mock cluster starts");
        let bootstrap_servers = cluster.bootstrap_servers();
        Self::new(Backend::Mock(cluster), bootstrap_servers, shared)
    }

    pub(crate) fn kafka(shared: Arc<Shared>) -> Result<Self, String> {
        let bootstrap_servers = shared.kafka()?;
        Ok(Self::new(Backend::Kafka, bootstrap_servers, shared))
    }

    /// The same on a broker of the test's own.
    pub(crate) fn on(&self, bootstrap_servers: String) -> Self {
        Self::new(Backend::Kafka, bootstrap_servers, Arc::clone(&self.shared))
    }

    fn new(backend: Backend, bootstrap_servers: String, shared: Arc<Shared>) -> Self {
        let prefix = format!("t{:08x}", rand::random::<u32>());
        Self { backend, bootstrap_servers, prefix, shared, created: Mutex::default() }
    }

    pub(crate) fn is_mock(&self) -> bool {
        matches!(self.backend, Backend::Mock(_))
    }

    /// The mock cluster, for making it fail: `request_errors`, `broker_down`, `topic_error`, ….
    pub(crate) fn mock_cluster(&self) -> Option<&MockCluster<'static, DefaultProducerContext>> {
        match &self.backend {
            Backend::Mock(cluster) => Some(cluster),
            Backend::Kafka => None,
        }
    }

    pub(crate) fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// What the test's topics and groups begin with, such as `t1a2b3c4d`: for `topics.prefix`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `name` behind this test's prefix: `t1a2b3c4d.name`.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// The real registry; started when first asked for. Only for tests of `kafka::`, so that a
    /// run of `mock::` starts no JVM.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        assert!(!self.is_mock(), "a mock:: test has no registry: register it under `kafka`");
        self.shared.registry().unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Confluent's Python client; installed when first asked for. Only for tests of `kafka::`.
    pub(crate) fn python(&self) -> Python {
        assert!(!self.is_mock(), "a mock:: test has no Python: register it under `kafka`");
        self.shared.python().unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Creates a topic (its full name) on either backend, and returns when it can be used.
    pub(crate) async fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_topic_with(topic, partitions, &[]).await;
    }

    /// The same with topic settings, which the mock does not know and passes over.
    pub(crate) async fn create_topic_with(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) {
        match &self.backend {
            Backend::Mock(cluster) => {
                cluster.create_topic(topic, partitions, 1).expect("the mock creates a topic");
            }
            Backend::Kafka => {
                create_topic(&self.bootstrap_servers, topic, partitions, settings).await;
                self.will_be_created(topic);
            }
        }
    }

    /// Creates many topics with one request, and returns when all can be used.
    pub(crate) async fn create_topics(&self, topics: &[NewTopic<'_>]) {
        match &self.backend {
            Backend::Mock(cluster) => {
                for topic in topics {
                    let created = cluster.create_topic(topic.name, topic.num_partitions, 1);
                    created.expect("the mock creates a topic");
                }
            }
            Backend::Kafka => {
                create_topics(&self.bootstrap_servers, topics).await;
                let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
                created.extend(topics.iter().map(|topic| topic.name.to_owned()));
            }
        }
    }

    /// The test lets somebody else create this topic: it is removed with the others.
    pub(crate) fn will_be_created(&self, topic: &str) {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        created.push(topic.to_owned());
    }

    /// A client configuration that knows the broker and nothing else.
    pub(crate) fn client_config(&self) -> ClientConfig {
        client_config(&self.bootstrap_servers)
    }

    /// A producer with `acks=all` and Java's partitioner.
    pub(crate) fn producer(&self) -> FutureProducer {
        producer(&self.bootstrap_servers)
    }

    /// A consumer with the given properties over: earliest, no automatic commit.
    pub(crate) fn consumer(&self, group: &str, properties: &[(&str, &str)]) -> BaseConsumer {
        consumer(&self.bootstrap_servers, group, properties)
    }

    /// Produces one record and waits for the acknowledgement.
    pub(crate) async fn send(&self, record: Outgoing) -> Sent {
        send(&self.producer(), record).await
    }

    /// Reads the topic from its beginning until `expected` records are there; panics with what
    /// came when that takes longer. Does not wait for more than it was asked for.
    pub(crate) async fn read_all(
        &self,
        topic: &str,
        expected: usize,
        timeout: Duration,
    ) -> Vec<Record> {
        self.read_until(topic, timeout, move |records| records.len() >= expected).await
    }

    /// Like `read_all`, until the condition holds.
    pub(crate) async fn read_until(
        &self,
        topic: &str,
        timeout: Duration,
        done: impl Fn(&[Record]) -> bool + Send + 'static,
    ) -> Vec<Record> {
        let (complete, records) = read(&self.bootstrap_servers, topic, timeout, done).await;
        assert!(complete, "{topic}: after {timeout:?} there were only these records: {records:#?}");
        records
    }

    /// What is in the topic now: everything below its high watermarks. For asserting absence.
    pub(crate) async fn read_now(&self, topic: &str) -> Vec<Record> {
        read_now(&self.bootstrap_servers, topic).await
    }

    /// What the group has committed: partition, offset (none: nothing yet), metadata.
    pub(crate) async fn committed(
        &self,
        group: &str,
        topic: &str,
    ) -> Vec<(i32, Option<i64>, String)> {
        committed(self.bootstrap_servers(), group, topic).await
    }

    /// Commits an offset with its metadata as a member-less client. Retries: a broker that is seconds
    /// old may not have its group coordinators yet.
    pub(crate) async fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
        metadata: &str,
    ) {
        let consumer = self.consumer(group, &[]);
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(offset)).expect("an offset");
        element.set_metadata(metadata);
        blocking(move || {
            let deadline = Instant::now() + CALL_TIMEOUT;
            while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
                assert!(Instant::now() < deadline, "the commit is refused: {error}");
                std::thread::sleep(Duration::from_millis(50));
            }
        })
        .await;
    }

    /// Leaves nothing behind on a broker that is not ours.
    pub(crate) async fn clean_up(&self) {
        let created = self.created.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.shared.is_foreign_kafka() && !created.is_empty() {
            let names: Vec<_> = created.iter().map(String::as_str).collect();
            let options = AdminOptions::new().operation_timeout(Some(CALL_TIMEOUT));
            admin(&self.bootstrap_servers).delete_topics(&names, &options).await.ok();
        }
    }
}

/// A record to produce: `Outgoing::to("topic").key("k").value("v").header("name", "value")`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    topic: String,
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// Names are bytes: other clients write any.
    headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Outgoing {
    pub(crate) fn to(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), ..Self::default() }
    }

    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same for another topic.
    pub(crate) fn sent_to(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self
    }

    /// Where it goes.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// As the producer takes it.
    pub(crate) fn as_future_record(&self) -> FutureRecord<'_, [u8], [u8]> {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &self.headers {
            headers = wms_kafka_raw::with_header(headers, key, value).unwrap();
        }
        let mut out = FutureRecord::<[u8], [u8]>::to(&self.topic).headers(headers);
        out.partition = self.partition;
        out.key = self.key.as_deref();
        out.payload = self.value.as_deref();
        out
    }

    /// Its value.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// How many headers it has.
    pub(crate) fn header_count(&self) -> usize {
        self.headers.len()
    }

    pub(crate) fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    pub(crate) fn value(mut self, value: impl AsRef<[u8]>) -> Self {
        self.value = Some(value.as_ref().to_vec());
        self
    }

    pub(crate) fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A record as it lies in the topic.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// In their order; a name may come more than once.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let headers = wms_kafka_raw::headers(message).into_iter();
        let headers = headers.map(|h| (String::from_utf8_lossy(&h.name).into_owned(), h.value));
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    }

    /// The key as text; panics when it is none.
    pub(crate) fn key(&self) -> &str {
        let key = self.key.as_deref().expect("the record has a key");
        std::str::from_utf8(key).expect("the key is text")
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.value.as_deref().expect("the record has a value")
    }

    /// The value as JSON.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(self.value()).expect("the value is JSON")
    }

    /// The last header of this name.
    pub(crate) fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().rfind(|(key, _)| key == name);
        found.and_then(|(_, value)| value.as_deref())
    }

    /// The last header of this name, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header_bytes(name).map(|value| std::str::from_utf8(value).expect("a text header"))
    }

    /// The schema id and the datum of a value in the Confluent wire format.
    pub(crate) fn unframe(&self) -> (u32, &[u8]) {
        registry::unframe(self.value()).unwrap_or_else(|reason| panic!("{reason}"))
    }
}

/// Text where it is text, so that a failed test can be read.
impl Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = format!("{}-{}@{}", self.topic, self.partition, self.offset);
        let headers = self.headers.iter().map(|(name, value)| (name, readable(value.as_deref())));
        f.debug_struct("Record")
            .field("at", &place)
            .field("key", &readable(self.key.as_deref()))
            .field("headers", &headers.collect::<Vec<_>>())
            .field("value", &readable(self.value.as_deref()))
            .finish()
    }
}

fn readable(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
            _ => format!("0x{}", hex::encode(bytes)),
        },
    }
}

// The same hands for a broker that a test has started for itself.

pub(crate) fn client_config(bootstrap_servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap_servers)
        .set("broker.address.family", "v4")
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500");
    config
}

pub(crate) fn producer(bootstrap_servers: &str) -> FutureProducer {
    client_config(bootstrap_servers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", "15000")
        .set("linger.ms", "0")
        .create()
        .expect("a producer")
}

pub(crate) fn consumer(
    bootstrap_servers: &str,
    group: &str,
    properties: &[(&str, &str)],
) -> BaseConsumer {
    let mut config = client_config(bootstrap_servers);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed");
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.create().expect("a consumer")
}

pub(crate) fn admin(bootstrap_servers: &str) -> AdminClient<DefaultClientContext> {
    client_config(bootstrap_servers).create().expect("an admin client")
}

pub(crate) async fn create_topic(
    bootstrap_servers: &str,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    create_topics(bootstrap_servers, &[new]).await;
}

pub(crate) async fn create_topics(bootstrap_servers: &str, topics: &[NewTopic<'_>]) {
    let options = AdminOptions::new().operation_timeout(Some(CALL_TIMEOUT));
    let results = admin(bootstrap_servers).create_topics(topics, &options).await;
    for result in results.expect("create_topics") {
        result.unwrap_or_else(|(topic, code)| panic!("{topic} is not created: {code}"));
    }
    let names = topics.iter().map(|topic| topic.name.to_owned()).collect();
    wait_until_usable(bootstrap_servers, names).await;
}

/// A topic is created a moment before its partitions have leaders that answer.
async fn wait_until_usable(bootstrap_servers: &str, topics: Vec<String>) {
    let consumer = reader(bootstrap_servers);
    blocking(move || {
        // Kafka syncs the disk for each partition, and the disk may be busy.
        let patience = CALL_TIMEOUT + Duration::from_secs(40);
        let deadline = Instant::now() + patience;
        for topic in &topics {
            for element in partitions_within(&consumer, topic, patience).elements() {
                let partition = element.partition();
                while let Err(error) = consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT) {
                    assert!(
                        Instant::now() < deadline,
                        "{topic}-{partition} cannot be used: {error}"
                    );
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    })
    .await;
}

pub(crate) async fn send(producer: &FutureProducer, record: Outgoing) -> Sent {
    let topic = record.topic.clone();
    try_send(producer, record).await.unwrap_or_else(|e| panic!("{topic}: {e}"))
}

pub(crate) async fn try_send(
    producer: &FutureProducer,
    record: Outgoing,
) -> Result<Sent, rdkafka::error::KafkaError> {
    let delivery =
        producer.send(record.as_future_record(), CALL_TIMEOUT).await.map_err(|(error, _)| error)?;
    Ok(Sent { partition: delivery.partition, offset: delivery.offset })
}

/// Whether `done` held in time, and all records read.
pub(crate) async fn read(
    bootstrap_servers: &str,
    topic: &str,
    timeout: Duration,
    done: impl Fn(&[Record]) -> bool + Send + 'static,
) -> (bool, Vec<Record>) {
    let consumer = reader(bootstrap_servers);
    let topic = topic.to_owned();
    blocking(move || {
        let deadline = Instant::now() + timeout;
        consumer.assign(&partitions(&consumer, &topic)).expect("assign");
        let mut records = Vec::new();
        while !done(&records) {
            if Instant::now() > deadline {
                return (false, records);
            }
            // Errors here are connections that broke; the deadline decides.
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                records.push(Record::from_message(&message));
            }
        }
        (true, records)
    })
    .await
}

pub(crate) async fn read_now(bootstrap_servers: &str, topic: &str) -> Vec<Record> {
    let consumer = reader(bootstrap_servers);
    let topic = topic.to_owned();
    blocking(move || {
        let list = partitions(&consumer, &topic);
        // A position, not a count: transaction markers and compaction leave holes.
        let mut missing = Vec::new();
        for element in list.elements() {
            let partition = element.partition();
            let marks = consumer.fetch_watermarks(&topic, partition, CALL_TIMEOUT);
            let (low, high) = marks.expect("watermarks");
            if high > low {
                missing.push((partition, high));
            }
        }
        consumer.assign(&list).expect("assign");
        let deadline = Instant::now() + CALL_TIMEOUT;
        let mut records = Vec::new();
        while !missing.is_empty() {
            assert!(Instant::now() < deadline, "{topic} was not read to its end: {missing:?}");
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                records.push(Record::from_message(&message));
            }
            let position = consumer.position().expect("a position");
            missing.retain(|(partition, high)| {
                let at = position.find_partition(&topic, *partition).map(|e| e.offset());
                !matches!(at, Some(Offset::Offset(n)) if n >= *high)
            });
        }
        records
    })
    .await
}

fn reader(bootstrap_servers: &str) -> BaseConsumer {
    // End-of-partition events move the position over transaction markers, too.
    consumer(bootstrap_servers, "test-reader", &[("enable.partition.eof", "true")])
}

/// All partitions of the topic, from the beginning. The topic may be seconds old.
fn partitions(consumer: &BaseConsumer, topic: &str) -> TopicPartitionList {
    partitions_within(consumer, topic, CALL_TIMEOUT)
}

fn partitions_within(
    consumer: &BaseConsumer,
    topic: &str,
    patience: Duration,
) -> TopicPartitionList {
    let deadline = Instant::now() + patience;
    loop {
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5));
        if let Ok(metadata) = &metadata {
            let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
            let found = found.filter(|t| !t.partitions().is_empty());
            if let Some(found) = found {
                let mut list = TopicPartitionList::new();
                for partition in found.partitions() {
                    let added = list.add_partition_offset(topic, partition.id(), Offset::Beginning);
                    added.expect("a partition");
                }
                return list;
            }
        }
        assert!(Instant::now() < deadline, "{topic} is not there: {:?}", metadata.err());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs what waits inside librdkafka off the runtime.
/// What a group committed on a topic: partition, position, metadata.
pub(crate) async fn committed(
    bootstrap_servers: &str,
    group: &str,
    topic: &str,
) -> Vec<(i32, Option<i64>, String)> {
    let consumer = consumer(bootstrap_servers, group, &[]);
    let topic = topic.to_owned();
    blocking(move || {
        let list = partitions(&consumer, &topic);
        let list = consumer.committed_offsets(list, CALL_TIMEOUT).expect("committed offsets");
        let elements = list.elements();
        let position = |offset| if let Offset::Offset(n) = offset { Some(n) } else { None };
        let committed = elements.iter();
        committed.map(|e| (e.partition(), position(e.offset()), e.metadata().to_owned())).collect()
    })
    .await
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("{error}"),
        },
    }
}

/// Commits or aborts a transaction with `records` in it.
pub(crate) async fn transact(
    bootstrap_servers: &str,
    id: &str,
    records: Vec<Outgoing>,
    commit: bool,
) {
    let producer: FutureProducer = client_config(bootstrap_servers)
        .set("transactional.id", id)
        .set("message.timeout.ms", "15000")
        .create()
        .expect("a transactional producer");
    let copy = producer.clone();
    blocking(move || {
        copy.init_transactions(CALL_TIMEOUT).expect("init_transactions");
        copy.begin_transaction().expect("begin_transaction");
    })
    .await;
    for record in records {
        send(&producer, record).await;
    }
    blocking(move || {
        let end = if commit {
            producer.commit_transaction(CALL_TIMEOUT)
        } else {
            producer.abort_transaction(CALL_TIMEOUT)
        };
        end.expect("the transaction ends");
    })
    .await;
}
