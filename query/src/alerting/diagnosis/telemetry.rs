//! What a diagnosis reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use trivium_alert::AlertNotice;
use trivium_diagnosis::versions::Seen;
use trivium_diagnosis::{graph, patterns};
use trivium_model::{TenantId, TimeRange};
use trivium_promql::{MatchKind, Matcher};

use super::{ROWS_MAX, Stretch};
use crate::api::promql_selectors;
use crate::engine::SqlRequest;
use crate::lookup::Deadline;
use crate::series::StoredSeries;
use crate::service_graph::within;
use crate::state::QueryState;

/// A span.
#[derive(Debug)]
pub(in crate::alerting) struct SpanRow {
    pub(in crate::alerting) trace_id: u128,
    span_id: u64,
    parent_id: u64,
    pub(in crate::alerting) service: Arc<str>,
    pub(in crate::alerting) name: Arc<str>,
    pub(in crate::alerting) start: i64,
    pub(in crate::alerting) end: i64,
    pub(in crate::alerting) failed: bool,
    attributes: Arc<str>,
    resource: Arc<str>,
}

impl SpanRow {
    pub(in crate::alerting) fn as_graph(&self) -> graph::Span<'_> {
        graph::Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_id: self.parent_id,
            service: &self.service,
            operation: &self.name,
            start: self.start,
            end: self.end,
            failed: self.failed,
        }
    }

    pub(in crate::alerting) fn is_root(&self) -> bool {
        self.parent_id == 0
    }

    /// Attributes of the span and its resource, as text; a key of both counts for the span.
    pub(in crate::alerting) fn attributes(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for object in [&self.resource, &self.attributes] {
            let Ok(serde_json::Value::Object(object)) = serde_json::from_str(object) else { continue };
            all.extend(object.into_iter().map(|(key, value)| match value {
                serde_json::Value::String(text) => (key, text),
                other => (key, other.to_string()),
            }));
        }
        all
    }
}

/// A log record.
#[derive(Debug)]
pub(in crate::alerting) struct LogRow {
    pub(in crate::alerting) time: i64,
    pub(in crate::alerting) service: Arc<str>,
    pub(in crate::alerting) severity: u8,
    pub(in crate::alerting) body: String,
    pub(in crate::alerting) trace_id: u128,
    pub(in crate::alerting) span_id: u64,
}

impl LogRow {
    pub(in crate::alerting) fn as_pattern<'a>(&'a self, trace_id: &'a str) -> patterns::Record<'a> {
        patterns::Record {
            service: &self.service,
            severity: self.severity,
            text: &self.body,
            time: self.time,
            trace_id,
            correlation_ids: &[],
        }
    }
}

/// Reads by SQL, within the limits of every query.
pub(in crate::alerting) struct Telemetry<'a> {
    state: &'a Arc<QueryState>,
    tenant: TenantId,
    /// When reading ends.
    deadline: Instant,
}

impl<'a> Telemetry<'a> {
    pub(in crate::alerting) fn new(state: &'a Arc<QueryState>, tenant: TenantId, deadline: Instant) -> Self {
        Self { state, tenant, deadline }
    }

