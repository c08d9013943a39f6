//! Holds the invariants of ARCHITECTURE.md: absences, checked over the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The code of every file below `folder` (or the one file), without comments and without what
/// stands below `#[cfg(test)]`: tests may do more.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_file() {
            found.push(path.to_owned());
            return;
        }
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is_test = stem == "tests" || stem.ends_with("_tests") || stem == "invariants";
            if !is_test && (path.is_dir() || path.extension().is_some_and(|e| e == "rs")) {
                walk(&path, found);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(!found.is_empty(), "src/{folder} has no sources; did it move?");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text
                .lines()
                .take_while(|line| !line.starts_with("#[cfg(test)]"))
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            (path, code.join("\n"))
        })
        .collect()
}

fn assert_absent(folder: &str, words: &[&str], why: &str) {
    let mut found = Vec::new();
    for (path, code) in sources(folder) {
        for word in words {
            for (number, line) in code.lines().enumerate() {
                if line.contains(word) {
                    found.push(format!("{}:{}: `{word}`", path.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

const IO_AND_CHANCE: &[&str] = &[
    "clock::",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "rand::",
    "tokio::",
    "reqwest",
    "rdkafka",
    "axum",
    "std::fs",
    "std::net::Tcp",
    "std::env",
];

#[test]
fn domain_knows_neither_clock_nor_chance_nor_io_nor_anything_above_it() {
    assert_absent("domain", IO_AND_CHANCE, "domain/ is pure");
    let above =
        ["crate::vendors", "crate::webhooks", "crate::commands", "crate::kafka", "crate::avro"];
    assert_absent("domain", &above, "domain/ depends on nothing of the crate");
}

#[test]
fn vendors_are_pure_and_do_not_know_each_other() {
    assert_absent(
        "vendors",
        IO_AND_CHANCE,
        "vendors/ is pure: time, nonce and tokens are arguments",
    );
    assert_absent("vendors/jfwms", &["qianyi", "Qianyi"], "a vendor knows no other vendor");
    assert_absent("vendors/qianyi", &["jfwms", "Jfwms"], "a vendor knows no other vendor");
    let above = [
        "crate::webhooks",
        "crate::commands",
        "crate::kafka",
        "crate::api_client",
        "crate::config",
    ];
    assert_absent("vendors", &above, "vendors/ depends on domain/ alone");
}

#[test]
fn the_pipelines_name_no_vendor_and_do_not_see_each_other() {
    let vendors = ["jfwms", "Jfwms", "qianyi", "Qianyi"];
    assert_absent("webhooks", &vendors, "webhooks/ names no vendor");
    assert_absent("commands", &vendors, "commands/ names no vendor");
    assert_absent(
        "webhooks",
        &["crate::commands", "crate::admin"],
        "pipelines do not see each other",
    );
    assert_absent(
        "commands",
        &["crate::webhooks", "crate::admin"],
        "pipelines do not see each other",
    );
}

#[test]
fn decisions_that_are_pure_take_time_and_chance_as_arguments() {
    for file in [
        "webhooks/recent.rs",
        "webhooks/forms.rs",
        "webhooks/source.rs",
        "webhooks/pace.rs",
        "commands/begin.rs",
        "commands/offsets.rs",
        "commands/key_order.rs",
        "commands/contact.rs",
        "commands/retry.rs",
        "commands/settled.rs",
        "api_client/breaker.rs",
        "api_client/limits.rs",
    ] {
        assert_absent(file, IO_AND_CHANCE, "this file decides, it does not do");
    }
}

#[test]
fn kafka_clients_are_configured_in_one_place() {
    for (path, code) in sources("") {
        let kafka = path.components().any(|part| part.as_os_str() == "kafka");
        assert!(
            kafka || !code.contains("ClientConfig::new"),
            "{}: ClientConfig::new belongs to kafka/",
            path.display()
        );
    }
}

#[test]
fn kafka_clients_are_made_in_one_place() {
    // The error of a property that is refused holds its value: only `kafka::create` removes it.
    let words = ["from_config(", "from_config_and_context(", "create_with_context(", ".create()"];
    for (path, code) in sources("").iter().filter(|(path, _)| !path.ends_with("kafka/client.rs")) {
        for word in words.into_iter().chain([".create::<"]) {
            assert!(!code.contains(word), "{}: make it with `kafka::create`", path.display());
        }
    }
}

#[test]
fn the_sandbox_shares_no_code_with_the_client_it_judges() {
    let client = ["crate::vendors", "crate::api_client", "crate::domain", "crate::webhooks"];
    assert_absent("sandbox", &client, "a wrong signature would agree with itself");
}

/// A webhook is believed without a look at its signature only where it is read again from
/// `unrecognized`.
#[test]
fn nothing_from_outside_is_read_without_its_signature() {
    for (path, code) in sources("") {
        let may = path.ends_with("webhooks/reread.rs");
        assert!(may || !code.contains(".reread("), "{}", path.display());
    }
}

#[test]
fn what_others_wrote_is_not_read_where_rdkafka_panics() {
    // Names of headers and metadata of commits that are not UTF-8.
    let words = [".headers().map(", ".headers().into_iter()", ".headers() else", ".metadata()))"];
    assert_absent("kafka", &words, "read headers with `ReadHeaders::of`");
    assert_absent("commands", &words, "read headers with `ReadHeaders::of`");
    for folder in ["kafka", "commands", "cli", "app"] {
        let names = ["message::Headers", "BorrowedHeaders", "Headers as _"];
        assert_absent(
            folder,
            &names,
            "read headers with `ReadHeaders::of`, metadata with `wms_kafka_raw`",
        );
    }
}
