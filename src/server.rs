//! The API listener: the query API, the UI, and what operators ask for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use trivium_listen::{Peer, Tls};
use trivium_model::SignalKind;
use trivium_query::alerting::Tenants;
use trivium_storage::Storage;

use crate::redact::Redacting;
use crate::scrape::Scraping;
use crate::starting::is_browser;

/// The addresses that were bound, as the line on standard output tells them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) otlp_grpc: SocketAddr,
    pub(crate) otlp_http: SocketAddr,
    pub(crate) http: SocketAddr,
    /// `http` or `https`, as the API speaks it.
    pub(crate) scheme: &'static str,
}

impl Bound {
    pub(crate) fn to_json(self) -> String {
        let Self { otlp_grpc, otlp_http, http, scheme } = self;
        json!({"otlp_grpc": otlp_grpc, "otlp_http": otlp_http, "http": http, "ui": format!("{scheme}://{http}/")})
            .to_string()
    }
}

/// What the operator's endpoints need.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) storage: Storage,
    pub(crate) registry: Arc<Mutex<Registry>>,
    pub(crate) scraping: Option<Arc<Scraping>>,
    pub(crate) redacting: Option<Redacting>,
    pub(crate) alerting: Arc<Tenants>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) stop: CancellationToken,
}

impl Admin {
    /// All our metrics in OpenMetrics text format.
    pub(crate) fn exposition(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        drop(registry);
        let end = text.len() - text.strip_suffix("# EOF\n").map_or(0, |_| "# EOF\n".len());
        text.truncate(end);
        text.push_str(&storage_gauges(&self.storage));
        text.push_str(&crate::operation::gauges(&self.storage));
        text.push_str(&self.alerting.exposition());
        text.push_str("# EOF\n");
        Ok(text)
    }
}

/// Everything on the API port.
pub(crate) fn router(api: Router, admin: Admin) -> Router {
    let operations = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/-/flush", post(flush))
        .route("/-/reload", post(reload))
        .with_state(admin);
    operations.merge(api).merge(trivium_ui::router()).layer(from_fn(traced))
}

/// Below these people ask for the answers of the API, and everywhere else for pages.
const API_ROOTS: [&str; 7] = ["api", "prometheus", "alertmanager", "-", "healthz", "readyz", "metrics"];

/// Whether a path that nothing serves is a page that somebody mistyped.
pub(crate) fn may_be_a_page(path: &str) -> bool {
    let root = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    !API_ROOTS.contains(&root)
}

/// Has a browser that asks for a page which is not there be shown the way to it, or that there is none. Who asks is looked at
/// first, as ever; whether somebody is known makes no difference to what there is.
pub(crate) async fn with_pages_for_people(request: Request, next: Next) -> Response {
    let is_stray = request.extensions().get::<MatchedPath>().is_none();
    if !is_stray || !is_browser(&request) || !may_be_a_page(request.uri().path()) {
        return next.run(request).await;
    }
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let refused = next.run(request).await;
    match refused.status() {
        StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED => trivium_ui::stray(&uri, &headers),
        _ => refused,
    }
}

/// Makes a span of each request, with the names of OpenTelemetry's semantic conventions for HTTP. It ends with the head of
/// the answer, so that following the logs for an hour is no span of an hour.
async fn traced(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.as_deref();
    // Asked every few seconds by machines.
    if matches!(route, Some("/healthz" | "/readyz" | "/metrics")) {
        return next.run(request).await;
    }
    let span = request_span(&request, route);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "error");
        span.record("error.type", status.as_str());
    }
    response
}

/// The span of a request. Neither the path nor the query as sent are in it: they carry the IDs that people look for, and
/// whoever looks for an ID again would find the request by which it was looked for before.
fn request_span(request: &Request, route: Option<&str>) -> Span {
    let method = match *request.method() {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE | Method::OPTIONS | Method::PATCH => {
            request.method().as_str()
        }
        // The client can make up any number of them.
        _ => "_OTHER",
    };
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_tls = request.extensions().get::<Peer>().is_some_and(|peer| peer.is_tls);
    tracing::info_span!(
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        traceparent = header("traceparent"),
        http.request.method = method,
        http.route = route,
        url.path = route,
        url.scheme = if is_tls { "https" } else { "http" },
        user_agent.original = header("user-agent"),
        http.response.status_code = Empty,
        error.type = Empty,
    )
}

