//! Errors in Prometheus' shape: `{"status":"error","errorType":"bad_data","error":"…"}`.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use trivium_promql::QueryError;

use super::json::write_text;
use crate::error::Error;

/// What kind of error it is; decides the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorType {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    NotFound,
    Unavailable,
}

impl ErrorType {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Canceled | Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) kind: ErrorType,
    pub(super) message: String,
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(super) fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorType::BadData, message)
    }

    /// A parameter that cannot be read.
    pub(super) fn parameter(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {problem}"))
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(ErrorType::NotFound, message)
    }

    /// The word by which it is counted.
    pub(super) fn outcome(&self) -> &'static str {
        self.kind.as_str()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::InvalidArgument { .. }
            | Error::Search(_)
            | Error::ReadOnly { .. }
            | Error::BodyTooLarge { .. }
            | Error::UnsupportedMediaType { .. } => ErrorType::BadData,
            Error::NotFound(_) => ErrorType::NotFound,
            Error::Limit { .. } | Error::Memory { .. } => ErrorType::Execution,
            Error::Busy { .. } | Error::Unavailable(_) => ErrorType::Unavailable,
            Error::Timeout { .. } => ErrorType::Timeout,
            Error::Cancelled => ErrorType::Canceled,
            Error::Storage(_) | Error::Internal(_) | Error::Incomplete { .. } => ErrorType::Internal,
        };
        let retry_after = if let Error::Busy { retry_after, .. } = &error { Some(*retry_after) } else { None };
        Self { kind, message: error.to_string(), retry_after }
    }
}

/// An error of the engine. When a query ended early is told by who ended it, see `execute`.
impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parse(_) | QueryError::Parameter(_) => Self::parameter("query", error),
            QueryError::Execution(message) => Self::new(ErrorType::Execution, message),
            QueryError::Limit(message) => Self::new(ErrorType::Execution, format!("{message}{}", remedy(&message))),
            QueryError::Ended(message) => Self::new(ErrorType::Timeout, message),
            QueryError::Storage(message) => Self::new(ErrorType::Internal, message),
        }
    }
}

/// How a limit can be raised.
fn remedy(message: &str) -> &'static str {
    if message.contains("samples") {
        "; select less, or raise promql_samples_max in the configuration"
    } else if message.contains("points") {
        ""
    } else {
        "; select less, for example with more matchers"
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.kind == ErrorType::Internal {
            tracing::error!(error = %self.message, "a request of the Prometheus API failed");
        }
        let mut body = format!("{{\"status\":\"error\",\"errorType\":\"{}\",\"error\":", self.kind.as_str());
        write_text(&mut body, &self.message);
        body.push('}');
        let mut response = (self.kind.status(), [(CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}
