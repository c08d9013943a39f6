//! What has to be there before work begins: Kafka, its topics, the registry, its schemas.

use std::{cell::Cell, future::Future, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{KAFKA_TIMEOUT, Parts, StartError, client_settings};
use super::{schemas, topics};
use crate::{
    admin::Readiness,
    avro::{Encoders, Registry, Subject},
    config::{Config, TokenStore},
    kafka::{self, ClusterUnreachable, Publisher, Topics},
};

/// How long the start waits before it asks an absent Kafka or registry again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// A reply may take longer than a webhook's answer: nobody waits for it over HTTP.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the pipelines share.
pub(super) struct Opened {
    pub(super) encoders: Arc<Encoders>,
    /// For webhooks, whose senders wait.
    pub(super) publisher: Publisher,
    /// For replies and dead letters.
    pub(super) replies: Publisher,
    pub(super) registry: Option<Registry>,
    /// The partitions of all command topics.
    pub(super) command_partitions: usize,
}

/// Waits for Kafka and the registry, says so, and checks what they hold; `begin` is called as soon
/// as webhooks can be taken.
pub(super) async fn open(
    config: &Config,
    parts: Parts,
    readiness: &Readiness,
    stop: &CancellationToken,
    begin: impl FnOnce(&Arc<Encoders>, &Publisher),
) -> Result<Opened, StartError> {
    let webhooks_begun = Cell::new(false);
    let said = |reason: &str| {
        let webhooks = parts.webhooks && !webhooks_begun.get();
        for (part, wanted) in [("webhooks", webhooks), ("commands", parts.commands)] {
            if wanted {
                readiness.set(part, Err(reason.to_owned()));
            }
        }
    };
    // With a spool, webhooks are kept before Kafka has been seen.
    let has_spool = parts.webhooks && config.ingress.spool.is_some();
    let mut partitions = 0;
    if !has_spool {
        partitions = look_for_topics(config, parts, stop, &said).await?;
    }
    let mut opened = prepare(config, parts, stop, &said).await?;
    begin(&opened.encoders, &opened.publisher);
    webhooks_begun.set(true);
    if has_spool {
        partitions = look_for_topics(config, parts, stop, &said).await?;
    }
    opened.command_partitions = partitions;
    Ok(opened)
}

/// Waits for Kafka; ends when a topic is missing. How many partitions the command topics have.
async fn look_for_topics(
    config: &Config,
    parts: Parts,
    stop: &CancellationToken,
    said: &impl Fn(&str),
) -> Result<usize, StartError> {
    let admin = client_settings(config).admin();
    let cluster = patiently(stop, said, || {
        let admin = admin.clone();
        async move {
            let asked = tokio::task::spawn_blocking(move || Topics::fetch(&admin, KAFKA_TIMEOUT));
            match asked.await {
                Ok(Ok(cluster)) => Ok(cluster),
                Ok(Err(ClusterUnreachable::Client(error))) => Err(Attempt::Never(error.into())),
                Ok(Err(unreachable @ ClusterUnreachable::NoAnswer { .. })) => {
                    Err(Attempt::Again(unreachable.to_string()))
                }
                Err(_cancelled) => Err(Attempt::Never(StartError::Stopped)),
            }
        }
    })
    .await?;
    let wanted = wanted_topics(config, parts);
    let missing = cluster.missing(wanted.iter().map(String::as_str));
    if !missing.is_empty() {
        let names = missing.into_iter().map(str::to_owned).collect();
        return Err(StartError::MissingTopics { names });
    }
    if parts.commands && keeps_tokens(config) {
        let (admin, topic) = (client_settings(config).admin(), config.topics.connector_tokens());
        tokio::task::spawn_blocking(move || {
            kafka::keeps_the_newest(&admin, &topic, KAFKA_TIMEOUT)
                .map_err(|reason| format!("topic `{topic}`: {reason}"))
        })
        .await
        .unwrap_or(Ok(()))
        .map_err(StartError::Tokens)?;
    }
    let commands = topics::command_topics(config);
    let found = commands.iter().filter_map(|topic| cluster.topics.get(topic));
    Ok(found.map(|facts| usize::try_from(facts.partitions).unwrap_or(0)).sum())
}

/// What needs the registry, and no Kafka yet.
async fn prepare(
    config: &Config,
    parts: Parts,
    stop: &CancellationToken,
    said: &impl Fn(&str),
) -> Result<Opened, StartError> {
    let registry = schemas::registry(config)?;
    let encoders = match &registry {
        None => Encoders::single_object().map_err(schemas::SchemasError::Schema)?,
        Some(registry) => {
            let subjects = wanted_subjects(config, parts);
            let register = config.schema_registry.auto_register;
            let ids = patiently(stop, said, || async {
                schemas::registry_ids(registry, &subjects, register).await.map_err(|error| {
                    if error.is_transient() {
                        Attempt::Again(error.to_string())
                    } else {
                        Attempt::Never(error.into())
                    }
                })
            })
            .await?;
            Encoders::confluent(&ids).map_err(schemas::SchemasError::Schema)?
        }
    };
    let clients = client_settings(config);
    let timeout = match &config.ingress.spool {
        // What fails here still has its time for the spool.
        Some(spool) => config.ingress.publish_timeout.saturating_sub(spool.reserve),
        None => config.ingress.publish_timeout,
    };
    let webhooks =
        || Publisher::gathering(clients.producer(timeout), clients.gathering_producer(timeout));
    let commands = || Publisher::new(clients.reply_producer(REPLY_TIMEOUT));
    let (publisher, replies) = match (parts.webhooks, parts.commands) {
        (true, true) => (webhooks()?, commands()?),
        (true, false) => webhooks().map(|one| (one.clone(), one))?,
        (false, _) => commands().map(|one| (one.clone(), one))?,
    };
    Ok(Opened { encoders: Arc::new(encoders), publisher, replies, registry, command_partitions: 0 })
}

/// Why an attempt did not succeed.
enum Attempt {
    /// Asking again may help.
    Again(String),
    Never(StartError),
}

/// Asks until there is an answer, says why there is none, and ends when the process shall stop.
async fn patiently<T, F: Future<Output = Result<T, Attempt>>>(
    stop: &CancellationToken,
    said: &impl Fn(&str),
    ask: impl Fn() -> F,
) -> Result<T, StartError> {
    loop {
        let asked = tokio::select! {
            asked = ask() => asked,
            () = stop.cancelled() => return Err(StartError::Stopped),
        };
        match asked {
            Ok(answer) => return Ok(answer),
            Err(Attempt::Never(error)) => return Err(error),
            Err(Attempt::Again(reason)) => {
                tracing::warn!(reason, "waiting; nothing is received yet");
                said(&reason);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN) => {}
            () = stop.cancelled() => return Err(StartError::Stopped),
        }
    }
}

/// Whether renewed tokens are kept in their topic.
fn keeps_tokens(config: &Config) -> bool {
    config.tokens.store == TokenStore::Topic && config.tokens.key.is_some()
}

/// The topics this process works with.
fn wanted_topics(config: &Config, parts: Parts) -> Vec<String> {
    let mut wanted = Vec::new();
    if parts.webhooks {
        for vendor in topics::configured_vendors(config) {
            wanted.extend(topics::event_topics(config, vendor));
        }
    }
    if parts.commands {
        for topic in topics::command_topics(config) {
            wanted.push(config.topics.dlq(&topic));
            wanted.push(topic);
        }
        wanted.push(config.topics.replies());
        if keeps_tokens(config) {
            wanted.push(config.topics.connector_tokens());
        }
    }
    wanted
}

/// The subjects of what this process writes and reads.
fn wanted_subjects(config: &Config, parts: Parts) -> Vec<Subject> {
    let mut subjects = Vec::new();
    if parts.webhooks {
        for vendor in topics::configured_vendors(config) {
            subjects.extend(topics::event_subjects(config, vendor));
        }
    }
    if parts.commands {
        subjects.extend(topics::command_subjects(config));
    }
    subjects
}
