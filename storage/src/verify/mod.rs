//! Reads a data folder and compares it with itself: catalog against files, checksums, row counts, the WAL's frames, requests
//! that are there twice. [`repair`] puts right what can be put right without losing a byte.

mod duplicates;
mod repair;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trivium_model::{PartId, SignalKind, WalPosition};

use crate::catalog::{Catalog, CatalogState, FILE_NAME, SqliteCatalog};
use crate::encryption::{Keyring, MasterKeys};
use crate::error::Error;
use crate::folder::check_folder;
use crate::fs::{FileSystem, RealFileSystem};
use crate::part::{PageCache, Part, PartDamage, PartRecord};
use crate::storage::part_folder;
use crate::wal::{Scan, all_missing, scan};

pub(crate) use duplicates::refuse_shared_rows;
pub(crate) use repair::write_reindexed;
pub use repair::{Action, RepairDeps, RepairReport, repair};

/// How thorough to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Also decode every row, look for rows that are there twice.
    pub deep: bool,
    /// The file with the master keys, for a folder that holds encrypted telemetry.
    pub encryption_key_file: Option<PathBuf>,
}

/// What a finding is about, and so what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The catalog itself.
    Catalog,
    /// The rows of a part.
    Part(PartId),
    /// Only what is derived from the rows of a part.
    Indexes(PartId),
    /// A part that could not be read this time, which says nothing of its bytes.
    Unread,
    /// Written by a newer Trivium.
    Newer,
    /// A part that no catalog entry names.
    Orphan(SignalKind),
    /// A file that belongs to nothing.
    Stray,
    /// The WAL.
    Wal,
    /// The same request or row twice.
    Duplicate,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// What it is about.
    pub kind: FindingKind,
}

/// What was checked and found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Parts that the catalog lists.
    pub parts: usize,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Intact requests in the WAL.
    pub wal_frames: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Is told how many bytes of how many were read.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// [`verify_with`] without progress.
pub async fn verify(folder: &Path, options: Options) -> Result<VerifyReport, Error> {
    let silent: Progress = Arc::new(|_, _| ());
    verify_with(folder, options, silent).await
}

/// Checks a data folder without changing it. A running server may write at the same time: parts that it replaces or adds
/// during the check are no findings.
pub async fn verify_with(folder: &Path, options: Options, progress: Progress) -> Result<VerifyReport, Error> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    let has_catalog = is_data_folder(&*fs, folder)?;
    check_folder(&*fs, folder)?;
    if !has_catalog {
        let folder = folder.to_path_buf();
        return crate::seal::blocking(move || without_catalog(&*fs, &folder)).await;
    }
    let (catalog, state) = match open_catalog(folder).await {
        Ok(opened) => opened,
        Err(error @ (Error::Catalog { .. } | Error::Corrupted { .. })) => {
            let problem = format!(
                "{error}; restore the folder from a backup (trivium restore), or move the file away and --repair"
            );
            let finding = Finding { path: folder.join(FILE_NAME), problem, kind: FindingKind::Catalog };
            return Ok(VerifyReport { findings: vec![finding], ..VerifyReport::default() });
        }
        Err(error) => return Err(error),
    };
    let master = options.encryption_key_file.as_deref().map(MasterKeys::read).transpose()?;
    let keys = Arc::new(Keyring::new(&catalog.tenant_keys().await?, master, false)?);
    let mut report = VerifyReport::default();
    for problem in catalog.check_integrity().await? {
        report.findings.push(Finding { path: folder.join(FILE_NAME), problem, kind: FindingKind::Catalog });
    }
    let (path, worker, first) = (folder.to_path_buf(), Arc::clone(&fs), state.clone());
    let (mut report, scanned) = crate::seal::blocking(move || {
        let scanned = check_files(&*worker, &path, &keys, &first, options.deep, &progress, &mut report)?;
        Ok((report, scanned))
    })
    .await?;
    let now = catalog.load().await?;
    report.findings.extend(requests_in_neither(&*fs, folder, &scanned, &now)?);
    forget_what_was_replaced(folder, &state, &now, &mut report);
    Ok(report)
}

