//! What the answers must be: read from the payload files with prost and plain loops, with nothing of the product.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;

use prost::Message;
use trivium_proto::otlp::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use trivium_proto::otlp::common::v1::{KeyValue, any_value::Value};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::number_data_point::Value as Number;
use trivium_proto::otlp::resource::v1::Resource;

use crate::support::{Payload, messages};

const MINUTE_NANOS: i64 = 60_000_000_000;

pub type TraceId = [u8; 16];

/// A condition on a log record: its body and its attributes.
pub type Condition = Box<dyn Fn(&str, &[KeyValue]) -> bool>;

pub struct LogRow {
    pub time: i64,
    pub severity: i32,
    pub service: u16,
    pub trace_id: Option<TraceId>,
}

pub struct SpanRow {
    pub time: i64,
    pub duration: i64,
    pub service: u16,
    pub name: u16,
    pub is_error: bool,
    pub is_post: bool,
    pub trace_id: TraceId,
}

/// Everything that the checks need, some 300 MB for the default size.
pub struct Truth {
    pub services: Names,
    pub operations: Names,
    pub logs: Vec<LogRow>,
    pub text_bytes: u64,
    /// Times of the records that meet each condition.
    pub hits: Vec<Vec<i64>>,
    pub spans: Vec<SpanRow>,
    /// The highest CPU usage of the pods of a service in a minute.
    pub cpu: HashMap<(u16, i64), f64>,
}

#[derive(Default)]
pub struct Names {
    ids: HashMap<String, u16>,
    pub names: Vec<String>,
}

impl Names {
    pub fn id(&mut self, name: &str) -> u16 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = u16::try_from(self.names.len()).expect("few names");
        self.ids.insert(name.into(), id);
        self.names.push(name.into());
        id
    }

    pub fn find(&self, name: &str) -> u16 {
        self.ids[name]
    }
}

/// IDs to look for, from a request in the middle of the logs.
pub struct Chosen {
    pub trace_id: String,
    /// A UUID that stands in log texts and in no ID column.
    pub text_id: String,
}

pub fn choose(payload: &Payload) -> Chosen {
    let mut requests = messages(File::open(&payload.path).expect("the payload"));
    // The payload is read again for its middle rather than held in memory.
    let count = messages(File::open(&payload.path).expect("the payload")).count();
    let middle = requests.nth(count / 2).expect("a request in the middle");
    let request = ExportLogsServiceRequest::decode(middle).expect("logs");
    let mut trace_id = None;
    let mut uuids: BTreeMap<String, u32> = BTreeMap::new();
    for record in request.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records) {
        if record.trace_id.len() == 16 {
            trace_id.get_or_insert_with(|| hex(&record.trace_id));
        }
        for uuid in uuids_of(text(record.body.as_ref().and_then(|body| body.value.as_ref()))) {
            uuids.entry(uuid.to_owned()).or_default();
        }
    }
    count_uuids(payload, &mut uuids);
    // An order or a request, which few records name, and not the one user of the load generator.
    let text_id = uuids.into_iter().min_by_key(|(_, count)| count.abs_diff(10)).expect("a UUID in a text").0;
    Chosen { trace_id: trace_id.expect("a record of a trace"), text_id }
}

fn count_uuids(payload: &Payload, counts: &mut BTreeMap<String, u32>) {
    for message in messages(File::open(&payload.path).expect("the payload")) {
        let request = ExportLogsServiceRequest::decode(message).expect("logs");
        for record in request.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records) {
            for uuid in uuids_of(text(record.body.as_ref().and_then(|body| body.value.as_ref()))) {
                if let Some(count) = counts.get_mut(uuid) {
                    *count += 1;
                }
            }
        }
    }
}

fn uuids_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-')
        .filter(|word| word.split('-').map(str::len).eq([8, 4, 4, 4, 12]))
}

pub fn read(logs: &Payload, spans: &Payload, metrics: &Payload, conditions: &[Condition]) -> Truth {
    let mut truth = Truth {
        services: Names::default(),
        operations: Names::default(),
        logs: Vec::new(),
        text_bytes: 0,
        hits: conditions.iter().map(|_| Vec::new()).collect(),
        spans: Vec::new(),
        cpu: HashMap::new(),
    };
    for message in messages(File::open(&logs.path).expect("the payload")) {
        truth.read_logs(&ExportLogsServiceRequest::decode(message).expect("logs"), conditions);
    }
    for message in messages(File::open(&spans.path).expect("the payload")) {
        truth.read_spans(&ExportTraceServiceRequest::decode(message).expect("traces"));
    }
    for message in messages(File::open(&metrics.path).expect("the payload")) {
        truth.read_metrics(&ExportMetricsServiceRequest::decode(message).expect("metrics"));
    }
    truth
}

