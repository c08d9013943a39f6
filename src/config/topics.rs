//! `[topics]`: the names of all topics.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Operation;

use super::{
    accounts::VENDORS,
    section::{Section, nearest},
    tree::join,
};

/// The names of the topics. Pure: everything that names a topic asks here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// What stands before every name. Default: `wms`.
    pub prefix: String,
    /// Whole names for topics, by their default name without the prefix. Default: none.
    pub names: BTreeMap<String, String>,
}

impl Topics {
    /// The topic of a vendor's events of one type (`event_topic`: `order-create`).
    pub fn event(&self, vendor: &str, event_topic: &str) -> String {
        self.name(&format!("{vendor}.{event_topic}"))
    }

    /// The topic of a vendor's authentic webhooks of an unknown type or shape.
    pub fn unrecognized(&self, vendor: &str) -> String {
        self.event(vendor, "unrecognized")
    }

    /// The topic of one kind of command. An account may have topics of its own
    /// (`commands_prefix`).
    pub fn command(&self, operation: Operation, commands_prefix: Option<&str>) -> String {
        match commands_prefix {
            Some(prefix) => format!("{prefix}.{operation}"),
            None => self.name(&format!("commands.{operation}")),
        }
    }

    /// The topic of commands of any kind, in order across kinds.
    pub fn mixed_commands(&self, commands_prefix: Option<&str>) -> String {
        commands_prefix.map_or_else(|| self.name("commands"), str::to_owned)
    }

    /// The topic of the replies that name no other.
    pub fn replies(&self) -> String {
        self.name("replies")
    }

    /// The topic of the dead letters of a command topic.
    pub fn dlq(&self, command_topic: &str) -> String {
        let named = command_names()
            .find(|name| self.name(name) == command_topic)
            .and_then(|name| self.names.get(&format!("{name}.dlq")));
        named.cloned().unwrap_or_else(|| format!("{command_topic}.dlq"))
    }

    /// The topic of changes of stock.
    pub fn inventory_changes(&self) -> String {
        self.name("inventory.changes")
    }

    /// The topic of the newest levels of stock.
    pub fn inventory_levels(&self) -> String {
        self.name("inventory.levels")
    }

    /// The topic of the vendors' sealed tokens.
    pub fn connector_tokens(&self) -> String {
        self.name("connector.tokens")
    }

    /// The topic whose default name, without the prefix, is `name`.
    pub fn name(&self, name: &str) -> String {
        self.names.get(name).cloned().unwrap_or_else(|| format!("{}.{name}", self.prefix))
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let takes = "text of letters, digits, `.`, `-` and `_` that does not end with a dot";
        let prefix = section.parsed("prefix", takes, |value| {
            value.text().filter(|text| is_legal(text) && !text.ends_with('.')).map(str::to_owned)
        });
        let path = section.key("names");
        let known = default_names();
        let mut names = BTreeMap::new();
        let mut complete = true;
        for (name, value) in section.entries("names") {
            let at = join(&path, &name);
            let problem = if !known.contains(&name) {
                let near = nearest(&name, known.iter().map(String::as_str)).unwrap_or_default();
                format!("is the name of no topic; the nearest known name is {near:?}")
            } else {
                match value.text().filter(|text| is_legal(text)) {
                    Some(topic) => {
                        names.insert(name, topic.to_owned());
                        continue;
                    }
                    None => format!(
                        "takes a topic's name (letters, digits, `.`, `-`, `_`, at most 249), \
                         found {}",
                        value.shown()
                    ),
                }
            };
            section.context.problems.at(&at, problem);
            complete = false;
        }
        if let (true, Some(prefix)) = (complete, &prefix) {
            let topics = Self { prefix: prefix.clone(), names: names.clone() };
            complete = topics.note_collisions(&section, &path);
        }
        section.finish();
        let prefix = prefix?;
        complete.then_some(Self { prefix, names })
    }

