//! What happens to each request on its way to the router and back: who asks, how slowly, and until when it counts as work.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Version, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};
use tower::Service;

use crate::certificate::PeerCertificate;
use crate::connections::{Connection, InFlight};

/// How long we wait for the bytes of a body in all, beyond what its size at [`BODY_BYTES_PER_SECOND_MIN`] takes. Receivers
/// may have shorter limits of their own.
const BODY_PATIENCE: Duration = Duration::from_secs(60);
const BODY_BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// How long the rest of a request that was answered early is still read, and how many bytes of it.
const REST_PATIENCE: Duration = Duration::from_secs(5);
const REST_BYTES_MAX: usize = 256 << 20;

/// Who is at the other end of a connection. In the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection comes from, which may be a proxy's.
    pub address: SocketAddr,
    /// Whether the connection is encrypted up to us.
    pub is_tls: bool,
    /// What the client proved to be, when client certificates are required.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// The requests of one connection.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) router: Router,
    pub(crate) peer: Peer,
    pub(crate) connection: Arc<Connection>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.connection.begin();
        let (back, mut rest) = oneshot::channel();
        let back = Some(back).filter(|_| is_sent_whatever_we_say(&request));
        let mut request = request.map(|body| PacedBody::new(body, back));
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.clone().call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(body) = rest.try_recv().ok().filter(|body| !http_body::Body::is_end_stream(body)) {
                tokio::spawn(tokio::time::timeout(REST_PATIENCE, read_rest(body)));
            }
            Ok(answer.map(|body| AnswerBody { body, _in_flight: in_flight }))
        })
    }
}

/// Whether the peer goes on with its body after an answer, as clients of HTTP/1.1 do that did not ask for leave. A connection
/// that is closed upon unread bytes is reset, and the peer may lose the answer: a refusal would look like a failure of the
/// network, and be tried again for ever.
fn is_sent_whatever_we_say(request: &Request<Incoming>) -> bool {
    request.version() < Version::HTTP_2
        && !request.headers().contains_key(header::EXPECT)
        && !http_body::Body::is_end_stream(request.body())
}

/// Reads what is left of a body and forgets it.
async fn read_rest(mut body: impl http_body::Body<Data = Bytes> + Unpin) {
    let mut bytes = 0;
    while bytes < REST_BYTES_MAX {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(Ok(frame)) = frame else { return };
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// The body of an answer: its request is in flight until it is gone.
pub(crate) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, given up when it comes too slowly. Only the time that we wait for the peer counts, not the time
/// that the peer waits for us.
pub(crate) struct PacedBody<B> {
    /// There until this is dropped.
    body: Option<B>,
    /// Where the body goes when nobody wants more of it.
    back: Option<oneshot::Sender<B>>,
    bytes: u64,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// A body that came too slowly.
#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the body of the request came too slowly and is given up")
    }
}

impl std::error::Error for TooSlow {}

impl<B> PacedBody<B> {
    fn new(body: B, back: Option<oneshot::Sender<B>>) -> Self {
        Self { body: Some(body), back, bytes: 0, waited: Duration::ZERO, waiting: None }
    }

    fn patience(&self) -> Duration {
        let earned = Duration::from_secs(self.bytes / BODY_BYTES_PER_SECOND_MIN);
        (BODY_PATIENCE + earned).saturating_sub(self.waited)
    }
}

impl<B> Drop for PacedBody<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // The request itself may be gone, and with it who would have read on.
            drop(back.send(body));
        }
    }
}

impl<B> http_body::Body for PacedBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
            let patience = this.patience();
            let (_, sleep) =
                this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(patience))));
            return match sleep.as_mut().poll(context) {
                Poll::Ready(()) => {
                    this.back = None;
                    Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow).into())))
                }
                Poll::Pending => Poll::Pending,
            };
        };
        if let Some((since, _)) = this.waiting.take() {
            this.waited += since.elapsed();
        }
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
        this.bytes += data.map_or(0, |data| data.len() as u64);
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    /// A body whose chunks come at an interval.
    struct Drip {
        chunk: Bytes,
        interval: Duration,
        next: Pin<Box<Sleep>>,
    }

    impl Drip {
        fn new(chunk_bytes: usize, interval: Duration) -> PacedBody<Self> {
            let next = Box::pin(tokio::time::sleep(interval));
            PacedBody::new(Self { chunk: vec![0; chunk_bytes].into(), interval, next }, None)
        }
    }

    impl http_body::Body for Drip {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::ready!(self.next.as_mut().poll(context));
            let next = Instant::now() + self.interval;
            self.next.as_mut().reset(next);
            Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
        }
    }

    /// How long a body was read until it was given up, at most an hour.
    async fn read(mut body: PacedBody<Drip>) -> Option<Duration> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3_600) {
            if let Err(error) = body.frame().await? {
                assert!(error.to_string().contains("too slowly"), "{error}");
                return Some(started.elapsed());
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_and_one_that_flows_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(read(Drip::new(1, second)).await.map(|time| time.as_secs()), Some(60));
        assert_eq!(read(Drip::new(1, Duration::MAX)).await.map(|time| time.as_secs()), Some(60));
        // Half the least speed: each second of it earns half a second more.
        assert_eq!(read(Drip::new(8 * 1024, second)).await.map(|time| time.as_secs()), Some(119));
        assert_eq!(read(Drip::new(16 * 1024, second)).await, None);
        assert_eq!(read(Drip::new(1 << 20, 40 * second)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_peer_waits_for_us_does_not_count() {
        let mut body = Drip::new(1, Duration::from_millis(1));
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(100)).await;
            body.frame().await.expect("more").expect("our own slowness is no fault of the peer");
        }
        assert!(!body.is_end_stream());
    }
}
