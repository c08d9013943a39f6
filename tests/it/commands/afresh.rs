//! What fails for the time being is done again, and succeeds.

use wms_connector::sandbox::{Fault, FaultRule, RetryAfter, Vendor};

use super::{
    desk::{Desk, QUICK, options},
    samples::{self, Sample},
};
use crate::support::{app::Options, backend::TestEnv, suite::tests};

tests! {
    both: a_failing_vendor_is_asked_again, a_vendor_that_asks_for_patience,
        a_connection_that_breaks_before_the_work, vendors_that_are_busy_by_their_own_code,
        nonces_and_clocks, an_expired_token_is_renewed;
}

/// One document, made by one request of those that reached the vendor.
fn made_once(desk: &Desk<'_>, sample: &Sample) {
    let books = desk.books();
    assert!(sample.kept(&books).is_some(), "{} is not there", sample.number);
    let effects = books.effects_of(sample.vendor, &sample.number);
    assert_eq!(effects, [sample.effect()], "{}", sample.number);
}

/// Each create of both vendors on its own, with a fault that strikes its call so often.
async fn with_fault(desk: &Desk<'_>, name: &str, times: u64, fault: &Fault) -> Vec<(Sample, u64)> {
    let mut attempts = Vec::new();
    for sample in samples::all(name) {
        let rule = FaultRule::new(sample.vendor, sample.endpoint(), fault.clone());
        desk.fault(rule.times(times));
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
        assert_eq!(reply.says["deduplicated"], false, "{reply:#?}");
        made_once(desk, &sample);
        desk.app.sandbox.faults().clear();
        let calls = desk.books().requests_to(sample.endpoint()).len();
        let sent = reply.says["attempts"].as_u64().unwrap();
        let about = |seen: &&&wms_connector::sandbox::SeenRequest| seen.faults.is_empty();
        let clean = desk.books().requests_to(sample.endpoint()).iter().filter(about).count();
        assert_eq!(calls as u64, sent, "{}: attempts are sends", sample.number);
        assert_eq!(clean, 1);
        attempts.push((sample, sent));
    }
    attempts
}

async fn a_failing_vendor_is_asked_again(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let fault = Fault::Status { status: 503, retry_after: None, body: None };
    for (sample, attempts) in with_fault(&desk, "F", 2, &fault).await {
        assert_eq!(attempts, 3, "{}", sample.number);
        // Nobody said that nothing was done: looked up before it is sent again.
        let look_ups = desk.books().requests_to(sample.look_up()).len();
        assert_eq!(look_ups, 2, "{}", sample.number);
    }
    desk.close().await;
}

async fn a_vendor_that_asks_for_patience(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let cases = [
        ("S", Fault::Status { status: 429, retry_after: Some(RetryAfter::Seconds(1)), body: None }),
        ("D", Fault::Status { status: 503, retry_after: Some(RetryAfter::DateIn(2)), body: None }),
    ];
    for (name, fault) in cases {
        let sample = samples::small_order(name);
        let rule = FaultRule::new(Vendor::Jfwms, sample.endpoint(), fault).times(1);
        desk.fault(rule);
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 2, false), "{reply:#?}");
        made_once(&desk, &sample);
        // It did nothing, so nothing was looked up. And it was not asked before it wanted to be:
        // a second, less what a second-wise date takes off.
        let books = desk.books();
        assert_eq!(books.requests_to(sample.look_up()).len(), 0);
        let calls = books.requests_to(sample.endpoint());
        let [.., refused, done] = calls.as_slice() else { panic!("{calls:#?}") };
        let waited = done.at.duration_since(refused.at);
        assert!(waited >= jiff::SignedDuration::from_millis(900), "{name}: only {waited:#}");
    }
    desk.close().await;
}

async fn a_connection_that_breaks_before_the_work(env: &TestEnv) {
    let desk = Desk::open(env).await;
    for (sample, attempts) in with_fault(&desk, "B", 1, &Fault::DropBeforeWork).await {
        assert_eq!(attempts, 2, "{}", sample.number);
        assert_eq!(desk.books().requests_to(sample.look_up()).len(), 1, "{}", sample.number);
    }
    desk.close().await;
}

async fn vendors_that_are_busy_by_their_own_code(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let cases = [
        (samples::small_order("C-1"), "1", false),
        (samples::qianyi_order("C-2"), "SYSTEM_ERROR", false),
        (samples::qianyi_order("C-3"), "SYSTEM_ERROR", true),
    ];
    for (sample, code, inner) in cases {
        let fault = Fault::Refuse { code: code.to_owned(), message: None, inner };
        desk.fault(FaultRule::new(sample.vendor, sample.endpoint(), fault).times(2));
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 3, false), "{reply:#?}");
        made_once(&desk, &sample);
        desk.app.sandbox.faults().clear();
    }
    desk.close().await;
}

async fn nonces_and_clocks(env: &TestEnv) {
    let desk = Desk::open(env).await;
    // Each is mended at once: another nonce, a short nonce.
    for (number, code) in [("N-1", "10027"), ("N-2", "10024")] {
        let sample = samples::small_order(number);
        let fault = Fault::Refuse { code: code.to_owned(), message: None, inner: false };
        desk.fault(FaultRule::new(sample.vendor, sample.endpoint(), fault).times(1));
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 2, false), "{reply:#?}");
        made_once(&desk, &sample);
    }
    // The vendor's clock is not ours; its `Date` says by how much.
    for (number, offset_ms) in [("N-3", 3_600_000), ("N-4", -3_600_000)] {
        desk.app.sandbox.change(|behaviour| behaviour.jfwms.clock_offset_ms = offset_ms);
        let sample = samples::small_order(number);
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 2, false), "{reply:#?}");
        made_once(&desk, &sample);
    }
    desk.close().await;
}

async fn an_expired_token_is_renewed(env: &TestEnv) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let key = "5a".repeat(32);
    let more = format!(
        "{QUICK}\n[tokens]\nstore = \"file\"\npath = \"{}\"\nkey = \"{key}\"\n",
        path.display()
    );
    let jfwms = "refresh_token = \"sandbox-refresh-token\"\n".to_owned();
    let desk = Desk::open_with(env, Options { more, jfwms, ..options() }).await;
    assert_eq!(desk.ask(desk.json(&samples::small_order("X-0"))).await.text("status"), "SUCCEEDED");
    for round in 1..=2 {
        desk.app.sandbox.expire_tokens();
        // Several at once: one renewal serves them all.
        let mut commands = Vec::new();
        let documents: Vec<_> =
            (0..4).map(|n| samples::small_order(&format!("X-{round}-{n}"))).collect();
        for sample in &documents {
            commands.push(desk.send(desk.json(sample)).await);
        }
        for reply in desk.replies(&commands).await {
            assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
        }
        for sample in &documents {
            made_once(&desk, sample);
        }
        let renewals = desk.books().requests_to("/api/oauth/refreshToken").len();
        assert_eq!(renewals, round, "{:#?}", desk.books().requests);
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(!stored.contains("sandbox-refresh-token"), "the tokens lie open in {path:?}");
    desk.close().await;
}
