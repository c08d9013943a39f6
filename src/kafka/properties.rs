//! Which properties librdkafka has. Property names and values come from an operator: what is wrong with one
//! is said here in words of our own, because librdkafka's own texts repeat the value, which may be a
//! password.

use rdkafka::{
    ClientConfig,
    consumer::BaseConsumer,
    error::{KafkaError, KafkaResult},
    producer::{BaseProducer, DefaultProducerContext},
    types::RDKafkaConfRes,
};

use super::{ClientSettings, GroupProtocol, admin::Quiet, client::create};

/// Of which clients a property is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyOf {
    Every,
    Producer,
    Consumer,
}

/// What is wrong with a property. It never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyFault {
    /// A name of Java's clients, and what librdkafka has instead.
    Java(&'static str),
    /// librdkafka knows no such property.
    Unknown,
    /// A property of the other kind of client.
    AnothersProperty(PropertyOf),
    /// The name is right and the value is not.
    Value,
}

/// Looks at one property of the clients `of`.
pub fn property_fault(name: &str, value: &str, of: PropertyOf) -> Option<PropertyFault> {
    if let Some(instead) = instead_of_java(name) {
        return Some(PropertyFault::Java(instead));
    }
    match (of, property_of(name)) {
        (PropertyOf::Producer, Some(other @ PropertyOf::Consumer))
        | (PropertyOf::Consumer, Some(other @ PropertyOf::Producer)) => {
            return Some(PropertyFault::AnothersProperty(other));
        }
        _ => {}
    }
    #[allow(clippy::disallowed_methods, reason = "asks librdkafka about one property")]
    let mut config = ClientConfig::new();
    match config.set(name, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Some(PropertyFault::Unknown)
        }
        // Also a text with a NUL, which librdkafka cannot be handed.
        Err(_) => Some(PropertyFault::Value),
    }
}

/// Every name that librdkafka knows, for suggestions.
pub fn property_names() -> impl Iterator<Item = &'static str> {
    [OF_EVERY, OF_PRODUCERS, OF_CONSUMERS].into_iter().flatten().copied()
}

fn property_of(name: &str) -> Option<PropertyOf> {
    let table = [
        (OF_EVERY, PropertyOf::Every),
        (OF_PRODUCERS, PropertyOf::Producer),
        (OF_CONSUMERS, PropertyOf::Consumer),
    ];
    table.into_iter().find(|(names, _)| names.contains(&name)).map(|(_, of)| of)
}

/// Java's clients call some things otherwise, and operators copy what they have.
fn instead_of_java(name: &str) -> Option<&'static str> {
    Some(match name {
        "sasl.jaas.config" => "set \"sasl.username\" and \"sasl.password\"",
        "sasl.login.callback.handler.class" | "sasl.client.callback.handler.class" => {
            "for OAuth set \"sasl.oauthbearer.method\" = \"oidc\" and its properties"
        }
        "ssl.truststore.location" | "ssl.truststore.certificates" => {
            "put the authorities' PEM file into \"ssl.ca.location\""
        }
        "ssl.truststore.password" | "ssl.truststore.type" | "ssl.keystore.type" => {
            "a PEM file needs none: see \"ssl.ca.location\", \"ssl.certificate.location\" and \
             \"ssl.key.location\""
        }
        "ssl.keystore.key" => "it is \"ssl.key.pem\"",
        "ssl.keystore.certificate.chain" => "it is \"ssl.certificate.pem\"",
        "key.serializer" | "value.serializer" | "key.deserializer" | "value.deserializer" => {
            "the connector writes and reads Avro by itself"
        }
        "buffer.memory" => "it is \"queue.buffering.max.kbytes\", in [kafka.producer]",
        "max.request.size" => "it is \"message.max.bytes\"",
        "max.block.ms" => "`ingress.publish_timeout` bounds it",
        "max.poll.records" => "`commands.window` bounds what is fetched",
        _ => return None,
    })
}

