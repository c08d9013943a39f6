//! The last sign of life from the group. PURE: moments are arguments.
//!
//! A process that was frozen past its session wakes up without knowing that its partitions are
//! somebody else's by now. What it reads first may have lain in its sockets since before, so a
//! sign counts only once another one came: whatever the group said with the first (that the
//! partitions are lost, perhaps) has been handled by then.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A loop that did not come round for so long was frozen, or starved as if it were. The broker may
/// have a shorter session than we were told (with KIP-848 it alone knows), so what was heard
/// before counts no longer, whatever the session.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// What was received less than this after the last (microseconds) counts as the same: how long nothing
/// came is measured a moment after the clock was read.
const ANOTHER_RECEIPT: i64 = 20_000;

/// A moment on both clocks: the monotonic one does not run while a machine sleeps, the other may
/// be set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// On the monotonic clock.
    pub monotonic: Instant,
    /// On the wall clock.
    pub wall: Timestamp,
}

impl Moment {
    /// The longer of what the two clocks say.
    fn since(self, earlier: Self) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(earlier.wall));
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        monotonic.max(wall.unwrap_or(Duration::ZERO))
    }

    /// So long before.
    pub fn before(self, ago: Duration) -> Option<Self> {
        let monotonic = self.monotonic.checked_sub(ago)?;
        Some(Self { monotonic, wall: self.wall.checked_sub(ago).unwrap_or(self.wall) })
    }
}

/// What was heard of the group.
#[derive(Debug, Default)]
pub struct Contact {
    last: Option<Moment>,
    /// The one before it, which is believed.
    believed: Option<Moment>,
    polled: Option<Moment>,
    /// When the client last received something, on its own clock.
    receipt: Option<i64>,
}

impl Contact {
    /// The loop that polls came round. It does so many times a second, busy or not.
    pub fn polled(&mut self, now: Moment) {
        if self.stood_still(now) {
            self.forget();
        }
        self.polled = Some(now);
    }

    /// The group's coordinator was heard from at this moment; `receipt` is the same one on the
    /// client's clock, in microseconds. The same bytes, told again, are no second sign.
    pub fn heard(&mut self, at: Moment, receipt: i64) {
        if self.receipt.is_some_and(|known| receipt.saturating_sub(known) < ANOTHER_RECEIPT) {
            return;
        }
        self.receipt = Some(receipt);
        self.believed = self.last;
        self.last = Some(at);
    }

    /// What was heard counts no longer: the group said that we are not of it.
    pub fn forget(&mut self) {
        (self.last, self.believed) = (None, None);
    }

    /// How long a call may still begin.
    pub fn left(&self, session: Duration, now: Moment) -> Duration {
        let Some(believed) = self.believed else { return Duration::ZERO };
        if self.stood_still(now) {
            return Duration::ZERO;
        }
        session.saturating_sub(now.since(believed))
    }

