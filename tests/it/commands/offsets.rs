//! What is committed when, and what a restart does again.

use std::time::{Duration, Instant};

use wms_connector::{
    app::Parts,
    commands::offsets::Progress,
    sandbox::{Fault, FaultRule, RetryAfter, Vendor},
};

use super::{
    desk::{Desk, QUICK, options},
    samples,
};
use crate::support::{
    app::{Options, PATIENCE, TestApp},
    backend::{self, TestEnv},
    suite::tests,
};

tests! {
    both: an_offset_waits_for_the_reply, a_restart_repeats_nothing;
    kafka: the_consumer_protocol;
}

impl Desk<'_> {
    /// The position and metadata of partition 0 of the mixed topic.
    async fn committed(&self) -> (Option<i64>, String) {
        let group = &self.app.config.commands.group_id;
        let all = self.env.committed(group, &self.mixed()).await;
        let found = all.into_iter().find(|(partition, ..)| *partition == 0);
        found.map(|(_, offset, metadata)| (offset, metadata)).unwrap()
    }

    async fn until_committed(
        &self,
        so: impl Fn(Option<i64>, &str) -> bool,
    ) -> (Option<i64>, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (offset, metadata) = self.committed().await;
            if so(offset, &metadata) {
                return (offset, metadata);
            }
            assert!(Instant::now() < deadline, "committed is {offset:?} {metadata:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What a commit says is finished above its position.
fn finished(offset: Option<i64>, metadata: &str) -> Vec<(i64, i64)> {
    Progress::decode(offset.unwrap_or_default(), metadata).finished
}

/// The vendor takes no orders for now.
fn no_orders() -> FaultRule {
    let retry_after = Some(RetryAfter::Seconds(1));
    let busy = Fault::Status { status: 503, retry_after, body: None };
    FaultRule::new(Vendor::Jfwms, "/api/order/create", busy)
}

async fn an_offset_waits_for_the_reply(env: &TestEnv) {
    let desk = Desk::open(env).await;
    desk.fault(no_orders());
    let first = desk.send(desk.mixed_json(&samples::qianyi_asn("F-1")).partition(0)).await;
    let held = desk.send(desk.mixed_json(&samples::small_order("F-2")).partition(0)).await;
    let mut others = Vec::new();
    for n in 0..3 {
        let sample = samples::qianyi_asn(&format!("F-3-{n}"));
        others.push(desk.send(desk.mixed_json(&sample).partition(0)).await);
    }
    desk.replies(std::slice::from_ref(&first)).await;
    desk.replies(&others).await;
    // The position stays at the one that has no reply; what is done above it is in the metadata.
    let some = |offset: Option<i64>, metadata: &str| !finished(offset, metadata).is_empty();
    let (offset, metadata) = desk.until_committed(some).await;
    assert_eq!(offset, Some(held.offset), "{metadata:?}");
    let replies = env.read_now(&desk.default_replies()).await;
    let id = format!("reply-{held}");
    assert!(replies.iter().all(|r| r.header("ce_id") != Some(&id)), "{replies:#?}");

    desk.app.sandbox.faults().clear();
    assert_eq!(desk.reply(&held).await.text("status"), "SUCCEEDED");
    let end = others[2].offset + 1;
    let (offset, metadata) = desk.until_committed(|offset, _| offset >= Some(end)).await;
    assert_eq!((offset, finished(offset, &metadata)), (Some(end), vec![]));
    desk.close().await;
}

/// Ends the connector, leaves the vendors as they are, and starts another.
async fn restarted<'a>(desk: Desk<'a>, between: impl AsyncFnOnce(&TestApp)) -> Desk<'a> {
    let Desk { env, app, producer } = desk;
    app.stop.cancel();
    between(&app).await;
    let TestApp { sandbox, config, running, .. } = app;
    running.finished().await.unwrap();
    let parts = Parts { webhooks: false, commands: true };
    let app = TestApp::run(config, sandbox, parts).await;
    Desk { env, app, producer }
}

async fn a_restart_repeats_nothing(env: &TestEnv) {
    // The mock lets the next member of a group wait for the session of the one that left.
    let session = "[kafka.consumer]\n\"session.timeout.ms\" = \"6000\"\n";
    restart_in_the_middle(env, Options { more: format!("{QUICK}{session}"), ..options() }).await;
}

async fn the_consumer_protocol(env: &TestEnv) {
    let commands = "group_protocol = \"consumer\"\n".to_owned();
    restart_in_the_middle(env, Options { commands, ..options() }).await;
}

async fn restart_in_the_middle(env: &TestEnv, options: Options) {
    let desk = Desk::open_with(env, options).await;
    desk.fault(no_orders());
    let held = desk.send(desk.mixed_json(&samples::small_order("R-0")).partition(0)).await;
    let mut done = Vec::new();
    for n in 1..=5 {
        let sample = samples::small_asn(&format!("R-{n}"));
        done.push(desk.send(desk.mixed_json(&sample).partition(0)).await);
    }
    desk.replies(&done).await;
    let mut late = None;
    let desk = restarted(desk, async |app| {
        // While nobody is there, another one comes.
        let topic = app.config.topics.mixed_commands(None);
        let sample = samples::small_asn("R-6");
        let record = backend::Outgoing::to(topic).key("R-6").partition(0);
        let record = record.header("ce_type", sample.operation.record());
        late = Some(env.send(record.value(sample.command.to_string())).await);
        app.sandbox.faults().clear();
    })
    .await;
    let late = super::desk::At { offset: late.unwrap().offset, ..held.clone() };
    for reply in desk.replies(&[held.clone(), late.clone()]).await {
        assert_eq!(reply.text("status"), "SUCCEEDED", "{reply:#?}");
    }
    desk.until_committed(|offset, _| offset == Some(late.offset + 1)).await;
    let books = desk.books();
    assert_eq!(books.asns.len() + books.orders.len(), 7);
    assert_eq!(books.requests_to("/api/inbound/create").len(), 6, "{:#?}", books.requests);
    let replies = env.read_now(&desk.default_replies()).await;
    assert_eq!(replies.len(), 7, "one reply each: {replies:#?}");
    desk.close().await;
}
