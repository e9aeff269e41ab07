use std::path::Path;

use super::{Pair, begin, choose, finish, pairs, take};
use crate::backup::manifest::Manifest;
use crate::backup::{Meter, Progress, copy, other_sum, refused, snapshot_folder, snapshots, sum_of};
use crate::error::Error;
use crate::fs::{FileSystem, RealFileSystem};

/// Reads everything, and only then writes anything. What was restored.
pub(super) async fn restore(
    source: &Path,
    target: &Path,
    wanted: Option<String>,
    progress: Progress,
) -> Result<(String, Manifest), Error> {
    let (source, target) = (source.to_path_buf(), target.to_path_buf());
    crate::seal::blocking(move || {
        let fs = RealFileSystem::new();
        let name = choose(&source.display().to_string(), snapshots(&fs, &source)?, wanted)?;
        let manifest = Manifest::read(&fs, &snapshot_folder(&source, &name))?;
        let pairs = pairs(&manifest, &name, &target);
        let meter = Meter::new(progress, 2 * manifest.bytes());
        check_all(&fs, &source, &pairs, &meter)?;
        write_all(&fs, &source, &target, &pairs, &meter)?;
        Ok((name, manifest))
    })
    .await
}

fn check_all(fs: &dyn FileSystem, source: &Path, pairs: &[Pair], meter: &Meter) -> Result<(), Error> {
    let (mut damaged, mut first) = (0_u64, None);
    for Pair { key, file, .. } in pairs {
        let from = source.join(key);
        let problem = match sum_of(fs, &from, &|bytes| meter.advance(bytes)) {
            Ok(found) if found == (file.bytes, file.crc32c) => continue,
            Ok(found) => other_sum(found, file),
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

fn write_all(fs: &dyn FileSystem, source: &Path, target: &Path, pairs: &[Pair], meter: &Meter) -> Result<(), Error> {
    let _lock = take(fs, target)?;
    begin(fs, target, pairs)?;
    for Pair { key, to, file } in pairs {
        let from = source.join(key);
        if copy(fs, &from, to, &|bytes| meter.advance(bytes))? != (file.bytes, file.crc32c) {
            let (from, to) = (from.display(), to.display());
            return Err(refused(format!(
                "{from} changed while it was copied to {to}; empty the folder and restore again"
            )));
        }
    }
    finish(fs, pairs)
}
