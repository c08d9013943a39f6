//! Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.

pub mod api_client;
pub mod clock;
pub mod domain;
pub mod vendors;
