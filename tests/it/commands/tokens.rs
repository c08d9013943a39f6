//! Vendor tokens in Kafka: one process renews them, all use them, and none is lost.

use tokio_util::sync::CancellationToken;
use wms_connector::{
    app::{self, Parts, Running},
    sandbox::{EffectKind, Fault, FaultRule, RefreshRotation, Vendor},
};

use super::{
    begin::make_again,
    desk::{At, Desk, QUICK, options},
    samples,
};
use crate::support::{
    app::{self as support_app, JFWMS, Options, PATIENCE},
    backend::TestEnv,
    binary::Files,
    suite::tests,
};

tests! {
    both: a_renewed_token_is_kept_in_the_topic, the_answer_of_a_renewal_is_lost;
    kafka: one_of_three_processes_renews, the_leader_dies_between_answer_and_write,
        a_frozen_leader_writes_nothing_late, a_person_authorises_while_it_runs,
        a_token_topic_made_again_keeps_a_persons_tokens,
        sealing_keys_are_changed;
}

const REFRESH: &str = "/api/oauth/refreshToken";
const KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// The store in the topic, and a group that notices soon when a member is gone.
fn with_topic(more: &str) -> Options {
    let session = "[kafka.consumer]\n\"session.timeout.ms\" = \"6000\"\n";
    let more = format!("{QUICK}{session}[tokens]\nkey = \"{KEY}\"\n{more}");
    let jfwms = "refresh_token = \"sandbox-refresh-token\"\n".to_owned();
    Options { more, jfwms, ..options() }
}

fn renewals(desk: &Desk<'_>) -> usize {
    desk.books().requests_to(REFRESH).len()
}

/// So many creates, spread over the partitions, each with its effect once.
async fn creates(desk: &Desk<'_>, name: &str, count: usize) {
    let mut commands: Vec<At> = Vec::new();
    let number = |n: usize| format!("{name}-{n}");
    for n in 0..count {
        let partition = i32::try_from(n % 3).unwrap();
        let record = desk.json(&samples::small_order(&number(n))).partition(partition);
        commands.push(desk.send(record).await);
    }
    for reply in desk.replies(&commands).await {
        assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    }
    let books = desk.books();
    for n in 0..count {
        let effects = books.effects_of(Vendor::Jfwms, &number(n));
        assert_eq!(effects, [EffectKind::OrderCreated], "{}", number(n));
    }
}

async fn another(desk: &Desk<'_>) -> (Running, CancellationToken) {
    let stop = CancellationToken::new();
    let parts = Parts { webhooks: false, commands: true };
    let running = app::start(desk.app.config.clone(), parts, stop.clone()).await.unwrap();
    (running, stop)
}

/// Nothing of a token lies open in the topic, whatever was written to it.
async fn nothing_lies_open(desk: &Desk<'_>) {
    let topic = desk.app.config.topics.connector_tokens();
    let records = desk.env.read_now(&topic).await;
    assert!(!records.is_empty());
    for record in &records {
        let value = String::from_utf8_lossy(record.value()).into_owned();
        let known = ["sandbox-refresh-token", "1b56814f081c432cb82751be145261d3", "accessToken"];
        assert!(known.iter().all(|token| !value.contains(token)), "{value}");
        assert!(record.header("ce_type").is_some(), "{record:?}");
    }
}

async fn a_renewed_token_is_kept_in_the_topic(env: &TestEnv) {
    let desk = Desk::open_with(env, with_topic("")).await;
    creates(&desk, "K0", 1).await;
    for round in 1..=2 {
        desk.app.sandbox.expire_tokens();
        creates(&desk, &format!("K{round}"), 4).await;
        assert_eq!(renewals(&desk), round, "several at once share one renewal");
    }
    nothing_lies_open(&desk).await;
    // A later process uses what is there; the configuration's token is spent.
    let (config, sandbox) = (desk.app.config.clone(), desk.app.sandbox);
    desk.app.stop.cancel();
    desk.app.running.finished().await.unwrap();
    let app = support_app::TestApp::run(config, sandbox, Parts { webhooks: false, commands: true });
    let desk = Desk { app: app.await, ..desk };
    creates(&desk, "K9", 3).await;
    assert_eq!(renewals(&desk), 2, "nothing had to be renewed");
    desk.close().await;
}

