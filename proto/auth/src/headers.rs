//! Headers that have browsers distrust what we answer, where a handler set none of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Request, Response};
use tower::{Layer, Service};

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// What is set where it is absent. An answer of the API is no page: it may load nothing and be shown in no frame.
const ALWAYS: [(HeaderName, &str); 6] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=()"),
];

/// A year, as browsers ask for it.
const HSTS: &str = "max-age=31536000";

/// Adds the headers to every answer of the API's listener.
#[derive(Clone, Copy, Debug)]
pub struct SecurityHeaders {
    /// Whether browsers reach us over TLS, and shall from now on.
    pub tls: bool,
}

impl<S> Layer<S> for SecurityHeaders {
    type Service = SecurityHeadersService<S>;

    fn layer(&self, inner: S) -> SecurityHeadersService<S> {
        SecurityHeadersService { inner, tls: self.tls }
    }
}

/// A service behind [`SecurityHeaders`].
#[derive(Clone, Debug)]
pub struct SecurityHeadersService<S> {
    inner: S,
    tls: bool,
}

impl<S> Service<Request<Body>> for SecurityHeadersService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answering, tls) = (self.inner.call(request), self.tls);
        Box::pin(async move {
            let mut response = answering.await?;
            let headers = response.headers_mut();
            let hsts = tls.then_some((STRICT_TRANSPORT_SECURITY, HSTS));
            for (name, value) in ALWAYS.into_iter().chain(hsts) {
                headers.entry(name).or_insert(HeaderValue::from_static(value));
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn answer(tls: bool) -> Response<Body> {
        let own = [("content-security-policy", "default-src 'self'")];
        let router = Router::new().route("/", get(move || async move { (own, "") })).layer(SecurityHeaders { tls });
        router.oneshot(Request::new(Body::empty())).await.expect("an answer")
    }

    #[tokio::test]
    async fn what_a_handler_set_stays_and_the_rest_is_added() {
        let plain = answer(false).await;
        assert_eq!(plain.headers()["content-security-policy"], "default-src 'self'");
        assert_eq!(plain.headers()["x-content-type-options"], "nosniff");
        assert_eq!(plain.headers()["x-frame-options"], "DENY");
        assert!(!plain.headers().contains_key("strict-transport-security"), "would lock people out without TLS");
        assert_eq!(answer(true).await.headers()["strict-transport-security"], HSTS);
    }
}
