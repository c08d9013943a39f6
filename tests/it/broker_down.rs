//! Kafka goes away and comes back: every sender is answered in time, nothing that was acknowledged
//! is missing, and nobody has to restart the connector.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::admin::AdminOptions;
use tokio_util::sync::CancellationToken;
use wms_connector::{
    app::{self as connector, Parts, RunError, StartError, topics},
    sandbox::{Sandbox, SandboxSettings},
};

use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, TestApp},
    backend::{self, TestEnv, blocking},
    binary::Files,
    kafka::Broker,
    suite::tests,
    vendor, wire,
};

tests! {
    both: a_missing_topic_stops_the_start_and_is_named;
    mock: webhooks_fail_in_time_while_no_broker_answers;
    kafka: no_acknowledged_webhook_is_lost_when_the_broker_is_killed,
        a_frozen_broker_is_no_reason_to_wait_longer, a_topic_may_vanish_and_come_back, kafka_may_be_absent_at_the_start;
}

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);

fn options(servers: Option<String>) -> Options {
    Options {
        ingress: format!("publish_timeout = \"{}s\"", PUBLISH_TIMEOUT.as_secs()),
        bootstrap_servers: servers,
        only: Some(Parts { webhooks: true, commands: false }),
        ..Options::default()
    }
}

/// Sends webhooks one after the other, each with a number of its own, and keeps what it was told.
#[derive(Default)]
struct Senders {
    next: AtomicUsize,
    stop: AtomicBool,
    acknowledged: Mutex<BTreeSet<String>>,
    unavailable: AtomicUsize,
    slowest: Mutex<Duration>,
}

