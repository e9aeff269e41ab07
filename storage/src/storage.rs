//! The store as the other crates see it. See `ARCHITECTURE.md` for the way of a record.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use trivium_model::{Clock, PartId, RequestKey, SignalKind, StateStore, TenantId, UnixNanos, WalPosition, WireFormat};

use crate::buffer::Committed;
use crate::canary::Canary;
use crate::catalog::{Catalog, Publish};
use crate::config::StorageConfig;
use crate::crash_loop::Starts;
use crate::described::{Descriptions, MetricDescription};
use crate::encryption::Keyring;
use crate::error::Error;
use crate::fs::FileSystem;
use crate::part::{PageCache, Part, PartRecord};
use crate::quarantine::QuarantinedItem;
use crate::remembered::{Known, RememberedRequests};
use crate::table::{Retired, Table};
use crate::telemetry::StorageMetrics;
use crate::wal::{FrameHeader, Wal};

/// How long an append waits for a seal to make room before it is refused as retryable.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// An open buffer may outgrow its bound by this factor while the one before it is being sealed.
const BUFFER_OVERSHOOT: usize = 2;

/// One export request that passed decoding and admission.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// Whose rows.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: SignalKind,
    /// What the payload is, so that replay finds its decoder.
    pub format: WireFormat,
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
        format: WireFormat,
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
    /// Rows that are durable in the WAL but not yet in a part; [`crate::schema::table_schema`].
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

/// What the store is made of besides its configuration.
#[derive(Debug)]
pub struct StorageDeps {
    /// Files.
    pub fs: Arc<dyn FileSystem>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is published.
    pub catalog: Arc<dyn Catalog>,
    /// Wire format of the WAL's payloads.
    pub decoder: Arc<dyn PayloadDecoder>,
    /// Chance, for the names of parts: a different number for every start.
    pub seed: u64,
}

/// The store. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Storage {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: StorageConfig,
    pub(crate) folder: PathBuf,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) decoder: Arc<dyn PayloadDecoder>,
    pub(crate) keys: Arc<Keyring>,
    /// Held for reading by whoever brings telemetry, if it is encrypted, and for writing while a tenant's key is shredded.
    pub(crate) shredding: tokio::sync::RwLock<()>,
    pub(crate) wal: Wal,
    pub(crate) pages: Arc<PageCache>,
    pub(crate) tables: [RwLock<Table>; 3],
    pub(crate) remembered: Mutex<RememberedRequests>,
    pub(crate) retired: Mutex<Retired>,
    /// Replacements of parts that ended in an error, and of which the catalog could not be asked whether they were made.
    pub(crate) in_doubt: Mutex<Vec<Publish>>,
    /// Parts that could not be read, and until when they are left out of merges.
    pub(crate) resting: Mutex<HashMap<PartId, UnixNanos>>,
    /// Parts that are served though the start could not find out whether they are sound.
    pub(crate) unchecked: Mutex<HashSet<PartId>>,
    pub(crate) rejections: Mutex<Vec<Rejection>>,
    pub(crate) descriptions: Descriptions,
    pub(crate) chance: Mutex<u64>,
    /// The last position whose rows are in a buffer. The WAL may be trimmed up to here at most: between the fsync of a frame
    /// and its arrival in the buffer no table knows of it.
    pub(crate) visible: AtomicU64,
    /// Held while a signal is sealed or compacted: one such step at a time bounds the memory.
    pub(crate) sealing: tokio::sync::Mutex<()>,
    pub(crate) compacting: tokio::sync::Mutex<()>,
    /// A buffer is full.
    pub(crate) seal_wanted: Notify,
    /// A buffer was sealed.
    pub(crate) room: Notify,
    /// New rows became visible.
    pub(crate) appended: Notify,
    pub(crate) closed: AtomicBool,
    /// The starts before this one that did not end in order.
    pub(crate) starts: Starts,
    /// Until then no request is taken, because too many starts did not end in order.
    pub(crate) quiet_until: Option<UnixNanos>,
    pub(crate) canary: tokio::sync::Mutex<Canary>,
    pub(crate) canary_is_out: AtomicBool,
    pub(crate) metrics: StorageMetrics,
}

