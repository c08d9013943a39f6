//! Starts the parts, hands each command its turn, and ends them in order.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use futures_util::FutureExt;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Calls, Deps, Metrics, Reads, Replies, Settings,
    assignment::Group,
    committer,
    consumer::{self, Context, Loop, Taken},
    execution::{self, Ended, Shared},
    key_order::KeyOrders,
    positions::{self, Cluster, History, PositionError, Positions},
    session::SessionError,
    slots::Slots,
};

/// How long after a question to the cluster that was not answered it is asked again.
const PREPARE_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked again for a commit of another process.
const NEEDS_BEGIN_ATTEMPTS: u32 = 3;

/// Why the pipeline ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the command consumer cannot be made: {0}")]
    Create(KafkaError),
    #[error(transparent)]
    Position(PositionError),
    #[error(transparent)]
    Session(SessionError),
    #[error(
        "the offsets of topic `{topic}`, partition {partition}, went back ({others} other partitions): \
         the topic was made again, or its log was cut off; it is looked at anew"
    )]
    WentBack { topic: String, partition: i32, others: usize },
    #[error("the command consumer failed for good: {0}")]
    Consumer(KafkaError),
    #[error("a thread of the command pipeline could not be started: {0}")]
    Thread(std::io::Error),
    #[error(
        "a part of the command pipeline panicked, which is a fault of the connector; the line \
             before says where"
    )]
    Panicked,
    #[error(
        "the consumer group was not left within {0:?}; the broker takes the partitions back \
             when the session ends"
    )]
    NotLeft(Duration),
}

impl RunError {
    /// Whether the process is not to start with it: starting again would meet the same.
    pub(super) fn stops_the_start(&self) -> bool {
        match self {
            Self::Create(_)
            | Self::Position(PositionError::NeedsBegin { .. })
            | Self::Session(SessionError::Unknown { .. }) => true,
            Self::Position(PositionError::Kafka(_))
            | Self::Session(SessionError::Kafka(_))
            | Self::WentBack { .. }
            | Self::Consumer(_)
            | Self::Thread(_)
            | Self::Panicked
            | Self::NotLeft(_) => false,
        }
    }
}

/// Ends a run of the pipeline from any of its parts.
#[derive(Debug, Clone)]
struct Ending {
    /// Its own token: when a part fails, the rest of the process is not stopped.
    stop: CancellationToken,
    panicked: Arc<AtomicBool>,
}

impl Ending {
    /// A part panicked: the others finish what they have, and the run ends.
    fn panicked(&self) {
        self.panicked.store(true, Ordering::SeqCst);
        self.stop.cancel();
    }
}

