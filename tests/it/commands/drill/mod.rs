//! The drill: a deployment under everything that goes wrong at once, and then the vendors' own
//! books: each document exactly once and in the order of its key, and a reply to every command.
//!
//! Short in the suite, long by the variables of the environment that `Size` reads.

mod audit;
mod crew;
mod plan;
mod watch;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::FutureProducer,
};
use wms_connector::{
    config::{self, Config},
    sandbox::{
        Fault, FaultRule, FixtureToken, JfwmsUser, RefreshRotation, RetryAfter, Sandbox,
        SandboxLimits, SandboxSettings, Vendor,
    },
};

use self::{
    crew::Crew,
    plan::{JFWMS_TWO, Planned, QIANYI_TWO},
    watch::Watch,
};
use super::desk::quiet;
use crate::support::{
    app::{self, Options},
    backend::{self, TestEnv},
    suite::Suite,
};

/// What `[tokens] store` is.
#[derive(Clone, Copy, Debug)]
enum Store {
    File,
    Topic,
}

/// How large the drill is.
#[derive(Clone, Copy, Debug)]
struct Size {
    commands: usize,
    keys: usize,
    kills: usize,
    /// How many processes there are in the middle.
    processes: usize,
    store: Store,
    seed: u64,
    /// The drill ends when no command was answered for so long.
    patience: Duration,
    /// No drill is longer.
    limit: Duration,
}

impl Size {
    fn of_environment() -> Self {
        let setting = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
            Err(_) => default,
        };
        let count = |name: &str, default: u64| usize::try_from(setting(name, default)).unwrap();
        Self {
            commands: count("DRILL_COMMANDS", 1_000),
            keys: count("DRILL_KEYS", 50).max(1),
            kills: count("DRILL_KILLS", 2),
            processes: count("DRILL_PROCESSES", 3).max(1),
            store: match std::env::var("DRILL_TOKENS").as_deref() {
                Ok("topic") | Err(_) => Store::Topic,
                Ok("file") => Store::File,
                Ok(other) => panic!("DRILL_TOKENS={other} is neither file nor topic"),
            },
            seed: setting("DRILL_SEED", 1),
            patience: Duration::from_secs(setting("DRILL_PATIENCE_SECONDS", 60)),
            limit: Duration::from_secs(60 * setting("DRILL_LIMIT_MINUTES", 3)),
        }
    }
}

pub(crate) fn register(suite: &mut Suite) {
    let size = Size::of_environment();
    let name = "commands::drill::each_effect_once_in_order_and_a_reply_to_every_command";
    suite.kafka_within(name, size.limit, async move |env: &TestEnv| drill(env, size).await);
}

/// The group waits so long for a member that does not say good-bye.
const SESSION: &str = "4000";

/// Where the processes keep the vendor's tokens, and what seals them. The file is locked while it
/// is written, so the processes of one machine can share it.
fn tokens(store: Store, folder: &Path) -> String {
    let store = match store {
        Store::Topic => "store = \"topic\"".to_owned(),
        Store::File => {
            let path = folder.join("tokens.json");
            format!("store = \"file\"\npath = \"{}\"", path.display())
        }
    };
    format!("[tokens]\n{store}\nkey = \"{}\"\n", "5a".repeat(32))
}

/// The refresh tokens the accounts begin with.
const REFRESH: [&str; 2] = ["sandbox-refresh-token", "sandbox-refresh-token-two"];

/// Tokens that live ten seconds, of two sellers.
fn vendors(size: Size) -> SandboxSettings {
    let mut settings = quiet();
    settings.seed = size.seed;
    settings.limits = SandboxLimits { documents: 4 * size.commands, ..SandboxLimits::default() };
    settings.goods.initial_stock = i64::try_from(10 * size.commands).unwrap();
    let jfwms = &mut settings.jfwms;
    jfwms.access_token_lifetime = Duration::from_secs(10);
    // What a killed process was just given is lost; whether the vendor then still takes the token
    // before it is not documented, and where it does not, a person is needed.
    jfwms.rotation = RefreshRotation::RotateKeepOld;
    let first = jfwms.users[0].clone();
    jfwms.users.push(JfwmsUser { user_id: 9, email: "two@example.com".to_owned(), ..first });
    let token =
        |token: &str, user_id| FixtureToken { token: token.to_owned(), user_id, lifetime: None };
    jfwms.refresh_tokens = vec![token(REFRESH[0], 8), token(REFRESH[1], 9)];
    settings
}

/// The faults of the drill, each with its share of all requests.
fn faults() -> Vec<FaultRule> {
    let status = |status, retry_after| Fault::Status { status, retry_after, body: None };
    let of = |fault: Fault, share: f64| FaultRule {
        vendor: None,
        ..FaultRule::new(Vendor::Jfwms, "*", fault).probability(share)
    };
    vec![
        of(Fault::Latency { ms: 1, jitter_ms: 20, after_work: false }, 0.5),
        of(Fault::Latency { ms: 1, jitter_ms: 20, after_work: true }, 0.5),
        of(status(503, None), 0.02),
        of(Fault::DropAfterWork, 0.01),
        of(status(429, Some(RetryAfter::Seconds(1))), 0.002),
        of(status(503, Some(RetryAfter::DateIn(2))), 0.002),
    ]
}

