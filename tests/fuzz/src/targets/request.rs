//! Requests to the listener for telemetry: as requests, with their head and their body, and as the bytes of a connection. The
//! store takes everything, so that an answer of 5xx is a defect of ours, a panic among them.

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures::future::BoxFuture;
use http::header::CONTENT_ENCODING;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;
use tower::ServiceExt;
use trivium_ingest::{IngestConfig, IngestDeps, Sink};
use trivium_model::{ManualClock, TenantId, WalPosition, limit};
use trivium_storage::{AppendRequest, Appended, MetricDescription, Rejection};

use super::{Kind, Target, WITHIN, otlp, remote_write, runtime, target};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The flag of an input whose body is compressed here, so that mutation reaches what lies behind the compression.
const COMPRESS: u8 = 1;

/// Bytes that one side of a connection may be ahead of the other: more than all answers to one input.
const AHEAD_BYTES: usize = 16 * 1024 * 1024;

/// How often the server is given its turn before the client says that it has nothing more to send. A server that still reads a
/// request then takes it for broken off.
const TURNS: usize = 300;

/// What the listener of `ingest/listen` sets for HTTP/1.1.
const BUFFER_BYTES: usize = 64 * 1024;

const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "Host: a\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Encoding: gzip\r\n",
    "Content-Type: application/json\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
    "HTTP/1.0",
    "HTTP/1.1",
    "HTTP/2.0",
    "POST /v1/logs HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    ";a=b",
    "%00",
    "/../",
    "http://a/v1/logs",
    ":",
    " ",
    "\t",
];

/// A store that takes everything and keeps nothing.
struct TakesAll;

impl Sink for TakesAll {
    fn append(&self, request: AppendRequest) -> BoxFuture<'_, Result<Appended, trivium_storage::Error>> {
        let is_sound = request.batch.num_rows() > 0 && request.payload.len() <= limit::REQUEST_BYTES_MAX;
        let appended = if is_sound {
            Ok(Appended::Stored(WalPosition(1)))
        } else {
            Err(trivium_storage::Error::Internal("a request that must not be stored".into()))
        };
        Box::pin(std::future::ready(appended))
    }

    fn record_rejections(&self, _: Vec<Rejection>) {}

    fn describe_metrics(&self, _: TenantId, _: Vec<MetricDescription>) {}
}

/// The routes of the listener for telemetry and of remote write.
struct Server {
    runtime: Runtime,
    router: Router,
}

pub(super) fn targets() -> Vec<Target> {
    let Ok(runtime) = runtime() else { return Vec::new() };
    let server = Rc::new(Server { runtime, router: router() });
    let other = Rc::clone(&server);
    vec![
        target("http_request", Kind::Bytes, 2_000, request_seeds(), move |input| server.answer(input)),
        target("http_framing", Kind::Text(WORDS), 800, framing_seeds(), move |input| other.converse(input)),
    ]
}

fn router() -> Router {
    let mut registry = Registry::default();
    let clock = Arc::new(ManualClock::new(otlp::context().received_at));
    let deps = IngestDeps { sink: Arc::new(TakesAll), clock, registry: &mut registry };
    let ingest = trivium_ingest::build(IngestConfig::default(), deps);
    ingest.http_router().merge(ingest.remote_write_router())
}

/// A request as an input: a flag, the head in lines, an empty line, the body.
fn request_seed(flag: u8, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path}\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\n"));
    }
    [&[flag][..], head.as_bytes(), b"\n", body].concat()
}

fn request_seeds() -> Vec<Vec<u8>> {
    let first = |seeds: Vec<Vec<u8>>| seeds.into_iter().next().unwrap_or_default();
    let kinds = [
        ("/v1/logs", PROTOBUF, first(otlp::log_seeds())),
        ("/v1/traces", PROTOBUF, first(otlp::trace_seeds())),
        ("/v1/metrics", PROTOBUF, first(otlp::metric_seeds())),
        ("/v1/logs", JSON, first(otlp::json_seeds())),
    ];
    let mut seeds = Vec::new();
    for (path, content_type, plain) in &kinds {
        for coding in ["identity", "gzip", "zstd", "deflate"] {
            let headers = [("content-type", *content_type), ("content-encoding", coding)];
            seeds.push(request_seed(COMPRESS, path, &headers, plain));
            seeds.push(request_seed(0, path, &headers, &compressed(coding, plain).unwrap_or_default()));
        }
    }
    let raw = deflated(&kinds[0].2).unwrap_or_default();
    let headers = [("content-type", PROTOBUF), ("content-encoding", "deflate"), ("content-length", "9")];
    seeds.push(request_seed(0, "/v1/logs?a=b", &headers, &raw));
    let written = first(remote_write::seeds_1());
    let headers = [("content-type", PROTOBUF), ("content-encoding", "snappy")];
    for (flag, body) in [(COMPRESS, written.clone()), (0, compressed("snappy", &written).unwrap_or_default())] {
        seeds.push(request_seed(flag, "/prometheus/api/v1/write", &headers, &body));
    }
    seeds
}

