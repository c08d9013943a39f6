//! Kafka is away, and webhooks are kept on the disk: seen from outside.

use std::{collections::HashMap, time::Duration};

use rdkafka::{
    admin::AdminOptions,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wms_connector::{
    app::{self as connector, Parts, StartError},
    sandbox::{Sandbox, SandboxSettings},
};

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, QIANYI, TestApp},
    backend::{self, TestEnv, blocking},
    kafka::Broker,
    parts,
    suite::tests,
    vendor, wire,
};

tests! {
    both: a_spool_belongs_to_one_process, a_spool_that_cannot_be_read_stops_the_start;
    mock: webhooks_are_kept_while_no_broker_answers, a_full_spool_is_a_503,
        what_kafka_refuses_is_set_aside_and_kept, a_start_without_kafka_keeps_webhooks;
    kafka: webhooks_are_kept_while_the_broker_is_dead, a_missing_topic_holds_up_no_other;
}

const WEBHOOKS: Parts = Parts { webhooks: true, commands: false };

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(parts::temporary_dir("spool-").unwrap())
    }

    fn options(&self, max_bytes: &str, servers: Option<String>) -> Options {
        let path = self.0.path().join("webhooks.spool");
        let spool = format!(
            "[ingress.spool]\npath = \"{}\"\nmax_bytes = \"{max_bytes}\"\nreserve = \"500ms\"\n",
            path.display()
        );
        Options {
            ingress: "publish_timeout = \"3s\"".to_owned(),
            more: spool,
            bootstrap_servers: servers,
            ..only_webhooks()
        }
    }
}

async fn post(app: &TestApp, kind: &str, number: &str) -> wire::Answer {
    wire::post(app, JFWMS, &[], vendor::jfwms(kind, &vendor::order(number))).await
}

async fn until_metric(app: &TestApp, line: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let metrics = app.metrics().await;
        if metrics.lines().any(|found| found == line) {
            return;
        }
        let spool: Vec<_> = metrics.lines().filter(|line| line.starts_with("wms_spool")).collect();
        assert!(tokio::time::Instant::now() < deadline, "{line} is not in {spool:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_waiting(app: &TestApp, count: usize) {
    until_metric(app, &format!("wms_spool_records{{state=\"waiting\"}} {count}")).await;
}

async fn readyz(app: &TestApp) -> wire::Answer {
    let url = format!("http://{}/readyz", app.running.admin);
    wire::answer(app.http.get(url).send().await.unwrap()).await
}

/// The first place of each number in the topic, in the order of the numbers.
async fn in_order(servers: &str, topic: &str, numbers: &[String]) {
    let records = backend::read_now(servers, topic).await;
    let mut first = HashMap::new();
    for record in &records {
        first.entry(record.key()).or_insert(record.offset);
    }
    let offsets: Vec<_> = numbers.iter().map(|number| first.get(number.as_str())).collect();
    assert!(offsets.iter().all(Option::is_some), "missing: {offsets:?}");
    assert!(offsets.is_sorted(), "out of order: {offsets:?}");
}

/// Sends numbers in turn while Kafka is away: each is answered 0, also a repeat.
async fn kept(app: &TestApp, numbers: &[String]) {
    for number in numbers {
        let answer = post(app, "order", number).await;
        assert_eq!(answer.code(), (200, json!(0)), "{number}: {answer:?}");
    }
    assert_eq!(post(app, "order", &numbers[0]).await.code(), (200, json!(0)));
    until_waiting(app, numbers.len()).await;
    assert!(app.metrics().await.lines().any(|line| line.starts_with("wms_spool_oldest_seconds")));
    let ready = readyz(app).await;
    assert_eq!((ready.status, ready.json()["checks"]["webhooks"].clone()), (200, json!("ok")));
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("N-{n:03}")).collect()
}

async fn webhooks_are_kept_while_no_broker_answers(env: &TestEnv) {
    let folder = Folder::new();
    let app = TestApp::start_with(env, folder.options("1MiB", None)).await;
    let (before, during, after) = (numbers(0..3), numbers(3..13), numbers(13..16));
    for number in &before {
        assert_eq!(post(&app, "order", number).await.code(), (200, json!(0)));
    }
    until_waiting(&app, 0).await;
    env.mock_cluster().unwrap().broker_down(1).unwrap();
    kept(&app, &during).await;
    env.mock_cluster().unwrap().broker_up(1).unwrap();
    for number in &after {
        assert_eq!(post(&app, "order", number).await.code(), (200, json!(0)));
    }
    until_waiting(&app, 0).await;
    let all = [before, during, after].concat();
    in_order(env.bootstrap_servers(), &env.name("jfwms.order"), &all).await;
    app.stop().await.unwrap();
}

