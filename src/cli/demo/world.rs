//! The demo's world: mock broker, sandbox, connector, and a reader of every topic.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::{self, Parts, Running, topics},
    avro::{self, CommandReader, Limits},
    cli::CliError,
    config::{self, Config},
    kafka::{From, OutgoingRecord, Publisher, ReadRecord, TopicReader},
    sandbox::{Sandbox, SandboxSettings},
};

/// Nothing in the demo takes longer; what does is missing.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);

/// The account of each vendor; the credentials are the samples of the vendors' guides.
pub(super) const JFWMS_ACCOUNT: &str = "jf-demo";
pub(super) const QIANYI_ACCOUNT: &str = "qy-demo";

/// A record with its value decoded, where it is one of ours.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) record: ReadRecord,
    pub(super) value: Option<Value>,
}

pub(super) struct World {
    pub(super) sandbox: Sandbox,
    pub(super) config: Config,
    running: Running,
    stop: CancellationToken,
    publisher: Publisher,
    pub(super) http: reqwest::Client,
    seen: Arc<Mutex<Vec<Seen>>>,
    reading: CancellationToken,
    tasks: TaskTracker,
    _broker: MockCluster<'static, DefaultProducerContext>,
}

impl World {
    pub(super) async fn start() -> Result<Self, CliError> {
        let broker = MockCluster::new(1).map_err(CliError::failed)?;
        let mut settings = SandboxSettings::default();
        // An order ships soon after it was made: the demo shows both events.
        settings.behaviour.jfwms.ship_after_ms = Some(300);
        settings.behaviour.jfwms.storage_after_ms = None;
        settings.behaviour.qianyi.ship_after_ms = None;
        settings.behaviour.qianyi.receive_after_ms = None;
        let credentials = (settings.jfwms.clone(), settings.qianyi.clone());
        let sandbox = Sandbox::start(settings).await.map_err(CliError::failed)?;
        let (jfwms, qianyi) = credentials;
        let token = jfwms.access_tokens.first().map(|token| token.token.clone());
        let text = format!(
            r#"
            shutdown_timeout = "35s"
            [kafka]
            bootstrap_servers = "{}"
            [ingress]
            listen = "127.0.0.1:0"
            drain = "0s"
            [admin]
            listen = "127.0.0.1:0"
            [accounts.{JFWMS_ACCOUNT}]
            vendor = "jfwms"
            base_url = "{}"
            client_id = "{}"
            client_secret = "{}"
            access_token = "{}"
            user_id = "8"
            [accounts.{QIANYI_ACCOUNT}]
            vendor = "qianyi"
            base_url = "{}"
            app_id = "{}"
            app_secret = "{}"
            "#,
            broker.bootstrap_servers(),
            sandbox.jfwms_url(),
            jfwms.client_id,
            jfwms.client_secret,
            token.unwrap_or_default(),
            sandbox.qianyi_url(),
            qianyi.app_id,
            qianyi.app_secret,
        );
        let loaded = config::load_text("demo", &text, std::iter::empty())?;
        let config = loaded.config;
        let all: Vec<String> =
            topics::all(&config, 2, 1).into_iter().map(|topic| topic.name).collect();
        for topic in &all {
            broker.create_topic(topic, 2, 1).map_err(CliError::failed)?;
        }
        let stop = CancellationToken::new();
        let running =
            app::start(config.clone(), Parts::ALL, stop.clone()).await.map_err(CliError::failed)?;
        let address = running
            .webhooks
            .ok_or_else(|| CliError::Failed("no listener for webhooks".to_owned()))?;
        sandbox.set_jfwms_webhook_url(format!("http://{address}/webhooks/{JFWMS_ACCOUNT}"));
        sandbox.set_qianyi_push_url(format!("http://{address}/webhooks/{QIANYI_ACCOUNT}"));
        let clients = app::client_settings(&config);
        let publisher =
            Publisher::new(clients.producer(KAFKA_TIMEOUT)).map_err(CliError::failed)?;
        let (tasks, reading) = (TaskTracker::new(), CancellationToken::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::task::spawn_blocking(move || {
            TopicReader::open(&clients.reader(), &all, From::Beginning, KAFKA_TIMEOUT)
        });
        let reader = reader.await.map_err(CliError::failed)?.map_err(CliError::failed)?;
        tasks.spawn(read(reader, Arc::clone(&seen), reading.clone()));
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .map_err(CliError::failed)?;
        let world = Self {
            sandbox,
            config,
            running,
            stop,
            publisher,
            http,
            seen,
            reading,
            tasks,
            _broker: broker,
        };
        world.until_ready().await?;
        Ok(world)
    }

    async fn until_ready(&self) -> Result<(), CliError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.running.readiness.report();
            if report.ready {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(CliError::Failed(format!("not ready: {:?}", report.checks)));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The URL of an account's webhooks.
    pub(super) fn webhook_url(&self, account: &str) -> String {
        let address = self.running.webhooks.map(|address| address.to_string());
        format!("http://{}/webhooks/{account}", address.unwrap_or_default())
    }

    /// Produces a command and returns where it lies.
    pub(super) async fn send(
        &self,
        topic: &str,
        key: &str,
        payload: Vec<u8>,
    ) -> Result<(i32, i64), CliError> {
        let record = OutgoingRecord {
            topic: topic.to_owned(),
            key: Some(key.as_bytes().to_vec()),
            payload: Some(payload),
            ..OutgoingRecord::default()
        };
        self.publisher.publish(record, KAFKA_TIMEOUT).await.map_err(CliError::failed)
    }

    /// The first record that fits, once there is one.
    pub(super) async fn find(&self, fits: impl Fn(&Seen) -> bool) -> Option<Seen> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(found) = seen.iter().find(|seen| fits(seen)) {
                    return Some(found.clone());
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    pub(super) fn introduction(&self) -> String {
        format!(
            "A broker in this process, JFWMS and Qianyi simulated, the connector between them.\n\
             {} topics, Avro in single-object encoding (no registry is needed).\n",
            topics::all(&self.config, 1, 1).len()
        )
    }

    pub(super) fn addresses(&self) -> impl Display {
        format!(
            "webhooks  {}\nadmin     http://{}/metrics\nKafka     {}\nsandbox   {}",
            self.webhook_url(JFWMS_ACCOUNT),
            self.running.admin,
            self.config.kafka.bootstrap_servers,
            self.sandbox.control_url()
        )
    }

    pub(super) async fn stop(self) -> Result<(), CliError> {
        self.stop.cancel();
        self.running.finished().await.map_err(CliError::failed)?;
        self.reading.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.sandbox.shutdown().await;
        Ok(())
    }
}

/// Reads and decodes until told to stop.
async fn read(mut reader: TopicReader, seen: Arc<Mutex<Vec<Seen>>>, stop: CancellationToken) {
    let schemas = CommandReader::new(None, Limits::default());
    while !stop.is_cancelled() {
        let polled = tokio::task::spawn_blocking(move || {
            let record = reader.next(Duration::from_millis(50));
            (reader, record)
        });
        let Ok((back, record)) = polled.await else { return };
        reader = back;
        let Some(Ok(record)) = record else { continue };
        let value = match &record.payload {
            Some(payload) => avro::decode_to_json(&schemas, payload).await.ok(),
            None => None,
        };
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { record, value });
    }
}
