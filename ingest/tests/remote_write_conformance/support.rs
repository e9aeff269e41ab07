//! A server with a store behind it, requests, and what became of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, TimestampNanosecondType};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use trivium_ingest::decode::ReplayDecoder;
use trivium_ingest::{IngestConfig, IngestDeps, Sink};
use trivium_model::{ManualClock, SignalKind, TenantId, UnixNanos};
use trivium_proto::prometheus::{v1, v2};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::RealFileSystem;
use trivium_storage::{Storage, StorageConfig, StorageDeps};

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const PATH: &str = "/prometheus/api/v1/write";
pub(crate) const V1: (&str, &str) = ("content-type", "application/x-protobuf");
pub(crate) const V2: (&str, &str) = ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
pub(crate) const SNAPPY: (&str, &str) = ("content-encoding", "snappy");

/// A running server; stops when dropped.
pub(crate) struct Server {
    pub(crate) storage: Storage,
    pub(crate) registry: Registry,
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// Samples, histograms and exemplars, as the headers tell.
    pub(crate) fn written(&self) -> [u64; 3] {
        ["samples", "histograms", "exemplars"].map(|kind| {
            let value = self.header(&format!("x-prometheus-remote-write-{kind}-written"));
            value.parse().unwrap_or_else(|_| panic!("{kind}: {value:?}"))
        })
    }
}

pub(crate) async fn open(folder: &Path) -> Storage {
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::new(ManualClock::new(UnixNanos(NOW * 1_000_000))),
        catalog: Arc::new(SqliteCatalog::open(folder).await.expect("a catalog")),
        decoder: Arc::new(ReplayDecoder),
        seed: 1,
    };
    Storage::open(folder, StorageConfig::default(), deps).await.expect("it opens").0
}

impl Server {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, IngestConfig::default()).await
    }

    pub(crate) async fn start_with(folder: &Path, config: IngestConfig) -> Self {
        let storage = open(folder).await;
        let mut registry = Registry::default();
        let clock = Arc::new(ManualClock::new(UnixNanos(NOW * 1_000_000)));
        let sink = Arc::new(storage.clone()) as Arc<dyn Sink>;
        let ingest = trivium_ingest::build(config, IngestDeps { sink, clock, registry: &mut registry });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let router = ingest.remote_write_router();
        let serving = tokio::spawn(trivium_ingest::serve(listener, router, std::future::pending()));
        Self { storage, registry, address, serving }
    }

    pub(crate) async fn send(&self, method: Method, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = PATH.parse().expect("a path");
        request.headers_mut().insert("host", "localhost".parse().expect("a host"));
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a header name");
            request.headers_mut().append(name, value.parse().expect("a header value"));
        }
        let stream = TcpStream::connect(self.address).await.expect("listening");
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
        tokio::spawn(connection);
        let (parts, body) = client.send_request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(body.to_vec()).expect("text") }
    }

    pub(crate) async fn write(&self, content_type: (&str, &str), message: &impl Message) -> Reply {
        self.send(Method::POST, &[content_type, SNAPPY], compress(&message.encode_to_vec())).await
    }

    /// The value of one metric line, zero when it is absent.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

pub(crate) fn compress(payload: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(payload).expect("it compresses")
}

pub(crate) fn series_v1(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> v1::TimeSeries {
    let label = |(name, value): &(&str, &str)| v1::Label { name: (*name).into(), value: (*value).into() };
    let sample = |(value, timestamp): &(f64, i64)| v1::Sample { value: *value, timestamp: *timestamp };
    v1::TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples.iter().map(sample).collect(),
        ..v1::TimeSeries::default()
    }
}

pub(crate) fn request_v1(timeseries: Vec<v1::TimeSeries>) -> v1::WriteRequest {
    v1::WriteRequest { timeseries, metadata: Vec::new() }
}

/// One series with one sample.
pub(crate) fn request_v2() -> v2::Request {
    let symbols = ["", "__name__", "up", "job", "shop", "What it is"].map(str::to_owned).to_vec();
    let samples = vec![v2::Sample { value: 1.5, timestamp: NOW, start_timestamp: NOW - 1 }];
    let metadata = Some(v2::Metadata { metric_type: 2, help_ref: 5, unit_ref: 0 });
    let series = v2::TimeSeries { labels_refs: vec![1, 2, 3, 4], samples, metadata, ..v2::TimeSeries::default() };
    v2::Request { symbols, timeseries: vec![series] }
}

/// All rows of the store, from buffers and parts.
pub(crate) fn rows(storage: &Storage) -> Vec<RecordBatch> {
    let snapshot = storage.snapshot(TenantId::DEFAULT, SignalKind::Metrics);
    let of_parts = snapshot.parts.iter().flat_map(|part| part.read(None, None).expect("readable"));
    of_parts.chain(snapshot.buffered).collect()
}

pub(crate) fn count(storage: &Storage) -> usize {
    rows(storage).iter().map(RecordBatch::num_rows).sum()
}

/// Name and attributes, time in milliseconds, bits of the value, flags; in order.
pub(crate) fn samples(storage: &Storage) -> Vec<(String, i64, Option<u64>, u32)> {
    let mut found = Vec::new();
    for batch in rows(storage) {
        let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
        let text = |name: &str, row: usize| {
            let column = column(name).as_dictionary::<Int32Type>();
            column.values().as_string::<i32>().value(column.keys().value(row) as usize).to_owned()
        };
        for row in 0..batch.num_rows() {
            let time = column("time").as_primitive::<TimestampNanosecondType>().value(row) / 1_000_000;
            let values = column("value").as_primitive::<Float64Type>();
            let bits = values.is_valid(row).then(|| values.value(row).to_bits());
            let flags = column("flags").as_primitive::<arrow::datatypes::UInt32Type>().value(row);
            found.push((format!("{} {}", text("metric_name", row), text("attributes", row)), time, bits, flags));
        }
    }
    found.sort();
    found
}
