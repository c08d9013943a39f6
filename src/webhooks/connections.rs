//! How many senders may be connected, and what the next one is told.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// So many are told at a time that there is no room; further ones are closed without a word.
const TOLD_AT_A_TIME: usize = 64;
/// How long telling may take.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// As for a webhook that is one too many; whose it is was not read yet.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// The bound of the connections.
pub(super) struct Connections {
    served: Arc<Semaphore>,
    told: Arc<Semaphore>,
}

/// What becomes of a connection.
pub(super) enum Admission {
    /// It is served, for as long as this is held.
    Served(OwnedSemaphorePermit),
    /// It is told to come back.
    Told(OwnedSemaphorePermit),
    /// It is closed.
    Closed,
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self {
            served: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            told: Arc::new(Semaphore::new(TOLD_AT_A_TIME)),
        }
    }

    pub(super) fn admit(&self) -> Admission {
        if let Ok(permit) = Arc::clone(&self.served).try_acquire_owned() {
            return Admission::Served(permit);
        }
        match Arc::clone(&self.told).try_acquire_owned() {
            Ok(permit) => Admission::Told(permit),
            Err(_too_many) => Admission::Closed,
        }
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
