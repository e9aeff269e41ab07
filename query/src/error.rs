use std::time::Duration;

use trivium_model::ErrorKind;

use crate::log_search::SyntaxError;

/// What can go wrong with a question. `kind()` says what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter or the body of a request is wrong.
    #[error("{message}")]
    InvalidArgument {
        /// What was attempted and what was found.
        message: String,
        /// What to do instead, when there is something to say.
        hint: Option<String>,
    },
    /// A log search that cannot be read.
    #[error(transparent)]
    Search(#[from] SyntaxError),
    /// A statement that would do more than read.
    #[error("{statement} is not possible: this endpoint is read-only and takes SELECT and EXPLAIN")]
    ReadOnly {
        /// The kind of statement: `DROP`, `SET`.
        statement: String,
    },
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// One request exceeds a limit of the product.
    #[error("the query is refused: {what}, the limit is {limit}")]
    Limit {
        /// What was found: `nesting is 70 levels deep`.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The body of a request is larger than any that makes sense.
    #[error("the body of the request has more than {bytes_max} bytes")]
    BodyTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The body of a request is not in a form that we read.
    #[error("the body of the request is {found:?}, only application/json is taken")]
    UnsupportedMediaType {
        /// Its content type.
        found: String,
    },
    /// The query needed more memory than it may use.
    #[error(
        "the query needs more memory than it may use ({limit_bytes} bytes); filter more, or ask for fewer columns, groups or sorted rows"
    )]
    Memory {
        /// What it may use.
        limit_bytes: usize,
    },
    /// All permits are taken and the queue is full or the wait was too long.
    #[error("{running} queries are running and {waiting} wait; try again shortly")]
    Busy {
        /// How many run.
        running: usize,
        /// How many wait.
        waiting: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// An answer lacks rows and has no other way to say so.
    #[error("the answer is not complete: {warnings}")]
    Incomplete {
        /// What is missing.
        warnings: String,
    },
    /// What is needed cannot be had now.
    #[error("{0}")]
    Unavailable(String),
    /// The deadline of the query passed.
    #[error("the query was cancelled after {}; narrow it, or ask for more time with \"timeout\"", rounded(*.after))]
    Timeout {
        /// The time it had.
        after: Duration,
    },
    /// Nobody waits for the answer any more.
    #[error("the query was cancelled because its client is gone")]
    Cancelled,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] trivium_storage::Error),
    /// A defect of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A duration for people: whole seconds from ten on, else whole milliseconds.
fn rounded(duration: Duration) -> humantime::FormattedDuration {
    let whole = if duration < Duration::from_secs(10) {
        Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(duration.as_secs())
    };
    humantime::format_duration(whole)
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidArgument { .. }
            | Self::Search(_)
            | Self::ReadOnly { .. }
            | Self::UnsupportedMediaType { .. } => ErrorKind::InvalidArgument,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Limit { .. } | Self::Memory { .. } | Self::BodyTooLarge { .. } => ErrorKind::LimitExceeded,
            Self::Busy { .. } => ErrorKind::ResourceExhausted,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Timeout { .. } | Self::Cancelled => ErrorKind::Cancelled,
            Self::Incomplete { .. } => ErrorKind::Corrupted,
            Self::Storage(error) => error.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// A wrong parameter, in words.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument { message: message.into(), hint: None }
    }

    /// A wrong parameter, in words, with what to do instead.
    pub fn invalid_with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::InvalidArgument { message: message.into(), hint: Some(hint.into()) }
    }
}

/// Our own columns do not fit together: a defect of ours.
impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}