    async fn batches(&self, sql: String) -> Result<Vec<RecordBatch>, String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = Some(left.min(self.state.config.timeout));
        let request = SqlRequest { tenant: self.tenant, sql, timeout, rows_max: Some(2 * ROWS_MAX), now: None };
        let mut answer = self.state.engine.run(&request).await.map_err(|error| error.to_string())?;
        let mut batches = Vec::new();
        while let Some(batch) = answer.next().await {
            batches.push(batch.map_err(|error| error.to_string())?);
        }
        Ok(batches)
    }

    /// Spans and log records of a stretch of time; of much traffic those of every n-th trace, whole.
    pub(in crate::alerting) async fn read(&self, range: TimeRange) -> Result<Stretch, String> {
        let within = within(range);
        let counts = self
            .batches(format!(
                "SELECT (SELECT count(*) FROM spans WHERE {within}) AS spans, (SELECT count(*) FROM logs WHERE {within}) AS logs"
            ))
            .await?;
        let count = |name: &str| -> usize {
            let column = counts.first().and_then(|batch| batch.column_by_name(name));
            let count =
                column.filter(|column| !column.is_empty()).map(|column| column.as_primitive::<Int64Type>().value(0));
            usize::try_from(count.unwrap_or_default()).unwrap_or(0)
        };
        let every = count("spans").max(count("logs")).div_ceil(ROWS_MAX).max(1);
        let sampled = format!("{within}{}", one_in(every));
        let spans = self
            .batches(format!(
                "SELECT trace_id, span_id, parent_span_id, service_name, name, time, duration, status_code, attributes, \
                 resource FROM spans WHERE {sampled}"
            ))
            .await?;
        let logs = self
            .batches(format!(
                "SELECT time, service_name, severity_number, body, trace_id, span_id FROM logs WHERE {sampled}"
            ))
            .await?;
        let mut stretch = Stretch::default();
        for batch in &spans {
            add_spans(&mut stretch.spans, batch)?;
        }
        for batch in &logs {
            add_logs(&mut stretch.logs, batch)?;
        }
        Ok(stretch)
    }

    /// Versions of services and when they were seen.
    pub(in crate::alerting) async fn versions(&self, range: TimeRange) -> Result<Vec<Seen>, String> {
        let within = within(range);
        let sql = format!(
            "SELECT service_name, resource['service.version'] AS version, min(time) AS first, max(time) AS last \
             FROM spans WHERE {within} GROUP BY 1, 2"
        );
        let mut seen = Vec::new();
        for batch in self.batches(sql).await? {
            let (services, versions) = (text(&batch, "service_name")?, text(&batch, "version")?);
            let (first, last) = (numbers(&batch, "first")?, numbers(&batch, "last")?);
            let (first, last) = (first.as_primitive::<Int64Type>(), last.as_primitive::<Int64Type>());
            for row in (0..batch.num_rows()).filter(|row| versions.is_valid(*row)) {
                seen.push(Seen {
                    service: services.value(row).to_owned(),
                    version: versions.value(row).to_owned(),
                    first_seen: first.value(row),
                    last_seen: last.value(row),
                });
            }
        }
        Ok(seen)
    }

    /// Processor use by service, from gauges whose name speaks of it.
    pub(in crate::alerting) async fn cpu(
        &self,
        before: TimeRange,
        during: TimeRange,
    ) -> Result<BTreeMap<String, graph::Cpu>, String> {
        const CPU: &str = "metric_type = 'gauge' AND lower(metric_name) LIKE '%cpu%' AND value IS NOT NULL";
        let sql = format!(
            "SELECT b.service_name, b.metric_name, b.mean, b.deviation, d.during FROM \
             (SELECT service_name, metric_name, avg(value) AS mean, stddev(value) AS deviation FROM metrics \
              WHERE {} AND {CPU} GROUP BY 1, 2) b JOIN \
             (SELECT service_name, metric_name, median(value) AS during FROM metrics WHERE {} AND {CPU} GROUP BY 1, 2) d \
             ON b.service_name = d.service_name AND b.metric_name = d.metric_name",
            within(before),
            within(during)
        );
        let mut strongest: BTreeMap<String, (f64, graph::Cpu)> = BTreeMap::new();
        for batch in self.batches(sql).await? {
            let services = text(&batch, "service_name")?;
            let column = |name: &str| floats(&batch, name);
            let (means, deviations, medians) = (column("mean")?, column("deviation")?, column("during")?);
            let value = |column: &ArrayRef, row: usize| {
                let column = column.as_primitive::<Float64Type>();
                if column.is_valid(row) { column.value(row) } else { 0.0 }
            };
            for row in 0..batch.num_rows() {
                let cpu = graph::Cpu {
                    mean: value(&means, row),
                    deviation: value(&deviations, row),
                    during: value(&medians, row),
                };
                // Of several metrics of one service the one that changed most.
                let change = (cpu.during - cpu.mean) / cpu.deviation.max(cpu.mean.abs() * 0.01).max(f64::MIN_POSITIVE);
                let known = strongest.entry(services.value(row).to_owned()).or_insert((change, cpu));
                if change > known.0 {
                    *known = (change, cpu);
                }
            }
        }
        Ok(strongest.into_iter().map(|(service, (_, cpu))| (service, cpu)).collect())
    }

    /// Trace IDs of exemplars on the series that the alerts are about.
    pub(in crate::alerting) async fn exemplars(
        &self,
        alerts: &[(AlertNotice, String)],
        range: TimeRange,
    ) -> Vec<String> {
        let (state, tenant) = (Arc::clone(self.state), self.tenant);
        let selectors: Vec<Vec<Matcher>> = alerts.iter().flat_map(|(notice, _)| selectors(notice)).take(20).collect();
        let (start, end) = (range.start.0.div_euclid(1_000_000), range.end.0.div_euclid(1_000_000));
        let work = tokio::task::spawn_blocking(move || {
            let deadline = Deadline::after(state.config.timeout);
            let series = StoredSeries::new(&state.series, &state.storage, tenant, deadline);
            let found = series.exemplars(&selectors, (start, end)).unwrap_or_default();
            let mut exemplars: Vec<(f64, String)> = found
                .iter()
                .flat_map(|series| &series.exemplars)
                .map(|exemplar| (exemplar.value, exemplar.labels.get("trace_id").to_owned()))
                .filter(|(_, id)| !id.is_empty())
                .collect();
            // The largest values are the ones that hurt.
            exemplars.sort_by(|left, right| right.0.total_cmp(&left.0));
            exemplars.into_iter().map(|(_, id)| id).take(3).collect::<Vec<_>>()
        });
        work.await.unwrap_or_default()
    }
}

