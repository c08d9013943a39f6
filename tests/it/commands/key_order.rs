//! Order by key, and different keys at once inside one partition.

use std::collections::BTreeMap;

use wms_connector::sandbox::{Books, Fault, FaultRule, SeenRequest, Vendor};

use super::{
    desk::Desk,
    samples::{self, Sample},
};
use crate::support::{backend::TestEnv, suite::tests};

tests! {
    both: keys_keep_their_order_and_run_together, a_retry_holds_its_own_key_only;
}

const KEYS: usize = 6;
const OF_A_KEY: usize = 5;

/// Number `n` of a key: orders and ASNs in turn, so that the order holds across kinds.
fn document(key: usize, n: usize) -> Sample {
    let number = format!("K{key}-{n}");
    if n.is_multiple_of(2) { samples::small_order(&number) } else { samples::small_asn(&number) }
}

fn key_of(number: &str) -> &str {
    number.split_once('-').unwrap().0
}

async fn keys_keep_their_order_and_run_together(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let slow = Fault::Latency { ms: 100, jitter_ms: 150, after_work: false };
    desk.fault(FaultRule::new(Vendor::Jfwms, "*", slow));
    let mut commands = Vec::new();
    for n in 0..OF_A_KEY {
        for key in 0..KEYS {
            let record = desk.mixed_json(&document(key, n)).key(format!("K{key}")).partition(1);
            commands.push(desk.send(record).await);
        }
    }
    let replies = desk.replies(&commands).await;
    for reply in &replies {
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    let books = desk.books();
    // In order at the vendor: documents of a key in the order of their commands.
    let mut effects: Vec<(u64, &str)> =
        books.effects.iter().map(|(number, effects)| (effects[0].sequence, &**number)).collect();
    effects.sort_unstable();
    let mut of_key: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (_, number) in effects {
        let number = number.strip_prefix("jfwms/").unwrap();
        of_key.entry(key_of(number)).or_default().push(number.to_owned());
    }
    for key in 0..KEYS {
        let expected: Vec<String> = (0..OF_A_KEY).map(|n| document(key, n).number).collect();
        assert_eq!(of_key[format!("K{key}").as_str()], expected);
    }
    // And strictly one after the other, while other keys are under way.
    let mut most = 0;
    for seen in &books.requests {
        let during: Vec<_> = books.requests.iter().filter(|o| overlap(seen, o)).collect();
        most = most.max(during.len());
        let key = |seen: &SeenRequest| key_of(seen.document.as_deref().unwrap()).to_owned();
        let same = during.iter().filter(|other| key(other) == key(seen)).count();
        assert_eq!(same, 1, "two of one key at once: {during:#?}");
    }
    assert!(most >= 3, "at most {most} of {KEYS} keys were under way at once");
    // The replies of a key come in its order, too.
    let records = env.read_now(&desk.default_replies()).await;
    for key in 0..KEYS {
        let key = format!("K{key}");
        let of_key = records.iter().filter(|record| record.key() == key);
        let offsets: Vec<(i64, i64)> = of_key
            .map(|record| {
                let (_, command) = record.header("ce_id").unwrap().rsplit_once('-').unwrap();
                (record.offset, command.parse().unwrap())
            })
            .collect();
        assert_eq!(offsets.len(), OF_A_KEY);
        assert!(offsets.is_sorted_by_key(|(_, command)| *command), "{key}: {offsets:?}");
    }
    desk.close().await;
}

/// Whether `other` was being worked on when `seen` arrived.
fn overlap(seen: &SeenRequest, other: &SeenRequest) -> bool {
    let took = jiff::SignedDuration::from_millis(i64::try_from(other.took_ms).unwrap());
    let end = other.at.checked_add(took).unwrap();
    other.sequence == seen.sequence || (other.at <= seen.at && seen.at < end)
}

async fn a_retry_holds_its_own_key_only(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let busy = Fault::Status { status: 503, retry_after: None, body: None };
    // Below what opens the circuit: the successes of the ASNs come between.
    desk.fault(FaultRule::new(Vendor::Jfwms, "/api/order/create", busy).times(3));
    let held = samples::small_order("held-1");
    let next = samples::small_asn("held-2");
    let other = samples::small_asn("other");
    let record = |sample: &Sample, key: &str| desk.mixed_json(sample).key(key).partition(0);
    let commands = [
        desk.send(record(&held, "held")).await,
        desk.send(record(&next, "held")).await,
        desk.send(record(&other, "other")).await,
    ];
    let replies = desk.replies(&commands).await;
    assert_eq!(replies[0].end(), ("SUCCEEDED", "NONE", 4, false), "{:#?}", replies[0]);
    assert_eq!(replies[1].end(), ("SUCCEEDED", "NONE", 1, false));
    assert_eq!(replies[2].end(), ("SUCCEEDED", "NONE", 1, false));
    let books = desk.books();
    let taken = |number: &str| sequence(&books, number);
    assert!(taken("held-1") < taken("held-2"), "{:#?}", books.effects);
    desk.close().await;
}

fn sequence(books: &Books, number: &str) -> u64 {
    books.effects[&format!("jfwms/{number}")][0].sequence
}
