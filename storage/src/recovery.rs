//! From a data folder to a running store: what the catalog lists, what the WAL still holds, what a crash left behind.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use tokio::sync::Notify;
use trivium_model::{PartId, SignalKind, UnixNanos, WalPosition};

use crate::buffer::Committed;
use crate::catalog::{Catalog, CatalogState, FILE_NAME};
use crate::config::StorageConfig;
use crate::crash_loop::Starts;
use crate::described::Descriptions;
use crate::encryption::{Keyring, MasterKeys};
use crate::error::Error;
use crate::folder::check_folder;
use crate::fs::keep_copy;
use crate::part::{PageCache, Part, PartRecord};
use crate::quarantine::{last_position, request_name};
use crate::remembered::RememberedRequests;
use crate::storage::{Inner, Storage, StorageDeps, lock, part_folder};
use crate::table::{Retired, Table};
use crate::telemetry::StorageMetrics;
use crate::wal::{Damage, Frame, FrameHeader, Wal, WalConfig, WalRecovery};

/// A replay that takes longer says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What the start found and did.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// Parts in service.
    pub parts: usize,
    /// Parts that the catalog lists but whose files are missing or have the wrong length; now in quarantine.
    pub damaged_parts: Vec<(PartId, String)>,
    /// Parts of which a file could not be looked at, so that nobody knows whether they are damaged; in service.
    pub unknown_parts: Vec<(PartId, String)>,
    /// Folders that no catalog entry names, left by a crash between writing and publishing; removed.
    pub orphans: usize,
    /// Folders that no catalog entry names while others that it names are damaged, so that it may be an old copy; now in
    /// quarantine.
    pub strays: usize,
    /// Requests taken from the WAL into the buffers.
    pub replayed_requests: u64,
    /// Their rows.
    pub replayed_rows: u64,
    /// Requests in the WAL that could not be decoded; kept in `quarantine/`.
    pub undecodable_requests: u64,
    /// Parts whose key was shredded; dropped.
    pub shredded_parts: usize,
    /// Requests in the WAL whose key was shredded; passed over.
    pub shredded_requests: u64,
    /// What the WAL itself found.
    pub wal: Option<WalRecovery>,
}

/// Why a request of the WAL has no rows.
enum Undecodable {
    /// Nobody can read it any more, which is as it should be.
    Shredded,
    Defect(String),
}

/// How far a replay is.
struct ReplayProgress {
    wal_mib: u64,
    bytes: u64,
    told_at: UnixNanos,
}

impl ReplayProgress {
    fn read(&mut self, bytes: usize, now: UnixNanos, rows: u64) {
        self.bytes += bytes as u64;
        if now.since(self.told_at) >= TELL_EVERY {
            self.told_at = now;
            tracing::info!(replayed_mib = self.bytes >> 20, wal_mib = self.wal_mib, rows, "replaying the WAL");
        }
    }
}

