//! The TLS handshake of one connection, within a time limit, with an answer that people understand for plain HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::telemetry::Closed;

/// How long a handshake may take in all.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a plain request is read, so that its sender gets to read our answer.
const PLAIN_BYTES_MAX: u64 = 64 * 1024;

const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    x-content-type-options: nosniff\r\n\
    content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\
    cache-control: no-store\r\n\
    connection: close\r\n\
    content-length: 66\r\n\
    \r\n\
    This port speaks TLS only: use https:// (OTLP: insecure to false)\n";

/// The stream, and the certificate of the client followed by those of its issuers.
type Shaken = (TlsStream<TcpStream>, Vec<CertificateDer<'static>>);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the peer did not end its handshake within {HANDSHAKE_TIMEOUT:?}")]
    TimedOut,
    #[error("the peer speaks plain HTTP")]
    PlainHttp,
    #[error("the peer has gone")]
    Gone,
    #[error("{0}")]
    Tls(#[from] io::Error),
}

impl HandshakeError {
    pub(crate) fn reason(&self) -> Closed {
        match self {
            Self::TimedOut => Closed::HandshakeTimeout,
            Self::PlainHttp => Closed::PlainHttp,
            Self::Gone | Self::Tls(_) => Closed::HandshakeFailed,
        }
    }
}

/// The encrypted stream, and the client's certificates when it had to show them.
pub(crate) async fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Shaken, HandshakeError> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, shake(stream, config)).await.unwrap_or(Err(HandshakeError::TimedOut))
}

async fn shake(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Shaken, HandshakeError> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(HandshakeError::Gone);
    }
    // A TLS record begins with its type, 20 to 24; a request with the name of its method.
    if first[0].is_ascii_uppercase() {
        explain(stream).await?;
        return Err(HandshakeError::PlainHttp);
    }
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let (_, session) = stream.get_ref();
    let chain =
        session.peer_certificates().map(|chain| chain.iter().cloned().map(CertificateDer::into_owned).collect());
    Ok((stream, chain.unwrap_or_default()))
}

/// Answers in plain text, and reads what was sent: closing on unread bytes resets the connection before the answer is read.
async fn explain(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_ANSWER).await?;
    stream.shutdown().await?;
    let mut unread = stream.take(PLAIN_BYTES_MAX);
    tokio::io::copy(&mut unread, &mut tokio::io::sink()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_ANSWER).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len()).trim_end().to_owned()), "{}", body.len());
    }
}
