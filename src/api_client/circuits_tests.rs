//! One command at fault, one operation at fault, the account at fault: told apart.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const SETTINGS: CircuitSettings =
    CircuitSettings { failures: 3, probe_after: Duration::from_secs(10), full_concurrency: 16 };
const FORBIDDEN: Ending = Ending::Blocked { status: 403 };
const FAILED: Ending = Ending::Failed { at_least: None };

fn caller(operation: &str, command: u64) -> Caller<'_> {
    let own_path = operation.starts_with("call");
    Caller { label: "label", operation, command, own_path, look_up: false }
}

fn enter(circuits: &mut Circuits, caller: Caller<'_>, now: Instant) -> Entry {
    match circuits.admit(caller, now) {
        Entrance::Granted(entry) => entry,
        other => panic!("{caller:?}: {other:?}"),
    }
}

/// A call that is let through and ends so.
fn call(
    circuits: &mut Circuits,
    operation: &str,
    command: u64,
    ending: Ending,
    now: Instant,
) -> Vec<Change> {
    let entry = enter(circuits, caller(operation, command), now);
    circuits.ended(&entry, ending, now)
}

/// A look-up that the vendor answers.
fn look_up(circuits: &mut Circuits, operation: &str, command: u64, now: Instant) -> Vec<Change> {
    let entry = enter(circuits, Caller { look_up: true, ..caller(operation, command) }, now);
    circuits.ended(&entry, Ending::Answered, now)
}

fn is_parked(circuits: &Circuits) -> bool {
    matches!(circuits.account.stop, Some(Stop::Blocked(_)))
}

/// An account that three commands of three operations have parked.
fn parked(now: Instant) -> Circuits {
    let mut circuits = Circuits::new(SETTINGS);
    assert_eq!(call(&mut circuits, "create-order", 0, FORBIDDEN, now), []);
    assert_eq!(call(&mut circuits, "cancel-order", 1, FORBIDDEN, now), []);
    let changes = call(&mut circuits, "create-asn", 2, FORBIDDEN, now);
    let [Change::Parked(message)] = &changes[..] else { panic!("{changes:?}") };
    assert!(message.contains("HTTP 403"));
    circuits
}

#[test]
fn one_blocked_command_never_parks_its_account_whatever_the_status() {
    let now = Instant::now();
    for status in 300..500 {
        let mut circuits = Circuits::new(SETTINGS);
        for _ in 0..20 {
            let ending = Ending::Blocked { status };
            assert_eq!(call(&mut circuits, "create-order", 1, ending, now), []);
        }
        assert_eq!(circuits.state(now), CircuitState::Closed, "{status}");
    }
}

#[test]
fn different_commands_in_a_row_park_it_and_an_answer_in_between_begins_the_row_anew() {
    let now = Instant::now();
    let answer = |operation| (operation, Ending::Answered);
    for (between, parks) in [
        (None, true),
        // Any answer of the vendor to an operation shows that requests get through.
        (Some(answer("create-order")), false),
        (Some(answer("cancel-asn")), false),
        // A failure of the vendor does not.
        (Some(("create-order", FAILED)), true),
        (Some(("create-order", Ending::GivenUp)), true),
        (Some(("call /x", Ending::Blocked { status: 404 })), true),
    ] {
        let mut circuits = Circuits::new(SETTINGS);
        for (operation, command) in [("create-order", 0), ("create-asn", 1)] {
            call(&mut circuits, operation, command, FORBIDDEN, now);
        }
        if let Some((operation, ending)) = between.clone() {
            call(&mut circuits, operation, 9, ending, now);
        }
        call(&mut circuits, "create-asn", 2, FORBIDDEN, now);
        assert_eq!(is_parked(&circuits), parks, "{between:?}");
    }
    let mut circuits = Circuits::new(SETTINGS);
    for command in 0..3 {
        call(&mut circuits, "create-order", command, FORBIDDEN, now);
        if circuits.check(caller("create-order", 9), now).is_ok() {
            look_up(&mut circuits, "create-order", 9, now);
        }
    }
    assert!(is_parked(&circuits), "look-ups get through, operations do not");
}

