//! Headers that keep browsers from doing with an answer what it is not meant for.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};

use crate::request::Peer;

/// What an answer gets that does not say otherwise. Answers are data, made of what strangers sent: no browser is to run it,
/// frame it, guess its type, keep it, or hand it to another site.
const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// A year, as is usual; for this name alone, since we do not know who answers to those below it.
const TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The router that has browsers come by TLS alone from the first answer over TLS on.
///
/// Browsers hold a name to that on all its ports: only for a server whose every listener that browsers can use speaks TLS.
/// They must ignore it for an address; a `localhost`, where other programs serve without TLS, is not told.
pub fn with_transport_security(router: Router) -> Router {
    router.layer(from_fn(add_transport_security))
}

async fn add_transport_security(request: Request, next: Next) -> Response {
    let is_encrypted = request.extensions().get::<Peer>().is_some_and(|peer| peer.is_tls);
    let is_told = is_encrypted && asked_name(&request).is_some_and(|host| is_name_of_one_server(&host));
    let mut response = next.run(request).await;
    if is_told {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
    }
    response
}

/// The name by which we were asked: of HTTP/2 a part of the request, of HTTP/1.1 a header.
fn asked_name(request: &Request) -> Option<String> {
    let of_header = || request.headers().get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let authority = request.uri().authority().cloned().or_else(of_header)?;
    Some(authority.host().trim_end_matches('.').to_ascii_lowercase())
}

/// Whether a host is a name, and not `localhost` or an address. Of a name the last part is not all digits, in whatever form
/// an address is written.
fn is_name_of_one_server(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    !host.starts_with('[') && !is_number && last != "localhost"
}

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

    #[test]
    fn names_are_told_from_addresses() {
        for name in ["trivium.example", "trivium", "0xfood.example", "10.example", "localhost.example"] {
            assert!(is_name_of_one_server(name), "{name}");
        }
        let local = ["localhost", "trivium.localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]", ""];
        for address in local {
            assert!(!is_name_of_one_server(address), "{address}");
        }
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
