//! How far the connector is from the bare minimum: the same load against the connector and
//! against an axum handler that forwards the body to an equal producer, on one broker, in turn.
//!
//! `make bench` runs it. Figures are for comparing the two columns of one run, never across
//! machines. Settings: `BENCH_SECONDS` (a measurement's length, 5), `BENCH_CONNECTIONS`
//! (`1,16,128`), `BENCH_LINES` (`1,50`), `BENCH_ROUNDS` (each pair in turn, 3), `BENCH_PRODUCER`
//! (librdkafka properties of both producers, `name=value` joined by commas), `BENCH_BARE` (the
//! bare handler's producer: `prompt`, one with the connector's settings that sends what comes at
//! once, or `gathering`, the connector's own pair, which also lets what comes under load wait a
//! moment for company).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly and prints what it found"
)]
#![allow(missing_debug_implementations, reason = "nobody prints these")]

#[allow(unused_macros, unused_imports, reason = "the tests' toolbox; this takes the broker")]
#[path = "../tests/it/support/mod.rs"]
mod support;

mod body;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wms_connector::kafka::{ClientSettings, OutgoingRecord, Publisher};

/// Distinct webhooks; more than are in flight, so that none is a repeat of one on its way.
const BODIES: usize = 4096;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn list(name: &str, default: &str) -> Vec<usize> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    text.split(',').map(|n| n.trim().parse().unwrap()).collect()
}

fn producer_properties() -> Vec<(String, String)> {
    let text = std::env::var("BENCH_PRODUCER").unwrap_or_default();
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("bare") {
        let (servers, topic) = (arguments.next().unwrap(), arguments.next().unwrap());
        return runtime().block_on(bare(servers, topic));
    }
    let broker;
    let servers = match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(servers) => servers,
        Err(_) => {
            broker = support::kafka::Broker::start().unwrap();
            broker.bootstrap_servers()
        }
    };
    runtime().block_on(measure(&servers));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What the connector is compared with: no check, no decoding, no Avro; the same producer.
async fn bare(servers: String, topic: String) {
    let producer = producer_properties().into_iter().collect();
    let settings =
        ClientSettings { bootstrap_servers: servers, producer, ..ClientSettings::default() };
    let timeout = Duration::from_secs(5);
    let prompt = settings.producer(timeout);
    let publisher = match std::env::var("BENCH_BARE").as_deref() {
        Ok("gathering") => Publisher::gathering(prompt, settings.gathering_producer(timeout)),
        Ok("prompt") | Err(_) => Publisher::new(prompt),
        Ok(other) => panic!("BENCH_BARE is `prompt` or `gathering`, not `{other}`"),
    }
    .unwrap();
    let state = Arc::new((publisher, topic));
    let handler = |State(state): State<Arc<(Publisher, String)>>, body: Bytes| async move {
        let record = OutgoingRecord {
            topic: state.1.clone(),
            key: Some(b"BENCH".to_vec()),
            payload: Some(body.to_vec()),
            ..OutgoingRecord::default()
        };
        state.0.publish(record, Duration::from_secs(5)).await.unwrap();
        r#"{"code":0,"msg":""}"#
    };
    let app = Router::new().route("/webhooks/bench", post(handler)).with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

/// A server in a process of its own.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn bare(servers: &str, topic: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["bare", servers, topic])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().to_owned() }
    }

    async fn connector(folder: &std::path::Path, config: &str) -> Self {
        let (webhooks, admin) = (free_address(), free_address());
        let file = folder.join("bench.toml");
        let text = config.replace("WEBHOOKS", &webhooks).replace("ADMIN", &admin);
        std::fs::write(&file, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_wms-connector"))
            .args(["run", "--only", "webhooks", "--config", file.to_str().unwrap()])
            .env("RUST_LOG", "warn")
            .spawn()
            .unwrap();
        let server = Self { child, address: webhooks };
        let deadline = Instant::now() + Duration::from_secs(30);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let ready = format!("http://{admin}/readyz");
        while !client.get(&ready).send().await.is_ok_and(|r| r.status().is_success()) {
            assert!(Instant::now() < deadline, "the connector is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    /// Processor time so far, in seconds: unlike rate and latency it hardly depends on what else
    /// the machine does.
    fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name in brackets may hold blanks. User and system time, in hundredths (proc(5)).
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    /// Resident memory in MiB: now, and the most so far.
    fn resident(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kib / 1024.0
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Webhooks with so many lines, as whole HTTP requests.
fn requests(lines: usize) -> Vec<Vec<u8>> {
    let request = |number| {
        let body = body::body(number, lines);
        format!(
            "POST /webhooks/bench HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    (0..BODIES).map(request).collect()
}

#[derive(Debug, Default)]
struct Measured {
    seconds: f64,
    /// Microseconds, sorted.
    latencies: Vec<u32>,
    refused: u64,
    /// Processor time of the server.
    processor_seconds: f64,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// Microseconds of processor time of the server for one webhook.
    fn work(&self) -> f64 {
        self.processor_seconds * 1e6 / self.latencies.len() as f64
    }

    fn percentile(&self, percent: usize) -> u32 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len() - 1);
        self.latencies[index]
    }
}

/// So many connections, each sending as fast as it is answered, for so long.
async fn load(
    server: &Server,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    length: Duration,
) -> Measured {
    let worked = server.processor_seconds();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|number| {
            let (address, requests) = (server.address.clone(), Arc::clone(requests));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut latencies, mut refused) = (Vec::new(), 0_u64);
                let mut answer = vec![0_u8; 4096];
                let mut next = number * requests.len() / connections.max(1);
                while begun.elapsed() < length {
                    let request = &requests[next % requests.len()];
                    next += 1;
                    let sent = Instant::now();
                    stream.write_all(request).await.unwrap();
                    let ok = read_answer(&mut stream, &mut answer).await;
                    latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
                    refused += u64::from(!ok);
                }
                (latencies, refused)
            })
        })
        .collect();
    let mut measured = Measured::default();
    for task in tasks {
        let (latencies, refused) = task.await.unwrap();
        measured.latencies.extend(latencies);
        measured.refused += refused;
    }
    measured.seconds = begun.elapsed().as_secs_f64();
    measured.processor_seconds = server.processor_seconds() - worked;
    measured.latencies.sort_unstable();
    measured
}

/// Reads one answer whole; whether it was a 200.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(count > 0, "the server closed the connection");
        filled += count;
        let text = &buffer[..filled];
        let Some(head) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let headers = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
        let length: usize = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse().unwrap());
        if filled >= head + 4 + length {
            return text.starts_with(b"HTTP/1.1 200");
        }
    }
}

