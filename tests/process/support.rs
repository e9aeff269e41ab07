//! A server of the test's own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_trivium");

/// How long anything may take before a test gives up; generous, because it is never waited for when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
    pub(crate) http: String,
    client: reqwest::Client,
}

impl Server {
    /// Starts a server on a data folder and returns when it is ready.
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            // Tests kill servers more often than any crash does.
            .env("TRIVIUM_CRASH_LOOP_STARTS", "0")
            .args(["serve", "--retention", "none", "--log-level", "warn", "--data-dir"])
            .arg(folder)
            .args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut line).expect("the server prints its addresses");
        let bound: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"));
        let address = |key: &str| format!("http://{}", bound[key].as_str().expect("an address"));
        Self {
            otlp_grpc: address("otlp_grpc"),
            otlp_http: address("otlp_http"),
            http: address("http"),
            child,
            client: reqwest::Client::new(),
        }
    }

    /// Where an OTLP exporter sends to.
    pub(crate) fn otlp_endpoint(&self, grpc: bool) -> String {
        if grpc { self.otlp_grpc.clone() } else { self.otlp_http.clone() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, as a power cut for the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process is ours to kill");
        self.child.wait().expect("the process ends");
    }

    /// SIGHUP: read the files again.
    pub(crate) fn hang_up(&self) {
        let sent = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// SIGTERM, then waits for the orderly end.
    pub(crate) fn stop(mut self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("the process is ours").is_none() {
            assert!(Instant::now() < until, "the server did not stop within {PATIENCE:?}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The rows of a query.
    pub(crate) async fn sql(&self, sql: &str) -> Vec<Value> {
        let answer = self.client.post(format!("{}/api/v1/sql", self.http)).json(&json!({ "sql": sql })).send().await;
        let answer = answer.expect("the server answers");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{sql}\n{body}");
        body["rows"].as_array().expect("rows").clone()
    }

    /// The only value of a query, as a number.
    pub(crate) async fn number(&self, sql: &str) -> u64 {
        let rows = self.sql(sql).await;
        let value = &rows[0][0];
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .or(value.as_u64())
            .unwrap_or_else(|| panic!("{sql} gave {value}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.http)).send().await.expect("the server answers");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status}\n{body}");
        body
    }

    pub(crate) async fn flush(&self) {
        let answer = self.client.post(format!("{}/-/flush", self.http)).send().await.expect("the server answers");
        let status = answer.status();
        assert!(status.is_success(), "flush: {}", answer.text().await.unwrap_or_default());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
/// The real telemetry, `None` (said aloud) in a clone that has none.
pub(crate) fn trainticket() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/trainticket-2023-01-29");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

/// Runs a command to its end and returns its standard output; fails with all that it said.
pub(crate) fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?} failed:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
/// A Python with the packages of tests/clients/requirements.txt: `make test` makes one.
pub(crate) fn python() -> Option<Command> {
    let path = std::env::var_os("TRIVIUM_PYTHON").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        let path = Path::new(&home).join(".cache/trivium-venv/bin/python");
        path.exists().then_some(path)
    });
    if path.is_none() {
        println!("skipped: no Python with tests/clients/requirements.txt; `make test` makes one");
    }
    path.map(Command::new)
}
