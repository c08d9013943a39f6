//! The properties of every client.

use std::{collections::BTreeMap, fmt, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

/// How the command consumer joins its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The protocol every broker knows, with cooperative-sticky assignment.
    Classic,
    /// KIP-848, where the broker assigns.
    Consumer,
}

/// What the user configured of the Kafka clients. The user's properties never hold what the
/// connector's promises rest on: the configuration refuses those.
#[derive(Clone, Default)]
pub struct ClientSettings {
    pub bootstrap_servers: String,
    /// The group of the commands; the names of all other groups begin with it.
    pub group_id: String,
    /// librdkafka properties for all clients.
    pub properties: BTreeMap<String, String>,
    /// For producers alone.
    pub producer: BTreeMap<String, String>,
    /// For consumers alone.
    pub consumer: BTreeMap<String, String>,
    /// The most that is handed to a producer at a time: records, and their bytes. Its queue holds
    /// more, so that what was let in is never refused there.
    pub in_flight: (usize, u64),
    /// The largest record that a producer is handed, in bytes.
    pub largest_record: u64,
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A property may be a password or a key: its name alone is shown.
        let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("ClientSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &names(&self.properties))
            .field("producer", &names(&self.producer))
            .field("consumer", &names(&self.consumer))
            .finish_non_exhaustive()
    }
}

/// librdkafka's own default of `message.max.bytes`.
const MESSAGE_BYTES: u64 = 1_000_000;

/// What a producer's queue holds at least.
const QUEUE_MESSAGES: usize = 200_000;
const QUEUE_KBYTES: u64 = 131_072;
/// librdkafka's own limits.
const MOST_MESSAGES: usize = 2_147_483_647;
const MOST_KBYTES: u64 = 2_097_151;

impl ClientSettings {
    /// What every client has.
    #[allow(clippy::disallowed_methods, reason = "the one place that makes a ClientConfig")]
    fn common(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "wms-connector")
            // A connection that died behind a load balancer or NAT is noticed.
            .set("socket.keepalive.enable", "true")
            // A broker that restarted is tried again quickly; the default maximum is 10 s.
            .set("reconnect.backoff.max.ms", "1000")
            .set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }

    /// A text of librdkafka, without the values of properties that may be secret.
    pub fn without_secrets(&self, text: &str) -> String {
        let maps = [&self.properties, &self.producer, &self.consumer];
        let mut text = text.to_owned();
        for (name, value) in maps.into_iter().flatten() {
            if may_be_secret(name) && !value.is_empty() {
                text = text.replace(value.as_str(), "***");
            }
        }
        text
    }

    /// A client for metadata and topic administration.
    pub fn admin(&self) -> ClientConfig {
        let mut config = self.common();
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// A producer whose records are confirmed or failed within `timeout`.
    ///
    /// `message.timeout.ms` lies below `timeout` because librdkafka reports a failure up to a
    /// second late, and its default of 300 s would outlive every HTTP caller.
    pub fn producer(&self, timeout: Duration) -> ClientConfig {
        self.lingering_producer(timeout, "0", self.largest_record.max(MESSAGE_BYTES))
    }

    /// The same for replies, whose topics have the broker's limit: a key's next command does not wait for the one before to be confirmed,
    /// and a request for every single one costs more processor time than its call, here and at the
    /// broker.
    pub fn reply_producer(&self, timeout: Duration) -> ClientConfig {
        self.lingering_producer(timeout, "5", MESSAGE_BYTES)
    }

    /// The same for what comes while others are on their way: see `Publisher::gathering`. Under load
    /// the next record is there long before the half millisecond is over, and sends them all.
    pub fn gathering_producer(&self, timeout: Duration) -> ClientConfig {
        self.lingering_producer(timeout, "0.5", self.largest_record.max(MESSAGE_BYTES))
    }

    fn lingering_producer(&self, timeout: Duration, linger_ms: &str, largest: u64) -> ClientConfig {
        let mut config = self.common();
        let message_timeout =
            timeout.saturating_sub(Duration::from_millis(1_500)).max(timeout / 2).as_millis();
        config
            // Waiting for company costs every single record the wait.
            .set("linger.ms", linger_ms)
            // The broker's limit holds for what it receives; the client's must not be below it, or
            // the largest webhooks never reach the broker. `batch.size` still ends a batch at 1 MB.
            .set("message.max.bytes", largest.to_string())
            // How long a missing topic is taken for one that is just being made. A command that
            // names a reply topic that does not exist would wait the default of 30 s.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("queue.buffering.max.kbytes", self.queue_kbytes().to_string())
            .set("queue.buffering.max.messages", self.queue_messages().to_string());
        for (name, value) in &self.producer {
            config.set(name, value);
        }
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // librdkafka's default hashes otherwise than Java: joins would miss.
            .set("partitioner", "murmur2_random")
            // A producer otherwise creates topics, and an unknown one costs the whole timeout.
            .set("allow.auto.create.topics", "false")
            .set("message.timeout.ms", message_timeout.max(1).to_string());
        config
    }

    /// A producer whose transactions carry a fixed id: whoever takes the id fences the one before.
    pub fn transactional(&self, id: &str, timeout: Duration) -> ClientConfig {
        let mut config = self.producer(timeout);
        // Not above the broker's `transaction.max.timeout.ms`, and never below the message's own.
        config.set("transactional.id", id).set("transaction.timeout.ms", "30000");
        config
    }

    /// Twice what is in flight: a record whose sender was told 503 stays a moment longer.
    fn queue_messages(&self) -> usize {
        self.in_flight.0.saturating_mul(2).clamp(QUEUE_MESSAGES, MOST_MESSAGES)
    }

    /// Four times: a record may be larger than the webhook it was made of, too.
    fn queue_kbytes(&self) -> u64 {
        (self.in_flight.1 / 1024).saturating_mul(4).clamp(QUEUE_KBYTES, MOST_KBYTES)
    }

    /// The consumer of the command topics.
    pub fn command_consumer(&self, group_id: &str, protocol: GroupProtocol) -> ClientConfig {
        let mut config = self.bounded_consumer(&[
            // What is fetched ahead of a full window is thrown away when the partition pauses, and
            // fetched again: little ahead is enough, and costs little however many wait.
            ("queued.min.messages", "1000"),
            // With so little ahead the queue is often full for a moment; by default the next fetch
            // would then come a second later.
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.message.max.bytes", "262144"),
            // By it a classic group finds partitions that were added; the default is five minutes.
            ("topic.metadata.refresh.interval.ms", "10000"),
        ]);
        // Where to begin is decided by the connector: by itself the client would begin somewhere
        // whenever a commit is not within the log, and do everything again or leave it out.
        config.set("group.id", group_id).set("auto.offset.reset", "error");
        match protocol {
            GroupProtocol::Classic => {
                config
                    .set("group.protocol", "classic")
                    .set("partition.assignment.strategy", "cooperative-sticky");
            }
            // Setting a session timeout or an assignor makes the client fail here.
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer").remove("session.timeout.ms");
            }
        }
        config
    }

    /// A consumer that assigns its partitions itself and commits nothing.
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.bounded_consumer(&[]);
        // No group is joined, and yet the client needs one's name and asks for its coordinator: a
        // name that the rights on `group_id` cover.
        config
            .set("group.id", format!("{}.reader", self.group_id))
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true");
        config
    }

    /// `defaults` are the ones of this consumer, which the user may set otherwise.
    fn bounded_consumer(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.common();
        config.set("queued.max.messages.kbytes", "16384").set("fetch.wait.max.ms", "100");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.consumer {
            config.set(name, value);
        }
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false");
        config
    }
}

