//! Through the layer, as a client sees it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Extension;
use axum::extract::ConnectInfo;
use axum::routing::any;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, Method, Request};
use serde_json::json as value;
use tower::ServiceExt;
use trivium_model::{SignalKind, TenantId, TimeRange};

use super::*;
use crate::audit::{Action, AuditLine, verify};
use crate::config::{AuthConfig, Mode};
use crate::layer::AuthLayer;
use crate::manage::NewToken;
use crate::principal::{Caller, Permission};
use crate::refuse::Door;
use crate::role::{Role, Signals, Verb};
use crate::routes::{self, Access, Route, RouteTable};
use crate::testing::{PASSWORD, World, bearer, config, new_token, operator};

/// Every route of a table, answered by who asks; the real ones below `/api/v1/auth`.
fn app(world: &World, table: Vec<Route>, door: Door) -> Router {
    let table = RouteTable::new(table).expect("a table");
    let mut paths: Vec<String> = table.routes().map(|route| route.path).collect();
    paths.dedup();
    let mut router = Router::new();
    for path in paths.iter().filter(|path| !path.starts_with("/api/v1/auth/")) {
        router = router.route(path, any(|| async { "done" }));
    }
    router = router.merge(super::router(Arc::clone(&world.auth)));
    router = router.route("/not/in/the/table", any(|| async { "never" }));
    router.layer(AuthLayer::new(Arc::clone(&world.auth), Arc::new(table), door))
}

fn request(method: Method, path: &str, headers: &[(http::HeaderName, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, "trivium.example");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let mut request = request.body(Body::from(body.to_owned())).expect("a request");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4_711))));
    request
}

async fn send(app: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    let response = app.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1024 * 1024).await.expect("a body");
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (parts.status, parts.headers, body)
}

async fn lines(world: &World) -> Vec<AuditLine> {
    let mut lines = world.auth.audit.lines(TenantId(0), TimeRange::ALL, 1_000).await.expect("lines");
    lines.reverse();
    assert_eq!(verify(&lines), Ok(()));
    lines
}

fn concrete(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// What every route answers to every credential, against an oracle that knows the roles and nothing of the code.
#[tokio::test]
async fn every_route_with_every_credential() {
    let world = World::new(config()).await;
    let acme = world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    let mut credentials = vec![("nobody".to_owned(), None, None)];
    for role in Role::ALL {
        for tenant in ["default", "acme"] {
            let token = bearer(&world.token(role, Some(tenant)).await);
            credentials.push((format!("{role} of {tenant}"), Some((role, tenant)), Some(token)));
        }
    }
    let wrong = format!("Bearer trv_AAAAAAAA_{}", "A".repeat(43));
    credentials.push(("a made-up token".to_owned(), None, Some(wrong)));
    let mut checked = 0;
    for (door, table) in
        [(Door::Api, routes::api()), (Door::OtlpHttp, routes::otlp_http()), (Door::OtlpGrpc, routes::otlp_grpc())]
    {
        let app = app(&world, table.clone(), door);
        for route in table.iter().filter(|route| !route.path.starts_with("/api/v1/auth/")) {
            for (who, principal, authorization) in &credentials {
                let headers: Vec<_> = authorization.iter().map(|value| (AUTHORIZATION, value.as_str())).collect();
                let answer = send(&app, request(route.method.clone(), &concrete(&route.path), &headers, "")).await;
                let expected = oracle(route, *principal);
                assert_eq!(answer.0.as_u16(), expected, "{who}: {} {}", route.method, route.path);
                checked += 1;
            }
        }
    }
    assert_eq!(acme.id, 1);
    assert!(checked > 400, "{checked}");
}

fn oracle(route: &Route, principal: Option<(Role, &str)>) -> u16 {
    let needed = match route.access {
        Access::Public => return 200,
        Access::Known => return if principal.is_some() { 200 } else { 401 },
        Access::Needs(Permission { verb, .. }) => verb,
    };
    let Some((role, tenant)) = principal else { return 401 };
    let may = match needed {
        Verb::Read => role != Role::Ingest,
        Verb::Write => matches!(role, Role::Admin | Role::Editor),
        Verb::Ingest => matches!(role, Role::Admin | Role::Ingest),
        Verb::Administer => role == Role::Admin,
        Verb::Monitor => role != Role::Ingest && tenant == "default",
        Verb::Operate => role == Role::Admin && tenant == "default",
    };
    if may { 200 } else { 403 }
}

/// All scraping is for the default tenant: what it reaches and how that went is for its people, not for others who read metrics.
#[tokio::test]
async fn targets_of_scrapes_are_for_the_operators() {
    let world = World::new(config()).await;
    world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    let app = app(&world, routes::api(), Door::Api);
    for (role, tenant, expected) in
        [(Role::Viewer, "default", 200), (Role::Viewer, "acme", 403), (Role::Admin, "acme", 403)]
    {
        let token = bearer(&world.token(role, Some(tenant)).await);
        for path in ["targets", "scrape_pools"] {
            let path = format!("/prometheus/api/v1/{path}");
            let answer = send(&app, request(Method::GET, &path, &[(AUTHORIZATION, &token)], "")).await;
            assert_eq!(answer.0.as_u16(), expected, "{role} of {tenant}: {path}");
        }
        let own = request(Method::GET, "/prometheus/api/v1/targets/metadata", &[(AUTHORIZATION, &token)], "");
        assert_eq!(send(&app, own).await.0, StatusCode::OK, "{role} of {tenant}");
    }
}

/// Who guesses a password and who has it wrong in a configuration are told when to come again, and Prometheus comes again.
#[tokio::test]
async fn a_remote_write_that_has_to_wait_is_told_what_prometheus_sends_again() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    let wrong = crate::testing::basic("prometheus", "a wrong password");
    let answers = async |method: Method, path: &str| {
        let (status, headers, _) = send(&app, request(method, path, &[(AUTHORIZATION, &wrong)], "")).await;
        (status.as_u16(), headers.contains_key("retry-after"))
    };
    for _ in 0..5 {
        assert_eq!(answers(Method::POST, "/prometheus/api/v1/write").await, (401, false));
    }
    assert_eq!(answers(Method::POST, "/prometheus/api/v1/write").await, (503, true));
    assert_eq!(answers(Method::GET, "/prometheus/api/v1/labels").await, (429, true));
    let line = lines(&world).await.into_iter().find(|line| line.event.status == Some(503)).expect("a line");
    assert_eq!(line.event.target, "POST /prometheus/api/v1/write");
}