    fn stood_still(&self, now: Moment) -> bool {
        self.polled.is_some_and(|polled| now.since(polled) > STOOD_STILL)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: Duration = Duration::from_secs(45);

    /// Moments by both clocks' milliseconds.
    fn at(base: Instant, monotonic: u64, wall: i64) -> Moment {
        let monotonic = base + Duration::from_millis(monotonic);
        Moment { monotonic, wall: Timestamp::from_millisecond(wall).unwrap() }
    }

    #[test]
    fn a_sign_of_life_counts_once_the_next_one_came() {
        let base = Instant::now();
        let mut contact = Contact::default();
        let left = |contact: &Contact, ms| contact.left(SESSION, at(base, ms, ms as i64));
        assert_eq!(left(&contact, 0), Duration::ZERO);
        contact.heard(at(base, 1000, 1000), 1_000_000);
        // The same bytes, told again.
        contact.heard(at(base, 1003, 1003), 1_000_040);
        assert_eq!(left(&contact, 1000), Duration::ZERO);
        contact.heard(at(base, 2000, 2000), 2_000_000);
        assert_eq!(left(&contact, 2000), Duration::from_secs(44));
        assert_eq!(left(&contact, 45_999), Duration::from_millis(1));
        assert_eq!(left(&contact, 46_000), Duration::ZERO);
        contact.forget();
        // What lay there before was said before.
        contact.heard(at(base, 46_000, 46_000), 2_000_000);
        contact.heard(at(base, 46_000, 46_000), 46_000_000);
        assert_eq!(left(&contact, 46_000), Duration::ZERO);
    }

    #[test]
    fn either_clock_ends_it() {
        let base = Instant::now();
        let mut contact = Contact::default();
        contact.heard(at(base, 0, 0), 0);
        contact.heard(at(base, 0, 0), 30_000);
        // A machine that slept: only the wall clock went on. A clock set back: only the other.
        assert_eq!(contact.left(SESSION, at(base, 10, 45_000)), Duration::ZERO);
        assert_eq!(contact.left(SESSION, at(base, 45_000, -5000)), Duration::ZERO);
        assert_eq!(contact.left(SESSION, at(base, 1000, -5000)), Duration::from_secs(44));
    }

    #[test]
    fn what_was_heard_before_a_freeze_counts_no_longer() {
        let base = Instant::now();
        let mut contact = Contact::default();
        let now = |ms: u64| at(base, ms, ms as i64);
        contact.polled(now(0));
        contact.heard(now(0), 0);
        contact.heard(now(0), 30_000);
        contact.polled(now(1000));
        assert!(contact.left(SESSION, now(1000)) > Duration::ZERO);
        // Woken, and asked before the loop came round; then it came round, and read what had lain
        // in its sockets.
        assert_eq!(contact.left(SESSION, now(5000)), Duration::ZERO);
        contact.heard(now(5000), 5_000_000);
        contact.polled(now(5000));
        assert_eq!(contact.left(SESSION, now(5000)), Duration::ZERO);
        contact.heard(now(5010), 5_050_000);
        contact.polled(now(5010));
        assert_eq!(contact.left(SESSION, now(5010)), Duration::ZERO);
        contact.polled(now(6000));
        contact.heard(now(6000), 6_000_000);
        assert_eq!(contact.left(SESSION, now(6000)), SESSION - Duration::from_millis(990));
    }

    #[derive(Debug, Clone)]
    enum Happens {
        Polled,
        Heard,
        Frozen(u64),
        Forgotten,
    }

    proptest! {
        /// Whatever happens: no call begins later than a session after a sign, nor after a freeze
        /// before two signs came.
        #[test]
        fn no_call_begins_on_what_was_heard_too_long_ago(
            steps in prop::collection::vec(
                prop_oneof![
                    4 => Just(Happens::Polled),
                    2 => Just(Happens::Heard),
                    1 => (0..60_000u64).prop_map(Happens::Frozen),
                    1 => Just(Happens::Forgotten),
                ],
                1..60,
            ),
        ) {
            let base = Instant::now();
            let mut contact = Contact::default();
            let mut ms = 0;
            let mut heard: Vec<u64> = Vec::new();
            let mut polled = None;
            for step in steps {
                ms += 50;
                let now = at(base, ms, ms as i64);
                let froze = |ms: u64| polled.is_some_and(|at| ms - at > 2000);
                match step {
                    Happens::Polled => {
                        if froze(ms) {
                            heard.clear();
                        }
                        polled = Some(ms);
                        contact.polled(now);
                    }
                    Happens::Heard => {
                        heard.push(ms);
                        contact.heard(now, i64::try_from(ms * 1000).unwrap());
                    }
                    Happens::Frozen(length) => ms += length,
                    Happens::Forgotten => {
                        heard.clear();
                        contact.forget();
                    }
                }
                let froze = polled.is_some_and(|at| ms - at > 2000);
                let believed = heard.len().checked_sub(2).map(|index| heard[index]);
                let expected = believed
                    .filter(|_| !froze)
                    .map_or(0, |believed| 45_000_u64.saturating_sub(ms - believed));
                let left = contact.left(SESSION, at(base, ms, ms as i64));
                prop_assert_eq!(left, Duration::from_millis(expected));
            }
        }
    }
}
