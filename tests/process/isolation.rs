//! Tenants of one server, each with telemetry, views, tokens and users that bear its canary: whatever they do in whatever order,
//! no answer of any route shows the canary of another.
//!
//! The routes are those of the program's own table (`trivium_auth::routes`), the tables of SQL those that it lists; what is new
//! there fails the test until it is asked for.

mod probes;

use std::path::Path;

use prost::Message;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;
use trivium_proto::prometheus::v1;

use self::probes::{Body, Probe, TABLES, TRACE, probes, sql};
use crate::support::Server;

/// Random operations of a run, and the runs.
const OPERATIONS: usize = 60;
const SEEDS: [u64; 2] = [0x7121, 0x7122];

const TENANTS: [&str; 3] = ["default", "acme", "beta"];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

struct Tenant {
    name: &'static str,
    token: String,
    /// What only its own answers may have.
    canary: String,
    /// By which everybody may ask.
    handle: String,
}

impl Tenant {
    fn is_default(&self) -> bool {
        self.name == "default"
    }
}

struct World {
    server: Server,
    tenants: Vec<Tenant>,
    probes: Vec<Probe>,
    /// What was done, for the message of a failure.
    log: Vec<String>,
    number: u64,
}

fn start(folder: &Path) -> Server {
    Server::start(folder, &["--auth", "required"])
}

