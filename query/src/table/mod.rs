//! The tables of SQL: one [`TableProvider`](datafusion::catalog::TableProvider) for all signals, what differs between
//! them in the files named after them, and views over them.
//!
//! A scan is the union of the parts' Parquet files and the buffered rows. Parts are pruned by time, rows by the parts'
//! indexes, row groups and pages by DataFusion; what remains is filtered row by row, so pruning may err on the safe side.

mod catalog;
mod damage;
mod history;
mod logs;
mod metrics;
mod part_reader;
mod part_source;
mod provider;
mod scan;
mod signal;
mod spans;
mod token_filter;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList};
use trivium_model::{SignalKind, StateStore, TenantId};
use trivium_storage::quarantine::QuarantinedItem;
use trivium_storage::{Rejection, Snapshot, Storage};

use crate::engine::Notes;

pub(crate) use catalog::{TABLE_NAMES, TenantCatalog};
pub(crate) use part_source::object_store_url;

/// Where tables get their rows from. The store, or a fixture in tests.
#[async_trait]
pub(crate) trait TableSource: Send + Sync + std::fmt::Debug {
    /// A consistent view of a signal's rows.
    fn snapshot(&self, tenant: TenantId, signal: SignalKind) -> Snapshot;

    /// The refused records, newest first.
    async fn rejections(&self, tenant: TenantId) -> Result<Vec<Rejection>, trivium_storage::Error>;

    /// What was found damaged.
    async fn quarantined(&self) -> Result<Vec<QuarantinedItem>, trivium_storage::Error>;

    /// Where the history of alerts and notifications is.
    fn state(&self) -> Arc<dyn StateStore>;
}

#[async_trait]
impl TableSource for Storage {
    fn snapshot(&self, tenant: TenantId, signal: SignalKind) -> Snapshot {
        Self::snapshot(self, tenant, signal)
    }

    async fn rejections(&self, tenant: TenantId) -> Result<Vec<Rejection>, trivium_storage::Error> {
        Self::rejections(self, tenant).await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedItem>, trivium_storage::Error> {
        Self::quarantined(self).await
    }

    fn state(&self) -> Arc<dyn StateStore> {
        Self::state(self)
    }
}

/// The tables of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct TenantTables {
    pub(crate) source: Arc<dyn TableSource>,
    pub(crate) tenant: TenantId,
    /// Where a scan tells what is wrong with a part.
    pub(crate) notes: Arc<Notes>,
}

/// The name of the only catalog.
pub(crate) const CATALOG: &str = "trivium";
/// The name of its only schema.
pub(crate) const SCHEMA: &str = "public";

/// A list of one catalog that nothing can be added to.
#[derive(Debug)]
pub(crate) struct SessionCatalogs(Arc<TenantCatalog>);

/// The catalogs of a session.
pub(crate) fn session_catalogs(catalog: Arc<TenantCatalog>) -> SessionCatalogs {
    SessionCatalogs(catalog)
}

impl CatalogProviderList for SessionCatalogs {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}
