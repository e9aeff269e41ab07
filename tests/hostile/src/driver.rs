//! Runs the table against a server and looks at the server after each family.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use http::Method;
use prost::Message;
use serde_json::Value;

use crate::build;
use crate::case::{Case, Door, Expect, Signal};
use crate::cases;
use crate::reply::{ExportResponse, PartialSuccess, Reply, framed, grpc, http1, raw, shown};
use crate::server::{Rows, Server, binary};

/// MiB that the server may have in memory at any moment, with the settings of [`FLAGS`]. What it may hold: 128 of requests in
/// work and about as much decoded, 128 of queries, as much of PromQL samples and again when series are joined, three buffers of
/// 16 with what is sealed of them (one of which a request of 64 of labels may overshoot), caches of 128, and the rest.
pub(crate) const PEAK_MIB_MAX: u64 = 1_024;

pub(crate) const FLAGS: [&str; 14] = [
    "--in-flight-mib",
    "128",
    "--query-memory-mib",
    "128",
    "--buffer-mib",
    "16",
    "--page-cache-mib",
    "32",
    "--promql-cache-mib",
    "8",
    "--series-cache-mib",
    "64",
    "--promql-samples-max",
    "8000000",
];

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What a door said, in the terms of [`Expect`].
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    /// The code of gRPC, where there is one.
    pub(crate) code: Option<i32>,
    partial: Option<PartialSuccess>,
    pub(crate) text: String,
}

impl Said {
    /// No status is right that blames the server without asking for another attempt.
    pub(crate) fn blames_the_server(&self) -> bool {
        self.status == 0 || (self.status >= 500 && !matches!(self.status, 501 | 503 | 504))
    }

    fn of_protobuf(reply: &Reply) -> Self {
        let decoded = ExportResponse::decode(reply.body.clone()).unwrap_or_default();
        let partial = if reply.status == 200 { decoded.partial_success } else { None };
        Self { status: reply.status, code: None, partial, text: reply.text() }
    }

    fn of_json(signal: Signal, reply: &Reply) -> Self {
        let json = reply.json();
        let partial = json.get("partialSuccess").map(|partial| PartialSuccess {
            rejected: partial[signal.rejected_member()].as_str().and_then(|text| text.parse().ok()).unwrap_or(0),
            message: partial["errorMessage"].as_str().unwrap_or_default().into(),
        });
        Self { status: reply.status, code: None, partial, text: reply.text() }
    }

    fn of_grpc(reply: &Reply) -> Self {
        let partial = ExportResponse::decode(reply.grpc_message()).unwrap_or_default().partial_success;
        let text = format!("{} {}", reply.header("grpc-message"), reply.header("grpc-accept-encoding"));
        Self { status: reply.status, code: Some(reply.grpc_code()), partial, text }
    }

    /// A status with its text.
    pub(crate) fn bare(status: u16, text: String) -> Self {
        Self { status, code: None, partial: None, text }
    }

    fn plain(reply: &Reply) -> Self {
        Self::bare(reply.status, reply.text())
    }

