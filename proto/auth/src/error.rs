use std::time::Duration;

use trivium_model::{ErrorKind, StateError};

/// Why a request was refused, or a change of credentials not made.
///
/// What is told to a client says nothing that it could not know: that a name exists, or what exactly a forged token lacks,
/// goes to our own log only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// We do not know who it is.
    #[error("{message}")]
    Unauthenticated {
        /// What was found and what to do.
        message: String,
    },
    /// We know who it is, and it may not.
    #[error("{message}")]
    Forbidden {
        /// Who may not do what.
        message: String,
    },
    /// Too many attempts failed.
    #[error("too many attempts to log in failed; the next is possible in {} s", retry_after.as_secs().max(1))]
    Throttled {
        /// When to come again.
        retry_after: Duration,
    },
    /// It cannot be told at the moment.
    #[error("{message}")]
    Unavailable {
        /// What was attempted and what was found.
        message: String,
        /// When to come again.
        retry_after: Duration,
    },
    /// The request is wrong.
    #[error("{message}")]
    InvalidArgument {
        /// What is wrong and what would be right.
        message: String,
    },
    /// There is no such thing.
    #[error("{message}")]
    NotFound {
        /// What was looked for.
        message: String,
    },
    /// The path is known, but not with this method.
    #[error("{method} is not possible here; there are {allow}")]
    WrongMethod {
        /// What was sent.
        method: String,
        /// What is possible.
        allow: String,
    },
    /// There is one already.
    #[error("{message}")]
    Conflict {
        /// What is there.
        message: String,
    },
    /// A limit of the product.
    #[error("{message}")]
    LimitExceeded {
        /// Which, and what can be done.
        message: String,
    },
}

/// When to come again after trouble that should pass.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Error {
    pub(crate) fn missing_credentials() -> Self {
        let message = "no credentials were sent; send `Authorization: Bearer TOKEN`, or log in";
        Self::Unauthenticated { message: message.into() }
    }

    pub(crate) fn wrong_credentials() -> Self {
        let message = "the credentials are not valid: unknown, expired, revoked or malformed";
        Self::Unauthenticated { message: message.into() }
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::Forbidden { message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument { message: message.into() }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), retry_after: RETRY_AFTER }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound { message: message.into() }
    }

    /// What a caller can do about it. 401 and 403 have no kind of their own in the model: sending the same again cannot
    /// succeed.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unauthenticated { .. } | Self::Forbidden { .. } | Self::InvalidArgument { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::WrongMethod { .. } | Self::Conflict { .. } => ErrorKind::InvalidArgument,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::LimitExceeded { .. } => ErrorKind::LimitExceeded,
            Self::Throttled { .. } => ErrorKind::ResourceExhausted,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }

    /// When the same request may succeed.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        Self::unavailable(format!("the credentials could not be read or written: {error}"))
    }
}
