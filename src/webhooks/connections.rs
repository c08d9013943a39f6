//! How many senders may be connected, what the next one is told, and who is connected too long.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use super::{
    lock,
    pace::{Deadlines, Pace},
};
use crate::metrics::Metrics;

/// So many are told at a time that there is no room; further ones are closed without a word.
const TOLD_AT_A_TIME: usize = 64;
/// How long telling may take.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// As for a webhook that is one too many; whose it is was not read yet.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// How often overdue connections are looked for, at most and at least.
const LOOKED_AT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// All connections.
pub(super) struct Connections {
    max: usize,
    deadlines: Deadlines,
    open: Mutex<Open>,
    told: Arc<Semaphore>,
    metrics: Metrics,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

/// One connection, as all who have to do with it see it.
pub(super) struct Connection {
    pace: Mutex<Pace>,
    close: Notify,
}

/// A connection's place among all; free again when dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
    pub(super) connection: Arc<Connection>,
}

/// What becomes of a connection.
pub(super) enum Admission {
    /// It is served, for as long as this is held.
    Served(Place),
    /// It is told to come back.
    Told(OwnedSemaphorePermit),
    /// It is closed.
    Closed,
}

impl Connections {
    pub(super) fn new(max: usize, deadlines: Deadlines, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            max,
            deadlines,
            open: Mutex::default(),
            told: Arc::new(Semaphore::new(TOLD_AT_A_TIME)),
            metrics,
        })
    }

    /// Takes a place for one more connection. Where all are taken the one that has idled longest makes
    /// room: idle ones are kept for minutes, and strangers could otherwise hold every place with them.
    pub(super) fn admit(self: &Arc<Self>) -> Admission {
        let mut open = lock(&self.open);
        if open.connections.len() >= self.max
            && let Some(idle) = open.longest_idle()
        {
            // Its own end then finds its place taken away already.
            if let Some(connection) = open.connections.remove(&idle) {
                connection.close.notify_one();
                self.metrics.connection_refused("idle");
            }
        }
        if open.connections.len() < self.max {
            let id = open.next;
            open.next += 1;
            let pace = Mutex::new(Pace::new(Instant::now()));
            let connection = Arc::new(Connection { pace, close: Notify::new() });
            open.connections.insert(id, Arc::clone(&connection));
            return Admission::Served(Place { connections: Arc::clone(self), id, connection });
        }
        drop(open);
        self.metrics.connection_refused("full");
        match Arc::clone(&self.told).try_acquire_owned() {
            Ok(permit) => Admission::Told(permit),
            Err(_too_many) => Admission::Closed,
        }
    }

    /// Closes what is overdue, until `stop`.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let Deadlines { head, keep_alive } = self.deadlines;
        let (most, least) = LOOKED_AT;
        let every = (head.min(keep_alive) / 4).clamp(most, least);
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => self.close_overdue(Instant::now()),
                () = stop.cancelled() => return,
            }
        }
    }

    fn close_overdue(&self, now: Instant) {
        for connection in lock(&self.open).connections.values() {
            let overdue = lock(&connection.pace).overdue(&self.deadlines, now);
            if let Some(overdue) = overdue {
                tracing::debug!(?overdue, "a connection is closed");
                if let Some(reason) = overdue.reason() {
                    self.metrics.connection_refused(reason);
                }
                connection.close.notify_one();
            }
        }
    }
}

impl Open {
    /// The connection whose last request is longest ago, of those without one.
    fn longest_idle(&self) -> Option<u64> {
        let since = |(id, connection): (&u64, &Arc<Connection>)| {
            lock(&connection.pace).idle_since().map(|since| (since, *id))
        };
        self.connections.iter().filter_map(since).min().map(|(_, id)| id)
    }
}

impl Connection {
    /// Until somebody wants it closed.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    pub(super) fn received(&self) {
        lock(&self.pace).received(Instant::now());
    }

    pub(super) fn begun(&self) {
        lock(&self.pace).begun(Instant::now());
    }

    pub(super) fn answered(&self) {
        lock(&self.pace).answered(Instant::now());
    }

    pub(super) fn flushed(&self) {
        lock(&self.pace).flushed(Instant::now());
    }

    pub(super) fn discarded(&self) {
        lock(&self.pace).discarded(Instant::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.open).connections.remove(&self.id);
    }
}

/// Answers 503 whatever is asked, and closes.
pub(super) async fn tell_no_room(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let telling = async {
        stream.write_all(NO_ROOM).await?;
        stream.shutdown().await?;
        // Closed with bytes unread, the connection is reset, and the reset can overtake the answer.
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    if !matches!(tokio::time::timeout(TOLD_WITHIN, telling).await, Ok(Ok(()))) {
        tracing::debug!("a connection beyond the bound ended early");
    }
}
