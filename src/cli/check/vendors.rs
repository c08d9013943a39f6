//! One harmless signed call for each account, and what its answer says about the account.

use std::{collections::BTreeMap, time::Duration};

use tokio_util::task::TaskTracker;

use super::{Report, said};
use crate::{
    api_client::ApiClient,
    app::{self, Connected, TokensUse, Tried},
    cli::CliError,
    config::Config,
    domain::AccountName,
    metrics::Metrics,
};

pub(super) async fn check(
    config: &Config,
    connected: &BTreeMap<AccountName, Connected>,
    calls: bool,
    report: &mut Report<'_>,
) -> Result<(), CliError> {
    let metrics = Metrics::new().map_err(CliError::failed)?;
    let tasks = TaskTracker::new();
    let client = match app::api_client(config, connected, &metrics, &tasks, TokensUse::Look) {
        Ok(client) => client,
        Err(error) => {
            report.bad("calls", error);
            return Ok(());
        }
    };
    for (name, account) in connected {
        let forms = account.vendor.signature_forms().join(", ");
        report.good("signature", format_args!("{name}: accepted forms: {forms}"));
        let usable = account.vendor.tokens().is_none() || tokens(&client, name, report).await;
        if calls && usable {
            called(&client, name, account, report).await;
        }
        if let Some(offset) = client.clock_offset(name) {
            let text = format!("{name}: the vendor's clock is {offset:#} from ours");
            if offset.unsigned_abs() > Duration::from_secs(60) {
                report.bad("clock", format_args!("{text}; set this machine's clock (NTP)"));
            } else {
                report.good("clock", text);
            }
        }
    }
    client.close_tokens().await;
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Whether the account has tokens that can be used.
async fn tokens(client: &ApiClient, name: &AccountName, report: &mut Report<'_>) -> bool {
    match client.check_tokens(name).await {
        Ok(()) => {
            let statuses = client.token_statuses();
            let status = statuses.into_iter().find(|(account, _)| account == name);
            report.good("tokens", format_args!("{name}: {}", said(status.map(|(_, s)| s))));
            true
        }
        Err(error) => {
            report.bad("tokens", format_args!("{name}: {error}"));
            false
        }
    }
}

async fn called(
    client: &ApiClient,
    name: &AccountName,
    account: &Connected,
    report: &mut Report<'_>,
) {
    match app::try_account(client, name, account).await {
        Tried::Works(text) => report.good("vendor", format_args!("{name}: {text}")),
        Tried::Unsure(text) => report.warn("vendor", format_args!("{name}: {text}")),
        Tried::Broken(text) => report.bad("vendor", format_args!("{name}: {text}")),
    }
}