/// The same refresh token is sent again: the vendor here takes it, though it has given a new one.
async fn the_answer_of_a_renewal_is_lost(env: &TestEnv) {
    let mut options = with_topic("");
    options.sandbox.jfwms.rotation = RefreshRotation::RotateKeepOld;
    let desk = Desk::open_with(env, options).await;
    desk.fault(FaultRule::new(Vendor::Jfwms, REFRESH, Fault::DropAfterWork).times(2));
    desk.app.sandbox.expire_tokens();
    creates(&desk, "L", 3).await;
    assert_eq!(renewals(&desk), 3);
    desk.close().await;
}

/// Each refresh token works once here, so a second renewal beside the first would end it all.
async fn one_of_three_processes_renews(env: &TestEnv) {
    let desk = Desk::open_with(env, with_topic("")).await;
    let (second, stop_second) = another(&desk).await;
    let (third, stop_third) = another(&desk).await;
    for process in [&second, &third] {
        desk.app.until("ready", || process.readiness.report().ready).await;
    }
    for round in 1..=3 {
        desk.app.sandbox.expire_tokens();
        creates(&desk, &format!("T{round}"), 30).await;
        assert_eq!(renewals(&desk), round);
    }
    // Whoever led, the others go on without.
    stop_second.cancel();
    second.finished().await.unwrap();
    desk.app.sandbox.expire_tokens();
    creates(&desk, "T4", 9).await;
    stop_third.cancel();
    third.finished().await.unwrap();
    desk.app.sandbox.expire_tokens();
    creates(&desk, "T5", 9).await;
    assert_eq!(renewals(&desk), 5);
    desk.close().await;
}

/// The vendor has answered, nobody has heard it, and the process is dead: its successor finds
/// *refreshing* and sends the same refresh token again.
async fn the_leader_dies_between_answer_and_write(env: &TestEnv) {
    let mut options = with_topic("");
    options.sandbox.jfwms.rotation = RefreshRotation::RotateKeepOld;
    let sandbox = wms_connector::sandbox::Sandbox::start(options.sandbox.clone()).await.unwrap();
    let config = support_app::configuration(env, &options, &sandbox);
    support_app::create_topics(env, &config, None).await;
    let files = Files::new(&support_app::configuration_text(env, &options, &sandbox));
    let mut leader = files.start(&["--only", "commands"]).await;
    leader.until_ready_is(200).await;
    let slow = Fault::Latency { ms: 20_000, jitter_ms: 0, after_work: true };
    sandbox.faults().add(FaultRule::new(Vendor::Jfwms, REFRESH, slow).times(1)).unwrap();
    sandbox.expire_tokens();
    let producer = env.producer();
    let topic = config.topics.command(wms_connector::domain::Operation::CreateOrder, None);
    let sample = samples::small_order("D-1");
    let record = crate::support::backend::Outgoing::to(&topic).key("D-1");
    crate::support::backend::send(&producer, record.value(sample.command.to_string())).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    while sandbox.books().requests_to(REFRESH).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{}", leader.log());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    leader.signal("KILL");
    let (_code, _log) = leader.ended(PATIENCE).await;
    let successor = files.start(&["--only", "commands"]).await;
    let replies = env.read_all(&config.topics.replies(), 1, 2 * PATIENCE).await;
    let says = support_app::decode(&replies[0]).await;
    assert_eq!(says["status"], "SUCCEEDED", "{says:#}\n{}", successor.log());
    let books = sandbox.books();
    assert_eq!(books.requests_to(REFRESH).len(), 2);
    assert_eq!(books.effects_of(Vendor::Jfwms, "D-1"), [EffectKind::OrderCreated]);
    sandbox.shutdown().await;
}

