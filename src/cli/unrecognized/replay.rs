//! `unrecognized replay`: what can be read now goes to the topic of its type, as it would have gone
//! when it came: the same `ce_id`, the same key, the same times.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Runtime;

use super::super::{
    CliError, Output,
    args::ReplayUnrecognized,
    records::{Consent, Selected},
};
use crate::{
    app::{self, accounts, topics},
    avro::Encoders,
    config::Config,
    kafka::{OutgoingRecord, PublishError, Publisher, RangeReader, ReadRecord, Topics},
    vendors::VendorTypes,
    webhooks::{Reread, Rereader, Stays},
};

/// Which record of `unrecognized` an event was: `<topic>/<partition>/<offset>`. It stands on the event,
/// so that a second replay finds it wherever it is run.
const REPLAYED_FROM: &str = "wms_replayed_from";

/// Two processes' clocks differ by less: a replay's time is not looked for exactly.
const CLOCKS_DIFFER_MS: i64 = 10 * 60 * 1_000;

pub(super) fn run(
    config: &Config,
    options: &ReplayUnrecognized,
    vendor: &'static VendorTypes,
    selected: &Selected<'_>,
    runtime: &Runtime,
    output: &Output,
) -> Result<(), CliError> {
    let timeout = *options.which.range.timeout;
    let clients = app::client_settings(config);
    let connected = accounts::connect(config).map_err(CliError::failed)?;
    let encoders = Arc::new(encoders(config, vendor, runtime)?);
    let rereader = || {
        let retyped = options.which.reason.iter().any(|reason| reason == "retyped");
        let accounts = accounts::for_webhooks(config, &connected);
        Rereader::new(vendor.name, accounts, Arc::clone(&encoders), retyped)
    };
    let plan = Plan::make(config, options, selected, &mut rereader())?;
    let which = &options.which;
    let consent = Consent {
        plan: &plan.text(selected.topic()),
        sends: plan.sends(),
        question: &format!("Publish {} webhooks as events?", plan.sends()),
        dry_run: options.dry_run,
        yes: options.yes,
        narrowed: which.range.is_narrowed()
            || which.to.is_some()
            || !(which.reason.is_empty()
                && which.account.is_empty()
                && which.webhook_type.is_empty()),
        narrowing: "--offset, --from, --to, --partition, --reason, --account, --type, --since, \
                    --until",
    };
    if !consent.asked(output)? {
        return Err(CliError::Failed("nothing was published".to_owned()));
    }
    let publisher = Publisher::new(clients.producer(timeout)).map_err(CliError::failed)?;
    let publish = |record| runtime.block_on(publisher.publish(record, timeout));
    let mut replay = Replay { options, output, plan: &plan, publish, counts: Counts::default() };
    let mut rereader = rereader();
    selected.each(|kept| replay.one(&kept, rereader.read(&kept)))?;
    replay.end()
}

/// What encodes the events of a vendor as `run` does.
fn encoders(
    config: &Config,
    vendor: &VendorTypes,
    runtime: &Runtime,
) -> Result<Encoders, CliError> {
    let Some(registry) = app::registry(config).map_err(CliError::failed)? else {
        return Encoders::single_object().map_err(CliError::failed);
    };
    let subjects = topics::event_subjects(config, vendor);
    let ids = runtime.block_on(app::registry_ids(&registry, &subjects, false));
    Encoders::confluent(&ids.map_err(CliError::failed)?).map_err(CliError::failed)
}

/// What becomes of a record.
enum Decided {
    /// A part of a webhook that a later record completes.
    Part,
    Goes {
        topic: String,
    },
    Stays(Stays),
    /// It was replayed as this record.
    Replayed {
        topic: String,
        partition: i32,
        offset: i64,
    },
    /// The topic of its type does not exist.
    NoTopic(String),
}

/// What becomes of each record that is meant.
#[derive(Default)]
struct Plan {
    decided: BTreeMap<(i32, i64), Decided>,
    /// Whether all that was named by its offset is there.
    complete: bool,
}

