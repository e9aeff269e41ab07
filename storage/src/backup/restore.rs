mod folder;
mod objects;

use std::path::{Path, PathBuf};

use super::location::{Location, Place};
use super::manifest::{Manifest, StoredFile};
use super::{Progress, SNAPSHOTS, Snapshots, WAL, refused};
use crate::catalog::{Catalog, SqliteCatalog};
use crate::error::Error;
use crate::folder::{RESTORING, mark_folder};
use crate::fs::{FileSystem, FolderLock, LOCK, RealFileSystem, lock_file, make_private};
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

/// A lock that nobody holds any more may be left of an attempt.
fn check_empty(fs: &dyn FileSystem, folder: &Path) -> Result<(), Error> {
    if !fs.exists(folder)? || fs.list(folder)?.iter().all(|path| path.ends_with(LOCK)) {
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

/// Takes the folder. That it was empty may have been hours ago: a server may have begun to live in it, and nothing of that is
/// touched.
fn take(fs: &dyn FileSystem, target: &Path) -> Result<FolderLock, Error> {
    make_private(target)?;
    let lock = lock_file(&target.join(LOCK))?;
    check_empty(fs, target)?;
    Ok(lock)
}

/// Marks a folder that was taken as half restored until all is there, and makes the folders in it.
fn begin(fs: &dyn FileSystem, target: &Path, pairs: &[Pair]) -> Result<(), Error> {
    fs.replace_file(&target.join(RESTORING), b"")?;
    mark_folder(fs, target)?;
    fs.create_dir_all(&target.join("parts"))?;
    fs.create_dir_all(&target.join(WAL))?;
    folders(pairs).into_iter().try_for_each(|folder| fs.create_dir_all(folder))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Reading a backup takes hours. A server that began to live in the folder meanwhile keeps what it has.
    #[test]
    fn a_folder_that_somebody_took_meanwhile_is_left_alone() {
        let (fs, folder) = (RealFileSystem::new(), tempfile::tempdir().expect("a folder"));
        let folder = folder.path();
        drop(take(&fs, folder).expect("it is empty"));
        let held = take(&fs, folder).expect("an old lock alone is nothing");
        assert!(matches!(take(&fs, folder), Err(Error::Locked { .. })));
        drop(held);
        std::fs::write(folder.join(crate::catalog::FILE_NAME), "of a server").expect("written");
        assert!(matches!(take(&fs, folder), Err(Error::Backup { .. })));
        assert_eq!(fs.list(folder).expect("listed").len(), 2, "the lock and what was there");
    }
}
