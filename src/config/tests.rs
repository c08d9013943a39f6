//! The layers, the secrets, and the error messages as a person reads them.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use super::*;
use crate::domain::Operation;

const JF: &str = r#"
[accounts.jf-main]
vendor = "jfwms"
base_url = "https://test.jfwms.com/"
client_id = "id"
client_secret = "hush-1"
access_token = "hush-2"
user_id = 8
path_secret = "hush-3"
"#;

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_text("test.toml", text, environment)
}

fn config(text: &str, environment: &[(&str, &str)]) -> Config {
    match load_with(text, environment) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}"),
    }
}

fn problems(text: &str, environment: &[(&str, &str)]) -> String {
    load_with(text, environment).unwrap_err().problems().join("\n")
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let loaded = load_with("", &[]).unwrap();
    let config = loaded.config;
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.kafka.bootstrap_servers, "localhost:9092");
    assert_eq!(config.schema_registry.url, None);
    assert_eq!(config.schema_registry.password, None);
    assert!(!config.schema_registry.auto_register);
    assert_eq!(config.topics.command(Operation::Call, None), "wms.commands.call");
    assert_eq!(config.ingress.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.ingress.publish_timeout, Duration::from_secs(5));
    assert_eq!(config.ingress.max_body, 4 << 20);
    assert_eq!(config.ingress.largest_record(), 5 << 20);
    assert_eq!(config.ingress.max_in_flight, 4096);
    assert_eq!(config.ingress.max_in_flight_bytes, 64 * 1024 * 1024);
    assert_eq!(config.ingress.duplicate_window, Duration::from_secs(600));
    assert_eq!(config.ingress.retyped, Retyped::Refuse);
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.commands.group_id, "wms-connector");
    assert_eq!(config.commands.group_protocol, GroupProtocol::Classic);
    assert_eq!(config.commands.max_in_flight, 256);
    assert_eq!(config.commands.max_in_flight_per_account, 256);
    assert_eq!(config.commands.max_buffered_bytes, 256 * 1024 * 1024);
    assert_eq!(config.commands.window, 1000);
    assert_eq!(config.commands.reply_topics, ["wms.replies", "wms.replies.*"]);
    assert_eq!(config.commands.call_timeout, Duration::from_secs(30));
    assert_eq!(
        config.commands.retry,
        Retry {
            max_attempts: 8,
            max_elapsed: Duration::from_secs(600),
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
        }
    );
    assert_eq!(
        config.commands.circuit,
        Circuit { failures: 5, probe_after: Duration::from_secs(10) }
    );
    assert_eq!(config.tokens.store, TokenStore::Topic);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
}

/// Every key that is read stands in the reference, and the reference has no other.
#[test]
fn the_reference_has_every_key() {
    let account = |vendor: &str| {
        let start = REFERENCE.split_once(&format!("# vendor = \"{vendor}\"")).unwrap().1;
        let section = start.split("\n\n").next().unwrap();
        let keys = section.lines().filter_map(|line| {
            let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
            key.chars().all(|c| c.is_ascii_lowercase() || c == '_').then(|| key.to_owned())
        });
        keys.chain(["vendor".to_owned()]).collect::<BTreeSet<_>>()
    };
    let tree = tree::parse(
        &format!("{REFERENCE}\n[accounts.a]\nvendor=\"jfwms\"\n[accounts.b]\nvendor=\"qianyi\""),
        &|_| Origin::Defaults,
    )
    .unwrap();
    let mut written = BTreeSet::new();
    leaves("", &tree, &mut written);
    let sources = Sources { environment: BTreeMap::new() };
    let context = Context::new(Problems::new(&tree, Vec::new()), sources);
    Config::read(&context, tree);
    let known = context.known.take();
    let of = |prefix: &str| {
        known.iter().filter_map(|key| key.strip_prefix(prefix).map(str::to_owned)).collect()
    };
    let (jfwms, qianyi): (BTreeSet<_>, BTreeSet<_>) = (of("accounts.a."), of("accounts.b."));
    assert_eq!(account("jfwms"), jfwms);
    assert_eq!(account("qianyi"), qianyi);
    let plain = |keys: BTreeSet<String>| {
        keys.into_iter().filter(|key| !key.starts_with("accounts")).collect::<BTreeSet<_>>()
    };
    assert_eq!(plain(written), plain(known));
}

