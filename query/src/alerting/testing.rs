//! A store for tests of alerting: empty, on disk, at a time that stands still.

use std::path::Path;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use trivium_model::{Clock, ManualClock, UnixNanos};

use crate::config::QueryConfig;
use crate::state::{QueryState, build};
use crate::testing::{NOW, empty_store};

/// The query side on an empty store in a folder.
pub(super) async fn state(folder: &Path, config: QueryConfig) -> Arc<QueryState> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixNanos(NOW)));
    let storage = empty_store(folder, &clock).await;
    build(config, storage, clock, &mut Registry::default())
}