impl Storage {
    /// Makes a request durable and visible. Returns after the fsync of the WAL group that contains it; after an error
    /// nothing of it is visible, and the request may be sent again. Dropping the future does not undo the append.
    pub async fn append(&self, request: AppendRequest) -> Result<Appended, Error> {
        let inner = &self.inner;
        if let Some(reason) = inner.is_quiet() {
            return Err(Error::Unavailable { reason });
        }
        inner.wait_for_room(request.signal).await?;
        let _not_shredded = if inner.keys.encrypts() { Some(inner.shredding.read().await) } else { None };
        inner.ensure_key(request.tenant).await?;
        let known = inner.remembered().begin(request.key);
        let report = match known {
            Known::Stored => return Ok(Appended::Duplicate),
            Known::InFlight(mut receiver) => {
                let stored = receiver.wait_for(Option::is_some).await.map(|stored| *stored);
                return match stored {
                    Ok(Some(true)) => Ok(Appended::Duplicate),
                    _ => Err(Error::Unavailable {
                        reason: "the same request is being stored and failed; send it again".into(),
                    }),
                };
            }
            Known::New(report) => report,
        };
        let (done, outcome) = oneshot::channel();
        let key = request.key;
        let (header, payload) = inner.frame(&request).inspect_err(|_| inner.remembered().failed(key))?;
        let committer = Arc::clone(inner);
        let committed = Box::new(move |position: Result<WalPosition, Error>| {
            let outcome = position.and_then(|position| committer.commit(request, position));
            if outcome.is_err() {
                committer.remembered().failed(key);
            }
            // Nobody may be waiting any more: the client went away, its rows stay.
            report.send_replace(Some(outcome.is_ok()));
            drop(done.send(outcome));
        });
        if let Err(error) = inner.wal.append(header, payload, committed) {
            inner.remembered().failed(key);
            return Err(error);
        }
        outcome.await.map_err(|_| Error::Unavailable { reason: "the WAL is closed".into() })?.map(Appended::Stored)
    }

    /// A consistent view of a table. Costs microseconds; the files of its parts stay until it is dropped.
    pub fn snapshot(&self, tenant: TenantId, signal: SignalKind) -> Snapshot {
        let table = self.inner.table(signal);
        let sealing = table.sealing.iter().flat_map(|sealing| sealing.buffer.batches(tenant));
        let buffered = sealing.chain(table.open.batches(tenant)).cloned().collect();
        Snapshot { parts: table.parts(tenant).to_vec(), buffered }
    }

    /// Completes when rows became visible after the call; for live tails.
    pub async fn appended(&self) {
        self.inner.appended.notified().await;
    }

