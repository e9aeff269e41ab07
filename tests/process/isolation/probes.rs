//! What every route is asked for, by its template: everything that it could show.

use reqwest::Method;
use serde_json::{Value, json};
use trivium_auth::{Access, Route, Verb, routes};

/// A trace that every tenant has spans and log records of, and the handle of a tenant, which is no secret.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The tables that there are, those with telemetry first.
pub(crate) const TABLES: [&str; 11] = [
    "logs",
    "spans",
    "metrics",
    "span_events",
    "span_links",
    "exemplars",
    "series",
    "rejected",
    "quarantine",
    "alerts_history",
    "notifications_history",
];

/// Those that have what was sent.
const TELEMETRY_TABLES: usize = 7;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Body,
    /// What the answer should be in.
    pub(crate) accept: &'static str,
    /// Whether a tenant must find what it sent itself.
    pub(crate) shows: bool,
    /// Whether an admin of the default tenant, who manages all, may see what others have.
    pub(crate) is_administration: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    Json(Value),
    Form(String),
}

/// Something that is asked: where, with what, and whether it must show the asker's own.
type Asked = (String, Body, bool);

/// The routes by which a tenant is filled, by which the process is told something, and those that the test asks by itself.
const OTHER: [(&str, &str); 8] = [
    ("POST", "/prometheus/api/v1/write"),
    ("POST", "/-/flush"),
    ("POST", "/-/reload"),
    ("POST", "/api/v1/admin/quarantine/restore"),
    ("POST", "/api/v1/auth/tenants"),
    ("POST", "/api/v1/auth/tokens"),
    ("POST", "/api/v1/auth/users"),
    ("GET", "/api/v1/logs/tail"),
];

/// Every request that a reader can make; a route of the program that is not known here fails the test.
pub(crate) fn probes(handles: &[String]) -> Vec<Probe> {
    let mut probes = Vec::new();
    for Route { method, path: route, access } in routes::api() {
        if OTHER.contains(&(method.as_str(), route.as_str())) {
            continue;
        }
        let asked = match access {
            Access::Public => public(&method, &route),
            Access::Known | Access::Needs(_) => asked(&method, &route, handles).unwrap_or_else(|| {
                panic!("{method} {route} is a new route: say in tests/process/isolation/probes.rs what it is asked for")
            }),
        };
        let is_administration =
            matches!(access, Access::Needs(needed) if matches!(needed.verb, Verb::Administer | Verb::Monitor));
        let probe =
            |(path, body, shows)| Probe { method: method.clone(), path, body, accept: "*/*", shows, is_administration };
        probes.extend(asked.into_iter().map(probe));
    }
    let formats = ["application/x-ndjson", "application/x-ndjson; rows=arrays", "application/vnd.apache.arrow.stream"];
    let exports = formats.map(|accept| Probe {
        method: Method::POST,
        path: "/api/v1/sql".into(),
        body: sql("SELECT * FROM logs"),
        accept,
        shows: true,
        is_administration: false,
    });
    probes.extend(exports);
    probes
}

/// What is open to everybody is asked as it is, where it is a page.
fn public(method: &Method, route: &str) -> Vec<Asked> {
    if *method == Method::GET { vec![(route.to_owned(), Body::None, false)] } else { Vec::new() }
}

pub(crate) fn sql(statement: &str) -> Body {
    Body::Json(json!({ "sql": statement }))
}

