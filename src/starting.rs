//! What is answered until the store is open: to replay a large WAL takes a while, and who comes meanwhile is told to come back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use tower::ServiceExt;
use trivium_auth::{Door, Error};

/// When to come again: most replays are over by then, and to ask a server that replays for minutes every two seconds costs nothing.
const COME_BACK_AFTER: Duration = Duration::from_secs(2);

const MESSAGE: &str = "the server is starting: it replays its WAL, and nothing is taken or shown before";

/// For who opens the UI. Tries again by itself.
const PAGE: &str = include_str!("starting.html");

/// The page has a style in it, and nothing that anybody else wrote.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// What a listener serves: refusals that pass, until it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    door: Door,
    opened: Arc<OnceLock<Router>>,
}

impl Entrance {
    pub(crate) fn new(door: Door) -> Self {
        Self { door, opened: Arc::default() }
    }

    /// Has this router answer from now on, also over connections that are open already.
    pub(crate) fn open(&self, router: Router) {
        // Opened once, by who made it; a second router would not be served.
        drop(self.opened.set(router));
    }

    pub(crate) fn router(&self) -> Router {
        let entrance = self.clone();
        Router::new().fallback(move |request| entrance.clone().answer(request))
    }

    async fn answer(self, request: Request) -> Response {
        match self.opened.get() {
            Some(router) => router.clone().oneshot(request).await.into_response(),
            None => not_yet(self.door, request).await,
        }
    }
}

async fn not_yet(door: Door, request: Request) -> Response {
    let retry_after = [(RETRY_AFTER, HeaderValue::from(COME_BACK_AFTER.as_secs()))];
    match (door, request.uri().path()) {
        // It lives: a supervisor that kills it now has it begin again.
        (Door::Api, "/healthz") => "ok\n".into_response(),
        (Door::Api, "/readyz") => {
            (StatusCode::SERVICE_UNAVAILABLE, retry_after, format!("not ready: {MESSAGE}\n")).into_response()
        }
        (Door::Api, _) if is_browser(&request) => {
            let policy = [(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY))];
            (StatusCode::SERVICE_UNAVAILABLE, retry_after, policy, Html(PAGE)).into_response()
        }
        _ => {
            let error = Error::Unavailable { message: MESSAGE.into(), retry_after: COME_BACK_AFTER };
            trivium_auth::refuse(&error, door, request).await
        }
    }
}

/// Whether a person looks at the answer.
pub(crate) fn is_browser(request: &Request) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    *request.method() == Method::GET && accept.contains("text/html")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::CONTENT_TYPE;
    use axum::routing::{get, post};

    use super::*;

    async fn ask(router: &Router, method: &str, path: &str, header: (&str, &str)) -> Response {
        let request = Request::builder().method(method).uri(path).header(header.0, header.1);
        let request = request.body(Body::from("what they send")).expect("a request");
        router.clone().oneshot(request).await.expect("an answer")
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 64 * 1024).await.expect("a body");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test]
    async fn exporters_are_told_when_to_come_back_until_it_is_opened() {
        let entrance = Entrance::new(Door::OtlpHttp);
        let router = entrance.router();
        for content_type in ["application/x-protobuf", "application/json"] {
            let refused = ask(&router, "POST", "/v1/logs", ("content-type", content_type)).await;
            assert_eq!((refused.status().as_u16(), &refused.headers()[RETRY_AFTER]), (503, &HeaderValue::from(2)));
            assert_eq!(refused.headers()[CONTENT_TYPE], content_type);
        }
        entrance.open(Router::new().route("/v1/logs", post(|body: String| async { body })));
        let taken = ask(&router, "POST", "/v1/logs", ("content-type", "application/json")).await;
        assert_eq!((taken.status(), text(taken).await.as_str()), (StatusCode::OK, "what they send"));
        let unknown = ask(&router, "POST", "/v2/logs", ("content-type", "application/json")).await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn grpc_is_unavailable_with_retry_info() {
        let router = Entrance::new(Door::OtlpGrpc).router();
        let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
        let refused = ask(&router, "POST", path, ("content-type", "application/grpc")).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["grpc-status"]), (200, &HeaderValue::from(14)));
        assert!(refused.headers().contains_key("grpc-status-details-bin"), "without RetryInfo clients may drop it");
    }

    #[tokio::test]
    async fn it_lives_and_is_not_ready() {
        let entrance = Entrance::new(Door::Api);
        let router = entrance.router();
        assert_eq!(ask(&router, "GET", "/healthz", ("accept", "*/*")).await.status(), StatusCode::OK);
        let ready = ask(&router, "GET", "/readyz", ("accept", "*/*")).await;
        assert_eq!((ready.status().as_u16(), &ready.headers()[RETRY_AFTER]), (503, &HeaderValue::from(2)));
        assert!(text(ready).await.starts_with("not ready: the server is starting"));
        let asked = ask(&router, "GET", "/api/v1/incidents", ("accept", "application/json")).await;
        assert_eq!((asked.status().as_u16(), &asked.headers()[RETRY_AFTER]), (503, &HeaderValue::from(2)));
        assert!(text(asked).await.contains("\"unavailable\""));
        let page = ask(&router, "GET", "/logs?query=x", ("accept", "text/html,*/*;q=0.8")).await;
        assert_eq!((page.status().as_u16(), &page.headers()[RETRY_AFTER]), (503, &HeaderValue::from(2)));
        assert!(text(page).await.contains("http-equiv=\"refresh\""), "the page comes back by itself");
        entrance.open(Router::new().route("/readyz", get(|| async { "ready\n" })));
        assert_eq!(ask(&router, "GET", "/readyz", ("accept", "*/*")).await.status(), StatusCode::OK);
    }
}
