//! A server of the test's own, and what can be seen of it from outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::reply::{Reply, http1};

/// Where it keeps its data and its log, within a folder of its own.
const DATA: &str = "data";
const LOG: &str = "log";

/// The server under test; `None`, said aloud, when nobody names one.
pub(crate) fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("TRIVIUM_BINARY").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: TRIVIUM_BINARY names no server; `make test` does");
    }
    path
}

/// A running server, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) api: String,
    folder: tempfile::TempDir,
}

/// How many rows are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) logs: u64,
    pub(crate) spans: u64,
    pub(crate) metrics: u64,
}

impl Rows {
    pub(crate) fn sum(self) -> u64 {
        self.logs + self.spans + self.metrics
    }
}

impl Server {
    pub(crate) fn start(binary: &PathBuf, flags: &[&str]) -> Self {
        Self::launch(binary, flags, &["--log-level", "error"], false)
    }

    /// One whose errors are kept.
    pub(crate) fn start_watched(binary: &PathBuf, flags: &[&str]) -> Self {
        Self::launch(binary, flags, &["--log-level", "error"], true)
    }

    /// One whose log is kept, all of it that there can be of use to anybody.
    pub(crate) fn start_logged(binary: &PathBuf, flags: &[&str]) -> Self {
        Self::launch(binary, flags, &["--log-level", "debug"], true)
    }

    fn launch(binary: &PathBuf, flags: &[&str], level: &[&str], is_logged: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = match is_logged {
            true => fs::File::create(folder.path().join(LOG)).expect("a file for the log").into(),
            false => Stdio::inherit(),
        };
        let mut child = Command::new(binary)
            .args(["serve", "--retention", "none"])
            .args(level)
            .arg("--data-dir")
            .arg(folder.path().join(DATA))
            .args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut line).expect("the server prints its addresses");
        let bound: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"));
        let address = |key: &str| bound[key].as_str().expect("an address").to_owned();
        Self { grpc: address("otlp_grpc"), http: address("otlp_http"), api: address("http"), child, folder }
    }

    pub(crate) fn data_folder(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).expect("its log is kept")
    }

    /// Whether the process that was started still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_none()
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0) / 1024
    }

    /// MiB that the process had in memory at most since [`Self::forget_peak`].
    pub(crate) fn peak_mib(&self) -> u64 {
        self.memory("VmHWM")
    }

    pub(crate) fn forget_peak(&self) {
        drop(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5"));
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        http1(&self.api, Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn sql(&self, sql: &str) -> Reply {
        let body = json!({ "sql": sql }).to_string();
        http1(&self.api, Method::POST, "/api/v1/sql", &[("content-type", "application/json")], body.into()).await
    }

    /// The rows of a query that must succeed.
    pub(crate) async fn rows_of(&self, sql: &str) -> Value {
        let reply = self.sql(sql).await;
        assert_eq!(reply.status, 200, "{sql}\n{}", reply.text());
        reply.json()["rows"].clone()
    }

    pub(crate) async fn rows(&self) -> Rows {
        let sql = "SELECT (SELECT count(*) FROM logs) AS logs, (SELECT count(*) FROM spans) AS spans, (SELECT count(*) FROM metrics) AS metrics";
        let rows = self.rows_of(sql).await;
        let number = |index: usize| rows[0][index].as_str().and_then(|text| text.parse().ok()).expect("a count");
        Rows { logs: number(0), spans: number(1), metrics: number(2) }
    }

    /// Our own metrics, by name with labels.
    pub(crate) async fn counters(&self) -> BTreeMap<String, f64> {
        let text = self.get("/metrics").await.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.into(), value.parse().ok()?)))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
