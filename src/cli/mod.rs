//! The command line: one file a subcommand. Results go to stdout, logs to stderr.
//!
//! Exit codes: 0 done, 1 failed or refused, 2 wrong usage or configuration.

mod args;
mod authorize;
mod check;
mod dead_letters;
mod demo;
mod examples;
mod output;
mod records;
mod run;
mod sandbox;
mod schemas;
mod send;
mod sign;
mod topics;
mod unrecognized;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

pub use args::{Arguments, Subcommand};
pub use output::Output;

use crate::{
    app,
    config::{self, Config, ConfigError},
    kafka,
    telemetry::{self, LogFormat},
};

/// Why a subcommand did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Wrong usage or configuration: exit code 2.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Failed or refused: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// It was said already, on stdout: exit code 1.
    #[error("")]
    Said,
}

impl CliError {
    /// A failure with its text.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(2),
            Self::Failed(_) | Self::Said => ExitCode::from(1),
        }
    }
}

/// Runs what was asked.
pub fn main(arguments: Arguments) -> ExitCode {
    let format = match arguments.log_format {
        Some(args::LogFormat::Text) => LogFormat::Text,
        Some(args::LogFormat::Json) => LogFormat::Json,
        None if io::stderr().is_terminal() => LogFormat::Text,
        None => LogFormat::Json,
    };
    // Only a service says what it does; a command says what it found, on stdout.
    let level = match &arguments.command {
        Subcommand::Run(_) => "info",
        _ => "error",
    };
    telemetry::install(format, level);
    let output = Output::stdout();
    match dispatch(arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CliError::Said) {
                output.complain(&error);
            }
            error.exit_code()
        }
    }
}

fn dispatch(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let Arguments { config, command, log_format: _ } = arguments;
    let configured = || -> Result<Config, CliError> {
        let loaded = config::load_from_process(config.as_deref())?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        if config.is_none() && !std::path::Path::new(config::DEFAULT_FILE).exists() {
            tracing::warn!(
                "there is no file ./{}: the defaults and the environment are all there is (--config \
                 FILE names another)",
                config::DEFAULT_FILE
            );
        }
        clients_can_be_made(&loaded.config)?;
        Ok(loaded.config)
    };
    match command {
        Subcommand::Run(only) => run::run(configured()?, &only),
        Subcommand::Demo(options) => demo::run(&options, output),
        Subcommand::Check(options) => {
            let loaded = config::load_from_process(config.as_deref())?;
            clients_can_be_made(&loaded.config)?;
            check::run(loaded.config, &loaded.warnings, &options, output)
        }
        Subcommand::Topics(action) => topics::run(&configured()?, &action, output),
        Subcommand::Schemas(action) => match action {
            args::Schemas::Show { record } => schemas::show(record.as_deref(), output),
            args::Schemas::Export { folder } => schemas::export(&folder, output),
            args::Schemas::Check => schemas::check(&configured()?, output),
            args::Schemas::Register => schemas::register(&configured()?, output),
        },
        Subcommand::Authorize(options) => authorize::run(configured()?, &options, output),
        Subcommand::Sign(what) => sign::run(&what, output),
        Subcommand::DeadLetters(action) => dead_letters::run(&configured()?, &action, output),
        Subcommand::Unrecognized(action) => unrecognized::run(&configured()?, &action, output),
        Subcommand::Sandbox(options) => sandbox::run(&options, output),
        // It needs no configuration.
        Subcommand::Send(args::Send::Command(args::SendCommand {
            example: Some(kind),
            vendor: Some(vendor),
            ..
        })) => {
            output.line(examples::example(&kind, &vendor).map_err(CliError::Usage)?);
            Ok(())
        }
        Subcommand::Send(what) => send::run(configured()?, &what, output),
    }
}

/// What librdkafka says of certificates, keys and mechanisms only when a client is made is a wrong
/// configuration too: a command that went on would take it for a broker that does not answer.
fn clients_can_be_made(config: &Config) -> Result<(), CliError> {
    kafka::try_settings(&app::client_settings(config)).map_err(|reason| {
        CliError::Usage(format!("`kafka.properties`: Kafka's client cannot be made: {reason}"))
    })
}

/// A runtime for the subcommands that talk to somebody.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("the runtime could not be started: {error}")))
}
