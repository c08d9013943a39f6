//! One command from "it was read" to "this is its outcome", as a pure state machine.
//!
//! ```text
//!            ┌── needs the vendor's number ── look up ──┐
//!   start ───┤                                          ├──► send ──► judge ──► end
//!            └──────────────────────────────────────────┘     ▲         │
//!                                                             │         ├─ wait, mend, send again
//!                                                             └─ wait ──┴─ settle: look up, compare
//! ```
//!
//! **Nothing happens twice.** After an answer that never came the document is looked up by its
//! number before anything is sent again; a duplicate refusal is looked up and compared. What cannot
//! be looked up is sent once, unless its caller calls it idempotent.

use std::{ops::ControlFlow, time::Duration};

use jiff::Timestamp;

use super::{
    outcome::Outcome,
    retry::{Policy, Retry},
    settle::{self, Ground, Settled, settle},
};
use crate::domain::{
    CallFailure, Details, Effect, LookUp, Operation, ReplyCategory, ReplyStatus, Verdict,
};

/// What is known of a command before anything is sent.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it asks for.
    pub operation: Operation,
    /// It can neither be looked up nor be sent twice.
    pub at_most_once: bool,
    /// The document can be looked up by its number.
    pub look_up: bool,
    /// The vendor's own number has to be looked up first.
    pub needs_reference: bool,
    /// Not sent after this moment.
    pub expires_at: Option<Timestamp>,
    /// The ceilings and the backoff.
    pub retry: Policy,
    /// How often a command whose account cannot work asks whether it can again.
    pub parked_recheck: Duration,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The vendor answered the operation.
    Answered(Verdict),
    /// The vendor did not answer the operation.
    Unanswered(CallFailure),
    /// The vendor answered the look-up.
    LookedUp(LookUp),
    /// The vendor did not answer the look-up.
    LookUpUnanswered(CallFailure),
    /// Nothing was sent: the account cannot be called now.
    Held(Held),
}

/// Why nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// The circuit is open for so long.
    Circuit(Duration),
    /// Requests are refused before they reach the vendor; asked again after so long.
    Parked(Duration, String),
    /// The account has no token.
    NoTokens(String),
    /// The account is stopped.
    Stopped(String),
}

/// When and under which circumstances it happened.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The present moment.
    pub now: Timestamp,
    /// How long the call took.
    pub took: Duration,
    /// From `0.0..1.0`.
    pub random: f64,
    /// A circuit that the call needs is open or half-open now: its failures do not count.
    pub circuit_open: bool,
}

/// What to do before the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// Only wait.
    Nothing,
    /// Renew the tokens the call was made with.
    RenewTokens,
    /// Correct our idea of the vendor's clock.
    CorrectClock,
    /// Send nonces of two digits from now on.
    ShortenNonce,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send the operation; of at-most-once work commit its beginning first.
    Send,
    /// Look the document up by its number.
    LookUp,
    /// Mend, wait, then ask [`Lifecycle::resume`].
    Wait { pause: Duration, mend: Mend },
    /// Write the reply.
    End(Box<Outcome>),
}

fn end(outcome: Outcome) -> Step {
    Step::End(Box::new(outcome))
}

#[derive(Debug, Clone)]
enum Phase {
    /// Looking for the vendor's own number.
    Reference,
    /// Sending the operation.
    Operation,
    /// Looking up what became of it.
    Settle(Ground),
}

/// One command on its way.
#[derive(Debug)]
pub struct Lifecycle {
    facts: Facts,
    phase: Phase,
    retry: Retry,
    /// Sends of the operation, look-ups not counted.
    attempts: u32,
    /// An earlier send may have taken effect, and nothing has shown yet whether it did.
    silent: bool,
    reference: Option<String>,
    /// What a parked command ends with when it expires.
    parked: Option<(ReplyCategory, String)>,
    /// Mended once already; the next time each is a failure like others.
    mended: Vec<Mend>,
    /// Look-ups that showed nothing where the vendor says there is something.
    blank_looks: u32,
}

