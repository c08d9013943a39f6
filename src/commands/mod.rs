//! Commands: Kafka → decode → plan → call → reply → Kafka.
//!
//! ```text
//!   consumer thread ──► pipeline ──► one task a command ──► reply, dead letter ──► finished
//!   polls, windows,     key order    read, check, call,     acknowledged by        window moves,
//!   rebalances                       judge, settle          the broker             committer commits
//! ```
//!
//! What is decided without I/O is decided in pure files: `offsets` (what may be committed),
//! `begin` (where reading begins), `key_order` and `settled` (what may start), `contact` (whether the
//! group is still ours), `retry` (how long to wait), `lifecycle` and `settle` (what becomes of a command), `outcome` (what its reply says), `replies` and `dead_letters` (which record, with
//! which headers), `replay` (what a dead letter says, and the command it becomes again).

mod assignment;
pub mod begin;
mod committer;
mod consumer;
pub mod contact;
pub mod dead_letters;
mod execution;
pub mod key_order;
pub mod lifecycle;
pub mod offsets;
pub mod outcome;
mod pipeline;
mod ports;
mod positions;
mod posting;
pub mod replay;
pub mod replies;
pub mod retry;
mod session;
mod settings;
mod settle;
pub mod settled;
mod slots;
mod supervisor;

pub use pipeline::RunError;
pub use ports::{Account, Calls, Deps, Judged, Metrics, Purpose, Reads, Replies, SendFailure};
pub use positions::PositionError;
pub use session::{Session, SessionError};
pub use settings::Settings;
pub use supervisor::run;

use std::{fmt, sync::Arc};

use crate::kafka::Headers;

/// Where a command stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Coordinates {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.topic, self.partition, self.offset)
    }
}

/// A command as Kafka gave it.
#[derive(Clone)]
pub struct Record {
    /// Where it stands.
    pub at: Coordinates,
    /// Its key, which orders it.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Option<Vec<u8>>,
    /// Its headers, but for those whose names are not UTF-8.
    pub headers: Headers,
    /// The first name of a header that is not UTF-8, escaped.
    pub unreadable_header: Option<String>,
    /// Its timestamp, milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

impl Record {
    /// The value of a header; the last of several, as Kafka's clients have it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|h| h.0 == name).and_then(|h| h.1.as_deref())
    }

    /// The value of a header that is text.
    pub fn text_header(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn bytes(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        let key = self.key.as_ref().map_or(0, Vec::len);
        headers.sum::<usize>() + key + self.payload.as_ref().map_or(0, Vec::len)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod broker_tests;
#[cfg(test)]
mod model_tests;
