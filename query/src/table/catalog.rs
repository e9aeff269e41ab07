use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use trivium_model::{HistoryEvent, SignalKind, TenantId, TimeRange};

use super::provider::SignalTable;
use super::{TenantTables, history, views};

/// Every name that a query can read from.
pub(crate) const TABLE_NAMES: &[&str] = &[
    "logs",
    "spans",
    "metrics",
    "span_events",
    "span_links",
    "exemplars",
    "series",
    "rejected",
    "quarantine",
    "alerts_history",
    "notifications_history",
];

/// The one catalog and schema of a query: the tables of its tenant and nothing else. A table is built when a statement
/// names it.
#[derive(Clone, Debug)]
pub(crate) struct TenantCatalog {
    tables: TenantTables,
    /// Plans the views; its own catalog has the tables that they read.
    planner: Arc<SessionState>,
}

impl TenantCatalog {
    /// The catalog of a tenant. `planner` is a session without tables.
    pub(crate) fn new(tables: TenantTables, planner: Arc<SessionState>) -> Self {
        Self { tables, planner }
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(signal) = SignalKind::ALL.into_iter().find(|signal| signal.table() == name) {
            let snapshot = self.tables.source.snapshot(self.tables.tenant, signal);
            return Ok(Some(Arc::new(SignalTable::new(signal, snapshot, Arc::clone(&self.tables.notes)))));
        }
        match name {
            "rejected" => {
                let rejections = self.tables.source.rejections(self.tables.tenant).await;
                let rejections = rejections.map_err(|error| DataFusionError::External(Box::new(error)))?;
                Ok(Some(views::rejected(&rejections)?))
            }
            "quarantine" => {
                let items = self.tables.source.quarantined().await;
                let mut items = items.map_err(|error| DataFusionError::External(Box::new(error)))?;
                // What belongs to nobody in particular is the default tenant's to look after.
                items.retain(|item| item.tenant.unwrap_or(TenantId::DEFAULT) == self.tables.tenant);
                Ok(Some(views::quarantine(&items)?))
            }
            "alerts_history" => Ok(Some(history::alerts(&self.history("alert").await?)?)),
            "notifications_history" => Ok(Some(history::notifications(&self.history("notification").await?)?)),
            _ => match views::definition(name) {
                Some(sql) => Ok(Some(self.view(sql).await?)),
                None => Ok(None),
            },
        }
    }

    async fn history(&self, kind: &str) -> Result<Vec<HistoryEvent>> {
        let state = self.tables.source.state();
        let events = state.history(self.tables.tenant, kind, TimeRange::ALL, history::EVENTS_MAX).await;
        events.map_err(|error| DataFusionError::External(Box::new(error)))
    }

    async fn view(&self, sql: &str) -> Result<Arc<dyn TableProvider>> {
        let mut planner = self.planner.as_ref().clone();
        planner.register_catalog_list(Arc::new(super::session_catalogs(Arc::new(self.clone()))));
        let plan = planner.create_logical_plan(sql).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(sql.to_owned()))))
    }
}

impl CatalogProvider for TenantCatalog {
    fn schema_names(&self) -> Vec<String> {
        vec![super::SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == super::SCHEMA).then(|| Arc::new(self.clone()) as Arc<dyn SchemaProvider>)
    }
}

#[async_trait]
impl SchemaProvider for TenantCatalog {
    fn table_names(&self) -> Vec<String> {
        TABLE_NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Self::table(self, name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLE_NAMES.contains(&name)
    }
}
