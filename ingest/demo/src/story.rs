//! One trace in the making: spans that open and close, calls between services, log records on the way.

use std::collections::VecDeque;

use trivium_proto::otlp::common::v1::{AnyValue, KeyValue};
use trivium_proto::otlp::logs::v1::LogRecord;
use trivium_proto::otlp::trace::v1::span::{Event, Link, SpanKind};
use trivium_proto::otlp::trace::v1::status::StatusCode;
use trivium_proto::otlp::trace::v1::{Span, Status};

use crate::Nanos;
use crate::attribute::{flag, int, string, text};
use crate::metrics::{Metric, Observation};
use crate::random::{MILLI, Random};
use crate::shop::{InstanceId, Service, Shop};

/// W3C "sampled".
const SAMPLED: u32 = 0x1;
/// OTLP `SpanFlags`: whether the parent is in another process is known, and it is.
const REMOTE_PARENT: u32 = 0x300;
const LOCAL_PARENT: u32 = 0x100;

/// Share of requests that fail for no reason of the story.
const MISHAP: f64 = 0.000_5;

const JAVA_STACK: &str = "\tat shop.common.http.Connection.read(Connection.java:214)
\tat shop.common.http.Dispatcher.run(Dispatcher.java:77)
\tat java.base/java.lang.VirtualThread.run(VirtualThread.java:329)";
const GO_STACK: &str = "goroutine 4127 [running]:
main.(*server).ServeHTTP(0xc0001a2000)
\t/src/server.go:143 +0x2c5";
const PYTHON_STACK: &str = "Traceback (most recent call last):
  File \"/app/service/handlers.py\", line 88, in handle
    reply = await upstream.read()";
const NODE_STACK: &str = "    at TCP.onStreamRead (node:internal/stream_base_commons:217:20)";

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "ShopApp/8.4 (Android 15; Pixel 9)",
];

/// Something to send once its time has come.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Span(&'static str, Span),
    Log(&'static str, LogRecord),
    Observation(Observation),
}

/// An item, who sends it, and when.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) time: Nanos,
    pub(crate) instance: InstanceId,
    pub(crate) item: Item,
}

/// Where in a trace something happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) instance: InstanceId,
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
}

/// What came of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) end: Nanos,
    /// The HTTP status code; for gRPC what it would be.
    pub(crate) status: u16,
}

impl Reply {
    pub(crate) fn failed(self) -> bool {
        self.status >= 500
    }
}

/// A way into a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) service: Service,
    /// The HTTP method, or `gRPC`.
    pub(crate) method: &'static str,
    /// The route, or the full name of the gRPC method.
    pub(crate) route: &'static str,
}

/// A span that is still running.
#[derive(Debug)]
pub(crate) struct Open {
    instance: InstanceId,
    span: Span,
}

impl Open {
    pub(crate) fn at(&self) -> At {
        At { instance: self.instance, trace: id(&self.span.trace_id), span: id(&self.span.span_id) }
    }

    pub(crate) fn set(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        self.span.attributes.extend(attributes);
    }

    pub(crate) fn link(&mut self, at: At, attributes: Vec<KeyValue>) {
        let (trace_id, span_id) = (at.trace.to_vec(), at.span.to_vec());
        self.span.links.push(Link { trace_id, span_id, attributes, flags: SAMPLED, ..Link::default() });
    }

    pub(crate) fn event(&mut self, time: Nanos, name: &str, attributes: Vec<KeyValue>) {
        let event = Event { time_unix_nano: unsigned(time), name: name.into(), attributes, ..Event::default() };
        self.span.events.push(event);
    }

    /// Marks the span as failed, with an exception as the SDKs record it.
    pub(crate) fn fail(&mut self, time: Nanos, kind: &str, message: &str, stack: &str) {
        let exception = vec![
            text("exception.type", kind),
            text("exception.message", message),
            text("exception.stacktrace", format!("{kind}: {message}\n{stack}")),
        ];
        self.event(time, "exception", exception);
        self.fail_quietly(kind, message);
    }

    pub(crate) fn fail_quietly(&mut self, kind: &str, message: &str) {
        self.set([text("error.type", kind)]);
        self.span.status = Some(Status { code: StatusCode::Error.into(), message: message.into() });
    }
}

/// The IDs by which people and programs talk about a visit.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) request: String,
    pub(crate) user: String,
    pub(crate) cart: String,
}

/// What outlives a trace.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The year in the numbers of orders.
    pub(crate) year: i64,
    /// The number of the last order.
    pub(crate) orders: u32,
    /// The newest orders, for visitors who ask what became of theirs.
    pub(crate) recent_orders: VecDeque<String>,
    /// Orders that the notification service has not read yet: when and where each was sent.
    pub(crate) outbox: Vec<(Nanos, At, String)>,
}

#[derive(Debug)]
pub(crate) struct Story<'a> {
    pub(crate) shop: &'a Shop,
    pub(crate) random: &'a mut Random,
    pub(crate) pending: &'a mut Vec<Pending>,
    pub(crate) memory: &'a mut Memory,
    pub(crate) visit: Visit,
}

