//! Where the reading of a command topic begins, and what happens where it is not the topic that was
//! read before.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, TopicReplication};
use serde_json::json;
use wms_connector::{
    app::{Parts, RunError},
    config::Begin,
    domain::Operation,
    sandbox::{Sandbox, Vendor},
};

use super::{
    desk::{At, Desk, QUICK, options},
    samples,
};
use crate::support::{
    app::{JFWMS, Options, PATIENCE, TestApp, configuration, create_topics},
    backend::{self, TestEnv},
    kafka::Broker,
    suite::tests,
};

tests! {
    both: a_group_without_a_commit_asks_where_to_begin, commands_before_the_first_start_are_none_of_the_past;
    kafka: a_topic_made_again_is_read_from_its_beginning, a_topic_made_again_that_holds_more,
        a_commit_beyond_the_log_goes_on_at_its_end, a_new_partition_is_read_soon,
        a_log_that_was_cut_off_is_read_from_there,
        a_log_that_was_cut_off_while_nobody_read_is_read_from_there;
}

const COMMANDS: Parts = Parts { webhooks: false, commands: true };

/// Runs a connector until it ends by itself.
async fn ends_by_itself(app: &TestApp) -> String {
    let running = wms_connector::app::start(app.config.clone(), COMMANDS, app.stop.child_token());
    let ended = tokio::time::timeout(PATIENCE, running.await.unwrap().finished()).await.unwrap();
    match ended {
        Err(RunError::Commands(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// A second start does not wait long for the session of the first one: the mock cluster lets no
/// member leave.
fn short_session(begin: &str) -> Options {
    let more = format!("{QUICK}[kafka.consumer]\n\"session.timeout.ms\" = \"6000\"\n");
    Options { commands: format!("begin = \"{begin}\"\n"), more, ..options() }
}

/// Sends a command while nobody may be there to read it.
async fn send(env: &TestEnv, topic: &str, number: &str) {
    let sample = samples::small_asn(number);
    let record = backend::Outgoing::to(topic).key(number).partition(0);
    let record = record.header("ce_type", sample.operation.record());
    env.send(record.value(sample.command.to_string())).await;
}

/// A renamed group, an expired one, another cluster: nothing is done again, and nothing left out,
/// before somebody says where to begin.
async fn a_group_without_a_commit_asks_where_to_begin(env: &TestEnv) {
    let sandbox = Sandbox::start(Options::default().sandbox).await.unwrap();
    let mut config = configuration(env, &short_session(""), &sandbox);
    assert_eq!(config.commands.begin, None);
    create_topics(env, &config, None).await;
    let topic = config.topics.mixed_commands(None);
    for n in 0..3 {
        send(env, &topic, &format!("OLD-{n}")).await;
    }
    let app =
        TestApp::run(config.clone(), sandbox, Parts { webhooks: true, commands: false }).await;
    let reason = ends_by_itself(&app).await;
    for part in
        ["`commands.begin`", &topic, "partition 0", "offsets 0 to 2", &config.commands.group_id]
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(app.sandbox.books().asns.is_empty(), "nothing was called");
    let TestApp { sandbox, running, stop, .. } = app;
    stop.cancel();
    running.finished().await.unwrap();

    config.commands.begin = Some(Begin::End);
    let app = TestApp::run(config.clone(), sandbox, COMMANDS).await;
    send(env, &topic, "NEW-1").await;
    let replies = app.replies(env, 1).await;
    assert_eq!(replies.len(), 1, "{replies:#?}");
    let books = app.sandbox.books();
    assert_eq!(books.asns.len(), 1, "{books:#?}");
    assert!(samples::small_asn("NEW-1").kept(&books).is_some());
    assert!(app.metrics().await.contains(&format!(
        "wms_offset_resets_total{{reason=\"configured\",topic=\"{topic}\"}} 1"
    )));
    let TestApp { sandbox, running, stop, .. } = app;
    stop.cancel();
    running.finished().await.unwrap();

    // Once it is committed, the setting says nothing any more.
    config.commands.begin = Some(Begin::Earliest);
    let app = TestApp::run(config, sandbox, COMMANDS).await;
    send(env, &topic, "NEW-2").await;
    let replies = app.replies(env, 2).await;
    assert_eq!(replies.len(), 2, "{replies:#?}");
    assert_eq!(app.sandbox.books().asns.len(), 2);
    app.stop().await.unwrap();
}

/// An empty topic is read from its beginning, and that is committed at once: what is sent while no
/// process runs is not of the past to the next one.
async fn commands_before_the_first_start_are_none_of_the_past(env: &TestEnv) {
    let desk = Desk::open_with(env, short_session("")).await;
    let Desk { app, producer, .. } = desk;
    let TestApp { sandbox, config, running, stop, .. } = app;
    stop.cancel();
    running.finished().await.unwrap();
    send(env, &config.topics.mixed_commands(None), "B-1").await;
    let app = TestApp::run(config, sandbox, COMMANDS).await;
    let desk = Desk { env, app, producer };
    let replies = desk.app.replies(env, 1).await;
    assert_eq!(replies[0]["status"], "SUCCEEDED", "{replies:#?}");
    desk.close().await;
}

/// Deletes a topic, and makes it again as soon as it is gone.
pub(super) async fn make_again(env: &TestEnv, topic: &str, partitions: i32, policy: &str) {
    let admin = backend::admin(env.bootstrap_servers());
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    admin.delete_topics(&[topic], &options).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let new = new.set("cleanup.policy", policy);
    while admin.create_topics([&new], &options).await.unwrap()[0].is_err() {
        assert!(Instant::now() < deadline, "{topic} was not made again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_topic_made_again_is_read_from_its_beginning(env: &TestEnv) {
    made_again(env, 6, 2).await;
}

/// The old one's offsets are within the new one: no offset is out of range, and a `call` could be
/// taken for one of the old topic's.
async fn a_topic_made_again_that_holds_more(env: &TestEnv) {
    made_again(env, 2, 8).await;
}

async fn made_again(env: &TestEnv, before: usize, after: usize) {
    let desk = Desk::open(env).await;
    let topic = desk.mixed();
    let mut old = Vec::new();
    for n in 0..before {
        let sample = samples::small_asn(&format!("OLD-{n}"));
        old.push(desk.send(desk.mixed_json(&sample).partition(0)).await);
    }
    desk.replies(&old).await;
    make_again(env, &topic, 3, "delete").await;
    let mut new: Vec<At> = Vec::new();
    for n in 0..after {
        let sample = samples::small_asn(&format!("NEW-{n}"));
        new.push(desk.send(desk.mixed_json(&sample).partition(0)).await);
    }
    assert_eq!(new[0].offset, 0, "it is a new topic");
    let call = json!({"account": JFWMS, "path": CALLED, "body": "{}"});
    let record = backend::Outgoing::to(&topic).key("CALL").partition(0);
    let record = record.header("ce_type", Operation::Call.record()).value(call.to_string());
    let called = desk.send(record).await;
    let deadline = Instant::now() + PATIENCE;
    while desk.books().asns.len() < before + after || calls(&desk) == 0 {
        assert!(Instant::now() < deadline, "{:#?}", desk.app.running.readiness.report());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Every one was called for, none twice.
    let group = desk.app.config.commands.group_id.clone();
    committed(env, &group, &topic, called.offset + 1).await;
    assert_eq!(calls(&desk), 1, "a call is at most once a record");
    let metrics = desk.app.metrics().await;
    let series = format!("wms_offset_resets_total{{reason=\"made-again\",topic=\"{topic}\"}}");
    assert!(metrics.contains(&series), "{metrics}");
    desk.close().await;
}

const CALLED: &str = "/api/warehouse/getList";

fn calls(desk: &Desk<'_>) -> usize {
    desk.books().requests_to(CALLED).len()
}

async fn a_commit_beyond_the_log_goes_on_at_its_end(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let topic = desk.mixed();
    let old = desk.send(desk.mixed_json(&samples::small_asn("OLD")).partition(0)).await;
    desk.replies(std::slice::from_ref(&old)).await;
    let Desk { app, producer, .. } = desk;
    let TestApp { sandbox, config, running, stop, .. } = app;
    stop.cancel();
    running.finished().await.unwrap();
    // A cluster to fail over to, whose group was copied and whose log was not, not all of it.
    env.commit(&config.commands.group_id, &topic, 0, 500, "").await;
    let app = TestApp::run(config, sandbox, COMMANDS).await;
    let desk = Desk { env, app, producer };
    let deadline = Instant::now() + PATIENCE;
    let series = format!("wms_offset_resets_total{{reason=\"beyond-end\",topic=\"{topic}\"}} 1");
    while !desk.app.metrics().await.contains(&series) {
        assert!(Instant::now() < deadline, "{}", desk.app.metrics().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reply = desk.ask(desk.mixed_json(&samples::small_asn("NEW")).partition(0)).await;
    assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    assert_eq!(desk.books().asns.len(), 2);
    desk.close().await;
}

async fn a_log_that_was_cut_off_is_read_from_there(env: &TestEnv) {
    cut_off(env, false).await;
}

async fn a_log_that_was_cut_off_while_nobody_read_is_read_from_there(env: &TestEnv) {
    cut_off(env, true).await;
}

/// A power failure takes the last records of a log; what is written in their place is new, also
/// where it is as much as was there before.
async fn cut_off(env: &TestEnv, restarted: bool) {
    let mut broker = backend::blocking(|| Broker::start().unwrap()).await;
    let env = env.on(broker.bootstrap_servers());
    let desk = Desk::open_with(&env, short_session("")).await;
    let topic = desk.mixed();
    let group = desk.app.config.commands.group_id.clone();
    let mut old: Vec<At> = Vec::new();
    for n in 0..6 {
        let sample = samples::small_asn(&format!("OLD-{n}"));
        old.push(desk.send(desk.mixed_json(&sample).partition(0)).await);
    }
    desk.replies(&old).await;
    committed(&env, &group, &topic, 6).await;
    let Desk { app, .. } = desk;
    let config = app.config.clone();
    let mut app = Some(app);
    let mut left = None;
    if restarted && let Some(TestApp { sandbox, running, stop, .. }) = app.take() {
        stop.cancel();
        running.finished().await.unwrap();
        left = Some(sandbox);
    }
    broker.kill9();
    broker.cut_off(&topic, 0, 3);
    let broker = backend::blocking(move || {
        broker.restart().unwrap();
        broker
    })
    .await;
    let app = match app {
        Some(app) => app,
        None => TestApp::run(config, left.unwrap(), COMMANDS).await,
    };
    // An idempotent producer goes on from its last record, which is gone.
    let producer = env.producer();
    let desk = Desk { env: &env, app, producer };
    let mut new: Vec<At> = Vec::new();
    for n in 0..8 {
        let sample = samples::small_asn(&format!("NEW-{n}"));
        new.push(desk.send(desk.mixed_json(&sample).partition(0)).await);
    }
    assert_eq!(new[0].offset, 3, "the log was cut off");
    let deadline = Instant::now() + PATIENCE;
    while desk.books().asns.len() < 6 + 8 {
        assert!(Instant::now() < deadline, "{:#?}", desk.app.running.readiness.report());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    committed(&env, &group, &topic, 11).await;
    let books = desk.books();
    for n in 0..8 {
        let effects = books.effects_of(Vendor::Jfwms, &format!("NEW-{n}"));
        assert_eq!(effects.len(), 1, "NEW-{n}: {effects:?}");
    }
    let metrics = desk.app.metrics().await;
    let series = format!("wms_offset_resets_total{{reason=\"cut-off\",topic=\"{topic}\"}}");
    assert!(metrics.contains(&series), "{metrics}");
    desk.close().await;
    drop(broker);
}

/// Waits until the group's commit for partition 0 is this.
async fn committed(env: &TestEnv, group: &str, topic: &str, position: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let committed = env.committed(group, topic).await;
        if committed.iter().any(|c| c.0 == 0 && c.1 == Some(position)) {
            return;
        }
        assert!(Instant::now() < deadline, "not {position}: {committed:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_new_partition_is_read_soon(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let topic = desk.mixed();
    desk.ask(desk.mixed_json(&samples::small_asn("FIRST")).partition(0)).await;
    let admin = backend::admin(env.bootstrap_servers());
    let more = NewPartitions::new(&topic, 4);
    admin.create_partitions([&more], &AdminOptions::new()).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let sent = loop {
        let record = desk.mixed_json(&samples::small_asn("LATER")).partition(3);
        // A producer of its own knows the partition as soon as it is there.
        if let Ok(sent) = backend::try_send(&env.producer(), record).await {
            break At { topic: topic.clone(), partition: sent.partition, offset: sent.offset };
        }
        assert!(Instant::now() < deadline, "no producer knows partition 3");
    };
    let reply = desk.reply(&sent).await;
    assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    desk.close().await;
}
