use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

use crate::error::Error;

/// The memory of one query: a bounded share of the pool of all queries, so that one query cannot starve the others.
#[derive(Debug)]
pub(crate) struct QueryPool {
    shared: Arc<dyn MemoryPool>,
    shared_limit: usize,
    limit: usize,
    used: AtomicUsize,
}

impl QueryPool {
    pub(super) fn new(shared: Arc<dyn MemoryPool>, shared_limit: usize, limit: usize) -> Self {
        Self { shared, shared_limit, limit: limit.min(shared_limit), used: AtomicUsize::new(0) }
    }

    /// The error of a query that was refused memory.
    pub(crate) fn exhausted(&self) -> Error {
        // What other queries hold tells whose limit it was: with all of it free only our own can have been met.
        let others = self.shared.reserved().saturating_sub(self.reserved());
        let room = self.shared_limit.saturating_sub(others);
        Error::Memory { limit_bytes: self.limit.min(room) }
    }

    /// Takes from the query's share; `false` when it is used up.
    fn take(&self, additional: usize) -> bool {
        let take = |used: usize| used.checked_add(additional).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} bytes of a query", self.reserved(), self.limit)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &'static str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !self.take(additional) {
            let message = format!("{additional} more bytes than {} of a query", self.limit);
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        self.shared.try_grow(reservation, additional).inspect_err(|_| {
            self.used.fetch_sub(additional, Ordering::Relaxed);
        })
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}
