//! A machine with a store on it, one process after the other, and what its senders know.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trivium_model::{Clock, ManualClock, PartId, SignalKind, TenantId, UnixNanos};

use super::catalog::SimulatedCatalog;
use super::disk::{Disk, Omission};
use super::ledger::{Found, Known, Ledger};
use super::requests::{Lines, rows_of};
use crate::catalog::memory::MemoryCatalog;
use crate::config::StorageConfig;
use crate::folder::{check_folder, mark_folder};
use crate::fs::FileSystem;
use crate::fs::testing::{Crash, CrashFileSystem};
use crate::recovery::RecoveryReport;
use crate::storage::{Storage, StorageDeps};
use crate::verify::findings_of;

/// Tenants that send.
pub(super) const TENANTS: u32 = 2;

/// How long rows are kept.
pub(super) const RETENTION: Duration = Duration::from_secs(2 * 24 * 3600);

/// What ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is killed; the machine goes on, and may lose later what the process had not synced.
    Killed,
    /// The machine loses power.
    PowerCut(Crash),
}

/// A machine at one moment: what is on its disk and in its catalog, and what is known outside.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) model: CrashFileSystem,
    pub(super) catalog: MemoryCatalog,
    pub(super) ledger: Ledger,
    pub(super) now: UnixNanos,
}

impl Moment {
    /// A new machine.
    pub(super) fn first() -> Self {
        let (model, catalog) = (CrashFileSystem::new(), MemoryCatalog::default());
        Self { model, catalog, ledger: Ledger::default(), now: crate::testing::START }
    }

    /// The machine after the end of its process, a second later.
    pub(super) fn after(&self, end: End) -> Self {
        let model = match end {
            End::Killed => self.model.fork(),
            End::PowerCut(crash) => self.model.crash(crash),
        };
        let mut ledger = self.ledger.clone();
        ledger.process_ended();
        Self { model, catalog: self.catalog.fork(), ledger, now: self.now.after(Duration::from_secs(1)) }
    }
}

pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) catalog: MemoryCatalog,
    pub(super) clock: Arc<ManualClock>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) config: StorageConfig,
    /// Chance, for the names of parts.
    seed: u64,
    pub(super) storage: Option<Storage>,
}

