//! A process that is frozen past its session, while another takes over, and then woken.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::json;
use wms_connector::{
    config::Config,
    domain::Operation,
    sandbox::{EffectKind, Fault, FaultRule, Sandbox, Vendor},
};

use super::{
    desk::{Desk, QUICK, options},
    samples,
};
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE},
    backend::{self, Outgoing, TestEnv},
    binary::{Connector, Files},
    kafka::Broker,
    suite::tests,
};

tests! {
    kafka: a_frozen_process_does_no_harm, a_frozen_process_does_no_harm_by_the_consumer_protocol,
        no_call_begins_once_the_brokers_session_is_over;
}

const KEYS: usize = 4;
const OF_A_KEY: usize = 5;
/// The path of the call that is made at most once.
const CALL: &str = "/api/warehouse/getList";

async fn a_frozen_process_does_no_harm(env: &TestEnv) {
    let session = "[kafka.consumer]\n\"session.timeout.ms\" = \"6000\"\n";
    frozen(env, Options { more: format!("{QUICK}{session}"), ..options() }).await;
}

async fn a_frozen_process_does_no_harm_by_the_consumer_protocol(env: &TestEnv) {
    // The broker of the tests ends sessions after six seconds; nobody tells the connector.
    let commands = "group_protocol = \"consumer\"\n".to_owned();
    frozen(env, Options { commands, ..options() }).await;
}

/// The broker alone knows the session of the consumer protocol: a process that hears nothing of it any
/// more begins no call after it, whatever the client's own default is.
async fn no_call_begins_once_the_brokers_session_is_over(env: &TestEnv) {
    const SESSION: Duration = Duration::from_secs(6);
    const COUNT: usize = 240;
    let mut broker = backend::blocking(|| Broker::start().unwrap()).await;
    let env = env.on(broker.bootstrap_servers());
    let commands = "group_protocol = \"consumer\"\nmax_in_flight = 2\n".to_owned();
    let desk = Desk::open_with(&env, Options { commands, ..options() }).await;
    // Two at a time, 150 ms each: they last for 18 s.
    let slow = Fault::Latency { ms: 150, jitter_ms: 0, after_work: false };
    desk.fault(FaultRule::new(Vendor::Jfwms, "/api/order/create", slow));
    let mut commands = Vec::new();
    for n in 0..COUNT {
        let sample = samples::small_order(&format!("S-{n}"));
        commands.push(desk.send(desk.json(&sample).partition(0)).await);
    }
    let called = || desk.books().requests_to("/api/order/create").len();
    desk.app.until("at work", || called() >= 10).await;
    broker.freeze();
    tokio::time::sleep(SESSION + Duration::from_secs(2)).await;
    let until_then = called();
    assert!(until_then < COUNT, "the calls are over too soon for this test");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(called(), until_then, "calls began after the session was over");
    broker.thaw();
    desk.replies(&commands).await;
    for n in 0..COUNT {
        let effects = desk.books().effects_of(Vendor::Jfwms, &format!("S-{n}"));
        assert_eq!(effects, [EffectKind::OrderCreated], "S-{n}");
    }
    desk.close().await;
    drop(broker);
}

fn number(key: usize, n: usize) -> String {
    format!("Z{key}-{n}")
}

