//! The connector in this process, between the simulated vendors and a Kafka.

use std::{fmt::Write as _, time::Duration};

use rdkafka::admin::{NewTopic, TopicReplication};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wms_connector::{
    app::{self, Parts, RunError, Running, topics},
    avro::{self, CommandReader, Limits},
    config::{self, Config},
    kafka::PlannedTopic,
    sandbox::{Sandbox, SandboxSettings, SentWebhook, Vendor, Webhook},
};

use super::backend::{self, Outgoing, Record, TestEnv};

/// The accounts every test has; the credentials are the samples of the vendors' guides.
pub const JFWMS: &str = "jf-main";
pub const QIANYI: &str = "qy-cn";

/// How long a test waits for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a test may want otherwise.
#[derive(Default)]
pub struct Options {
    /// TOML put behind the common configuration (sections that are not in it).
    pub more: String,
    /// TOML put into `[ingress]`.
    pub ingress: String,
    /// TOML put into `[commands]` (plain keys) .
    pub commands: String,
    /// TOML put into the JFWMS account.
    pub jfwms: String,
    pub sandbox: SandboxSettings,
    /// The registry's URL; with it, Confluent's wire format is written.
    pub registry: Option<String>,
    /// The Kafka, where it is not the environment's (a broker that is killed).
    pub bootstrap_servers: Option<String>,
    pub only: Option<Parts>,
}

/// A connector at work, and the vendors it talks to.
pub struct TestApp {
    pub sandbox: Sandbox,
    pub config: Config,
    pub running: Running,
    pub http: reqwest::Client,
    pub stop: CancellationToken,
}

impl TestApp {
    /// Starts both with everything as by default.
    pub async fn start(env: &TestEnv) -> Self {
        Self::start_with(env, Options::default()).await
    }

    /// Makes the topics, starts the sandbox and the connector, waits until it is ready.
    pub async fn start_with(env: &TestEnv, options: Options) -> Self {
        let sandbox = Sandbox::start(options.sandbox.clone()).await.unwrap();
        let config = configuration(env, &options, &sandbox);
        create_topics(env, &config, options.bootstrap_servers.as_deref()).await;
        Self::run(config, sandbox, options.only.unwrap_or(Parts::ALL)).await
    }

