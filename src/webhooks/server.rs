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
    http::{StatusCode, header},
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
            let service = router.clone().layer(Extension(Peer(peer.ip())));
            let stop = stop.clone();
            let read_timeout = webhooks.settings.read_timeout;
            tasks.spawn(async move {
                let _place = place;
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let mut service = service.clone();
                    async move { service.call(request.map(Body::new)).await }
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

#[derive(Clone, Copy)]
struct Peer(IpAddr);

async fn without_secret(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path(account): Path<String>,
    request: Request,
) -> Response {
    receive::receive(&webhooks, peer.0, &account, None, request).await
}

async fn with_secret(
    State(webhooks): State<Arc<Webhooks>>,
    Extension(peer): Extension<Peer>,
    Path((account, secret)): Path<(String, String)>,
    request: Request,
) -> Response {
    receive::receive(&webhooks, peer.0, &account, Some(&secret), request).await
}

async fn unknown_path() -> Result<Response, Infallible> {
    Ok(json(StatusCode::NOT_FOUND, vendors::UNKNOWN_ACCOUNT_ANSWER.to_owned()))
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
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
        Answer::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
