//! `authorize`: exchanges a person's one-time token for the account's tokens.

use std::fs;

use tokio_util::task::TaskTracker;

use super::{CliError, Output, args, runtime};
use crate::{
    api_client::AuthorizeError,
    app::{self, StartError, TokensUse, accounts},
    config::Config,
    domain::{AccountName, Secret, TokenRefusal},
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
        // Nothing is sent before the store is known to take what comes back: a one-time token is
        // spent once, and its fruit has to be kept.
        let client = app::api_client(&config, &connected, &metrics, &tasks, TokensUse::Authorize)
            .map_err(|error| match error {
            StartError::Tokens(_) => CliError::Usage(format!("{error}; nothing was sent")),
            other => CliError::failed(other),
        })?;
        let authorised = client.authorize(&account, &options.email, &token, domain).await;
        tasks.close();
        tasks.wait().await;
        client.close_tokens().await;
        authorised.map_err(refused)?;
        output.line(format_args!("account {account} is authorised; its tokens are stored"));
        Ok(())
    })
}

/// The message of a refusal advises `authorize`, which is what just ran.
fn refused(error: AuthorizeError) -> CliError {
    let AuthorizeError::Refused(TokenRefusal::Refused { code, message }) = &error else {
        return CliError::failed(error);
    };
    CliError::Failed(format!(
        "the vendor refused with code {code}: {message}; look at the e-mail address and at \
         `auth_domain` (or --domain), and copy a new one-time token from the OMS: each works once"
    ))
}
