//! A small compacted topic of one partition that every process follows and one leads.
//!
//! ```text
//! follower thread   reads everything from the beginning, committed records only: the newest value a key
//! leader thread     is a member of a group; whoever owns the partition leads
//! write             init_transactions (fences whoever wrote before) ─▶ read to the end ─▶ compare ─▶ commit
//! ```
//!
//! The group decides who *should* write; that nobody else *can* comes from the one transactional
//! id. A leader that was frozen and has lost the partition is fenced when it comes back, and
//! before it may write again it has read what its successor wrote.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::KafkaError,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use tokio::sync::watch;

mod follow;
mod values;

use values::Values;

use super::{
    ClientSettings, GroupProtocol, Headers,
    client::{LoggingContext, create},
    inspect::keeps_the_newest,
};

/// How long one step of a write may take: the coordinator, the reading, the commit.
const STEP: Duration = Duration::from_secs(15);
/// How long a poll waits; a thread that shall end ends within it.
const POLL: Duration = Duration::from_millis(100);
/// When a consumer that failed is made anew.
const AGAIN: Duration = Duration::from_secs(1);

/// What a process has to do with the topic.
#[derive(Debug, Clone)]
pub enum Role {
    /// It follows, and leads while it owns the partition in this group.
    Member { group_id: String, protocol: GroupProtocol },
    /// It follows and never writes.
    Follower,
    /// It follows, and writes whoever leads: a person's decision.
    Writer,
}

/// Why a value was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("another process leads")]
    NotLeader,
    #[error("a newer value is there")]
    Superseded,
    #[error("topic `{topic}`: {reason}")]
    Failed { topic: String, reason: String },
}

/// The topic, followed.
pub struct LedTopic {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for LedTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedTopic").field("topic", &self.shared.topic).finish_non_exhaustive()
    }
}

type Writer = ThreadedProducer<Context>;

/// Who waits for the offset of a record.
type Delivered = std::sync::mpsc::Sender<Result<i64, KafkaError>>;

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        LoggingContext.log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        LoggingContext.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Option<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let offset = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        if let Some(waiting) = *waiting {
            // Who gave up reads the topic anew.
            waiting.send(offset).ok();
        }
    }
}

struct Shared {
    topic: String,
    reader: ClientConfig,
    transactional: ClientConfig,
    plain: ClientConfig,
    values: Mutex<Values>,
    caught_up: watch::Sender<bool>,
    /// Counts how often a reading anew was asked for, and which one of them is done.
    reread: watch::Sender<u64>,
    read_anew: watch::Sender<u64>,
    /// Topics have ids here.
    ids: AtomicBool,
    changed: watch::Sender<()>,
    leads: AtomicBool,
    stop: AtomicBool,
    writer: Mutex<Option<Writer>>,
    teller: Mutex<Option<Writer>>,
}

