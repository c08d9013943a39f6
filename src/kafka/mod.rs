//! Kafka: what every client has, the publisher, administration, headers.
//!
//! `rdkafka::ClientConfig` is made here and nowhere else, so that what the connector promises
//! (`acks=all`, idempotence, no automatic commits, Java's partitioner) cannot be forgotten.

mod admin;
mod client;
mod headers;
mod inspect;
mod led_topic;
mod lookup;
mod properties;
mod publisher;
mod range;
mod reader;
mod settings;

pub use admin::{
    ApplyOutcome, ClusterUnreachable, PlannedTopic, Quiet, TopicFacts, TopicState, Topics, apply,
    plan,
};
pub use client::{LoggingContext, create};
pub use headers::{CloudEvent, Headers, ReadHeaders, TraceParent, printable};
pub use inspect::{
    Difference, GroupFacts, differences, group_facts, keeps_the_newest, topic_properties,
};
pub use led_topic::{LedTopic, Role, WriteError};
pub use lookup::{Found, TopicLookup};
pub use properties::{PropertyFault, PropertyOf, property_fault, property_names, try_settings};
pub use publisher::{OutgoingRecord, PublishError, Publisher};
pub use range::{PartitionBounds, RangeError, RangeReader};
pub use rdkafka::ClientConfig;
pub use reader::{From, ReadRecord, TopicReader};
pub use settings::{ClientSettings, GroupProtocol};