/// Whether clients can be made of the settings: librdkafka looks at certificates, keys and what fits
/// together only then. No broker is asked.
pub fn try_settings(settings: &ClientSettings) -> Result<(), String> {
    let timeout = std::time::Duration::from_secs(5);
    let producer: KafkaResult<BaseProducer> =
        create(&settings.producer(timeout), DefaultProducerContext);
    let consumer: KafkaResult<BaseConsumer<Quiet>> =
        create(&settings.command_consumer("wms-connector", GroupProtocol::Classic), Quiet);
    let (producer, consumer) = (producer.map(drop), consumer.map(drop));
    producer.and(consumer).map_err(|error| match error {
        KafkaError::ClientCreation(text) => {
            settings.without_secrets(&match unreadable_file(settings) {
                Some((name, reason)) => format!("{name}: {reason} ({text})"),
                None => text,
            })
        }
        KafkaError::ClientConfig(_, _, name, _) => format!("{name} is refused"),
        other => settings.without_secrets(&other.to_string()),
    })
}

/// The first property that names a file which cannot be read: librdkafka says no more of it than that its
/// TLS library failed.
fn unreadable_file(settings: &ClientSettings) -> Option<(&str, String)> {
    let maps = [&settings.properties, &settings.producer, &settings.consumer];
    let mut locations = maps.into_iter().flatten().filter(|(name, _)| name.ends_with(".location"));
    locations.find_map(|(name, path)| {
        // "probe" looks for the system's authorities.
        let error = std::fs::metadata(path).err().filter(|_| path != "probe")?;
        Some((name.as_str(), format!("{path}: {error}")))
    })
}

// librdkafka 2.12.1, CONFIGURATION.md; without callbacks, which no configuration file can set.
const OF_EVERY: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "bootstrap.servers",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "default_topic_conf",
    "enable.metrics.push",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "enabled_events",
    "https.ca.location",
    "https.ca.pem",
    "internal.termination.signal",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "plugin.library.paths",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "ssl_ca",
    "ssl_certificate",
    "ssl_engine_callback_data",
    "ssl_key",
    "statistics.interval.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

const OF_PRODUCERS: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

const OF_CONSUMERS: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-hunter2";

    /// The names are librdkafka's own: with none of them it says that it does not know it.
    #[test]
    fn every_name_is_known_to_librdkafka() {
        for name in property_names() {
            let fault = property_fault(name, "\u{1}", PropertyOf::Every);
            assert!(
                !matches!(fault, Some(PropertyFault::Unknown | PropertyFault::Java(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        use PropertyFault::{AnothersProperty, Java, Unknown, Value};
        for (name, value, of, fault) in [
            ("sasl.password", SECRET, PropertyOf::Every, None),
            ("sasl.pasword", SECRET, PropertyOf::Every, Some(Unknown)),
            ("", SECRET, PropertyOf::Every, Some(Unknown)),
            ("a\0b", SECRET, PropertyOf::Every, Some(Value)),
            ("sasl.password", "a\0b", PropertyOf::Every, Some(Value)),
            ("linger.ms", SECRET, PropertyOf::Every, Some(Value)),
            ("linger.ms", "-7", PropertyOf::Producer, Some(Value)),
            ("security.protocol", SECRET, PropertyOf::Every, Some(Value)),
            ("compression.type", "lz5", PropertyOf::Producer, Some(Value)),
            ("linger.ms", "5", PropertyOf::Consumer, Some(AnothersProperty(PropertyOf::Producer))),
            (
                "fetch.min.bytes",
                "5",
                PropertyOf::Producer,
                Some(AnothersProperty(PropertyOf::Consumer)),
            ),
            ("client.id", "me", PropertyOf::Consumer, None),
        ] {
            assert_eq!(property_fault(name, value, of), fault, "{name}");
        }
        for name in ["sasl.jaas.config", "ssl.truststore.password", "ssl.keystore.key"] {
            assert!(
                matches!(property_fault(name, SECRET, PropertyOf::Every), Some(Java(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn what_only_a_client_finds_wrong_is_told_without_the_secret() {
        let with = |properties: &[(&str, &str)]| {
            let properties = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            ClientSettings {
                bootstrap_servers: "127.0.0.1:1".into(),
                properties: properties.collect(),
                ..Default::default()
            }
        };
        assert_eq!(try_settings(&with(&[])), Ok(()));
        for (properties, told) in [
            (
                vec![("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere.pem")],
                "/nowhere.pem",
            ),
            (vec![("security.protocol", "ssl"), ("ssl.ca.pem", SECRET)], "ssl"),
            (vec![("security.protocol", "ssl"), ("ssl.key.pem", SECRET)], "ssl"),
            (vec![("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "GSSAPI")], "GSSAPI"),
        ] {
            let error = try_settings(&with(&properties)).unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains(SECRET), "{error}");
        }
    }
}
