//! Every verdict and every look-up, as tables.

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn details(code: &str) -> Details {
    Details { vendor_code: Some(code.to_owned()), ..Details::default() }
}

fn facts(operation: Operation) -> Facts {
    Facts {
        operation,
        at_most_once: false,
        look_up: true,
        needs_reference: false,
        expires_at: None,
        retry: Policy {
            max_attempts: 3,
            max_elapsed: Duration::from_secs(600),
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
        },
        parked_recheck: Duration::from_secs(5),
    }
}

fn create() -> Facts {
    facts(Operation::CreateOrder)
}

fn cancel() -> Facts {
    facts(Operation::CancelOrder)
}

fn once() -> Facts {
    Facts { at_most_once: true, look_up: false, ..facts(Operation::Call) }
}

fn idempotent() -> Facts {
    Facts { look_up: false, ..facts(Operation::Call) }
}

fn by_reference() -> Facts {
    Facts { needs_reference: true, ..facts(Operation::CancelAsn) }
}

/// Runs the events; says what was done, and the outcome where there is one.
fn run(facts: Facts, events: &[Event]) -> (String, Option<Outcome>) {
    let mut lifecycle = Lifecycle::new(facts);
    let moment = Moment { now: NOW, took: Duration::ZERO, random: 1.0, circuit_open: false };
    let mut step = lifecycle.resume(NOW);
    let mut events = events.iter();
    let mut trace = Vec::new();
    loop {
        step = match step {
            Step::Send | Step::LookUp => {
                trace.push(if step == Step::Send { "send".to_owned() } else { "look".to_owned() });
                let Some(event) = events.next() else { return (trace.join(" "), None) };
                let of_look_up = matches!(event, Event::LookedUp(_) | Event::LookUpUnanswered(_));
                let held = matches!(event, Event::Held(_));
                assert!(held || of_look_up == (step == Step::LookUp), "{trace:?} {event:?}");
                lifecycle.on(event.clone(), moment)
            }
            Step::Wait { pause, mend } => {
                trace.push(match mend {
                    Mend::Nothing => format!("{}ms", pause.as_millis()),
                    Mend::RenewTokens => format!("{}ms+token", pause.as_millis()),
                    Mend::CorrectClock => format!("{}ms+clock", pause.as_millis()),
                    Mend::ShortenNonce => format!("{}ms+nonce", pause.as_millis()),
                });
                lifecycle.resume(NOW)
            }
            Step::End(outcome) => {
                assert_eq!(events.len(), 0, "{trace:?} leaves events over");
                return (trace.join(" "), Some(*outcome));
            }
        };
    }
}

