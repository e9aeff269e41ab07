//! `POST /api/v1/sql`.
//!
//! An answer is held back until it is complete or [`HOLD_BYTES`] large, so that nearly every failure still has its status;
//! what fails later ends the stream with an error in the body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::stream;
use serde::Deserialize;
use trivium_model::TenantId;

use super::error::{self, ApiError};
use super::sql_render::{Ending, Format, Render};
use super::time::parse_duration;
use crate::admission::Permit;
use crate::engine::{SqlAnswer, SqlRequest};
use crate::error::Error;
use crate::state::QueryState;

/// Bytes of a request, a statement with its JSON escapes.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Rows that are rendered at once. One row may be large, and many rows may share one large text.
const ROWS_AT_ONCE: usize = 256;

/// Bytes of an answer before the first of them is sent.
const HOLD_BYTES: usize = 4 << 20;

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new().route("/api/v1/sql", post(sql)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    sql: String,
    timeout: Option<Timeout>,
    max_rows: Option<u64>,
}

/// A duration such as `5s`, or seconds.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Timeout {
    Text(String),
    Seconds(f64),
}

async fn sql(
    State(state): State<Arc<QueryState>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let started = Instant::now();
    let format = Format::from_accept(headers.get(ACCEPT).and_then(|value| value.to_str().ok()));
    match answer(&state, format, body, started).await {
        Ok(response) => response,
        Err(error) => {
            state.metrics.observe("sql", error::kind_name(&error), started.elapsed());
            ApiError(error).into_response()
        }
    }
}

async fn answer(
    state: &Arc<QueryState>,
    format: Format,
    body: Result<Bytes, BytesRejection>,
    started: Instant,
) -> Result<Response, Error> {
    let body = body.map_err(|rejection| Error::Limit {
        what: format!("the request cannot be read ({rejection})"),
        limit: format!("{BODY_BYTES_MAX} bytes"),
    })?;
    let request = parse_request(state, &body)?;
    let permit = state.admission.acquire().await?;
    let answer = state.engine.run(&request).await?;
    let render = Render::new(format, &answer.schema())?;
    let flow = Flow {
        answer,
        render,
        state: Arc::clone(state),
        started,
        pending: None,
        bytes_sent: 0,
        done: false,
        _permit: permit,
    };
    let mut response = Response::new(flow.into_body().await?);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    Ok(response)
}

fn parse_request(state: &QueryState, body: &[u8]) -> Result<SqlRequest, Error> {
    let hint = r#"send {"sql": "SELECT …", "timeout": "5s", "max_rows": 1000}; timeout and max_rows may be left out"#;
    let body: SqlBody = serde_json::from_slice(body)
        .map_err(|error| Error::invalid_with_hint(format!("cannot read the request: {error}"), hint))?;
    let timeout = match body.timeout {
        None => None,
        Some(Timeout::Text(text)) => Some(parse_duration(&text)?),
        Some(Timeout::Seconds(seconds)) => Some(
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| Error::invalid(format!("timeout {seconds} is not a number of seconds")))?,
        ),
    };
    if let Some(timeout) = timeout.filter(|timeout| *timeout > state.config.timeout_max) {
        return Err(Error::Limit {
            what: format!("timeout is {}", humantime::format_duration(timeout)),
            limit: humantime::format_duration(state.config.timeout_max).to_string(),
        });
    }
    let rows_max = body.max_rows.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
    if let Some(rows) = rows_max.filter(|rows| *rows > state.config.rows_max) {
        return Err(Error::Limit {
            what: format!("max_rows is {rows}"),
            limit: format!("{} rows", state.config.rows_max),
        });
    }
    Ok(SqlRequest { tenant: TenantId::DEFAULT, sql: body.sql, timeout, rows_max })
}

/// An answer on its way to the client. Dropping it, when the client goes away, cancels the query.
struct Flow {
    answer: SqlAnswer,
    render: Render,
    state: Arc<QueryState>,
    started: Instant,
    /// Rows that are not rendered yet.
    pending: Option<RecordBatch>,
    bytes_sent: usize,
    done: bool,
    _permit: Permit,
}

impl Flow {
    /// The answer as a body: whole when it is small, else a stream that starts with what was held back.
    async fn into_body(mut self) -> Result<Body, Error> {
        let mut held = self.render.start();
        while !self.done {
            held.extend(self.step().await?);
            if held.len() >= HOLD_BYTES {
                let rest = stream::unfold(self, |mut flow| async move { flow.next().await.map(|bytes| (bytes, flow)) });
                let first = stream::once(async move { Ok(Bytes::from(held)) });
                return Ok(Body::from_stream(stream::StreamExt::chain(first, rest)));
            }
        }
        Ok(Body::from(held))
    }

    /// The next bytes.
    async fn step(&mut self) -> Result<Vec<u8>, Error> {
        let batch = match self.pending.take() {
            Some(batch) => batch,
            None => match self.answer.next().await {
                Some(batch) => batch?,
                None => return self.finish(false),
            },
        };
        if self.bytes_sent >= self.state.config.answer_bytes_max {
            return self.finish(batch.num_rows() > 0);
        }
        let rows = batch.num_rows().min(ROWS_AT_ONCE);
        let bytes = self.render.batch(&batch.slice(0, rows))?;
        self.bytes_sent += bytes.len();
        let rest = batch.num_rows() - rows;
        self.pending = (rest > 0).then(|| batch.slice(rows, rest));
        Ok(bytes)
    }

    /// How the answer ends; `cut` when there are more rows than it has bytes for.
    fn finish(&mut self, cut: bool) -> Result<Vec<u8>, Error> {
        self.done = true;
        let elapsed = self.started.elapsed();
        self.state.metrics.observe("sql", "ok", elapsed);
        let (partial, mut warnings) = self.answer.notes();
        if cut {
            warnings.push(format!(
                "the answer was cut after {} bytes: ask for fewer columns or rows, or aggregate",
                self.state.config.answer_bytes_max
            ));
        }
        let truncated = cut || self.answer.truncated();
        self.render.finish(&Ending { truncated, partial: partial || cut, warnings, elapsed })
    }

    /// The next bytes after the status has been sent. An error is told in the body where the format has a place for it;
    /// otherwise the connection is broken off, so that nobody takes the answer for a whole one.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.done {
            return None;
        }
        match self.step().await {
            Ok(bytes) => Some(Ok(Bytes::from(bytes))),
            Err(error) => {
                self.done = true;
                self.state.metrics.observe("sql", error::kind_name(&error), self.started.elapsed());
                tracing::warn!(%error, "an SQL answer broke off");
                match self.render.fail(&error::body(&error)) {
                    Some(bytes) => Some(Ok(Bytes::from(bytes))),
                    None => Some(Err(error)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
