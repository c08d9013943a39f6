//! A command becomes one document at the vendor and one reply that says so.

use serde_json::{Value, json};
use wms_connector::sandbox::{EffectKind, Vendor};

use super::{
    desk::{At, Desk, Reply},
    samples::{self, Sample},
};
use crate::support::{
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: json_commands, avro_commands, an_order_that_is_audited_at_once, command_ids;
}

async fn json_commands(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let record = |desk: &Desk<'_>, sample: &Sample, mixed: bool| match mixed {
        true => desk.mixed_json(sample),
        false => desk.json(sample),
    };
    are_carried_out(&desk, record).await;
    desk.close().await;
}

async fn avro_commands(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let record = |desk: &Desk<'_>, sample: &Sample, mixed: bool| {
        let topic = if mixed { desk.mixed() } else { desk.own(sample.operation) };
        desk.avro(&topic, sample)
    };
    are_carried_out(&desk, record).await;
    desk.close().await;
}

/// Sends every create to its own topic and to the mixed one.
async fn are_carried_out(desk: &Desk<'_>, record: impl Fn(&Desk<'_>, &Sample, bool) -> Outgoing) {
    let mut sent = Vec::new();
    for (mixed, prefix) in [(false, "own"), (true, "mixed")] {
        for sample in samples::all(prefix) {
            let at = desk.send(record(desk, &sample, mixed)).await;
            sent.push((sample, at));
        }
    }
    let places: Vec<At> = sent.iter().map(|(_, at)| at.clone()).collect();
    let replies = desk.replies(&places).await;
    let books = desk.books();
    assert_eq!(books.orders.len() + books.asns.len(), sent.len(), "{books:#?}");
    for ((sample, at), reply) in sent.iter().zip(&replies) {
        let kept = sample.kept(&books).unwrap_or_else(|| panic!("{} is not there", sample.number));
        assert_eq!(kept.request, sample.asked, "{}", sample.number);
        assert_eq!(books.effects_of(sample.vendor, &sample.number), [sample.effect()]);
        succeeded(sample, at, reply, &kept.reference);
    }
    let total = books.requests_total;
    assert_eq!(total, sent.len() as u64, "one call each: {:#?}", books.requests);
}

/// Every field of the reply.
fn succeeded(sample: &Sample, at: &At, reply: &Reply, reference: &str) {
    let says = &reply.says;
    let mut rest = says.as_object().unwrap().clone();
    let mut take = |name: &str| rest.remove(name).unwrap_or_else(|| panic!("no `{name}`: {says}"));
    assert_eq!(take("commandId"), json!(at.to_string()));
    assert_eq!(take("account"), json!(sample.account()));
    assert_eq!(take("vendor"), json!(sample.vendor.to_string()));
    assert_eq!(take("operation"), json!(sample.operation.name()));
    assert_eq!(take("status"), json!("SUCCEEDED"));
    assert_eq!(take("category"), json!("NONE"));
    assert!(take("message").is_string());
    assert_eq!(take("field"), Value::Null);
    assert_eq!(take("documentNumber"), json!(sample.number));
    // What the answer to an order of JFWMS holds is not documented; nothing is read into it.
    let unknown = (sample.vendor, sample.effect()) == (Vendor::Jfwms, EffectKind::OrderCreated);
    let expected = if unknown { Value::Null } else { json!(reference) };
    assert_eq!(take("vendorReference"), expected);
    match sample.vendor {
        Vendor::Jfwms => {
            assert_eq!(take("vendorCode"), json!("0"));
            assert_eq!(take("vendorRequestId").as_str().map(str::len), Some(32));
        }
        // A success of Qianyi carries neither.
        Vendor::Qianyi => {
            assert_eq!(take("vendorCode"), Value::Null);
            assert_eq!(take("vendorRequestId"), Value::Null);
        }
    }
    take("vendorMessage");
    assert_eq!(take("attempts"), json!(1));
    assert_eq!(take("deduplicated"), json!(false));
    assert_eq!(take("ignoredFields"), sample.ignored, "{}", sample.number);
    let result = take("result");
    let result: Value = serde_json::from_str(result.as_str().unwrap()).unwrap();
    assert!(result.to_string().contains(reference), "{result}");
    assert_eq!(take("resultTruncated"), json!(false));
    assert_eq!(take("commandTopic"), json!(at.topic));
    assert_eq!(take("commandPartition"), json!(at.partition));
    assert_eq!(take("commandOffset"), json!(at.offset));
    let moment = |value: Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(moment(take("receivedAt")) <= moment(take("completedAt")));
    assert!(rest.is_empty(), "not in COMMANDS.md: {rest:?}");
}

async fn an_order_that_is_audited_at_once(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let sample = samples::qianyi_order("A-1")
        .with("/audit", true)
        .with("/warehouse", "测试仓库")
        .with("/paymentMethod", "COD")
        .with("/codAmount", "12.3450");
    let reply = desk.ask(desk.json(&sample)).await;
    assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    assert_eq!(reply.says["ignoredFields"], json!(["platform", "lines[0].unitPrice"]));
    let books = desk.books();
    let kept = &books.order(Vendor::Qianyi, "A-1").unwrap().request;
    let mut asked = sample.asked.clone();
    let members = asked.as_object_mut().unwrap();
    let logistics = members.remove("logisticsSelected").unwrap();
    members.insert("logistics".to_owned(), logistics);
    members.insert("warehouse".to_owned(), json!("测试仓库"));
    members.insert("paymentMethod".to_owned(), json!("COD"));
    members.insert("codPayAmount".to_owned(), serde_json::from_str("12.345").unwrap());
    asked["skuList"][0].as_object_mut().unwrap().remove("paymentPrice");
    assert_eq!(*kept, asked);
    let effects = [EffectKind::OrderCreated, EffectKind::OrderAudited];
    assert_eq!(books.effects_of(Vendor::Qianyi, "A-1"), effects);
    assert_eq!(books.requests_to("CREATE_AND_AUDIT_SALES_ORDER").len(), 1);
    desk.close().await;
}

async fn command_ids(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let given = samples::small_order("I-1").with("/commandId", "mine");
    let reply = desk.ask(desk.json(&given).header("ce_id", "of the header")).await;
    assert_eq!(reply.text("commandId"), "mine");
    let empty = samples::small_order("I-2").with("/commandId", "");
    let reply = desk.ask(desk.json(&empty).header("ce_id", "of the header")).await;
    assert_eq!(reply.text("commandId"), "of the header");
    desk.close().await;
}
