use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use trivium_model::{Clock, PartId, UnixNanos};

use super::location::Location;
use super::manifest::{DamagedPart, FORMAT, Manifest, StoredFile, StoredPart, snapshot_name};
use super::target::{Kept, Target};
use super::{Meter, Progress, WAL, copy, name_of, refused, sum_of};
use crate::catalog::{Catalog, CatalogState, FILE_NAME, SqliteCatalog};
use crate::error::Error;
use crate::folder::check_folder;
use crate::fs::{FileSystem, RealFileSystem};
use crate::part::PartRecord;
use crate::storage::part_folder;
use crate::wal::{copy_order, scan};

/// Copies of the catalog at most, while a server replaces parts faster than they can be copied.
const ATTEMPTS_MAX: usize = 50;

/// How a backup is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackupOptions {
    /// Keep so many snapshots, this one included, and remove older ones; `None` keeps all.
    pub keep: Option<usize>,
    /// Read the parts that the backup folder has already, and copy those again that are damaged there.
    pub check: bool,
}

/// What a backup consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// The name of the snapshot.
    pub snapshot: String,
    /// Its parts.
    pub parts: usize,
    /// Their rows.
    pub rows: u64,
    /// Parts that were copied; the others were there from earlier backups.
    pub copied_parts: usize,
    /// Bytes that were written, the catalog and the WAL included.
    pub copied_bytes: u64,
    /// Requests in the WAL's copy.
    pub wal_frames: u64,
    /// Parts that are damaged in the data folder, and what is wrong with them. Their rows are not in the backup.
    pub damaged: Vec<(PartId, String)>,
    /// What is wrong with the WAL in the data folder.
    pub wal_damage: Vec<String>,
    /// Older snapshots that were removed.
    pub removed: Vec<String>,
}

struct Backup {
    fs: Arc<dyn FileSystem>,
    source: PathBuf,
    target: Target,
    stage: PathBuf,
    now: UnixNanos,
    options: BackupOptions,
    meter: Meter,
    /// Parts that are in the backup and may be named.
    present: HashSet<PartId>,
    /// Parts that were gone when they were to be copied.
    vanished: HashSet<PartId>,
    report: BackupReport,
}

/// Makes a snapshot of a data folder in a place of backups, which begins to be one when it is empty. The server may be running.
/// Every record that was acknowledged before the call is in it exactly once.
pub async fn backup(
    source: &Path,
    location: &Location,
    options: BackupOptions,
    clock: Arc<dyn Clock>,
    progress: Progress,
) -> Result<BackupReport, Error> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    if !fs.exists(&source.join(FILE_NAME))? {
        return Err(refused(format!("{} is no data folder: it has no {FILE_NAME}", source.display())));
    }
    check_folder(&*fs, source)?;
    let now = clock.now();
    let name = snapshot_name(now);
    let target = Target::begin(location, &fs, source, &name, clock).await?;
    let mut backup = Backup {
        fs,
        source: source.into(),
        stage: target.stage(),
        target,
        now,
        options,
        meter: Meter::new(progress, 0),
        present: HashSet::new(),
        vanished: HashSet::new(),
        report: BackupReport { snapshot: name, ..BackupReport::default() },
    };
    let made = backup.make().await;
    if let Err(error) = backup.target.release().await {
        tracing::warn!(%error, "the lock of the backups was not given back; it ends by itself");
    }
    made?;
    Ok(backup.report)
}

impl Backup {
    async fn make(&mut self) -> Result<(), Error> {
        let (fs, source, stage, meter) =
            (Arc::clone(&self.fs), self.source.clone(), self.stage.clone(), self.meter.clone());
        let wal = crate::seal::blocking(move || copy_wal(&*fs, &source, &stage, &meter)).await?;
        self.report.wal_frames = wal.frames;
        self.report.wal_damage = wal.damage;
        self.report.copied_bytes += wal.files.iter().map(|file| file.bytes).sum::<u64>();
        let state = self.copy_catalog_and_parts().await?;
        let manifest = self.manifest(&state, wal.files)?;
        self.target.publish(&manifest, &self.meter).await?;
        if let Some(keep) = self.options.keep {
            self.report.removed = self.target.remove_old(keep.max(1)).await?;
        }
        Ok(())
    }

