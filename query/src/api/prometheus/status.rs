//! `status/…`: what this server is, how it is set, and how many series it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use trivium_model::TenantId;
use trivium_model::UnixNanos;

use super::PROMETHEUS_VERSION;
use super::body::{Notes, data_with};
use super::error::ApiError;
use super::execute::run;
use super::form::Form;
use super::json::escape_html;
use super::parameter::parse_integer;
use crate::api::tenant::Tenant;
use crate::config::{OtlpListener, OtlpListeners};
use crate::series::Cardinality;
use crate::state::QueryState;

/// Whose series `status/tsdb` counts: those with samples in so many milliseconds, as a Prometheus keeps them in its head.
const HEAD_MILLIS: i64 = 3 * 3_600_000;

/// Entries of each list of `status/tsdb`.
const TSDB_LIMIT_DEFAULT: usize = 10;
const TSDB_LIMIT_MAX: usize = 10_000;

pub(super) async fn page(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    Path(page): Path<String>,
    form: Form,
) -> Result<Response, ApiError> {
    let (json, unread) = match page.as_str() {
        "buildinfo" => (build_info(), Vec::new()),
        "flags" => (flags(&state), Vec::new()),
        "config" => (json!({ "yaml": config(&state) }), Vec::new()),
        "runtimeinfo" => (runtime_info(&state), Vec::new()),
        "tsdb" => tsdb((state, tenant), &form).await?,
        _ => return Err(ApiError::not_found("path not found")),
    };
    Ok(data_with(&escape_html(&json.to_string()), &Notes::default().with(unread)))
}

/// No `features`: with them Grafana takes a server for Mimir.
fn build_info() -> Value {
    json!({
        "version": PROMETHEUS_VERSION,
        "revision": concat!("trivium-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "trivium",
        "buildDate": "",
        "goVersion": "",
    })
}

fn duration(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

fn flags(state: &QueryState) -> Value {
    let config = &state.config;
    let features = [
        ("promql-experimental-functions", config.promql.experimental),
        ("promql-delayed-name-removal", config.promql.delayed_name_removal),
    ];
    let enabled: Vec<&str> = features.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
    json!({
        "enable-feature": enabled.join(","),
        "query.lookback-delta": duration(config.promql.lookback),
        "query.max-concurrency": config.concurrency.to_string(),
        "query.max-samples": config.promql.samples_max.to_string(),
        "query.timeout": duration(config.timeout),
    })
}

/// What of our configuration Prometheus has in its own.
fn config(state: &QueryState) -> String {
    let otlp = &state.config.series;
    let attributes: Vec<String> =
        otlp.promote_resource_attributes.iter().map(|key| format!("  - {}\n", Value::from(key.as_str()))).collect();
    let promoted = if attributes.is_empty() {
        String::new()
    } else {
        format!("  promote_resource_attributes:\n{}", attributes.concat())
    };
    format!("otlp:\n  translation_strategy: {}\n{promoted}", otlp.translation.as_str())
}

fn rfc3339(time: UnixNanos) -> String {
    DateTime::from_timestamp_nanos(time.0).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// With `otlp`, which is ours alone, where to send telemetry.
fn runtime_info(state: &QueryState) -> Value {
    let (started, now) = (rfc3339(state.started), rfc3339(state.clock.now()));
    let mut info = json!({
        "startTime": started,
        "CWD": "",
        "hostname": "",
        "serverTime": now,
        "reloadConfigSuccess": true,
        "lastConfigTime": started,
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "",
    });
    if let Some(OtlpListeners { grpc, http }) = state.config.otlp {
        info["otlp"] = json!({ "grpc": listener(grpc), "http": listener(http) });
    }
    info
}

fn listener(listener: OtlpListener) -> Value {
    let OtlpListener { address, scheme, token, client_certificate } = listener;
    json!({
        "address": address,
        "scheme": scheme,
        "port": address.port(),
        "token": token,
        "client_certificate": client_certificate,
    })
}

/// The page, and what is missing from its counts.
async fn tsdb((state, tenant): (Arc<QueryState>, TenantId), form: &Form) -> Result<(Value, Vec<String>), ApiError> {
    let limit = match form.get("limit") {
        "" => TSDB_LIMIT_DEFAULT,
        text => match parse_integer(text).ok().and_then(|limit| usize::try_from(limit).ok()) {
            None | Some(0) => return Err(ApiError::bad_data("limit must be a positive number")),
            Some(limit) if limit > TSDB_LIMIT_MAX => {
                return Err(ApiError::bad_data(format!("limit must not exceed {TSDB_LIMIT_MAX}")));
            }
            Some(limit) => limit,
        },
    };
    let now = state.clock.now().0.div_euclid(1_000_000);
    let range = (now - HEAD_MILLIS, now);
    let done =
        run((state, tenant), "promql_cardinality", None, move |job| Ok(job.series().cardinality(range)?)).await?;
    Ok((cardinality(&done.value, range, limit), done.unread))
}

fn cardinality(counted: &Cardinality, (start, end): (i64, i64), limit: usize) -> Value {
    let values = counted.values_by_label.iter().map(|(label, values)| (label.to_string(), values.len()));
    let bytes = counted.values_by_label.iter().map(|(label, values)| {
        let length: usize = values.iter().map(|value| value.len()).sum();
        (label.to_string(), length)
    });
    let pairs: BTreeMap<String, usize> =
        counted.series_by_pair.iter().map(|((name, value), count)| (format!("{name}={value}"), *count)).collect();
    json!({
        "headStats": {
            "numSeries": counted.series,
            "numLabelPairs": counted.series_by_pair.len(),
            "chunkCount": 0,
            "minTime": start,
            "maxTime": end,
        },
        "seriesCountByMetricName":
            largest(counted.series_by_name.iter().map(|(name, count)| (name.to_string(), *count)), limit),
        "labelValueCountByLabelName": largest(values, limit),
        "memoryInBytesByLabelName": largest(bytes, limit),
        "seriesCountByLabelValuePair": largest(pairs, limit),
    })
}

/// The entries with the largest numbers.
fn largest(counts: impl IntoIterator<Item = (String, usize)>, limit: usize) -> Value {
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    counts.into_iter().take(limit).map(|(name, value)| json!({"name": name, "value": value})).collect()
}
