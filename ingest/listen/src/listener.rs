//! The accept loop, and hyper on each connection with limits on everything that a peer can make us hold.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::certificate::PeerCertificate;
use crate::connections::{Connection, Connections, Entry, Room};
use crate::handshake;
use crate::request::{Peer, Requests};
use crate::source::{PerAddress, Seldom};
use crate::stream::Tracked;
use crate::telemetry::{Closed, ListenMetrics};
use crate::tls::{ClientCertificates, Tls};
use crate::windows::Windows;

/// Open connections of one listener unless it is told otherwise. For each above, the one that is idle for the longest time
/// is closed.
const CONNECTIONS_MAX: usize = 4_096;

/// Connections above that number while others are being closed, or while none is idle; more wait in the kernel's queue.
const CONNECTIONS_SLACK: usize = 256;

/// TLS handshakes at once; for each above, the slowest is given up. An honest one takes a few round trips.
const HANDSHAKES_MAX: usize = 512;

/// How long a peer may take to send the head of a request, and how long a connection may be idle between requests: longer
/// than the 60 s at which metrics are exported by default, so that a client does not send into a connection being closed.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);

/// Bytes of a request head over HTTP/1.1, and of a read from the socket, unless the listener has fewer. A longer head is answered
/// with 431.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection, and bytes of headers of each.
const HTTP2_STREAMS_MAX: u32 = 256;
const HTTP2_HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Requests that a peer may take back before we have looked at them, and requests that we may have to refuse: beyond, the
/// connection is closed. Taking back what was just sent ("rapid reset") costs a peer nothing and us a request each time.
const HTTP2_RESETS_MAX: usize = 20;
const HTTP2_REFUSALS_MAX: usize = 256;

/// What all HTTP/2 connections may send before we have read it, beyond what the protocol gives each, unless the listener has less.
const HTTP2_WINDOWS_BYTES: usize = 64 * 1024 * 1024;

/// What of one HTTP/2 answer we hold for a peer that does not read it.
const HTTP2_SEND_BUFFER_BYTES: usize = 128 * 1024;

/// A silent HTTP/2 connection is asked whether it is still there after this time, and closed when it does not answer.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long requests in work may take to end after a shutdown began.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

/// How long an idle connection that has to go may take to say good-bye.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause after the system refused a connection, most often because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is listened on, and what is spoken there.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    name: &'static str,
    tls: Option<(Arc<Tls>, ClientCertificates)>,
    metrics: ListenMetrics,
    connections_max: usize,
    per_address: PerAddress,
    http1_buffer_bytes: usize,
    http2_windows_bytes: usize,
}

impl Listener {
    /// Plain HTTP; `name` is what metrics and logs call it.
    pub fn new(name: &'static str, tcp: TcpListener, metrics: ListenMetrics) -> Self {
        Self {
            tcp,
            name,
            tls: None,
            metrics,
            connections_max: CONNECTIONS_MAX,
            per_address: PerAddress::default(),
            http1_buffer_bytes: HTTP1_BUFFER_BYTES,
            http2_windows_bytes: HTTP2_WINDOWS_BYTES,
        }
    }

    /// The same over TLS.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>, clients: ClientCertificates) -> Self {
        Self { tls: Some((tls, clients)), ..self }
    }

    /// The same with at most this many connections, but no more than by default.
    #[must_use]
    pub fn with_connections_max(self, connections_max: usize) -> Self {
        Self { connections_max: connections_max.clamp(1, CONNECTIONS_MAX), ..self }
    }

    /// The same with at most this many connections of one address: for each above, its idlest one is closed, and when it has
    /// none that is idle, the new one.
    #[must_use]
    pub fn with_connections_per_address(self, per_address: PerAddress) -> Self {
        Self { per_address, ..self }
    }

    /// The same with buffers of so many bytes, at least 8 KiB, for what is read over HTTP/1.1: each connection that sends much
    /// keeps one. A longer request head is answered with 431.
    #[must_use]
    pub fn with_http1_buffer_bytes(self, bytes: usize) -> Self {
        Self { http1_buffer_bytes: bytes.max(8 * 1024), ..self }
    }

    /// The same with so many bytes, but no more than by default, that all HTTP/2 connections together may send before they are read,
    /// beyond the 64 KiB that the protocol gives each.
    #[must_use]
    pub fn with_http2_windows_bytes(self, bytes: usize) -> Self {
        Self { http2_windows_bytes: bytes.min(HTTP2_WINDOWS_BYTES), ..self }
    }
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self::new("http", tcp, ListenMetrics::default())
    }
}

