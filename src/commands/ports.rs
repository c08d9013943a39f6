//! What the pipeline needs of others, as small traits, so that it runs without them in tests.

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    avro::{ReadCommand, ReadError},
    domain::{
        AccountName, Attempt, Command, CommandReply, LookUp, Operation, PlannedCall, ReplyStatus,
        VendorAnswer, Verdict,
    },
    kafka::{Headers, OutgoingRecord, PublishError},
    vendors::Vendor,
};

/// Reads commands and writes replies: `avro`.
pub trait Reads: Send + Sync + 'static {
    /// Reads a record of a command topic; `expected` is the topic's operation, `None` on a mixed
    /// one.
    fn read(
        &self,
        expected: Option<Operation>,
        headers: &Headers,
        payload: Option<&[u8]>,
    ) -> impl Future<Output = Result<ReadCommand, ReadError>> + Send;

    /// A reply as framed Avro.
    fn reply_avro(&self, reply: &CommandReply) -> Result<Vec<u8>, String>;

    /// A reply in the JSON form.
    fn reply_json(&self, reply: &CommandReply) -> Result<Vec<u8>, String>;
}

/// What a call is for: limits and circuits are kept by it.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    pub command: &'a Command,
    /// The same for each call of this command, and for no other command of this process.
    pub number: u64,
    /// Whether it looks up the document that the command is about, or is the operation itself.
    pub look_up: bool,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// The connection never opened: nothing can have taken effect.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The request left, its answer never came.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The account's circuit is open; nothing was sent.
    #[error("the account's circuit is open")]
    CircuitOpen { until: Instant },
    /// Requests are refused before they reach the vendor; nothing was sent.
    #[error("{message}")]
    Parked { until: Instant, message: String },
    /// The account has no token; nothing was sent.
    #[error("{message}")]
    NoTokens { message: String },
    /// The account is stopped; nothing was sent.
    #[error("{message}")]
    Stopped { message: String },
}

/// What an answer meant.
#[derive(Debug, Clone, Copy)]
pub enum Judged<'a> {
    /// An answer to an operation.
    Operation(&'a Verdict),
    /// An answer to a look-up.
    LookUp(&'a LookUp),
}

/// The way out to the vendors: `api_client`.
pub trait Calls: Send + Sync + 'static {
    /// An answer, with what is needed to report on it.
    type Sent: Send + Sync;

    /// Makes one attempt of a call: waits for the account's turn, plans the call, sends it once.
    /// Dropping the future before `plan` was asked is safe.
    fn send(
        &self,
        account: &AccountName,
        purpose: Purpose<'_>,
        plan: impl Fn(&Attempt<'_>) -> PlannedCall + Send + Sync,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Sent, SendFailure>> + Send;

    /// The answer itself.
    fn answer<'a>(&self, sent: &'a Self::Sent) -> &'a VendorAnswer;

    /// Says what the answer meant: the account's circuit, limits, clock and nonce learn from it.
    fn report(&self, sent: &Self::Sent, judged: Judged<'_>);

    /// Renews the tokens the call was made with, unless another call did so meanwhile.
    fn renew_tokens(
        &self,
        account: &AccountName,
        sent: &Self::Sent,
    ) -> impl Future<Output = ()> + Send;

    /// Whether a circuit that this command's calls need is open or half-open now, so that its
    /// failures do not count.
    fn circuit_open(&self, account: &AccountName, command: &Command) -> bool;
}

/// Writes records: `kafka`.
pub trait Replies: Send + Sync + 'static {
    /// Writes a record and waits for the acknowledgement. The record is queued, in order, when
    /// the future is first polled.
    fn publish(
        &self,
        record: OutgoingRecord,
        timeout: Duration,
    ) -> impl Future<Output = Result<(i32, i64), PublishError>> + Send;

    /// Whether the brokers know of no such topic. `publish` is asked to write to none of these: a
    /// producer does not forget a topic.
    fn is_missing(&self, topic: &str) -> impl Future<Output = bool> + Send;

    /// Waits until everything queued is written or failed.
    fn flush(&self, timeout: Duration) -> impl Future<Output = ()> + Send;
}

/// Who counts.
pub trait Metrics: Send + Sync + 'static {
    /// A command ended; `account` is `unknown` where no such account is configured.
    fn ended(
        &self,
        account: &str,
        operation: Option<Operation>,
        status: ReplyStatus,
        took: Duration,
    );
    /// A dead letter was written.
    fn dead_letter(&self, topic: &str);
    /// A reply could not go where its command wanted it.
    fn reply_diverted(&self);
    /// Calls in flight now.
    fn in_flight(&self, calls: usize);
    /// How far the group is behind in a partition of this process; `None` once it has left.
    fn lag(&self, topic: &str, partition: i32, lag: Option<i64>);
    /// Whether the group is joined.
    fn group(&self, joined: bool);
    /// So many partitions went without their last commit: their next owner repeats a little.
    fn uncommitted(&self, partitions: usize);
    /// Reading a topic's partitions began elsewhere than at what was committed.
    fn offset_resets(&self, topic: &str, reason: &'static str, partitions: u64);
    /// The pipeline failed and starts again after a pause.
    fn restarting(&self, reason: &str);
    /// How many partitions this process owns from now on.
    fn owns(&self, partitions: usize);
}

/// An account commands can be for.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: AccountName,
    pub vendor: Arc<dyn Vendor>,
    /// The paths that `call` may use, `*` for any text; empty: any the vendor has.
    pub call_allow: Vec<String>,
}

/// What the pipeline works with.
pub struct Deps<R, C, P> {
    pub reads: R,
    pub calls: C,
    pub replies: P,
    pub metrics: Arc<dyn Metrics>,
    /// By name.
    pub accounts: HashMap<String, Account>,
}

impl<R, C, P> fmt::Debug for Deps<R, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps").field("accounts", &self.accounts.keys()).finish_non_exhaustive()
    }
}