impl Plan {
    fn make(
        config: &Config,
        options: &ReplayUnrecognized,
        selected: &Selected<'_>,
        rereader: &mut Rereader,
    ) -> Result<Self, CliError> {
        let timeout = *options.which.range.timeout;
        // Asked beforehand: a producer finds out about a missing topic only after its whole timeout.
        let admin = app::client_settings(config).admin();
        let cluster = Topics::fetch(&admin, timeout).map_err(CliError::failed)?;
        let mut plan = Self::default();
        let mut first = i64::MAX;
        plan.complete = selected.each(|kept| {
            let decided = match rereader.read(&kept) {
                Reread::Part => Decided::Part,
                Reread::Stays(stays) => Decided::Stays(stays),
                Reread::Event(event) if !cluster.topics.contains_key(&event.topic) => {
                    Decided::NoTopic(event.topic)
                }
                Reread::Event(event) => {
                    first = first.min(kept.timestamp.unwrap_or(0));
                    Decided::Goes { topic: event.topic }
                }
            };
            plan.decided.insert((kept.partition, kept.offset), decided);
            Ok(())
        })?;
        if !options.again {
            plan.leave_out_replayed(config, timeout, selected.topic(), first)?;
        }
        Ok(plan)
    }

    /// Looks for replays on the topics that are about to be written: none is older than what it is the
    /// replay of.
    fn leave_out_replayed(
        &mut self,
        config: &Config,
        timeout: Duration,
        kept_on: &str,
        first: i64,
    ) -> Result<(), CliError> {
        let targets: BTreeSet<String> = self
            .decided
            .values()
            .filter_map(|decided| match decided {
                Decided::Goes { topic } => Some(topic.clone()),
                Decided::Part
                | Decided::Stays(_)
                | Decided::Replayed { .. }
                | Decided::NoTopic(_) => None,
            })
            .collect();
        let client = app::client_settings(config).reader();
        let since = first.saturating_sub(CLOCKS_DIFFER_MS).max(0);
        for topic in targets {
            let (reader, parts) =
                RangeReader::open(&client, &topic, timeout).map_err(CliError::failed)?;
            for part in parts {
                let from = reader.offset_at(part.partition, since, timeout);
                let Some(from) = from.map_err(CliError::failed)? else { continue };
                let range = from.max(part.low)..part.high;
                let read = reader.read(part.partition, range, timeout, |event| {
                    self.note_replay(&event, kept_on);
                    ControlFlow::<()>::Continue(())
                });
                read.map_err(CliError::failed)?.is_break();
            }
        }
        Ok(())
    }

    fn note_replay(&mut self, event: &ReadRecord, kept_on: &str) {
        let Some(from) = event.header(REPLAYED_FROM) else { return };
        let place = from.strip_prefix(kept_on).and_then(|rest| rest.strip_prefix('/'));
        let place = place.and_then(|place| {
            let (partition, offset) = place.split_once('/')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        });
        let Some(decided) = place.and_then(|place| self.decided.get_mut(&place)) else { return };
        if matches!(decided, Decided::Goes { .. }) {
            *decided = Decided::Replayed {
                topic: event.topic.clone(),
                partition: event.partition,
                offset: event.offset,
            };
        }
    }

    fn sends(&self) -> usize {
        self.decided.values().filter(|decided| matches!(decided, Decided::Goes { .. })).count()
    }

    fn text(&self, kept_on: &str) -> String {
        let mut goes: BTreeMap<String, usize> = BTreeMap::new();
        let mut stays: BTreeMap<String, usize> = BTreeMap::new();
        for decided in self.decided.values() {
            let (counts, what) = match decided {
                Decided::Part => continue,
                Decided::Goes { topic } => (&mut goes, format!("to `{topic}`")),
                Decided::Replayed { .. } => (&mut stays, "replayed before".to_owned()),
                Decided::NoTopic(topic) => (&mut stays, format!("`{topic}` does not exist")),
                Decided::Stays(Stays::Still(reason)) => {
                    (&mut stays, format!("still {}", reason.reason()))
                }
                Decided::Stays(Stays::Retyped) => (&mut stays, "retyped".to_owned()),
                Decided::Stays(Stays::UnknownAccount(_)) => {
                    (&mut stays, "of accounts that are not configured".to_owned())
                }
                Decided::Stays(Stays::NotOurs | Stays::Unreadable(_) | Stays::PartsMissing) => {
                    (&mut stays, "not readable".to_owned())
                }
            };
            *counts.entry(what).or_default() += 1;
        }
        let counted = |counts: &BTreeMap<String, usize>| {
            let each: Vec<_> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
            if each.is_empty() { "none".to_owned() } else { each.join(", ") }
        };
        format!(
            "webhooks of `{kept_on}`: to be published: {}; left out: {}",
            counted(&goes),
            counted(&stays)
        )
    }
}

