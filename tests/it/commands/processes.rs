//! Processes that end and begin while commands are under way.

use std::collections::BTreeSet;

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio_util::sync::CancellationToken;
use wms_connector::{
    app::{self, Parts, Running},
    commands::offsets::Progress,
    domain::Operation,
    sandbox::{EffectKind, Fault, FaultRule, SeenRequest, Vendor},
};

use super::{
    desk::{At, Desk, options},
    samples,
};
use crate::support::{
    app::{Options, PATIENCE},
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: a_call_in_flight_is_finished_at_the_end;
    mock: a_reply_is_written_until_the_broker_has_it,
        a_document_is_taken_back_when_its_making_is_told;
    kafka: processes_come_and_go, processes_come_and_go_by_the_consumer_protocol,
        two_processes_share_a_vendors_limit;
}

fn slow(ms: u64, jitter_ms: u64) -> FaultRule {
    let latency = Fault::Latency { ms, jitter_ms, after_work: false };
    FaultRule::new(Vendor::Jfwms, "*", latency)
}

async fn a_call_in_flight_is_finished_at_the_end(env: &TestEnv) {
    let desk = Desk::open(env).await;
    desk.fault(slow(1500, 0));
    let at = desk.send(desk.json(&samples::small_order("E-1")).partition(0)).await;
    desk.app.until("called", || desk.books().requests_total == 1).await;
    let sandbox = desk.app.sandbox;
    let config = desk.app.config.clone();
    desk.app.stop.cancel();
    desk.app.running.finished().await.unwrap();
    // The answer was waited for, the reply written, the offset committed.
    let replies = env.read_now(&config.topics.replies()).await;
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].header("ce_id"), Some(&*format!("reply-{at}")));
    assert_eq!(sandbox.books().effects_of(Vendor::Jfwms, "E-1"), [EffectKind::OrderCreated]);
    let committed = env.committed(&config.commands.group_id, &at.topic).await;
    let (partition, position, metadata) = &committed[0];
    assert_eq!((*partition, *position), (0, Some(at.offset + 1)));
    let progress = Progress::decode(at.offset + 1, metadata);
    assert_eq!((progress.finished, progress.begun), (vec![], vec![]));
    sandbox.shutdown().await;
}

async fn a_reply_is_written_until_the_broker_has_it(env: &TestEnv) {
    let desk = Desk::open(env).await;
    desk.fault(slow(1000, 0));
    let at = desk.send(desk.json(&samples::small_order("W-1")).partition(0)).await;
    desk.app.until("called", || desk.books().requests_total == 1).await;
    // Whatever writes now is refused, for good as far as the client is told.
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let cluster = env.mock_cluster().unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused; 4]);
    let reply = desk.reply(&at).await;
    assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    assert_eq!(desk.books().requests_total, 1, "the call was made again");
    desk.close().await;
}

/// Else a crash between the two would leave a creation without a reply, whose document stands
/// cancelled when it is done again.
async fn a_document_is_taken_back_when_its_making_is_told(env: &TestEnv) {
    let desk = Desk::open(env).await;
    desk.fault(slow(500, 0));
    let make = samples::small_order("B-1");
    let cancel = serde_json::json!({"account": make.account(), "orderNumber": "B-1"});
    let cancel = Outgoing::to(desk.mixed()).key("B-1").value(cancel.to_string());
    let cancel = cancel.header("ce_type", Operation::CancelOrder.record());
    let made = desk.send(desk.mixed_json(&make)).await;
    let cancelled = desk.send(cancel).await;
    desk.app.until("called", || desk.books().requests_total == 1).await;
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let cluster = env.mock_cluster().unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused; 4]);
    desk.app.until("asked to cancel", || desk.books().requests_total == 2).await;
    // The reply lies in its topic before the other call begins, and nothing before the
    // cancellation would be done again.
    let replies = env.read_now(&desk.default_replies()).await;
    let ids: Vec<_> = replies.iter().filter_map(|reply| reply.header("ce_id")).collect();
    assert_eq!(ids, [format!("reply-{made}")]);
    let committed = env.committed(&desk.app.config.commands.group_id, &made.topic).await;
    let of_partition = committed.iter().find(|(partition, ..)| *partition == made.partition);
    assert_eq!(of_partition.unwrap().1, Some(cancelled.offset));
    for reply in desk.replies(&[made, cancelled]).await {
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    desk.close().await;
}

