//! Commands and replies in Confluent's wire format, with a real registry.

use serde_json::Value;
use wms_connector::{
    avro::{self, Prefix, SCHEMA_ID_HEADER, schemas},
    domain::Operation,
};

use super::{
    desk::{At, Desk, options},
    samples::{self, Sample},
};
use crate::support::{
    app::Options,
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    kafka: framed_by_the_registry;
}

async fn framed_by_the_registry(env: &TestEnv) {
    let registry = env.registry();
    let url = Some(registry.url().to_owned());
    let desk = Desk::open_with(env, Options { registry: url, ..options() }).await;
    // The schemas stand under the topics' subjects, where producers look for them.
    let subjects = registry.subjects().await.unwrap();
    let id = async |subject: String, operation: Operation| {
        assert!(subjects.contains(&subject), "{subject} is not in {subjects:?}");
        let schema = schemas::of_record(operation.record()).unwrap().text;
        registry.register(&subject, schema).await.unwrap()
    };
    let mut commands: Vec<(Sample, At)> = Vec::new();
    for sample in samples::all("own") {
        let topic = desk.own(sample.operation);
        let id = id(format!("{topic}-value"), sample.operation).await;
        commands.push(sent(&desk, &topic, &sample, id).await);
    }
    for sample in samples::all("mixed") {
        let topic = desk.mixed();
        let id = id(format!("{topic}-{}", sample.operation.record()), sample.operation).await;
        commands.push(sent(&desk, &topic, &sample, id).await);
    }
    // The id in a header, the payload bare.
    for (n, sample) in samples::all("header").into_iter().enumerate() {
        let topic = desk.own(sample.operation);
        let id = id(format!("{topic}-value"), sample.operation).await;
        let framed = framed(&sample, id);
        let (head, datum) = framed.split_at(5);
        assert_eq!(head[0], 0, "{n}");
        let record = Outgoing::to(&topic).key(&sample.number).value(datum);
        let at = desk.send(record.header(SCHEMA_ID_HEADER, head)).await;
        commands.push((sample, at));
    }
    // JSON and single-object encoding are read all the same.
    for sample in samples::all("json") {
        let at = desk.send(desk.json(&sample)).await;
        commands.push((sample, at));
    }
    for sample in samples::all("single") {
        let at = desk.send(desk.avro(&desk.mixed(), &sample)).await;
        commands.push((sample, at));
    }
    let places: Vec<At> = commands.iter().map(|(_, at)| at.clone()).collect();
    let topic = desk.default_replies();
    let records = desk.reply_records(&topic, &places).await;
    let subject = format!("{topic}-value");
    let reply_schema = schemas::of_record(schemas::COMMAND_REPLY).unwrap().text;
    let reply_id = registry.register(&subject, reply_schema).await.unwrap();
    let books = desk.books();
    for ((sample, _), record) in commands.iter().zip(&records) {
        assert_eq!(record.unframe().0, reply_id);
        // Read with the registry's schema, by other code than the connector's.
        let says = registry.decode_json(record.value()).await.unwrap();
        assert_eq!(says["status"], "SUCCEEDED", "{says:#}");
        assert_eq!(says["documentNumber"], sample.number.as_str(), "{says:#}");
        assert_eq!(sample.kept(&books).unwrap().request, sample.asked);
    }
    assert_eq!(books.orders.len() + books.asns.len(), commands.len());

    // An id that the registry does not know.
    let record = Outgoing::to(desk.own(Operation::CreateOrder)).key("k");
    let at = desk.send(record.value([0, 0x7f, 0xff, 0xff, 0xff, 2, b'x'])).await;
    let records = desk.reply_records(&topic, &[at]).await;
    let says: Value = registry.decode_json(records[0].value()).await.unwrap();
    assert_eq!((&says["status"], &says["category"]), (&"FAILED".into(), &"UNREADABLE".into()));
    desk.close().await;
}

fn framed(sample: &Sample, id: u32) -> Vec<u8> {
    let json = sample.command.to_string();
    avro::encode_command(sample.operation, &json, Prefix::Confluent(id)).unwrap()
}

async fn sent(desk: &Desk<'_>, topic: &str, sample: &Sample, id: u32) -> (Sample, At) {
    let record = Outgoing::to(topic).key(&sample.number).value(framed(sample, id));
    (sample.clone(), desk.send(record).await)
}
