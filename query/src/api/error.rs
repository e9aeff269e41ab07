use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use trivium_model::ErrorKind;

use crate::error::Error;

/// An [`Error`] as an HTTP answer: `{"error": {"kind", "message", "hint"?, "offset"?, "column"?}}`. Handlers return
/// `Result<_, ApiError>` and use `?`.
#[derive(Debug)]
pub struct ApiError(pub Error);

impl<E: Into<Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The status of an error; the one place where the query side decides it.
pub(crate) fn status(error: &Error) -> StatusCode {
    match error {
        Error::ReadOnly { .. } => return StatusCode::FORBIDDEN,
        Error::BodyTooLarge { .. } => return StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMediaType { .. } => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => {}
    }
    match error.kind() {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::LimitExceeded => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Corrupted | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(crate) fn kind_name(error: &Error) -> &'static str {
    if matches!(error, Error::ReadOnly { .. }) {
        return "read_only";
    }
    match error.kind() {
        ErrorKind::InvalidArgument => "invalid_argument",
        ErrorKind::NotFound => "not_found",
        ErrorKind::LimitExceeded => "limit_exceeded",
        ErrorKind::ResourceExhausted => "resource_exhausted",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Corrupted => "corrupted",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Internal => "internal",
    }
}

/// The JSON body of an error, also used as the last line of a stream that failed on its way.
pub(crate) fn body(error: &Error) -> Value {
    let mut fields = Map::new();
    fields.insert("kind".into(), kind_name(error).into());
    fields.insert("message".into(), error.to_string().into());
    match error {
        Error::InvalidArgument { hint: Some(hint), .. } => {
            fields.insert("hint".into(), hint.as_str().into());
        }
        Error::Search(syntax) => {
            fields.insert("hint".into(), syntax.hint.as_str().into());
            fields.insert("offset".into(), syntax.offset.into());
            fields.insert("column".into(), syntax.column.into());
        }
        _ => {}
    }
    json!({ "error": fields })
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status(&self.0);
        if status.is_server_error() && status != StatusCode::GATEWAY_TIMEOUT {
            tracing::error!(error = %self.0, "a query failed");
        }
        let mut response = (status, Json(body(&self.0))).into_response();
        if let Error::Busy { retry_after, .. } = &self.0 {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
