//! The catalog of a simulated machine: each transaction counts as two operations, so that the process can end before it, and
//! after it but before the answer.

use std::path::Path;
use std::time::Duration;

use futures::future::BoxFuture;
use trivium_model::{
    ErrorKind, HistoryEvent, Lease, PartId, StateChange, StateError, StateFuture, StateRecord, StateStore, TenantId,
    TimeRange, UnixNanos, WalPosition,
};

use super::disk::{Disk, Omission, Pause};
use crate::catalog::memory::MemoryCatalog;
use crate::catalog::{Catalog, CatalogState, Publish, QuarantinedPart};
use crate::encryption::TenantKey;
use crate::error::Error;
use crate::part::PartRecord;
use crate::storage::Rejection;

#[derive(Clone, Debug)]
pub(super) struct SimulatedCatalog {
    pub(super) disk: Disk,
    pub(super) kept: MemoryCatalog,
}

/// What the trace names instead of a file.
fn table(name: &str) -> &Path {
    Path::new(name)
}

impl SimulatedCatalog {
    /// Both the transaction and its answer may fail.
    async fn change<T>(
        &self,
        action: &'static str,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.disk.begin_whole("commit", table(action)).map_err(lost(action))?;
        let answer = change.await?;
        self.disk.begin_whole("answer", table(action)).map_err(lost(action))?;
        Ok(answer)
    }
}

fn lost(action: &'static str) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Io { source, .. } => Error::Catalog { action, source: sqlx::Error::Io(source) },
        other => other,
    }
}

impl Catalog for SimulatedCatalog {
    fn publish(&self, mut publish: Publish) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.disk.pause_here(Pause::Publish).await;
            let action = if publish.wal_position.is_some() { "publish" } else { "replace" };
            match self.disk.omission() {
                Some(Omission::WalPosition) => publish.wal_position = None,
                Some(Omission::RequestKeys) => publish.request_keys.clear(),
                _ => {}
            }
            self.change(action, async move { self.kept.publish(publish).await }).await
        })
    }

    fn load(&self) -> BoxFuture<'_, Result<CatalogState, Error>> {
        Box::pin(async {
            self.disk.begin_reading("load", table("load")).map_err(lost("load"))?;
            self.kept.load().await
        })
    }

    fn purge_tombstones(&self, parts: Vec<PartId>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.change("purge", async move { self.kept.purge_tombstones(parts).await }))
    }

    fn forget_request_keys_before(&self, received_at: UnixNanos) -> BoxFuture<'_, Result<(), Error>> {
        let change = async move { self.kept.forget_request_keys_before(received_at).await };
        Box::pin(self.change("forget requests", change))
    }

    fn quarantine_part(&self, part: PartId, reason: String, at: UnixNanos) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.change("quarantine", async move { self.kept.quarantine_part(part, reason, at).await }))
    }

    fn return_part(
        &self,
        old: PartId,
        part: PartRecord,
        wal_begins_after: WalPosition,
    ) -> BoxFuture<'_, Result<(), Error>> {
        self.kept.return_part(old, part, wal_begins_after)
    }

    fn quarantined_parts(&self) -> BoxFuture<'_, Result<Vec<QuarantinedPart>, Error>> {
        self.kept.quarantined_parts()
    }

    fn add_rejections(&self, rejections: Vec<Rejection>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.change("add rejections", async move { self.kept.add_rejections(rejections).await }))
    }

    fn rejections(&self, tenant: TenantId, limit: u32) -> BoxFuture<'_, Result<Vec<Rejection>, Error>> {
        self.kept.rejections(tenant, limit)
    }

    fn tenant_keys(&self) -> BoxFuture<'_, Result<Vec<TenantKey>, Error>> {
        self.kept.tenant_keys()
    }

    fn add_tenant_key(&self, key: TenantKey) -> BoxFuture<'_, Result<TenantKey, Error>> {
        self.kept.add_tenant_key(key)
    }

    fn rewrap_tenant_keys(&self, keys: Vec<TenantKey>) -> BoxFuture<'_, Result<(), Error>> {
        self.kept.rewrap_tenant_keys(keys)
    }

    fn shred_tenant_keys(&self, tenant: TenantId, at: UnixNanos) -> BoxFuture<'_, Result<u64, Error>> {
        self.kept.shred_tenant_keys(tenant, at)
    }

    fn check_integrity(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        self.kept.check_integrity()
    }
}

impl StateStore for SimulatedCatalog {
    fn list(&self, tenant: TenantId, kind: &str, prefix: &str) -> StateFuture<'_, Vec<StateRecord>> {
        self.kept.list(tenant, kind, prefix)
    }

    fn apply(&self, tenant: TenantId, lease: Option<Lease>, changes: Vec<StateChange>) -> StateFuture<'_, ()> {
        Box::pin(async move {
            let store = |error: Error| StateError::Store { kind: ErrorKind::Unavailable, message: error.to_string() };
            self.disk.begin_whole("commit", table("state")).map_err(store)?;
            self.kept.apply(tenant, lease, changes).await?;
            self.disk.begin_whole("answer", table("state")).map_err(store)
        })
    }

    fn history(
        &self,
        tenant: TenantId,
        kind: &str,
        range: TimeRange,
        limit: u32,
    ) -> StateFuture<'_, Vec<HistoryEvent>> {
        self.kept.history(tenant, kind, range, limit)
    }

    fn lease(&self, name: &str, holder: &str, now: UnixNanos, ttl: Duration) -> StateFuture<'_, Option<Lease>> {
        self.kept.lease(name, holder, now, ttl)
    }
}
