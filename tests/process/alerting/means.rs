//! What tests of alerting have around the server: telemetry, receivers of notifications, patience.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path as UrlPath, State};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use trivium_model::{Clock, SystemClock};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::{AnyValue, KeyValue, any_value};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use trivium_proto::prometheus::v1::{Label, Sample, TimeSeries, WriteRequest};

use crate::support::{PATIENCE, Server};

/// The pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(25);

/// Looks again and again until there is what is wanted; until then each look says what it sees instead.
pub(super) async fn eventually<T>(wanted: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "{wanted}: not within {PATIENCE:?}; seen last:\n{seen}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Now, in nanoseconds since 1970.
pub(super) fn now() -> i64 {
    SystemClock.now().0
}

/// Writes a file and returns its path.
pub(super) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the file is written");
    path.to_string_lossy().into_owned()
}

/// A sample of now: its series as `name{label="value",…}` is written in Rust, and its value.
pub(super) type Now<'a> = (&'a [(&'a str, &'a str)], f64);

/// Sends samples of now by remote write.
pub(super) async fn write(url: &str, samples: &[Now<'_>]) {
    let timestamp = now() / 1_000_000;
    let series = |(labels, value): &Now<'_>| {
        let mut labels: Vec<Label> =
            labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() }).collect();
        labels.sort_by(|left, right| left.name.cmp(&right.name));
        TimeSeries { labels, samples: vec![Sample { value: *value, timestamp }], ..TimeSeries::default() }
    };
    let request = WriteRequest { timeseries: samples.iter().map(series).collect(), ..WriteRequest::default() };
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("it compresses");
    let request = reqwest::Client::new().post(url).body(body).header("content-encoding", "snappy");
    let request = request.header("content-type", "application/x-protobuf");
    let answer = request.header("x-prometheus-remote-write-version", "0.1.0").send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{url}: {status} {}", answer.text().await.unwrap_or_default());
}

/// Where a server takes remote write.
pub(super) fn write_url(server: &Server) -> String {
    format!("{}/prometheus/api/v1/write", server.http)
}

/// The result of an instant query, asked of any server with Prometheus' API.
pub(super) async fn promql(api: &str, query: &str) -> Value {
    let request = reqwest::Client::new().get(format!("{api}/api/v1/query")).query(&[("query", query)]);
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    answer["data"]["result"].clone()
}

/// Where a server answers as Prometheus does.
pub(super) fn prometheus_api(server: &Server) -> String {
    format!("{}/prometheus", server.http)
}

/// The names of an object's members.
pub(super) fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// Seconds since 1970 of a time in RFC 3339.
pub(super) fn seconds(time: &Value) -> f64 {
    let time = time.as_str().unwrap_or_else(|| panic!("{time} is no time"));
    let time = humantime::parse_rfc3339(time).unwrap_or_else(|error| panic!("{time}: {error}"));
    time.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![attribute("service.name", service)], ..Resource::default() })
}

fn nanos(time: i64) -> u64 {
    u64::try_from(time).expect("after 1970")
}

/// A root span of a service, of kind server.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) trace: u128,
    pub(super) name: &'static str,
    pub(super) start: i64,
    pub(super) duration: i64,
    pub(super) is_error: bool,
}

/// Sends calls of a service by OTLP.
pub(super) async fn send_calls(server: &Server, service: &str, calls: &[Call]) {
    let span = |call: &Call| Span {
        trace_id: call.trace.to_be_bytes().to_vec(),
        span_id: call.trace.to_be_bytes()[8..].to_vec(),
        name: call.name.into(),
        kind: 2,
        start_time_unix_nano: nanos(call.start),
        end_time_unix_nano: nanos(call.start + call.duration),
        status: Some(Status { code: if call.is_error { 2 } else { 0 }, ..Status::default() }),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: calls.iter().map(span).collect(), ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: resource(service), scope_spans, ..ResourceSpans::default() };
    export(server, "traces", ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec()).await;
}

/// A log record with severity ERROR.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    pub(super) trace: u128,
    pub(super) time: i64,
    pub(super) body: String,
}

/// Sends log records of a service by OTLP.
pub(super) async fn send_complaints(server: &Server, service: &str, complaints: &[Complaint]) {
    let record = |complaint: &Complaint| LogRecord {
        time_unix_nano: nanos(complaint.time),
        severity_number: 17,
        severity_text: "ERROR".into(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(complaint.body.clone())) }),
        trace_id: complaint.trace.to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    let log_records = complaints.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let logs = ResourceLogs { resource: resource(service), scope_logs, ..ResourceLogs::default() };
    export(server, "logs", ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec()).await;
}

