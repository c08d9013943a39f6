//! What nobody can read gets a reply, goes byte for byte to the dead letters, and stops nothing.

use wms_connector::domain::Operation;

use super::{
    desk::{Desk, QUICK, Reply, options},
    samples,
};
use crate::support::{
    app::{Options, PATIENCE},
    backend::{Outgoing, Record, TestEnv},
    suite::tests,
};

tests! {
    both: unreadable_commands, a_header_whose_name_is_not_text, a_dead_letter_that_comes_again, more_than_the_settings_allow;
}

/// The headers of a dead letter, beginning with the ones the command had.
fn headers(record: &Record) -> Vec<(&str, &[u8])> {
    record.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref().unwrap_or_default())).collect()
}

async fn unreadable_commands(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let own = desk.own(Operation::CreateOrder);
    let mixed = desk.mixed();
    let sample = samples::small_order("U-1");
    let json = sample.command.to_string();
    let whole = |topic: &str| Outgoing::to(topic).key([0xff, 0]);
    let avro = wms_connector::avro::encode_command(
        sample.operation,
        &json,
        wms_connector::avro::Prefix::SingleObject,
    );
    let avro = avro.unwrap();
    let cut = avro.split_last_chunk::<2>().unwrap().0;
    let trailing = [avro.as_slice(), b"\0"].concat();
    // Ten bytes that claim a text of half a gibibyte, and brackets without end.
    let bomb = [avro.split_at(10).0, &[0x80, 0x80, 0x80, 0x80, 0x04, b'x']].concat();
    let brackets = "[".repeat(200_000);
    let mut unknown_schema = avro.clone();
    unknown_schema[2] ^= 1;
    // The record, whether its operation and account can still be told.
    let cases = [
        (whole(&own).value("no json"), "create-order", ""),
        (whole(&own).value(""), "create-order", ""),
        (whole(&own).value(json.replace('}', "")), "create-order", ""),
        (whole(&own).value([0xff, 0xfe]), "create-order", ""),
        (whole(&own), "create-order", ""),
        (whole(&own).value(cut), "create-order", ""),
        (whole(&own).value(trailing), "create-order", ""),
        (whole(&own).value(unknown_schema), "create-order", ""),
        (whole(&own).value(bomb), "create-order", ""),
        (whole(&own).value(brackets), "create-order", ""),
        // Its schema is another command's than its topic's.
        (whole(&desk.own(Operation::CreateAsn)).value(&avro), "create-asn", sample.account()),
        // No registry is configured.
        (whole(&own).value([0, 0, 0, 0, 7, 1]), "create-order", ""),
        (whole(&mixed).value(&json), "", sample.account()),
        (whole(&mixed).value(&json).header("ce_type", "wms.commands.Create"), "", sample.account()),
        (whole(&mixed), "", ""),
    ];
    let mut commands = Vec::new();
    for (n, (record, ..)) in cases.iter().enumerate() {
        let record = record.clone().partition(1).header("x", [0xff]).header("n", n.to_string());
        commands.push(desk.send(record).await);
    }
    // Behind each of them in its partition, one that can be read.
    let good = [
        desk.send(desk.json(&samples::small_order("U-2")).partition(1)).await,
        desk.send(desk.json(&samples::small_asn("U-3")).partition(1)).await,
        desk.send(desk.mixed_json(&samples::small_order("U-4")).partition(1)).await,
    ];
    for reply in desk.replies(&good).await {
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    let replies = desk.replies(&commands).await;
    let mut letters = Vec::new();
    for (topic, count) in [(&own, 11), (&desk.own(Operation::CreateAsn), 1), (&mixed, 3)] {
        let dlq = desk.app.config.topics.dlq(topic);
        let of_topic = env.read_all(&dlq, count, PATIENCE).await;
        assert_eq!(of_topic.len(), count, "{of_topic:#?}");
        letters.extend(of_topic);
    }
    for ((n, (record, operation, account)), (reply, at)) in
        cases.iter().enumerate().zip(replies.iter().zip(&commands))
    {
        let what = format!("case {n} {record:?}: {reply:#?}");
        assert_eq!(reply.end(), ("FAILED", "UNREADABLE", 0, false), "{what}");
        assert_eq!(reply.text("operation"), *operation, "{what}");
        assert_eq!(reply.text("account"), *account, "{what}");
        assert!(!reply.text("message").is_empty(), "{what}");
        assert_eq!(reply.text("commandId"), at.to_string(), "{what}");
        assert_eq!(reply.record.key.as_deref(), Some([0xff, 0].as_slice()), "{what}");
        let nth = n.to_string();
        let letter = letters.iter().find(|letter| letter.header("n") == Some(&nth)).unwrap();
        is_dead_letter(letter, record, at, reply);
    }
    assert_eq!(desk.books().requests.len(), good.len());
    desk.close().await;
}

/// rdkafka panics at such a name: the process ended, and again after each restart.
async fn a_header_whose_name_is_not_text(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let (own, mixed) = (desk.own(Operation::CreateOrder), desk.mixed());
    let (order, other) = (samples::small_order("H-1"), samples::small_order("H-2"));
    let mut at = Vec::new();
    for record in [
        desk.json(&order).partition(1).header(b"x-\xff", "1").header("kept", "yes"),
        desk.mixed_json(&order).partition(1).header("kept", "yes").header([0xc3; 200], [0xff]),
        // Twice, and around one that is read.
        desk.json(&order)
            .partition(1)
            .header([0xff], "1")
            .header("kept", "yes")
            .header([0xff], "2"),
    ] {
        at.push(desk.send(record).await);
    }
    let good = desk.send(desk.json(&other).partition(1)).await;
    assert_eq!(desk.reply(&good).await.end(), ("SUCCEEDED", "NONE", 1, false));
    for (reply, name) in desk.replies(&at).await.iter().zip(["x-\\xff", "\\xc3", "\\xff"]) {
        assert_eq!(reply.end(), ("FAILED", "UNREADABLE", 0, false), "{reply:#?}");
        assert!(reply.text("message").contains(name), "{reply:#?}");
    }
    for (topic, count) in [(&own, 2), (&mixed, 1)] {
        let letters = env.read_all(&desk.app.config.topics.dlq(topic), count, PATIENCE).await;
        assert_eq!(letters.len(), count);
        for letter in letters {
            assert_eq!(letter.header("kept"), Some("yes"), "{letter:?}");
            assert_eq!(letter.header("wms_headers_dropped"), Some("true"), "{letter:?}");
            assert!(letter.value.is_some_and(|value| !value.is_empty()));
        }
    }
    assert_eq!(desk.books().requests.len(), 1);
    desk.close().await;
}

fn is_dead_letter(letter: &Record, command: &Outgoing, at: &super::desk::At, reply: &Reply) {
    assert_eq!(letter.value.as_deref(), command.payload(), "{letter:?}");
    assert_eq!(letter.key.as_deref(), Some([0xff, 0].as_slice()));
    let headers = headers(letter);
    let (theirs, ours) = headers.split_at(headers.len() - 10);
    assert_eq!(theirs.len(), command.header_count() + 2, "{letter:?}");
    assert_eq!(theirs[theirs.len() - 2], ("x", [0xff].as_slice()));
    let names: Vec<&str> = ours.iter().map(|(name, _)| *name).collect();
    let expected = [
        "__connect.errors.topic",
        "__connect.errors.partition",
        "__connect.errors.offset",
        "__connect.errors.connector.name",
        "__connect.errors.task.id",
        "__connect.errors.stage",
        "__connect.errors.class.name",
        "__connect.errors.exception.class.name",
        "__connect.errors.exception.message",
        "wms_attempts",
    ];
    assert_eq!(names, expected);
    let header = |name: &str| letter.header(&format!("__connect.errors.{name}")).unwrap();
    assert_eq!(header("topic"), at.topic);
    assert_eq!(header("partition"), at.partition.to_string());
    assert_eq!(header("offset"), at.offset.to_string());
    assert_eq!(header("connector.name"), "wms-connector");
    assert!(header("task.id").parse::<u32>().is_ok());
    assert_eq!(header("exception.message"), reply.text("message"));
    assert_eq!(letter.header("wms_attempts"), Some("0"));
}

async fn a_dead_letter_that_comes_again(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let own = desk.own(Operation::CreateOrder);
    let record = Outgoing::to(&own).key("k").value("<order/>").header("x", "1");
    let again = record.clone().header("__connect.errors.topic", "another");
    let again = again.header("__connect.errors.exception.message", "an older one");
    let again = again.header("wms_attempts", "7");
    let at = desk.send(again).await;
    let reply = desk.reply(&at).await;
    assert_eq!(reply.end(), ("FAILED", "UNREADABLE", 0, false), "{reply:#?}");
    let letters = env.read_all(&desk.app.config.topics.dlq(&own), 1, PATIENCE).await;
    is_replaced(&letters[0], &own);
    desk.close().await;
}

async fn more_than_the_settings_allow(env: &TestEnv) {
    let limits = "[commands.reading]\nmax_bytes = \"4KiB\"\nmax_values = 40\nmax_depth = 8\n";
    let more = format!("{QUICK}{limits}");
    let desk = Desk::open_with(env, Options { more, ..options() }).await;
    let sample = samples::small_order("L-1");
    let free = |value: serde_json::Value| {
        let fields = serde_json::json!({"x": value});
        desk.json(&sample.clone().with("/vendorFields", fields))
    };
    let deep = (0..8).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner]));
    for (record, end, says) in [
        (free("y".repeat(4096).into()), ("FAILED", "UNREADABLE", 0, false), "more than 4096"),
        (free(vec![0; 60].into()), ("REJECTED", "INVALID", 0, false), "too many values"),
        (free(deep), ("FAILED", "UNREADABLE", 0, false), "nested"),
        (free("y".into()), ("SUCCEEDED", "NONE", 1, false), ""),
    ] {
        let reply = desk.ask(record).await;
        assert_eq!(reply.end(), end, "{reply:#?}");
        assert!(reply.text("message").contains(says), "{reply:#?}");
    }
    desk.close().await;
}

/// A second hop replaces the headers of the first, and never appends.
fn is_replaced(letter: &Record, topic: &str) {
    let count = |name: &str| letter.headers.iter().filter(|(n, _)| n == name).count();
    for name in
        ["x", "__connect.errors.topic", "__connect.errors.exception.message", "wms_attempts"]
    {
        assert_eq!(count(name), 1, "{name} of {letter:?}");
    }
    assert_eq!(letter.header("__connect.errors.topic"), Some(topic));
    assert_eq!(letter.header("wms_attempts"), Some("0"));
}
