//! Logs: structured, to stderr. `RUST_LOG` chooses what, `--log-format` how.

mod sampling;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use sampling::Sampling;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Installs the subscriber; a second call changes nothing.
pub fn install(format: LogFormat, default_directives: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::try_new(default_directives).unwrap_or_else(|_| EnvFilter::new("info"))
    });
    let registry = tracing_subscriber::registry().with(filter);
    let sampling = Sampling::default();
    let installed = match format {
        LogFormat::Text => {
            let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
            registry.with(layer.with_filter(sampling.clone())).try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer().json().with_writer(std::io::stderr);
            registry.with(layer.with_filter(sampling.clone())).try_init()
        }
    };
    // A test that installed its own subscriber keeps it.
    if installed.is_ok()
        && let Err(error) = sampling.tell()
    {
        tracing::warn!(%error, "what is left out of the log is not counted in it");
    }
}
