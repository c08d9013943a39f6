//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.

pub mod avro;
pub mod clock;
pub mod domain;
pub mod kafka;
pub mod metrics;
pub mod vendors;
pub mod sandbox;
