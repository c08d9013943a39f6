//! Starts the parts, hands each command its turn, and ends them in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use rdkafka::{ClientConfig, error::KafkaError};
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Calls, Deps, Reads, Replies, Settings,
    assignment::Group,
    committer,
    consumer::{self, Loop, Taken},
    execution::{self, Ended, Shared},
    key_order::KeyOrders,
    slots::Slots,
};

/// Why the pipeline ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the command consumer cannot be made: {0}")]
    Create(KafkaError),
    #[error("the command consumer failed for good: {0}")]
    Consumer(KafkaError),
    #[error("a thread of the command pipeline could not be started: {0}")]
    Thread(std::io::Error),
    #[error("a thread of the command pipeline ended unexpectedly")]
    Panicked,
    #[error(
        "the consumer group was not left within {0:?}; the broker takes the partitions back \
             when the session ends"
    )]
    NotLeft(Duration),
}

/// Runs the pipeline until `stop`: then it stops taking commands, finishes the calls in flight,
/// writes their replies, commits, and leaves the group.
///
/// `config` is the consumer's, complete but for the callbacks.
pub async fn run<R: Reads, C: Calls, P: Replies>(
    config: ClientConfig,
    settings: Settings,
    deps: Deps<R, C, P>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let group = Arc::new(Group::default());
    let metrics = Arc::clone(&deps.metrics);
    let consumer = consumer::create(config, &settings, Arc::clone(&group), Arc::clone(&metrics))
        .map_err(RunError::Create)?;
    let (jobs, asked) = mpsc::channel();
    let (taken, commands) = unbounded_channel();
    let (ended, ends) = unbounded_channel();
    let (leaving, left) = oneshot::channel();
    {
        let (consumer, group) = (Arc::clone(&consumer), Arc::clone(&group));
        let settings = settings.clone();
        std::thread::Builder::new()
            .name("commands-commit".to_owned())
            .spawn(move || {
                committer::serve(&consumer, &group, &asked, &settings);
                // The last holder of the consumer drops it here, which leaves the group.
                drop(consumer);
                leaving.send(()).ok();
            })
            .map_err(RunError::Thread)?;
    }
    let slots = Slots::new(
        settings.max_in_flight,
        settings.max_in_flight_per_account,
        deps.accounts.keys(),
    );
    let shared = Arc::new(Shared {
        slots,
        deps,
        settings: settings.clone(),
        group: Arc::clone(&group),
        jobs: jobs.clone(),
        in_flight: AtomicUsize::new(0),
        ended,
    });
    // Its own token: when the thread ends by itself, the rest of the process is not stopped.
    let polling =
        Loop { consumer, group, settings, metrics, jobs, taken, stop: stop.child_token() };
    let (over, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("commands-poll".to_owned())
        .spawn(move || {
            let result = polling.run();
            // The loop, and with it its end of every channel, was dropped by now. The consumer is
            // still held by the committer, which ends when nobody can ask it any more.
            over.send(result).ok();
        })
        .map_err(RunError::Thread)?;
    let tasks = TaskTracker::new();
    dispatch(&shared, &tasks, commands, ends).await;
    tasks.close();
    tasks.wait().await;
    let timeout = shared.settings.shutdown_timeout;
    shared.deps.replies.flush(timeout).await;
    // The committer ends when nobody can ask it any more.
    drop(shared);
    let result = result.await.map_err(|_| RunError::Panicked)?;
    match tokio::time::timeout(timeout, left).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(RunError::Panicked),
        Err(_) => return Err(RunError::NotLeft(timeout)),
    }
    result.map_err(RunError::Consumer)
}

/// Gives each command its turn until no more come and every one has ended.
async fn dispatch<R: Reads, C: Calls, P: Replies>(
    shared: &Arc<Shared<R, C, P>>,
    tasks: &TaskTracker,
    mut commands: UnboundedReceiver<Taken>,
    mut ends: UnboundedReceiver<Ended>,
) {
    let mut orders: KeyOrders<Taken> = KeyOrders::default();
    loop {
        let next = tokio::select! {
            taken = commands.recv() => match taken {
                None => break,
                Some(taken) if taken.assignment.stop.is_cancelled() => None,
                Some(taken) => {
                    let key = taken.record.key.clone();
                    orders.push(taken.assignment.epoch, key.as_deref(), taken)
                }
            },
            ended = ends.recv() => match ended {
                None => break,
                Some(ended) if ended.assignment.stop.is_cancelled() => {
                    orders.forget(ended.assignment.epoch);
                    None
                }
                Some(ended) => orders.ended(ended.assignment.epoch, ended.key.as_deref()),
            },
        };
        if let Some(taken) = next {
            tasks.spawn(execution::run(Arc::clone(shared), taken));
        }
    }
    tracing::debug!(
        waiting = orders.waiting(),
        in_flight = shared.in_flight.load(Ordering::Relaxed),
        "no more commands are taken"
    );
}
