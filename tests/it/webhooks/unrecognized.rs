//! Nothing authentic is lost, nothing is written twice without need, nothing changes its type.

use std::collections::BTreeSet;

use serde_json::json;

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, QIANYI, TestApp},
    backend::TestEnv,
    suite::tests,
    vendor, wire,
};

tests! {
    both: what_fits_no_topic_is_kept_byte_for_byte, a_changed_type_is_noticed,
        a_changed_type_can_be_accepted, a_repeat_is_answered_and_not_written,
        without_a_window_a_repeat_has_the_same_id, equal_webhooks_at_once_are_one_event, equal_data_in_another_frame_is_another_event;
}

async fn what_fits_no_topic_is_kept_byte_for_byte(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    // Blanks, a number no double holds, and a type that would break a header in two.
    let data = "{ \"erpNo\" :\t\"1\",\r\n \"n\": 1.10, \"big\": 123456789012345678901234567890 }";
    let line = "{\"erpNo\":\"2\",\"skuList\":[{\"sku\":\"A\",\"total\":\"many\"}]}";
    let jfwms = [
        (
            "application/json; charset=utf-8",
            vendor::jfwms("brandNew", data),
            "brandNew",
            "unknown-type",
        ),
        ("text/x-odd", vendor::jfwms("odd\r\nx: y", "[1, 2]"), "oddx: y", "unknown-type"),
        (
            "application/json",
            vendor::jfwms("order", line),
            "order",
            "undecodable: data.skuList[0].total: ",
        ),
        ("application/json", vendor::jfwms("order", "null"), "order", "undecodable: data: "),
    ];
    for (content_type, body, ..) in &jfwms {
        let headers = [("content-type", *content_type)];
        let answer = wire::post(&app, JFWMS, &headers, body.clone()).await;
        assert_eq!(answer.code(), (200, json!(0)), "{body}");
    }
    let (form, form_body) =
        vendor::as_form_data(&vendor::push("PUSH_NEW", "{\r\n  \"a\": 1.10\r\n}"));
    let (_, bad_body) = vendor::as_form_data(&vendor::push("PUSH_ODO_ORDER", "{\"skuList\":7}"));
    let qianyi = [
        (form.as_str(), form_body, "PUSH_NEW", "unknown-type"),
        (form.as_str(), bad_body, "PUSH_ODO_ORDER", "undecodable: "),
    ];
    for (content_type, body, ..) in &qianyi {
        let headers = [("content-type", *content_type)];
        let answer = wire::post(&app, QIANYI, &headers, body.clone()).await;
        assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("success")), "{body}");
    }
    for (vendor, account, expected) in
        [("jfwms", JFWMS, jfwms.as_slice()), ("qianyi", QIANYI, qianyi.as_slice())]
    {
        let topic = env.name(&format!("{vendor}.unrecognized"));
        let records = env.read_all(&topic, expected.len(), PATIENCE).await;
        for (content_type, body, kind, reason) in expected {
            let Some(record) = records.iter().find(|record| record.value() == body.as_bytes())
            else {
                panic!("{body:?} is not among {records:?}");
            };
            assert_eq!(record.key, None);
            assert_eq!(record.header("content-type"), Some(*content_type));
            assert_eq!(
                record.header("ce_type"),
                Some(format!("com.{vendor}.unrecognized").as_str())
            );
            assert_eq!(record.header("ce_source"), Some(format!("/{vendor}/{account}").as_str()));
            assert_eq!(record.header("wms_account"), Some(account));
            assert_eq!(record.header("wms_type"), Some(*kind));
            let found = record.header("wms_reason").unwrap();
            assert!(found.starts_with(reason), "{found}");
            for name in ["ce_specversion", "ce_id", "ce_time", "traceparent"] {
                assert!(record.header(name).is_some_and(|value| !value.is_empty()), "{name}");
            }
        }
    }
    let metrics = app.metrics().await;
    for line in [
        "wms_webhooks_total{account=\"jf-main\",outcome=\"unrecognized\",type=\"unrecognized\"} 2",
        "wms_webhooks_total{account=\"jf-main\",outcome=\"unrecognized\",type=\"order\"} 2",
        "wms_webhooks_total{account=\"qy-cn\",outcome=\"unrecognized\",type=\"unrecognized\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(!metrics.contains("brandNew"), "a stranger's text is no label");
    app.stop().await.unwrap();
}

async fn a_changed_type_is_noticed(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let data = vendor::order("R");
    for kind in ["order", "storage", "order", "brandNew", "storage"] {
        let answer = wire::post(&app, JFWMS, &[], vendor::jfwms(kind, &data)).await;
        assert_eq!(answer.code(), (200, json!(0)), "{kind}");
    }
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), 1);
    assert!(env.read_now(&env.name("jfwms.storage")).await.is_empty());
    let records = env.read_now(&env.name("jfwms.unrecognized")).await;
    let mut found: Vec<_> =
        records.iter().map(|r| (r.header("wms_type"), r.header("wms_reason"))).collect();
    found.sort_unstable();
    let retyped = Some("retyped");
    assert_eq!(found, [(Some("brandNew"), retyped), (Some("storage"), retyped)]);
    let storage = vendor::jfwms("storage", &data);
    assert!(records.iter().any(|record| record.value() == storage.as_bytes()));
    let metrics = app.metrics().await;
    for line in [
        "wms_webhooks_total{account=\"jf-main\",outcome=\"unrecognized\",type=\"storage\"} 1",
        "wms_webhooks_total{account=\"jf-main\",outcome=\"duplicate\",type=\"storage\"} 1",
        "wms_webhooks_total{account=\"jf-main\",outcome=\"duplicate\",type=\"order\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    app.stop().await.unwrap();
}

