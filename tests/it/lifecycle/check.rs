//! `check` finds what `run` would fail on, and says how to mend it.

use std::{net::TcpListener, time::Duration};

use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    consumer::Consumer,
};
use wms_connector::sandbox::{Fault, FaultRule, Sandbox, SandboxSettings, Vendor};

use crate::support::{
    app::{self, JFWMS, Options, QIANYI, create_topics},
    backend::{self, Outgoing, TestEnv, blocking},
    binary::{Done, Files},
    suite::tests,
};

tests! {
    mock: an_account_that_cannot_call_is_told_apart;
    kafka: what_is_in_order, a_group_without_a_commit_and_a_foreign_member,
        topics_that_lose_what_they_should_keep;
}

/// The lines of one subject, of one account.
fn lines<'a>(done: &'a Done, start: &str, name: &str) -> Vec<&'a str> {
    done.stdout.lines().filter(|line| line.starts_with(start) && line.contains(name)).collect()
}

async fn sandbox() -> Sandbox {
    Sandbox::start(SandboxSettings::default()).await.unwrap()
}

async fn what_is_in_order(env: &TestEnv) {
    let sandbox = sandbox().await;
    let options = Options { commands: "begin = \"\"\n".to_owned(), ..Options::default() };
    let config = app::configuration(env, &options, &sandbox);
    create_topics(env, &config, None).await;
    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    let done = files.run(&["check"]).await;
    assert!(done.ok().contains("everything that was checked is in order"), "{done:?}");
    for account in [JFWMS, QIANYI] {
        let vendor = lines(&done, "ok       vendor", account);
        assert!(vendor.len() == 1 && vendor[0].contains("answers a signed call"), "{done:?}");
    }
    assert_eq!(lines(&done, "ok       group", env.prefix()).len(), 1, "{done:?}");
    assert_eq!(sandbox.totals().effects, 0, "nothing took effect");
    let calls = sandbox.books().requests_total;
    assert_eq!(calls, 2, "one call an account");
    let done = files.run(&["check", "--no-calls"]).await;
    assert!(done.ok().contains("in order"), "{done:?}");
    assert_eq!(sandbox.books().requests_total, calls);
    sandbox.shutdown().await;
}

/// Each fault alone: the account's line says which, what to look at, and the exit code is 1.
async fn an_account_that_cannot_call_is_told_apart(env: &TestEnv) {
    let sandbox = sandbox().await;
    let good = app::configuration_text(env, &Options::default(), &sandbox);
    let (jfwms, qianyi) = (sandbox.jfwms_url().to_string(), sandbox.qianyi_url().to_string());
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let settings = SandboxSettings::default();
    let (js, qs) = (&settings.jfwms.client_secret, &settings.qianyi.app_secret);
    let token = &settings.jfwms.access_tokens[0].token;
    let tls = |url: &str| url.replace("http://", "https://");
    for (account, from, to, parts) in [
        (JFWMS, js.as_str(), "another-secret", ["as it is configured", "secrets"]),
        (QIANYI, qs.as_str(), "another-secret", ["as it is configured", "secrets"]),
        (JFWMS, token.as_str(), "0123456789abcdef", ["access token", "authorize"]),
        (JFWMS, &jfwms, &format!("http://{dead}"), ["cannot be reached", "base_url"]),
        (QIANYI, &qianyi, &format!("http://{dead}"), ["cannot be reached", "base_url"]),
        (JFWMS, &jfwms, &tls(&jfwms), ["", "base_url"]),
        (QIANYI, &qianyi, &tls(&qianyi), ["", "base_url"]),
    ] {
        let text = good.replace(&format!("\"{from}"), &format!("\"{to}"));
        assert_ne!(text, good, "{from}");
        let done = Files::new(&text).run(&["check"]).await;
        let broken = lines(&done, "BROKEN   ", account);
        assert_eq!(done.code, Some(1), "{done:?}");
        let told = broken.join("\n");
        assert!(parts.iter().all(|part| told.contains(part)), "{account} {to}: {done:?}");
        assert!(!told.contains("another-secret") && !told.contains("0123456789abcdef"), "{told}");
        // The other account works.
        let other = if account == JFWMS { QIANYI } else { JFWMS };
        assert_eq!(lines(&done, "ok       vendor", other).len(), 1, "{done:?}");
        assert!(!told.contains(&address(&jfwms)) || account == JFWMS);
    }
    // Something before the vendor, a clock that is an hour off.
    let body = Some("<html>Forbidden</html>".to_owned());
    let blocked = Fault::Status { status: 403, retry_after: None, body };
    sandbox.faults().set(vec![FaultRule::new(Vendor::Jfwms, "*", blocked)]).unwrap();
    let files = Files::new(&good);
    let done = files.run(&["check"]).await;
    let told = lines(&done, "BROKEN   vendor", JFWMS).join("\n");
    assert!(told.contains("HTTP 403") && told.contains("base_url"), "{done:?}");
    sandbox.faults().clear();
    sandbox.change(|behaviour| behaviour.jfwms.clock_offset_ms = 3_600_000);
    let done = files.run(&["check"]).await;
    let told = lines(&done, "BROKEN   ", JFWMS).join("\n");
    assert!(told.contains("clock") && told.contains("NTP"), "{done:?}");
    assert_eq!(sandbox.totals().effects, 0, "nothing took effect");
    sandbox.shutdown().await;
}

