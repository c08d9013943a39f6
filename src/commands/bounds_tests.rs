//! What is bounded stays bounded however many commands wait, and what was lost counts no longer:
//! the whole pipeline against librdkafka's in-process broker.

use std::sync::atomic::Ordering;

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::broker_tests::{Broker, Does, World, in_order_by_key, orders, until};
use super::offsets::Progress;
use crate::domain::Operation;

/// Commands without order, each of so many bytes.
fn keyless(count: usize, bytes: usize) -> Vec<(i32, &'static str, String)> {
    (0..count).map(|n| (0, "", format!("order:{n:0width$}", width = bytes - 6))).collect()
}

/// A topic of one kind: its commands need no key.
fn own_topic() -> Vec<(String, Option<Operation>)> {
    vec![("commands".to_owned(), Some(Operation::CancelOrder))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_bounded_in_all_and_by_the_window_and_by_bytes() {
    const COMMANDS: usize = 1500;
    const BYTES: usize = 100;
    for (bound, max_in_flight, window, buffered) in [
        ("in all", 7, 10_000, usize::MAX),
        ("by the window", 10_000, 30, usize::MAX),
        // The one that reaches the bound is held as well.
        ("by bytes", 10_000, 10_000, 39 * BYTES),
    ] {
        let broker = Broker::new(1, "classic");
        broker.produce_keyless(&keyless(COMMANDS, BYTES));
        let world = World::new(5, |_, _| Does::Answers(200));
        let process = broker.start(&world, |settings| {
            settings.topics = own_topic();
            settings.max_in_flight = max_in_flight;
            settings.max_in_flight_per_account = max_in_flight;
            settings.window = window;
            settings.max_buffered_bytes = buffered;
        });
        until(bound, || world.replies().len() == COMMANDS).await;
        let most = world.most.load(Ordering::SeqCst);
        let allowed = match bound {
            "in all" => 7,
            "by the window" => 30,
            _ => 39,
        };
        assert!(most <= allowed, "{bound}: {most} at once");
        assert!(most >= allowed / 2, "{bound}: only {most} at once");
        process.end().await;
        assert_eq!(broker.committed(0), Some((COMMANDS as i64, Progress::default())));
        assert_eq!(world.log().len(), COMMANDS, "{bound}: paused and resumed, nothing came twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_account_leaves_room_for_the_others() {
    let broker = Broker::new(1, "classic");
    let world = World::new(
        1,
        |path, _| {
            if path.contains("dead") { Does::Hangs } else { Does::Answers(200) }
        },
    );
    let of = |name: &'static str, n: usize| (0, "", format!("order:{name}-{n}"));
    let dead: Vec<_> = (0..100).map(|n| of("dead", n)).collect();
    let quick: Vec<_> = (0..100).map(|n| of("quick", n)).collect();
    broker.produce_keyless(&dead);
    broker.produce_keyless(&quick);
    let process = broker.start(&world, |settings| {
        settings.topics = own_topic();
        settings.max_in_flight = 8;
        settings.shutdown_timeout = std::time::Duration::from_millis(300);
    });
    until("the others are done", || world.replies().len() == 100).await;
    let called = world.log().iter().filter(|path| path.contains("dead")).count();
    assert_eq!(called, 6, "of 8");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_is_done_again_and_its_late_end_counts_no_longer() {
    let broker = Broker::new(1, "classic");
    // The first call of each is never answered; it ends with the assignment.
    let world =
        World::new(5, |_, before| if before == 0 { Does::Hangs } else { Does::Answers(200) });
    broker.produce(&orders(&["a", "b", "c"], 4, 0));
    let process = broker.start(&world, |settings| {
        settings.call_timeout = std::time::Duration::from_secs(60);
    });
    // What was called once hangs.
    let hanging = || {
        let log = world.log();
        log.iter().filter(|path| log.iter().filter(|other| other == path).count() == 1).count()
    };
    for round in 1..=4 {
        until("three hang", || hanging() == 3).await;
        let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
        broker.cluster.request_errors(RDKafkaApiKey::Heartbeat, &[lost]);
        until("they are done again", || world.replies().len() == 3 * round).await;
    }
    process.end().await;
    assert_eq!(broker.committed(0), Some((12, Progress::default())));
    let mut log = world.log();
    log.dedup();
    let mut first = Vec::new();
    for path in log {
        if !first.contains(&path) {
            first.push(path);
        }
    }
    in_order_by_key(&first);
    assert_eq!(first.len(), 12);
}