/// Buffers and WAL files of a size that a few requests fill.
pub(super) fn config(buffer_bytes_max: usize, wal_file_bytes_max: u64) -> StorageConfig {
    let mut config = StorageConfig { buffer_bytes_max, wal_file_bytes_max, ..StorageConfig::default() };
    SignalKind::ALL.into_iter().for_each(|signal| config.set_retention(signal, Some(RETENTION)));
    config
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl World {
    pub(super) fn new(moment: Moment, config: StorageConfig, seed: u64) -> Self {
        let Moment { model, catalog, ledger, now } = moment;
        Self {
            disk: Disk::new(model),
            catalog,
            clock: Arc::new(ManualClock::new(now)),
            ledger: Arc::new(Mutex::new(ledger)),
            config,
            seed,
            storage: None,
        }
    }

    /// The same with a store that has a mistake.
    pub(super) fn leaving_out(self, omission: Option<Omission>) -> Self {
        self.disk.leave_out(omission);
        self
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything as it is now.
    pub(super) fn moment(&self) -> Moment {
        let (model, catalog) = (self.disk.model().fork(), self.catalog.fork());
        Moment { model, catalog, ledger: self.ledger().clone(), now: self.clock.now() }
    }

    /// A function that tells what everything is at the time of its call.
    pub(super) fn moments(&self) -> impl Fn() -> Moment + Send + use<> {
        let (model, catalog, clock) = (self.disk.model().clone(), self.catalog.clone(), Arc::clone(&self.clock));
        let ledger = Arc::clone(&self.ledger);
        move || Moment {
            model: model.fork(),
            catalog: catalog.fork(),
            ledger: ledger.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            now: clock.now(),
        }
    }

    /// Starts a process. `Ok(false)` when the disk ended or kept from its end what it did.
    pub(super) async fn start(&mut self) -> Result<bool, String> {
        let failures = self.disk.failures();
        match self.open().await {
            Ok((storage, report)) => {
                self.storage = Some(storage);
                no_damage(&report)?;
                self.check()?;
                let found = self.found()?;
                self.ledger().settle(&found);
                Ok(true)
            }
            Err(_) if self.disk.is_stopped() || self.disk.failures() > failures => Ok(false),
            Err(error) => Err(format!("the store does not open: {error}")),
        }
    }

    async fn open(&self) -> Result<(Storage, RecoveryReport), crate::Error> {
        let (disk, folder) = (&self.disk, self.disk.folder());
        // What taking the lock of the folder does.
        disk.create_dir_all(&folder)?;
        check_folder(disk, &folder)?;
        disk.sync_dir(folder.parent().unwrap_or(&folder))?;
        mark_folder(disk, &folder)?;
        let deps = StorageDeps {
            fs: Arc::new(disk.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            catalog: Arc::new(SimulatedCatalog { disk: disk.clone(), kept: self.catalog.clone() }),
            decoder: Arc::new(Lines),
            seed: self.seed,
        };
        Storage::open(&folder, self.config.clone(), deps).await
    }

    /// Ends the process without order, and waits until nothing of it is left.
    pub(super) fn kill(&mut self) {
        self.disk.stop();
        self.disk.resume();
        if let Some(storage) = self.storage.take() {
            storage.inner.wal.close();
        }
    }

    /// Ends the process in order.
    pub(super) async fn close(&mut self) {
        if let Some(storage) = self.storage.take() {
            storage.close().await;
        }
        self.disk.stop();
    }

    /// The machine after the end of the process.
    pub(super) fn next(mut self, end: End, seed: u64) -> Self {
        self.kill();
        let (moment, config) = (self.moment().after(end), self.config.clone());
        Self::new(moment, config, seed).leaving_out(self.disk.omission())
    }

    /// All rows that queries find.
    pub(super) fn found(&self) -> Result<Vec<Found>, String> {
        let Some(storage) = &self.storage else { return Err("no process is running".into()) };
        let mut found = Vec::new();
        for tenant in (0..TENANTS).map(TenantId) {
            for signal in SignalKind::ALL {
                let rows = rows_of(&storage.snapshot(tenant, signal))?;
                found.extend(rows.into_iter().map(|(name, time)| Found { tenant, signal, name, time }));
            }
        }
        Ok(found)
    }

    /// Queries find what they must find.
    pub(super) fn check(&self) -> Result<(), String> {
        let found = self.found()?;
        self.ledger().check(&found)
    }

    /// Drops what is old, as the store does it by itself.
    pub(super) async fn expire(&self, storage: &Storage) -> Result<(), crate::Error> {
        self.ledger().keep_since(self.clock.now().before(RETENTION));
        storage.inner.expire().await
    }

    /// Brings everything into parts, ends in order, and looks whether the folder is as tidy as it can be; then once more.
    pub(super) async fn tidy(&mut self) -> Result<(), String> {
        let Some(storage) = self.storage.clone() else { return Err("no process is running".into()) };
        storage.flush().await.map_err(text)?;
        self.expire(&storage).await.map_err(text)?;
        let oldest = self.clock.now().before(RETENTION);
        if let Some(part) = storage.parts().iter().find(|part| part.last_time < oldest) {
            return Err(format!("retention left part {} alone", part.id));
        }
        storage.flush().await.map_err(text)?;
        self.check()?;
        drop(storage);
        self.close().await;
        self.no_leftovers()
    }

    /// Whether the folder holds what it should and nothing else, after an end in order.
    fn no_leftovers(&self) -> Result<(), String> {
        let (model, folder) = (self.disk.model(), Path::new("/data"));
        let state = self.catalog.now();
        let (_, files) = model.below(folder);
        let is_part = |path: &Path, id: PartId| path.components().any(|part| *part.as_os_str() == *id.to_string());
        let known: BTreeSet<PartId> = state.parts.iter().map(|part| part.id).collect();
        let expected = |path: &Path| {
            let (name, extension) = (path.file_name().unwrap_or_default(), path.extension().unwrap_or_default());
            // The next canary is written over what the last one left.
            let is_alone =
                ["format", "starts", "canary", "canary.tmp", "clean", "newest"].iter().any(|kept| *name == **kept);
            is_alone || extension == "wal" || known.iter().any(|&id| is_part(path, id))
        };
        if let Some((path, _)) = files.iter().find(|(path, _)| !expected(path)) {
            return Err(format!("{} was left behind", path.display()));
        }
        let wal = files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "wal")).count();
        if wal != 1 || !state.tombstones.is_empty() || !state.quarantined.is_empty() {
            let (tombstones, withdrawn) = (state.tombstones.len(), state.quarantined.len());
            return Err(format!(
                "{wal} WAL files, {tombstones} tombstones, {withdrawn} withdrawn parts were left behind"
            ));
        }
        // A copy that can be read after the end of the process.
        let disk = Disk::new(model.fork());
        let findings = findings_of(&disk, &disk.folder(), &state, true).map_err(text)?;
        if findings.is_empty() { Ok(()) } else { Err(format!("verify found {findings:?}")) }
    }

    /// What is known of the request with this number after an answer.
    pub(super) fn answered(&self, number: u32, known: Known) {
        self.ledger().set(number, known);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Nothing that a crash leaves is damage.
fn no_damage(report: &RecoveryReport) -> Result<(), String> {
    let wal_damage = report.wal.as_ref().map_or(0, |wal| wal.damage.len());
    if report.damaged_parts.is_empty() && report.strays == 0 && report.undecodable_requests == 0 && wal_damage == 0 {
        return Ok(());
    }
    Err(format!("the start took for damage what a crash left: {report:?}"))
}
