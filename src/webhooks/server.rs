//! The public listener. It carries webhooks and nothing else.

use std::{
    convert::Infallible,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::FutureExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service as _;

use super::{
    Webhooks,
    connections::{self, Admission, Connection, Connections, Place},
    pace::Deadlines,
    receive, source,
    watched::Watched,
};
use crate::domain::Answer;

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

    /// Serves until `stop`, and on for `drain`: a balancer needs a moment to notice. Then answers
    /// what has begun and closes the connections politely.
    pub async fn serve(self, webhooks: Arc<Webhooks>, stop: CancellationToken) {
        let settings = &webhooks.settings;
        let deadlines = Deadlines { head: settings.read_timeout, keep_alive: settings.keep_alive };
        let connections = Connections::new(
            settings.max_connections,
            settings.max_connections_per_source,
            deadlines,
            webhooks.metrics.clone(),
        );
        let router = Router::new()
            .route("/webhooks/{account}", post(without_secret).get(tried))
            .route("/webhooks/{account}/{secret}", post(with_secret).get(tried_with_secret))
            .fallback(unknown_path)
            .method_not_allowed_fallback(another_method)
            .with_state(Arc::clone(&webhooks));
        let ended = CancellationToken::new();
        let service = Arc::new(Service { webhooks, router, draining: stop, ended });
        let serving = Serving { service, connections, tasks: TaskTracker::new() };
        let Service { webhooks, draining, ended, .. } = &*serving.service;
        let watched = CancellationToken::new();
        serving.tasks.spawn(Arc::clone(&serving.connections).watch(watched.clone()));
        serving.accept_until(&self.listener, draining.cancelled()).await;
        // Before it was open it was never ready, and no balancer sends it anything.
        if webhooks.kafka.get().is_some() {
            let drain = tokio::time::sleep(webhooks.settings.drain);
            serving.accept_until(&self.listener, drain).await;
        }
        // Closing the listener resets whoever is connected already and only waits to be accepted.
        for _ in 0..BACKLOG {
            let Some(Ok((stream, peer))) = self.listener.accept().now_or_never() else { break };
            serving.accepted(stream, peer);
        }
        drop(self.listener);
        ended.cancel();
        watched.cancel();
        serving.tasks.close();
        serving.tasks.wait().await;
        webhooks.discarding.close();
        webhooks.discarding.wait().await;
    }
}

/// How large the headers of a request may be, with its first line.
const MAX_HEADER: usize = 32 * 1024;

/// So many connections wait to be accepted, at most: what tokio asks the system for.
const BACKLOG: usize = 1024;

/// The listener at work.
struct Serving {
    service: Arc<Service>,
    connections: Arc<Connections>,
    tasks: TaskTracker,
}

/// What every connection needs.
struct Service {
    webhooks: Arc<Webhooks>,
    router: Router,
    /// The end was asked for: each answer says that it is the connection's last.
    draining: CancellationToken,
    /// Nothing more is taken: connections without a request are closed.
    ended: CancellationToken,
}

