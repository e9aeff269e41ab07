use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use trivium_model::Clock;

use super::Kept;
use crate::backup::manifest::{self, Manifest, StoredFile, StoredPart};
use crate::backup::objects::{LOCK, Lease, Listing, Objects, below};
use crate::backup::{Meter, PARTS, SNAPSHOTS, WAL, other_sum, refused};
use crate::error::Error;
use crate::fs::FileSystem;

/// A prefix in a bucket. The catalog and the WAL are put together in a temporary folder, and sent when all parts are there.
pub(in crate::backup) struct ObjectTarget {
    objects: Objects,
    fs: Arc<dyn FileSystem>,
    /// The key of the snapshot.
    snapshot: String,
    stage: TempDir,
    lease: Lease,
    /// What was below `parts/` at the beginning.
    present: Listing,
}

impl ObjectTarget {
    pub(super) async fn begin(
        objects: &Objects,
        fs: &Arc<dyn FileSystem>,
        name: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        check_is_ours(objects).await?;
        let stage = tempfile::Builder::new().prefix("trivium-backup-").tempdir();
        let stage = stage.map_err(Error::io("make a folder in", std::env::temp_dir()))?;
        let lease = Lease::take(objects, clock).await?;
        let snapshot = format!("{SNAPSHOTS}/{name}");
        let mut target =
            Self { objects: objects.clone(), fs: Arc::clone(fs), snapshot, stage, lease, present: Listing::new() };
        match target.prepare(name).await {
            Ok(()) => Ok(target),
            Err(error) => {
                drop(target.release().await);
                Err(error)
            }
        }
    }

    async fn prepare(&mut self, name: &str) -> Result<(), Error> {
        let snapshots = self.objects.snapshots().await?;
        if snapshots.complete.iter().any(|other| other == name) {
            return Err(refused(format!("the snapshot {name} is there already; try again")));
        }
        for name in snapshots.interrupted {
            self.remove_snapshot(&name).await?;
        }
        self.present = self.objects.list(PARTS).await?;
        Ok(())
    }

    pub(super) fn stage(&self) -> PathBuf {
        self.stage.path().into()
    }

    pub(super) async fn keep_part(
        &self,
        source: &Path,
        part: &StoredPart,
        check: bool,
        meter: &Meter,
    ) -> Result<Kept, Error> {
        let folder = part.key();
        let mut kept = Kept::Present;
        for file in &part.files {
            let key = format!("{folder}/{}", file.name);
            if self.has_file(&key, file, check, meter).await? {
                continue;
            }
            if let Some(problem) = self.send(&source.join(&file.name), &key, file, meter).await? {
                return Ok(Kept::Damaged(format!("{} has {problem}", file.name)));
            }
            kept = Kept::Copied;
        }
        Ok(kept)
    }

    /// An object is there as a whole or not at all, and no part changes: its length says enough unless it is to be read.
    async fn has_file(&self, key: &str, file: &StoredFile, check: bool, meter: &Meter) -> Result<bool, Error> {
        if self.present.get(key) != Some(&file.bytes) {
            return Ok(false);
        }
        if !check {
            return Ok(true);
        }
        Ok(self.objects.sum(key, file.bytes, &|bytes| meter.advance(bytes)).await? == file.crc32c)
    }

    async fn send(&self, from: &Path, key: &str, file: &StoredFile, meter: &Meter) -> Result<Option<String>, Error> {
        self.lease.keep().await?;
        let found = self.objects.send(&self.fs, from, key, file, &|bytes| meter.advance(bytes)).await?;
        Ok(found.map(|found| other_sum(found, file)))
    }

    pub(super) async fn publish(&self, manifest: &Manifest, meter: &Meter) -> Result<(), Error> {
        let wal = manifest.wal.iter().map(|file| (format!("{WAL}/{}", file.name), file));
        let files = wal.chain([(manifest.catalog.name.clone(), &manifest.catalog)]);
        for (name, file) in files {
            let (from, key) = (self.stage.path().join(&name), format!("{}/{name}", self.snapshot));
            if let Some(problem) = self.send(&from, &key, file, meter).await? {
                return Err(refused(format!("{} changed while it was sent: {problem}", from.display())));
            }
        }
        // What the manifest names is there now.
        let (text, from) = (manifest.encode()?, self.stage.path().join(manifest::FILE));
        self.fs.write_file_synced(&from, text.as_bytes())?;
        let file = StoredFile {
            name: manifest::FILE.into(),
            bytes: text.len() as u64,
            crc32c: crc32c::crc32c(text.as_bytes()),
        };
        let key = format!("{}/{}", self.snapshot, manifest::FILE);
        match self.send(&from, &key, &file, meter).await? {
            None => Ok(()),
            Some(problem) => Err(refused(format!("{} changed while it was sent: {problem}", from.display()))),
        }
    }

    pub(super) async fn remove_old(&self, keep: usize) -> Result<Vec<String>, Error> {
        let names = self.objects.snapshots().await?.complete;
        let (old, kept) = names.split_at(names.len().saturating_sub(keep));
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let mut needed = HashSet::new();
        for name in kept {
            let manifest = self.objects.manifest(name).await?;
            needed.extend(manifest.parts.iter().map(StoredPart::key));
        }
        for name in old {
            self.lease.keep().await?;
            self.remove_snapshot(name).await?;
        }
        let is_needed = |key: &str| key.rsplit_once('/').is_some_and(|(folder, _)| needed.contains(folder));
        let parts = self.objects.list(PARTS).await?;
        let unneeded: Vec<String> = parts.into_keys().filter(|key| !is_needed(key)).collect();
        for keys in unneeded.chunks(REMOVED_AT_ONCE) {
            self.lease.keep().await?;
            self.objects.remove(keys).await?;
        }
        Ok(old.to_vec())
    }

    /// Its manifest first: without it, it is none, and nothing may name a part that is gone.
    async fn remove_snapshot(&self, name: &str) -> Result<(), Error> {
        let folder = format!("{SNAPSHOTS}/{name}");
        self.objects.remove(&[format!("{folder}/{}", manifest::FILE)]).await?;
        let rest: Vec<String> = self.objects.list(&folder).await?.into_keys().collect();
        for keys in rest.chunks(REMOVED_AT_ONCE) {
            self.objects.remove(keys).await?;
        }
        Ok(())
    }

    pub(super) async fn release(&self) -> Result<(), Error> {
        self.lease.release().await
    }
}

/// Objects that S3 removes with one request.
const REMOVED_AT_ONCE: usize = 1_000;

/// A place in which something else lies is not written to.
async fn check_is_ours(objects: &Objects) -> Result<(), Error> {
    let first = objects.first_keys().await?;
    let is_known = |key: &String| key == LOCK || below(key, PARTS).is_some() || below(key, SNAPSHOTS).is_some();
    match first.iter().find(|key| !is_known(key)) {
        Some(other) if objects.list(SNAPSHOTS).await?.is_empty() => Err(refused(format!(
            "{} is neither empty nor a place of backups: it holds {other}; choose another prefix",
            objects.name()
        ))),
        _ => Ok(()),
    }
}
