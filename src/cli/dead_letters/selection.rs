//! Which dead letters are meant.

use super::super::{CliError, Output, args::DeadLetterSelection, records::Selected};
use crate::{app::topics, commands::replay::Letter, config::Config, kafka::ReadRecord};

/// Asks Kafka what there is on a topic: one of dead letters, or the command topic that is meant.
pub(super) fn open<'a>(
    config: &Config,
    which: &'a DeadLetterSelection,
    topic: &str,
    output: &'a Output,
) -> Result<Selected<'a>, CliError> {
    let asked = topic;
    let topic = dead_letter_topic(config, asked)?;
    if topic != asked {
        output.complain(format_args!(
            "`{asked}` is a command topic; its dead letters are on `{topic}`"
        ));
    }
    let range = (&which.range, which.last());
    Selected::open(config, topic, range, output, |record| fits(which, record))
}

/// The dead-letter topic that is meant by a name.
fn dead_letter_topic(config: &Config, name: &str) -> Result<String, CliError> {
    let commands = topics::command_topics(config);
    if commands.iter().any(|topic| topic == name) {
        return Ok(config.topics.dlq(name));
    }
    // One of another deployment's is none of our list, and can be read all the same.
    let letters: Vec<String> = commands.iter().map(|topic| config.topics.dlq(topic)).collect();
    if letters.iter().any(|topic| topic == name) || name.ends_with(".dlq") {
        return Ok(name.to_owned());
    }
    Err(CliError::Usage(format!(
        "`{name}` is no dead-letter topic; there are {}",
        letters.join(", ")
    )))
}

/// The command topic whose dead letters a topic holds, as this configuration has it.
pub(super) fn command_topic(config: &Config, letters: &str) -> Option<String> {
    topics::command_topics(config).into_iter().find(|topic| config.topics.dlq(topic) == letters)
}

/// Whether a record ended in a category that is meant.
fn fits(which: &DeadLetterSelection, record: &ReadRecord) -> bool {
    which.category.is_empty()
        || Letter::of(&record.headers)
            .category
            .is_some_and(|category| which.category.contains(&category))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::args::RecordRange, domain::ReplyCategory};

    #[test]
    fn a_filter_takes_the_categories_that_are_named() {
        let record = |class: &str| ReadRecord {
            topic: "t.dlq".to_owned(),
            partition: 0,
            offset: 0,
            key: None,
            payload: None,
            headers: vec![(
                "__connect.errors.exception.class.name".to_owned(),
                Some(class.as_bytes().to_vec()),
            )],
            timestamp: None,
        };
        let which = |category: &[ReplyCategory]| DeadLetterSelection {
            topic: Some("t.dlq".to_owned()),
            range: RecordRange {
                partition: None,
                offset: None,
                from: None,
                since: None,
                until: None,
                timeout: std::time::Duration::from_secs(15).into(),
            },
            to: Vec::new(),
            category: category.to_vec(),
        };
        let (expired, away) = (ReplyCategory::Expired, ReplyCategory::Unavailable);
        let unavailable = record("wms.commands.UNAVAILABLE");
        assert!(fits(&which(&[]), &unavailable));
        assert!(fits(&which(&[expired, away]), &unavailable));
        assert!(!fits(&which(&[expired]), &unavailable));
        assert!(!fits(&which(&[expired, away]), &record("java.lang.Error")));
    }
}