#[tokio::test]
async fn what_is_not_in_the_table_is_refused_to_everybody() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    let admin = bearer(&world.token(Role::Admin, None).await);
    let as_admin = [(AUTHORIZATION, admin.as_str())];
    for (method, path, expected) in [
        (Method::GET, "/not/in/the/table", 403),
        (Method::POST, "/not/in/the/table", 403),
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/api/v1/sql", 405),
        (Method::GET, "//healthz", 404),
        (Method::GET, "/healthz/", 404),
        (Method::GET, "/healthz/..%2f..%2fmetrics", 404),
        (Method::GET, "/API/V1/LOGS", 404),
        (Method::TRACE, "/healthz", 405),
    ] {
        let anonymous = send(&app, request(method.clone(), path, &[], "")).await;
        assert_eq!(anonymous.0.as_u16(), 401, "{path} to nobody");
        let (status, headers, body) = send(&app, request(method, path, &as_admin, "")).await;
        assert_eq!(status.as_u16(), expected, "{path}");
        assert!(body["error"]["kind"].is_string(), "{body}");
        assert_eq!(headers.contains_key("allow"), expected == 405);
    }
}

#[tokio::test]
async fn a_scoped_token_and_a_header_that_names_another_tenant() {
    let world = World::new(config()).await;
    let app = app(&world, routes::otlp_http(), Door::OtlpHttp);
    let new = NewToken { signals: Some(Signals::only([SignalKind::Logs])), ..new_token(Role::Ingest) };
    let token = bearer(&world.auth.create_token(&operator(), new).await.expect("a token").1);
    let to = async |path: &str, more: &[(http::HeaderName, &str)]| {
        let headers = [&[(AUTHORIZATION, token.as_str())], more].concat();
        send(&app, request(Method::POST, path, &headers, "{}")).await.0.as_u16()
    };
    assert_eq!(to("/v1/logs", &[]).await, 200);
    assert_eq!(to("/v1/traces", &[]).await, 403);
    let organization = http::HeaderName::from_static("x-scope-orgid");
    assert_eq!(to("/v1/logs", &[(organization.clone(), "default")]).await, 200);
    assert_eq!(to("/v1/logs", &[(organization.clone(), "acme")]).await, 403);
    let both = [(organization.clone(), "default"), (organization, "acme")];
    assert_eq!(to("/v1/logs", &both).await, 403, "a proxy may have looked at either");
}

const SAME_ORIGIN: &str = "http://trivium.example";

