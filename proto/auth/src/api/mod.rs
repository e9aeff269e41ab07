//! What is served below `/api/v1/auth`. The routes are in [`crate::routes::auth`] with what each needs.

mod admin;
mod login;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse;
use axum::routing::{delete, get, patch, post};
use http::Response;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::authenticator::Authenticator;
use crate::error::Error;
use crate::refuse;

/// Bytes of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The endpoints. To be merged into the router of the API, before [`crate::AuthLayer`] is put around it.
pub fn router(authenticator: Arc<Authenticator>) -> Router {
    Router::new()
        .route("/api/v1/auth/methods", get(login::methods))
        .route("/api/v1/auth/login", post(login::login))
        .route("/api/v1/auth/logout", post(login::logout))
        .route("/api/v1/auth/me", get(login::me))
        .route("/api/v1/auth/password", post(login::password))
        .route("/api/v1/auth/oidc/start", get(login::oidc_start))
        .route("/api/v1/auth/oidc/callback", get(login::oidc_callback))
        .route("/api/v1/auth/tokens", get(admin::tokens).post(admin::create_token))
        .route("/api/v1/auth/tokens/{id}", delete(admin::revoke_token))
        .route("/api/v1/auth/users", get(admin::users).post(admin::create_user))
        .route("/api/v1/auth/users/{name}", patch(admin::change_user).delete(admin::delete_user))
        .route("/api/v1/auth/tenants", get(admin::tenants).post(admin::create_tenant))
        .route("/api/v1/auth/audit", get(admin::audit))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(authenticator)
}

/// What a handler answers instead.
struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        refuse::json(&self.0)
    }
}

type Answer = Result<Response<Body>, Failure>;

/// An answer that no cache keeps.
fn json(status: StatusCode, body: Value) -> Response<Body> {
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with_cookie(mut response: Response<Body>, cookie: Option<HeaderValue>) -> Response<Body> {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The body as JSON, declared as such: what a form of another site can send is not.
struct Input<T>(T);

impl<T: DeserializeOwned, S: Sync + Send> axum::extract::FromRequest<S> for Input<T> {
    type Rejection = Failure;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Failure> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(input)) => Ok(Self(input)),
            Err(rejection) => Err(Error::invalid(rejection.body_text()).into()),
        }
    }
}
