//! How long to wait before the next attempt, and when to give up.
//!
//! Exponential backoff with full jitter. A ceiling in attempts and one in elapsed time; what an
//! open circuit is to blame for counts towards neither, or an outage would drain a topic into
//! dead letters.

use std::{ops::ControlFlow, time::Duration};

/// The ceilings and the backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The most attempts, the first included.
    pub max_attempts: u32,
    /// The most time from the first attempt on.
    pub max_elapsed: Duration,
    /// The longest wait after the first failure; it doubles with each further one.
    pub initial_backoff: Duration,
    /// The longest wait at all.
    pub max_backoff: Duration,
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `max_attempts` have failed.
    Attempts,
    /// The next attempt would come after `max_elapsed`.
    Elapsed,
}

/// The failures of one command so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retry {
    failures: u32,
    spent: Duration,
    /// What the last failure cost, kept apart until it is known whether it counts.
    last: Option<Duration>,
}

impl Retry {
    /// An attempt failed after `took`. Says how long to wait, or why not to go on.
    ///
    /// `random` is from `0.0..1.0`; `retry_after` is what the vendor asked for and is never
    /// undercut, only spread, so that its clients do not all come back in one moment.
    pub fn failed(
        &mut self,
        policy: &Policy,
        took: Duration,
        retry_after: Option<Duration>,
        random: f64,
    ) -> ControlFlow<Stop, Duration> {
        let wait = match retry_after {
            Some(asked) => asked.saturating_add(policy.initial_backoff.mul_f64(fraction(random))),
            None => self.backoff(policy).mul_f64(fraction(random)),
        };
        let cost = took.saturating_add(wait);
        self.failures += 1;
        self.spent = self.spent.saturating_add(cost);
        self.last = Some(cost);
        if self.failures >= policy.max_attempts {
            ControlFlow::Break(Stop::Attempts)
        } else if self.spent > policy.max_elapsed {
            ControlFlow::Break(Stop::Elapsed)
        } else {
            ControlFlow::Continue(wait)
        }
    }

    /// The circuit is open: the last failure was one of those that opened it, or a probe, and
    /// does not count.
    pub fn forgive(&mut self) {
        if let Some(cost) = self.last.take() {
            self.failures -= 1;
            self.spent -= cost;
        }
    }

    /// How many failures count.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The longest wait before the next attempt.
    fn backoff(&self, policy: &Policy) -> Duration {
        let doubled = 2u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        policy.initial_backoff.saturating_mul(doubled).min(policy.max_backoff)
    }
}

