//! `dead-letters replay`: the commands go back to the topic they came from.

use std::collections::{BTreeMap, HashSet};

use tokio::runtime::Runtime;

use super::{
    super::{CliError, Output, args::ReplayDeadLetters, records::Selected},
    plan::Plan,
    selection,
};
use crate::{
    app::{self, topics},
    commands::replay,
    config::Config,
    kafka::{OutgoingRecord, PublishError, Publisher, ReadRecord, TopicFacts, Topics},
};

pub(super) fn run(
    config: &Config,
    options: &ReplayDeadLetters,
    selected: &Selected<'_>,
    runtime: &Runtime,
    output: &Output,
) -> Result<(), CliError> {
    let to = target(config, options, selected.topic())?;
    let clients = app::client_settings(config);
    // Asked beforehand: a producer finds out about a missing topic only after its whole timeout.
    let timeout = *options.which.range.timeout;
    let cluster = Topics::fetch(&clients.admin(), timeout).map_err(CliError::failed)?;
    let plan = Plan::make(config, options, selected, &to)?;
    if !plan.agreed(options, selected.topic(), &to, output)? {
        return Err(CliError::Failed("nothing was sent".to_owned()));
    }
    let publisher = Publisher::new(clients.producer(timeout)).map_err(CliError::failed)?;
    let mut replay = Replay {
        options,
        output,
        to,
        plan: &plan,
        topics: cluster.topics,
        publish: |record| runtime.block_on(publisher.publish(record, timeout)),
        done: 0,
        left_out: 0,
        not_done: 0,
        held: HashSet::new(),
    };
    selected.each(|letter| replay.one(&letter))?;
    replay.end()
}

/// The command topic that a replay writes to: the one whose dead letters these are, or the one that is
/// named. Never what a record's header says.
fn target(config: &Config, options: &ReplayDeadLetters, letters: &str) -> Result<String, CliError> {
    let commands = topics::command_topics(config);
    match options.which.to_topic() {
        Some(to) if commands.iter().any(|topic| topic == to) => Ok(to.to_owned()),
        Some(to) => Err(CliError::Usage(format!(
            "`{to}` is no command topic of this configuration; there are {}",
            commands.join(", ")
        ))),
        None => selection::command_topic(config, letters).ok_or_else(|| {
            CliError::Usage(format!(
                "`{letters}` is not the dead-letter topic of a command topic of this configuration; \
                 --to names the command topic that is meant, one of {}",
                commands.join(", ")
            ))
        }),
    }
}

struct Replay<'a, P> {
    options: &'a ReplayDeadLetters,
    output: &'a Output,
    to: String,
    plan: &'a Plan,
    topics: BTreeMap<String, TopicFacts>,
    publish: P,
    done: u64,
    /// Left out on purpose.
    left_out: u64,
    not_done: u64,
    /// Keys of which one was not sent for a reason of its own: what follows under them waits for
    /// it, because commands of one key have an order.
    held: HashSet<Vec<u8>>,
}

impl<P> Replay<'_, P>
where
    P: FnMut(OutgoingRecord) -> Result<(i32, i64), PublishError>,
{
    fn one(&mut self, letter: &ReadRecord) -> Result<(), CliError> {
        let from = format!("{}/{}", letter.partition, letter.offset);
        if let Some(refusal) = self.plan.refusal(letter.partition, letter.offset) {
            let what = if refusal.is_expected() {
                self.left_out += 1;
                "left out "
            } else {
                self.not_done += 1;
                "refused  "
            };
            self.output.line(format_args!("{what} {from}: {refusal}"));
            return Ok(());
        }
        let topic = self.to.clone();
        let mut command = replay::command(letter, &topic);
        if letter.key.as_ref().is_some_and(|key| self.held.contains(key)) {
            self.not_done += 1;
            self.output
                .line(format_args!("held back {from}: an earlier one of its key was not sent"));
            return Ok(());
        }
        let Some(facts) = self.topics.get(&topic) else {
            let error = PublishError::UnknownTopic { topic: topic.clone() };
            return self.failed(letter, &topic, error);
        };
        // The topic was made anew with fewer partitions: the key decides.
        command.partition = command.partition.filter(|partition| *partition < facts.partitions);
        if self.options.dry_run {
            self.done += 1;
            let place = match command.partition {
                Some(partition) => format!("{topic} partition {partition}"),
                None => format!("{topic} by its key"),
            };
            let bytes = command.payload.as_ref().map_or(0, Vec::len);
            let headers = command.headers.len();
            self.output.line(format_args!(
                "would go  {from} -> {place}, {bytes} bytes, {headers} headers"
            ));
            return Ok(());
        }
        match (self.publish)(command) {
            Ok((partition, offset)) => {
                self.done += 1;
                self.output.line(format_args!(
                    "replayed  {from} -> {topic} partition {partition} offset {offset}"
                ));
                Ok(())
            }
            Err(error) => self.failed(letter, &topic, error),
        }
    }

    /// Says what was not sent. Goes on where that says nothing about the next.
    fn failed(
        &mut self,
        letter: &ReadRecord,
        topic: &str,
        error: PublishError,
    ) -> Result<(), CliError> {
        self.not_done += 1;
        let (partition, offset) = (letter.partition, letter.offset);
        self.output.line(format_args!("failed    {partition}/{offset} -> {topic}: {error}"));
        match error {
            PublishError::TooLarge { .. }
            | PublishError::UnknownTopic { .. }
            | PublishError::UnknownPartition { .. }
            | PublishError::Refused { .. } => {
                self.held.extend(letter.key.clone());
                Ok(())
            }
            // Kafka does not work: the next would only wait as long.
            PublishError::TimedOut { .. } | PublishError::Retriable { .. } => {
                Err(CliError::Failed(format!(
                    "{} replayed; stopped at partition {partition} offset {offset}, which may \
                     have been written: look at `{topic}`, then go on from there (--partition, \
                     --from)",
                    self.done
                )))
            }
        }
    }

    fn end(self) -> Result<(), CliError> {
        let Self { done, left_out, not_done, options, output, .. } = self;
        let what = if options.dry_run { "would be replayed" } else { "replayed" };
        output.line(format_args!("{done} {what}, {} not", not_done + left_out));
        match (not_done, self.plan.complete) {
            (0, true) => Ok(()),
            (0, false) => Err(CliError::Failed("some of those named are gone".to_owned())),
            (..) => Err(CliError::Failed(format!("{not_done} were not replayed; each says why"))),
        }
    }
}