/// Runs the pipeline until `stop`: then it stops taking commands, finishes the calls in flight,
/// writes their replies, commits, and leaves the group. The same when one of its parts panics.
///
/// `config` is the consumer's, complete but for the callbacks.
pub(super) async fn run<R: Reads, C: Calls, P: Replies>(
    config: ClientConfig,
    settings: Settings,
    deps: Deps<R, C, P>,
    history: History,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let group = Arc::new(Group::default());
    let metrics = Arc::clone(&deps.metrics);
    let made = config.clone();
    let consumer = consumer::create(made, &settings, Arc::clone(&group), Arc::clone(&metrics))
        .map_err(RunError::Create)?;
    group.set_session(settings.session.at_first());
    let prepared = prepare(&consumer, &config, &settings, &history, &metrics, &stop).await?;
    let Some((cluster, session)) = prepared else { return Ok(()) };
    group.set_session(session);
    let topics: Vec<&str> = settings.topics.iter().map(|(topic, _)| topic.as_str()).collect();
    consumer.subscribe(&topics).map_err(RunError::Create)?;
    let (jobs, asked) = mpsc::channel();
    let (taken, commands) = unbounded_channel();
    let (ended, ends) = unbounded_channel();
    let (leaving, left) = oneshot::channel();
    let ending = Ending { stop: stop.child_token(), panicked: Arc::default() };
    {
        let (consumer, group) = (Arc::clone(&consumer), Arc::clone(&group));
        let (settings, ending, history) = (settings.clone(), ending.clone(), history.clone());
        std::thread::Builder::new()
            .name("commands-commit".to_owned())
            .spawn(move || {
                let positions = Positions {
                    consumer: &consumer,
                    config: &config,
                    begin: settings.begin,
                    history: &history,
                    cluster: &cluster,
                };
                let serving = || committer::serve(&positions, &group, &asked, &settings);
                if catch_unwind(AssertUnwindSafe(serving)).is_err() {
                    // Nobody answers any more: whoever asks notices it.
                    drop(asked);
                    ending.panicked();
                }
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
        numbers: AtomicU64::new(0),
        ended,
    });
    let (stop, fault) = (ending.stop.clone(), RefCell::default());
    let polling = Loop { consumer, group, settings, metrics, jobs, taken, stop, history, fault };
    let (over, result) = oneshot::channel();
    let poll_ending = ending.clone();
    std::thread::Builder::new()
        .name("commands-poll".to_owned())
        .spawn(move || {
            let (result, panicked) = polling.run();
            if panicked {
                poll_ending.panicked();
            }
            // The loop, and with it its end of every channel, was dropped by now. The consumer is
            // still held by the committer, which ends when nobody can ask it any more.
            over.send(result).ok();
        })
        .map_err(RunError::Thread)?;
    let tasks = TaskTracker::new();
    let dispatching = dispatch(&shared, &tasks, commands, ends, &ending);
    if AssertUnwindSafe(dispatching).catch_unwind().await.is_err() {
        ending.panicked();
    }
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
    if ending.panicked.load(Ordering::SeqCst) {
        return Err(RunError::Panicked);
    }
    result
}

/// Before the group is joined: its session is asked for; where partitions without a commit begin is
/// decided, and committed. `None`: the process stops.
async fn prepare(
    consumer: &Arc<BaseConsumer<Context>>,
    config: &ClientConfig,
    settings: &Settings,
    history: &History,
    metrics: &Arc<dyn Metrics>,
    stop: &CancellationToken,
) -> Result<Option<(Cluster, Duration)>, RunError> {
    let topics: Vec<String> = settings.topics.iter().map(|(topic, _)| topic.clone()).collect();
    let mut undecided = 0;
    loop {
        let (consumer, config, history) = (Arc::clone(consumer), config.clone(), history.clone());
        let (begin, topics, session) = (settings.begin, topics.clone(), settings.session);
        let asking = tokio::task::spawn_blocking(move || {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            let cluster = positions::cluster(&consumer, &topics)
                .map_err(|error| RunError::Position(error.into()))?;
            let (consumer, config) = (&*consumer, &config);
            let (history, known) = (&history, &cluster);
            let positions = Positions { consumer, config, begin, history, cluster: known };
            let starts = positions.settle(&topics).map_err(RunError::Position)?;
            let (group, topic) = (config.get("group.id"), topics.first());
            let session = session
                .find(consumer, group.unwrap_or_default(), topic.copied().unwrap_or_default())
                .map_err(RunError::Session)?;
            Ok::<_, RunError>((cluster, starts, session))
        });
        let asked = tokio::select! {
            asked = asking => asked.map_err(|_| RunError::Panicked)?,
            () = stop.cancelled() => return Ok(None),
        };
        match asked {
            Ok((cluster, starts, session)) => {
                for ((topic, reason), partitions) in positions::resets(&starts) {
                    metrics.offset_resets(&topic, reason, partitions);
                }
                return Ok(Some((cluster, session)));
            }
            Err(error @ RunError::Position(PositionError::NeedsBegin { .. })) => {
                // Another process of the group may be about to commit where it began.
                undecided += 1;
                if undecided > NEEDS_BEGIN_ATTEMPTS {
                    return Err(error);
                }
            }
            Err(
                RunError::Position(PositionError::Kafka(error))
                | RunError::Session(SessionError::Kafka(error)),
            ) => {
                tracing::warn!(%error, "the cluster could not be asked for the group's offsets; trying again");
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(PREPARE_AGAIN) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

/// Gives each command its turn until no more come and every one has ended.
async fn dispatch<R: Reads, C: Calls, P: Replies>(
    shared: &Arc<Shared<R, C, P>>,
    tasks: &TaskTracker,
    mut commands: UnboundedReceiver<Taken>,
    mut ends: UnboundedReceiver<Ended>,
    ending: &Ending,
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
            let (running, ending) = (execution::run(Arc::clone(shared), taken), ending.clone());
            tasks.spawn(async move {
                // Outside of what answers for itself: the record would stay unfinished unseen.
                if AssertUnwindSafe(running).catch_unwind().await.is_err() {
                    ending.panicked();
                }
            });
        }
    }
    tracing::debug!(
        waiting = orders.waiting(),
        in_flight = shared.in_flight.load(Ordering::Relaxed),
        "no more commands are taken"
    );
}
