//! What becomes of a command that cannot be carried out.

use jiff::{SignedDuration, Timestamp};
use wms_connector::sandbox::{Fault, FaultRule, SeenRequest, Vendor};

use super::{
    desk::{Desk, Reply, options},
    samples::{self, Sample},
};
use crate::support::{
    app::{Options, PATIENCE},
    backend::{Record, TestEnv},
    suite::tests,
};

tests! {
    both: attempts_end, a_stopped_account_parks_its_own_commands, a_vendor_that_is_away_loses_nothing,
        a_vendor_that_is_back_is_not_overrun;
}

/// The one dead letter of a command's topic.
async fn dead_letter(desk: &Desk<'_>, sample: &Sample) -> Record {
    let dlq = desk.app.config.topics.dlq(&desk.own(sample.operation));
    let letters = desk.env.read_all(&dlq, 1, PATIENCE).await;
    let of_sample = |letter: &&Record| letter.key() == sample.number;
    letters.iter().find(of_sample).cloned().unwrap_or_else(|| panic!("{letters:#?}"))
}

fn is_dead_letter(letter: &Record, sample: &Sample, reply: &Reply) {
    assert_eq!(letter.value(), sample.command.to_string().as_bytes());
    assert_eq!(letter.header("wms_attempts"), Some(&*reply.says["attempts"].to_string()));
    let message = letter.header("__connect.errors.exception.message");
    assert_eq!(message, Some(reply.text("message")));
}

async fn attempts_end(env: &TestEnv) {
    let retry = "[commands.retry]\nmax_attempts = 3\ninitial_backoff = \"20ms\"\n".to_owned();
    let desk = Desk::open_with(env, Options { more: retry, ..options() }).await;
    let cases = [
        // Qianyi says surely that it is not there; JFWMS may still be working on it.
        (samples::qianyi_asn("G-1"), ("FAILED", "UNAVAILABLE", 3, false)),
        (samples::small_order("G-2"), ("UNKNOWN", "UNCERTAIN", 3, false)),
    ];
    for (sample, end) in cases {
        let fault = Fault::Status { status: 503, retry_after: None, body: None };
        desk.fault(FaultRule::new(sample.vendor, sample.endpoint(), fault));
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), end, "{reply:#?}");
        is_dead_letter(&dead_letter(&desk, &sample).await, &sample, &reply);
        let books = desk.books();
        assert_eq!(books.requests_to(sample.endpoint()).len(), 3);
        assert!(sample.kept(&books).is_none());
        desk.app.sandbox.faults().clear();
        // It took no effect, so the same again is carried out.
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    desk.close().await;
}

async fn a_stopped_account_parks_its_own_commands(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let wrong_sign = Fault::Refuse { code: "10026".to_owned(), message: None, inner: false };
    desk.fault(FaultRule::new(Vendor::Jfwms, "*", wrong_sign));
    // Everything is connected: the first call comes well before the command expires.
    desk.ask(desk.mixed_json(&samples::qianyi_asn("P-0")).partition(0)).await;
    let soon = Timestamp::now().checked_add(SignedDuration::from_secs(6)).unwrap();
    let expiring = samples::small_order("P-1").with("/expiresAt", soon.to_string());
    let parked = desk.send(desk.mixed_json(&expiring).partition(0)).await;
    let other = samples::qianyi_order("P-2");
    let reply = desk.ask(desk.mixed_json(&other).partition(0)).await;
    assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    // It was never refused for good: it waited for somebody to mend the account.
    let reply = desk.reply(&parked).await;
    assert_eq!((reply.text("status"), reply.text("category")), ("FAILED", "CONFIGURATION"));
    assert!(reply.text("message").contains("10026"), "{reply:#?}");
    assert!(desk.books().order(Vendor::Jfwms, "P-1").is_none());
    desk.close().await;
}

