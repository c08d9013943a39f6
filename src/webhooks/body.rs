//! Reading a request's body: bounded in size whatever `Content-Length` claims, bounded over all
//! requests together, bounded in time.

use std::time::Duration;

use axum::{
    body::{BodyDataStream, HttpBody as _},
    http::{HeaderMap, header::CONTENT_ENCODING},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{
    fairness::{Permit, Room},
    form::FormError,
    receiving::{Floor, SMALL, Share},
};
use crate::domain::{
    Answer,
    encoding::{self, Encoding, NotDecoded},
};

/// How much of a refused body is read on, and for how long.
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;
const DISCARDED_FOR: Duration = Duration::from_secs(10);

/// A body, and the permits for its bytes.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    /// Given back when the webhook is done with.
    pub(super) permit: Permit,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is over `ingress.max_body`")]
    TooLarge,
    #[error("the bodies being worked on fill `ingress.max_in_flight_bytes`")]
    NoRoom,
    #[error(
        "the unfinished bodies of this sender fill `ingress.max_receiving_bytes_per_source`; where \
         it is a proxy, name it in `ingress.trusted_proxies`"
    )]
    NoRoomForSource,
    #[error(
        "the body did not come within `ingress.read_timeout`, or more slowly than \
         `ingress.min_transfer_rate`"
    )]
    TooSlow,
    #[error("the connection or the chunks ended before the body did")]
    Broken,
    #[error("the content encoding is not gzip, deflate or identity")]
    UnknownEncoding,
    #[error("the compressed body is broken or incomplete")]
    BrokenEncoding,
    #[error(transparent)]
    Form(#[from] FormError),
}

impl From<NotDecoded> for BodyError {
    fn from(error: NotDecoded) -> Self {
        match error {
            NotDecoded::Broken => Self::BrokenEncoding,
            NotDecoded::TooLarge => Self::TooLarge,
            NotDecoded::NoRoom => Self::NoRoom,
        }
    }
}

impl BodyError {
    /// What the sender is told.
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::TooLarge => Answer::TooLarge,
            Self::NoRoom | Self::NoRoomForSource => Answer::Unavailable,
            Self::UnknownEncoding => Answer::UnknownEncoding,
            Self::TooSlow | Self::Broken | Self::BrokenEncoding | Self::Form(_) => {
                Answer::Malformed
            }
        }
    }
}

/// What a body may take.
pub(super) struct Bounds<'a> {
    /// Its bytes.
    pub(super) limit: usize,
    /// Of all bodies of the account.
    pub(super) room: &'a Room,
    /// Of the sender's unfinished bodies.
    pub(super) share: Share<'a>,
    pub(super) timeout: Duration,
    /// Bytes a second, of a large one.
    pub(super) min_rate: usize,
}

/// Reads the body chunk by chunk, so that neither a false nor a missing length gets past the
/// limits.
pub(super) async fn read(
    body: &mut BodyDataStream,
    mut bounds: Bounds<'_>,
) -> Result<Received, BodyError> {
    // Mostly one chunk is all there is: it is kept as it came. More of them are joined.
    let mut bytes = Bytes::new();
    let mut joined = BytesMut::new();
    let mut permit = Permit::default();
    let began = Instant::now();
    let end = began + bounds.timeout;
    let mut floor = Floor::new(bounds.min_rate, began);
    loop {
        let until = end.min(floor.due());
        let Ok(next) = tokio::time::timeout_at(until, body.next()).await else {
            let now = Instant::now();
            if now >= end || !floor.holds(bytes.len() + joined.len(), now) {
                return Err(BodyError::TooSlow);
            }
            continue;
        };
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|_broken| BodyError::Broken)?;
        let total = bytes.len() + joined.len() + chunk.len();
        if total > bounds.limit {
            return Err(BodyError::TooLarge);
        }
        if !bounds.share.take(chunk.len()) {
            return Err(BodyError::NoRoomForSource);
        }
        let count = u32::try_from(chunk.len()).map_err(|_| BodyError::TooLarge)?;
        if count > 0 && !bounds.room.add(&mut permit, count, total > SMALL) {
            return Err(BodyError::NoRoom);
        }
        floor.received(chunk.len());
        // A steady trickle never waits long enough to be asked otherwise.
        let now = Instant::now();
        if now >= end || (now >= floor.due() && !floor.holds(total, now)) {
            return Err(BodyError::TooSlow);
        }
        if bytes.is_empty() && joined.is_empty() {
            bytes = chunk;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut bytes));
            joined.extend_from_slice(&chunk);
        }
    }
    let bytes = if joined.is_empty() { bytes } else { joined.freeze() };
    Ok(Received { bytes, permit })
}

