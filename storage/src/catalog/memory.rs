//! A catalog in memory that keeps the contract: what a crash of a simulation leaves of it is a copy, and opening it costs
//! nothing. Knows no encryption and no refused records, which the simulations do without.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, ready};
use trivium_model::{
    HistoryEvent, Lease, MemoryStateStore, PartId, RequestKey, StateChange, StateFuture, StateRecord, StateStore,
    TenantId, TimeRange, UnixNanos, WalPosition,
};

use super::{Catalog, CatalogState, Publish, QuarantinedPart, Tombstone, invariant};
use crate::encryption::TenantKey;
use crate::error::Error;
use crate::part::PartRecord;
use crate::storage::Rejection;

/// The catalog. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryCatalog {
    tables: Arc<Mutex<Tables>>,
    state: Arc<MemoryStateStore>,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    parts: BTreeMap<PartId, (PartRecord, Standing)>,
    positions: [WalPosition; 3],
    publishes: BTreeMap<[u8; 16], Published>,
}

#[derive(Clone, Debug)]
enum Standing {
    Published,
    Removed(UnixNanos),
    Quarantined(UnixNanos, String),
}

#[derive(Clone, Debug)]
struct Published {
    last_received: UnixNanos,
    request_keys: Vec<(RequestKey, UnixNanos)>,
}

impl MemoryCatalog {
    /// A catalog with what this one holds now, which goes its own way from here on. What evaluators keep is shared: no crash takes
    /// it back.
    pub(crate) fn fork(&self) -> Self {
        Self { tables: Arc::new(Mutex::new(self.tables().clone())), state: Arc::clone(&self.state) }
    }

    /// Everything that is known.
    pub(crate) fn now(&self) -> CatalogState {
        self.tables().state()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change whole or not at all.
    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tables) -> Result<T, Error>,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let mut tables = self.tables();
        let mut changed = tables.clone();
        let result = change(&mut changed);
        if result.is_ok() {
            *tables = changed;
        }
        Box::pin(ready(result))
    }
}

impl Tables {
    fn state(&self) -> CatalogState {
        let mut state = CatalogState { wal_positions: self.positions, ..CatalogState::default() };
        for (part, standing) in self.parts.values() {
            let part = part.clone();
            match standing.clone() {
                Standing::Published => state.parts.push(part),
                Standing::Removed(removed_at) => state.tombstones.push(Tombstone { part, removed_at }),
                Standing::Quarantined(at, reason) => state.quarantined.push(QuarantinedPart { part, reason, at }),
            }
        }
        state.request_keys = self.publishes.values().flat_map(|publish| publish.request_keys.clone()).collect();
        state
    }

    fn publish(&mut self, publish: Publish) -> Result<(), Error> {
        invariant::publish_is_sound(&publish)?;
        if self.publishes.contains_key(&publish.token) {
            return Ok(());
        }
        let mut removed_rows = 0;
        for &part in &publish.remove {
            let known = self.parts.get_mut(&part).filter(|(record, _)| record.signal == publish.signal);
            let Some((record, standing @ Standing::Published)) = known else { return Err(Error::Conflict { part }) };
            removed_rows += u64::from(record.rows);
            *standing = Standing::Removed(publish.at);
        }
        invariant::rows_survive(&publish, removed_rows)?;
        if let Some(position) = publish.wal_position {
            let known = &mut self.positions[publish.signal.index()];
            invariant::position_grows(&publish, *known, position)?;
            *known = position;
        }
        publish.add.iter().try_for_each(|part| self.insert(part.clone()))?;
        let last_received = publish.request_keys.iter().map(|&(_, at)| at).fold(publish.at, Ord::max);
        let published = Published { last_received, request_keys: publish.request_keys };
        self.publishes.insert(publish.token, published);
        Ok(())
    }

    fn insert(&mut self, part: PartRecord) -> Result<(), Error> {
        let id = part.id;
        match self.parts.insert(id, (part, Standing::Published)) {
            None => Ok(()),
            Some(_) => Err(Error::Internal(format!("part {id} is in the catalog already"))),
        }
    }

    fn quarantine(&mut self, part: PartId, reason: String, at: UnixNanos) -> Result<(), Error> {
        match self.parts.get_mut(&part) {
            Some((_, standing @ Standing::Published)) => *standing = Standing::Quarantined(at, reason),
            Some((_, Standing::Quarantined(..))) => {}
            _ => return Err(Error::Conflict { part }),
        }
        Ok(())
    }