/// However many commands of one operation are blocked: as long as the vendor answers another operation in
/// between, each is at fault itself, and none waits.
#[test]
fn an_operation_that_is_blocked_alone_parks_nothing() {
    let now = Instant::now();
    let mut circuits = Circuits::new(SETTINGS);
    for command in 0..20 {
        assert_eq!(call(&mut circuits, "create-order", command, FORBIDDEN, now), []);
        call(&mut circuits, "create-asn", 100, Ending::Answered, now);
        assert_eq!(circuits.check(caller("create-order", command + 1), now), Ok(()));
    }
    assert_eq!(circuits.state(now), CircuitState::Closed);
}

#[test]
fn a_path_that_does_not_exist_is_its_calls_own_fault() {
    let now = Instant::now();
    for status in [404, 405] {
        let no_such_path = || Ending::Blocked { status };
        let mut circuits = Circuits::new(SETTINGS);
        for command in 0..100 {
            let changes = call(&mut circuits, "call /api/typo", command, no_such_path(), now);
            assert_eq!(changes, []);
        }
        assert_eq!(circuits.state(now), CircuitState::Closed);
        // It does not show that a parked account is back either, and others get the next probe.
        let mut circuits = parked(now);
        let later = now + SETTINGS.probe_after;
        assert_eq!(call(&mut circuits, "call /api/typo", 7, no_such_path(), later), []);
        assert!(is_parked(&circuits));
        assert!(circuits.check(caller("create-order", 8), later).is_err());
        let then = later + SETTINGS.probe_after;
        assert!(circuits.check(caller("call /api/typo", 7), then).is_err());
        let changes = call(&mut circuits, "create-order", 8, Ending::Answered, then);
        assert_eq!(changes, [Change::Resumed { operation: None }]);
    }
}

#[test]
fn a_parked_account_probes_with_one_after_the_other_until_one_gets_through() {
    let start = Instant::now();
    let mut circuits = parked(start);
    for operation in ["create-order", "create-asn", "call /x"] {
        let refusal = circuits.check(caller(operation, 5), start);
        assert!(matches!(refusal, Err(Closed::Parked { .. })), "{refusal:?}");
    }
    let mut now = start + SETTINGS.probe_after;
    for command in 0..3 {
        let ending = Ending::Blocked { status: 407 };
        assert_eq!(call(&mut circuits, "create-order", command, ending, now), [], "said once");
        now += SETTINGS.probe_after;
        assert!(circuits.check(caller("create-order", command), now).is_err(), "not twice");
    }
    let refusal = circuits.check(caller("create-asn", 2), start).unwrap_err();
    assert!(matches!(refusal, Closed::Parked { message, .. } if message.contains("HTTP 407")));
    // A look-up that gets through answers no operation: still parked, and the next may try.
    assert_eq!(look_up(&mut circuits, "create-order", 8, now), []);
    assert!(is_parked(&circuits));
    let changes = call(&mut circuits, "create-order", 9, Ending::Answered, now);
    assert_eq!(changes, [Change::Resumed { operation: None }]);
    assert_eq!(circuits.state(now), CircuitState::Closed);
    // The row begins anew.
    call(&mut circuits, "create-order", 10, FORBIDDEN, now);
    assert!(!is_parked(&circuits));
}

