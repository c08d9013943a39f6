//! `[kafka]`

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use super::{
    environment::fold,
    section::{Section, nearest},
    tree::Value,
};
use crate::kafka::{PropertyFault, PropertyOf, property_fault, property_names};

/// How the cluster is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Kafka {
    /// The brokers to begin with. Default: `localhost:9092`.
    pub bootstrap_servers: String,
    /// librdkafka's properties for all clients. Default: none.
    pub properties: BTreeMap<String, String>,
    /// librdkafka's properties for producers. Default: none.
    pub producer: BTreeMap<String, String>,
    /// librdkafka's properties for consumers. Default: none.
    pub consumer: BTreeMap<String, String>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A property may be a password, a key or a whole JAAS line: only the names are shown.
        let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("Kafka")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &names(&self.properties))
            .field("producer", &names(&self.producer))
            .field("consumer", &names(&self.consumer))
            .finish()
    }
}

impl Kafka {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let bootstrap_servers = section.text("bootstrap_servers");
        let properties = read_properties(&mut section, "properties", PropertyOf::Every);
        let producer = read_properties(&mut section, "producer", PropertyOf::Producer);
        let consumer = read_properties(&mut section, "consumer", PropertyOf::Consumer);
        section.finish();
        Some(Self {
            bootstrap_servers: bootstrap_servers?,
            properties: properties?,
            producer: producer?,
            consumer: consumer?,
        })
    }

    /// Where a property is set, as the sections' names.
    pub(super) fn sections_with<'a>(
        &'a self,
        property: &'a str,
    ) -> impl Iterator<Item = &'static str> + 'a {
        [
            ("kafka.properties", &self.properties),
            ("kafka.producer", &self.producer),
            ("kafka.consumer", &self.consumer),
        ]
        .into_iter()
        .filter(move |(_, map)| map.contains_key(property))
        .map(|(section, _)| section)
    }
}

fn read_properties(
    section: &mut Section<'_>,
    key: &'static str,
    of: PropertyOf,
) -> Option<BTreeMap<String, String>> {
    let entries = section.entries(key);
    let context = section.context;
    let path = section.key(key);
    let mut complete = true;
    let mut folded: BTreeMap<String, String> = BTreeMap::new();
    let mut properties = BTreeMap::new();
    for (name, value) in entries {
        let at = super::tree::join(&path, &name);
        match folded.entry(fold(&name)) {
            Entry::Occupied(other) => {
                context.problems.at(
                    &at,
                    format_args!(
                        "and {:?} are one name in the environment, where `-` and `.` are `_`; \
                         take one of them away",
                        other.get()
                    ),
                );
                complete = false;
            }
            Entry::Vacant(free) => {
                free.insert(name.clone());
            }
        }
        let text = match refused(&name) {
            Some(reason) => Err(format!("cannot be overridden: {reason}; remove it")),
            None => text(section, &value).and_then(|text| usable(&name, text, of)),
        };
        match text {
            Ok(text) => {
                properties.insert(name, text);
            }
            Err(what) => {
                context.problems.at(&at, what);
                complete = false;
            }
        }
    }
    complete.then_some(properties)
}

/// The value, if librdkafka takes it. The value itself is never told: it may be a secret.
fn usable(name: &str, value: String, of: PropertyOf) -> Result<String, String> {
    let Some(fault) = property_fault(name, &value, of) else { return Ok(value) };
    Err(match fault {
        PropertyFault::Java(instead) => {
            format!("is a property of Java's clients, which librdkafka does not have: {instead}")
        }
        PropertyFault::Unknown => match nearest(name, property_names()) {
            Some(near) => {
                format!("is not a property of librdkafka; the nearest known one is \"{near}\"")
            }
            None => "is not a property of librdkafka".to_owned(),
        },
        PropertyFault::AnothersProperty(PropertyOf::Consumer) => {
            "is a consumer's property; move it to [kafka.consumer]".to_owned()
        }
        PropertyFault::AnothersProperty(PropertyOf::Producer | PropertyOf::Every) => {
            "is a producer's property; move it to [kafka.producer]".to_owned()
        }
        PropertyFault::Value => {
            "has a value that librdkafka does not take (not shown, as it may be a secret); see its \
             CONFIGURATION.md for the range"
                .to_owned()
        }
    })
}

