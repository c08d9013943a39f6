//! What comes instead of a vendor's answer: a proxy's, a firewall's, a gateway's page. It is the fault of
//! the request that met it, until different commands in a row show the opposite.

use serde_json::json;
use wms_connector::{
    domain::Operation,
    sandbox::{Fault, FaultRule, Vendor},
};

use super::{
    desk::{Desk, options},
    samples,
};
use crate::support::{
    app::{JFWMS, Options},
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: one_blocked_request_holds_up_no_other, a_blocked_account_drains_nothing;
    mock: failing_calls_hold_up_no_orders;
}

const PAGE: &str = "<html><head><title>Not here</title></head></html>";

fn page(status: u16) -> Fault {
    Fault::Status { status, retry_after: None, body: Some(PAGE.to_owned()) }
}

/// One partition, a window of ten commands and few attempts: whatever waits would hold up the others.
fn narrow() -> Options {
    Options {
        commands: "window = 10".to_owned(),
        more: "[commands.retry]\nmax_attempts = 4\ninitial_backoff = \"20ms\"\n\
               [commands.circuit]\nfailures = 5\nprobe_after = \"300ms\"\n"
            .to_owned(),
        ..options()
    }
}

/// Inbounds that every attempt of theirs is refused for, in the midst of orders of both vendors: each
/// ends within its retries, named by its status, and nothing else is sent twice.
async fn one_blocked_request_holds_up_no_other(env: &TestEnv) {
    let desk = Desk::open_with(env, narrow()).await;
    let framework = r#"{"timestamp":"2025-01-01","status":400,"error":"Bad Request","code":400}"#;
    for (round, (status, body)) in
        [(413, PAGE), (403, PAGE), (302, ""), (400, framework), (405, "")].into_iter().enumerate()
    {
        let body = Some(body.to_owned()).filter(|body| !body.is_empty());
        let fault = Fault::Status { status, retry_after: None, body };
        desk.fault(FaultRule::new(Vendor::Jfwms, "/api/inbound/create", fault));
        let blocked = samples::small_asn(&format!("B-{round}"));
        let mut orders = Vec::new();
        let at = desk.send(desk.mixed_json(&blocked).partition(0)).await;
        for n in 0..8 {
            for order in [
                samples::small_order(&format!("J-{round}-{n}")),
                samples::qianyi_order(&format!("Q-{round}-{n}")),
            ] {
                orders.push(desk.send(desk.mixed_json(&order).partition(0)).await);
            }
        }
        for reply in desk.replies(&orders).await {
            assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{status}: {reply:#?}");
        }
        let reply = desk.reply(&at).await;
        assert_eq!(reply.end(), ("REJECTED", "REFUSED", 4, false), "{status}: {reply:#?}");
        assert!(reply.text("message").contains(&format!("HTTP {status}")), "{reply:#?}");
        desk.app.sandbox.faults().clear();
    }
    // A path that does not exist is its caller's mistake, and is told at once.
    let call = json!({"account": JFWMS, "path": "/api/order/creat", "body": {"a": 1}});
    let at = desk.send(Outgoing::to(desk.own(Operation::Call)).key("P").value(call.to_string()));
    desk.fault(FaultRule::new(Vendor::Jfwms, "/api/order/creat", page(404)));
    let reply = desk.reply(&at.await).await;
    assert_eq!(reply.end(), ("REJECTED", "NOT_FOUND", 1, false), "{reply:#?}");
    assert_eq!(desk.dead_letters(&desk.mixed()).await, []);
    desk.close().await;
}

/// When every request of an account meets it, the account is parked: nothing ends, the other account goes
/// on, and once requests get through everything is carried out once.
async fn a_blocked_account_drains_nothing(env: &TestEnv) {
    let desk = Desk::open_with(env, narrow()).await;
    desk.fault(FaultRule::new(Vendor::Jfwms, "*", page(403)));
    let mut orders = Vec::new();
    for n in 0..9 {
        orders.push(samples::small_order(&format!("D-{n}")));
    }
    let mut parked = Vec::new();
    for order in &orders {
        parked.push(desk.send(desk.json(order).partition(0)).await);
    }
    let state = format!("wms_circuit_state{{account=\"{JFWMS}\"}} ");
    desk.until(|page| page.contains(&format!("{state}2")) || page.contains(&format!("{state}1")))
        .await;
    let other = desk.ask(desk.json(&samples::qianyi_order("D-q"))).await;
    assert_eq!(other.end(), ("SUCCEEDED", "NONE", 1, false), "{other:#?}");
    // Several probes long: more than the attempts that a command has.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let own = desk.own(Operation::CreateOrder);
    let ended = desk.env.read_now(&desk.default_replies()).await;
    let refused =
        ended.iter().filter(|reply| reply.header("ce_subject").is_some_and(|s| s != "D-q"));
    assert_eq!(refused.count(), 0, "{ended:#?}");
    assert_eq!(desk.dead_letters(&own).await, []);
    desk.app.sandbox.faults().clear();
    for (reply, order) in desk.replies(&parked).await.iter().zip(&orders) {
        assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
        assert!(order.kept(&desk.books()).is_some());
    }
    desk.close().await;
}

/// A path that fails has a circuit of its own: the account's orders do not wait for it.
async fn failing_calls_hold_up_no_orders(env: &TestEnv) {
    let desk = Desk::open_with(env, narrow()).await;
    let away = Fault::Status { status: 500, retry_after: None, body: None };
    desk.fault(FaultRule::new(Vendor::Jfwms, "/api/stock/query", away));
    let mut calls = Vec::new();
    for n in 0..5 {
        let call = json!({
            "account": JFWMS, "path": "/api/stock/query", "body": {"n": n}, "idempotent": true,
        });
        let record = Outgoing::to(desk.own(Operation::Call)).key(format!("C-{n}"));
        calls.push(desk.send(record.value(call.to_string())).await);
    }
    let state = format!("wms_circuit_state{{account=\"{JFWMS}\"}} ");
    desk.until(|page| page.contains(&format!("{state}2")) || page.contains(&format!("{state}1")))
        .await;
    for n in 0..5 {
        let reply = desk.ask(desk.json(&samples::small_order(&format!("O-{n}")))).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    let ended = desk.env.read_now(&desk.default_replies()).await;
    assert_eq!(ended.len(), 5, "the calls wait: {ended:#?}");
    desk.app.sandbox.faults().clear();
    desk.replies(&calls).await;
    desk.close().await;
}
