//! How many calls an account may make in a time. Pure: the time is an argument.
//!
//! A plain token bucket that holds `count` lets nearly twice `count` through in one of the
//! vendor's windows: a full bucket and what flows in meanwhile. So each bucket remembers when it
//! gave its last `count` tokens, and gives the next one only when the one `count` before it is a
//! window old: in *no* window more than `count` calls begin.
//!
//! A token is used when a call begins, never before: a bucket cannot know which of those that wait
//! will be dropped, and a token that was kept for one of them is lost to all others. Who waits, and
//! in which order, is `line`'s business.
//!
//! Several processes share a limit. A part that is taken over may have been used up by its owner
//! before, a moment ago: a larger share holds only once it is a window old.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// The name under which a limit holds for all operations that have none of their own, together.
pub const EVERY_OTHER: &str = "*";

/// The windows are longer than the vendor's by this part, so that calls that travel with
/// different speed do not meet in one of the vendor's windows.
const MARGIN: u32 = 50;

/// A process that owns no partition may still make a call now and then (`check`, a token).
const LEAST_SHARE: f64 = 0.001;

/// One bucket.
#[derive(Debug)]
struct Bucket {
    count: u32,
    per: Duration,
    /// When the last tokens were used, ascending, at most `count` of them.
    given: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl Bucket {
    /// The vendor's window, and a little.
    fn window(&self) -> Duration {
        self.per + self.per / MARGIN
    }

    /// How many in which window this process may make with its share.
    fn part(&self, share: f64) -> (usize, Duration) {
        let window = self.window();
        let part = f64::from(self.count) * share;
        if part >= 1.0 {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and `count`, which is a u32"
            )]
            let count = part as usize;
            (count, window)
        } else {
            (1, window.div_f64(part))
        }
    }

    fn next(&self, now: Instant, shares: &Shares) -> Instant {
        let window = self.window();
        let risen = shares.rises(window).filter(|at| *at > now);
        let later = risen.map(|at| at.max(self.next_with(now, shares.least(at, window))));
        later.fold(self.next_with(now, shares.least(now, window)), Instant::min)
    }

    fn next_with(&self, now: Instant, share: f64) -> Instant {
        let (count, window) = self.part(share);
        let free = match self.given.len().checked_sub(count) {
            Some(index) => self.given.get(index).map_or(now, |given| *given + window),
            None => now,
        };
        now.max(free).max(self.paused_until.unwrap_or(now))
    }

    fn take(&mut self, at: Instant) {
        while self.given.len() >= self.count as usize {
            self.given.pop_front();
        }
        self.given.push_back(at);
    }
}

/// The share of this process, as long as an earlier one still counts.
#[derive(Debug)]
struct Shares {
    /// Before the first change.
    first: f64,
    /// Since when which, ascending.
    changes: VecDeque<(Instant, f64)>,
    told: bool,
}

impl Shares {
    fn new() -> Self {
        Self { first: 1.0, changes: VecDeque::new(), told: false }
    }

    /// `longest` is the longest window of a bucket.
    fn set(&mut self, share: f64, now: Instant, longest: Duration) {
        while self.changes.front().is_some_and(|(since, _)| *since + longest <= now) {
            self.first = self.changes.pop_front().map_or(self.first, |(_, share)| share);
        }
        if self.told {
            self.changes.push_back((now, share));
        } else {
            // A process that begins has used nothing, and cannot know what others have.
            self.first = share;
            self.told = true;
        }
    }

    /// The least that held within the window before `at`.
    fn least(&self, at: Instant, window: Duration) -> f64 {
        let ends = self.changes.iter().map(|(since, _)| Some(*since)).chain([None]);
        let shares = [self.first].into_iter().chain(self.changes.iter().map(|(_, share)| *share));
        let counts = |end: Option<Instant>| end.is_none_or(|end| end + window > at);
        shares.zip(ends).filter(|(_, end)| counts(*end)).map(|(share, _)| share).fold(1.0, f64::min)
    }

    /// When a share counts no more.
    fn rises(&self, window: Duration) -> impl Iterator<Item = Instant> {
        self.changes.iter().map(move |(since, _)| *since + window)
    }
}

