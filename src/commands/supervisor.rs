//! Starts the pipeline again when it failed: the process has other work, and goes on.

use std::{sync::Arc, time::Duration};

use rdkafka::ClientConfig;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Calls, Deps, Reads, Replies, Settings,
    pipeline::{self, RunError},
    positions::History,
};

/// Runs the pipeline until `stop`. What ends a run meanwhile, a panic or a fatal error of the client,
/// ends only that run; the next one gets `deps` anew. The error is for what stops the first start,
/// and for an end that was asked for and did not succeed.
pub async fn run<R: Reads, C: Calls, P: Replies>(
    config: ClientConfig,
    settings: Settings,
    deps: impl Fn() -> Deps<R, C, P>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let mut pauses = Pauses::default();
    let mut first = true;
    let history = History::default();
    loop {
        let deps = deps();
        let metrics = Arc::clone(&deps.metrics);
        let begun = Instant::now();
        let (history, stop_run) = (history.clone(), stop.clone());
        let ended = pipeline::run(config.clone(), settings.clone(), deps, history, stop_run).await;
        let error = match ended {
            Ok(()) => return Ok(()),
            Err(error) if stop.is_cancelled() => return Err(error),
            Err(error) => error,
        };
        if std::mem::take(&mut first) && error.stops_the_start() {
            return Err(error);
        }
        let pause = pauses.next(begun.elapsed());
        tracing::error!(%error, ?pause, "the command pipeline failed; it starts again");
        metrics.restarting(&format!("the command pipeline failed and starts again: {error}"));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// How long to wait before the next start: twice as long each time, until a run lasted.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);
    /// A run that lasted longer is no sign that the next one fails at once.
    const LASTED: Duration = Duration::from_secs(300);

    fn next(&mut self, ran: Duration) -> Duration {
        let pause = match self.last {
            Some(last) if ran < Self::LASTED => (last * 2).min(Self::LONGEST),
            Some(_) | None => Self::SHORTEST,
        };
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_anew_after_a_long_run() {
        let mut pauses = Pauses::default();
        let mut after = |ran: u64| pauses.next(Duration::from_secs(ran)).as_secs();
        assert_eq!([0; 8].map(&mut after), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!([299, 300, 0].map(after), [60, 1, 2]);
    }
}
