//! The public listener. It carries webhooks and nothing else.

use std::{
    convert::Infallible,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

use super::{
    Webhooks,
    connections::{self, Admission, Connections},
    receive,
};
use crate::{domain::Answer, vendors};

/// A bound listener; bound before anything else is started, so that a taken port is an error at
/// start and nothing more.
pub struct WebhookServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl fmt::Debug for WebhookServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookServer").field("address", &self.address).finish()
    }
}

impl WebhookServer {
    /// Takes the port.
    pub async fn bind(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address that was taken (port 0 takes a free one).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then answers what has begun and closes the connections politely.
    pub async fn serve(self, webhooks: Arc<Webhooks>, stop: CancellationToken) {
        let router = Router::new()
            .route("/webhooks/{account}", post(without_secret))
            .route("/webhooks/{account}/{secret}", post(with_secret))
            .fallback(unknown_path)
            .with_state(Arc::clone(&webhooks));
        let tasks = TaskTracker::new();
        let bound = Connections::new(webhooks.settings.max_connections);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    // Out of file descriptors, or a connection gone before it was taken: the
                    // next moment may be better, a busy loop would not be.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let place = match bound.admit() {
                Admission::Served(place) => place,
                Admission::Told(place) => {
                    tasks.spawn(connections::tell_no_room(stream, place));
                    continue;
                }
                Admission::Closed => continue,
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            let peer = peer.ip();
            let service = router.clone().layer(Extension(Peer(peer)));
            let webhooks = Arc::clone(&webhooks);
            let stop = stop.clone();
            let read_timeout = webhooks.settings.read_timeout;
            tasks.spawn(async move {
                let _place = place;
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let (webhooks, mut service) = (Arc::clone(&webhooks), service.clone());
                    async move {
                        // The router's way there costs as much as checking a short webhook.
                        let called = plain_path(request.method(), request.uri().path())
                            .map(|(account, secret)| receive::called(&webhooks, account, secret));
                        let request = request.map(Body::new);
                        match called {
                            Some(called) => {
                                Ok(receive::receive(&webhooks, peer, called, request).await)
                            }
                            None => service.call(request).await,
                        }
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    // A sender that trickles its headers holds nothing for longer than this; an
                    // idle connection is closed after the same time.
                    .header_read_timeout(read_timeout)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::pin!(connection);
                let result = tokio::select! {
                    result = connection.as_mut() => result,
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        }
        drop(self.listener);
        tasks.close();
        tasks.wait().await;
        webhooks.discarding.close();
        webhooks.discarding.wait().await;
    }
}

/// Account and path secret of a POST whose path says them without anything to decode; every other
/// request is the router's.
fn plain_path<'a>(method: &Method, path: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    let named = path.strip_prefix("/webhooks/").filter(|_| *method == Method::POST)?;
    if named.contains('%') {
        return None;
    }
    let (account, secret) = match named.split_once('/') {
        Some((account, secret)) => (account, Some(secret)),
        None => (named, None),
    };
    let whole = |part: &str| !part.is_empty() && !part.contains('/');
    (whole(account) && secret.is_none_or(whole)).then_some((account, secret))
}

#[derive(Clone, Copy)]
struct Peer(IpAddr);

async fn without_secret(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path(account): Path<String>,
    request: Request,
) -> Response {
    let called = receive::called(&webhooks, &account, None);
    receive::receive(&webhooks, peer.0, called, request).await
}

async fn with_secret(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path((account, secret)): Path<(String, String)>,
    request: Request,
) -> Response {
    let called = receive::called(&webhooks, &account, Some(&secret));
    receive::receive(&webhooks, peer.0, called, request).await
}

async fn unknown_path() -> Result<Response, Infallible> {
    Ok(json(StatusCode::NOT_FOUND, vendors::UNKNOWN_ACCOUNT_ANSWER))
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// The HTTP status of an answer.
pub(super) fn status(answer: Answer) -> StatusCode {
    match answer {
        Answer::Accepted => StatusCode::OK,
        Answer::UnknownAccount => StatusCode::NOT_FOUND,
        Answer::NoSignature | Answer::WrongSignature | Answer::AnotherApplication => {
            StatusCode::UNAUTHORIZED
        }
        Answer::SourceNotAllowed => StatusCode::FORBIDDEN,
        Answer::Malformed => StatusCode::BAD_REQUEST,
        Answer::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Answer::SignatureNotTried | Answer::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_when_the_router_would_read_it_the_same() {
        for (method, path, expected) in [
            (Method::POST, "/webhooks/a", Some(("a", None))),
            (Method::POST, "/webhooks/a/b", Some(("a", Some("b")))),
            (Method::GET, "/webhooks/a", None),
            (Method::POST, "/webhooks/a/", None),
            (Method::POST, "/webhooks//b", None),
            (Method::POST, "/webhooks/a/b/c", None),
            (Method::POST, "/webhooks/%61", None),
            (Method::POST, "/webhooks/", None),
            (Method::POST, "/webhooks", None),
            (Method::POST, "/", None),
        ] {
            assert_eq!(plain_path(&method, path), expected, "{method} {path}");
        }
    }
}
