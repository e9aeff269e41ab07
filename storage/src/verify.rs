//! Reads a data folder and compares it with itself: catalog against files, checksums, row counts, the WAL's frames.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trivium_model::SignalKind;

use crate::catalog::{Catalog, CatalogState, SqliteCatalog};
use crate::error::Error;
use crate::fs::{FileSystem, RealFileSystem};
use crate::part::{PageCache, Part};
use crate::storage::part_folder;
use crate::wal::{Scan, all_missing, scan};

/// How thorough to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also decode every row.
    pub deep: bool,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
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

/// Checks a data folder without changing it. A running server may write at the same time: parts that it replaces or adds
/// during the check are no findings.
pub async fn verify(folder: &Path, options: Options) -> Result<VerifyReport, Error> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    if !fs.exists(folder)? {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::Io { action: "open the data folder", path: folder.into(), source });
    }
    let catalog = SqliteCatalog::open(folder).await?;
    let state = catalog.load().await?;
    let mut report = VerifyReport::default();
    for problem in catalog.check_integrity().await? {
        report.findings.push(Finding { path: folder.join("catalog"), problem });
    }
    let (folder, worker) = (folder.to_path_buf(), Arc::clone(&fs));
    let first = state.clone();
    let (mut report, folder) = crate::seal::blocking(move || {
        check_parts(&folder, &first, options, &mut report);
        check_orphans(&*worker, &folder, &first, &mut report)?;
        check_wal(&*worker, &folder, &first, &mut report)?;
        Ok((report, folder))
    })
    .await?;
    // What a running server took out of service meanwhile is gone for a good reason.
    let now: HashSet<PathBuf> = catalog.load().await?.parts.iter().map(|record| part_folder(&folder, record)).collect();
    let before: HashSet<PathBuf> = state.parts.iter().map(|record| part_folder(&folder, record)).collect();
    report.findings.retain(|finding| {
        let changed = |path: &PathBuf| finding.path.starts_with(path) && now.contains(path) != before.contains(path);
        !now.union(&before).any(changed)
    });
    Ok(report)
}

fn check_parts(folder: &Path, state: &CatalogState, options: Options, report: &mut VerifyReport) {
    let pages = Arc::new(PageCache::new(0));
    for record in &state.parts {
        report.parts += 1;
        report.rows += u64::from(record.rows);
        report.bytes += record.files.iter().map(|file| file.bytes).sum::<u64>();
        let path = part_folder(folder, record);
        let checked = Part::open(record.clone(), path.clone(), &pages).verify(options.deep);
        if let Err(error) = checked {
            report.findings.push(Finding { path, problem: error.to_string() });
        }
    }
}

fn check_orphans(
    fs: &dyn FileSystem,
    folder: &Path,
    state: &CatalogState,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let known: HashSet<PathBuf> = state.parts.iter().map(|record| part_folder(folder, record)).collect();
    let tombstones: HashSet<String> = state.tombstones.iter().map(|tombstone| tombstone.part.id.to_string()).collect();
    for signal in SignalKind::ALL {
        let parts = folder.join("parts").join(signal.as_str());
        if !fs.exists(&parts)? {
            continue;
        }
        for path in fs.list(&parts)? {
            let is_replaced = path.file_name().is_some_and(|name| tombstones.contains(&*name.to_string_lossy()));
            if !known.contains(&path) && !is_replaced {
                let problem = "no catalog entry names this part; the next start removes it".into();
                report.findings.push(Finding { path, problem });
            }
        }
    }
    Ok(())
}

fn check_wal(fs: &dyn FileSystem, folder: &Path, state: &CatalogState, report: &mut VerifyReport) -> Result<(), Error> {
    let wal = folder.join("wal");
    let mut scanned = if fs.exists(&wal)? { scan(fs, &wal)? } else { Scan::default() };
    if scanned.files == 0 && scanned.damage.is_empty() {
        let published = SignalKind::ALL.map(|signal| state.wal_position(signal));
        scanned.damage.extend(all_missing(&wal, published.into_iter().max().unwrap_or_default()));
    }
    report.wal_frames = scanned.frames;
    let damage = scanned.damage.into_iter();
    report.findings.extend(
        damage.map(|damage| Finding {
            problem: format!("{} at byte {}", damage.problem, damage.offset),
            path: damage.path,
        }),
    );
    Ok(())
}