/// Whether a property's value may be a secret, or hold one.
fn may_be_secret(name: &str) -> bool {
    ["password", "secret", ".key", ".pem", "jaas", "token", "oauthbearer.config"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_cannot_weaken_what_is_promised() {
        let mut settings = ClientSettings { bootstrap_servers: "h:1".into(), ..Default::default() };
        for name in ["acks", "enable.idempotence", "partitioner", "enable.auto.commit"] {
            settings.properties.insert(name.into(), "weakened".into());
            settings.producer.insert(name.into(), "weakened".into());
        }
        let producer = settings.producer(Duration::from_secs(5));
        assert_eq!(producer.get("acks"), Some("all"));
        assert_eq!(producer.get("enable.idempotence"), Some("true"));
        assert_eq!(producer.get("partitioner"), Some("murmur2_random"));
        let consumer = settings.command_consumer("g", GroupProtocol::Classic);
        assert_eq!(settings.reply_producer(Duration::from_secs(5)).get("acks"), Some("all"));
        assert_eq!(consumer.get("enable.auto.commit"), Some("false"));
        assert_eq!(consumer.get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn what_consumers_hold_is_bounded_and_the_users() {
        let mut settings = ClientSettings::default();
        let consumer = settings.command_consumer("g", GroupProtocol::Classic);
        assert_eq!(consumer.get("queued.max.messages.kbytes"), Some("16384"));
        assert_eq!(consumer.get("queued.min.messages"), Some("1000"));
        settings.consumer.insert("queued.min.messages".into(), "7".into());
        let consumer = settings.command_consumer("g", GroupProtocol::Consumer);
        assert_eq!(consumer.get("queued.min.messages"), Some("7"));
        assert_eq!(settings.reader().get("queued.max.messages.kbytes"), Some("16384"));
        settings.group_id = "shipping".to_owned();
        assert_eq!(settings.reader().get("group.id"), Some("shipping.reader"));
    }

    #[test]
    fn the_queue_holds_more_than_is_let_in() {
        for (in_flight, messages, kbytes) in [
            ((0, 0), "200000", "131072"),
            ((4_096, 64 << 20), "200000", "262144"),
            ((500_000, 1 << 30), "1000000", "2097151"),
        ] {
            let config = ClientSettings { in_flight, ..Default::default() };
            let config = config.producer(Duration::from_secs(5));
            assert_eq!(config.get("queue.buffering.max.messages"), Some(messages));
            assert_eq!(config.get("queue.buffering.max.kbytes"), Some(kbytes));
        }
    }

    /// Common clients read no LZ4, Snappy or zstd without a further package: what is compressed is
    /// for the user to say.
    #[test]
    fn records_are_uncompressed_unless_asked_otherwise() {
        let mut settings = ClientSettings::default();
        assert_eq!(settings.producer(Duration::from_secs(5)).get("compression.type"), None);
        settings.producer.insert("compression.type".into(), "lz4".into());
        assert_eq!(settings.producer(Duration::from_secs(5)).get("compression.type"), Some("lz4"));
    }

    #[test]
    fn the_client_takes_what_the_listener_takes() {
        for (largest_record, limit) in [(0, "1000000"), (5 << 20, "5242880")] {
            let settings = ClientSettings { largest_record, ..Default::default() };
            let producer = settings.producer(Duration::from_secs(5));
            assert_eq!(producer.get("message.max.bytes"), Some(limit));
        }
    }

    #[test]
    fn a_record_fails_before_its_caller_gives_up() {
        for (timeout, message_timeout) in [(5_000, "3500"), (2_000, "1000"), (60_000, "58500")] {
            let config = ClientSettings::default().producer(Duration::from_millis(timeout));
            assert_eq!(config.get("message.timeout.ms"), Some(message_timeout));
        }
    }
}
