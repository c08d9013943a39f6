//! SIGTERM, a second one, and a configuration that cannot work.

use std::{net::TcpStream, time::Duration};

use wms_connector::{
    app::topics,
    sandbox::{Sandbox, SandboxSettings},
};

use crate::support::{
    app::{self, JFWMS, Options, PATIENCE},
    backend::TestEnv,
    binary::{Connector, Files},
    parts,
    suite::tests,
    vendor,
    wire::{Kept, Unfinished},
};

tests! {
    both: what_is_in_flight_is_answered_before_the_end, a_second_signal_ends_at_once,
        a_signal_is_heard_while_kafka_is_waited_for, a_balancer_has_time_to_notice_the_end;
    kafka: a_successor_has_the_group_at_once;
    mock: a_wrong_configuration_is_refused, a_taken_port_ends_the_start;
}

/// The program at work, with everything it needs.
async fn start(env: &TestEnv) -> (Connector, Files, Sandbox) {
    start_with(env, Options::default()).await
}

async fn start_with(env: &TestEnv, options: Options) -> (Connector, Files, Sandbox) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    for topic in topics::all(&app::configuration(env, &options, &sandbox), 1, 1) {
        env.create_topic(&topic.name, 1).await;
    }
    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    let connector = files.start(&[]).await;
    connector.until_ready_is(200).await;
    (connector, files, sandbox)
}

async fn what_is_in_flight_is_answered_before_the_end(env: &TestEnv) {
    for signal in ["TERM", "INT"] {
        let (mut connector, files, sandbox) = start_again(env, signal).await;
        let mut unfinished = Vec::new();
        for n in 0..5 {
            let body = vendor::jfwms("order", &vendor::order(&format!("{signal}-{n}")));
            unfinished.push(Unfinished::half(connector.webhooks(), JFWMS, &body));
        }
        connector.until_metric("wms_in_flight{pipeline=\"webhooks\"} 5").await;
        connector.signal(signal);
        let stopping = connector.until_ready_is(503).await;
        assert_eq!(stopping.json()["checks"]["process"], "stopping");
        for (request, rest) in &mut unfinished {
            request.write(rest);
        }
        for (request, _) in unfinished {
            assert_eq!(request.answer().await.code(), (200, 0.into()), "{signal}");
        }
        let (code, log) = connector.ended(PATIENCE).await;
        assert_eq!(code, Some(0), "{signal}: {log}");
        drop(files);
        sandbox.shutdown().await;
    }
    let records = env.read_all(&env.name("jfwms.order"), 10, PATIENCE).await;
    assert_eq!(records.len(), 10);
}

/// The first time with the topics to be made, then without.
async fn start_again(env: &TestEnv, signal: &str) -> (Connector, Files, Sandbox) {
    if signal == "TERM" {
        return start(env).await;
    }
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let files = Files::new(&app::configuration_text(env, &Options::default(), &sandbox));
    let connector = files.start(&["--only", "webhooks"]).await;
    connector.until_ready_is(200).await;
    (connector, files, sandbox)
}

/// What a balancer sends before it has seen the unready answer is taken, on its own connections
/// and on new ones, and each answer says that it was the connection's last.
async fn a_balancer_has_time_to_notice_the_end(env: &TestEnv) {
    let options = Options { ingress: "drain = \"2s\"".to_owned(), ..Options::default() };
    let (mut connector, _files, sandbox) = start_with(env, options).await;
    let address = connector.webhooks();
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    let mut kept = Kept::open(address);
    let mut unused = Kept::open(address);
    let before = kept.post(JFWMS, &order("1")).await;
    assert_eq!((before.code(), before.header("connection")), ((200, 0.into()), None));
    connector.signal("TERM");
    connector.until_ready_is(503).await;
    let mut late = Kept::open(address);
    for (number, connection) in [("2", &mut kept), ("3", &mut late)] {
        let answer = connection.post(JFWMS, &order(number)).await;
        assert_eq!((answer.code(), answer.header("connection")), ((200, 0.into()), Some("close")));
        assert_eq!(connection.read_to_end().await, "");
    }
    assert_eq!(unused.read_to_end().await, "");
    assert!(TcpStream::connect(address).is_err(), "it still listens");
    let (code, log) = connector.ended(PATIENCE).await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(env.read_all(&env.name("jfwms.order"), 3, PATIENCE).await.len(), 3);
    sandbox.shutdown().await;
}

