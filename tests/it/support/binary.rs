//! `wms-connector` as a program: at work, or one command of it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    app::PATIENCE,
    backend::blocking,
    parts,
    process::Watched,
    wire::{self, Answer},
};

/// A folder with a configuration in it, and whatever else a command wants as a file.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    /// Writes the configuration.
    pub(crate) fn new(configuration: &str) -> Self {
        let files = Self { folder: parts::temporary_dir("files-").unwrap() };
        files.write("wms-connector.toml", configuration);
        files
    }

    /// Writes a file, and says where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Where a file of that name would be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wms-connector"));
        command
            .arg("--config")
            .arg(self.path("wms-connector.toml"))
            .args(arguments)
            .env_remove("RUST_LOG")
            .current_dir(self.folder.path());
        command
    }

    /// Runs one command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, &[]).await
    }

    /// The same with variables of the environment.
    pub(crate) async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        let output = blocking(move || command.output().unwrap()).await;
        Done {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts `run` and returns when it has taken its ports.
    pub(crate) async fn start(&self, arguments: &[&str]) -> Connector {
        let log = self.path(&format!("run-{:08x}.log", rand::random::<u32>()));
        let arguments = [&["run", "--log-format", "json"], arguments].concat();
        let process = Watched::start(&self.command(&arguments), &log, None).unwrap();
        let mut connector = Connector { process, log, admin: None, webhooks: None };
        let deadline = Instant::now() + PATIENCE;
        while connector.admin.is_none() {
            assert!(Instant::now() < deadline, "it does not listen: {}", connector.log());
            assert!(!connector.process.has_ended(), "it has ended: {}", connector.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
            connector.find_addresses();
        }
        connector
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The output of a command that did what it was asked.
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }
}

/// `wms-connector run`, at work. Dropping it kills it.
pub(crate) struct Connector {
    process: Watched,
    log: PathBuf,
    admin: Option<SocketAddr>,
    webhooks: Option<SocketAddr>,
}

impl Connector {
    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log as &Path).unwrap_or_default()
    }

    /// The addresses are logged: `{"message":"listening","admin":"…","webhooks":"Some(…)"}`.
    fn find_addresses(&mut self) {
        let log = self.log();
        let Some(line) = log.lines().find(|line| line.contains("\"listening\"")) else { return };
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { return };
        let address = |name: &str| {
            let text = line["fields"][name].as_str()?;
            text.trim_start_matches("Some(").trim_end_matches(')').parse().ok()
        };
        (self.admin, self.webhooks) = (address("admin"), address("webhooks"));
    }

    pub(crate) fn webhooks(&self) -> SocketAddr {
        self.webhooks.unwrap_or_else(|| panic!("no webhook listener: {}", self.log()))
    }

    /// The URL of an account's webhooks.
    pub(crate) fn webhook_url(&self, account: &str) -> String {
        format!("http://{}/webhooks/{account}", self.webhooks())
    }

    /// A page of the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.admin.unwrap());
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        wire::answer(client.get(url).send().await.unwrap()).await
    }

    /// Waits until `/readyz` answers with this status.
    pub(crate) async fn until_ready_is(&self, status: u16) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.admin("/readyz").await;
            if answer.status == status {
                return answer;
            }
            assert!(Instant::now() < deadline, "{answer:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a line is among the metrics.
    pub(crate) async fn until_metric(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.admin("/metrics").await.text.lines().any(|found| found == line) {
            assert!(Instant::now() < deadline, "{line} did not come: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn signal(&mut self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for the end: the exit code.
    pub(crate) async fn ended(mut self, patience: Duration) -> (Option<i32>, String) {
        let log = self.log.clone();
        let code = blocking(move || self.process.exit_code(patience)).await;
        (code, fs::read_to_string(log).unwrap_or_default())
    }
}
