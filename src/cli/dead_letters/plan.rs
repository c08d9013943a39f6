//! What a replay is about to do: shown, and asked about, before anything is sent.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::super::{
    CliError, Output,
    args::ReplayDeadLetters,
    records::{Consent, Selected},
};
use crate::{
    app,
    commands::replay::{Letter, Refusal, Replayed, Rules},
    config::Config,
    domain::ReplyCategory,
    kafka::RangeReader,
};

/// What becomes of each dead letter that is meant.
pub(super) struct Plan {
    decided: BTreeMap<(i32, i64), Decided>,
    /// Whether all that was named by its offset is there.
    pub(super) complete: bool,
}

struct Decided {
    category: Option<ReplyCategory>,
    refusal: Option<Refusal>,
}

impl Plan {
    /// Reads the dead letters, and the command topic from the first command among them on: a replay
    /// of one of them can only lie behind it.
    pub(super) fn make(
        config: &Config,
        options: &ReplayDeadLetters,
        selected: &Selected<'_>,
        to: &str,
    ) -> Result<Self, CliError> {
        let which = &options.which;
        let names = |category| which.range.offset.is_some() || which.category.contains(&category);
        let rules = Rules {
            to,
            to_is_named: which.to_topic().is_some(),
            twice: options.may_take_effect_twice,
            names: &names,
        };
        let mut decided = BTreeMap::new();
        let mut first = First::default();
        let complete = selected.each(|record| {
            let letter = Letter::of(&record.headers);
            first.note(&letter, to);
            let refusal = letter.refusal(&rules);
            let category = letter.category;
            decided.insert((record.partition, record.offset), Decided { category, refusal });
            Ok(())
        })?;
        let mut plan = Self { decided, complete };
        let any = plan.decided.values().any(|decided| decided.refusal.is_none());
        if any && !options.again {
            plan.leave_out_replayed(config, options, selected.topic(), to, &first)?;
        }
        Ok(plan)
    }

    fn leave_out_replayed(
        &mut self,
        config: &Config,
        options: &ReplayDeadLetters,
        letters: &str,
        to: &str,
        first: &First,
    ) -> Result<(), CliError> {
        let timeout = *options.which.range.timeout;
        let client = app::client_settings(config).reader();
        let (reader, parts) = RangeReader::open(&client, to, timeout).map_err(CliError::failed)?;
        let mut replayed = Replayed::default();
        for part in parts {
            let Some(from) = first.of(part.partition) else { continue };
            // Beyond its end: the topic was made again since, and its replays begin anywhere.
            let from = if from > part.high { part.low } else { from.max(part.low) };
            let read = reader.read(part.partition, from..part.high, timeout, |record| {
                replayed.note(&record, letters);
                ControlFlow::<()>::Continue(())
            });
            read.map_err(CliError::failed)?.is_break();
        }
        for ((partition, offset), decided) in &mut self.decided {
            if decided.refusal.is_none() {
                decided.refusal = replayed.refusal(*partition, *offset);
            }
        }
        Ok(())
    }

    /// Why a dead letter is not sent; `None`: it is.
    pub(super) fn refusal(&self, partition: i32, offset: i64) -> Option<&Refusal> {
        self.decided.get(&(partition, offset))?.refusal.as_ref()
    }

    fn sends(&self) -> usize {
        self.decided.values().filter(|decided| decided.refusal.is_none()).count()
    }

    /// Says what goes and what stays, and asks. What follows is done only after `Ok(true)`.
    pub(super) fn agreed(
        &self,
        options: &ReplayDeadLetters,
        letters: &str,
        to: &str,
        output: &Output,
    ) -> Result<bool, CliError> {
        let which = &options.which;
        Consent {
            plan: &self.text(letters, to),
            sends: self.sends(),
            question: &format!("Send {} commands to `{to}` again?", self.sends()),
            dry_run: options.dry_run,
            yes: options.yes,
            narrowed: which.range.is_narrowed()
                || which.last().is_some()
                || !which.category.is_empty(),
            narrowing: "--offset, --from, --to, --partition, --category, --since, --until",
        }
        .asked(output)
    }

    fn text(&self, letters: &str, to: &str) -> String {
        let mut goes: BTreeMap<&str, usize> = BTreeMap::new();
        let mut stays: BTreeMap<&str, usize> = BTreeMap::new();
        for decided in self.decided.values() {
            let category = decided.category.map_or("of no known category", ReplyCategory::name);
            match &decided.refusal {
                None => *goes.entry(category).or_default() += 1,
                Some(Refusal::Replayed(..)) => *stays.entry("replayed before").or_default() += 1,
                Some(Refusal::Incomplete) => *stays.entry("not whole").or_default() += 1,
                Some(Refusal::NoOrigin | Refusal::AnotherOrigin(_)) => {
                    *stays.entry("of another topic").or_default() += 1;
                }
                Some(Refusal::MayHaveTakenEffect | Refusal::EndNotKnown) => {
                    *stays.entry("may have taken effect").or_default() += 1;
                }
                Some(Refusal::CannotSucceed(category)) => {
                    *stays.entry(category).or_default() += 1;
                }
            }
        }
        let counted = |counts: &BTreeMap<&str, usize>| {
            let each: Vec<_> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
            if each.is_empty() { "none".to_owned() } else { each.join(", ") }
        };
        format!(
            "{} dead letters of `{letters}`: to be sent to `{to}`: {}; left out: {}",
            self.decided.len(),
            counted(&goes),
            counted(&stays)
        )
    }
}

/// Where the first of the commands lay, by partition.
#[derive(Default)]
struct First {
    offsets: BTreeMap<i32, i64>,
    /// One came from elsewhere, and can have been replayed to any place.
    anywhere: bool,
}

impl First {
    fn note(&mut self, letter: &Letter, to: &str) {
        match (letter.partition, letter.offset) {
            (Some(partition), Some(offset)) if letter.topic.as_deref() == Some(to) => {
                let first = self.offsets.entry(partition).or_insert(offset);
                *first = (*first).min(offset);
            }
            _ => self.anywhere = true,
        }
    }

    /// From where on a partition has to be read, if it has to.
    fn of(&self, partition: i32) -> Option<i64> {
        if self.anywhere { Some(0) } else { self.offsets.get(&partition).copied() }
    }
}