fn framing_seeds() -> Vec<Vec<u8>> {
    let json = otlp::json_seeds().into_iter().next().unwrap_or_default();
    let json = String::from_utf8_lossy(&json);
    let head = "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let sized = format!("{head}Content-Length: {}\r\n\r\n{json}", json.len());
    let (left, right) = json.split_at(10);
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\na;x=y\r\n{left}\r\n{:x}\r\n{right}\r\n0\r\nTrailer: x\r\n\r\n",
        right.len()
    );
    let expecting = format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{{}}");
    let old = "POST /v1/logs HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let preflight =
        "OPTIONS /v1/logs HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    let second = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let all = [
        sized.clone(),
        chunked.clone(),
        expecting,
        old.into(),
        preflight.into(),
        second.into(),
        [sized, chunked].concat(),
    ];
    all.map(String::into_bytes).into()
}

fn compressed(coding: &str, plain: &[u8]) -> Option<Vec<u8>> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).ok()?;
            encoder.finish().ok()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).ok()?;
            encoder.finish().ok()
        }
        "zstd" => zstd::encode_all(plain, 1).ok(),
        "snappy" => snap::raw::Encoder::new().compress_vec(plain).ok(),
        _ => Some(plain.to_vec()),
    }
}

/// Without the header that HTTP asks for, as some clients send it.
fn deflated(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

/// The request that an input stands for; `None` when its head cannot be one.
fn request_of(input: &[u8]) -> Option<Request<Body>> {
    let (flag, rest) = input.split_first()?;
    let end = rest.windows(2).position(|two| two == b"\n\n")?;
    let (head, body) = (rest.get(..end)?, rest.get(end + 2..)?);
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(first.get(..space)?).ok()?;
    *request.uri_mut() = Uri::try_from(first.get(space + 1..)?).ok()?;
    for (name, value) in lines.filter_map(header) {
        request.headers_mut().try_append(name, value).ok()?;
    }
    let coding = request.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = if flag & COMPRESS == COMPRESS { compressed(coding, body)? } else { body.to_vec() };
    *request.body_mut() = Body::from(body);
    Some(request)
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
    let value = HeaderValue::from_bytes(line.get(colon + 1..)?.trim_ascii()).ok()?;
    Some((name, value))
}

impl Server {
    /// Asks the routes, without a connection.
    fn answer(&self, input: &[u8]) -> Result<bool, String> {
        let Some(request) = request_of(input) else { return Ok(false) };
        let answer = async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let status = response.status();
            (status, to_bytes(response.into_body(), limit::RESPONSE_BYTES_MAX).await)
        };
        let answered = self.runtime.block_on(async { tokio::time::timeout(WITHIN, answer).await });
        match answered {
            Err(_) => Err("there is no answer".into()),
            Ok((status, _)) if status.is_server_error() => Err(format!("the answer is {status}")),
            Ok((_, Err(error))) => Err(format!("the answer cannot be read: {error}")),
            Ok((status, Ok(_))) => Ok(status.is_success()),
        }
    }

    /// Sends the bytes over a connection in memory and looks at what comes back.
    fn converse(&self, input: &[u8]) -> Result<bool, String> {
        let talk = async {
            let (client, server) = tokio::io::duplex(AHEAD_BYTES);
            let service = TowerToHyperService::new(self.router.clone());
            let settings = settings();
            let serving = settings.serve_connection(TokioIo::new(server), service);
            // A connection may end with an error: what was sent is no HTTP.
            let (_, answers) = tokio::join!(serving, speak(client, input));
            answers
        };
        let answers = self.runtime.block_on(async { tokio::time::timeout(WITHIN, talk).await });
        let answers = answers.map_err(|_| "the connection does not end".to_owned())?;
        let answers = answers.map_err(|error| format!("the connection breaks: {error}"))?;
        if contains(&answers, b"HTTP/1.1 5") {
            return Err("an answer is 5xx".into());
        }
        Ok(contains(&answers, b"HTTP/1.1 200 "))
    }
}

/// As `ingest/listen` has it, where a connection is one of a socket.
fn settings() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(WITHIN).max_buf_size(BUFFER_BYTES);
    builder.http2().timer(TokioTimer::new());
    builder
}

async fn speak(mut client: DuplexStream, input: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut answers = Vec::new();
    client.write_all(input).await?;
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    client.shutdown().await?;
    client.read_to_end(&mut answers).await?;
    Ok(answers)
}

fn contains(bytes: &[u8], piece: &[u8]) -> bool {
    bytes.windows(piece.len()).any(|window| window == piece)
}
