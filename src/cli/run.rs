//! `run`: receives webhooks and carries out commands until SIGTERM.

use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    args::{Part, Run},
    runtime,
};
use crate::{
    app::{self, Parts, StartError, signals},
    config::Config,
};

pub(super) fn run(config: Config, options: &Run) -> Result<(), CliError> {
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let parts = Parts { webhooks: wanted(Part::Webhooks), commands: wanted(Part::Commands) };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        bootstrap_servers = config.kafka.bootstrap_servers,
        prefix = config.topics.prefix,
        group_id = config.commands.group_id,
        accounts = config.accounts.len(),
        webhooks = parts.webhooks,
        commands = parts.commands,
        "starting"
    );
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let stop = CancellationToken::new();
        // Before anything else: a signal during the start has to be heard too.
        let signals = signals::watch(stop.clone()).map_err(CliError::failed)?;
        let work = async {
            match app::start(config, parts, stop.clone()).await {
                Ok(running) => running.finished().await.map_err(CliError::failed),
                // Asked to leave while waiting for Kafka: nothing had begun, nothing is left.
                Err(StartError::Stopped) => {
                    tracing::info!("stopped before everything had started");
                    Ok(())
                }
                Err(error @ StartError::Kafka(_)) => Err(CliError::Usage(error.to_string())),
                Err(error) => Err(CliError::failed(error)),
            }
        };
        tokio::select! {
            done = work => done,
            never = signals => match never {},
        }
    });
    // Nothing that is still on a thread of the runtime may hold up the exit.
    runtime.shutdown_background();
    done
}
