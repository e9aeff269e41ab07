//! A store for tests of alerting: empty, on disk, at a time that stands still.

use std::path::Path;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use trivium_model::{Clock, ManualClock, UnixNanos};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::RealFileSystem;
use trivium_storage::{Storage, StorageConfig, StorageDeps};

use crate::config::QueryConfig;
use crate::state::{QueryState, build};
use crate::testing::{NOW, NoReplay};

/// The query side on an empty store in a folder.
pub(super) async fn state(folder: &Path, config: QueryConfig) -> Arc<QueryState> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixNanos(NOW)));
    let catalog = Arc::new(SqliteCatalog::open(folder).await.expect("a catalog"));
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::clone(&clock),
        catalog,
        decoder: Arc::new(NoReplay),
        seed: 1,
    };
    let (storage, _) = Storage::open(folder, StorageConfig::default(), deps).await.expect("an empty store");
    build(config, storage, clock, &mut Registry::default())
}
