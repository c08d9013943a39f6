//! What the connector is about, without any I/O: webhooks, events, commands, replies.
//!
//! Nothing here knows the clock, a random source, the network, Kafka or a vendor.

mod account;
mod call;
pub mod command;
mod country;
pub mod encoding;
mod event;
pub mod json;
mod number;
mod record;
mod reply;
mod secret;
mod tokens;
mod webhook;

pub use account::{AccountName, InvalidAccountName};
pub use call::{
    Attempt, Body, CallFailure, Details, Effect, Faults, Findings, Invalid, LookUp, Method,
    PlannedCall, VendorAnswer, Verdict,
};
pub use command::{Command, Operation};
pub use country::is_country;
pub use event::{Event, EventId, EventType, Unrecognized};
pub use number::whole;
pub(crate) use record::avro_fields;
pub use record::{Datum, Field, Record};
pub use reply::{CommandReply, ReplyCategory, ReplyStatus};
pub use secret::Secret;
pub use tokens::{TokenRefusal, Tokens};
pub use webhook::{
    Answer, Content, Received, Refusal, SignatureHint, Unverified, Verified, Webhook,
};
