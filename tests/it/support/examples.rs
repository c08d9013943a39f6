//! Runs the programs of `examples/` as the README shows them, against the test's Kafka.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{backend::TestEnv, parts, process::Watched, python};

/// Above what an example takes that waits for a reply for as long as it may.
const TIMEOUT: Duration = Duration::from_secs(75);

/// A program of `examples/`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Example {
    /// A script of `examples/python`.
    Python(&'static str),
    /// A class of `examples/java`.
    Java(&'static str),
}

impl Example {
    async fn command(self, env: &TestEnv, arguments: &[&str]) -> Command {
        let registry = env.registry();
        let mut command = match self {
            Self::Python(script) => {
                let mut command = Command::new(&env.python().program);
                command.arg("-B").arg(parts::crate_dir().join("examples/python").join(script));
                command
            }
            Self::Java(class) => {
                let built = tokio::task::spawn_blocking(parts::java_examples).await;
                let built = built.expect("the build does not panic");
                let folder = built.unwrap_or_else(|reason| panic!("{reason}"));
                let mut class_path = folder.join("classes").into_os_string();
                class_path.push(":");
                class_path.push(folder.join("libs/*"));
                let mut command = Command::new("java");
                command
                    .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
                    .arg(class_path)
                    .arg(class);
                command
            }
        };
        command
            .args(arguments)
            .env("KAFKA_BOOTSTRAP_SERVERS", env.bootstrap_servers())
            .env("SCHEMA_REGISTRY_URL", registry.url())
            .env("APICURIO_URL", registry.url().replace("/apis/ccompat/v7", "/apis/registry/v3"))
            .env("TOPIC_PREFIX", env.prefix());
        command
    }

    /// Runs it to its end and returns the last line that it printed; panics if it fails.
    pub(crate) async fn run(self, env: &TestEnv, arguments: &[&str]) -> String {
        let mut command = self.command(env, arguments).await;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = tokio::task::spawn_blocking(move || python::run(command, TIMEOUT)).await;
        let done = done.expect("waiting does not panic");
        let (success, out, err) = done.unwrap_or_else(|reason| panic!("{reason}"));
        assert!(success, "{self:?} failed:\n{out}\n{err}");
        out.lines().last().unwrap_or_default().to_owned()
    }

    /// Runs it as a service until it has printed this line, and ends it.
    pub(crate) async fn run_until(self, env: &TestEnv, line: &str) {
        let command = self.command(env, &[]).await;
        let folder = parts::temporary_dir("example-").unwrap_or_else(|reason| panic!("{reason}"));
        let output: PathBuf = folder.path().join("output");
        let mut service = Watched::start(&command, &output, Some(folder.path()))
            .unwrap_or_else(|reason| panic!("{reason}"));
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let text = std::fs::read_to_string(&output).unwrap_or_default();
            if text.lines().any(|printed| printed == line) {
                service.end("TERM");
                return;
            }
            assert!(!service.has_ended(), "{self:?} ended by itself:\n{text}");
            assert!(Instant::now() < deadline, "{self:?} has not printed {line:?}:\n{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
