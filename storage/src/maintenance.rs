//! What the store does by itself: sealing, compaction, retention, removal of files that nobody reads any more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trivium_model::{PartId, SignalKind};

use crate::error::Error;
use crate::storage::{Inner, Storage, lock};

/// How often ages are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks at retention and at parts to merge when nothing was sealed.
const TICKS_PER_SWEEP: u64 = 30;

/// The longest pause between two attempts at something that fails.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

impl Storage {
    /// Does the background work until `shutdown` completes. The owner polls it as one task; nothing else is spawned.
    pub async fn maintain(&self, shutdown: impl Future<Output = ()>) {
        let inner = &self.inner;
        let work = async { tokio::join!(inner.seal_loop(), inner.sweep_loop()) };
        tokio::select! {
            () = shutdown => {}
            _ = work => {}
        }
    }

    /// Returns when all that was acknowledged before the call is in published parts and no compaction is due.
    pub async fn flush(&self) -> Result<(), Error> {
        for signal in SignalKind::ALL {
            // A seal that was under way when the call came holds older rows only: the second one takes the rest.
            while self.inner.seal(signal).await? {}
        }
        for signal in SignalKind::ALL {
            while self.inner.compact_once(signal).await? {}
        }
        self.inner.write_rejections().await?;
        // The last seal may have left files behind, for example because of rows that arrived meanwhile.
        self.inner.trim_wal().await?;
        self.inner.remove_unread().await
    }

    /// Takes no more writes, publishes what is buffered and closes the WAL. What cannot be published stays in the WAL and
    /// is replayed at the next start.
    pub async fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        if let Err(error) = self.flush().await {
            tracing::warn!(%error, "not everything was published at shutdown; it is in the WAL and will be replayed");
        }
        let inner = Arc::clone(&self.inner);
        let closed = tokio::task::spawn_blocking(move || inner.wal.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "closing the WAL failed");
        }
    }
}

impl Inner {
    /// Seals buffers that are full at once, buffers that are old within a tick.
    async fn seal_loop(self: &Arc<Self>) {
        let mut backoff = Duration::ZERO;
        loop {
            drop(tokio::time::timeout(TICK, self.seal_wanted.notified()).await);
            for signal in SignalKind::ALL {
                if !self.wants_seal(signal) {
                    continue;
                }
                match self.seal(signal).await {
                    Ok(_) => backoff = Duration::ZERO,
                    Err(error) => {
                        backoff = (backoff * 2).clamp(TICK, BACKOFF_MAX);
                        self.metrics.seal_failures.get_or_create(&signal.into()).inc();
                        tracing::error!(%error, %signal, retry_in = ?backoff, "sealing failed; the rows are safe in the WAL");
                        tokio::time::sleep(backoff).await;
                    }
                }
            }
        }
    }

    fn wants_seal(&self, signal: SignalKind) -> bool {
        let table = self.table(signal);
        let oldest_allowed = self.clock.now().before(self.config.seal_after());
        let is_old = table.open.opened_at().is_some_and(|opened_at| opened_at <= oldest_allowed);
        table.sealing.is_some() || is_old || table.open.bytes() >= self.config.buffer_bytes_max
    }

    async fn sweep_loop(self: &Arc<Self>) {
        for tick in 0_u64.. {
            tokio::time::sleep(TICK).await;
            for signal in SignalKind::ALL {
                self.compact_due(signal).await;
            }
            if tick % TICKS_PER_SWEEP == 0
                && let Err(error) = self.expire().await
            {
                tracing::error!(%error, "retention failed; it is tried again");
            }
            if tick % TICKS_PER_SWEEP == 0
                && let Err(error) = self.forget_requests().await
            {
                tracing::warn!(%error, "old request keys stay in the catalog; tried again");
            }
            if let Err(error) = self.write_rejections().await {
                tracing::error!(%error, "counts of rejected records could not be stored");
            }
            if let Err(error) = self.remove_unread().await {
                tracing::warn!(%error, "files of replaced parts could not be removed; tried again");
            }
        }
    }

