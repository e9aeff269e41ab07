//! Parameters from the URL and from the body of a form together, as Go's `FormValue` sees them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;

use super::error::ApiError;

/// Bytes of a body with a form.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Parameters in their order, those of the body first.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    fn add(&mut self, encoded: &[u8]) {
        self.0.extend(form_urlencoded::parse(encoded).into_owned());
    }

    /// The first value of a parameter; empty when it is not given.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn has_form(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    request.method() == Method::POST && media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let mut form = Self::default();
        let query = request.uri().query().unwrap_or_default().to_owned();
        if has_form(&request) {
            let body: Bytes = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|error| {
                let limit = format!("at most {BODY_BYTES_MAX} bytes are taken");
                ApiError::bad_data(format!("error parsing form values: {error} ({limit})"))
            })?;
            form.add(&body);
        }
        form.add(query.as_bytes());
        Ok(form)
    }
}
