/// What went wrong, as far as a caller can act on it. Every crate's error answers `kind()` with one of these, and exactly
/// one file per edge maps them to HTTP and gRPC statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong; sending it again cannot succeed.
    InvalidArgument,
    /// What was asked for does not exist.
    NotFound,
    /// A limit of the product was exceeded by this one request (too large, too deep, too many rows); not retryable as it is.
    LimitExceeded,
    /// A quota or budget is used up for now; the same request may succeed later.
    ResourceExhausted,
    /// The server cannot do it at the moment (starting, stopping, disk full or failing); retry later.
    Unavailable,
    /// Bytes on disk are not what was written. The affected part or WAL range is quarantined, the rest is served.
    Corrupted,
    /// The caller went away or the deadline passed.
    Cancelled,
    /// A defect of ours. Never used for anything transient, because OTLP clients drop data on it.
    Internal,
}
