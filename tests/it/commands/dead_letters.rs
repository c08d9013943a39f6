//! `dead-letters list|show|replay`: what could not be carried out is seen, and sent again.

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};
use wms_connector::{
    domain::Operation,
    sandbox::{Fault, FaultRule},
};

use super::{
    desk::{At, Desk, options},
    samples::{self, Sample},
};
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, QIANYI},
    backend::{self, Outgoing, Record, TestEnv},
    binary::{Done, Files},
    suite::tests,
};

tests! {
    both: a_command_is_carried_out_after_a_replay, an_uncertain_one_wants_the_option_that_says_so,
        they_are_listed_and_shown, a_replay_chooses, what_cannot_be_sent_is_said, wrong_usage,
        a_replay_shows_and_asks_and_sends_once, a_replay_writes_to_command_topics_alone,
        avro_is_shown_readably;
    kafka: what_is_gone_is_said, a_topic_with_gaps_is_read_to_its_end;
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const IMPATIENT: &str = "[commands.retry]\nmax_attempts = 2\ninitial_backoff = \"20ms\"\n";

async fn impatient(env: &TestEnv) -> (Desk<'_>, Files) {
    let options = || Options { more: IMPATIENT.to_owned(), ..options() };
    let desk = Desk::open_with(env, options()).await;
    let files = Files::new(&app::configuration_text(env, &options(), &desk.app.sandbox));
    (desk, files)
}

/// Sends a command that fails while its vendor is away: where it stands, its dead letter.
async fn failed(
    desk: &Desk<'_>,
    sample: &Sample,
    record: Outgoing,
    end: (&str, &str),
) -> (At, Record) {
    let fault = Fault::Status { status: 503, retry_after: None, body: None };
    desk.fault(FaultRule::new(sample.vendor, sample.endpoint(), fault));
    let at = desk.send(record).await;
    let reply = desk.reply(&at).await;
    assert_eq!((reply.text("status"), reply.text("category")), end, "{reply:#?}");
    desk.app.sandbox.faults().clear();
    let dlq = desk.app.config.topics.dlq(&at.topic);
    let number = sample.number.clone();
    let mut letters =
        desk.env.read_until(&dlq, PATIENCE, move |all| all.iter().any(|r| r.key() == number)).await;
    letters.retain(|letter| letter.key() == sample.number);
    (at, letters.remove(0))
}

async fn a_command_is_carried_out_after_a_replay(env: &TestEnv) {
    let (desk, files) = impatient(env).await;
    let sample = samples::qianyi_asn("R-1");
    let id = [0, 0xff, b'\n'];
    let record = desk.mixed_json(&sample).partition(2);
    let record = record.header("kafka_correlationId", id).header("traceparent", TRACE);
    let record = record.header("ce_id", "mine").header("somebody's", "own").header("x", [0xfe]);
    let (at, letter) = failed(&desk, &sample, record, ("FAILED", "UNAVAILABLE")).await;
    let dlq = letter.topic.clone();

    let list = files.run(&["dead-letters", "list", &dlq]).await;
    let line = list.ok().strip_suffix('\n').unwrap();
    let columns: Vec<&str> = line.splitn(7, "  ").collect();
    let [place, time, key, category, stage, account, message] = columns[..] else {
        panic!("{line}")
    };
    assert_eq!(place, format!("{}/{}", letter.partition, letter.offset));
    assert_eq!(
        time.parse::<jiff::Timestamp>().unwrap().as_millisecond(),
        letter.timestamp_ms.unwrap()
    );
    assert_eq!((key, category, stage, account), ("R-1", "UNAVAILABLE", "TASK_PUT", QIANYI));
    let whole = letter.header("__connect.errors.exception.message").unwrap();
    assert!(whole.starts_with(message.trim_end_matches('…')), "{message}");

    // Dry: said, not sent. The command topic's name will do.
    let before = env.read_now(&at.topic).await;
    let place = format!("{}/{} -> {} partition 2", letter.partition, letter.offset, at.topic);
    let dry = files.run(&["dead-letters", "replay", &at.topic, "--dry-run"]).await;
    assert!(dry.ok().starts_with(&format!("would go  {place}, ")), "{dry:?}");
    assert!(dry.stdout.ends_with("\n1 would be replayed, 0 not\n"), "{dry:?}");
    assert!(dry.stderr.contains(&format!("its dead letters are on `{dlq}`")), "{dry:?}");
    assert_eq!(env.read_now(&at.topic).await, before);

    let done = files.run(&["dead-letters", "replay", &dlq, "--yes"]).await;
    let offset = at.offset + 1;
    assert_eq!(done.ok(), format!("replayed  {place} offset {offset}\n1 replayed, 0 not\n"));
    let again = At { offset, ..at.clone() };
    let reply = desk.reply(&again).await;
    assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    assert_eq!(reply.text("commandId"), "mine");
    assert_eq!(reply.record.header_bytes("kafka_correlationId"), Some(id.as_slice()));
    assert_eq!(reply.record.header("traceparent"), Some(TRACE));
    assert!(sample.kept(&desk.books()).is_some());

    // The same record again, but for how often it was sent; and it is a dead letter once.
    let records = env.read_now(&at.topic).await;
    let of = |offset| records.iter().find(|r| r.partition == 2 && r.offset == offset).unwrap();
    let (first, second) = (of(at.offset), of(offset));
    assert_eq!((&second.key, &second.value), (&first.key, &first.value));
    let mut headers = first.headers.clone();
    headers.push(("wms_attempts".to_owned(), Some(b"2".to_vec())));
    let from = format!("{dlq}/{}/{}", letter.partition, letter.offset);
    headers.push(("wms_replayed_from".to_owned(), Some(from.into_bytes())));
    assert_eq!(second.headers, headers);
    assert_eq!(env.read_now(&dlq).await.len(), 1);
    desk.close().await;
}

async fn an_uncertain_one_wants_the_option_that_says_so(env: &TestEnv) {
    let (desk, files) = impatient(env).await;
    // Answers that never come: an order that JFWMS may still be working on, and a call.
    let order = samples::small_order("U-1");
    let end = ("UNKNOWN", "UNCERTAIN");
    let (order_at, _) = failed(&desk, &order, desk.json(&order), end).await;
    let call = json!({"account": JFWMS, "path": "/api/order/create", "body": order.asked});
    let record = Outgoing::to(desk.own(Operation::Call)).key("U-1").value(call.to_string());
    let (call_at, _) = failed(&desk, &order, record, end).await;

    for at in [&order_at, &call_at] {
        let dlq = desk.app.config.topics.dlq(&at.topic);
        let replay = ["dead-letters", "replay", &dlq, "--yes"];
        for dry in [&[][..], &["--dry-run"]] {
            let done = files.run(&[&replay[..], dry].concat()).await;
            assert_eq!(done.code, Some(1), "{done:?}");
            assert!(done.stdout.starts_with("refused   "), "{done:?}");
            assert!(done.stdout.contains("--may-take-effect-twice"), "{done:?}");
        }
        assert_eq!(env.read_now(&at.topic).await.len(), 1);
        files.run(&[&replay[..], &["--may-take-effect-twice"]].concat()).await.ok();
        let again = At { offset: at.offset + 1, ..at.clone() };
        let status = desk.reply(&again).await.text("status").to_owned();
        // The order is in place by now, so the same call is refused: it was sent, not held back.
        assert_eq!(status, if at == &order_at { "SUCCEEDED" } else { "REJECTED" });
    }
    desk.close().await;
}

/// A record as the connector writes it to a dead-letter topic.
fn letter(topic: &str, key: &str, category: &str) -> Outgoing {
    let origin = topic.strip_suffix(".dlq").unwrap();
    Outgoing::to(topic)
        .key(key)
        .value(format!(r#"{{"account":"{JFWMS}","phone":"0170","number":"{key}"}}"#))
        .header("theirs", "1")
        .header("__connect.errors.topic", origin)
        .header("__connect.errors.partition", "0")
        .header("__connect.errors.offset", "7")
        .header("__connect.errors.stage", "TASK_PUT")
        .header("__connect.errors.exception.class.name", format!("wms.commands.{category}"))
        .header("__connect.errors.exception.message", format!("why\n{key}"))
        .header("wms_attempts", "3")
}

/// A configuration and the two topics of cancel-order; nothing runs.
async fn at_rest(env: &TestEnv, partitions: i32) -> (Files, String, String) {
    let sandbox = wms_connector::sandbox::Sandbox::start(super::desk::quiet()).await.unwrap();
    let files = Files::new(&app::configuration_text(env, &options(), &sandbox));
    sandbox.shutdown().await;
    let commands = env.name("commands.cancel-order");
    let dlq = format!("{commands}.dlq");
    for topic in [&commands, &dlq] {
        env.create_topic(topic, partitions).await;
    }
    (files, commands, dlq)
}

/// The output with the times taken out, which differ from run to run.
fn without_times(text: &str, prefix: &str) -> String {
    let line = |line: &str| {
        let words = line.split(' ').map(|word| match word.parse::<jiff::Timestamp>() {
            Ok(_) => "TIME",
            Err(_) => word,
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<_> = text.lines().map(line).collect();
    lines.join("\n").replace(prefix, "PREFIX")
}

async fn they_are_listed_and_shown(env: &TestEnv) {
    let (files, _, dlq) = at_rest(env, 2).await;
    env.send(letter(&dlq, "A-1", "UNAVAILABLE").partition(0)).await;
    env.send(letter(&dlq, "A-2", "UNCERTAIN").partition(1).header("b", [0xff, 0])).await;
    let foreign = Outgoing::to(&dlq).partition(0).value([0xff, b'\n']);
    env.send(foreign.header("esc\u{1b}", "[2J\u{1b}")).await;
    let said = |done: &Done| without_times(done.ok(), env.prefix());

    let list = files.run(&["dead-letters", "list", &dlq]).await;
    insta::assert_snapshot!("dead_letters_list", said(&list));
    let show = files.run(&["dead-letters", "show", &dlq]).await;
    insta::assert_snapshot!("dead_letters_show", said(&show));
    let show = files.run(&["dead-letters", "show", &dlq, "--value"]).await;
    insta::assert_snapshot!("dead_letters_show_value", said(&show));
    for (done, values) in [
        (files.run(&["dead-letters", "list", &dlq, "--json"]).await, false),
        (files.run(&["dead-letters", "show", &dlq, "--json"]).await, false),
        (files.run(&["dead-letters", "show", &dlq, "--json", "--value"]).await, true),
    ] {
        assert_eq!(done.ok().contains("0170"), values, "{done:?}");
        let lines: Vec<Value> =
            done.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{done:?}");
        assert_eq!(lines[0]["key"], "A-1");
        assert_eq!(lines[0]["category"], "UNAVAILABLE");
        assert_eq!(lines[0]["message"], "why\nA-1");
        assert_eq!(lines[0]["commandOffset"], 7);
        assert_eq!(lines[1]["category"], Value::Null);
        assert_eq!((&lines[2]["partition"], &lines[2]["offset"]), (&json!(1), &json!(0)));
        if values {
            assert_eq!(lines[1]["valueBase64"], "/wo=");
            let header = json!({"name": "b", "valueBase64": "/wA="});
            assert!(lines[2]["headers"].as_array().unwrap().contains(&header), "{done:?}");
        }
    }
}

async fn a_replay_chooses(env: &TestEnv) {
    let (files, commands, dlq) = at_rest(env, 1).await;
    let categories = ["UNAVAILABLE", "THROTTLED", "UNREADABLE", "UNAVAILABLE", "UNCERTAIN"];
    let mut moments = Vec::new();
    for (n, category) in categories.iter().enumerate() {
        env.send(letter(&dlq, &format!("C-{n}"), category)).await;
        // Each in a millisecond of its own.
        let written = env.read_all(&dlq, n + 1, PATIENCE).await.remove(n).timestamp_ms.unwrap();
        moments.push(jiff::Timestamp::from_millisecond(written).unwrap().to_string());
        while jiff::Timestamp::now().as_millisecond() <= written {
            tokio::task::yield_now().await;
        }
    }
    // An UNREADABLE one goes where its offset or its category is named.
    let cases: [(&[&str], &[u32]); 14] = [
        (&["--offset", "2"], &[2]),
        (&["--from", "1", "--to", "2", "--category", "unreadable"], &[2]),
        (
            &["--from", "1", "--to", "2", "--category", "unreadable", "--category", "throttled"],
            &[1, 2],
        ),
        (&["--to", "1"], &[0, 1]),
        (&["--from", "3", "--may-take-effect-twice"], &[3, 4]),
        (&["--category", "UNAVAILABLE"], &[0, 3]),
        (&["--category", "unavailable", "--category", "throttled"], &[0, 1, 3]),
        (&["--category", "EXPIRED"], &[]),
        (&["--category", "UNAVAILABLE", "--from", "1", "--to", "3"], &[3]),
        (&["--since", &moments[0], "--until", &moments[2]], &[0, 1]),
        (&["--until", &moments[0]], &[]),
        (&["--since", &moments[4], "--may-take-effect-twice"], &[4]),
        (&["--partition", "0", "--offset", "0"], &[0]),
        (&["--from", "100"], &[]),
    ];
    let mut expected = Vec::new();
    for (options, replayed) in cases {
        let replay = ["dead-letters", "replay", &dlq, "--again"];
        let done = files.run(&[&replay[..], options].concat()).await;
        let summary = format!("{} replayed, 0 not\n", replayed.len());
        assert!(done.ok().ends_with(&summary), "{options:?}: {done:?}");
        expected.extend(replayed.iter().map(|n| format!("C-{n}")));
        let records = env.read_now(&commands).await;
        let keys: Vec<&str> = records.iter().map(Record::key).collect();
        assert_eq!(keys, expected, "{options:?}");
    }
    // What is refused does not keep the others back, and is a failure.
    let done = files.run(&["dead-letters", "replay", &dlq, "--again", "--yes"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.ends_with("\n3 replayed, 2 not\n"), "{done:?}");
}

/// Without a terminal all of a topic goes only after --yes; what was sent stays behind the next time, in
/// another process too, and so does what can only fail again.
async fn a_replay_shows_and_asks_and_sends_once(env: &TestEnv) {
    let (files, commands, dlq) = at_rest(env, 2).await;
    // Where a command was is where its replay goes; the other partition is not looked through.
    for (n, category) in ["UNAVAILABLE", "EXPIRED", "UNREADABLE", "THROTTLED"].iter().enumerate() {
        env.send(Outgoing::to(&commands).partition(0).key(format!("S-{n}")).value("{}")).await;
        let letter = letter(&dlq, &format!("S-{n}"), category).partition(0);
        env.send(letter.header("__connect.errors.offset", n.to_string())).await;
    }
    let replay = async |options: &[&str]| {
        files.run(&[&["dead-letters", "replay", &dlq], options].concat()).await
    };
    let plan = format!(
        "4 dead letters of `{dlq}`: to be sent to `{commands}`: 1 THROTTLED, 1 UNAVAILABLE; left out: \
         1 EXPIRED, 1 UNREADABLE"
    );
    let asked = replay(&[]).await;
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(2), ""), "{asked:?}");
    assert!(asked.stderr.contains(&plan) && asked.stderr.contains("--yes"), "{asked:?}");
    let dry = replay(&["--dry-run"]).await;
    assert!(dry.ok().ends_with("\n2 would be replayed, 2 not\n") && dry.stderr.contains(&plan));
    assert_eq!(env.read_now(&commands).await.len(), 4, "nothing was sent");

    let done = replay(&["--yes"]).await;
    assert!(done.ok().ends_with("\n2 replayed, 2 not\n"), "{done:?}");
    assert!(done.stdout.contains("left out  0/1: EXPIRED can only end the same way"), "{done:?}");
    let again = replay(&["--yes"]).await;
    assert!(again.ok().ends_with("\n0 replayed, 4 not\n"), "{again:?}");
    assert!(again.stdout.contains("it was replayed as partition 0 offset 4"), "{again:?}");
    // Named is enough, and --again sends it once more.
    replay(&["--category", "EXPIRED"]).await.ok();
    replay(&["--offset", "0", "--partition", "0"]).await.ok();
    replay(&["--offset", "0", "--partition", "0", "--again"]).await.ok();
    let records = env.read_now(&commands).await;
    let keys: Vec<&str> = records.iter().map(Record::key).skip(4).collect();
    assert_eq!(keys, ["S-0", "S-3", "S-1", "S-0"]);
}

/// What a header names is the sender's text: a replay never writes there, unless the operator names the
/// topic, and then a command topic.
async fn a_replay_writes_to_command_topics_alone(env: &TestEnv) {
    let (files, commands, dlq) = at_rest(env, 1).await;
    let (events, other) = (env.name("jfwms.order"), env.name("commands.cancel-asn"));
    for topic in [&events, &other] {
        env.create_topic(topic, 1).await;
    }
    let forged =
        letter(&dlq, "F-1", "UNAVAILABLE").header("__connect.errors.topic", events.clone());
    env.send(forged).await;
    let replay = async |options: &[&str]| {
        files.run(&[&["dead-letters", "replay", &dlq, "--yes"], options].concat()).await
    };
    let refused = replay(&[]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains(&events) && refused.stdout.contains("--to"), "{refused:?}");
    for wrong in [events.as_str(), "connector.tokens", &dlq] {
        let done = replay(&["--to", wrong]).await;
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(&commands), "{done:?}");
    }
    replay(&["--to", &other]).await.ok();
    let counts = [&events, &commands, &other];
    let counts = futures_util::future::join_all(counts.map(|topic| env.read_now(topic))).await;
    assert_eq!(counts.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 1]);
    // A topic of another deployment has no command topic here.
    let foreign = env.name("others.dlq");
    env.create_topic(&foreign, 1).await;
    let done = files.run(&["dead-letters", "replay", &foreign, "--yes"]).await;
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("--to names"), "{done:?}");
}

/// An Avro command as a person reads it, and every topic's dead letters where none is named.
async fn avro_is_shown_readably(env: &TestEnv) {
    let (desk, files) = impatient(env).await;
    let sample = samples::jfwms_order("A-1");
    let (_, letter) = failed(
        &desk,
        &sample,
        desk.avro(&desk.own(Operation::CreateOrder), &sample),
        ("UNKNOWN", "UNCERTAIN"),
    )
    .await;
    let show = files.run(&["dead-letters", "show", &letter.topic, "--value"]).await;
    assert!(show.ok().contains("\"orderNumber\": \"A-1\""), "{show:?}");
    assert!(!show.stdout.contains("0xc301"), "{show:?}");
    let json = files.run(&["dead-letters", "show", &letter.topic, "--value", "--json"]).await;
    let json: Value = serde_json::from_str(json.ok()).unwrap();
    assert_eq!(json["valueJson"]["orderNumber"], "A-1", "{json:#}");
    let all = files.run(&["dead-letters", "list", "--since", "1h"]).await;
    assert!(all.ok().starts_with(&format!("{}/", letter.topic)), "{all:?}");
    assert!(all.stderr.contains("holds no dead letters"), "{all:?}");
    desk.close().await;
}

async fn what_cannot_be_sent_is_said(env: &TestEnv) {
    let (files, commands, dlq) = at_rest(env, 2).await;
    // No origin, no value, an origin that is another topic, and a partition that is not there.
    let missing = env.name("commands.missing.dlq");
    let to_missing = |key: &str| {
        let record = letter(&missing, key, "UNAVAILABLE");
        record.sent_to(&dlq).partition(0)
    };
    let one = Outgoing::to(&dlq).partition(0).key("N-0").value("{}");
    let class = "__connect.errors.exception.class.name";
    env.send(one.header(class, "wms.commands.UNAVAILABLE")).await;
    env.send(letter(&dlq, "N-1", "UNAVAILABLE").partition(0).header("wms_value_dropped", "true"))
        .await;
    env.send(to_missing("N-2")).await;
    env.send(letter(&dlq, "N-2", "UNAVAILABLE").partition(0)).await;
    let far = letter(&dlq, "N-3", "UNAVAILABLE").partition(0);
    env.send(far.header("__connect.errors.partition", "9")).await;
    let done = files.run(&["dead-letters", "replay", &dlq, "--yes"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{done:?}");
    for (line, (begins, says)) in lines.iter().zip([
        ("refused   0/0", "__connect.errors.topic"),
        ("refused   0/1", "wms_value_dropped"),
        ("refused   0/2", "commands.missing"),
        ("replayed  0/3", " offset 0"),
        ("replayed  0/4", " offset "),
        ("2 replayed, 3 not", ""),
    ]) {
        assert!(line.starts_with(begins) && line.contains(says), "{done:?}");
    }
    let records = env.read_now(&commands).await;
    let keys: Vec<&str> = records.iter().map(Record::key).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.contains(&"N-2") && keys.contains(&"N-3"), "{keys:?}");
}

async fn wrong_usage(env: &TestEnv) {
    let (files, commands, dlq) = at_rest(env, 2).await;
    env.send(letter(&dlq, "W-1", "UNAVAILABLE").partition(0)).await;
    let replies = env.name("replies");
    let cases: [(&[&str], i32, &str); 11] = [
        (&["--partition", "7"], 2, "there is no 7"),
        (&["--partition", "-1"], 2, "'-1'"),
        (&["--offset", "0", "--from", "0"], 2, "--from"),
        (&["--from", "2", "--to", "1"], 2, "--to 1"),
        (&["--category", "UNAVAILBLE"], 2, "UNAVAILABLE"),
        (&["--since", "yesterday"], 2, "RFC 3339"),
        (&["--since", "2025-01-31"], 2, "RFC 3339"),
        (&["--value"], 2, "--value"),
        (&["--offset", "1"], 1, "no record at offset 1"),
        (&["--partition", "1", "--offset", "0"], 1, "no record at offset 0"),
        (&["--until", "2001-01-01T00:00:00+08:00"], 0, ""),
    ];
    for (options, code, says) in cases {
        let done = files.run(&[&["dead-letters", "list", &dlq], options].concat()).await;
        assert_eq!(done.code, Some(code), "{options:?}: {done:?}");
        assert!(done.stderr.contains(says), "{options:?}: {done:?}");
        assert_eq!(done.stdout, "", "{options:?}");
    }
    let done = files.run(&["dead-letters", "replay", &replies]).await;
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains(&dlq), "{done:?}");
    let done = files.run(&["dead-letters", "replay"]).await;
    assert_eq!(done.code, Some(2), "{done:?}");
    let done = files.run(&["dead-letters", "list", &dlq, "--to", "commands"]).await;
    assert_eq!(done.code, Some(2), "{done:?}");
    assert_eq!(env.read_now(&commands).await, []);
    if !env.is_mock() {
        let done = files.run(&["dead-letters", "list", &env.name("commands.dlq")]).await;
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("does not exist"), "{done:?}");
    }
}

async fn what_is_gone_is_said(env: &TestEnv) {
    let (files, commands, dlq) = at_rest(env, 1).await;
    for n in 0..5 {
        env.send(letter(&dlq, &format!("T-{n}"), "UNAVAILABLE")).await;
    }
    let admin: AdminClient<DefaultClientContext> = env.client_config().create().unwrap();
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(&dlq, 0, Offset::Offset(3)).unwrap();
    let deleted = admin.delete_records(&below, &AdminOptions::new()).await.unwrap();
    assert_eq!(deleted.elements()[0].offset(), Offset::Offset(3));

    let list = async |options: &[&str]| {
        files.run(&[&["dead-letters", "list", &dlq], options].concat()).await
    };
    let all = list(&[]).await;
    assert_eq!((all.ok().lines().count(), all.stderr.as_str()), (2, ""));
    let part = list(&["--from", "1", "--to", "3"]).await;
    assert_eq!(part.ok().lines().count(), 1);
    assert!(part.stderr.contains("partition 0: offsets 1 to 2 are gone"), "{part:?}");
    let none = list(&["--offset", "2"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""));
    assert!(none.stderr.contains("offsets 2 to 2 are gone"), "{none:?}");
    // A replay sends what there is, and is not the whole of what was asked.
    let done = files.run(&["dead-letters", "replay", &dlq, "--from", "1"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.ends_with("\n2 replayed, 0 not\n"), "{done:?}");
    assert_eq!(env.read_now(&commands).await.len(), 2);
}

/// Aborted records and a transaction's markers have offsets and are never delivered, as compacted
/// records; here they are in the middle and at the end.
async fn a_topic_with_gaps_is_read_to_its_end(env: &TestEnv) {
    let (files, _, dlq) = at_rest(env, 1).await;
    let mut config = env.client_config();
    config.set("transactional.id", env.name("gaps"));
    let topic = dlq.clone();
    backend::blocking(move || {
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        for (key, commits) in [("G-0", true), ("G-1", false), ("G-2", true), ("G-3", false)] {
            producer.begin_transaction().unwrap();
            producer.send(BaseRecord::<str, str>::to(&topic).key(key).payload("{}")).unwrap();
            producer.flush(PATIENCE).unwrap();
            match commits {
                true => producer.commit_transaction(PATIENCE).unwrap(),
                false => producer.abort_transaction(PATIENCE).unwrap(),
            }
        }
    })
    .await;
    let list = files.run(&["dead-letters", "list", &dlq, "--json"]).await;
    let lines = list.ok().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<_> = lines.map(|l| (l["offset"].as_i64(), l["key"].clone())).collect();
    assert_eq!(found, [(Some(0), json!("G-0")), (Some(4), json!("G-2"))]);
    let none = files.run(&["dead-letters", "list", &dlq, "--offset", "2"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
}