#[test]
fn those_that_were_blocked_while_another_got_through_park_nothing_again() {
    let start = Instant::now();
    let mut circuits = Circuits::new(SETTINGS);
    for command in 0..3 {
        call(&mut circuits, "create-order", command, FORBIDDEN, start);
    }
    assert!(is_parked(&circuits));
    let mut now = start + SETTINGS.probe_after;
    call(&mut circuits, "create-order", 3, FORBIDDEN, now);
    now += SETTINGS.probe_after;
    call(&mut circuits, "create-order", 4, Ending::Answered, now);
    for round in 0..10 {
        for command in 0..4 {
            assert_eq!(call(&mut circuits, "create-order", command, FORBIDDEN, now), [], "{round}");
            // Nothing is open: their failures count, and end them.
            assert!(!circuits.is_open("create-order", now), "{round} {command}");
        }
    }
    // Others that meet it are heard.
    for command in 5..8 {
        call(&mut circuits, "create-order", command, FORBIDDEN, now);
    }
    assert!(is_parked(&circuits));
}

#[test]
fn a_call_let_through_later_that_got_through_shows_that_nothing_is_blocked() {
    let now = Instant::now();
    let mut circuits = Circuits::new(SETTINGS);
    let mut entries: Vec<Entry> =
        (0..8).map(|command| enter(&mut circuits, caller("create-order", command), now)).collect();
    let (before, after) = (entries.remove(0), entries.pop().unwrap());
    // A few that are refused are answered faster than the many that are not.
    for entry in &entries[..3] {
        circuits.ended(entry, FORBIDDEN, now);
    }
    assert!(is_parked(&circuits));
    circuits.ended(&before, Ending::Answered, now);
    assert!(is_parked(&circuits), "it was let through before");
    let changes = circuits.ended(&after, Ending::Answered, now);
    assert_eq!(changes, [Change::Resumed { operation: None }]);
    assert_eq!(circuits.check(caller("create-order", 9), now), Ok(()));
}

#[test]
fn what_was_blocked_before_the_account_came_back_says_nothing_after() {
    let start = Instant::now();
    let mut circuits = Circuits::new(SETTINGS);
    let early: Vec<Entry> =
        (0..4).map(|n| enter(&mut circuits, caller("create-order", n), start)).collect();
    for command in 4..7 {
        call(&mut circuits, "create-order", command, FORBIDDEN, start);
    }
    assert!(is_parked(&circuits) && !circuits.is_current(&early[0]));
    let later = start + SETTINGS.probe_after;
    call(&mut circuits, "create-order", 8, Ending::Answered, later);
    for entry in &early {
        circuits.ended(entry, FORBIDDEN, later);
    }
    assert!(!is_parked(&circuits));
}

#[test]
fn an_operation_that_fails_holds_up_itself_alone() {
    let now = Instant::now();
    let operations = ["create-order", "cancel-order", "call /api/report", "call /api/other"];
    for failing in operations {
        let mut circuits = Circuits::new(SETTINGS);
        for command in 0..3 {
            call(&mut circuits, failing, command, FAILED, now);
        }
        for operation in operations {
            let closed = circuits.check(caller(operation, 9), now).is_err();
            assert_eq!(closed, operation == failing, "{failing} fails, {operation}");
            assert_eq!(circuits.is_open(operation, now), operation == failing);
        }
        assert_eq!(circuits.state(now), CircuitState::Open, "the worst is shown");
        assert_eq!(circuits.open_operations(now), [failing]);
    }
}

fn wrong_id() -> Ending {
    Ending::Misconfigured { message: "wrong id".to_owned() }
}

#[test]
fn a_stopped_account_stops_all_operations_and_any_answer_resumes_it() {
    let now = Instant::now();
    let mut circuits = Circuits::new(SETTINGS);
    let changes = call(&mut circuits, "create-order", 1, wrong_id(), now);
    assert_eq!(changes, [Change::Stopped("wrong id".to_owned())]);
    let refusal = circuits.check(caller("create-asn", 2), now + SECOND);
    assert_eq!(refusal, Err(Closed::Stopped { message: "wrong id".to_owned() }));
    let later = now + STOPPED_PROBE_AFTER;
    let changes = look_up(&mut circuits, "create-asn", 2, later);
    assert_eq!(changes, [Change::Resumed { operation: None }]);
}

