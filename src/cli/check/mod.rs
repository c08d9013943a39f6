//! `check`: is everything there that `run` needs? Says what is wrong and how to mend it.

mod kafka;
mod vendors;

use std::time::Duration;

use super::{CliError, Output, args, runtime};
use crate::{
    api_client::TokenStatus,
    app::{self, accounts, topics},
    avro::State,
    config::{self, Config},
    webhooks::spool::{self, Contents, Found},
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The lines of the report.
struct Report<'a> {
    output: &'a Output,
    broken: Vec<&'static str>,
}

impl Report<'_> {
    fn good(&self, what: &str, text: impl std::fmt::Display) {
        self.output.line(format_args!("ok       {what:14}{text}"));
    }

    fn warn(&self, what: &str, text: impl std::fmt::Display) {
        self.output.line(format_args!("warning  {what:14}{text}"));
    }

    fn bad(&mut self, what: &'static str, text: impl std::fmt::Display) {
        self.output.line(format_args!("BROKEN   {what:14}{text}"));
        self.broken.push(what);
    }
}

pub(super) fn run(
    config: Config,
    warnings: &[String],
    options: &args::Check,
    output: &Output,
) -> Result<(), CliError> {
    let mut report = Report { output, broken: Vec::new() };
    report.good("configuration", counted(config.accounts.len(), "account"));
    for warning in warnings {
        report.warn("configuration", warning);
    }
    let connected = match accounts::connect(&config) {
        Ok(connected) => connected,
        Err(error) => {
            report.bad("accounts", error);
            return finish(report);
        }
    };
    kafka::check(&config, &mut report);
    if let Some(configured) = &config.ingress.spool {
        spool(configured, &mut report);
    }
    runtime()?.block_on(async {
        registry(&config, &mut report).await;
        vendors::check(&config, &connected, !options.no_calls, &mut report).await
    })?;
    finish(report)
}

fn finish(report: Report<'_>) -> Result<(), CliError> {
    if report.broken.is_empty() {
        report.output.line("everything that was checked is in order");
        return Ok(());
    }
    let mut names = report.broken;
    names.dedup();
    report.output.line(format_args!("broken: {}", names.join(", ")));
    Err(CliError::Said)
}

fn spool(configured: &config::Spool, report: &mut Report<'_>) {
    let (path, most) = (configured.path.display(), configured.max_bytes);
    match spool::look(&configured.path) {
        Ok(Found::Nothing) => report.good("spool", format_args!("{path}: can be made")),
        Ok(Found::InUse) => report.good("spool", format_args!("{path}: a connector works with it")),
        // What was set aside waits again once the file is opened.
        Ok(Found::Holds(Contents { waiting: 0, .. })) => {
            report.good("spool", format_args!("{path}: empty"));
        }
        Ok(Found::Holds(Contents { waiting, bytes, .. })) => {
            let waiting = counted(usize::try_from(waiting).unwrap_or(usize::MAX), "webhook");
            report.warn(
                "spool",
                format_args!(
                    "{path}: {waiting} of an earlier run, {} of {most} bytes: the next `run` \
                     publishes them",
                    bytes.total()
                ),
            );
        }
        Err(error) => report.bad("spool", error),
    }
}

async fn registry(config: &Config, report: &mut Report<'_>) {
    let registry = match app::registry(config) {
        Ok(Some(registry)) => registry,
        Ok(None) => {
            return report
                .good("schemas", "no registry is configured: single-object encoding is written");
        }
        Err(error) => return report.bad("schemas", error),
    };
    let subjects = topics::all_subjects(config);
    let states = match registry.check_all(&subjects).await {
        Ok(states) => states,
        Err(error) => return report.bad("schemas", error),
    };
    let (mut present, mut unregistered) = (0_u32, 0_u32);
    for state in states {
        match state.state {
            State::Present { .. } | State::PresentAsAnotherText { .. } => present += 1,
            State::Compatible | State::Missing => unregistered += 1,
            State::Incompatible { message } => {
                report.bad("schemas", format_args!("{}: {message}", state.subject.name));
            }
        }
    }
    if unregistered > 0 && !config.schema_registry.auto_register {
        report.bad(
            "schemas",
            format_args!(
                "{unregistered} are not registered; register them with `wms-connector schemas \
                 register`"
            ),
        );
    } else if unregistered > 0 {
        report.good("schemas", format_args!("{present} registered, {unregistered} will be"));
    } else {
        report.good("schemas", format_args!("all {present} are registered"));
    }
}

/// When something has to be done about an account's tokens, in words.
fn said(status: Option<TokenStatus>) -> String {
    let Some(TokenStatus { access_ends_at, authorization_ends_at, needs_authorization: _ }) =
        status
    else {
        return "not known".to_owned();
    };
    let until = |time: Option<jiff::Timestamp>| {
        time.map_or_else(|| "an unknown time".to_owned(), |time| format!("{time:.0}"))
    };
    if access_ends_at == authorization_ends_at {
        return format!("the access token is valid until {}", until(access_ends_at));
    }
    format!(
        "the access token is valid until {} and is renewed before; a person has to authorise \
         again before {}",
        until(access_ends_at),
        until(authorization_ends_at)
    )
}

/// `1 broker`, `3 brokers`.
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_in_words() {
        let at = |second| Some(jiff::Timestamp::from_second(second).unwrap());
        for (access_ends_at, authorization_ends_at, told) in [
            (None, None, "the access token is valid until an unknown time"),
            (at(0), at(0), "the access token is valid until 1970-01-01T00:00:00Z"),
            (
                at(0),
                at(86_400),
                "the access token is valid until 1970-01-01T00:00:00Z and is renewed before; a \
                 person has to authorise again before 1970-01-02T00:00:00Z",
            ),
        ] {
            let status =
                TokenStatus { access_ends_at, authorization_ends_at, needs_authorization: false };
            assert_eq!(said(Some(status)), told);
        }
    }
}
