//! Reading a request's body: bounded in size whatever `Content-Length` claims, bounded over all
//! requests together, bounded in time.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, HttpBody as _},
    extract::{FromRequest, Multipart, Request},
    http::header::CONTENT_TYPE,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::fairness::{Permit, Room};

/// How much of a refused body is read on, and for how long.
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;
const DISCARDED_FOR: Duration = Duration::from_secs(10);

/// A body, and the permits for its bytes.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    /// Given back when the webhook is done with.
    pub(super) _permit: Option<Permit>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Over the limit.
    TooLarge,
    /// The bodies being worked on fill the bound already.
    NoRoom,
    /// The sender took too long.
    TooSlow,
    /// The sender went away.
    Broken,
}

/// Reads the body chunk by chunk, so that neither a false nor a missing length gets past the
/// limits.
pub(super) async fn read(
    body: &mut BodyDataStream,
    limit: usize,
    room: &Room,
    timeout: Duration,
) -> Result<Received, BodyError> {
    // Mostly one chunk is all there is: it is kept as it came. More of them are joined.
    let mut bytes = Bytes::new();
    let mut joined = BytesMut::new();
    let mut permit: Option<Permit> = None;
    let reading = async {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_broken| BodyError::Broken)?;
            if bytes.len() + joined.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge);
            }
            let count = u32::try_from(chunk.len()).map_err(|_| BodyError::TooLarge)?;
            if count > 0 {
                let more = room.take(count).ok_or(BodyError::NoRoom)?;
                match &mut permit {
                    Some(permit) => permit.merge(more),
                    None => permit = Some(more),
                }
            }
            if bytes.is_empty() && joined.is_empty() {
                bytes = chunk;
            } else {
                joined.extend_from_slice(&std::mem::take(&mut bytes));
                joined.extend_from_slice(&chunk);
            }
        }
        Ok(())
    };
    tokio::time::timeout(timeout, reading).await.map_err(|_elapsed| BodyError::TooSlow)??;
    let bytes = if joined.is_empty() { bytes } else { joined.freeze() };
    Ok(Received { bytes, _permit: permit })
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

/// The fields of a form, if the body is one: multipart or url-encoded, texts exactly as sent.
/// `None` when the content is something else or not readable as a form.
pub async fn form(content_type: Option<&str>, body: &Bytes) -> Option<Vec<(String, String)>> {
    let content_type = content_type?;
    let media_type = content_type.split(';').next()?.trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Some(form_urlencoded::parse(body).into_owned().collect());
    }
    if !media_type.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let request = Request::builder()
        .header(CONTENT_TYPE, content_type)
        .body(Body::from(body.clone()))
        .ok()?;
    let mut parts = Multipart::from_request(request, &()).await.ok()?;
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.ok()? {
        let name = part.name()?.to_owned();
        // Not `text()`: a field's declared charset must not change the signed bytes.
        let value = String::from_utf8(part.bytes().await.ok()?.to_vec()).ok()?;
        fields.push((name, value));
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes: usize) -> Room {
        Room::divided(bytes, 1, 1)()
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
            read(&mut chunked(chunks), limit, &room, second).await
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
        let body = read(&mut chunked(vec!["abcdef"]), 10, &room, Duration::from_secs(5)).await;
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
            read(&mut never.into_data_stream(), 10, &room(10), Duration::from_millis(20)).await;
        assert_eq!(result.err(), Some(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn multipart_keeps_line_ends_and_blanks() {
        let body = Bytes::from_static(
            b"--x\r\nContent-Disposition: form-data; name=\"bizParam\"\r\n\r\n{\r\n    \"a\": 1\r\n}\r\n--x--\r\n",
        );
        let fields = form(Some("multipart/form-data; boundary=x"), &body).await;
        assert_eq!(fields, Some(vec![("bizParam".into(), "{\r\n    \"a\": 1\r\n}".into())]));
        let body = Bytes::from_static(b"a=1%2B1&b=%E4%BB%93");
        let fields = form(Some("application/x-www-form-urlencoded"), &body).await;
        assert_eq!(fields, Some(vec![("a".into(), "1+1".into()), ("b".into(), "仓".into())]));
        assert_eq!(form(Some("application/json"), &body).await, None);
    }
}
