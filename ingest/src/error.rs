use std::time::Duration;

use trivium_model::{ErrorKind, limit};

use crate::decode::DecodeError;
use crate::receiver::compression::Coding;

/// Why an export request was not taken. `kind()` says what the client can do about it; `receiver/status.rs` turns it into
/// an HTTP or gRPC status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload is not an export request of its signal. Nothing of it was stored.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The payload is not what its content encoding promises.
    #[error("cannot decompress the {} body: {source}", coding.as_str())]
    Decompress {
        /// The encoding that the request named.
        coding: Coding,
        /// What the decompressor said.
        source: std::io::Error,
    },
    /// The request broke off, or its framing is wrong.
    #[error("cannot read the request: {0}")]
    Malformed(String),
    /// The request is over the limit, before or after decompression.
    #[error("the request is larger than {} bytes; send smaller batches", limit::REQUEST_BYTES_MAX)]
    TooLarge,
    /// The body did not arrive in time.
    #[error("the request body did not arrive within {} s; send smaller batches", timeout.as_secs_f32())]
    BodyTimeout {
        /// How long the server waited.
        timeout: Duration,
    },
    /// The deadline that the client set passed. The request may or may not have been stored; sending it again is safe.
    #[error("the deadline of the request passed after {} s", timeout.as_secs_f32())]
    DeadlineExceeded {
        /// How much time the client gave.
        timeout: Duration,
    },
    /// More bytes are in work than the budget allows.
    #[error("too many requests are in work ({in_flight_bytes_max} bytes); retry in {} s", retry_after.as_secs_f32())]
    Overloaded {
        /// The budget.
        in_flight_bytes_max: usize,
        /// When to come back.
        retry_after: Duration,
    },
    /// The tenant sent more than it may.
    #[error("the tenant is over its limit {limit}; retry in {} s", retry_after.as_secs_f32())]
    RateLimited {
        /// The setting that says how much.
        limit: &'static str,
        /// When nothing is owed any more.
        retry_after: Duration,
    },
    /// The server is about to stop.
    #[error("the server is shutting down; retry in {} s", retry_after.as_secs_f32())]
    Draining {
        /// When to come back.
        retry_after: Duration,
    },
    /// The store did not take the request. Nothing of it is visible.
    #[error("cannot store the request: {source}")]
    Store {
        /// What the store said.
        source: trivium_storage::Error,
        /// When to come back.
        retry_after: Duration,
    },
    /// A defect of ours stopped the request. Told to clients as retryable, so that they keep the data.
    #[error("internal error, reported in the server's log; retry in {} s", retry_after.as_secs_f32())]
    Defect {
        /// When to come back.
        retry_after: Duration,
    },
    /// The content type is not one that this listener takes.
    #[error("content type {found:?} is not supported here; {advice}")]
    UnsupportedContentType {
        /// What the request said.
        found: String,
        /// What to send instead.
        advice: &'static str,
    },
    /// The content encoding is not one of ours, or there are several.
    #[error("content encoding {found:?} is not supported; use one of {offered}")]
    UnsupportedContentEncoding {
        /// What the request said.
        found: String,
        /// What this listener takes, as in `Accept-Encoding`.
        offered: &'static str,
    },
    /// A compressed gRPC message without the header that names its compression.
    #[error("the message has its compressed flag set, but grpc-encoding names no compression")]
    CompressionUnnamed,
    /// There is nothing at this path or under this method name.
    #[error("nothing is served at {path:?}; {advice}")]
    UnknownPath {
        /// What was asked for.
        path: String,
        /// What is served.
        advice: &'static str,
    },
    /// The path exists, the HTTP method is wrong.
    #[error("method {method} is not allowed here; use POST")]
    WrongMethod {
        /// What the request used.
        method: String,
    },
}

impl Error {
    /// What the client can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Decode(_)
            | Self::Decompress { .. }
            | Self::Malformed(_)
            | Self::UnsupportedContentType { .. }
            | Self::UnsupportedContentEncoding { .. }
            | Self::CompressionUnnamed
            | Self::WrongMethod { .. } => ErrorKind::InvalidArgument,
            Self::TooLarge => ErrorKind::LimitExceeded,
            Self::BodyTimeout { .. } | Self::DeadlineExceeded { .. } => ErrorKind::Cancelled,
            Self::RateLimited { .. } => ErrorKind::ResourceExhausted,
            Self::Overloaded { .. } | Self::Draining { .. } => ErrorKind::Unavailable,
            Self::Store { source, .. } => source.kind(),
            Self::Defect { .. } => ErrorKind::Internal,
            Self::UnknownPath { .. } => ErrorKind::NotFound,
        }
    }

    /// When the client should come back, for errors that pass.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. }
            | Self::RateLimited { retry_after, .. }
            | Self::Draining { retry_after }
            | Self::Store { retry_after, .. }
            | Self::Defect { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}
