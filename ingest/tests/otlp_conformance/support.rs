//! A running pair of listeners, the fake store behind them, clients, and sample requests.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use trivium_ingest::{Ingest, IngestConfig, IngestDeps, Sink};
use trivium_model::{Clock, ManualClock, SignalKind, TenantId, UnixNanos, WalPosition};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::{AnyValue, any_value};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::number_data_point::Value;
use trivium_proto::otlp::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric};
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use trivium_proto::rpc;
use trivium_storage::{AppendRequest, Appended, MetricDescription, Rejection};

/// 2023-11-14T22:13:20Z: the time of the clock and of every sample record.
pub(crate) const NOW: u64 = 1_700_000_000_000_000_000;

pub(crate) const MIB: usize = 1024 * 1024;

/// What the fake store does with an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    #[default]
    Record,
    /// Answers that it takes no writes.
    Fail,
    /// Waits for [`FakeSink::release`], then records.
    Stall,
    Panic,
}

/// A store in memory that remembers keys as the real one does.
#[derive(Debug)]
pub(crate) struct FakeSink {
    behaviour: Mutex<Behaviour>,
    appended: Mutex<Vec<AppendRequest>>,
    rejections: Mutex<Vec<Rejection>>,
    /// Told once for every append that begins.
    pub(crate) entered: Notify,
    released: Semaphore,
}

impl Default for FakeSink {
    fn default() -> Self {
        Self {
            behaviour: Mutex::default(),
            appended: Mutex::default(),
            rejections: Mutex::default(),
            entered: Notify::new(),
            released: Semaphore::new(0),
        }
    }
}

impl FakeSink {
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *lock(&self.behaviour) = behaviour;
    }

    /// Lets `count` stalled appends go on.
    pub(crate) fn release(&self, count: usize) {
        self.released.add_permits(count);
    }

    /// Everything stored so far, taken out.
    pub(crate) fn take_appended(&self) -> Vec<AppendRequest> {
        std::mem::take(&mut lock(&self.appended))
    }

    pub(crate) fn take_rejections(&self) -> Vec<Rejection> {
        std::mem::take(&mut lock(&self.rejections))
    }

    async fn store(&self, request: AppendRequest) -> Result<Appended, trivium_storage::Error> {
        self.entered.notify_one();
        let behaviour = *lock(&self.behaviour);
        match behaviour {
            Behaviour::Record => {}
            Behaviour::Fail => {
                return Err(trivium_storage::Error::Unavailable { reason: "the test says so".into() });
            }
            Behaviour::Stall => self.released.acquire().await.expect("never closed").forget(),
            Behaviour::Panic => panic!("the test says so"),
        }
        let mut appended = lock(&self.appended);
        if appended.iter().any(|known| known.key == request.key) {
            return Ok(Appended::Duplicate);
        }
        appended.push(request);
        Ok(Appended::Stored(WalPosition(appended.len() as u64)))
    }
}

impl Sink for FakeSink {
    fn append(&self, request: AppendRequest) -> BoxFuture<'_, Result<Appended, trivium_storage::Error>> {
        self.store(request).boxed()
    }

    fn record_rejections(&self, rejections: Vec<Rejection>) {
        lock(&self.rejections).extend(rejections);
    }

    fn describe_metrics(&self, _: TenantId, _: Vec<MetricDescription>) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds a lock")
}

/// Both listeners on free ports; stops when dropped.
pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) sink: Arc<FakeSink>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ingest: Ingest,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: tokio::task::JoinSet<std::io::Result<()>>,
    registry: Registry,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(IngestConfig::default()).await
    }

    pub(crate) async fn start_with(config: IngestConfig) -> Self {
        let sink = Arc::new(FakeSink::default());
        let clock = Arc::new(ManualClock::new(UnixNanos(i64::try_from(NOW).expect("in range"))));
        let mut registry = Registry::default();
        let deps = IngestDeps {
            sink: Arc::clone(&sink) as Arc<dyn Sink>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            registry: &mut registry,
        };
        let ingest = trivium_ingest::build(config, deps);
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        let mut addresses = Vec::new();
        for router in [ingest.http_router(), ingest.grpc_router()] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            addresses.push(listener.local_addr().expect("bound"));
            tasks.spawn(trivium_ingest::serve(listener, router, stop.clone().cancelled_owned()));
        }
        Self { http: addresses[0], grpc: addresses[1], sink, clock, ingest, stop, tasks, registry }
    }

    /// The value of one metric line, zero when it is absent.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Posts to an OTLP/HTTP path over HTTP/1.1.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.request(Method::POST, path, headers, body).await
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        http1_request(self.http, request(method, path, headers, body.into())).await
    }
}

/// An HTTP answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    pub(crate) async fn read(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.expect("a whole body");
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Self { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers }
    }

    /// The body as `google.rpc.Status`, in whichever encoding the answer says it is.
    pub(crate) fn rpc_status(&self) -> rpc::Status {
        if self.header("content-type") == "application/x-protobuf" {
            return rpc::Status::decode(self.body.clone()).expect("google.rpc.Status");
        }
        assert_eq!(self.header("content-type"), "application/json");
        let json = self.json();
        let details = json["details"].as_array().cloned().unwrap_or_default();
        let any = |detail: &serde_json::Value| rpc::Any {
            type_url: detail["@type"].as_str().expect("a type").to_owned(),
            value: Vec::new(),
        };
        rpc::Status {
            code: json["code"].as_i64().expect("a code").try_into().expect("32 bits"),
            message: json["message"].as_str().expect("a message").to_owned(),
            details: details.iter().map(any).collect(),
        }
    }
}

