//! Commands: Kafka → decode → plan → call → reply → Kafka.
//!
//! ```text
//!   consumer thread ──► pipeline ──► one task a command ──► reply, dead letter ──► finished
//!   polls, windows,     key order    read, check, call,     acknowledged by        window moves,
//!   rebalances                       judge, settle          the broker             committer commits
//! ```
//!
//! What is decided without I/O is decided in pure files: `offsets` (what may be committed),
//! `key_order` (what may start), `retry` (how long to wait), `lifecycle` and `settle` (what becomes
//! of a command), `outcome` (what its reply says).

pub mod key_order;
pub mod lifecycle;
pub mod offsets;
pub mod outcome;
pub mod retry;
mod settle;

use std::sync::Arc;

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