/// Frozen in the middle of a renewal past its session, woken when another has renewed: what it
/// brings is never committed, and it uses what is there.
async fn a_frozen_leader_writes_nothing_late(env: &TestEnv) {
    let mut options = with_topic("");
    options.sandbox.jfwms.rotation = RefreshRotation::RotateKeepOld;
    let desk = Desk::open_with(env, Options { ..options }).await;
    // The desk's own process ends first, so that the program leads.
    let config = desk.app.config.clone();
    let files = {
        let sandbox = &desk.app.sandbox;
        Files::new(&support_app::configuration_text(env, &with_topic(""), sandbox))
    };
    let (sandbox, producer) = (desk.app.sandbox, desk.producer);
    desk.app.stop.cancel();
    desk.app.running.finished().await.unwrap();
    let mut frozen = files.start(&["--only", "commands"]).await;
    frozen.until_ready_is(200).await;
    // The answer arrives while it sleeps.
    let slow = Fault::Latency { ms: 3_000, jitter_ms: 0, after_work: true };
    sandbox.faults().add(FaultRule::new(Vendor::Jfwms, REFRESH, slow).times(1)).unwrap();
    sandbox.expire_tokens();
    let topic = config.topics.command(wms_connector::domain::Operation::CreateOrder, None);
    let send = async |number: &str| {
        let record = crate::support::backend::Outgoing::to(&topic).key(number);
        let command = samples::small_order(number).command.to_string();
        crate::support::backend::send(&producer, record.value(command)).await;
    };
    send("Z-1").await;
    let deadline = std::time::Instant::now() + PATIENCE;
    while sandbox.books().requests_to(REFRESH).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{}", frozen.log());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    frozen.signal("STOP");
    let other = files.start(&["--only", "commands"]).await;
    let replies = env.read_all(&config.topics.replies(), 1, 3 * PATIENCE).await;
    let says = support_app::decode(&replies[0]).await;
    assert_eq!(says["status"], "SUCCEEDED", "{says:#}\n{}", other.log());
    let tokens = config.topics.connector_tokens();
    let written = |records: &[crate::support::backend::Record]| -> Vec<String> {
        let of_account = records.iter().filter(|record| record.key() == JFWMS);
        of_account.map(|record| record.header("ce_id").unwrap().to_owned()).collect()
    };
    let before = written(&env.read_now(&tokens).await);
    frozen.signal("CONT");
    // It works on: what comes next is done by whoever has the partition, with tokens that work.
    for n in 2..8 {
        send(&format!("Z-{n}")).await;
    }
    let replies = env.read_all(&config.topics.replies(), 7, 3 * PATIENCE).await;
    for reply in &replies {
        assert_eq!(support_app::decode(reply).await["status"], "SUCCEEDED");
    }
    let after = written(&env.read_now(&tokens).await);
    assert_eq!(after, before, "the late tokens were written: {}", frozen.log());
    let books = sandbox.books();
    for n in 1..8 {
        let effects = books.effects_of(Vendor::Jfwms, &format!("Z-{n}"));
        assert_eq!(effects, [EffectKind::OrderCreated]);
    }
    sandbox.shutdown().await;
}

/// A one-time token is exchanged by a process of its own while the connector runs; what waits goes
/// on with it.
async fn a_person_authorises_while_it_runs(env: &TestEnv) {
    let more = "";
    let desk = Desk::open_with(env, Options { jfwms: String::new(), ..with_topic(more) }).await;
    desk.app.sandbox.expire_tokens();
    let at = desk.send(desk.json(&samples::small_order("A-1"))).await;
    desk.app.until("refused", || desk.books().requests_total > 0).await;
    let options = Options { jfwms: "auth_domain = \"demo\"\n".to_owned(), ..with_topic(more) };
    let files = Files::new(&support_app::configuration_text(env, &options, &desk.app.sandbox));
    files.write("one-time-token", "sandbox-one-time-1\n");
    let authorize = ["authorize", "--account", JFWMS, "--email", "seller@example.com"];
    let done = files.run(&[&authorize[..], &["--token-file", "one-time-token"]].concat()).await;
    assert!(done.ok().contains("authorised"), "{done:?}");
    assert!(!done.stderr.contains("sandbox-one-time-1"), "{done:?}");
    let reply = desk.reply(&at).await;
    assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    // The running process, whose transactional id was taken, renews on.
    desk.app.sandbox.expire_tokens();
    creates(&desk, "A2", 3).await;
    assert_eq!(renewals(&desk), 1);
    // Without a key nothing is sent: the one-time token may still be used.
    let keyless = support_app::configuration_text(env, &options, &desk.app.sandbox)
        .replace(&format!("key = \"{KEY}\""), "");
    let files = Files::new(&keyless);
    files.write("one-time-token", "sandbox-one-time-2");
    let before = desk.books().requests_to("/api/oauth/authorize").len();
    let done = files.run(&[&authorize[..], &["--token-file", "one-time-token"]].concat()).await;
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(
        done.stderr.contains("tokens.key") && done.stderr.contains("nothing was sent"),
        "{done:?}"
    );
    assert_eq!(desk.books().requests_to("/api/oauth/authorize").len(), before);
    desk.close().await;
}