/// The limits of one account.
#[derive(Debug)]
pub struct Limits {
    buckets: HashMap<String, Bucket>,
    shares: Shares,
}

impl Limits {
    /// Limits by operation; [`EVERY_OTHER`] is one bucket for all that are not named.
    pub fn new(limits: impl IntoIterator<Item = (String, u32, Duration)>) -> Self {
        let buckets = limits
            .into_iter()
            .map(|(operation, count, per)| {
                let count = count.max(1);
                (operation, Bucket { count, per, given: VecDeque::new(), paused_until: None })
            })
            .collect();
        Self { buckets, shares: Shares::new() }
    }

    /// Sets this process's part of the limits, between 0 and 1. A smaller one holds at once, a
    /// larger one after a window.
    pub fn set_share(&mut self, share: f64, now: Instant) {
        let share = if share.is_nan() { 1.0 } else { share.clamp(LEAST_SHARE, 1.0) };
        let longest = self.buckets.values().map(Bucket::window).max().unwrap_or_default();
        self.shares.set(share, now, longest);
    }

    /// The names of the buckets.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.buckets.keys()
    }

    /// The name of the bucket that an operation's calls use; `None` where nothing limits them.
    pub fn bucket_name(&self, operation: &str) -> Option<&str> {
        let name = if self.buckets.contains_key(operation) { operation } else { EVERY_OTHER };
        self.buckets.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// When the next call of this operation may begin: `now`, or later. Takes nothing.
    pub fn next(&self, operation: &str, now: Instant) -> Instant {
        let bucket = self.bucket_name(operation).and_then(|name| self.buckets.get(name));
        bucket.map_or(now, |bucket| bucket.next(now, &self.shares))
    }

    /// A call of this operation begins now, if it may: uses a token and says so.
    pub fn take(&mut self, operation: &str, now: Instant) -> bool {
        if self.next(operation, now) > now {
            return false;
        }
        if let Some(bucket) = bucket(&mut self.buckets, operation) {
            bucket.take(now);
        }
        true
    }

    /// The vendor said "too many": nothing of this operation begins before `until`.
    pub fn pause(&mut self, operation: &str, until: Instant) {
        if let Some(bucket) = bucket(&mut self.buckets, operation) {
            bucket.paused_until = bucket.paused_until.max(Some(until));
        }
    }
}

