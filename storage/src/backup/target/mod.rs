//! What the making of a backup asks of the place where it goes.

mod folder;
mod objects;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use trivium_model::Clock;

use super::Meter;
use super::location::{Location, Place};
use super::manifest::{Manifest, StoredPart};
use super::objects::WIDTH;
use crate::error::Error;
use crate::fs::FileSystem;

use folder::FolderTarget;
use objects::ObjectTarget;

/// A place that is held against other backups, with a snapshot begun in it.
pub(super) enum Target {
    Folder(FolderTarget),
    Objects(Box<ObjectTarget>),
}

/// What became of a part.
pub(super) enum Kept {
    /// It was there from an earlier backup.
    Present,
    /// Its files were copied.
    Copied,
    /// Its files are not what the catalog says, and it is not in the backup.
    Damaged(String),
    /// It has no files any more.
    Vanished,
}

impl Target {
    /// Takes the place, removes what interrupted backups left there, and begins a snapshot.
    pub(super) async fn begin(
        location: &Location,
        fs: &Arc<dyn FileSystem>,
        source: &Path,
        snapshot: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        match &location.0 {
            Place::Folder(folder) => FolderTarget::begin(fs, source, folder, snapshot).map(Self::Folder),
            Place::Objects(place) => {
                ObjectTarget::begin(place, fs, snapshot, clock).await.map(|target| Self::Objects(Box::new(target)))
            }
        }
    }

    /// A folder of this machine in which the catalog and the WAL are put together.
    pub(super) fn stage(&self) -> PathBuf {
        match self {
            Self::Folder(target) => target.stage(),
            Self::Objects(target) => target.stage(),
        }
    }

    /// Parts that may be on their way at the same time.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Folder(_) => 1,
            Self::Objects(_) => WIDTH,
        }
    }

    /// Sees to it that a part is there. `check`: reads those that are.
    pub(super) async fn keep_part(
        &self,
        source: PathBuf,
        part: StoredPart,
        check: bool,
        meter: &Meter,
    ) -> Result<Kept, Error> {
        let kept = match self {
            Self::Folder(target) => {
                let (target, meter) = (target.clone(), meter.clone());
                crate::seal::blocking(move || target.keep_part(&source, &part, check, &meter)).await
            }
            Self::Objects(target) => target.keep_part(&source, &part, check, meter).await,
        };
        match kept {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Kept::Vanished),
            kept => kept,
        }
    }

    /// Makes the snapshot durable, its manifest last.
    pub(super) async fn publish(&self, manifest: &Manifest, meter: &Meter) -> Result<(), Error> {
        match self {
            Self::Folder(target) => {
                let (target, manifest) = (target.clone(), manifest.clone());
                crate::seal::blocking(move || target.publish(&manifest)).await
            }
            Self::Objects(target) => target.publish(manifest, meter).await,
        }
    }

    /// Removes all but the newest snapshots, and the parts that no snapshot names any more; the names of those that were removed.
    pub(super) async fn remove_old(&self, keep: usize) -> Result<Vec<String>, Error> {
        match self {
            Self::Folder(target) => {
                let target = target.clone();
                crate::seal::blocking(move || target.remove_old(keep)).await
            }
            Self::Objects(target) => target.remove_old(keep).await,
        }
    }

    /// Lets other backups in.
    pub(super) async fn release(&self) -> Result<(), Error> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Objects(target) => target.release().await,
        }
    }
}