fn fraction(random: f64) -> f64 {
    if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        max_attempts: 8,
        max_elapsed: Duration::from_secs(600),
        initial_backoff: Duration::from_millis(500),
        max_backoff: Duration::from_secs(30),
    };

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_attempts_end() {
        for (random, waits) in [
            (1.0, [500, 1000, 2000, 4000, 8000, 16000, 30000]),
            (0.5, [250, 500, 1000, 2000, 4000, 8000, 15000]),
            (0.0, [0; 7]),
            (f64::NAN, [500, 1000, 2000, 4000, 8000, 16000, 30000]),
        ] {
            let mut retry = Retry::default();
            for wait in waits {
                let said = retry.failed(&POLICY, millis(10), None, random);
                assert_eq!(said, ControlFlow::Continue(millis(wait)));
            }
            let said = retry.failed(&POLICY, millis(10), None, random);
            assert_eq!(said, ControlFlow::Break(Stop::Attempts));
        }
    }

    #[test]
    fn what_the_vendor_asks_for_is_never_undercut() {
        let mut retry = Retry::default();
        let asked = Some(Duration::from_secs(90));
        for (random, wait) in [(0.0, 90_000), (0.5, 90_250)] {
            let said = retry.failed(&POLICY, Duration::ZERO, asked, random);
            assert_eq!(said, ControlFlow::Continue(millis(wait)));
        }
        let said = retry.failed(&POLICY, Duration::ZERO, Some(Duration::MAX), 1.0);
        assert_eq!(said, ControlFlow::Break(Stop::Elapsed));
    }

    #[test]
    fn elapsed_time_ends_it() {
        let mut retry = Retry::default();
        let took = Duration::from_secs(299);
        assert_eq!(retry.failed(&POLICY, took, None, 1.0), ControlFlow::Continue(millis(500)));
        assert_eq!(
            retry.failed(&POLICY, took, None, 1.0),
            ControlFlow::Continue(Duration::from_secs(1))
        );
        assert_eq!(
            retry.failed(&POLICY, millis(1), None, 0.0),
            ControlFlow::Continue(Duration::ZERO)
        );
        assert_eq!(retry.failed(&POLICY, took, None, 0.0), ControlFlow::Break(Stop::Elapsed));
    }

    #[test]
    fn a_failure_that_opened_the_circuit_does_not_count() {
        let mut retry = Retry::default();
        for _ in 0..1000 {
            assert!(retry.failed(&POLICY, Duration::from_secs(300), None, 1.0).is_continue());
            retry.forgive();
            retry.forgive();
        }
        assert_eq!(retry, Retry::default());
    }

    /// What befalls an attempt.
    #[derive(Debug, Clone)]
    enum Blow {
        /// It failed: how long it took, what the vendor asked for, the random number.
        Failed(Duration, Option<Duration>, f64),
        /// The circuit was found open.
        Forgiven,
    }

    fn blow() -> impl Strategy<Value = Blow> {
        let asked = proptest::option::of((0u64..200_000).prop_map(millis));
        let failed = ((0u64..40_000).prop_map(millis), asked, 0.0..1.0)
            .prop_map(|(took, asked, random)| Blow::Failed(took, asked, random));
        prop_oneof![4 => failed, 1 => Just(Blow::Forgiven)]
    }

    fn policy() -> impl Strategy<Value = Policy> {
        (1u32..12, 0u64..2_000_000, 0u64..2_000, 0u64..60_000).prop_map(
            |(max_attempts, elapsed, initial, longest)| Policy {
                max_attempts,
                max_elapsed: millis(elapsed),
                initial_backoff: millis(initial),
                max_backoff: millis(longest),
            },
        )
    }

    proptest! {
        /// Whatever happens: no wait is longer than the policy and the vendor ask for, none is
        /// shorter than the vendor asks for, and neither ceiling is passed by what counts.
        #[test]
        fn waits_and_ceilings_hold(
            policy in policy(),
            blows in prop::collection::vec(blow(), 0..60),
        ) {
            let mut retry = Retry::default();
            // What counts, kept in the simplest way: the cost of each failure.
            let mut counted: Vec<Duration> = Vec::new();
            let mut forgivable = false;
            for blow in blows {
                let Blow::Failed(took, asked, random) = blow else {
                    retry.forgive();
                    if std::mem::take(&mut forgivable) {
                        counted.pop();
                    }
                    prop_assert_eq!(retry.failures() as usize, counted.len());
                    continue;
                };
                let doublings = i32::try_from(counted.len()).unwrap();
                let longest = policy.initial_backoff.as_secs_f64() * 2f64.powi(doublings);
                let longest = longest.min(policy.max_backoff.as_secs_f64());
                let said = retry.failed(&policy, took, asked, random);
                let wait = match asked {
                    Some(asked) => asked + policy.initial_backoff.mul_f64(random),
                    None => Duration::from_secs_f64(longest * random),
                };
                counted.push(took + wait);
                forgivable = true;
                let spent: Duration = counted.iter().sum();
                match said {
                    ControlFlow::Continue(said) => {
                        let apart = said.abs_diff(wait);
                        prop_assert!(apart < millis(1), "{said:?}, not {wait:?}");
                        prop_assert!(asked.is_none_or(|asked| said >= asked));
                        prop_assert!(counted.len() < policy.max_attempts as usize);
                        prop_assert!(spent <= policy.max_elapsed + millis(60));
                    }
                    ControlFlow::Break(Stop::Attempts) => {
                        prop_assert!(counted.len() >= policy.max_attempts as usize);
                    }
                    ControlFlow::Break(Stop::Elapsed) => {
                        prop_assert!(spent + millis(60) > policy.max_elapsed);
                    }
                }
            }
        }
    }
}