    /// Copies the catalog and then what it names, again and again until nothing vanished meanwhile.
    async fn copy_catalog_and_parts(&mut self) -> Result<CatalogState, Error> {
        let source = SqliteCatalog::open_read_only(&self.source).await?;
        let target = self.stage.join(FILE_NAME);
        for _ in 0..ATTEMPTS_MAX {
            self.fs.remove_file(&target)?;
            source.copy_to(&target).await?;
            let copy = SqliteCatalog::open(&self.stage).await?;
            let state = copy.load().await?;
            self.report.damaged.clear();
            if !self.copy_parts(&state).await? {
                copy.close().await;
                continue;
            }
            for (id, problem) in &self.report.damaged {
                let problem = format!("damaged when it was to be backed up: {problem}");
                copy.quarantine_part(*id, problem, self.now).await?;
            }
            let state = copy.load().await?;
            copy.close().await;
            source.close().await;
            return Ok(state);
        }
        let problem = "the server replaced parts faster than they could be copied; back up to a faster place or at a quieter time";
        Err(refused(problem))
    }

    /// Whether all parts of the catalog's copy are there now, or are known to be damaged.
    async fn copy_parts(&mut self, state: &CatalogState) -> Result<bool, Error> {
        self.meter.expect(state.parts.iter().map(bytes_of).sum());
        let missing: Vec<&PartRecord> = state.parts.iter().filter(|part| !self.present.contains(&part.id)).collect();
        let (target, source, check, meter) = (&self.target, &self.source, self.options.check, &self.meter);
        let mut kept = stream::iter(missing)
            .map(|record| async move {
                (record, target.keep_part(part_folder(source, record), StoredPart::of(record), check, meter).await)
            })
            .buffer_unordered(target.width());
        let mut is_complete = true;
        while let Some((record, kept)) = kept.next().await {
            match kept? {
                Kept::Present => {
                    self.present.insert(record.id);
                }
                Kept::Copied => {
                    self.present.insert(record.id);
                    self.report.copied_parts += 1;
                    self.report.copied_bytes += bytes_of(record);
                }
                Kept::Damaged(problem) => self.report.damaged.push((record.id, problem)),
                // A later copy of the catalog that still names it says that it is missing for good.
                Kept::Vanished if self.vanished.insert(record.id) => is_complete = false,
                Kept::Vanished => self.report.damaged.push((record.id, "its files are missing".into())),
            }
        }
        Ok(is_complete)
    }

    fn manifest(&mut self, state: &CatalogState, wal: Vec<StoredFile>) -> Result<Manifest, Error> {
        let catalog = self.stage.join(FILE_NAME);
        // SQLite removed its journals when it closed the copy; what it wrote is not synced.
        self.fs.sync_file(&catalog)?;
        let (bytes, crc32c) = sum_of(&*self.fs, &catalog, &|_| ())?;
        self.report.copied_bytes += bytes;
        self.report.parts = state.parts.len();
        self.report.rows = state.parts.iter().map(|part| u64::from(part.rows)).sum();
        let damaged = self.report.damaged.iter();
        Ok(Manifest {
            format: FORMAT,
            created_at: self.now.0.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            rows: self.report.rows,
            catalog: StoredFile { name: FILE_NAME.into(), bytes, crc32c },
            wal,
            parts: state.parts.iter().map(StoredPart::of).collect(),
            damaged: damaged
                .map(|(id, problem)| DamagedPart { id: id.to_string(), problem: problem.clone() })
                .collect(),
        })
    }
}

fn bytes_of(record: &PartRecord) -> u64 {
    record.files.iter().map(|file| file.bytes).sum()
}

struct WalCopy {
    files: Vec<StoredFile>,
    frames: u64,
    damage: Vec<String>,
}

/// Copies the WAL as it is at this moment, at least.
fn copy_wal(fs: &dyn FileSystem, source: &Path, stage: &Path, meter: &Meter) -> Result<WalCopy, Error> {
    let folder = stage.join(WAL);
    fs.create_dir_all(&folder)?;
    let mut files: Vec<StoredFile> = Vec::new();
    for path in copy_order(fs, &source.join(WAL))? {
        let target = folder.join(path.file_name().unwrap_or_default());
        match copy(fs, &path, &target, &|bytes| meter.advance(bytes)) {
            Ok((bytes, crc32c)) => files.push(StoredFile { name: name_of(&path), bytes, crc32c }),
            Err(_) if !fs.exists(&path)? => {
                // All up to its end is in published parts, which the catalog will name.
                fs.remove_file(&target)?;
                for file in files.drain(..) {
                    fs.remove_file(&folder.join(file.name))?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    fs.sync_dir(&folder)?;
    let scanned = scan(fs, &folder)?;
    let damage = scanned.damage.iter().map(|damage| format!("{}: {}", name_of(&damage.path), damage.problem));
    Ok(WalCopy { files, frames: scanned.frames, damage: damage.collect() })
}
