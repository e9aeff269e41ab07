//! Rules over logs: a search, an aggregation of its hits, and what they are grouped by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;
use trivium_alert::{LogAggregation, LogQuery};
use trivium_model::{SignalKind, TenantId, TimeRange, UnixNanos};
use trivium_promql::{Labels, SampleValue, VectorSample};

use super::sql_rows::label_name;
use super::turns::Turn;
use crate::log_search::{FACET_ROWS_MAX, Field, PartFacts, SearchRequest, compile, search};
use crate::state::QueryState;

/// Records that are looked at one by one, where counting alone does not do.
const RECORDS_MAX: usize = 100_000;

/// Runs the query over `(at - range, at]`; the turn is given back when the search has ended.
pub(super) async fn samples(
    state: &Arc<QueryState>,
    tenant: TenantId,
    query: &LogQuery,
    at: UnixNanos,
    turn: Turn,
) -> Result<Vec<VectorSample>, String> {
    let (state, query) = (Arc::clone(state), query.clone());
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        run(&state, tenant, &query, at)
    });
    work.await.map_err(|error| format!("the search did not end: {error}"))?
}

fn run(state: &QueryState, tenant: TenantId, query: &LogQuery, at: UnixNanos) -> Result<Vec<VectorSample>, String> {
    // A search knows no half-open ranges but [start, end).
    let end = UnixNanos(at.0.saturating_add(1));
    let range = TimeRange { start: end.before(query.range), end };
    let counts = matches!(query.aggregation, LogAggregation::Count | LogAggregation::Rate);
    let by_facet = counts && query.by.len() == 1;
    let text = if query.search == "*" { "" } else { &query.search };
    let request = SearchRequest {
        query: compile(text).map_err(|error| error.to_string())?,
        range,
        limit: if counts && query.by.len() <= 1 { 0 } else { RECORDS_MAX },
        descending: true,
        cursor: None,
        histogram: None,
        facets: if by_facet { vec![Field::resolve(&query.by[0])] } else { Vec::new() },
        facet_rows_max: FACET_ROWS_MAX,
        deadline: Instant::now() + state.config.timeout,
    };
    let snapshot = state.storage.snapshot(tenant, SignalKind::Logs);
    let answer = search(&snapshot, &request, &PartFacts::default(), &CancellationToken::new());
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.partial {
        let why = answer.warnings.join("; ");
        return Err(format!("the search did not see all records, so its count would be wrong: {why}"));
    }
    let scale = if query.aggregation == LogAggregation::Rate { 1.0 / query.range.as_secs_f64() } else { 1.0 };
    if by_facet {
        let (_, values) = &answer.facets[0];
        if values.is_estimated() {
            return Err(format!("{} has too many values to be counted one by one", query.by[0]));
        }
        let most = values.most_frequent(values.distinct());
        return Ok(most
            .into_iter()
            .map(|(value, count)| sample([(&query.by[0], value)], float(count) * scale))
            .collect());
    }
    if counts && query.by.is_empty() {
        return Ok(vec![sample([], float(answer.matched) * scale)]);
    }
    if answer.next_cursor.is_some() {
        return Err(format!("more than {RECORDS_MAX} records match; narrow the search or its range, or ask in SQL"));
    }
    Ok(grouped(query, &answer.records, scale))
}

fn sample<'a>(labels: impl IntoIterator<Item = (&'a String, &'a str)>, value: f64) -> VectorSample {
    let labels = Labels::new(labels.into_iter().map(|(name, value)| (label_name(name), value)));
    VectorSample { labels, value: SampleValue::Float(value) }
}

#[expect(clippy::cast_precision_loss, reason = "counts of log records are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Groups records and tells each group's value. Records without the field count for nothing.
fn grouped(query: &LogQuery, records: &[String], scale: f64) -> Vec<VectorSample> {
    let mut groups: BTreeMap<Vec<String>, Vec<Json>> = BTreeMap::new();
    for record in records {
        let Ok(record) = serde_json::from_str::<Json>(record) else { continue };
        let key = query.by.iter().map(|field| text_of(&record, field).unwrap_or_default()).collect();
        groups.entry(key).or_default().push(record);
    }
    if groups.is_empty() && query.by.is_empty() && matches!(query.aggregation, LogAggregation::CountDistinct(_)) {
        return vec![sample([], 0.0)];
    }
    let value = |records: &[Json]| aggregated(&query.aggregation, records).map(|value| value * scale);
    let groups = groups.iter().filter_map(|(key, records)| Some((key, value(records)?)));
    groups.map(|(key, value)| sample(query.by.iter().zip(key.iter().map(String::as_str)), value)).collect()
}

