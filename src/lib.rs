//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.

pub mod avro;
pub mod clock;
pub mod domain;
pub mod vendors;
