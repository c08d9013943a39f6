//! The connector dies at the two worst moments: between a call's effect and its answer, and
//! between the answer and the reply. Every operation of both vendors, all under way at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::producer::FutureProducer;
use serde_json::{Value, json};
use wms_connector::{
    config::Config,
    domain::Operation,
    sandbox::{EffectKind, Fault, FaultRule, Sandbox, Vendor},
};

use super::{
    desk::{QUICK, options},
    samples,
};
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, QIANYI},
    backend::{self, Outgoing, Record, TestEnv},
    binary::{Connector, Files},
    kafka::Broker,
    suite::tests,
};

tests! {
    kafka: killed_between_effect_and_answer, killed_between_answer_and_reply;
}

/// What one command is to do, and what it ends with when it is interrupted.
struct Case {
    operation: Operation,
    vendor: Vendor,
    document: &'static str,
    effects: &'static [EffectKind],
    command: Value,
    end: (&'static str, &'static str, bool),
}

const IN_PLACE: (&str, &str, bool) = ("SUCCEEDED", "NONE", true);
const NOT_KNOWN: (&str, &str, bool) = ("UNKNOWN", "UNCERTAIN", false);

/// Every operation of both vendors.
fn cases() -> Vec<Case> {
    use EffectKind::{InboundCancelled, InboundCreated, OrderCancelled, OrderCreated};
    let made = |document: &'static str, sample: samples::Sample| Case {
        operation: sample.operation,
        vendor: sample.vendor,
        document,
        effects: if sample.operation == Operation::CreateOrder {
            &[OrderCreated]
        } else {
            &[InboundCreated]
        },
        command: sample.command,
        end: IN_PLACE,
    };
    let cancelled = |vendor, document: &'static str, operation, command| Case {
        operation,
        vendor,
        document,
        effects: match operation {
            Operation::CancelOrder => &[OrderCreated, OrderCancelled],
            _ => &[InboundCreated, InboundCancelled],
        },
        command,
        end: IN_PLACE,
    };
    let called = |vendor, document: &'static str, command| Case {
        operation: Operation::Call,
        vendor,
        document,
        effects: &[OrderCreated],
        command,
        end: NOT_KNOWN,
    };
    let by_hand = |number: &str| {
        json!({
            "erpNo": number, "platform": "shopify", "warehouse": "YK", "recipientCountry": "US",
            "skuList": [{"sku": "SKU-1", "num": 1}],
        })
    };
    use Operation::{CancelAsn, CancelOrder};
    use Vendor::{Jfwms, Qianyi};
    vec![
        made("I-jo", samples::jfwms_order("I-jo")),
        made("I-ja", samples::jfwms_asn("I-ja")),
        made("I-qo", samples::qianyi_order("I-qo")),
        made("I-qa", samples::qianyi_asn("I-qa")),
        cancelled(Jfwms, "C-jo", CancelOrder, json!({"account": JFWMS, "orderNumber": "C-jo"})),
        cancelled(Jfwms, "C-ja", CancelAsn, json!({"account": JFWMS, "asnNumber": "C-ja"})),
        cancelled(
            Qianyi,
            "C-qo",
            CancelOrder,
            json!({"account": QIANYI, "orderNumber": "C-qo", "shop": "demo-shop"}),
        ),
        cancelled(Qianyi, "C-qa", CancelAsn, json!({"account": QIANYI, "asnNumber": "C-qa"})),
        called(
            Jfwms,
            "X-jo",
            json!({"account": JFWMS, "path": "/api/order/create", "body": by_hand("X-jo")}),
        ),
    ]
}

/// The paths and serviceTypes of the operations.
const OPERATIONS: [&str; 8] = [
    "/api/order/create",
    "/api/inbound/create",
    "/api/order/cancel",
    "/api/inbound/cancel",
    "CREATE_SALES_ORDER",
    "CREATE_ASN_ORDER",
    "CLOSE_SALES_ORDER",
    "CANCEL_ASN_ORDER",
];

/// The deployment: the sandbox here, the connector a process of its own.
struct Stage {
    sandbox: Sandbox,
    config: Config,
    files: Files,
    producer: FutureProducer,
    servers: String,
    connector: Connector,
}

const RUN: [&str; 2] = ["--only", "commands"];

impl Stage {
    /// With the documents that will be cancelled in place.
    async fn set(env: &TestEnv, servers: Option<String>) -> Self {
        // The group waits so long for a member that does not say good-bye.
        let session = "[kafka.consumer]\n\"session.timeout.ms\" = \"6000\"\n";
        let more = format!("{QUICK}{session}");
        let options = Options { more, bootstrap_servers: servers, ..options() };
        let sandbox = Sandbox::start(options.sandbox.clone()).await.unwrap();
        let config = app::configuration(env, &options, &sandbox);
        app::create_topics(env, &config, options.bootstrap_servers.as_deref()).await;
        let files = Files::new(&app::configuration_text(env, &options, &sandbox));
        let servers = config.kafka.bootstrap_servers.clone();
        let producer = backend::producer(&servers);
        let connector = files.start(&RUN).await;
        let stage = Self { sandbox, config, files, producer, servers, connector };
        let mut ids = Vec::new();
        for sample in samples::all("C") {
            ids.push(stage.send(sample.operation, &sample.number, &sample.command).await);
        }
        for reply in stage.replies(&ids).await.into_values().flatten() {
            assert_eq!(reply["status"], "SUCCEEDED", "{reply:#}");
        }
        stage
    }