fn leaves(path: &str, node: &Node, all: &mut BTreeSet<String>) {
    if !path.is_empty() {
        all.insert(path.to_owned());
    }
    if let tree::Value::Table(table) = &node.value {
        for (key, child) in table {
            leaves(&tree::join(path, key), child, all);
        }
    }
}

#[test]
fn the_environment_lies_over_the_file_and_the_file_over_the_defaults() {
    let text = format!(
        "[kafka]\nbootstrap_servers = \"file:1\"\n[kafka.properties]\n\"client.id\" = \"file\"\n\
         [ingress]\nmax_in_flight = 7\nmax_body = \"1KiB\"\n[topics]\nprefix = \"acme\"\n{JF}"
    );
    let config = config(
        &text,
        &[
            ("WMS_CONNECTOR__KAFKA__BOOTSTRAP_SERVERS", "env:1"),
            ("WMS_CONNECTOR__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
            ("WMS_CONNECTOR__KAFKA__PROPERTIES__CLIENT_ID", "env"),
            ("WMS_CONNECTOR__KAFKA__CONSUMER__SESSION_TIMEOUT_MS", "6000"),
            ("WMS_CONNECTOR__INGRESS__MAX_IN_FLIGHT", "9"),
            ("WMS_CONNECTOR__INGRESS__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
            ("WMS_CONNECTOR__SCHEMA_REGISTRY__AUTO_REGISTER", "true"),
            ("WMS_CONNECTOR__COMMANDS__RETRY__MAX_BACKOFF", "1m"),
            ("WMS_CONNECTOR__TOPICS__NAMES__JFWMS_ORDER_INTERCEPT", "caught"),
            ("WMS_CONNECTOR__ACCOUNTS__JF_MAIN__CLIENT_SECRET", "[not] = TOML"),
            ("WMS_CONNECTOR__ACCOUNTS__QY_CN__VENDOR", "qianyi"),
            ("WMS_CONNECTOR__ACCOUNTS__QY_CN__ENVIRONMENT", "china"),
            ("WMS_CONNECTOR__ACCOUNTS__QY_CN__APP_ID", "0123"),
            ("WMS_CONNECTOR__ACCOUNTS__QY_CN__APP_SECRET__ENV", "ELSEWHERE"),
            ("ELSEWHERE", "hush"),
            ("WMS_CONNECTOR_OTHER", "is not ours"),
        ],
    );
    assert_eq!(config.kafka.bootstrap_servers, "env:1");
    let property = |name: &str| config.kafka.properties.get(name).map(String::as_str);
    assert_eq!(property("security.protocol"), Some("SASL_SSL"));
    assert_eq!(property("client.id"), Some("env"));
    assert_eq!(config.kafka.properties.len(), 2);
    assert_eq!(config.kafka.consumer.get("session.timeout.ms").unwrap(), "6000");
    assert_eq!((config.ingress.max_in_flight, config.ingress.max_body), (9, 1024));
    assert_eq!(config.ingress.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert!(config.schema_registry.auto_register);
    assert_eq!(config.commands.retry.max_backoff, Duration::from_secs(60));
    assert_eq!(config.topics.event("jfwms", "order-intercept"), "caught");
    assert_eq!(config.topics.event("jfwms", "order"), "acme.jfwms.order");
    assert_eq!(config.commands.reply_topics, ["acme.replies", "acme.replies.*"]);

    let account = |name: &str| &config.accounts[&AccountName::new(name).unwrap()];
    let jfwms = account("jf-main");
    assert_eq!(jfwms.base_url, "https://test.jfwms.com");
    assert_eq!(jfwms.vendor.name(), "jfwms");
    assert_eq!(jfwms.vendor.keys().text("client_secret"), Some("[not] = TOML"));
    assert_eq!(jfwms.vendor.keys().text("user_id"), Some("8"));
    assert_eq!(account("qy-cn").base_url, "https://www.qianyierp.com");
    let keys: BTreeMap<String, String> = account("qy-cn").vendor.keys().read().unwrap();
    assert_eq!(keys, [("app_id", "0123"), ("app_secret", "hush")].map(own).into());
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn secrets_come_from_text_files_and_variables() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    for (written, expected) in [
        ("\"text\\n\"".to_owned(), "text\n"),
        (format!("{{ file = {:?} }}", file("a", "s")), "s"),
        (format!("{{ file = {:?} }}", file("b", "s\n")), "s"),
        (format!("{{ file = {:?} }}", file("c", "s\r\n")), "s"),
        (format!("{{ file = {:?} }}", file("d", "s\n\n")), "s\n"),
        ("{ env = \"V\" }".to_owned(), "v\n"),
    ] {
        let text = format!(
            "[schema_registry]\nusername = \"u\"\npassword = {written}\n[kafka.properties]\n\
                     \"sasl.password\" = {written}"
        );
        let config = config(&text, &[("V", "v\n")]);
        let password = config.schema_registry.password.as_ref().map(|secret| secret.expose());
        assert_eq!(password, Some(expected), "{written}");
        assert_eq!(config.kafka.properties["sasl.password"], expected, "{written}");
    }
}

#[test]
fn a_source_in_the_environment_replaces_the_one_of_the_file() {
    let text = "[schema_registry]\nusername = \"u\"\npassword = { file = \"/nowhere\" }";
    for (variable, value) in [("PASSWORD", "p"), ("PASSWORD__ENV", "P")] {
        let variable = format!("WMS_CONNECTOR__SCHEMA_REGISTRY__{variable}");
        let config = config(text, &[(&variable, value), ("P", "p")]);
        assert_eq!(config.schema_registry.password, Some(crate::domain::Secret::new("p")));
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let text = format!(
        "[schema_registry]\nusername = \"u\"\npassword = \"hush-4\"\n[kafka.properties]\n\
         \"sasl.password\" = \"hush-5\"\n[tokens]\nkey = \"{}\"\n{JF}",
        "ab".repeat(32)
    );
    let loaded = load_with(&text, &[]).unwrap();
    let shown = format!("{loaded:?} {loaded:#?}");
    assert!(!shown.contains("hush") && !shown.contains("abab"), "{shown}");

    // Each of these is wrong in a way that could tempt an error to show what was found.
    for wrong in [
        "[tokens]\nkey = \"hush\"",
        "[schema_registry]\npassword = [\"hush\"]",
        "[schema_registry]\npassword = { fiel = \"hush\" }",
        "[schema_registry]\npassword = \"hush\"",
        "[schema_registry]\npassword = \"hush",
        "[schema_registry]\npassword = hush",
        "[schema_registry]\nurl = \"http://user:hush@registry\"",
        "[kafka.properties]\nacks = \"hush\"",
        "[kafka.properties]\n\"sasl.password\" = [\"hush\"]",
        "[accounts.a]\nvendor = \"jfwms\"\npath_secret = \"hush/hush\"",
        "[accounts.a]\nvendor = \"jfwms\"\nclient_secrt = \"hush\"",
    ] {
        let error = load_with(wrong, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let missing = Path::new("/nowhere/wms.toml");
    insta::assert_snapshot!(load(Some(missing), std::iter::empty()).unwrap_err(), @r#"
    the configuration has a problem:
      /nowhere/wms.toml: cannot be read: No such file or directory (os error 2); name another file with --config
    "#);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    fs::write(&file, "[commands]\ngroup_id = \"mine\"").unwrap();
    let loaded = load(Some(&file), std::iter::empty()).unwrap();
    assert_eq!(loaded.config.commands.group_id, "mine");
}

#[test]
fn unknown_keys_are_refused_naming_the_nearest() {
    let text = "
shutdwn_timeout = \"30s\"
publish_timeout = \"5s\"
[ingres]
[ingress]
max-in-flight = 5
[topics.names]
\"jfwms.ordr\" = \"x\"
[accounts.jf]
vendor = \"jfwms\"
base_url = \"https://test.jfwms.com\"
client_id = \"c\"
client_secret = \"s\"
client_secret_prev = \"t\"
";
    insta::assert_snapshot!(problems(text, &[
        ("WMS_CONNECTOR__KAFKA__BOOTSTRAP_SERVRS", "x"),
        ("WMS_CONNECTOR__ACCOUNTS__JF_MIAN__USER_ID", "1"),
        ("WMS_CONNECTOR__TOPICS__NAMES__JFWMS_ORDR", "x"),
        ("WMS_CONNECTOR__INGRESS___LISTEN", "x"),
        ("WMS_CONNECTOR____LISTEN", "x"),
    ]), @r#"
    WMS_CONNECTOR__ACCOUNTS__JF_MIAN__USER_ID: names no account of the file; the nearest is `jf`. To make an account here, set also WMS_CONNECTOR__ACCOUNTS__JF_MIAN__VENDOR
    WMS_CONNECTOR__TOPICS__NAMES__JFWMS_ORDR: names no topic; the nearest known name is WMS_CONNECTOR__TOPICS__NAMES__JFWMS_ORDER
    WMS_CONNECTOR____LISTEN: has an empty name between its underscores; write WMS_CONNECTOR__SECTION__KEY
    test.toml:8: `topics.names."jfwms.ordr"` is the name of no topic; the nearest known name is "jfwms.order"
    WMS_CONNECTOR__KAFKA__BOOTSTRAP_SERVRS: `kafka.bootstrap_servrs` is not known; the nearest known key is `kafka.bootstrap_servers`
    WMS_CONNECTOR__INGRESS___LISTEN: `ingress._listen` is not known; the nearest known key is `ingress.listen`
    test.toml:6: `ingress.max-in-flight` is not known; the nearest known key is `ingress.max_in_flight`
    test.toml:14: `accounts.jf.client_secret_prev` is not known; the nearest known key is `accounts.jf.client_secret_previous`
    test.toml:4: `ingres` is not known; the nearest known key is `ingress`
    test.toml:3: `publish_timeout` is not known; the nearest known key is `ingress.publish_timeout`
    test.toml:2: `shutdwn_timeout` is not known; the nearest known key is `shutdown_timeout`
    "#);
}

#[test]
fn wrong_values_say_what_was_expected_and_found() {
    let text = "
shutdown_timeout = 30
[kafka]
bootstrap_servers = \"\"
[schema_registry]
url = \"registry:8080\"
auto_register = \"yes\"
username = \"u\"
client_key_file = \"k\"
[topics]
prefix = \"w m s\"
[topics.names]
\"jfwms.order\" = \"a b\"
[ingress]
listen = \"8080\"
publish_timeout = \"1s\"
max_body = \"big\"
max_in_flight = 0
max_in_flight_bytes = -1
duplicate_window = \"10\"
retyped = \"maybe\"
trusted_proxies = [\"10.0.0.0/8\", \"proxy\"]
[admin]
listen = 1.5
[commands]
group_protocol = \"clasic\"
reply_topics = \"wms.replies\"
[commands.retry]
initial_backoff = \"1m\"
[commands.circuit]
failures = 5000000000
[tokens]
store = \"file\"
key = { env = \"NO_SUCH\" }
previous_key = { file = \"/nowhere/key\" }
";
    insta::assert_snapshot!(problems(text, &[
        ("WMS_CONNECTOR__COMMANDS__WINDOW", "many"),
        ("WMS_CONNECTOR__COMMANDS__RETRY", "8"),
    ]), @r#"
    test.toml:2: `shutdown_timeout` takes a duration above zero with its unit, such as "30s", found the number 30
    test.toml:4: `kafka.bootstrap_servers` takes a text that is not empty, found ""
    test.toml:6: `schema_registry.url` takes an address that begins with http:// or https://, found "registry:8080"
    test.toml:7: `schema_registry.auto_register` takes true or false, found "yes"
    test.toml:8: `schema_registry.username` needs `schema_registry.password` beside it
    test.toml:9: `schema_registry.client_key_file` needs `schema_registry.client_cert_file` too
    test.toml:11: `topics.prefix` takes text of letters, digits, `.`, `-` and `_` that does not end with a dot, found "w m s"
    test.toml:13: `topics.names."jfwms.order"` takes a topic's name (letters, digits, `.`, `-`, `_`, at most 249), found "a b"
    test.toml:15: `ingress.listen` takes an IP address and a port, such as "127.0.0.1:8081" or "[::]:8080", found "8080"
    test.toml:17: `ingress.max_body` takes a size above zero with its unit, such as "768KiB", found "big"
    test.toml:18: `ingress.max_in_flight` takes a whole number above 0, found the number 0
    test.toml:19: `ingress.max_in_flight_bytes` takes a size above zero with its unit, such as "768KiB", found the number -1
    test.toml:20: `ingress.duplicate_window` takes a duration with its unit, such as "10m", or "0s", found "10"
    test.toml:21: `ingress.retyped` takes "refuse" or "accept", found "maybe"
    test.toml:22: `ingress.trusted_proxies` takes a list in brackets of networks (CIDR), such as ["10.0.0.0/8", "203.0.113.7/32"], found "proxy"
    test.toml:16: `ingress.publish_timeout` takes more than 1s, because librdkafka reports a failure up to a second late; found 1s
    test.toml:24: `admin.listen` takes an IP address and a port, such as "127.0.0.1:8081" or "[::]:8080", found the number 1.5
    test.toml:26: `commands.group_protocol` takes "classic" or "consumer", found "clasic"
    WMS_CONNECTOR__COMMANDS__WINDOW: `commands.window` takes a whole number above 0, found "many"
    test.toml:27: `commands.reply_topics` takes a list in brackets of texts, such as ["one", "two"], found "wms.replies"
    WMS_CONNECTOR__COMMANDS__RETRY: `commands.retry` takes a section [commands.retry], found text
    test.toml:31: `commands.circuit.failures` takes a whole number from 1 to 4294967295, found the number 5000000000
    test.toml:34: `tokens.key` is to come from the environment variable NO_SUCH, which is not set
    test.toml:35: `tokens.previous_key` is to be read from the file "/nowhere/key": No such file or directory (os error 2)
    test.toml:33: `tokens.store` is "file" and needs `tokens.path`, the name of that file
    "#);
}

#[test]
fn accounts_are_checked() {
    let text = "
[accounts.Upper]
vendor = \"qianyi\"
environment = \"mars\"
app_id = \"a\"
app_secret = \"\"
[accounts.a]
vendor = \"jfwm\"
[accounts.b]
base_url = \"x\"
[accounts.c]
vendor = \"qianyi\"
environment = \"china\"
base_url = \"https://www.qianyierp.com\"
app_id = \"a\"
app_secret = { env = \"EMPTY\" }
[accounts.d]
vendor = \"jfwms\"
base_url = \"ftp://test.jfwms.com\"
client_id = \"c\"
client_secret = \"s\"
access_token = \"t\"
timezone = \"Asia/Peking\"
nonce_digits = 1
answer_code = \"text\"
webhook_sign_form = \"raw\"
allowed_sources = [\"everywhere\"]
user_ids = [1, \"2\", 3.5]
[accounts.e]
vendor = \"jfwms\"
base_url = \"https://test.jfwms.com/api\"
commands_prefix = \"a b\"
";
    insta::assert_snapshot!(problems(text, &[("EMPTY", "")]), @r#"
    test.toml:2: `accounts.Upper` is no account: `Upper` cannot be an account's name: use lower-case letters, digits and hyphens
    test.toml:4: `accounts.Upper.environment` takes one of "test", "china", "overseas", found "mars"
    test.toml:2: `accounts.Upper.app_secret` is missing; it takes a secret: text, { file = "…" } or { env = "…" }
    test.toml:8: `accounts.a.vendor` takes "jfwms" or "qianyi", found "jfwm"; the nearest is "jfwms"
    test.toml:9: `accounts.b.vendor` is missing; it takes "jfwms" or "qianyi"
    test.toml:13: `accounts.c.environment` and `accounts.c.base_url` say the same; keep one of them
    test.toml:16: `accounts.c.app_secret` comes from the environment variable EMPTY, which is empty
    test.toml:27: `accounts.d.allowed_sources` takes a list in brackets of networks (CIDR), such as ["10.0.0.0/8", "203.0.113.7/32"], found "everywhere"
    test.toml:19: `accounts.d.base_url` takes an address that begins with http:// or https://, found "ftp://test.jfwms.com"
    test.toml:28: `accounts.d.user_ids` takes a list in brackets of users' ids, such as [8, "9"], found the number 3.5
    test.toml:23: `accounts.d.timezone` takes a time zone's IANA name, such as "Asia/Shanghai", found "Asia/Peking"
    test.toml:26: `accounts.d.webhook_sign_form` takes one of "raw-data-first", "raw-secret-first", "compact-data-first", "compact-secret-first", "text-data-first", "text-secret-first", found "raw"
    test.toml:25: `accounts.d.answer_code` takes one of "number", "string", found "text"
    test.toml:24: `accounts.d.nonce_digits` takes a whole number from 2 to 18, found the number 1
    test.toml:22: `accounts.d.access_token` needs `accounts.d.user_id` too: the vendor wants both together
    test.toml:31: `accounts.e.base_url` ends before /api, which is added to it
    test.toml:29: `accounts.e.client_id` is missing; it takes text
    test.toml:29: `accounts.e.client_secret` is missing; it takes a secret: text, { file = "…" } or { env = "…" }
    test.toml:32: `accounts.e.commands_prefix` takes the beginning of a topic's name (letters, digits, `.`, `-`, `_`) without a dot at its end, found "a b"
    "#);
}

#[test]
fn contradictions_are_told() {
    let account = |name: &str, more: &str| {
        format!(
            "[accounts.{name}]\nvendor = \"jfwms\"\nbase_url = \"https://test.jfwms.com\"\n\
             client_id = \"c\"\nclient_secret = \"s\"\n{more}\n"
        )
    };
    let text = [
        "[ingress]\nlisten = \"127.0.0.1:9\"\n[admin]\nlisten = \"0.0.0.0:9\"\n\
         [commands]\ngroup_protocol = \"consumer\"\n\
         [kafka.consumer]\n\"session.timeout.ms\" = 6000\n"
            .to_owned(),
        account("one", "user_ids = [1, 2]"),
        account("two", "user_ids = [\"2\"]"),
        account("three", "commands_prefix = \"wms.commands\""),
    ]
    .concat();
    insta::assert_snapshot!(problems(&text, &[]), @r#"
    test.toml:8: `kafka.consumer."session.timeout.ms"` is the broker's to set when `commands.group_protocol` is "consumer", and librdkafka refuses it; take it away, or use "classic"
    test.toml:4: `admin.listen` has the port of `ingress.listen` (127.0.0.1:9); give it another
    test.toml:21: `accounts.three.user_ids` is empty, but the account shares its client_id with `one`, `two`; list the users of each, so that two sellers' stock is not mixed
    test.toml:20: `accounts.two.user_ids` lists user "2", and so does `one`; keep it in one of them
    test.toml:26: `accounts.three.commands_prefix` is "wms.commands", the topic of all accounts; choose another
    "#);
}

#[test]
fn what_the_guarantees_rest_on_is_refused_with_the_reason() {
    let text = "
[kafka.properties]
\"bootstrap.servers\" = \"x\"
\"isolation.level\" = \"read_uncommitted\"
security.protocol = \"SSL\"
\"client.id\" = \"a\"
\"client-id\" = \"a\"
[kafka.producer]
acks = 1
[kafka.consumer]
\"group.id\" = \"x\"
";
    insta::assert_snapshot!(problems(text, &[
        ("WMS_CONNECTOR__KAFKA__PRODUCER__TRANSACTIONAL_ID", "x"),
        ("WMS_CONNECTOR__KAFKA__PROPERTIES__CLIENT_ID", "x"),
    ]), @r#"
    WMS_CONNECTOR__KAFKA__PROPERTIES__CLIENT_ID: could mean "client-id" and "client.id"; take one of them away
    test.toml:3: `kafka.properties."bootstrap.servers"` cannot be overridden: `kafka.bootstrap_servers` says it; remove it
    test.toml:7: `kafka.properties.client-id` is not a property of librdkafka; the nearest known one is "client.id"
    test.toml:6: `kafka.properties."client.id"` and "client-id" are one name in the environment, where `-` and `.` are `_`; take one of them away
    test.toml:4: `kafka.properties."isolation.level"` cannot be overridden: commands are read committed; otherwise those of aborted transactions are carried out; remove it
    test.toml:5: `kafka.properties.security` is a table; put the property's whole name in quotes: "security.protocol" = …
    test.toml:9: `kafka.producer.acks` cannot be overridden: a webhook is answered only when all in-sync replicas have it (acks=all); remove it
    WMS_CONNECTOR__KAFKA__PRODUCER__TRANSACTIONAL_ID: `kafka.producer."transactional.id"` cannot be overridden: the connector names its transactions so that a process that lost its partitions is fenced off; remove it
    test.toml:11: `kafka.consumer."group.id"` cannot be overridden: `commands.group_id` says it; remove it
    "#);
}

#[test]
fn two_topics_may_not_have_one_name() {
    let text = "[topics.names]\n\"jfwms.order\" = \"wms.jfwms_move\"\nreplies = \"r\"\n\
                \"inventory.levels\" = \"r\"";
    insta::assert_snapshot!(problems(text, &[]), @r#"
    test.toml:2: `topics.names."jfwms.order"` is "wms.jfwms_move", which is (but for `.` and `_`) also the topic of "jfwms.move"; give each its own
    test.toml:3: `topics.names.replies` is "r", which is (but for `.` and `_`) also the topic of "inventory.levels"; give each its own
    "#);
}

#[test]
fn two_variables_may_not_set_one_key() {
    insta::assert_snapshot!(problems("", &[
        ("WMS_CONNECTOR__KAFKA__BOOTSTRAP_SERVERS", "x"),
        ("WMS_CONNECTOR__kafka__bootstrap_servers", "x"),
        ("WMS_CONNECTOR__TOKENS__KEY", "x"),
        ("WMS_CONNECTOR__TOKENS__KEY__FILE", "x"),
    ]), @r#"
    WMS_CONNECTOR__TOKENS__KEY__FILE: sets the same key as WMS_CONNECTOR__TOKENS__KEY; take one of the two away
    WMS_CONNECTOR__kafka__bootstrap_servers: sets the same key as WMS_CONNECTOR__KAFKA__BOOTSTRAP_SERVERS; take one of the two away
    WMS_CONNECTOR__TOKENS__KEY: `tokens.key` takes 32 random bytes as 64 hex digits or as base64 (`openssl rand -hex 32`), found something else
    "#);
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    for (text, line) in [("a = 1\nb = = 2", 2), ("[a]\nx = 1\nx = 2", 3), ("\n\n[a", 3)] {
        let problem = problems(text, &[]);
        assert!(problem.starts_with(&format!("test.toml:{line}: is not TOML: ")), "{problem}");
    }
}

#[test]
fn a_variable_of_ours_has_to_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || OsString::from_vec(vec![0xff]);
    let variables = |name: &str| vec![(OsString::from(name), broken())].into_iter();
    assert_eq!(process_environment(variables("PATH")), Ok(Vec::new()));
    insta::assert_snapshot!(
        process_environment(variables("WMS_CONNECTOR__TOKENS__KEY")).unwrap_err(), @r#"
    the configuration has a problem:
      WMS_CONNECTOR__TOKENS__KEY: is not UTF-8 text
    "#);
}

#[test]
fn warnings_say_what_is_perhaps_not_meant() {
    let text = "shutdown_timeout = \"1s\"\n[accounts.jf]\nvendor = \"jfwms\"\n\
                base_url = \"http://jf.example\"\nclient_id = \"c\"\nclient_secret = \"s\"\n\
                [accounts.local]\nvendor = \"qianyi\"\nbase_url = \"http://127.0.0.1:9\"\n\
                app_id = \"a\"\napp_secret = \"s\"";
    insta::assert_snapshot!(load_with(text, &[]).unwrap().warnings.join("\n"), @r#"
    `shutdown_timeout` is shorter than `commands.call_timeout`: a shutdown may cut off a call whose outcome then has to be found out; raise it
    `accounts.jf.base_url` is not https: tokens and addresses travel readable
    `accounts.jf` has neither `path_secret` nor `allowed_sources`: JFWMS signs neither a webhook's type nor its time, so who has seen one can send it again as another; set at least one of the two
    `accounts.jf` has no `access_token`, and without `tokens.key` none can be kept: its commands wait until they expire; set `tokens.key` and run `wms-connector authorize --account jf`
    "#);
}

#[test]
fn the_producers_queue_holds_what_is_let_in() {
    for (property, value, fits) in [
        ("queue.buffering.max.messages", "100", false),
        ("queue.buffering.max.messages", "5000", true),
        ("queue.buffering.max.kbytes", "1024", false),
        ("queue.buffering.max.kbytes", "65536", true),
    ] {
        let text = format!("[kafka.producer]\n\"{property}\" = \"{value}\"\n{JF}");
        let loaded = load_text("test.toml", &text, std::iter::empty());
        assert_eq!(loaded.is_ok(), fits, "{property} {value}: {loaded:?}");
        if let Err(error) = loaded {
            assert!(error.to_string().contains("below what"), "{error}");
        }
    }
}

#[test]
fn a_warning_of_many_accounts_is_a_few_lines() {
    let account = |n| {
        format!(
            "[accounts.jf-{n}]\nvendor = \"jfwms\"\nbase_url = \"https://jf.example\"\n\
             client_id = \"c{n}\"\nclient_secret = \"s\"\naccess_token = \"a\"\nuser_id = 1\n"
        )
    };
    let text: String = (0..1000).map(account).collect();
    let warnings = load_with(&text, &[]).unwrap().warnings;
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(
        warnings.last().map(String::as_str),
        Some("997 more accounts have neither `path_secret` nor `allowed_sources`")
    );
    // The same for what is wrong with accounts that share a client.
    let shared = text.replace("client_id = \"c", "client_id = \"c\" # ");
    let error = load_with(&shared, &[]).unwrap_err().to_string();
    assert!(error.contains("`jf-1`, `jf-10`, `jf-100`, 996 more; list"), "{error}");
    assert!(error.len() < 1_000_000, "{} bytes", error.len());
}