fn text(section: &Section<'_>, value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) | Value::Variable(text) | Value::Fraction(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(value) => Ok(value.to_string()),
        // A name without quotes is, to TOML, a table in a table.
        Value::Table(table) if !table.keys().any(|key| key == "file" || key == "env") => {
            Err("is a table; put the property's whole name in quotes: \"security.protocol\" = …"
                .to_owned())
        }
        Value::Table(_) => {
            let secret = section.context.sources.secret(value)?;
            Ok(secret.map(|secret| secret.expose().to_owned()).unwrap_or_default())
        }
        Value::List(_) | Value::Other(_) => {
            Err(format!("takes text, a number or true/false, found {}", value.kind()))
        }
    }
}

/// Why a property is refused: what the connector promises rests on it, or another key says it.
/// Aliases are refused like the names they stand for.
fn refused(property: &str) -> Option<&'static str> {
    Some(match property {
        "bootstrap.servers" | "metadata.broker.list" => "`kafka.bootstrap_servers` says it",
        "group.id" => "`commands.group_id` says it",
        "group.protocol" => "`commands.group_protocol` says it",
        "group.instance.id" => {
            "with static membership the partitions of a dead process wait for its return"
        }
        group if group.starts_with("group.") => {
            "the connector settles how its consumers share the partitions"
        }
        "partition.assignment.strategy" => {
            "the connector relies on cooperative-sticky: with another one every rebalance stops \
             all commands"
        }
        "transactional.id" => {
            "the connector names its transactions so that a process that lost its partitions is \
             fenced off"
        }
        "isolation.level" => {
            "commands are read committed; otherwise those of aborted transactions are carried out"
        }
        "message.timeout.ms" | "delivery.timeout.ms" => {
            "it follows `ingress.publish_timeout`, so that no answer to a webhook comes before \
             the broker's"
        }
        "acks" | "request.required.acks" => {
            "a webhook is answered only when all in-sync replicas have it (acks=all)"
        }
        "enable.idempotence" => {
            "without it (it is on) a retry writes records twice or out of order"
        }
        "partitioner" => {
            "records are spread as Java's clients do (murmur2_random), otherwise joins with their \
             topics miss"
        }
        "allow.auto.create.topics" => {
            "topics are made by `wms-connector topics apply`, with their own settings; a \
             misspelt name must not create one"
        }
        "enable.auto.commit" | "auto.commit.enable" | "auto.commit.interval.ms" => {
            "an offset is committed when the reply is in Kafka, never by time"
        }
        "enable.auto.offset.store" => {
            "an offset is stored when the reply is in Kafka, not when the command was fetched"
        }
        "auto.offset.reset" => {
            "where a group begins that has no committed offset is `commands.begin`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guarantees_rest_on_is_refused() {
        for property in [
            "bootstrap.servers",
            "metadata.broker.list",
            "group.id",
            "group.instance.id",
            "group.protocol",
            "group.protocol.type",
            "group.remote.assignor",
            "partition.assignment.strategy",
            "transactional.id",
            "isolation.level",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "partitioner",
            "allow.auto.create.topics",
            "enable.auto.commit",
            "auto.commit.enable",
            "enable.auto.offset.store",
            "auto.offset.reset",
        ] {
            assert!(refused(property).is_some(), "{property}");
        }
        for property in [
            "security.protocol",
            "sasl.password",
            "session.timeout.ms",
            "linger.ms",
            "compression.type",
            "max.poll.interval.ms",
            "client.id",
        ] {
            assert_eq!(refused(property), None, "{property}");
        }
    }
}
