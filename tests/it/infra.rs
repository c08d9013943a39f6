//! The test infrastructure itself: if one of these fails, look here first.

use std::{collections::BTreeSet, process::Command, time::Duration};

use apache_avro::types::Value;
use serde_json::json;

use crate::support::{
    backend::{self, Outgoing, TestEnv},
    kafka::Broker,
    parts,
    process::Watched,
    suite::tests,
};

tests! {
    both: round_trip, partitions_and_offsets, an_empty_topic_reads_as_nothing, group_metadata;
    mock: a_fault_can_be_injected;
    kafka: aborted_transactions_are_hidden, killed_broker_keeps_what_it_acknowledged,
        a_process_dies_with_its_holder, registry_answers_compatibility, python_reads_a_record,
        python_sends_a_command;
}

const SOON: Duration = Duration::from_secs(20);

const SCHEMA: &str = r#"{"type": "record", "name": "Level", "namespace": "test", "fields": [
    {"name": "sku", "type": "string"}, {"name": "total", "type": "long"}]}"#;

async fn round_trip(env: &TestEnv) {
    let topic = env.name("round-trip");
    env.create_topic(&topic, 1).await;
    let record = Outgoing::to(&topic).key("订单-1").value("数据").header("ce_id", "1");
    let sent = env.send(record.header("ce_id", [0, 255])).await;
    env.send(Outgoing::to(&topic)).await;

    let records = env.read_all(&topic, 2, SOON).await;
    assert_eq!(records[0].offset, sent.offset);
    assert_eq!(records[0].key(), "订单-1");
    assert_eq!(records[0].value(), "数据".as_bytes());
    assert_eq!(records[0].headers.len(), 2);
    assert_eq!(records[0].header_bytes("ce_id"), Some([0, 255].as_slice()));
    assert_eq!((records[1].key.as_ref(), records[1].value.as_ref()), (None, None));
}

async fn partitions_and_offsets(env: &TestEnv) {
    let topic = env.name("partitions");
    env.create_topic(&topic, 3).await;
    for partition in [2, 0, 2] {
        env.send(Outgoing::to(&topic).partition(partition).value("x")).await;
    }
    let records = env.read_now(&topic).await;
    let places: BTreeSet<_> = records.iter().map(|r| (r.partition, r.offset)).collect();
    assert_eq!(places, BTreeSet::from([(0, 0), (2, 0), (2, 1)]));
}

async fn an_empty_topic_reads_as_nothing(env: &TestEnv) {
    let topic = env.name("empty");
    env.create_topic(&topic, 2).await;
    assert_eq!(env.read_now(&topic).await, []);
    let (complete, records) =
        backend::read(env.bootstrap_servers(), &topic, Duration::from_millis(300), |r| {
            !r.is_empty()
        })
        .await;
    assert_eq!((complete, records), (false, vec![]));
}

async fn group_metadata(env: &TestEnv) {
    let (topic, group) = (env.name("committed"), env.name("group"));
    env.create_topic(&topic, 2).await;
    env.commit(&group, &topic, 1, 7, "finished 9").await;
    let committed = env.committed(&group, &topic).await;
    assert_eq!(committed, [(0, None, String::new()), (1, Some(7), "finished 9".to_owned())]);
}

async fn a_fault_can_be_injected(env: &TestEnv) {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaErrorCode, RDKafkaRespErr};
    let topic = env.name("faults");
    env.create_topic(&topic, 1).await;
    let cluster = env.mock_cluster().unwrap();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
    let producer = env.producer();
    let refused = backend::try_send(&producer, Outgoing::to(&topic).value("x")).await;
    let code = refused.unwrap_err().rdkafka_error_code();
    assert_eq!(code, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
}

async fn aborted_transactions_are_hidden(env: &TestEnv) {
    let topic = env.name("transactions");
    env.create_topic(&topic, 1).await;
    let servers = env.bootstrap_servers();
    let id = env.name("writer");
    let record = |text: &str| vec![Outgoing::to(&topic).value(text)];
    backend::transact(servers, &id, record("committed"), true).await;
    backend::transact(servers, &id, record("aborted"), false).await;
    backend::transact(servers, &id, record("committed, too"), true).await;
    let records = env.read_now(&topic).await;
    let values: Vec<_> = records.iter().map(|r| String::from_utf8_lossy(r.value())).collect();
    assert_eq!(values, ["committed", "committed, too"]);
}

