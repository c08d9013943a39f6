//! The one place that writes to stdout and stderr as a program.

use std::io::{self, Write};

/// Where results go.
#[derive(Debug)]
pub struct Output(());

impl Output {
    /// Results to stdout, complaints to stderr.
    pub fn stdout() -> Self {
        Self(())
    }

    /// One line of result. A reader that went away (`| head`) is not an error.
    pub fn line(&self, text: impl std::fmt::Display) {
        let mut stdout = io::stdout().lock();
        drop(writeln!(stdout, "{text}"));
        drop(stdout.flush());
    }

    /// One line to the person at the terminal.
    pub fn complain(&self, text: impl std::fmt::Display) {
        drop(writeln!(io::stderr().lock(), "wms-connector: {text}"));
    }
}
