//! Which route needs what. What is not in the table is refused.

use std::collections::BTreeMap;

use http::Method;
use trivium_model::SignalKind;

use crate::principal::Permission;
use crate::role::Verb;

/// Where Prometheus sends samples.
pub(crate) const REMOTE_WRITE: &str = "/prometheus/api/v1/write";

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without credentials.
    Public,
    /// Everybody whom we know.
    Known,
    /// Whoever has this permission.
    Needs(Permission),
}

impl Access {
    /// The verb, for whichever signal.
    pub const fn verb(verb: Verb) -> Self {
        Self::Needs(Permission { verb, signal: None })
    }

    /// The verb, for one signal.
    pub const fn of(verb: Verb, signal: SignalKind) -> Self {
        Self::Needs(Permission { verb, signal: Some(signal) })
    }
}

/// A route: a method and the template of its path, as the router has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method; `GET` is also `HEAD`.
    pub method: Method,
    /// The template, such as `/api/v1/traces/{trace_id}`.
    pub path: String,
    /// Who may use it.
    pub access: Access,
}

/// The routes of a listener.
#[derive(Clone, Debug, Default)]
pub struct RouteTable(BTreeMap<String, Vec<(Method, Access)>>);

/// What the table says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Access(Access),
    /// The methods that the path has.
    WrongMethod(String),
    Unknown,
}

