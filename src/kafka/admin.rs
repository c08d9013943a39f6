//! Topics: which there are, which are missing, making them.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{LoggingContext, client::create};

/// Kafka could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterUnreachable {
    #[error(
        "Kafka at {bootstrap_servers} did not answer within {}: {source}; check \
         `kafka.bootstrap_servers`, the network and `kafka.properties`",
        humantime::format_duration(*timeout)
    )]
    NoAnswer { bootstrap_servers: String, timeout: Duration, source: KafkaError },
    /// No client could be made: a file is missing, two properties contradict each other.
    #[error("Kafka's client refuses the configuration: {0}; look into `kafka.properties`")]
    Client(KafkaError),
}

/// What a topic looks like in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFacts {
    pub partitions: i32,
    pub replication: i32,
}

/// The topics of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    pub brokers: i32,
    pub topics: BTreeMap<String, TopicFacts>,
}

impl Topics {
    /// Asks the cluster. Blocks.
    pub fn fetch(config: &ClientConfig, timeout: Duration) -> Result<Self, ClusterUnreachable> {
        let unreachable = |source| ClusterUnreachable::NoAnswer {
            bootstrap_servers: config.get("bootstrap.servers").unwrap_or_default().to_owned(),
            timeout,
            source,
        };
        // A consumer that subscribes to nothing: a producer would begin to remember topics.
        let client: BaseConsumer<Quiet> =
            create(config, Quiet).map_err(ClusterUnreachable::Client)?;
        let metadata = client.fetch_metadata(None, timeout).map_err(unreachable)?;
        let count = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        let topics = metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none())
            .map(|topic| {
                let replication =
                    topic.partitions().iter().map(|p| count(p.replicas().len())).min();
                let facts = TopicFacts {
                    partitions: count(topic.partitions().len()),
                    replication: replication.unwrap_or(0),
                };
                (topic.name().to_owned(), facts)
            })
            .collect();
        Ok(Self { brokers: count(metadata.brokers().len()), topics })
    }

    /// Those of `wanted` that do not exist.
    pub fn missing<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        wanted.into_iter().filter(|name| !self.topics.contains_key(*name)).collect()
    }
}

/// A client that only asks: its caller gets every failure itself.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl rdkafka::ClientContext for Quiet {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        LoggingContext.log(level, facility, message);
    }
    fn error(&self, _error: KafkaError, _reason: &str) {
        // The caller gets the failure itself.
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTopic {
    pub name: String,
    pub partitions: i32,
    /// Wanted replication; the cluster's size limits it.
    pub replication: i32,
    /// Topic configuration (`retention.ms`, `cleanup.policy`, …).
    pub config: Vec<(&'static str, String)>,
}

/// How a planned topic stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    Missing,
    Present(TopicFacts),
}

/// Compares what should be with what is.
pub fn plan(wanted: Vec<PlannedTopic>, cluster: &Topics) -> Vec<(PlannedTopic, TopicState)> {
    wanted
        .into_iter()
        .map(|mut topic| {
            topic.replication = topic.replication.min(cluster.brokers.max(1));
            let state = match cluster.topics.get(&topic.name) {
                Some(facts) => TopicState::Present(*facts),
                None => TopicState::Missing,
            };
            (topic, state)
        })
        .collect()
}

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyOutcome {
    Created,
    /// Somebody else made it meanwhile.
    AlreadyThere,
    Refused(String),
}

/// Makes the missing topics; existing ones are never changed.
pub async fn apply(
    config: &ClientConfig,
    missing: &[PlannedTopic],
    timeout: Duration,
) -> Result<Vec<(String, ApplyOutcome)>, KafkaError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let admin: AdminClient<DefaultClientContext> = create(config, DefaultClientContext)?;
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|topic| {
            let mut new = NewTopic::new(
                &topic.name,
                topic.partitions,
                TopicReplication::Fixed(topic.replication),
            );
            for (name, value) in &topic.config {
                new = new.set(name, value);
            }
            new
        })
        .collect();
    let options =
        AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    let results = admin.create_topics(&topics, &options).await?;
    Ok(results
        .into_iter()
        .map(|result| match result {
            Ok(name) => (name, ApplyOutcome::Created),
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => (name, ApplyOutcome::AlreadyThere),
            Err((name, code)) => (name, ApplyOutcome::Refused(code.to_string())),
        })
        .collect())
}
