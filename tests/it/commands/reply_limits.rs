//! Replies that cannot be written as they are, or not now: every command gets one all the same.

use rdkafka::admin::AdminOptions;
use serde_json::{Value, json};
use wms_connector::{
    domain::Operation,
    sandbox::{Fault, FaultRule, Vendor},
};

use super::{
    desk::Desk,
    metrics,
    samples::{self, Sample},
};
use crate::support::{
    backend::{self, Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: a_key_that_fills_a_record, a_number_without_end, names_that_are_no_topics;
    kafka: topics_that_take_less, the_topics_are_gone_and_come_back;
    mock: no_broker_while_a_reply_is_due;
}

/// What a client puts into one record at most.
const RECORD: usize = 1_000_000;

async fn a_key_that_fills_a_record(env: &TestEnv) {
    let desk = Desk::open(env).await;
    // The command fits, and nothing that has its key and says more than it.
    let huge = |value: &str| vec![b'k'; RECORD - value.len() - 100];
    let sample = samples::small_order("K-1");
    let (good, bad) = (sample.command.to_string(), "{".to_owned());
    let mut places = Vec::new();
    for value in [&good, &bad] {
        let record = Outgoing::to(desk.own(sample.operation)).partition(0).key(huge(value));
        places.push(desk.send(record.value(value)).await);
    }
    // The partition goes on behind them.
    let next = desk.send(desk.json(&samples::small_order("K-2")).partition(0)).await;
    assert_eq!(desk.reply(&next).await.end(), ("SUCCEEDED", "NONE", 1, false));
    let replies = desk.replies(&places).await;
    assert_eq!(replies[0].end(), ("SUCCEEDED", "NONE", 1, false));
    assert_eq!(replies[1].end(), ("FAILED", "UNREADABLE", 0, false));
    for reply in &replies {
        assert_eq!(reply.record.key, None);
        let error = reply.record.header("wms_reply_error").unwrap();
        assert!(error.contains("too large"), "{error}");
    }
    let letters = desk.dead_letters(&places[1].topic).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].key, &letters[0].value), (&None, &None));
    assert_eq!(letters[0].header("wms_value_dropped"), Some("true"));
    assert_eq!(letters[0].header("wms_key_dropped"), Some("true"));
    let offset = places[1].offset.to_string();
    assert_eq!(letters[0].header("__connect.errors.offset"), Some(offset.as_str()));
    desk.close().await;
}

/// What the command says of itself comes back on its reply, and is as long as its sender likes.
async fn a_number_without_end(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let long = "9".repeat(400_000);
    let sample = samples::small_order("E-1").with("/orderNumber", long.as_str());
    let sample = sample.with("/commandId", long.as_str());
    let reply = desk.ask(desk.json(&sample)).await;
    assert_eq!((reply.text("status"), reply.text("category")), ("REJECTED", "INVALID"));
    assert_eq!(reply.text("field"), "orderNumber");
    for name in ["documentNumber", "commandId"] {
        let text = reply.text(name);
        assert!(text.starts_with("999") && text.ends_with('…'), "{name}: {}", text.len());
    }
    assert_eq!(reply.record.key(), "E-1");
    desk.close().await;
}

async fn names_that_are_no_topics(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let names = [
        "replies.a b/ü".to_owned(),
        format!("replies.{}", "x".repeat(300)),
        "replies.no".to_owned(),
    ];
    let mut places = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let record = desk.json(&samples::small_order(&format!("N-{n}")));
        let record = record.header("kafka_replyTopic", env.name(name));
        places.push(desk.send(record.header("kafka_correlationId", [n as u8])).await);
    }
    for (n, reply) in desk.replies(&places).await.iter().enumerate() {
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
        assert!(reply.record.header("wms_reply_error").is_some(), "{reply:#?}");
        let correlation = reply.record.header_bytes("kafka_correlationId");
        assert_eq!(correlation, Some([n as u8].as_slice()));
    }
    let page = desk.app.metrics().await;
    assert_eq!(metrics::sum(&page, "wms_reply_errors_total", &[]), 3.0);
    desk.close().await;
}

/// An order whose answer is large: Qianyi gives the whole order back.
fn with_lines(number: &str, lines: usize) -> Sample {
    let sample = samples::qianyi_order(number);
    let line = |n: usize| json!({"sku": format!("SKU-{n}"), "quantity": 1, "paidAmount": "1"});
    sample.with("/lines", (0..lines).map(line).collect::<Vec<Value>>())
}

