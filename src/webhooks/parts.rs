//! Keeps a webhook that the broker does not take in one record: in parts, on `unrecognized`.
//!
//! Its sender is told 413, since the event is not on its topic. But it is authentic, and whether the
//! vendor sends it again once the topic takes more is not documented.

use std::{sync::Arc, time::Instant};

use super::{Account, Sinks, Webhooks, durable, record};
use crate::{
    domain::{Answer, Received, Unrecognized, Verified, Webhook},
    kafka::{Headers, OutgoingRecord, TraceParent},
};

/// Bytes of the body in one part: with its headers below the broker's default limit of 1 MB.
const PART: usize = 512 * 1024;
/// A body that is not larger holds nothing back: no topic is configured for so little, and keeping
/// each body until the broker has answered would double what a webhook costs meanwhile.
const LEAST: usize = 16 * 1024;

/// The headers that say which part a record is, counted from 1, and of how many.
pub(super) const NUMBER: &str = "wms_part";
pub(super) const COUNT: &str = "wms_parts";

/// What is needed to keep a large webhook in parts.
pub(super) struct InParts {
    received: Arc<Received>,
    topic: String,
    id: String,
    headers: Headers,
}

impl InParts {
    /// `None` where the body is small.
    pub(super) fn of(
        account: &Account,
        webhook: &Webhook<Verified>,
        trace: &TraceParent,
    ) -> Option<Self> {
        if webhook.received().body.len() <= LEAST {
            return None;
        }
        Some(Self {
            received: webhook.received_shared(),
            topic: account.unrecognized_topic.clone(),
            id: webhook.state().event_id.as_str().to_owned(),
            headers: record::unrecognized_headers(account, webhook, &Unrecognized::TooLarge, trace),
        })
    }

    /// Keeps every part; an error is what the sender is told instead.
    pub(super) async fn keep(
        &self,
        webhooks: &Webhooks,
        account: &Account,
        sinks: &Sinks,
        deadline: Instant,
    ) -> Result<(), Answer> {
        let (account, event_id, topic) = (account.name.as_str(), &self.id, &self.topic);
        for part in self.records() {
            if let Err(error) = durable::keep(sinks, part, deadline).await {
                tracing::error!(account, event_id, topic, %error, "a webhook that is too large is not known to be kept in parts either");
                return Err(error.answer());
            }
        }
        webhooks.metrics.unrecognized(account, Unrecognized::TooLarge.reason());
        tracing::error!(
            account,
            event_id,
            topic,
            "a webhook that is too large is kept in parts; raise max.message.bytes of its topic"
        );
        Ok(())
    }

    /// The parts in their order. One key, so they lie behind each other in one partition.
    fn records(&self) -> impl Iterator<Item = OutgoingRecord> {
        let parts = self.received.body.chunks(PART);
        let count = parts.len();
        parts.enumerate().map(move |(index, part)| {
            let number = index + 1;
            let mut headers = self.headers.clone();
            for (name, value) in &mut headers {
                // Each part is an event of its own for a reader that drops repeated ids.
                if name == "ce_id" {
                    *value = Some(format!("{}-part-{number}", self.id).into_bytes());
                }
            }
            for (name, number) in [(NUMBER, number), (COUNT, count)] {
                headers.push((name.to_owned(), Some(number.to_string().into_bytes())));
            }
            OutgoingRecord {
                topic: self.topic.clone(),
                key: Some(self.id.clone().into_bytes()),
                payload: Some(part.to_vec()),
                headers,
                ..OutgoingRecord::default()
            }
        })
    }
}