impl Storage {
    /// Opens the data folder: loads the catalog, removes what a crash left behind, replays the WAL. When it returns, every
    /// request that was ever acknowledged is visible exactly once, except what the report names as damaged.
    pub async fn open(
        folder: &Path,
        config: StorageConfig,
        deps: StorageDeps,
    ) -> Result<(Self, RecoveryReport), Error> {
        check_folder(&*deps.fs, folder)?;
        // Before anything is changed.
        let keys = open_keyring(&config, &*deps.catalog).await?;
        let parts = folder.join("parts");
        // Now, and not with the first part: when the sync of its entry failed then, the next part would find the folder there.
        SignalKind::ALL.iter().try_for_each(|signal| deps.fs.create_dir_all(&parts.join(signal.as_str())))?;
        // Folders of signals that a process made and did not live to sync the entries of; the WAL does it for `parts`.
        deps.fs.sync_dir(&parts)?;
        let window = Duration::from_secs(config.crash_loop_window_seconds);
        let starts = Starts::begin(Arc::clone(&deps.fs), folder, deps.clock.now(), window);
        let state = deps.catalog.load().await?;
        let mut report = RecoveryReport::default();
        let positions = SignalKind::ALL.map(|signal| state.wal_position(signal));
        let highest = positions.into_iter().max().unwrap_or_default();
        let wal_config =
            WalConfig { file_bytes_max: config.wal_file_bytes_max, queue_bytes_max: config.wal_queue_bytes_max };
        let (wal, recovery) = Wal::open(Arc::clone(&deps.fs), &folder.join("wal"), wal_config, highest)?;
        let storage = Self { inner: Arc::new(inner(folder, config, deps, keys, wal, highest, starts)) };
        for damage in &recovery.damage {
            let Damage { path, offset, bytes, problem } = damage;
            tracing::error!(file = %path.display(), offset, bytes, problem, "the WAL is damaged; what is intact is served");
            storage.inner.metrics.quarantined.inc();
        }
        let found = recovery.last_position;
        storage.inner.tell_what_was_found(&recovery);
        report.wal = Some(recovery);
        storage.inner.load_parts(&state, &mut report).await?;
        storage.inner.remove_leftovers(&state, &mut report).await?;
        storage.inner.remember(&state);
        storage.inner.replay(positions, &mut report).await?;
        let records = i64::try_from(report.replayed_rows).unwrap_or(i64::MAX);
        storage.inner.metrics.wal_recovered_records.set(records);
        // Positions of damaged frames are in no buffer and never will be: their files need not wait for them.
        storage.inner.visible.fetch_max(found.0, Ordering::AcqRel);
        report.parts = storage.parts().len();
        tell_what_was_shredded(&report);
        Ok((storage, report))
    }
}

fn tell_what_was_shredded(report: &RecoveryReport) {
    let (parts, requests) = (report.shredded_parts, report.shredded_requests);
    if parts > 0 || requests > 0 {
        tracing::warn!(parts, requests, "dropped what nobody can read any more: the keys of its tenants were shredded");
    }
}

/// The keys of tenants, opened with the key file that the configuration names.
pub(crate) async fn open_keyring(config: &StorageConfig, catalog: &dyn Catalog) -> Result<Keyring, Error> {
    let master = config.encryption_key_file.as_deref().map(MasterKeys::read).transpose()?;
    Keyring::new(&catalog.tenant_keys().await?, master, config.encrypt)
}

fn inner(
    folder: &Path,
    config: StorageConfig,
    deps: StorageDeps,
    keys: Keyring,
    wal: Wal,
    highest: WalPosition,
    starts: Starts,
) -> Inner {
    let quiet_for = starts.quiet_for(config.crash_loop_starts_max);
    Inner {
        quiet_until: quiet_for.map(|quiet_for| deps.clock.now().after(quiet_for)),
        starts,
        canary: tokio::sync::Mutex::default(),
        canary_is_out: AtomicBool::new(false),
        folder: folder.to_path_buf(),
        tables: SignalKind::ALL.map(|signal| RwLock::new(Table::new(signal))),
        remembered: Mutex::new(RememberedRequests::new(Duration::from_secs(config.remember_requests_seconds))),
        pages: Arc::new(PageCache::new(config.page_cache_bytes_max)),
        config,
        fs: deps.fs,
        clock: deps.clock,
        catalog: deps.catalog,
        decoder: deps.decoder,
        keys: Arc::new(keys),
        shredding: tokio::sync::RwLock::new(()),
        wal,
        retired: Mutex::new(Retired::default()),
        in_doubt: Mutex::default(),
        resting: Mutex::default(),
        unchecked: Mutex::default(),
        rejections: Mutex::new(Vec::new()),
        descriptions: Descriptions::default(),
        chance: Mutex::new(deps.seed),
        visible: AtomicU64::new(highest.0),
        sealing: tokio::sync::Mutex::new(()),
        compacting: tokio::sync::Mutex::new(()),
        seal_wanted: Notify::new(),
        room: Notify::new(),
        appended: Notify::new(),
        closed: AtomicBool::new(false),
        metrics: StorageMetrics::default(),
    }
}