async fn processes_come_and_go(env: &TestEnv) {
    come_and_go(env, options()).await;
}

async fn processes_come_and_go_by_the_consumer_protocol(env: &TestEnv) {
    let commands = "group_protocol = \"consumer\"\n".to_owned();
    come_and_go(env, Options { commands, ..options() }).await;
}

/// Another process of the same deployment.
async fn another(desk: &Desk<'_>) -> (Running, CancellationToken) {
    let stop = CancellationToken::new();
    let parts = Parts { webhooks: false, commands: true };
    let running = app::start(desk.app.config.clone(), parts, stop.clone()).await.unwrap();
    (running, stop)
}

/// Qianyi documents 100 `CREATE_SALES_ORDER` in 10 seconds, whoever sends them.
async fn two_processes_share_a_vendors_limit(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let (second, stop_second) = another(&desk).await;
    desk.app.until("two", || second.readiness.report().ready).await;
    let mut commands = Vec::new();
    for n in 0..150 {
        let sample = samples::qianyi_order(&format!("LIMIT-{n}"));
        commands.push(desk.send(desk.json(&sample).partition(n % 3)).await);
    }
    for reply in desk.replies(&commands).await {
        assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    }
    let books = desk.books();
    let calls = books.requests_to("CREATE_SALES_ORDER");
    assert_eq!(calls.len(), 150);
    for first in &calls {
        let window = jiff::SignedDuration::from_secs(10);
        let inside = |seen: &&&SeenRequest| {
            let after = seen.at.duration_since(first.at);
            !after.is_negative() && after < window
        };
        assert!(calls.iter().filter(inside).count() <= 100, "more than the vendor allows");
    }
    stop_second.cancel();
    second.finished().await.unwrap();
    desk.close().await;
}

const KEYS: usize = 24;
const OF_A_KEY: usize = 12;

async fn come_and_go(env: &TestEnv, options: Options) {
    let desk = Desk::open_with(env, options).await;
    desk.fault(slow(50, 200));
    let number = |key: usize, n: usize| format!("G{key}-{n:02}");
    let mut commands: Vec<At> = Vec::new();
    for n in 0..OF_A_KEY {
        for key in 0..KEYS {
            let sample = samples::small_order(&number(key, n));
            commands.push(desk.send(desk.json(&sample).key(format!("G{key}"))).await);
        }
    }
    let total = commands.len();
    let kept = || desk.books().orders.len();
    desk.app.until("begun", || kept() >= total / 10).await;
    let (second, stop_second) = another(&desk).await;
    desk.app.until("two", || second.readiness.report().ready).await;
    let (third, stop_third) = another(&desk).await;
    desk.app.until("well under way", || kept() >= total / 2).await;
    stop_second.cancel();
    second.finished().await.unwrap();
    for (at, reply) in commands.iter().zip(desk.replies(&commands).await) {
        assert_eq!(reply.text("status"), "SUCCEEDED", "{at}: {reply:#?}");
    }
    stop_third.cancel();
    third.finished().await.unwrap();

    // In good order nobody does a thing twice, not even a call.
    let books = desk.books();
    assert_eq!(books.orders.len(), total);
    let calls = books.requests_to("/api/order/create").len();
    assert_eq!(calls, total, "some calls were made twice");
    for key in 0..KEYS {
        let effects = (0..OF_A_KEY).map(|n| &books.effects[&format!("jfwms/{}", number(key, n))]);
        let sequences: Vec<u64> = effects.map(|effects| effects[0].sequence).collect();
        assert!(sequences.is_sorted(), "the order of key G{key}: {sequences:?}");
    }
    let replies = env.read_all(&desk.default_replies(), total, PATIENCE).await;
    let ids: BTreeSet<_> = replies.iter().map(|reply| reply.header("ce_id").unwrap()).collect();
    assert_eq!(ids.len(), replies.len());
    // At the end all of it is committed.
    let group = desk.app.config.commands.group_id.clone();
    desk.close().await;
    let committed = env.committed(&group, &commands[0].topic).await;
    let done: i64 = committed.iter().filter_map(|(_, offset, _)| *offset).sum();
    assert_eq!(usize::try_from(done), Ok(total), "{committed:?}");
}
