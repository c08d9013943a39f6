//! Nothing happens twice: after an answer that never came, and under a number that is taken.

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};
use wms_connector::{
    domain::Operation,
    sandbox::{DuplicateAsn, EffectKind, Fault, FaultRule, SandboxSettings, Vendor},
};

use super::{
    desk::{Desk, options, quiet},
    samples::{self, Sample},
};
use crate::support::{
    app::{JFWMS, Options},
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: an_answer_that_is_lost_after_the_work, the_same_document_again,
        another_document_under_the_same_number, an_asn_number_that_is_answered_with_success,
        a_cancellation_whose_answer_is_lost, a_cancellation_again,
        a_document_that_is_not_shown_yet, a_call_whose_answer_is_lost;
    mock: a_call_whose_beginning_is_not_committed;
}

fn made_once(desk: &Desk<'_>, sample: &Sample) {
    let books = desk.books();
    let effects = books.effects_of(sample.vendor, &sample.number);
    assert_eq!(effects, [sample.effect()], "{}", sample.number);
}

async fn an_answer_that_is_lost_after_the_work(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let mut documents = 0;
    for (name, fault) in
        [("D", Fault::DropAfterWork), ("T", Fault::Truncate), ("G", Fault::Garbage)]
    {
        for sample in samples::all(name) {
            let rule = FaultRule::new(sample.vendor, sample.endpoint(), fault.clone()).times(1);
            desk.fault(rule);
            let reply = desk.ask(desk.json(&sample)).await;
            assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, true), "{reply:#?}");
            let books = desk.books();
            let kept = sample.kept(&books).unwrap();
            assert_eq!(reply.text("vendorReference"), kept.reference);
            assert!(!reply.text("message").is_empty());
            made_once(&desk, &sample);
            documents += 1;
            desk.app.sandbox.faults().clear();
        }
    }
    let books = desk.books();
    assert_eq!(books.orders.len() + books.asns.len(), documents);
    desk.close().await;
}

async fn the_same_document_again(env: &TestEnv) {
    let desk = Desk::open(env).await;
    for sample in samples::all("S") {
        let first = desk.ask(desk.json(&sample)).await;
        assert_eq!(first.end(), ("SUCCEEDED", "NONE", 1, false));
        let again = desk.ask(desk.json(&sample)).await;
        assert_eq!(again.end(), ("SUCCEEDED", "NONE", 1, true), "{again:#?}");
        let books = desk.books();
        assert_eq!(again.text("vendorReference"), sample.kept(&books).unwrap().reference);
        made_once(&desk, &sample);
    }
    desk.close().await;
}

async fn another_document_under_the_same_number(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let [jo, ja, qo, qa] = samples::all("N");
    let small = samples::small_asn("N-lines");
    let cases = [
        (jo.clone(), jo.with("/platformOrderNumber", "P-2"), "platformOrderNumber"),
        (ja.clone(), ja.with("/trackingNumbers", json!(["T-9"])), "trackingNumbers"),
        (small.clone(), small.clone().with("/lines/0/quantity", 99), "lines: asked"),
        (small.clone(), small.with("/lines/0/sku", "OTHER"), "lines: asked"),
        (qo.clone(), qo.clone().with("/lines/0/quantity", 3), "lines[0].quantity"),
        (qo.clone(), qo.with("/recipient/city", "Leeds"), "recipient.city"),
        (qa.clone(), qa.with("/warehouse", "best warehouse（测试用）"), "warehouse"),
    ];
    for (sample, other, difference) in cases {
        let first = desk.ask(desk.json(&sample)).await;
        assert_eq!(first.text("status"), "SUCCEEDED", "{first:#?}");
        let second = desk.ask(desk.json(&other)).await;
        assert_eq!(second.end(), ("REJECTED", "DUPLICATE", 1, false), "{second:#?}");
        assert!(second.text("message").contains(difference), "{second:#?}");
        // A person's data is not repeated in the message.
        assert!(!second.text("message").contains("Leeds"), "{second:#?}");
        made_once(&desk, &sample);
        assert_eq!(desk.dead_letters(&desk.own(sample.operation)).await, []);
    }
    desk.close().await;
}

/// What Qianyi answers to a number that is taken is not documented; it may be a success that
/// makes nothing.
async fn an_asn_number_that_is_answered_with_success(env: &TestEnv) {
    let mut sandbox = quiet();
    sandbox.qianyi.duplicate_asn = DuplicateAsn::SameNumber;
    let sandbox = SandboxSettings { ..sandbox };
    let desk = Desk::open_with(env, Options { sandbox, ..options() }).await;
    let sample = samples::qianyi_asn("Q-1");
    let first = desk.ask(desk.json(&sample)).await;
    let again = desk.ask(desk.json(&sample)).await;
    assert_eq!(again.text("status"), "SUCCEEDED", "{again:#?}");
    assert_eq!(again.text("vendorReference"), first.text("vendorReference"));
    made_once(&desk, &sample);
    desk.close().await;
}

/// The cancellation of each sample.
fn cancellation(sample: &Sample) -> (Operation, Value, [EffectKind; 2]) {
    use EffectKind::{InboundCancelled, InboundCreated, OrderCancelled, OrderCreated};
    let (account, number) = (sample.account(), &sample.number);
    match sample.operation {
        Operation::CreateOrder => (
            Operation::CancelOrder,
            json!({"account": account, "orderNumber": number, "shop": "demo-shop"}),
            [OrderCreated, OrderCancelled],
        ),
        _ => (
            Operation::CancelAsn,
            json!({"account": account, "asnNumber": number}),
            [InboundCreated, InboundCancelled],
        ),
    }
}

