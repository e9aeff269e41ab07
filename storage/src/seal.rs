//! From a full buffer, or from several small parts, to published parts.
//!
//! The order is what makes it safe: files are written and fsynced, with their folders; then one catalog transaction makes
//! them visible, takes the inputs out and moves the WAL position; then the WAL is trimmed. A crash before the transaction
//! leaves files that nobody knows (recovery removes them) and a WAL that still has everything; a crash after it leaves WAL
//! frames below the position (replay skips them).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use bytes::Bytes;
use trivium_model::{PartId, SignalKind, TenantId, WalPosition};

use crate::catalog::{CatalogState, Publish};
use crate::compaction::{self, Haste, WINDOW_NANOS};
use crate::error::Error;
use crate::fs::FileSystem;
use crate::part::{EncodedPart, NewPart, Part, PartRecord, encode_part};
use crate::schema;
use crate::storage::{Inner, lock};
use crate::table::Sealing;

/// How often a change of the catalog is tried, and the pause in between.
const PUBLISH_ATTEMPTS: u32 = 3;
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);

/// How much a merge that can wait gives way to what acknowledges exports and answers queries: with nothing else to do it has a
/// processor for itself, beside ingest that wants everything a tenth of its share.
const NICENESS: i32 = 10;

/// Windows of time that one buffer is split into at most; with a wider spread of times the windows become longer than a
/// day, so that a sender of random times cannot create thousands of files.
const WINDOWS_MAX: i64 = 32;

/// Parts that are written and not published. Their files go with this, unless they are taken: a stop may end the wait for
/// work that goes on to its end.
struct Unpublished {
    inner: Arc<Inner>,
    records: Vec<PartRecord>,
}

impl Unpublished {
    /// From here on the files stay.
    fn take(mut self) -> Vec<PartRecord> {
        std::mem::take(&mut self.records)
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        self.records.iter().for_each(|record| self.inner.discard(record));
    }
}

impl Inner {
    /// Publishes what the open buffer of a signal holds; `false` when there was nothing. After an error the rows stay in
    /// the sealing buffer, visible, and the next call tries again.
    pub(crate) async fn seal(self: &Arc<Self>, signal: SignalKind) -> Result<bool, Error> {
        let _one_at_a_time = self.sealing.lock().await;
        let Some(sealing) = self.start_sealing(signal) else { return Ok(false) };
        let prepared = lock(&sealing.publish).clone();
        let publish = match prepared {
            Some(publish) => publish,
            None => self.prepare(&sealing).await?,
        };
        self.catalog.publish(publish.clone()).await?;
        let parts = self.open_parts(&publish.add);
        {
            let mut table = self.table_mut(signal);
            table.sealing = None;
            parts.into_iter().for_each(|part| table.add(part));
        }
        self.metrics.seals.get_or_create(&signal.into()).inc();
        self.metrics.sealed_rows.get_or_create(&signal.into()).inc_by(sealing.buffer.rows());
        self.room.notify_waiters();
        self.trim_wal().await?;
        Ok(true)
    }

    fn start_sealing(&self, signal: SignalKind) -> Option<Arc<Sealing>> {
        let mut table = self.table_mut(signal);
        if table.sealing.is_none() {
            if table.open.is_empty() {
                return None;
            }
            let buffer = std::mem::replace(&mut table.open, crate::buffer::Buffer::new(signal));
            table.sealing = Some(Arc::new(Sealing { buffer, publish: std::sync::Mutex::new(None) }));
            self.room.notify_waiters();
        }
        table.sealing.clone()
    }

    async fn prepare(self: &Arc<Self>, sealing: &Arc<Sealing>) -> Result<Publish, Error> {
        for tenant in sealing.buffer.tenants() {
            self.ensure_key(tenant).await?;
        }
        let (inner, work) = (Arc::clone(self), Arc::clone(sealing));
        let records = blocking(move || inner.write_buffer(&work)).await?.take();
        let buffer = &sealing.buffer;
        let publish = Publish {
            token: self.new_part_id().0,
            signal: buffer.signal(),
            add: records,
            remove: Vec::new(),
            dropped_rows: 0,
            wal_position: Some(buffer.last_position()),
            request_keys: buffer.keys().to_vec(),
            at: self.clock.now(),
        };
        *lock(&sealing.publish) = Some(publish.clone());
        Ok(publish)
    }

