//! The store as the other crates see it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use trivium_model::{RequestKey, SignalKind, TenantId, UnixNanos, WalPosition};

use crate::error::Error;
use crate::part::Part;

/// One export request that passed decoding and admission.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// Whose rows.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: SignalKind,
    /// By which a resent request is recognised.
    pub key: RequestKey,
    /// When the request arrived.
    pub received_at: UnixNanos,
    /// Records older than this were rejected when the request was decoded; replay decodes with the same bound.
    pub oldest_admitted: UnixNanos,
    /// The request as uncompressed protobuf, as it goes into the WAL.
    pub payload: Bytes,
    /// The accepted rows ([`crate::schema::decoded_schema`]); never empty.
    pub batch: RecordBatch,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The rows are on disk, fsynced, and visible to the next query.
    Stored(WalPosition),
    /// The same request was stored before, by this or an earlier process; nothing was stored again.
    Duplicate,
}

/// Decodes a payload again when the WAL is replayed. Implemented by the ingest crate, so that the store needs no wire types.
pub trait PayloadDecoder: Send + Sync + std::fmt::Debug {
    /// The accepted rows of a request, exactly those that were accepted when it was appended; `None` when there is none.
    fn decode(
        &self,
        signal: SignalKind,
        payload: &[u8],
        received_at: UnixNanos,
        oldest_admitted: UnixNanos,
    ) -> Result<Option<RecordBatch>, String>;
}

/// A consistent view of one table: every acknowledged row exactly once.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Published parts, in the order of their first times.
    pub parts: Vec<Arc<Part>>,
    /// Rows that are durable in the WAL but not yet in a part, in arrival order; [`crate::schema::table_schema`].
    pub buffered: Vec<RecordBatch>,
}

/// Records that were refused, for the table `rejected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: SignalKind,
    /// The true cause, a short stable text without values: `time is older than the retention`.
    pub reason: String,
    /// `service.name` of the sender, empty when unknown.
    pub service: String,
    /// How many records.
    pub count: u64,
    /// One example with values, cut to 256 bytes.
    pub example: String,
    /// When.
    pub time: UnixNanos,
}

/// The store. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Storage {}

impl Storage {
    /// Makes a request durable and visible. Returns after the fsync of the WAL group that contains it; after an error
    /// nothing of it is visible, and the request may be sent again.
    pub async fn append(&self, _request: AppendRequest) -> Result<Appended, Error> {
        Err(Error::Internal("stub".into()))
    }

    /// A consistent view of a table. Costs microseconds; holds the parts it names on disk until dropped.
    pub fn snapshot(&self, _tenant: TenantId, _signal: SignalKind) -> Result<Snapshot, Error> {
        Err(Error::Internal("stub".into()))
    }

    /// Returns when all that was acknowledged before the call is in published parts and no compaction is due.
    pub async fn flush(&self) -> Result<(), Error> {
        Err(Error::Internal("stub".into()))
    }

    /// Counts refused records; they reach the catalog within a second.
    pub fn record_rejections(&self, _rejections: Vec<Rejection>) {}

    /// The refused records of the last days, summed by minute, signal, reason and service; newest first.
    pub async fn rejections(&self, _tenant: TenantId) -> Result<Vec<Rejection>, Error> {
        Err(Error::Internal("stub".into()))
    }
}