/// The topic of the tokens is deleted and made again, or restored from nothing; a person authorises
/// anew. The process that led before knows tokens of higher offsets: it uses the person's.
async fn a_token_topic_made_again_keeps_a_persons_tokens(env: &TestEnv) {
    let desk = Desk::open_with(env, with_topic("")).await;
    for round in 0..3 {
        desk.app.sandbox.expire_tokens();
        creates(&desk, &format!("M{round}"), 1).await;
    }
    let topic = desk.app.config.topics.connector_tokens();
    let before = desk.env.read_now(&topic).await;
    assert!(before.last().unwrap().offset > 4, "{before:?}");
    make_again(env, &topic, 1, "compact").await;

    let options = Options { jfwms: "auth_domain = \"demo\"\n".to_owned(), ..with_topic("") };
    let files = Files::new(&support_app::configuration_text(env, &options, &desk.app.sandbox));
    files.write("one-time-token", "sandbox-one-time-1\n");
    let authorize = ["authorize", "--account", JFWMS, "--email", "seller@example.com"];
    files.run(&[&authorize[..], &["--token-file", "one-time-token"]].concat()).await.ok();
    let versions = async || -> Vec<u64> {
        let records = desk.env.read_now(&topic).await;
        let of_account = records.iter().filter(|record| record.key() == JFWMS);
        of_account.map(|record| record.json()["version"].as_u64().unwrap()).collect()
    };
    let persons = versions().await;
    assert_eq!(persons.len(), 1, "{persons:?}");
    // What the old leader writes from now on follows the person's.
    desk.app.sandbox.expire_tokens();
    creates(&desk, "M4", 3).await;
    let all = versions().await;
    assert_eq!(all.first(), persons.first());
    assert!(all.len() > 1 && all.is_sorted(), "{all:?}");
    // A process that starts now works with them.
    let (other, stop) = another(&desk).await;
    creates(&desk, "M5", 3).await;
    stop.cancel();
    other.finished().await.unwrap();
    desk.close().await;
}

/// The old key moves to `previous_key`; what it sealed is read, and the next renewal is sealed
/// with the new one, so that the old one can go.
async fn sealing_keys_are_changed(env: &TestEnv) {
    let desk = Desk::open_with(env, with_topic("")).await;
    desk.app.sandbox.expire_tokens();
    creates(&desk, "S1", 2).await;
    let new_key = "6b".repeat(32);
    let mut desk = desk;
    for (name, previous) in [("S2", Some(KEY)), ("S3", None)] {
        let (mut config, sandbox) = (desk.app.config.clone(), desk.app.sandbox);
        desk.app.stop.cancel();
        desk.app.running.finished().await.unwrap();
        config.tokens.key = Some(wms_connector::domain::Secret::new(new_key.clone()));
        config.tokens.previous_key = previous.map(wms_connector::domain::Secret::new);
        let parts = Parts { webhooks: false, commands: true };
        let app = support_app::TestApp::run(config, sandbox, parts).await;
        desk = Desk { env: desk.env, app, producer: desk.producer };
        creates(&desk, name, 2).await;
        desk.app.sandbox.expire_tokens();
        creates(&desk, &format!("{name}b"), 2).await;
    }
    assert_eq!(renewals(&desk), 3);
    nothing_lies_open(&desk).await;
    desk.close().await;
}
