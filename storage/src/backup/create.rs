use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trivium_model::{Clock, PartId, UnixNanos};

use super::manifest::{DamagedPart, FORMAT, Manifest, StoredFile, StoredPart, snapshot_name};
use super::{PARTS, Progress, SNAPSHOTS, WAL, copy, name_of, refused, snapshot_folder, snapshots, sum_of};
use crate::catalog::{Catalog, CatalogState, FILE_NAME, SqliteCatalog};
use crate::error::Error;
use crate::folder::check_folder;
use crate::fs::{FileSystem, RealFileSystem, lock_file};
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
    folder: PathBuf,
    snapshot: PathBuf,
    now: UnixNanos,
    options: BackupOptions,
    progress: Progress,
    done: AtomicU64,
    total: AtomicU64,
    /// Parts that are in the backup folder and may be named.
    present: HashSet<PartId>,
    /// Parts that were gone when they were to be copied.
    vanished: HashSet<PartId>,
    report: BackupReport,
}

/// Makes a snapshot of a data folder in a backup folder, which is made when it is not there. The server may be running. Every
/// record that was acknowledged before the call is in it exactly once.
pub async fn backup(
    source: &Path,
    folder: &Path,
    options: BackupOptions,
    clock: Arc<dyn Clock>,
    progress: Progress,
) -> Result<BackupReport, Error> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    if !fs.exists(&source.join(FILE_NAME))? {
        return Err(refused(format!("{} is no data folder: it has no {FILE_NAME}", source.display())));
    }
    check_folder(&*fs, source)?;
    prepare_folder(&*fs, source, folder)?;
    let lock = lock_file(&folder.join("lock"))?;
    remove_incomplete(&*fs, folder)?;
    let now = clock.now();
    let name = snapshot_name(now);
    let snapshot = snapshot_folder(folder, &name);
    if fs.exists(&snapshot)? {
        return Err(refused(format!("the snapshot {name} is there already; try again")));
    }
    fs.create_dir_all(&snapshot)?;
    let mut backup = Backup {
        fs: Arc::clone(&fs),
        source: source.into(),
        folder: folder.into(),
        snapshot,
        now,
        options,
        progress,
        done: AtomicU64::new(0),
        total: AtomicU64::new(0),
        present: HashSet::new(),
        vanished: HashSet::new(),
        report: BackupReport { snapshot: name, ..BackupReport::default() },
    };
    let (backup, wal) = crate::seal::blocking(move || {
        let wal = backup.copy_wal()?;
        Ok((backup, wal))
    })
    .await?;
    let (mut backup, state) = copy_catalog_and_parts(backup).await?;
    let report = crate::seal::blocking(move || {
        backup.write_manifest(&state, wal)?;
        backup.remove_old()?;
        Ok(backup.report)
    })
    .await?;
    drop(lock);
    Ok(report)
}

fn prepare_folder(fs: &dyn FileSystem, source: &Path, folder: &Path) -> Result<(), Error> {
    let is_backup = fs.exists(&folder.join(SNAPSHOTS))?;
    if fs.exists(folder)? && !is_backup && !fs.list(folder)?.is_empty() {
        let folder = folder.display();
        return Err(refused(format!("{folder} is neither empty nor a backup folder; choose another one")));
    }
    fs.create_dir_all(&folder.join(SNAPSHOTS))?;
    let absolute = |path: &Path| path.canonicalize().map_err(Error::io("resolve", path));
    let (source, folder) = (absolute(source)?, absolute(folder)?);
    if folder.starts_with(&source) || source.starts_with(&folder) {
        let (source, folder) = (source.display(), folder.display());
        return Err(refused(format!(
            "{folder} and the data folder {source} lie within each other; choose another folder"
        )));
    }
    Ok(())
}

