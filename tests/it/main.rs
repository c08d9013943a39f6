//! The integration tests: one binary, the same tests on two Kafkas.
//!
//! ```text
//! cargo test --test it                     everything
//! cargo test --test it mock::              on librdkafka's mock cluster: no JVM, no network
//! cargo test --test it kafka::infra        on a real Apache Kafka, started here
//! KAFKA_BOOTSTRAP_SERVERS=… cargo test --test it kafka::      on a broker of yours
//! ```
//!
//! A real broker, a real schema registry (Apicurio) and Confluent's Python client are fetched into
//! `target/` the first time, started when the first test asks for them, on free loopback ports,
//! and gone with their data when the run ends, however it ends. What the machine lacks is
//! installed where that may be done (`tests/tools.sh`), else the test fails with the line to run.
//!
//! Settings, as variables of the environment: `WMS_DRILL_KILLS` (how often the webhook drills kill
//! something, 3), `WMS_DRILL_SEED` (repeats the choices of a drill), `WMS_TEST_TIMEOUT` (seconds a
//! test may take, 180). `make drill-webhooks KILLS=50` sets what a long one needs.
//!
//! # Writing a test
//!
//! A test is an `async fn(env: &TestEnv)` that panics when something is wrong. It is registered
//! once, in its module's `tests!`, and the module in `main` below:
//!
//! ```ignore
//! use crate::support::{backend::{Outgoing, TestEnv}, suite::tests};
//!
//! tests! {
//!     both: a_webhook_is_published;       // mock::webhooks::… and kafka::webhooks::…
//!     kafka: the_broker_is_killed;        // needs the real one, the registry or Python
//!     mock: the_broker_answers_an_error;  // needs faults that only the mock can have
//! }
//!
//! async fn a_webhook_is_published(env: &TestEnv) {
//!     let topic = env.name("jfwms.order");                    // every test has its own prefix
//!     env.create_topic(&topic, 3).await;
//!     env.send(Outgoing::to(&topic).key("A-1").value("…").header("ce_id", "1")).await;
//!     let records = env.read_all(&topic, 1, Duration::from_secs(10)).await;
//!     assert_eq!(records[0].header("ce_id"), Some("1"));
//! }
//! ```
//!
//! Four tests run at a time, each on a runtime of its own. On the mock every test has a cluster of
//! its own; the real broker is shared, so a test that kills one calls `Broker::start`. Nothing
//! waits by sleeping: `read_all`, `read_until` and `read_now` wait for what is to come.
//!
//! # The drill
//!
//! `commands::drill` runs a deployment of the real binary under faults, kills and a freeze, then
//! holds the vendors' own books against what was sent. It is short in the suite; `make drill` runs
//! it long. The variables of the environment:
//!
//! | variable | default | `make drill` | what |
//! |---|---|---|---|
//! | `DRILL_COMMANDS` | 1,000 | 100,000 | commands in all |
//! | `DRILL_KEYS` | 50 | 1,000 | keys they are spread over |
//! | `DRILL_KILLS` | 2 | 20 | how often a process is killed with `kill -9` |
//! | `DRILL_PROCESSES` | 3 | 3 | processes in the middle; there is one before and after |
//! | `DRILL_TOKENS` | `topic` | `topic` | `[tokens] store`: `topic` or `file` |
//! | `DRILL_SEED` | 1 | 1 | of the faults, the moments and the processes that are chosen |
//! | `DRILL_PATIENCE_SECONDS` | 60 | 60 | it fails when no command was answered for so long |
//! | `DRILL_LIMIT_MINUTES` | 3 | 30 | it fails when it takes longer |
//!
//! # What is in `support`
//!
//! | module | what |
//! |---|---|
//! | `app` | `TestApp`: both vendors simulated and the connector, on the test's Kafka |
//! | `backend` | `TestEnv`: topics, producers, consumers, records as they lie in a topic |
//! | `examples` | runs the programs of `examples/` |
//! | `kafka` | `Broker`: start, `kill9`, `stop`, `freeze`, `restart` |
//! | `registry` | `Registry`: register, compatibility, decode, encode |
//! | `registry_front` | a registry in front of it that knows GUIDs and may be away |
//! | `python` | runs the scripts of `tests/interop/` |
//! | `parts` | fetches what the above are made of |
//! | `vendor` | webhooks as the vendors send them, signed by the tests themselves |
//! | `wire` | HTTP in pieces, with any header |
//! | `binary` | `wms-connector` as a program: at work, or one command of it |
//! | `process` | a child that cannot outlive the run |
//! | `suite` | lists and runs the tests, prints what ran on what |
#![allow(
    clippy::disallowed_methods,
    reason = "tests look at Kafka with clients of their own, on tasks of their own"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says so"
)]

mod broker_down;
mod commands;
mod events;
mod examples;
mod infra;
mod lifecycle;
mod support;
mod webhooks;

use std::process::ExitCode;

fn main() -> ExitCode {
    // RUST_LOG=wms_connector=debug shows what the connector under test says.
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let mut suite = support::suite::Suite::new();
    infra::register(&mut suite);
    events::register(&mut suite);
    examples::register(&mut suite);
    commands::register(&mut suite);
    broker_down::register(&mut suite);
    lifecycle::register(&mut suite);
    webhooks::register(&mut suite);
    suite.run()
}
