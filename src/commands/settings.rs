//! What the pipeline of commands is told.

use std::{collections::BTreeMap, time::Duration};

use super::{begin::Begin, retry::Policy, session::Session};
use crate::domain::Operation;

/// What the pipeline of commands is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The command topics; `None` is a mixed topic, whose records say what they are.
    pub topics: Vec<(String, Option<Operation>)>,
    /// Where replies go that name no topic of their own.
    pub default_reply_topic: String,
    /// The reply topics a command may name; `*` stands for any text.
    pub reply_topics: Vec<String>,
    /// Where the dead letters of a command topic go, where that is not `<topic>.dlq`.
    pub dead_letter_topics: BTreeMap<String, String>,
    /// The connector's name in dead letters.
    pub connector_name: String,
    /// Where a group without a committed offset begins on a topic that holds records; without it
    /// the pipeline does not start there.
    pub begin: Option<Begin>,
    /// The most calls at once.
    pub max_in_flight: usize,
    /// The most calls at once of one account. However many it may, a part of `max_in_flight` is
    /// kept for each account.
    pub max_in_flight_per_account: usize,
    /// The most records between the lowest unfinished and the highest fetched of a partition.
    pub window: usize,
    /// The most bytes of commands held in memory; above it nothing is fetched.
    pub max_buffered_bytes: usize,
    /// How long a call may take; on revoke and shutdown calls are waited for so long.
    pub call_timeout: Duration,
    /// The group's session: without a sign of the group for so long, no call starts.
    pub session: Session,
    /// How often offsets are committed.
    pub commit_every: Duration,
    /// How long one attempt to write a reply or a dead letter may take.
    pub publish_timeout: Duration,
    /// How long shutdown waits for what is in flight.
    pub shutdown_timeout: Duration,
    /// The ceilings and the backoff of calls.
    pub retry: Policy,
    /// How often a command whose account cannot work asks whether it can again.
    pub parked_recheck: Duration,
    /// Whether a command with fields that the vendor has no place for is refused, also where they
    /// only inform.
    pub refuse_ignored_fields: bool,
}

impl Settings {
    /// The topic of the dead letters of a command topic.
    pub(super) fn dead_letter_topic(&self, topic: &str) -> String {
        let named = self.dead_letter_topics.get(topic).cloned();
        named.unwrap_or_else(|| format!("{topic}.dlq"))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            default_reply_topic: "wms.replies".to_owned(),
            reply_topics: vec!["wms.replies".to_owned(), "wms.replies.*".to_owned()],
            dead_letter_topics: BTreeMap::new(),
            connector_name: "wms-connector".to_owned(),
            begin: None,
            max_in_flight: 256,
            max_in_flight_per_account: 256,
            window: 1000,
            max_buffered_bytes: 256 << 20,
            call_timeout: Duration::from_secs(30),
            session: Session::Ours(Duration::from_secs(45)),
            commit_every: Duration::from_secs(1),
            publish_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(30),
            retry: Policy {
                max_attempts: 8,
                max_elapsed: Duration::from_secs(600),
                initial_backoff: Duration::from_millis(500),
                max_backoff: Duration::from_secs(30),
            },
            parked_recheck: Duration::from_secs(5),
            refuse_ignored_fields: false,
        }
    }
}
