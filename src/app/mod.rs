//! Builds and runs the parts: the only module that knows them all.

pub mod accounts;
mod calls;
mod commands;
mod descriptors;
mod open;
mod schemas;
pub mod signals;
mod token_topic;
pub mod topics;
mod try_account;

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{AdminServer, Readiness},
    api_client::{self, ApiClient},
    avro::Encoders,
    config::{self, Config},
    domain::AccountName,
    kafka::{ClientSettings, GroupProtocol, Publisher},
    metrics::Metrics,
    webhooks::{
        self, WebhookServer, Webhooks,
        spool::{self, Spool, SpoolSettings, Works},
    },
};

pub use accounts::Connected;
pub use calls::{TokensUse, api_client};
pub use schemas::{SchemasError, registry, registry_ids};
pub use try_account::{Tried, try_account};

/// How long one question to Kafka may take at start and for readiness.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);
/// How often readiness asks Kafka.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// Which pipelines a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub webhooks: bool,
    pub commands: bool,
}

impl Parts {
    /// All of them.
    pub const ALL: Self = Self { webhooks: true, commands: true };
}

/// Why the connector did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("account `{account}`: {reason}")]
    Account { account: String, reason: String },
    #[error("the {what} listener cannot take {address}: {error}; change `{key}`")]
    Listen { what: &'static str, key: &'static str, address: SocketAddr, error: io::Error },
    #[error(
        "Kafka has no topic {}; create what is missing with `wms-connector topics apply`",
        names.join(", ")
    )]
    MissingTopics { names: Vec<String> },
    #[error(transparent)]
    Schemas(#[from] SchemasError),
    #[error("Kafka's client refuses the configuration: {0}; look into `kafka.properties`")]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error("{0}")]
    Commands(String),
    #[error("{0}")]
    Tokens(String),
    #[error(transparent)]
    Spool(#[from] spool::StoreError),
    #[error("the calls to the vendors cannot be set up: {0}")]
    Calls(#[from] api_client::SetupError),
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("stopped before everything had started")]
    Stopped,
}

/// Why a started connector ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("commands: {0}")]
    Commands(String),
    #[error(
        "not everything was finished within `shutdown_timeout` ({}): {}",
        humantime::format_duration(*timeout), what.join(", ")
    )]
    Unfinished { timeout: Duration, what: Vec<&'static str> },
}

/// A connector at work.
#[derive(Debug)]
pub struct Running {
    /// Where webhooks are received.
    pub webhooks: Option<SocketAddr>,
    /// Where health and metrics are.
    pub admin: SocketAddr,
    pub metrics: Metrics,
    pub readiness: Readiness,
    shutdown_timeout: Duration,
    drain: Duration,
    stop: CancellationToken,
    stop_admin: CancellationToken,
    publisher: Publisher,
    api_client: Arc<ApiClient>,
    intake: TaskTracker,
    calls: TaskTracker,
    background: TaskTracker,
    commands_failed: tokio::sync::watch::Receiver<Option<String>>,
}

/// The Kafka settings of a configuration.
pub fn client_settings(config: &Config) -> ClientSettings {
    ClientSettings {
        bootstrap_servers: config.kafka.bootstrap_servers.clone(),
        group_id: config.commands.group_id.clone(),
        properties: config.kafka.properties.clone(),
        producer: config.kafka.producer.clone(),
        consumer: config.kafka.consumer.clone(),
        in_flight: (
            config.ingress.max_in_flight.saturating_add(config.commands.max_in_flight),
            config.ingress.max_in_flight_bytes,
        ),
        largest_record: config.ingress.largest_record(),
    }
}

/// How the process joins its groups.
fn group_protocol(config: &Config) -> GroupProtocol {
    match config.commands.group_protocol {
        config::GroupProtocol::Classic => GroupProtocol::Classic,
        config::GroupProtocol::Consumer => GroupProtocol::Consumer,
    }
}