async fn a_changed_type_can_be_accepted(env: &TestEnv) {
    let ingress = "retyped = \"accept\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    // The guide's own samples of the two share their data.
    let data = "{\"documentNo\":\"D\",\"skuList\":[]}";
    for kind in ["orderCreate", "orderCancel"] {
        assert_eq!(wire::post(&app, JFWMS, &[], vendor::jfwms(kind, data)).await.status, 200);
    }
    let created = env.read_all(&env.name("jfwms.order-create"), 1, PATIENCE).await;
    let cancelled = env.read_all(&env.name("jfwms.order-cancel"), 1, PATIENCE).await;
    assert_ne!(created[0].header("ce_id"), cancelled[0].header("ce_id"));
    app.stop().await.unwrap();
}

/// The same webhook, as a vendor would send it again: a new time, and so another body.
fn again(kind: &str, data: &str, timestamp: i64) -> String {
    vendor::jfwms(kind, data).replace(&vendor::SENT_AT.to_string(), &timestamp.to_string())
}

async fn a_repeat_is_answered_and_not_written(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let data = vendor::order("D");
    for n in 0..5 {
        let body = again("order", &data, vendor::SENT_AT + n);
        assert_eq!(wire::post(&app, JFWMS, &[], body).await.code(), (200, json!(0)));
        let push = vendor::push_for(
            vendor::QIANYI_APP,
            "PUSH_ASN_ORDER",
            &(vendor::SENT_AT + n).to_string(),
            "{\"asnNumber\":\"A\"}",
        );
        let (content_type, form) = vendor::as_form_data(&push);
        // As a form or as JSON: the content decides.
        let (content_type, body) = match n % 2 {
            0 => (content_type.as_str(), form),
            _ => ("application/json", vendor::as_json(&push)),
        };
        let answer = wire::post(&app, QIANYI, &[("content-type", content_type)], body).await;
        assert_eq!(answer.status, 200);
    }
    // Where the sign stands is not what happened.
    let sign = vendor::jfwms_sign(&data);
    let unsigned = vendor::framed("order", &data, "");
    assert_eq!(wire::post(&app, JFWMS, &[("sign", &sign)], unsigned).await.status, 200);
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), 1);
    assert_eq!(env.read_now(&env.name("qianyi.asn")).await.len(), 1);
    app.stop().await.unwrap();
}

async fn without_a_window_a_repeat_has_the_same_id(env: &TestEnv) {
    let ingress = "duplicate_window = \"0s\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let data = vendor::order("D");
    for n in 0..3 {
        let body = again("order", &data, vendor::SENT_AT + n);
        assert_eq!(wire::post(&app, JFWMS, &[], body).await.code(), (200, json!(0)));
        let body = vendor::jfwms("brandNew", "{\"erpNo\":\"N\"}");
        assert_eq!(wire::post(&app, JFWMS, &[], body).await.code(), (200, json!(0)));
    }
    for topic in ["jfwms.order", "jfwms.unrecognized"] {
        let records = env.read_all(&env.name(topic), 3, PATIENCE).await;
        let ids: BTreeSet<_> = records.iter().map(|record| record.header("ce_id")).collect();
        assert_eq!(ids.len(), 1, "{records:?}");
    }
    app.stop().await.unwrap();
}

/// A vendor that lost patience sends again while the first is on its way: each is answered, what is
/// written twice is one event, and once it is acknowledged nothing is written any more.
async fn equal_webhooks_at_once_are_one_event(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let body = vendor::jfwms("order", &vendor::order("D"));
    let at_once = (0..20).map(|_| wire::post(&app, JFWMS, &[], body.clone()));
    for answer in futures_util::future::join_all(at_once).await {
        assert_eq!(answer.code(), (200, json!(0)));
    }
    let written = env.read_now(&env.name("jfwms.order")).await;
    assert!((1..=20).contains(&written.len()), "{written:?}");
    let ids: BTreeSet<_> = written.iter().map(|record| record.header("ce_id")).collect();
    assert_eq!(ids.len(), 1, "{written:?}");
    assert_eq!(wire::post(&app, JFWMS, &[], body).await.code(), (200, json!(0)));
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), written.len());
    app.stop().await.unwrap();
}

/// Two partial returns bring the same data; the guide's `finishTime` stands beside it.
async fn equal_data_in_another_frame_is_another_event(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let data = "{\"erpNo\":\"T\",\"status\":\"FINISH\",\"skuList\":[{\"sku\":\"A\",\"num\":1}]}";
    let sign = vendor::jfwms_sign(data);
    for finished in ["2025-02-07T09:10:03.951", "2025-02-08T10:00:00", "2025-02-07T09:10:03.951"] {
        let more = format!(",\"finishTime\":\"{finished}\",\"sign\":\"{sign}\"");
        let answer = wire::post(&app, JFWMS, &[], vendor::framed("return", data, &more)).await;
        assert_eq!(answer.code(), (200, json!(0)));
    }
    let records = env.read_all(&env.name("jfwms.return"), 2, PATIENCE).await;
    assert_eq!(env.read_now(&env.name("jfwms.return")).await.len(), 2);
    let ids: BTreeSet<_> = records.iter().map(|record| record.header("ce_id")).collect();
    assert_eq!(ids.len(), 2);
    let mut times = BTreeSet::new();
    for record in &records {
        times.insert(app::decode(record).await["finishTime"].to_string());
    }
    let expected = ["\"2025-02-07T09:10:03.951\"", "\"2025-02-08T10:00:00\""];
    assert_eq!(times, expected.map(str::to_owned).into());
    app.stop().await.unwrap();
}
