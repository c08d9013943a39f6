//! How many senders may be connected, what the next one is told, and who is connected too long.

use std::{
    collections::HashMap,
    net::IpAddr,
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
    source,
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
    max_per_source: usize,
    deadlines: Deadlines,
    open: Mutex<Open>,
    told: Arc<Semaphore>,
    metrics: Metrics,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
    /// How many there are of each source.
    by_source: HashMap<IpAddr, usize>,
}

/// One connection, as all who have to do with it see it.
pub(super) struct Connection {
    pace: Mutex<Pace>,
    close: Notify,
    /// Whose it is, where that counts.
    source: Option<IpAddr>,
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
    pub(super) fn new(
        max: usize,
        max_per_source: usize,
        deadlines: Deadlines,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_source,
            deadlines,
            open: Mutex::default(),
            told: Arc::new(Semaphore::new(TOLD_AT_A_TIME)),
            metrics,
        })
    }

    /// Takes a place for one more connection. Where all are taken, or all of its source, the one that
    /// has idled longest makes room: idle ones are kept for minutes, and strangers could otherwise hold
    /// every place with them. A connection without a source is a proxy's.
    pub(super) fn admit(self: &Arc<Self>, source: Option<IpAddr>) -> Admission {
        let source = source.map(source::network);
        let mut open = lock(&self.open);
        let of_source = source.map_or(0, |source| open.of(source));
        if of_source >= self.max_per_source
            && !self.make_room(&mut open, |connection| connection.source == source)
        {
            return self.refused("source");
        }
        if open.connections.len() >= self.max && !self.make_room(&mut open, |_| true) {
            return self.refused("full");
        }
        let id = open.next;
        open.next += 1;
        let pace = Mutex::new(Pace::new(Instant::now()));
        let connection = Arc::new(Connection { pace, close: Notify::new(), source });
        open.insert(id, Arc::clone(&connection));
        Admission::Served(Place { connections: Arc::clone(self), id, connection })
    }

    /// Closes the longest idle one of those; `false`: none of them is idle.
    fn make_room(&self, open: &mut Open, of: impl Fn(&Connection) -> bool) -> bool {
        // Its own end then finds its place taken away already.
        let Some(connection) = open.longest_idle(of).and_then(|idle| open.remove(idle)) else {
            return false;
        };
        connection.close.notify_one();
        self.metrics.connection_refused("idle");
        true
    }

    fn refused(&self, reason: &str) -> Admission {
        self.metrics.connection_refused(reason);
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
    fn of(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).copied().unwrap_or_default()
    }

    fn insert(&mut self, id: u64, connection: Arc<Connection>) {
        if let Some(source) = connection.source {
            *self.by_source.entry(source).or_default() += 1;
        }
        self.connections.insert(id, connection);
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&id)?;
        if let Some(source) = connection.source
            && let Some(count) = self.by_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
        Some(connection)
    }

    /// The connection whose last request is longest ago, of those of these without one.
    fn longest_idle(&self, of: impl Fn(&Connection) -> bool) -> Option<u64> {
        let since = |(id, connection): (&u64, &Arc<Connection>)| {
            lock(&connection.pace).idle_since().map(|since| (since, *id))
        };
        let these = self.connections.iter().filter(|(_, connection)| of(connection));
        these.filter_map(since).min().map(|(_, id)| id)
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

impl Place {
    /// The connection ends because of what its sender sent.
    pub(super) fn refused(&self, reason: &str) {
        self.connections.metrics.connection_refused(reason);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.open).remove(self.id);
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
