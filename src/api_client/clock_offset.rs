//! How far the vendor's clock is from ours. Pure: the times are arguments.
//!
//! The `Date` header has whole seconds and is written somewhere between our sending and our
//! receiving, so one answer only says that the offset lies in an interval a little wider than a
//! second. The intervals of several answers are intersected, which narrows it below one.

use jiff::{SignedDuration, Timestamp};

/// What is known of one vendor's clock.
#[derive(Debug, Default)]
pub struct ClockOffset {
    bounds: Option<Bounds>,
    /// Set once the vendor refused our time (JFWMS 10028): until then our own clock is believed.
    applied: bool,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: SignedDuration,
    high: SignedDuration,
}

impl Bounds {
    fn middle(self) -> SignedDuration {
        self.low + (self.high - self.low) / 2
    }
}

impl ClockOffset {
    /// Takes in one answer: when it was asked for and came, on our clock, and its `Date`.
    pub fn observe(&mut self, sent: Timestamp, received: Timestamp, date: Timestamp) {
        if received < sent {
            // Our own clock was set back meanwhile.
            return;
        }
        let seen = Bounds {
            low: date.duration_since(received),
            high: date.duration_since(sent) + SignedDuration::from_secs(1),
        };
        self.bounds = Some(match self.bounds {
            Some(known) if known.low <= seen.high && seen.low <= known.high => {
                Bounds { low: known.low.max(seen.low), high: known.high.min(seen.high) }
            }
            // Nothing in common: one of the two clocks was set. The newest counts.
            Some(_) | None => seen,
        });
    }

    /// The vendor's time minus ours, where it is known.
    pub fn measured(&self) -> Option<SignedDuration> {
        self.bounds.map(Bounds::middle)
    }

    /// From now on our time is corrected: the vendor refused it as it was.
    pub fn apply(&mut self) {
        self.applied = true;
    }

    /// The time to put into a call.
    pub fn correct(&self, now: Timestamp) -> Timestamp {
        match self.measured() {
            Some(offset) if self.applied => now.checked_add(offset).unwrap_or(now),
            Some(_) | None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
    }

    fn date(milliseconds: i64) -> Timestamp {
        Timestamp::from_second(at(milliseconds).as_second()).unwrap()
    }

    #[test]
    fn our_time_is_left_alone_until_the_vendor_refuses_it() {
        let mut offset = ClockOffset::default();
        offset.apply();
        assert_eq!(offset.correct(at(0)), at(0), "nothing was measured yet");
        let mut offset = ClockOffset::default();
        offset.observe(at(0), at(200), date(600_100));
        assert_eq!(offset.correct(at(0)), at(0));
        offset.apply();
        let corrected = offset.correct(at(0));
        assert!((corrected - at(600_000)).get_milliseconds().abs() <= 600, "{corrected}");
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let mut offset = ClockOffset::default();
        offset.observe(at(0), at(10), date(0));
        offset.observe(at(1_000), at(1_010), date(3_600_000));
        let measured = offset.measured().unwrap();
        assert!((measured.as_millis() - 3_599_000).abs() <= 1_000, "{measured}");
    }

    proptest! {
        /// The measured offset is never further from the true one than one answer allows, and
        /// further answers only narrow it.
        #[test]
        fn it_is_as_exact_as_a_second_and_the_round_trip(
            truth in -10_000_000i64..10_000_000,
            calls in prop::collection::vec((0i64..5_000, 1i64..400, 0i64..400), 1..20),
        ) {
            let mut offset = ClockOffset::default();
            let mut now = 0;
            let mut widest = i128::MAX;
            for (wait, there, back) in calls {
                now += wait;
                offset.observe(at(now), at(now + there + back), date(now + there + truth));
                now += there + back;
                let error = (offset.measured().unwrap().as_millis() - i128::from(truth)).abs();
                widest = widest.min(i128::from(1_000 + there + back) / 2 + 1);
                prop_assert!(error <= widest, "{error} > {widest}");
            }
        }
    }
}
