//! From the spool to Kafka: the oldest first, nothing forgotten before it is acknowledged, and one
//! topic's trouble no other's.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::{MaybeDone, join_all, maybe_done};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Shared, store::Entry};
use crate::kafka::{PublishError, Publisher};

/// So many records, and so many of their bytes, are on their way to Kafka together.
const BATCH: usize = 256;
const BATCH_BYTES: u64 = 4 << 20;
/// How long Kafka is left alone after a failure: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a topic that takes nothing is left alone.
const HELD: Duration = Duration::from_secs(2);
/// How long Kafka may take to say that it is there.
const ASKED: Duration = Duration::from_secs(2);
/// How long a record may take to be acknowledged. Nobody waits for it over HTTP any more.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// When records that Kafka refused are tried again.
const ASIDE_AGAIN: Duration = Duration::from_secs(600);
/// How often the age of what waits is told.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Drains a spool.
#[derive(Debug)]
pub struct Drain {
    shared: Arc<Shared>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is in Kafka.
    Sent,
    /// The same again gives the same.
    TooLarge,
    /// Topic or record is not taken, until somebody changes something.
    Refused,
    /// Kafka did not take it now.
    Away,
}

fn fate(outcome: &Result<(i32, i64), PublishError>) -> Fate {
    match outcome {
        Ok(_) => Fate::Sent,
        Err(PublishError::TooLarge { .. }) => Fate::TooLarge,
        Err(
            PublishError::UnknownTopic { .. }
            | PublishError::UnknownPartition { .. }
            | PublishError::Refused { .. },
        ) => Fate::Refused,
        Err(PublishError::TimedOut { .. } | PublishError::Retriable { .. }) => Fate::Away,
    }
}

/// What follows from a batch.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// In Kafka: the spool need not keep them.
    sent: Vec<u64>,
    /// Never to be in Kafka as they are: kept apart, so that nothing waits for them.
    aside: Vec<u64>,
    /// Topics that take nothing now: their records stay.
    held: BTreeSet<String>,
    /// Something was not confirmed: Kafka may be away altogether.
    away: bool,
}

/// Decides. Within a topic a record counts as sent only if none before it is still to be sent: sent
/// again from there on, the last record of a document is again the last.
fn judge(batch: &[(u64, &str, Fate)]) -> Verdict {
    let mut topics: BTreeMap<&str, Vec<(u64, Fate)>> = BTreeMap::new();
    for (number, topic, fate) in batch {
        topics.entry(topic).or_default().push((*number, *fate));
    }
    let mut verdict = Verdict::default();
    for (topic, records) in topics {
        let known = records.iter().take_while(|(_, fate)| *fate != Fate::Away).count();
        if known < records.len() {
            verdict.away = true;
            verdict.held.insert(topic.to_owned());
        }
        // A topic that took a later record refuses the earlier for its own sake.
        let last_sent = records[..known].iter().rposition(|(_, fate)| *fate == Fate::Sent);
        for (at, (number, fate)) in records[..known].iter().enumerate() {
            match fate {
                Fate::Sent => verdict.sent.push(*number),
                Fate::TooLarge => verdict.aside.push(*number),
                Fate::Refused if last_sent > Some(at) => verdict.aside.push(*number),
                Fate::Refused | Fate::Away => {
                    verdict.held.insert(topic.to_owned());
                    break;
                }
            }
        }
    }
    verdict.sent.sort_unstable();
    verdict.aside.sort_unstable();
    verdict
}

/// What is to be done after a batch.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// There may be more.
    Go,
    /// Nothing waits that could be sent.
    Idle,
    /// Kafka, or the disk, does not work now.
    Pause,
}

/// One way through the spool, from its first record to its last.
#[derive(Debug, Default)]
struct Pass {
    /// The next record to be read.
    from: u64,
    /// Topics that take nothing: their records stay where they are.
    held: BTreeSet<String>,
    /// When those are tried again.
    retry_at: Option<Instant>,
    /// Topics that did not confirm: a single record finds out whether they are back. What times out
    /// may be in the log all the same, and would be there twice. (What is refused is not: there all
    /// are tried, and a later record that is taken shows that only the first is refused.)
    careful: BTreeSet<String>,
    /// Topics whose trouble was told already.
    told: BTreeSet<String>,
}

impl Pass {
    fn begin_again(&mut self) {
        (self.from, self.retry_at) = (0, None);
        self.held.clear();
    }

    /// What a batch taught about its topics.
    fn learn(&mut self, fates: &[(u64, &str, Fate)], verdict: &Verdict) {
        let away = fates.iter().filter(|(_, _, fate)| *fate == Fate::Away);
        let away: BTreeSet<_> = away.map(|(_, topic, _)| *topic).collect();
        for topic in fates.iter().map(|(_, topic, _)| *topic).collect::<BTreeSet<_>>() {
            if verdict.held.contains(topic) {
                self.held.insert(topic.to_owned());
            } else {
                self.told.remove(topic);
            }
            if away.contains(topic) {
                self.careful.insert(topic.to_owned());
            } else {
                self.careful.remove(topic);
            }
        }
    }

