//! Where a reply goes, in which form, with which headers.

use serde_json::json;
use wms_connector::{domain::Operation, sandbox::Vendor};

use super::{
    desk::{Desk, Reply},
    samples,
};
use crate::support::{
    app::JFWMS,
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: headers, the_topic_that_the_command_names, a_topic_that_cannot_be_used;
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn headers(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let sample = samples::small_order("H-1");
    let id = [0, 0xff, b'\n', b'x', 0xc3];
    let record = desk.json(&sample).header("kafka_correlationId", id);
    let record = record.header("traceparent", TRACE).header("somebody's", "own");
    let at = desk.send(record).await;
    let reply = desk.reply(&at).await;
    assert_eq!(reply.record.key(), "H-1");
    let mut names: Vec<&str> = reply.record.headers.iter().map(|(n, _)| n.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "ce_id",
        "ce_source",
        "ce_specversion",
        "ce_subject",
        "ce_time",
        "ce_type",
        "content-type",
        "kafka_correlationId",
        "traceparent",
    ];
    assert_eq!(names, expected);
    let header = |name| reply.record.header(name).unwrap();
    assert_eq!(reply.record.header_bytes("kafka_correlationId"), Some(id.as_slice()));
    assert_eq!(header("ce_id"), format!("reply-{}-{}-{}", at.topic, at.partition, at.offset));
    assert_eq!(header("ce_specversion"), "1.0");
    assert_eq!(header("ce_type"), "wms.commands.CommandReply");
    assert_eq!(header("ce_source"), format!("/jfwms/{JFWMS}"));
    assert_eq!(header("ce_subject"), "H-1");
    assert_eq!(header("content-type"), "application/avro");
    assert_eq!(header("traceparent"), TRACE);
    assert!(header("ce_time").parse::<jiff::Timestamp>().is_ok());

    // Without a trace one is started; without a correlation there is none.
    let reply = desk.ask(desk.json(&samples::small_order("H-2"))).await;
    let trace: Vec<&str> = reply.record.header("traceparent").unwrap().split('-').collect();
    let lengths: Vec<usize> = trace.iter().map(|part| part.len()).collect();
    assert_eq!((trace[0], lengths), ("00", vec![2, 32, 16, 2]));
    assert_eq!(reply.record.header_bytes("kafka_correlationId"), None);
    desk.close().await;
}

async fn the_topic_that_the_command_names(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let own = env.name("replies.shop");
    env.create_topic(&own, 3).await;
    let to_own = |record: Outgoing, partition: i32| {
        let record = record.header("kafka_replyTopic", &own).header("kafka_correlationId", [9]);
        record.header("kafka_replyPartition", partition.to_be_bytes())
    };
    let json = samples::small_order("T-1");
    let avro = samples::small_order("T-2");
    let plain = samples::small_order("T-3");
    let unreadable = Outgoing::to(desk.own(Operation::CreateOrder)).value("{");
    let commands = [
        desk.send(to_own(desk.json(&json), 2)).await,
        desk.send(to_own(desk.avro(&desk.own(avro.operation), &avro), 1)).await,
        desk.send(desk.json(&plain).header("kafka_replyTopic", &own)).await,
        desk.send(to_own(unreadable, 0)).await,
    ];
    let replies = desk.replies_on(&own, &commands).await;
    let form = |reply: &Reply| {
        let first = reply.record.value()[0];
        (reply.record.header("content-type").unwrap().to_owned(), first)
    };
    assert_eq!(form(&replies[0]), ("application/json".to_owned(), b'{'));
    assert_eq!(form(&replies[1]), ("application/avro".to_owned(), 0xc3));
    assert_eq!(form(&replies[2]), ("application/json".to_owned(), b'{'));
    assert_eq!(form(&replies[3]), ("application/json".to_owned(), b'{'));
    assert_eq!(replies[0].record.partition, 2);
    assert_eq!(replies[1].record.partition, 1);
    assert_eq!(replies[3].record.partition, 0);
    for reply in &replies {
        assert_eq!(reply.record.header("wms_reply_error"), None);
        assert_eq!(reply.record.header("ce_type"), Some("wms.commands.CommandReply"));
    }
    assert_eq!(replies[0].record.header_bytes("kafka_correlationId"), Some([9].as_slice()));
    assert_eq!(replies[0].text("status"), "SUCCEEDED");
    assert!(replies[0].text("completedAt").ends_with('Z'), "{:#?}", replies[0]);
    assert_eq!(replies[3].text("status"), "FAILED");
    assert_eq!(env.read_now(&desk.default_replies()).await, []);

    // The default topic by its name: always Avro.
    let record = desk.json(&samples::small_order("T-4"));
    let record = record.header("kafka_replyTopic", desk.default_replies());
    let reply = desk.ask(record.header("kafka_replyPartition", 1_i32.to_be_bytes())).await;
    assert_eq!(form(&reply), ("application/avro".to_owned(), 0xc3));
    assert_eq!(reply.record.partition, 1);
    desk.close().await;
}

async fn a_topic_that_cannot_be_used(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let (narrow, foreign) = (env.name("replies.narrow"), env.name("orders"));
    env.create_topic(&narrow, 1).await;
    env.create_topic(&foreign, 1).await;
    let missing = env.name("replies.missing");
    let zero = 0_i32.to_be_bytes();
    let cases: [(&str, &str, &[u8]); 5] = [
        ("E-1", &foreign, &zero),
        ("E-2", &missing, &zero),
        ("E-3", &narrow, &1_i32.to_be_bytes()),
        ("E-4", &narrow, b"0"),
        ("E-5", &narrow, &(-1_i32).to_be_bytes()),
    ];
    let mut commands = Vec::new();
    for (number, topic, partition) in cases {
        let record = desk.json(&samples::small_order(number)).header("kafka_replyTopic", topic);
        let record = record.header("kafka_replyPartition", partition);
        commands.push(desk.send(record.header("kafka_correlationId", number)).await);
    }
    for (reply, (number, topic, _)) in desk.replies(&commands).await.iter().zip(cases) {
        assert_eq!(reply.text("status"), "SUCCEEDED", "{number}");
        assert_eq!(reply.record.header("content-type"), Some("application/avro"), "{number}");
        assert_eq!(reply.record.header("kafka_correlationId"), Some(number));
        let error = reply.record.header("wms_reply_error").unwrap_or_default();
        let said = error.contains(topic) || error.contains("kafka_replyPartition");
        assert!(said, "{number}: {error:?}");
        let effects = desk.books().effects_of(Vendor::Jfwms, number);
        assert_eq!(json!(effects), json!(["order-created"]), "{number}");
    }
    assert_eq!(env.read_now(&narrow).await, []);
    assert_eq!(env.read_now(&foreign).await, []);
    let metrics = desk.app.metrics().await;
    let counted = super::metrics::sum(&metrics, "wms_reply_errors_total", &[]);
    assert_eq!(counted, 5.0, "{metrics}");
    desk.close().await;
}