/// Whether a status carries a detail, by the last word of its type.
pub(crate) fn has_detail(status: &rpc::Status, name: &str) -> bool {
    status.details.iter().any(|detail| detail.type_url == format!("type.googleapis.com/google.rpc.{name}"))
}

pub(crate) fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a header name");
        request.headers_mut().append(name, value.parse().expect("a header value"));
    }
    request
}

pub(crate) async fn http1_client<B>(address: SocketAddr) -> http1::SendRequest<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.expect("listening");
    let (client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    client
}

pub(crate) async fn http1_request<B>(address: SocketAddr, mut request: Request<B>) -> Reply
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut client = http1_client(address).await;
    request.headers_mut().insert("host", "localhost".parse().expect("a host"));
    Reply::read(client.send_request(request).await.expect("an answer")).await
}

pub(crate) async fn http2_request(address: SocketAddr, mut request: Request<Full<Bytes>>) -> Reply {
    let stream = TcpStream::connect(address).await.expect("listening");
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let path = request.uri().path().to_owned();
    *request.uri_mut() = format!("http://{address}{path}").parse().expect("a URI");
    Reply::read(client.send_request(request).await.expect("an answer")).await
}

pub(crate) const PATHS: [(&str, SignalKind); 3] =
    [("/v1/logs", SignalKind::Logs), ("/v1/metrics", SignalKind::Metrics), ("/v1/traces", SignalKind::Traces)];

pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) fn logs_request(bodies: &[&str]) -> ExportLogsServiceRequest {
    let record = |body: &&str| LogRecord {
        time_unix_nano: NOW,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue((*body).to_owned())) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: bodies.iter().map(record).collect(), ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

/// Spans with trace IDs of the given lengths; only 16 bytes are valid.
pub(crate) fn spans_request(trace_id_lengths: &[usize]) -> ExportTraceServiceRequest {
    let span = |length: &usize| Span {
        trace_id: vec![7; *length],
        span_id: vec![9; 8],
        name: "checkout".into(),
        start_time_unix_nano: NOW,
        end_time_unix_nano: NOW + 1_000,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: trace_id_lengths.iter().map(span).collect(), ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
    }
}

fn metrics_request() -> ExportMetricsServiceRequest {
    let point =
        NumberDataPoint { time_unix_nano: NOW, value: Some(Value::AsDouble(0.5)), ..NumberDataPoint::default() };
    let data = Some(metric::Data::Gauge(Gauge { data_points: vec![point] }));
    let metric = Metric { name: "queue.depth".into(), data, ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() }],
    }
}

/// A request with one valid record.
pub(crate) fn sample(signal: SignalKind) -> Vec<u8> {
    match signal {
        SignalKind::Logs => logs_request(&["hello"]).encode_to_vec(),
        SignalKind::Metrics => metrics_request().encode_to_vec(),
        SignalKind::Traces => spans_request(&[16]).encode_to_vec(),
    }
}

/// The same record in OTLP/JSON.
pub(crate) fn sample_json(signal: SignalKind) -> String {
    match signal {
        SignalKind::Logs => format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{NOW}","body":{{"stringValue":"hello"}}}}]}}]}}]}}"#
        ),
        SignalKind::Metrics => format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"queue.depth","gauge":{{"dataPoints":[{{"timeUnixNano":"{NOW}","asDouble":0.5}}]}}}}]}}]}}]}}"#
        ),
        SignalKind::Traces => spans_json(&["07".repeat(16)]),
    }
}

/// Spans with the given trace IDs in OTLP/JSON.
pub(crate) fn spans_json(trace_ids: &[String]) -> String {
    let span = |id: &String| {
        let span_id = "09".repeat(8);
        let end = NOW + 1_000;
        format!(
            r#"{{"traceId":"{id}","spanId":"{span_id}","name":"checkout","startTimeUnixNano":"{NOW}","endTimeUnixNano":"{end}"}}"#
        )
    };
    let spans: Vec<String> = trace_ids.iter().map(span).collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","))
}

/// A valid request of exactly `bytes` bytes without a record: an unknown field of this length.
pub(crate) fn padding(bytes: usize) -> Vec<u8> {
    // Field 15 of wire type 2, then the length as a varint of exactly five bytes.
    let content = u32::try_from(bytes - 6).expect("32 bits");
    let mut request = vec![15 << 3 | 2];
    request.extend((0..5).map(|i| (content >> (7 * i)) as u8 & 0x7f | if i < 4 { 0x80 } else { 0 }));
    request.resize(bytes, 0);
    request
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).expect("in memory")
}

/// A gzip stream of `mib` MiB of zeroes, about a thousandth of that in size.
pub(crate) fn gzip_bomb(mib: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let chunk = vec![0; MIB];
    for _ in 0..mib {
        encoder.write_all(&chunk).expect("in memory");
    }
    encoder.finish().expect("in memory")
}
