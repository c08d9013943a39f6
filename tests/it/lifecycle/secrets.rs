//! What is secret is printed nowhere, also where it is wrong.

use std::time::Duration;

use crate::support::{
    backend::TestEnv,
    binary::{Done, Files},
    suite::tests,
};

tests! {
    mock: a_refused_property_is_named_without_its_value,
        secrets_that_are_wrong_are_printed_nowhere;
}

/// No text of the connector's own holds it by chance.
const SECRET: &str = "s3cr3t-hunter2";

/// Every command that reads the configuration.
const COMMANDS: [&[&str]; 15] = [
    &["check"],
    &["run"],
    &["topics", "plan"],
    &["topics", "apply"],
    &["schemas", "check"],
    &["schemas", "register"],
    &["authorize", "--account", "jf", "--email", "a@example.com", "--token-file", "secret"],
    &["dead-letters", "list", "wms.commands.dlq"],
    &["dead-letters", "show", "wms.commands.dlq", "--value"],
    &["dead-letters", "replay", "wms.commands.dlq", "--yes"],
    &["unrecognized", "list", "jfwms"],
    &["unrecognized", "show", "jfwms", "--value"],
    &["unrecognized", "replay", "jfwms", "--yes"],
    &[
        "send",
        "webhook",
        "--account",
        "jf",
        "--type",
        "order",
        "--data-file",
        "command.json",
        "--url",
        "http://127.0.0.1:1",
    ],
    &["send", "command", "create-order", "--file", "command.json"],
];

fn holds_no_secret(done: &Done, what: &str) {
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains(SECRET), "{what} prints the secret: {done:?}");
    }
}

/// Names that librdkafka does not know and values that it does not take: wrong configuration for every
/// command, named, and shown by none, wherever the value comes from.
async fn a_refused_property_is_named_without_its_value(_: &TestEnv) {
    let given = [
        format!("\"{SECRET}\""),
        "{ file = \"secret\" }".to_owned(),
        "{ env = \"WRONG_SECRET\" }".to_owned(),
    ];
    for (property, table, hint) in [
        ("sasl.pasword", "properties", "the nearest known one is \"sasl.password\""),
        ("sasl.jaas.config", "properties", "\"sasl.username\""),
        ("ssl.truststore.password", "producer", "Java's clients"),
        ("sasl.oauthbearer.client.secret ", "properties", "sasl.oauthbearer.client.secret"),
        ("ssl.key.password.", "consumer", "ssl.key.password"),
        ("linger.ms", "producer", "has a value that librdkafka does not take"),
        ("security.protocol", "properties", "has a value that librdkafka does not take"),
        ("ssl.ca.pem", "properties", "cannot be made"),
    ] {
        for value in &given {
            let tls = if property == "ssl.ca.pem" { "\"security.protocol\" = \"ssl\"" } else { "" };
            let files = Files::new(&format!(
                "[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[kafka.{table}]\n{tls}\n\
                 \"{property}\" = {value}\n[accounts.jf]\nvendor = \"jfwms\"\nclient_id = \"c\"\n\
                 base_url = \"http://127.0.0.1:1\"\nclient_secret = \"x\"\n"
            ));
            files.write("secret", SECRET);
            files.write("command.json", "{}");
            // All load the configuration in one place: one property shows it for every command.
            let commands = if property == "sasl.pasword" { COMMANDS.len() } else { 2 };
            for command in &COMMANDS[..commands] {
                let done = files.run_with(command, &[("WRONG_SECRET", SECRET)]).await;
                let what = format!("{command:?} with {property} = {value}");
                holds_no_secret(&done, &what);
                assert_eq!(done.code, Some(2), "{what}: {done:?}");
                assert!(done.stderr.contains(hint), "{what}: {done:?}");
            }
        }
    }
}

/// Secrets of every kind that nobody accepts, against addresses where nobody listens: what the commands,
/// the log and the readiness say of the failure holds none of them.
async fn secrets_that_are_wrong_are_printed_nowhere(_: &TestEnv) {
    let files = Files::new(&format!(
        r#"
shutdown_timeout = "5s"
[kafka]
bootstrap_servers = "127.0.0.1:1"
[kafka.properties]
"security.protocol" = "SASL_PLAINTEXT"
"sasl.mechanism" = "PLAIN"
"sasl.username" = "me"
"sasl.password" = "{SECRET}"
"ssl.key.password" = "{SECRET}"
[schema_registry]
url = "http://127.0.0.1:1"
username = "me"
password = "{SECRET}"
[ingress]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[accounts.jf]
vendor = "jfwms"
base_url = "http://127.0.0.1:1"
client_id = "c"
client_secret = "{SECRET}"
client_secret_previous = "{SECRET}-2"
path_secret = "{SECRET}"
access_token = "{SECRET}"
user_id = "1"
[accounts.qy]
vendor = "qianyi"
base_url = "http://127.0.0.1:1"
app_id = "a"
app_secret = "{SECRET}"
path_secret = "{SECRET}"
"#
    ));
    files.write("secret", SECRET);
    files.write("command.json", "{\"account\":\"jf\",\"orderNumber\":\"1\"}");
    // At once: most of them wait for Kafka until their deadline.
    let commands: Vec<_> = COMMANDS.into_iter().filter(|command| command[0] != "run").collect();
    let running = commands.iter().map(|command| files.run_with(command, &[("RUST_LOG", "debug")]));
    let done = futures_util::future::join_all(running).await;
    for (command, done) in commands.into_iter().zip(done) {
        assert!(matches!(done.code, Some(1 | 2)), "{command:?}: {done:?}");
        holds_no_secret(&done, &format!("{command:?}"));
    }
    let mut connector = files.start(&[]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for page in ["/readyz", "/metrics", "/healthz"] {
        let answer = connector.admin(page).await;
        assert!(!answer.text.contains(SECRET), "{page}: {answer:?}");
    }
    connector.signal("TERM");
    let (_, log) = connector.ended(Duration::from_secs(20)).await;
    assert!(!log.contains(SECRET), "{log}");
}