async fn a_second_signal_ends_at_once(env: &TestEnv) {
    let (mut connector, _files, sandbox) = start(env).await;
    let body = vendor::jfwms("order", &vendor::order("1"));
    let (_request, _) = Unfinished::half(connector.webhooks(), JFWMS, &body);
    connector.until_metric("wms_in_flight{pipeline=\"webhooks\"} 1").await;
    connector.signal("TERM");
    connector.until_ready_is(503).await;
    connector.signal("TERM");
    // Well before the sender's own deadline (15 s) would have ended the wait.
    let (code, log) = connector.ended(Duration::from_secs(8)).await;
    assert_eq!(code, Some(143), "{log}");
    sandbox.shutdown().await;
}

/// One that ends in good order leaves its group: nobody waits for its session to run out (45 s).
/// (The mock cluster waits for it all the same.)
async fn a_successor_has_the_group_at_once(env: &TestEnv) {
    let (mut connector, files, sandbox) = start(env).await;
    connector.signal("TERM");
    let (code, log) = connector.ended(PATIENCE).await;
    assert_eq!(code, Some(0), "{log}");
    let successor = files.start(&[]).await;
    successor.until_ready_is(200).await;
    sandbox.shutdown().await;
}

async fn a_signal_is_heard_while_kafka_is_waited_for(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let nowhere = Some(format!("127.0.0.1:{}", parts::free_port()));
    let options = Options { bootstrap_servers: nowhere, ..Options::default() };
    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    let mut connector = files.start(&[]).await;
    connector.until_ready_is(503).await;
    connector.signal("TERM");
    let (code, log) = connector.ended(PATIENCE).await;
    assert_eq!(code, Some(0), "{log}");
    sandbox.shutdown().await;
}

async fn a_wrong_configuration_is_refused(_: &TestEnv) {
    let secret = "s3cret-value-of-this-test";
    let account = format!(
        "[accounts.jf-main]\nvendor = \"jfwms\"\nbase_url = \"http://127.0.0.1:1\"\n\
         client_id = \"c\"\nclient_secret = \"{secret}\"\n"
    );
    for (what, text, said) in [
        ("no TOML", "[kafka".to_owned(), "wms-connector.toml:1"),
        ("an unknown key", format!("[ingres]\nx = 1\n{account}"), "ingress"),
        ("an unknown key", "[ingress]\nmax_boddy = \"1KiB\"".to_owned(), "max_body"),
        ("a wrong value", "[ingress]\npublish_timeout = \"soon\"".to_owned(), "publish_timeout"),
        ("what the promises rest on", "[kafka.producer]\nacks = \"1\"".to_owned(), "in-sync"),
        ("a half account", account.replace("client_id = \"c\"\n", ""), "client_id"),
        ("an unknown vendor", account.replace("jfwms\"", "jfwsm\""), "jfwms"),
    ] {
        let files = Files::new(&text);
        for command in [&["run"][..], &["check"], &["topics", "plan"]] {
            let done = files.run(command).await;
            assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{what}: {done:?}");
            assert!(done.stderr.contains(said), "{what}: {done:?}");
            assert!(!done.stderr.contains(secret), "{what}: {done:?}");
        }
    }
    let files = Files::new("");
    for usage in [&["runn"][..], &["sign", "qianyi"], &["--config", "nowhere.toml", "run"]] {
        let done = files.run(usage).await;
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{usage:?}: {done:?}");
        assert!(!done.stderr.is_empty());
    }
}

async fn a_taken_port_ends_the_start(env: &TestEnv) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let text = app::configuration_text(env, &Options::default(), &sandbox);
    for key in ["ingress", "admin"] {
        let section = format!("[{key}]\nlisten = \"127.0.0.1:0\"");
        let files = Files::new(&text.replace(&section, &section.replace("127.0.0.1:0", &address)));
        let done = files.run(&["run"]).await;
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains(&address) && done.stderr.contains(key), "{done:?}");
    }
    sandbox.shutdown().await;
}