/// How often a document that the vendor calls a duplicate is looked for before "nothing comparable
/// comes back" is believed.
const BLANK_LOOKS: u32 = 3;

/// The shortest wait behind an open circuit: one that is about to close is not asked in a loop.
const SHORTEST_HOLD: Duration = Duration::from_millis(50);

impl Lifecycle {
    /// A command of which nothing was sent yet.
    pub fn new(facts: Facts) -> Self {
        let phase = if facts.needs_reference { Phase::Reference } else { Phase::Operation };
        Self {
            facts,
            phase,
            retry: Retry::default(),
            attempts: 0,
            silent: false,
            reference: None,
            parked: None,
            mended: Vec::new(),
            blank_looks: 0,
        }
    }

    /// Sends of the operation so far, look-ups not counted.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The vendor's own number of the document, once it was looked up.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// Whether a call that was begun surely had no effect so far, so that its beginning may be
    /// taken back when the command is given up to another process.
    pub fn surely_without_effect(&self) -> bool {
        !self.silent
    }

    /// The first step, and the step after a wait.
    pub fn resume(&mut self, now: Timestamp) -> Step {
        let expired = self.facts.expires_at.is_some_and(|at| now >= at);
        match (&self.phase, expired) {
            (Phase::Operation, false) => Step::Send,
            (Phase::Reference | Phase::Settle(_), false) => Step::LookUp,
            // A look-up changes nothing and may still tell what became of the command.
            (Phase::Settle(Ground::GivenUp(_)), true) => Step::LookUp,
            (Phase::Settle(Ground::Refused(refused)), true) if !self.silent => {
                end((**refused).clone())
            }
            (Phase::Reference | Phase::Operation | Phase::Settle(_), true) => {
                let outcome = self.expired();
                self.give_up(outcome)
            }
        }
    }

    /// What to do after `event`.
    pub fn on(&mut self, event: Event, moment: Moment) -> Step {
        match event {
            Event::Held(held) => return self.held(held, moment),
            Event::Answered(_) | Event::Unanswered(_) => self.attempts += 1,
            Event::LookedUp(_) | Event::LookUpUnanswered(_) => {}
        }
        self.parked = None;
        match event {
            Event::Held(held) => self.held(held, moment),
            Event::Answered(verdict) => self.judged(verdict, moment),
            Event::Unanswered(CallFailure::NotSent(message)) => {
                let message = format!("No connection to the vendor could be opened: {message}");
                self.again(moment, None, unavailable(Details::default(), message))
            }
            Event::Unanswered(CallFailure::NoAnswer(message)) => {
                let message = format!("The vendor's answer never came: {message}");
                self.silence(moment, None, Details::default(), message)
            }
            Event::LookedUp(found) => self.looked_up(found, moment),
            Event::LookUpUnanswered(failure) => {
                if let Phase::Settle(Ground::GivenUp(given_up)) = &self.phase {
                    return end(settle::uncertain((**given_up).clone()));
                }
                let message = format!("It could not be looked up: {failure}");
                self.again(moment, None, unavailable(Details::default(), message))
            }
        }
    }

    fn held(&mut self, held: Held, moment: Moment) -> Step {
        self.retry.forgive();
        if let Phase::Settle(Ground::GivenUp(outcome)) = &self.phase {
            return end(settle::uncertain((**outcome).clone()));
        }
        let pause = match held {
            Held::Circuit(open) => held_for(open, moment),
            Held::Parked(open, message) => {
                self.parked = Some((ReplyCategory::Configuration, message));
                held_for(open, moment)
            }
            Held::NoTokens(message) => {
                self.parked = Some((ReplyCategory::Unauthorized, message));
                self.recheck(moment)
            }
            Held::Stopped(message) => {
                self.parked = Some((ReplyCategory::Configuration, message));
                self.recheck(moment)
            }
        };
        self.wait(pause, Mend::Nothing, moment)
    }

