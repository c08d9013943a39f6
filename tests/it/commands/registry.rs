//! Commands and replies in Confluent's wire format, with a real registry.

use apache_avro::types::Value as AvroValue;
use serde_json::{Value, json};
use uuid::Uuid;
use wms_connector::{
    avro::{self, Prefix, SCHEMA_ID_HEADER, schemas},
    domain::Operation,
};

use super::{
    desk::{At, Desk, options},
    samples::{self, Sample},
};
use crate::support::{
    app::{JFWMS, Options},
    backend::{Outgoing, TestEnv},
    registry_front::RegistryFront,
    suite::tests,
};

tests! {
    kafka: framed_by_the_registry, named_by_a_guid, a_registry_that_is_away_is_waited_for;
}

async fn framed_by_the_registry(env: &TestEnv) {
    let registry = env.registry();
    let url = Some(registry.url().to_owned());
    let desk = Desk::open_with(env, Options { registry: url, ..options() }).await;
    // The schemas stand under the topics' subjects, where producers look for them.
    let subjects = registry.subjects().await.unwrap();
    let id = async |subject: String, operation: Operation| {
        assert!(subjects.contains(&subject), "{subject} is not in {subjects:?}");
        let schema = &schemas::of_record(operation.record()).unwrap().text;
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
    let reply_schema = &schemas::of_record(schemas::COMMAND_REPLY).unwrap().text;
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

/// A header with a GUID, the payload bare: how Confluent's newest serializers frame a record.
async fn named_by_a_guid(env: &TestEnv) {
    let front = RegistryFront::start(env.registry().url()).await;
    let url = Some(front.url().to_owned());
    let desk = Desk::open_with(env, Options { registry: url, ..options() }).await;
    let mut commands = Vec::new();
    for sample in samples::all("guid") {
        let guid = Uuid::from_u128(rand::random());
        front.give_guid(guid, &schemas::of_record(sample.operation.record()).unwrap().text);
        let header = [&[1], guid.as_bytes().as_slice()].concat();
        for (topic, key) in [(desk.own(sample.operation), "o"), (desk.mixed(), "m")] {
            let number = format!("{}-{key}", sample.number);
            let sample = sample.clone().with(number_of(&sample), number.as_str());
            let datum = framed(&sample, 0).split_off(5);
            let record = Outgoing::to(&topic).key(&number).value(datum);
            commands.push((number, desk.send(record.header(SCHEMA_ID_HEADER, &header)).await));
        }
    }
    let places: Vec<At> = commands.iter().map(|(_, at)| at.clone()).collect();
    let records = desk.reply_records(&desk.default_replies(), &places).await;
    for ((number, _), record) in commands.iter().zip(&records) {
        let says = env.registry().decode_json(record.value()).await.unwrap();
        assert_eq!(
            (&says["status"], &says["documentNumber"]),
            (&"SUCCEEDED".into(), &number.as_str().into())
        );
    }
    // A GUID that the registry does not know, and a header that is none of the two.
    for header in [[&[1][..], &[9; 16]].concat(), vec![1, 2, 3], vec![2; 17]] {
        let datum = framed(&samples::small_order("G"), 0).split_off(5);
        let record = Outgoing::to(desk.own(Operation::CreateOrder)).key("G").value(datum);
        let at = desk.send(record.header(SCHEMA_ID_HEADER, header)).await;
        let record = desk.reply_records(&desk.default_replies(), &[at]).await.remove(0);
        let says = env.registry().decode_json(record.value()).await.unwrap();
        assert_eq!((&says["status"], &says["category"]), (&"FAILED".into(), &"UNREADABLE".into()));
    }
    desk.close().await;
}

fn number_of(sample: &Sample) -> &'static str {
    match sample.operation {
        Operation::CreateOrder => "/orderNumber",
        _ => "/asnNumber",
    }
}

/// A command whose schema cannot be had now waits for the registry; what needs none goes on.
async fn a_registry_that_is_away_is_waited_for(env: &TestEnv) {
    let registry = env.registry();
    let front = RegistryFront::start(registry.url()).await;
    let url = Some(front.url().to_owned());
    let desk = Desk::open_with(env, Options { registry: url, ..options() }).await;
    // An older writer's schema, which the connector has not met.
    let older = r#"{"type": "record", "name": "CancelOrder", "namespace": "wms.commands", "fields": [
        {"name": "orderNumber", "type": "string"}, {"name": "account", "type": "string"}]}"#;
    let id = registry.register(&env.name("older-value"), older).await.unwrap();
    front.set_away(true);
    let fields = [("orderNumber", "W-1"), ("account", JFWMS)];
    let record = fields.map(|(name, value)| (name.to_owned(), AvroValue::from(value)));
    let value = registry.encode(id, AvroValue::Record(record.into())).await.unwrap();
    let topic = desk.own(Operation::CancelOrder);
    let waiting = desk.send(Outgoing::to(&topic).partition(0).key("W-1").value(value)).await;
    desk.app.until("asked often", || front.refused() >= 3).await;
    let other = json!({"account": JFWMS, "orderNumber": "W-2"});
    let record = Outgoing::to(&topic).partition(0).key("W-2").value(other.to_string());
    let behind = desk.send(record).await;
    let replies = desk.default_replies();
    desk.reply_records(&replies, &[behind]).await;
    let there = env.read_now(&replies).await;
    let id = format!("reply-{waiting}");
    assert!(there.iter().all(|reply| reply.header("ce_id") != Some(&id)), "{there:?}");

    front.set_away(false);
    let record = desk.reply_records(&replies, &[waiting]).await.remove(0);
    let says = registry.decode_json(record.value()).await.unwrap();
    // It was read: the vendor knows no such order.
    assert_eq!((&says["status"], &says["category"]), (&"REJECTED".into(), &"NOT_FOUND".into()));
    assert_eq!(says["documentNumber"], "W-1");
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
