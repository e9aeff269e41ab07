//! `query_exemplars`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use trivium_promql::parse;

use super::body::{Notes, list};
use super::error::ApiError;
use super::execute::run;
use super::form::Form;
use super::json::{write_float, write_labels, write_timestamp};
use super::query::{parse_options, query_text};
use super::syntax::selectors;
use crate::api::tenant::Tenant;
use crate::series::SeriesExemplars;
use crate::state::QueryState;

pub(super) async fn exemplars(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    form: Form,
) -> Result<Response, ApiError> {
    let range = form.range()?;
    if range.1 < range.0 {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let query = query_text(&form)?;
    let expr =
        parse(&query, &parse_options(&state.config.promql)).map_err(|error| ApiError::bad_data(error.to_string()))?;
    let selectors = selectors(&expr);
    let done =
        run((state, tenant), "promql_exemplars", None, move |job| Ok(job.series().exemplars(&selectors, range)?))
            .await?;
    Ok(list(done.value, write_series, &Notes::default().with(done.unread)))
}

fn write_series(output: &mut String, series: &SeriesExemplars) {
    output.push_str("{\"seriesLabels\":");
    write_labels(output, &series.labels);
    output.push_str(",\"exemplars\":[");
    for (index, exemplar) in series.exemplars.iter().enumerate() {
        output.push_str(if index > 0 { ",{\"labels\":" } else { "{\"labels\":" });
        write_labels(output, &exemplar.labels);
        output.push_str(",\"value\":");
        write_float(output, exemplar.value);
        output.push_str(",\"timestamp\":");
        write_timestamp(output, exemplar.time);
        output.push('}');
    }
    output.push_str("]}");
}