async fn export(server: &Server, signal: &str, body: Vec<u8>) {
    let request = server.client().post(format!("{}/v1/{signal}", server.otlp_http)).body(body);
    let answer = request.header("content-type", "application/x-protobuf").send().await.expect("an answer");
    assert!(answer.status().is_success(), "{signal}: {}", answer.status());
}

/// A receiver of webhooks: everything that is posted, by the path that it was posted to.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    address: String,
    received: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Inbox {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let inbox = Self { address, ..Self::default() };
        let router = axum::Router::new().route("/{*path}", axum::routing::post(receive)).with_state(inbox.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        inbox
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// What was posted to a path, in order.
    pub(super) fn received(&self, path: &str) -> Vec<Value> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().filter(|(to, _)| to == path).map(|(_, payload)| payload.clone()).collect()
    }

    /// The same without notifications of nothing but evidence: it may be there in time for the first one, or be told later.
    pub(super) fn news(&self, path: &str) -> Vec<Value> {
        let received = self.received(path).into_iter();
        received.filter(|payload| payload["notification_reason"] != "evidence").collect()
    }

    /// Waits for the notification with this number (from 0) to a path, not counting those of nothing but evidence.
    pub(super) async fn notification(&self, path: &str, number: usize) -> Value {
        let wanted = format!("notification {number} to {path}");
        eventually(&wanted, async || {
            let received = self.news(path);
            received.get(number).cloned().ok_or_else(|| format!("{received:#?}"))
        })
        .await
    }

    /// Waits until a notification to a path has evidence, and answers how many there are then, all counted.
    pub(super) async fn explained(&self, path: &str) -> usize {
        eventually(&format!("evidence is told to {path}"), async || {
            let received = self.received(path);
            let is_explained = |payload: &Value| payload["alerts"][0]["evidence"].is_object();
            if received.iter().any(is_explained) { Ok(received.len()) } else { Err(format!("{received:#?}")) }
        })
        .await
    }
}

async fn receive(State(inbox): State<Inbox>, UrlPath(path): UrlPath<String>, body: String) {
    let payload = serde_json::from_str(&body).unwrap_or(Value::String(body));
    inbox.received.lock().unwrap_or_else(PoisonError::into_inner).push((path, payload));
}

/// An SMTP server that keeps what it is told: one text for each connection.
#[derive(Clone, Debug)]
pub(super) struct Postbox {
    pub(super) address: String,
    mails: Arc<Mutex<Vec<String>>>,
}

impl Postbox {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let postbox = Self { address, mails: Arc::default() };
        let mails = Arc::clone(&postbox.mails);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mail) = hear(stream).await {
                    mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                }
            }
        });
        postbox
    }

    /// The mails so far, with soft line breaks of quoted-printable taken out.
    pub(super) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn hear(stream: TcpStream) -> std::io::Result<String> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let (mut heard, mut is_data) = (String::new(), false);
    write.write_all(b"220 postbox\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        heard.push_str(&line);
        heard.push('\n');
        let answer: &[u8] = match line.split(' ').next().unwrap_or_default().to_uppercase().as_str() {
            "." if is_data => {
                is_data = false;
                b"250 kept\r\n"
            }
            _ if is_data => continue,
            "DATA" => {
                is_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                break;
            }
            _ => b"250 fine\r\n",
        };
        write.write_all(answer).await?;
    }
    Ok(heard.replace("=\n", ""))
}

/// Debian's Alertmanager 0.25, killed when dropped.
pub(super) struct Alertmanager {
    child: Child,
    pub(super) address: SocketAddr,
}

const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";

impl Alertmanager {
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(super) fn is_missing() -> bool {
        let is_missing = !Path::new(ALERTMANAGER).exists();
        if is_missing {
            println!("skipped: {ALERTMANAGER} is not there; `make test` installs it");
        }
        is_missing
    }

    pub(super) async fn start(folder: &Path, configuration: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = listener.expect("a free port");
        let child = Command::new(ALERTMANAGER)
            .arg(format!("--config.file={configuration}"))
            .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Alertmanager starts");
        let ready = format!("http://{address}/-/ready");
        let started = Self { child, address };
        eventually("Alertmanager is ready", async || {
            reqwest::get(&ready).await.map_err(|error| error.to_string()).map(drop)
        })
        .await;
        started
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
