//! Counts the events of SLOs, slice by slice, in the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use trivium_alert::StepRange;
use trivium_model::{ErrorKind, SignalKind, TenantId, UnixNanos};
use trivium_promql::MatrixSeries;
use trivium_slo::{
    Group, GroupCounts, Indicator, IndicatorQuerier, MeasuredSlice, Part, Query, QueryError, SliceRequest,
    SloDefinition, SpanIndicator, SpanKind, promql_of_slice,
};
use trivium_storage::Snapshot;

use super::querier::StoreQuerier;
use super::sql_rows::whole;
use crate::engine::SqlRequest;
use crate::state::QueryState;

/// How long telemetry may take from a service to the store; slices that end later are not measured yet. What is later still
/// is found when the last slices are measured again.
const INGEST_DELAY: Duration = Duration::from_secs(30);

/// Rows of one measurement: slices times groups.
const ROWS_MAX: usize = 200_000;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Bad logs may be later or earlier than the span that they speak of.
const LOG_MARGIN_NANOS: i64 = 5 * 60 * 1_000_000_000;

/// Counts in the store.
#[derive(Debug)]
pub(crate) struct SliceCounter {
    /// Whose SLOs these are.
    tenant: TenantId,
    state: Arc<QueryState>,
    querier: Arc<StoreQuerier>,
    /// How far each signal was looked at, as a WAL position; `None` before the first look.
    seen: Mutex<[Option<u64>; 3]>,
}

/// The earliest time of rows behind a position, which moves to the end. A part that was compacted with older rows counts
/// with all of its rows: too much is measured again rather than too little.
fn arrived_after(snapshot: &Snapshot, seen: &mut Option<u64>) -> Option<UnixNanos> {
    let is_first = seen.is_none();
    let before = seen.unwrap_or_default();
    let (mut last, mut earliest) = (before, None::<UnixNanos>);
    let mut note = |position: u64, first: UnixNanos| {
        last = last.max(position);
        if position > before {
            earliest = Some(earliest.map_or(first, |known| known.min(first)));
        }
    };
    for part in &snapshot.parts {
        note(part.record().last_position.0, part.record().first_time);
    }
    for batch in &snapshot.buffered {
        let positions =
            batch.column_by_name("wal_position").and_then(|column| max(column.as_primitive_opt::<UInt64Type>()?));
        let times =
            batch.column_by_name("time").and_then(|column| min(column.as_primitive_opt::<TimestampNanosecondType>()?));
        if let (Some(position), Some(time)) = (positions, times) {
            note(position, UnixNanos(time));
        }
    }
    *seen = Some(last);
    earliest.filter(|_| !is_first)
}

/// A number of each slice and group.
type Numbers = BTreeMap<(usize, Group), f64>;

#[async_trait]
impl IndicatorQuerier for SliceCounter {
    async fn measure(&self, request: SliceRequest) -> Result<Vec<MeasuredSlice>, QueryError> {
        match &request.slo.indicator {
            Indicator::Ratio { part_is, part, total, counter } => {
                let totals = self.numbers(&request, total, *counter).await?;
                let parts = self.numbers(&request, part, *counter).await?;
                let good = |key: &(usize, Group), total: f64| {
                    let part = parts.get(key).copied().unwrap_or(0.0).clamp(0.0, total);
                    if *part_is == Part::Good { part } else { total - part }
                };
                let counted = totals.iter().map(|(key, &total)| (key.clone(), (good(key, total), total)));
                Ok(slices(&request, counted, |_| false))
            }
            Indicator::Raw { query, ratio_of } => {
                let points = self.numbers(&request, query, false).await?;
                let good = |ratio: f64| if *ratio_of == Part::Good { ratio } else { 1.0 - ratio };
                let counted = points.into_iter().map(|(key, ratio)| (key, (good(ratio).clamp(0.0, 1.0), 1.0)));
                Ok(slices(&request, counted, |_| false))
            }
            Indicator::Threshold { query, op, value } => {
                let points = self.numbers(&request, query, false).await?;
                let good = |point: f64| if op.holds(point, *value) { 1.0 } else { 0.0 };
                let counted = points.into_iter().map(|(key, point)| (key, (good(point), 1.0)));
                Ok(slices(&request, counted, |_| false))
            }
            Indicator::Sql { query } => {
                let sql = with_parameters(query, &request);
                let rows = self.rows(&request, &sql, &["good", "total"]).await?;
                let counted = rows.into_iter().map(|(key, numbers)| (key, (numbers[0], numbers[1])));
                Ok(slices(&request, counted, |_| false))
            }
            Indicator::Spans(spans) => self.spans(&request, spans).await,
        }
    }