fn bucket<'a>(buckets: &'a mut HashMap<String, Bucket>, operation: &str) -> Option<&'a mut Bucket> {
    let name = if buckets.contains_key(operation) { operation } else { EVERY_OTHER };
    buckets.get_mut(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(count: u32, per: Duration) -> Limits {
        Limits::new([("CREATE".to_owned(), count, per)])
    }

    #[test]
    fn a_burst_up_to_the_limit_goes_at_once_and_the_next_waits_a_window() {
        let now = Instant::now();
        let mut limits = limits(3, SECOND * 10);
        for _ in 0..3 {
            assert!(limits.take("CREATE", now));
        }
        let next = now + Duration::from_millis(10_200);
        for _ in 0..5 {
            assert!(!limits.take("CREATE", now));
            assert_eq!(limits.next("CREATE", now), next, "one that asks takes nothing");
        }
        assert!(!limits.take("CREATE", next - Duration::from_millis(1)));
        assert!(limits.take("CREATE", next));
    }

    #[test]
    fn an_operation_without_a_limit_is_free_and_the_rest_share_one() {
        let now = Instant::now();
        let mut free = limits(1, SECOND);
        for _ in 0..10 {
            assert!(free.take("OTHER", now));
        }
        let mut shared =
            Limits::new([("A".to_owned(), 1, SECOND), (EVERY_OTHER.to_owned(), 2, SECOND)]);
        assert!(shared.take("A", now));
        assert!(shared.take("B", now));
        assert!(shared.take("C", now));
        assert!(!shared.take("D", now));
    }

    #[test]
    fn the_share_counts_and_less_than_one_stretches_the_window() {
        let now = Instant::now();
        for (count, share, at_once, then) in
            [(100, 0.5, 50, 10_200), (10, 0.25, 2, 10_200), (2, 0.25, 1, 20_400)]
        {
            let mut limits = limits(count, SECOND * 10);
            limits.set_share(share, now);
            for _ in 0..at_once {
                assert!(limits.take("CREATE", now));
            }
            let next = limits.next("CREATE", now);
            assert_eq!(next - now, Duration::from_millis(then), "{count} at {share}");
        }
    }

    #[test]
    fn a_smaller_share_holds_at_once_and_a_larger_one_after_a_window() {
        let now = Instant::now();
        let at = |millis: u64| now + Duration::from_millis(millis);
        let mut limits = limits(100, SECOND * 10);
        limits.set_share(0.1, now);
        let take = |limits: &mut Limits, millis| {
            (0..200).take_while(|_| limits.take("CREATE", at(millis))).count()
        };
        assert_eq!(take(&mut limits, 0), 10);
        limits.set_share(0.9, at(1_000));
        limits.set_share(0.5, at(2_000));
        assert_eq!(take(&mut limits, 11_199), 10, "0.1 held until 1 s");
        assert_eq!(take(&mut limits, 11_200), 40, "0.5 is the least since");
        limits.set_share(0.0, at(30_000));
        limits.set_share(1.0, at(31_000));
        // The answer is when a call can begin, not when it could with the share of now.
        assert_eq!(limits.next("CREATE", at(31_000)), at(41_200));
        assert_eq!(take(&mut limits, 31_000), 0);
        assert_eq!(take(&mut limits, 41_200), 100);
    }

    #[test]
    fn a_pause_holds_its_operation() {
        let now = Instant::now();
        let mut limits = limits(5, SECOND);
        limits.pause("CREATE", now + SECOND * 7);
        limits.pause("CREATE", now + SECOND * 3);
        assert_eq!(limits.next("CREATE", now), now + SECOND * 7);
    }

    proptest! {
        /// Nor does any window where partitions go from process to process in its middle.
        #[test]
        fn no_window_holds_more_when_shares_change_hands(
            owners in prop::collection::vec(prop::collection::vec(0usize..3, 4), 1..8),
            steps in prop::collection::vec((0u64..600, 0usize..3, any::<bool>()), 1..200),
        ) {
            const COUNT: u32 = 20;
            let mut now = Instant::now();
            let mut processes: Vec<_> = (0..3).map(|_| limits(COUNT, SECOND)).collect();
            let mut owners = owners.into_iter().cycle();
            let mut own = |processes: &mut [Limits], now| {
                let owner = owners.next().unwrap();
                for (index, process) in processes.iter_mut().enumerate() {
                    let owned = owner.iter().filter(|owner| **owner == index).count();
                    process.set_share(owned as f64 / 4.0, now);
                }
            };
            own(&mut processes, now);
            let mut begun = Vec::new();
            for (wait, process, changes) in steps {
                now += Duration::from_millis(wait);
                if changes {
                    own(&mut processes, now);
                }
                // As many as it can.
                while processes[process].take("CREATE", now) {
                    begun.push(now);
                }
            }
            for (index, first) in begun.iter().enumerate() {
                let held = begun.iter().skip(index).filter(|at| **at < *first + SECOND).count();
                // One who owns nothing may still make a call now and then.
                prop_assert!(held <= COUNT as usize + processes.len(), "{held}");
            }
        }

        /// In no window of the documented length do more calls begin than the vendor allows.
        #[test]
        fn no_window_holds_more_than_its_count(
            count in 1u32..20,
            waits in prop::collection::vec(0u64..400, 1..300),
        ) {
            let mut now = Instant::now();
            let mut limits = limits(count, SECOND);
            let mut begun = Vec::new();
            for wait in waits {
                now = limits.next("CREATE", now + Duration::from_millis(wait));
                prop_assert!(limits.take("CREATE", now), "it may begin when it is said to");
                begun.push(now);
            }
            for (index, first) in begun.iter().enumerate() {
                let held = begun.iter().skip(index).filter(|at| **at < *first + SECOND).count();
                prop_assert!(held <= count as usize);
            }
        }
    }
}