    /// Remote write says in a refusal that the rest is stored.
    fn of_write(reply: &Reply) -> Self {
        let text = reply.text();
        let rejected = text.strip_prefix("rejected ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        match rejected {
            Some(rejected) if reply.status == 400 => {
                let partial = Some(PartialSuccess { rejected, message: text.clone() });
                Self { status: 200, code: None, partial, text }
            }
            _ => Self { status: if reply.status == 204 { 200 } else { reply.status }, ..Self::plain(reply) },
        }
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

async fn otlp(server: &Server, signal: Signal, by_grpc: bool, message: Vec<u8>) -> Said {
    if by_grpc {
        return Said::of_grpc(&grpc(&server.grpc, signal.grpc_path(), &[], framed(false, &message)).await);
    }
    Said::of_protobuf(&http1(&server.http, Method::POST, signal.http_path(), &[PROTOBUF], message.into()).await)
}

fn of_raw(answer: &str) -> Said {
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Said::bare(status, answer.to_owned())
}

async fn write(server: &Server, version: u8, block: Vec<u8>) -> Said {
    let content_type = match version {
        1 => "application/x-protobuf;proto=prometheus.WriteRequest",
        _ => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    };
    let headers = [("content-type", content_type), ("content-encoding", "snappy")];
    let path = "/prometheus/api/v1/write";
    Said::of_write(&http1(&server.api, Method::POST, path, &headers, block.into()).await)
}

/// Sends an input through a door, by gRPC where it goes both ways and `by_grpc` says so.
pub(crate) async fn send(server: &Server, door: Door, by_grpc: bool, input: Vec<u8>) -> Said {
    let lossy = |input: &[u8]| String::from_utf8_lossy(input).into_owned();
    let api = |method, path: String, headers, body: Bytes| async move {
        Said::plain(&http1(&server.api, method, &path, headers, body).await)
    };
    match door {
        Door::Otlp(signal) => otlp(server, signal, by_grpc, input).await,
        Door::Json(signal) => {
            Said::of_json(signal, &http1(&server.http, Method::POST, signal.http_path(), &[JSON], input.into()).await)
        }
        Door::Coded(signal, coding) => {
            let headers = [PROTOBUF, ("content-encoding", coding)];
            Said::of_protobuf(&http1(&server.http, Method::POST, signal.http_path(), &headers, input.into()).await)
        }
        Door::Grpc(path, headers) => Said::of_grpc(&grpc(&server.grpc, path, headers, input.into()).await),
        Door::RawHttp => of_raw(&raw(&server.http, &input).await),
        Door::RawApi => of_raw(&raw(&server.api, &input).await),
        Door::Write(version) => {
            let block = snap::raw::Encoder::new().compress_vec(&input).expect("Snappy takes any bytes");
            write(server, version, block).await
        }
        Door::Snappy => write(server, 1, input).await,
        Door::Sql => {
            let body = serde_json::json!({ "sql": lossy(&input) }).to_string();
            api(Method::POST, "/api/v1/sql".into(), &[JSON], body.into()).await
        }
        Door::SqlBody => api(Method::POST, "/api/v1/sql".into(), &[JSON], input.into()).await,
        Door::Promql => {
            let body = encoded(&[("query", &lossy(&input))]);
            api(Method::POST, "/prometheus/api/v1/query".into(), &[FORM], body.into()).await
        }
        Door::PromqlRange => api(Method::POST, "/prometheus/api/v1/query_range".into(), &[FORM], input.into()).await,
        Door::LogSearch => {
            let path = format!("/api/v1/logs?{}", encoded(&[("query", &lossy(&input))]));
            // hyper's client takes no longer URIs; the server would not either.
            if path.len() > 60_000 {
                return of_raw(
                    &raw(&server.api, format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await,
                );
            }
            api(Method::GET, path, &[], Bytes::new()).await
        }
        Door::Get => api(Method::GET, lossy(&input), &[], Bytes::new()).await,
        Door::Post(path, content_type) => {
            Said::plain(&http1(&server.api, Method::POST, path, &[("content-type", content_type)], input.into()).await)
        }
    }
}

/// What is wrong with an answer and with what is stored; empty when all is right.
fn judge(expect: &Expect, said: &Said, stored: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            problems.push(what);
        }
    };
    let accepted = said.status == 200 && said.code.is_none_or(|code| code == 0);
    must(!said.blames_the_server(), format!("status {}", said.status));
    let rows = match expect {
        Expect::Stored(rows) => {
            must(accepted && said.partial.is_none(), "it was not taken whole".into());
            *rows
        }
        Expect::Altered(rows, cause, _) => {
            let warned = said
                .partial
                .as_ref()
                .is_some_and(|partial| partial.rejected == 0 && partial.message.contains(&cause.replace('_', " ")));
            must(accepted && warned, format!("it was not taken with a warning of {cause}"));
            *rows
        }
        Expect::Partial(rows, rejected, reason) => {
            let told = said.partial.as_ref().is_some_and(|partial| {
                u64::try_from(partial.rejected) == Ok(*rejected) && partial.message.contains(reason)
            });
            must(accepted && told, format!("it does not tell {rejected} rejected: {reason}"));
            *rows
        }
        Expect::Refused(status, code, text) => {
            let refused = said.code.map_or(said.status == *status, |found| found == *code);
            must(refused, format!("it was not refused with {status} or gRPC code {code}"));
            let told = said.text.contains(text) || said.text.contains(&text.replace(' ', "%20"));
            must(told, format!("it does not say {text:?}"));
            0
        }
        Expect::Answer(statuses, text) => {
            must(statuses.contains(&said.status), format!("its status is not of {statuses:?}"));
            must(said.text.contains(text), format!("it does not say {text:?}"));
            0
        }
    };
    must(stored == rows, format!("{stored} rows were stored instead of {rows}"));
    problems
}

/// The counter that tells how often something was altered.
fn altered(counters: &BTreeMap<String, f64>, door: Door, cause: &str) -> f64 {
    let signal = match door {
        Door::Otlp(signal) | Door::Json(signal) | Door::Coded(signal, _) => signal.name(),
        _ => "metrics",
    };
    let name = format!("trivium_ingest_sanitized_total{{signal=\"{signal}\",reason=\"{cause}\"}}");
    counters.get(&name).copied().unwrap_or(0.0)
}

/// After bad input: a good record is taken and found, by HTTP and by gRPC, and nothing is held for requests that are over.
pub(crate) async fn ailments(server: &Server, service: &str) -> Vec<String> {
    let mut ailments = Vec::new();
    for by_grpc in [false, true] {
        let service = format!("{service}-{by_grpc}");
        let said = otlp(server, Signal::Logs, by_grpc, build::good_log(&service)).await;
        let sql = format!("SELECT body FROM logs WHERE service_name = '{service}'");
        let found = server.rows_of(&sql).await;
        if said.partial.is_some() || found != serde_json::json!([["good"]]) {
            ailments.push(format!("a good request afterwards: {said:?}, {found}"));
        }
    }
    let held = server.counters().await.get("trivium_ingest_in_flight_bytes").copied();
    if held != Some(0.0) {
        ailments.push(format!("{held:?} bytes are still held as in flight"));
    }
    ailments
}

/// Runs cases one after the other and remembers what went wrong.
struct Driver {
    server: Server,
    rows: Rows,
    services: u32,
    requests: u32,
    /// MiB in memory during this family.
    peak: u64,
    problems: Vec<String>,
}

impl Driver {
    async fn start(binary: &std::path::PathBuf) -> Self {
        let server = Server::start(binary, &FLAGS);
        let rows = server.rows().await;
        Self { server, rows, services: 0, requests: 0, peak: 0, problems: Vec::new() }
    }

