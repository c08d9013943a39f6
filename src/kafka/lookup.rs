//! Whether a topic exists, before a producer hears its name.
//!
//! A producer remembers every topic that it was asked to write to, as long as it lives, and asks the
//! brokers again and again for those that do not exist: thousands of mistyped reply topics would cost
//! a part of a core for ever. And it takes seconds to say that one does not exist.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
};
use wms_kafka_raw::{describe_topics, has_controller};

use super::{Quiet, client::create};

/// How long an answer holds.
const THERE_FOR: Duration = Duration::from_secs(300);
const MISSING_FOR: Duration = Duration::from_secs(10);
/// So many answers are kept.
const KEPT: usize = 10_000;

/// What is known of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    There,
    Missing,
    /// The brokers did not say: who writes to it will see.
    Unknown,
}

/// Asks for topics, and remembers the answers for a while.
#[derive(Clone)]
pub struct TopicLookup {
    config: Arc<ClientConfig>,
    /// A topic that is there.
    known: Arc<str>,
    /// Whether the cluster can be asked.
    answers_come: Arc<OnceLock<bool>>,
    /// Made with the first question.
    client: Arc<OnceLock<BaseConsumer<Quiet>>>,
    answers: Arc<Mutex<Answers>>,
}

impl fmt::Debug for TopicLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicLookup").finish_non_exhaustive()
    }
}

impl TopicLookup {
    /// `known` is a topic that is there.
    pub fn new(config: ClientConfig, known: &str) -> Self {
        Self {
            config: Arc::new(config),
            known: known.into(),
            answers_come: Arc::default(),
            client: Arc::default(),
            answers: Arc::default(),
        }
    }

    /// Whether the topic exists.
    pub async fn look(&self, topic: &str, timeout: Duration) -> Found {
        let known = self.locked(|answers| answers.get(topic, Instant::now()));
        if let Some(known) = known {
            return known;
        }
        let (this, name) = (self.clone(), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || this.ask(&name, timeout)).await;
        let found = asked.unwrap_or(Found::Unknown);
        self.locked(|answers| answers.put(topic, found, Instant::now()));
        found
    }

    fn ask(&self, topic: &str, timeout: Duration) -> Found {
        if self.client.get().is_none() {
            match create::<_, BaseConsumer<Quiet>>(&self.config, Quiet) {
                // Another may have been faster; one is enough.
                Ok(client) => drop(self.client.set(client)),
                Err(error) => {
                    tracing::warn!(%error, "topics cannot be looked up");
                    return Found::Unknown;
                }
            }
        }
        let Some(client) = self.client.get() else { return Found::Unknown };
        if self.answers_come.get().is_none() {
            match has_controller(client.client(), &self.known, timeout) {
                Ok(has) => drop(self.answers_come.set(has)),
                Err(_away) => return Found::Unknown,
            }
        }
        match self.answers_come.get() {
            Some(true) => told(client, topic, timeout),
            Some(false) | None => Found::Unknown,
        }
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Answers) -> T) -> T {
        work(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the brokers say of a topic, asked in a way after which the client remembers nothing of it.
fn told(client: &BaseConsumer<Quiet>, topic: &str, timeout: Duration) -> Found {
    let Ok(described) = describe_topics(client.client(), &[topic], timeout) else {
        return Found::Unknown;
    };
    match described.first().map(|described| described.error) {
        Some(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
            Found::Missing
        }
        Some(None) => Found::There,
        Some(Some(_)) | None => Found::Unknown,
    }
}

/// The answers. Pure over the time.
#[derive(Debug, Default)]
struct Answers {
    by_topic: HashMap<String, (Found, Instant)>,
}

impl Answers {
    fn get(&self, topic: &str, now: Instant) -> Option<Found> {
        let (found, at) = self.by_topic.get(topic)?;
        fresh(*found, *at, now).then_some(*found)
    }

    fn put(&mut self, topic: &str, found: Found, now: Instant) {
        if self.by_topic.len() >= KEPT && !self.by_topic.contains_key(topic) {
            self.by_topic.retain(|_, (found, at)| fresh(*found, *at, now));
            if self.by_topic.len() >= KEPT {
                self.by_topic.clear();
            }
        }
        self.by_topic.insert(topic.to_owned(), (found, now));
    }
}

fn fresh(found: Found, at: Instant, now: Instant) -> bool {
    let holds = match found {
        Found::There => THERE_FOR,
        Found::Missing => MISSING_FOR,
        Found::Unknown => Duration::ZERO,
    };
    now.saturating_duration_since(at) < holds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_hold_for_a_while_and_are_bounded() {
        let start = Instant::now();
        let mut answers = Answers::default();
        answers.put("there", Found::There, start);
        answers.put("missing", Found::Missing, start);
        answers.put("unknown", Found::Unknown, start);
        assert_eq!(answers.get("there", start), Some(Found::There));
        assert_eq!(answers.get("missing", start), Some(Found::Missing));
        assert_eq!(answers.get("unknown", start), None);
        // One that is made is found soon.
        assert_eq!(answers.get("missing", start + MISSING_FOR), None);
        assert_eq!(answers.get("there", start + MISSING_FOR), Some(Found::There));
        assert_eq!(answers.get("there", start + THERE_FOR), None);
        for n in 0..3 * KEPT {
            answers.put(&n.to_string(), Found::Missing, start);
            assert!(answers.by_topic.len() <= KEPT);
        }
    }
}