async fn topics_that_take_less(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let (some, none) = (env.name("replies.some"), env.name("replies.none"));
    env.create_topic_with(&some, 1, &[("max.message.bytes", "3000")]).await;
    env.create_topic_with(&none, 1, &[("max.message.bytes", "200")]).await;
    let mut places = Vec::new();
    for (number, topic) in [("L-1", &some), ("L-2", &none)] {
        let record = desk.json(&with_lines(number, 300)).header("kafka_replyTopic", topic);
        places.push(desk.send(record.header("kafka_correlationId", number)).await);
    }
    let cut = desk.replies_on(&some, &places[..1]).await.remove(0);
    let diverted = desk.replies(&places[1..]).await.remove(0);
    for (reply, number) in [(&cut, "L-1"), (&diverted, "L-2")] {
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
        assert_eq!(reply.text("documentNumber"), number);
        assert!(reply.says["vendorReference"].is_string(), "{reply:#?}");
        assert_eq!(reply.says["result"], Value::Null);
        assert_eq!(reply.says["resultTruncated"], json!(true));
        assert_eq!(reply.record.header("kafka_correlationId"), Some(number));
        assert_eq!(reply.record.key(), number);
    }
    assert_eq!(cut.record.header("wms_reply_error"), None);
    let error = diverted.record.header("wms_reply_error").unwrap_or_default();
    assert!(error.contains(&none) && error.contains("size"), "{error}");
    assert_eq!(env.read_now(&none).await, []);
    // Where there is room, all of it comes.
    let whole = desk.ask(desk.json(&with_lines("L-3", 300))).await;
    assert_eq!(whole.says["resultTruncated"], json!(false));
    assert!(whole.text("result").len() > 3_000);
    desk.close().await;
}

/// The place up to which the group has committed a command's partition.
async fn committed(desk: &Desk<'_>, at: &super::desk::At) -> i64 {
    let group = &desk.app.config.commands.group_id;
    let committed = desk.env.committed(group, &at.topic).await;
    let of = committed.iter().find(|(partition, ..)| *partition == at.partition);
    of.and_then(|(_, offset, _)| *offset).unwrap_or(0)
}

/// Somebody deletes the default reply topic and a dead-letter topic: what is due is held back, its
/// offset with it, and written once they are there again.
async fn the_topics_are_gone_and_come_back(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let before = desk.ask(desk.json(&samples::small_order("G-0")).partition(0)).await;
    assert_eq!(before.end(), ("SUCCEEDED", "NONE", 1, false));
    let (replies, own) = (desk.default_replies(), desk.own(Operation::CreateOrder));
    let dlq = desk.app.config.topics.dlq(&own);
    let admin = backend::admin(env.bootstrap_servers());
    admin.delete_topics(&[&replies, &dlq], &AdminOptions::new()).await.unwrap();

    let good = desk.send(desk.json(&samples::small_order("G-1")).partition(0)).await;
    let bad = desk.send(Outgoing::to(&own).partition(1).key("G-2").value("{")).await;
    desk.app.until("carried out", || desk.books().order(Vendor::Jfwms, "G-1").is_some()).await;
    // Behind a reply that is held back, the next of another key is carried out, and held back too.
    let next = desk.send(desk.json(&samples::small_order("G-3")).partition(0)).await;
    desk.app.until("carried out", || desk.books().order(Vendor::Jfwms, "G-3").is_some()).await;
    assert!(committed(&desk, &good).await <= good.offset);
    assert!(committed(&desk, &bad).await <= bad.offset);

    env.create_topic(&replies, 3).await;
    let found = desk.replies(&[good.clone(), bad.clone(), next.clone()]).await;
    assert_eq!(found[0].end(), ("SUCCEEDED", "NONE", 1, false));
    assert_eq!(found[1].end(), ("FAILED", "UNREADABLE", 0, false));
    assert_eq!(found[2].end(), ("SUCCEEDED", "NONE", 1, false));
    // Its dead letter is still due.
    assert!(committed(&desk, &bad).await <= bad.offset);
    env.create_topic(&dlq, 1).await;
    let letters = env.read_all(&dlq, 1, crate::support::app::PATIENCE).await;
    assert_eq!(letters[0].key(), "G-2");
    for number in ["G-1", "G-3"] {
        let effects = desk.books().effects_of(Vendor::Jfwms, number);
        assert_eq!(effects.len(), 1, "{number}: {effects:?}");
    }
    let deadline = std::time::Instant::now() + crate::support::app::PATIENCE;
    while committed(&desk, &next).await <= next.offset || committed(&desk, &bad).await <= bad.offset
    {
        assert!(std::time::Instant::now() < deadline, "the offsets are not committed");
    }
    desk.close().await;
}

async fn no_broker_while_a_reply_is_due(env: &TestEnv) {
    let desk = Desk::open(env).await;
    desk.ask(desk.json(&samples::small_order("B-0"))).await;
    let slow = Fault::Latency { ms: 1_000, jitter_ms: 0, after_work: true };
    desk.fault(FaultRule::new(Vendor::Jfwms, "/api/order/create", slow).times(1));
    let sample = samples::small_order("B-1");
    let at = desk.send(desk.json(&sample)).await;
    desk.app.until("carried out", || sample.kept(&desk.books()).is_some()).await;
    let cluster = env.mock_cluster().unwrap();
    cluster.broker_down(1).unwrap();
    // The vendor has answered: the reply is due.
    let of = |page: &str| {
        metrics::sum(page, "wms_vendor_requests_total", &[("class", "succeeded")]) >= 2.0
    };
    desk.until(of).await;
    assert_eq!(metrics::sum(&desk.app.metrics().await, "wms_commands_total", &[]), 1.0);
    cluster.broker_up(1).unwrap();
    let reply = desk.reply(&at).await;
    assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    assert_eq!(desk.books().effects_of(Vendor::Jfwms, "B-1").len(), 1);
    desk.close().await;
}