impl Serving {
    async fn accept_until(&self, listener: &TcpListener, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = end.as_mut() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.accepted(stream, peer),
                Err(error) => {
                    // Out of file descriptors, or a connection gone before it was taken: the
                    // next moment may be better, a busy loop would not be.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn accepted(&self, stream: TcpStream, peer: SocketAddr) {
        let proxies = &self.service.webhooks.settings.trusted_proxies;
        let source = peer.ip().to_canonical();
        let source = (!source::contains(proxies, source)).then_some(source);
        let place = match self.connections.admit(source) {
            Admission::Served(place) => place,
            Admission::Told(place) => {
                self.tasks.spawn(connections::tell_no_room(stream, place));
                return;
            }
            Admission::Closed => return,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let service = Arc::clone(&self.service);
        self.tasks.spawn(async move { service.serve(stream, peer.ip(), &place).await });
    }
}

impl Service {
    /// Serves one connection to its end.
    async fn serve(self: Arc<Self>, stream: TcpStream, address: IpAddr, place: &Place) {
        let connection = &place.connection;
        let peer = Peer { address, connection: Arc::clone(connection) };
        let router = self.router.clone().layer(Extension(peer.clone()));
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (peer, router) = (peer.clone(), router.clone());
            let service = &self;
            async move { service.answer(&peer, router, request.map(Body::new)).await }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // `pace` tells a header that does not come to its end from a connection without one.
            .header_read_timeout(None)
            // The headers of a request fit into it, or it is a 431; a body passes through it in parts.
            .max_buf_size(MAX_HEADER)
            .serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(connection))), service);
        tokio::pin!(serving);
        let mut ending = false;
        let result = loop {
            tokio::select! {
                result = serving.as_mut() => break result,
                () = connection.closed() => return,
                () = self.ended.cancelled(), if !ending => {
                    ending = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = result {
            if error.is_parse_too_large() {
                place.refused("large-header");
            }
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(
        &self,
        peer: &Peer,
        mut router: Router,
        request: Request,
    ) -> Result<Response, Infallible> {
        peer.connection.begun();
        // The router's way there costs as much as checking a short webhook.
        let called = plain_path(request.method(), request.uri().path())
            .map(|(account, secret)| receive::called(&self.webhooks, account, secret));
        let mut response = match called {
            Some(called) => receive::receive(&self.webhooks, peer, called, request).await,
            None => router.call(request).await?,
        };
        if self.draining.is_cancelled() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        peer.connection.answered();
        Ok(response)
    }
}

/// Who sent a request.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) connection: Arc<Connection>,
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

async fn without_secret(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path(account): Path<String>,
    request: Request,
) -> Response {
    let called = receive::called(&webhooks, &account, None);
    receive::receive(&webhooks, &peer, called, request).await
}

async fn with_secret(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path((account, secret)): Path<(String, String)>,
    request: Request,
) -> Response {
    // `/webhooks//a`, which is no account's.
    if account.is_empty() {
        return unknown_path(State(webhooks), Extension(peer), request).await;
    }
    let called = receive::called(&webhooks, &account, Some(&secret));
    receive::receive(&webhooks, &peer, called, request).await
}

/// GET and HEAD.
async fn tried(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path(account): Path<String>,
) -> Response {
    receive::tried(&webhooks, &peer, &receive::called(&webhooks, &account, None))
}

async fn tried_with_secret(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path((account, secret)): Path<(String, String)>,
) -> Response {
    receive::tried(&webhooks, &peer, &receive::called(&webhooks, &account, Some(&secret)))
}

async fn unknown_path(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let reason = why_unknown(request.uri().path());
    receive::no_webhook(&webhooks, &peer, receive::UNKNOWN_PATH, reason, request.into_body());
    receive::unknown_account()
}

async fn another_method(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let reason = "the method is not POST (GET and HEAD try an address)";
    receive::no_webhook(&webhooks, &peer, receive::METHOD_NOT_ALLOWED, reason, request.into_body());
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,HEAD,POST")]).into_response()
}

/// What is wrong with a path that is no account's. The path itself is not told: it may hold a secret.
fn why_unknown(path: &str) -> &'static str {
    let Some(named) = path.strip_prefix("/webhooks/") else {
        return "the path does not begin with /webhooks/ and an account";
    };
    if named.ends_with('/') || named.is_empty() {
        "the path ends in a slash"
    } else if named.starts_with('/') || named.contains("//") {
        "the path has two slashes in a row"
    } else {
        "the path has more than an account and its secret"
    }
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
        Answer::UnknownEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Answer::SignatureNotTried | Answer::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_is_told_by_what_is_wrong_with_it() {
        for (path, part) in [
            ("/", "does not begin"),
            ("/webhook/a", "does not begin"),
            ("/webhooks", "does not begin"),
            ("/webhooks/", "ends in a slash"),
            ("/webhooks/a/", "ends in a slash"),
            ("/webhooks/a/s/", "ends in a slash"),
            ("/webhooks//a", "two slashes"),
            ("/webhooks/a//s", "two slashes"),
            ("/webhooks/a/s/x", "more than"),
        ] {
            assert!(why_unknown(path).contains(part), "{path}");
        }
    }

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
