//! A real Apache Kafka: one node, on a free loopback port, its data thrown away.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use tempfile::TempDir;

use super::{parts, process::Watched};

/// How often new ports are tried when somebody else takes them first.
const PORT_ATTEMPTS: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A broker. Dropping it kills it and removes its data.
///
/// The suite's own is shared by all tests of `kafka::`; a test that kills one starts its own.
#[derive(Debug)]
pub(crate) struct Broker {
    // Before the data: the process is gone when its folder is removed.
    process: Watched,
    data: TempDir,
    port: u16,
}

impl Broker {
    /// Starts a broker of its own and returns when it answers (about four seconds). Blocks.
    pub(crate) fn start() -> Result<Self, String> {
        Self::start_with(&[])
    }

    /// The same, with settings that win over ours.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Result<Self, String> {
        let libs = parts::java_parts()?.join("kafka");
        let mut last = String::new();
        for _ in 0..PORT_ATTEMPTS {
            match Self::try_start(&libs, settings) {
                Err(reason) if reason.contains("Address already in use") => last = reason,
                outcome => return outcome,
            }
        }
        Err(last)
    }

    fn try_start(libs: &Path, settings: &[(&str, &str)]) -> Result<Self, String> {
        let data = parts::temporary_dir("kafka-")?;
        let port = parts::free_port();
        let controller_port = parts::free_port();
        let folder = data.path();
        let write = |name: &str, text: String| {
            fs::write(folder.join(name), text).map_err(|e| format!("{name}: {e}"))
        };
        let ours = settings.iter().map(|(name, value)| format!("{name}={value}\n"));
        let ours: String = ours.collect();
        write("server.properties", server_properties(folder, port, controller_port) + &ours)?;
        write("log4j2.properties", log4j2_properties(folder))?;

        let cluster_id = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let output = java(libs, folder, "kafka.tools.StorageTool")
            .args(["format", "--standalone", &format!("--cluster-id={cluster_id}"), "-c"])
            .arg(folder.join("server.properties"))
            .output()
            .map_err(|e| format!("java: {e}"))?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            return Err(format!("Kafka's format: {}", String::from_utf8_lossy(&text)));
        }
        let process = launch(libs, folder)?;
        let mut broker = Self { process, data, port };
        broker.wait_until_ready()?;
        Ok(broker)
    }

    pub(crate) fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the broker as a power cut would. Its port and data stay for `restart`.
    pub(crate) fn kill9(&mut self) {
        self.process.end("KILL");
    }

    /// Ends the broker in good order. Its port and data stay for `restart`.
    pub(crate) fn stop(&mut self) {
        self.process.end("TERM");
    }

    /// Freezes the broker: its connections stay open and nothing answers.
    pub(crate) fn freeze(&mut self) {
        self.process.signal("STOP");
    }

    pub(crate) fn thaw(&mut self) {
        self.process.signal("CONT");
    }

    /// Starts the broker again after `kill9` or `stop`, on the same port with the same data.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        self.process = launch(&parts::java_parts()?.join("kafka"), self.data.path())?;
        self.wait_until_ready()
    }

    /// Cuts a partition's log off at an offset, as a power failure does to what was not yet on the
    /// disk. The broker is down.
    pub(crate) fn cut_off(&self, topic: &str, partition: i32, offset: i64) {
        let folder = self.data.path().join("data").join(format!("{topic}-{partition}"));
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            // The broker makes its indexes again from the log.
            if matches!(kind, "index" | "timeindex" | "txnindex" | "snapshot") {
                fs::remove_file(&path).unwrap();
            }
        }
        let log = folder.join(format!("{:020}.log", 0));
        let bytes = fs::read(&log).unwrap();
        // A batch: its base offset (8 bytes), the length of what follows (4 bytes), the rest.
        let mut at = 0;
        while let Some(header) = bytes.get(at..at + 12) {
            let base = i64::from_be_bytes(header[..8].try_into().unwrap());
            let length = u32::from_be_bytes(header[8..].try_into().unwrap());
            if length == 0 || base >= offset {
                break;
            }
            at += 12 + usize::try_from(length).unwrap();
        }
        assert!(at < bytes.len(), "the log ends before {offset}");
        let log = fs::OpenOptions::new().write(true).open(&log).unwrap();
        log.set_len(u64::try_from(at).unwrap()).unwrap();
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap_servers())
            .set("group.id", "probe")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .map_err(|e| e.to_string())?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.process.has_ended() {
                return Err(format!("Kafka ended at its start:\n{}", self.logs()));
            }
            match consumer.fetch_metadata(None, Duration::from_secs(1)) {
                Ok(metadata) if !metadata.brokers().is_empty() => return Ok(()),
                outcome if Instant::now() > deadline => {
                    let why = outcome.err().map(|e| e.to_string()).unwrap_or_default();
                    return Err(format!("Kafka does not answer: {why}\n{}", self.logs()));
                }
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// What the broker said last.
    pub(crate) fn logs(&self) -> String {
        let folder = self.data.path();
        [parts::tail(&folder.join("output.log")), parts::tail(&folder.join("broker.log"))]
            .join("\n")
    }
}

fn launch(libs: &Path, folder: &Path) -> Result<Watched, String> {
    let mut command = java(libs, folder, "kafka.Kafka");
    command.arg(folder.join("server.properties"));
    Watched::start(&command, &folder.join("output.log"), Some(folder))
}

fn java(libs: &Path, folder: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        // The quick compiler only: a broker that lives for a minute has no use for the other.
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.properties").display()))
        .arg("-cp")
        .arg(libs.join("*"))
        .arg(class);
    command
}

fn server_properties(folder: &Path, port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# Tests that lose a member cannot wait for the usual 45 seconds.
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
",
        folder.join("data").display()
    )
}

fn log4j2_properties(folder: &Path) -> String {
    format!(
        "status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = {}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %m (%c)%n%ex
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
",
        folder.join("broker.log").display()
    )
}
