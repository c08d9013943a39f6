//! The connector itself dies: the binary, killed in the middle of its work and started again.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use wms_connector::{
    domain::Operation,
    sandbox::{EffectKind, Fault, FaultRule, Sandbox, Vendor},
};

use super::{
    desk::{QUICK, options},
    samples,
};
use crate::support::{
    app::{self, Options, PATIENCE},
    backend::{self, Outgoing, TestEnv},
    parts,
    process::Watched,
    suite::tests,
};

tests! {
    kafka: the_connector_is_killed;
}

const KEYS: usize = 20;
const OF_A_KEY: usize = 5;

fn start(folder: &Path) -> Watched {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wms-connector"));
    command.args(["run", "--only", "commands", "--config"]).arg(folder.join("test.toml"));
    Watched::start(&command, &folder.join("output.log"), Some(folder)).unwrap()
}

async fn the_connector_is_killed(env: &TestEnv) {
    // The group waits so long for a member that does not say good-bye.
    let session = "[kafka.consumer]\n\"session.timeout.ms\" = \"6000\"\n";
    let options = Options { more: format!("{QUICK}{session}"), ..options() };
    let sandbox = Sandbox::start(options.sandbox.clone()).await.unwrap();
    let config = app::configuration(env, &options, &sandbox);
    app::create_topics(env, &config, None).await;
    let folder = parts::temporary_dir("connector-").unwrap();
    let text = app::configuration_text(env, &options, &sandbox);
    fs::write(folder.path().join("test.toml"), text).unwrap();

    // Killed before the work is done at the vendor, and after it.
    for after_work in [false, true] {
        let slow = Fault::Latency { ms: 50, jitter_ms: 200, after_work };
        sandbox.faults().add(FaultRule::new(Vendor::Jfwms, "*", slow)).unwrap();
    }
    let producer = env.producer();
    let topic = config.topics.command(Operation::CreateOrder, None);
    let number = |key: usize, n: usize| format!("X{key}-{n}");
    let mut ids = BTreeSet::new();
    for n in 0..OF_A_KEY {
        for key in 0..KEYS {
            let sample = samples::small_order(&number(key, n));
            let record = Outgoing::to(&topic).key(format!("X{key}"));
            let sent = backend::send(&producer, record.value(sample.command.to_string())).await;
            ids.insert(format!("reply-{topic}-{}-{}", sent.partition, sent.offset));
        }
    }
    let mut connector = start(folder.path());
    for kept in [5, 35, 65] {
        let deadline = Instant::now() + PATIENCE;
        while sandbox.books().orders.len() < kept {
            let log = parts::tail(&folder.path().join("output.log"));
            assert!(!connector.has_ended(), "{log}");
            assert!(Instant::now() < deadline, "only {:?}\n{log}", sandbox.books().orders.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        connector.end("KILL");
        connector = start(folder.path());
    }
    let wanted = ids.clone();
    let done = move |records: &[backend::Record]| {
        let there: BTreeSet<_> = records.iter().filter_map(|r| r.header("ce_id")).collect();
        wanted.iter().all(|id| there.contains(id.as_str()))
    };
    let replies = env.read_until(&config.topics.replies(), 3 * PATIENCE, done).await;
    for record in &replies {
        assert!(ids.contains(record.header("ce_id").unwrap()), "{record:?}");
        let says = app::decode(record).await;
        assert_eq!(says["status"], "SUCCEEDED", "{says:#}");
    }
    let books = sandbox.books();
    assert_eq!(books.orders.len(), KEYS * OF_A_KEY);
    for key in 0..KEYS {
        let mut sequences = Vec::new();
        for n in 0..OF_A_KEY {
            let number = number(key, n);
            let effects = books.effects_of(Vendor::Jfwms, &number);
            assert_eq!(effects, [EffectKind::OrderCreated], "{number}");
            sequences.push(books.effects[&format!("jfwms/{number}")][0].sequence);
        }
        assert!(sequences.is_sorted(), "the order of key X{key}: {sequences:?}");
    }
    connector.end("TERM");
    let committed = env.committed(&config.commands.group_id, &topic).await;
    let done: i64 = committed.iter().filter_map(|(_, offset, _)| *offset).sum();
    assert_eq!(usize::try_from(done), Ok(KEYS * OF_A_KEY), "{committed:?}");
    sandbox.shutdown().await;
}