    fn write_buffer(self: &Arc<Self>, sealing: &Sealing) -> Result<Unpublished, Error> {
        let mut written = Unpublished { inner: Arc::clone(self), records: Vec::new() };
        // After an error the next attempt writes all of them again, under other names: on a full disk nothing may pile up.
        self.write_windows(sealing, &mut written.records)?;
        let rows: u64 = written.records.iter().map(|record| u64::from(record.rows)).sum();
        assert_eq!(rows, sealing.buffer.rows(), "every row of a sealed buffer is in exactly one part");
        Ok(written)
    }

    fn write_windows(&self, sealing: &Sealing, records: &mut Vec<PartRecord>) -> Result<(), Error> {
        for tenant in sealing.buffer.tenants() {
            let batches: Vec<RecordBatch> = sealing.buffer.batches(tenant).cloned().collect();
            for window in split_by_window(batches)? {
                records.push(self.write_part(sealing.buffer.signal(), tenant, 0, &window)?);
            }
        }
        Ok(())
    }

    /// Removes the files of a part that was not and will not be published.
    fn discard(&self, record: &PartRecord) {
        if let Err(error) = self.fs.remove_dir_all(&self.part_folder(record)) {
            tracing::warn!(%error, part = %record.id, "files of an unpublished part stay until the next start");
        }
    }

    fn write_part(
        &self,
        signal: SignalKind,
        tenant: TenantId,
        level: u32,
        batches: &[RecordBatch],
    ) -> Result<PartRecord, Error> {
        let new = NewPart { id: self.new_part_id(), tenant, signal, level, created_at: self.clock.now() };
        let EncodedPart { record, files } = self.keys.encrypted(encode_part(new, batches)?)?;
        write_files(&*self.fs, &self.part_folder(&record), &files)?;
        Ok(record)
    }

    pub(crate) fn open_parts(&self, records: &[PartRecord]) -> Vec<Arc<Part>> {
        let open =
            |record: &PartRecord| Part::open_with(record.clone(), self.part_folder(record), &self.pages, &self.keys);
        records.iter().map(open).map(Arc::new).collect()
    }

    /// Removes WAL files of which every frame is in published parts.
    pub(crate) async fn trim_wal(self: &Arc<Self>) -> Result<(), Error> {
        // Read before the tables: a frame that becomes visible in between only makes the bound smaller than it could be.
        let last = WalPosition(self.visible.load(Ordering::Acquire));
        let published = SignalKind::ALL.map(|signal| self.table(signal).published_up_to(last));
        let up_to = published.into_iter().min().unwrap_or_default();
        let inner = Arc::clone(self);
        blocking(move || inner.wal.remove_up_to(up_to)).await
    }

    /// Does one merge that is due; `false` when none is.
    pub(crate) async fn compact_once(self: &Arc<Self>, signal: SignalKind) -> Result<bool, Error> {
        let _one_at_a_time = self.compacting.lock().await;
        self.settle_doubts().await;
        for (tenant, parts) in self.parts_by_tenant(signal) {
            let records = parts.iter().map(|part| part.record());
            let records: Vec<&PartRecord> = records.filter(|record| !self.is_resting(record.id)).collect();
            let full = compaction::full_rows(signal, self.config.buffer_bytes_max);
            let Some(ids) = compaction::due(&records, full, self.clock.now()) else { continue };
            let haste = compaction::haste(&records, full);
            let inputs: Vec<Arc<Part>> =
                parts.iter().filter(|part| ids.contains(&part.record().id)).map(Arc::clone).collect();
            let merged = self.merge(signal, tenant, inputs.clone(), haste).await;
            if merged.as_ref().is_err_and(may_blame_inputs) {
                self.quarantine_damaged(inputs).await;
            }
            return merged.map(|()| true);
        }
        Ok(false)
    }