fn record(desk: &Desk<'_>, operation: Operation, key: &str, command: &Value) -> Outgoing {
    Outgoing::to(desk.own(operation)).key(key).value(command.to_string())
}

async fn a_cancellation_whose_answer_is_lost(env: &TestEnv) {
    let desk = Desk::open(env).await;
    for sample in samples::all("L") {
        let made = desk.ask(desk.json(&sample)).await;
        assert_eq!(made.text("status"), "SUCCEEDED", "{made:#?}");
        let (operation, command, effects) = cancellation(&sample);
        let endpoint = match (sample.vendor, operation) {
            (Vendor::Jfwms, Operation::CancelOrder) => "/api/order/cancel",
            (Vendor::Jfwms, _) => "/api/inbound/cancel",
            (Vendor::Qianyi, Operation::CancelOrder) => "CLOSE_SALES_ORDER",
            (Vendor::Qianyi, _) => "CANCEL_ASN_ORDER",
        };
        desk.fault(FaultRule::new(sample.vendor, endpoint, Fault::DropAfterWork).times(1));
        let reply = desk.ask(record(&desk, operation, &sample.number, &command)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, true), "{reply:#?}");
        let books = desk.books();
        assert_eq!(books.requests_to(endpoint).len(), 1, "{endpoint}");
        assert_eq!(books.effects_of(sample.vendor, &sample.number), effects);
        desk.app.sandbox.faults().clear();
    }
    desk.close().await;
}

/// As a process does it that begins where another one was killed.
async fn a_cancellation_again(env: &TestEnv) {
    let desk = Desk::open(env).await;
    for sample in samples::all("R") {
        desk.ask(desk.json(&sample)).await;
        let (operation, command, effects) = cancellation(&sample);
        let first = desk.ask(record(&desk, operation, &sample.number, &command)).await;
        assert_eq!(first.text("status"), "SUCCEEDED", "{first:#?}");
        assert_eq!(first.says["deduplicated"], false, "{first:#?}");
        let again = desk.ask(record(&desk, operation, &sample.number, &command)).await;
        assert_eq!(again.text("status"), "SUCCEEDED", "{again:#?}");
        assert_eq!(again.says["deduplicated"], true, "{again:#?}");
        assert_eq!(desk.books().effects_of(sample.vendor, &sample.number), effects);
    }
    desk.close().await;
}

/// The vendor works on it and does not show it yet: not found proves nothing, and the duplicate
/// refusal settles it.
async fn a_document_that_is_not_shown_yet(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let cases = [
        (samples::jfwms_order("W-1"), "50017"),
        (samples::jfwms_order("W-2"), "50071"),
        (samples::jfwms_asn("W-3"), "40004"),
    ];
    for (sample, not_found) in &cases {
        desk.fault(FaultRule::new(sample.vendor, sample.endpoint(), Fault::DropAfterWork).times(1));
        let code = (*not_found).to_owned();
        let hidden = Fault::Refuse { code, message: None, inner: false };
        desk.fault(FaultRule::new(sample.vendor, sample.look_up(), hidden).times(1));
        let reply = desk.ask(desk.json(sample)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 2, true), "{reply:#?}");
        made_once(&desk, sample);
        let books = desk.books();
        let kept = sample.kept(&books).unwrap();
        assert_eq!(reply.text("vendorReference"), kept.reference);
        desk.app.sandbox.faults().clear();
    }
    desk.close().await;
}

async fn a_call_whose_answer_is_lost(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let body = |number: &str| {
        json!({
            "erpNo": number, "platform": "shopify", "warehouse": "YK", "recipientCountry": "US",
            "skuList": [{"sku": "SKU-1", "num": 1}],
        })
    };
    let path = "/api/order/create";
    for (number, idempotent, end) in [
        ("K-1", false, ("UNKNOWN", "UNCERTAIN", 1, false)),
        // Its caller said that twice is as good as once; here the vendor refuses the second.
        ("K-2", true, ("UNKNOWN", "UNCERTAIN", 2, false)),
    ] {
        desk.fault(FaultRule::new(Vendor::Jfwms, path, Fault::DropAfterWork).times(1));
        let command = json!({
            "account": JFWMS, "path": path, "body": body(number), "idempotent": idempotent,
        });
        let reply = desk.ask(record(&desk, Operation::Call, number, &command)).await;
        assert_eq!(reply.end(), end, "{reply:#?}");
        let effects = desk.books().effects_of(Vendor::Jfwms, number);
        assert_eq!(effects, [EffectKind::OrderCreated]);
        desk.app.sandbox.faults().clear();
    }
    assert_eq!(desk.dead_letters(&desk.own(Operation::Call)).await.len(), 2);
    desk.close().await;
}

/// A commit refused means no call, or a crash would send it a second time.
async fn a_call_whose_beginning_is_not_committed(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let cluster = env.mock_cluster().unwrap();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refused; 1_000]);
    let command = json!({
        "account": JFWMS, "path": "/api/order/get", "body": {"erpNo": "B-0"},
    });
    let call = desk.send(record(&desk, Operation::Call, "B-1", &command)).await;
    // What can be looked up needs no such commit, and takes longer than a call would have.
    for sample in samples::all("B") {
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    assert_eq!(desk.books().requests_to("/api/order/get").len(), 0);
    cluster.clear_request_errors(RDKafkaApiKey::OffsetCommit);
    let reply = desk.reply(&call).await;
    assert_eq!(reply.end(), ("REJECTED", "NOT_FOUND", 1, false), "{reply:#?}");
    assert_eq!(desk.books().requests_to("/api/order/get").len(), 1);
    desk.close().await;
}
