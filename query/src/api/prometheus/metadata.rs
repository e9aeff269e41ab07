//! `metadata`: type, unit and help of metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::body::{Notes, list_within};
use super::error::ApiError;
use super::execute::run;
use super::form::Form;
use super::json::{append, write_text};
use super::parameter::parse_integer;
use crate::api::tenant::Tenant;
use crate::series::MetricMetadata;
use crate::state::QueryState;

/// A number that may be left out; negative stands for no limit.
fn count(form: &Form, name: &str) -> Result<usize, ApiError> {
    match form.get(name) {
        "" => Ok(usize::MAX),
        text => {
            let number = parse_integer(text).map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
            Ok(usize::try_from(number).unwrap_or(usize::MAX))
        }
    }
}

pub(super) async fn metadata(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    form: Form,
) -> Result<Response, ApiError> {
    let limit = count(&form, "limit")?;
    let per_metric = Some(count(&form, "limit_per_metric")?).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let metric = form.get("metric").to_owned();
    let done = run((state, tenant), "promql_metadata", None, move |job| {
        Ok(job.series().metadata(Some(metric.as_str()).filter(|metric| !metric.is_empty()))?)
    });
    let done = done.await?;
    let mut by_name: BTreeMap<String, Vec<MetricMetadata>> = BTreeMap::new();
    for metadata in done.value {
        let of_metric = by_name.entry(metadata.name.clone()).or_default();
        if of_metric.len() < per_metric {
            of_metric.push(metadata);
        }
    }
    Ok(list_within(("{", "}"), by_name.into_iter().take(limit), write_metric, &Notes::default().with(done.unread)))
}

fn write_metric(output: &mut String, (name, known): &(String, Vec<MetricMetadata>)) {
    write_text(output, name);
    for (index, metadata) in known.iter().enumerate() {
        output.push_str(if index == 0 { ":[" } else { "," });
        append(output, format_args!("{{\"type\":\"{}\",\"unit\":", metadata.kind));
        write_text(output, &metadata.unit);
        output.push_str(",\"help\":");
        write_text(output, &metadata.help);
        output.push('}');
    }
    output.push(']');
}
