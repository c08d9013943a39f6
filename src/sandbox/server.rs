//! HTTP servers whose connections can be cut at any moment, as a network does it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests in flight may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(1);

/// The handle of one connection.
#[derive(Debug, Clone)]
pub(super) struct Line {
    cut: Arc<AtomicBool>,
}

impl Line {
    /// From now on nothing more is written: the caller sees the connection end without an answer.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, Wire>> for Line {
    fn connect_info(stream: IncomingStream<'_, Wire>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A listener whose connections can be cut.
#[derive(Debug)]
pub(super) struct Wire {
    listener: TcpListener,
}

impl Wire {
    pub(super) async fn bind(at: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        Ok((Self { listener }, address))
    }
}

impl Listener for Wire {
    type Io = Cuttable;
    type Addr = Line;

    async fn accept(&mut self) -> (Cuttable, Line) {
        // axum's own listener pauses and goes on when the process has too many open files.
        let (stream, _) = Listener::accept(&mut self.listener).await;
        let line = Line { cut: Arc::new(AtomicBool::new(false)) };
        (Cuttable { stream, cut: Arc::clone(&line.cut) }, line)
    }

    fn local_addr(&self) -> io::Result<Line> {
        Ok(Line { cut: Arc::new(AtomicBool::new(false)) })
    }
}

/// A connection that fails every write once it is cut.
#[derive(Debug)]
pub(super) struct Cuttable {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
}

impl Cuttable {
    fn alive(&self) -> io::Result<()> {
        match self.cut.load(Ordering::Acquire) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.alive() {
            Ok(()) => Pin::new(&mut self.stream).poll_write(cx, buffer),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.alive() {
            Ok(()) => Pin::new(&mut self.stream).poll_write_vectored(cx, buffers),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves until the end is asked for; requests in flight get [`GRACE`].
pub(super) fn serve(wire: Wire, app: Router, tracker: &TaskTracker, cancel: &CancellationToken) {
    let ending = cancel.clone();
    let end = cancel.clone();
    tracker.spawn(async move {
        let service = app.into_make_service_with_connect_info::<Line>();
        let served = axum::serve(wire, service)
            .with_graceful_shutdown(ending.cancelled_owned())
            .into_future();
        let overdue = async {
            end.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = served => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a server of the sandbox ended");
                }
            }
            () = overdue => tracing::debug!("a server of the sandbox left requests behind"),
        }
    });
}
