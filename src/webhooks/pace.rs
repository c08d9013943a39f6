//! What a connection is doing, and since when. Pure over the time.
//!
//! ```text
//! idle ── a byte ──> head ── its end ──> busy ── the answer ──> answering ── all of it sent ──> idle
//! ```
//! A request has deadlines; a connection without one may wait far longer. A balancer keeps its
//! connections for minutes, and a request that it sends on one closed in that moment is lost.

use std::time::{Duration, Instant};

/// How long a connection may stay in one state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// From the first byte of a request to the end of its headers, and from an answer to its last
    /// byte: a sender that never reads keeps no place.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) keep_alive: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Head,
    /// The body is read and the webhook worked on; both have deadlines of their own.
    Busy,
    Answering,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Idle,
    Head,
    Answering,
}

impl Overdue {
    /// The reason in `wms_connections_refused_total`. That an idle connection ends in its time is no
    /// refusal.
    pub(super) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Idle => None,
            Self::Head => Some("slow-header"),
            Self::Answering => Some("unread-answer"),
        }
    }
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    state: State,
    since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Idle, since: now }
    }

    fn change(&mut self, from: State, to: State, now: Instant) {
        if self.state == from {
            (self.state, self.since) = (to, now);
        }
    }

    /// Bytes came.
    pub(super) fn received(&mut self, now: Instant) {
        self.change(State::Idle, State::Head, now);
    }

    /// The headers of a request are complete. Those of one that was sent together with the one
    /// before it are complete without a further byte.
    pub(super) fn begun(&mut self, now: Instant) {
        (self.state, self.since) = (State::Busy, now);
    }

    /// Its answer is known.
    pub(super) fn answered(&mut self, now: Instant) {
        self.change(State::Busy, State::Answering, now);
    }

    /// Everything that was to be sent is sent.
    pub(super) fn flushed(&mut self, now: Instant) {
        self.change(State::Answering, State::Idle, now);
    }

    /// The bytes behind the answer were the rest of a refused body, not another request.
    pub(super) fn discarded(&mut self, now: Instant) {
        self.change(State::Head, State::Idle, now);
    }

    /// Since when there is no request on it, if there is none.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.state == State::Idle).then_some(self.since)
    }

    /// Whether it has been in its state for too long.
    pub(super) fn overdue(&self, deadlines: &Deadlines, now: Instant) -> Option<Overdue> {
        let (allowed, overdue) = match self.state {
            State::Idle => (deadlines.keep_alive, Overdue::Idle),
            State::Head => (deadlines.head, Overdue::Head),
            State::Answering => (deadlines.head, Overdue::Answering),
            State::Busy => return None,
        };
        (now.saturating_duration_since(self.since) > allowed).then_some(overdue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines =
        Deadlines { head: Duration::from_secs(15), keep_alive: Duration::from_secs(620) };

    type Step = (u64, fn(&mut Pace, Instant));

    /// What is overdue at these seconds, after the steps.
    fn overdue_at(steps: &[Step], seconds: &[u64]) -> Vec<Option<Overdue>> {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut pace = Pace::new(start);
        for (second, step) in steps {
            step(&mut pace, at(*second));
        }
        seconds.iter().map(|second| pace.overdue(&DEADLINES, at(*second))).collect()
    }

    #[test]
    fn an_idle_connection_is_kept_far_longer_than_a_request_may_take() {
        let (idle, head) = (Some(Overdue::Idle), Some(Overdue::Head));
        assert_eq!(overdue_at(&[], &[16, 620, 621]), [None, None, idle], "nothing sent yet");
        let first = (1, Pace::received as fn(&mut Pace, Instant));
        assert_eq!(overdue_at(&[first], &[16, 17]), [None, head]);
        // Trickled headers gain nothing.
        assert_eq!(overdue_at(&[first, (10, Pace::received)], &[16, 17]), [None, head]);
        let begun = (2, Pace::begun as fn(&mut Pace, Instant));
        assert_eq!(overdue_at(&[first, begun], &[700]), [None], "another one's deadline");
        let answered = [first, begun, (3, Pace::answered), (4, Pace::flushed)];
        assert_eq!(overdue_at(&answered, &[19, 624, 625]), [None, None, idle]);
        let next = [&answered[..], &[(300, Pace::received)]].concat();
        assert_eq!(overdue_at(&next, &[315, 316]), [None, head]);
    }

    #[test]
    fn an_answer_that_is_not_read_has_a_deadline() {
        let unread: [Step; 3] = [(0, Pace::received), (0, Pace::begun), (1, Pace::answered)];
        assert_eq!(overdue_at(&unread, &[16, 17]), [None, Some(Overdue::Answering)]);
    }

    #[test]
    fn only_a_connection_without_a_request_is_idle() {
        let mut pace = Pace::new(Instant::now());
        assert!(pace.idle_since().is_some());
        for (step, idle) in [
            (Pace::received as fn(&mut Pace, Instant), false),
            (Pace::begun, false),
            (Pace::answered, false),
            (Pace::flushed, true),
        ] {
            step(&mut pace, Instant::now());
            assert_eq!(pace.idle_since().is_some(), idle);
        }
    }

    #[test]
    fn the_rest_of_a_refused_body_is_no_unfinished_header() {
        let refused: [Step; 6] = [
            (0, Pace::received),
            (0, Pace::begun),
            (0, Pace::answered),
            (0, Pace::flushed),
            (1, Pace::received),
            (2, Pace::discarded),
        ];
        assert_eq!(overdue_at(&refused, &[100, 622, 623]), [None, None, Some(Overdue::Idle)]);
        // It was read before the answer was sent: nothing changes.
        let early: [Step; 3] = [(0, Pace::received), (0, Pace::begun), (1, Pace::discarded)];
        assert_eq!(overdue_at(&early, &[1_000]), [None]);
        let flushed_early: [Step; 3] = [(0, Pace::received), (0, Pace::begun), (1, Pace::flushed)];
        assert_eq!(overdue_at(&flushed_early, &[1_000]), [None]);
    }
}
