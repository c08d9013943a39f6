//! How fast commands are carried out, and what those that wait cost: the connector between a real
//! broker and a vendor that answers everything after the same time.
//!
//! `make bench` runs it. Two tables:
//!
//! - *a backlog*: so many commands on one partition under so many keys become visible in one
//!   moment (a transaction). A key's commands run strictly one after the other, so the floor is
//!   commands / keys × the vendor's time.
//! - *waiting*: the same work while few and while many commands wait in the topic. Rate, processor
//!   time a command and memory should not know the difference.
//!
//! The vendor is a bare stub in a process of its own, so that its processor time is not counted;
//! the account has no limits. Settings: `BENCH_COMMANDS` (10000), `BENCH_KEYS` (100),
//! `BENCH_VENDOR_MS` (20), `BENCH_ROUNDS` (3), `BENCH_WAITING` (`1000,1000000`), `BENCH_CONFIG`
//! (TOML behind the connector's configuration).
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

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Headers,
    producer::{BaseProducer, BaseRecord, Producer},
};

const LONG: Duration = Duration::from_secs(60);
/// Replies that are not measured: connections are opened, code is paged in.
const WARM_UP: usize = 2000;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("vendor") {
        return vendor(Duration::from_millis(arguments.next().unwrap().parse().unwrap()));
    }
    let broker;
    let servers = match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(servers) => servers,
        Err(_) => {
            broker = support::kafka::Broker::start().unwrap();
            broker.bootstrap_servers()
        }
    };
    let load = Load {
        servers,
        commands: setting("BENCH_COMMANDS", 10_000),
        keys: setting("BENCH_KEYS", 100),
        vendor: Duration::from_millis(setting("BENCH_VENDOR_MS", 20)),
    };
    load.backlog(setting("BENCH_ROUNDS", 3));
    load.waiting(&std::env::var("BENCH_WAITING").unwrap_or_else(|_| "1000,1000000".to_owned()));
}

/// A vendor that takes every order, after `delay` each. A thread a connection: the system's own
/// sleep is exact to a tenth of a millisecond, a runtime's timer is not.
fn vendor(delay: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || serve(stream, delay));
    }
}

