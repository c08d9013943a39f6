//! What the command pipeline counts.

use serde_json::json;
use wms_connector::{
    domain::Operation,
    sandbox::{Fault, FaultRule, Vendor},
};

use super::{desk::Desk, samples};
use crate::support::{
    app::{JFWMS, QIANYI},
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: everything_is_counted;
}

/// The sum of a metric's samples that have all these labels; panics where there is none.
pub(super) fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    found(page, name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in\n{page}"))
}

/// The same, `None` where there is none yet.
fn found(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let lines = page.lines().filter(|line| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        let has = |(label, value): &(&str, &str)| rest.contains(&format!("{label}=\"{value}\""));
        rest.starts_with(['{', ' ']) && labels.iter().all(has)
    });
    let values: Vec<f64> =
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

async fn everything_is_counted(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let (orders, asns) = (desk.own(Operation::CreateOrder), desk.own(Operation::CreateAsn));
    let before = desk.app.metrics().await;
    let ended = |page: &str, account: &str, operation: &str, status: &str| {
        let labels = [("account", account), ("operation", operation), ("status", status)];
        sum(page, "wms_commands_total", &labels)
    };
    for account in [JFWMS, QIANYI] {
        assert_eq!(ended(&before, account, "create-order", "FAILED"), 0.0);
        assert_eq!(sum(&before, "wms_circuit_state", &[("account", account)]), 0.0);
        assert_eq!(sum(&before, "wms_vendor_requests_total", &[("account", account)]), 0.0);
    }
    let letters = |page: &str, topic: &str| {
        let name = desk.app.config.topics.dlq(topic);
        sum(page, "wms_dead_letters_total", &[("topic", name.as_str())])
    };
    for topic in [&orders, &asns, &desk.mixed()] {
        assert_eq!(letters(&before, topic), 0.0);
    }
    assert_eq!(sum(&before, "wms_in_flight", &[("pipeline", "commands")]), 0.0);

    // One that works, one that is refused, one that cannot be read.
    let refused = samples::small_order("M-2").with("/lines/0/sku", "UNKNOWN-SKU");
    let commands = [
        desk.send(desk.json(&samples::small_order("M-1")).partition(0)).await,
        desk.send(desk.json(&refused).partition(0)).await,
        desk.send(Outgoing::to(&asns).key("M-3").value("<asn/>")).await,
    ];
    desk.replies(&commands).await;
    let page = desk.until(|page| letters(page, &asns) > 0.0).await;
    assert_eq!(ended(&page, JFWMS, "create-order", "SUCCEEDED"), 1.0);
    assert_eq!(ended(&page, JFWMS, "create-order", "REJECTED"), 1.0);
    assert_eq!(ended(&page, "unknown", "create-asn", "FAILED"), 1.0);
    let asked = |page: &str, class: &str| {
        let labels = [("account", JFWMS), ("operation", "create-order"), ("class", class)];
        sum(page, "wms_vendor_requests_total", &labels)
    };
    assert_eq!((asked(&page, "succeeded"), asked(&page, "refused")), (1.0, 1.0));
    assert_eq!((letters(&page, &asns), letters(&page, &orders)), (1.0, 0.0));
    for seconds in ["wms_command_seconds_count", "wms_vendor_request_seconds_count"] {
        assert!(sum(&page, seconds, &[]) >= 2.0, "{page}");
    }

    // A vendor that answers nothing: what waits is in flight and behind, the circuit opens.
    let fault = Fault::Status { status: 503, retry_after: None, body: None };
    desk.app.sandbox.faults().add(FaultRule::new(Vendor::Jfwms, "*", fault)).unwrap();
    let slow = Fault::Latency { ms: 300, jitter_ms: 0, after_work: false };
    desk.app.sandbox.faults().add(FaultRule::new(Vendor::Jfwms, "*", slow)).unwrap();
    let mut waiting = Vec::new();
    for n in 0..8 {
        let sample = samples::small_order(&format!("W-{n}"));
        waiting.push(desk.send(desk.json(&sample).partition(0)).await);
    }
    desk.until(|page| sum(page, "wms_in_flight", &[("pipeline", "commands")]) >= 1.0).await;
    let of_orders = [("topic", orders.as_str()), ("partition", "0")];
    let lag = |page: &str| found(page, "wms_consumer_lag", &of_orders);
    desk.until(|page| lag(page).is_some_and(|lag| lag >= 8.0)).await;
    desk.until(|page| sum(page, "wms_circuit_state", &[("account", JFWMS)]) >= 1.0).await;
    let page = desk.app.metrics().await;
    assert_eq!(sum(&page, "wms_circuit_state", &[("account", QIANYI)]), 0.0);

    // The vendor is back: everything is done and the circuit closes.
    desk.app.sandbox.faults().clear();
    for reply in desk.replies(&waiting).await {
        assert_eq!(reply.says["status"], json!("SUCCEEDED"), "{reply:#?}");
    }
    desk.until(|page| sum(page, "wms_circuit_state", &[("account", JFWMS)]) == 0.0).await;
    desk.until(|page| lag(page) == Some(0.0)).await;
    desk.until(|page| sum(page, "wms_in_flight", &[("pipeline", "commands")]) == 0.0).await;
    desk.close().await;
}