    /// Something before the vendor refused the operation: it did nothing, unless an earlier attempt
    /// did.
    fn blocked(&mut self, status: u16, details: Details, moment: Moment) -> Step {
        let message = blocked_says(status, &details);
        // Its caller chose the path. Where the whole account meets this, it waits with the others.
        let of_path = matches!(status, 404 | 405) && self.facts.operation == Operation::Call;
        if of_path && !self.silent && !moment.circuit_open {
            return end(Outcome::rejected(ReplyCategory::NotFound, details, message));
        }
        match self.count(moment, None) {
            ControlFlow::Continue(pause) => {
                if moment.circuit_open {
                    self.parked = Some((ReplyCategory::Configuration, message));
                }
                self.wait(pause, Mend::Nothing, moment)
            }
            ControlFlow::Break(()) => {
                let refused = Outcome::rejected(ReplyCategory::Refused, details, message);
                match (self.facts.look_up, self.silent) {
                    // A proxy may have passed the request on and answered all the same.
                    (true, _) => self.settle_by(Ground::Refused(Box::new(refused))),
                    (false, true) => end(settle::uncertain(refused)),
                    (false, false) => end(refused),
                }
            }
        }
    }

    fn recheck(&self, moment: Moment) -> Duration {
        self.facts.parked_recheck.mul_f64(0.75 + moment.random / 4.0)
    }

    /// The operation was answered.
    fn judged(&mut self, verdict: Verdict, moment: Moment) -> Step {
        match verdict {
            Verdict::Succeeded(details) => end(Outcome::succeeded(details)),
            Verdict::Accepted(details) => end(Outcome::new(
                ReplyStatus::Accepted,
                ReplyCategory::None,
                "The vendor took it; the outcome comes as an event.",
            )
            .with(details)),
            Verdict::AlreadyDone(details) => {
                end(Outcome::already(details, "It was in place already."))
            }
            Verdict::Duplicate(details) => {
                if self.facts.look_up {
                    self.settle_by(Ground::Duplicate(details))
                } else if self.silent {
                    end(Outcome::already(
                        details,
                        "The vendor says that it is there already; nothing could be compared.",
                    ))
                } else {
                    let message = "The vendor says that it is there already.";
                    end(Outcome::rejected(ReplyCategory::Duplicate, details, message))
                }
            }
            Verdict::Refused { category, details } => {
                let message = vendor_says("The vendor refuses it", &details);
                let refused = Outcome::rejected(category, details, message);
                // A cancellation that was carried out before a crash and is done again is refused
                // for the document's state; where the vendor knows no document there is no state.
                let may_be_cancelled = self.facts.look_up
                    && settle::is_cancel(self.facts.operation)
                    && category != ReplyCategory::NotFound;
                if !self.silent && !may_be_cancelled {
                    end(refused)
                } else if self.facts.look_up {
                    self.settle_by(Ground::Refused(Box::new(refused)))
                } else {
                    end(settle::uncertain(refused))
                }
            }
            Verdict::Blocked { status, details } => self.blocked(status, details, moment),
            Verdict::Transient { effect: Effect::Possible, retry_after, details } => {
                let message = vendor_says("The vendor is not able now", &details);
                self.silence(moment, retry_after, details, message)
            }
            verdict @ (Verdict::Throttled { .. }
            | Verdict::Transient { effect: Effect::None, .. }
            | Verdict::SessionExpired(_)
            | Verdict::ClockSkew(_)
            | Verdict::NonceRepeated(_)
            | Verdict::NonceFormat(_)
            | Verdict::Misconfigured(_)) => self.without_effect(verdict, moment),
        }
    }

