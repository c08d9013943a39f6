//! SIGTERM and Ctrl-C: the first asks for an orderly end, the second ends at once.

use std::{convert::Infallible, future::Future, io};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Waits for the first SIGTERM or SIGINT.
pub async fn first() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Cancels `stop` at the first signal and leaves the process at the second. Signals are caught
/// from this call on, not only once the future is polled: one that came in between would end the
/// process on the spot.
pub fn watch(stop: CancellationToken) -> io::Result<impl Future<Output = Infallible>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if asked {
                tracing::warn!("a second signal: leaving at once, what is in flight is left");
                // 128 + SIGTERM, as a shell reports it.
                std::process::exit(143);
            }
            asked = true;
            tracing::info!("stopping: no new work, finishing what is in flight");
            stop.cancel();
        }
    })
}
