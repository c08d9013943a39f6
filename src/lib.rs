//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.

pub mod clock;
pub mod sandbox;
