//! `GET /api/v1/logs/tail?query=`: new records as server-sent events, in the order of arrival.
//!
//! | event | data |
//! |---|---|
//! | `open` | `{}`; records that arrive from now on are sent |
//! | (none) | a log record as in `GET /api/v1/logs` |
//! | `skipped` | `{"count": n}`: matches that came faster than the client took them; the newest are sent |
//! | `end` | `{"reason": "…"}`: the server ends the stream |
//!
//! The stream is made only as fast as the client reads: a slow one costs no memory, it skips records and is told so.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use axum::{Extension, Router};
use futures::Stream;
use futures::stream::unfold;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};
use trivium_model::{SignalKind, TenantId, Validity};
use trivium_storage::Storage;

use super::readable;
use crate::api::ApiError;
use crate::api::tenant::Tenant;
use crate::error::Error;
use crate::log_search::{Tail, TailBatch, compile};
use crate::state::QueryState;

/// How long a record waits at most until its clients get it.
const TICK: Duration = Duration::from_millis(200);
/// Clients that may follow at once.
const TAILS_MAX: usize = 128;
/// How long a client must be silent before a comment keeps the connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Arc<QueryState>> {
    let places = Arc::new(Semaphore::new(TAILS_MAX));
    Router::new().route(
        "/api/v1/logs/tail",
        get(move |state, tenant, validity, parameters| {
            follow(state, tenant, validity, parameters, Arc::clone(&places))
        }),
    )
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    query: Option<String>,
}

async fn follow(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    validity: Option<Extension<Arc<dyn Validity>>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    places: Arc<Semaphore>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let query = compile(readable(parameters)?.query.as_deref().unwrap_or_default())?;
    let place = places.try_acquire_owned().map_err(|_| Error::Busy {
        running: TAILS_MAX,
        waiting: 0,
        retry_after: Duration::from_secs(10),
    })?;
    let storage = state.storage.clone();
    let tail = Tail::new(query, &storage.snapshot(tenant, SignalKind::Logs))?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let opened = Event::default().event("open").data("{}");
    let follower = Follower {
        tail: Some(tail),
        storage,
        tenant,
        validity: validity.map(|Extension(validity)| validity),
        ticks,
        pending: VecDeque::from([opened]),
        _place: place,
    };
    let stream = unfold(follower, |mut follower| async { follower.next().await.map(|event| (Ok(event), follower)) });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One client.
struct Follower {
    /// `None` after the end.
    tail: Option<Tail>,
    storage: Storage,
    tenant: TenantId,
    /// Of the credential; `None` where none is needed.
    validity: Option<Arc<dyn Validity>>,
    ticks: Interval,
    /// What was found by the last look and not yet taken.
    pending: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let tail = self.tail.take()?;
            self.ticks.tick().await;
            if self.validity.as_ref().is_some_and(|validity| !validity.is_good()) {
                self.end("the credential is not valid any more: it was revoked, has expired or was logged out");
                continue;
            }
            if let Some(reason) = self.storage.not_ready() {
                self.end(&reason);
                continue;
            }
            match look(tail, self.storage.clone(), self.tenant).await {
                Ok((tail, batch)) => {
                    self.tail = Some(tail);
                    self.pending = events(batch);
                }
                Err(error) => self.end(&error.to_string()),
            }
        }
    }

    fn end(&mut self, reason: &str) {
        let data = serde_json::json!({ "reason": reason }).to_string();
        self.pending.push_back(Event::default().event("end").data(data));
    }
}

async fn look(mut tail: Tail, storage: Storage, tenant: TenantId) -> Result<(Tail, TailBatch), Error> {
    let looked = tokio::task::spawn_blocking(move || {
        let batch = tail.poll(&storage.snapshot(tenant, SignalKind::Logs))?;
        Ok((tail, batch))
    });
    looked.await.map_err(|error| Error::Internal(format!("a tail did not end: {error}")))?
}

fn events(batch: TailBatch) -> VecDeque<Event> {
    let mut events = VecDeque::new();
    if batch.skipped > 0 {
        events.push_back(Event::default().event("skipped").data(format!("{{\"count\":{}}}", batch.skipped)));
    }
    events.extend(batch.records.into_iter().map(|record| Event::default().data(record)));
    events
}
