//! The commands around a running connector.

use serde_json::{Value, json};
use wms_connector::{
    app::topics,
    sandbox::{Sandbox, SandboxSettings},
};

use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, QIANYI, TestApp},
    backend::TestEnv,
    binary::{Done, Files},
    suite::tests,
    vendor,
};

tests! {
    both: webhooks_are_sent_to_a_running_connector, a_command_is_sent_and_its_reply_printed;
    kafka: topics_are_planned_and_applied_once, schemas_are_registered_once,
        a_command_is_sent_in_the_registrys_frame;
}

async fn topics_are_planned_and_applied_once(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &Options::default(), &sandbox);
    let files = Files::new(&app::configuration_text(env, &Options::default(), &sandbox));
    let names: Vec<_> = topics::all(&config, 2, 3).into_iter().map(|topic| topic.name).collect();
    for name in &names {
        env.will_be_created(name);
    }
    let stands = |done: &Done, name: &str| {
        let line = done.stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned)
    };
    let planned = files.run(&["topics", "plan", "--partitions", "2"]).await;
    planned.ok();
    let applied = files.run(&["topics", "apply", "--partitions", "2"]).await;
    let after = applied.ok().split_once("\n\n").map(|(_, after)| after.to_owned()).unwrap();
    for name in &names {
        assert_eq!(stands(&planned, name).as_deref(), Some("missing"), "{name}: {planned:?}");
        assert!(after.contains(&format!("created  {name}\n")), "{name}: {after}");
    }
    // As many replicas as there are brokers, and the internal topic has one partition.
    let tokens = env.name("connector.tokens");
    for (topic, partitions) in
        [(env.name("jfwms.order"), 2), (tokens, 1), (env.name("commands"), 2)]
    {
        let line = format!("partitions={partitions} replication=1 ");
        let shown = planned.stdout.lines().find(|line| line.starts_with(&format!("{topic} ")));
        assert!(shown.is_some_and(|shown| shown.contains(&line)), "{topic}: {shown:?}");
        let shown = shown.unwrap_or_default();
        assert!(shown.ends_with(" min.insync.replicas=2"), "{topic}: {shown}");
    }
    for again in ["apply", "plan"] {
        let done = files.run(&["topics", again, "--partitions", "5"]).await;
        done.ok();
        assert!(!done.stdout.contains("created  ") && !done.stdout.contains("missing"), "{done:?}");
        for name in &names {
            assert_eq!(stands(&done, name).as_deref(), Some("present"), "{name}");
        }
    }
    // With them the connector starts.
    let connector = files.start(&[]).await;
    connector.until_ready_is(200).await;
    let file = files.write("data.json", &vendor::order("1"));
    let url = format!("http://{}", connector.webhooks());
    let sending = [
        "send",
        "webhook",
        "--account",
        JFWMS,
        "--type",
        "order",
        "--data-file",
        &file,
        "--url",
        &url,
    ];
    files.run(&sending).await.ok();
    sandbox.shutdown().await;
}

/// The configuration of a connector that may not register anything itself.
pub(super) fn with_a_registry(env: &TestEnv, sandbox: &Sandbox) -> Files {
    let registry = Some(env.registry().url().to_owned());
    let options = Options { registry, ..Options::default() };
    let text = app::configuration_text(env, &options, sandbox);
    Files::new(&text.replace("auto_register = true", "auto_register = false"))
}