/// Ready only when a write would be accepted and found.
async fn ready(State(admin): State<Admin>) -> Response {
    let ready = if admin.stop.is_cancelled() { Err("shutting down".into()) } else { admin.storage.ready().await };
    match ready {
        Ok(()) => "ready\n".into_response(),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {problem}\n")).into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.exposition() {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Sizes are read when asked for: they belong to the parts, not to counters that could drift from them.
fn storage_gauges(storage: &Storage) -> String {
    let parts = storage.parts();
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(SignalKind) -> u64| {
        text.push_str(&format!("# HELP trivium_storage_{name} {help}.\n# TYPE trivium_storage_{name} gauge\n"));
        for signal in SignalKind::ALL {
            text.push_str(&format!("trivium_storage_{name}{{signal=\"{signal}\"}} {}\n", value(signal)));
        }
    };
    let of = |signal| parts.iter().filter(move |part| part.signal == signal);
    gauge("parts", "published parts", &|signal| of(signal).count() as u64);
    gauge("part_rows", "rows in published parts", &|signal| of(signal).map(|part| u64::from(part.rows)).sum());
    gauge("part_bytes", "bytes of published parts", &|signal| {
        of(signal).flat_map(|part| &part.files).map(|file| file.bytes).sum()
    });
    gauge("buffered_rows", "rows in the WAL that are not yet in a part", &|signal| storage.buffered(signal).1);
    gauge("buffered_bytes", "bytes of memory of these rows", &|signal| storage.buffered(signal).0 as u64);
    text.push_str("# HELP trivium_storage_wal_bytes bytes of the WAL files.\n# TYPE trivium_storage_wal_bytes gauge\n");
    text.push_str(&format!("trivium_storage_wal_bytes {}\n", storage.wal_bytes()));
    text.push_str(
        "# HELP trivium_storage_page_cache_bytes decompressed pages kept for look-ups.\n\
         # TYPE trivium_storage_page_cache_bytes gauge\n",
    );
    text.push_str(&format!("trivium_storage_page_cache_bytes {}\n", storage.page_cache_bytes()));
    text
}

/// Returns when all that was acknowledged is in published parts and no compaction is due.
async fn flush(State(admin): State<Admin>) -> Response {
    match admin.storage.flush().instrument(tracing::info_span!("flush")).await {
        Ok(()) => Json(json!({"flushed": true})).into_response(),
        Err(error) => {
            let body = json!({"error": {"kind": "unavailable", "message": error.to_string()}});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// Reads again what is in files that can change: the certificate, rules, SLOs, receivers, redaction and the scrape
/// configuration. Settings need a restart, and the answer says so.
async fn reload(State(admin): State<Admin>) -> Response {
    // On its own: who asks may hang up in the middle of it.
    let reloading = tokio::spawn(async move { reload_all(&admin).await }.in_current_span());
    match reloading.await.unwrap_or_else(|error| Err(format!("the reload died: {error}"))) {
        Ok(reloaded) => Json(json!({"reloaded": reloaded, "message": "settings need a restart"})).into_response(),
        Err(error) => {
            tracing::warn!(error, "the configuration was not reloaded");
            let message = format!("{error}; what was loaded before stays in force");
            (StatusCode::BAD_REQUEST, Json(json!({"error": {"kind": "invalid_argument", "message": message}})))
                .into_response()
        }
    }
}

/// The same at each SIGHUP, as Prometheus and `systemctl reload` do it. What comes of it is in the log.
pub(crate) async fn reload_on_hangup(admin: Admin, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match reload_all(&admin).await {
            Ok(reloaded) => tracing::info!(?reloaded, "reloaded; settings need a restart"),
            Err(error) => {
                tracing::warn!(error, "the configuration was not reloaded; what was loaded before stays in force");
            }
        }
    }
}

/// All or nothing: everything is read before anything is applied.
async fn reload_all(admin: &Admin) -> Result<Vec<String>, String> {
    let scraping = admin.scraping.as_ref().map(|scraping| Ok((scraping, scraping.read()?))).transpose();
    let scraping = scraping.map_err(|error: anyhow::Error| format!("{error:#}"))?;
    let redacting = admin.redacting.as_ref().map(|redacting| redacting.read().map(|rules| (redacting, rules)));
    let redacting = redacting.transpose()?;
    let certificate = match &admin.tls {
        Some(tls) => tls.read().await.map_err(|error| error.to_string())?.map(|fresh| (tls, fresh)),
        None => None,
    };
    // The last that can refuse: it reads all of its files before it applies them.
    let mut reloaded = vec![admin.alerting.reload().await?];
    if let Some((tls, fresh)) = certificate {
        tls.apply(fresh);
    }
    if let Some((redacting, rules)) = redacting {
        reloaded.insert(0, redacting.apply(rules));
    }
    if let Some((scraping, config)) = scraping {
        reloaded.insert(0, scraping.apply(config).await.display().to_string());
    }
    Ok(reloaded)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::{ACCEPT, LOCATION};
    use tower::ServiceExt;

    use super::*;

    /// What a router that refuses what it does not know with this status answers to a browser, or to a program.
    async fn ask(path: &str, accept: &str, refusal: StatusCode) -> Response {
        let router = Router::new().route("/api/v1/logs", get(|| async { StatusCode::NOT_FOUND }));
        let router = router.fallback(move || async move { refusal }).layer(from_fn(with_pages_for_people));
        let request = Request::builder().uri(path).header(ACCEPT, accept).body(Body::empty()).expect("a request");
        router.oneshot(request).await.expect("an answer")
    }

    #[tokio::test]
    async fn people_who_lose_their_way_are_shown_a_page_and_programs_are_told() {
        const BROWSER: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
        let is_page = |response: &Response| {
            response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/html; charset=utf-8")
        };
        for refusal in [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED] {
            let page = ask("/nowhere", BROWSER, refusal).await;
            assert!(page.status() == StatusCode::NOT_FOUND && is_page(&page), "{refusal}: {}", page.status());
            let way = ask("/alerts/?start=now-1h", BROWSER, refusal).await;
            assert_eq!(way.status(), StatusCode::PERMANENT_REDIRECT, "{refusal}");
            assert_eq!(way.headers()[LOCATION], "/alerts?start=now-1h");
            for (path, accept) in [
                ("/nowhere", "*/*"),
                ("/alerts/", "application/json"),
                ("/api/v1/logs/", BROWSER),
                ("/api/nothing", BROWSER),
                ("/prometheus/graph", BROWSER),
                ("/-/nothing", BROWSER),
                ("/healthz/", BROWSER),
                ("//api/v1/logs", BROWSER),
            ] {
                let told = ask(path, accept, refusal).await;
                assert!(told.status() == refusal && !is_page(&told), "{path} {accept}: {}", told.status());
            }
        }
        // What there is answers for itself, and who may not ask at all is told so.
        assert!(!is_page(&ask("/api/v1/logs", BROWSER, StatusCode::NOT_FOUND).await));
        assert_eq!(ask("/nowhere", BROWSER, StatusCode::FORBIDDEN).await.status(), StatusCode::FORBIDDEN);
    }
}