    /// Why a write would be refused now; `None` when it would be accepted.
    pub fn not_ready(&self) -> Option<String> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Some("the store is shutting down".into());
        }
        self.failed()
    }

    /// Why no write will be accepted before a restart; `None` while the disk works.
    pub fn failed(&self) -> Option<String> {
        self.inner.wal.is_poisoned()
    }

    /// Counts refused records; they reach the catalog within a second.
    pub fn record_rejections(&self, rejections: Vec<Rejection>) {
        let mut pending = lock(&self.inner.rejections);
        // The catalog is not encrypted.
        let is_kept_plain = !self.inner.keys.encrypts();
        let rejections = rejections.into_iter().map(|rejection| match is_kept_plain {
            true => rejection,
            false => Rejection { example: EXAMPLE_NOT_KEPT.into(), ..rejection },
        });
        // A flood of bad records must not become a flood of memory: the oldest counts go first to the catalog, the
        // examples beyond the bound are dropped with their counts added to the last entry.
        for rejection in rejections {
            match pending.iter_mut().find(|other| same_cause(other, &rejection)) {
                Some(other) => other.count += rejection.count,
                None => pending.push(rejection),
            }
        }
    }

    /// Remembers what was said of metrics; in memory alone, see [`MetricDescription`].
    pub fn describe_metrics(&self, tenant: TenantId, descriptions: Vec<MetricDescription>) {
        self.inner.descriptions.add(tenant, descriptions);
    }

    /// What was said of a tenant's metrics apart from their samples, in the order of their names.
    pub fn metric_descriptions(&self, tenant: TenantId) -> Vec<MetricDescription> {
        self.inner.descriptions.of(tenant)
    }

    /// The refused records of the last days, summed by minute, signal, reason and service; newest first.
    pub async fn rejections(&self, tenant: TenantId) -> Result<Vec<Rejection>, Error> {
        self.inner.write_rejections().await?;
        self.inner.catalog.rejections(tenant, REJECTIONS_MAX).await
    }

    /// Where the evaluators of rules, notifications and SLOs keep what must outlive the process.
    pub fn state(&self) -> Arc<dyn StateStore> {
        Arc::clone(&self.inner.catalog) as Arc<dyn StateStore>
    }

    /// Published parts of every signal and tenant, for status pages and metrics.
    pub fn parts(&self) -> Vec<PartRecord> {
        let tables = SignalKind::ALL.map(|signal| self.inner.table(signal));
        tables.iter().flat_map(|table| table.all_parts().map(|part| part.record().clone())).collect()
    }

    /// Bytes of decompressed pages that are kept for point look-ups.
    pub fn page_cache_bytes(&self) -> u64 {
        self.inner.pages.bytes()
    }

    /// Bytes of the WAL files on disk.
    pub fn wal_bytes(&self) -> u64 {
        self.inner.wal.bytes_on_disk()
    }

    /// Bytes and rows in the buffers of a signal.
    pub fn buffered(&self, signal: SignalKind) -> (usize, u64) {
        let table = self.inner.table(signal);
        let sealing = table.sealing.as_ref().map(|sealing| &sealing.buffer);
        let buffers = sealing.into_iter().chain([&table.open]);
        buffers.fold((0, 0), |(bytes, rows), buffer| (bytes + buffer.bytes(), rows + buffer.rows()))
    }

    /// Why no request is taken for a while after a series of crashes; `None` in ordinary times.
    pub fn crash_loop(&self) -> Option<String> {
        self.inner.is_quiet()
    }

    /// For how long the oldest acknowledged row of a signal has been in the WAL only.
    pub fn unpublished_for(&self, signal: SignalKind) -> Duration {
        let table = self.inner.table(signal);
        let sealing = table.sealing.as_ref().and_then(|sealing| sealing.buffer.opened_at());
        let oldest = sealing.into_iter().chain(table.open.opened_at()).min();
        oldest.map_or(Duration::ZERO, |oldest| self.inner.clock.now().since(oldest))
    }

    /// How many pieces are in quarantine, and their bytes (of the first thousand).
    pub fn quarantine_size(&self) -> (u64, u64) {
        crate::quarantine::size(&*self.inner.fs, &self.inner.folder).unwrap_or_default()
    }

    /// What is in quarantine.
    pub async fn quarantined(&self) -> Result<Vec<QuarantinedItem>, Error> {
        let withdrawn = self.inner.catalog.quarantined_parts().await?;
        let inner = Arc::clone(&self.inner);
        crate::seal::blocking(move || crate::quarantine::list_with(&*inner.fs, &inner.folder, &withdrawn)).await
    }

    /// The metrics that the owner registers.
    pub fn metrics(&self) -> &StorageMetrics {
        &self.inner.metrics
    }
}

/// What stands in the place of an example, which may hold anything that a client sent.
const EXAMPLE_NOT_KEPT: &str = "not kept: telemetry is encrypted at rest";

/// Rows of the table `rejected` that one query sees.
const REJECTIONS_MAX: u32 = 100_000;

