//! `unrecognized list|show|replay`: authentic webhooks that fitted no topic, and publishing those
//! that can be read now.

mod listing;
mod replay;

use super::{
    CliError, Output,
    args::{UnrecognizedCommand, UnrecognizedSelection},
    records::Selected,
    runtime,
};
use crate::{
    app::{self, topics},
    config::Config,
    kafka::{ReadRecord, Topics},
    vendors::{self, VendorTypes},
    webhooks::KeptHeaders,
};

pub(super) fn run(
    config: &Config,
    action: &UnrecognizedCommand,
    output: &Output,
) -> Result<(), CliError> {
    match action {
        UnrecognizedCommand::List(options) => {
            let topics = options.which.topic.is_none();
            each(config, &options.which, output, |kept| listing::line(kept, topics, options.json))
        }
        UnrecognizedCommand::Show(options) => each(config, &options.which, output, |kept| {
            listing::shown(kept, options.value, options.json)
        }),
        UnrecognizedCommand::Replay(options) => {
            let Some(topic) = &options.which.topic else {
                return Err(CliError::Usage(format!(
                    "`replay` takes the topic whose webhooks are read again: one of {}",
                    names(config).join(", ")
                )));
            };
            let (vendor, topic) = vendor_of(config, topic)?;
            let selected = open(config, &options.which, topic, output)?;
            replay::run(config, options, vendor, &selected, &runtime()?, output)
        }
    }
}

/// Writes a line for each webhook that is meant, of the topic that is named or of all there are.
fn each(
    config: &Config,
    which: &UnrecognizedSelection,
    output: &Output,
    line: impl Fn(&ReadRecord) -> String,
) -> Result<(), CliError> {
    let topics = match &which.topic {
        Some(topic) => vec![vendor_of(config, topic)?.1],
        None => existing(config, which)?,
    };
    for topic in topics {
        let selected = open(config, which, topic, output)?;
        if selected.is_empty() {
            output.complain(format_args!("`{}` holds no webhooks", selected.topic()));
        }
        selected.each(|kept| {
            output.line(line(&kept));
            Ok(())
        })?;
    }
    Ok(())
}

fn open<'a>(
    config: &Config,
    which: &'a UnrecognizedSelection,
    topic: String,
    output: &'a Output,
) -> Result<Selected<'a>, CliError> {
    let range = (&which.range, which.to);
    Selected::open(config, topic, range, output, |kept| fits(which, &KeptHeaders::of(kept)))
}

fn fits(which: &UnrecognizedSelection, says: &KeptHeaders) -> bool {
    let one_of = |wanted: &[String], found: Option<&str>| {
        wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|one| one == found))
    };
    one_of(&which.reason, says.kind())
        && one_of(&which.account, says.account.as_deref())
        && one_of(&which.webhook_type, says.type_name.as_deref())
}

/// The vendor whose `unrecognized` topic is named, or who is named itself, and the topic.
fn vendor_of(config: &Config, name: &str) -> Result<(&'static VendorTypes, String), CliError> {
    vendors::ALL
        .iter()
        .map(|vendor| (vendor, config.topics.unrecognized(vendor.name)))
        .find(|(vendor, topic)| topic == name || vendor.name == name)
        .ok_or_else(|| {
            CliError::Usage(format!(
                "`{name}` is no topic of unrecognized webhooks; there are {}",
                names(config).join(", ")
            ))
        })
}

fn names(config: &Config) -> Vec<String> {
    vendors::ALL.iter().map(|vendor| config.topics.unrecognized(vendor.name)).collect()
}

/// The topics of the vendors that are configured and of those that are there.
fn existing(config: &Config, which: &UnrecognizedSelection) -> Result<Vec<String>, CliError> {
    let client = app::client_settings(config).admin();
    let cluster = Topics::fetch(&client, *which.range.timeout).map_err(CliError::failed)?;
    let configured: Vec<_> = topics::configured_vendors(config)
        .map(|vendor| config.topics.unrecognized(vendor.name))
        .collect();
    let wanted =
        |topic: &String| configured.contains(topic) || cluster.topics.contains_key(topic.as_str());
    Ok(names(config).into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Arguments, Subcommand};

    fn which(options: &[&str]) -> UnrecognizedSelection {
        let arguments = [&["wms-connector", "unrecognized", "list"], options].concat();
        match Arguments::parse_from(arguments).command {
            Subcommand::Unrecognized(UnrecognizedCommand::List(list)) => list.which,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_filter_takes_what_fits_all_of_it() {
        let says = KeptHeaders {
            account: Some("jf-main".to_owned()),
            type_name: Some("order".to_owned()),
            reason: Some("undecodable: data.skuList[0].sku: missing".to_owned()),
            part: None,
        };
        for (options, taken) in [
            (&[][..], true),
            (&["--reason", "undecodable"], true),
            (&["--reason", "retyped"], false),
            (&["--reason", "retyped", "--reason", "undecodable"], true),
            (&["--reason", "undecodable", "--account", "jf-2"], false),
            (&["--account", "jf-main", "--type", "order"], true),
            (&["--type", "orders"], false),
        ] {
            assert_eq!(fits(&which(options), &says), taken, "{options:?}");
        }
        let foreign = KeptHeaders { account: None, type_name: None, reason: None, part: None };
        assert!(fits(&which(&[]), &foreign));
        assert!(!fits(&which(&["--reason", "undecodable"]), &foreign));
    }
}
