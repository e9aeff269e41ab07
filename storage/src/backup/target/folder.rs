use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::Kept;
use crate::backup::manifest::{self, Manifest, StoredPart};
use crate::backup::{Meter, PARTS, SNAPSHOTS, copy, other_sum, refused, snapshot_folder, snapshots, sum_of};
use crate::error::Error;
use crate::fs::{FileSystem, FolderLock, LOCK, lock_file, make_private};

/// A backup folder.
#[derive(Clone)]
pub(in crate::backup) struct FolderTarget {
    fs: Arc<dyn FileSystem>,
    folder: PathBuf,
    snapshot: PathBuf,
    _lock: Arc<FolderLock>,
}

impl FolderTarget {
    pub(super) fn begin(fs: &Arc<dyn FileSystem>, source: &Path, folder: &Path, name: &str) -> Result<Self, Error> {
        prepare_folder(&**fs, source, folder)?;
        let lock = Arc::new(lock_file(&folder.join(LOCK))?);
        // What an interrupted backup left.
        for name in snapshots(&**fs, folder)?.interrupted {
            fs.remove_dir_all(&snapshot_folder(folder, &name))?;
        }
        let snapshot = snapshot_folder(folder, name);
        if fs.exists(&snapshot)? {
            return Err(refused(format!("the snapshot {name} is there already; try again")));
        }
        fs.create_dir_all(&snapshot)?;
        Ok(Self { fs: Arc::clone(fs), folder: folder.into(), snapshot, _lock: lock })
    }

    pub(super) fn stage(&self) -> PathBuf {
        self.snapshot.clone()
    }

    pub(super) fn keep_part(
        &self,
        source: &Path,
        part: &StoredPart,
        check: bool,
        meter: &Meter,
    ) -> Result<Kept, Error> {
        if self.has_part(part, check, meter)? {
            return Ok(Kept::Present);
        }
        Ok(self.copy_part(source, part, meter)?.map_or(Kept::Copied, Kept::Damaged))
    }

    fn has_part(&self, part: &StoredPart, check: bool, meter: &Meter) -> Result<bool, Error> {
        let folder = part.folder(&self.folder);
        if !self.fs.exists(&folder)? {
            return Ok(false);
        }
        for file in &part.files {
            let path = folder.join(&file.name);
            let is_intact = if !self.fs.exists(&path)? {
                false
            } else if check {
                sum_of(&*self.fs, &path, &|bytes| meter.advance(bytes))? == (file.bytes, file.crc32c)
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
    fn copy_part(&self, source: &Path, part: &StoredPart, meter: &Meter) -> Result<Option<String>, Error> {
        let target = part.folder(&self.folder);
        let unnamed = target.with_extension("tmp");
        self.fs.remove_dir_all(&unnamed)?;
        self.fs.create_dir_all(&unnamed)?;
        for file in &part.files {
            let (from, to) = (source.join(&file.name), unnamed.join(&file.name));
            let copied = copy(&*self.fs, &from, &to, &|bytes| meter.advance(bytes));
            let found = copied.inspect_err(|_| drop(self.fs.remove_dir_all(&unnamed)))?;
            if found != (file.bytes, file.crc32c) {
                self.fs.remove_dir_all(&unnamed)?;
                return Ok(Some(format!("{} has {}", file.name, other_sum(found, file))));
            }
        }
        self.fs.sync_dir(&unnamed)?;
        // A copy that is damaged may have the name.
        self.fs.remove_dir_all(&target)?;
        self.fs.rename(&unnamed, &target)?;
        target.parent().map_or(Ok(()), |parent| self.fs.sync_dir(parent))?;
        Ok(None)
    }

    pub(super) fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        self.fs.sync_dir(&self.snapshot)?;
        self.fs.sync_dir(&self.folder.join(SNAPSHOTS))?;
        self.fs.replace_file(&self.snapshot.join(manifest::FILE), manifest.encode()?.as_bytes())
    }

    pub(super) fn remove_old(&self, keep: usize) -> Result<Vec<String>, Error> {
        let names = snapshots(&*self.fs, &self.folder)?.complete;
        let (old, kept) = names.split_at(names.len().saturating_sub(keep));
        let mut needed = HashSet::new();
        for name in kept {
            let manifest = Manifest::read(&*self.fs, &snapshot_folder(&self.folder, name))?;
            needed.extend(manifest.parts.iter().map(|part| part.folder(&self.folder)));
        }
        for name in old {
            let snapshot = snapshot_folder(&self.folder, name);
            // Without its manifest it is none: nothing may name a part that is gone.
            self.fs.remove_file(&snapshot.join(manifest::FILE))?;
            self.fs.sync_dir(&snapshot)?;
            self.fs.remove_dir_all(&snapshot)?;
        }
        let parts = self.folder.join(PARTS);
        if !old.is_empty() && self.fs.exists(&parts)? {
            for signal in self.fs.list(&parts)? {
                for part in self.fs.list(&signal)?.into_iter().filter(|part| !needed.contains(part)) {
                    self.fs.remove_dir_all(&part)?;
                }
            }
        }
        Ok(old.to_vec())
    }
}

fn prepare_folder(fs: &dyn FileSystem, source: &Path, folder: &Path) -> Result<(), Error> {
    check_apart(source, folder)?;
    let is_backup = fs.exists(&folder.join(SNAPSHOTS))?;
    if fs.exists(folder)? && !is_backup && !fs.list(folder)?.is_empty() {
        let folder = folder.display();
        return Err(refused(format!("{folder} is neither empty nor a backup folder; choose another one")));
    }
    make_private(folder)?;
    fs.create_dir_all(&folder.join(SNAPSHOTS))
}

/// Refuses a backup into the data folder, and one around it.
fn check_apart(source: &Path, folder: &Path) -> Result<(), Error> {
    let (source, folder) = (resolved(source)?, resolved(folder)?);
    let where_it_lies = if folder == source {
        "is"
    } else if folder.starts_with(&source) {
        "lies in"
    } else if source.starts_with(&folder) {
        "has in it"
    } else {
        return Ok(());
    };
    let (source, folder) = (source.display(), folder.display());
    Err(refused(format!(
        "{folder} {where_it_lies} the data folder {source}; choose one apart from it, best on another disk"
    )))
}

/// Where a path leads, also when there is nothing yet: links are followed as far as they lead.
fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let mut resolved = PathBuf::new();
    for component in std::path::absolute(path).map_err(Error::io("resolve", path))?.components() {
        if component == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(component);
        match resolved.canonicalize() {
            Ok(real) => resolved = real,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("resolve", path)(error)),
        }
    }
    Ok(resolved)
}