    /// Two kinds of record in one topic could not be told apart; and Kafka's metrics take `.` for
    /// `_`, so it refuses to create two topics that differ only there.
    fn note_collisions(&self, section: &Section<'_>, path: &str) -> bool {
        let mut complete = true;
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for name in default_names() {
            let topic = match name.strip_suffix(".dlq") {
                Some(command) => self.dlq(&self.name(command)),
                None => self.name(&name),
            };
            if let Some(other) = seen.insert(topic.replace('_', "."), name.clone()) {
                let (renamed, other) =
                    if self.names.contains_key(&name) { (name, other) } else { (other, name) };
                section.context.problems.at(
                    &join(path, &renamed),
                    format_args!(
                        "is {topic:?}, which is (but for `.` and `_`) also the topic of \
                         {other:?}; give each its own"
                    ),
                );
                complete = false;
            }
        }
        complete
    }
}

/// What Kafka allows as a topic's name.
pub(super) fn is_legal(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= 249 && name.chars().all(legal) && name != "." && name != ".."
}

/// The default names, without the prefix, of the topics that commands come from.
fn command_names() -> impl Iterator<Item = String> {
    let kinds = Operation::ALL.into_iter().map(|operation| format!("commands.{operation}"));
    std::iter::once("commands".to_owned()).chain(kinds)
}

/// The default names of all topics, without the prefix.
pub(super) fn default_names() -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        ["replies", "inventory.changes", "inventory.levels", "connector.tokens"]
            .map(str::to_owned)
            .into();
    for command in command_names() {
        names.insert(format!("{command}.dlq"));
        names.insert(command);
    }
    for vendor in VENDORS {
        names.insert(format!("{}.unrecognized", vendor.name));
        names.extend(vendor.event_topics.iter().map(|topic| format!("{}.{topic}", vendor.name)));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_its_name_and_may_have_another() {
        let plain = Topics { prefix: "wms".to_owned(), names: BTreeMap::new() };
        let renamed = Topics {
            prefix: "acme".to_owned(),
            names: [
                ("jfwms.order", "orders"),
                ("commands", "todo"),
                ("commands.create-order", "create"),
                ("commands.create-order.dlq", "create-failed"),
            ]
            .map(|(name, topic)| (name.to_owned(), topic.to_owned()))
            .into(),
        };
        let create = Operation::CreateOrder;
        type Name = fn(&Topics) -> String;
        let table: &[(Name, &str, &str)] = &[
            (|t| t.event("jfwms", "order"), "wms.jfwms.order", "orders"),
            (|t| t.event("qianyi", "asn"), "wms.qianyi.asn", "acme.qianyi.asn"),
            (|t| t.unrecognized("jfwms"), "wms.jfwms.unrecognized", "acme.jfwms.unrecognized"),
            (|t| t.mixed_commands(None), "wms.commands", "todo"),
            (|t| t.mixed_commands(Some("own")), "own", "own"),
            (|t| t.replies(), "wms.replies", "acme.replies"),
            (|t| t.inventory_changes(), "wms.inventory.changes", "acme.inventory.changes"),
            (|t| t.inventory_levels(), "wms.inventory.levels", "acme.inventory.levels"),
            (|t| t.connector_tokens(), "wms.connector.tokens", "acme.connector.tokens"),
            (|t| t.dlq(&t.mixed_commands(None)), "wms.commands.dlq", "todo.dlq"),
        ];
        for (name, default, other) in table {
            assert_eq!((name(&plain).as_str(), name(&renamed).as_str()), (*default, *other));
        }
        assert_eq!(plain.command(create, None), "wms.commands.create-order");
        assert_eq!(plain.command(create, Some("own")), "own.create-order");
        assert_eq!(renamed.command(create, None), "create");
        assert_eq!(plain.dlq("wms.commands.create-order"), "wms.commands.create-order.dlq");
        assert_eq!(renamed.dlq("create"), "create-failed");
        assert_eq!(renamed.dlq("own.create-order"), "own.create-order.dlq");
    }
}
