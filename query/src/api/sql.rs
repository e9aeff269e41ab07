//! `POST /api/v1/sql`.
//!
//! An answer is held back until it is complete or [a few megabytes](Format::hold_bytes) large, so that nearly every failure
//! still has its status; what fails later ends the stream with an error in the body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Deserialize;
use trivium_model::TenantId;

use super::body::read_json;
use super::error::{self, ApiError};
use super::sql_notes;
use super::sql_render::{Ending, Format, Render};
use super::tenant::Tenant;
use super::time::parse_duration;
use crate::engine::{SqlAnswer, SqlRequest};
use crate::error::Error;
use crate::state::QueryState;

/// Bytes of a request, a statement with its JSON escapes.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Rows that are rendered at once. One row may be large, and many rows may share one large text.
const ROWS_AT_ONCE: usize = 256;

/// How long an error may take to reach the socket before the connection is broken off.
const FLUSH_TIME: Duration = Duration::from_millis(100);

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new().route("/api/v1/sql", post(sql))
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
#[serde(untagged, expecting = "timeout must be a duration such as \"5s\", or a number of seconds")]
enum Timeout {
    Text(String),
    Seconds(f64),
}

async fn sql(State(state): State<Arc<QueryState>>, Tenant(tenant): Tenant, request: Request) -> Response {
    let started = Instant::now();
    match answer((&state, tenant), request, started).await {
        Ok(response) => response,
        Err(error) => {
            state.metrics.observe("sql", error::kind_name(&error), started.elapsed());
            ApiError(error).into_response()
        }
    }
}

async fn answer(
    (state, tenant): (&Arc<QueryState>, TenantId),
    request: Request,
    started: Instant,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let format = Format::from_accept(parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()));
    let body = read_json(&parts.headers, body, BODY_BYTES_MAX).await?;
    let request = parse_request((state, tenant), &body)?;
    let permit = state.admission.acquire().await?;
    let rows_max = request.rows_max.unwrap_or(state.config.rows_default);
    let answer = state.engine.run_permitted(&request, permit).await?;
    let render = Render::new(format, &answer.schema())?;
    let flow = Flow {
        answer,
        render,
        hold_bytes: format.hold_bytes(),
        state: Arc::clone(state),
        started,
        pending: None,
        bytes_sent: 0,
        takes_trailers: sql_notes::takes_trailers(&parts),
        next: Next::Rows,
    };
    let mut response = flow.into_response().await?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response.headers_mut().insert(sql_notes::MAX_ROWS, HeaderValue::from(rows_max));
    Ok(response)
}

fn parse_request((state, tenant): (&QueryState, TenantId), body: &[u8]) -> Result<SqlRequest, Error> {
    let hint = r#"send {"sql": "SELECT …", "timeout": "5s", "max_rows": 1000}; timeout and max_rows may be left out"#;
    let body: SqlBody = serde_json::from_slice(body).map_err(|error| {
        let message =
            format!("cannot read the request: {error}; the body must be a JSON object with the member \"sql\"");
        Error::invalid_with_hint(message, hint)
    })?;
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
    Ok(SqlRequest { tenant, sql: body.sql, timeout, rows_max, now: None })
}

/// An answer on its way to the client. Dropping it, when the client goes away, cancels the query.
struct Flow {
    answer: SqlAnswer,
    render: Render,
    hold_bytes: usize,
    state: Arc<QueryState>,
    started: Instant,
    /// Rows that are not rendered yet.
    pending: Option<RecordBatch>,
    bytes_sent: usize,
    takes_trailers: bool,
    next: Next,
}

/// What a stream has to send next.
enum Next {
    Rows,
    Trailers(HeaderMap),
    /// The connection is broken off, so that nobody takes the answer for a whole one.
    Break(Error),
    Nothing,
}

/// A piece of an answer.
enum Step {
    Rows(Vec<u8>),
    End(Ending),
}

impl Flow {
    /// The answer: whole when it is small, else a stream that starts with what was held back.
    async fn into_response(mut self) -> Result<Response, Error> {
        let mut held = Vec::new();
        while held.len() < self.hold_bytes {
            match self.step().await? {
                Step::Rows(rows) => held.extend(rows),
                Step::End(ending) => return self.whole(&held, &ending),
            }
        }
        let mut first = self.render.start(None)?;
        first.append(&mut held);
        let rest = stream::unfold(self, |mut flow| async move { flow.frame().await.map(|frame| (frame, flow)) });
        let first = stream::once(async move { Ok(Frame::data(Bytes::from(first))) });
        let mut response = Response::new(Body::new(StreamBody::new(first.chain(rest))));
        sql_notes::announce(response.headers_mut());
        Ok(response)
    }

