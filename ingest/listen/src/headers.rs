//! Headers that keep browsers from doing with an answer what it is not meant for.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

/// What an answer gets that does not say otherwise. Answers are data, made of what strangers sent: no browser is to run it,
/// frame it, guess its type, keep it, or hand it to another site.
const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The router with these headers on every answer, whatever its status.
pub fn with_security_headers(router: Router) -> Router {
    router.layer(from_fn(add))
}

async fn add(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    add_to(response.headers_mut());
    response
}

fn add_to(headers: &mut HeaderMap) {
    for (name, value) in &DEFAULTS {
        if !headers.contains_key(name) {
            headers.insert(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn headers(path: &str, method: &str) -> (u16, HeaderMap) {
        let page = ([("content-security-policy", "default-src 'self'"), ("cache-control", "no-cache")], "page");
        let router =
            Router::new().route("/", get(move || async move { page })).route("/data", get(|| async { "data" }));
        let request = Request::builder().uri(path).method(method).body(Body::empty()).expect("a request");
        let response = with_security_headers(router).oneshot(request).await.expect("an answer");
        (response.status().as_u16(), response.headers().clone())
    }

    #[tokio::test]
    async fn every_answer_has_them_and_a_page_keeps_its_own() {
        for (path, method, status) in [("/data", "GET", 200), ("/nowhere", "GET", 404), ("/data", "POST", 405)] {
            let (found, headers) = headers(path, method).await;
            assert_eq!(found, status);
            for (name, value) in &DEFAULTS {
                assert_eq!(headers.get(name), Some(value), "{method} {path}");
            }
        }
        let (_, headers) = headers("/", "GET").await;
        assert_eq!(headers["content-security-policy"], "default-src 'self'");
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers.get_all("content-security-policy").iter().count(), 1);
    }
}