/// What an interrupted backup left.
fn remove_incomplete(fs: &dyn FileSystem, folder: &Path) -> Result<(), Error> {
    let complete = snapshots(fs, folder)?;
    for path in fs.list(&folder.join(SNAPSHOTS))? {
        if !complete.contains(&name_of(&path)) {
            fs.remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// Copies the catalog and then what it names, again and again until nothing vanished meanwhile.
async fn copy_catalog_and_parts(mut backup: Backup) -> Result<(Backup, CatalogState), Error> {
    let source = SqliteCatalog::open_read_only(&backup.source).await?;
    let target = backup.snapshot.join(FILE_NAME);
    for _ in 0..ATTEMPTS_MAX {
        backup.fs.remove_file(&target)?;
        source.copy_to(&target).await?;
        let copy = SqliteCatalog::open(&backup.snapshot).await?;
        let state = copy.load().await?;
        backup.report.damaged.clear();
        let copied = crate::seal::blocking(move || {
            let is_complete = backup.copy_parts(&state)?;
            Ok((backup, is_complete))
        });
        let is_complete;
        (backup, is_complete) = copied.await?;
        if !is_complete {
            copy.close().await;
            continue;
        }
        for (id, problem) in &backup.report.damaged {
            let problem = format!("damaged when it was to be backed up: {problem}");
            copy.quarantine_part(*id, problem, backup.now).await?;
        }
        let state = copy.load().await?;
        copy.close().await;
        source.close().await;
        return Ok((backup, state));
    }
    let problem =
        "the server replaced parts faster than they could be copied; back up to a faster disk or at a quieter time";
    Err(refused(problem))
}

impl Backup {
    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(done, self.total.load(Ordering::Relaxed).max(done));
    }

    /// Copies the WAL as it is at this moment, at least.
    fn copy_wal(&mut self) -> Result<Vec<StoredFile>, Error> {
        let folder = self.snapshot.join(WAL);
        self.fs.create_dir_all(&folder)?;
        let mut files: Vec<StoredFile> = Vec::new();
        for path in copy_order(&*self.fs, &self.source.join(WAL))? {
            let target = folder.join(path.file_name().unwrap_or_default());
            match copy(&*self.fs, &path, &target, &|bytes| self.advance(bytes)) {
                Ok((bytes, crc32c)) => files.push(StoredFile { name: name_of(&path), bytes, crc32c }),
                Err(_) if !self.fs.exists(&path)? => {
                    // All up to its end is in published parts, which the catalog will name.
                    self.fs.remove_file(&target)?;
                    for file in files.drain(..) {
                        self.fs.remove_file(&folder.join(file.name))?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.fs.sync_dir(&folder)?;
        let scanned = scan(&*self.fs, &folder)?;
        self.report.wal_frames = scanned.frames;
        let told = scanned.damage.iter().map(|damage| format!("{}: {}", name_of(&damage.path), damage.problem));
        self.report.wal_damage = told.collect();
        self.report.copied_bytes += files.iter().map(|file| file.bytes).sum::<u64>();
        Ok(files)
    }

    /// Whether all parts of the catalog's copy are there now, or are known to be damaged.
    fn copy_parts(&mut self, state: &CatalogState) -> Result<bool, Error> {
        let bytes: u64 = state.parts.iter().flat_map(|part| &part.files).map(|file| file.bytes).sum();
        self.total.store(self.done.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        let mut is_complete = true;
        for record in &state.parts {
            if self.present.contains(&record.id) {
                continue;
            }
            if self.has_part(record)? {
                self.present.insert(record.id);
                continue;
            }
            match self.copy_part(record) {
                Ok(None) => {
                    self.present.insert(record.id);
                    self.report.copied_parts += 1;
                    self.report.copied_bytes += record.files.iter().map(|file| file.bytes).sum::<u64>();
                }
                Ok(Some(problem)) => self.report.damaged.push((record.id, problem)),
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    // A later copy of the catalog that still names it says that it is missing for good.
                    if self.vanished.insert(record.id) {
                        is_complete = false;
                    } else {
                        self.report.damaged.push((record.id, "its files are missing".into()));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(is_complete)
    }

    fn has_part(&self, record: &PartRecord) -> Result<bool, Error> {
        let folder = StoredPart::of(record).folder(&self.folder);
        if !self.fs.exists(&folder)? {
            return Ok(false);
        }
        for file in &record.files {
            let path = folder.join(&file.name);
            let is_intact = if !self.fs.exists(&path)? {
                false
            } else if self.options.check {
                sum_of(&*self.fs, &path, &|bytes| self.advance(bytes))? == (file.bytes, file.crc32c)
            } else {
                self.fs.len(&path)? == file.bytes
            };
            if !is_intact {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies the files of a part, under another name until all are there; what is wrong with them if they are not as the
    /// catalog says.
    fn copy_part(&self, record: &PartRecord) -> Result<Option<String>, Error> {
        let target = StoredPart::of(record).folder(&self.folder);
        let unnamed = target.with_extension("tmp");
        self.fs.remove_dir_all(&unnamed)?;
        self.fs.create_dir_all(&unnamed)?;
        let source = part_folder(&self.source, record);
        for file in &record.files {
            let copied =
                copy(&*self.fs, &source.join(&file.name), &unnamed.join(&file.name), &|bytes| self.advance(bytes));
            let (bytes, crc32c) = copied.inspect_err(|_| drop(self.fs.remove_dir_all(&unnamed)))?;
            if (bytes, crc32c) != (file.bytes, file.crc32c) {
                self.fs.remove_dir_all(&unnamed)?;
                let (name, expected) = (&file.name, file.crc32c);
                let problem = format!(
                    "{name} has {bytes} bytes with CRC32C {crc32c:08x} instead of {} with {expected:08x}",
                    file.bytes
                );
                return Ok(Some(problem));
            }
        }
        self.fs.sync_dir(&unnamed)?;
        // A copy that is damaged may have the name.
        self.fs.remove_dir_all(&target)?;
        self.fs.rename(&unnamed, &target)?;
        target.parent().map_or(Ok(()), |parent| self.fs.sync_dir(parent))?;
        Ok(None)
    }

    fn write_manifest(&mut self, state: &CatalogState, wal: Vec<StoredFile>) -> Result<(), Error> {
        let catalog = self.snapshot.join(FILE_NAME);
        // SQLite removed its journals when it closed the copy; what it wrote is not synced.
        self.fs.sync_file(&catalog)?;
        let (bytes, crc32c) = sum_of(&*self.fs, &catalog, &|_| ())?;
        self.report.copied_bytes += bytes;
        self.report.parts = state.parts.len();
        self.report.rows = state.parts.iter().map(|part| u64::from(part.rows)).sum();
        let damaged = self.report.damaged.iter();
        let manifest = Manifest {
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
        };
        self.fs.sync_dir(&self.snapshot)?;
        self.fs.sync_dir(&self.folder.join(SNAPSHOTS))?;
        manifest.write(&*self.fs, &self.snapshot)
    }

    /// Removes snapshots that are too many, and parts that no snapshot names any more.
    fn remove_old(&mut self) -> Result<(), Error> {
        let Some(keep) = self.options.keep else { return Ok(()) };
        let names = snapshots(&*self.fs, &self.folder)?;
        let (old, kept) = names.split_at(names.len().saturating_sub(keep.max(1)));
        let mut needed = HashSet::new();
        for name in kept {
            let manifest = Manifest::read(&*self.fs, &snapshot_folder(&self.folder, name))?;
            needed.extend(manifest.parts.iter().map(|part| part.folder(&self.folder)));
        }
        for name in old {
            let snapshot = snapshot_folder(&self.folder, name);
            // Without its manifest it is none: nothing may name a part that is gone.
            self.fs.remove_file(&snapshot.join(super::manifest::FILE))?;
            self.fs.sync_dir(&snapshot)?;
            self.fs.remove_dir_all(&snapshot)?;
            self.report.removed.push(name.clone());
        }
        let parts = self.folder.join(PARTS);
        if old.is_empty() || !self.fs.exists(&parts)? {
            return Ok(());
        }
        for signal in self.fs.list(&parts)? {
            for part in self.fs.list(&signal)?.into_iter().filter(|part| !needed.contains(part)) {
                self.fs.remove_dir_all(&part)?;
            }
        }
        Ok(())
    }
}
