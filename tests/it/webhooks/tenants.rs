//! One client of JFWMS serves several users: whose webhook it is says `data.userId`.

use serde_json::json;

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, TestApp},
    backend::TestEnv,
    suite::tests,
    vendor, wire,
};

tests! {
    both: the_user_says_whose_webhook_it_is, strangers_may_belong_to_the_account_that_was_called;
}

const SECOND: &str = "jf-second";

/// A second account of the same client.
fn options(ingress: &str) -> Options {
    let more = format!(
        r#"
[accounts.{SECOND}]
vendor = "jfwms"
base_url = "http://127.0.0.1:1"
client_id = "fe73489a9b5948dbafd07e7b28d6e268"
client_secret = "{}"
user_ids = ["9", "09"]
"#,
        vendor::JFWMS_SECRET
    );
    let jfwms = "user_ids = [8]".to_owned();
    Options { more, jfwms, ingress: ingress.to_owned(), ..only_webhooks() }
}

/// Webhooks of these users (JSON), sent to both accounts, each with a number of its own.
async fn send(app: &TestApp, users: &[&str]) {
    for called in [JFWMS, SECOND] {
        for (n, user) in users.iter().enumerate() {
            let data = format!(r#"{{"erpNo":"{called}/{n}","userId":{user}}}"#);
            let answer = wire::post(app, called, &[], vendor::jfwms("order", &data)).await;
            assert_eq!(answer.code(), (200, json!(0)), "{user}");
        }
    }
}

const USERS: [&str; 6] = ["8", "\"9\"", "\"09\"", "10", "null", "\" 8\""];

async fn the_user_says_whose_webhook_it_is(env: &TestEnv) {
    let app = TestApp::start_with(env, options("")).await;
    send(&app, &USERS).await;
    let records = env.read_all(&env.name("jfwms.order"), 6, PATIENCE).await;
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), 6);
    for record in &records {
        let decoded = app::decode(record).await;
        // Whichever address it came to.
        let owner = if decoded["userId"] == "8" { JFWMS } else { SECOND };
        assert_eq!(decoded["account"], owner, "{decoded}");
        assert_eq!(record.header("ce_source"), Some(format!("/jfwms/{owner}").as_str()));
        assert_eq!(record.header("ce_id"), decoded["eventId"].as_str());
        assert_eq!(record.header("ce_subject"), decoded["erpNo"].as_str());
        assert_eq!(record.key(), decoded["erpNo"].as_str().unwrap());
    }
    let strangers = env.read_all(&env.name("jfwms.unrecognized"), 6, PATIENCE).await;
    for record in &strangers {
        assert_eq!(record.header("wms_reason"), Some("unknown-user"));
        let called = record.header("wms_account").unwrap();
        assert!(String::from_utf8_lossy(record.value()).contains(&format!("\"{called}/")));
        assert_eq!(record.header("ce_source"), Some(format!("/jfwms/{called}").as_str()));
    }
    counted(&app, 3, 3).await;
    app.stop().await.unwrap();
}

async fn strangers_may_belong_to_the_account_that_was_called(env: &TestEnv) {
    let app = TestApp::start_with(env, options("unknown_users = \"account\"")).await;
    send(&app, &USERS).await;
    let records = env.read_all(&env.name("jfwms.order"), 12, PATIENCE).await;
    for record in &records {
        let decoded = app::decode(record).await;
        let called = record.key().split_once('/').unwrap().0.to_owned();
        let owner = match decoded["userId"].as_str() {
            Some("8") => JFWMS,
            Some("9" | "09") => SECOND,
            _ => called.as_str(),
        };
        assert_eq!(decoded["account"], owner, "{decoded}");
        assert_eq!(record.header("ce_source"), Some(format!("/jfwms/{owner}").as_str()));
    }
    assert!(env.read_now(&env.name("jfwms.unrecognized")).await.is_empty());
    counted(&app, 3, 0).await;
    app.stop().await.unwrap();
}

/// Each account has seen so many strangers, and so many of them are unrecognized.
async fn counted(app: &TestApp, strangers: u32, unrecognized: u32) {
    let metrics = app.metrics().await;
    for account in [JFWMS, SECOND] {
        for line in [
            format!("wms_webhook_unknown_users_total{{account=\"{account}\"}} {strangers}"),
            format!(
                "wms_webhooks_unrecognized_total{{account=\"{account}\",reason=\"unknown-user\"}} \
                 {unrecognized}"
            ),
            format!(
                "wms_webhooks_unrecognized_total{{account=\"{account}\",reason=\"retyped\"}} 0"
            ),
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
        }
    }
}
