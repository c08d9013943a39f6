//! How many calls an account may make in a time. Pure: the time is an argument.
//!
//! A plain token bucket that holds `count` lets nearly twice `count` through in one of the
//! vendor's windows: a full bucket and what flows in meanwhile. So each bucket remembers when it
//! gave its last `count` tokens, and gives the next one only when the one `count` before it is a
//! window old: in *no* window more than `count` calls begin.

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
    /// When the last tokens were or will be used, ascending, at most `count` of them.
    given: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl Bucket {
    /// How many in which window this process may make with its share.
    fn part(&self, share: f64) -> (usize, Duration) {
        let window = self.per + self.per / MARGIN;
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

    fn next(&self, now: Instant, share: f64) -> Instant {
        let (count, window) = self.part(share);
        let free = match self.given.len().checked_sub(count) {
            Some(index) => self.given.get(index).map_or(now, |given| *given + window),
            None => now,
        };
        // Never before one that was given earlier: callers are served in the order they came.
        let last = self.given.back().copied().unwrap_or(now);
        now.max(free).max(last).max(self.paused_until.unwrap_or(now))
    }

    fn take(&mut self, at: Instant) {
        while self.given.len() >= self.count as usize {
            self.given.pop_front();
        }
        self.given.push_back(at);
    }
}

/// The limits of one account.
#[derive(Debug)]
pub struct Limits {
    buckets: HashMap<String, Bucket>,
    share: f64,
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
        Self { buckets, share: 1.0 }
    }

    /// Sets this process's part of the limits, between 0 and 1.
    pub fn set_share(&mut self, share: f64) {
        self.share = if share.is_nan() { 1.0 } else { share.clamp(LEAST_SHARE, 1.0) };
    }

    /// Takes the next free place. `Ok` is when the call may begin; `Err` is when it could have
    /// begun at the earliest, where that is after `latest` (no place is taken then).
    pub fn reserve(
        &mut self,
        operation: &str,
        now: Instant,
        latest: Instant,
    ) -> Result<Instant, Instant> {
        let share = self.share;
        let Some(bucket) = self.bucket(operation) else { return Ok(now) };
        let at = bucket.next(now, share);
        if at > latest {
            return Err(at);
        }
        bucket.take(at);
        Ok(at)
    }

    /// The vendor said "too many": nothing of this operation begins before `until`.
    pub fn pause(&mut self, operation: &str, until: Instant) {
        if let Some(bucket) = self.bucket(operation) {
            bucket.paused_until = bucket.paused_until.max(Some(until));
        }
    }

    fn bucket(&mut self, operation: &str) -> Option<&mut Bucket> {
        let name = if self.buckets.contains_key(operation) { operation } else { EVERY_OTHER };
        self.buckets.get_mut(name)
    }
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
        let far = now + SECOND * 100;
        for _ in 0..3 {
            assert_eq!(limits.reserve("CREATE", now, far), Ok(now));
        }
        let next = now + Duration::from_millis(10_200);
        assert_eq!(limits.reserve("CREATE", now, now + SECOND), Err(next));
        assert_eq!(limits.reserve("CREATE", now, far), Ok(next), "a refused one took no place");
    }

    #[test]
    fn an_operation_without_a_limit_is_free_and_the_rest_share_one() {
        let now = Instant::now();
        let mut free = limits(1, SECOND);
        for _ in 0..10 {
            assert_eq!(free.reserve("OTHER", now, now), Ok(now));
        }
        let mut shared =
            Limits::new([("A".to_owned(), 1, SECOND), (EVERY_OTHER.to_owned(), 2, SECOND)]);
        assert!(shared.reserve("A", now, now).is_ok());
        assert!(shared.reserve("B", now, now).is_ok());
        assert!(shared.reserve("C", now, now).is_ok());
        assert!(shared.reserve("D", now, now).is_err());
    }

    #[test]
    fn the_share_counts_and_less_than_one_stretches_the_window() {
        let now = Instant::now();
        for (count, share, at_once, then) in
            [(100, 0.5, 50, 10_200), (10, 0.25, 2, 10_200), (2, 0.25, 1, 20_400)]
        {
            let mut limits = limits(count, SECOND * 10);
            limits.set_share(share);
            for _ in 0..at_once {
                assert_eq!(limits.reserve("CREATE", now, now), Ok(now));
            }
            let next = limits.reserve("CREATE", now, now).unwrap_err();
            assert_eq!(next - now, Duration::from_millis(then), "{count} at {share}");
        }
    }

    #[test]
    fn a_pause_holds_its_operation() {
        let now = Instant::now();
        let mut limits = limits(5, SECOND);
        limits.pause("CREATE", now + SECOND * 7);
        limits.pause("CREATE", now + SECOND * 3);
        assert_eq!(limits.reserve("CREATE", now, now + SECOND * 9), Ok(now + SECOND * 7));
    }

    proptest! {
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
                now += Duration::from_millis(wait);
                begun.push(limits.reserve("CREATE", now, now + SECOND * 3600).unwrap());
            }
            for (index, first) in begun.iter().enumerate() {
                let held = begun.iter().skip(index).filter(|at| **at < *first + SECOND).count();
                prop_assert!(held <= count as usize);
            }
        }
    }
}