/// The same on a real broker, with an end of the process while webhooks wait.
async fn webhooks_are_kept_while_the_broker_is_dead(env: &TestEnv) {
    let mut broker = blocking(Broker::start).await.unwrap();
    let servers = broker.bootstrap_servers();
    let folder = Folder::new();
    let app = TestApp::start_with(env, folder.options("1MiB", Some(servers.clone()))).await;
    let (before, during, after) = (numbers(0..3), numbers(3..13), numbers(13..16));
    for number in &before {
        assert_eq!(post(&app, "order", number).await.code(), (200, json!(0)));
    }
    broker.kill9();
    kept(&app, &during).await;
    let TestApp { sandbox, config, running, stop, .. } = app;
    stop.cancel();
    // What waits is on the disk; the producer may still hold what timed out.
    drop(running.finished().await);
    let broker = blocking(move || broker.restart().map(|()| broker)).await.unwrap();
    let app = TestApp::run(config, sandbox, WEBHOOKS).await;
    for number in &after {
        assert_eq!(post(&app, "order", number).await.code(), (200, json!(0)));
    }
    until_waiting(&app, 0).await;
    let all = [before, during, after].concat();
    in_order(&servers, &env.name("jfwms.order"), &all).await;
    app.stop().await.unwrap();
    drop(broker);
}

async fn a_full_spool_is_a_503(env: &TestEnv) {
    let folder = Folder::new();
    let mut options = folder.options("20KiB", None);
    options.ingress += "\nmax_body = \"8KiB\"";
    let app = TestApp::start_with(env, options).await;
    env.mock_cluster().unwrap().broker_down(1).unwrap();
    let mut taken = Vec::new();
    let refused = loop {
        let number = format!("N-{:03}", taken.len());
        let answer = post(&app, "order", &number).await;
        if answer.status != 200 {
            break answer;
        }
        taken.push(number);
        assert!(taken.len() < 200, "the spool has no bound");
    };
    assert_eq!(refused.code(), (503, json!(1)));
    assert!(refused.header("retry-after").is_some());
    assert!(!taken.is_empty());
    // One account took all that it may; another still has a part of its own.
    let push = vendor::push("PUSH_NEW", "{}");
    assert_eq!(wire::post(&app, QIANYI, &[], vendor::as_json(&push)).await.status, 200);
    assert_eq!(post(&app, "order", "N-998").await.status, 503);
    env.mock_cluster().unwrap().broker_up(1).unwrap();
    until_waiting(&app, 0).await;
    assert_eq!(post(&app, "order", "N-999").await.code(), (200, json!(0)));
    taken.push("N-999".to_owned());
    in_order(env.bootstrap_servers(), &env.name("jfwms.order"), &taken).await;
    app.stop().await.unwrap();
}

async fn what_kafka_refuses_is_set_aside_and_kept(env: &TestEnv) {
    let folder = Folder::new();
    let app = TestApp::start_with(env, folder.options("1MiB", None)).await;
    let mock = env.mock_cluster().unwrap();
    mock.broker_down(1).unwrap();
    for number in ["1", "2", "3"] {
        assert_eq!(post(&app, "order", number).await.code(), (200, json!(0)));
    }
    // The first is sent by itself after the failures before, and again in a batch of its own.
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    mock.request_errors(RDKafkaApiKey::Produce, &[error, error]);
    mock.broker_up(1).unwrap();
    until_waiting(&app, 0).await;
    until_metric(&app, "wms_spool_records{state=\"aside\"} 1").await;
    let topic = env.name("jfwms.order");
    let found = env.read_now(&topic).await;
    let keys: std::collections::BTreeSet<_> = found.iter().map(|record| record.key()).collect();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["2", "3"]);
    // It is tried again with the next start, and nothing of it was lost.
    let TestApp { sandbox, config, running, stop, .. } = app;
    stop.cancel();
    running.finished().await.unwrap();
    let app = TestApp::run(config, sandbox, WEBHOOKS).await;
    let records = env
        .read_until(&topic, PATIENCE, |records| records.iter().any(|record| record.key() == "1"));
    records.await;
    until_metric(&app, "wms_spool_records{state=\"aside\"} 0").await;
    app.stop().await.unwrap();
}

