use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;
use trivium_model::SignalKind;
use trivium_storage::Snapshot;

use super::scan::Scan;
use super::signal::sql_schema;
use crate::engine::Notes;

/// A signal's rows as one table, as they were when the query was planned.
#[derive(Debug)]
pub(super) struct SignalTable {
    signal: SignalKind,
    schema: SchemaRef,
    snapshot: Arc<Snapshot>,
    notes: Arc<Notes>,
}

impl SignalTable {
    pub(super) fn new(signal: SignalKind, snapshot: Snapshot, notes: Arc<Notes>) -> Self {
        Self { signal, schema: sql_schema(signal), snapshot: Arc::new(snapshot), notes }
    }
}

#[async_trait]
impl TableProvider for SignalTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = match conjunction(filters.iter().cloned()) {
            Some(filter) => {
                let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let scan = Scan {
            signal: self.signal,
            schema: Arc::clone(&self.schema),
            projection: projection.cloned(),
            predicate,
            limit,
            notes: Arc::clone(&self.notes),
            partitions: state.config().target_partitions(),
        };
        scan.plan(Arc::clone(&self.snapshot)).await
    }

    /// Every filter helps to prune and none is applied exactly here; DataFusion moves it into the Parquet reader later.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
