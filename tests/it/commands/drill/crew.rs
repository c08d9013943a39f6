//! The processes of the deployment: the real binary, started, killed, frozen and ended.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{app::PATIENCE, backend::blocking, parts, process::Watched};

struct Process {
    watched: Watched,
    log: PathBuf,
}

/// The processes that run now, and the logs of all there ever were.
pub(super) struct Crew {
    folder: tempfile::TempDir,
    processes: Vec<Process>,
    logs: Vec<PathBuf>,
}

/// What the connector logs when it gets partitions.
const ASSIGNED: &str = "partitions were assigned";

impl Crew {
    pub(super) fn new() -> Self {
        let folder = parts::temporary_dir("drill-").unwrap();
        Self { folder, processes: Vec::new(), logs: Vec::new() }
    }

    /// Where the processes keep what is theirs.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration anew, for the processes that start from now on.
    pub(super) fn configure(&self, configuration: &str) {
        fs::write(self.folder.path().join("drill.toml"), configuration).unwrap();
    }

    pub(super) fn len(&self) -> usize {
        self.processes.len()
    }

    pub(super) fn start(&mut self) {
        let log = self.folder.path().join(format!("process-{}.log", self.logs.len()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_wms-connector"));
        command.args(["run", "--only", "commands", "--config"]);
        command.arg(self.folder.path().join("drill.toml"));
        command.env("RUST_LOG", "info");
        let watched = Watched::start(&command, &log, Some(self.folder.path())).unwrap();
        self.logs.push(log.clone());
        self.processes.push(Process { watched, log });
    }

    /// `kill -9`, and another one in its place.
    pub(super) fn kill(&mut self, at: usize) {
        self.processes.remove(at).watched.end("KILL");
        self.start();
    }

    /// Freezes a process until the group has given its partitions to others, then wakes it.
    pub(super) async fn freeze(&mut self, at: usize) {
        // One that has something to lose.
        let log = self.processes[at].log.clone();
        let owns = || fs::read_to_string(&log).is_ok_and(|log| log.contains(ASSIGNED));
        self.until("the process to be frozen got partitions", |_| owns()).await;
        self.processes[at].watched.signal("STOP");
        let before = self.assignments();
        let taken = |crew: &Self| crew.assignments() > before;
        self.until("somebody took the frozen process's partitions", taken).await;
        self.processes[at].watched.signal("CONT");
    }

    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + 2 * PATIENCE;
        while !so(self) {
            assert!(Instant::now() < deadline, "not in time: {what}\n{}", self.tails());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the last process in good order.
    pub(super) async fn dismiss(&mut self) {
        let Some(mut process) = self.processes.pop() else { return };
        // Before it has taken its signals in hand, its end is the system's and has no order.
        let listens =
            |_: &Self| fs::read_to_string(&process.log).is_ok_and(|log| log.contains("listening"));
        self.until("the process to be ended has begun", listens).await;
        process.watched.signal("TERM");
        let log = process.log;
        let code = blocking(move || process.watched.exit_code(2 * PATIENCE)).await;
        assert_eq!(code, Some(0), "{}", parts::tail(&log));
    }

    /// A process that has ended by itself.
    pub(super) fn fallen(&mut self) -> Option<String> {
        let ended =
            |process: &mut Process| process.watched.has_ended().then(|| parts::tail(&process.log));
        self.processes.iter_mut().find_map(ended)
    }

    /// How often a text stands in the logs of all processes.
    pub(super) fn count(&self, text: &str) -> usize {
        let logs = self.logs.iter().filter_map(|log| fs::read_to_string(log).ok());
        logs.map(|log| log.matches(text).count()).sum()
    }

    pub(super) fn assignments(&self) -> usize {
        self.count(ASSIGNED)
    }

    /// What the processes said last.
    pub(super) fn tails(&self) -> String {
        let tail = |process: &Process| parts::tail(&process.log);
        self.processes.iter().map(tail).collect::<Vec<_>>().join("\n---\n")
    }
}