async fn a_start_without_kafka_keeps_webhooks(env: &TestEnv) {
    let folder = Folder::new();
    let options = folder.options("1MiB", None);
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &options, &sandbox);
    app::create_topics(env, &config, None).await;
    env.mock_cluster().unwrap().broker_down(1).unwrap();
    let files =
        crate::support::binary::Files::new(&app::configuration_text(env, &options, &sandbox));
    let connector = files.start(&["--only", "webhooks"]).await;
    connector.until_ready_is(200).await;
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let numbers = numbers(0..5);
    for number in &numbers {
        let body = vendor::jfwms("order", &vendor::order(number));
        let sent = http.post(connector.webhook_url(JFWMS)).body(body).send().await.unwrap();
        assert_eq!(wire::answer(sent).await.code(), (200, json!(0)));
    }
    env.mock_cluster().unwrap().broker_up(1).unwrap();
    connector.until_metric("wms_spool_records{state=\"waiting\"} 0").await;
    in_order(env.bootstrap_servers(), &env.name("jfwms.order"), &numbers).await;
    sandbox.shutdown().await;
}

/// A topic that is gone keeps its own webhooks waiting, and nobody else's.
async fn a_missing_topic_holds_up_no_other(env: &TestEnv) {
    let folder = Folder::new();
    let app = TestApp::start_with(env, folder.options("1MiB", None)).await;
    let topic = env.name("jfwms.order");
    let admin = backend::admin(env.bootstrap_servers());
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // Until the client has learnt of it, the last of the old topic may still be written.
    let mut sent = Vec::new();
    while !app.metrics().await.contains("wms_spool_records{state=\"waiting\"} 1\n") {
        assert!(tokio::time::Instant::now() < deadline, "nothing waits");
        let number = format!("N-{:03}", sent.len());
        assert_eq!(post(&app, "order", &number).await.code(), (200, json!(0)));
        sent.push(number);
    }
    let first_kept = sent.len() - 1;
    // The account's room is its own topic's to fill; what it cannot keep is told so.
    let full = loop {
        let number = format!("N-{:03}", sent.len());
        let answer = post(&app, "order", &number).await;
        if answer.status != 200 {
            break answer;
        }
        sent.push(number);
        assert!(sent.len() < 5_000, "the spool takes everything");
    };
    assert_eq!(full.code(), (503, json!(1)));
    for number in ["A", "B"] {
        assert_eq!(post(&app, "move", number).await.code(), (200, json!(0)));
    }
    assert_eq!(readyz(&app).await.status, 200);
    let moved = env.read_all(&env.name("jfwms.move"), 2, PATIENCE).await;
    assert_eq!(moved.iter().map(|record| record.key()).collect::<Vec<_>>(), ["A", "B"]);
    env.create_topic(&topic, 1).await;
    until_waiting(&app, 0).await;
    in_order(env.bootstrap_servers(), &topic, &sent.split_off(first_kept)).await;
    app.stop().await.unwrap();
}

async fn start_again(env: &TestEnv, options: &Options) -> StartError {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, options, &sandbox);
    let started = connector::start(config, WEBHOOKS, CancellationToken::new()).await;
    sandbox.shutdown().await;
    started.err().unwrap()
}

async fn a_spool_belongs_to_one_process(env: &TestEnv) {
    let folder = Folder::new();
    let app = TestApp::start_with(env, folder.options("4MiB", None)).await;
    let error = start_again(env, &folder.options("4MiB", None)).await;
    assert!(error.to_string().contains("belongs to another process"), "{error}");
    assert_eq!(post(&app, "order", "1").await.status, 200);
    app.stop().await.unwrap();
}

async fn a_spool_that_cannot_be_read_stops_the_start(env: &TestEnv) {
    let folder = Folder::new();
    let file = folder.0.path().join("webhooks.spool");
    std::fs::write(&file, "somebody's notes").unwrap();
    let error = start_again(env, &folder.options("4MiB", None)).await;
    assert!(error.to_string().contains("move the file away"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's notes");
}