fn configuration(env: &TestEnv, options: &Options, sandbox: &Sandbox) -> String {
    let mut text = app::configuration_text(env, options, sandbox);
    let (jfwms, qianyi) = (&options.sandbox.jfwms, &options.sandbox.qianyi);
    write!(
        text,
        r#"
[commands.retry]
initial_backoff = "50ms"
max_backoff = "2s"
[commands.circuit]
probe_after = "500ms"
[kafka.consumer]
"session.timeout.ms" = "{SESSION}"
"heartbeat.interval.ms" = "500"
[accounts.{JFWMS_TWO}]
vendor = "jfwms"
base_url = "{}"
client_id = "{}"
client_secret = "{}"
refresh_token = "{}"
user_id = "9"
user_ids = ["9"]
[accounts.{QIANYI_TWO}]
vendor = "qianyi"
base_url = "{}"
app_id = "{}"
app_secret = "{}"
"#,
        sandbox.jfwms_url(),
        jfwms.client_id,
        jfwms.client_secret,
        REFRESH[1],
        sandbox.qianyi_url(),
        qianyi.app_id,
        qianyi.app_secret,
    )
    .unwrap();
    text
}

/// What is done to the processes.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Kill,
    Processes(usize),
    Freeze,
}

/// The deeds, each when that part of the commands has its reply.
fn deeds(size: Size, random: &mut StdRng) -> Vec<(f64, Deed)> {
    let mut deeds: Vec<(f64, Deed)> = (0..size.kills)
        .map(|n| {
            let within = (n as f64 + random.random::<f64>()) / size.kills as f64;
            (0.03 + 0.92 * within, Deed::Kill)
        })
        .collect();
    if size.processes > 1 {
        deeds.extend([
            (0.2, Deed::Processes(size.processes)),
            (0.45, Deed::Freeze),
            (0.75, Deed::Processes(1)),
        ]);
    }
    deeds.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    deeds
}

/// Sends everything, the keys in turn, and gives each command the `ce_id` of its reply.
async fn send(producer: &FutureProducer, keys: Vec<Vec<Planned>>) -> Vec<Vec<(Planned, String)>> {
    let rounds = keys.iter().map(Vec::len).max().unwrap_or_default();
    let mut sent: Vec<Vec<(Planned, String)>> = keys.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut deliveries = Vec::new();
        for (key, commands) in keys.iter().enumerate() {
            let Some(command) = commands.get(round) else { continue };
            let delivery = loop {
                match producer.send_result(command.record.as_future_record()) {
                    Ok(delivery) => break delivery,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    Err((error, _)) => panic!("{error}"),
                }
            };
            deliveries.push(async move { (key, command, delivery.await) });
        }
        for (key, command, delivery) in join_all(deliveries).await {
            let at = delivery.unwrap().unwrap();
            let id = format!("reply-{}-{}-{}", command.record.topic(), at.partition, at.offset);
            sent[key].push((command.clone(), id));
        }
    }
    sent
}