    fn return_part(&mut self, old: PartId, part: PartRecord, wal_begins_after: WalPosition) -> Result<(), Error> {
        invariant::part_is_sound(&part)?;
        match self.parts.get(&old) {
            Some((_, Standing::Quarantined(..))) => drop(self.parts.remove(&old)),
            Some(_) => return Err(Error::Conflict { part: old }),
            None => {}
        }
        let position = self.positions[part.signal.index()];
        invariant::is_published_up_to(&part, position.max(wal_begins_after))?;
        self.positions[part.signal.index()] = position.max(part.last_position);
        self.insert(part)
    }
}

impl Catalog for MemoryCatalog {
    fn publish(&self, publish: Publish) -> BoxFuture<'_, Result<(), Error>> {
        self.change(|tables| tables.publish(publish))
    }

    fn load(&self) -> BoxFuture<'_, Result<CatalogState, Error>> {
        Box::pin(ready(Ok(self.now())))
    }

    fn purge_tombstones(&self, parts: Vec<PartId>) -> BoxFuture<'_, Result<(), Error>> {
        self.change(|tables| {
            let is_purged =
                |id: &PartId, standing: &Standing| parts.contains(id) && matches!(standing, Standing::Removed(_));
            tables.parts.retain(|id, (_, standing)| !is_purged(id, standing));
            Ok(())
        })
    }

    fn forget_request_keys_before(&self, received_at: UnixNanos) -> BoxFuture<'_, Result<(), Error>> {
        self.change(|tables| {
            tables.publishes.retain(|_, publish| publish.last_received >= received_at);
            Ok(())
        })
    }

    fn quarantine_part(&self, part: PartId, reason: String, at: UnixNanos) -> BoxFuture<'_, Result<(), Error>> {
        self.change(|tables| tables.quarantine(part, reason, at))
    }

    fn return_part(
        &self,
        old: PartId,
        part: PartRecord,
        wal_begins_after: WalPosition,
    ) -> BoxFuture<'_, Result<(), Error>> {
        self.change(|tables| tables.return_part(old, part, wal_begins_after))
    }

    fn quarantined_parts(&self) -> BoxFuture<'_, Result<Vec<QuarantinedPart>, Error>> {
        Box::pin(ready(Ok(self.now().quarantined)))
    }

    fn add_rejections(&self, _: Vec<Rejection>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }

    fn rejections(&self, _: TenantId, _: u32) -> BoxFuture<'_, Result<Vec<Rejection>, Error>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn tenant_keys(&self) -> BoxFuture<'_, Result<Vec<TenantKey>, Error>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn add_tenant_key(&self, _: TenantKey) -> BoxFuture<'_, Result<TenantKey, Error>> {
        Box::pin(ready(Err(Error::Internal("the catalog in memory keeps no keys".into()))))
    }

    fn rewrap_tenant_keys(&self, _: Vec<TenantKey>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }

    fn shred_tenant_keys(&self, _: TenantId, _: UnixNanos) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(ready(Ok(0)))
    }

    fn check_integrity(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(ready(Ok(invariant::findings(&self.now()))))
    }
}

impl StateStore for MemoryCatalog {
    fn list(&self, tenant: TenantId, kind: &str, prefix: &str) -> StateFuture<'_, Vec<StateRecord>> {
        self.state.list(tenant, kind, prefix)
    }

    fn apply(&self, tenant: TenantId, lease: Option<Lease>, changes: Vec<StateChange>) -> StateFuture<'_, ()> {
        self.state.apply(tenant, lease, changes)
    }

    fn history(
        &self,
        tenant: TenantId,
        kind: &str,
        range: TimeRange,
        limit: u32,
    ) -> StateFuture<'_, Vec<HistoryEvent>> {
        self.state.history(tenant, kind, range, limit)
    }

    fn lease(&self, name: &str, holder: &str, now: UnixNanos, ttl: Duration) -> StateFuture<'_, Option<Lease>> {
        self.state.lease(name, holder, now, ttl)
    }
}

mod tests {
    use super::*;
    use crate::catalog::conformance::{Fixture, conformance_tests};

    impl Fixture for MemoryCatalog {
        fn open(&self) -> BoxFuture<'_, Arc<dyn Catalog>> {
            Box::pin(ready(Arc::new(self.clone()) as Arc<dyn Catalog>))
        }
    }

    conformance_tests!(MemoryCatalog::default();
        a_new_catalog_is_empty
        a_publish_is_found_again_by_another_opening
        a_replacement_leaves_tombstones_until_they_are_purged
        a_replacement_of_what_is_gone_changes_nothing
        a_repeated_token_has_no_effect
        wal_positions_only_grow
        rows_do_not_get_lost_in_a_replacement
        unsound_parts_are_refused
        an_id_is_never_used_twice
        of_racing_compactions_one_wins
        concurrent_publishes_all_arrive
        request_keys_are_forgotten_by_time_of_receipt
        a_quarantined_part_is_not_published
        a_part_returns_from_quarantine_once
        a_sound_catalog_has_no_findings
    );
}
