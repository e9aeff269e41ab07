mod folder;
mod objects;

use std::path::{Path, PathBuf};

use super::location::{Location, Place};
use super::manifest::{Manifest, StoredFile};
use super::{Progress, SNAPSHOTS, Snapshots, WAL, refused};
use crate::catalog::{Catalog, SqliteCatalog};
use crate::error::Error;
use crate::folder::{RESTORING, mark_folder};
use crate::fs::{FileSystem, FolderLock, RealFileSystem, lock_file, make_private};
use crate::wal::scan;

/// What is restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// The name of a snapshot; `None` is the newest.
    pub snapshot: Option<String>,
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// The name of the snapshot.
    pub snapshot: String,
    /// Its parts.
    pub parts: usize,
    /// Their rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Requests in the WAL, of which the next start takes those over that are not in parts.
    pub wal_frames: u64,
    /// Parts that were damaged when the backup was made, and what was wrong with them.
    pub damaged: Vec<(String, String)>,
}

/// A file on its way back.
struct Pair {
    /// Its name below the place of backups.
    key: String,
    to: PathBuf,
    file: StoredFile,
}

/// Makes a data folder of a snapshot, of which every byte is compared with its sum: of a folder before anything is written and
/// again then; of objects as they arrive, and what was written is removed when one is not as it was. The folder must be empty or
/// not there.
pub async fn restore(
    location: &Location,
    folder: &Path,
    options: RestoreOptions,
    progress: Progress,
) -> Result<RestoreReport, Error> {
    let fs = RealFileSystem::new();
    check_empty(&fs, folder)?;
    let (name, manifest) = match &location.0 {
        Place::Folder(source) => folder::restore(source, folder, options.snapshot, progress).await?,
        Place::Objects(source) => objects::restore(source, folder, options.snapshot, progress).await?,
    };
    let wal = folder.join(WAL);
    let wal_frames = crate::seal::blocking(move || Ok(scan(&RealFileSystem::new(), &wal)?.frames)).await?;
    let report = RestoreReport {
        snapshot: name,
        parts: manifest.parts.len(),
        rows: manifest.rows,
        bytes: manifest.bytes(),
        wal_frames,
        damaged: manifest.damaged.iter().map(|part| (part.id.clone(), part.problem.clone())).collect(),
    };
    check_catalog(folder, &report).await?;
    fs.remove_file(&folder.join(RESTORING))?;
    fs.sync_dir(folder)?;
    Ok(report)
}

fn choose(place: &str, snapshots: Snapshots, wanted: Option<String>) -> Result<String, Error> {
    let interrupted = snapshots.told_interrupted();
    let names = snapshots.complete;
    let list = names.join(", ");
    match wanted {
        Some(name) if names.contains(&name) => Ok(name),
        Some(name) => Err(refused(format!("there is no complete snapshot {name}; there are: {list}{interrupted}"))),
        None => names.into_iter().next_back().ok_or_else(|| {
            refused(format!(
                "{place} holds no complete snapshot{interrupted}; name the place that was given to `trivium backup`"
            ))
        }),
    }
}

fn check_empty(fs: &dyn FileSystem, folder: &Path) -> Result<(), Error> {
    if !fs.exists(folder)? || fs.list(folder)?.is_empty() {
        return Ok(());
    }
    let folder = folder.display();
    Err(refused(format!(
        "{folder} is not empty; nothing is ever overwritten: choose another --data-dir, or move it away"
    )))
}

fn pairs(manifest: &Manifest, snapshot: &str, target: &Path) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut add = |folder: String, to: PathBuf, file: &StoredFile| {
        pairs.push(Pair { key: format!("{folder}/{}", file.name), to: to.join(&file.name), file: file.clone() });
    };
    for part in &manifest.parts {
        part.files.iter().for_each(|file| add(part.key(), part.folder(target), file));
    }
    let snapshot = format!("{SNAPSHOTS}/{snapshot}");
    manifest.wal.iter().for_each(|file| add(format!("{snapshot}/{WAL}"), target.join(WAL), file));
    add(snapshot, target.into(), &manifest.catalog);
    pairs
}

/// Marks a folder as half restored until all is there, and makes the folders in it; what holds it.
fn begin(fs: &dyn FileSystem, target: &Path, pairs: &[Pair]) -> Result<FolderLock, Error> {
    make_private(target)?;
    fs.replace_file(&target.join(RESTORING), b"")?;
    let lock = lock_file(&target.join("lock"))?;
    mark_folder(fs, target)?;
    fs.create_dir_all(&target.join("parts"))?;
    fs.create_dir_all(&target.join(WAL))?;
    folders(pairs).into_iter().try_for_each(|folder| fs.create_dir_all(folder))?;
    Ok(lock)
}

/// Makes the entries of what was written durable.
fn finish(fs: &dyn FileSystem, pairs: &[Pair]) -> Result<(), Error> {
    folders(pairs).into_iter().try_for_each(|folder| fs.sync_dir(folder))
}

fn folders(pairs: &[Pair]) -> std::collections::BTreeSet<&Path> {
    pairs.iter().filter_map(|pair| pair.to.parent()).collect()
}

/// The catalog that was restored names what was restored.
async fn check_catalog(folder: &Path, report: &RestoreReport) -> Result<(), Error> {
    let catalog = SqliteCatalog::open_read_only(folder).await?;
    let (findings, state) = (catalog.check_integrity().await?, catalog.load().await?);
    catalog.close().await;
    if let Some(finding) = findings.first() {
        return Err(refused(format!(
            "the restored catalog is not sound: {finding}; restore another snapshot ({SNAPSHOTS}/)"
        )));
    }
    if state.parts.len() != report.parts {
        let (named, restored) = (state.parts.len(), report.parts);
        return Err(refused(format!(
            "the restored catalog names {named} parts, {restored} were restored; restore another snapshot"
        )));
    }
    Ok(())
}