    /// A call, operation or look-up, was turned away before it did anything.
    fn without_effect(&mut self, verdict: Verdict, moment: Moment) -> Step {
        let (mend, category, details, what) = match verdict {
            Verdict::Throttled { retry_after, details } => {
                let message = vendor_says("The vendor takes no more calls now", &details);
                let outcome = Outcome::failed(ReplyCategory::Throttled, details, message);
                return self.again(moment, retry_after, outcome);
            }
            Verdict::Transient { retry_after, details, .. } => {
                let message = vendor_says("The vendor is not able now", &details);
                return self.again(moment, retry_after, unavailable(details, message));
            }
            Verdict::Blocked { status, details } => {
                let message =
                    format!("It could not be looked up. {}", blocked_says(status, &details));
                let outcome = Outcome::rejected(ReplyCategory::Refused, details, message);
                return self.again(moment, None, outcome);
            }
            Verdict::Misconfigured(details) => {
                let message = vendor_says("The account cannot work as it is configured", &details);
                if !moment.circuit_open {
                    // Other commands get through: what is wrong is wrong with this one.
                    let outcome = Outcome::failed(ReplyCategory::Configuration, details, message);
                    return self.again(moment, None, outcome);
                }
                self.parked = Some((ReplyCategory::Configuration, message));
                let pause = self.recheck(moment);
                return self.wait(pause, Mend::Nothing, moment);
            }
            Verdict::SessionExpired(details) => (
                Mend::RenewTokens,
                ReplyCategory::Unauthorized,
                details,
                "The vendor refuses the access token",
            ),
            Verdict::ClockSkew(details) => (
                Mend::CorrectClock,
                ReplyCategory::Configuration,
                details,
                "The vendor finds our clock wrong",
            ),
            Verdict::NonceRepeated(details) => (
                Mend::Nothing,
                ReplyCategory::Unavailable,
                details,
                "The vendor saw the nonce before",
            ),
            Verdict::NonceFormat(details) => (
                Mend::ShortenNonce,
                ReplyCategory::Configuration,
                details,
                "The vendor refuses the form of the nonce",
            ),
            Verdict::Refused { category, details } => {
                let message = vendor_says("The look-up was refused", &details);
                return self.no_look_up(Outcome::rejected(category, details, message));
            }
            Verdict::Succeeded(details)
            | Verdict::Accepted(details)
            | Verdict::AlreadyDone(details)
            | Verdict::Duplicate(details) => {
                // Answers to an operation; as the answer to a look-up they mean nothing.
                let message = vendor_says("The look-up was not understood", &details);
                return self.no_look_up(Outcome::rejected(ReplyCategory::Other, details, message));
            }
        };
        if !self.mended.contains(&mend) {
            // What is wrong is mended at once; the call did nothing.
            self.mended.push(mend);
            return self.wait(Duration::ZERO, mend, moment);
        }
        match self.count(moment, None) {
            ControlFlow::Continue(pause) => self.wait(pause, mend, moment),
            ControlFlow::Break(()) => {
                let message = vendor_says(what, &details);
                self.stop(Outcome::failed(category, details, message))
            }
        }
    }

    /// A call may have taken effect and nobody said so.
    fn silence(
        &mut self,
        moment: Moment,
        retry_after: Option<Duration>,
        details: Details,
        message: String,
    ) -> Step {
        self.silent = true;
        if self.facts.at_most_once {
            return end(Outcome::unknown(
                details,
                format!(
                    "{message} It is sent at most once; look at the vendor whether it took effect \
                     before sending it again."
                ),
            ));
        }
        match self.count(moment, retry_after) {
            ControlFlow::Continue(pause) => {
                if self.facts.look_up {
                    self.phase = Phase::Settle(Ground::Silence);
                }
                self.wait(pause, Mend::Nothing, moment)
            }
            ControlFlow::Break(()) => self.give_up(unavailable(details, message)),
        }
    }

