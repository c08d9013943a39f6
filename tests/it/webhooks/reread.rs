//! `unrecognized list|show|replay`: what fitted no topic is seen, and becomes an event once it can.

use serde_json::{Value, json};
use wms_connector::{
    app::{Parts, topics},
    sandbox::{Sandbox, SandboxSettings},
};

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, QIANYI, TestApp},
    backend::{Outgoing, Record, TestEnv},
    binary::Files,
    suite::tests,
    vendor, wire,
};

tests! {
    both: a_user_that_was_configured_since, a_changed_type_wants_its_reason_named,
        what_still_fits_no_topic_stays, wrong_usage_is_named;
    kafka: what_was_too_large_is_put_together;
}

const SECOND: &str = "jf-second";

/// A second account of the same client, whose user is 9.
fn with_a_second_user() -> Options {
    let more = format!(
        "[accounts.{SECOND}]\nvendor = \"jfwms\"\nbase_url = \"http://127.0.0.1:1\"\n\
         client_id = \"fe73489a9b5948dbafd07e7b28d6e268\"\nclient_secret = \"{}\"\n\
         user_ids = [9]\n",
        vendor::JFWMS_SECRET
    );
    Options { more, ..with_user_8() }
}

fn with_user_8() -> Options {
    Options { jfwms: "user_ids = [8]".to_owned(), ..only_webhooks() }
}

/// The command line, with the configuration that holds now.
fn files(env: &TestEnv, app: &TestApp, options: &Options) -> Files {
    Files::new(&app::configuration_text(env, options, &app.sandbox))
}

fn place(record: &Record) -> String {
    format!("{}/{}", record.partition, record.offset)
}