async fn a_group_without_a_commit_and_a_foreign_member(env: &TestEnv) {
    let sandbox = sandbox().await;
    let options = Options { commands: "begin = \"\"\n".to_owned(), ..Options::default() };
    let config = app::configuration(env, &options, &sandbox);
    create_topics(env, &config, None).await;
    let topic = config.topics.mixed_commands(None);
    env.send(Outgoing::to(&topic).key("a").partition(0).value("{}")).await;
    let text = app::configuration_text(env, &options, &sandbox);
    let files = Files::new(&text);
    let done = files.run(&["check", "--no-calls"]).await;
    let told = lines(&done, "BROKEN   group", &topic).join("\n");
    assert!(told.contains("`commands.begin`") && told.contains("offsets 0 to 0"), "{done:?}");
    // With a choice it is a note.
    let chosen = Files::new(&text.replace("begin = \"\"", "begin = \"end\""));
    let done = chosen.run(&["check", "--no-calls"]).await;
    assert!(done.ok().contains("leaves out what they hold"), "{done:?}");

    let group = config.commands.group_id.clone();
    let foreign = env.consumer(&group, &[("client.id", "somebody-elses")]);
    foreign.subscribe(&[&topic]).unwrap();
    let done = blocking(move || {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while foreign.assignment().unwrap().count() == 0 {
            assert!(std::time::Instant::now() < deadline, "the foreign member joins");
            drop(foreign.poll(Duration::from_millis(100)));
        }
        foreign
    })
    .await;
    let checked = chosen.run(&["check", "--no-calls"]).await;
    let told = lines(&checked, "BROKEN   group", "somebody-elses").join("\n");
    assert!(told.contains(&group), "{checked:?}");
    drop(done);
    sandbox.shutdown().await;
}

/// The topic of the tokens deletes them after a while: nothing starts with it, and no one-time token is
/// spent.
async fn topics_that_lose_what_they_should_keep(env: &TestEnv) {
    let sandbox = sandbox().await;
    let key = "5a".repeat(32);
    let options = Options {
        more: format!("[tokens]\nkey = \"{key}\"\n"),
        jfwms: "auth_domain = \"demo\"\n".to_owned(),
        ..Options::default()
    };
    let config = app::configuration(env, &options, &sandbox);
    create_topics(env, &config, None).await;
    let tokens = config.topics.connector_tokens();
    let events = config.topics.unrecognized("jfwms");
    let admin = backend::admin(env.bootstrap_servers());
    let wait = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    admin.delete_topics(&[&tokens, &events], &wait).await.unwrap();
    let new = |topic| NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let made = [
        new(&tokens).set("cleanup.policy", "delete"),
        new(&events).set("cleanup.policy", "compact"),
    ];
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    for topic in &made {
        while admin.create_topics([topic], &wait).await.unwrap()[0].is_err() {
            assert!(std::time::Instant::now() < deadline, "the topics are made again");
        }
    }
    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    files.write("one-time-token", "sandbox-one-time-1\n");
    let done = files.run(&["check", "--no-calls"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    for (topic, policy) in [(&tokens, "cleanup.policy=compact"), (&events, "cleanup.policy=delete")]
    {
        let told = lines(&done, "BROKEN   topics", topic).join("\n");
        assert!(told.contains(policy), "{topic}: {done:?}");
    }
    let done = files.run(&["run", "--only", "commands"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("cleanup.policy=compact"), "{done:?}");
    let authorize = ["authorize", "--account", JFWMS, "--email", "seller@example.com"];
    let done = files.run(&[&authorize[..], &["--token-file", "one-time-token"]].concat()).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("cleanup.policy=compact"), "{done:?}");
    assert_eq!(sandbox.books().requests_total, 0, "no one-time token was spent");
    sandbox.shutdown().await;
}
