//! A server of its own for scripts, on a folder of its own, which takes samples of any age.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use reqwest::blocking::{Client, Response};
use serde_json::Value as Json;
use trivium_promql::Series;
use trivium_promql::script::{Answer, Target};

use super::answer;

/// A server with nothing in it, and how to ask it.
pub(super) struct ServerTarget {
    running: Running,
    /// How many servers were started.
    started: u32,
    client: Client,
    /// Whether samples were loaded since it was started.
    is_used: bool,
}

/// A child process and its folder; both are gone when it is dropped.
struct Running {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Running {
    /// Starts the server of this number, by which its folder differs from those before it.
    fn start(number: u32) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("trivium-promql-test-{}-{number}", std::process::id()));
        let binary = std::env::current_exe().context("cannot tell where this binary is")?;
        let any_port = "127.0.0.1:0";
        let mut child = Command::new(binary)
            .args(["serve", "--retention", "none", "--log-level", "error", "--data-dir"])
            .arg(&folder)
            .args(["--otlp-grpc", any_port, "--otlp-http", any_port, "--http", any_port])
            .args(["--promql-experimental", "true", "--promql-delayed-name-removal", "true"])
            .args(["--promql-start-timestamps", "true"])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a server for the scripts")?;
        let output = child.stdout.take().context("the server has no standard output")?;
        let mut running = Self { child, folder, url: String::new() };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("cannot read what the server says")?;
        let bound: Json = serde_json::from_str(&line).with_context(|| format!("the server did not start: {line:?}"))?;
        running.url = format!("http://{}/prometheus/api/v1", bound["http"].as_str().unwrap_or_default());
        Ok(running)
    }
}

impl ServerTarget {
    pub(super) fn start() -> anyhow::Result<Self> {
        Ok(Self { running: Running::start(0)?, started: 1, client: Client::new(), is_used: false })
    }

    /// A server with nothing in it.
    pub(super) fn renew(&mut self) -> anyhow::Result<()> {
        if self.is_used {
            self.running = Running::start(self.started)?;
            self.started += 1;
            self.is_used = false;
        }
        Ok(())
    }

    fn ask(&self, path: &str, form: &[(&str, String)]) -> Result<Answer, String> {
        let response = self.client.post(format!("{}/{path}", self.running.url)).form(form).send();
        let text = response.and_then(Response::text).map_err(|error| format!("the server cannot be asked: {error}"))?;
        let json: Json = serde_json::from_str(&text).map_err(|error| format!("no JSON: {error}: {text}"))?;
        answer::parse(&json)
    }
}

/// Seconds with milliseconds, as the API takes times and steps.
fn seconds(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03}", millis / 1000, millis % 1000)
}

impl Target for ServerTarget {
    fn clear(&mut self) -> Result<(), String> {
        self.renew().map_err(|error| format!("{error:#}"))
    }

    fn load(&mut self, series: Vec<Series>) -> Result<(), String> {
        self.is_used = true;
        for body in crate::remote_write::requests(&series)? {
            let request = self.client.post(format!("{}/write", self.running.url));
            let response = request
                .header("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
                .header("content-encoding", "snappy")
                .header("x-prometheus-remote-write-version", "2.0.0")
                .body(body)
                .send()
                .map_err(|error| format!("the server cannot be reached: {error}"))?;
            let status = response.status();
            if !status.is_success() {
                return Err(format!("remote write answered {status}: {}", response.text().unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn instant(&mut self, query: &str, time: i64) -> Result<Answer, String> {
        self.ask("query", &[("query", query.to_owned()), ("time", seconds(time))])
    }

    fn range(&mut self, query: &str, start: i64, end: i64, step: i64) -> Result<Answer, String> {
        let form =
            [("query", query.to_owned()), ("start", seconds(start)), ("end", seconds(end)), ("step", seconds(step))];
        self.ask("query_range", &form)
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_seconds_with_milliseconds() {
        assert_eq!([0, 1, 61_500, -1_500, -1].map(seconds), ["0.000", "0.001", "61.500", "-1.500", "-0.001"]);
    }
}