fn found(differences: &[&str], compared: &[&'static str], cancelled: bool) -> Event {
    Event::LookedUp(LookUp::Found {
        details: Details { vendor_reference: Some("V1".to_owned()), ..Details::default() },
        differences: differences.iter().map(|&d| d.to_owned()).collect(),
        compared: compared.to_vec(),
        cancelled,
    })
}

fn missing(vendor_may_be_working: bool) -> Event {
    Event::LookedUp(LookUp::NotFound { vendor_may_be_working })
}

fn answered(verdict: Verdict) -> Event {
    Event::Answered(verdict)
}

fn refused() -> Event {
    answered(Verdict::Refused { category: ReplyCategory::OutOfStock, details: details("50026") })
}

fn duplicate() -> Event {
    answered(Verdict::Duplicate(details("50019")))
}

fn silence() -> Event {
    Event::Unanswered(CallFailure::NoAnswer("timed out".to_owned()))
}

fn not_sent() -> Event {
    Event::Unanswered(CallFailure::NotSent("refused".to_owned()))
}

fn transient(effect: Effect) -> Verdict {
    Verdict::Transient { effect, retry_after: None, details: details("-1") }
}

fn throttled(seconds: Option<u64>) -> Verdict {
    let retry_after = seconds.map(Duration::from_secs);
    Verdict::Throttled { retry_after, details: details("429") }
}

fn blocked(status: u16) -> Event {
    answered(Verdict::Blocked { status, details: Details::default() })
}

fn look_blocked(status: u16) -> Event {
    Event::LookedUp(LookUp::Failed(Verdict::Blocked { status, details: Details::default() }))
}

use ReplyCategory as C;
use ReplyStatus as S;

/// Facts, events, what is done; status, category, deduplicated.
type Row = (Facts, Vec<Event>, &'static str, S, C, bool);

#[test]
fn every_verdict_every_look_up() {
    let look_failed = |verdict| Event::LookedUp(LookUp::Failed(verdict));
    let ambiguous = || Event::LookedUp(LookUp::Ambiguous(Details::default()));
    #[rustfmt::skip]
    let table: Vec<Row> = vec![
        // What the vendor answers at once.
        (create(), vec![answered(Verdict::Succeeded(details("0")))], "send", S::Succeeded, C::None, false),
        (cancel(), vec![answered(Verdict::Accepted(details("20023")))], "send", S::Accepted, C::None, false),
        (cancel(), vec![answered(Verdict::AlreadyDone(details("50027")))], "send", S::Succeeded, C::None, true),
        (create(), vec![refused()], "send", S::Rejected, C::OutOfStock, false),
        (once(), vec![refused()], "send", S::Rejected, C::OutOfStock, false),
        // A duplicate is looked up and compared.
        (create(), vec![duplicate(), found(&[], &["platform"], false)], "send look", S::Succeeded, C::None, true),
        (create(), vec![duplicate(), found(&[], &[], false)], "send look", S::Succeeded, C::None, true),
        (create(), vec![duplicate(), found(&["shop: asked A, found B"], &["shop"], false)], "send look", S::Rejected, C::Duplicate, false),
        (create(), vec![duplicate(), found(&[], &["shop"], true)], "send look", S::Rejected, C::Duplicate, false),
        (create(), vec![duplicate(), missing(true), missing(true), missing(true)], "send look 500ms look 1000ms look", S::Succeeded, C::None, true),
        (create(), vec![duplicate(), missing(true), found(&[], &["shop"], false)], "send look 500ms look", S::Succeeded, C::None, true),
        (create(), vec![duplicate(), missing(false)], "send look", S::Rejected, C::Refused, false),
        (create(), vec![duplicate(), ambiguous()], "send look", S::Rejected, C::Duplicate, false),
        (create(), vec![duplicate(), look_failed(Verdict::Refused { category: C::Other, details: details("9") })], "send look", S::Rejected, C::Duplicate, false),
        // A cancellation that is refused may be one that was carried out before a crash.
        (cancel(), vec![refused(), found(&[], &[], true)], "send look", S::Succeeded, C::None, true),
        (cancel(), vec![refused(), found(&[], &[], false)], "send look", S::Rejected, C::OutOfStock, false),
        (cancel(), vec![refused(), missing(true)], "send look", S::Rejected, C::OutOfStock, false),
        (cancel(), vec![refused(), ambiguous()], "send look", S::Rejected, C::OutOfStock, false),
        (cancel(), vec![refused(), look_failed(Verdict::Refused { category: C::Other, details: details("9") })], "send look", S::Rejected, C::OutOfStock, false),
        (cancel(), vec![refused(), look_failed(transient(Effect::None)), found(&[], &[], true)], "send look 500ms look", S::Succeeded, C::None, true),
        (cancel(), vec![answered(Verdict::Refused { category: C::NotFound, details: details("50017") })], "send", S::Rejected, C::NotFound, false),
        (by_reference(), vec![found(&[], &[], false), refused(), found(&[], &[], true)], "look send look", S::Succeeded, C::None, true),
        (Facts { look_up: false, ..cancel() }, vec![refused()], "send", S::Rejected, C::OutOfStock, false),
        (cancel(), vec![duplicate(), found(&[], &[], true)], "send look", S::Succeeded, C::None, true),
        (cancel(), vec![duplicate(), found(&[], &[], false)], "send look", S::Rejected, C::Duplicate, false),
        (idempotent(), vec![duplicate()], "send", S::Rejected, C::Duplicate, false),
        (idempotent(), vec![silence(), duplicate()], "send 500ms send", S::Succeeded, C::None, true),
        // Silence is looked up before anything is sent again.
        (create(), vec![silence(), found(&[], &["shop"], false)], "send 500ms look", S::Succeeded, C::None, true),
        (create(), vec![silence(), found(&["shop"], &["shop"], false)], "send 500ms look", S::Rejected, C::Duplicate, false),
        (create(), vec![silence(), missing(false), answered(Verdict::Succeeded(details("0")))], "send 500ms look send", S::Succeeded, C::None, false),
        (create(), vec![silence(), missing(true), duplicate(), found(&[], &["shop"], false)], "send 500ms look send look", S::Succeeded, C::None, true),
        (create(), vec![silence(), ambiguous()], "send 500ms look", S::Unknown, C::Uncertain, false),
        (create(), vec![answered(transient(Effect::Possible)), found(&[], &["shop"], false)], "send 500ms look", S::Succeeded, C::None, true),
        (create(), vec![silence(), Event::LookUpUnanswered(CallFailure::NoAnswer("x".into())), found(&[], &[], false)], "send 500ms look 1000ms look", S::Succeeded, C::None, true),
        (create(), vec![silence(), look_failed(transient(Effect::None)), look_failed(transient(Effect::None))], "send 500ms look 1000ms look", S::Unknown, C::Uncertain, false),
        (create(), vec![silence(), look_failed(Verdict::Refused { category: C::Other, details: details("9") })], "send 500ms look", S::Unknown, C::Uncertain, false),
        (create(), vec![silence(), look_failed(throttled(Some(7))), missing(true), refused(), found(&[], &["shop"], false)], "send 500ms look 7500ms look send look", S::Succeeded, C::None, true),
        (create(), vec![silence(), look_failed(Verdict::SessionExpired(details("10002"))), found(&[], &[], false)], "send 500ms look 0ms+token look", S::Succeeded, C::None, true),
        // Refused after silence: the first attempt may be what the second stumbles over.
        (create(), vec![silence(), missing(true), refused(), missing(true)], "send 500ms look send look", S::Unknown, C::Uncertain, false),
        (create(), vec![silence(), missing(true), refused(), missing(false)], "send 500ms look send look", S::Rejected, C::OutOfStock, false),
        (create(), vec![silence(), missing(false), refused()], "send 500ms look send", S::Rejected, C::OutOfStock, false),
        (idempotent(), vec![silence(), refused()], "send 500ms send", S::Unknown, C::Uncertain, false),
        // A cancel after silence.
        (cancel(), vec![silence(), found(&[], &[], true)], "send 500ms look", S::Succeeded, C::None, true),
        (cancel(), vec![silence(), found(&[], &[], false), answered(Verdict::Succeeded(details("0")))], "send 500ms look send", S::Succeeded, C::None, false),
        (cancel(), vec![silence(), found(&[], &[], false), refused(), found(&[], &[], false)], "send 500ms look send look", S::Rejected, C::OutOfStock, false),
        (cancel(), vec![silence(), found(&[], &[], false), refused(), found(&[], &[], true)], "send 500ms look send look", S::Succeeded, C::None, true),
        (cancel(), vec![silence(), missing(true), refused(), missing(true)], "send 500ms look send look", S::Rejected, C::OutOfStock, false),
        // At most once.
        (once(), vec![silence()], "send", S::Unknown, C::Uncertain, false),
        (once(), vec![answered(transient(Effect::Possible))], "send", S::Unknown, C::Uncertain, false),
        (once(), vec![not_sent(), answered(Verdict::SessionExpired(details("10002"))), answered(Verdict::Succeeded(details("0")))], "send 500ms send 0ms+token send", S::Succeeded, C::None, false),
        (idempotent(), vec![silence(), answered(Verdict::Succeeded(details("0")))], "send 500ms send", S::Succeeded, C::None, false),
        // Ceilings.
        (create(), vec![not_sent(), not_sent(), not_sent()], "send 500ms send 1000ms send", S::Failed, C::Unavailable, false),
        (create(), vec![answered(transient(Effect::None)), answered(transient(Effect::None)), answered(transient(Effect::None))], "send 500ms send 1000ms send", S::Failed, C::Unavailable, false),
        (create(), vec![answered(throttled(Some(60))), answered(throttled(None)), answered(throttled(None))], "send 60500ms send 1000ms send", S::Failed, C::Throttled, false),
        (create(), vec![answered(throttled(Some(3600)))], "send", S::Failed, C::Throttled, false),
        (create(), vec![silence(), missing(true), silence(), missing(true), silence(), missing(true)], "send 500ms look send 1000ms look send look", S::Unknown, C::Uncertain, false),
        (create(), vec![silence(), missing(true), silence(), missing(true), silence(), missing(false)], "send 500ms look send 1000ms look send look", S::Failed, C::Unavailable, false),
        (create(), vec![silence(), missing(true), silence(), missing(true), silence(), look_failed(throttled(None))], "send 500ms look send 1000ms look send look", S::Unknown, C::Uncertain, false),
        (create(), vec![silence(), missing(true), silence(), missing(true), silence(), Event::LookUpUnanswered(CallFailure::NotSent("x".into()))], "send 500ms look send 1000ms look send look", S::Unknown, C::Uncertain, false),
        (idempotent(), vec![silence(), silence(), silence()], "send 500ms send 1000ms send", S::Unknown, C::Uncertain, false),
        // What is mended is sent again at once, the first time.
        (create(), vec![answered(Verdict::SessionExpired(details("10002"))), answered(Verdict::Succeeded(details("0")))], "send 0ms+token send", S::Succeeded, C::None, false),
        (create(), vec![answered(Verdict::SessionExpired(details("10002"))); 4], "send 0ms+token send 500ms+token send 1000ms+token send", S::Failed, C::Unauthorized, false),
        (create(), vec![answered(Verdict::ClockSkew(details("10028"))), answered(Verdict::Succeeded(details("0")))], "send 0ms+clock send", S::Succeeded, C::None, false),
        (create(), vec![answered(Verdict::ClockSkew(details("10028"))); 4], "send 0ms+clock send 500ms+clock send 1000ms+clock send", S::Failed, C::Configuration, false),
        (create(), vec![answered(Verdict::NonceRepeated(details("10027"))), answered(Verdict::Succeeded(details("0")))], "send 0ms send", S::Succeeded, C::None, false),
        (create(), vec![answered(Verdict::NonceFormat(details("10024"))), answered(Verdict::Succeeded(details("0")))], "send 0ms+nonce send", S::Succeeded, C::None, false),
        // An account that cannot work parks its commands.
        (create(), vec![Event::Held(Held::Stopped("x".into())), Event::Held(Held::NoTokens("x".into())), answered(Verdict::Succeeded(details("0")))], "send 5000ms send 5000ms send", S::Succeeded, C::None, false),
        (create(), vec![Event::Held(Held::Parked(Duration::from_secs(8), "x".into())), answered(Verdict::Succeeded(details("0")))], "send 10000ms send", S::Succeeded, C::None, false),
        // Where the others get through it is this command's fault, and it ends within its retries.
        (create(), vec![answered(Verdict::Misconfigured(details("10026"))); 3], "send 500ms send 1000ms send", S::Failed, C::Configuration, false),
        (create(), vec![blocked(413), blocked(413), blocked(413), missing(true)], "send 500ms send 1000ms send look", S::Rejected, C::Refused, false),
        (create(), vec![blocked(403), blocked(403), blocked(403), missing(false)], "send 500ms send 1000ms send look", S::Rejected, C::Refused, false),
        (create(), vec![blocked(403), answered(Verdict::Succeeded(details("0")))], "send 500ms send", S::Succeeded, C::None, false),
        (create(), vec![blocked(302), blocked(302), blocked(302), found(&[], &["shop"], false)], "send 500ms send 1000ms send look", S::Succeeded, C::None, true),
        (create(), vec![blocked(403), blocked(403), blocked(403), found(&["shop"], &["shop"], false)], "send 500ms send 1000ms send look", S::Rejected, C::Duplicate, false),
        (create(), vec![blocked(404), blocked(404), blocked(404), look_blocked(404)], "send 500ms send 1000ms send look", S::Rejected, C::Refused, false),
        (create(), vec![silence(), missing(true), blocked(403), blocked(403), missing(true)], "send 500ms look send 1000ms send look", S::Unknown, C::Uncertain, false),
        (create(), vec![silence(), look_blocked(403), look_blocked(403)], "send 500ms look 1000ms look", S::Unknown, C::Uncertain, false),
        (cancel(), vec![blocked(403), blocked(403), blocked(403), found(&[], &[], true)], "send 500ms send 1000ms send look", S::Succeeded, C::None, true),
        (cancel(), vec![blocked(405), blocked(405), blocked(405), found(&[], &[], false)], "send 500ms send 1000ms send look", S::Rejected, C::Refused, false),
        (by_reference(), vec![look_blocked(403), look_blocked(403), look_blocked(403)], "look 500ms look 1000ms look", S::Rejected, C::Refused, false),
        (once(), vec![blocked(403), blocked(400), blocked(400)], "send 500ms send 1000ms send", S::Rejected, C::Refused, false),
        (once(), vec![blocked(403), answered(Verdict::Succeeded(details("0")))], "send 500ms send", S::Succeeded, C::None, false),
        // A path that does not exist will not exist the next time either.
        (once(), vec![blocked(404)], "send", S::Rejected, C::NotFound, false),
        (idempotent(), vec![blocked(405)], "send", S::Rejected, C::NotFound, false),
        (idempotent(), vec![silence(), blocked(404), blocked(404)], "send 500ms send 1000ms send", S::Unknown, C::Uncertain, false),
        (create(), vec![Event::Held(Held::Circuit(Duration::from_secs(8))), answered(Verdict::Succeeded(details("0")))], "send 10000ms send", S::Succeeded, C::None, false),
        // The vendor's own number first.
        (by_reference(), vec![found(&[], &[], false), answered(Verdict::Succeeded(details("0")))], "look send", S::Succeeded, C::None, false),
        (by_reference(), vec![found(&[], &[], true)], "look", S::Succeeded, C::None, true),
        (by_reference(), vec![missing(false)], "look", S::Rejected, C::NotFound, false),
        (by_reference(), vec![missing(true), missing(true), missing(true)], "look 500ms look 1000ms look", S::Failed, C::NotFound, false),
        (by_reference(), vec![ambiguous()], "look", S::Rejected, C::WrongState, false),
        (by_reference(), vec![look_failed(Verdict::Refused { category: C::Other, details: details("9") })], "look", S::Rejected, C::Other, false),
        (by_reference(), vec![look_failed(transient(Effect::None)), found(&[], &[], false), answered(Verdict::Succeeded(details("0")))], "look 500ms look send", S::Succeeded, C::None, false),
        (by_reference(), vec![Event::LookUpUnanswered(CallFailure::NoAnswer("x".into())); 3], "look 500ms look 1000ms look", S::Failed, C::Unavailable, false),
        (by_reference(), vec![look_failed(Verdict::Succeeded(details("0")))], "look", S::Rejected, C::Other, false),
    ];
    for (facts, events, trace, status, category, deduplicated) in table {
        let name = format!("{:?} {events:?}", facts.operation);
        let (done, outcome) = run(facts, &events);
        let outcome = outcome.unwrap_or_else(|| panic!("no end after {done}: {name}"));
        assert_eq!(done, trace, "{name}");
        assert_eq!(
            (outcome.status, outcome.category, outcome.deduplicated),
            (status, category, deduplicated),
            "{name}: {}",
            outcome.message
        );
        if status != S::Succeeded {
            assert!(!outcome.message.is_empty(), "{name}");
        }
    }
}

#[test]
fn an_open_circuit_never_ends_a_command() {
    let mut lifecycle = Lifecycle::new(create());
    let moment =
        Moment { now: NOW, took: Duration::from_secs(30), random: 1.0, circuit_open: true };
    let mut step = lifecycle.resume(NOW);
    for round in 0..1000 {
        assert_eq!(step, Step::Send, "{round}");
        assert!(matches!(lifecycle.on(not_sent(), moment), Step::Wait { .. }), "{round}");
        assert_eq!(lifecycle.resume(NOW), Step::Send);
        let held = Event::Held(Held::Circuit(Duration::from_secs(10)));
        assert!(matches!(lifecycle.on(held, moment), Step::Wait { .. }), "{round}");
        step = lifecycle.resume(NOW);
    }
    assert_eq!(lifecycle.attempts(), 1000);
}

#[test]
fn an_account_that_is_parked_or_stopped_ends_none_of_its_commands() {
    let moment = Moment { now: NOW, took: Duration::ZERO, random: 1.0, circuit_open: true };
    for facts in [create(), cancel(), once(), idempotent()] {
        for event in [
            blocked(403),
            // A base URL that leads nowhere: also a `call` waits.
            blocked(404),
            answered(Verdict::Misconfigured(details("10001"))),
        ] {
            let mut lifecycle = Lifecycle::new(facts.clone());
            for round in 0..100 {
                assert_eq!(lifecycle.resume(NOW), Step::Send, "{round} {event:?}");
                let step = lifecycle.on(event.clone(), moment);
                assert!(matches!(step, Step::Wait { .. }), "{round} {event:?} {step:?}");
            }
        }
    }
}

#[test]
fn a_blocked_command_says_which_status_came_and_where_to_look() {
    for (status, says) in [
        (302, "base_url"),
        (400, "gateway"),
        (403, "firewall"),
        (404, "path"),
        (413, "too large"),
        (431, "too large"),
    ] {
        let gateway = Details {
            vendor_code: Some("AccessDenied".to_owned()),
            vendor_message: Some("no".to_owned()),
            ..Details::default()
        };
        for (details, words) in [(Details::default(), ""), (gateway, "(AccessDenied): no")] {
            let event = answered(Verdict::Blocked { status, details });
            let (_, outcome) = run(once(), &vec![event; if status == 404 { 1 } else { 3 }]);
            let message = outcome.unwrap().message;
            for word in [&format!("HTTP {status}"), says, words] {
                assert!(message.contains(word), "{message}");
            }
        }
    }
}

#[test]
fn nothing_is_sent_after_the_command_expired() {
    let late = Timestamp::from_second(60).unwrap();
    let with_expiry = |facts: Facts| Facts { expires_at: Some(late), ..facts };
    let moment = Moment { now: NOW, took: Duration::ZERO, random: 1.0, circuit_open: false };
    let stopped = || Event::Held(Held::Stopped("clientId is wrong".to_owned()));
    let parked = || Event::Held(Held::Parked(Duration::from_secs(3600), "HTTP 403".to_owned()));
    let no_tokens = || Event::Held(Held::NoTokens("run authorize".to_owned()));
    let circuit = || Event::Held(Held::Circuit(Duration::from_secs(3600)));
    let taken = || answered(throttled(None));
    for (event, looks, status, category) in [
        (None, 0, S::Failed, C::Expired),
        (Some(taken()), 0, S::Failed, C::Expired),
        (Some(circuit()), 0, S::Failed, C::Expired),
        (Some(stopped()), 0, S::Failed, C::Configuration),
        (Some(parked()), 0, S::Failed, C::Configuration),
        (Some(no_tokens()), 0, S::Failed, C::Unauthorized),
        (Some(silence()), 1, S::Unknown, C::Uncertain),
    ] {
        let mut lifecycle = Lifecycle::new(with_expiry(create()));
        if let Some(event) = event {
            assert_eq!(lifecycle.resume(NOW), Step::Send);
            let Step::Wait { pause, .. } = lifecycle.on(event, moment) else { panic!("no wait") };
            assert!(pause <= Duration::from_secs(60));
        }
        let mut step = lifecycle.resume(late);
        let mut looked = 0;
        while step == Step::LookUp {
            looked += 1;
            step = lifecycle.on(missing(true), Moment { now: late, ..moment });
        }
        let Step::End(outcome) = step else { panic!("{step:?}") };
        assert_eq!((looked, outcome.status, outcome.category), (looks, status, category));
    }
}

#[test]
fn the_reference_that_was_looked_up_is_kept() {
    let mut lifecycle = Lifecycle::new(by_reference());
    let moment = Moment { now: NOW, took: Duration::ZERO, random: 0.0, circuit_open: false };
    assert_eq!(lifecycle.resume(NOW), Step::LookUp);
    assert_eq!(lifecycle.on(found(&[], &[], false), moment), Step::Send);
    assert_eq!(lifecycle.reference(), Some("V1"));
    assert_eq!(lifecycle.attempts(), 0);
}
