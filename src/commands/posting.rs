//! Writes a command's reply, and its dead letter where one is due, until the broker has them.

use std::{future::Future, pin::pin, time::Duration};

use futures_util::poll;
use tokio_util::sync::CancellationToken;

use super::{
    Calls, Deps, Reads, Record, Replies, Settings,
    dead_letters::{self, Stage},
    outcome::Outcome,
    replies::{self, Destination, Form},
};
use crate::domain::CommandReply;
use crate::kafka::{OutgoingRecord, PublishError};

/// The longest wait between two attempts to write.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A partition was given back or lost before everything was written; whoever has it now repeats.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// What is to be written about a command.
pub(super) struct Posting<'a> {
    pub(super) command: &'a Record,
    pub(super) reply: CommandReply,
    /// Whether the command came as JSON.
    pub(super) json: bool,
    pub(super) outcome: &'a Outcome,
    pub(super) stage: Stage,
    pub(super) random: u128,
}

impl Posting<'_> {
    /// Writes everything. `queued` is called once the reply has its place in the producer's queue:
    /// from then on the next command of the key cannot overtake it.
    pub(super) async fn write<R: Reads, C: Calls, P: Replies>(
        mut self,
        deps: &Deps<R, C, P>,
        settings: &Settings,
        gone: &CancellationToken,
        queued: impl FnOnce(),
    ) -> Result<(), Gone> {
        let default = &settings.default_reply_topic;
        let mut destination = Destination::of(self.command, default, &settings.reply_topics);
        if destination.error.is_some() {
            deps.metrics.reply_diverted();
        }
        let trace = replies::trace(self.command, self.random);
        let mut bare = false;
        let mut queued = Some(queued);
        let mut retry = Again::default();
        loop {
            let form = Form::of(self.json, &destination, default);
            let encoded = match form {
                Form::Avro => deps.reads.reply_avro(&self.reply),
                Form::Json => deps.reads.reply_json(&self.reply),
            };
            let payload = match encoded {
                Ok(payload) => payload,
                Err(why) => {
                    tracing::error!(at = %self.command.at, why, "a reply cannot be encoded; trying again");
                    retry.wait(gone).await?;
                    continue;
                }
            };
            let command = self.command;
            let mut record =
                replies::record(command, &self.reply, &destination, form, payload, &trace);
            if bare {
                replies::strip(&mut record);
            }
            let topic = record.topic.clone();
            // Before its place in the queue is told of, behind which the next one of the key goes.
            if topic != *default && deps.replies.is_missing(&topic).await {
                destination = Destination::default_topic(default, missing(&topic));
                deps.metrics.reply_diverted();
                continue;
            }
            let sent = publish(&deps.replies, record, settings, &mut queued).await;
            match sent {
                Ok(()) => break,
                Err(PublishError::TooLarge { .. }) if self.reply.result.is_some() => {
                    self.reply.result = None;
                    self.reply.result_truncated = true;
                }
                Err(PublishError::TooLarge { .. }) if replies::shorten(&mut self.reply) => {}
                Err(PublishError::TooLarge { .. }) if topic != *default => {
                    let why = format!("the reply topic `{topic}` takes no record of this size");
                    destination = Destination::default_topic(default, why);
                    deps.metrics.reply_diverted();
                }
                // What makes it too large is the command's own key or correlation. Without them
                // it is still an answer, and the partition goes on.
                Err(PublishError::TooLarge { .. }) if !bare => {
                    bare = true;
                    destination.error = Some(replies::BARE.to_owned());
                    deps.metrics.reply_diverted();
                }
                // Its name is none, or the connector may not write there.
                Err(PublishError::Refused { reason, .. }) if topic != *default => {
                    let why = format!("the reply topic `{topic}` cannot be written: {reason}");
                    destination = Destination::default_topic(default, why);
                    deps.metrics.reply_diverted();
                }
                Err(PublishError::UnknownTopic { .. }) if topic != *default => {
                    destination = Destination::default_topic(default, missing(&topic));
                    deps.metrics.reply_diverted();
                }
                Err(PublishError::UnknownPartition { .. }) if destination.partition.is_some() => {
                    let why = format!("the reply topic `{topic}` has no such partition");
                    destination = Destination::default_topic(default, why);
                    deps.metrics.reply_diverted();
                }
                Err(error) => {
                    retry.complain(self.command, &topic, &error);
                    retry.wait(gone).await?;
                }
            }
        }
        if self.outcome.is_dead_letter() {
            self.dead_letter(deps, settings, gone).await?;
        }
        Ok(())
    }

    async fn dead_letter<R: Reads, C: Calls, P: Replies>(
        &self,
        deps: &Deps<R, C, P>,
        settings: &Settings,
        gone: &CancellationToken,
    ) -> Result<(), Gone> {
        let attempts = u32::try_from(self.reply.attempts).unwrap_or(0);
        let mut record = dead_letters::record(
            self.command,
            self.outcome,
            attempts,
            self.stage,
            &settings.connector_name,
            settings.dead_letter_topic(&self.command.at.topic),
        );
        let topic = record.topic.clone();
        let mut retry = Again::default();
        loop {
            let none: &mut Option<fn()> = &mut None;
            match publish(&deps.replies, record.clone(), settings, none).await {
                Ok(()) => break,
                Err(PublishError::TooLarge { .. }) if dead_letters::shrink(&mut record) => {}
                Err(error) => {
                    retry.complain(self.command, &topic, &error);
                    retry.wait(gone).await?;
                }
            }
        }
        deps.metrics.dead_letter(&topic);
        Ok(())
    }
}

fn missing(topic: &str) -> String {
    format!("the reply topic `{topic}` does not exist")
}

async fn publish<P: Replies>(
    replies: &P,
    record: OutgoingRecord,
    settings: &Settings,
    queued: &mut Option<impl FnOnce()>,
) -> Result<(), PublishError> {
    let mut publishing = pin!(replies.publish(record, settings.publish_timeout));
    let first = poll!(publishing.as_mut());
    if let Some(queued) = queued.take() {
        queued();
    }
    match first {
        std::task::Poll::Ready(done) => done.map(drop),
        std::task::Poll::Pending => publishing.await.map(drop),
    }
}

/// Waits longer from attempt to attempt, and says so once in a while.
#[derive(Debug, Default)]
struct Again(u32);

impl Again {
    fn wait(&mut self, gone: &CancellationToken) -> impl Future<Output = Result<(), Gone>> {
        let pause = Duration::from_millis(100).saturating_mul(1 << self.0.min(6)).min(LONGEST_WAIT);
        self.0 = self.0.saturating_add(1);
        async move {
            tokio::select! {
                () = gone.cancelled() => Err(Gone),
                () = tokio::time::sleep(pause) => Ok(()),
            }
        }
    }

    fn complain(&self, command: &Record, topic: &str, error: &PublishError) {
        if self.0.is_power_of_two() || self.0 == 0 {
            tracing::error!(at = %command.at, topic, %error, "a record is not written; trying again");
        }
    }
}