fn aggregated(aggregation: &LogAggregation, records: &[Json]) -> Option<f64> {
    let numbers = |field: &str| -> Vec<f64> {
        let numbers = records.iter().filter_map(|record| text_of(record, field)?.parse().ok());
        numbers.filter(|number: &f64| !number.is_nan()).collect()
    };
    let fold = |field: &str, fold: fn(f64, f64) -> f64| numbers(field).into_iter().reduce(fold);
    match aggregation {
        LogAggregation::Count | LogAggregation::Rate => Some(float(records.len() as u64)),
        LogAggregation::CountDistinct(field) => {
            let distinct: BTreeSet<String> = records.iter().filter_map(|record| text_of(record, field)).collect();
            Some(float(distinct.len() as u64))
        }
        LogAggregation::Sum(field) => fold(field, |left, right| left + right),
        LogAggregation::Min(field) => fold(field, f64::min),
        LogAggregation::Max(field) => fold(field, f64::max),
        LogAggregation::Avg(field) => {
            let numbers = numbers(field);
            (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / float(numbers.len() as u64))
        }
        LogAggregation::Quantile(quantile, field) => {
            let mut numbers = numbers(field);
            numbers.sort_unstable_by(f64::total_cmp);
            interpolated(&numbers, *quantile)
        }
    }
}

/// As `quantile` of PromQL: linear between the neighbours.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
fn interpolated(sorted: &[f64], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = quantile * float(last as u64);
    let (below, above) = (rank.floor() as usize, (rank.ceil() as usize).min(last));
    let weight = rank - rank.floor();
    Some(sorted[below] * (1.0 - weight) + sorted[above] * weight)
}

/// The value of a field of a record as [`crate::log_search`] shows it, by the names that its language has.
fn text_of(record: &Json, name: &str) -> Option<String> {
    let within = |object: &str, key: &str| record.get(object).and_then(|object| object.get(key));
    let value = match Field::resolve(name) {
        Field::Service => record.get("service"),
        Field::Severity | Field::SeverityText => record.get("severity_text"),
        Field::SeverityNumber => record.get("severity_number"),
        Field::TraceId => record.get("trace_id"),
        Field::SpanId => record.get("span_id"),
        Field::EventName => record.get("event_name"),
        Field::Body => record.get("body"),
        Field::BodyPath(path) => path.split('.').try_fold(record.get("body")?, |value, key| value.get(key)),
        Field::Flags => record.get("flags"),
        Field::ScopeName => within("scope", "name"),
        Field::Attribute(key) => within("attributes", &key).or_else(|| within("resource", &key)),
        Field::RecordAttribute(key) => within("attributes", &key),
        Field::ResourceAttribute(key) => within("resource", &key),
        Field::Span(_) => None,
    }?;
    match value {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(query: &str, records: &[&str]) -> Vec<String> {
        let query = LogQuery::parse(query).expect("a query");
        let records: Vec<String> = records.iter().map(|&record| record.to_owned()).collect();
        let show = |sample: VectorSample| {
            let labels = sample.labels.iter().map(|label| format!("{}={}", label.name, label.value));
            let SampleValue::Float(value) = sample.value else { panic!("a float") };
            format!("{} {value}", labels.collect::<Vec<_>>().join(","))
        };
        grouped(&query, &records, 1.0).into_iter().map(show).collect()
    }

    #[test]
    fn hits_are_aggregated_by_group() {
        let records = [
            r#"{"service":"cart","severity_text":"ERROR","attributes":{"ms":"10","user":"a"},"resource":{"zone":"x"}}"#,
            r#"{"service":"cart","severity_text":"ERROR","attributes":{"ms":30.5,"user":"b"},"resource":{"zone":"y"}}"#,
            r#"{"service":"pay","severity_text":"WARN","attributes":{"user":"a"},"body":{"order":{"id":7}}}"#,
        ];
        for (query, expected) in [
            ("x | count() by (service, level) [5m]", vec!["level=ERROR,service=cart 2", "level=WARN,service=pay 1"]),
            ("x | sum(ms) by (service) [5m]", vec!["service=cart 40.5"]),
            ("x | avg(ms) [5m]", vec![" 20.25"]),
            ("x | quantile(0.5, ms) [5m]", vec![" 20.25"]),
            ("x | max(attributes.ms) [5m]", vec![" 30.5"]),
            ("x | count_distinct(user) [5m]", vec![" 2"]),
            (
                "x | count() by (zone, service.name) [5m]",
                vec!["service_name=pay 1", "service_name=cart,zone=x 1", "service_name=cart,zone=y 1"],
            ),
            ("x | min(body.order.id) [5m]", vec![" 7"]),
        ] {
            assert_eq!(values(query, &records), expected, "{query}");
        }
        assert_eq!(values("x | count_distinct(user) [5m]", &[]), [" 0"]);
        assert_eq!(values("x | sum(ms) [5m]", &[]), Vec::<String>::new());
    }
}
