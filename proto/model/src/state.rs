//! Where the evaluators of rules, notifications and SLOs keep what must outlive the process.
//!
//! The seam between them, which know no storage, and the catalog, which knows nothing of them. What they keep is small:
//! one record for each active alert, silence, notification or day of an SLO. Telemetry does not belong here.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{ErrorKind, TenantId, TimeRange, UnixNanos};

/// What every call of a [`StateStore`] answers.
pub type StateFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StateError>> + Send + 'a>>;

/// Why state could not be read or written. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The lease that the change was made under has passed to another process: stop evaluating.
    #[error("the lease on {name} has passed to another process")]
    Fenced {
        /// The lease.
        name: String,
    },
    /// The store failed.
    #[error("{message}")]
    Store {
        /// What can be done about it.
        kind: ErrorKind,
        /// What was attempted and what was found.
        message: String,
    },
}

/// One small durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    /// Its name among its kind.
    pub key: String,
    /// What its owner made of it; at most 1 MiB.
    pub value: Vec<u8>,
}

/// One line of history, never changed and forgotten with age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEvent {
    /// What it tells of: `alert`, `notification`.
    pub kind: String,
    /// When it happened.
    pub at: UnixNanos,
    /// Says which event this is: of two with the same kind and ID the first is kept, so that a repeated call is harmless.
    pub id: String,
    /// A JSON object with what there is to tell.
    pub value: String,
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// Writes a record, replacing one with the same kind and key.
    Put {
        /// Whose record it is: `alert`, `silence`, …
        kind: String,
        /// Its name among its kind.
        key: String,
        /// Its content.
        value: Vec<u8>,
    },
    /// Forgets a record; without effect when there is none.
    Delete {
        /// Whose record it is.
        kind: String,
        /// Its name among its kind.
        key: String,
    },
    /// Adds a line of history.
    Append(HistoryEvent),
}

/// The right to evaluate, of one process at a time. Changes made under a lease that another process took over are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is the right to: `rules`, `notify`, `slo`.
    pub name: String,
    /// Grows each time it passes to another holder.
    pub epoch: u64,
}

/// Small durable records in transactions.
pub trait StateStore: Send + Sync + std::fmt::Debug {
    /// The records of a kind whose keys begin with the prefix, in the order of their keys.
    fn list(&self, tenant: TenantId, kind: &str, prefix: &str) -> StateFuture<'_, Vec<StateRecord>>;

    /// Makes all changes or none; they are durable when this returns. With a lease, only while it is still held.
    fn apply(&self, tenant: TenantId, lease: Option<Lease>, changes: Vec<StateChange>) -> StateFuture<'_, ()>;

    /// The newest events of a kind within the range, newest first, at most `limit`.
    fn history(&self, tenant: TenantId, kind: &str, range: TimeRange, limit: u32)
    -> StateFuture<'_, Vec<HistoryEvent>>;

    /// Takes or prolongs the lease until `now + ttl`. `None` while another holder has it.
    fn lease(&self, name: &str, holder: &str, now: UnixNanos, ttl: Duration) -> StateFuture<'_, Option<Lease>>;
}

/// A [`StateStore`] that forgets everything with the process: for tests and for dry runs.
#[derive(Debug, Default)]
pub struct MemoryStateStore(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    records: BTreeMap<(u32, String, String), Vec<u8>>,
    history: BTreeMap<(u32, String, String), HistoryEvent>,
    leases: BTreeMap<String, (String, UnixNanos, u64)>,
}

impl MemoryStateStore {
    fn with<T>(&self, action: impl FnOnce(&mut Memory) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StateStore for MemoryStateStore {
    fn list(&self, tenant: TenantId, kind: &str, prefix: &str) -> StateFuture<'_, Vec<StateRecord>> {
        let records = self.with(|memory| {
            memory
                .records
                .iter()
                .filter(|((of, its_kind, key), _)| *of == tenant.0 && its_kind == kind && key.starts_with(prefix))
                .map(|((_, _, key), value)| StateRecord { key: key.clone(), value: value.clone() })
                .collect()
        });
        Box::pin(std::future::ready(Ok(records)))
    }

    fn apply(&self, tenant: TenantId, lease: Option<Lease>, changes: Vec<StateChange>) -> StateFuture<'_, ()> {
        let result = self.with(|memory| {
            if let Some(lease) = lease
                && memory.leases.get(&lease.name).is_none_or(|(_, _, epoch)| *epoch != lease.epoch)
            {
                return Err(StateError::Fenced { name: lease.name });
            }
            for change in changes {
                match change {
                    StateChange::Put { kind, key, value } => {
                        memory.records.insert((tenant.0, kind, key), value);
                    }
                    StateChange::Delete { kind, key } => {
                        memory.records.remove(&(tenant.0, kind, key));
                    }
                    StateChange::Append(event) => {
                        let key = (tenant.0, event.kind.clone(), event.id.clone());
                        memory.history.entry(key).or_insert(event);
                    }
                }
            }
            Ok(())
        });
        Box::pin(std::future::ready(result))
    }

    fn history(
        &self,
        tenant: TenantId,
        kind: &str,
        range: TimeRange,
        limit: u32,
    ) -> StateFuture<'_, Vec<HistoryEvent>> {
        let mut events: Vec<HistoryEvent> = self.with(|memory| {
            let of_kind = memory.history.iter().filter(|((of, its_kind, _), _)| *of == tenant.0 && its_kind == kind);
            of_kind.map(|(_, event)| event.clone()).filter(|event| range.contains(event.at)).collect()
        });
        events.sort_by(|left, right| (right.at, &right.id).cmp(&(left.at, &left.id)));
        events.truncate(limit as usize);
        Box::pin(std::future::ready(Ok(events)))
    }

    fn lease(&self, name: &str, holder: &str, now: UnixNanos, ttl: Duration) -> StateFuture<'_, Option<Lease>> {
        let lease = self.with(|memory| {
            let entry = memory.leases.entry(name.to_owned()).or_insert_with(|| (holder.to_owned(), UnixNanos::MIN, 0));
            if entry.0 != holder && entry.1 > now {
                return None;
            }
            if entry.0 != holder || entry.2 == 0 {
                entry.2 += 1;
            }
            holder.clone_into(&mut entry.0);
            entry.1 = now.after(ttl);
            Some(Lease { name: name.to_owned(), epoch: entry.2 })
        });
        Box::pin(std::future::ready(Ok(lease)))
    }
}