/// What the connections of a listener share.
struct Server {
    http: Builder<TokioExecutor>,
    windows: Arc<Windows>,
    router: Router,
    name: &'static str,
    tls: Option<(Arc<Tls>, ClientCertificates)>,
    metrics: ListenMetrics,
    connections: Arc<Connections>,
    /// Warnings about addresses above their number.
    address_warnings: Seldom,
}

/// Serves until `shutdown` completes, then stops accepting, lets requests in work end, and closes every connection.
///
/// # Errors
///
/// None at present; a connection that cannot be accepted is logged, and the next one is waited for.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let Listener { tcp, name, tls, metrics, connections_max, per_address, http1_buffer_bytes, http2_windows_bytes } =
        listener.into();
    let windows = Windows::new(http2_windows_bytes);
    let connections = Arc::new(Connections::new(per_address));
    let address_warnings = Seldom::default();
    let http = settings(http1_buffer_bytes);
    let server = Arc::new(Server { http, windows, router, name, tls, metrics, connections, address_warnings });
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let has_room = tasks.len() < connections_max + CONNECTIONS_SLACK;
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                report(ended);
                continue;
            }
            accepted = tcp.accept(), if has_room => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(entry) = server.admit(address.ip(), tasks.len() >= connections_max) else { continue };
                tasks.spawn(Arc::clone(&server).converse(stream, address, entry));
            }
            Err(error) => server.refused(&error).await,
        }
    }
    drop(tcp);
    server.connections.stop();
    let ending = async {
        while tasks.join_next().await.is_some_and(|ended| {
            report(ended);
            true
        }) {}
    };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, ending).await.is_err() {
        tracing::warn!(name, connections = tasks.len(), "closing connections whose requests did not end in time");
    }
    tasks.shutdown().await;
    Ok(())
}

fn settings(http1_buffer_bytes: usize) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(http1_buffer_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_REFUSALS_MAX)
        .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

impl Server {
    /// Takes a connection in, and says which other has to go for it; `None` when it has to go itself.
    fn admit(&self, address: IpAddr, is_over: bool) -> Option<Entry> {
        let source = self.connections.source(address);
        let room = self.connections.make_room_of(source);
        let reason = match room {
            Room::Free => None,
            Room::Evicted => Some(Closed::AddressIdle),
            Room::Refused => Some(Closed::AddressRefused),
        };
        if let Some(reason) = reason {
            self.metrics.closed(self.name, reason);
            if let Some(closed) = self.address_warnings.tell() {
                tracing::warn!(
                    name = self.name, %address, closed,
                    "an address has more connections than connections_per_address_max; its idlest are closed, and new \
                     ones while all are at work"
                );
            }
        }
        if room == Room::Refused {
            return None;
        }
        // What the address itself gave is room enough.
        self.make_room(is_over && room == Room::Free);
        Some(self.connections.enter(source, self.tls.is_some()))
    }

    /// Before a connection comes in, closes one that costs a place and asks for nothing.
    fn make_room(&self, is_over: bool) {
        if is_over && self.connections.evict_idlest() {
            self.metrics.closed(self.name, Closed::Idle);
        }
        if self.connections.evict_slowest_handshake(HANDSHAKES_MAX) {
            self.metrics.closed(self.name, Closed::SlowHandshake);
        }
    }