impl Inner {
    fn tell_what_was_found(&self, recovery: &WalRecovery) {
        let damaged = recovery.damage.iter().map(|damage| damage.bytes).sum::<u64>();
        self.metrics.wal_quarantined_bytes.set(i64::try_from(damaged).unwrap_or(i64::MAX));
        // A new folder has nothing that could have been closed.
        let is_unclean = recovery.unclean && recovery.begins_after.is_some();
        self.metrics.previous_shutdown_unclean.set(i64::from(is_unclean));
        self.metrics.unclean_starts.set(i64::try_from(self.starts.unclean()).unwrap_or(i64::MAX));
        if let Some(until) = self.quiet_until {
            let (starts, quiet_for) = (self.starts.unclean(), until.since(self.clock.now()));
            tracing::error!(
                starts,
                ?quiet_for,
                "the last starts did not end in order; requests are refused for a while"
            );
        }
    }

    async fn load_parts(self: &Arc<Self>, state: &CatalogState, report: &mut RecoveryReport) -> Result<(), Error> {
        for record in &state.parts {
            if self.is_shredded(record) {
                self.drop_shredded(record).await?;
                report.shredded_parts += 1;
                continue;
            }
            let error = match self.check_and_open(record) {
                Ok(part) => {
                    self.table_mut(record.signal).add(Arc::new(part));
                    continue;
                }
                // Whether it is there is not known. A disk that does not answer must cost neither the part nor, for one bad inode,
                // all others: who asks for its rows is told, and the sweep looks again.
                Err(error) if error.is_passing() => {
                    report.unknown_parts.push((record.id, error.to_string()));
                    self.serve_unchecked(record);
                    continue;
                }
                Err(error) => error,
            };
            match self.reindex(record, &error).await {
                Ok(()) => {}
                // On a full disk an index cannot be written, and the rows are there: the sweep tries again.
                Err(cause) if cause.is_passing() => {
                    tracing::warn!(%cause, part = %record.id, "a damaged index could not be made anew, which is tried again later");
                    self.serve_unchecked(record);
                }
                Err(_) => {
                    report.damaged_parts.push((record.id, error.to_string()));
                    self.quarantine(record, &error).await;
                }
            }
        }
        Ok(())
    }

    /// The sweep looks at it until it is known to be sound.
    fn serve_unchecked(&self, record: &PartRecord) {
        lock(&self.unchecked).insert(record.id);
        let part = Part::open_with(record.clone(), self.part_folder(record), &self.pages, &self.keys);
        self.table_mut(record.signal).add(Arc::new(part));
    }

    /// Whether nobody can read a part any more. Costs nothing for parts that are not encrypted.
    fn is_shredded(&self, record: &PartRecord) -> bool {
        record.is_shredded(&self.part_folder(record), &self.keys)
    }

    /// Drops a part that nobody can read any more; its folder is removed with those of other replaced parts.
    async fn drop_shredded(self: &Arc<Self>, record: &PartRecord) -> Result<(), Error> {
        self.replace(record.signal, Vec::new(), vec![record.id], record.rows.into()).await?;
        self.fs.remove_dir_all(&self.part_folder(record))?;
        self.catalog.purge_tombstones(vec![record.id]).await
    }

    /// Lengths only: reading gigabytes to check sums would delay the start. Sums are checked before every merge, by the
    /// background check and by `trivium verify`.
    fn check_and_open(&self, record: &PartRecord) -> Result<Part, Error> {
        let folder = self.part_folder(record);
        for file in &record.files {
            let path = folder.join(&file.name);
            let bytes = self.fs.len(&path)?;
            if bytes != file.bytes {
                let (expected, found) = (format!("{} bytes", file.bytes), format!("{bytes} bytes"));
                return Err(Error::Corrupted { path, offset: bytes.min(file.bytes), expected, found });
            }
        }
        Ok(Part::open_with(record.clone(), folder, &self.pages, &self.keys))
    }