fn asked(method: &Method, route: &str, handles: &[String]) -> Option<Vec<Asked>> {
    if let Some(question) = route.strip_prefix("/prometheus/api/v1/") {
        return prometheus(method, question, handles);
    }
    if route.starts_with("/alertmanager/") {
        return alertmanager(method, route);
    }
    if route.starts_with("/api/v1/auth/") {
        return auth(method, route);
    }
    let plain = |paths: &[&str], shows: bool| {
        Some(paths.iter().map(|path| ((*path).to_owned(), Body::None, shows)).collect::<Vec<_>>())
    };
    match (method.as_str(), route) {
        ("POST", "/api/v1/sql") => Some(statements(handles)),
        ("GET", "/api/v1/logs") => Some(searches(handles)),
        ("GET", "/api/v1/traces") => plain(&["/api/v1/traces?limit=100"], true),
        ("GET", "/api/v1/traces/{trace_id}") => plain(&[&format!("/api/v1/traces/{TRACE}")], true),
        ("GET", "/api/v1/correlate/{*id}") => {
            let mut asked = plain(&[&format!("/api/v1/correlate/{TRACE}")], true)?;
            asked.extend(handles.iter().map(|handle| (format!("/api/v1/correlate/{handle}"), Body::None, false)));
            Some(asked)
        }
        ("GET", "/api/v1/services" | "/api/v1/service_graph" | "/api/v1/views") => plain(&[route], true),
        // Every tenant has a view of this name; what is taken away is nobody's.
        ("PUT", "/api/v1/views/{page}/{name}") => {
            Some(vec![("/api/v1/views/logs/untouched".into(), Body::Json(json!({"query": "query=nothing"})), false)])
        }
        ("DELETE", "/api/v1/views/{page}/{name}") => plain(&["/api/v1/views/logs/nobodys"], false),
        ("GET", "/metrics" | "/api/v1/admin/quarantine" | "/api/v1/openapi.json") => plain(&[route], false),
        ("GET", "/api/v1/rules" | "/api/v1/alerts" | "/api/v1/incidents" | "/api/v1/slos") => plain(&[route], false),
        ("GET", "/api/v1/diagnosis") => {
            let of = handles.iter().map(|handle| (format!("/api/v1/diagnosis?service={handle}"), Body::None, false));
            Some(of.chain([("/api/v1/diagnosis".to_owned(), Body::None, false)]).collect())
        }
        ("GET", "/api/v1/slos/{name}") => plain(&["/api/v1/slos/any"], false),
        ("POST", "/api/v1/rules/backtest") => Some(vec![(route.to_owned(), Body::Json(json!({})), false)]),
        ("PUT", "/api/v1/alerts/{fingerprint}/acknowledgement") => Some(vec![(
            "/api/v1/alerts/0123456789abcdef/acknowledgement".into(),
            Body::Json(json!({"by": "somebody"})),
            false,
        )]),
        ("DELETE", "/api/v1/alerts/{fingerprint}/acknowledgement") => {
            plain(&["/api/v1/alerts/0123456789abcdef/acknowledgement"], false)
        }
        _ => None,
    }
}

fn statements(handles: &[String]) -> Vec<Asked> {
    let all = TABLES.iter().enumerate();
    let all = all.map(|(index, table)| (format!("SELECT * FROM {table}"), index < TELEMETRY_TABLES));
    let names =
        ["tables", "columns", "schemata"].map(|name| (format!("SELECT * FROM information_schema.{name}"), false));
    let own = handles.iter().flat_map(|handle| {
        [
            (format!("SELECT * FROM logs WHERE body LIKE '%{handle}%'"), false),
            (format!("SELECT DISTINCT service_name FROM spans WHERE attributes LIKE '%{handle}%'"), false),
            (format!("EXPLAIN ANALYZE SELECT * FROM logs WHERE body LIKE '%{handle}%'"), false),
            (format!("SELECT * FROM {handle}.public.logs"), false),
        ]
    });
    let joined = "SELECT l.body, s.attributes FROM logs l JOIN spans s ON l.trace_id = s.trace_id";
    let all = all.chain(names).chain(own).chain([(joined.to_owned(), true)]);
    all.map(|(statement, shows)| ("/api/v1/sql".to_owned(), sql(&statement), shows)).collect()
}

fn searches(handles: &[String]) -> Vec<Asked> {
    let mut asked = vec![
        ("/api/v1/logs?limit=1000".to_owned(), Body::None, true),
        (
            "/api/v1/logs?limit=1&histogram=true&facets=service_name,shop.canary&facet_values=100".to_owned(),
            Body::None,
            true,
        ),
        (format!("/api/v1/logs?query=trace_id%3A{TRACE}"), Body::None, true),
    ];
    let of = handles
        .iter()
        .flat_map(|handle| [format!("/api/v1/logs?query={handle}"), format!("/api/v1/logs?query=handle%3A{handle}")]);
    asked.extend(of.map(|path| (path, Body::None, false)));
    asked
}

