//! Nothing happens twice: after an answer that never came, and under a number that is taken.

use serde_json::json;
use wms_connector::sandbox::{DuplicateAsn, Fault, FaultRule, SandboxSettings};

use super::{
    desk::{Desk, options, quiet},
    samples::{self, Sample},
};
use crate::support::{app::Options, backend::TestEnv, suite::tests};

tests! {
    both: an_answer_that_is_lost_after_the_work, the_same_document_again,
        another_document_under_the_same_number, an_asn_number_that_is_answered_with_success;
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
    let cases = [
        (jo.clone(), jo.with("/platformOrderNumber", "P-2"), "platformOrderNumber"),
        (ja.clone(), ja.with("/trackingNumbers", json!(["T-9"])), "trackingNumbers"),
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