async fn schemas_are_registered_once(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let files = with_a_registry(env, &sandbox);
    let options = Options::default();
    let config = app::configuration(env, &options, &sandbox);
    for topic in topics::all(&config, 1, 1) {
        env.create_topic(&topic.name, 1).await;
    }
    let before = files.run(&["schemas", "check"]).await;
    assert_eq!(before.code, Some(1), "{before:?}");
    let subject = format!("{}-value", env.name("jfwms.order-create"));
    assert!(before.stdout.lines().any(|l| l.starts_with(&subject) && l.ends_with("missing")));
    assert!(before.stderr.contains("schemas register"), "{before:?}");
    // A connector that may not register does not start, and says what would help.
    let refused = files.run(&["run"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("schemas register") && refused.stderr.contains(&subject));

    files.run(&["schemas", "register"]).await.ok();
    let registered = env.registry().subjects().await.unwrap();
    for subject in topics::all_subjects(&config) {
        assert!(registered.contains(&subject.name), "{}", subject.name);
    }
    let after = files.run(&["schemas", "check"]).await;
    assert!(after.ok().lines().all(|line| line.contains("present")), "{after:?}");
    files.run(&["schemas", "register"]).await.ok();
    let again = files.run(&["schemas", "check"]).await;
    assert_eq!(again.ok(), after.ok());
    let connector = files.start(&[]).await;
    connector.until_ready_is(200).await;
    sandbox.shutdown().await;
}

async fn webhooks_are_sent_to_a_running_connector(env: &TestEnv) {
    let options = Options {
        jfwms: "path_secret = \"s3cret-path-of-this-test\"".to_owned(),
        ..Options::default()
    };
    let text_options = Options { jfwms: options.jfwms.clone(), ..Options::default() };
    let app = TestApp::start_with(env, options).await;
    let files = Files::new(&app::configuration_text(env, &text_options, &app.sandbox));
    let url = format!("http://{}", app.running.webhooks.unwrap());
    let send = async |account: &str, kind: &str, data: &str| {
        let file = files.write("data.json", data);
        let arguments = [
            "send",
            "webhook",
            "--account",
            account,
            "--type",
            kind,
            "--data-file",
            &file,
            "--url",
            &url,
        ];
        files.run(&arguments).await
    };
    // An editor's newline behind the file is no harm.
    let data = format!("{}\n", vendor::order("S-1"));
    let sent = send(JFWMS, "order", &data).await;
    let records = env.read_all(&env.name("jfwms.order"), 1, PATIENCE).await;
    assert_eq!(records[0].key(), "S-1");
    assert_eq!(
        sent.ok(),
        format!(
            "HTTP 200 {{\"code\":0,\"msg\":\"\"}}\n→ {}, key S-1, event {}\n",
            records[0].topic,
            records[0].header("ce_id").unwrap()
        )
    );
    let push = vendor::qianyi_sample("push-asn-order.json");
    assert!(send(QIANYI, "PUSH_ASN_ORDER", &push).await.ok().starts_with("HTTP 200 "));
    // The answer is the same for what fits no topic: where it lies is said beside it.
    let lost = send(JFWMS, "order", "{\"erpNo\":\"1\",\"skuList\":[{\"total\":1}]}").await;
    let lies = format!("→ {}: undecodable: data.skuList[0].sku", env.name("jfwms.unrecognized"));
    assert!(lost.ok().contains(&lies), "{lost:?}");
    let whole = send(JFWMS, "order", &vendor::jfwms("order", &data)).await;
    assert_eq!(whole.code, Some(2), "{whole:?}");
    assert!(whole.stderr.contains("give the value of its `data` alone"), "{whole:?}");
    for (account, kind, code) in
        [(JFWMS, "orderCreate", 0), (QIANYI, "PUSH_ODO_ORDER", 0), (JFWMS, "PUSH_ODO_ORDER", 2)]
    {
        let sample = ["send", "webhook", "--account", account, "--type", kind, "--sample", "--url"];
        let done = files.run(&[&sample[..], &[&url]].concat()).await;
        assert_eq!(done.code, Some(code), "{done:?}");
        let topics = done.stdout.contains(".unrecognized");
        assert!(!topics && (code == 0 || done.stderr.contains("orderCancel")), "{done:?}");
    }
    assert_eq!(env.read_all(&env.name("qianyi.asn"), 1, PATIENCE).await.len(), 1);

    for (account, data, code) in
        [("nobody", "{}", 2), ("No Body", "{}", 2), (JFWMS, "{", 2), (QIANYI, "hello", 2)]
    {
        let done = send(account, "order", data).await;
        assert_eq!(done.code, Some(code), "{done:?}");
    }
    // A connector that refuses, or is not there, is a failure; the secret in the path stays one.
    let other = Files::new(&app::configuration_text(env, &Options::default(), &app.sandbox));
    let file = other.write("data.json", "{}");
    let arguments =
        ["send", "webhook", "--account", JFWMS, "--type", "order", "--data-file", &file, "--url"];
    let refused = other.run(&[&arguments[..], &[&url]].concat()).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.starts_with("HTTP 404 "), "{refused:?}");
    let nowhere = format!("http://127.0.0.1:{}", crate::support::parts::free_port());
    let done = files.run(&[&arguments[..], &[&nowhere]].concat()).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(!done.stderr.contains("s3cret") && done.stderr.contains(&nowhere), "{done:?}");
    app.stop().await.unwrap();
}