impl Senders {
    async fn send(&self, http: &reqwest::Client, url: &str) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = format!("N-{:06}", self.next.fetch_add(1, Ordering::Relaxed));
            let body = vendor::jfwms("order", &vendor::order(&number));
            let started = Instant::now();
            let answer = wire::answer(http.post(url).body(body).send().await.unwrap()).await;
            self.took(started.elapsed());
            if answer.status == 200 {
                self.acknowledged.lock().unwrap().insert(number);
            } else {
                assert_eq!(answer.status, 503, "{answer:?}");
                assert_eq!(answer.json()["code"], 1, "{answer:?}");
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                self.unavailable.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn took(&self, time: Duration) {
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = time.max(*slowest);
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// The deadline of an answer is a promise, whatever Kafka does.
    fn check_deadline(&self) {
        let slowest = *self.slowest.lock().unwrap();
        assert!(slowest < PUBLISH_TIMEOUT + Duration::from_secs(1), "{slowest:?}");
    }
}

/// So many senders at work.
fn send(app: &TestApp, count: usize) -> (Arc<Senders>, tokio::task::JoinSet<()>) {
    let senders = Arc::new(Senders::default());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (senders, http, url) = (Arc::clone(&senders), app.http.clone(), app.webhook_url(JFWMS));
        tasks.spawn(async move { senders.send(&http, &url).await });
    }
    (senders, tasks)
}

async fn readyz(app: &TestApp) -> wire::Answer {
    let url = format!("http://{}/readyz", app.running.admin);
    wire::answer(app.http.get(url).send().await.unwrap()).await
}

/// Waits until `/readyz` answers with this status.
async fn until_ready_is(app: &TestApp, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = readyz(app).await;
        if answer.status == status {
            assert_eq!(answer.json()["checks"]["webhooks"] == "ok", status == 200, "{answer:?}");
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn no_acknowledged_webhook_is_lost_when_the_broker_is_killed(env: &TestEnv) {
    let mut broker = blocking(Broker::start).await.unwrap();
    let servers = broker.bootstrap_servers();
    let app = TestApp::start_with(env, options(Some(servers.clone()))).await;
    let (senders, mut tasks) = send(&app, 16);
    for round in 1..=2 {
        let before = senders.acknowledged();
        app.until("acknowledging", || senders.acknowledged() >= before + 200).await;
        broker.kill9();
        let refused = senders.unavailable.load(Ordering::Relaxed);
        app.until("refusing", || senders.unavailable.load(Ordering::Relaxed) >= refused + 20).await;
        until_ready_is(&app, 503).await;
        broker = blocking(move || broker.restart().map(|()| broker)).await.unwrap();
        until_ready_is(&app, 200).await;
        let back = senders.acknowledged();
        app.until("serving again", || senders.acknowledged() >= back + 200).await;
        println!("round {round}: {} acknowledged", senders.acknowledged());
    }
    senders.stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    senders.check_deadline();
    let records = backend::read_now(&servers, &env.name("jfwms.order")).await;
    let written: BTreeSet<_> = records.iter().map(|record| record.key().to_owned()).collect();
    let acknowledged = senders.acknowledged.lock().unwrap().clone();
    let missing: Vec<_> = acknowledged.difference(&written).collect();
    println!(
        "{} acknowledged, {} not known, {} in the topic, {} acknowledged and missing",
        acknowledged.len(),
        senders.unavailable.load(Ordering::Relaxed),
        records.len(),
        missing.len()
    );
    assert!(missing.is_empty(), "{missing:?}");
    app.stop().await.unwrap();
}

/// Connections that stay open and say nothing: only the connector's own deadline ends the wait.
async fn a_frozen_broker_is_no_reason_to_wait_longer(env: &TestEnv) {
    let mut broker = blocking(Broker::start).await.unwrap();
    let servers = broker.bootstrap_servers();
    let app = TestApp::start_with(env, options(Some(servers.clone()))).await;
    let (senders, mut tasks) = send(&app, 8);
    app.until("acknowledging", || senders.acknowledged() >= 50).await;
    broker.freeze();
    app.until("refusing", || senders.unavailable.load(Ordering::Relaxed) >= 16).await;
    until_ready_is(&app, 503).await;
    broker.thaw();
    until_ready_is(&app, 200).await;
    let back = senders.acknowledged();
    app.until("serving again", || senders.acknowledged() >= back + 50).await;
    senders.stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    senders.check_deadline();
    let records = backend::read_now(&servers, &env.name("jfwms.order")).await;
    let written: BTreeSet<_> = records.iter().map(|record| record.key().to_owned()).collect();
    let acknowledged = senders.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.is_subset(&written));
    app.stop().await.unwrap();
}

/// Somebody deletes a topic under the running connector: its webhooks are refused in time, the others
/// go on, and a new topic of that name is found without a restart.
async fn a_topic_may_vanish_and_come_back(env: &TestEnv) {
    let app = TestApp::start_with(env, options(None)).await;
    let topic = env.name("jfwms.order");
    let post = async |kind: &str, number: &str| {
        let started = Instant::now();
        let body = vendor::jfwms(kind, &vendor::order(number));
        let answer = wire::post(&app, JFWMS, &[], body).await;
        assert!(started.elapsed() < PUBLISH_TIMEOUT + Duration::from_secs(1));
        answer.status
    };
    assert_eq!(post("order", "1").await, 200);
    let admin = backend::admin(env.bootstrap_servers());
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while post("order", &format!("2-{}", rand::random::<u32>())).await == 200 {
        assert!(Instant::now() < deadline, "the topic is still there");
    }
    assert_eq!(post("order", "3").await, 503);
    assert_eq!(post("move", "4").await, 200);
    env.create_topic(&topic, 3).await;
    while post("order", "3").await != 200 {
        assert!(Instant::now() < deadline + PATIENCE, "the new topic is not found");
    }
    let records = env.read_now(&topic).await;
    assert!(records.iter().any(|record| record.key() == "3"), "{records:?}");
    app.stop().await.unwrap();
}

async fn webhooks_fail_in_time_while_no_broker_answers(env: &TestEnv) {
    let app = TestApp::start_with(env, options(None)).await;
    let (senders, mut tasks) = send(&app, 8);
    app.until("acknowledging", || senders.acknowledged() >= 50).await;
    env.mock_cluster().unwrap().broker_down(1).unwrap();
    app.until("refusing", || senders.unavailable.load(Ordering::Relaxed) >= 16).await;
    until_ready_is(&app, 503).await;
    env.mock_cluster().unwrap().broker_up(1).unwrap();
    until_ready_is(&app, 200).await;
    let back = senders.acknowledged();
    app.until("serving again", || senders.acknowledged() >= back + 50).await;
    senders.stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    senders.check_deadline();
    app.stop().await.unwrap();
}

async fn kafka_may_be_absent_at_the_start(env: &TestEnv) {
    let mut broker = blocking(Broker::start).await.unwrap();
    let options = options(Some(broker.bootstrap_servers()));
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &options, &sandbox);
    for topic in topics::all(&config, 1, 1) {
        backend::create_topic(&broker.bootstrap_servers(), &topic.name, 1, &[]).await;
    }
    broker.stop();

    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    let connector = files.start(&[]).await;
    let waiting = connector.until_ready_is(503).await;
    let deadline = Instant::now() + PATIENCE;
    let mut said = waiting.json()["checks"]["webhooks"].to_string();
    while !said.contains(&broker.bootstrap_servers()) {
        assert!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        said = connector.admin("/readyz").await.json()["checks"]["webhooks"].to_string();
    }
    assert_eq!(connector.admin("/healthz").await.status, 200);
    // A sender is told at once, and told the truth about itself.
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let post = async |body: String| {
        wire::answer(http.post(connector.webhook_url(JFWMS)).body(body).send().await.unwrap()).await
    };
    let order = || vendor::jfwms("order", &vendor::order("1"));
    let answer = post(order()).await;
    assert_eq!(answer.code(), (503, 1.into()));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(post(vendor::framed("order", "{}", "")).await.code(), (401, 10021.into()));

    let broker = blocking(move || broker.restart().map(|()| broker)).await.unwrap();
    connector.until_ready_is(200).await;
    assert_eq!(post(order()).await.code(), (200, 0.into()));
    let topic = env.name("jfwms.order");
    assert_eq!(backend::read_now(&broker.bootstrap_servers(), &topic).await.len(), 1);
    sandbox.shutdown().await;
}

async fn a_missing_topic_stops_the_start_and_is_named(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let options = options(None);
    let config = app::configuration(env, &options, &sandbox);
    let left_out = [env.name("jfwms.move"), env.name("qianyi.unrecognized")];
    for topic in topics::all(&config, 1, 1) {
        if !left_out.contains(&topic.name) {
            env.create_topic(&topic.name, 1).await;
        }
    }
    let parts = options.only.unwrap();
    let started = connector::start(config.clone(), parts, CancellationToken::new()).await;
    let error = RunError::from(started.unwrap_err());
    let RunError::Start(StartError::MissingTopics { names }) = &error else { panic!("{error}") };
    assert_eq!(BTreeSet::from_iter(names), BTreeSet::from_iter(&left_out));

    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    let done = files.run(&["run", "--only", "webhooks"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    for name in &left_out {
        assert!(done.stderr.contains(name), "{done:?}");
    }
    assert!(done.stderr.contains("topics apply"), "{done:?}");
    sandbox.shutdown().await;
}