#[derive(Default)]
struct Counts {
    done: u64,
    /// Left out on purpose.
    left_out: u64,
    not_done: u64,
}

struct Replay<'a, P> {
    options: &'a ReplayUnrecognized,
    output: &'a Output,
    plan: &'a Plan,
    publish: P,
    counts: Counts,
}

impl<P> Replay<'_, P>
where
    P: FnMut(OutgoingRecord) -> Result<(i32, i64), PublishError>,
{
    fn one(&mut self, kept: &ReadRecord, reread: Reread) -> Result<(), CliError> {
        let from = format!("{}/{}", kept.partition, kept.offset);
        match (self.plan.decided.get(&(kept.partition, kept.offset)), reread) {
            (Some(Decided::Goes { .. }), Reread::Event(event)) => self.publish(kept, &from, *event),
            (Some(Decided::Stays(stays)), _) => {
                self.stays(&from, stays);
                Ok(())
            }
            (Some(Decided::Replayed { topic, partition, offset }), _) => {
                self.stays(
                    &from,
                    format_args!(
                        "it was replayed as {topic} partition {partition} offset {offset}; --again \
                         publishes it all the same"
                    ),
                );
                Ok(())
            }
            (Some(Decided::NoTopic(topic)), _) => {
                let error = PublishError::UnknownTopic { topic: topic.clone() };
                self.counts.not_done += 1;
                self.output.line(format_args!("failed    {from}: {error}"));
                Ok(())
            }
            (Some(Decided::Part | Decided::Goes { .. }) | None, _) => Ok(()),
        }
    }

    /// What was named by its offset was meant to go.
    fn stays(&mut self, from: &str, why: impl std::fmt::Display) {
        let what = if self.options.which.range.offset.is_some() {
            self.counts.not_done += 1;
            "refused  "
        } else {
            self.counts.left_out += 1;
            "left out "
        };
        self.output.line(format_args!("{what} {from}: {why}"));
    }

    fn publish(
        &mut self,
        kept: &ReadRecord,
        from: &str,
        mut event: OutgoingRecord,
    ) -> Result<(), CliError> {
        let topic = event.topic.clone();
        if self.options.dry_run {
            self.counts.done += 1;
            let key = event.key.as_deref().map(String::from_utf8_lossy);
            let key = key.as_deref().unwrap_or("none");
            let bytes = event.payload.as_ref().map_or(0, Vec::len);
            self.output.line(format_args!("would go  {from} -> {topic}, key {key}, {bytes} bytes"));
            return Ok(());
        }
        let place = format!("{}/{from}", kept.topic);
        event.headers.push((REPLAYED_FROM.to_owned(), Some(place.into_bytes())));
        match (self.publish)(event) {
            Ok((partition, offset)) => {
                self.counts.done += 1;
                self.output.line(format_args!(
                    "replayed  {from} -> {topic} partition {partition} offset {offset}"
                ));
                Ok(())
            }
            Err(error) => {
                self.counts.not_done += 1;
                self.output.line(format_args!("failed    {from} -> {topic}: {error}"));
                match error {
                    PublishError::TooLarge { .. }
                    | PublishError::UnknownTopic { .. }
                    | PublishError::UnknownPartition { .. }
                    | PublishError::Refused { .. } => Ok(()),
                    // Kafka does not work: the next would only wait as long.
                    PublishError::TimedOut { .. } | PublishError::Retriable { .. } => {
                        Err(CliError::Failed(format!(
                            "{} replayed; stopped at {from}, which may have been written: look at \
                             `{topic}`, then run it again; what was replayed is left out",
                            self.counts.done
                        )))
                    }
                }
            }
        }
    }

    fn end(self) -> Result<(), CliError> {
        let Counts { done, left_out, not_done } = self.counts;
        let what = if self.options.dry_run { "would be replayed" } else { "replayed" };
        self.output.line(format_args!("{done} {what}, {} not", not_done + left_out));
        match (not_done, self.plan.complete) {
            (0, true) => Ok(()),
            (0, false) => Err(CliError::Failed("some of those named are gone".to_owned())),
            (..) => Err(CliError::Failed(format!("{not_done} were not replayed; each says why"))),
        }
    }
}