/// Compares parts and WAL with a state of the catalog.
fn check_files(
    fs: &dyn FileSystem,
    folder: &Path,
    keys: &Arc<Keyring>,
    state: &CatalogState,
    deep: bool,
    progress: &Progress,
    report: &mut VerifyReport,
) -> Result<Scan, Error> {
    let parts = Parts { folder, keys, pages: Arc::new(PageCache::new(0)) };
    check_parts(&parts, state, deep, progress, report);
    check_leftovers(fs, folder, state, report)?;
    duplicates::check(&parts, state, deep, report);
    check_wal(fs, folder, state, report)
}

/// What is wrong with the files of a folder that nobody uses, whatever they and the catalog are kept in.
#[cfg(test)]
pub(crate) fn findings_of(
    fs: &dyn FileSystem,
    folder: &Path,
    state: &CatalogState,
    deep: bool,
) -> Result<Vec<Finding>, Error> {
    let (silent, mut report): (Progress, _) = (Arc::new(|_, _| ()), VerifyReport::default());
    let scanned = check_files(fs, folder, &Arc::new(Keyring::default()), state, deep, &silent, &mut report)?;
    report.findings.extend(requests_in_neither(fs, folder, &scanned, state)?);
    Ok(report.findings)
}

async fn open_catalog(folder: &Path) -> Result<(SqliteCatalog, CatalogState), Error> {
    let catalog = SqliteCatalog::open_read_only(folder).await?;
    let state = catalog.load().await?;
    Ok((catalog, state))
}

/// Whether there is a catalog; an error when there is nothing of a data folder at all.
fn is_data_folder(fs: &dyn FileSystem, folder: &Path) -> Result<bool, Error> {
    let not_found = |action| {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        Error::Io { action, path: folder.into(), source }
    };
    if !fs.exists(folder)? {
        return Err(not_found("open the data folder"));
    }
    if fs.exists(&folder.join(FILE_NAME))? {
        return Ok(true);
    }
    if fs.exists(&folder.join("parts"))? || fs.exists(&folder.join("wal"))? {
        return Ok(false);
    }
    Err(not_found("find a catalog, parts or a WAL in"))
}

/// Without a catalog there is the WAL to look at, and parts of which nobody knows whether they are published.
fn without_catalog(fs: &dyn FileSystem, folder: &Path) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport::default();
    check_leftovers(fs, folder, &CatalogState::default(), &mut report)?;
    if !report.findings.is_empty() {
        let problem = "is missing: nothing says which parts are published. Restore the folder from a backup (trivium restore), \
                       or the file alone if you have it; --repair moves the parts to quarantine/, from where \
                       `trivium quarantine restore` publishes them again";
        let (path, problem) = (folder.join(FILE_NAME), problem.into());
        report.findings = vec![Finding { path, problem, kind: FindingKind::Catalog }];
    }
    check_wal(fs, folder, &CatalogState::default(), &mut report)?;
    Ok(report)
}

/// What a running server took out of service or put into it meanwhile changed for a good reason.
fn forget_what_was_replaced(folder: &Path, before: &CatalogState, now: &CatalogState, report: &mut VerifyReport) {
    let folders = |state: &CatalogState| -> HashSet<PathBuf> {
        state.parts.iter().map(|record| part_folder(folder, record)).collect()
    };
    let (now, before) = (folders(now), folders(before));
    let changed: HashSet<&PathBuf> = now.symmetric_difference(&before).collect();
    report.findings.retain(|finding| !finding.path.ancestors().any(|path| changed.contains(&path.to_path_buf())));
}

/// Where the parts lie, and how they are opened.
struct Parts<'a> {
    folder: &'a Path,
    keys: &'a Arc<Keyring>,
    pages: Arc<PageCache>,
}

impl Parts<'_> {
    fn open(&self, record: &PartRecord) -> Part {
        Part::open_with(record.clone(), part_folder(self.folder, record), &self.pages, self.keys)
    }
}

