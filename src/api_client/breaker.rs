//! One circuit breaker. Pure: the time is an argument.
//!
//! ```text
//!           `failures` in a row               `probe_after` later
//! closed ───────────────────────▶ open ───────────────────────────▶ half-open: one probe
//!    ▲                              ▲                                   │      │
//!    │ slow start                   └────────────── failed ─────────────┘      │
//!    └─────────────────────────────────── succeeded ───────────────────────────┘
//! ```
//!
//! After closing, the backlog drains without a stampede: two calls may run at once, one more with
//! each success, so that the concurrency doubles with each round trip until it is full again.
//!
//! One command whose call fails whatever the vendor does must not be the probe again and again,
//! while the others, whose calls would succeed, wait: a command whose probe failed leaves the next
//! one to the others, and is the probe again only where none of them came.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The state as the metric `wms_circuit_state` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    HalfOpen,
    Open,
}

impl CircuitState {
    /// The metric's value: 0 closed, 1 half-open, 2 open.
    pub const fn value(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// When the circuit opens and closes (`[commands.circuit]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitSettings {
    /// So many failures in a row open the circuit.
    pub failures: u32,
    /// So long after opening, one probe is let through.
    pub probe_after: Duration,
    /// The slow start ends when so many calls may run at once.
    pub full_concurrency: u32,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        Self { failures: 5, probe_after: Duration::from_secs(10), full_concurrency: 256 }
    }
}

/// The right to make one call; it is given back with what became of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// The outcome of a call that began before the circuit last changed says nothing about now.
    epoch: u64,
    /// Whether the slow start counts this call.
    counted: bool,
}

/// The answer to "may I call?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Granted(Passage),
    /// The slow start is full: ask again when a call has ended.
    Wait,
    /// The circuit is open: ask again at this time.
    Refused {
        until: Instant,
    },
}

/// A half-open circuit whose probe is out is asked again after at most this long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The concurrency right after the probe succeeded.
const SLOW_START: u32 = 2;

/// So many commands whose probe failed are remembered. An outage of hours has more probes than
/// that; those whose turn was longest ago may then have another.
const PROBED: usize = 256;

#[derive(Debug)]
enum State {
    Closed {
        failures: u32,
        slow_start: Option<SlowStart>,
    },
    /// Half-open once `until` has passed.
    Open {
        until: Instant,
    },
    /// The one probe is out: a call of this command.
    Probing {
        command: u64,
    },
}

#[derive(Debug)]
struct SlowStart {
    allowed: u32,
    running: u32,
}

/// The breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: CircuitSettings,
    state: State,
    epoch: u64,
    /// The commands whose probe failed since the circuit was closed, at most [`PROBED`].
    probed: VecDeque<u64>,
}

impl Breaker {
    /// A closed circuit at full concurrency.
    pub fn new(settings: CircuitSettings) -> Self {
        let state = State::Closed { failures: 0, slow_start: None };
        Self { settings, state, epoch: 0, probed: VecDeque::new() }
    }