    /// Waits and does the same again, or ends with `outcome`.
    fn again(&mut self, moment: Moment, retry_after: Option<Duration>, outcome: Outcome) -> Step {
        match self.count(moment, retry_after) {
            ControlFlow::Continue(pause) => self.wait(pause, Mend::Nothing, moment),
            ControlFlow::Break(()) => self.stop(outcome),
        }
    }

    fn stop(&mut self, outcome: Outcome) -> Step {
        match self.phase {
            Phase::Reference | Phase::Operation => self.give_up(outcome),
            // It was a look-up that failed too often; there is no use in another.
            Phase::Settle(_) => self.no_look_up(outcome),
        }
    }

    fn count(&mut self, moment: Moment, asked: Option<Duration>) -> ControlFlow<(), Duration> {
        match self.retry.failed(&self.facts.retry, moment.took, asked, moment.random) {
            ControlFlow::Continue(pause) => ControlFlow::Continue(pause),
            ControlFlow::Break(_) if moment.circuit_open => {
                self.retry.forgive();
                ControlFlow::Continue(self.facts.retry.max_backoff.mul_f64(moment.random))
            }
            ControlFlow::Break(_) => ControlFlow::Break(()),
        }
    }

    /// A wait never outlasts the command: it ends when the command expires.
    fn wait(&self, pause: Duration, mend: Mend, moment: Moment) -> Step {
        let left = self
            .facts
            .expires_at
            .map(|at| Duration::try_from(at.duration_since(moment.now)).unwrap_or(Duration::ZERO));
        Step::Wait { pause: left.map_or(pause, |left| pause.min(left)), mend }
    }

    fn settle_by(&mut self, ground: Ground) -> Step {
        self.phase = Phase::Settle(ground);
        Step::LookUp
    }

    fn looked_up(&mut self, found: LookUp, moment: Moment) -> Step {
        if let (LookUp::Failed(_), Phase::Settle(Ground::GivenUp(given_up))) = (&found, &self.phase)
        {
            return end(settle::uncertain((**given_up).clone()));
        }
        let found = match found {
            LookUp::Failed(Verdict::Transient { retry_after, details, .. }) => {
                let message = vendor_says("The vendor is not able now", &details);
                return self.again(moment, retry_after, unavailable(details, message));
            }
            LookUp::Failed(verdict) => return self.without_effect(verdict, moment),
            found @ (LookUp::Found { .. } | LookUp::NotFound { .. } | LookUp::Ambiguous(_)) => {
                found
            }
        };
        if let LookUp::NotFound { vendor_may_be_working: false } = found {
            // Nothing is there, and nothing is on its way.
            self.silent = false;
        }
        let ground = match &self.phase {
            Phase::Reference | Phase::Operation => return self.referred(found, moment),
            Phase::Settle(ground) => ground.clone(),
        };
        match settle(self.facts.operation, &ground, found, self.silent) {
            Settled::End(outcome) => end(outcome),
            Settled::SendAgain => {
                self.phase = Phase::Operation;
                self.resume(moment.now)
            }
            Settled::Blank(outcome) => {
                self.blank_looks += 1;
                if self.blank_looks >= BLANK_LOOKS {
                    return end(outcome);
                }
                match self.count(moment, None) {
                    ControlFlow::Continue(pause) => self.wait(pause, Mend::Nothing, moment),
                    ControlFlow::Break(()) => end(outcome),
                }
            }
        }
    }

