//! The connector and both vendors, as a deployment has them, for tests that look from outside.
//!
//! ```text
//! sandbox (both vendors) ── signed webhooks ──▶ connector ──▶ event topics ──▶ the test
//!                        ◀── signed calls ─────           ◀── commands ─────
//! ```

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use apache_avro::{Schema, reader::datum::GenericDatumReader};
use rdkafka::{
    admin::{NewTopic, TopicReplication},
    producer::FutureProducer,
};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use wms_connector::{
    app::{self, Parts, Running, topics},
    avro::{CommandReader, Limits, decode_to_json},
    config::{self, Config},
    kafka::PlannedTopic,
    sandbox::{Sandbox, SandboxSettings, SentWebhook, Vendor, Webhook},
};

use super::backend::{self, Outgoing, Record, Sent, TestEnv};

/// The account at the simulated JFWMS.
pub(crate) const JFWMS: &str = "jf-main";
/// The account at the simulated Qianyi.
pub(crate) const QIANYI: &str = "qy-cn";
/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Partitions of the command topics, which consumers share; all others have one. A partition
/// costs the broker several syncs of the disk.
const COMMAND_PARTITIONS: i32 = 2;

/// A sandbox and a connector between it and the test's Kafka, in this process, with topics of
/// the test's own prefix. On the real broker with the real registry, on the mock without one.
pub(crate) struct TestApp<'a> {
    env: &'a TestEnv,
    pub(crate) sandbox: Sandbox,
    pub(crate) config: Config,
    /// Where the webhooks go, without a trailing `/`.
    pub(crate) webhooks_url: String,
    /// Where health and metrics are, without a trailing `/`.
    pub(crate) admin_url: String,
    running: Running,
    stop: CancellationToken,
    producer: FutureProducer,
    correlation: AtomicU64,
}

impl fmt::Debug for TestApp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp").field("prefix", &self.env.prefix()).finish_non_exhaustive()
    }
}

impl<'a> TestApp<'a> {
    /// Starts both with their defaults; orders ship at once, nothing else happens by itself.
    pub(crate) async fn start(env: &'a TestEnv) -> Self {
        Self::start_with(env, "").await
    }

    /// The same with more configuration (TOML, whole sections) behind that of the test.
    pub(crate) async fn start_with(env: &'a TestEnv, more: &str) -> Self {
        let mut settings = SandboxSettings::default();
        settings.behaviour.jfwms.ship_after_ms = Some(100);
        settings.behaviour.jfwms.storage_after_ms = None;
        settings.behaviour.qianyi.ship_after_ms = None;
        settings.behaviour.qianyi.receive_after_ms = None;
        Self::start_between(env, settings, more).await
    }

