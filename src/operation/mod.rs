//! What operators do with a data folder: check and repair it, back it up and restore it, look into its quarantine.

pub(crate) mod args;
pub(crate) mod backup;
mod doors;
mod gauges;
pub(crate) mod keys;
mod progress;
pub(crate) mod quarantine;
pub(crate) mod verify;

pub(crate) use doors::router;
pub(crate) use gauges::gauges;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::Arc;

use trivium_ingest::decode::ReplayDecoder;
use trivium_model::{SignalKind, SystemClock};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::{FolderLock, RealFileSystem, lock_folder};
use trivium_storage::{Storage, StorageConfig, StorageDeps};

/// A number that differs from call to call.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Opens a data folder that no server uses, without listeners and without dropping anything for its age.
async fn open_offline(folder: &Path, encryption_key_file: Option<&Path>) -> anyhow::Result<(Storage, FolderLock)> {
    anyhow::ensure!(folder.join("catalog.sqlite").exists(), "{} is no data folder", folder.display());
    let lock = lock_folder(folder)?;
    let encryption_key_file = encryption_key_file.map(Path::to_path_buf);
    let mut config = StorageConfig { encryption_key_file, ..StorageConfig::default() };
    SignalKind::ALL.into_iter().for_each(|signal| config.set_retention(signal, None));
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::new(SystemClock),
        catalog: Arc::new(SqliteCatalog::open(folder).await?),
        decoder: Arc::new(ReplayDecoder),
        seed: seed(),
    };
    let (storage, _) = Storage::open(folder, config, deps).await?;
    Ok((storage, lock))
}
