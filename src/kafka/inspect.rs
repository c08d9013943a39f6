//! What a cluster says of its topics and of a group, beside what it should say.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};
use wms_kafka_raw::{Properties, describe_topic_configs, has_controller};

use super::{PlannedTopic, Quiet, TopicFacts, client::create};

/// How a topic differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Records are lost with it, or refused.
    Broken(String),
    /// It is somebody's decision, and worth knowing.
    Notable(String),
}

/// The properties of topics; `None` where the cluster cannot be asked. Blocks.
pub fn topic_properties(
    config: &ClientConfig,
    topics: &[&str],
    timeout: Duration,
) -> KafkaResult<Option<BTreeMap<String, Properties>>> {
    let Some(first) = topics.first() else { return Ok(Some(BTreeMap::new())) };
    let client: BaseConsumer<Quiet> = create(config, Quiet)?;
    if !has_controller(client.client(), first, timeout)? {
        return Ok(None);
    }
    describe_topic_configs(client.client(), topics, timeout)
        .map(Some)
        .map_err(KafkaError::MetadataFetch)
}

/// Whether a topic keeps the newest record of each key for ever; the error does not name it. Blocks. What
/// cannot be asked for is no reason to refuse it.
pub fn keeps_the_newest(
    config: &ClientConfig,
    topic: &str,
    timeout: Duration,
) -> Result<(), String> {
    let properties = match topic_properties(config, &[topic], timeout) {
        Ok(properties) => properties.and_then(|mut all| all.remove(topic)),
        Err(error) => {
            tracing::debug!(topic, %error, "the topic's properties could not be asked for");
            None
        }
    };
    match properties {
        Some(Ok(properties)) => keeps(&properties).map_err(|reason| reason.replace("TOPIC", topic)),
        Some(Err(_)) | None => Ok(()),
    }
}

fn keeps(properties: &BTreeMap<String, String>) -> Result<(), String> {
    let policy = properties.get(CLEANUP).map_or("delete", String::as_str);
    if policy.split(',').all(|policy| policy.trim() == "compact") {
        return Ok(());
    }
    Err(format!(
        "{CLEANUP}={policy}: what is in it is deleted after a while; set {CLEANUP}=compact \
         (kafka-configs.sh --alter --entity-type topics --entity-name TOPIC --add-config \
         {CLEANUP}=compact)"
    ))
}

const CLEANUP: &str = "cleanup.policy";

/// Compares a topic with what `topics apply` makes, in a cluster of so many brokers.
pub fn differences(
    planned: &PlannedTopic,
    facts: TopicFacts,
    brokers: i32,
    properties: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let number = |name: &str| properties.get(name).and_then(|text| text.parse::<i64>().ok());
    let wanted = |name: &str| {
        let value = planned.config.iter().find(|(planned, _)| *planned == name)?;
        value.1.parse::<i64>().ok()
    };
    let compacted = planned.config.iter().any(|entry| *entry == (CLEANUP, "compact".to_owned()));
    let mut found = Vec::new();
    if compacted {
        found.extend(keeps(properties).err().map(Difference::Broken));
    } else if properties.get(CLEANUP).is_some_and(|policy| policy.contains("compact")) {
        found.push(Difference::Broken(format!(
            "it is compacted: of records with equal keys only the newest is kept; set {CLEANUP}=delete"
        )));
    }
    if compacted && planned.partitions == 1 && facts.partitions != 1 {
        found.push(Difference::Broken(format!(
            "it has {} partitions and has to have one; make it again",
            facts.partitions
        )));
    }
    // With fewer replicas than that the brokers ask for those there are.
    if facts.replication == 1 && brokers > 1 {
        let text = "it has one replica: its records are lost with one broker; give it three";
        found.push(Difference::Notable(text.to_owned()));
    } else if facts.replication > 1 && number("min.insync.replicas").unwrap_or(1) < 2 {
        let text =
            "min.insync.replicas=1: an acknowledged record can be lost with one broker; set 2";
        found.push(Difference::Notable(text.to_owned()));
    }
    if let (Some(kept), Some(wanted)) = (number("retention.ms"), wanted("retention.ms"))
        && (0..wanted).contains(&kept)
    {
        let time = |ms: i64| {
            humantime::format_duration(Duration::from_millis(ms.unsigned_abs())).to_string()
        };
        found.push(Difference::Notable(format!(
            "it keeps records for {}; `topics apply` would make it {}",
            time(kept),
            time(wanted)
        )));
    }
    if let (Some(most), Some(wanted)) = (number("max.message.bytes"), wanted("max.message.bytes"))
        && most < wanted
    {
        found.push(Difference::Notable(format!(
            "it takes records of {most} bytes, and `ingress.max_body` allows for {wanted}: a larger \
             webhook is a 413; raise max.message.bytes"
        )));
    }
    found
}

