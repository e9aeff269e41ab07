//! Runs the work of a request: with a permit, away from the async workers, until its deadline or until its client is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use trivium_model::TenantId;

use super::error::{ApiError, ErrorType};
use crate::admission::Permit;
use crate::lookup::Deadline;
use crate::series::{StoredSeries, Unread};
use crate::state::QueryState;

/// What the work of a request needs.
pub(super) struct Job {
    pub(super) state: Arc<QueryState>,
    pub(super) tenant: TenantId,
    deadline: Deadline,
    timeout: Duration,
    cancelled: CancellationToken,
    unread: Arc<Unread>,
    /// How long it waited for its permit.
    pub(super) queued: Duration,
}

impl Job {
    /// The series as they are now.
    pub(super) fn series(&self) -> StoredSeries {
        StoredSeries::new(&self.state.series, &self.state.storage, self.tenant, self.deadline)
            .with_cancellation(self.cancelled.clone())
            .with_unread(Arc::clone(&self.unread))
            .with_samples_max(self.state.config.promql.samples_max)
    }

    /// Says why the work should end, if it should.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.cancelled.is_cancelled() || self.deadline.check().is_err() { Err(self.ended().message) } else { Ok(()) }
    }

    /// Why the work ended before its time.
    pub(super) fn ended(&self) -> ApiError {
        if self.cancelled.is_cancelled() {
            return ApiError::new(ErrorType::Canceled, "query was canceled in expression evaluation");
        }
        let [timeout, max] = [self.timeout, self.state.config.timeout_max].map(humantime::format_duration);
        let remedy = format!("ask for more with the parameter timeout, at most {max}, or raise query_timeout");
        ApiError::new(
            ErrorType::Timeout,
            format!("query timed out in expression evaluation (limit: {timeout}; {remedy})"),
        )
    }
}

/// What came of the work, with the permit that must be held while the answer takes memory.
pub(super) struct Done<T> {
    pub(super) value: T,
    pub(super) permit: Permit,
    /// What is missing because parts could not be read.
    pub(super) unread: Vec<String>,
}

/// Runs the work; counts it under the name of the endpoint. Dropping the future cancels it.
pub(super) async fn run<T: Send + 'static>(
    (state, tenant): (Arc<QueryState>, TenantId),
    endpoint: &'static str,
    timeout: Option<Duration>,
    work: impl FnOnce(&Job) -> Result<T, ApiError> + Send + 'static,
) -> Result<Done<T>, ApiError> {
    let started = Instant::now();
    let done = admitted((Arc::clone(&state), tenant), timeout, work).await;
    let outcome = done.as_ref().map_or_else(ApiError::outcome, |_| "ok");
    state.metrics.observe(endpoint, outcome, started.elapsed());
    done
}

async fn admitted<T: Send + 'static>(
    (state, tenant): (Arc<QueryState>, TenantId),
    timeout: Option<Duration>,
    work: impl FnOnce(&Job) -> Result<T, ApiError> + Send + 'static,
) -> Result<Done<T>, ApiError> {
    let timeout = timeout.unwrap_or(state.config.timeout).min(state.config.timeout_max);
    let deadline = Deadline::after(timeout);
    let cancelled = CancellationToken::new();
    let _cancels_when_dropped = cancelled.clone().drop_guard();
    let permit = state.admission.acquire().await?;
    let job = Job { state, tenant, deadline, timeout, cancelled, unread: Arc::default(), queued: deadline.elapsed() };
    let done = tokio::task::spawn_blocking(move || {
        work(&job).map(|value| Done { value, permit, unread: job.unread.warnings() })
    });
    done.await.unwrap_or_else(|error| Err(ApiError::new(ErrorType::Internal, error.to_string())))
}