/// Takes the ports, waits for Kafka and the registry, checks topics and schemas, then opens for
/// work. Ends with an error only for what waiting does not mend.
pub async fn start(
    config: Config,
    parts: Parts,
    stop: CancellationToken,
) -> Result<Running, StartError> {
    // Before anything is opened.
    let max_connections = descriptors::connections(&config);
    let metrics = Metrics::new()?;
    let readiness = Readiness::default();
    let accounts = accounts::connect(&config)?;
    let admin = AdminServer::bind(config.admin.listen).await.map_err(|error| {
        let (what, key, address) = ("admin", "admin.listen", config.admin.listen);
        StartError::Listen { what, key, address, error }
    })?;
    let server = if parts.webhooks {
        let server = WebhookServer::bind(config.ingress.listen).await.map_err(|error| {
            let (what, key, address) = ("webhook", "ingress.listen", config.ingress.listen);
            StartError::Listen { what, key, address, error }
        })?;
        readiness.listening("webhooks", server.address());
        Some(server)
    } else {
        None
    };
    let spool = if parts.webhooks { open_spool(&config, &accounts, &metrics).await? } else { None };
    let (admin_address, webhooks_address) =
        (admin.address(), server.as_ref().map(WebhookServer::address));
    readiness.listening("admin", admin_address);
    if parts.webhooks {
        readiness.set("webhooks", Err("Kafka has not been asked yet".to_owned()));
    }
    if parts.commands {
        readiness.set("commands", Err("the group is not joined yet".to_owned()));
    }
    let webhooks_at = webhooks_address.map(tracing::field::display);
    tracing::info!(admin = %admin_address, webhooks = webhooks_at, "listening");
    let (intake, calls, background) = (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
    let stop_admin = CancellationToken::new();
    background.spawn({
        let (metrics, readiness) = (metrics.clone(), readiness.clone());
        let stop = stop_admin.clone();
        async move {
            if let Err(error) = admin.serve(metrics, readiness, stop).await {
                tracing::error!(%error, "the admin listener ended");
            }
        }
    });

    // The senders of webhooks are answered from now on, at first with "not stored": Kafka may be
    // away for longer than any of them waits.
    let serving = stop.child_token();
    let pipeline = server.map(|server| {
        let accounts = accounts::for_webhooks(&config, &accounts);
        let settings = webhook_settings(&config, max_connections);
        let pipeline = Arc::new(Webhooks::new(settings, accounts, metrics.clone()));
        intake.spawn(server.serve(Arc::clone(&pipeline), serving.clone()));
        pipeline
    });
    let stop_spool = stop.child_token();
    let begin = |encoders: &Arc<Encoders>, publisher: &Publisher| {
        let Some(pipeline) = pipeline else { return };
        let spool = spool.map(|(spool, works)| {
            background.spawn(works.drain().run(publisher.clone(), stop_spool.clone()));
            // It writes until every webhook is answered.
            background.spawn(works.write(stop_admin.clone()));
            spool
        });
        pipeline.open(Arc::clone(encoders), publisher.clone(), spool.clone());
        let (topic, stop) = (probe_topic(&config), stop_admin.clone());
        background.spawn(probe(publisher.clone(), topic, spool, readiness.clone(), stop));
    };
    let opened = async {
        let tokens_use = if parts.commands { TokensUse::Renew } else { TokensUse::Nothing };
        let client = calls::api_client(&config, &accounts, &metrics, &calls, tokens_use)?;
        let api_client = Arc::new(client);
        let opened = open::open(&config, parts, &readiness, &stop, begin).await?;
        Ok((api_client, opened))
    };
    let (api_client, open::Opened { encoders, publisher, replies, registry, command_partitions }) =
        match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                readiness.stopping();
                serving.cancel();
                intake.close();
                if tokio::time::timeout(config.shutdown_timeout, intake.wait()).await.is_err() {
                    tracing::warn!("a webhook was not answered before the end");
                }
                stop_spool.cancel();
                stop_admin.cancel();
                background.close();
                if tokio::time::timeout(config.shutdown_timeout, background.wait()).await.is_err() {
                    tracing::debug!("a background task did not end in time");
                }
                return Err(error);
            }
        };
    let (failed, commands_failed) = tokio::sync::watch::channel(None);
    if parts.commands {
        let work = commands::Work {
            config: &config,
            accounts: &accounts,
            registry,
            encoders,
            publisher: replies,
            api_client: Arc::clone(&api_client),
            partitions: command_partitions,
            metrics: metrics.clone(),
            readiness: readiness.clone(),
        };
        let consuming = work.consume(stop.clone());
        let (stop, readiness) = (stop.clone(), readiness.clone());
        intake.spawn(async move {
            if let Err(reason) = consuming.await {
                readiness.set("commands", Err(reason.clone()));
                failed.send_replace(Some(reason));
                stop.cancel();
            }
        });
        background.spawn({
            let (api_client, stop) = (Arc::clone(&api_client), stop_admin.clone());
            async move { api_client.keep_tokens_fresh(stop).await }
        });
        background.spawn(calls::watch(
            Arc::clone(&api_client),
            metrics.clone(),
            stop_admin.clone(),
        ));
    }
    Ok(Running {
        webhooks: webhooks_address,
        admin: admin_address,
        metrics,
        readiness,
        shutdown_timeout: config.shutdown_timeout,
        drain: if parts.webhooks { config.ingress.drain } else { Duration::ZERO },
        stop,
        stop_admin,
        publisher,
        api_client,
        intake,
        calls,
        background,
        commands_failed,
    })
}