impl RouteTable {
    /// Makes the table. Refuses a route that is there twice, and one that changes something when it is read.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Result<Self, String> {
        let mut table = Self::default();
        for Route { method, path, access } in routes {
            let is_change = matches!(access, Access::Needs(needed) if matches!(needed.verb, Verb::Write | Verb::Operate | Verb::Ingest));
            if method == Method::GET && is_change {
                return Err(format!("GET {path} must not change anything"));
            }
            let methods = table.0.entry(path.clone()).or_default();
            if methods.iter().any(|(known, _)| *known == method) {
                return Err(format!("{method} {path} is in the route table twice"));
            }
            methods.push((method, access));
        }
        Ok(table)
    }

    /// All of them, for tests of every route with every credential.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.0.iter().flat_map(|(path, methods)| {
            methods.iter().map(|(method, access)| Route { method: method.clone(), path: path.clone(), access: *access })
        })
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let Some(methods) = self.0.get(path) else { return Found::Unknown };
        let method = if method == Method::HEAD { &Method::GET } else { method };
        match methods.iter().find(|(known, _)| known == method) {
            Some((_, access)) => Found::Access(*access),
            None => {
                Found::WrongMethod(methods.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn route(method: Method, path: &str, access: Access) -> Route {
    Route { method, path: path.to_owned(), access }
}

fn get(path: &str, access: Access) -> Route {
    route(Method::GET, path, access)
}

fn post(path: &str, access: Access) -> Route {
    route(Method::POST, path, access)
}

/// A route that may be asked by `GET` or, with a long question, by `POST`.
fn ask(path: &str, access: Access) -> [Route; 2] {
    [get(path, access), post(path, access)]
}

/// Pages and files that everybody may load: they have no data in them.
pub fn public(paths: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Route> {
    paths.into_iter().map(|path| get(path.as_ref(), Access::Public)).collect()
}

/// OTLP over HTTP. A browser asks before it sends, without credentials.
pub fn otlp_http() -> Vec<Route> {
    let paths =
        [("/v1/logs", SignalKind::Logs), ("/v1/metrics", SignalKind::Metrics), ("/v1/traces", SignalKind::Traces)];
    let routes = paths.into_iter().flat_map(|(path, signal)| {
        [post(path, Access::of(Verb::Ingest, signal)), route(Method::OPTIONS, path, Access::Public)]
    });
    routes.collect()
}

/// OTLP over gRPC.
pub fn otlp_grpc() -> Vec<Route> {
    let services = [
        ("logs.v1.LogsService", SignalKind::Logs),
        ("metrics.v1.MetricsService", SignalKind::Metrics),
        ("trace.v1.TraceService", SignalKind::Traces),
    ];
    let routes = services.into_iter().map(|(service, signal)| {
        let path = format!("/opentelemetry.proto.collector.{service}/Export");
        post(&path, Access::of(Verb::Ingest, signal))
    });
    routes.collect()
}

/// Everything on the API's listener but the web UI.
pub fn api() -> Vec<Route> {
    [operations(), own(), alerting(), prometheus(), alertmanager(), auth()].concat()
}

fn operations() -> Vec<Route> {
    vec![
        get("/healthz", Access::Public),
        get("/readyz", Access::Public),
        get("/metrics", Access::verb(Verb::Monitor)),
        post("/-/flush", Access::verb(Verb::Operate)),
        post("/-/reload", Access::verb(Verb::Operate)),
        get("/api/v1/admin/quarantine", Access::verb(Verb::Monitor)),
    ]
}

fn own() -> Vec<Route> {
    let (read, write) = (Access::verb(Verb::Read), Access::verb(Verb::Write));
    vec![
        get("/api/v1/openapi.json", Access::Known),
        // Reads: what SQL would change is refused by the engine.
        post("/api/v1/sql", read),
        get("/api/v1/logs", Access::of(Verb::Read, SignalKind::Logs)),
        get("/api/v1/logs/tail", Access::of(Verb::Read, SignalKind::Logs)),
        get("/api/v1/traces", Access::of(Verb::Read, SignalKind::Traces)),
        get("/api/v1/traces/{trace_id}", Access::of(Verb::Read, SignalKind::Traces)),
        get("/api/v1/services", Access::of(Verb::Read, SignalKind::Traces)),
        get("/api/v1/service_graph", Access::of(Verb::Read, SignalKind::Traces)),
        get("/api/v1/correlate/{*id}", read),
        get("/api/v1/views", read),
        route(Method::PUT, "/api/v1/views/{page}/{name}", write),
        route(Method::DELETE, "/api/v1/views/{page}/{name}", write),
        post("/api/v1/admin/quarantine/restore", Access::verb(Verb::Operate)),
    ]
}

fn alerting() -> Vec<Route> {
    let (read, write) = (Access::verb(Verb::Read), Access::verb(Verb::Write));
    let mut routes: Vec<Route> = [
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/incidents",
        "/api/v1/diagnosis",
        "/api/v1/slos",
        "/api/v1/slos/{name}",
        "/prometheus/api/v1/rules",
        "/prometheus/api/v1/alerts",
        "/prometheus/api/v1/alertmanagers",
    ]
    .map(|path| get(path, read))
    .into();
    routes.push(post("/api/v1/rules/backtest", read));
    let acknowledgement = "/api/v1/alerts/{fingerprint}/acknowledgement";
    routes.push(route(Method::PUT, acknowledgement, write));
    routes.push(route(Method::DELETE, acknowledgement, write));
    routes
}

fn prometheus() -> Vec<Route> {
    let read = Access::of(Verb::Read, SignalKind::Metrics);
    let asked = ["query", "query_range", "query_exemplars", "format_query", "parse_query", "series", "labels"];
    let mut routes: Vec<Route> =
        asked.iter().flat_map(|name| ask(&format!("/prometheus/api/v1/{name}"), read)).collect();
    let read_only = ["label/{name}/values", "metadata", "status/{page}", "targets/metadata"];
    routes.extend(read_only.iter().map(|name| get(&format!("/prometheus/api/v1/{name}"), read)));
    // Everything is scraped for the default tenant, and these have addresses and errors of the operators' network.
    let monitor = Access::verb(Verb::Monitor);
    routes.extend(["targets", "scrape_pools"].map(|name| get(&format!("/prometheus/api/v1/{name}"), monitor)));
    // What there is not, answered as Prometheus would.
    routes.extend(ask("/prometheus/api/v1/{*path}", read));
    routes.push(post(REMOTE_WRITE, Access::of(Verb::Ingest, SignalKind::Metrics)));
    routes
}

fn alertmanager() -> Vec<Route> {
    let (read, write) = (Access::verb(Verb::Read), Access::verb(Verb::Write));
    vec![
        get("/alertmanager/api/v2/status", read),
        get("/alertmanager/api/v2/receivers", read),
        get("/alertmanager/api/v2/alerts", read),
        post("/alertmanager/api/v2/alerts", write),
        get("/alertmanager/api/v2/alerts/groups", read),
        get("/alertmanager/api/v2/silences", read),
        post("/alertmanager/api/v2/silences", write),
        get("/alertmanager/api/v2/silence/{id}", read),
        route(Method::DELETE, "/alertmanager/api/v2/silence/{id}", write),
        get("/alertmanager/-/healthy", Access::Public),
        get("/alertmanager/-/ready", Access::Public),
    ]
}

/// The routes of [`crate::router`].
pub fn auth() -> Vec<Route> {
    let (administer, operate) = (Access::verb(Verb::Administer), Access::verb(Verb::Operate));
    vec![
        get("/api/v1/auth/methods", Access::Public),
        post("/api/v1/auth/login", Access::Public),
        get("/api/v1/auth/oidc/start", Access::Public),
        get("/api/v1/auth/oidc/callback", Access::Public),
        post("/api/v1/auth/logout", Access::Known),
        get("/api/v1/auth/me", Access::Known),
        post("/api/v1/auth/password", Access::Known),
        get("/api/v1/auth/tokens", administer),
        post("/api/v1/auth/tokens", administer),
        route(Method::DELETE, "/api/v1/auth/tokens/{id}", administer),
        get("/api/v1/auth/users", administer),
        post("/api/v1/auth/users", administer),
        route(Method::PATCH, "/api/v1/auth/users/{name}", administer),
        route(Method::DELETE, "/api/v1/auth/users/{name}", administer),
        get("/api/v1/auth/tenants", administer),
        post("/api/v1/auth/tenants", operate),
        get("/api/v1/auth/audit", administer),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_whole_and_what_is_not_there_is_not_found() {
        let table = RouteTable::new(api()).expect("a table");
        let sql = Found::Access(Access::verb(Verb::Read));
        assert_eq!(table.find(&Method::POST, "/api/v1/sql"), sql);
        assert_eq!(table.find(&Method::HEAD, "/healthz"), Found::Access(Access::Public));
        assert_eq!(table.find(&Method::DELETE, "/api/v1/sql"), Found::WrongMethod("POST".into()));
        for unknown in ["", "/", "/api/v1/sql/", "/API/v1/sql", "/api/v1/auth/tokens/{id}/..", "//healthz"] {
            assert_eq!(table.find(&Method::GET, unknown), Found::Unknown, "{unknown}");
        }
        assert_eq!(RouteTable::new(otlp_http()).expect("a table").routes().count(), 6);
        assert_eq!(RouteTable::new(otlp_grpc()).expect("a table").routes().count(), 3);
    }

    #[test]
    fn nothing_is_public_by_accident() {
        let table = RouteTable::new(api()).expect("a table");
        let public: Vec<String> =
            table.routes().filter(|route| route.access == Access::Public).map(|route| route.path).collect();
        let expected = [
            "/alertmanager/-/healthy",
            "/alertmanager/-/ready",
            "/api/v1/auth/login",
            "/api/v1/auth/methods",
            "/api/v1/auth/oidc/callback",
            "/api/v1/auth/oidc/start",
            "/healthz",
            "/readyz",
        ];
        assert_eq!(public, expected);
    }

    #[test]
    fn what_concerns_the_whole_server_is_for_its_people_alone() {
        let table = RouteTable::new(api()).expect("a table");
        let of_server = [Access::verb(Verb::Monitor), Access::verb(Verb::Operate)];
        let found: Vec<String> =
            table.routes().filter(|route| of_server.contains(&route.access)).map(|route| route.path).collect();
        let expected = [
            "/-/flush",
            "/-/reload",
            "/api/v1/admin/quarantine",
            "/api/v1/admin/quarantine/restore",
            "/api/v1/auth/tenants",
            "/metrics",
            "/prometheus/api/v1/scrape_pools",
            "/prometheus/api/v1/targets",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_table_refuses_two_answers_and_reading_that_changes() {
        let twice = [get("/a", Access::Public), get("/a", Access::Known)];
        assert!(RouteTable::new(twice).is_err());
        for verb in [Verb::Write, Verb::Operate, Verb::Ingest] {
            assert!(RouteTable::new([get("/delete_series", Access::verb(verb))]).is_err());
        }
    }
}