async fn drill(env: &TestEnv, size: Size) {
    let mut options = Options {
        sandbox: vendors(size),
        jfwms: format!("refresh_token = \"{}\"\nuser_ids = [\"8\"]\n", REFRESH[0]),
        commands: "call_timeout = \"5s\"\n".to_owned(),
        ..Options::default()
    };
    options.sandbox.jfwms.access_tokens[0].lifetime = Some(Duration::from_secs(10));
    let sandbox = Sandbox::start(options.sandbox.clone()).await.unwrap();
    let text = configuration(env, &options, &sandbox);
    let config = config::load_text("drill.toml", &text, std::iter::empty()).unwrap().config;
    app::create_topics(env, &config, None).await;
    let mut crew = Crew::new();
    crew.configure(&format!("{text}{}", tokens(size.store, crew.folder())));
    let keys = plan::all(&config, size.commands, size.keys);
    let keys = send(&env.producer(), keys).await;
    let total: usize = keys.iter().map(Vec::len).sum();

    sandbox.faults().set(faults()).unwrap();
    let mut random = StdRng::seed_from_u64(size.seed);
    let deeds = deeds(size, &mut random);
    let mut next = deeds.iter().peekable();
    let watch = Watch::start(env, &config.topics.replies());
    let begun = Instant::now();
    crew.start();
    let (mut answered, mut since) = (0, Instant::now());
    let mut stalled = false;
    while watch.count() < total && !stalled {
        if let Some(tail) = crew.fallen() {
            panic!("a process ended by itself:\n{tail}");
        }
        let count = watch.count();
        if count > answered {
            (answered, since) = (count, Instant::now());
        }
        stalled = since.elapsed() > size.patience;
        let part = count as f64 / total as f64;
        let Some((_, deed)) = next.next_if(|(at, _)| part >= *at) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        println!("drill: {:.1} s, {count} of {total}: {deed:?}", begun.elapsed().as_secs_f64());
        let which = random.random_range(0..crew.len());
        match deed {
            Deed::Kill => {
                let moment = Duration::from_millis(random.random_range(0..200));
                tokio::time::sleep(moment).await;
                crew.kill(which);
            }
            Deed::Freeze => crew.freeze(which).await,
            Deed::Processes(count) => {
                while crew.len() < *count {
                    crew.start();
                }
                while crew.len() > *count {
                    crew.dismiss().await;
                }
            }
        }
    }
    let elapsed = begun.elapsed();
    // What a killed process had answered and not committed is done again.
    let mut committed = committed_in(env, &config).await;
    while committed < total && !stalled {
        stalled = begun.elapsed() - elapsed > size.patience;
        tokio::time::sleep(Duration::from_millis(200)).await;
        committed = committed_in(env, &config).await;
    }
    let tails = if stalled { crew.tails() } else { String::new() };
    while crew.len() > 0 && !stalled {
        crew.dismiss().await;
    }
    let replies = watch.end();
    let books = sandbox.books();
    let findings = audit::audit(&keys, &replies, &books).await;
    let letters = dead_letters(env, &config).await;
    report(size, &sandbox, &crew, &findings, letters, elapsed);
    assert!(
        findings.wrong_total == 0,
        "{} things are wrong (seed {}), among them:\n{}\n{tails}",
        findings.wrong_total,
        size.seed,
        findings.wrong.join("\n")
    );
    let unknown = |(name, count): (&String, &usize)| name.ends_with("UNKNOWN").then_some(*count);
    let unknown: usize = findings.statuses.iter().filter_map(unknown).sum();
    assert!(letters >= unknown, "{letters} dead letters, {unknown} of UNKNOWN calls alone");
    assert_eq!(sandbox.faults().rules().iter().filter(|rule| rule.matched == 0).count(), 0);
    assert_eq!(committed, total, "what is committed at the end\n{tails}");
    sandbox.shutdown().await;
}

/// The sum of the committed offsets.
async fn committed_in(env: &TestEnv, config: &Config) -> usize {
    let mut committed = 0;
    for topic in app::command_topics(config) {
        let partitions = env.committed(&config.commands.group_id, &topic).await;
        committed += partitions.iter().filter_map(|(_, offset, _)| *offset).sum::<i64>();
    }
    usize::try_from(committed).unwrap()
}

async fn dead_letters(env: &TestEnv, config: &Config) -> usize {
    let mut letters = 0;
    for topic in app::command_topics(config) {
        letters +=
            backend::read_now(env.bootstrap_servers(), &config.topics.dlq(&topic)).await.len();
    }
    letters
}

/// Everything that was counted.
fn report(
    size: Size,
    sandbox: &Sandbox,
    crew: &Crew,
    findings: &audit::Findings,
    letters: usize,
    elapsed: Duration,
) {
    let totals = sandbox.totals();
    let mut text = String::new();
    let mut line = |what: &str, value: String| writeln!(text, "drill: {what:<28} {value}").unwrap();
    line("commands, keys, seed", format!("{}, {}, {}", size.commands, size.keys, size.seed));
    let rate = size.commands as f64 / elapsed.as_secs_f64();
    line("elapsed", format!("{:.1} s, {rate:.0} commands/s", elapsed.as_secs_f64()));
    line("processes", format!("1, {}, 1; killed {}", size.processes, size.kills));
    let lost = crew.count("partitions were lost");
    line("assignments, losses", format!("{}, {lost}", crew.assignments()));
    line("tokens renewed", crew.count("tokens renewed").to_string());
    line("replies", format!("{}, of them again {}", findings.replies, findings.repeated));
    line("again, saying otherwise", findings.changed.to_string());
    for (name, count) in &findings.statuses {
        line(name, count.to_string());
    }
    line("sends, by the replies", findings.attempts.to_string());
    line("deduplicated", findings.deduplicated.to_string());
    line("dead letters", letters.to_string());
    line("effects at the vendors", findings.effects.to_string());
    line("requests at the vendors", totals.requests.to_string());
    for (name, count) in &totals.outcomes {
        line(&format!("  {name}"), count.to_string());
    }
    let mut happened: BTreeMap<String, u64> = BTreeMap::new();
    for rule in sandbox.faults().rules() {
        let name = match &rule.rule.fault {
            Fault::Status { status, retry_after: Some(_), .. } => format!("{status} Retry-After"),
            Fault::Status { status, .. } => format!("{status}"),
            fault => fault.name().to_owned(),
        };
        *happened.entry(name).or_default() += rule.happened;
    }
    for (name, count) in happened {
        line(&format!("fault {name}"), count.to_string());
    }
    print!("{text}");
}