    /// Removes folders of parts that were never published, and of parts that were replaced before the last stop. Parts that
    /// were published, as the WAL proves, are never removed: then the catalog is not the one of this folder.
    ///
    /// A catalog that lost its last commits names the inputs of a merge, which are gone, and not its output, which is then all
    /// that there is of their rows. So nothing is removed while something that should be there is not, or may not be.
    async fn remove_leftovers(&self, state: &CatalogState, report: &mut RecoveryReport) -> Result<(), Error> {
        let replaced = state.tombstones.iter().map(|tombstone| part_folder(&self.folder, &tombstone.part));
        let replaced: HashSet<PathBuf> = replaced.collect();
        let mut known: HashSet<PathBuf> = state.parts.iter().map(|record| part_folder(&self.folder, record)).collect();
        // Those whose indexes were made anew a moment ago have other names now.
        let tables = SignalKind::ALL.map(|signal| self.table(signal));
        known.extend(tables.iter().flat_map(|table| table.all_parts().map(|part| self.part_folder(part.record()))));
        drop(tables);
        let withdrawn: HashMap<PathBuf, &PartRecord> =
            state.quarantined.iter().map(|part| (part_folder(&self.folder, &part.part), &part.part)).collect();
        let (mut gone, mut orphans, mut left) = (Vec::new(), Vec::new(), 0);
        for signal in SignalKind::ALL {
            let folder = self.folder.join("parts").join(signal.as_str());
            if !self.fs.exists(&folder)? {
                continue;
            }
            for path in self.fs.list(&folder)?.into_iter().filter(|path| !known.contains(path)) {
                if let Some(record) = withdrawn.get(&path) {
                    crate::quarantine::keep_withdrawn(&*self.fs, &self.folder, record)?;
                } else if replaced.contains(&path) {
                    gone.push(path);
                } else if !report.unknown_parts.is_empty() {
                    tracing::warn!(part = %path.display(), "the catalog does not know this part; the next start looks again");
                    left += 1;
                } else if report.damaged_parts.is_empty() {
                    orphans.push((signal, path));
                } else {
                    self.keep_stray(signal, &path);
                    report.strays += 1;
                }
            }
        }
        self.refuse_stale_catalog(state, &orphans, left, report)?;
        for path in gone.into_iter().chain(orphans.into_iter().map(|(_, path)| path)) {
            self.fs.remove_dir_all(&path)?;
            report.orphans += 1;
        }
        self.catalog.purge_tombstones(state.tombstones.iter().map(|tombstone| tombstone.part.id).collect()).await
    }

    /// What a crash between writing and publishing leaves is in the WAL too, or in the parts that were to be merged. When the WAL
    /// begins after what the catalog knows, parts that it does not name are the only copy of their rows.
    fn refuse_stale_catalog(
        &self,
        state: &CatalogState,
        orphans: &[(SignalKind, PathBuf)],
        left: usize,
        report: &RecoveryReport,
    ) -> Result<(), Error> {
        let parts = orphans.len() + left;
        if parts == 0 {
            return Ok(());
        }
        let published = state.wal_positions.into_iter().max().unwrap_or_default();
        let (begins_after, frames) = report.wal.as_ref().map_or((None, 0), |wal| (wal.begins_after, wal.frames));
        let begins_after = begins_after.unwrap_or_default();
        let problem = if begins_after > published {
            crate::verify::neither(published, begins_after)
        } else if frames == 0 && published == WalPosition::ZERO {
            "there is neither a catalog nor a WAL that belongs to them".into()
        } else if let Some(path) = self.lost_publish(state, orphans, begins_after) {
            format!(
                "{} has rows that the WAL has not any more: the last changes of the catalog are lost",
                path.display()
            )
        } else {
            return Ok(());
        };
        Err(Error::StaleCatalog { catalog: self.folder.join(FILE_NAME), parts, problem })
    }

