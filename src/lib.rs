//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.

pub mod clock;
pub mod config;
pub mod domain;
pub mod vendors;
