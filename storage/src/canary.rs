//! Whether a write would be accepted and found, found out by writing and reading back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trivium_model::{StateChange, TenantId, UnixNanos};

use crate::error::Error;
use crate::storage::{Inner, Storage};

/// How old an answer may be that is given again: a probe every second costs two fsyncs in ten.
const FRESH: Duration = Duration::from_secs(10);

/// How long the disk may take. Prometheus and Kubernetes give up sooner or later too; the answer must come before.
const PATIENCE: Duration = Duration::from_secs(5);

/// The file in the data folder that is written.
const FILE: &str = "canary";

/// Whose record in the catalog is written: nobody's, so that no user sees it.
const NOBODY: TenantId = TenantId(u32::MAX);
const KIND: &str = "canary";
const KEY: &str = "readiness";

/// What the last canary found.
#[derive(Debug, Default)]
pub(crate) struct Canary {
    last: Option<(UnixNanos, Result<(), String>)>,
}

impl Storage {
    /// Whether a write would be accepted and found, or why not. Writes a few bytes beside the WAL and a record into the
    /// catalog, durably, and reads them back; at most once in ten seconds, however often it is asked.
    pub async fn ready(&self) -> Result<(), String> {
        if let Some(problem) = self.not_ready().or_else(|| self.crash_loop()) {
            return Err(problem);
        }
        let inner = &self.inner;
        let now = inner.clock.now();
        let mut canary = inner.canary.lock().await;
        if let Some((at, found)) = &canary.last
            && *at <= now
            && now.since(*at) < FRESH
        {
            return found.clone();
        }
        let found = inner.release_canary(now).await;
        if let Err(problem) = &found {
            tracing::warn!(problem, "a write would not be accepted and found");
        }
        inner.metrics.canaries.inc();
        canary.last = Some((now, found.clone()));
        found
    }
}

impl Inner {
    async fn release_canary(self: &Arc<Self>, now: UnixNanos) -> Result<(), String> {
        // A disk that does not answer holds one thread, not one more for every probe.
        if self.canary_is_out.swap(true, Ordering::AcqRel) {
            return Err("the disk has not answered since the last check".into());
        }
        let (inner, content) = (Arc::clone(self), format!("{}", now.0));
        let work = async move {
            let result = inner.write_and_read(content).await;
            inner.canary_is_out.store(false, Ordering::Release);
            result
        };
        // Spawned, so that it ends although nobody waits for it any more.
        match tokio::time::timeout(PATIENCE, tokio::spawn(work)).await {
            Ok(Ok(result)) => result.map_err(|error| error.to_string()),
            Ok(Err(error)) => {
                self.canary_is_out.store(false, Ordering::Release);
                Err(error.to_string())
            }
            Err(_) => Err(format!("the disk did not answer within {} seconds", PATIENCE.as_secs())),
        }
    }

    async fn write_and_read(self: &Arc<Self>, content: String) -> Result<(), Error> {
        let (inner, bytes) = (Arc::clone(self), content.clone());
        crate::seal::blocking(move || {
            let path = inner.folder.join(FILE);
            inner.fs.replace_file(&path, bytes.as_bytes())?;
            let found = inner.fs.read(&path)?;
            if found == bytes.as_bytes() {
                return Ok(());
            }
            let found = String::from_utf8_lossy(&found).chars().take(64).collect();
            Err(Error::Corrupted { path, offset: 0, expected: bytes, found })
        })
        .await?;
        let state_error = |error: trivium_model::StateError| Error::Unavailable { reason: error.to_string() };
        let value = content.into_bytes();
        let put = StateChange::Put { kind: KIND.into(), key: KEY.into(), value: value.clone() };
        self.catalog.apply(NOBODY, None, vec![put]).await.map_err(state_error)?;
        let found = self.catalog.list(NOBODY, KIND, KEY).await.map_err(state_error)?;
        if found.iter().any(|record| record.value == value) {
            return Ok(());
        }
        Err(Error::Unavailable { reason: "the catalog does not find what was written to it".into() })
    }
}

#[cfg(test)]
mod tests {
    use trivium_model::{ManualClock, SignalKind};

    use super::*;
    use crate::testing::{START, append, config, open_with};

    #[tokio::test]
    async fn readiness_is_a_write_that_is_read_back_and_found_out_now_and_then_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(START));
        let (storage, _) =
            open_with(folder.path(), config(), Arc::<ManualClock>::clone(&clock)).await.expect("it opens");
        let canaries = || storage.metrics().canaries.get();
        for _ in 0..50 {
            storage.ready().await.expect("a sound disk");
        }
        assert_eq!(canaries(), 1, "fifty probes, one canary");
        clock.advance(FRESH);
        storage.ready().await.expect("a sound disk");
        assert_eq!(canaries(), 2);
        // A canary is nobody's row.
        let snapshot = storage.snapshot(TenantId::DEFAULT, SignalKind::Logs);
        assert_eq!((snapshot.parts.len(), snapshot.buffered.len(), storage.wal_bytes()), (0, 0, 48));
        assert_eq!(storage.state().list(TenantId::DEFAULT, KIND, "").await.expect("read"), []);
        // A folder in the place of the file: nothing can be written there.
        std::fs::remove_file(folder.path().join(FILE)).expect("removed");
        std::fs::create_dir_all(folder.path().join(FILE).join("x")).expect("made");
        storage.ready().await.expect("it was found out a moment ago");
        clock.advance(FRESH);
        let problem = storage.ready().await.expect_err("it cannot be written");
        assert!(problem.contains("canary"), "{problem}");
        assert_eq!(storage.ready().await, Err(problem), "the answer is kept, too");
        storage.close().await;
        assert!(storage.ready().await.is_err());
    }

    #[tokio::test]
    async fn after_a_series_of_crashes_nothing_is_taken_for_a_while_and_all_is_served() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(START));
        let settings = crate::StorageConfig { crash_loop_starts_max: 2, ..config() };
        let start = || open_with(folder.path(), settings.clone(), Arc::<ManualClock>::clone(&clock));
        for crash in 0..2 {
            let (storage, _) = start().await.expect("it opens");
            append(&storage, crash..crash + 1, 0).await;
            // Dropping it would close the WAL in order; a killed process does not.
            std::mem::forget(storage);
            clock.advance(Duration::from_secs(1));
        }
        let (storage, report) = start().await.expect("it opens");
        assert_eq!(report.replayed_requests, 2);
        assert_eq!(storage.metrics().previous_shutdown_unclean.get(), 1);
        assert_eq!(storage.metrics().unclean_starts.get(), 2);
        assert_eq!(storage.metrics().wal_recovered_records.get(), 40);
        assert!(storage.unpublished_for(SignalKind::Logs) >= Duration::from_secs(2));
        let refused = storage.append(crate::testing::request(2, 0)).await.expect_err("it is quiet");
        assert_eq!(refused.kind(), trivium_model::ErrorKind::Unavailable);
        assert!(storage.ready().await.expect_err("it is quiet").contains("did not end in order"));
        assert_eq!(crate::testing::bodies(&storage), crate::testing::expected(0..2));
        storage.flush().await.expect("what is in the WAL reaches parts");
        clock.advance(Duration::from_secs(30));
        append(&storage, 2..3, 0).await;
        storage.ready().await.expect("the quiet time is over");
        storage.close().await;
        drop(storage);
        let (storage, _) = start().await.expect("it opens");
        assert_eq!(storage.crash_loop(), None, "the last one ended in order");
        assert_eq!(storage.metrics().previous_shutdown_unclean.get(), 0);
    }
}
