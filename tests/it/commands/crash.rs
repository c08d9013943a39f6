//! The broker dies in the middle of the work.

use std::collections::BTreeSet;

use wms_connector::sandbox::{EffectKind, Fault, FaultRule, Vendor};

use super::{
    desk::{Desk, options},
    samples,
};
use crate::support::{
    app::Options,
    backend::{self, TestEnv},
    kafka::Broker,
    suite::tests,
};

tests! {
    kafka: the_broker_is_killed;
}

const COMMANDS: usize = 100;
const KEYS: usize = 20;

async fn the_broker_is_killed(env: &TestEnv) {
    let mut broker = backend::blocking(|| Broker::start().unwrap()).await;
    let bootstrap_servers = Some(broker.bootstrap_servers());
    let desk = Desk::open_with(env, Options { bootstrap_servers, ..options() }).await;
    let slow = Fault::Latency { ms: 100, jitter_ms: 200, after_work: false };
    desk.fault(FaultRule::new(Vendor::Jfwms, "/api/order/create", slow));
    let mut commands = Vec::new();
    let number = |n: usize| format!("C{}-{:02}", n % KEYS, n / KEYS);
    for n in 0..COMMANDS {
        let record = desk.json(&samples::small_order(&number(n))).key(format!("C{}", n % KEYS));
        commands.push(desk.send(record).await);
    }
    desk.app.until("in the middle", || desk.books().orders.len() >= COMMANDS / 3).await;
    broker.kill9();
    let done = desk.books().orders.len();
    assert!(done < COMMANDS, "the broker died too late for this test");
    let broker = backend::blocking(move || {
        broker.restart().unwrap();
        broker
    })
    .await;

    // Every command has its reply: at least one, and the same one where it came again.
    let ids: BTreeSet<String> = commands.iter().map(|at| format!("reply-{at}")).collect();
    let wanted = ids.clone();
    let all = move |records: &[backend::Record]| {
        let there: BTreeSet<_> = records.iter().filter_map(|r| r.header("ce_id")).collect();
        wanted.iter().all(|id| there.contains(id.as_str()))
    };
    let topic = desk.default_replies();
    let patience = std::time::Duration::from_secs(90);
    let (complete, records) = backend::read(desk.servers(), &topic, patience, all).await;
    let there: BTreeSet<String> =
        records.iter().filter_map(|r| r.header("ce_id")).map(str::to_owned).collect();
    let missing: Vec<_> = ids.difference(&there).collect();
    assert!(complete, "{} commands have no reply: {missing:?}", missing.len());
    assert_eq!(there, ids);
    for record in &records {
        let says = crate::support::app::decode(record).await;
        assert_eq!(says["status"], "SUCCEEDED", "{says:#}");
    }

    // Each document exactly once, and in the order of its key.
    let books = desk.books();
    assert_eq!(books.orders.len(), COMMANDS);
    for key in 0..KEYS {
        let mut sequences = Vec::new();
        for n in (key..COMMANDS).step_by(KEYS) {
            let number = number(n);
            let effects = books.effects_of(Vendor::Jfwms, &number);
            assert_eq!(effects, [EffectKind::OrderCreated], "{number}");
            sequences.push(books.effects[&format!("jfwms/{number}")][0].sequence);
        }
        assert!(sequences.is_sorted(), "the order of key C{key}: {sequences:?}");
    }
    desk.close().await;
    drop(broker);
}
