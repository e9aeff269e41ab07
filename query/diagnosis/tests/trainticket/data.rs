//! The TrainTicket day of `../shared/data`, read by prost.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use trivium_diagnosis::patterns::Templates;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::number_data_point::Value as Number;
use trivium_proto::otlp::resource::v1::Resource;

pub(crate) struct Log {
    pub(crate) severity: u8,
    pub(crate) pattern: Arc<str>,
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
}

pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) parent_id: u64,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

pub(crate) struct Point {
    pub(crate) service: String,
    pub(crate) time: i64,
    pub(crate) value: f64,
}

pub(crate) struct Fault {
    pub(crate) service: String,
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) at: i64,
}

pub(crate) struct Day {
    pub(crate) logs: Vec<Log>,
    pub(crate) spans: Vec<Span>,
    pub(crate) points: Vec<Point>,
    pub(crate) faults: Vec<Fault>,
}

const NAMES: [&str; 2] = ["../../../shared/data", "../../../../shared/data"];

fn folder() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = NAMES.iter().map(|name| root.join(name).join("trainticket-2023-01-29")).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: the TrainTicket day is not there");
    }
    found
}

fn messages(path: &Path) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut decoder = zstd::Decoder::new(File::open(path).expect("the data file")).expect("zstd");
    decoder.read_to_end(&mut bytes).expect("it decompresses");
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(prost::encoding::decode_varint(&mut rest).expect("a length")).expect("a length");
        let (message, after) = rest.split_at(length);
        messages.push(message.to_vec());
        rest = after;
    }
    messages
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let value =
        attributes.iter().find(|attribute| attribute.key == "service.name").and_then(|found| found.value.clone());
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    }
}

fn id(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_be_bytes).unwrap_or_default()
}

impl Day {
    pub(crate) fn read() -> Option<Self> {
        let folder = folder()?;
        let (logs, spans, points) = (read_logs(&folder), read_spans(&folder), read_points(&folder));
        Some(Self { logs, spans, points, faults: read_faults(&folder) })
    }
}

fn read_logs(folder: &Path) -> Vec<Log> {
    let mut logs = Vec::new();
    let mut templates = Templates::default();
    for message in messages(&folder.join("logs.otlp.zst")) {
        for resource in ExportLogsServiceRequest::decode(&message[..]).expect("logs").resource_logs {
            for record in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let Some(Value::StringValue(body)) = record.body.and_then(|body| body.value) else { continue };
                logs.push(Log {
                    severity: u8::try_from(record.severity_number).unwrap_or_default(),
                    pattern: templates.of(&body),
                    trace_id: record.trace_id.as_slice().try_into().map(u128::from_be_bytes).unwrap_or_default(),
                    span_id: id(&record.span_id),
                });
            }
        }
    }
    logs
}

fn read_spans(folder: &Path) -> Vec<Span> {
    let mut spans = Vec::new();
    for message in messages(&folder.join("traces.otlp.zst")) {
        for resource in ExportTraceServiceRequest::decode(&message[..]).expect("spans").resource_spans {
            let service = service(resource.resource.as_ref());
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.push(Span {
                    service: service.clone(),
                    name: span.name,
                    trace_id: span.trace_id.as_slice().try_into().map(u128::from_be_bytes).unwrap_or_default(),
                    span_id: id(&span.span_id),
                    parent_id: id(&span.parent_span_id),
                    start: span.start_time_unix_nano as i64,
                    end: span.end_time_unix_nano as i64,
                });
            }
        }
    }
    spans
}

fn read_points(folder: &Path) -> Vec<Point> {
    let mut points = Vec::new();
    for message in messages(&folder.join("metrics.otlp.zst")) {
        for resource in ExportMetricsServiceRequest::decode(&message[..]).expect("metrics").resource_metrics {
            let service = service(resource.resource.as_ref());
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let Some(Data::Gauge(gauge)) = metric.data else { continue };
                if metric.name != "k8s.pod.cpu.usage" {
                    continue;
                }
                points.extend(gauge.data_points.into_iter().map(|point| Point {
                    service: service.clone(),
                    time: point.time_unix_nano as i64,
                    value: match point.value {
                        Some(Number::AsDouble(value)) => value,
                        Some(Number::AsInt(value)) => value as f64,
                        None => f64::NAN,
                    },
                }));
            }
        }
    }
    points
}

fn read_faults(folder: &Path) -> Vec<Fault> {
    let text = std::fs::read_to_string(folder.join("faults.json")).expect("the list of faults");
    let faults: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let fault = |fault: &serde_json::Value| Fault {
        service: text(&fault["service"]),
        kind: text(&fault["inject_type"]),
        text: text(&fault["inject_time"]),
        at: fault["inject_unix_seconds"].as_i64().unwrap_or_default() * 1_000_000_000,
    };
    faults.iter().map(fault).collect()
}
