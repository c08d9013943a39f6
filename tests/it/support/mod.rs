//! What the integration tests stand on; described at the top of `tests/it/main.rs`.
#![allow(dead_code, reason = "a toolbox: each suite takes from it what it needs")]

pub(crate) mod app;
pub(crate) mod backend;
pub(crate) mod binary;
pub(crate) mod examples;
pub(crate) mod kafka;
pub(crate) mod parts;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod registry;
pub(crate) mod registry_front;
pub(crate) mod suite;
pub(crate) mod vendor;
pub(crate) mod wire;
