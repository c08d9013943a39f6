//! The drill: under load, broker and connector die at random (`kill -9`) and come back; every
//! webhook that was answered 0 is in its topic afterwards, in the order in which it was answered.
//!
//! Short by itself. `make drill-webhooks` makes it longer: `WMS_DRILL_KILLS` says how often
//! something is killed, `WMS_DRILL_SEED` repeats the choices of a run.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;
use wms_connector::sandbox::{Sandbox, SandboxSettings};

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE},
    backend::{self, TestEnv, blocking},
    binary::{Connector, Files},
    kafka::Broker,
    parts,
    suite::tests,
    vendor,
};

tests! {
    kafka: broker_and_connector_die_at_random, broker_and_connector_die_at_random_with_a_spool;
}

const SENDERS: usize = 8;

/// Sends webhooks one after the other, each with a number of its own, and keeps what it was told.
#[derive(Default)]
struct Ledger {
    stop: AtomicBool,
    /// The numbers that were answered 0, by sender, in the order of the answers.
    answered: Mutex<Vec<Vec<String>>>,
    count: AtomicUsize,
    refused: AtomicUsize,
    lost: AtomicUsize,
}

impl Ledger {
    async fn send(&self, sender: usize, url: &str) {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        for n in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let number = format!("S{sender}-{n:06}");
            let body = vendor::jfwms("order", &vendor::order(&number));
            match http.post(url).body(body).send().await {
                // Reading the answer may fail too: the connector may die while it writes.
                Ok(response) => match (response.status().as_u16(), response.text().await) {
                    (_, Err(_)) => self.connection_lost().await,
                    (200, Ok(text)) => {
                        assert_eq!(text, r#"{"code":0,"msg":""}"#);
                        self.answered.lock().unwrap()[sender].push(number);
                        self.count.fetch_add(1, Ordering::Relaxed);
                    }
                    (503, Ok(_)) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        self.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    (status, Ok(text)) => panic!("{status} {text}"),
                },
                Err(_) => self.connection_lost().await,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn connection_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Waits for so many more answers.
    async fn more(&self, count: usize, connector: &Connector) {
        let before = self.count.load(Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while self.count.load(Ordering::Relaxed) < before + count {
            assert!(Instant::now() < deadline, "nothing is answered: {}", connector.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A number out of the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

async fn broker_and_connector_die_at_random(env: &TestEnv) {
    drill(env, "").await;
}

/// What is answered while Kafka is away lies on the disk, also when the connector dies then.
async fn broker_and_connector_die_at_random_with_a_spool(env: &TestEnv) {
    let folder = parts::temporary_dir("spool-").unwrap();
    let path = folder.path().join("webhooks.spool");
    drill(env, &format!("[ingress.spool]\npath = \"{}\"\n", path.display())).await;
}

/// What of it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Broker,
    Connector,
    Both,
}

async fn killed(mut connector: Connector) {
    connector.signal("KILL");
    connector.ended(PATIENCE).await;
}

async fn restarted(mut broker: Broker) -> Broker {
    blocking(move || broker.restart().map(|()| broker)).await.unwrap()
}

async fn drill(env: &TestEnv, spool: &str) {
    let kills = setting("WMS_DRILL_KILLS").unwrap_or(3);
    let seed = setting("WMS_DRILL_SEED").unwrap_or_else(rand::random);
    let with = if spool.is_empty() { "without" } else { "with" };
    println!("drill {with} a spool: {kills} kills, WMS_DRILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let mut broker = blocking(Broker::start).await.unwrap();
    let servers = broker.bootstrap_servers();
    let options = Options {
        ingress: "publish_timeout = \"3s\"".to_owned(),
        bootstrap_servers: Some(servers.clone()),
        more: spool.to_owned(),
        ..only_webhooks()
    };
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &options, &sandbox);
    app::create_topics(env, &config, Some(&servers)).await;
    // The port of the first is the port of all that follow: the senders know one address.
    let port = parts::free_port();
    let text = app::configuration_text(env, &options, &sandbox);
    let listen = format!("[ingress]\nlisten = \"127.0.0.1:{port}\"");
    let files = Files::new(&text.replacen("[ingress]\nlisten = \"127.0.0.1:0\"", &listen, 1));
    let start = async || files.start(&["--only", "webhooks"]).await;
    let mut connector = start().await;
    assert_eq!(connector.webhooks().port(), port);
    connector.until_ready_is(200).await;

    let ledger = Arc::new(Ledger::default());
    ledger.answered.lock().unwrap().resize(SENDERS, Vec::new());
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (ledger, url) = (Arc::clone(&ledger), connector.webhook_url(JFWMS));
        senders.spawn(async move { ledger.send(sender, &url).await });
    }
    let (mut broker_kills, mut connector_kills) = (0, 0);
    for n in 0..kills {
        ledger.more(50, &connector).await;
        let victim = match n {
            0 => Victim::Broker,
            1 => Victim::Connector,
            2 => Victim::Both,
            _ => [Victim::Broker, Victim::Connector, Victim::Both][random.random_range(0..3)],
        };
        // Any moment of the work is the right one to die in.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        broker_kills += usize::from(victim != Victim::Connector);
        connector_kills += usize::from(victim != Victim::Broker);
        match victim {
            Victim::Broker => {
                broker.kill9();
                broker = restarted(broker).await;
            }
            Victim::Connector => {
                killed(connector).await;
                connector = start().await;
            }
            Victim::Both => {
                broker.kill9();
                tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
                killed(connector).await;
                if random.random() {
                    // It finds no Kafka at its start.
                    (connector, broker) = tokio::join!(start(), restarted(broker));
                } else {
                    broker = restarted(broker).await;
                    connector = start().await;
                }
            }
        }
        connector.until_ready_is(200).await;
    }
    ledger.more(50, &connector).await;
    ledger.stop.store(true, Ordering::Relaxed);
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    if !spool.is_empty() {
        connector.until_metric("wms_spool_records{state=\"waiting\"} 0").await;
    }
    connector.signal("TERM");
    let (code, log) = connector.ended(PATIENCE).await;
    assert_eq!(code, Some(0), "{log}");

    let records = backend::read_now(&servers, &env.name("jfwms.order")).await;
    let mut first: HashMap<&str, i64> = HashMap::new();
    for record in &records {
        let offset = first.entry(record.key()).or_insert(record.offset);
        *offset = record.offset.min(*offset);
    }
    let answered = ledger.answered.lock().unwrap().clone();
    let all = answered.iter().flatten();
    let missing: Vec<_> = all.filter(|number| !first.contains_key(number.as_str())).collect();
    println!(
        "drill {with} a spool: {} answered 0, {} refused 503, {} connections lost, broker killed {broker_kills} \
         times, connector killed {connector_kills} times, {} records in the topic (more than once: \
         {}), missing = {}",
        answered.iter().flatten().count(),
        ledger.refused.load(Ordering::Relaxed),
        ledger.lost.load(Ordering::Relaxed),
        records.len(),
        records.len() - first.len(),
        missing.len(),
    );
    assert!(missing.is_empty(), "answered 0 and not in the topic: {missing:?}");
    // A sender sends the next when it has the answer to the last: so they lie in the topic.
    for numbers in &answered {
        let offsets: Vec<_> = numbers.iter().map(|number| first[number.as_str()]).collect();
        let wrong = offsets.windows(2).position(|pair| pair[0] > pair[1]);
        assert_eq!(wrong.map(|n| &numbers[n..n + 2]), None, "out of order");
    }
    sandbox.shutdown().await;
}