async fn post(server: &Server, path: &str, token: &str, body: Value) -> Value {
    let request = server.client().post(format!("{}{path}", server.http)).bearer_auth(token).json(&body);
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let answer: Value = answer.json().await.unwrap_or_default();
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

impl World {
    async fn new(folder: &Path, seed: u64) -> Self {
        let server = start(folder);
        let first = std::fs::read_to_string(folder.join("first-admin-token")).expect("the first token");
        let mut admin = first.trim().to_owned();
        let mut tenants = Vec::new();
        for name in TENANTS {
            let canary = format!("canary{seed:x}{name}");
            if name != "default" {
                post(&server, "/api/v1/auth/tenants", &admin, json!({ "name": name })).await;
            }
            // Who made a token is told to whose it is: the operator has a name that is no secret.
            let new = json!({"name": format!("operator of {name}"), "role": "admin", "tenant": name});
            let made = post(&server, "/api/v1/auth/tokens", &admin, new).await;
            let token = made["token"].as_str().expect("a token").to_owned();
            if name == "default" {
                // The first token of all ends with the first admin that somebody makes.
                admin.clone_from(&token);
            }
            post(&server, "/api/v1/auth/tokens", &token, json!({"name": canary, "role": "viewer"})).await;
            let new = json!({"name": canary, "role": "viewer", "password": "correct horse battery staple"});
            post(&server, "/api/v1/auth/users", &token, new).await;
            tenants.push(Tenant { name, token, canary, handle: format!("handle{name}") });
        }
        let handles: Vec<String> = tenants.iter().map(|tenant| tenant.handle.clone()).collect();
        Self { server, tenants, probes: probes(&handles), log: Vec::new(), number: 0 }
    }

    async fn operate(mut self, random: &mut Random, folder: &Path) -> Self {
        let tenant = random.below(self.tenants.len());
        let operation = random.below(16);
        self.log.push(format!("{operation} of {}", self.tenants[tenant].name));
        self.number += 1;
        match operation {
            0..=5 => self.send(tenant).await,
            6 => self.save_view(tenant).await,
            7 => self.flush().await,
            8 => return self.restart(folder),
            _ => {
                let probe = self.probes[random.below(self.probes.len())].clone();
                self.ask(tenant, &probe).await;
            }
        }
        self
    }

    /// Every signal, through OTLP and remote write.
    async fn send(&self, tenant: usize) {
        let Tenant { token, canary, handle, .. } = &self.tenants[tenant];
        for (signal, body) in telemetry(canary, handle, self.number) {
            let request = self.server.client().post(format!("{}/v1/{signal}", self.server.otlp_http));
            let answer = request.bearer_auth(token).json(&body).send().await.expect("an answer");
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            assert!(status.is_success() && !text.contains("rejected"), "{signal}: {status} {text}");
        }
        let body = snap::raw::Encoder::new().compress_vec(&written(canary, handle)).expect("it compresses");
        let request = self.server.client().post(format!("{}/prometheus/api/v1/write", self.server.http)).body(body);
        let request = request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
        let answer = request.bearer_auth(token).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    /// All save one of the same name.
    async fn save_view(&self, tenant: usize) {
        let Tenant { token, canary, .. } = &self.tenants[tenant];
        let request = self.server.client().put(format!("{}/api/v1/views/logs/mine", self.server.http));
        let body = json!({"query": format!("query={canary}")});
        let answer = request.bearer_auth(token).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    async fn flush(&self) {
        post(&self.server, "/-/flush", &self.tenants[0].token, Value::Null).await;
    }

    /// The folder is free once the process is gone, so that the old one ends before the new one begins.
    fn restart(self, folder: &Path) -> Self {
        self.server.kill();
        Self { server: start(folder), ..self }
    }

    /// Asks, and looks for canaries of others; whether the own one is there.
    async fn ask(&self, tenant: usize, probe: &Probe) -> bool {
        let Tenant { name, token, canary, .. } = &self.tenants[tenant];
        let url = format!("{}{}", self.server.http, with_times(&probe.path));
        let request = self.server.client().request(probe.method.clone(), url).bearer_auth(token);
        let request = request.header("accept", probe.accept);
        let request = match &probe.body {
            Body::None => request,
            Body::Json(body) => request.json(body),
            Body::Form(form) => {
                request.header("content-type", "application/x-www-form-urlencoded").body(with_times(form))
            }
        };
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = String::from_utf8_lossy(&answer.bytes().await.expect("a body")).into_owned();
        assert!(!status.is_server_error(), "{name} asks {probe:?}: {status} {text}\n{:?}", self.log);
        let is_operator = self.tenants[tenant].is_default() && probe.is_administration;
        for other in self.tenants.iter().filter(|other| other.name != *name && !is_operator) {
            let shows = text.contains(&other.canary);
            assert!(!shows, "{name} asks {probe:?} and sees {}:\n{text}\n{:?}", other.canary, self.log);
        }
        status.is_success() && text.contains(canary.as_str())
    }

    /// Every request of every tenant; each finds its own where it should.
    async fn ask_everything(&self) {
        for tenant in 0..self.tenants.len() {
            for probe in &self.probes {
                let is_found = self.ask(tenant, probe).await;
                let name = self.tenants[tenant].name;
                assert!(is_found || !probe.shows, "{name} asks {probe:?} and does not find its own\n{:?}", self.log);
            }
        }
    }

    /// Tables that there are and nobody asks for.
    async fn assert_no_table_is_forgotten(&self) {
        let statement = "SELECT table_name FROM information_schema.tables WHERE table_schema <> 'information_schema'";
        let Body::Json(body) = sql(statement) else { return };
        let found = post(&self.server, "/api/v1/sql", &self.tenants[0].token, body).await;
        let found: Vec<&str> =
            found["rows"].as_array().expect("rows").iter().filter_map(|row| row[0].as_str()).collect();
        let forgotten: Vec<_> = found.iter().filter(|name| !TABLES.contains(name)).collect();
        assert!(
            !found.is_empty() && forgotten.is_empty(),
            "add to TABLES of tests/process/isolation/probes.rs: {forgotten:?}"
        );
    }

    /// Follows log records as all tenants, while all send, others first: up to its own, and sees nobody else's.
    async fn follow(&mut self) {
        for tenant in 0..self.tenants.len() {
            let Tenant { name, token, canary, .. } = &self.tenants[tenant];
            let url = format!("{}/api/v1/logs/tail", self.server.http);
            let mut stream = self.server.client().get(url).bearer_auth(token).send().await.expect("an answer");
            assert_eq!(stream.status(), StatusCode::OK);
            let others = (0..self.tenants.len()).filter(|other| *other != tenant);
            for sender in others.chain([tenant]) {
                self.send(sender).await;
            }
            let mut seen = String::new();
            while !seen.contains(canary.as_str()) {
                let piece = tokio::time::timeout(crate::support::PATIENCE, stream.chunk()).await;
                let piece = piece.expect("the record is seen in time").expect("the stream goes on");
                seen.push_str(&String::from_utf8_lossy(&piece.expect("the stream goes on")));
            }
            for other in self.tenants.iter().filter(|other| other.name != *name) {
                assert!(!seen.contains(&other.canary), "{name} follows and sees {}:\n{seen}", other.canary);
            }
            self.number += 1;
        }
    }

    /// Tokens and users of others cannot be ended, and a name of one's own cannot be given to another tenant.
    async fn assert_nobody_manages_others(&self) {
        for tenant in self.tenants.iter().filter(|tenant| !tenant.is_default()) {
            let other = self.tenants.iter().find(|other| other.name != tenant.name).expect("another");
            // `trv_`, eight characters by which it is known, and the secret.
            let (id, user) = (other.token.get(4..12).expect("a token"), &other.canary);
            for (method, path, body) in [
                (Method::DELETE, format!("/api/v1/auth/tokens/{id}"), Value::Null),
                (Method::DELETE, format!("/api/v1/auth/users/{user}"), Value::Null),
                (Method::PATCH, format!("/api/v1/auth/users/{user}"), json!({"disabled": true})),
                (
                    Method::POST,
                    "/api/v1/auth/tokens".into(),
                    json!({"name": "x", "role": "viewer", "tenant": other.name}),
                ),
                (Method::POST, "/api/v1/auth/tenants".into(), json!({"name": "gamma"})),
                (Method::POST, "/-/flush".into(), Value::Null),
                (Method::POST, "/-/reload".into(), Value::Null),
                (Method::POST, "/api/v1/admin/quarantine/restore".into(), json!({})),
            ] {
                let request = self.server.client().request(method.clone(), format!("{}{path}", self.server.http));
                let answer = request.bearer_auth(&tenant.token).json(&body).send().await.expect("an answer");
                let status = answer.status();
                assert!(status.is_client_error(), "{} may {method} {path}: {status}", tenant.name);
            }
        }
        for tenant in &self.tenants {
            let request = self.server.client().get(format!("{}/api/v1/auth/me", self.server.http));
            let answer = request.bearer_auth(&tenant.token).send().await.expect("an answer");
            assert!(answer.status().is_success(), "the token of {} was ended", tenant.name);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the server under test has the real clock too")]
fn now_nanos() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262")
}

/// Where a question names times, those around now.
fn with_times(text: &str) -> String {
    let now = now_nanos() / 1_000_000_000;
    text.replace("RECENT", &(now - 600).to_string()).replace("SOON", &(now + 60).to_string())
}

/// A log record, a trace of two services and data points that bear the canary in every text, with IDs and names that all
/// tenants share.
fn telemetry(canary: &str, handle: &str, number: u64) -> [(&'static str, Value); 3] {
    let nanos = now_nanos().to_string();
    let text = |value: &str| json!({"stringValue": value});
    let attributes = json!([{"key": "canary", "value": text(canary)}, {"key": "handle", "value": text(handle)},
        {"key": canary, "value": text("key")}, {"key": "shop.canary", "value": text(canary)}]);
    let resource = |name: &str| json!({"attributes": [{"key": "service.name", "value": text(name)}]});
    let scope = json!({"name": canary});
    let record = json!({"timeUnixNano": nanos, "traceId": TRACE, "body": text(&format!("{handle} says {canary}")),
        "attributes": attributes, "eventName": canary});
    let span = |id: u64, parent: Value, kind: u8| {
        json!({"traceId": TRACE, "spanId": format!("{id:016x}"), "parentSpanId": parent, "kind": kind, "name": canary,
        "startTimeUnixNano": nanos, "endTimeUnixNano": nanos, "attributes": attributes,
        "events": [{"timeUnixNano": nanos, "name": canary, "attributes": attributes}],
        "links": [{"traceId": TRACE, "spanId": "00000000000000ff", "attributes": attributes}],
        "status": {"code": 2, "message": canary}})
    };
    let (call, answer) = (number * 2 + 1_000, number * 2 + 1_001);
    let calling =
        json!({"resource": resource(canary), "scopeSpans": [{"scope": scope, "spans": [span(call, json!(""), 3)]}]});
    let called = json!({"resource": resource(&format!("{canary}db")),
        "scopeSpans": [{"spans": [span(answer, json!(format!("{call:016x}")), 2)]}]});
    let exemplars = json!([{"timeUnixNano": nanos, "asDouble": 1.0, "traceId": TRACE, "spanId": format!("{call:016x}"),
        "filteredAttributes": attributes}]);
    let point = json!({"timeUnixNano": nanos, "asDouble": 1.0, "attributes": attributes, "exemplars": exemplars});
    let metrics =
        ["shared", canary].map(|name| json!({"name": name, "description": canary, "gauge": {"dataPoints": [point]}}));
    [
        (
            "logs",
            json!({"resourceLogs": [{"resource": resource(canary), "scopeLogs": [{"scope": scope, "logRecords": [record]}]}]}),
        ),
        ("traces", json!({"resourceSpans": [calling, called]})),
        (
            "metrics",
            json!({"resourceMetrics": [{"resource": resource(canary), "scopeMetrics": [{"scope": scope, "metrics": metrics}]}]}),
        ),
    ]
}

/// A series and a help text of remote write 1.0.
fn written(canary: &str, handle: &str) -> Vec<u8> {
    let pairs = [("__name__", "written"), ("canary", canary), ("handle", handle), ("job", canary)];
    let label = |(name, value): (&str, &str)| v1::Label { name: name.to_owned(), value: value.to_owned() };
    let timestamp = now_nanos() / 1_000_000;
    let series = v1::TimeSeries {
        labels: pairs.map(label).to_vec(),
        samples: vec![v1::Sample { value: 1.0, timestamp }],
        ..v1::TimeSeries::default()
    };
    let described = v1::MetricMetadata {
        metric_type: 2,
        metric_family_name: "written".to_owned(),
        help: canary.to_owned(),
        unit: String::new(),
    };
    v1::WriteRequest { timeseries: vec![series], metadata: vec![described] }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_sees_anything_of_another_by_any_route() {
    for seed in SEEDS {
        let folder = tempdir().expect("a folder");
        let mut world = World::new(folder.path(), seed).await;
        let mut random = Random(seed);
        world.log.push(format!("seed {seed:#x}"));
        for _ in 0..OPERATIONS {
            world = world.operate(&mut random, folder.path()).await;
        }
        for tenant in 0..world.tenants.len() {
            world.send(tenant).await;
            world.save_view(tenant).await;
        }
        world.assert_no_table_is_forgotten().await;
        world.ask_everything().await;
        world.follow().await;
        world.flush().await;
        world.ask_everything().await;
        world.assert_nobody_manages_others().await;
    }
}
