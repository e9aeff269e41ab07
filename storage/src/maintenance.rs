//! What the store does by itself: sealing, compaction, retention, removal of files that nobody reads any more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trivium_model::{PartId, SignalKind};

use crate::error::Error;
use crate::part::{Part, PartRecord};
use crate::quarantine::keep_withdrawn;
use crate::storage::{Inner, Storage, lock};
use crate::verify::write_reindexed;

/// How often ages are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks at retention and at parts to merge when nothing was sealed.
const TICKS_PER_SWEEP: u64 = 30;

/// The longest pause between two attempts at something that fails.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long a part that could not be read is left out of merges: the others must not wait for a sector that may never come back.
const REST: Duration = Duration::from_secs(300);

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
        // A disk that fails ends every start: such an end is none in order.
        if self.failed().is_none() {
            self.inner.forget_starts();
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
        // After a series of crashes the next start shall find as little as possible in the WAL.
        let is_due = is_old || (self.is_quiet().is_some() && !table.open.is_empty());
        table.sealing.is_some() || is_due || table.open.bytes() >= self.config.buffer_bytes_max
    }

    async fn sweep_loop(self: &Arc<Self>) {
        let mut has_lasted = false;
        let mut merge_from = [0; SignalKind::ALL.len()];
        for tick in 0_u64.. {
            tokio::time::sleep(TICK).await;
            // After a series of crashes nothing is done that can wait.
            for signal in SignalKind::ALL.into_iter().filter(|_| self.is_quiet().is_none()) {
                let from = &mut merge_from[signal.index()];
                if tick >= *from && !self.compact_due(signal).await {
                    // On a full disk the same parts would be read every second.
                    *from = tick + TICKS_PER_SWEEP;
                }
            }
            if tick % TICKS_PER_SWEEP == 0 {
                self.check_unchecked().await;
            }
            if !has_lasted && self.starts.has_lasted(self.clock.now()) {
                self.forget_starts();
                has_lasted = true;
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

    /// Does the merges that are due; whether none failed.
    pub(crate) async fn compact_due(self: &Arc<Self>, signal: SignalKind) -> bool {
        loop {
            match self.compact_once(signal).await {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => {
                    self.metrics.compaction_failures.get_or_create(&signal.into()).inc();
                    tracing::error!(%error, %signal, "compaction failed; its inputs stay as they are");
                    return false;
                }
            }
        }
    }

    /// Looks at the parts of which the start could not say whether they are sound.
    pub(crate) async fn check_unchecked(self: &Arc<Self>) {
        let unchecked = lock(&self.unchecked).clone();
        if unchecked.is_empty() {
            return;
        }
        // No merge may replace a part while its indexes are made anew.
        let _nothing_is_merged = self.compacting.lock().await;
        let is_due = |id: PartId| unchecked.contains(&id) && !self.is_resting(id);
        let parts = {
            let tables = SignalKind::ALL.map(|signal| self.table(signal));
            let parts = tables.iter().flat_map(|table| table.all_parts());
            parts.filter(|part| is_due(part.record().id)).map(Arc::clone).collect()
        };
        self.quarantine_damaged(parts).await;
        lock(&self.unchecked).retain(|id| self.is_resting(*id));
    }

    fn forget_starts(&self) {
        if let Err(error) = self.starts.forget() {
            tracing::warn!(%error, "this start stays written down as one that did not end in order");
        }
    }

    pub(crate) async fn forget_requests(&self) -> Result<(), Error> {
        let window = Duration::from_secs(self.config.remember_requests_seconds);
        self.catalog.forget_request_keys_before(self.clock.now().before(window)).await
    }

    /// Drops parts of which every row is older than the retention.
    pub(crate) async fn expire(self: &Arc<Self>) -> Result<(), Error> {
        self.settle_doubts().await;
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
    pub(crate) async fn remove_unread(self: &Arc<Self>) -> Result<(), Error> {
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
        self.catalog.purge_tombstones(ids.clone()).await?;
        lock(&self.retired).forget(&ids);
        Ok(())
    }

    /// Checks parts, makes derived files that are damaged anew, and moves parts whose rows are damaged to `quarantine/`; the
    /// rest is served. Whoever calls it holds `compacting`.
    pub(crate) async fn quarantine_damaged(self: &Arc<Self>, parts: Vec<Arc<Part>>) {
        for part in parts {
            let checked = Arc::clone(&part);
            let Err(error) = crate::seal::blocking(move || checked.verify(false)).await else { continue };
            // A newer build wrote it, and will read it.
            if matches!(error, Error::UnknownFormat { .. }) {
                continue;
            }
            // First, because the columns may be read well where the index could not: then nothing is lost at all.
            let cause = match self.reindex(part.record(), &error).await {
                Ok(()) => continue,
                Err(cause) => cause,
            };
            // A disk that did not answer once must not cost the rows.
            if error.is_passing() || cause.is_passing() {
                tracing::warn!(%error, part = %part.record().id, rest = ?REST, "a part could not be read; it stays, out of merges for a while");
                self.rest(part.record().id);
                continue;
            }
            self.quarantine(part.record(), &error).await;
        }
    }

    fn rest(&self, part: PartId) {
        let now = self.clock.now();
        let mut resting = lock(&self.resting);
        resting.retain(|_, until| *until > now);
        resting.insert(part, now.after(REST));
    }

    /// Whether a part is left out of merges, because it could not be read a moment ago.
    pub(crate) fn is_resting(&self, part: PartId) -> bool {
        lock(&self.resting).get(&part).is_some_and(|until| self.clock.now() < *until)
    }

    /// Makes the indexes of a part anew when its columns are intact, and serves it under another name; else says why not.
    pub(crate) async fn reindex(self: &Arc<Self>, record: &PartRecord, error: &Error) -> Result<(), Error> {
        let (inner, old) = (Arc::clone(self), record.clone());
        let written = async {
            self.ensure_key(old.tenant).await?;
            crate::seal::blocking(move || {
                let (id, now) = (inner.new_part_id(), inner.clock.now());
                let part = Part::open_with(old.clone(), inner.part_folder(&old), &inner.pages, &inner.keys);
                write_reindexed(&*inner.fs, &inner.folder, &part, id, now, &inner.keys)
            })
            .await
        };
        let published = match written.await {
            Ok(new) => self.replace(record.signal, vec![new], vec![record.id], 0).await,
            Err(error) => Err(error),
        };
        match &published {
            Ok(()) => {
                tracing::error!(%error, part = %record.id, signal = %record.signal, "made the damaged indexes of a part anew");
                self.metrics.reindexed.inc();
            }
            Err(cause) => tracing::debug!(%cause, part = %record.id, "the indexes of the part cannot be made anew"),
        }
        published
    }

    /// Takes one part out of service and keeps its files for inspection.
    pub(crate) async fn quarantine(self: &Arc<Self>, record: &PartRecord, error: &Error) {
        tracing::error!(%error, part = %record.id, signal = %record.signal, rows = record.rows, "quarantined a damaged part");
        self.metrics.quarantined.inc();
        let removed = self.table_mut(record.signal).remove(&[record.id]);
        drop(removed);
        if let Err(error) = self.withdraw(record, error.to_string()).await {
            tracing::error!(%error, part = %record.id, "the damaged part is out of service but not yet in quarantine/");
        }
    }

    async fn withdraw(self: &Arc<Self>, record: &PartRecord, reason: String) -> Result<(), Error> {
        self.catalog.quarantine_part(record.id, reason, self.clock.now()).await?;
        let (inner, record) = (Arc::clone(self), record.clone());
        crate::seal::blocking(move || keep_withdrawn(&*inner.fs, &inner.folder, &record).map(drop)).await
    }
}