fn check_parts(parts: &Parts<'_>, state: &CatalogState, deep: bool, progress: &Progress, report: &mut VerifyReport) {
    let bytes_of = |record: &PartRecord| record.files.iter().map(|file| file.bytes).sum::<u64>();
    let total = state.parts.iter().map(bytes_of).sum();
    let done = std::sync::atomic::AtomicU64::new(0);
    for record in &state.parts {
        report.parts += 1;
        report.rows += u64::from(record.rows);
        report.bytes += bytes_of(record);
        let path = part_folder(parts.folder, record);
        let advance = |bytes| {
            let before = done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
            progress(before + bytes, total);
        };
        let checked = parts.open(record).inspect(deep, &advance);
        if let Err(damage) = checked {
            let kind = match &damage {
                PartDamage::Columns(Error::UnknownFormat { .. }) | PartDamage::Indexes(Error::UnknownFormat { .. }) => {
                    FindingKind::Newer
                }
                PartDamage::Columns(error) | PartDamage::Indexes(error) if error.is_passing() => FindingKind::Unread,
                PartDamage::Columns(_) => FindingKind::Part(record.id),
                PartDamage::Indexes(_) => FindingKind::Indexes(record.id),
            };
            report.findings.push(Finding { path, problem: Error::from(damage).to_string(), kind });
        }
    }
}

/// Folders and files that belong to nothing.
fn check_leftovers(
    fs: &dyn FileSystem,
    folder: &Path,
    state: &CatalogState,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let tombstones: HashSet<String> = state.tombstones.iter().map(|tombstone| tombstone.part.id.to_string()).collect();
    let known: std::collections::HashMap<PathBuf, &PartRecord> =
        state.parts.iter().map(|record| (part_folder(folder, record), record)).collect();
    for signal in SignalKind::ALL {
        let parts = folder.join("parts").join(signal.as_str());
        if !fs.exists(&parts)? {
            continue;
        }
        for path in fs.list(&parts)? {
            if let Some(record) = known.get(&path) {
                check_strays(fs, &path, record, report);
                continue;
            }
            let is_replaced = path.file_name().is_some_and(|name| tombstones.contains(&*name.to_string_lossy()));
            if !is_replaced {
                let problem = "no catalog entry names this part; a crash may have left it".into();
                report.findings.push(Finding { path, problem, kind: FindingKind::Orphan(signal) });
            }
        }
    }
    Ok(())
}

fn check_strays(fs: &dyn FileSystem, folder: &Path, record: &PartRecord, report: &mut VerifyReport) {
    // A server may remove the folder at this moment.
    let Ok(paths) = fs.list(folder) else { return };
    let is_known =
        |path: &PathBuf| record.files.iter().any(|file| path.file_name().is_some_and(|name| *name == *file.name));
    for path in paths.into_iter().filter(|path| !is_known(path)) {
        let problem = "the part that it lies with has no such file".into();
        report.findings.push(Finding { path, problem, kind: FindingKind::Stray });
    }
}

fn check_wal(
    fs: &dyn FileSystem,
    folder: &Path,
    state: &CatalogState,
    report: &mut VerifyReport,
) -> Result<Scan, Error> {
    let wal = folder.join("wal");
    let mut scanned = if fs.exists(&wal)? { scan(fs, &wal)? } else { Scan::default() };
    if scanned.files == 0 && scanned.damage.is_empty() {
        scanned.damage.extend(all_missing(&wal, state.wal_positions.into_iter().max().unwrap_or_default()));
    }
    report.wal_frames = scanned.frames;
    let damage = std::mem::take(&mut scanned.damage).into_iter();
    report.findings.extend(damage.map(|damage| Finding {
        problem: format!("{} at byte {}", damage.problem, damage.offset),
        path: damage.path,
        kind: FindingKind::Wal,
    }));
    Ok(scanned)
}

/// The WAL goes on where the published parts end. When it begins later, the catalog is older than the WAL, or requests were
/// lost to damage.
fn requests_in_neither(
    fs: &dyn FileSystem,
    folder: &Path,
    scanned: &Scan,
    state: &CatalogState,
) -> Result<Option<Finding>, Error> {
    let published = state.wal_positions.into_iter().max().unwrap_or_default();
    let Some(begins_after) = scanned.begins_after.filter(|&begins_after| begins_after > published) else {
        return Ok(None);
    };
    if crate::quarantine::holds_requests(fs, folder, published.next(), begins_after)? {
        return Ok(None);
    }
    let problem = neither(published, begins_after);
    Ok(Some(Finding { path: folder.join("wal"), problem, kind: FindingKind::Wal }))
}

/// What is told of requests that are neither in parts nor in the WAL.
pub(crate) fn neither(published: WalPosition, begins_after: WalPosition) -> String {
    format!(
        "the WAL begins after position {begins_after}, the catalog knows of requests up to {published}: those between are in \
         neither; the catalog may be an older one than this WAL belongs to"
    )
}