    async fn merge(
        self: &Arc<Self>,
        signal: SignalKind,
        tenant: TenantId,
        inputs: Vec<Arc<Part>>,
        haste: Haste,
    ) -> Result<(), Error> {
        self.ensure_key(tenant).await?;
        let inner = Arc::clone(self);
        let work = inputs.clone();
        let write = move || inner.write_merged(signal, tenant, &work);
        let written = match haste {
            Haste::None => blocking(move || yielding(write)).await,
            Haste::Pressing => blocking(write).await,
        };
        let written = written?.take();
        let Some(output) = written.into_iter().next() else {
            return Err(Error::Internal("a merge wrote no part".into()));
        };
        let rows: u64 = inputs.iter().map(|part| u64::from(part.record().rows)).sum();
        assert_eq!(u64::from(output.rows), rows, "a merge neither loses nor makes rows");
        let remove = inputs.iter().map(|part| part.record().id).collect();
        self.replace(signal, vec![output], remove, 0).await?;
        self.metrics.compactions.get_or_create(&signal.into()).inc();
        self.metrics.compacted_rows.get_or_create(&signal.into()).inc_by(rows);
        Ok(())
    }

    fn write_merged(
        self: &Arc<Self>,
        signal: SignalKind,
        tenant: TenantId,
        inputs: &[Arc<Part>],
    ) -> Result<Unpublished, Error> {
        let mut batches = Vec::new();
        let mut level = 0;
        for part in inputs {
            part.verify(false)?;
            batches.extend(part.read(None, None)?);
            level = level.max(part.record().level + 1);
        }
        let record = self.write_part(signal, tenant, level, &batches)?;
        Ok(Unpublished { inner: Arc::clone(self), records: vec![record] })
    }

    /// Repeats a change that failed, which may have been made all the same: whoever goes on without it would ask for parts
    /// that are gone, until the next start.
    async fn publish_surely(&self, publish: &Publish) -> Result<(), Error> {
        for _ in 1..PUBLISH_ATTEMPTS {
            match self.catalog.publish(publish.clone()).await {
                Err(Error::Catalog { .. }) => tokio::time::sleep(PUBLISH_PAUSE).await,
                other => return other,
            }
        }
        self.catalog.publish(publish.clone()).await
    }

    /// Publishes parts in the place of others, in the catalog first and then for the queries. Goes on to its end when nobody waits
    /// any more: parts that are replaced in the catalog and still served would stop every later merge. What was not
    /// published leaves no files.
    pub(crate) async fn replace(
        self: &Arc<Self>,
        signal: SignalKind,
        add: Vec<PartRecord>,
        remove: Vec<PartId>,
        dropped_rows: u64,
    ) -> Result<(), Error> {
        let publish = Publish {
            token: self.new_part_id().0,
            signal,
            add,
            remove,
            dropped_rows,
            wal_position: None,
            request_keys: Vec::new(),
            at: self.clock.now(),
        };
        let inner = Arc::clone(self);
        let replaced = tokio::spawn(async move {
            let Err(error) = inner.publish_surely(&publish).await else {
                inner.serve(&publish);
                return Ok(());
            };
            // It may have been made all the same.
            if inner.settle(publish).await { Ok(()) } else { Err(error) }
        });
        replaced.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
    }

    /// What became of a replacement that ended in an error: `true` when it was made, and is served now. One that was not made
    /// leaves no files, which would take room until the next start, and others after the next attempt. One of which nothing
    /// can be said is asked for again before the next one.
    async fn settle(self: &Arc<Self>, publish: Publish) -> bool {
        match self.catalog.load().await {
            Ok(state) if was_made(&publish, &state) => {
                self.serve(&publish);
                true
            }
            Ok(_) => {
                let inner = Arc::clone(self);
                let discarded = blocking(move || {
                    publish.add.iter().for_each(|record| inner.discard(record));
                    Ok(())
                });
                drop(discarded.await);
                false
            }
            Err(error) => {
                tracing::warn!(%error, "it is not known whether parts were replaced; it is looked up before the next merge");
                lock(&self.in_doubt).push(publish);
                false
            }
        }
    }

    /// Looks up the replacements of which nothing could be said. Whoever chooses parts calls it before, or would choose some that
    /// are gone.
    pub(crate) async fn settle_doubts(self: &Arc<Self>) {
        let doubts = std::mem::take(&mut *lock(&self.in_doubt));
        for publish in doubts {
            self.settle(publish).await;
        }
    }

    /// Shows queries what was published.
    fn serve(&self, publish: &Publish) {
        let parts = self.open_parts(&publish.add);
        let removed = {
            let mut table = self.table_mut(publish.signal);
            parts.into_iter().for_each(|part| table.add(part));
            table.remove(&publish.remove)
        };
        lock(&self.retired).add(&removed);
    }
}