    /// Whether it is closed, at full concurrency.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Closed { slow_start: None, .. })
    }

    /// Whether the passage was given since the circuit last changed.
    pub fn is_current(&self, passage: Passage) -> bool {
        passage.epoch == self.epoch
    }

    /// What the metric shows.
    pub fn state(&self, now: Instant) -> CircuitState {
        match self.state {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { until } if now < until => CircuitState::Open,
            State::Open { .. } | State::Probing { .. } => CircuitState::HalfOpen,
        }
    }

    /// When a call of this command may be tried, without taking a passage; `None` where one may be
    /// now or as soon as a running one ends.
    pub fn refused_until(&self, now: Instant, command: u64) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } if self.probed.contains(&command) => {
                Some(until + self.settings.probe_after).filter(|until| now < *until)
            }
            State::Open { until } => (now < until).then_some(until),
            State::Probing { .. } => Some(now + ASK_AGAIN.min(self.settings.probe_after)),
        }
    }

    /// Asks for one call of this command.
    pub fn admit(&mut self, now: Instant, command: u64) -> Admission {
        if let Some(until) = self.refused_until(now, command) {
            return Admission::Refused { until };
        }
        let counted = match &mut self.state {
            State::Closed { slow_start: None, .. } => false,
            State::Closed { slow_start: Some(slow), .. } => {
                if slow.running >= slow.allowed {
                    return Admission::Wait;
                }
                slow.running += 1;
                true
            }
            State::Open { .. } | State::Probing { .. } => {
                self.change(State::Probing { command });
                false
            }
        };
        Admission::Granted(Passage { epoch: self.epoch, counted })
    }

    /// The vendor is there: it answered, with whatever.
    pub fn succeeded(&mut self, passage: Passage) {
        if passage.epoch != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed { failures, slow_start } => {
                *failures = 0;
                if let Some(slow) = slow_start {
                    slow.running = slow.running.saturating_sub(u32::from(passage.counted));
                    slow.allowed = slow.allowed.saturating_add(1);
                    if slow.allowed >= self.settings.full_concurrency {
                        *slow_start = None;
                    }
                }
            }
            State::Probing { .. } => {
                let slow = SlowStart { allowed: SLOW_START, running: 0 };
                self.probed.clear();
                self.change(State::Closed { failures: 0, slow_start: Some(slow) });
            }
            State::Open { .. } => {}
        }
    }

    /// The vendor is not able now. `at_least`: how long it asked to be left alone (`Retry-After`).
    pub fn failed(&mut self, passage: Passage, now: Instant, at_least: Option<Duration>) {
        if passage.epoch == self.epoch {
            self.leave(passage);
            self.failed_beside(now, at_least);
        }
    }

    /// It was opened by mistake: closed, as if nothing had happened.
    pub fn reset(&mut self) {
        self.probed.clear();
        self.change(State::Closed { failures: 0, slow_start: None });
    }

    /// The call says nothing about the vendor, but for a probe: it did not show that the vendor
    /// works.
    pub fn undecided(&mut self, passage: Passage, now: Instant, at_least: Option<Duration>) {
        if passage.epoch == self.epoch {
            match self.state {
                State::Probing { .. } => self.failed_beside(now, at_least),
                State::Closed { .. } | State::Open { .. } => self.leave(passage),
            }
        }
    }

    /// A call outside the circuit failed (a token could not be renewed).
    pub fn failed_beside(&mut self, now: Instant, at_least: Option<Duration>) {
        let pause = self.settings.probe_after.max(at_least.unwrap_or_default());
        match &mut self.state {
            State::Closed { failures, slow_start } => {
                *failures = failures.saturating_add(1);
                if let Some(slow) = slow_start {
                    slow.allowed = (slow.allowed / 2).max(1);
                }
                if *failures >= self.settings.failures {
                    self.trip(now, pause);
                }
            }
            State::Probing { command } => {
                let command = *command;
                self.probed.retain(|probed| *probed != command);
                if self.probed.len() >= PROBED {
                    self.probed.pop_front();
                }
                self.probed.push_back(command);
                self.trip(now, pause);
            }
            State::Open { .. } => {}
        }
    }

    /// The call ended, or was given up, and nobody knows what it says about the vendor.
    pub fn released(&mut self, passage: Passage, now: Instant) {
        if passage.epoch != self.epoch {
            return;
        }
        if matches!(self.state, State::Probing { .. }) {
            // No one will answer for this probe: the next one may go at once.
            self.change(State::Open { until: now });
        } else {
            self.leave(passage);
        }
    }

    /// Opens the circuit for so long, whatever it was.
    pub fn trip(&mut self, now: Instant, pause: Duration) {
        self.change(State::Open { until: now + pause });
    }

    /// Lets the next call be the probe, at once.
    pub fn probe_now(&mut self, now: Instant) {
        if matches!(self.state, State::Open { .. }) {
            self.change(State::Open { until: now });
        }
    }

    fn leave(&mut self, passage: Passage) {
        if let State::Closed { slow_start: Some(slow), .. } = &mut self.state {
            slow.running = slow.running.saturating_sub(u32::from(passage.counted));
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    const SETTINGS: CircuitSettings =
        CircuitSettings { failures: 3, probe_after: Duration::from_secs(10), full_concurrency: 16 };

    /// A command like no other before.
    fn fresh() -> u64 {
        static COMMANDS: AtomicU64 = AtomicU64::new(0);
        COMMANDS.fetch_add(1, Ordering::Relaxed)
    }

    fn granted(breaker: &mut Breaker, now: Instant) -> Passage {
        granted_to(breaker, now, fresh())
    }

    fn granted_to(breaker: &mut Breaker, now: Instant, command: u64) -> Passage {
        match breaker.admit(now, command) {
            Admission::Granted(passage) => passage,
            other => panic!("{other:?}"),
        }
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..3 {
            let passage = granted(&mut breaker, now);
            breaker.failed(passage, now, None);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        for outcome in [false, false, true, false, false] {
            let passage = granted(&mut breaker, now);
            if outcome {
                breaker.succeeded(passage);
            } else {
                breaker.failed(passage, now, None);
            }
            assert_eq!(breaker.state(now), CircuitState::Closed);
        }
        let passage = granted(&mut breaker, now);
        breaker.failed(passage, now, None);
        assert_eq!(breaker.state(now), CircuitState::Open);
        assert_eq!(
            breaker.admit(now, fresh()),
            Admission::Refused { until: now + SETTINGS.probe_after }
        );
    }

    #[test]
    fn one_probe_at_a_time_and_its_failure_opens_again() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + SETTINGS.probe_after;
        assert_eq!(breaker.state(now), CircuitState::HalfOpen);
        let probe = granted(&mut breaker, now);
        assert!(matches!(breaker.admit(now, fresh()), Admission::Refused { .. }));
        breaker.failed(probe, now, Some(Duration::from_secs(60)));
        assert_eq!(
            breaker.admit(now, fresh()),
            Admission::Refused { until: now + Duration::from_secs(60) }
        );
    }

    #[test]
    fn a_probe_that_nobody_answers_for_does_not_block_the_next() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + SETTINGS.probe_after;
        let probe = granted(&mut breaker, now);
        breaker.released(probe, now);
        granted(&mut breaker, now);
    }

    #[test]
    fn a_command_whose_probe_failed_leaves_the_next_one_to_others() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let (poisoned, good) = (fresh(), fresh());
        let mut now = start + SETTINGS.probe_after;
        let probe = granted_to(&mut breaker, now, poisoned);
        breaker.failed(probe, now, None);
        let until = now + SETTINGS.probe_after;
        assert_eq!(breaker.refused_until(now, good), Some(until));
        let later = until + SETTINGS.probe_after;
        assert_eq!(breaker.admit(until, poisoned), Admission::Refused { until: later });
        // Where no other comes, it is the probe again: it may be all there is.
        let mut alone = opened(start);
        let probe = granted_to(&mut alone, now, poisoned);
        alone.undecided(probe, now, None);
        granted_to(&mut alone, later, poisoned);
        // Where another comes it is not waited for.
        now = until;
        let probe = granted_to(&mut breaker, now, good);
        breaker.succeeded(probe);
        granted_to(&mut breaker, now, poisoned);
    }

    #[test]
    fn what_says_nothing_neither_opens_nor_closes() {
        let now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..2 {
            let passage = granted(&mut breaker, now);
            breaker.failed(passage, now, None);
        }
        for _ in 0..100 {
            let passage = granted(&mut breaker, now);
            breaker.undecided(passage, now, None);
        }
        assert_eq!(breaker.state(now), CircuitState::Closed);
        let passage = granted(&mut breaker, now);
        breaker.failed(passage, now, None);
        assert_eq!(breaker.state(now), CircuitState::Open, "the failures before still count");
    }

    #[test]
    fn the_commands_that_probed_are_remembered_within_a_bound() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for _ in 0..3 * PROBED {
            now += SETTINGS.probe_after;
            let probe = granted(&mut breaker, now);
            breaker.failed(probe, now, None);
        }
        assert_eq!(breaker.probed.len(), PROBED);
    }

    #[test]
    fn late_outcomes_from_before_do_not_close_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        let early = granted(&mut breaker, now);
        for _ in 0..3 {
            let passage = granted(&mut breaker, now);
            breaker.failed(passage, now, None);
        }
        breaker.succeeded(early);
        assert_eq!(breaker.state(now), CircuitState::Open);
        let later = now + SETTINGS.probe_after;
        let probe = granted(&mut breaker, later);
        breaker.failed(early, later, None);
        breaker.succeeded(probe);
        assert_eq!(breaker.state(later), CircuitState::Closed);
    }

    #[test]
    fn the_backlog_drains_in_doubling_rounds() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + SETTINGS.probe_after;
        let probe = granted(&mut breaker, now);
        breaker.succeeded(probe);
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let mut running = Vec::new();
            while let Admission::Granted(passage) = breaker.admit(now, fresh()) {
                running.push(passage);
            }
            rounds.push(running.len());
            for passage in running {
                breaker.succeeded(passage);
            }
        }
        assert_eq!(rounds, [2, 4, 8]);
        let all: Vec<_> = (0..500).map(|_| granted(&mut breaker, now)).collect();
        assert_eq!(all.len(), 500, "at full concurrency nothing is held back");
    }

    /// A call of the model: its passage, and how often the circuit had changed when it began.
    type Running = (Passage, u64);

    proptest! {
        /// Held against the simplest bookkeeping of what the head of this file promises.
        #[test]
        fn an_outage_lets_probes_through_and_its_end_a_trickle(
            steps in prop::collection::vec((0u8..10, 0u64..6), 0..400),
        ) {
            let mut now = Instant::now();
            let mut breaker = opened(now);
            // Since the last time it opened: when that was, the probe that is out, and after the
            // probe's success how many calls went well and how many are under way.
            let mut opened_at = now;
            let (mut probe, mut drained): (Option<u64>, Option<(u32, u32)>) = (None, None);
            let mut epoch = 0u64;
            let mut running: Vec<Running> = Vec::new();
            let mut failures = 0u32;
            for (step, seconds) in steps {
                now += Duration::from_secs(seconds);
                match step {
                    0..=5 => {
                        let admitted = breaker.admit(now, fresh());
                        match (&mut drained, admitted) {
                            (None, Admission::Granted(passage)) => {
                                prop_assert!(now >= opened_at + SETTINGS.probe_after);
                                prop_assert_eq!(probe, None, "two probes at once");
                                epoch += 1;
                                probe = Some(epoch);
                                running.push((passage, epoch));
                            }
                            (Some((well, under_way)), Admission::Granted(passage)) => {
                                *under_way += 1;
                                let full = SLOW_START + *well >= SETTINGS.full_concurrency;
                                prop_assert!(
                                    full || *under_way <= SLOW_START + *well,
                                    "{under_way} at once after {well}"
                                );
                                running.push((passage, epoch));
                            }
                            (None, Admission::Wait) => prop_assert!(false, "waits while open"),
                            (Some(_), Admission::Refused { .. }) => {
                                prop_assert!(false, "refuses while closed");
                            }
                            (None, Admission::Refused { until }) => prop_assert!(until > now),
                            (Some(_), Admission::Wait) => {}
                        }
                    }
                    6 | 7 => if let Some((passage, of)) = running.pop() {
                        breaker.succeeded(passage);
                        if of != epoch { continue; }
                        if probe.take().is_some() {
                            drained = Some((0, 0));
                            failures = 0;
                            epoch += 1;
                        } else if let Some((well, under_way)) = &mut drained {
                            failures = 0;
                            *under_way -= 1;
                            *well += 1;
                        }
                    },
                    8 => if let Some((passage, of)) = running.pop() {
                        breaker.failed(passage, now, None);
                        if of != epoch { continue; }
                        let probing = probe.take().is_some();
                        failures += 1;
                        if let Some((_, under_way)) = &mut drained {
                            *under_way -= 1;
                        }
                        if probing || failures >= SETTINGS.failures {
                            (opened_at, drained) = (now, None);
                            epoch += 1;
                        }
                    },
                    _ => if let Some((passage, of)) = running.pop() {
                        breaker.released(passage, now);
                        if of != epoch { continue; }
                        if probe.take().is_some() {
                            // The next probe may go at once.
                            opened_at = now - SETTINGS.probe_after;
                            epoch += 1;
                        } else if let Some((_, under_way)) = &mut drained {
                            *under_way -= 1;
                        }
                    },
                }
                let state = breaker.state(now);
                prop_assert_eq!(state == CircuitState::Closed, drained.is_some());
            }
        }

        /// Whatever happens in whatever order, calls come through again once the vendor answers.
        #[test]
        fn it_never_stays_shut(steps in prop::collection::vec((0u8..5, 0u64..20), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(SETTINGS);
            let mut running = Vec::new();
            for (step, seconds) in steps {
                now += Duration::from_secs(seconds);
                match step {
                    0 | 1 => {
                        if let Admission::Granted(passage) = breaker.admit(now, fresh()) {
                            running.push(passage);
                        }
                    }
                    2 => if let Some(passage) = running.pop() { breaker.succeeded(passage); },
                    3 => if let Some(passage) = running.pop() { breaker.failed(passage, now, None); },
                    _ => if let Some(passage) = running.pop() { breaker.released(passage, now); },
                }
            }
            for passage in running {
                breaker.released(passage, now);
            }
            now += SETTINGS.probe_after;
            for _ in 0..100 {
                let passage = granted(&mut breaker, now);
                breaker.succeeded(passage);
            }
            prop_assert_eq!(breaker.state(now), CircuitState::Closed);
        }
    }
}
