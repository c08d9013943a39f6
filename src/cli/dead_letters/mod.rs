//! `dead-letters list|show|replay`: what could not be carried out, and sending it again.

mod listing;
mod plan;
mod replay;
mod selection;

use super::{
    CliError, Output,
    args::{DeadLetterSelection, DeadLetters},
    runtime,
};
use crate::{
    app::{self, topics},
    config::Config,
    kafka::{ReadRecord, Topics},
};

use listing::{Listing, Reader};

pub(super) fn run(config: &Config, action: &DeadLetters, output: &Output) -> Result<(), CliError> {
    let runtime = runtime()?;
    let reader = || {
        let registry = app::registry(config).map_err(CliError::failed)?;
        Ok::<_, CliError>(Reader::new(config, registry, runtime.handle().clone()))
    };
    match action {
        DeadLetters::List(options) => {
            let listing = Listing::new(reader()?, options.json, options.which.topic.is_none());
            each(config, &options.which, output, |letter| listing.line(letter))
        }
        DeadLetters::Show(options) => {
            let reader = reader()?;
            each(config, &options.which, output, |letter| {
                listing::shown(letter, &reader, options.value, options.json)
            })
        }
        DeadLetters::Replay(options) => {
            let Some(topic) = &options.which.topic else {
                return Err(CliError::Usage(
                    "`replay` takes the dead-letter topic whose commands are sent again".to_owned(),
                ));
            };
            let selected = selection::open(config, &options.which, topic, output)?;
            replay::run(config, options, &selected, &runtime, output)
        }
    }
}

/// Writes a line for each dead letter that is meant, of the topic that is named or of all there are.
fn each(
    config: &Config,
    which: &DeadLetterSelection,
    output: &Output,
    line: impl Fn(&ReadRecord) -> String,
) -> Result<(), CliError> {
    if let Some(topic) = which.to_topic() {
        return Err(CliError::Usage(format!("--to takes an offset here, not `{topic}`")));
    }
    let named = which.topic.clone().into_iter().collect::<Vec<_>>();
    let topics = if named.is_empty() { existing(config, which)? } else { named };
    for topic in &topics {
        let selected = selection::open(config, which, topic, output)?;
        if selected.is_empty() {
            output.complain(format_args!("`{}` holds no dead letters", selected.topic()));
        }
        selected.each(|letter| {
            output.line(line(&letter));
            Ok(())
        })?;
    }
    Ok(())
}

/// The dead-letter topics of this configuration that are in the cluster.
fn existing(config: &Config, which: &DeadLetterSelection) -> Result<Vec<String>, CliError> {
    let client = app::client_settings(config).admin();
    let cluster = Topics::fetch(&client, *which.range.timeout).map_err(CliError::failed)?;
    let letters = topics::command_topics(config).into_iter().map(|topic| config.topics.dlq(&topic));
    Ok(letters.filter(|topic| cluster.topics.contains_key(topic)).collect())
}
