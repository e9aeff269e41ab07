use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, TryStreamExt};

use super::{Pair, begin, choose, finish, pairs, take};
use crate::backup::manifest::Manifest;
use crate::backup::objects::{Objects, WIDTH};
use crate::backup::{Meter, PARTS, Progress, SNAPSHOTS, other_sum, refused};
use crate::error::Error;
use crate::fs::{FileSystem, RealFileSystem};

/// Everything travels once: what arrives is written and compared with its sum. What was restored.
pub(super) async fn restore(
    source: &Objects,
    target: &Path,
    wanted: Option<String>,
    progress: Progress,
) -> Result<(String, Manifest), Error> {
    let name = choose(source.name(), source.snapshots().await?, wanted)?;
    let manifest = source.manifest(&name).await?;
    let pairs: Arc<[Pair]> = pairs(&manifest, &name, target).into();
    check_lengths(source, &name, &pairs).await?;
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    let meter = Meter::new(progress, manifest.bytes());
    let (worker, folder) = (Arc::clone(&fs), target.to_path_buf());
    let _lock = crate::seal::blocking(move || take(&*worker, &folder)).await?;
    let written = write_all(source, &fs, target, &pairs, &meter).await;
    if let Err(error) = written {
        let target = target.to_path_buf();
        // What is left when this fails too is marked as half restored.
        drop(crate::seal::blocking(move || empty(&*fs, &target)).await);
        return Err(refused(format!("nothing was restored: {error}")));
    }
    Ok((name, manifest))
}

/// Whether all objects are there and as long as they should be, before the first of them travels.
async fn check_lengths(source: &Objects, snapshot: &str, pairs: &[Pair]) -> Result<(), Error> {
    let mut found = source.list(PARTS).await?;
    found.extend(source.list(&format!("{SNAPSHOTS}/{snapshot}")).await?);
    let is_wrong = |pair: &&Pair| found.get(&pair.key) != Some(&pair.file.bytes);
    let wrong: Vec<&Pair> = pairs.iter().filter(is_wrong).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let problem = match found.get(&first.key) {
        Some(bytes) => format!("has {bytes} bytes instead of {}", first.file.bytes),
        None => "is missing".to_owned(),
    };
    let (count, of, name) = (wrong.len(), pairs.len(), source.name_of(&first.key));
    Err(refused(format!(
        "{count} of {of} objects of the snapshot are missing or have another length, nothing was restored; the first is {name}, which \
         {problem}. {ADVICE}"
    )))
}

const ADVICE: &str = "Try an older one (--snapshot), or have `trivium backup` send the parts again (--check: also those that only \
                      differ in content) from the data folder if there still is one";

async fn write_all(
    source: &Objects,
    fs: &Arc<dyn FileSystem>,
    target: &Path,
    pairs: &Arc<[Pair]>,
    meter: &Meter,
) -> Result<(), Error> {
    let (worker, folder, all) = (Arc::clone(fs), target.to_path_buf(), Arc::clone(pairs));
    crate::seal::blocking(move || begin(&*worker, &folder, &all)).await?;
    stream::iter(pairs.iter().map(Ok))
        .try_for_each_concurrent(WIDTH, |pair| write_one(source, fs, pair, meter))
        .await?;
    let (worker, all) = (Arc::clone(fs), Arc::clone(pairs));
    crate::seal::blocking(move || finish(&*worker, &all)).await
}

async fn write_one(source: &Objects, fs: &Arc<dyn FileSystem>, pair: &Pair, meter: &Meter) -> Result<(), Error> {
    let Pair { key, to, file } = pair;
    let (worker, path) = (Arc::clone(fs), to.clone());
    let mut written = crate::seal::blocking(move || worker.create_new(&path)).await?;
    let (mut bytes, mut sum) = (0_u64, 0_u32);
    while bytes < file.bytes {
        let chunk = source.read_next(key, bytes, file.bytes).await?;
        let length = chunk.len() as u64;
        bytes += length;
        sum = crc32c::crc32c_append(sum, &chunk);
        written = crate::seal::blocking(move || written.append(&chunk).map(|()| written)).await?;
        meter.advance(length);
    }
    if sum != file.crc32c {
        let (name, problem) = (source.name_of(key), other_sum((bytes, sum), file));
        return Err(refused(format!(
            "{name} is damaged, it has {problem}. {ADVICE}; `trivium verify {}` names all that is",
            source.name()
        )));
    }
    crate::seal::blocking(move || written.sync()).await
}

/// Removes what is in a folder that was empty.
fn empty(fs: &dyn FileSystem, folder: &Path) -> Result<(), Error> {
    // The mark last: a crash in between must leave it.
    let mark = folder.join(crate::folder::RESTORING);
    for path in fs.list(folder)?.into_iter().filter(|path| *path != mark) {
        if path.is_dir() { fs.remove_dir_all(&path)? } else { fs.remove_file(&path)? }
    }
    fs.remove_file(&mark)
}
