//! The HTTP edge: the only files of this crate that know HTTP. Each `api/X.rs` has one `routes()`.
//!
//! In every JSON answer IDs are lower-case hexadecimal, times are nanoseconds since 1970 and 64-bit integers are strings,
//! `NaN` and infinities are the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.

mod alerting;
mod body;
mod correlate;
mod error;
pub(crate) mod json;
mod logs;
mod openapi;
mod prometheus;
mod service_graph;
mod sql;
mod sql_notes;
mod sql_parquet;
mod sql_render;
mod tenant;
pub(crate) mod time;
mod traces;
mod views;

use std::sync::Arc;

use axum::Router;
use trivium_storage::attributes::write_string;

pub use alerting::router as alerting_router;
pub use error::ApiError;
pub(crate) use prometheus::{engine_options as prometheus_engine_options, selectors as promql_selectors};

use crate::state::QueryState;

/// Everything that this crate serves: our own API below `/api/v1`, Prometheus' below `/prometheus/api/v1`.
pub fn router(state: Arc<QueryState>) -> Router {
    Router::new()
        .merge(sql::routes())
        .merge(logs::routes())
        .merge(traces::routes())
        .merge(correlate::routes())
        .merge(service_graph::routes())
        .merge(prometheus::routes())
        .merge(views::routes())
        .merge(openapi::routes())
        .with_state(state)
}

/// Appends `"partial"` and, when there are any, the `"warnings"` that say what may be missing, as members of an object.
pub(crate) fn write_warnings<'a>(output: &mut String, warnings: impl IntoIterator<Item = &'a str>) {
    let mut warnings = warnings.into_iter().peekable();
    output.push_str(if warnings.peek().is_some() {
        ",\"partial\":true,\"warnings\":["
    } else {
        ",\"partial\":false,\"warnings\":["
    });
    for (index, warning) in warnings.enumerate() {
        if index > 0 {
            output.push(',');
        }
        write_string(output, warning);
    }
    output.push(']');
}
