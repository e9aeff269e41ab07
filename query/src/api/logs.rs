//! `GET /api/v1/logs` and `GET /api/v1/logs/tail`.
//!
//! | parameter | meaning | default |
//! |---|---|---|
//! | `query` | a log search, see [`crate::log_search`] | everything |
//! | `start`, `end` | half-open range of time | everything retained: the newest records cost no more |
//! | `limit` | records of a page, 0 to 10,000; 0 only counts | 100 |
//! | `order` | `desc` (newest first) or `asc` | `desc` |
//! | `cursor` | `next_cursor` of the page before | – |
//! | `histogram` | `true` for about 60 buckets, or at most how many | none |
//! | `interval` | width of the buckets, such as `1m` | – |
//! | `facets` | fields, separated by commas | none |
//! | `facet_values` | values per facet, up to 1,000 | 10 |
//! | `timeout` | after this time the answer is partial | that of the configuration |

mod answer;
mod tail;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use trivium_model::SignalKind;

use crate::api::ApiError;
use crate::api::tenant::Tenant;
use crate::api::time::{parse_duration, parse_range};
use crate::error::Error;
use crate::log_search::{
    Buckets, FACET_ROWS_MAX, FACETS_MAX, Field, PartFacts, SearchRequest, VALUES_MAX, compile, search,
};
use crate::state::QueryState;

/// Records of a page unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Records of a page at most: further ones are reached with the cursor.
const LIMIT_MAX: usize = 10_000;
/// Buckets of `histogram=true`.
const BUCKETS_DEFAULT: usize = 60;
/// Buckets that `histogram=N` may ask for.
const BUCKETS_AT_MOST: usize = 1_000;
/// Values of a facet unless asked otherwise.
const FACET_VALUES_DEFAULT: usize = 10;

pub(super) fn routes() -> Router<Arc<QueryState>> {
    let facts = Arc::new(PartFacts::default());
    let search = move |state, tenant, parameters| search_logs(state, tenant, parameters, Arc::clone(&facts));
    Router::new().route("/api/v1/logs", get(search)).merge(tail::routes())
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    query: Option<String>,
    start: Option<String>,
    end: Option<String>,
    limit: Option<String>,
    order: Option<String>,
    cursor: Option<String>,
    histogram: Option<String>,
    interval: Option<String>,
    facets: Option<String>,
    facet_values: Option<String>,
    timeout: Option<String>,
}

async fn search_logs(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    parameters: Result<Query<Parameters>, QueryRejection>,
    facts: Arc<PartFacts>,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let parameters = readable(parameters)?;
    let request = request(&parameters, &state, begun)?;
    let facet_values = number("facet_values", parameters.facet_values.as_deref(), FACET_VALUES_DEFAULT, VALUES_MAX)?;
    let permit = state.admission.acquire().await?;
    let cancel = CancellationToken::new();
    // Dropped with this future when the client goes away: the search stops at its next piece of work.
    let _cancel_on_drop = cancel.clone().drop_guard();
    let answer = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let snapshot = state.storage.snapshot(tenant, SignalKind::Logs);
        search(&snapshot, &request, &facts, &cancel)
    });
    let answer = answer.await.map_err(|error| Error::Internal(format!("a log search did not end: {error}")))??;
    let json = answer::render(&answer, facet_values, begun.elapsed());
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

fn readable<T>(parameters: Result<Query<T>, QueryRejection>) -> Result<T, Error> {
    let Query(parameters) = parameters
        .map_err(|rejection| Error::invalid(format!("cannot read the parameters: {}", rejection.body_text())))?;
    Ok(parameters)
}

fn request(parameters: &Parameters, state: &QueryState, begun: Instant) -> Result<SearchRequest, Error> {
    let text =
        |value: &Option<String>| value.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let timeout = match text(&parameters.timeout) {
        Some(timeout) => parse_duration(&timeout)?.min(state.config.timeout_max),
        None => state.config.timeout,
    };
    Ok(SearchRequest {
        query: compile(parameters.query.as_deref().unwrap_or_default())?,
        range: parse_range(parameters.start.as_deref(), parameters.end.as_deref(), state.clock.now())?,
        limit: number("limit", parameters.limit.as_deref(), LIMIT_DEFAULT, LIMIT_MAX)?,
        descending: is_descending(text(&parameters.order).as_deref())?,
        cursor: text(&parameters.cursor).map(|cursor| cursor.parse()).transpose()?,
        histogram: buckets(text(&parameters.histogram).as_deref(), text(&parameters.interval).as_deref())?,
        facets: facets(text(&parameters.facets).as_deref())?,
        facet_rows_max: FACET_ROWS_MAX,
        deadline: begun + timeout,
    })
}

fn number(name: &str, text: Option<&str>, default: usize, max: usize) -> Result<usize, Error> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(default) };
    text.parse().ok().filter(|&number| number <= max).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Error::invalid_with_hint(format!("{name} is {shown:?}"), format!("{name} is a whole number from 0 to {max}"))
    })
}

fn is_descending(order: Option<&str>) -> Result<bool, Error> {
    match order {
        None | Some("desc") => Ok(true),
        Some("asc") => Ok(false),
        Some(_) => Err(Error::invalid("order is desc (newest first) or asc (oldest first)")),
    }
}

fn buckets(histogram: Option<&str>, interval: Option<&str>) -> Result<Option<Buckets>, Error> {
    if let Some(interval) = interval {
        let width = parse_duration(interval)?;
        if width.is_zero() {
            return Err(Error::invalid_with_hint("interval is zero", "write for example 1m"));
        }
        return Ok(Some(Buckets::Width(width)));
    }
    match histogram {
        None | Some("false") => Ok(None),
        Some("true") => Ok(Some(Buckets::AtMost(BUCKETS_DEFAULT))),
        Some(count) => Ok(Some(Buckets::AtMost(number("histogram", Some(count), BUCKETS_DEFAULT, BUCKETS_AT_MOST)?))),
    }
}

fn facets(names: Option<&str>) -> Result<Vec<Field>, Error> {
    let names = names.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let fields: Vec<Field> = names.take(FACETS_MAX + 1).map(Field::resolve).collect();
    if fields.len() > FACETS_MAX {
        return Err(Error::invalid(format!("more than {FACETS_MAX} facets")));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests;