async fn login(app: &Router, name: &str, password: &str) -> (StatusCode, Option<String>) {
    let body = value!({"name": name, "password": password}).to_string();
    let headers = [(CONTENT_TYPE, "application/json"), (ORIGIN, SAME_ORIGIN)];
    let (status, headers, _) = send(app, request(Method::POST, "/api/v1/auth/login", &headers, &body)).await;
    let cookie = headers.get("set-cookie").and_then(|value| value.to_str().ok()).map(str::to_owned);
    (status, cookie.and_then(|cookie| Some(cookie.split_once(';')?.0.to_owned())))
}

#[tokio::test]
async fn a_session_from_login_to_logout() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    world.user("alice", Role::Editor).await;
    assert_eq!(login(&app, "alice", "wrong password").await, (StatusCode::UNAUTHORIZED, None));
    assert_eq!(login(&app, "nobody", PASSWORD).await, (StatusCode::UNAUTHORIZED, None));
    let (status, cookie) = login(&app, "alice", PASSWORD).await;
    assert_eq!(status, StatusCode::OK);
    let cookie = cookie.expect("a cookie");
    let with = |method, path: &str, more: &[(http::HeaderName, &str)]| {
        request(method, path, &[&[(COOKIE, cookie.as_str())], more].concat(), "{}")
    };
    let (status, _, me) = send(&app, with(Method::GET, "/api/v1/auth/me", &[])).await;
    assert_eq!(
        (status, &me["name"], &me["role"], &me["how"]),
        (StatusCode::OK, &value!("alice"), &value!("editor"), &value!("session"))
    );

    // With the cookie alone another site could do it.
    let silences = "/alertmanager/api/v2/silences";
    assert_eq!(send(&app, with(Method::POST, silences, &[])).await.0, StatusCode::FORBIDDEN);
    let evil = [(ORIGIN, "http://evil.example")];
    assert_eq!(send(&app, with(Method::POST, silences, &evil)).await.0, StatusCode::FORBIDDEN);
    let own = [(ORIGIN, SAME_ORIGIN)];
    assert_eq!(send(&app, with(Method::POST, silences, &own)).await.0, StatusCode::OK);
    assert_eq!(send(&app, with(Method::POST, "/api/v1/sql", &evil)).await.0, StatusCode::FORBIDDEN, "reading too");

    let (status, headers, _) = send(&app, with(Method::POST, "/api/v1/auth/logout", &own)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(headers["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
    assert_eq!(send(&app, with(Method::GET, "/api/v1/auth/me", &[])).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_lives_while_it_is_used_and_not_for_ever() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    world.user("alice", Role::Viewer).await;
    let cookie = login(&app, "alice", PASSWORD).await.1.expect("a cookie");
    let me = async |app: &Router| {
        send(app, request(Method::GET, "/api/v1/auth/me", &[(COOKIE, &cookie)], "")).await.0.as_u16()
    };
    for _ in 0..12 {
        world.clock.advance(Duration::from_secs(119 * 60));
        assert_eq!(me(&app).await, 200);
        world.auth.maintain().await.expect("kept");
    }
    assert_eq!(world.restarted().await.credentials.with(|index| index.sessions().count()), 1);
    world.clock.advance(Duration::from_secs(12 * 60));
    assert_eq!(me(&app).await, 401, "a day is over");
    world.auth.maintain().await.expect("kept");
    assert_eq!(world.restarted().await.credentials.with(|index| index.sessions().count()), 0);

    let cookie = login(&app, "alice", PASSWORD).await.1.expect("a cookie");
    world.clock.advance(Duration::from_secs(120 * 60));
    let idle = send(&app, request(Method::GET, "/api/v1/auth/me", &[(COOKIE, &cookie)], "")).await;
    assert_eq!(idle.0, StatusCode::UNAUTHORIZED, "idle");
}

#[tokio::test]
async fn sessions_are_few_for_each_and_end_with_the_password() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    world.user("alice", Role::Viewer).await;
    let mut cookies = Vec::new();
    for _ in 0..20 {
        world.clock.advance(Duration::from_secs(1));
        cookies.push(login(&app, "alice", PASSWORD).await.1.expect("a cookie"));
    }
    let mut live = 0;
    for cookie in &cookies {
        let answer = send(&app, request(Method::GET, "/api/v1/auth/me", &[(COOKIE, cookie)], "")).await;
        live += usize::from(answer.0 == StatusCode::OK);
    }
    assert_eq!(live, 16);
    let last = cookies.last().expect("cookies").as_str();
    let body = value!({"current": PASSWORD, "new": "another password"}).to_string();
    let headers = [(COOKIE, last), (ORIGIN, SAME_ORIGIN), (CONTENT_TYPE, "application/json")];
    let changed = send(&app, request(Method::POST, "/api/v1/auth/password", &headers, &body)).await;
    assert_eq!(changed.0, StatusCode::NO_CONTENT, "{:?}", changed.2);
    assert_eq!(world.auth.credentials.with(|index| index.sessions().count()), 0);
}

#[tokio::test]
async fn another_site_cannot_log_a_browser_in() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    world.user("mallory", Role::Viewer).await;
    let body = value!({"name": "mallory", "password": PASSWORD}).to_string();
    for (content_type, origin, expected) in [
        ("application/json", "http://evil.example", 403),
        ("text/plain", SAME_ORIGIN, 400),
        ("application/x-www-form-urlencoded", SAME_ORIGIN, 400),
        ("application/json", SAME_ORIGIN, 200),
    ] {
        let headers = [(CONTENT_TYPE, content_type), (ORIGIN, origin)];
        let answer = send(&app, request(Method::POST, "/api/v1/auth/login", &headers, &body)).await;
        assert_eq!(answer.0.as_u16(), expected, "{content_type} {origin}");
    }
    let huge = "x".repeat(100_000);
    let headers = [(CONTENT_TYPE, "application/json"), (ORIGIN, SAME_ORIGIN)];
    assert_eq!(
        send(&app, request(Method::POST, "/api/v1/auth/login", &headers, &huge)).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn every_change_has_one_line_and_reading_none() {
    let world = World::new(config()).await;
    let token = bearer(&world.token(Role::Admin, None).await);
    let table = routes::api();
    let app = app(&world, table.clone(), Door::Api);
    let headers = [(AUTHORIZATION, token.as_str()), (CONTENT_TYPE, "application/json")];
    let mut before = lines(&world).await.len();
    for route in table.iter().filter(|route| route.access != Access::Public) {
        // In another path than the one of the table, so that the line has both.
        send(&app, request(route.method.clone(), &concrete(&route.path), &headers, "{}")).await;
        let lines = lines(&world).await;
        let reads =
            matches!(route.access, Access::Needs(Permission { verb: Verb::Read | Verb::Ingest | Verb::Monitor, .. }));
        let changes = route.method != Method::GET && !reads;
        assert_eq!(lines.len() - before, usize::from(changes), "{} {}", route.method, route.path);
        before = lines.len();
        if let Some(line) = lines.last().filter(|_| changes) {
            assert_eq!(line.event.target, format!("{} {}", route.method, route.path));
            assert_eq!((line.event.actor.as_str(), line.event.address), ("for admin", Some([192, 0, 2, 1].into())));
            assert!(line.event.status.is_some());
        }
    }
    assert!(before >= 10, "{before}");
}

#[tokio::test]
async fn the_log_tells_what_was_made_and_no_secret() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    let admin = bearer(&world.token(Role::Admin, None).await);
    let headers = [(AUTHORIZATION, admin.as_str()), (CONTENT_TYPE, "application/json")];
    let post =
        async |path: &str, body: Value| send(&app, request(Method::POST, path, &headers, &body.to_string())).await;
    let (status, _, made) = post("/api/v1/auth/tokens", value!({"name": "collector", "role": "ingest"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let secret = made["token"].as_str().expect("a token").to_owned();
    let id = made["info"]["id"].as_str().expect("an ID").to_owned();
    post("/api/v1/auth/users", value!({"name": "bob", "password": PASSWORD, "role": "viewer"})).await;
    let path = format!("/api/v1/auth/tokens/{id}");
    let (status, _, revoked) = send(&app, request(Method::DELETE, &path, &headers, "")).await;
    assert_eq!((status, &revoked["valid"]), (StatusCode::OK, &value!(false)));
    login(&app, "bob", "wrong password").await;
    login(&app, "bob", PASSWORD).await;

    let lines = lines(&world).await;
    let told: Vec<_> =
        lines.iter().map(|line| (line.event.action, line.event.outcome.as_str(), line.event.actor.as_str())).collect();
    let change = (Action::Request, "ok", "for admin");
    assert_eq!(told, [change, change, change, (Action::Login, "denied", "bob"), (Action::Login, "ok", "bob")]);
    let text = serde_json::to_string(&lines).expect("JSON");
    assert!(text.contains(&id) && text.contains("collector") && text.contains("user bob"), "{text}");
    assert!(!text.contains(&secret[13..]) && !text.contains(PASSWORD), "{text}");

    let (_, _, shown) = send(&app, request(Method::GET, "/api/v1/auth/audit?limit=2", &headers, "")).await;
    assert_eq!((shown["lines"].as_array().map(Vec::len), &shown["broken"]), (Some(2), &Value::Null));
}

#[tokio::test]
async fn refusals_have_lines_but_not_any_number_of_them() {
    let world = World::new(config()).await;
    let app = app(&world, routes::api(), Door::Api);
    for _ in 0..200 {
        send(&app, request(Method::GET, "/api/v1/logs", &[], "")).await;
    }
    let lines = lines(&world).await;
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line.event.action == Action::Denied && line.event.status == Some(401)));
}

#[tokio::test]
async fn an_open_server_is_open_to_its_own_pages_only() {
    let world = World::new(AuthConfig { mode: Mode::Open, ..config() }).await;
    let app = app(&world, routes::api(), Door::Api);
    let status = async |method: Method, path: &str, headers: &[(http::HeaderName, &str)]| {
        let mut request = request(method, path, headers, "");
        if let Some((_, host)) = headers.iter().find(|(name, _)| name == HOST) {
            request.headers_mut().insert(HOST, host.parse().expect("a host"));
        }
        send(&app, request).await.0.as_u16()
    };
    let local = (HOST, "127.0.0.1:9000");
    assert_eq!(status(Method::GET, "/api/v1/logs", std::slice::from_ref(&local)).await, 200);
    assert_eq!(status(Method::POST, "/-/flush", std::slice::from_ref(&local)).await, 200, "a tool");
    let own = (ORIGIN, "http://127.0.0.1:9000");
    assert_eq!(status(Method::POST, "/-/flush", &[local.clone(), own]).await, 200, "our page");
    let evil = (ORIGIN, "http://evil.example");
    assert_eq!(status(Method::POST, "/-/flush", &[local.clone(), evil]).await, 403, "another site");
    for path in ["/api/v1/logs", "/healthz", "/nowhere"] {
        assert_eq!(status(Method::GET, path, &[(HOST, "evil.example:9000")]).await, 403, "a name pointed at us");
    }
    assert_eq!(status(Method::GET, "/nowhere", std::slice::from_ref(&local)).await, 404);
    assert_eq!(status(Method::POST, "/api/v1/auth/login", &[local]).await, 400, "nothing to log in to");
}

/// A handler whose answer goes on for long can ask whether its reader may still read.
#[tokio::test]
async fn a_handler_can_ask_whether_a_credential_is_still_good() {
    let world = World::new(config()).await;
    let token = world.token(Role::Viewer, None).await;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    let handler = any(move |request: Request<Body>| {
        let (sender, validity) =
            (sender.clone(), request.extensions().get::<Arc<dyn trivium_model::Validity>>().cloned());
        async move { sender.send(validity).await.expect("it is waited for") }
    });
    let router = Router::new().route("/healthz", handler.clone()).route("/api/v1/logs/tail", handler);
    let table = Arc::new(RouteTable::new(routes::api()).expect("a table"));
    let router = router.layer(AuthLayer::new(Arc::clone(&world.auth), table, Door::Api));
    let authorization = bearer(&token);
    let mut ask = async |path: &str| {
        let request = request(Method::GET, path, &[(AUTHORIZATION, &authorization)], "");
        assert_eq!(send(&router, request).await.0, StatusCode::OK);
        receiver.recv().await.expect("the handler was called")
    };
    assert!(ask("/healthz").await.is_none(), "nobody is asked who he is");
    let validity = ask("/api/v1/logs/tail").await.expect("a reader whom we know");
    assert!(validity.is_good());
    let id = crate::token::id_of(token.reveal()).expect("a token");
    world.auth.revoke_token(&operator(), id).await.expect("revoked");
    assert!(!validity.is_good());
}

#[tokio::test]
async fn a_handler_knows_who_asks_and_without_the_layer_there_is_no_handler() {
    let world = World::new(config()).await;
    let acme = world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    let who = any(|Caller(principal): Caller, Extension(tenant): Extension<TenantId>| async move {
        format!("{} {tenant}", principal.tenant_name)
    });
    let bare = Router::new().route("/healthz", who.clone()).layer(Extension(TenantId(0)));
    assert_eq!(send(&bare, request(Method::GET, "/healthz", &[], "")).await.0, StatusCode::UNAUTHORIZED);
    let route = Route { method: Method::GET, path: "/who".into(), access: Access::Known };
    let table = Arc::new(RouteTable::new([route]).expect("a table"));
    let layered = Router::new().route("/who", who).layer(AuthLayer::new(Arc::clone(&world.auth), table, Door::Api));
    let token = bearer(&world.token(Role::Ingest, Some("acme")).await);
    let (status, _, body) = send(&layered, request(Method::GET, "/who", &[(AUTHORIZATION, &token)], "")).await;
    assert_eq!((status, body), (StatusCode::OK, value!(format!("acme {}", acme.id))));
}