impl Running {
    /// Waits for the end that was asked for, then: drain → stop intake → finish calls → flush → leave.
    /// (The consumer commits before it leaves; dropping a producer would purge what it holds.)
    pub async fn finished(self) -> Result<(), RunError> {
        self.stop.cancelled().await;
        self.readiness.stopping();
        let deadline = tokio::time::Instant::now() + self.drain + self.shutdown_timeout;
        let mut unfinished = Vec::new();
        self.intake.close();
        if tokio::time::timeout_at(deadline, self.intake.wait()).await.is_err() {
            unfinished.push("webhooks or commands in flight");
        }
        self.calls.close();
        if tokio::time::timeout_at(deadline, self.calls.wait()).await.is_err() {
            unfinished.push("a renewal of tokens");
        }
        if tokio::time::timeout_at(deadline, self.api_client.close_tokens()).await.is_err() {
            unfinished.push("the store of the tokens");
        }
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if let Err(error) = self.publisher.flush(left.max(Duration::from_millis(100))).await {
            tracing::error!(%error, "the producer did not confirm everything");
            unfinished.push("records at the producer");
        }
        self.stop_admin.cancel();
        self.background.close();
        if tokio::time::timeout_at(deadline, self.background.wait()).await.is_err() {
            tracing::debug!("a background task did not end in time");
        }
        if let Some(reason) = self.commands_failed.borrow().clone() {
            return Err(RunError::Commands(reason));
        }
        if unfinished.is_empty() {
            tracing::info!("stopped: everything in flight is finished");
            return Ok(());
        }
        Err(RunError::Unfinished { timeout: self.shutdown_timeout, what: unfinished })
    }

    /// The client of the vendors' APIs.
    pub fn api_client(&self) -> &Arc<ApiClient> {
        &self.api_client
    }
}

fn webhook_settings(config: &Config, max_connections: usize) -> webhooks::Settings {
    let ingress = &config.ingress;
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    webhooks::Settings {
        publish_timeout: ingress.publish_timeout,
        read_timeout: ingress.read_timeout,
        keep_alive: ingress.keep_alive,
        drain: ingress.drain,
        max_body: bytes(ingress.max_body),
        max_in_flight: ingress.max_in_flight,
        max_in_flight_bytes: bytes(ingress.max_in_flight_bytes),
        max_connections,
        max_connections_per_source: ingress.max_connections_per_source,
        max_receiving_bytes_per_source: bytes(ingress.max_receiving_bytes_per_source),
        min_transfer_rate: bytes(ingress.min_transfer_rate),
        duplicate_window: ingress.duplicate_window,
        duplicate_entries: ingress.duplicate_entries,
        further_signature_bytes: ingress.further_signature_bytes,
        retyped: match ingress.retyped {
            config::Retyped::Refuse => webhooks::Retyped::Refuse,
            config::Retyped::Accept => webhooks::Retyped::Accept,
        },
        trusted_proxies: ingress.trusted_proxies.clone(),
        trust_traceparent: ingress.trust_traceparent,
    }
}

/// A topic of ours to ask Kafka about.
fn probe_topic(config: &Config) -> String {
    let mut vendors = topics::configured_vendors(config);
    let unrecognized = vendors.next().map(|vendor| config.topics.unrecognized(vendor.name));
    unrecognized.unwrap_or_else(|| config.topics.replies())
}

/// Opens the spool, where one is configured.
async fn open_spool(
    config: &Config,
    accounts: &BTreeMap<AccountName, Connected>,
    metrics: &Metrics,
) -> Result<Option<(Spool, Works)>, StartError> {
    let Some(configured) = &config.ingress.spool else { return Ok(None) };
    let settings = SpoolSettings {
        path: configured.path.clone(),
        max_bytes: configured.max_bytes,
        sources: accounts
            .iter()
            .map(|(name, account)| webhooks::record_source(account.vendor.name(), name))
            .collect(),
        largest: config.ingress.max_body,
        reserve: configured.reserve,
    };
    let metrics = metrics.clone();
    let opening = tokio::task::spawn_blocking(move || spool::open(&settings, metrics));
    match opening.await {
        Ok(opened) => Ok(Some(opened?)),
        Err(_cancelled) => Err(StartError::Stopped),
    }
}

/// Keeps asking whether a webhook could be made durable now: in Kafka, or in the spool.
async fn probe(
    publisher: Publisher,
    topic: String,
    spool: Option<Spool>,
    readiness: Readiness,
    stop: CancellationToken,
) {
    loop {
        let reachable = publisher.reachable(topic.clone(), KAFKA_TIMEOUT).await;
        let reachable = reachable.map_err(|error| error.to_string());
        let reachable = reachable.and_then(|()| publisher.refused().map_or(Ok(()), Err));
        let able = match (reachable, &spool) {
            // A spool that is full of one topic's webhooks holds up no other's.
            (Ok(()), _) => Ok(()),
            (Err(error), None) => Err(format!("Kafka: {error}")),
            (Err(error), Some(spool)) => {
                spool.ready().map_err(|reason| format!("Kafka: {error}; {reason}"))
            }
        };
        readiness.set("webhooks", able);
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