    /// Leaves what may be sent now; true when others of a topic that is tried were left out.
    fn choose(&self, entries: &mut Vec<Entry>) -> bool {
        let (mut tried, mut skipped) = (BTreeSet::new(), false);
        entries.retain(|entry| {
            let topic = &entry.record.topic;
            if self.held.contains(topic) {
                return false;
            }
            let sent = !self.careful.contains(topic) || tried.insert(topic.clone());
            skipped |= !sent;
            sent
        });
        skipped
    }
}

impl Drain {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Drains until `stop`. What is left then waits for the next start.
    pub async fn run(self, publisher: Publisher, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut aside_at = Instant::now() + ASIDE_AGAIN;
        let mut pass = Pass::default();
        while !stop.is_cancelled() {
            let now = Instant::now();
            if now >= aside_at {
                aside_at = now + ASIDE_AGAIN;
                self.take_up_again().await;
                pass.begin_again();
            }
            if pass.retry_at.is_some_and(|at| now >= at) {
                pass.begin_again();
            }
            let next = self.batch(&mut pass, &publisher).await;
            self.shared.report();
            let wait = match next {
                Next::Go => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Next::Idle => REPORT_EVERY,
                Next::Pause => {
                    pass.begin_again();
                    let this = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    this
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.shared.written.notified(), if next == Next::Idle => {}
                () = stop.cancelled() => {}
            }
        }
        let (waiting, aside) = {
            let contents = &self.shared.state().contents;
            (contents.waiting, contents.aside)
        };
        if waiting + aside > 0 {
            tracing::warn!(waiting, aside, "the spool keeps webhooks for the next start");
        }
    }

    async fn batch(&self, pass: &mut Pass, publisher: &Publisher) -> Next {
        let from = pass.from;
        let read = self.shared.blocking(move |store| store.read(from, BATCH, BATCH_BYTES)).await;
        let Ok(mut entries) = read else { return Next::Pause };
        let Some(last) = entries.last() else { return Next::Idle };
        pass.from = last.sequence + 1;
        let skipped = pass.choose(&mut entries);
        let sending =
            entries.iter().map(|entry| publisher.publish_in_order(&entry.record, PUBLISH_TIMEOUT));
        let outcomes = in_order(sending).await;
        let fates: Vec<_> = entries
            .iter()
            .zip(&outcomes)
            .map(|(entry, outcome)| (entry.sequence, entry.record.topic.as_str(), fate(outcome)))
            .collect();
        let verdict = judge(&fates);
        say(&mut pass.told, &verdict, &entries, &outcomes);
        if !verdict.held.is_empty() {
            pass.retry_at = pass.retry_at.or(Some(Instant::now() + HELD));
        }
        pass.learn(&fates, &verdict);
        let (sent, aside) = (verdict.sent, verdict.aside);
        let (nothing_sent, away) = (sent.is_empty(), verdict.away);
        if !(nothing_sent && aside.is_empty()) {
            if skipped {
                // Behind the one that found out there are more.
                pass.from = 0;
            }
            let settled = self.shared.blocking(move |store| store.settle(&sent, &aside)).await;
            if settled.is_err() {
                return Next::Pause;
            }
        }
        if away && nothing_sent {
            // The topics of this batch, or all of them?
            let topic =
                entries.first().map_or_else(String::new, |entry| entry.record.topic.clone());
            if publisher.reachable(topic, ASKED).await.is_err() {
                return Next::Pause;
            }
        }
        Next::Go
    }

    async fn take_up_again(&self) {
        if self.shared.state().contents.aside == 0 {
            return;
        }
        // A failure is noted, and this comes again.
        drop(self.shared.blocking(super::Store::take_up_again).await);
    }
}

/// Does all at once; each is begun, and so handed to the producer, before the next.
async fn in_order<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<Pin<Box<MaybeDone<F>>>> = all.map(|one| Box::pin(maybe_done(one))).collect();
    poll_fn(|context| {
        for one in &mut all {
            // One that is done at once keeps its output.
            let _done_at_once = one.as_mut().poll(context).is_ready();
        }
        Poll::Ready(())
    })
    .await;
    join_all(all.iter_mut().map(|one| one.as_mut())).await;
    all.iter_mut().filter_map(|one| one.as_mut().take_output()).collect()
}

