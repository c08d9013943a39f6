//! What the sender is told, line by line of the contract.

use serde_json::{Value, json};

use super::only_webhooks;
use crate::support::{
    app::{JFWMS, Options, QIANYI, TestApp},
    backend::TestEnv,
    suite::tests,
    vendor, wire,
};

tests! {
    both: jfwms_is_answered_as_documented, qianyi_is_answered_as_documented,
        checks_come_in_the_order_of_the_contract, an_answers_code_can_be_a_string;
}

/// Accounts beside the usual two: one with a secret in its path, one for few senders, each.
fn options() -> Options {
    let (jf, qy) = (vendor::JFWMS_SECRET, vendor::QIANYI_SECRET);
    let jfwms = |name: &str, more: &str| {
        format!(
            "[accounts.{name}]\nvendor = \"jfwms\"\nbase_url = \"http://127.0.0.1:1\"\n\
             client_id = \"{name}\"\nclient_secret = \"{jf}\"\n{more}\n"
        )
    };
    let qianyi = |name: &str, more: &str| {
        format!(
            "[accounts.{name}]\nvendor = \"qianyi\"\nbase_url = \"http://127.0.0.1:1\"\n\
             app_id = \"{}\"\napp_secret = \"{qy}\"\n{more}\n",
            vendor::QIANYI_APP
        )
    };
    let secret = "path_secret = \"s3cret-path-of-this-test\"";
    let sources = "allowed_sources = [\"203.0.113.0/24\", \"2001:db8::/32\"]";
    let more = [
        jfwms("jf-secret", secret),
        jfwms("jf-few", sources),
        jfwms("jf-text", "answer_code = \"string\""),
        qianyi("qy-secret", secret),
        qianyi("qy-few", sources),
    ];
    Options {
        more: more.concat(),
        ingress: "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]".to_owned(),
        ..only_webhooks()
    }
}

/// What is tried, where, with which headers and body; HTTP status and code.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], String, (u16, u32));