    /// The same with a sandbox of the test's making.
    pub(crate) async fn start_between(
        env: &'a TestEnv,
        settings: SandboxSettings,
        more: &str,
    ) -> Self {
        let (jfwms, qianyi) = (settings.jfwms.clone(), settings.qianyi.clone());
        let sandbox = Sandbox::start(settings).await.expect("the sandbox starts");
        let registry = if env.is_mock() { String::new() } else { env.registry().url().to_owned() };
        let prefix = env.prefix();
        let token = jfwms.access_tokens.first().expect("a token from the start");
        let text = format!(
            r#"
            shutdown_timeout = "35s"
            [kafka]
            bootstrap_servers = "{bootstrap}"
            [kafka.properties]
            "broker.address.family" = "v4"
            [schema_registry]
            url = "{registry}"
            auto_register = true
            [topics]
            prefix = "{prefix}"
            [ingress]
            listen = "127.0.0.1:0"
            [admin]
            listen = "127.0.0.1:0"
            [commands]
            group_id = "{prefix}-connector"
            [accounts.{JFWMS}]
            vendor = "jfwms"
            base_url = "{jfwms_url}"
            client_id = "{client_id}"
            client_secret = "{client_secret}"
            access_token = "{token}"
            user_id = "{user_id}"
            timezone = "Asia/Shanghai"
            [accounts.{QIANYI}]
            vendor = "qianyi"
            base_url = "{qianyi_url}"
            app_id = "{app_id}"
            app_secret = "{app_secret}"
            {more}
            "#,
            bootstrap = env.bootstrap_servers(),
            jfwms_url = sandbox.jfwms_url(),
            client_id = jfwms.client_id,
            client_secret = jfwms.client_secret,
            token = token.token,
            user_id = token.user_id,
            qianyi_url = sandbox.qianyi_url(),
            app_id = qianyi.app_id,
            app_secret = qianyi.app_secret,
        );
        let loaded = config::load_text("test.toml", &text, std::iter::empty());
        let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
        let commands = topics::command_topics(&config);
        let mut planned = topics::all(&config, 1, 1);
        for topic in planned.iter_mut().filter(|topic| commands.contains(&topic.name)) {
            topic.partitions = COMMAND_PARTITIONS;
        }
        let wanted: Vec<_> = planned.iter().map(new_topic).collect();
        env.create_topics(&wanted).await;

        let stop = CancellationToken::new();
        let started = app::start(config.clone(), Parts::ALL, stop.clone()).await;
        let running = started.unwrap_or_else(|error| panic!("the connector: {error}"));
        let url = |address: SocketAddr| format!("http://{address}");
        let webhooks_url = url(running.webhooks.expect("a listener for webhooks"));
        let admin_url = url(running.admin);
        sandbox.set_jfwms_webhook_url(format!("{webhooks_url}/webhooks/{JFWMS}"));
        sandbox.set_qianyi_push_url(format!("{webhooks_url}/webhooks/{QIANYI}"));
        let app = Self {
            env,
            sandbox,
            config,
            webhooks_url,
            admin_url,
            running,
            stop,
            producer: env.producer(),
            correlation: AtomicU64::new(1),
        };
        app.until_ready().await;
        app
    }

    async fn until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.running.readiness.report();
            if report.ready {
                return;
            }
            assert!(Instant::now() < deadline, "the connector is not ready: {:?}", report.checks);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `name` behind this test's prefix.
    pub(crate) fn topic(&self, name: &str) -> String {
        self.env.name(name)
    }