    fn service(&mut self) -> String {
        self.services += 1;
        format!("hostile-{}", self.services)
    }

    async fn run(&mut self, case: &Case) {
        let both = matches!(case.door, Door::Otlp(_));
        for by_grpc in [false, true] {
            if !by_grpc || both {
                self.run_one(case, by_grpc).await;
            }
        }
    }

    async fn run_one(&mut self, case: &Case, by_grpc: bool) {
        let service = self.service();
        let before = match case.expect {
            Expect::Altered(_, cause, _) => altered(&self.server.counters().await, case.door, cause),
            _ => 0.0,
        };
        let begun = Instant::now();
        // No answer at all is a problem of the case, not the end of the table.
        let said =
            AssertUnwindSafe(send(&self.server, case.door, by_grpc, (case.input)(&service))).catch_unwind().await;
        let said = said.unwrap_or_else(|_| Said::bare(0, "no answer".into()));
        let took = begun.elapsed();
        self.requests += 1;
        let rows = self.server.rows().await;
        let stored = rows.sum() - self.rows.sum();
        self.rows = rows;
        let mut problems = judge(&case.expect, &said, stored);
        let peak = self.server.peak_mib();
        if peak > PEAK_MIB_MAX {
            problems.push(format!("{peak} MiB in memory, at most {PEAK_MIB_MAX} are expected"));
        }
        self.peak = self.peak.max(peak);
        self.server.forget_peak();
        if took > case.within {
            problems.push(format!("the answer took {took:?}"));
        }
        if let Expect::Altered(_, cause, count) = case.expect {
            let counted = altered(&self.server.counters().await, case.door, cause) - before;
            if (counted - count as f64).abs() > 0.5 {
                problems.push(format!("{cause} was counted {counted} times instead of {count}"));
            }
        }
        if let Some((sql, expected)) = &case.then {
            let reply = self.server.sql(&sql.replace("$service", &service)).await;
            let found = reply.json().get("rows").cloned().unwrap_or_else(|| reply.json());
            let expected: Value = serde_json::from_str(expected).expect("the table has JSON");
            if found != expected {
                problems.push(format!("{sql} answers {} instead of {expected}", shown(&found.to_string())));
            }
        }
        let door = if by_grpc { "gRPC".to_owned() } else { format!("{:?}", case.door) };
        for problem in problems {
            let partial = said.partial.as_ref().map(|partial| format!(" {} {}", partial.rejected, partial.message));
            let line = format!(
                "{} {} ({door}): {problem}; said {} {:?} {}{}",
                case.family,
                case.what,
                said.status,
                said.code,
                shown(&said.text),
                partial.unwrap_or_default()
            );
            println!("PROBLEM {line}");
            self.problems.push(line);
        }
    }

    /// After a family: the same process, within its budget, takes a good record and finds it.
    async fn check_health(&mut self, family: &str) {
        assert!(self.server.is_alive(), "the server is gone after {family}:\n{}", self.problems.join("\n"));
        println!("{family}: peak {} MiB", std::mem::take(&mut self.peak));
        let service = self.service();
        let ailments = ailments(&self.server, &service).await;
        self.problems.extend(ailments.into_iter().map(|ailment| format!("{family}: {ailment}")));
        self.rows = self.server.rows().await;
    }
}

/// Every case of the table; afterwards the server is still the one it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_family_gets_its_answer() {
    let Some(binary) = binary() else { return };
    let mut driver = Driver::start(&binary).await;
    let mut families: Vec<(&str, Vec<Case>)> = Vec::new();
    let only = only();
    for case in cases::all() {
        match families.iter_mut().find(|(family, _)| *family == case.family) {
            Some((_, cases)) => cases.push(case),
            None => families.push((case.family, vec![case])),
        }
    }
    for (family, cases) in &families {
        if only.as_ref().is_some_and(|only| !only.split(',').any(|one| one == *family)) {
            continue;
        }
        for case in cases {
            driver.run(case).await;
        }
        driver.check_health(family).await;
    }
    println!("{} families, {} requests, {} problems", families.len(), driver.requests, driver.problems.len());
    assert!(driver.problems.is_empty(), "\n{}", driver.problems.join("\n"));
}

/// Families to run alone, for whoever works on one.
#[expect(clippy::disallowed_methods, reason = "a help for people")]
fn only() -> Option<String> {
    std::env::var("TRIVIUM_FAMILIES").ok()
}
