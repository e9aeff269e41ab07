use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::manifest::{Manifest, StoredFile};
use super::{Progress, SNAPSHOTS, WAL, copy, refused, snapshot_folder, snapshots, sum_of};
use crate::catalog::{Catalog, SqliteCatalog};
use crate::error::Error;
use crate::folder::{RESTORING, mark_folder};
use crate::fs::{FileSystem, RealFileSystem, lock_file};
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
    from: PathBuf,
    to: PathBuf,
    file: StoredFile,
}

/// Makes a data folder of a snapshot. First every file of the snapshot is read and compared with its sum; only then anything is
/// written, and compared again. The folder must be empty or not there.
pub async fn restore(
    source: &Path,
    folder: &Path,
    options: RestoreOptions,
    progress: Progress,
) -> Result<RestoreReport, Error> {
    let (source, target) = (source.to_path_buf(), folder.to_path_buf());
    let report = crate::seal::blocking(move || {
        let fs = RealFileSystem::new();
        let name = choose(&fs, &source, options.snapshot)?;
        check_empty(&fs, &target)?;
        let snapshot = snapshot_folder(&source, &name);
        let manifest = Manifest::read(&fs, &snapshot)?;
        let pairs = pairs(&manifest, &source, &snapshot, &target);
        let (done, total) = (AtomicU64::new(0), 2 * manifest.bytes());
        let advance = |bytes: u64| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
        check_all(&fs, &pairs, &advance)?;
        write_all(&fs, &target, &pairs, &advance)?;
        let wal_frames = scan(&fs, &target.join(WAL))?.frames;
        let damaged = manifest.damaged.iter().map(|part| (part.id.clone(), part.problem.clone())).collect();
        let (parts, rows, bytes) = (manifest.parts.len(), manifest.rows, manifest.bytes());
        Ok(RestoreReport { snapshot: name, parts, rows, bytes, wal_frames, damaged })
    })
    .await?;
    check_catalog(folder, &report).await?;
    let fs = RealFileSystem::new();
    fs.remove_file(&folder.join(RESTORING))?;
    fs.sync_dir(folder)?;
    Ok(report)
}

fn choose(fs: &dyn FileSystem, source: &Path, wanted: Option<String>) -> Result<String, Error> {
    let names = snapshots(fs, source)?;
    let list = |names: &[String]| names.join(", ");
    match wanted {
        Some(name) if names.contains(&name) => Ok(name),
        Some(name) => Err(refused(format!("there is no complete snapshot {name}; there are: {}", list(&names)))),
        None => names.into_iter().next_back().ok_or_else(|| {
            refused(format!(
                "{} holds no complete snapshot; name the folder that was given to `trivium backup`",
                source.display()
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

fn pairs(manifest: &Manifest, source: &Path, snapshot: &Path, target: &Path) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut add = |from: PathBuf, to: PathBuf, file: &StoredFile| {
        pairs.push(Pair { from: from.join(&file.name), to: to.join(&file.name), file: file.clone() });
    };
    for part in &manifest.parts {
        part.files.iter().for_each(|file| add(part.folder(source), part.folder(target), file));
    }
    manifest.wal.iter().for_each(|file| add(snapshot.join(WAL), target.join(WAL), file));
    add(snapshot.into(), target.into(), &manifest.catalog);
    pairs
}

fn check_all(fs: &dyn FileSystem, pairs: &[Pair], advance: &dyn Fn(u64)) -> Result<(), Error> {
    let (mut damaged, mut first) = (0_u64, None);
    for Pair { from, file, .. } in pairs {
        let problem = match sum_of(fs, from, advance) {
            Ok(found) if found == (file.bytes, file.crc32c) => continue,
            Ok((bytes, sum)) => {
                format!("{bytes} bytes with CRC32C {sum:08x} instead of {} with {:08x}", file.bytes, file.crc32c)
            }
            Err(error) => error.to_string(),
        };
        damaged += 1;
        first.get_or_insert_with(|| format!("{}: {problem}", from.display()));
    }
    let Some(first) = first else { return Ok(()) };
    let of = pairs.len();
    Err(refused(format!(
        "{damaged} of {of} files of the snapshot are damaged, nothing was restored; the first is {first}. Try an older one (--snapshot), \
         or have `trivium backup --check` copy the parts again from the data folder if there still is one"
    )))
}

fn write_all(fs: &dyn FileSystem, target: &Path, pairs: &[Pair], advance: &dyn Fn(u64)) -> Result<(), Error> {
    fs.create_dir_all(target)?;
    fs.replace_file(&target.join(RESTORING), b"")?;
    let _lock = lock_file(&target.join("lock"))?;
    mark_folder(fs, target)?;
    fs.create_dir_all(&target.join("parts"))?;
    fs.create_dir_all(&target.join(WAL))?;
    let mut folders = std::collections::BTreeSet::new();
    for Pair { from, to, file } in pairs {
        if let Some(folder) = to.parent().filter(|folder| !folders.contains(*folder)) {
            fs.create_dir_all(folder)?;
            folders.insert(folder.to_path_buf());
        }
        if copy(fs, from, to, advance)? != (file.bytes, file.crc32c) {
            let (from, to) = (from.display(), to.display());
            return Err(refused(format!(
                "{from} changed while it was copied to {to}; empty the folder and restore again"
            )));
        }
    }
    folders.iter().try_for_each(|folder| fs.sync_dir(folder))
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
