//! The one who sends commands and waits for their replies.

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use rdkafka::producer::FutureProducer;
use serde_json::Value;
use wms_connector::{
    app::Parts,
    avro::{self, Prefix},
    domain::Operation,
    sandbox::{Behaviour, Books, FaultRule, SandboxSettings},
};

use super::samples::Sample;
use crate::support::{
    app::{Options, PATIENCE, TestApp, decode},
    backend::{self, Outgoing, Record, TestEnv},
};

/// Short waits between attempts.
pub(super) const QUICK: &str = r#"
[commands.retry]
initial_backoff = "50ms"
[commands.circuit]
probe_after = "300ms"
"#;

/// A connector at work and a hand on its topics.
pub(super) struct Desk<'a> {
    pub(super) env: &'a TestEnv,
    pub(super) app: TestApp,
    pub(super) producer: FutureProducer,
}

/// Where a command stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.topic, self.partition, self.offset)
    }
}

/// A reply: the record and what it says.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) record: Record,
    pub(super) says: Value,
}

impl Reply {
    pub(super) fn text(&self, field: &str) -> &str {
        self.says[field].as_str().unwrap_or_else(|| panic!("no text in `{field}`: {self:#?}"))
    }

    /// Status, category, attempts, deduplicated: what most tests ask.
    pub(super) fn end(&self) -> (&str, &str, i64, bool) {
        let attempts = self.says["attempts"].as_i64().unwrap();
        let deduplicated = self.says["deduplicated"].as_bool().unwrap();
        (self.text("status"), self.text("category"), attempts, deduplicated)
    }
}

/// A sandbox in which nothing happens by itself.
pub(super) fn quiet() -> SandboxSettings {
    let mut behaviour = Behaviour::default();
    behaviour.jfwms.ship_after_ms = None;
    behaviour.jfwms.storage_after_ms = None;
    behaviour.qianyi.ship_after_ms = None;
    behaviour.qianyi.receive_after_ms = None;
    SandboxSettings { behaviour, ..SandboxSettings::default() }
}

/// The options of these tests.
pub(super) fn options() -> Options {
    Options {
        sandbox: quiet(),
        more: QUICK.to_owned(),
        only: Some(Parts { webhooks: false, commands: true }),
        ..Options::default()
    }
}

impl<'a> Desk<'a> {
    pub(super) async fn open(env: &'a TestEnv) -> Self {
        Self::open_with(env, options()).await
    }

    pub(super) async fn open_with(env: &'a TestEnv, options: Options) -> Self {
        let servers = options.bootstrap_servers.clone();
        let app = TestApp::start_with(env, options).await;
        let producer = backend::producer(servers.as_deref().unwrap_or(env.bootstrap_servers()));
        Self { env, app, producer }
    }

    pub(super) fn servers(&self) -> &str {
        &self.app.config.kafka.bootstrap_servers
    }

    pub(super) fn books(&self) -> Books {
        self.app.sandbox.books()
    }

    /// The topic of one kind of command.
    pub(super) fn own(&self, operation: Operation) -> String {
        self.app.config.topics.command(operation, None)
    }

    /// The topic of all kinds.
    pub(super) fn mixed(&self) -> String {
        self.app.config.topics.mixed_commands(None)
    }

    pub(super) fn default_replies(&self) -> String {
        self.app.config.topics.replies()
    }

    /// A command as JSON for its own topic, its document's number as key.
    pub(super) fn json(&self, sample: &Sample) -> Outgoing {
        let record = Outgoing::to(self.own(sample.operation)).key(&sample.number);
        record.value(sample.command.to_string())
    }

    /// The same for the mixed topic.
    pub(super) fn mixed_json(&self, sample: &Sample) -> Outgoing {
        let record = Outgoing::to(self.mixed()).key(&sample.number);
        let record = record.header("ce_type", sample.operation.record());
        record.value(sample.command.to_string())
    }

    /// A command as Avro in single-object encoding.
    pub(super) fn avro(&self, topic: &str, sample: &Sample) -> Outgoing {
        let json = sample.command.to_string();
        let value = avro::encode_command(sample.operation, &json, Prefix::SingleObject);
        Outgoing::to(topic).key(&sample.number).value(value.unwrap())
    }

    pub(super) async fn send(&self, record: Outgoing) -> At {
        let topic = record.topic().to_owned();
        let sent = backend::send(&self.producer, record).await;
        At { topic, partition: sent.partition, offset: sent.offset }
    }

    /// Sends a record and waits for the reply to it, on the default topic.
    pub(super) async fn ask(&self, record: Outgoing) -> Reply {
        let at = self.send(record).await;
        self.reply(&at).await
    }

    /// The reply to the command, on the default topic.
    pub(super) async fn reply(&self, at: &At) -> Reply {
        self.replies(std::slice::from_ref(at)).await.remove(0)
    }

    /// The replies to the commands, in the order of the commands. One each.
    pub(super) async fn replies(&self, commands: &[At]) -> Vec<Reply> {
        self.replies_on(&self.default_replies(), commands).await
    }

    /// The same on another topic.
    pub(super) async fn replies_on(&self, topic: &str, commands: &[At]) -> Vec<Reply> {
        let mut replies = Vec::new();
        for record in self.reply_records(topic, commands).await {
            let says = decode(&record).await;
            replies.push(Reply { record, says });
        }
        replies
    }

    /// The records of the replies to the commands, in the order of the commands. One each.
    pub(super) async fn reply_records(&self, topic: &str, commands: &[At]) -> Vec<Record> {
        let ids: Vec<String> = commands.iter().map(|at| format!("reply-{at}")).collect();
        let wanted: BTreeSet<String> = ids.iter().cloned().collect();
        let done = move |records: &[Record]| {
            let there: BTreeSet<&str> = records.iter().filter_map(|r| r.header("ce_id")).collect();
            wanted.iter().all(|id| there.contains(id.as_str()))
        };
        let (complete, records) = backend::read(self.servers(), topic, 3 * PATIENCE, done).await;
        let of = |id: &String| {
            let mut of_id = records.iter().filter(|r| r.header("ce_id") == Some(id));
            let first = of_id.next();
            assert_eq!(of_id.next(), None, "a second reply");
            first.cloned()
        };
        let found: Vec<Option<Record>> = ids.iter().map(of).collect();
        let missing: Vec<_> = ids.iter().zip(&found).filter(|(_, f)| f.is_none()).collect();
        assert!(complete, "{topic}: no reply in time: {missing:#?}; there are {records:#?}");
        found.into_iter().flatten().collect()
    }

    /// What lies in the dead-letter topic of `topic` now.
    pub(super) async fn dead_letters(&self, topic: &str) -> Vec<Record> {
        backend::read_now(self.servers(), &self.app.config.topics.dlq(topic)).await
    }

    /// The metrics, once they say so.
    pub(super) async fn until(&self, so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.app.metrics().await;
            if so(&page) {
                return page;
            }
            assert!(Instant::now() < deadline, "the metrics never said so:\n{page}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Switches a fault on.
    pub(super) fn fault(&self, rule: FaultRule) {
        self.app.sandbox.faults().add(rule).unwrap();
    }

    pub(super) async fn close(self) {
        self.app.stop().await.unwrap();
    }
}