/// An order that both the guide and the simulated vendor take.
fn create_order(number: &str) -> Value {
    json!({
        "account": JFWMS, "orderNumber": number, "platform": "other", "warehouse": "YK",
        "recipient": {"name": "Li", "country": "US", "city": "Austin", "address1": "Street 1"},
        "logistics": {"kind": "OFFLINE", "name": "USPS"},
        "lines": [{"sku": "A", "quantity": 2}],
    })
}

async fn a_command_is_sent_and_its_reply_printed(env: &TestEnv) {
    let app = TestApp::start(env).await;
    let files = Files::new(&app::configuration_text(env, &Options::default(), &app.sandbox));
    for format in ["avro", "json"] {
        let number = format!("C-{format}");
        let file = files.write("command.json", &create_order(&number).to_string());
        let arguments =
            ["send", "command", "create-order", "--file", &file, "--wait", "--format", format];
        let done = files.run(&arguments).await;
        let reply: Value = serde_json::from_str(done.ok()).unwrap();
        assert_eq!(reply["status"], "SUCCEEDED", "{reply}");
        assert_eq!(reply["commandTopic"], env.name("commands.create-order"));
        let kept = app.sandbox.books().orders.len();
        assert_eq!(kept, if format == "avro" { 1 } else { 2 });
    }
    // A business refusal is printed, and is a failure.
    let mut refused = create_order("C-refused");
    refused["lines"][0]["sku"] = json!("UNKNOWN-SKU");
    let file = files.write("command.json", &refused.to_string());
    let done = files.run(&["send", "command", "create-order", "--file", &file, "--wait"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    let reply: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(reply["status"], "REJECTED", "{reply}");
    // Without waiting: where it was written. Under the document's number.
    let file = files.write("command.json", &create_order("C-later").to_string());
    let done = files.run(&["send", "command", "create-order", "--file", &file]).await;
    assert!(done.ok().starts_with(&env.name("commands.create-order")), "{done:?}");
    let records = env.read_all(&env.name("commands.create-order"), 4, PATIENCE).await;
    assert!(records.iter().any(|record| record.key() == "C-later"));

    for (kind, text, code, said) in [
        ("make-order", create_order("X").to_string(), 2, "create-order"),
        ("create-order", "{".to_owned(), 2, "JSON"),
        ("create-order", r#"{"account":"jf-main","ordernumber":"X"}"#.to_owned(), 2, "orderNumber"),
    ] {
        let file = files.write("command.json", &text);
        let done = files.run(&["send", "command", kind, "--file", &file]).await;
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(done.stderr.contains(said), "{done:?}");
    }
    app.stop().await.unwrap();
}

async fn a_command_is_sent_in_the_registrys_frame(env: &TestEnv) {
    let registry = Some(env.registry().url().to_owned());
    let options = Options { registry: registry.clone(), ..Options::default() };
    let app = TestApp::start_with(env, options).await;
    let text_options = Options { registry, ..Options::default() };
    let files = Files::new(&app::configuration_text(env, &text_options, &app.sandbox));
    let file = files.write("command.json", &create_order("C-1").to_string());
    let done = files.run(&["send", "command", "create-order", "--file", &file, "--wait"]).await;
    let reply: Value = serde_json::from_str(done.ok()).unwrap();
    assert_eq!(reply["status"], "SUCCEEDED", "{reply}");
    let records = env.read_all(&env.name("commands.create-order"), 1, PATIENCE).await;
    let command = env.registry().decode_json(records[0].value()).await.unwrap();
    assert_eq!(command["orderNumber"], "C-1");
    app.stop().await.unwrap();
}