/// Whether a replacement is in the catalog: all that it adds, and nothing of what it removes.
fn was_made(publish: &Publish, state: &CatalogState) -> bool {
    let is_published = |id: PartId| state.parts.iter().any(|part| part.id == id);
    publish.add.iter().all(|part| is_published(part.id)) && !publish.remove.iter().any(|&part| is_published(part))
}

/// Whether a merge may have failed because of what it read. Reading all of it once more costs as much as the merge.
fn may_blame_inputs(error: &Error) -> bool {
    let is_full = matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
    !is_full && !matches!(error, Error::Catalog { .. } | Error::Conflict { .. } | Error::Unavailable { .. })
}

/// Writes the files of a part durably, with the entry of its folder. After an error nothing of them is left: the next attempt has
/// another name, and on a full disk nothing may pile up.
pub(crate) fn write_files(fs: &dyn FileSystem, folder: &Path, files: &[(String, Bytes)]) -> Result<(), Error> {
    if fs.exists(folder)? {
        // What is there is another part's, and stays.
        return Err(Error::Internal(format!("a new part would lie in {}, which is there already", folder.display())));
    }
    let written = write_new_files(fs, folder, files);
    if written.is_err()
        && let Err(error) = fs.remove_dir_all(folder)
    {
        tracing::warn!(%error, folder = %folder.display(), "files of an unpublished part stay until the next start");
    }
    written
}

fn write_new_files(fs: &dyn FileSystem, folder: &Path, files: &[(String, Bytes)]) -> Result<(), Error> {
    fs.create_dir_all(folder)?;
    for (name, bytes) in files {
        fs.write_file_synced(&folder.join(name), bytes)?;
    }
    fs.sync_dir(folder)?;
    folder.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))
}

/// Runs work that takes CPU or blocks on files away from the async workers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}

/// Runs work on a thread of its own that gives way to all others: a thread that has become nice may not go back.
fn yielding<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let nice = move || {
        // Of the thread alone, on Linux; where that cannot be, all are alike.
        _ = rustix::process::nice(NICENESS);
        work()
    };
    let thread = std::thread::Builder::new().name("trivium-merge".to_owned()).spawn(nice);
    let thread = thread.map_err(|error| Error::Internal(format!("cannot start a thread for a merge: {error}")))?;
    thread.join().unwrap_or_else(|_| Err(Error::Internal("a merge panicked; the log says where".into())))
}

/// The rows by windows of time, a day each unless they spread over more than [`WINDOWS_MAX`] days.
fn split_by_window(batches: Vec<RecordBatch>) -> Result<Vec<Vec<RecordBatch>>, Error> {
    let mut bounds = (i64::MAX, i64::MIN);
    for batch in &batches {
        for &time in times(batch)? {
            bounds = (bounds.0.min(time), bounds.1.max(time));
        }
    }
    let (first, last) = (bounds.0.div_euclid(WINDOW_NANOS), bounds.1.div_euclid(WINDOW_NANOS));
    if first >= last {
        return Ok(vec![batches]);
    }
    let days = (last - first + 1 + WINDOWS_MAX - 1) / WINDOWS_MAX;
    let mut windows: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
    for batch in &batches {
        for (window, rows) in split_batch(batch, first, days)? {
            windows.entry(window).or_default().push(rows);
        }
    }
    Ok(windows.into_values().collect())
}

fn split_batch(batch: &RecordBatch, first_day: i64, days: i64) -> Result<Vec<(i64, RecordBatch)>, Error> {
    let window_of = |time: i64| (time.div_euclid(WINDOW_NANOS) - first_day) / days;
    let windows: Vec<i64> = times(batch)?.iter().map(|&time| window_of(time)).collect();
    let mut distinct = windows.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if let [only] = distinct[..] {
        return Ok(vec![(only, batch.clone())]);
    }
    let rows_of = |window: i64| {
        let mask = BooleanArray::from_iter(windows.iter().map(|&other| Some(other == window)));
        Ok((window, filter_record_batch(batch, &mask)?))
    };
    distinct.into_iter().map(rows_of).collect()
}

fn times(batch: &RecordBatch) -> Result<&[i64], Error> {
    let column = batch.column_by_name(schema::TIME);
    let times = column.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let times = times.filter(|times| times.null_count() == 0);
    times
        .map(|times| &times.values()[..])
        .ok_or_else(|| Error::Internal("rows without a time reached the store".into()))
}

#[cfg(test)]
mod tests;