async fn measure(servers: &str) {
    let length = Duration::from_secs(setting("BENCH_SECONDS", 5));
    let rounds: usize = setting("BENCH_ROUNDS", 3);
    let prefix = format!("bench{}", std::process::id());
    let folder = tempfile::tempdir().unwrap();
    let producer: String = producer_properties()
        .iter()
        .map(|(name, value)| format!("\"{name}\" = \"{value}\"\n"))
        .collect();
    let config = format!(
        r#"
[kafka]
bootstrap_servers = "{servers}"
[kafka.producer]
{producer}
[topics]
prefix = "{prefix}"
[ingress]
listen = "WEBHOOKS"
duplicate_window = "0s"
[admin]
listen = "ADMIN"
[accounts.bench]
vendor = "jfwms"
base_url = "http://127.0.0.1:1"
client_id = "bench"
client_secret = "{}"
"#,
        body::SECRET
    );
    let parsed = wms_connector::config::load_text(
        "bench",
        &config.replace("WEBHOOKS", "127.0.0.1:1").replace("ADMIN", "127.0.0.1:2"),
        std::iter::empty(),
    )
    .unwrap();
    for topic in wms_connector::app::topics::all(&parsed.config, 1, 1) {
        support::backend::create_topic(servers, &topic.name, 1, &[]).await;
    }
    let bare_topic = format!("{prefix}.bare");
    support::backend::create_topic(servers, &bare_topic, 1, &[]).await;
    let bare = Server::bare(servers, &bare_topic);
    let connector = Server::connector(folder.path(), &config).await;
    println!(
        "resident at rest: connector {:.1} MiB, bare {:.1} MiB",
        connector.resident().0,
        bare.resident().0
    );
    println!(
        "            |       connector                    |       bare                         | connector / bare"
    );
    println!(
        "lines conns |    rate/s  p50 µs  p99 µs  work µs |    rate/s  p50 µs  p99 µs  work µs |  rate   p50   p99  work"
    );
    for lines in list("BENCH_LINES", "1,50") {
        let requests = Arc::new(requests(lines));
        for connections in list("BENCH_CONNECTIONS", "1,16,128") {
            // In turn, so that a machine that slows down slows both.
            let mut ratios = Vec::new();
            for round in 0..=rounds {
                let ours = load(&connector, &requests, connections, length).await;
                let theirs = load(&bare, &requests, connections, length).await;
                assert_eq!((ours.refused, theirs.refused), (0, 0), "a webhook was refused");
                if round > 0 {
                    ratios.push((ours.rate() / theirs.rate(), ours, theirs));
                }
            }
            ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (rate_ratio, ours, theirs) = &ratios[ratios.len() / 2];
            let [ours_cells, theirs_cells] = [ours, theirs].map(|measured| {
                format!(
                    "{:9.0} {:7} {:7} {:8.1}",
                    measured.rate(),
                    measured.percentile(50),
                    measured.percentile(99),
                    measured.work()
                )
            });
            let p_ratio = |percent| {
                f64::from(ours.percentile(percent)) / f64::from(theirs.percentile(percent))
            };
            println!(
                "{lines:5} {connections:5} | {ours_cells} | {theirs_cells} | {rate_ratio:5.2} {:5.2} {:5.2} {:5.2}",
                p_ratio(50),
                p_ratio(99),
                ours.work() / theirs.work(),
            );
        }
    }
    let ((ours, ours_most), (theirs, theirs_most)) = (connector.resident(), bare.resident());
    println!(
        "resident after the load: connector {ours:.1} MiB (most {ours_most:.1}), bare {theirs:.1} MiB (most {theirs_most:.1})"
    );
}
