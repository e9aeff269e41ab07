//! Serves a router on a listener over HTTP/1.1 and HTTP/2, with limits on everything that a peer can make us hold.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Open connections of one listener; more wait in the kernel's queue until one ends.
const CONNECTIONS_MAX: usize = 4_096;

/// How long a peer may take to send the head of a request, and how long a connection may be idle between requests: longer
/// than the 60 s at which metrics are exported by default, so that a client does not send into a connection being closed.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);

/// Bytes of a request head over HTTP/1.1, and of a read from the socket. A longer head is answered with 431.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection, and bytes of headers of each.
const HTTP2_STREAMS_MAX: u32 = 256;
const HTTP2_HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Requests that a peer may take back before we have looked at them, and requests that we may have to refuse: beyond, the
/// connection is closed. Taking back what was just sent ("rapid reset") costs a peer nothing and us a request each time.
const HTTP2_RESETS_MAX: usize = 20;
const HTTP2_REFUSALS_MAX: usize = 256;

/// What one HTTP/2 request, and all of one connection, may send before we have read it.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A silent HTTP/2 connection is asked whether it is still there after this time, and closed when it does not answer.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long requests in work may take to end after a shutdown began.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

/// Pause after the system refused a connection, most often because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes, then stops accepting, lets requests in work end, and closes every connection.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
    let server = Arc::new(settings());
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                report(ended);
                continue;
            }
            accepted = accept(&listener, &permits) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The loop must survive a full file table: connections that end free it again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (server, service, watcher) =
            (Arc::clone(&server), TowerToHyperService::new(router.clone()), graceful.watcher());
        connections.spawn(async move {
            let _permit = permit;
            let connection = server.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections whose requests did not end in time");
    }
    connections.shutdown().await;
    Ok(())
}

fn settings() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_REFUSALS_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // The semaphore is never closed, so there always is a permit.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    // Answers are small and waited for; Nagle's algorithm would hold them back.
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended by a panic");
    }
}