async fn a_vendor_that_is_away_loses_nothing(env: &TestEnv) {
    let retry = "[commands.retry]\nmax_attempts = 2\ninitial_backoff = \"20ms\"\n";
    let circuit = "[commands.circuit]\nfailures = 1\nprobe_after = \"200ms\"\n";
    let more = format!("{retry}{circuit}");
    let desk = Desk::open_with(env, Options { more, ..options() }).await;
    desk.fault(FaultRule::new(Vendor::Jfwms, "*", Fault::DropBeforeWork));
    let mut commands = Vec::new();
    for n in 0..20 {
        let sample = samples::small_order(&format!("A-{n}"));
        commands.push(desk.send(desk.json(&sample)).await);
    }
    // Long enough that every one of them has met the vendor's absence more often than
    // `max_attempts` would bear.
    desk.app.until("probed often", || desk.books().requests_total >= 12).await;
    assert_eq!(env.read_now(&desk.default_replies()).await, []);
    desk.app.sandbox.faults().clear();
    for reply in desk.replies(&commands).await {
        assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    }
    assert_eq!(desk.books().orders.len(), commands.len());
    assert_eq!(desk.dead_letters(&commands[0].topic).await, []);
    desk.close().await;
}

/// The other account's commands flow meanwhile, and what was parked comes back in doubling rounds:
/// never more calls at once than two and one for each that went well.
async fn a_vendor_that_is_back_is_not_overrun(env: &TestEnv) {
    // Both ceilings are far below what the outage takes.
    let retry = "[commands.retry]\nmax_attempts = 2\nmax_elapsed = \"300ms\"\n\
                 initial_backoff = \"10ms\"\n";
    let circuit = "[commands.circuit]\nfailures = 3\nprobe_after = \"250ms\"\n";
    let more = format!("{retry}{circuit}");
    let desk = Desk::open_with(env, Options { more, ..options() }).await;
    desk.fault(FaultRule::new(Vendor::Jfwms, "*", Fault::DropBeforeWork));
    let mut commands = Vec::new();
    for n in 0..150 {
        commands.push(desk.send(desk.json(&samples::small_order(&format!("O-{n}")))).await);
    }
    let of_jfwms = |desk: &Desk<'_>| {
        let books = desk.books();
        books.requests.iter().filter(|seen| seen.vendor == Vendor::Jfwms).count()
    };
    desk.until(|page| page.contains("wms_circuit_state{account=\"jf-main\"} 2")).await;
    let begun = std::time::Instant::now();
    let parked = of_jfwms(&desk);
    for n in 0..5 {
        let reply = desk.ask(desk.json(&samples::qianyi_asn(&format!("Q-{n}")))).await;
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    desk.app
        .until("an outage beyond the ceilings", || {
            of_jfwms(&desk) >= parked + 4 && begun.elapsed() > std::time::Duration::from_secs(1)
        })
        .await;
    assert_eq!(desk.dead_letters(&commands[0].topic).await, []);

    let slow = Fault::Latency { ms: 30, jitter_ms: 0, after_work: false };
    desk.app.sandbox.faults().set(vec![FaultRule::new(Vendor::Jfwms, "*", slow)]).unwrap();
    for reply in desk.replies(&commands).await {
        assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    }
    let books = desk.books();
    assert_eq!(books.orders.len(), commands.len());
    assert_eq!(desk.dead_letters(&commands[0].topic).await, []);
    let span = |seen: &SeenRequest| {
        let took = SignedDuration::from_millis(i64::try_from(seen.took_ms).unwrap());
        (seen.at, seen.at.checked_add(took).unwrap())
    };
    let back: Vec<_> = books
        .requests
        .iter()
        .filter(|seen| seen.vendor == Vendor::Jfwms && seen.code.as_deref() != Some(""))
        .map(span)
        .collect();
    for (begin, _) in &back {
        let at_once = back.iter().filter(|(from, to)| from <= begin && begin < to).count();
        let went_well = back.iter().filter(|(_, to)| to <= begin).count();
        assert!(at_once <= 2 + went_well, "{at_once} at once after {went_well} that went well");
    }
    desk.close().await;
}
