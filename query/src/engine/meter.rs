//! Bounds the time and the memory of a running query.
//!
//! DataFusion lets a query be cancelled between two polls of its tasks and asks for memory after it has allocated. One
//! poll may last for minutes (a join whose condition holds for no pair), and a function may make gigabytes of text in one
//! call. So every operator is wrapped: its stream looks at the clock before each batch, conditions of joins look at it
//! each time they are evaluated, and what functions are about to make is reserved before they make it.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::Stream;

use crate::error::Error;

/// What one query may still use. Everything that works for the query shares it.
#[derive(Debug)]
pub(crate) struct Meter {
    deadline: Instant,
    timeout: Duration,
    cancelled: AtomicBool,
    pool: Arc<dyn MemoryPool>,
}

impl Meter {
    pub(super) fn new(timeout: Duration, pool: Arc<dyn MemoryPool>) -> Self {
        Self { deadline: Instant::now() + timeout, timeout, cancelled: AtomicBool::new(false), pool }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The answer of a query that took too long.
    pub(super) fn timed_out(&self) -> Error {
        Error::Timeout { after: self.timeout }
    }

    /// Nobody waits for the answer any more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// An error once the query is to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) || Instant::now() >= self.deadline {
            return Err(DataFusionError::External(Box::new(self.timed_out())));
        }
        Ok(())
    }

    /// A scope in which functions are accounted for.
    pub(super) fn scope(self: &Arc<Self>) -> Scope {
        let held = MemoryConsumer::new("functions").register(&self.pool);
        Scope { meter: Arc::clone(self), held: Arc::new(held) }
    }
}

thread_local! {
    /// The operator that this thread is working for. Set while the operator is polled, so never across an await.
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// The operator, or the planner, that works for a query, and what its functions have made of late.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    meter: Arc<Meter>,
    held: Arc<MemoryReservation>,
}

impl Scope {
    /// Runs a step of the work with this scope as the thread's.
    pub(super) fn run<T>(&self, step: impl FnOnce() -> T) -> T {
        /// Restores the scope of the operator above, also after a panic.
        struct Restore(Option<Scope>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        step()
    }
}

/// Asks whether a function may make so many bytes now. They count until its operator is asked for its next batch.
pub(crate) fn reserve(bytes: u64) -> Result<()> {
    CURRENT.with_borrow(|scope| match scope {
        Some(scope) => {
            scope.meter.check()?;
            scope.held.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX))
        }
        None => Ok(()),
    })
}

/// A future that is polled within a scope.
pub(super) async fn within<F: Future>(scope: Scope, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| scope.run(|| future.as_mut().poll(context))).await
}

/// What becomes of the batches of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// They are worked on one by one, or counted by whoever keeps them.
    No,
    /// The operator above keeps all of them and does not count them.
    Yes,
}

/// The batches of an operator, within the bounds.
pub(super) struct MeteredStream {
    inner: SendableRecordBatchStream,
    scope: Scope,
    kept: Kept,
}

impl MeteredStream {
    pub(super) fn new(inner: SendableRecordBatchStream, scope: Scope, kept: Kept) -> Self {
        Self { inner, scope, kept }
    }
}

impl fmt::Debug for MeteredStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MeteredStream").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Stream for MeteredStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(error) = self.scope.meter.check() {
            return Poll::Ready(Some(Err(error)));
        }
        // Gives way to other tasks, and to being aborted, now and then.
        let turn = ready!(tokio::task::coop::poll_proceed(context));
        if self.kept == Kept::No {
            self.scope.held.free();
        }
        let scope = self.scope.clone();
        let next = ready!(scope.run(|| Pin::new(&mut self.inner).poll_next(context)));
        turn.made_progress();
        if let (Kept::Yes, Some(Ok(batch))) = (self.kept, &next)
            && let Err(error) = scope.held.try_grow(batch.get_array_memory_size())
        {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(next)
    }
}

impl RecordBatchStream for MeteredStream {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}