    /// A part that was published, and the catalog lost that: what it holds is later than what the catalog knows of its signal,
    /// and not in the WAL. What a crash left of a seal is in the WAL; what it left of a merge is not later.
    fn lost_publish<'a>(
        &self,
        state: &CatalogState,
        orphans: &'a [(SignalKind, PathBuf)],
        begins_after: WalPosition,
    ) -> Option<&'a Path> {
        let is_lost = |(signal, path): &&(SignalKind, PathBuf)| {
            let known = state.wal_position(*signal);
            // One that cannot be read was never whole.
            let last =
                (known < begins_after).then(|| last_position(&*self.fs, path, *signal, &self.keys).ok()).flatten();
            last.is_some_and(|last| known < last && last <= begins_after)
        };
        orphans.iter().find(is_lost).map(|(_, path)| path.as_path())
    }

    fn keep_stray(&self, signal: SignalKind, path: &Path) {
        tracing::error!(
            part = %path.display(),
            "the catalog does not know this part and lacks others: is it an old copy? The part is kept in quarantine/"
        );
        self.metrics.quarantined.inc();
        let folder = self.folder.join("quarantine");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let target = folder.join(format!("part-{signal}-{name}"));
        let moved = self.fs.create_dir_all(&folder).and_then(|()| self.fs.rename(path, &target));
        if let Err(error) = moved {
            tracing::warn!(%error, "the part could not be moved to quarantine/ and stays where it is");
        }
    }

    fn remember(&self, state: &CatalogState) {
        let mut remembered = self.remembered();
        for &(key, received_at) in &state.request_keys {
            remembered.stored(key, received_at);
        }
    }

    /// Takes the requests that are not in parts yet from the WAL into the buffers, sealing on the way so that a large WAL
    /// does not need more memory than a running server.
    async fn replay(self: &Arc<Self>, positions: [WalPosition; 3], report: &mut RecoveryReport) -> Result<(), Error> {
        let after = positions.into_iter().min().unwrap_or_default();
        let mut reader = self.wal.replay(after);
        let mut progress =
            ReplayProgress { wal_mib: self.wal.bytes_on_disk() >> 20, bytes: 0, told_at: self.clock.now() };
        while let Some(frame) = reader.next_frame()? {
            let signal = frame.header.signal;
            progress.read(frame.payload.len(), self.clock.now(), report.replayed_rows);
            self.visible.store(frame.position.0, Ordering::Release);
            if frame.position <= positions[signal.index()] {
                continue;
            }
            self.replay_frame(frame, report)?;
            if self.table(signal).open.bytes() >= self.config.buffer_bytes_max {
                self.seal(signal).await?;
            }
        }
        Ok(())
    }

    fn decode(&self, header: &FrameHeader, payload: &Bytes) -> Result<Option<RecordBatch>, Undecodable> {
        let FrameHeader { signal, format, received_at, oldest_admitted, .. } = *header;
        let plain = match header.is_encrypted.then(|| self.keys.decrypt_request(header.identity(), payload)) {
            None => payload.clone(),
            Some(Ok(plain)) => plain,
            Some(Err(Error::Shredded { .. })) => return Err(Undecodable::Shredded),
            Some(Err(error)) => return Err(Undecodable::Defect(error.to_string())),
        };
        // A defect that panics on one request must not end every start.
        let decode = || self.decoder.decode(signal, format, &plain, received_at, oldest_admitted);
        let decoded = catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("decoding it panicked".into()));
        decoded.map_err(Undecodable::Defect)
    }

    fn replay_frame(&self, frame: Frame, report: &mut RecoveryReport) -> Result<(), Error> {
        let Frame { position, header, payload } = frame;
        let batch = match self.decode(&header, &payload) {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(()),
            Err(Undecodable::Shredded) => {
                report.shredded_requests += 1;
                return Ok(());
            }
            Err(Undecodable::Defect(error)) => {
                // It was decoded when it was acknowledged, so this is a defect: keep the bytes, serve the rest.
                tracing::error!(%error, %position, "a request in the WAL cannot be decoded; kept in quarantine/");
                report.undecodable_requests += 1;
                self.metrics.quarantined.inc();
                let folder = self.folder.join("quarantine");
                let name = request_name(&header, position);
                // A start that found it before has kept it already; the WAL file may still be there.
                if let Err(error) = keep_copy(&*self.fs, &folder, &name, &payload) {
                    tracing::warn!(%error, "the request could not be copied to quarantine/; its WAL file is kept");
                    self.wal.keep(position);
                }
                return Ok(());
            }
        };
        report.replayed_requests += 1;
        report.replayed_rows += batch.num_rows() as u64;
        self.remembered().stored(header.key, header.received_at);
        let committed =
            Committed { tenant: header.tenant, position, received_at: header.received_at, key: header.key, batch };
        self.table_mut(header.signal).open.append(committed)
    }
}

#[cfg(test)]
mod tests;
