//! `sign` reproduces what the vendors publish.

use serde_json::{Value, json};

use crate::support::{
    backend::TestEnv,
    binary::Files,
    suite::tests,
    vendor::{self, JFWMS_SECRET, QIANYI_APP, QIANYI_SECRET, md5},
};

tests! {
    mock: the_guides_call_of_jfwms, the_webhook_of_jfwms_in_every_form, the_vectors_of_qianyi,
        secrets_are_not_shown;
}

/// The string and the sign that the output shows first, behind the name of their form where there
/// are several.
fn lines(output: &str) -> (&str, &str) {
    let mut lines = output.lines().skip_while(|line| line.starts_with("form: "));
    let string = lines.next().and_then(|line| line.strip_prefix("string: "));
    let sign = lines.next().and_then(|line| line.strip_prefix("sign: "));
    (string.unwrap_or_else(|| panic!("{output}")), sign.unwrap_or_else(|| panic!("{output}")))
}

async fn the_guides_call_of_jfwms(_: &TestEnv) {
    const SIGN: &str = "9bc08ba7552c5dfea4efab6bda78a4a9738010913f2403bd93f09c6bf974b939";
    const STRING: &str = "accessToken=***&clientId=fe73489a9b5948dbafd07e7b28d6e268&method=post\
        &nonce=14&timestamp=1692889556000&url=/api/order/get&userId=8";
    let files = Files::new("");
    let token = files.write("token", "1b56814f081c432cb82751be145261d3\n");
    let secret = files.write("secret", JFWMS_SECRET);
    let mut arguments = vec![
        "sign",
        "jfwms-call",
        "--client-id",
        "fe73489a9b5948dbafd07e7b28d6e268",
        "--access-token-file",
        &token,
        "--user-id",
        "8",
        "--timestamp",
        "1692889556000",
        "--nonce",
        "14",
        "--path",
        "/api/order/get",
        "--secret-file",
        &secret,
    ];
    let done = files.run(&arguments).await;
    assert_eq!(done.ok(), format!("string: {STRING}\nsign: {SIGN}\n"));
    arguments.push("--json");
    let done = files.run(&arguments).await;
    assert_eq!(
        serde_json::from_str::<Value>(done.ok()).unwrap(),
        json!({"string": STRING, "sign": SIGN})
    );
}

async fn the_webhook_of_jfwms_in_every_form(_: &TestEnv) {
    const RAW: &str = "{ \"a\" : \"x \\\" 仓\",\r\n \"n\":1.10 }";
    const COMPACT: &str = "{\"a\":\"x \\\" 仓\",\"n\":1.10}";
    const TEXT: &str = r#""{ \"a\" : \"x \\\" 仓\",\r\n \"n\":1.10 }""#;
    let files = Files::new("");
    let data = files.write("data.json", RAW);
    let variables = [("JFWMS_CLIENT_SECRET", JFWMS_SECRET)];
    let base =
        ["sign", "jfwms-webhook", "--data-file", &data, "--secret-env", "JFWMS_CLIENT_SECRET"];
    for (form, embedded) in [("raw", RAW), ("compact", COMPACT), ("text", TEXT)] {
        for order in ["data-first", "secret-first"] {
            let text = |secret: &str| match order {
                "data-first" => format!("{{\"data\":{embedded},\"clientSecret\":\"{secret}\"}}"),
                _ => format!("{{\"clientSecret\":\"{secret}\",\"data\":{embedded}}}"),
            };
            let arguments = [&base[..], &["--form", form, "--order", order]].concat();
            let done = files.run_with(&arguments, &variables).await;
            let shown = text("***").replace('\r', "\\r").replace('\n', "\\n");
            let sign = md5(&text(JFWMS_SECRET));
            assert_eq!(lines(done.ok()), (shown.as_str(), sign.as_str()), "{form} {order}");
            assert_eq!(done.stdout.lines().count(), 2, "{done:?}");
            let done = files.run_with(&[&arguments[..], &["--json"]].concat(), &variables).await;
            let json: Value = serde_json::from_str(done.ok()).unwrap();
            assert_eq!(json, json!({"string": text("***"), "sign": sign}), "{form} {order}");
        }
    }
    // Without a form every one is shown, by name.
    let done = files.run_with(&base, &variables).await;
    assert!(done.ok().starts_with("form: raw-data-first\nstring: "), "{done:?}");
    let forms = [
        "compact-data-first",
        "text-data-first",
        "raw-secret-first",
        "compact-secret-first",
        "text-secret-first",
    ];
    for form in forms {
        assert!(done.ok().contains(&format!("\nform: {form}\nstring: ")), "{done:?}");
    }
    assert_eq!(done.stdout.matches("sign: ").count(), 6, "{done:?}");
    let done = files.run_with(&[&base[..], &["--json"]].concat(), &variables).await;
    let json: Value = serde_json::from_str(done.ok()).unwrap();
    let listed = json["forms"].as_array().unwrap();
    assert_eq!(listed.len(), 6);
    for shown in listed {
        let form = shown["form"].as_str().unwrap();
        let embedded = match form.split_once('-').unwrap().0 {
            "raw" => RAW,
            "compact" => COMPACT,
            _ => TEXT,
        };
        let text = |secret: &str| match form.ends_with("data-first") {
            true => format!("{{\"data\":{embedded},\"clientSecret\":\"{secret}\"}}"),
            false => format!("{{\"clientSecret\":\"{secret}\",\"data\":{embedded}}}"),
        };
        let expected =
            json!({"form": form, "string": text("***"), "sign": md5(&text(JFWMS_SECRET))});
        assert_eq!(*shown, expected);
    }
    assert_eq!((&json["string"], &json["sign"]), (&listed[0]["string"], &listed[0]["sign"]));
    // Every sample of the guide, and the likeliest form comes first.
    for sample in vendor::jfwms_samples().values() {
        files.write("data.json", &sample.data);
        let done = files.run_with(&base, &variables).await;
        assert_eq!(lines(done.ok()).1, vendor::jfwms_sign(&sample.data), "{}", sample.kind);
    }
}