fn same_cause(left: &Rejection, right: &Rejection) -> bool {
    const MINUTE: i64 = 60_000_000_000;
    left.time.0.div_euclid(MINUTE) == right.time.0.div_euclid(MINUTE)
        && (left.tenant, left.signal, &left.reason, &left.service)
            == (right.tenant, right.signal, &right.reason, &right.service)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held leaves plain data behind that each step has brought to a valid state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) fn table(&self, signal: SignalKind) -> RwLockReadGuard<'_, Table> {
        self.tables[signal.index()].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn table_mut(&self, signal: SignalKind) -> RwLockWriteGuard<'_, Table> {
        self.tables[signal.index()].write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remembered(&self) -> MutexGuard<'_, RememberedRequests> {
        lock(&self.remembered)
    }

    pub(crate) fn is_quiet(&self) -> Option<String> {
        let (until, now) = (self.quiet_until?, self.clock.now());
        (now < until).then(|| {
            let (starts, left) = (self.starts.unclean(), until.since(now).as_secs() + 1);
            format!(
                "the last {starts} starts did not end in order; no request is taken for another {left} seconds, while what is \
                 in the WAL is brought into parts"
            )
        })
    }

    /// Makes sure that what comes from a tenant can be encrypted, if it is to be.
    pub(crate) async fn ensure_key(&self, tenant: TenantId) -> Result<(), Error> {
        self.keys.ensure(tenant, &*self.catalog, self.clock.now()).await
    }

    /// A request as it goes into the WAL.
    fn frame(&self, request: &AppendRequest) -> Result<(FrameHeader, Bytes), Error> {
        let key = self.keys.for_writing(request.tenant)?;
        let header = FrameHeader {
            tenant: request.tenant,
            signal: request.signal,
            format: request.format,
            key: request.key,
            received_at: request.received_at,
            oldest_admitted: request.oldest_admitted,
            is_encrypted: key.is_some(),
        };
        let payload = match key {
            Some(key) => key.encrypt_request(header.identity(), &request.payload)?,
            None => request.payload.clone(),
        };
        Ok((header, payload))
    }

    /// Runs on the WAL thread, in the order of positions, after the fsync.
    fn commit(&self, request: AppendRequest, position: WalPosition) -> Result<WalPosition, Error> {
        let (signal, key, received_at) = (request.signal, request.key, request.received_at);
        let committed = Committed { tenant: request.tenant, position, received_at, key, batch: request.batch };
        let full = {
            let mut table = self.table_mut(signal);
            table.open.append(committed)?;
            table.open.bytes() >= self.config.buffer_bytes_max
        };
        self.visible.store(position.0, Ordering::Release);
        self.remembered().stored(key, received_at);
        if full {
            self.seal_wanted.notify_one();
        }
        self.appended.notify_waiters();
        Ok(position)
    }

    /// Lets the client wait while the buffer is over its bound, which is all the backpressure there is.
    async fn wait_for_room(&self, signal: SignalKind) -> Result<(), Error> {
        if let Some(reason) = self.wal.is_poisoned() {
            return Err(Error::Unavailable { reason });
        }
        let has_room = || self.table(signal).open.bytes() < BUFFER_OVERSHOOT * self.config.buffer_bytes_max;
        let wait = async {
            loop {
                let room = self.room.notified();
                if has_room() {
                    return;
                }
                self.seal_wanted.notify_one();
                room.await;
            }
        };
        if has_room() {
            return Ok(());
        }
        tokio::time::timeout(ROOM_TIMEOUT, wait).await.map_err(|_| Error::Unavailable {
            reason: format!("the buffer of {signal} is full and the disk does not keep up; retry later"),
        })
    }

    pub(crate) async fn write_rejections(&self) -> Result<(), Error> {
        let pending = std::mem::take(&mut *lock(&self.rejections));
        if pending.is_empty() {
            return Ok(());
        }
        self.catalog.add_rejections(pending).await
    }

    pub(crate) fn part_folder(&self, record: &PartRecord) -> PathBuf {
        part_folder(&self.folder, record)
    }

    /// A name for a new part, see [`trivium_model::PartId`].
    pub(crate) fn new_part_id(&self) -> PartId {
        let millis = u64::try_from(self.clock.now().0 / 1_000_000).unwrap_or(0);
        let mut chance = lock(&self.chance);
        let (high, low) = (next_random(&mut chance), next_random(&mut chance));
        let mut id = [0; 16];
        id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        id[6..14].copy_from_slice(&high.to_be_bytes());
        id[14..].copy_from_slice(&low.to_be_bytes()[..2]);
        PartId(id)
    }

    /// Counts of parts per signal and tenant, by which compaction is chosen.
    pub(crate) fn parts_by_tenant(&self, signal: SignalKind) -> BTreeMap<TenantId, Vec<Arc<Part>>> {
        let table = self.table(signal);
        table.tenants().map(|tenant| (tenant, table.parts(tenant).to_vec())).collect()
    }
}

/// Where a part lies: `parts/<signal>/<id>` below the data folder.
pub(crate) fn part_folder(data_folder: &Path, record: &PartRecord) -> PathBuf {
    data_folder.join("parts").join(record.signal.as_str()).join(record.id.to_string())
}

/// SplitMix64 (Steele, Lea, Flood 2014): names need to differ, nothing more.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