impl Story<'_> {
    /// Opens a span; without a parent it begins a trace.
    pub(crate) fn open(
        &mut self,
        parent: Option<At>,
        instance: InstanceId,
        kind: SpanKind,
        name: &str,
        start: Nanos,
    ) -> Open {
        let remote = parent.is_some_and(|parent| parent.instance != instance);
        let span = Span {
            trace_id: parent.map_or_else(|| self.random.bytes(), |parent| parent.trace).to_vec(),
            span_id: self.random.bytes::<8>().to_vec(),
            parent_span_id: parent.map(|parent| parent.span.to_vec()).unwrap_or_default(),
            flags: SAMPLED | if remote { REMOTE_PARENT } else { LOCAL_PARENT },
            name: name.into(),
            kind: kind.into(),
            start_time_unix_nano: unsigned(start),
            ..Span::default()
        };
        Open { instance, span }
    }

    pub(crate) fn close(&mut self, mut open: Open, scope: &'static str, end: Nanos) {
        open.span.end_time_unix_nano = unsigned(end);
        self.pending.push(Pending { time: end, instance: open.instance, item: Item::Span(scope, open.span) });
    }

    /// A log record of the span, with the request ID that all of them carry.
    pub(crate) fn log(
        &mut self,
        at: At,
        time: Nanos,
        level: Level,
        body: impl Into<String>,
        attributes: Vec<KeyValue>,
    ) {
        self.log_value(at, time, level, string(body), attributes);
    }

    /// A log record with a structured body.
    pub(crate) fn log_value(
        &mut self,
        at: At,
        time: Nanos,
        level: Level,
        body: AnyValue,
        mut attributes: Vec<KeyValue>,
    ) {
        attributes.push(text("request.id", &self.visit.request));
        let record = log_record(time, level, body, attributes, Some(at));
        let scope = self.shop.instance(at.instance).service.name();
        self.pending.push(Pending { time, instance: at.instance, item: Item::Log(scope, record) });
    }

    pub(crate) fn observe(
        &mut self,
        at: At,
        time: Nanos,
        metric: Metric,
        value: f64,
        attributes: Vec<(&'static str, String)>,
    ) {
        let observation = Observation { metric, attributes, value, trace: at.trace, span: at.span };
        self.pending.push(Pending { time, instance: at.instance, item: Item::Observation(observation) });
    }

    /// Calls another service: the caller's client span, the network, the callee's server span and what it does. A caller
    /// that has waited for `patience` gives up; the callee does not notice and works on.
    pub(crate) fn call(
        &mut self,
        caller: At,
        endpoint: Endpoint,
        start: Nanos,
        patience: Nanos,
        work: impl FnOnce(&mut Self, At, Nanos) -> Reply,
    ) -> Reply {
        let mut client = self.open(Some(caller), caller.instance, SpanKind::Client, &endpoint.client_span(), start);
        let wire = self.random.latency(0.4, 0.5);
        let reply = self.serve(Some(client.at()), endpoint, start + wire, work);
        let arrived = reply.end + wire;
        let address = format!("{}.shop.svc.cluster.local", endpoint.service.name());
        client.set(endpoint.attributes());
        client.set([text("server.address", address), int("server.port", 8080)]);
        let scope = self.shop.instance(caller.instance).service.facts().scope;
        if arrived - start > patience {
            let end = start + patience;
            let millis = patience / MILLI;
            client.fail_quietly("timeout", &format!("no answer from {} after {millis}ms", endpoint.service.name()));
            self.close(client, scope, end);
            return Reply { end, status: 504 };
        }
        client.set([endpoint.status_attribute(reply.status)]);
        if reply.status >= 400 {
            client.fail_quietly(&reply.status.to_string(), "");
        }
        self.close(client, scope, arrived);
        Reply { end: arrived, status: reply.status }
    }

    /// The callee's side of a call. Without a parent it is the first span of a trace.
    pub(crate) fn serve(
        &mut self,
        parent: Option<At>,
        endpoint: Endpoint,
        start: Nanos,
        work: impl FnOnce(&mut Self, At, Nanos) -> Reply,
    ) -> Reply {
        let instance = self.shop.pick(self.random, endpoint.service, start);
        let mut server = self.open(parent, instance, SpanKind::Server, &endpoint.server_span(), start);
        let overhead = self.random.latency(0.3, 0.6);
        let worked = if self.random.chance(MISHAP) {
            self.mishap(&mut server, start + overhead)
        } else {
            work(self, server.at(), start + overhead)
        };
        let end = worked.end + self.random.latency(0.2, 0.6);
        server.set(endpoint.attributes());
        server.set([endpoint.status_attribute(worked.status), text("request.id", &self.visit.request)]);
        if parent.is_none() {
            server.set(self.visitor());
        }
        if worked.failed() && server.span.status.is_none() {
            server.fail_quietly(&worked.status.to_string(), "");
        }
        let (metric, mut labels) = endpoint.metric();
        labels.push((endpoint.status_key(), endpoint.status_code(worked.status).to_string()));
        self.observe(server.at(), end, metric, (end - start) as f64 / 1e9, labels);
        self.close(server, endpoint.service.facts().scope, end);
        Reply { end, status: worked.status }
    }

    /// Something unexpected, as it happens now and then in every service.
    fn mishap(&mut self, server: &mut Open, start: Nanos) -> Reply {
        let end = start + self.random.latency(3.0, 0.8);
        let at = server.at();
        let (kind, message, stack) = match self.shop.instance(at.instance).service.facts().language {
            "java" => ("java.lang.IllegalStateException", "connection closed by peer", JAVA_STACK),
            "go" => ("*net.OpError", "read tcp 10.2.7.31:8080: connection reset by peer", GO_STACK),
            "python" => ("ConnectionResetError", "[Errno 104] Connection reset by peer", PYTHON_STACK),
            _ => ("Error", "read ECONNRESET", NODE_STACK),
        };
        server.fail(end, kind, message, stack);
        let exception = vec![text("exception.type", kind), text("exception.message", message)];
        self.log(at, end, Level::Error, format!("unhandled {kind}: {message}"), exception);
        Reply { end, status: 500 }
    }

    fn visitor(&mut self) -> [KeyValue; 4] {
        let browser = self.random.pick(&BROWSERS);
        let address = format!("203.0.113.{}", 1 + self.random.below(254));
        [
            text("user_agent.original", browser),
            text("client.address", address),
            text("user.hash", &self.visit.user),
            flag("user.is_returning", !self.visit.user.ends_with('0')),
        ]
    }

    /// Work inside a service that is worth a span of its own.
    pub(crate) fn inside(&mut self, at: At, name: &str, start: Nanos, median_millis: f64) -> Nanos {
        let span = self.open(Some(at), at.instance, SpanKind::Internal, name, start);
        let end = start + self.random.latency(median_millis, 0.4);
        let scope = self.shop.instance(at.instance).service.name();
        self.close(span, scope, end);
        end
    }
}