/// Reads on without keeping anything. A connection that is closed with bytes unread is reset, and
/// the reset can overtake the answer: the sender would see a broken pipe instead of its 413.
pub(super) async fn discard(mut body: BodyDataStream) {
    let mut left = DISCARDED_BYTES;
    let reading = async {
        while let Some(Ok(chunk)) = body.next().await {
            left = left.saturating_sub(chunk.len());
            // hyper tells the end of a body of known length only together with the next request,
            // once its answer is sent.
            if left == 0 || body.is_end_stream() {
                return;
            }
        }
    };
    if tokio::time::timeout(DISCARDED_FOR, reading).await.is_err() {
        tracing::debug!("the rest of a refused webhook took too long");
    }
}

/// What the headers name as the body's encoding.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, BodyError> {
    let named = headers.get_all(CONTENT_ENCODING).iter();
    // What is no text is no encoding that is read.
    let named = named.map(|value| value.to_str().unwrap_or("?"));
    encoding::named(named).ok_or(BodyError::UnknownEncoding)
}

/// Decompresses a body, within the same limits.
pub(super) fn decoded(
    received: Received,
    encoding: Encoding,
    limit: usize,
    room: &Room,
) -> Result<Received, BodyError> {
    let encoding = encoding::found(encoding, &received.bytes);
    if encoding == Encoding::Identity {
        return Ok(received);
    }
    let mut permit = Permit::default();
    let mut total = 0usize;
    let take = |count: usize| {
        total = total.saturating_add(count);
        u32::try_from(count).is_ok_and(|count| room.add(&mut permit, count, total > SMALL))
    };
    let bytes = encoding::decoded(encoding, &received.bytes, limit, take)?;
    Ok(Received { bytes: bytes.into(), permit })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::{super::receiving::Receiving, *};

    fn room(bytes: usize) -> Room {
        Room::divided(bytes, 1, bytes)()
    }

    async fn read_within(
        body: &mut BodyDataStream,
        limit: usize,
        room: &Room,
        timeout: Duration,
    ) -> Result<Received, BodyError> {
        let receiving = Receiving::new(usize::MAX);
        let share = receiving.begin(None);
        read(body, Bounds { limit, room, share, timeout, min_rate: 0 }).await
    }

    fn chunked(chunks: Vec<&'static str>) -> BodyDataStream {
        Body::from_stream(futures_util::stream::iter(
            chunks.into_iter().map(Ok::<_, std::io::Error>),
        ))
        .into_data_stream()
    }

    #[tokio::test]
    async fn a_chunked_body_meets_the_same_limits() {
        let second = Duration::from_secs(5);
        let read_with = |chunks, limit, room| async move {
            read_within(&mut chunked(chunks), limit, &room, second).await
        };
        let body = read_with(vec!["ab", "cd"], 4, room(4)).await;
        assert_eq!(body.map(|b| b.bytes).ok(), Some(Bytes::from_static(b"abcd")));
        let refused = |result: Result<Received, BodyError>| result.err();
        assert_eq!(
            refused(read_with(vec!["ab", "cde"], 4, room(100)).await),
            Some(BodyError::TooLarge)
        );
        assert_eq!(refused(read_with(vec!["ab", "cd"], 4, room(3)).await), Some(BodyError::NoRoom));
    }

    #[tokio::test]
    async fn permits_are_held_while_the_body_is_and_given_back_after() {
        let room = room(10);
        let body =
            read_within(&mut chunked(vec!["abcdef"]), 10, &room, Duration::from_secs(5)).await;
        assert_eq!(room.free(), 4);
        drop(body);
        assert_eq!(room.free(), 10);
    }

    #[tokio::test]
    async fn a_slow_sender_is_cut_off() {
        let never = Body::from_stream(futures_util::stream::pending::<
            Result<&'static str, std::io::Error>,
        >());
        let result =
            read_within(&mut never.into_data_stream(), 10, &room(10), Duration::from_millis(20))
                .await;
        assert_eq!(result.err(), Some(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn a_source_that_has_its_part_is_told_so() {
        let (room, receiving) = (room(100), Receiving::new(5));
        let share = receiving.begin(Some([192, 0, 2, 1].into()));
        let timeout = Duration::from_secs(5);
        let bounds = Bounds { limit: 100, room: &room, share, timeout, min_rate: 0 };
        let result = read(&mut chunked(vec!["abc", "def"]), bounds).await;
        assert_eq!(result.err(), Some(BodyError::NoRoomForSource));
        assert_eq!(BodyError::NoRoomForSource.answer(), Answer::Unavailable);
    }
}