/// Says loudly what a person has to mend; of a topic once, until it works again.
fn say(
    told: &mut BTreeSet<String>,
    verdict: &Verdict,
    entries: &[Entry],
    outcomes: &[Result<(i32, i64), PublishError>],
) {
    for (entry, outcome) in entries.iter().zip(outcomes) {
        let Err(error) = outcome else { continue };
        let sequence = entry.sequence;
        if verdict.aside.contains(&sequence) {
            tracing::error!(
                %error, sequence,
                "Kafka refuses a webhook of the spool for good; it is set aside there and tried \
                 again every ten minutes and at each start"
            );
        } else if told.insert(entry.record.topic.clone()) {
            tracing::error!(%error, "the topic's webhooks stay in the spool; others go on");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::kafka::OutgoingRecord;

    fn verdict(batch: &[(u64, &str, Fate)]) -> (Vec<u64>, Vec<u64>, Vec<String>, bool) {
        let Verdict { sent, aside, held, away } = judge(batch);
        (sent, aside, held.into_iter().collect(), away)
    }

    #[test]
    fn each_fate_has_its_consequence() {
        use Fate::{Away, Refused, Sent, TooLarge};
        let held = |topic: &str| vec![topic.to_owned()];
        // All well.
        assert_eq!(verdict(&[(1, "a", Sent), (2, "b", Sent)]), (vec![1, 2], vec![], vec![], false));
        // What comes behind an unsent one of its topic is sent again behind it.
        let batch = [(1, "a", Sent), (2, "a", Away), (3, "a", Sent), (4, "b", Sent)];
        assert_eq!(verdict(&batch), (vec![1, 4], vec![], held("a"), true));
        // Too large is never waited for.
        let batch = [(1, "a", TooLarge), (2, "a", Sent), (3, "b", TooLarge)];
        assert_eq!(verdict(&batch), (vec![2], vec![1, 3], vec![], false));
        // The topic refuses: its records stay, the others go on.
        let batch = [(1, "a", Refused), (2, "b", Sent), (3, "a", Refused)];
        assert_eq!(verdict(&batch), (vec![2], vec![], held("a"), false));
        // The record is refused: its neighbour was taken.
        let batch = [(1, "a", Refused), (2, "a", Sent), (3, "a", Refused)];
        assert_eq!(verdict(&batch), (vec![2], vec![1], held("a"), false));
        // What was sent behind one whose fate is open proves nothing.
        let batch = [(1, "a", Refused), (2, "a", Away), (3, "a", Sent)];
        assert_eq!(verdict(&batch), (vec![], vec![], held("a"), true));
    }

    fn entries(topics: &[&str]) -> Vec<Entry> {
        let record = |topic: &&str| OutgoingRecord { topic: (*topic).into(), ..Default::default() };
        let entry = |(sequence, topic)| Entry { sequence, record: record(topic) };
        (1..).zip(topics).map(entry).collect()
    }

    #[test]
    fn a_topic_that_does_not_confirm_is_tried_with_one_record_and_one_that_refuses_with_all() {
        let mut pass = Pass::default();
        let chosen = |pass: &Pass| {
            let mut all = entries(&["a", "a", "b", "b", "c"]);
            let skipped = pass.choose(&mut all);
            (all.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), skipped)
        };
        assert_eq!(chosen(&pass), (vec![1, 2, 3, 4, 5], false));
        let fates = [(1, "a", Fate::Away), (3, "b", Fate::Refused), (5, "c", Fate::Sent)];
        pass.learn(&fates, &judge(&fates));
        assert_eq!(chosen(&pass), (vec![5], false));
        pass.begin_again();
        assert_eq!(chosen(&pass), (vec![1, 3, 4, 5], true));
        // The dead topic turns out to be missing: refused, so all of it is tried.
        let fates = [(1, "a", Fate::Refused)];
        pass.learn(&fates, &judge(&fates));
        pass.begin_again();
        assert_eq!(chosen(&pass), (vec![1, 2, 3, 4, 5], false));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_overtakes(
            batch in vec((select(vec!["a", "b", "c"]), select(vec![
                Fate::Sent, Fate::TooLarge, Fate::Refused, Fate::Away,
            ])), 0..30)
        ) {
            let batch: Vec<_> =
                (1..).zip(batch).map(|(number, (topic, fate))| (number, topic, fate)).collect();
            let Verdict { sent, aside, held, .. } = judge(&batch);
            for topic in ["a", "b", "c"] {
                let mut kept = false;
                for (number, _, fate) in batch.iter().filter(|(_, of, _)| *of == topic) {
                    let (is_sent, is_aside) = (sent.contains(number), aside.contains(number));
                    // Only what Kafka confirmed leaves, only what it refused is set aside.
                    prop_assert!(!is_sent || *fate == Fate::Sent);
                    prop_assert!(!is_aside || matches!(fate, Fate::TooLarge | Fate::Refused));
                    // Behind one that is kept, all are kept.
                    prop_assert!(!(kept && (is_sent || is_aside)));
                    kept |= !is_sent && !is_aside;
                }
                // What is kept is tried again: at once, or when the topic is.
                prop_assert!(!kept || held.contains(topic));
            }
        }
    }
}
