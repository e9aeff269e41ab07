//! The rows of one signal that are durable in the WAL but not yet in a part: queryable at once, bounded in bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use trivium_model::{RequestKey, SignalKind, TenantId, UnixNanos, WalPosition};

use crate::error::Error;
use crate::schema;

/// Batches of fewer rows are merged once there are [`SMALL_BATCHES_MAX`] of them: every Arrow column costs some hundred
/// bytes whatever it holds, and a thousand requests of one record each must not cost megabytes.
const SMALL_BATCH_ROWS: usize = 256;
const SMALL_BATCHES_MAX: usize = 32;

/// One committed request on its way into the buffer.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) tenant: TenantId,
    pub(crate) position: WalPosition,
    pub(crate) received_at: UnixNanos,
    pub(crate) key: RequestKey,
    pub(crate) batch: RecordBatch,
}

/// Rows of one signal between two seals, of all tenants. Grows until it is sealed, then never changes.
#[derive(Debug)]
pub(crate) struct Buffer {
    signal: SignalKind,
    table: SchemaRef,
    tenants: BTreeMap<TenantId, Batches>,
    bytes: usize,
    rows: u64,
    first_position: WalPosition,
    last_position: WalPosition,
    opened_at: Option<UnixNanos>,
    keys: Vec<(RequestKey, UnixNanos)>,
}

/// Rows of one tenant in arrival order: merged batches, then the small ones since the last merge.
#[derive(Debug, Default)]
struct Batches {
    merged: Vec<RecordBatch>,
    small: Vec<RecordBatch>,
}

impl Buffer {
    pub(crate) fn new(signal: SignalKind) -> Self {
        Self {
            signal,
            table: schema::table_schema(signal),
            tenants: BTreeMap::new(),
            bytes: 0,
            rows: 0,
            first_position: WalPosition::ZERO,
            last_position: WalPosition::ZERO,
            opened_at: None,
            keys: Vec::new(),
        }
    }

    pub(crate) fn signal(&self) -> SignalKind {
        self.signal
    }

    /// Bytes of memory held by the rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The position of the first request in it; meaningless when empty.
    pub(crate) fn first_position(&self) -> WalPosition {
        self.first_position
    }

    /// The position of the last request in it; meaningless when empty.
    pub(crate) fn last_position(&self) -> WalPosition {
        self.last_position
    }

    /// When the first request came, by the receiver's clock.
    pub(crate) fn opened_at(&self) -> Option<UnixNanos> {
        self.opened_at
    }

    /// The keys of the requests in it, for the memory of resent requests.
    pub(crate) fn keys(&self) -> &[(RequestKey, UnixNanos)] {
        &self.keys
    }

    /// Adds a committed request. Positions only grow.
    pub(crate) fn append(&mut self, committed: Committed) -> Result<(), Error> {
        assert!(committed.position > self.last_position, "WAL positions reach the buffer in order");
        let batch = with_arrival(&self.table, &committed)?;
        if self.is_empty() {
            self.first_position = committed.position;
            self.opened_at = Some(committed.received_at);
        }
        self.last_position = committed.position;
        self.keys.push((committed.key, committed.received_at));
        self.rows += batch.num_rows() as u64;
        self.bytes += batch.get_array_memory_size();
        self.tenants.entry(committed.tenant).or_default().push(batch)
    }

    /// The rows of a tenant in arrival order. Shares the columns.
    pub(crate) fn batches(&self, tenant: TenantId) -> impl Iterator<Item = &RecordBatch> {
        self.tenants.get(&tenant).into_iter().flat_map(|batches| batches.merged.iter().chain(&batches.small))
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = TenantId> + '_ {
        self.tenants.keys().copied()
    }
}

impl Batches {
    fn push(&mut self, batch: RecordBatch) -> Result<(), Error> {
        if batch.num_rows() >= SMALL_BATCH_ROWS {
            // Arrival order is kept by the WAL position of the rows, not by the order of batches.
            self.merged.push(batch);
            return Ok(());
        }
        self.small.push(batch);
        if self.small.len() >= SMALL_BATCHES_MAX {
            let merged = concat_batches(&self.small[0].schema(), &self.small)?;
            self.small.clear();
            return self.push_merged(merged);
        }
        Ok(())
    }

    /// Keeps the number of merged batches logarithmic in their rows: a batch joins its predecessors while they are not
    /// larger than itself, so that each row is copied O(log n) times.
    fn push_merged(&mut self, mut batch: RecordBatch) -> Result<(), Error> {
        while let Some(last) = self.merged.last() {
            if last.num_rows() > batch.num_rows() || last.num_rows() >= SMALL_BATCH_ROWS * SMALL_BATCHES_MAX {
                break;
            }
            batch = concat_batches(&batch.schema(), [last, &batch])?;
            self.merged.pop();
        }
        self.merged.push(batch);
        Ok(())
    }
}

/// The batch of a decoder with the two columns of arrival order behind it.
fn with_arrival(table: &SchemaRef, committed: &Committed) -> Result<RecordBatch, Error> {
    let rows = committed.batch.num_rows();
    let mut columns: Vec<ArrayRef> = committed.batch.columns().to_vec();
    columns.push(Arc::new(TimestampNanosecondArray::from_value(committed.received_at.0, rows)));
    columns.push(Arc::new(UInt64Array::from_value(committed.position.0, rows)));
    Ok(RecordBatch::try_new(Arc::clone(table), columns)?)
}