async fn the_vectors_of_qianyi(_: &TestEnv) {
    let asn = vendor::qianyi_sample("guide-create-asn.json");
    assert!(asn.contains("（测试用）"), "full-width brackets");
    let files = Files::new("");
    // An editor's newline behind a secret is no part of it; behind bizParam it is.
    let secret = files.write("secret", &format!("{QIANYI_SECRET}\n"));
    for (app_id, service_type, timestamp, biz_param, sign) in [
        (
            QIANYI_APP,
            "CREATE_ASN_ORDER",
            "1662448537275",
            asn.as_str(),
            "b3dfeed438e36f1f89534ce415cf4113",
        ),
        (
            "TEST",
            "QUERY_ASN_LIST",
            "1756865700001",
            r#"{"page":1,"pageSize":3}"#,
            "72309a741bb0b39db6a8a1144bf1c9d9",
        ),
        (
            "TEST",
            "QUERY_SALES_ORDER_LIST",
            "1731742317",
            r#"{"onlineOrderNumber":"OUTBOUNDSMOKE7","page":1,"pageSize":100}"#,
            "ff4ae16851dc97222781c1975f6ef168",
        ),
        (
            "TEST",
            "QUERY_SIMPLE_LIST_INVENTORY_V2",
            "1731742317",
            r#"{"page":1,"pageSize":3,"warehouse":"best warehouse（测试用）"}"#,
            "26fff7cae9e2f3420f1aae8a1677be19",
        ),
    ] {
        let file = files.write("bizParam.json", biz_param);
        let arguments = [
            "sign",
            "qianyi",
            "--app-id",
            app_id,
            "--service-type",
            service_type,
            "--timestamp",
            timestamp,
            "--biz-param-file",
            &file,
            "--secret-file",
            &secret,
        ];
        let string = format!(
            "appId={app_id}bizParam={biz_param}serviceType={service_type}timestamp={timestamp}***"
        );
        let done = files.run(&arguments).await;
        assert_eq!(done.ok(), format!("string: {string}\nsign: {sign}\n"), "{service_type}");
        let done = files.run(&[&arguments[..], &["--json"]].concat()).await;
        let json: Value = serde_json::from_str(done.ok()).unwrap();
        assert_eq!(json, json!({"string": string, "sign": sign}), "{service_type}");

        // The file's bytes as they are, line ends among them.
        files.write("bizParam.json", &format!("{biz_param}\r\n"));
        let done = files.run(&arguments).await;
        let (shown, other) = lines(done.ok());
        assert!(shown.contains("}\\r\\nserviceType="), "{shown}");
        assert_ne!(other, sign);
    }
}

async fn secrets_are_not_shown(_: &TestEnv) {
    let files = Files::new("");
    let data = files.write("data.json", "{}");
    for (variable, code) in [(Some(JFWMS_SECRET), 0), (None, 2)] {
        let arguments =
            ["sign", "jfwms-webhook", "--data-file", &data, "--secret-env", "THE_SECRET"];
        let variables: Vec<_> = variable.into_iter().map(|value| ("THE_SECRET", value)).collect();
        let done = files.run_with(&arguments, &variables).await;
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(!done.stdout.contains(JFWMS_SECRET) && !done.stderr.contains(JFWMS_SECRET));
    }
    // As an argument it is not taken.
    let done = files.run(&["sign", "jfwms-webhook", "--data-file", &data, "--secret", "x"]).await;
    assert_eq!(done.code, Some(2), "{done:?}");
}
