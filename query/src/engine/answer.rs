use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::executor::Executor;
use super::meter::Meter;
use super::{Notes, Statement};
use crate::admission::Permit;
use crate::error::Error;

/// Batches that wait for the client.
const BATCHES_AHEAD: usize = 1;

/// `None` after the last rows: without it the query did not come to its end.
type Batches = mpsc::Sender<Result<Option<RecordBatch>, Error>>;

/// The rows of an answer as they come.
#[derive(Debug)]
pub struct SqlAnswer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<Option<RecordBatch>, Error>>,
    /// Ends the query when the answer is dropped.
    running: Running,
    notes: Arc<Notes>,
    rows_max: usize,
    rows_left: usize,
    truncated: bool,
}

/// A query at work.
#[derive(Debug)]
struct Running {
    meter: Arc<Meter>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The flag reaches what computes, the abort what waits.
        self.meter.cancel();
        self.task.abort();
    }
}

impl SqlAnswer {
    /// Hands a statement to the executor and waits until its columns are known. The permit is given back when the query has
    /// ended, or at the deadline, however slowly its rows are taken.
    pub(super) async fn start(
        executor: &Executor,
        statement: Statement,
        rows_max: usize,
        permit: Option<Permit>,
    ) -> Result<Self, Error> {
        let (meter, notes) = (Arc::clone(&statement.meter), Arc::clone(&statement.notes));
        let (columns, planned) = oneshot::channel();
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let task = executor.spawn(async move {
            run(statement, columns, sender).await;
            drop(permit);
        })?;
        let running = Running { meter, task: task.abort_handle() };
        let schema = match timeout_at(running.deadline(), planned).await {
            Ok(Ok(schema)) => schema?,
            Ok(Err(_)) => return Err(Error::Internal("planning the statement panicked".into())),
            Err(_) => return Err(running.meter.timed_out()),
        };
        Ok(Self { schema, batches, running, notes, rows_max, rows_left: rows_max, truncated: false })
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Whether rows were left out because there are more than were asked for. Known when all rows have come.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Whether rows are missing although they were asked for. Known when all rows have come.
    pub fn incomplete(&self) -> bool {
        self.notes.read().0
    }

    /// Whether rows are missing that the statement asks for, and what else is to be known. Complete when all rows have
    /// come.
    pub fn notes(&self) -> (bool, Vec<String>) {
        let (partial, mut warnings) = self.notes.read();
        if self.truncated {
            warnings.push(format!(
                "there are more than the {} rows shown: ask for more with \"max_rows\", or aggregate",
                self.rows_max
            ));
        }
        (partial || self.truncated, warnings)
    }

    /// The next rows, `None` after the last.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        if self.truncated {
            return None;
        }
        let batch = match timeout_at(self.running.deadline(), self.batches.recv()).await {
            // It ended because nobody took its rows.
            Err(_) | Ok(None) => return Some(Err(self.running.meter.timed_out())),
            Ok(Some(Err(error))) => return Some(Err(error)),
            Ok(Some(Ok(None))) => return None,
            Ok(Some(Ok(Some(batch)))) => batch,
        };
        if batch.num_rows() > self.rows_left {
            self.truncated = true;
            return Some(Ok(batch.slice(0, self.rows_left)));
        }
        self.rows_left -= batch.num_rows();
        Some(Ok(batch))
    }
}

impl Running {
    fn deadline(&self) -> Instant {
        self.meter.deadline().into()
    }
}

/// Plans a statement, tells its columns and then its rows, up to the deadline: a client that takes none must not hold memory and
/// permit for ever. Whatever is deep, trees of expressions and plans, lives and
/// dies here, on a thread with a large stack.
async fn run(statement: Statement, columns: oneshot::Sender<Result<SchemaRef, Error>>, batches: Batches) {
    let started = AssertUnwindSafe(statement.start()).catch_unwind().await;
    let panicked = |doing: &str| Error::Internal(format!("{doing} the statement panicked"));
    let mut stream = match started.unwrap_or_else(|_| Err(panicked("planning"))) {
        Ok(stream) => stream,
        Err(error) => {
            // Nobody listens when the client has gone.
            drop(columns.send(Err(error)));
            return;
        }
    };
    if columns.send(Ok(stream.schema())).is_err() {
        return;
    }
    loop {
        let batch = match AssertUnwindSafe(stream.next()).catch_unwind().await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(batch))) => Ok(Some(batch)),
            Ok(Some(Err(error))) => Err(statement.errors.convert(error)),
            Err(_) => Err(panicked("running")),
        };
        let is_last = !matches!(batch, Ok(Some(_)));
        let sent = timeout_at(statement.meter.deadline().into(), batches.send(batch)).await;
        if is_last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
