//! Avro, the registry and the JSON form of commands.
//!
//! ```text
//! event, reply ──► Encoders ──► 00 id datum | C3 01 fingerprint datum
//! record ──► frame ──► datum (writer's schema) ──┐
//!                 └──► json ─────────────────────┴─► walk (our schema) ──► Command
//! ```
//!
//! What a producer sends is decoded by code of our own (`datum`), which checks every length
//! against what was sent; the library parses schemas and writes.

mod canonical;
mod compare;
mod datum;
mod encode;
mod frame;
mod json;
mod limits;
mod produce;
mod readable;
mod reader;
mod registry;
mod reply;
mod scalar;
pub mod schemas;
mod shape;
mod walk;
#[cfg(test)]
mod written_tests;

pub use compare::Misfit;
pub use encode::{EncodeError, Encoders, Prefix};
pub use frame::SCHEMA_ID_HEADER;
pub use limits::Limits;
pub use produce::encode_command;
pub use readable::decode_to_json;
pub use reader::{CommandReader, Identity, ReadCommand, ReadError};
pub use registry::{
    Credentials, Registry, RegistryError, RegistrySettings, SchemaKey, State, Subject, SubjectState,
};
pub use reply::{encode_reply, read_reply, reply_json};
pub use shape::SchemaError;