    fn watermark(&self, _slo: &SloDefinition, now: UnixNanos) -> UnixNanos {
        now.before(INGEST_DELAY)
    }

    fn arrived(&self) -> Option<UnixNanos> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let arrivals = SignalKind::ALL.into_iter().filter_map(|signal| {
            let snapshot = self.state.storage.snapshot(self.tenant, signal);
            arrived_after(&snapshot, &mut seen[signal.index()])
        });
        arrivals.min()
    }
}

impl SliceCounter {
    pub(crate) fn new(tenant: TenantId, state: Arc<QueryState>, querier: Arc<StoreQuerier>) -> Self {
        Self { tenant, state, querier, seen: Mutex::default() }
    }

    async fn numbers(&self, request: &SliceRequest, query: &Query, counter: bool) -> Result<Numbers, QueryError> {
        match query {
            Query::Promql(expression) => {
                let slo = &request.slo;
                let query = promql_of_slice(expression, slo.slice, &slo.group_by, counter);
                let series = self.querier.range_of_ours(request.tenant, &query, ends(request)).await.map_err(failed)?;
                Ok(series.iter().flat_map(|series| points(request, series)).collect())
            }
            Query::Sql(sql) => {
                let rows = self.rows(request, &with_parameters(sql, request), &["value"]).await?;
                Ok(rows.into_iter().map(|(key, numbers)| (key, numbers[0])).collect())
            }
        }
    }

    /// Spans join the logs of their traces: this is what no metric can say.
    async fn spans(&self, request: &SliceRequest, spans: &SpanIndicator) -> Result<Vec<MeasuredSlice>, QueryError> {
        let rows = self.rows(request, &span_sql(request, spans), &["good", "total"]).await?;
        let heard = self.rows(request, &heard_sql(request), &["total"]).await?;
        let heard: std::collections::BTreeSet<usize> = heard.into_keys().map(|(slice, _)| slice).collect();
        let counted = rows.into_iter().map(|(key, numbers)| (key, (numbers[0], numbers[1])));
        Ok(slices(request, counted, |slice| heard.contains(&slice)))
    }

    /// Runs a statement with the columns `time` or `slice`, those named, and one for each group.
    async fn rows(
        &self,
        request: &SliceRequest,
        sql: &str,
        columns: &[&str],
    ) -> Result<BTreeMap<(usize, Group), Vec<f64>>, QueryError> {
        let statement = SqlRequest {
            tenant: request.tenant,
            sql: sql.to_owned(),
            timeout: None,
            rows_max: Some(ROWS_MAX),
            now: Some(request.slice_start(request.count)),
        };
        let _turn = self.querier.turn().await;
        let mut answer = self
            .state
            .engine
            .run(&statement)
            .await
            .map_err(|error| QueryError { kind: error.kind(), message: error.to_string() })?;
        let mut rows = BTreeMap::<(usize, Group), Vec<f64>>::new();
        while let Some(batch) = answer.next().await {
            let batch = batch.map_err(|error| QueryError { kind: error.kind(), message: error.to_string() })?;
            add_rows(&mut rows, request, &batch, columns).map_err(failed)?;
        }
        if answer.truncated() {
            return Err(failed(format!(
                "the SQL of {} answers more than {ROWS_MAX} rows; group it by slice",
                request.slo.name
            )));
        }
        // A budget of what is left of a damaged part would be wrong for its whole window.
        whole(&answer).map_err(|message| QueryError { kind: ErrorKind::Corrupted, message })?;
        Ok(rows)
    }
}

fn failed(message: String) -> QueryError {
    QueryError { kind: ErrorKind::InvalidArgument, message }
}

/// The ends of the slices: an instant query at a slice's end counts the slice.
fn ends(request: &SliceRequest) -> StepRange {
    let end = |number: usize| request.slice_start(number).0.div_euclid(NANOS_PER_MILLI);
    StepRange { start_ms: end(1), end_ms: end(request.count), step_ms: request.slo.slice.seconds() * 1_000 }
}

fn points<'a>(request: &'a SliceRequest, series: &'a MatrixSeries) -> impl Iterator<Item = ((usize, Group), f64)> + 'a {
    let group: Group = request.slo.group_by.iter().map(|label| series.labels.get(label).to_owned()).collect();
    let (first, width) = (ends(request).start_ms, ends(request).step_ms);
    series.floats.iter().filter(|(_, value)| value.is_finite()).filter_map(move |(time, value)| {
        let slice = usize::try_from((time - first).div_euclid(width)).ok()?;
        Some(((slice, Arc::clone(&group)), *value))
    })
}