    async fn compact_due(self: &Arc<Self>, signal: SignalKind) {
        loop {
            match self.compact_once(signal).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.metrics.compaction_failures.get_or_create(&signal.into()).inc();
                    tracing::error!(%error, %signal, "compaction failed; its inputs stay as they are");
                    self.quarantine_damaged(signal).await;
                    return;
                }
            }
        }
    }

    async fn forget_requests(&self) -> Result<(), Error> {
        let window = Duration::from_secs(self.config.remember_requests_seconds);
        self.catalog.forget_request_keys_before(self.clock.now().before(window)).await
    }

    /// Drops parts of which every row is older than the retention.
    pub(crate) async fn expire(&self) -> Result<(), Error> {
        let now = self.clock.now();
        for signal in SignalKind::ALL {
            let Some(retention) = self.config.retention(signal) else { continue };
            let oldest = now.before(retention);
            let (ids, rows) = {
                let table = self.table(signal);
                let expired = table.all_parts().map(|part| part.record()).filter(|record| record.last_time < oldest);
                expired.fold((Vec::new(), 0_u64), |(mut ids, rows), record| {
                    ids.push(record.id);
                    (ids, rows + u64::from(record.rows))
                })
            };
            if ids.is_empty() {
                continue;
            }
            let parts = ids.len() as u64;
            // A merge of one of these parts may be under way: it then finds its input gone and starts over.
            self.replace(signal, Vec::new(), ids, rows).await?;
            self.metrics.expired_parts.get_or_create(&signal.into()).inc_by(parts);
            self.metrics.expired_rows.get_or_create(&signal.into()).inc_by(rows);
            tracing::info!(%signal, parts, rows, "retention dropped old parts");
        }
        Ok(())
    }

    /// Removes the files of parts that were replaced and that no query reads any more, then forgets the parts.
    async fn remove_unread(self: &Arc<Self>) -> Result<(), Error> {
        let unread = lock(&self.retired).unread();
        if unread.is_empty() {
            return Ok(());
        }
        let ids: Vec<PartId> = unread.iter().map(|record| record.id).collect();
        let inner = Arc::clone(self);
        crate::seal::blocking(move || {
            unread.iter().try_for_each(|record| inner.fs.remove_dir_all(&inner.part_folder(record)))
        })
        .await?;
        self.catalog.purge_tombstones(ids).await
    }

    /// Checks the parts of a signal and moves the damaged ones to `quarantine/`; the rest is served.
    pub(crate) async fn quarantine_damaged(self: &Arc<Self>, signal: SignalKind) {
        let parts: Vec<_> = self.table(signal).all_parts().map(Arc::clone).collect();
        for part in parts {
            let checked = Arc::clone(&part);
            let Err(error) = crate::seal::blocking(move || checked.verify(false)).await else { continue };
            self.quarantine(part.record(), &error).await;
        }
    }

    /// Takes one part out of service and keeps its files for inspection.
    pub(crate) async fn quarantine(&self, record: &crate::part::PartRecord, error: &Error) {
        tracing::error!(%error, part = %record.id, signal = %record.signal, rows = record.rows, "quarantined a damaged part");
        self.metrics.quarantined.inc();
        let removed = self.table_mut(record.signal).remove(&[record.id]);
        drop(removed);
        if let Err(error) = self.catalog.quarantine_part(record.id, error.to_string(), self.clock.now()).await {
            tracing::error!(%error, part = %record.id, "the catalog still lists the damaged part");
            return;
        }
        let folder = self.folder.join("quarantine");
        let moved = self.fs.create_dir_all(&folder).and_then(|()| {
            let target = folder.join(format!("part-{}-{}", record.signal, record.id));
            self.fs.rename(&self.part_folder(record), &target)
        });
        if let Err(error) = moved {
            tracing::warn!(%error, part = %record.id, "the files of the damaged part stay where they are");
        }
    }
}