    async fn send(&self, operation: Operation, key: &str, command: &Value) -> String {
        let topic = self.config.topics.command(operation, None);
        let record = Outgoing::to(&topic).key(key).value(command.to_string());
        let at = backend::send(&self.producer, record).await;
        format!("reply-{topic}-{}-{}", at.partition, at.offset)
    }

    /// The replies by their `ce_id`, once each of these has one.
    async fn replies(&self, ids: &[String]) -> BTreeMap<String, Vec<Value>> {
        let wanted = ids.to_vec();
        let there = |records: &[Record], id: &String| {
            records.iter().any(|record| record.header("ce_id") == Some(id))
        };
        let done = move |records: &[Record]| wanted.iter().all(|id| there(records, id));
        let topic = self.config.topics.replies();
        let (complete, records) = backend::read(&self.servers, &topic, 3 * PATIENCE, done).await;
        assert!(complete, "{ids:#?}, but only {records:#?}\n{}", self.connector.log());
        let mut replies: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for record in records {
            let id = record.header("ce_id").unwrap().to_owned();
            if ids.contains(&id) {
                replies.entry(id).or_default().push(app::decode(&record).await);
            }
        }
        replies
    }

    /// Waits until the vendors' books are so.
    async fn until(&self, what: &str, so: impl Fn(&Sandbox) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(&self.sandbox) {
            assert!(Instant::now() < deadline, "never {what}: {}", self.connector.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Another connector after the one that was killed.
    async fn begin_again(&mut self) {
        self.sandbox.faults().clear();
        self.connector = self.files.start(&RUN).await;
    }

    /// One reply to each, and each effect once.
    async fn holds(&self, cases: &[Case], ids: &[String]) {
        let replies = self.replies(ids).await;
        let books = self.sandbox.books();
        for (case, id) in cases.iter().zip(ids) {
            let [reply] = replies[id].as_slice() else { panic!("{id}: {:#?}", replies[id]) };
            let (status, category, deduplicated) = case.end;
            let name = format!("{} {}: {reply:#}", case.vendor, case.operation.name());
            assert_eq!(reply["status"], status, "{name}");
            assert_eq!(reply["category"], category, "{name}");
            assert_eq!(reply["deduplicated"], deduplicated, "{name}");
            assert_eq!(books.effects_of(case.vendor, case.document), case.effects, "{name}");
        }
        // Only what nobody can find out is a dead letter.
        for topic in app::command_topics(&self.config) {
            let letters = backend::read_now(&self.servers, &self.config.topics.dlq(&topic)).await;
            let call = self.config.topics.command(Operation::Call, None);
            assert_eq!(letters.len(), usize::from(topic == call), "{topic}: {letters:#?}");
        }
    }
}

fn slow(after_work: bool, ms: u64) -> Vec<FaultRule> {
    let rule = |endpoint: &&str| FaultRule {
        vendor: None,
        ..FaultRule::new(Vendor::Jfwms, endpoint, Fault::Latency { ms, jitter_ms: 0, after_work })
    };
    OPERATIONS.iter().map(rule).collect()
}

async fn killed_between_effect_and_answer(env: &TestEnv) {
    let mut stage = Stage::set(env, None).await;
    let before = stage.sandbox.totals().effects;
    stage.sandbox.faults().set(slow(true, 20_000)).unwrap();
    let cases = cases();
    let mut ids = Vec::new();
    for case in &cases {
        ids.push(stage.send(case.operation, case.document, &case.command).await);
    }
    let done = before + cases.len() as u64;
    stage.until("carried out", |sandbox| sandbox.totals().effects == done).await;
    stage.connector.signal("KILL");
    stage.begin_again().await;
    stage.holds(&cases, &ids).await;
    stage.sandbox.shutdown().await;
}

async fn killed_between_answer_and_reply(env: &TestEnv) {
    let mut broker = backend::blocking(|| Broker::start().unwrap()).await;
    let mut stage = Stage::set(env, Some(broker.bootstrap_servers())).await;
    let before = stage.sandbox.totals().effects;
    let answered = async |stage: &Stage| {
        let page = stage.connector.admin("/metrics").await.text;
        let of_operations = page.lines().filter(|line| {
            let operations = ["create-", "cancel-", "\"call\""];
            line.starts_with("wms_vendor_requests_total")
                && line.contains("class=\"succeeded\"")
                && operations.iter().any(|name| line.contains(name))
        });
        let counts = of_operations.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum::<u64>()
    };
    let answered_before = answered(&stage).await;
    stage.sandbox.faults().set(slow(false, 3_000)).unwrap();
    let cases = cases();
    let mut ids = Vec::new();
    for case in &cases {
        ids.push(stage.send(case.operation, case.document, &case.command).await);
    }
    let under_way = |sandbox: &Sandbox| {
        let books = sandbox.books();
        let calls = OPERATIONS.iter().map(|name| books.requests_to(name).len()).sum::<usize>();
        calls == cases.len() + samples::all("C").len()
    };
    stage.until("all under way", under_way).await;
    // From here on no reply can be written; a frozen broker would find it in its socket later.
    broker.kill9();
    let wanted = answered_before + cases.len() as u64;
    let deadline = Instant::now() + PATIENCE;
    while answered(&stage).await < wanted {
        assert!(Instant::now() < deadline, "not all answered: {}", stage.connector.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stage.sandbox.totals().effects, before + cases.len() as u64);
    stage.connector.signal("KILL");
    let broker = backend::blocking(move || {
        broker.restart().unwrap();
        broker
    })
    .await;
    stage.begin_again().await;
    stage.holds(&cases, &ids).await;
    stage.sandbox.shutdown().await;
    drop(broker);
}