/// Valid at every step, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LedTopic {
    /// Begins to follow. Nobody is waited for: a cluster that is away is asked until it answers.
    pub fn start(
        settings: &ClientSettings,
        topic: &str,
        transactional_id: &str,
        role: Role,
    ) -> std::io::Result<Self> {
        let leads = matches!(role, Role::Writer);
        let mut reader = settings.reader();
        // A position that is not in the log any more is for the follower to notice.
        reader.set("auto.offset.reset", "error");
        let shared = Arc::new(Shared {
            topic: topic.to_owned(),
            reader,
            transactional: settings.transactional(transactional_id, STEP),
            plain: settings.producer(STEP),
            values: Mutex::default(),
            caught_up: watch::Sender::new(false),
            reread: watch::Sender::new(0),
            read_anew: watch::Sender::new(0),
            ids: true.into(),
            changed: watch::Sender::new(()),
            leads: leads.into(),
            stop: false.into(),
            writer: Mutex::default(),
            teller: Mutex::default(),
        });
        let mut threads = Vec::new();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work)
        };
        let follower = Arc::clone(&shared);
        threads.push(spawn("led-follow", Box::new(move || follower.follow()))?);
        if let Role::Member { group_id, protocol } = role {
            let config = settings.command_consumer(&group_id, protocol);
            let member = Arc::clone(&shared);
            threads.push(spawn("led-lead", Box::new(move || member.lead(&config)))?);
        }
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Whether this process leads now, as far as it knows.
    pub fn leads(&self) -> bool {
        self.shared.leads.load(Ordering::Acquire)
    }

    /// The newest value of a key, once everything that was there at the start has been read.
    pub async fn get(&self, key: &[u8], patience: Duration) -> Result<Option<Vec<u8>>, WriteError> {
        let mut caught_up = self.shared.caught_up.subscribe();
        let waiting = tokio::time::timeout(patience, caught_up.wait_for(|done| *done));
        if !matches!(waiting.await, Ok(Ok(_))) {
            return Err(self.shared.failed("it has not been read to its end yet"));
        }
        Ok(self.known(key))
    }

    /// The newest value of a key, as far as it has been read.
    pub fn known(&self, key: &[u8]) -> Option<Vec<u8>> {
        locked(&self.shared.values).get(key).cloned()
    }

    /// Tells of every change of a value, and of who leads.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Makes sure that a value could be written now. Blocks.
    pub fn prepare(&self) -> Result<(), WriteError> {
        if !self.leads() {
            return Err(WriteError::NotLeader);
        }
        let shared = &self.shared;
        let mut writer = locked(&shared.writer);
        if writer.is_none() {
            keeps_the_newest(&shared.reader, &shared.topic, STEP)
                .map_err(|reason| shared.failed(&reason))?;
            *writer = Some(shared.take_over()?);
        }
        Ok(())
    }

    /// Writes a value if `may` agrees with what is there, and if this process leads or `anyone` may
    /// write this one: what ends work that only its beginner can end. Blocks.
    pub fn write(
        &self,
        key: &[u8],
        value: &[u8],
        headers: &Headers,
        anyone: bool,
        may: impl Fn(Option<&[u8]>) -> bool,
    ) -> Result<(), WriteError> {
        let shared = &self.shared;
        let mut writer = locked(&shared.writer);
        let mut last = WriteError::NotLeader;
        // The second time after somebody else took the transactional id, or after a commit whose
        // outcome is not known: what is there by then is read first.
        for _ in 0..2 {
            if !anyone && !self.leads() {
                return Err(last);
            }
            let producer = match writer.take() {
                Some(producer) => producer,
                None => shared.take_over()?,
            };
            let stored = self.known(key);
            if stored.as_deref() == Some(value) {
                *writer = Some(producer);
                return Ok(());
            }
            if !may(stored.as_deref()) {
                *writer = Some(producer);
                return Err(WriteError::Superseded);
            }
            match shared.transact(&producer, key, value, headers) {
                Ok(offset) => {
                    locked(&shared.values).wrote(key, offset, value);
                    shared.changed.send_replace(());
                    *writer = Some(producer);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(topic = shared.topic, %error, "a write was not committed; the topic is read anew");
                    last = shared.failed(&error.to_string());
                }
            }
        }
        Err(last)
    }

    /// Writes a value beside what is led, whoever leads: a word to the leader. Blocks.
    pub fn tell(&self, key: &[u8], value: &[u8], headers: &Headers) -> Result<(), WriteError> {
        let shared = &self.shared;
        let mut teller = locked(&shared.teller);
        let sent = (|| {
            let producer = match teller.take() {
                Some(producer) => producer,
                None => producer(&shared.plain)?,
            };
            producer.send(shared.record(key, value, headers, None)).map_err(|(error, _)| error)?;
            producer.flush(STEP)?;
            *teller = Some(producer);
            Ok(())
        })();
        sent.map_err(|error: KafkaError| shared.failed(&error.to_string()))
    }

    /// Ends the threads and leaves the group, so that another process leads at once. Blocks.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.leads.store(false, Ordering::Release);
        for thread in locked(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!(topic = self.shared.topic, "a thread of the topic panicked");
            }
        }
    }
}

impl Drop for LedTopic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

fn producer(config: &ClientConfig) -> Result<Writer, KafkaError> {
    create(config, Context)
}

impl Shared {
    fn failed(&self, reason: &str) -> WriteError {
        WriteError::Failed { topic: self.topic.clone(), reason: reason.to_owned() }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn lead(&self, config: &ClientConfig) {
        while !self.stopped() {
            if let Err(error) = self.lead_once(config) {
                tracing::warn!(topic = self.topic, %error, "no member of the leaders' group; tried again");
                self.set_leads(false);
                self.rest(AGAIN);
            }
        }
        self.set_leads(false);
    }

    fn lead_once(&self, config: &ClientConfig) -> Result<(), KafkaError> {
        let consumer: BaseConsumer<Leadership<'_>> = {
            // The context has to live as long as the consumer, which ends with this function.
            create(config, Leadership { shared: self })?
        };
        consumer.subscribe(&[&self.topic])?;
        while !self.stopped() {
            match consumer.poll(POLL) {
                // The follower reads; here the partition alone matters.
                None | Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => {
                    if consumer.client().fatal_error().is_some() {
                        return Err(error);
                    }
                    tracing::debug!(topic = self.topic, %error, "the leaders' group");
                }
            }
        }
        Ok(())
    }

