//! Who calls whom, out of the spans of the last minutes.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use trivium_model::{TenantId, TimeRange, UnixNanos};

use crate::engine::SqlRequest;
use crate::service_graph::{spans_with_parents, within};
use crate::state::QueryState;

/// How far back calls are looked for.
const MINUTES: i64 = 15;

/// Edges of the graph.
const EDGES_MAX: usize = 100_000;

/// Caller and callee of every call.
pub(super) async fn edges(
    state: &Arc<QueryState>,
    tenant: TenantId,
    now: UnixNanos,
) -> Result<Vec<(String, String)>, String> {
    let range = TimeRange { start: UnixNanos(now.0 - MINUTES * 60_000_000_000), end: now };
    let sql = format!(
        "SELECT DISTINCT p.service_name AS caller, c.service_name AS callee FROM {} \
         WHERE p.service_name <> c.service_name",
        spans_with_parents(&within(range))
    );
    let request = SqlRequest { tenant, sql, timeout: None, rows_max: Some(EDGES_MAX), now: None };
    let mut answer = state.engine.run(&request).await.map_err(|error| error.to_string())?;
    let mut edges = Vec::new();
    while let Some(batch) = answer.next().await {
        let batch = batch.map_err(|error| error.to_string())?;
        let text = |place: usize| cast(batch.column(place), &DataType::Utf8).map_err(|error| error.to_string());
        let (callers, callees) = (text(0)?, text(1)?);
        let (callers, callees) = (callers.as_string::<i32>(), callees.as_string::<i32>());
        edges.extend((0..batch.num_rows()).map(|row| (callers.value(row).to_owned(), callees.value(row).to_owned())));
    }
    Ok(edges)
}
