//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.

pub mod clock;
pub mod commands;
pub mod domain;
pub mod vendors;
