//! What can be said only when all sections are read: contradictions between them, and warnings.

use std::collections::BTreeMap;

use crate::domain::AccountName;

use super::{
    Config,
    accounts::{Account, VendorSettings},
    commands::GroupProtocol,
    error::Problems,
    tokens::TokenStore,
    tree::join,
};

/// So many accounts are named in one message, and have a warning of one kind each.
const NAMED: usize = 3;

/// Notes contradictions between sections.
pub(super) fn contradictions(config: &Config, problems: &Problems) {
    if config.commands.group_protocol == GroupProtocol::Consumer {
        for property in ["session.timeout.ms", "heartbeat.interval.ms"] {
            for section in config.kafka.sections_with(property) {
                problems.at(
                    &join(section, property),
                    "is the broker's to set when `commands.group_protocol` is \"consumer\", and \
                     librdkafka refuses it; take it away, or use \"classic\"",
                );
            }
        }
    }
    let (ingress, admin) = (config.ingress.listen, config.admin.listen);
    if ingress.port() != 0 && ingress.port() == admin.port() {
        let same = ingress.ip() == admin.ip();
        if same || ingress.ip().is_unspecified() || admin.ip().is_unspecified() {
            problems.at(
                "admin.listen",
                format_args!("has the port of `ingress.listen` ({ingress}); give it another"),
            );
        }
    }
    producer_queue(config, problems);
    shared_clients(config, problems);
    command_prefixes(config, problems);
}

/// What is let in must never be refused by the producer's own queue.
fn producer_queue(config: &Config, problems: &Problems) {
    let messages = config.ingress.max_in_flight.saturating_add(config.commands.max_in_flight);
    let messages = u64::try_from(messages).unwrap_or(u64::MAX);
    let kbytes = config.ingress.max_in_flight_bytes.div_ceil(1024);
    for (property, least) in
        [("queue.buffering.max.messages", messages), ("queue.buffering.max.kbytes", kbytes)]
    {
        let kafka = &config.kafka;
        for (section, map) in
            [("kafka.properties", &kafka.properties), ("kafka.producer", &kafka.producer)]
        {
            if let Some(set) = map.get(property).and_then(|value| value.trim().parse::<u64>().ok())
                && set < least
            {
                problems.at(
                    &join(section, property),
                    format_args!(
                        "is below what `ingress` and `commands` let in ({least}); raise it, or \
                         lower `max_in_flight` and `max_in_flight_bytes`"
                    ),
                );
            }
        }
    }
}

/// Users of one JFWMS client share a webhook URL; whose webhook it is, only the lists tell.
fn shared_clients(config: &Config, problems: &Problems) {
    let mut clients: BTreeMap<(&str, &str), Vec<(&AccountName, &Account)>> = BTreeMap::new();
    for (name, account) in &config.accounts {
        if let VendorSettings::Jfwms(keys) = &account.vendor
            && let Some(client) = keys.text("client_id")
        {
            clients.entry((&account.base_url, client)).or_default().push((name, account));
        }
    }
    for accounts in clients.values().filter(|accounts| accounts.len() > 1) {
        let mut owners: BTreeMap<&str, &AccountName> = BTreeMap::new();
        for (name, account) in accounts {
            let path = format!("accounts.{name}");
            let list = format!("{path}.user_ids");
            if account.user_ids.is_empty() {
                let others = accounts.iter().filter(|(other, _)| other != name);
                let mut others: Vec<_> =
                    others.take(NAMED).map(|(other, _)| format!("`{other}`")).collect();
                if let Some(more) = accounts.len().checked_sub(NAMED + 1).filter(|more| *more > 0) {
                    others.push(format!("{more} more"));
                }
                let what = format_args!(
                    "is empty, but the account shares its client_id with {}; list the users of \
                     each, so that two sellers' stock is not mixed",
                    others.join(", ")
                );
                let at = if problems.is_set(&list) { &list } else { &path };
                problems.beside(at, &list, what);
            }
            for user in &account.user_ids {
                if let Some(owner) = owners.insert(user, name)
                    && owner != *name
                {
                    let what = format_args!("lists user {user:?}, and so does `{owner}`");
                    problems.at(&list, format_args!("{what}; keep it in one of them"));
                }
            }
        }
    }
}

/// A command topic is read for the account that owns it, or for all.
fn command_prefixes(config: &Config, problems: &Problems) {
    let shared = config.topics.mixed_commands(None);
    for (name, account) in &config.accounts {
        if account.commands_prefix.as_deref() == Some(shared.as_str()) {
            problems.at(
                &format!("accounts.{name}.commands_prefix"),
                format_args!("is {shared:?}, the topic of all accounts; choose another"),
            );
        }
    }
}

/// What works, but perhaps not as meant.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.accounts.is_empty() {
        warnings.push(
            "no account is configured: no webhook is accepted and every command is rejected; add \
             a section [accounts.NAME]"
                .to_owned(),
        );
    }
    if config.shutdown_timeout < config.commands.call_timeout {
        warnings.push(
            "`shutdown_timeout` is shorter than `commands.call_timeout`: a shutdown may cut off a \
             call whose outcome then has to be found out; raise it"
                .to_owned(),
        );
    }
    account_warnings(config, &mut warnings);
    warnings
}

/// One kind of warning about accounts: the first ones whole, then how many more there are.
#[derive(Default)]
struct Repeated(usize);

impl Repeated {
    fn push(&mut self, warnings: &mut Vec<String>, warning: impl FnOnce() -> String) {
        if self.0 < NAMED {
            warnings.push(warning());
        }
        self.0 += 1;
    }

    fn end(self, warnings: &mut Vec<String>, what: &str) {
        if let Some(more) = self.0.checked_sub(NAMED).filter(|more| *more > 0) {
            warnings.push(format!("{more} more accounts {what}"));
        }
    }
}

fn account_warnings(config: &Config, warnings: &mut Vec<String>) {
    let tokens = &config.tokens;
    let (mut readable, mut open, mut tokenless) =
        (Repeated::default(), Repeated::default(), Repeated::default());
    for (name, account) in &config.accounts {
        if account.base_url.starts_with("http://") && !is_loopback(&account.base_url) {
            readable.push(warnings, || {
                format!(
                    "`accounts.{name}.base_url` is not https: tokens and addresses travel readable"
                )
            });
        }
        let VendorSettings::Jfwms(keys) = &account.vendor else { continue };
        if account.path_secret.is_none() && account.allowed_sources.is_empty() {
            open.push(warnings, || {
                format!(
                    "`accounts.{name}` has neither `path_secret` nor `allowed_sources`: JFWMS signs \
                     neither a webhook's type nor its time, so who has seen one can send it again \
                     as another; set at least one of the two"
                )
            });
        }
        let unsealed = tokens.store == TokenStore::Topic && tokens.key.is_none();
        if keys.text("access_token").is_none() && unsealed {
            tokenless.push(warnings, || {
                format!(
                    "`accounts.{name}` has no `access_token`, and without `tokens.key` none can be \
                     kept: its commands wait until they expire; set `tokens.key` and run \
                     `wms-connector authorize --account {name}`"
                )
            });
        }
    }
    readable.end(warnings, "have a `base_url` that is not https");
    open.end(warnings, "have neither `path_secret` nor `allowed_sources`");
    tokenless.end(warnings, "have no `access_token`, and `tokens.key` is not set");
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address: Result<std::net::IpAddr, _> = host.parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
