//! Holds the vendors' own books, and the replies, against what was sent.

use std::collections::BTreeMap;

use serde_json::Value;
use wms_connector::{
    avro::{self, CommandReader, Limits},
    sandbox::{Books, EffectKind, Vendor},
};

use super::{
    plan::{Effect, Planned},
    watch::Replies,
};

/// What is wrong is listed up to so many.
const MOST: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) wrong: Vec<String>,
    pub(super) wrong_total: usize,
    /// First replies by operation and status.
    pub(super) statuses: BTreeMap<String, usize>,
    pub(super) replies: usize,
    pub(super) repeated: usize,
    /// Repeated replies that say something else than the first one.
    pub(super) changed: usize,
    pub(super) deduplicated: usize,
    pub(super) attempts: i64,
    pub(super) effects: usize,
}

impl Findings {
    fn wrong(&mut self, what: String) {
        self.wrong_total += 1;
        if self.wrong.len() < MOST {
            self.wrong.push(what);
        }
    }
}

/// `keys`: the commands of each key with their `ce_id`s, in the order in which they were sent.
pub(super) async fn audit(
    keys: &[Vec<(Planned, String)>],
    replies: &Replies,
    books: &Books,
) -> Findings {
    let mut findings = Findings::default();
    let reader = CommandReader::new(None, Limits::default());
    let mut wanted: BTreeMap<(Vendor, &str), Vec<EffectKind>> = BTreeMap::new();
    for commands in keys {
        let mut last = 0;
        // A document's effects are taken in turn by the commands of its key.
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        for (command, id) in commands {
            let said = says(&mut findings, &reader, command, id, replies).await;
            let (kind, sure) = match command.effect {
                Effect::None => continue,
                Effect::Once(kind) => (kind, true),
                Effect::AtMostOnce(kind) => (kind, said.as_deref() != Some("UNKNOWN")),
            };
            let of_document = format!("{}/{}", command.vendor, command.document);
            let effects = books.effects.get(&of_document).map(Vec::as_slice).unwrap_or_default();
            let at = taken.entry(&command.document).or_default();
            let Some(effect) = effects.get(*at).filter(|effect| effect.kind == kind) else {
                if sure {
                    let there: Vec<_> = effects.iter().map(|effect| effect.kind).collect();
                    findings.wrong(format!("{id} {command}: no {kind:?}, only {there:?}"));
                }
                continue;
            };
            *at += 1;
            wanted.entry((command.vendor, &command.document)).or_default().push(kind);
            if effect.sequence <= last {
                findings.wrong(format!(
                    "{id} {command}: out of order, {} after {last}",
                    effect.sequence
                ));
            }
            last = effect.sequence;
        }
    }
    let mut there = 0;
    for (document, effects) in &books.effects {
        there += effects.len();
        let (vendor, number) = document.split_once('/').unwrap();
        let vendor = if vendor == "jfwms" { Vendor::Jfwms } else { Vendor::Qianyi };
        let kinds = books.effects_of(vendor, number);
        if wanted.get(&(vendor, number)) != Some(&kinds) {
            findings.wrong(format!(
                "{document} has {kinds:?}, not {:?}",
                wanted.get(&(vendor, number))
            ));
        }
    }
    findings.effects = there;
    findings
}

/// Looks at the replies to a command; gives the status of the first.
async fn says(
    findings: &mut Findings,
    reader: &CommandReader,
    command: &Planned,
    id: &str,
    replies: &Replies,
) -> Option<String> {
    let Some(all) = replies.get(id) else {
        findings.wrong(format!("{id} {command}: no reply"));
        return None;
    };
    findings.replies += all.len();
    findings.repeated += all.len() - 1;
    let mut first: Option<Value> = None;
    for payload in all {
        let reply = match avro::decode_to_json(reader, payload).await {
            Ok(reply) => reply,
            Err(error) => {
                findings.wrong(format!("{id} {command}: {error}"));
                continue;
            }
        };
        let status = reply["status"].as_str().unwrap_or_default();
        let may_be_unknown = matches!(command.effect, Effect::AtMostOnce(_));
        if status != "SUCCEEDED" && !(status == "UNKNOWN" && may_be_unknown) {
            let which = if first.is_some() { "again: " } else { "" };
            findings.wrong(format!("{id} {command}: {which}{reply}"));
        }
        match &first {
            None => first = Some(reply),
            Some(first) => {
                findings.changed += usize::from(first["status"] != reply["status"]);
            }
        }
    }
    let first = first?;
    let status = first["status"].as_str().unwrap_or_default().to_owned();
    findings.deduplicated += usize::from(first["deduplicated"] == true);
    findings.attempts += first["attempts"].as_i64().unwrap_or_default();
    let of = format!("{} {} {status}", command.vendor, command.operation.name());
    *findings.statuses.entry(of).or_default() += 1;
    Some(status)
}
