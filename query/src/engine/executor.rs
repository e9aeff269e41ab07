use std::num::NonZeroUsize;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::Error;

/// Stack of a thread that plans and runs queries. DataFusion recurses over expressions and plans, also when it drops them,
/// and needs up to 25 KiB a level when built without optimisation. Only what is used takes memory.
const STACK_BYTES: usize = 128 << 20;

/// Threads that may block on disk reads.
const BLOCKING_THREADS_MAX: usize = 32;

/// How much these threads give way to those that acknowledge exports and serve requests: with nothing else to do they have all
/// processors, beside ingest that wants everything a tenth of its share, so that neither starves.
const NICENESS: i32 = 10;

/// The threads on which SQL is planned and run, apart from those that serve requests and ingest: a query that computes for
/// long between two awaits must not hold these up.
#[derive(Debug)]
pub(super) struct Executor {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Executor {
    pub(super) fn new() -> Result<Self, Error> {
        let processors = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let runtime = Builder::new_multi_thread()
            // Twice the processors: the system shares them fairly while a step of one query takes long.
            .worker_threads(processors * 2)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_stack_size(STACK_BYTES)
            .thread_name("sql")
            .enable_time()
            // Of the thread alone, on Linux; where that cannot be, all are alike.
            .on_thread_start(|| _ = rustix::process::nice(NICENESS))
            .build()
            .map_err(|error| Error::Internal(format!("cannot start the threads for queries: {error}")))?;
        Ok(Self { runtime: Some(runtime) })
    }

    pub(super) fn spawn<F>(&self, future: F) -> Result<JoinHandle<F::Output>, Error>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::Internal("the threads for queries ended".into()))?;
        Ok(runtime.spawn(future))
    }
}

#[cfg(test)]
impl Executor {
    /// Tasks that have not ended.
    pub(super) fn tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }
}

impl Drop for Executor {
    /// Waits for nothing: this may happen where waiting is not allowed, and nobody is left to read an answer.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
