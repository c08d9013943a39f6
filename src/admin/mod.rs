//! The admin listener: health, readiness, metrics. Loopback by default, never the public one.

mod readiness;

use std::{future::IntoFuture, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use readiness::Readiness;

use crate::metrics::Metrics;

/// A bound admin listener.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

struct Shared {
    metrics: Metrics,
    readiness: Readiness,
}

impl AdminServer {
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

    /// Serves until `stop`.
    pub async fn serve(
        self,
        metrics: Metrics,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let router = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render))
            .with_state(Arc::new(Shared { metrics, readiness }));
        // A scraper that keeps its connection open must not hold up the shutdown.
        tokio::select! {
            served = axum::serve(self.listener, router).into_future() => served,
            () = stop.cancelled() => Ok(()),
        }
    }
}

/// The process runs. Nothing else: a restart mends none of what readiness reports.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let report = shared.readiness.report();
    shared.metrics.ready(report.ready);
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(report)).into_response()
}

async fn render(State(shared): State<Arc<Shared>>) -> Response {
    shared.metrics.ready(shared.readiness.report().ready);
    match shared.metrics.render() {
        Ok(text) => {
            let content_type = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
            (content_type, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