    fn set_leads(&self, leads: bool) {
        if self.leads.swap(leads, Ordering::AcqRel) != leads {
            tracing::info!(topic = self.topic, leads, "who leads has changed");
            self.changed.send_replace(());
        }
    }

    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.stopped() {
            std::thread::sleep(POLL);
        }
    }

    /// Fences whoever wrote before and reads what they wrote.
    fn take_over(&self) -> Result<Writer, WriteError> {
        let taken = || -> Result<Writer, KafkaError> {
            let producer = producer(&self.transactional)?;
            producer.init_transactions(STEP)?;
            Ok(producer)
        };
        let producer = taken().map_err(|error| self.failed(&error.to_string()))?;
        // From its beginning, whatever is known: the topic may have been made again, and a person's
        // new tokens have lower offsets than the old ones.
        if !self.read_anew(STEP) {
            return Err(self.failed("it could not be read to its end in time"));
        }
        Ok(producer)
    }

    fn record<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        headers: &Headers,
        delivered: Option<Delivered>,
    ) -> BaseRecord<'a, [u8], [u8], Box<Option<Delivered>>> {
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (name, value) in headers {
            owned = owned.insert(Header { key: name, value: value.as_deref() });
        }
        BaseRecord::with_opaque_to(&self.topic, Box::new(delivered))
            .partition(0)
            .key(key)
            .payload(value)
            .headers(owned)
    }

    fn transact(
        &self,
        producer: &Writer,
        key: &[u8],
        value: &[u8],
        headers: &Headers,
    ) -> Result<i64, KafkaError> {
        let (sender, delivered) = std::sync::mpsc::channel();
        producer.begin_transaction()?;
        let record = self.record(key, value, headers, Some(sender));
        producer.send(record).map_err(|(error, _)| error)?;
        producer.commit_transaction(STEP)?;
        // It was delivered before it was committed; the callback may be a moment behind.
        delivered.recv_timeout(STEP).map_err(|_| KafkaError::Canceled)?
    }
}

/// Notes who owns the partition. The callbacks run inside the poll of the leader thread.
struct Leadership<'a> {
    shared: &'a Shared,
}

impl ClientContext for Leadership<'_> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        LoggingContext.log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        LoggingContext.error(error, reason);
    }
}

impl ConsumerContext for Leadership<'_> {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(_) | Rebalance::Error(_) => self.shared.set_leads(false),
            Rebalance::Assign(_) => {}
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) if partitions.count() > 0 => self.shared.set_leads(true),
            Rebalance::Assign(_) | Rebalance::Revoke(_) | Rebalance::Error(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A leader that gave its partition back in an orderly way while it waited for an answer that
    /// only it can get: the answer is kept, unless its successor has begun something of its own.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_leads_no_more_may_only_end_what_it_began() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        cluster.create_topic("led", 1, 1).unwrap();
        let settings =
            ClientSettings { bootstrap_servers: cluster.bootstrap_servers(), ..Default::default() };
        let start = || LedTopic::start(&settings, "led", "led-writer", Role::Writer).unwrap();
        let (first, successor) = (Arc::new(start()), Arc::new(start()));
        let write =
            |topic: &Arc<LedTopic>, value: &'static [u8], after: Option<&'static [u8]>, anyone| {
                let topic = Arc::clone(topic);
                tokio::task::spawn_blocking(move || {
                    topic.write(b"a", value, &Headers::new(), anyone, |stored| stored == after)
                })
            };
        write(&first, b"begun", None, false).await.unwrap().unwrap();
        // As when its partition is given back.
        first.shared.leads.store(false, Ordering::Release);
        let refused = write(&first, b"another", Some(b"begun"), false).await.unwrap();
        assert!(matches!(refused, Err(WriteError::NotLeader)), "{refused:?}");
        assert_eq!(successor.get(b"a", PATIENCE).await.unwrap(), Some(b"begun".to_vec()));
        write(&first, b"ended", Some(b"begun"), true).await.unwrap().unwrap();

        write(&successor, b"its own", Some(b"ended"), false).await.unwrap().unwrap();
        let refused = write(&first, b"late", Some(b"ended"), true).await.unwrap();
        assert!(matches!(refused, Err(WriteError::Superseded)), "{refused:?}");
        let reader = start();
        assert_eq!(reader.get(b"a", PATIENCE).await.unwrap(), Some(b"its own".to_vec()));
        for topic in [&*first, &*successor, &reader] {
            topic.stop();
        }
    }
}
