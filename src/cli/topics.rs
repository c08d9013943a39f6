//! `topics plan|apply`: what the cluster has to have.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::ClientConfig;

use super::{
    CliError, Output,
    args::{TopicOptions, Topics as Action},
    runtime,
};
use crate::{
    app::{self, topics},
    config::Config,
    kafka::{self, ApplyOutcome, PlannedTopic, TopicState, Topics},
};

const TIMEOUT: Duration = Duration::from_secs(15);
const LISTED_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(config: &Config, action: &Action, output: &Output) -> Result<(), CliError> {
    match action {
        Action::Plan(options) => plan(config, options, output).map(drop),
        Action::Apply(options) => apply(config, options, output),
    }
}

fn plan(
    config: &Config,
    options: &TopicOptions,
    output: &Output,
) -> Result<Vec<PlannedTopic>, CliError> {
    let client = app::client_settings(config).admin();
    let cluster = Topics::fetch(&client, TIMEOUT).map_err(CliError::failed)?;
    let wanted = topics::all(config, options.partitions, options.replication);
    let width = wanted.iter().map(|topic| topic.name.len()).max().unwrap_or(0);
    let mut missing = Vec::new();
    for (topic, state) in kafka::plan(wanted, &cluster) {
        let settings: Vec<String> =
            topic.config.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let stands = match state {
            TopicState::Missing => format!(
                "missing  partitions={} replication={} {}",
                topic.partitions,
                topic.replication,
                settings.join(" ")
            ),
            TopicState::Present(facts) => format!(
                "present  partitions={} replication={}",
                facts.partitions, facts.replication
            ),
        };
        output.line(format_args!("{:width$}  {stands}", topic.name));
        if state == TopicState::Missing {
            missing.push(topic);
        }
    }
    Ok(missing)
}

fn apply(config: &Config, options: &TopicOptions, output: &Output) -> Result<(), CliError> {
    let missing = plan(config, options, output)?;
    let client = app::client_settings(config).admin();
    let outcomes = runtime()?
        .block_on(kafka::apply(&client, &missing, TIMEOUT))
        .map_err(|error| CliError::Failed(format!("Kafka did not create the topics: {error}")))?;
    output.line("");
    let mut refused = 0_u32;
    for (name, outcome) in &outcomes {
        match outcome {
            ApplyOutcome::Created => output.line(format_args!("created  {name}")),
            ApplyOutcome::AlreadyThere => output.line(format_args!("present  {name}")),
            ApplyOutcome::Refused(reason) => {
                refused += 1;
                output.line(format_args!("refused  {name}: {reason}"));
            }
        }
    }
    if refused > 0 {
        return Err(CliError::Failed(format!("{refused} topics were not created")));
    }
    until_listed(&client, missing.iter().map(|topic| topic.name.as_str()))?;
    let created = outcomes.iter().filter(|(_, outcome)| *outcome == ApplyOutcome::Created).count();
    let wanted = topics::all(config, options.partitions, options.replication).len();
    output.line(format_args!("{created} created, {} were there", wanted - created));
    Ok(())
}

/// A topic that the controller has created is unknown to a broker until its metadata catches up:
/// a connector started at once would find it missing.
fn until_listed<'a>(
    client: &ClientConfig,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), CliError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let cluster = Topics::fetch(client, TIMEOUT).map_err(CliError::failed)?;
        let unlisted = cluster.missing(names.clone());
        if unlisted.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(CliError::Failed(format!(
                "the topics were created, but the brokers do not list these after {}s: {}; run \
                 `wms-connector topics plan` before you start the connector",
                TIMEOUT.as_secs(),
                unlisted.join(", ")
            )));
        }
        thread::sleep(LISTED_EVERY);
    }
}