    /// Lets the vendor of `account` sign and send a webhook (`data` as JSON text, byte for byte)
    /// and returns its fate when the vendor has its answer.
    pub(crate) async fn webhook(&self, account: &str, kind: &str, data: &str) -> SentWebhook {
        let vendor = match account {
            JFWMS => Vendor::Jfwms,
            QIANYI => Vendor::Qianyi,
            other => panic!("the sandbox has no account {other}"),
        };
        let before = self.sandbox.books().webhooks_total;
        let webhook = Webhook::new(vendor, kind, data).expect("a webhook");
        self.sandbox.send_webhook(webhook).expect("the sandbox sends it");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut sent = self.sandbox.books().webhooks.into_iter();
            let ours = |sent: &SentWebhook| {
                sent.sequence > before && sent.vendor == vendor && sent.kind == kind
            };
            if let Some(sent) = sent.find(ours) {
                return sent;
            }
            assert!(Instant::now() < deadline, "{kind} of {vendor} got no answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a JSON command with a correlation id of its own and returns it with the place.
    /// `topic` without the prefix, such as `commands.create-order`.
    pub(crate) async fn command(&self, topic: &str, key: &str, body: &Json) -> Asked {
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
        let record = Outgoing::to(self.topic(topic)).key(key).value(body.to_string());
        let record = record.header("kafka_correlationId", &correlation);
        let at = backend::send(&self.producer, record).await;
        Asked { correlation, at }
    }

    /// What the default reply topic holds now, decoded.
    pub(crate) async fn replies(&self) -> Vec<Decoded> {
        let records = self.env.read_now(&self.topic("replies")).await;
        self.decode_all(records).await
    }

    /// The reply to a command, once it is there.
    pub(crate) async fn reply(&self, asked: &Asked) -> Decoded {
        let correlation = asked.correlation.clone();
        let ours = move |record: &Record| {
            record.header_bytes("kafka_correlationId") == Some(correlation.as_slice())
        };
        let wanted = ours.clone();
        let done = move |records: &[Record]| records.iter().any(&wanted);
        let mut records = self.env.read_until(&self.topic("replies"), PATIENCE, done).await;
        records.retain(ours);
        self.decode_all(records).await.swap_remove(0)
    }

    /// The records of a topic (without the prefix) once there are so many, decoded.
    pub(crate) async fn records(&self, topic: &str, expected: usize) -> Vec<Decoded> {
        let records = self.env.read_all(&self.topic(topic), expected, PATIENCE).await;
        self.decode_all(records).await
    }

    async fn decode_all(&self, records: Vec<Record>) -> Vec<Decoded> {
        let schemas = CommandReader::new(None, Limits::default());
        let mut by_id: HashMap<u32, Schema> = HashMap::new();
        let mut decoded = Vec::new();
        for record in records {
            let value = match record.value() {
                [0, ..] => self.decode_framed(&record, &mut by_id).await,
                other => match decode_to_json(&schemas, other).await {
                    Ok(value) => value,
                    Err(error) => panic!("{record:?} cannot be decoded: {error:?}"),
                },
            };
            decoded.push(Decoded { record, value });
        }
        decoded
    }

    async fn decode_framed(&self, record: &Record, schemas: &mut HashMap<u32, Schema>) -> Json {
        let (id, mut datum) = record.unframe();
        if let std::collections::hash_map::Entry::Vacant(entry) = schemas.entry(id) {
            let text = self.env.registry().schema(id).await.expect("the schema of the record");
            entry.insert(Schema::parse_str(&text).expect("an Avro schema"));
        }
        let reader = GenericDatumReader::builder(&schemas[&id]).build();
        let value = reader.and_then(|reader| reader.read_value(&mut datum));
        let value = value.unwrap_or_else(|error| panic!("{record:?}: {error}"));
        assert!(datum.is_empty(), "{record:?}: bytes are left over");
        Json::try_from(value).unwrap_or_else(|error| panic!("{record:?}: {error}"))
    }

    /// Stops in good order; panics when something was left unfinished.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running.finished()).await;
        let ended = ended.unwrap_or_else(|_| panic!("the connector did not stop"));
        ended.unwrap_or_else(|error| panic!("the connector: {error}"));
        self.sandbox.shutdown().await;
    }
}

fn new_topic(planned: &PlannedTopic) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(planned.replication);
    let new = NewTopic::new(&planned.name, planned.partitions, replication);
    planned.config.iter().fold(new, |new, (name, value)| new.set(name, value))
}

/// A command that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) correlation: Vec<u8>,
    pub(crate) at: Sent,
}

/// A record with its Avro value as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) record: Record,
    pub(crate) value: Json,
}

/// A create-order command that the simulated JFWMS takes.
pub(crate) fn jfwms_order(number: &str) -> Json {
    json!({
        "account": JFWMS, "orderNumber": number, "platform": "other", "warehouse": "YK",
        "recipient": {"name": "Erika Muster", "country": "DE", "address1": "Heidestr. 17"},
        "logistics": {"kind": "OFFLINE", "name": "DHL", "trackingNumber": "JJD0001"},
        "currency": "EUR", "amount": "19.90",
        "lines": [{"sku": "819-Dark GL", "quantity": 1, "unitPrice": "19.90"}],
    })
}

/// A create-order command that the simulated Qianyi takes.
pub(crate) fn qianyi_order(number: &str) -> Json {
    json!({
        "account": QIANYI, "orderNumber": number, "shop": "demo-shop",
        "recipient": {
            "name": "Erika Muster", "country": "DE", "province": "Berlin", "city": "Berlin",
            "postCode": "10115", "address1": "Invalidenstr. 1",
        },
        "currency": "EUR", "paidAt": "2026-11-20T09:30:00Z",
        "lines": [{"sku": "SKU1230", "quantity": 2, "paidAmount": "39.80"}],
    })
}