async fn until(what: &str, process: &Connector, so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "not {what}: {}", process.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The replies to these, once each has one; a second one says the same.
async fn replied(env: &TestEnv, config: &Config, ids: &BTreeSet<String>) {
    let wanted = ids.clone();
    let all = move |records: &[backend::Record]| {
        let there: BTreeSet<_> = records.iter().filter_map(|r| r.header("ce_id")).collect();
        wanted.iter().all(|id| there.contains(id.as_str()))
    };
    env.read_until(&config.topics.replies(), 2 * PATIENCE, all).await;
}

async fn committed(env: &TestEnv, config: &Config, topic: &str) -> i64 {
    let committed = env.committed(&config.commands.group_id, topic).await;
    committed.iter().filter_map(|(_, offset, _)| *offset).sum()
}

async fn frozen(env: &TestEnv, options: Options) {
    let sandbox = Sandbox::start(options.sandbox.clone()).await.unwrap();
    let config = app::configuration(env, &options, &sandbox);
    app::create_topics(env, &config, None).await;
    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    // All that is under way when the process is frozen has reached the vendor by then, and the
    // next ones begin only when it answers.
    let slow = Fault::Latency { ms: 1500, jitter_ms: 0, after_work: false };
    sandbox.faults().add(FaultRule::new(Vendor::Jfwms, "*", slow)).unwrap();

    let producer = env.producer();
    let orders = config.topics.command(Operation::CreateOrder, None);
    let calls = config.topics.command(Operation::Call, None);
    let mut ids = BTreeSet::new();
    let mut send = async |record: Outgoing| {
        let topic = record.topic().to_owned();
        let sent = backend::send(&producer, record).await;
        ids.insert(format!("reply-{topic}-{}-{}", sent.partition, sent.offset));
        ids.clone()
    };
    for n in 0..OF_A_KEY {
        for key in 0..KEYS {
            let sample = samples::small_order(&number(key, n));
            let record = Outgoing::to(&orders).key(format!("Z{key}"));
            send(record.value(sample.command.to_string())).await;
        }
    }
    // One behind the other: the second may not follow when the first had begun.
    let call = json!({"account": JFWMS, "path": CALL, "body": {}}).to_string();
    for _ in 0..2 {
        send(Outgoing::to(&calls).key("calls").value(&call)).await;
    }
    let under_way = KEYS + 1;
    let mut first = files.start(&["--only", "commands"]).await;
    let asked = || usize::try_from(sandbox.books().requests_total).unwrap();
    until("under way", &first, || asked() == under_way).await;
    first.signal("STOP");
    sandbox.faults().clear();

    // Another takes over once the session has ended, and does it all.
    let second = files.start(&["--only", "commands"]).await;
    let ids = send(Outgoing::to(&calls).key("calls").value(&call)).await;
    replied(env, &config, &ids).await;
    let done = KEYS * OF_A_KEY;
    let deadline = Instant::now() + PATIENCE;
    while committed(env, &config, &orders).await < i64::try_from(done).unwrap() {
        assert!(Instant::now() < deadline, "not committed: {}", second.log());
    }
    let before = asked();

    first.signal("CONT");
    until("aware of its loss", &first, || first.log().contains("partitions were lost")).await;
    let assigned = || first.log().matches("partitions were assigned").count();
    until("back in the group", &first, || assigned() >= 2).await;
    // Both at work: new commands on every partition.
    let mut new = ids;
    for partition in 0..3 {
        let sample = samples::small_order(&format!("new-{partition}"));
        let record = Outgoing::to(&orders).key("new").partition(partition);
        new = send(record.value(sample.command.to_string())).await;
    }
    replied(env, &config, &new).await;

    let books = sandbox.books();
    assert_eq!(asked(), before + 3, "the woken process called: {:#?}", books.requests);
    for key in 0..KEYS {
        let mut sequences = Vec::new();
        for n in 0..OF_A_KEY {
            let effects = books.effects_of(Vendor::Jfwms, &number(key, n));
            assert_eq!(effects, [EffectKind::OrderCreated], "{}", number(key, n));
            sequences.push(books.effects[&format!("jfwms/{}", number(key, n))][0].sequence);
        }
        assert!(sequences.is_sorted(), "the order of key Z{key}: {sequences:?}");
    }
    // Of three calls the first had begun, and is not known; it was not made again.
    assert_eq!(books.requests_to(CALL).len(), 3, "{:#?}", books.requests);
    let left = [first, second].map(|mut process| {
        process.signal("TERM");
        process.ended(PATIENCE)
    });
    for left in left {
        let (code, log) = left.await;
        assert_eq!(code, Some(0), "{log}");
    }
    assert_eq!(committed(env, &config, &orders).await, i64::try_from(done + 3).unwrap());
    assert_eq!(committed(env, &config, &calls).await, 3);
    sandbox.shutdown().await;
}