/// A slice with counts is measured; one without is measured when something else says so.
fn slices(
    request: &SliceRequest,
    counted: impl IntoIterator<Item = ((usize, Group), (f64, f64))>,
    is_measured: impl Fn(usize) -> bool,
) -> Vec<MeasuredSlice> {
    let mut slices = vec![MeasuredSlice::default(); request.count];
    for ((slice, group), (good, total)) in counted {
        if let Some(slice) = slices.get_mut(slice)
            && good.is_finite()
            && total.is_finite()
        {
            slice.coverage = 1.0;
            slice.groups.push(GroupCounts { group, good: good.clamp(0.0, total.max(0.0)), total: total.max(0.0) });
        }
    }
    for (number, slice) in slices.iter_mut().enumerate() {
        if is_measured(number) {
            slice.coverage = 1.0;
        }
    }
    slices
}

/// `$start`, `$end` and `$slice` of a statement: two timestamps and an interval.
fn with_parameters(sql: &str, request: &SliceRequest) -> String {
    let (start, end) = (request.slice_start(0), request.slice_start(request.count));
    sql.replace("$start", &timestamp(start))
        .replace("$end", &timestamp(end))
        .replace("$slice", &format!("INTERVAL '{} seconds'", request.slo.slice.seconds()))
}

fn timestamp(time: UnixNanos) -> String {
    format!("to_timestamp_nanos({})", time.0)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn slice_column(request: &SliceRequest) -> String {
    let (seconds, start) = (request.slo.slice.seconds(), timestamp(request.slice_start(0)));
    format!("date_bin(INTERVAL '{seconds} seconds', time, {start}) AS slice")
}

fn within(request: &SliceRequest) -> String {
    let (start, end) = (timestamp(request.slice_start(0)), timestamp(request.slice_start(request.count)));
    format!("time >= {start} AND time < {end}")
}

fn span_sql(request: &SliceRequest, spans: &SpanIndicator) -> String {
    let mut good = vec!["true".to_owned()];
    if spans.not_error {
        good.push("status_code <> 2".to_owned());
    }
    if let Some(below) = spans.below_nanos {
        good.push(format!("duration < {below}"));
    }
    let mut from = String::from("spans");
    if let Some(search) = &spans.bad_logs {
        let (start, end) = (request.slice_start(0).0, request.slice_start(request.count).0);
        let (start, end) = (UnixNanos(start - LOG_MARGIN_NANOS), UnixNanos(end + LOG_MARGIN_NANOS));
        let bounds = format!("time >= {} AND time < {}", timestamp(start), timestamp(end));
        let bad = format!(
            "SELECT DISTINCT trace_id AS bad_trace FROM logs WHERE {bounds} AND trace_id IS NOT NULL AND matches(body, {})",
            quoted(search)
        );
        from.push_str(&format!(" LEFT JOIN ({bad}) ON trace_id = bad_trace"));
        good.push("bad_trace IS NULL".to_owned());
    }
    let groups: Vec<String> = request.slo.group_by.iter().map(|label| group_expression(label)).collect();
    let named = groups.iter().zip(&request.slo.group_by).map(|(group, label)| format!(", {group} AS \"{label}\""));
    let places: String = (0..groups.len()).map(|place| format!(", {}", place + 2)).collect();
    format!(
        "SELECT {slice}{named}, count(*) FILTER (WHERE {good}) AS good, count(*) AS total FROM {from} WHERE {filter} \
         GROUP BY 1{places}",
        slice = slice_column(request),
        named = named.collect::<String>(),
        good = good.join(" AND "),
        filter = span_filter(request, spans),
    )
}

fn span_filter(request: &SliceRequest, spans: &SpanIndicator) -> String {
    let mut filter = format!("{} AND service_name = {}", within(request), quoted(&spans.service));
    let mut and = |condition: String| {
        filter.push_str(" AND ");
        filter.push_str(&condition);
    };
    if let Some(operation) = &spans.operation {
        and(format!("name = {}", quoted(operation)));
    }
    if spans.root {
        and("parent_span_id IS NULL".to_owned());
    }
    if let Some(kind) = spans.span_kind {
        and(format!("kind = {}", kind_number(kind)));
    }
    for (key, value) in &spans.attributes {
        and(format!(
            "coalesce(attributes[{key}], resource[{key}]) = {value}",
            key = quoted(key),
            value = quoted(value)
        ));
    }
    filter
}

/// Whether anything at all was received: then a slice without events of this service had none.
fn heard_sql(request: &SliceRequest) -> String {
    format!("SELECT {}, count(*) AS total FROM spans WHERE {} GROUP BY 1", slice_column(request), within(request))
}

fn group_expression(label: &str) -> String {
    match label {
        "service" | "service.name" | "service_name" => "service_name".to_owned(),
        "operation" | "name" => "name".to_owned(),
        key => format!("coalesce(attributes[{key}], resource[{key}])", key = quoted(key)),
    }
}

fn kind_number(kind: SpanKind) -> i32 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn add_rows(
    rows: &mut BTreeMap<(usize, Group), Vec<f64>>,
    request: &SliceRequest,
    batch: &RecordBatch,
    columns: &[&str],
) -> Result<(), String> {
    let column = |name: &str| {
        let labels = || batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(", ");
        batch.column_by_name(name).ok_or_else(|| format!("the SQL has no column {name}, only {}", labels()))
    };
    let times = column("slice").or_else(|_| column("time"))?;
    let times = cast(times, &DataType::Timestamp(TimeUnit::Nanosecond, None)).map_err(|error| error.to_string())?;
    let times = cast(&times, &DataType::Int64).map_err(|error| error.to_string())?;
    let times = times.as_primitive::<Int64Type>();
    let number = |name: &&str| cast(column(name)?, &DataType::Float64).map_err(|error| error.to_string());
    let numbers: Vec<ArrayRef> = columns.iter().map(number).collect::<Result<_, _>>()?;
    let options = FormatOptions::default();
    let group = |label: &String| {
        let of_group = column(label).or_else(|_| column(&super::sql_rows::label_name(label)))?;
        ArrayFormatter::try_new(of_group, &options).map_err(|error| error.to_string())
    };
    let groups: Vec<ArrayFormatter<'_>> = request.slo.group_by.iter().map(group).collect::<Result<_, String>>()?;
    let (start, width) = (request.start.0, request.slo.slice.seconds() * 1_000_000_000);
    for row in (0..batch.num_rows()).filter(|row| times.is_valid(*row)) {
        let slice = (times.value(row) - start).div_euclid(width);
        let Ok(slice) = usize::try_from(slice) else { continue };
        let group: Group = groups.iter().map(|formatter| formatter.value(row).to_string()).collect();
        let sums = rows.entry((slice, group)).or_insert_with(|| vec![0.0; numbers.len()]);
        for (sum, column) in sums.iter_mut().zip(&numbers) {
            let column = column.as_primitive::<Float64Type>();
            *sum += if column.is_valid(row) { column.value(row) } else { 0.0 };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::damaged_state;
    use super::super::turns::Turns;
    use super::*;
    use crate::testing::NOW;

    const SLOS: &str = "
slos:
- name: short-queues
  service: shop
  objective: 99
  window: 7d
  indicator: {sql: \"SELECT time, 1 AS good, 1 AS total FROM metrics WHERE time >= $start AND time < $end\"}
- name: short-queues-by-promql
  service: shop
  objective: 99
  window: 7d
  indicator: {promql: {bad: queue_length, total: queue_length}}
";

    /// Scenario: samples that an SLO counts lie in a damaged part. Guarantee: its slices are not measured by what is left, but
    /// stay due, and why names the part.
    #[tokio::test]
    async fn slices_over_a_damaged_part_stay_due() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = damaged_state(folder.path()).await;
        let part = state.storage.parts()[0].id.to_string();
        let file = trivium_slo::SourceFile { path: "slos.yaml".into(), text: SLOS.into() };
        let slos = trivium_slo::load(&[file]).expect("SLOs").slos;
        let querier = Arc::new(StoreQuerier::new(Arc::clone(&state), Turns::unbounded()));
        let counter = SliceCounter::new(TenantId::DEFAULT, state, querier);
        for slo in slos {
            let width = slo.slice.seconds() * 1_000_000_000;
            let request = |start: i64| {
                let start = UnixNanos(start.div_euclid(width) * width);
                SliceRequest { tenant: TenantId::DEFAULT, slo: Arc::clone(&slo), start, count: 2 }
            };
            let error = counter.measure(request(NOW - width)).await.expect_err("a sample is missing");
            assert!(error.message.contains("would be wrong") && error.message.contains(&part), "{error}");
            counter.measure(request(NOW - 20 * width)).await.expect("those before the damage are measured");
        }
    }
}