    fn whole(mut self, rows: &[u8], ending: &Ending) -> Result<Response, Error> {
        let mut body = self.render.start(Some(ending))?;
        body.extend_from_slice(rows);
        body.extend(self.render.finish(ending)?);
        self.state.metrics.observe("sql", "ok", ending.elapsed);
        let mut response = Response::new(Body::from(body));
        sql_notes::insert(response.headers_mut(), ending);
        Ok(response)
    }

    /// The next rows, or how the answer ends.
    async fn step(&mut self) -> Result<Step, Error> {
        loop {
            let batch = match self.pending.take() {
                Some(batch) => batch,
                None => match self.answer.next().await {
                    Some(batch) => batch?,
                    None => return Ok(Step::End(self.ending(false))),
                },
            };
            if self.bytes_sent >= self.state.config.answer_bytes_max {
                return Ok(Step::End(self.ending(batch.num_rows() > 0)));
            }
            let rows = batch.num_rows().min(ROWS_AT_ONCE);
            let bytes = self.render.batch(&batch.slice(0, rows))?;
            self.bytes_sent += bytes.len();
            let rest = batch.num_rows() - rows;
            self.pending = (rest > 0).then(|| batch.slice(rows, rest));
            // Parquet gathers rows; a frame without bytes would be the end to some.
            if !bytes.is_empty() {
                return Ok(Step::Rows(bytes));
            }
        }
    }

    /// How the answer ends; `cut` when there are more rows than it has bytes for.
    fn ending(&self, cut: bool) -> Ending {
        let elapsed = self.started.elapsed();
        let (partial, mut warnings) = self.answer.notes();
        if cut {
            warnings.push(format!(
                "the answer was cut after {} bytes: ask for fewer columns or rows, or aggregate",
                self.state.config.answer_bytes_max
            ));
        }
        let incomplete = cut || self.answer.incomplete();
        Ending { truncated: cut || self.answer.truncated(), partial: partial || cut, incomplete, warnings, elapsed }
    }

    /// The next piece of a stream.
    async fn frame(&mut self) -> Option<Result<Frame<Bytes>, Error>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => None,
            Next::Trailers(notes) => Some(Ok(Frame::trailers(notes))),
            Next::Break(error) => {
                // What is still in our buffers when the connection breaks is lost.
                tokio::time::sleep(FLUSH_TIME).await;
                Some(Err(error))
            }
            Next::Rows => {
                let piece = match self.step().await {
                    Ok(Step::Rows(rows)) => {
                        self.next = Next::Rows;
                        Ok(rows)
                    }
                    Ok(Step::End(ending)) => self.end(&ending),
                    Err(error) => Err(error),
                };
                Some(piece.or_else(|error| self.fail(error)).map(|bytes| Frame::data(Bytes::from(bytes))))
            }
        }
    }

    /// The last bytes of a stream. What they cannot say is in the trailers; a client that takes none must not take rows
    /// that lack others for all.
    fn end(&mut self, ending: &Ending) -> Result<Vec<u8>, Error> {
        if ending.incomplete && !self.takes_trailers && !self.render.tells_ending() {
            return Err(Error::Incomplete { warnings: ending.warnings.join("; ") });
        }
        self.state.metrics.observe("sql", "ok", ending.elapsed);
        let mut notes = HeaderMap::new();
        sql_notes::insert(&mut notes, ending);
        self.next = Next::Trailers(notes);
        self.render.finish(ending)
    }

    /// The last bytes of a stream that fails after its status has been sent. The error is told in the body where the format
    /// has a place for it.
    fn fail(&mut self, error: Error) -> Result<Vec<u8>, Error> {
        self.state.metrics.observe("sql", error::kind_name(&error), self.started.elapsed());
        tracing::warn!(%error, "an SQL answer broke off");
        let Some(bytes) = self.render.fail(&error::body(&error)) else { return Err(error) };
        if !self.render.tells_ending() {
            self.next = Next::Break(error);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