/// Selectors and labels that reach everything.
fn prometheus(method: &Method, question: &str, handles: &[String]) -> Option<Vec<Asked>> {
    let any = "%7Bjob%3D~%22.%2B%22%7D";
    let asked = match question {
        "query" => {
            let of = handles.iter().map(|handle| (format!("query=%7Bhandle%3D%22{handle}%22%7D"), false));
            let all = [(format!("query={any}"), true), ("query=shared".into(), true), ("query=ALERTS".into(), false)];
            all.into_iter().chain([("query=count+by+%28canary%29+%28shared%29".into(), true)]).chain(of).collect()
        }
        "query_range" => vec![("query=shared&start=RECENT&end=SOON&step=15".to_owned(), true)],
        "query_exemplars" => vec![("query=shared&start=RECENT&end=SOON".to_owned(), true)],
        "series" => vec![(format!("match%5B%5D={any}"), true)],
        "labels" => vec![(String::new(), true)],
        "format_query" | "parse_query" => vec![("query=shared".to_owned(), false)],
        _ => {
            let paths = match question {
                "label/{name}/values" => {
                    vec![("label/canary/values", true), ("label/__name__/values", true), ("label/job/values", true)]
                }
                "metadata" => vec![("metadata", true)],
                "status/{page}" => {
                    ["tsdb", "runtimeinfo", "buildinfo", "flags", "config"].map(|page| (page, false)).to_vec()
                }
                "targets" | "targets/metadata" | "scrape_pools" | "rules" | "alerts" | "alertmanagers" => {
                    vec![(question, false)]
                }
                "{*path}" => vec![("admin/tsdb/snapshot", false)],
                _ => return None,
            };
            let prefix = if question == "status/{page}" { "status/" } else { "" };
            let path = |(path, shows): (&str, bool)| (format!("/prometheus/api/v1/{prefix}{path}"), Body::None, shows);
            return Some(paths.into_iter().map(path).collect());
        }
    };
    let path = format!("/prometheus/api/v1/{question}");
    let asked = asked.into_iter().map(|(parameters, shows)| match *method {
        Method::POST => (path.clone(), Body::Form(parameters), shows),
        _ => (format!("{path}?{parameters}"), Body::None, shows),
    });
    Some(asked.collect())
}

fn alertmanager(method: &Method, route: &str) -> Option<Vec<Asked>> {
    let known = match (method.as_str(), route.trim_start_matches("/alertmanager/api/v2/")) {
        ("GET", "status" | "receivers" | "alerts" | "alerts/groups" | "silences") => {
            (route.to_owned(), Body::None, false)
        }
        ("GET" | "DELETE", "silence/{id}") => {
            ("/alertmanager/api/v2/silence/01234567-89ab-cdef-0123-456789abcdef".into(), Body::None, false)
        }
        ("POST", "alerts" | "silences") => (route.to_owned(), Body::Json(json!([])), false),
        _ => return None,
    };
    Some(vec![known])
}

fn auth(method: &Method, route: &str) -> Option<Vec<Asked>> {
    let asked = match (method.as_str(), route.trim_start_matches("/api/v1/auth/")) {
        ("GET", "me") => (route.to_owned(), Body::None, false),
        ("GET", "tokens" | "users" | "audit") => (route.to_owned(), Body::None, true),
        ("GET", "tenants") => (route.to_owned(), Body::None, false),
        // Of somebody with a token, who has no session and no password.
        ("POST", "logout") => (route.to_owned(), Body::None, false),
        ("POST", "password") => (route.to_owned(), Body::Json(json!({"old": "none", "new": "none"})), false),
        ("DELETE", "tokens/{id}") => ("/api/v1/auth/tokens/nobodys".into(), Body::None, false),
        ("PATCH", "users/{name}") => ("/api/v1/auth/users/nobody".into(), Body::Json(json!({"disabled": true})), false),
        ("DELETE", "users/{name}") => ("/api/v1/auth/users/nobody".into(), Body::None, false),
        _ => return None,
    };
    Some(vec![asked])
}
