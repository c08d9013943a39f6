//! `authorize`: exchanges a person's one-time token for the account's tokens.

use std::fs;

use tokio_util::task::TaskTracker;

use super::{CliError, Output, args, runtime};
use crate::{
    app::{self, accounts},
    config::Config,
    domain::{AccountName, Secret},
    metrics::Metrics,
};

pub(super) fn run(
    config: Config,
    options: &args::Authorize,
    output: &Output,
) -> Result<(), CliError> {
    let account =
        AccountName::new(&options.account).map_err(|error| CliError::Usage(error.to_string()))?;
    let file = &options.token_file;
    let token = fs::read_to_string(file)
        .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
    let token = Secret::new(token.trim_end_matches(['\n', '\r']));
    let connected = accounts::connect(&config).map_err(CliError::failed)?;
    let metrics = Metrics::new().map_err(CliError::failed)?;
    let tasks = TaskTracker::new();
    let domain = options.domain.as_deref();
    runtime()?.block_on(async {
        let client =
            app::api_client(&config, &connected, &metrics, &tasks).map_err(CliError::failed)?;
        client
            .authorize(&account, &options.email, &token, domain)
            .await
            .map_err(CliError::failed)?;
        tasks.close();
        tasks.wait().await;
        output.line(format_args!("account {account} is authorised; its tokens are stored"));
        Ok(())
    })
}
