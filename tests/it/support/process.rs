//! A child process that cannot outlive the test run, however that ends.
//!
//! A small shell holds the child. It reads signal names from a pipe whose other end only this
//! process has, and kills the child when that pipe closes: on drop, on a panic, and also when the
//! test run is killed with `kill -9`. It then removes the folder as well, where one was given.

use std::{
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

/// `$1` is the folder to remove if the test run dies, or empty; the rest is the command.
const WATCHER: &str = r#"
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{
    while read -r signal <&3; do kill -s "$signal" "$child"; done
    trap '' TERM
    kill -s KILL "$child"
    exit 7
} &
guard=$!
exec 3<&-
wait "$child"; status=$?
kill "$guard" 2>/dev/null
wait "$guard"
if [ $? = 7 ] && [ -n "$folder" ]; then rm -rf "$folder"; fi
exit "$status"
"#;

#[derive(Debug)]
pub(crate) struct Watched {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watched {
    /// Starts `command`, with what it prints appended to the file `output`.
    pub(crate) fn start(
        command: &Command,
        output: &Path,
        remove_if_orphaned: Option<&Path>,
    ) -> Result<Self, String> {
        let log = File::options().create(true).append(true).open(output);
        let log = log.map_err(|e| format!("{}: {e}", output.display()))?;
        let copy = log.try_clone().map_err(|e| e.to_string())?;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(WATCHER).arg("watcher");
        shell.arg(remove_if_orphaned.map(|f| f.as_os_str()).unwrap_or_default());
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        // A group of its own: Ctrl-C reaches the test run, which then takes this one with it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(log).stderr(copy);
        let mut shell = shell.spawn().map_err(|e| format!("sh: {e}"))?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    pub(crate) fn signal(&mut self, name: &str) {
        if let Some(pipe) = &mut self.pipe {
            // It may be gone already, which is what most signals are for.
            writeln!(pipe, "{name}").and_then(|()| pipe.flush()).ok();
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// The exit code, as soon as the child has ended; none if it has not by then.
    pub(crate) fn exit_code(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            match self.shell.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(Some(status)) => return status.code(),
                Err(_) => return None,
            }
        }
        None
    }

    /// Sends a signal that ends the child, and returns when it is gone.
    pub(crate) fn end(&mut self, signal: &str) {
        self.signal(signal);
        self.shell.wait().ok();
        self.pipe = None;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.pipe = None;
        self.shell.wait().ok();
    }
}