    /// The loop must survive a full file table: an idle connection gives its descriptor back.
    async fn refused(&self, error: &io::Error) {
        // The peer has gone before we looked: nobody waits, and the next one must not.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        tracing::warn!(name = self.name, %error, "cannot accept a connection");
        self.metrics.closed(self.name, Closed::NotAccepted);
        self.make_room(true);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    /// One connection from its first byte to its last.
    async fn converse(self: Arc<Self>, stream: TcpStream, address: SocketAddr, entry: Entry) {
        // Answers are small and waited for; Nagle's algorithm would hold them back. A peer that has gone shows below.
        stream.set_nodelay(true).ok();
        let _open = self.metrics.opened(self.name);
        let Some((tls, clients)) = &self.tls else {
            let peer = Peer { address, is_tls: false, certificate: None };
            return self.speak(stream, &entry, peer, std::future::pending()).await;
        };
        let changes = tls.changes();
        let Some(config) = tls.config(*clients) else {
            tracing::error!(name = self.name, "client certificates are required, and no CA of theirs is configured");
            return self.metrics.closed(self.name, Closed::HandshakeFailed);
        };
        let shaken = tokio::select! {
            shaken = handshake::accept(stream, config) => shaken,
            () = entry.connection.closing() => return,
        };
        entry.connection.shook_hands();
        match shaken {
            Ok((stream, chain)) => {
                let certificate = chain.first().and_then(PeerCertificate::read).map(Arc::new);
                let peer = Peer { address, is_tls: true, certificate };
                let distrusted = async {
                    match chain.is_empty() {
                        true => std::future::pending().await,
                        false => tls.distrust(changes, chain).await,
                    }
                };
                self.speak(stream, &entry, peer, distrusted).await;
            }
            Err(error) => {
                tracing::debug!(name = self.name, %address, %error, "no TLS handshake");
                self.metrics.closed(self.name, error.reason());
            }
        }
    }

    /// Speaks HTTP until the connection ends, or has to: when it is told to go, or its client is `distrusted`.
    async fn speak<S>(&self, stream: S, entry: &Entry, peer: Peer, distrusted: impl Future<Output = ()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Arc::clone(&entry.connection);
        let stream = TokioIo::new(Tracked::new(stream, Arc::clone(&connection)));
        let requests = Requests { router: self.router.clone(), peer, connection: Arc::clone(&connection) };
        let window = self.windows.take();
        let mut http = self.http.clone();
        http.http2()
            .initial_stream_window_size(window.of_stream())
            .initial_connection_window_size(window.of_connection());
        let mut conversation = pin!(http.serve_connection(stream, requests));
        let ended = tokio::select! {
            ended = conversation.as_mut() => Some(ended),
            () = connection.closing() => None,
            () = distrusted => {
                self.metrics.closed(self.name, Closed::Distrusted);
                None
            }
            () = self.silence(&connection) => return,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                conversation.as_mut().graceful_shutdown();
                let Ok(ended) = tokio::time::timeout(good_bye(&connection), conversation).await else { return };
                ended
            }
        };
        if let Err(error) = ended {
            tracing::debug!(name = self.name, error, "a connection ended early");
        }
    }

    /// Completes when the peer has said nothing of use for too long. Hyper's limits begin with the protocol's version, for
    /// which it would wait for ever.
    async fn silence(&self, connection: &Connection) {
        tokio::time::sleep(HEADER_READ_TIMEOUT).await;
        if !connection.is_silent() {
            std::future::pending::<()>().await;
        }
        self.metrics.closed(self.name, Closed::Silent);
    }
}

/// How long a connection that is to end may take.
fn good_bye(connection: &Connection) -> Duration {
    if connection.is_evicted() && connection.is_idle() { EVICTION_TIMEOUT } else { SHUTDOWN_TIMEOUT }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended by a panic");
    }
}