async fn a_user_that_was_configured_since(env: &TestEnv) {
    let app = TestApp::start_with(env, with_user_8()).await;
    let kept_on = env.name("jfwms.unrecognized");
    let body = |number: &str, user: u32| {
        let data = format!(r#"{{"erpNo":"{number}","userId":{user}}}"#);
        vendor::jfwms("order", &data)
    };
    for (number, user) in [("ours", 8), ("theirs", 9), ("nobody's", 10)] {
        let answer = wire::post(&app, JFWMS, &[], body(number, user)).await;
        assert_eq!(answer.code(), (200, json!(0)));
    }
    let kept = env.read_all(&kept_on, 2, PATIENCE).await;
    let holds =
        |record: &&Record, number: &str| String::from_utf8_lossy(record.value()).contains(number);
    let theirs = kept.iter().find(|record| holds(record, "theirs")).unwrap();
    let nobodys = kept.iter().find(|record| holds(record, "nobody")).unwrap();

    let before = files(env, &app, &with_user_8());
    let list = before.run(&["unrecognized", "list"]).await;
    assert_eq!(list.ok().lines().count(), 2, "{list:?}");
    let line = list.ok().lines().find(|line| line.contains(&place(theirs))).unwrap();
    let columns: Vec<&str> = line.split("  ").collect();
    let time = jiff::Timestamp::from_millisecond(theirs.timestamp_ms.unwrap()).unwrap();
    let bytes = format!("{} bytes", theirs.value().len());
    assert_eq!(
        columns,
        [
            &format!("{kept_on}/{}", place(theirs)),
            &format!("{time:.3}"),
            JFWMS,
            "order",
            &bytes,
            "unknown-user"
        ]
    );
    let shown = before.run(&["unrecognized", "show", "jfwms", "--value", "--json"]).await;
    let shown: Vec<Value> =
        shown.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown = shown.iter().find(|one| one["value"] == body("theirs", 9)).unwrap();
    assert_eq!(shown["reason"], "unknown-user");
    assert_eq!(shown["bytes"], theirs.value().len());
    assert!(shown["headers"].as_array().unwrap().iter().any(|h| h["name"] == "ce_id"));
    // Nothing changed: nothing goes.
    let replay = before.run(&["unrecognized", "replay", &kept_on, "--yes"]).await;
    assert!(replay.ok().ends_with("0 replayed, 2 not\n"), "{replay:?}");
    assert!(replay.ok().contains("it is still unknown-user"), "{replay:?}");

    let since = files(env, &app, &with_a_second_user());
    let asked = since.run(&["unrecognized", "replay", &kept_on]).await;
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(asked.stderr.contains("nobody can be asked here. Add --yes"), "{asked:?}");
    let dry = since.run(&["unrecognized", "replay", "jfwms", "--dry-run"]).await;
    let topic = env.name("jfwms.order");
    let would = format!("would go  {} -> {topic}, key theirs, ", place(theirs));
    assert!(dry.ok().contains(&would), "{dry:?}");
    assert!(
        dry.stderr.contains(&format!("1 to `{topic}`; left out: 1 still unknown-user")),
        "{dry:?}"
    );
    assert_eq!(env.read_now(&topic).await.len(), 1);

    let done = since.run(&["unrecognized", "replay", &kept_on, "--yes"]).await;
    assert!(done.ok().ends_with("1 replayed, 1 not\n"), "{done:?}");
    assert!(done.ok().contains(&format!("left out  {}: it is still", place(nobodys))), "{done:?}");
    let events = env.read_all(&topic, 2, PATIENCE).await;
    let event = events.iter().find(|event| event.key() == "theirs").unwrap();
    let decoded = app::decode(event).await;
    // The event it would have been when it came, for the account whose user it is.
    assert_eq!(decoded["account"], SECOND);
    assert_eq!(event.header("ce_source"), Some(format!("/jfwms/{SECOND}").as_str()));
    assert_eq!(event.header("ce_type"), Some("com.jfwms.order"));
    // The id is a function of whose event it is.
    assert_ne!(event.header("ce_id"), theirs.header("ce_id"));
    assert_eq!(event.header("ce_id"), decoded["eventId"].as_str());
    assert_eq!(event.header("traceparent"), theirs.header("traceparent"));
    let from = format!("{kept_on}/{}", place(theirs));
    assert_eq!(event.header("wms_replayed_from"), Some(from.as_str()));
    let came: jiff::Timestamp = theirs.header("ce_time").unwrap().parse().unwrap();
    let received: jiff::Timestamp = decoded["receivedAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(received.as_millisecond(), came.as_millisecond());

    // librdkafka's mock cluster finds no offset by its time.
    if !env.is_mock() {
        it_is_published_once(env, &since, (&kept_on, theirs), &topic, &decoded).await;
    }
    app.stop().await.unwrap();
}

/// A second time it stays, wherever it is run; unless it is asked for.
async fn it_is_published_once(
    env: &TestEnv,
    since: &Files,
    (kept_on, theirs): (&str, &Record),
    topic: &str,
    decoded: &Value,
) {
    let again = since.run(&["unrecognized", "replay", kept_on, "--account", JFWMS]).await;
    assert!(again.ok().contains(&format!("it was replayed as {topic} partition ")), "{again:?}");
    assert!(again.ok().ends_with("0 replayed, 2 not\n"), "{again:?}");
    let (partition, offset) = (theirs.partition.to_string(), theirs.offset.to_string());
    let one = ["unrecognized", "replay", kept_on, "--partition", &partition, "--offset", &offset];
    let refused = since.run(&one).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.starts_with("refused   "), "{refused:?}");
    let forced = since.run(&[&one[..], &["--again"]].concat()).await;
    assert!(forced.ok().ends_with("1 replayed, 0 not\n"), "{forced:?}");
    let all = env.read_all(topic, 3, PATIENCE).await;
    let ids = all.iter().filter(|event| event.header("ce_id") == decoded["eventId"].as_str());
    assert_eq!(ids.count(), 2);
}

async fn a_changed_type_wants_its_reason_named(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let data = vendor::order("R");
    for kind in ["order", "orderCancel"] {
        let answer = wire::post(&app, JFWMS, &[], vendor::jfwms(kind, &data)).await;
        assert_eq!(answer.code(), (200, json!(0)));
    }
    env.read_all(&env.name("jfwms.unrecognized"), 1, PATIENCE).await;
    let files = files(env, &app, &only_webhooks());
    let kept = files.run(&["unrecognized", "replay", "jfwms", "--yes"]).await;
    assert!(kept.ok().contains("--reason retyped sends it all the same"), "{kept:?}");
    assert!(kept.ok().ends_with("0 replayed, 1 not\n"), "{kept:?}");
    let sent = files.run(&["unrecognized", "replay", "jfwms", "--reason", "retyped"]).await;
    assert!(sent.ok().ends_with("1 replayed, 0 not\n"), "{sent:?}");
    let events = env.read_all(&env.name("jfwms.order-cancel"), 1, PATIENCE).await;
    assert_eq!(events[0].header("ce_type"), Some("com.jfwms.orderCancel"));
    assert_eq!(app::decode(&events[0]).await["account"], JFWMS);
    app.stop().await.unwrap();
}

/// What nobody can read, what a stranger wrote, and what belongs to nobody here loses nothing and holds
/// nothing up.
async fn what_still_fits_no_topic_stays(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let (form, push) = vendor::as_form_data(&vendor::push("PUSH_NEW", "{\"a\":1}"));
    let answer = wire::post(&app, QIANYI, &[("content-type", &form)], push.clone()).await;
    assert_eq!(answer.status, 200);
    let kept_on = env.name("qianyi.unrecognized");
    let kept = env.read_all(&kept_on, 1, PATIENCE).await.remove(0);
    let headers = |record: Outgoing, kept: &Record| {
        kept.headers
            .iter()
            .filter(|(name, _)| name != "wms_account" && name != "wms_type")
            .fold(record, |record, (name, value)| {
                record.header(name, value.clone().unwrap_or_default())
            })
    };
    // Of an account that is gone; of a stranger; a body that is none; a part without the others; a
    // header of other bytes.
    let gone = headers(Outgoing::to(&kept_on).value(kept.value()), &kept);
    env.send(gone.header("wms_account", "qy-old").header("wms_type", "PUSH_NEW")).await;
    env.send(Outgoing::to(&kept_on).value("{}")).await;
    env.send(Outgoing::to(&kept_on).value([0xff]).header("wms_account", QIANYI)).await;
    let part = Outgoing::to(&kept_on).value("{").header("wms_account", QIANYI);
    env.send(part.header("wms_part", "2").header("wms_parts", "3")).await;
    env.send(Outgoing::to(&kept_on).header("wms_account", [0xfe, 0xff])).await;
    // A push that can be read, which somebody put there by hand: the last of all.
    let (form, body) = vendor::as_form_data(&vendor::push(
        "PUSH_ASN_ORDER",
        &vendor::qianyi_sample("push-asn-order.json"),
    ));
    let readable = Outgoing::to(&kept_on).value(body).header("content-type", form);
    env.send(readable.header("wms_account", QIANYI).header("wms_reason", "undecodable: x")).await;

    let files = files(env, &app, &only_webhooks());
    let list = files.run(&["unrecognized", "list", &kept_on]).await;
    assert_eq!(list.ok().lines().count(), 7, "{list:?}");
    let shown = files.run(&["unrecognized", "show", "qianyi", "--type", "PUSH_NEW"]).await;
    assert!(shown.ok().contains("  wms_reason: unknown-type\n"), "{shown:?}");
    assert!(!shown.ok().contains("\"a\""), "a body is shown only when it is asked for");
    let done = files.run(&["unrecognized", "replay", "qianyi", "--yes"]).await;
    for reason in [
        "it is still unknown-type",
        "account `qy-old` is not in the configuration",
        "no header `wms_account` says whose it is",
        "it cannot be read: the body is not UTF-8",
        "the parts before this one are not among those that are read",
    ] {
        assert!(done.ok().contains(reason), "{reason}: {done:?}");
    }
    assert!(done.ok().ends_with("1 replayed, 6 not\n"), "{done:?}");
    assert_eq!(env.read_all(&env.name("qianyi.asn"), 1, PATIENCE).await.len(), 1);
    app.stop().await.unwrap();
}

async fn wrong_usage_is_named(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let files = files(env, &app, &only_webhooks());
    let (jfwms, qianyi) = (env.name("jfwms.unrecognized"), env.name("qianyi.unrecognized"));
    for (arguments, message) in [
        (vec!["replay"], format!("one of {jfwms}, {qianyi}")),
        (vec!["list", "wms.replies"], format!("there are {jfwms}, {qianyi}")),
        (vec!["list", "--reason", "odd"], "unknown-user".to_owned()),
        (
            vec!["list", "jfwms", "--from", "3", "--to", "2"],
            "--from 3 lies behind --to 2".to_owned(),
        ),
        (vec!["list", "jfwms", "--offset", "3", "--to", "4"], "cannot be used with".to_owned()),
        (vec!["list", "jfwms", "--partition", "99"], "there is no 99".to_owned()),
    ] {
        let done = files.run(&[&["unrecognized"], &arguments[..]].concat()).await;
        assert_eq!(done.code, Some(2), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(&message), "{arguments:?}: {done:?}");
    }
    let none = files.run(&["unrecognized", "list"]).await;
    assert_eq!(none.ok(), "");
    assert!(none.stderr.contains(&format!("`{jfwms}` holds no webhooks")), "{none:?}");
    app.stop().await.unwrap();
}

async fn what_was_too_large_is_put_together(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &Options::default(), &sandbox);
    let narrow = env.name("jfwms.order");
    for topic in topics::all(&config, 1, 1) {
        let limit = if topic.name == narrow { "20000" } else { "4194304" };
        env.create_topic_with(&topic.name, 1, &[("max.message.bytes", limit)]).await;
    }
    let only = Parts { webhooks: true, commands: false };
    let app = TestApp::run(config, sandbox, only).await;
    for number in ["L-1", "L-2"] {
        let data = format!(r#"{{"erpNo":"{number}","noise":"{}"}}"#, "x".repeat(1_300_000));
        let refused = wire::post(&app, JFWMS, &[], vendor::jfwms("order", &data)).await;
        assert_eq!(refused.code(), (413, json!(10001)));
    }
    let parts = env.read_all(&env.name("jfwms.unrecognized"), 6, PATIENCE).await;
    let narrowed = files(env, &app, &only_webhooks());
    let failed = narrowed.run(&["unrecognized", "replay", "jfwms", "--yes"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.ends_with("0 replayed, 2 not\n"), "{failed:?}");

    // A topic that takes more.
    let wide = env.name("jfwms.order-wide");
    env.create_topic_with(&wide, 1, &[("max.message.bytes", "4194304")]).await;
    let mut text = app::configuration_text(env, &only_webhooks(), &app.sandbox);
    text += &format!("\n[topics.names]\n\"jfwms.order\" = \"{wide}\"\n");
    let widened = Files::new(&text);
    // Without its first part the first of them stays.
    let some = widened.run(&["unrecognized", "replay", "jfwms", "--from", "1"]).await;
    assert!(some.ok().ends_with("1 replayed, 2 not\n"), "{some:?}");
    let rest = widened.run(&["unrecognized", "replay", "jfwms", "--yes"]).await;
    assert!(rest.ok().ends_with("1 replayed, 1 not\n"), "{rest:?}");
    let events = env.read_all(&wide, 2, PATIENCE).await;
    let numbers: Vec<_> = events.iter().map(Record::key).collect();
    assert_eq!(numbers, ["L-2", "L-1"]);
    for event in &events {
        let decoded = app::decode(event).await;
        assert_eq!(decoded["extra"]["noise"].as_str().unwrap().len(), 1_300_002);
        let id = event.header("ce_id").unwrap();
        assert!(parts.iter().any(|part| part.header("ce_id") == Some(&format!("{id}-part-1"))));
    }
    app.stop().await.unwrap();
}
