//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.

pub mod api_client;
pub mod avro;
pub mod clock;
pub mod commands;
pub mod domain;
pub mod kafka;
pub mod metrics;
pub mod sandbox;
pub mod vendors;