    /// Starts a connector with a configuration whose topics exist.
    pub async fn run(config: Config, sandbox: Sandbox, parts: Parts) -> Self {
        let stop = CancellationToken::new();
        let running = app::start(config.clone(), parts, stop.clone()).await.unwrap();
        if let Some(address) = running.webhooks {
            sandbox.set_jfwms_webhook_url(format!("http://{address}/webhooks/{JFWMS}"));
            sandbox.set_qianyi_push_url(format!("http://{address}/webhooks/{QIANYI}"));
        }
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let app = Self { sandbox, config, running, http, stop };
        app.until("ready", || app.running.readiness.report().ready).await;
        app
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, so: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !so() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {what} in time: {:?}",
                self.running.readiness.report()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The URL of an account's webhooks.
    pub fn webhook_url(&self, account: &str) -> String {
        format!("http://{}/webhooks/{account}", self.running.webhooks.unwrap())
    }

    /// Posts a body as it is: HTTP status and answer.
    pub async fn post(&self, account: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.http.post(self.webhook_url(account)).body(body);
        let request = request.header("content-type", "application/json");
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// Lets a simulated vendor sign and send a webhook; its fate shows in the sandbox's books.
    pub fn vendor_sends(&self, vendor: Vendor, kind: &str, data: &str) {
        self.sandbox.send_webhook(Webhook::new(vendor, kind, data).unwrap()).unwrap();
    }

    /// The same, and waits for its fate: what the vendor was answered.
    pub async fn webhook(&self, account: &str, kind: &str, data: &str) -> SentWebhook {
        let vendor = match account {
            JFWMS => Vendor::Jfwms,
            QIANYI => Vendor::Qianyi,
            other => panic!("the sandbox has no account {other}"),
        };
        self.delivered(Webhook::new(vendor, kind, data).unwrap()).await
    }

    /// Lets a simulated vendor send a webhook and waits for its fate.
    pub async fn delivered(&self, webhook: Webhook) -> SentWebhook {
        let (vendor, kind) = (webhook.vendor, webhook.kind.clone());
        let before = self.sandbox.books().webhooks_total;
        self.sandbox.send_webhook(webhook).unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut sent = self.sandbox.books().webhooks.into_iter();
            let ours = |sent: &SentWebhook| {
                sent.sequence > before && sent.vendor == vendor && sent.kind == kind
            };
            if let Some(sent) = sent.find(ours) {
                return sent;
            }
            assert!(tokio::time::Instant::now() < deadline, "{kind} of {vendor} got no answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.running.admin);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Sends a command as JSON to its own topic, with its document's number as key.
    pub async fn command(&self, env: &TestEnv, kind: &str, key: &str, command: &Value) {
        let topic = self.config.topics.name(&format!("commands.{kind}"));
        env.send(Outgoing::to(&topic).key(key).value(command.to_string())).await;
    }

    /// The replies so far, once there are `count`.
    pub async fn replies(&self, env: &TestEnv, count: usize) -> Vec<Value> {
        let records = env.read_all(&self.config.topics.replies(), count, PATIENCE).await;
        let mut replies = Vec::new();
        for record in &records {
            replies.push(decode(record).await);
        }
        replies
    }

    /// An orderly end.
    pub async fn stop(self) -> Result<(), RunError> {
        self.stop.cancel();
        let done = self.running.finished().await;
        self.sandbox.shutdown().await;
        done
    }
}

/// Makes every topic of a connector, on the environment's Kafka or on another.
pub async fn create_topics(env: &TestEnv, config: &Config, servers: Option<&str>) {
    let mut planned = topics::all(config, 1, 1);
    // Each partition costs the broker several syncs of the disk: only what a test looks at the
    // partitions of has more than one.
    let mut several = topics::command_topics(config);
    several.push(config.topics.replies());
    for topic in planned.iter_mut().filter(|topic| several.contains(&topic.name)) {
        topic.partitions = 3;
    }
    let wanted: Vec<_> = planned.iter().map(new_topic).collect();
    match servers {
        Some(servers) => backend::create_topics(servers, &wanted).await,
        None => env.create_topics(&wanted).await,
    }
}

/// The command topics of a configuration.
pub fn command_topics(config: &Config) -> Vec<String> {
    topics::command_topics(config)
}

fn new_topic(planned: &PlannedTopic) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(planned.replication);
    let new = NewTopic::new(&planned.name, planned.partitions, replication);
    planned.config.iter().fold(new, |new, (name, value)| new.set(name, value))
}

/// A record of the connector, readable.
pub async fn decode(record: &Record) -> Value {
    let reader = CommandReader::new(None, Limits::default());
    let payload = record.value.as_deref().unwrap();
    match avro::decode_to_json(&reader, payload).await {
        Ok(value) => value,
        Err(error) => panic!("{record:?}: {error}"),
    }
}

/// The configuration of a test's connector.
pub fn configuration(env: &TestEnv, options: &Options, sandbox: &Sandbox) -> Config {
    let text = configuration_text(env, options, sandbox);
    config::load_text("test.toml", &text, std::iter::empty()).unwrap().config
}

/// The same as the text of its file.
pub fn configuration_text(env: &TestEnv, options: &Options, sandbox: &Sandbox) -> String {
    let servers = match &options.bootstrap_servers {
        Some(servers) => servers.clone(),
        None => env.bootstrap_servers().to_owned(),
    };
    let (jfwms, qianyi) = (&options.sandbox.jfwms, &options.sandbox.qianyi);
    let token = &jfwms.access_tokens[0];
    let mut text = String::new();
    let prefix = env.prefix();
    // No balancer is there to notice an end, and nearly every test has one.
    let drain = if options.ingress.contains("drain") { "" } else { "drain = \"10ms\"" };
    // Many tests send commands before the connector starts.
    let begin = if options.commands.contains("begin") { "" } else { "begin = \"earliest\"" };
    write!(
        text,
        r#"
shutdown_timeout = "40s"
[kafka]
bootstrap_servers = "{servers}"
[topics]
prefix = "{prefix}"
[ingress]
listen = "127.0.0.1:0"
{drain}
{}
[admin]
listen = "127.0.0.1:0"
[commands]
group_id = "{prefix}"
{begin}
{}
[accounts.{JFWMS}]
vendor = "jfwms"
base_url = "{}"
client_id = "{}"
client_secret = "{}"
access_token = "{}"
user_id = "{}"
{}
[accounts.{QIANYI}]
vendor = "qianyi"
base_url = "{}"
app_id = "{}"
app_secret = "{}"
"#,
        options.ingress,
        options.commands,
        sandbox.jfwms_url(),
        jfwms.client_id,
        jfwms.client_secret,
        token.token,
        token.user_id,
        options.jfwms,
        sandbox.qianyi_url(),
        qianyi.app_id,
        qianyi.app_secret,
    )
    .unwrap();
    if let Some(url) = &options.registry {
        write!(text, "[schema_registry]\nurl = \"{url}\"\nauto_register = true\n").unwrap();
    }
    text.push_str(&options.more);
    text
}
