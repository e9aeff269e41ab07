//! A stream that gives up on a peer that reads nothing, and counts what it sends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connections::Connection;

/// How long a peer may leave what we sent unread. HTTP/1.1 has no other limit on a client that asks and then never reads.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection's bytes, above TLS.
pub(crate) struct Tracked<S> {
    inner: S,
    connection: Arc<Connection>,
    /// Runs while nothing can be written.
    stall: Option<Pin<Box<Sleep>>>,
    /// The last write did not get through; an empty flush is no progress then.
    is_write_blocked: bool,
}

impl<S> Tracked<S> {
    pub(crate) fn new(inner: S, connection: Arc<Connection>) -> Self {
        Self { inner, connection, stall: None, is_write_blocked: false }
    }

    /// An error once nothing has got through for too long.
    fn stalled<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_TIMEOUT)));
        match stall.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn written(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_write_blocked = poll.is_pending();
        if poll.is_pending() {
            return self.stalled(context);
        }
        self.stall = None;
        poll
    }

    fn flushed(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if poll.is_pending() {
            return self.stalled(context);
        }
        if !self.is_write_blocked {
            self.stall = None;
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tracked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.connection.read(buffer.filled().len().saturating_sub(before));
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tracked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.written(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(context);
        self.flushed(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_shutdown(context);
        self.flushed(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.written(context, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;
    use crate::connections::Connections;
    use crate::source::PerAddress;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_ends_the_write_and_one_that_reads_slowly_does_not() {
        let connections = Arc::new(Connections::new(PerAddress::default()));
        let entry = connections.enter(None, false);
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut stream = Tracked::new(ours, Arc::clone(&entry.connection));
        let reader = tokio::spawn(async move {
            let mut bytes = [0; 64];
            for _ in 0..3 {
                tokio::time::sleep(WRITE_STALL_TIMEOUT - Duration::from_secs(1)).await;
                theirs.read_exact(&mut bytes).await.expect("there is something to read");
            }
            theirs
        });
        stream.write_all(&[0; 64 * 4]).await.expect("each wait is shorter than the limit");
        let _theirs = reader.await.expect("the reader ends");
        let before = Instant::now();
        let error = stream.write_all(&[0; 64]).await.expect_err("nothing is read any more");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(before.elapsed().as_secs(), WRITE_STALL_TIMEOUT.as_secs());
    }
}
