//! What is published: the one place that decides which parts exist and how far each signal's WAL is in them.
//!
//! A part is visible when its record is here, and gone when it is not; files alone mean nothing. Every change is one
//! transaction ([`Catalog::publish`]), so that a crash at any moment leaves either all of it or nothing. Refuses to know
//! where the files lie and what is in them. The conformance suite beside this file is the contract of an implementation.

#[cfg(test)]
mod conformance;
mod invariant;
#[cfg(test)]
pub(crate) mod memory;
mod record;
mod rejected;
mod sqlite;
mod state;
#[cfg(test)]
mod state_conformance;
mod sums;
mod tenant_keys;

use futures::future::BoxFuture;
use trivium_model::{PartId, RequestKey, SignalKind, StateStore, TenantId, UnixNanos, WalPosition};

use crate::encryption::TenantKey;
use crate::error::Error;
use crate::part::PartRecord;
use crate::storage::Rejection;

pub(crate) use sqlite::FILE_NAME;
pub use sqlite::SqliteCatalog;

/// Rows of summed rejections that are kept; the oldest minutes go first.
pub const REJECTION_ROWS_MAX: u32 = 100_000;

/// Days for which summed rejections are kept, counted from the newest one.
pub const REJECTION_DAYS_MAX: u32 = 7;

/// Events of alerts and notifications that are kept; the oldest go first.
pub const HISTORY_ROWS_MAX: u32 = 1_000_000;

/// One atomic change of what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Random; a publish whose token is known already succeeds without effect. So a publish that ended in an error, which
    /// may nevertheless have been committed, is repeated with the same token.
    pub token: [u8; 16],
    /// The signal of every part named here, and of the position.
    pub signal: SignalKind,
    /// New parts, whose files are complete and fsynced.
    pub add: Vec<PartRecord>,
    /// Published parts that `add` replaces, or that retention drops. Each must still be published.
    pub remove: Vec<PartId>,
    /// Rows of `remove` that are on purpose not in `add`. Without it a replacement holds exactly the rows that it replaces.
    pub dropped_rows: u64,
    /// Every request of the signal up to this position is in published parts. Greater than the position before; the rows
    /// of `add` lie behind the position before, up to this one.
    pub wal_position: Option<WalPosition>,
    /// The requests that `add` brings, with the times of their receipt, for the recognition of resent requests.
    pub request_keys: Vec<(RequestKey, UnixNanos)>,
    /// When.
    pub at: UnixNanos,
}

/// A part that is no longer published but whose files may still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The part.
    pub part: PartRecord,
    /// When it was replaced or dropped.
    pub removed_at: UnixNanos,
}

/// A part that was found damaged. Its files are kept for the operator, its rows are not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedPart {
    /// The part.
    pub part: PartRecord,
    /// What was found.
    pub reason: String,
    /// When.
    pub at: UnixNanos,
}

/// Everything a starting server needs to know, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogState {
    /// Published parts, in the order of their IDs.
    pub parts: Vec<PartRecord>,
    /// Parts whose files wait to be deleted, in the order of their IDs.
    pub tombstones: Vec<Tombstone>,
    /// Damaged parts, in the order of their IDs.
    pub quarantined: Vec<QuarantinedPart>,
    /// How far each signal's requests are in published parts, by [`SignalKind::index`].
    pub wal_positions: [WalPosition; 3],
    /// Remembered requests, in no particular order.
    pub request_keys: Vec<(RequestKey, UnixNanos)>,
}

impl CatalogState {
    /// How far the signal's requests are in published parts; [`WalPosition::ZERO`] before the first publish.
    pub fn wal_position(&self, signal: SignalKind) -> WalPosition {
        self.wal_positions[signal.index()]
    }
}

/// The catalog. What a method answered with `Ok` survives the death of the process and of the machine.
///
/// Dropping a future before it is ready leaves the change undone or done, never half done. Errors are
/// [`Error::Catalog`] (the database failed; for `publish` repeat with the same token), [`Error::Corrupted`] (a record is
/// not what was written) and those named at the methods.
pub trait Catalog: StateStore {
    /// Checks the change against what is published and carries it out. [`Error::Conflict`] when a part in `remove` is not
    /// published (any more); [`Error::Internal`] when the change breaks an invariant. In both cases nothing is changed.
    fn publish(&self, publish: Publish) -> BoxFuture<'_, Result<(), Error>>;

    /// Everything that is known, as of one moment. Linear in the number of parts.
    fn load(&self) -> BoxFuture<'_, Result<CatalogState, Error>>;

    /// Forgets tombstones whose files are deleted. IDs that are not tombstones are passed over.
    fn purge_tombstones(&self, parts: Vec<PartId>) -> BoxFuture<'_, Result<(), Error>>;

    /// Forgets the requests and tokens of every publish all of whose requests were received before the given time.
    fn forget_request_keys_before(&self, received_at: UnixNanos) -> BoxFuture<'_, Result<(), Error>>;

    /// Withdraws a damaged part. Without effect when it is withdrawn already; [`Error::Conflict`] when it is not published.
    fn quarantine_part(&self, part: PartId, reason: String, at: UnixNanos) -> BoxFuture<'_, Result<(), Error>>;

    /// Publishes the rows of a part that was withdrawn, or that the catalog never knew, as another part, and forgets the
    /// withdrawn one. [`Error::Conflict`] when the old one is published or was replaced; [`Error::Internal`] when its requests
    /// are still to be replayed from the WAL, which begins after a position. In both cases nothing is changed.
    fn return_part(
        &self,
        old: PartId,
        part: PartRecord,
        wal_begins_after: WalPosition,
    ) -> BoxFuture<'_, Result<(), Error>>;

    /// The withdrawn parts, in the order of their IDs.
    fn quarantined_parts(&self) -> BoxFuture<'_, Result<Vec<QuarantinedPart>, Error>>;

    /// Adds refused records to the sums by minute, tenant, signal, reason and service; the newest example is kept. At most
    /// [`REJECTION_ROWS_MAX`] sums and [`REJECTION_DAYS_MAX`] days are kept.
    fn add_rejections(&self, rejections: Vec<Rejection>) -> BoxFuture<'_, Result<(), Error>>;

    /// The sums of a tenant, newest first.
    fn rejections(&self, tenant: TenantId, limit: u32) -> BoxFuture<'_, Result<Vec<Rejection>, Error>>;

    /// The wrapped keys of tenants, the shredded ones included, in the order of their names.
    fn tenant_keys(&self) -> BoxFuture<'_, Result<Vec<TenantKey>, Error>>;

    /// Adds a key unless its tenant has a live one; the tenant's live key.
    fn add_tenant_key(&self, key: TenantKey) -> BoxFuture<'_, Result<TenantKey, Error>>;

    /// Exchanges live keys for the same ones wrapped with another master key. What they were is erased from the disk.
    fn rewrap_tenant_keys(&self, keys: Vec<TenantKey>) -> BoxFuture<'_, Result<(), Error>>;

    /// Erases the live keys of a tenant and its refused records from the disk; how many keys. The names of the keys stay, so
    /// that what they encrypted is known to be shredded. After an error it is to be done again.
    fn shred_tenant_keys(&self, tenant: TenantId, at: UnixNanos) -> BoxFuture<'_, Result<u64, Error>>;

    /// Checks the database itself and every invariant of what it holds. One line per finding; empty when all is well.
    fn check_integrity(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;
}
