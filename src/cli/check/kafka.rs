//! What Kafka has, and what `run` will do with it.

use std::collections::BTreeMap;

use super::{Report, TIMEOUT, counted};
use crate::{
    app::{self, topics},
    config::{Begin, Config},
    kafka::{self, Difference, PlannedTopic, Topics},
};

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let client = app::client_settings(config).admin();
    let cluster = match Topics::fetch(&client, TIMEOUT) {
        Ok(cluster) => cluster,
        Err(error) => return report.bad("broker", error),
    };
    report.good("broker", counted(usize::try_from(cluster.brokers).unwrap_or(0), "broker"));
    let wanted = topics::all(config, 1, 1);
    let missing = cluster.missing(wanted.iter().map(|topic| topic.name.as_str()));
    if missing.is_empty() {
        report.good("topics", format_args!("all {} are there", wanted.len()));
    } else {
        report.bad(
            "topics",
            format_args!(
                "{} are missing, or this principal may not see them (Describe): {}; create them with \
                 `wms-connector topics apply`",
                missing.len(),
                missing.join(", ")
            ),
        );
    }
    properties(config, &cluster, &wanted, report);
    group(config, &cluster, report);
}

/// The properties of the topics against what `topics apply` makes.
fn properties(config: &Config, cluster: &Topics, wanted: &[PlannedTopic], report: &mut Report<'_>) {
    let there: Vec<&str> = wanted
        .iter()
        .map(|topic| topic.name.as_str())
        .filter(|topic| cluster.topics.contains_key(*topic))
        .collect();
    let client = app::client_settings(config).admin();
    let all = match kafka::topic_properties(&client, &there, TIMEOUT) {
        Ok(Some(all)) => all,
        Ok(None) => return,
        Err(error) => {
            return report.warn("topics", format_args!("their properties are not told: {error}"));
        }
    };
    let mut untold = 0;
    // What differs in the same way is one line; what is broken comes first.
    let mut found: BTreeMap<(bool, String), Vec<&str>> = BTreeMap::new();
    for planned in wanted {
        let (Some(facts), Some(properties)) =
            (cluster.topics.get(&planned.name), all.get(&planned.name))
        else {
            continue;
        };
        let Ok(properties) = properties else {
            untold += 1;
            continue;
        };
        for difference in kafka::differences(planned, *facts, cluster.brokers, properties) {
            let (broken, text) = match difference {
                Difference::Broken(text) => (true, text),
                Difference::Notable(text) => (false, text),
            };
            found.entry((!broken, text)).or_default().push(planned.name.as_str());
        }
    }
    for ((notable, text), topics) in found {
        let text = format!("{}: {text}", named(&topics));
        if notable {
            report.warn("topics", text);
        } else {
            report.bad("topics", text);
        }
    }
    if untold > 0 {
        let untold = counted(untold, "topic");
        report.warn(
            "topics",
            format_args!(
                "the properties of {untold} are not told; give the principal DescribeConfigs"
            ),
        );
    }
}

/// Some names, and how many more there are.
fn named(topics: &[&str]) -> String {
    const NAMED: usize = 3;
    let names: Vec<String> = topics.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match topics.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// The group of the commands, who is in it, and where `run` will begin.
fn group(config: &Config, cluster: &Topics, report: &mut Report<'_>) {
    let topics = topics::command_topics(config);
    let topics: Vec<&str> =
        topics.iter().map(String::as_str).filter(|t| cluster.topics.contains_key(*t)).collect();
    let name = &config.commands.group_id;
    let mut client = app::client_settings(config).reader();
    client.set("group.id", name);
    let facts = match kafka::group_facts(&client, name, &topics, TIMEOUT) {
        Ok(facts) => facts,
        Err(error) => {
            let why =
                format_args!("`{name}` cannot be asked for: {error}; it needs Read and Describe");
            return report.bad("group", why);
        }
    };
    let own = client.get("client.id").unwrap_or_default();
    for (client_id, host) in facts.members.iter().filter(|(client_id, _)| client_id != own) {
        report.bad(
            "group",
            format_args!(
                "`{name}` has a member that is no connector: client id `{client_id}` at {host}; what it \
                 reads is not carried out. End it, or set another `commands.group_id`"
            ),
        );
    }
    for (topic, partition, at) in &facts.outside {
        report.warn(
            "group",
            format_args!(
                "the commit {at} on topic `{topic}`, partition {partition}, is not within the log: `run` \
                 goes on at the log's end or beginning"
            ),
        );
    }
    let members = counted(facts.members.len(), "member");
    let (committed, partitions, lag) = (facts.committed, facts.partitions, facts.lag);
    let state = if facts.state.is_empty() { "unknown to the broker" } else { &facts.state };
    let told = format!(
        "`{name}`: {state}, {members}, commits on {committed} of {partitions} partitions, {lag} commands \
         wait"
    );
    let Some((topic, partition, low, high)) = facts.undecided.first() else {
        return report.good("group", told);
    };
    let count = facts.undecided.len();
    let begin = match config.commands.begin {
        Some(Begin::End) => {
            "`run` leaves out what they hold (`commands.begin` = \"end\")".to_owned()
        }
        Some(Begin::Earliest) => {
            "`run` carries out everything they hold (`commands.begin` = \"earliest\")".to_owned()
        }
        Some(Begin::At(time)) => format!("`run` carries out what was sent since {time}"),
        None if facts.committed > 0 => {
            "partitions that were added are read from their beginning; a topic without any commit \
             stops the start, until `commands.begin` is set"
                .to_owned()
        }
        None => {
            let why = format_args!(
                "{told}; {count} without a commit hold records (topic `{topic}`, partition {partition}: \
                 offsets {low} to {high}): `run` does not start until `commands.begin` says where to \
                 begin: \"end\", \"earliest\" or a time"
            );
            return report.bad("group", why);
        }
    };
    report.warn("group", format_args!("{told}; {count} without a commit hold records: {begin}"));
}
