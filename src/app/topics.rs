//! Every topic and every registry subject of a deployment, in one list each.

use crate::{
    avro::{Subject, schemas::COMMAND_REPLY},
    config::Config,
    domain::{EventType, Operation},
    kafka::PlannedTopic,
    vendors::{self, VendorTypes},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Events say what happened and hold no person's data.
const EVENT_RETENTION_MS: i64 = 14 * DAY_MS;
/// Commands, replies and dead letters hold names, phones and addresses.
const COMMAND_RETENTION_MS: i64 = 7 * DAY_MS;

/// Every topic a deployment has, the internal ones too.
pub fn all(config: &Config, partitions: i32, replication: i32) -> Vec<PlannedTopic> {
    let topics = &config.topics;
    let kept = |retention_ms: i64| vec![("retention.ms", retention_ms.to_string())];
    let topic = |name: String, config: Vec<(&'static str, String)>| {
        let mut config = config;
        config.push(("min.insync.replicas", "2".to_owned()));
        PlannedTopic { name, partitions, replication, config }
    };
    let compacted = || vec![("cleanup.policy", "compact".to_owned())];
    let mut planned = Vec::new();
    let largest = config.ingress.largest_record().to_string();
    for vendor in vendors::ALL {
        for name in event_topics(config, vendor) {
            let mut settings = kept(EVENT_RETENTION_MS);
            // The broker's default is 1 MB. Records lie uncompressed in the log.
            settings.push(("max.message.bytes", largest.clone()));
            planned.push(topic(name, settings));
        }
    }
    for name in command_topics(config) {
        let dead_letters = topics.dlq(&name);
        planned.push(topic(name, kept(COMMAND_RETENTION_MS)));
        planned.push(topic(dead_letters, kept(COMMAND_RETENTION_MS)));
    }
    planned.push(topic(topics.replies(), kept(COMMAND_RETENTION_MS)));
    // The two have equal partition counts: the level of a key is written where its changes are.
    planned.push(topic(topics.inventory_changes(), kept(EVENT_RETENTION_MS)));
    planned.push(topic(topics.inventory_levels(), compacted()));
    planned.push(PlannedTopic { partitions: 1, ..topic(topics.connector_tokens(), compacted()) });
    planned
}

/// The event topics of one vendor, `unrecognized` among them.
pub fn event_topics(config: &Config, vendor: &VendorTypes) -> Vec<String> {
    let types = vendor.event_types.iter();
    let mut names: Vec<String> =
        types.map(|event_type| config.topics.event(vendor.name, event_type.topic)).collect();
    names.push(config.topics.unrecognized(vendor.name));
    names
}

/// The command topics: one a kind and the mixed one, and those of accounts with a prefix.
pub fn command_topics(config: &Config) -> Vec<String> {
    command_operations(config).into_iter().map(|(topic, _)| topic).collect()
}

/// Each command topic with the operation it carries; `None` carries every one.
pub fn command_operations(config: &Config) -> Vec<(String, Option<Operation>)> {
    let own = config.accounts.values().filter_map(|account| account.commands_prefix.as_deref());
    let mut prefixes: Vec<Option<&str>> = own.map(Some).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.insert(0, None);
    let mut topics = Vec::new();
    for prefix in prefixes {
        topics.push((config.topics.mixed_commands(prefix), None));
        for operation in Operation::ALL {
            topics.push((config.topics.command(operation, prefix), Some(operation)));
        }
    }
    topics
}

/// The vendors that have an account.
pub fn configured_vendors(config: &Config) -> impl Iterator<Item = &'static VendorTypes> {
    let used = |vendor: &VendorTypes| {
        config.accounts.values().any(|account| account.vendor.name() == vendor.name)
    };
    vendors::ALL.iter().filter(move |vendor| used(vendor))
}

/// The subjects of the event topics of one vendor (TopicNameStrategy).
pub fn event_subjects(config: &Config, vendor: &VendorTypes) -> Vec<Subject> {
    let subject = |event_type: &EventType| {
        Subject::of_topic(&config.topics.event(vendor.name, event_type.topic), event_type.record)
    };
    vendor.event_types.iter().map(subject).collect()
}

/// The subjects of the command topics and of the replies. The mixed topic carries several
/// records, so it has one subject a record (TopicRecordNameStrategy): a second record under one
/// subject would not be compatible with the first.
pub fn command_subjects(config: &Config) -> Vec<Subject> {
    let mut subjects = vec![Subject::of_topic(&config.topics.replies(), COMMAND_REPLY)];
    for (topic, operation) in command_operations(config) {
        match operation {
            Some(operation) => subjects.push(Subject::of_topic(&topic, operation.record())),
            None => subjects.extend(
                Operation::ALL.map(|each| Subject::of_topic_and_record(&topic, each.record())),
            ),
        }
    }
    subjects
}

/// Every subject, of every vendor.
pub fn all_subjects(config: &Config) -> Vec<Subject> {
    let mut subjects: Vec<Subject> =
        vendors::ALL.iter().flat_map(|vendor| event_subjects(config, vendor)).collect();
    subjects.extend(command_subjects(config));
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        crate::config::load_text("test.toml", text, std::iter::empty()).unwrap().config
    }

    #[test]
    fn every_topic_of_the_contract_is_planned_once() {
        let planned = all(&config(""), 6, 3);
        let mut names: Vec<_> = planned.iter().map(|topic| topic.name.as_str()).collect();
        for wanted in [
            "wms.jfwms.order-intercept",
            "wms.jfwms.unrecognized",
            "wms.qianyi.sales-order-shipping",
            "wms.commands",
            "wms.commands.dlq",
            "wms.commands.create-order",
            "wms.commands.create-order.dlq",
            "wms.replies",
            "wms.inventory.changes",
            "wms.inventory.levels",
            "wms.connector.tokens",
        ] {
            assert!(names.contains(&wanted), "{wanted}");
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        let tokens = planned.iter().find(|topic| topic.name.ends_with("tokens")).unwrap();
        assert_eq!(tokens.partitions, 1);
    }

    #[test]
    fn subjects_follow_the_two_strategies() {
        let subjects = all_subjects(&config(""));
        let has = |subject: &str, record: &str| {
            subjects.iter().any(|found| found.name == subject && found.record == record)
        };
        assert!(has("wms.jfwms.order-create-value", "wms.jfwms.OrderCreate"));
        assert!(has("wms.commands.create-order-value", "wms.commands.CreateOrder"));
        assert!(has("wms.commands-wms.commands.CreateOrder", "wms.commands.CreateOrder"));
        assert!(has("wms.replies-value", "wms.commands.CommandReply"));
        assert!(!has("wms.commands-value", "wms.commands.CreateOrder"));
    }

    #[test]
    fn every_event_topic_can_be_renamed() {
        for vendor in vendors::ALL {
            for event_type in vendor.event_types {
                let name = format!("{}.{}", vendor.name, event_type.topic);
                let config = config(&format!("[topics.names]\n\"{name}\" = \"other\""));
                assert_eq!(config.topics.event(vendor.name, event_type.topic), "other");
            }
        }
    }
}
