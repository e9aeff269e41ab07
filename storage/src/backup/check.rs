use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt, TryStreamExt};

use super::location::{Location, Place};
use super::manifest::{Manifest, StoredFile, StoredPart};
use super::objects::{Listing, Objects, WIDTH};
use super::{
    Meter, PARTS, Progress, SNAPSHOTS, Snapshots, WAL, other_sum, refused, snapshot_folder, snapshots, sum_of,
};
use crate::error::Error;
use crate::fs::RealFileSystem;

/// What was read of a place of backups, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Complete snapshots, oldest first.
    pub snapshots: Vec<String>,
    /// Snapshots without a manifest: their backup was interrupted or is running. The next backup removes them.
    pub interrupted: Vec<String>,
    /// Files that they consist of, each once.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Names of files and what is wrong with them.
    pub findings: Vec<(String, String)>,
}

/// Reads everything that the snapshots of a place consist of, and compares it with their manifests. Changes nothing.
pub async fn check(location: &Location, progress: Progress) -> Result<CheckReport, Error> {
    let place = Checked::open(location).await?;
    let snapshots = place.snapshots().await?;
    if snapshots.complete.is_empty() {
        let (place, interrupted) = (place.name(""), snapshots.told_interrupted());
        return Err(refused(format!("{place} holds no complete snapshot{interrupted}")));
    }
    let Snapshots { complete, interrupted } = snapshots;
    let mut report = CheckReport { snapshots: complete, interrupted, ..CheckReport::default() };
    let mut files = BTreeMap::new();
    for name in &report.snapshots {
        match place.manifest(name).await {
            Ok(manifest) => add(&mut files, name, &manifest),
            Err(error) => report.findings.push((place.name(&format!("{SNAPSHOTS}/{name}")), error.to_string())),
        }
    }
    report.files = files.len();
    report.bytes = files.values().map(|file| file.bytes).sum();
    let meter = Meter::new(progress, report.bytes);
    let mut problems: Vec<(String, String)> = stream::iter(files.iter())
        .map(|(key, file)| async {
            Ok::<_, Error>(place.problem(key, file, &meter).await?.map(|told| (place.name(key), told)))
        })
        .buffer_unordered(WIDTH)
        .try_filter_map(|problem| async { Ok(problem) })
        .try_collect()
        .await?;
    problems.sort_unstable();
    report.findings.append(&mut problems);
    Ok(report)
}

/// What a snapshot consists of, by name. Snapshots share parts, which all of them describe alike.
fn add(files: &mut BTreeMap<String, StoredFile>, snapshot: &str, manifest: &Manifest) {
    let snapshot = format!("{SNAPSHOTS}/{snapshot}");
    let mut put = |folder: &str, file: &StoredFile| drop(files.insert(format!("{folder}/{}", file.name), file.clone()));
    put(&snapshot, &manifest.catalog);
    manifest.wal.iter().for_each(|file| put(&format!("{snapshot}/{WAL}"), file));
    for part in &manifest.parts {
        let folder = StoredPart::key(part);
        part.files.iter().for_each(|file| put(&folder, file));
    }
}

enum Checked {
    Folder(PathBuf),
    Objects(Objects, Listing),
}

impl Checked {
    async fn open(location: &Location) -> Result<Self, Error> {
        Ok(match &location.0 {
            Place::Folder(folder) => Self::Folder(folder.clone()),
            Place::Objects(objects) => {
                let mut listing = objects.list(PARTS).await?;
                listing.extend(objects.list(SNAPSHOTS).await?);
                Self::Objects(objects.clone(), listing)
            }
        })
    }

    fn name(&self, key: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(key).display().to_string(),
            Self::Objects(objects, _) if key.is_empty() => objects.name().to_owned(),
            Self::Objects(objects, _) => objects.name_of(key),
        }
    }

    async fn snapshots(&self) -> Result<Snapshots, Error> {
        match self {
            Self::Folder(folder) => on_disk(folder, |fs, folder| snapshots(fs, folder)).await,
            Self::Objects(objects, _) => objects.snapshots().await,
        }
    }

    async fn manifest(&self, snapshot: &str) -> Result<Manifest, Error> {
        match self {
            Self::Folder(folder) => {
                on_disk(&snapshot_folder(folder, snapshot), |fs, path| Manifest::read(fs, path)).await
            }
            Self::Objects(objects, _) => objects.manifest(snapshot).await,
        }
    }

    async fn problem(&self, key: &str, file: &StoredFile, meter: &Meter) -> Result<Option<String>, Error> {
        let expected = (file.bytes, file.crc32c);
        let found = match self {
            Self::Folder(folder) => {
                let (meter, path) = (meter.clone(), folder.join(key));
                let read = on_disk(&path, move |fs, path| sum_of(fs, path, &|bytes| meter.advance(bytes)));
                match read.await {
                    Ok(found) => found,
                    Err(error) => return Ok(Some(error.to_string())),
                }
            }
            Self::Objects(objects, listing) => match listing.get(key) {
                None => return Ok(Some("it is missing".into())),
                Some(&bytes) => (bytes, objects.sum(key, bytes, &|bytes| meter.advance(bytes)).await?),
            },
        };
        Ok((found != expected).then(|| other_sum(found, file)))
    }
}

async fn on_disk<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&RealFileSystem, &Path) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let path = path.to_path_buf();
    crate::seal::blocking(move || work(&RealFileSystem::new(), &path)).await
}
