//! What an operator sees: health, readiness, metrics.

use serde_json::Value;

use super::only_webhooks;
use crate::support::{
    app::{JFWMS, QIANYI, TestApp},
    backend::TestEnv,
    suite::tests,
    vendor,
    wire::{self, Answer},
};

tests! {
    both: every_metric_has_its_name_from_the_start, webhooks_are_counted_by_outcome,
        health_and_readiness_are_answered;
}

/// The names of the contract and what kind of metric each is.
const NAMES: [(&str, &str); 14] = [
    ("wms_webhooks_total", "counter"),
    ("wms_webhook_seconds", "histogram"),
    ("wms_publish_seconds", "histogram"),
    ("wms_commands_total", "counter"),
    ("wms_command_seconds", "histogram"),
    ("wms_vendor_requests_total", "counter"),
    ("wms_vendor_request_seconds", "histogram"),
    ("wms_in_flight", "gauge"),
    ("wms_circuit_state", "gauge"),
    ("wms_token_expires_in_seconds", "gauge"),
    ("wms_consumer_lag", "gauge"),
    ("wms_dead_letters_total", "counter"),
    ("wms_signature_form", "gauge"),
    ("wms_stock_gaps_total", "counter"),
];

async fn every_metric_has_its_name_from_the_start(env: &TestEnv) {
    // Also in a process that runs only a part.
    let app = TestApp::start_with(env, only_webhooks()).await;
    let metrics = app.metrics().await;
    for (name, kind) in NAMES {
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name}: {metrics}");
        assert!(metrics.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {metrics}");
        assert_eq!(metrics.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
    }
    let mut zeros = vec![
        "wms_in_flight{pipeline=\"webhooks\"} 0".to_owned(),
        "wms_stock_gaps_total{account=\"jf-main\"} 0".to_owned(),
        "wms_webhook_seconds_count 0".to_owned(),
        format!("wms_publish_seconds_count{{topic=\"{}\"}} 0", env.name("jfwms.order-create")),
        format!("wms_publish_seconds_count{{topic=\"{}\"}} 0", env.name("qianyi.unrecognized")),
    ];
    // What alerts wait for; the other types and outcomes begin with their first webhook.
    for account in [JFWMS, QIANYI] {
        for outcome in ["wrong_signature", "malformed", "too_large", "unavailable"] {
            zeros.push(format!(
                "wms_webhooks_total{{account=\"{account}\",outcome=\"{outcome}\",type=\"none\"}} 0"
            ));
        }
        for reason in ["unknown-type", "retyped", "unknown-user", "undecodable"] {
            zeros.push(format!(
                "wms_webhooks_unrecognized_total{{account=\"{account}\",reason=\"{reason}\"}} 0"
            ));
        }
    }
    for zero in zeros {
        assert!(metrics.lines().any(|line| line == zero), "{zero} is not in {metrics}");
    }
    app.stop().await.unwrap();
}

async fn webhooks_are_counted_by_outcome(env: &TestEnv) {
    let mut options = only_webhooks();
    options.jfwms = "path_secret = \"s3cret-path-of-this-test\"".to_owned();
    let app = TestApp::start_with(env, options).await;
    let path = "jf-main/s3cret-path-of-this-test";
    let order = vendor::jfwms("order", &vendor::order("1"));
    for (path, body, times) in [
        (path, order.clone(), 3),
        (path, vendor::framed("order", "{}", ""), 2),
        (path, "hello".to_owned(), 1),
        ("jf-main/wrong", order.clone(), 4),
        ("nobody", order, 5),
    ] {
        for _ in 0..times {
            wire::post(&app, path, &[], body.clone()).await;
        }
    }
    let metrics = app.metrics().await;
    for (labels, count) in [
        (r#"account="jf-main",outcome="accepted",type="order""#, 1),
        (r#"account="jf-main",outcome="duplicate",type="order""#, 2),
        (r#"account="jf-main",outcome="no_signature",type="none""#, 2),
        (r#"account="jf-main",outcome="malformed",type="none""#, 1),
        (r#"account="jf-main",outcome="unknown_account",type="none""#, 4),
        (r#"account="none",outcome="unknown_account",type="none""#, 5),
    ] {
        let line = format!("wms_webhooks_total{{{labels}}} {count}");
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    let topic = env.name("jfwms.order");
    let published = format!("wms_publish_seconds_count{{topic=\"{topic}\"}} 1");
    assert!(metrics.contains(&published), "{metrics}");
    assert!(!metrics.contains("s3cret"), "the path secret is in the metrics");
    app.stop().await.unwrap();
}

async fn admin(app: &TestApp, path: &str) -> Answer {
    let url = format!("http://{}{path}", app.running.admin);
    wire::answer(app.http.get(url).send().await.unwrap()).await
}

async fn health_and_readiness_are_answered(env: &TestEnv) {
    let app = TestApp::start(env).await;
    assert_eq!(admin(&app, "/healthz").await.status, 200);
    let ready = admin(&app, "/readyz").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let report = ready.json();
    assert_eq!(report["ready"], Value::Bool(true));
    assert_eq!(report["listen"]["webhooks"], app.running.webhooks.unwrap().to_string());
    assert_eq!(report["listen"]["admin"], app.running.admin.to_string());
    assert!(app.metrics().await.contains("wms_ready 1\n"));

    // An account that cannot be served is no reason to take the others down.
    let wrong = vendor::framed("order", "{}", ",\"sign\":\"00000000000000000000000000000000\"");
    wire::post(&app, JFWMS, &[], wrong).await;
    assert_eq!(admin(&app, "/readyz").await.status, 200);

    app.running.readiness.set("webhooks", Err("Kafka: no broker answers".to_owned()));
    let not_ready = admin(&app, "/readyz").await;
    // The next probe may have found the broker again.
    if not_ready.status != 200 {
        assert_eq!(not_ready.status, 503);
        assert_eq!(not_ready.json()["checks"]["webhooks"], "Kafka: no broker answers");
    }
    assert_eq!(admin(&app, "/healthz").await.status, 200);
    app.stop().await.unwrap();
}
