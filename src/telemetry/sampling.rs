//! What is told again and again is told a few times a minute, and counted: a stranger's refusals, or a
//! broker that is away, must not fill the log.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one kind, in each of these.
const WINDOW: Duration = Duration::from_secs(60);
/// So many lines of one kind.
const LINES: u32 = 10;
/// Of the Kafka client, which says the same of each broker and each attempt.
const LINES_OF_KAFKA: u32 = 1;
/// So many kinds are told apart; all further ones are one.
const KINDS: usize = 1_024;
/// The part of a line that stands for its kind.
const SAMPLE_CHARS: usize = 120;

/// The target of librdkafka's own lines.
const KAFKA: &str = "librdkafka";
/// The target of the lines that say how many were left out.
const ABOUT: &str = "wms_connector::log";

/// What one kind of line has used up.
#[derive(Debug)]
struct Used {
    since: Instant,
    told: u32,
    left_out: u64,
    sample: String,
}

/// Decides which lines are told. Pure over the time.
#[derive(Debug, Default)]
struct Budget {
    kinds: HashMap<u64, Used>,
}

/// So many lines of a kind were left out.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    count: u64,
    sample: String,
}

impl Budget {
    /// Whether a line is told.
    fn admit(
        &mut self,
        kind: u64,
        lines: u32,
        now: Instant,
        sample: impl FnOnce() -> String,
    ) -> bool {
        let kind = match self.kinds.contains_key(&kind) || self.kinds.len() < KINDS {
            true => kind,
            false => 0,
        };
        let used = self.kinds.entry(kind).or_insert_with(|| Used {
            since: now,
            told: 0,
            left_out: 0,
            sample: String::new(),
        });
        if used.told < lines {
            if used.told == 0 {
                used.sample = sample();
            }
            used.told += 1;
            return true;
        }
        used.left_out += 1;
        false
    }

    /// What was left out in the windows that are over; they begin anew.
    fn over(&mut self, now: Instant) -> Vec<LeftOut> {
        let mut all = Vec::new();
        self.kinds.retain(|_, used| {
            if now.saturating_duration_since(used.since) < WINDOW {
                return true;
            }
            if used.left_out == 0 {
                return false;
            }
            all.push(LeftOut { count: used.left_out, sample: used.sample.clone() });
            // It goes on: the next line of it is told, and no earlier than that.
            (used.since, used.told, used.left_out) = (now, 0, 0);
            true
        });
        all
    }
}

/// The filter of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Sampling {
    budget: Arc<Mutex<Budget>>,
}

impl Sampling {
    /// Says each minute what was left out, as long as the process lives.
    pub(super) fn tell(&self) -> std::io::Result<()> {
        let budget = Arc::clone(&self.budget);
        std::thread::Builder::new().name("log-sampling".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(WINDOW / 4);
                let over = lock(&budget).over(Instant::now());
                for LeftOut { count, sample } in over {
                    tracing::warn!(target: ABOUT, count, like = sample, "lines were left out");
                }
            }
        })?;
        Ok(())
    }
}

fn lock(budget: &Mutex<Budget>) -> std::sync::MutexGuard<'_, Budget> {
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Subscriber> Filter<S> for Sampling {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // What is finer was asked for.
        if *metadata.level() > Level::WARN || metadata.target() == ABOUT {
            return true;
        }
        let mut kind = Kind { hasher: DefaultHasher::new(), message: String::new() };
        metadata.callsite().hash(&mut kind.hasher);
        event.record(&mut kind);
        let lines = if metadata.target() == KAFKA { LINES_OF_KAFKA } else { LINES };
        let Kind { hasher, message } = kind;
        let sample = || message.chars().take(SAMPLE_CHARS).collect();
        lock(&self.budget).admit(hasher.finish(), lines, Instant::now(), sample)
    }
}

/// Lines are of one kind by where they come from, whose they are, and what the client calls them.
struct Kind {
    hasher: DefaultHasher,
    message: String,
}

impl Visit for Kind {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "account" | "facility" | "topic" | "partition" => {
                (field.name(), format!("{value:?}")).hash(&mut self.hasher);
            }
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::{Layer, layer::SubscriberExt as _};

    use super::*;

    #[test]
    fn a_kind_has_so_many_lines_a_minute_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut budget = Budget::default();
        let told = |budget: &mut Budget, kind, times: u32, now| {
            (0..times).filter(|_| budget.admit(kind, 2, now, || format!("line {kind}"))).count()
        };
        assert_eq!(told(&mut budget, 1, 5, start), 2);
        assert_eq!(told(&mut budget, 2, 2, start), 2);
        assert_eq!(budget.over(start + WINDOW / 2), []);
        assert_eq!(told(&mut budget, 1, 1, start + WINDOW / 2), 0);
        let over = budget.over(start + WINDOW);
        assert_eq!(over, [LeftOut { count: 4, sample: "line 1".to_owned() }]);
        assert_eq!(told(&mut budget, 1, 5, start + WINDOW), 2);
        // What is told no more is forgotten.
        budget.over(start + WINDOW * 2);
        budget.over(start + WINDOW * 3);
        assert!(budget.kinds.is_empty());
    }

    #[test]
    fn kinds_are_bounded() {
        let start = Instant::now();
        let mut budget = Budget::default();
        let told = (1..10_000u64).filter(|kind| budget.admit(*kind, 1, start, String::new)).count();
        assert_eq!(told, KINDS + 1);
        assert_eq!(budget.kinds.len(), KINDS + 1);
    }

    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_flood_is_cut_and_other_accounts_are_heard() {
        let count = Arc::new(AtomicUsize::new(0));
        let layer = Count(Arc::clone(&count)).with_filter(Sampling::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..100 {
                for account in ["a", "b"] {
                    tracing::warn!(%account, "a webhook was refused");
                }
                tracing::warn!(target: "librdkafka", facility = "FAIL", "127.0.0.1:9092: refused");
                tracing::info!("a line for each");
            }
        });
        let expected = 2 * LINES as usize + LINES_OF_KAFKA as usize + 100;
        assert_eq!(count.load(Ordering::SeqCst), expected);
    }
}
