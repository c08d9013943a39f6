//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.
//!
//! ARCHITECTURE.md walks through the code; `schemas/` documents every record.

pub mod admin;
pub mod api_client;
pub mod app;
pub mod avro;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod domain;
pub mod kafka;
pub mod metrics;
pub mod sandbox;
pub mod telemetry;
pub mod vendors;
pub mod webhooks;

#[cfg(test)]
mod invariants;
