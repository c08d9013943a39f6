//! Runs the scripts of `tests/interop/` with Confluent's own Python client.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value as Json;

use super::parts;

/// The virtual environment, and what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Python {
    pub(super) program: std::path::PathBuf,
    /// Such as `confluent-kafka 2.16.0 (Python 3.11)`.
    pub(crate) versions: String,
}

impl Python {
    pub(crate) fn prepare() -> Result<Self, String> {
        let program = parts::python()?;
        let ask = "import sys, confluent_kafka as c; \
                   print(f'confluent-kafka {c.__version__} (Python {sys.version_info[0]}.{sys.version_info[1]})')";
        let output =
            Command::new(&program).args(["-c", ask]).output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let versions = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Self { program, versions })
    }

    /// Runs `tests/interop/SCRIPT` and returns the JSON lines that it printed. The error has what
    /// it said on stderr. A script that is not done in time is killed.
    pub(crate) async fn run(
        &self,
        script: &str,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<Vec<Json>, String> {
        let mut command = Command::new(&self.program);
        // Without leaving compiled files beside the scripts.
        command.arg("-B").arg(parts::crate_dir().join("tests/interop").join(Path::new(script)));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let script = script.to_owned();
        let done = tokio::task::spawn_blocking(move || run(command, timeout)).await;
        let (success, out, err) = done.map_err(|e| e.to_string())??;
        if !success {
            return Err(format!("{script} failed:\n{out}\n{err}"));
        }
        let lines = out.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        lines.map_err(|e| format!("{script} printed what is not JSON ({e}):\n{out}\n{err}"))
    }
}

/// Runs a command to its end: whether it succeeded, and what it printed on either stream. One that
/// is not done in time is killed.
pub(super) fn run(
    mut command: Command,
    timeout: Duration,
) -> Result<(bool, String, String), String> {
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let out = drain(child.stdout.take());
    let err = drain(child.stderr.take());
    let success = wait(&mut child, timeout)?;
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let (out, err) = (text(out), text(err));
    match success {
        Some(success) => Ok((success, out, err)),
        None => Err(format!("{command:?} was not done after {timeout:?}:\n{out}\n{err}")),
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, timeout: Duration) -> Result<Option<bool>, String> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > deadline {
            child.kill().ok();
            child.wait().ok();
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