/// The selectors of an alert's expression, narrowed to what the alert is about.
fn selectors(notice: &AlertNotice) -> Vec<Vec<Matcher>> {
    let Ok(expr) = trivium_promql::parse(&notice.expr, &trivium_promql::ParseOptions::EXPERIMENTAL) else {
        return Vec::new();
    };
    let mut selectors = promql_selectors(&expr);
    for matchers in &mut selectors {
        // Exemplars hang on buckets and sums; of a histogram's count the buckets are asked.
        for matcher in matchers.iter_mut().filter(|matcher| matcher.name == trivium_promql::METRIC_NAME) {
            if let (MatchKind::Equal, Some(name)) = (&matcher.kind, matcher.value.strip_suffix("_count")) {
                matcher.value = format!("{name}_bucket");
            }
        }
        for name in ["job", "instance", "service", "service_name", "http_route"] {
            if let Some(value) = notice.labels.get(name).filter(|_| matchers.iter().all(|known| known.name != name)) {
                matchers.push(Matcher::equal(name, value));
            }
        }
    }
    selectors
}

/// Every n-th trace, the same ones in both tables; records without a trace stay.
fn one_in(every: usize) -> String {
    if every <= 1 {
        return String::new();
    }
    format!(
        " AND (trace_id IS NULL OR bit_length(encode(trace_id, 'hex')) = 0 OR (ascii(right(encode(trace_id, 'hex'), 1)) * 16 + ascii(right(encode(trace_id, 'hex'), 2))) % {every} = 0)"
    )
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    batch.column_by_name(name).ok_or_else(|| format!("a table lacks the column {name}"))
}

fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, String> {
    let text = cast(column(batch, name)?, &DataType::Utf8).map_err(|error| error.to_string())?;
    Ok(text.as_string::<i32>().clone())
}

fn numbers(batch: &RecordBatch, name: &str) -> Result<ArrayRef, String> {
    cast(column(batch, name)?, &DataType::Int64).map_err(|error| error.to_string())
}

fn floats(batch: &RecordBatch, name: &str) -> Result<ArrayRef, String> {
    cast(column(batch, name)?, &DataType::Float64).map_err(|error| error.to_string())
}

fn ids<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a FixedSizeBinaryArray, String> {
    column(batch, name)?.as_fixed_size_binary_opt().ok_or_else(|| format!("the column {name} has no IDs"))
}

fn id_of(column: &FixedSizeBinaryArray, row: usize) -> u128 {
    if column.is_null(row) {
        return 0;
    }
    column.value(row).iter().fold(0, |id, byte| id << 8 | u128::from(*byte))
}

fn span_id_of(column: &FixedSizeBinaryArray, row: usize) -> u64 {
    u64::try_from(id_of(column, row)).unwrap_or_default()
}

/// Texts that come again and again are kept once.
#[derive(Default)]
struct Interner(hashbrown::HashSet<Arc<str>>);

impl Interner {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}

fn add_spans(rows: &mut Vec<SpanRow>, batch: &RecordBatch) -> Result<(), String> {
    let (traces, spans, parents) = (ids(batch, "trace_id")?, ids(batch, "span_id")?, ids(batch, "parent_span_id")?);
    let [services, names, attributes, resources] =
        ["service_name", "name", "attributes", "resource"].map(|name| text(batch, name));
    let (services, names, attributes, resources) = (services?, names?, attributes?, resources?);
    let [times, durations, statuses] = ["time", "duration", "status_code"].map(|name| numbers(batch, name));
    let (times, durations, statuses) = (times?, durations?, statuses?);
    let (times, durations) = (times.as_primitive::<Int64Type>(), durations.as_primitive::<Int64Type>());
    let statuses = statuses.as_primitive::<Int64Type>();
    let mut interner = Interner::default();
    for row in 0..batch.num_rows() {
        let start = times.value(row);
        let duration = if durations.is_valid(row) { durations.value(row).max(0) } else { 0 };
        rows.push(SpanRow {
            trace_id: id_of(traces, row),
            span_id: span_id_of(spans, row),
            parent_id: span_id_of(parents, row),
            service: interner.get(services.value(row)),
            name: interner.get(names.value(row)),
            start,
            end: start.saturating_add(duration),
            failed: statuses.value(row) == 2,
            attributes: interner.get(attributes.value(row)),
            resource: interner.get(resources.value(row)),
        });
    }
    Ok(())
}

fn add_logs(rows: &mut Vec<LogRow>, batch: &RecordBatch) -> Result<(), String> {
    let (traces, spans) = (ids(batch, "trace_id")?, ids(batch, "span_id")?);
    let (services, bodies) = (text(batch, "service_name")?, text(batch, "body")?);
    let (times, severities) = (numbers(batch, "time")?, numbers(batch, "severity_number")?);
    let (times, severities) = (times.as_primitive::<Int64Type>(), severities.as_primitive::<Int64Type>());
    let mut interner = Interner::default();
    for row in 0..batch.num_rows() {
        rows.push(LogRow {
            time: times.value(row),
            service: interner.get(services.value(row)),
            severity: u8::try_from(severities.value(row)).unwrap_or_default(),
            body: if bodies.is_valid(row) { bodies.value(row).to_owned() } else { String::new() },
            trace_id: id_of(traces, row),
            span_id: span_id_of(spans, row),
        });
    }
    Ok(())
}