impl Endpoint {
    fn is_grpc(&self) -> bool {
        self.method == "gRPC"
    }

    fn client_span(&self) -> String {
        if self.is_grpc() { self.route.into() } else { self.method.into() }
    }

    fn server_span(&self) -> String {
        if self.is_grpc() { self.route.into() } else { format!("{} {}", self.method, self.route) }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        match self.route.split_once('/') {
            Some((service, method)) if self.is_grpc() => {
                vec![text("rpc.system", "grpc"), text("rpc.service", service), text("rpc.method", method)]
            }
            _ => vec![
                text("http.request.method", self.method),
                text("http.route", self.route),
                text("url.scheme", "http"),
                text("network.protocol.version", "1.1"),
            ],
        }
    }

    fn metric(&self) -> (Metric, Vec<(&'static str, String)>) {
        match self.route.split_once('/') {
            Some((service, method)) if self.is_grpc() => {
                (Metric::RpcServerDuration, vec![("rpc.service", service.into()), ("rpc.method", method.into())])
            }
            _ => {
                let labels = vec![("http.request.method", self.method.into()), ("http.route", self.route.into())];
                (Metric::HttpServerDuration, labels)
            }
        }
    }

    fn status_key(&self) -> &'static str {
        if self.is_grpc() { "rpc.grpc.status_code" } else { "http.response.status_code" }
    }

    /// The protocol's own code: for gRPC 0 OK, 4 DEADLINE_EXCEEDED, 5 NOT_FOUND, 9 FAILED_PRECONDITION, 14 UNAVAILABLE.
    fn status_code(&self, status: u16) -> i64 {
        match status {
            _ if !self.is_grpc() => status.into(),
            ..400 => 0,
            404 => 5,
            504 => 4,
            400..500 => 9,
            _ => 14,
        }
    }

    fn status_attribute(&self, status: u16) -> KeyValue {
        int(self.status_key(), self.status_code(status))
    }
}

/// Severities as the SDKs number them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Debug = 5,
    Info = 9,
    Warn = 13,
    Error = 17,
}

impl Level {
    fn text(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

pub(crate) fn log_record(
    time: Nanos,
    level: Level,
    body: AnyValue,
    attributes: Vec<KeyValue>,
    at: Option<At>,
) -> LogRecord {
    LogRecord {
        time_unix_nano: unsigned(time),
        observed_time_unix_nano: unsigned(time + 120_000),
        severity_number: level as i32,
        severity_text: level.text().into(),
        body: Some(body),
        attributes,
        flags: if at.is_some() { SAMPLED } else { 0 },
        trace_id: at.map(|at| at.trace.to_vec()).unwrap_or_default(),
        span_id: at.map(|at| at.span.to_vec()).unwrap_or_default(),
        ..LogRecord::default()
    }
}

pub(crate) fn unsigned(time: Nanos) -> u64 {
    u64::try_from(time).unwrap_or_default()
}

fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("IDs are made with their length")
}
