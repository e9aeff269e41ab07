//! `/api/v1/traces`, `/api/v1/traces/{trace_id}`, `/api/v1/services`.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use trivium_model::{SignalKind, TraceId};
use trivium_storage::attributes::write_string;

use super::tenant::Tenant;
use super::time::{parse_duration, parse_range};
use super::{ApiError, write_warnings};
use crate::error::Error;
use crate::log_search::compile_for_spans;
use crate::lookup::{Deadline, Snapshots, run_blocking};
use crate::state::QueryState;
use crate::trace::reader::{Page, trace_json};
use crate::trace::search::{Answer, TraceQuery, search};
use crate::trace::services::services;

/// Traces of one answer.
const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 20;

/// Spans of one answer about one trace; `next` is the offset of the following ones.
const SPANS_MAX: usize = 50_000;
const SPANS_DEFAULT: usize = 10_000;

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new()
        .route("/api/v1/traces", get(find))
        .route("/api/v1/traces/{trace_id}", get(one))
        .route("/api/v1/services", get(list_services))
}

pub(super) fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

#[derive(Debug, Deserialize)]
struct PageParameters {
    offset: Option<usize>,
    limit: Option<usize>,
}

impl PageParameters {
    fn parse(&self) -> Result<Page, Error> {
        let limit = self.limit.unwrap_or(SPANS_DEFAULT);
        if limit == 0 || limit > SPANS_MAX {
            return Err(Error::invalid(format!("limit {limit} is not between 1 and {SPANS_MAX} spans")));
        }
        Ok(Page { offset: self.offset.unwrap_or(0), limit })
    }
}

async fn one(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    id: Result<Path<String>, PathRejection>,
    page: Result<Query<PageParameters>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(page) = page.map_err(|error| Error::invalid(error.body_text()))?;
    let page = page.parse()?;
    let Path(id) = id.map_err(|error| Error::invalid(error.body_text()))?;
    let trace_id: TraceId = id.trim().parse().map_err(|error: trivium_model::InvalidId| {
        Error::invalid_with_hint(error.to_string(), format!("for any other ID ask /api/v1/correlate/{}", id.trim()))
    })?;
    let answer = run_blocking(state, move |state, deadline| {
        trace_json(&Snapshots::take(&state.storage, tenant), trace_id, page, deadline)
    });
    Ok(json(answer.await?))
}

#[derive(Debug, Deserialize)]
struct FindParameters {
    service: Option<String>,
    operation: Option<String>,
    min_duration: Option<String>,
    max_duration: Option<String>,
    status: Option<String>,
    query: Option<String>,
    start: Option<String>,
    end: Option<String>,
    limit: Option<usize>,
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn duration_nanos(name: &str, text: Option<String>) -> Result<Option<i64>, Error> {
    let Some(text) = non_empty(text) else { return Ok(None) };
    let duration = parse_duration(&text).map_err(|error| Error::invalid(format!("cannot read {name}: {error}")))?;
    Ok(Some(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
}

fn status_code(text: Option<String>) -> Result<Option<i32>, Error> {
    match non_empty(text).as_deref() {
        None => Ok(None),
        Some("unset") => Ok(Some(0)),
        Some("ok") => Ok(Some(1)),
        Some("error") => Ok(Some(2)),
        Some(other) => Err(Error::invalid(format!("status {other:?} is not one of error, ok, unset"))),
    }
}

impl FindParameters {
    fn parse(self, state: &QueryState) -> Result<TraceQuery, Error> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if limit == 0 || limit > LIMIT_MAX {
            return Err(Error::invalid(format!("limit {limit} is not between 1 and {LIMIT_MAX}")));
        }
        Ok(TraceQuery {
            service: non_empty(self.service),
            operation: non_empty(self.operation),
            min_duration: duration_nanos("min_duration", self.min_duration)?,
            max_duration: duration_nanos("max_duration", self.max_duration)?,
            status: status_code(self.status)?,
            query: non_empty(self.query).map(|query| compile_for_spans(&query)).transpose()?,
            range: parse_range(self.start.as_deref(), self.end.as_deref(), state.clock.now())?,
            limit,
        })
    }
}

async fn find(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    parameters: Result<Query<FindParameters>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(parameters) = parameters.map_err(|error| Error::invalid(error.body_text()))?;
    let query = parameters.parse(&state)?;
    let answer = run_blocking(state, move |state, deadline| {
        let tables = Snapshots::take(&state.storage, tenant);
        let Answer { hits, warnings } = search(tables.of(SignalKind::Traces), &query, deadline)?;
        let mut output = String::from("{\"traces\":[");
        for (index, hit) in hits.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let head = format_args!("{comma}{{\"trace_id\":\"{}\",\"matched_spans\":{},", hit.trace_id, hit.matched);
            output.write_fmt(head).expect("writing to a String cannot fail");
            hit.summary.write_members(&mut output);
            output.push('}');
        }
        output.push(']');
        write_warnings(&mut output, warnings.iter().map(String::as_str));
        output.push_str(",\"elapsed_ms\":");
        finish(output, deadline)
    });
    Ok(json(answer.await?))
}

/// Adds how long the answer took and closes the object.
pub(super) fn finish(mut output: String, deadline: Deadline) -> Result<String, Error> {
    let elapsed = deadline.elapsed().as_secs_f64() * 1e3;
    output.write_fmt(format_args!("{elapsed:.3}}}")).expect("writing to a String cannot fail");
    Ok(output)
}

#[derive(Debug, Deserialize)]
struct ServicesParameters {
    start: Option<String>,
    end: Option<String>,
}

async fn list_services(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    parameters: Result<Query<ServicesParameters>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(parameters) = parameters.map_err(|error| Error::invalid(error.body_text()))?;
    let range = parse_range(parameters.start.as_deref(), parameters.end.as_deref(), state.clock.now())?;
    let answer = run_blocking(state, move |state, deadline| {
        let services = services(&state.storage, tenant, range, deadline)?;
        let mut output = String::from("{\"services\":[");
        for (index, (service, counts)) in services.iter().enumerate() {
            output.push_str(if index > 0 { ",{\"name\":" } else { "{\"name\":" });
            write_string(&mut output, service);
            for signal in SignalKind::ALL {
                let count = format_args!(",\"{}\":\"{}\"", signal.table(), counts[signal.index()]);
                output.write_fmt(count).expect("writing to a String cannot fail");
            }
            output.push('}');
        }
        output.push_str("],\"elapsed_ms\":");
        finish(output, deadline)
    });
    Ok(json(answer.await?))
}