fn serve(mut stream: TcpStream, delay: Duration) {
    const BODY: &str = r#"{"code":0,"message":"","data":"WO-1","requestId":"r-1"}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = vec![0_u8; 64 << 10];
    let mut filled = 0;
    loop {
        let Ok(count) = stream.read(&mut buffer[filled..]) else { return };
        if count == 0 {
            return;
        }
        filled += count;
        let Some(head) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let headers = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length: usize = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse().unwrap());
        if filled >= head + 4 + length {
            filled = 0;
            thread::sleep(delay);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A process that is gone with its holder.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Process {
    /// Processor time so far, user and system together.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let mut fields = fields.split_whitespace().skip(11).map(|n| n.parse::<u64>().unwrap());
        // Linux counts in hundredths of a second here, on every architecture.
        Duration::from_millis((fields.next().unwrap() + fields.next().unwrap()) * 10)
    }

    /// Resident memory in MiB: now, and the most so far.
    fn resident(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kib / 1024.0
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

struct Load {
    servers: String,
    commands: usize,
    keys: usize,
    vendor: Duration,
}

/// A connector at work on topics of its own, with its vendor.
struct Desk<'a> {
    load: &'a Load,
    topic: String,
    replies: BaseConsumer,
    connector: Process,
    _vendor: Process,
    _folder: tempfile::TempDir,
    /// The last reply of each key: the command's offset.
    last: HashMap<Vec<u8>, i64>,
    seen: usize,
}

impl Load {
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config
    }

    fn send(&self, producer: &BaseProducer, topic: &str, number: usize) {
        let payload = format!(
            r#"{{"account":"bench","orderNumber":"B-{number}","platform":"shopify","warehouse":"YK","recipient":{{"name":"张三","country":"US","city":"Los Angeles","address1":"1 Main St"}},"lines":[{{"sku":"SKU-1","quantity":1}},{{"sku":"SKU-2","quantity":2}}]}}"#
        );
        let key = format!("K{}", number % self.keys);
        let mut record = BaseRecord::to(topic).key(&key).payload(&payload);
        loop {
            match producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }

    /// Makes the topics, sends `waiting` commands ahead, starts vendor and connector.
    fn open(&self, name: &str, waiting: usize) -> Desk<'_> {
        let prefix = format!("bench{}{name}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let mut vendor = Command::new(std::env::current_exe().unwrap())
            .args(["vendor", &self.vendor.as_millis().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(vendor.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            r#"
[kafka]
bootstrap_servers = "{}"
[topics]
prefix = "{prefix}"
[admin]
listen = "{admin}"
[commands]
group_id = "{prefix}"
[accounts.bench]
vendor = "jfwms"
base_url = "{}"
client_id = "bench"
client_secret = "4a506ccaf37e400bac4a42d2dc5f600a"
access_token = "bench"
user_id = "1"
{}
"#,
            self.servers,
            url.trim(),
            setting("BENCH_CONFIG", String::new()),
        );
        let file = folder.path().join("bench.toml");
        std::fs::write(&file, &config).unwrap();
        let parsed =
            wms_connector::config::load_text("bench", &config, std::iter::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for topic in wms_connector::app::topics::all(&parsed.config, 1, 1) {
            let create = support::backend::create_topic(&self.servers, &topic.name, 1, &[]);
            runtime.block_on(create);
        }
        let topic = format!("{prefix}.commands.create-order");
        let ahead = Instant::now();
        let producer: BaseProducer =
            self.client().set("compression.type", "lz4").set("linger.ms", "20").create().unwrap();
        for number in 0..waiting {
            self.send(&producer, &topic, number);
            if number % 1000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(LONG).unwrap();
        if waiting > 100_000 {
            eprintln!("{waiting} commands were sent ahead in {:.1?}", ahead.elapsed());
        }
        let replies: BaseConsumer = self
            .client()
            .set("group.id", "bench")
            // A fetch for every few replies would be work that no reader has to make.
            .set("fetch.wait.max.ms", "10")
            .set("fetch.min.bytes", "16384")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        let reply_topic = parsed.config.topics.replies();
        all.add_partition_offset(&reply_topic, 0, Offset::Beginning).unwrap();
        replies.assign(&all).unwrap();
        Desk {
            load: self,
            topic,
            replies,
            connector: connector(&file, &format!("http://{admin}/readyz"), &runtime),
            _vendor: Process(vendor),
            _folder: folder,
            last: HashMap::new(),
            seen: 0,
        }
    }

    fn backlog(&self, rounds: usize) {
        let floor = self.vendor.as_secs_f64() * self.commands.div_ceil(self.keys) as f64;
        println!(
            "a backlog of {} commands, one partition, {} keys, a vendor of {} ms: floor {floor:.2} s",
            self.commands,
            self.keys,
            self.vendor.as_millis()
        );
        println!(
            "round | first to last reply s  commands/s | connector CPU s  µs a command | resident MiB  most"
        );
        let mut desk = self.open("a", WARM_UP);
        desk.read(WARM_UP, |_| {});
        let producer: BaseProducer = self
            .client()
            .set("transactional.id", &desk.topic)
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .create()
            .unwrap();
        producer.init_transactions(LONG).unwrap();
        let mut sent = WARM_UP;
        for round in 1..=rounds {
            producer.begin_transaction().unwrap();
            for _ in 0..self.commands {
                self.send(&producer, &desk.topic, sent);
                sent += 1;
            }
            producer.flush(LONG).unwrap();
            let before = desk.connector.cpu();
            producer.commit_transaction(LONG).unwrap();
            let took = desk.read(self.commands, |_| {});
            let cpu = desk.connector.cpu() - before;
            let (now, most) = desk.connector.resident();
            println!(
                "{round:5} | {:21.3} {:11.0} | {:15.2} {:13.0} | {now:12.1} {most:5.1}",
                took.as_secs_f64(),
                self.commands as f64 / took.as_secs_f64(),
                cpu.as_secs_f64(),
                cpu.as_micros() as f64 / self.commands as f64,
            );
        }
    }

    fn waiting(&self, counts: &str) {
        println!("the same work while others wait in the topic");
        println!("waiting | commands/s | connector CPU µs a command | resident MiB  most");
        for (index, count) in counts.split(',').enumerate() {
            let waiting: usize = count.trim().parse().unwrap();
            let mut desk = self.open(&format!("w{index}"), waiting);
            let producer: BaseProducer = self.client().set("linger.ms", "5").create().unwrap();
            let mut sent = waiting;
            let topic = desk.topic.clone();
            // For each reply another command: their number does not change.
            let mut again = |_: usize| {
                self.send(&producer, &topic, sent);
                sent += 1;
                producer.poll(Duration::ZERO);
            };
            desk.read(WARM_UP, &mut again);
            let before = desk.connector.cpu();
            let took = desk.read(self.commands, &mut again);
            let cpu = desk.connector.cpu() - before;
            let (now, most) = desk.connector.resident();
            println!(
                "{waiting:7} | {:10.0} | {:26.0} | {now:12.1} {most:5.1}",
                self.commands as f64 / took.as_secs_f64(),
                cpu.as_micros() as f64 / self.commands as f64,
            );
        }
    }
}

/// Starts a connector and waits until it has joined its group.
fn connector(file: &Path, ready: &str, runtime: &tokio::runtime::Runtime) -> Process {
    let child = Command::new(env!("CARGO_BIN_EXE_wms-connector"))
        .args(["run", "--only", "commands", "--config", file.to_str().unwrap()])
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned()))
        .spawn()
        .unwrap();
    let process = Process(child);
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let deadline = Instant::now() + LONG;
        while !client.get(ready).send().await.is_ok_and(|r| r.status().is_success()) {
            assert!(Instant::now() < deadline, "the connector is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    process
}

impl Desk<'_> {
    /// Reads so many replies: the time from the first to the last. Each key's come in order, and
    /// each command's once.
    fn read(&mut self, count: usize, mut each: impl FnMut(usize)) -> Duration {
        let (mut first, mut last) = (None, Instant::now());
        let deadline = Instant::now() + LONG * 2;
        let mut read = 0;
        while read < count {
            assert!(Instant::now() < deadline, "{read} of {count} replies came");
            let Some(reply) = self.replies.poll(Duration::from_millis(100)) else { continue };
            let reply = reply.unwrap();
            last = Instant::now();
            first.get_or_insert(last);
            let headers = reply.headers().unwrap();
            let id = headers.iter().find(|header| header.key == "ce_id").unwrap().value.unwrap();
            let (_, offset) = std::str::from_utf8(id).unwrap().rsplit_once('-').unwrap();
            let offset: i64 = offset.parse().unwrap();
            let before = self.last.insert(reply.key().unwrap().to_vec(), offset);
            assert!(before.is_none_or(|before| before < offset), "out of order, or twice");
            read += 1;
            self.seen += 1;
            each(self.seen);
        }
        assert_eq!(self.last.len(), self.load.keys);
        last - first.unwrap_or(last)
    }
}
