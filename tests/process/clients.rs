//! The official OTLP clients of three languages send all three signals; everything arrives with its types and links.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::tempdir;

use crate::support::{Server, output_of, python};

/// What every client sent, found again in four ways.
async fn check(server: &Server, language: &str, marker: &str, trace_id: &str) {
    let spans = server
        .sql(&format!(
            "SELECT name, status_code, status_message, attributes['order.id'], attributes['attempt'], attributes['ok'],
             attributes['ratio'] FROM spans WHERE trace_id = '{trace_id}'"
        ))
        .await;
    assert_eq!(spans, [json!([format!("{language} span"), 2, "declined", marker, "3", "true", "0.5"])]);
    let events = server.sql(&format!("SELECT name FROM span_events WHERE trace_id = '{trace_id}'")).await;
    assert_eq!(events, [json!(["cache miss"])]);
    let logs = server
        .sql(&format!("SELECT service_name, body, severity_number FROM logs WHERE trace_id = '{trace_id}'"))
        .await;
    assert_eq!(logs, [json!([format!("{language}-client"), format!("{language} log for {marker}"), 13])]);
    let points = server
        .sql(&format!(
            "SELECT metric_name, value, sum FROM metrics WHERE resource['test.marker'] = '{marker}' AND attributes['marker'] = '{marker}'
             AND metric_name IN ('{language}.counter', '{language}.histogram') ORDER BY 1"
        ))
        .await;
    let expected =
        [json!([format!("{language}.counter"), 7.0, null]), json!([format!("{language}.histogram"), null, 0.25])];
    assert_eq!(points, expected);
    let story = server.get(&format!("/api/v1/correlate/{marker}")).await;
    assert_eq!(story["traces"][0]["trace_id"], trace_id, "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_over_grpc_and_http_with_and_without_gzip() {
    if python().is_none() {
        return;
    }
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/export.py");
    for (protocol, compression) in [("grpc", "none"), ("grpc", "gzip"), ("http", "none"), ("http", "gzip")] {
        let endpoint = if protocol == "grpc" { &server.otlp_grpc } else { &server.otlp_http };
        let marker = format!("python-{protocol}-{compression}-4711");
        let mut command = python().expect("checked above");
        let trace_id = output_of(command.arg(&script).args([protocol, endpoint, &marker, compression]));
        check(&server, "python", &marker, trace_id.trim()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_over_grpc_protobuf_and_json() {
    let Some(script) = std::env::var_os("TRIVIUM_NODE_CLIENT").map(PathBuf::from) else {
        println!("skipped: TRIVIUM_NODE_CLIENT is not set; `make test` installs the client and sets it");
        return;
    };
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    for protocol in ["grpc", "http-protobuf", "http-json"] {
        let endpoint = if protocol == "grpc" { &server.otlp_grpc } else { &server.otlp_http };
        let marker = format!("javascript-{protocol}-4711");
        let trace_id = output_of(Command::new("node").arg(&script).args([protocol, endpoint, &marker]));
        check(&server, "javascript", &marker, trace_id.trim()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_over_grpc_and_http() {
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    for grpc in [true, false] {
        let marker = format!("rust-{grpc}-4711");
        let (endpoint, sent) = (server.otlp_endpoint(grpc), marker.clone());
        // The SDK's HTTP client blocks, and its gRPC client needs the runtime's context: a blocking thread has both.
        let exported = tokio::task::spawn_blocking(move || rust::export(&endpoint, grpc, &sent));
        let trace_id = exported.await.expect("the client exports");
        check(&server, "rust", &marker, &trace_id).await;
    }
}

mod rust {
    use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry::trace::{Span, SpanBuilder, Status, Tracer, TracerProvider};
    use opentelemetry::{Array, KeyValue, Value};
    use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::logs::SdkLoggerProvider;
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    pub(super) fn export(endpoint: &str, grpc: bool, marker: &str) -> String {
        let resource = Resource::builder()
            .with_service_name("rust-client")
            .with_attribute(KeyValue::new("test.marker", marker.to_owned()))
            .build();
        let url = |signal: &str| format!("{endpoint}/v1/{signal}");
        let (spans, logs, metrics) = if grpc {
            (
                SpanExporter::builder().with_tonic().with_endpoint(endpoint).build(),
                LogExporter::builder().with_tonic().with_endpoint(endpoint).build(),
                MetricExporter::builder().with_tonic().with_endpoint(endpoint).build(),
            )
        } else {
            (
                SpanExporter::builder().with_http().with_endpoint(url("traces")).build(),
                LogExporter::builder().with_http().with_endpoint(url("logs")).build(),
                MetricExporter::builder().with_http().with_endpoint(url("metrics")).build(),
            )
        };
        let tracers = SdkTracerProvider::builder()
            .with_batch_exporter(spans.expect("an exporter"))
            .with_resource(resource.clone())
            .build();
        let loggers = SdkLoggerProvider::builder()
            .with_batch_exporter(logs.expect("an exporter"))
            .with_resource(resource.clone())
            .build();
        let meters = SdkMeterProvider::builder()
            .with_periodic_exporter(metrics.expect("an exporter"))
            .with_resource(resource)
            .build();

        let attributes = vec![
            KeyValue::new("order.id", marker.to_owned()),
            KeyValue::new("attempt", 3_i64),
            KeyValue::new("ok", true),
            KeyValue::new("ratio", 0.5),
            KeyValue::new("tags", Value::Array(Array::String(vec!["a".into(), "b".into()]))),
        ];
        let tracer = tracers.tracer("client");
        let mut span = tracer.build(SpanBuilder::from_name("rust span").with_attributes(attributes));
        span.add_event("cache miss", vec![KeyValue::new("key", "k1")]);
        span.set_status(Status::error("declined"));
        let context = span.span_context().clone();
        let logger = loggers.logger("client");
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Warn);
        record.set_severity_text("WARN");
        record.set_body(AnyValue::from(format!("rust log for {marker}")));
        record.add_attribute("order.id", marker.to_owned());
        record.set_trace_context(context.trace_id(), context.span_id(), Some(context.trace_flags()));
        logger.emit(record);
        span.end();
        let meter = meters.meter("client");
        let labels = [KeyValue::new("marker", marker.to_owned())];
        meter.u64_counter("rust.counter").with_unit("{call}").build().add(7, &labels);
        meter.f64_histogram("rust.histogram").with_unit("s").build().record(0.25, &labels);

        tracers.shutdown().expect("spans are exported");
        loggers.shutdown().expect("log records are exported");
        meters.shutdown().expect("data points are exported");
        context.trace_id().to_string()
    }
}