async fn jfwms_is_answered_as_documented(env: &TestEnv) {
    let app = TestApp::start_with(env, options()).await;
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    let unsigned = vendor::framed("order", &vendor::order("U"), "");
    let wrong =
        vendor::framed("order", &vendor::order("W"), &format!(",\"sign\":\"{}\"", "0".repeat(32)));
    let no_hex = vendor::framed("order", &vendor::order("W"), ",\"sign\":\"no hex\"");
    let changed = order("C").replace("\"total\":9", "\"total\":8");
    let two = vendor::framed(
        "order",
        "{}",
        &format!(",\"data\":{{}},\"sign\":\"{}\"", vendor::jfwms_sign("{}")),
    );
    let deep = vendor::jfwms("order", &format!("{}{}", "[".repeat(100), "]".repeat(100)));
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    let cases: [Case<'_>; 25] = [
        ("taken", JFWMS, &[], order("1"), (200, 0)),
        ("taken again", JFWMS, &[], order("1"), (200, 0)),
        ("unknown type", JFWMS, &[], vendor::jfwms("brandNew", "{}"), (200, 0)),
        ("unknown shape", JFWMS, &[], vendor::jfwms("order", "[1]"), (200, 0)),
        ("unknown account", "nobody", &[], order("2"), (404, 10008)),
        ("no account's name", "No%20Body", &[], order("2"), (404, 10008)),
        ("a secret nobody set", "jf-main/x", &[], order("2"), (404, 10008)),
        ("no secret", "jf-secret", &[], order("2"), (404, 10008)),
        ("an empty secret", "jf-secret/", &[], order("2"), (404, 10008)),
        ("a wrong secret", "jf-secret/s3cret-path-of-this-tesT", &[], order("2"), (404, 10008)),
        ("the secret", "jf-secret/s3cret-path-of-this-test", &[], order("2"), (200, 0)),
        ("no signature", JFWMS, &[], unsigned, (401, 10021)),
        ("a wrong signature", JFWMS, &[], wrong, (401, 10026)),
        ("no hex", JFWMS, &[], no_hex, (401, 10026)),
        ("changed data", JFWMS, &[], changed, (401, 10026)),
        ("an address not allowed", "jf-few", &[], order("3"), (403, 10010)),
        ("an allowed one", "jf-few", &forwarded, order("3"), (200, 0)),
        (
            "behind two proxies",
            "jf-few",
            &[("x-forwarded-for", "203.0.113.9, 10.1.2.3")],
            order("4"),
            (200, 0),
        ),
        (
            "a lie before the truth",
            "jf-few",
            &[("x-forwarded-for", "203.0.113.9, 198.51.100.1")],
            order("5"),
            (403, 10010),
        ),
        ("not JSON", JFWMS, &[], "hello".to_owned(), (400, 10001)),
        ("nothing", JFWMS, &[], String::new(), (400, 10001)),
        ("cut off", JFWMS, &[], order("6").chars().take(60).collect(), (400, 10001)),
        ("no data", JFWMS, &[], r#"{"type":"order","sign":"00"}"#.to_owned(), (400, 10001)),
        ("two data", JFWMS, &[], two, (400, 10001)),
        ("nested too deep", JFWMS, &[], deep, (400, 10001)),
    ];
    for (what, path, headers, body, (status, code)) in cases {
        let answer = wire::post(&app, path, headers, body).await;
        assert_eq!(answer.code(), (status, json!(code)), "{what}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
        let members = answer.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members, ["code", "msg"], "{what}");
        assert_eq!(answer.json()["msg"] == "", code == 0, "{what}: {answer:?}");
    }
    // What was refused left nothing behind: 1, 2 (with the secret), 3 and 4.
    let mut keys: Vec<_> = Vec::new();
    for record in env.read_now(&env.name("jfwms.order")).await {
        keys.push(record.key().to_owned());
    }
    keys.sort_unstable();
    assert_eq!(keys, ["1", "2", "3", "4"]);
    assert_eq!(env.read_now(&env.name("jfwms.unrecognized")).await.len(), 2);
    app.stop().await.unwrap();
}

async fn qianyi_is_answered_as_documented(env: &TestEnv) {
    let app = TestApp::start_with(env, options()).await;
    let biz = r#"{"orderNumber":"S1"}"#;
    let kind = "PUSH_TRACKING_PACKAGE";
    let good = || vendor::push(kind, biz);
    let with = |name: &str, value: Option<&str>| {
        let mut fields = good();
        fields.retain(|(field, _)| *field != name || value.is_some());
        for (field, text) in &mut fields {
            if *field == name {
                *text = value.unwrap_or_default().to_owned();
            }
        }
        vendor::as_json(&fields)
    };
    let at = vendor::SENT_AT.to_string();
    let other_app = vendor::as_json(&vendor::push_for("openApi_OTHER", kind, &at, biz));
    let no_json = vendor::as_json(&vendor::push(kind, "hello"));
    let no_digits = vendor::as_json(&vendor::push_for(vendor::QIANYI_APP, kind, "now", biz));
    let twice = vendor::as_json(&good()).replace("{\"appId\"", "{\"bizParam\":\"{}\",\"appId\"");
    let cases: [(&str, &str, String, (u16, &str)); 15] = [
        ("taken", QIANYI, vendor::as_json(&good()), (200, "0")),
        ("taken again", QIANYI, vendor::as_json(&good()), (200, "0")),
        (
            "unknown serviceType",
            QIANYI,
            vendor::as_json(&vendor::push("PUSH_NEW", biz)),
            (200, "0"),
        ),
        ("no signature", QIANYI, with("sign", None), (401, "SIGNATURE_CANNOT_BE_BLANK")),
        ("a blank signature", QIANYI, with("sign", Some("")), (401, "SIGNATURE_CANNOT_BE_BLANK")),
        (
            "a wrong signature",
            QIANYI,
            with("sign", Some(&"0".repeat(32))),
            (401, "SIGNATURE_ERROR"),
        ),
        ("changed content", QIANYI, with("bizParam", Some("{}")), (401, "SIGNATURE_ERROR")),
        ("changed time", QIANYI, with("timestamp", Some("1")), (401, "SIGNATURE_ERROR")),
        ("another application", QIANYI, other_app, (401, "APP_NOT_EXIST")),
        ("no application", QIANYI, with("appId", None), (401, "APP_NOT_EXIST")),
        ("not allowed", "qy-few", vendor::as_json(&good()), (403, "SYSTEM_ERROR")),
        ("not JSON", QIANYI, "hello".to_owned(), (400, "SYSTEM_ERROR")),
        ("no content", QIANYI, with("bizParam", None), (400, "SYSTEM_ERROR")),
        ("content that is no JSON", QIANYI, no_json, (400, "SYSTEM_ERROR")),
        ("two contents", QIANYI, twice, (400, "SYSTEM_ERROR")),
    ];
    for (what, path, body, (status, code)) in cases {
        let answer = wire::post(&app, path, &[], body).await;
        let json = answer.json();
        assert_eq!(
            (answer.status, &json["errorCode"]),
            (status, &json!(code)),
            "{what}: {answer:?}"
        );
        let state = if status == 200 { "success" } else { "failure" };
        assert_eq!((&json["state"], &json["bizContent"]), (&json!(state), &json!("")), "{what}");
        assert_eq!(json["errorMsg"] == "", status == 200, "{what}: {answer:?}");
    }
    // As where there is no account, so that nothing says there is one.
    let nobody = wire::post(&app, "nobody", &[], vendor::as_json(&good())).await;
    for path in ["qy-secret/x", "qy-secret"] {
        let refused = wire::post(&app, path, &[], vendor::as_json(&good())).await;
        assert_eq!((refused.status, &refused.text), (404, &nobody.text), "{path}");
    }
    let refused = wire::post(&app, QIANYI, &[], no_digits).await;
    assert_eq!((refused.status, &refused.json()["state"]), (400, &json!("failure")));
    assert_eq!(env.read_now(&env.name("qianyi.tracking-package")).await.len(), 1);
    assert_eq!(env.read_now(&env.name("qianyi.unrecognized")).await.len(), 1);
    app.stop().await.unwrap();
}

/// Account and path secret, source address, size, JSON, `data`, signature.
async fn checks_come_in_the_order_of_the_contract(env: &TestEnv) {
    let mut options = options();
    options.ingress += "\nmax_body = \"2KiB\"";
    let app = TestApp::start_with(env, options).await;
    let large = || "x".repeat(3_000);
    for (what, path, body, expected) in [
        ("the account before the size", "nobody", large(), 404),
        ("the secret before the size", "jf-secret/x", large(), 404),
        ("the source before the size", "jf-few", large(), 403),
        ("the source before the JSON", "jf-few", "x".to_owned(), 403),
        ("the size before the JSON", JFWMS, large(), 413),
        ("the JSON before the signature", JFWMS, "x".to_owned(), 400),
        ("data before the signature", JFWMS, r#"{"type":"order"}"#.to_owned(), 400),
    ] {
        assert_eq!(wire::post(&app, path, &[], body).await.status, expected, "{what}");
    }
    // Nothing but webhooks is on this listener.
    let base = format!("http://{}", app.running.webhooks.unwrap());
    for path in ["/", "/metrics", "/healthz", "/readyz", "/webhooks", "/webhooks/a/b/c"] {
        let response = app.http.post(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(wire::answer(response).await.code(), (404, json!(10008)), "{path}");
        let response = app.http.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 404, "{path}");
    }
    // Whatever is refused is counted, also where no account is called.
    for path in ["/webhooks/jf-main/", "/webhooks//jf-main", "/wms/webhooks/jf-main"] {
        let response = app.http.post(format!("{base}{path}")).body("{}").send().await.unwrap();
        assert_eq!(wire::answer(response).await.code(), (404, json!(10008)), "{path}");
    }
    let put = app.http.put(app.webhook_url(JFWMS)).body("{}").send().await.unwrap();
    assert_eq!(
        (put.status().as_u16(), put.headers()["allow"].to_str().unwrap()),
        (405, "GET,HEAD,POST")
    );
    let metrics = app.metrics().await;
    for (outcome, count) in
        [("unknown_path", 15), ("method_not_allowed", 1), ("unknown_account", 1)]
    {
        let series = format!(
            "wms_webhooks_total{{account=\"none\",outcome=\"{outcome}\",type=\"none\"}} {count}\n"
        );
        assert!(metrics.contains(&series), "{series}: {metrics}");
    }
    app.stop().await.unwrap();
}

async fn an_answers_code_can_be_a_string(env: &TestEnv) {
    let app = TestApp::start_with(env, options()).await;
    let taken = wire::post(&app, "jf-text", &[], vendor::jfwms("order", &vendor::order("1"))).await;
    assert_eq!((taken.status, taken.text.as_str()), (200, r#"{"code":"0","msg":""}"#));
    let refused = wire::post(&app, "jf-text", &[], vendor::framed("order", "{}", "")).await;
    assert_eq!(refused.code(), (401, Value::from("10021")));
    let taken = wire::post(&app, JFWMS, &[], vendor::jfwms("order", &vendor::order("2"))).await;
    assert_eq!((taken.status, taken.text.as_str()), (200, r#"{"code":0,"msg":""}"#));
    app.stop().await.unwrap();
}