    /// The look-up for the vendor's own number was answered.
    fn referred(&mut self, found: LookUp, moment: Moment) -> Step {
        match found {
            LookUp::Found { details, cancelled: true, .. }
                if settle::is_cancel(self.facts.operation) =>
            {
                end(Outcome::already(details, "It stood cancelled already."))
            }
            LookUp::Found { details, .. } => {
                self.reference = details.vendor_reference;
                self.phase = Phase::Operation;
                self.resume(moment.now)
            }
            LookUp::NotFound { vendor_may_be_working } => {
                let message = "The vendor knows no document of this number.";
                let mut outcome =
                    Outcome::rejected(ReplyCategory::NotFound, Details::default(), message);
                if !vendor_may_be_working {
                    return end(outcome);
                }
                outcome.status = ReplyStatus::Failed;
                self.again(moment, None, outcome)
            }
            LookUp::Ambiguous(details) => {
                let message = "More than one document answers to this number; name the vendor's \
                               own number in `vendorReference`.";
                let mut outcome = Outcome::rejected(ReplyCategory::WrongState, details, message);
                outcome.field = Some("vendorReference".to_owned());
                end(outcome)
            }
            LookUp::Failed(verdict) => self.without_effect(verdict, moment),
        }
    }

    /// The look-up is refused for good, or was tried often enough.
    fn no_look_up(&mut self, outcome: Outcome) -> Step {
        let why = outcome.message.clone();
        match &self.phase {
            Phase::Reference | Phase::Operation => end(outcome),
            Phase::Settle(Ground::Silence) => end(settle::uncertain(outcome)),
            Phase::Settle(Ground::GivenUp(given_up)) => {
                end(settle::uncertain((**given_up).clone()))
            }
            Phase::Settle(Ground::Refused(refused)) => {
                let refused = (**refused).clone();
                if self.silent { end(settle::uncertain(refused)) } else { end(refused) }
            }
            Phase::Settle(Ground::Duplicate(details)) => {
                let message = format!(
                    "The vendor says that the number is taken, and it could not be looked up by \
                     whom: {why}"
                );
                let outcome = Outcome::rejected(ReplyCategory::Duplicate, details.clone(), message);
                if self.silent { end(settle::uncertain(outcome)) } else { end(outcome) }
            }
        }
    }

    /// No more attempts. What may have taken effect is looked up one last time.
    fn give_up(&mut self, outcome: Outcome) -> Step {
        if !self.silent {
            return end(outcome);
        }
        if !self.facts.look_up {
            return end(settle::uncertain(outcome));
        }
        self.settle_by(Ground::GivenUp(Box::new(outcome)))
    }

    fn expired(&self) -> Outcome {
        match &self.parked {
            Some((category, message)) => Outcome::failed(
                *category,
                Details::default(),
                format!("It expired while its account could not be used: {message}"),
            ),
            None => Outcome::failed(
                ReplyCategory::Expired,
                Details::default(),
                "It expired (`expiresAt`) before it could be sent; send it again with a later one.",
            ),
        }
    }
}

/// Spread over a quarter of the time, so that the backlog does not come back at once.
fn held_for(open: Duration, moment: Moment) -> Duration {
    open.max(SHORTEST_HOLD) + open.mul_f64(moment.random / 4.0)
}

/// What a status from 300 to 499 without the vendor's answer means, and where to look.
fn blocked_says(status: u16, details: &Details) -> String {
    let likely = match status {
        300..=399 => "it is redirected, which is never followed; check the account's `base_url`",
        404 | 405 => "there is no such operation; check the path and the account's `base_url`",
        413 | 414 | 431 => "the request is too large for a proxy or gateway before the vendor",
        _ => "a proxy, firewall or gateway before the vendor refuses this request",
    };
    let says = vendor_says(&format!("HTTP {status} came instead of the vendor's answer"), details);
    let says = says.trim_end_matches('.');
    format!("{says}; {likely}.")
}

fn unavailable(details: Details, message: String) -> Outcome {
    Outcome::failed(ReplyCategory::Unavailable, details, message)
}

/// A sentence with the vendor's own words where it has any.
pub(super) fn vendor_says(what: &str, details: &Details) -> String {
    match (&details.vendor_code, &details.vendor_message) {
        (Some(code), Some(message)) => format!("{what} ({code}): {message}"),
        (Some(code), None) => format!("{what} ({code})."),
        (None, Some(message)) => format!("{what}: {message}"),
        (None, None) => format!("{what}."),
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