impl Truth {
    fn read_logs(&mut self, request: &ExportLogsServiceRequest, conditions: &[Condition]) {
        for resource in &request.resource_logs {
            let service = self.services.id(service_of(resource.resource.as_ref()));
            for record in resource.scope_logs.iter().flat_map(|scope| &scope.log_records) {
                let body = text(record.body.as_ref().and_then(|body| body.value.as_ref()));
                let sent = record.time_unix_nano;
                let time = if sent == 0 { record.observed_time_unix_nano } else { sent } as i64;
                for (hits, condition) in self.hits.iter_mut().zip(conditions) {
                    if condition(body, &record.attributes) {
                        hits.push(time);
                    }
                }
                self.text_bytes += body.len() as u64;
                let trace_id = record.trace_id.as_slice().try_into().ok();
                self.logs.push(LogRow { time, severity: record.severity_number, service, trace_id });
            }
        }
    }

    fn read_spans(&mut self, request: &ExportTraceServiceRequest) {
        for resource in &request.resource_spans {
            let service = self.services.id(service_of(resource.resource.as_ref()));
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                self.spans.push(SpanRow {
                    time: span.start_time_unix_nano as i64,
                    duration: span.end_time_unix_nano as i64 - span.start_time_unix_nano as i64,
                    service,
                    name: self.operations.id(&span.name),
                    is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
                    is_post: value_of(&span.attributes, "http.request.method") == Some("POST"),
                    trace_id: span.trace_id.as_slice().try_into().expect("16 bytes"),
                });
            }
        }
    }

    fn read_metrics(&mut self, request: &ExportMetricsServiceRequest) {
        for resource in &request.resource_metrics {
            let service = self.services.id(service_of(resource.resource.as_ref()));
            let metrics = resource.scope_metrics.iter().flat_map(|scope| &scope.metrics);
            for metric in metrics.filter(|metric| metric.name == "k8s.pod.cpu.usage") {
                let Some(Data::Gauge(gauge)) = &metric.data else { continue };
                for point in &gauge.data_points {
                    let value = match point.value {
                        Some(Number::AsDouble(value)) => value,
                        Some(Number::AsInt(value)) => value as f64,
                        None => continue,
                    };
                    let highest = self.cpu.entry((service, minute(point.time_unix_nano as i64))).or_insert(value);
                    *highest = highest.max(value);
                }
            }
        }
    }

    /// The trace whose number of spans is closest to `wanted`.
    pub fn trace_of(&self, wanted: i64) -> (TraceId, usize) {
        let mut sizes: HashMap<TraceId, i64> = HashMap::new();
        for span in &self.spans {
            *sizes.entry(span.trace_id).or_default() += 1;
        }
        let closest = sizes.into_iter().min_by_key(|(id, size)| ((size - wanted).abs(), *id)).expect("a trace");
        (closest.0, closest.1 as usize)
    }

    /// Times of the newest matching span of each trace, newest first.
    pub fn newest_traces(&self, matches: impl Fn(&SpanRow) -> bool) -> Vec<(i64, TraceId)> {
        let mut newest: HashMap<TraceId, i64> = HashMap::new();
        for span in self.spans.iter().filter(|span| matches(span)) {
            let time = newest.entry(span.trace_id).or_insert(span.time);
            *time = span.time.max(*time);
        }
        let mut newest: Vec<_> = newest.into_iter().map(|(id, time)| (time, id)).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest
    }

    /// Groups of (service, operation, minute), all spans and those with an error status.
    pub fn red(&self) -> (usize, usize, usize) {
        let groups: HashSet<_> = self.spans.iter().map(|span| (span.service, span.name, minute(span.time))).collect();
        (groups.len(), self.spans.len(), self.spans.iter().filter(|span| span.is_error).count())
    }

    /// Durations of the spans of a service, sorted.
    pub fn durations(&self, service: u16) -> Vec<i64> {
        let mut durations: Vec<i64> =
            self.spans.iter().filter(|span| span.service == service).map(|span| span.duration).collect();
        durations.sort_unstable();
        durations
    }

    /// Error logs of the traces with a span of `service` that takes longer than `threshold`.
    pub fn error_logs_of_slow_traces(&self, service: u16, threshold: i64) -> usize {
        let slow: HashSet<TraceId> = self
            .spans
            .iter()
            .filter(|span| span.service == service && span.duration > threshold)
            .map(|span| span.trace_id)
            .collect();
        let errors = self.logs.iter().filter(|log| log.severity >= 17);
        errors.filter(|log| log.trace_id.is_some_and(|id| slow.contains(&id))).count()
    }

    /// Minutes of services with CPU over `threshold`, error logs and spans: how many, their error logs, their spans.
    pub fn hot_minutes(&self, threshold: f64) -> (usize, usize, usize) {
        let mut errors: HashMap<(u16, i64), usize> = HashMap::new();
        for log in self.logs.iter().filter(|log| log.severity >= 17) {
            *errors.entry((log.service, minute(log.time))).or_default() += 1;
        }
        let mut spans: HashMap<(u16, i64), usize> = HashMap::new();
        for span in &self.spans {
            *spans.entry((span.service, minute(span.time))).or_default() += 1;
        }
        let (mut count, mut error_logs, mut all_spans) = (0, 0, 0);
        for key in self.cpu.iter().filter(|(_, value)| **value > threshold).map(|(key, _)| key) {
            if let (Some(errors), Some(spans)) = (errors.get(key), spans.get(key)) {
                count += 1;
                error_logs += errors;
                all_spans += spans;
            }
        }
        (count, error_logs, all_spans)
    }

    /// A CPU usage that about one minute of a service in `share` exceeds, between two values that occur.
    pub fn cpu_threshold(&self, share: usize) -> f64 {
        let mut values: Vec<f64> = self.cpu.values().copied().collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        let index = values.len() - values.len() / share - 1;
        f64::midpoint(values[index - 1], values[index])
    }

    /// Log records per minute and class of severity.
    pub fn histogram(&self) -> BTreeMap<(i64, &'static str), u64> {
        const CLASSES: [&str; 7] = ["unspecified", "trace", "debug", "info", "warn", "error", "fatal"];
        let mut counts = BTreeMap::new();
        for log in &self.logs {
            let class = if (1..=24).contains(&log.severity) { (log.severity - 1) / 4 + 1 } else { 0 };
            *counts.entry((minute(log.time) * MINUTE_NANOS, CLASSES[class as usize])).or_default() += 1;
        }
        counts
    }

    /// Log records by service.
    pub fn logs_by_service(&self) -> BTreeMap<&str, u64> {
        let mut counts = vec![0; self.services.names.len()];
        for log in &self.logs {
            counts[usize::from(log.service)] += 1;
        }
        let counted = self.services.names.iter().map(String::as_str).zip(counts);
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

/// Whether the words stand in a row in the body or in one attribute, in any case.
pub fn phrase(words: &str) -> Condition {
    let words: Vec<String> = tokens(words).collect();
    let first = anywhere(&words[0]);
    Box::new(move |body, attributes| {
        any_text(body, attributes, &|text| {
            if !first.is_match(text) {
                return false;
            }
            let found: Vec<String> = tokens(text).collect();
            found.windows(words.len()).any(|window| window == words)
        })
    })
}

/// Whether all of the words stand anywhere in the record.
pub fn all_words(words: &[&str]) -> Condition {
    let words: Vec<_> = words.iter().map(|word| (anywhere(word), word.to_lowercase())).collect();
    Box::new(move |body, attributes| {
        words.iter().all(|(anywhere, word)| {
            any_text(body, attributes, &|text| anywhere.is_match(text) && tokens(text).any(|token| token == *word))
        })
    })
}

/// Whether the regular expression is found in the body.
pub fn pattern(pattern: &str) -> Condition {
    let pattern = regex::Regex::new(pattern).expect("a regular expression");
    Box::new(move |body, _| pattern.is_match(body))
}

/// Finds a word in any case and within other words: a cheap test before the exact one.
fn anywhere(word: &str) -> regex::Regex {
    regex::RegexBuilder::new(&regex::escape(word)).case_insensitive(true).build().expect("an escaped word")
}

fn any_text(body: &str, attributes: &[KeyValue], test: &dyn Fn(&str) -> bool) -> bool {
    let value = |pair: &KeyValue| test(text(pair.value.as_ref().and_then(|value| value.value.as_ref())));
    test(body) || attributes.iter().any(value)
}

fn tokens(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

fn text(value: Option<&Value>) -> &str {
    match value {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}

fn value_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let pair = attributes.iter().find(|pair| pair.key == key)?;
    Some(text(pair.value.as_ref()?.value.as_ref()))
}

fn service_of(resource: Option<&Resource>) -> &str {
    resource.and_then(|resource| value_of(&resource.attributes, "service.name")).unwrap_or_default()
}

pub fn minute(time: i64) -> i64 {
    time.div_euclid(MINUTE_NANOS)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