#[test]
fn one_command_that_the_vendor_calls_misconfigured_stops_the_others_once() {
    let mut now = Instant::now();
    let mut circuits = Circuits::new(SETTINGS);
    call(&mut circuits, "create-order", 1, wrong_id(), now);
    now += STOPPED_PROBE_AFTER;
    // It does not get the first probe again.
    let probe = enter(&mut circuits, caller("create-order", 2), now);
    circuits.ended(&probe, Ending::Answered, now);
    for _ in 0..10 {
        assert_eq!(call(&mut circuits, "create-order", 1, wrong_id(), now), []);
        assert!(!circuits.is_open("create-order", now), "its failures count");
    }
    let changes = call(&mut circuits, "create-order", 3, wrong_id(), now);
    assert!(matches!(changes[..], [Change::Stopped(_)]), "another is heard");
    assert!(circuits.is_open("create-asn", now));
}

#[test]
fn a_probe_of_the_account_that_fails_otherwise_keeps_it_parked() {
    let start = Instant::now();
    let mut circuits = parked(start);
    let now = start + SETTINGS.probe_after;
    call(&mut circuits, "create-order", 5, FAILED, now);
    assert!(matches!(circuits.check(caller("create-asn", 6), now), Err(Closed::Parked { .. })));
}

#[test]
fn callers_cannot_make_circuits_without_a_bound() {
    let now = Instant::now();
    let mut circuits = Circuits::new(SETTINGS);
    for path in 0..10 * OPERATIONS as u64 {
        for _ in 0..3 {
            let operation = format!("call /api/{path}");
            if circuits.check(caller(&operation, path), now).is_ok() {
                call(&mut circuits, &operation, path, FAILED, now);
            }
        }
        assert!(circuits.operations.len() <= OPERATIONS + 1);
    }
    // Those that work again make room.
    let later = now + SETTINGS.probe_after;
    for path in 0..OPERATIONS as u64 {
        let operation = format!("call /api/{path}");
        for _ in 0..SETTINGS.full_concurrency {
            call(&mut circuits, &operation, path, Ending::Answered, later);
        }
    }
    call(&mut circuits, "create-order", 1, Ending::Answered, later);
    assert!(circuits.operations.contains_key("create-order"));
    for command in 0..3 * REMEMBERED as u64 {
        remember(&mut circuits.account.at_fault, command);
    }
    assert_eq!(circuits.account.at_fault.len(), REMEMBERED);
}

proptest! {
    /// Some commands are always blocked, the others never, in whatever order they come and end: as
    /// long as others come, the account is never closed for long, and once each blocked command
    /// was part of a row, it is never closed again.
    #[test]
    fn blocked_commands_never_hold_up_others_for_long(
        steps in prop::collection::vec((0u64..12, any::<bool>()), 1..300),
    ) {
        let mut now = Instant::now();
        let mut circuits = Circuits::new(SETTINGS);
        let mut refused_good = 0;
        let mut parked = 0;
        for (command, orders) in steps {
            let operation = if orders { "create-order" } else { "create-asn" };
            // One in three commands is good.
            let good = command % 3 == 0;
            match circuits.admit(caller(operation, command), now) {
                Entrance::Granted(entry) => {
                    let ending = if good { Ending::Answered } else { FORBIDDEN };
                    let changes = circuits.ended(&entry, ending, now);
                    parked += changes.iter().filter(|c| matches!(c, Change::Parked(_))).count();
                    if good {
                        refused_good = 0;
                        prop_assert_eq!(circuits.check(caller(operation, 100), now), Ok(()));
                    }
                }
                Entrance::Wait => prop_assert!(false, "nothing runs"),
                Entrance::Refused(_) => {
                    refused_good += u32::from(good);
                    now += SETTINGS.probe_after;
                    // Between two tries of good ones, each of the eight others probes at most once.
                    prop_assert!(refused_good <= 18, "{refused_good}");
                }
            }
        }
        prop_assert!(parked <= 8, "{parked} times for eight commands");
    }
}
