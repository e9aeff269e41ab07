//! `series`, `labels` and `label/{name}/values`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use super::body::{Notes, list, texts};
use super::error::ApiError;
use super::execute::{Done, run};
use super::form::Form;
use super::json::write_labels;
use super::unescape::unescape;
use crate::api::tenant::Tenant;
use crate::state::QueryState;

pub(super) async fn series(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    form: Form,
) -> Result<Response, ApiError> {
    let selectors = form.selectors()?;
    if selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (limit, range) = (form.limit()?, form.range()?);
    let max = limit.min(state.config.promql.series_max);
    let done =
        run((state, tenant), "promql_series", None, move |job| Ok(job.series().series(&selectors, range, max)?))
            .await?;
    let (listed, permit) = (done.value, done.permit);
    let write = move |output: &mut String, labels: &_| {
        let _held = &permit;
        write_labels(output, labels);
    };
    Ok(list(listed.found, write, &Notes::truncated(listed.is_cut).with(done.unread)))
}

pub(super) async fn names(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    form: Form,
) -> Result<Response, ApiError> {
    let (limit, range, selectors) = (form.limit()?, form.range()?, form.selectors()?);
    let done =
        run((state, tenant), "promql_labels", None, move |job| Ok(job.series().label_names(&selectors, range)?));
    Ok(at_most(done.await?, limit))
}

pub(super) async fn values(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, ApiError> {
    let name = unescape(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data("invalid label name: \"\""));
    }
    let (limit, range, selectors) = (form.limit()?, form.range()?, form.selectors()?);
    let work = run((state, tenant), "promql_label_values", None, move |job| {
        Ok(job.series().label_values(&name, &selectors, range)?)
    });
    Ok(at_most(work.await?, limit))
}

fn at_most(done: Done<BTreeSet<String>>, limit: usize) -> Response {
    let notes = Notes::truncated(done.value.len() > limit).with(done.unread);
    texts(done.value.into_iter().take(limit), &notes)
}