async fn killed_broker_keeps_what_it_acknowledged(_: &TestEnv) {
    let mut broker = Broker::start().unwrap();
    let servers = broker.bootstrap_servers();
    backend::create_topic(&servers, "kept", 1, &[]).await;
    let producer = backend::producer(&servers);
    for n in 0..100 {
        backend::send(&producer, Outgoing::to("kept").value(n.to_string())).await;
    }
    broker.kill9();
    assert!(std::net::TcpStream::connect(&servers).is_err());
    broker.restart().unwrap();
    assert_eq!(broker.bootstrap_servers(), servers);
    backend::send(&producer, Outgoing::to("kept").value("100")).await;
    let records = backend::read_now(&servers, "kept").await;
    let values: Vec<_> = records.iter().map(|r| String::from_utf8_lossy(r.value())).collect();
    assert_eq!(values, (0..=100).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn a_process_dies_with_its_holder(_: &TestEnv) {
    let folder = parts::temporary_dir("held-").unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    // The child writes its own id, so that it can be looked for from outside.
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ >&2; exec sleep 600"]);
    let output = folder.path().join("output");
    let process = Watched::start(&command, &output, Some(&data)).unwrap();
    let pid = loop {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        if let Ok(pid) = text.trim().parse::<u32>() {
            break pid;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let alive = || Command::new("kill").args(["-0", &pid.to_string()]).output().unwrap().status;
    assert!(alive().success());
    drop(process);
    assert!(!alive().success(), "the child has outlived its holder");
    assert!(!data.exists(), "its folder is still there");
}

async fn registry_answers_compatibility(env: &TestEnv) {
    let registry = env.registry();
    let subject = env.name("levels-value");
    let id = registry.register(&subject, SCHEMA).await.unwrap();
    assert_eq!(registry.register(&subject, SCHEMA).await, Ok(id));
    assert!(registry.subjects().await.unwrap().contains(&subject));

    let wider = |field: &str| SCHEMA.replace("]}", &format!(", {field}]}}"));
    let with_default = wider(r#"{"name": "locked", "type": "long", "default": 0}"#);
    let without = wider(r#"{"name": "locked", "type": "long"}"#);
    assert_eq!(registry.is_compatible(&subject, &with_default).await, Ok(true));
    assert_eq!(registry.is_compatible(&subject, &without).await, Ok(false));
    assert!(registry.register(&subject, &without).await.is_err());
}

async fn python_reads_a_record(env: &TestEnv) {
    let registry = env.registry();
    let topic = env.name("levels");
    env.create_topic(&topic, 1).await;
    let id = registry.register(&format!("{topic}-value"), SCHEMA).await.unwrap();
    let level = Value::Record(vec![
        ("sku".to_owned(), Value::String("衬衫-红".to_owned())),
        ("total".to_owned(), Value::Long(7)),
    ]);
    let framed = registry.encode(id, level).await.unwrap();
    let expected = json!({"sku": "衬衫-红", "total": 7});
    assert_eq!(registry.decode_json(&framed).await, Ok(expected.clone()));
    env.send(Outgoing::to(&topic).key("k").value(framed).header("ce_id", "1")).await;

    let arguments =
        [env.bootstrap_servers(), registry.url(), "--count", "1", "--timeout", "20", &topic];
    let lines = env.python().run("read_events.py", &arguments, Duration::from_secs(40)).await;
    let lines = lines.unwrap();
    assert_eq!(
        lines,
        [json!({
            "topic": topic, "partition": 0, "offset": 0,
            "key": hex::encode("k"), "headers": [["ce_id", hex::encode("1")]], "value": expected,
        })]
    );
}

async fn python_sends_a_command(env: &TestEnv) {
    let registry = env.registry();
    let (topic, replies) = (env.name("commands.levels"), env.name("replies"));
    for name in [&topic, &replies] {
        env.create_topic(name, 1).await;
        registry.register(&format!("{name}-value"), SCHEMA).await.unwrap();
    }
    // In the connector's place: whatever is sent comes back as the reply.
    let echo = async {
        let records = env.read_all(&topic, 1, Duration::from_secs(30)).await;
        let command = &records[0];
        let correlation = command.header_bytes("kafka_correlationId").unwrap();
        let reply = Outgoing::to(command.header("kafka_replyTopic").unwrap());
        env.send(reply.value(command.value()).header("kafka_correlationId", correlation)).await;
        records[0].clone()
    };
    let command = json!({"sku": "A", "total": 3}).to_string();
    let arguments = [
        env.bootstrap_servers(),
        registry.url(),
        &topic,
        &command,
        "--key",
        "A",
        "--reply-topic",
        &replies,
        "--timeout",
        "20",
    ];
    let python = env.python();
    let sending = python.run("send_command.py", &arguments, Duration::from_secs(40));
    let (record, lines) = tokio::join!(echo, sending);
    let lines = lines.unwrap();
    assert_eq!(record.key(), "A");
    assert_eq!(
        registry.decode_json(record.value()).await.unwrap(),
        json!({"sku": "A", "total": 3})
    );
    assert_eq!(
        lines[0]["correlation_id"],
        hex::encode(record.header_bytes("kafka_correlationId").unwrap())
    );
    assert_eq!(lines[1]["value"], json!({"sku": "A", "total": 3}));
}