/// How it stands with a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFacts {
    /// As the coordinator says it; empty where it does not know the group, or not by this protocol.
    pub state: String,
    /// Client id and host of each member.
    pub members: Vec<(String, String)>,
    pub partitions: usize,
    /// Partitions without a commit that hold records, with the first and the last offset.
    pub undecided: Vec<(String, i32, i64, i64)>,
    /// Partitions whose commit is not within the log.
    pub outside: Vec<(String, i32, i64)>,
    pub committed: usize,
    pub lag: i64,
}

/// Asks for a group and its commits on these topics. Blocks.
pub fn group_facts(
    config: &ClientConfig,
    group: &str,
    topics: &[&str],
    timeout: Duration,
) -> KafkaResult<GroupFacts> {
    let client: BaseConsumer<Quiet> = create(config, Quiet)?;
    let mut facts = GroupFacts::default();
    let groups = client.fetch_group_list(Some(group), timeout)?;
    if let Some(found) = groups.groups().iter().find(|found| found.name() == group) {
        found.state().clone_into(&mut facts.state);
        let member = |member: &rdkafka::groups::GroupMemberInfo| {
            (member.client_id().to_owned(), member.client_host().to_owned())
        };
        facts.members = found.members().iter().map(member).collect();
    }
    let mut all = TopicPartitionList::new();
    for topic in topics {
        let metadata = client.fetch_metadata(Some(topic), timeout)?;
        for found in metadata.topics() {
            for partition in found.partitions() {
                all.add_partition(topic, partition.id());
            }
        }
    }
    facts.partitions = all.count();
    let committed = client.committed_offsets(all, timeout)?;
    for element in committed.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let (low, high) = client.fetch_watermarks(topic, partition, timeout)?;
        match element.offset() {
            Offset::Offset(at) => {
                facts.committed += 1;
                facts.lag += (high - at).max(0);
                if !(low..=high).contains(&at) {
                    facts.outside.push((topic.to_owned(), partition, at));
                }
            }
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => {
                if low < high {
                    facts.undecided.push((topic.to_owned(), partition, low, high - 1));
                }
            }
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(partitions: i32, config: &[(&'static str, &str)]) -> PlannedTopic {
        let config = config.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        PlannedTopic { name: "t".to_owned(), partitions, replication: 3, config }
    }

    #[test]
    fn what_differs_is_told_by_what_it_costs() {
        let tokens = planned(1, &[("cleanup.policy", "compact")]);
        let events = planned(6, &[("retention.ms", "1000"), ("max.message.bytes", "500")]);
        for (planned, partitions, replication, properties, broken, notable) in [
            (
                &tokens,
                1,
                3,
                vec![("cleanup.policy", "compact"), ("min.insync.replicas", "2")],
                0,
                0,
            ),
            (&tokens, 1, 1, vec![("cleanup.policy", "compact")], 0, 0),
            (&tokens, 1, 1, vec![("cleanup.policy", "delete")], 1, 0),
            (&tokens, 1, 1, vec![("cleanup.policy", "compact,delete")], 1, 0),
            (&tokens, 1, 1, vec![], 1, 0),
            (&tokens, 2, 1, vec![("cleanup.policy", "compact")], 1, 0),
            (&events, 2, 1, vec![("retention.ms", "1000"), ("max.message.bytes", "500")], 0, 0),
            (&events, 2, 1, vec![("retention.ms", "-1")], 0, 0),
            (&events, 2, 1, vec![("retention.ms", "999")], 0, 1),
            (&events, 2, 1, vec![("max.message.bytes", "499")], 0, 1),
            (&events, 2, 1, vec![("cleanup.policy", "compact")], 1, 0),
            (&events, 2, 1, vec![("min.insync.replicas", "2")], 0, 0),
            (&events, 2, 3, vec![("min.insync.replicas", "1")], 0, 1),
            (&events, 2, 3, vec![("min.insync.replicas", "2")], 0, 0),
        ] {
            let facts = TopicFacts { partitions, replication };
            let properties: BTreeMap<String, String> = properties
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let found = differences(planned, facts, replication, &properties);
            let count = found.iter().filter(|d| matches!(d, Difference::Broken(_))).count();
            assert_eq!((count, found.len() - count), (broken, notable), "{found:?} {properties:?}");
        }
        let facts = TopicFacts { partitions: 1, replication: 1 };
        assert_eq!(differences(&events, facts, 3, &BTreeMap::new()).len(), 1);
    }
}
