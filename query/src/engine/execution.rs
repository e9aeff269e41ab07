//! Where statements run: on threads of their own, so that an answer comes at its deadline whatever a statement does.
//!
//! DataFusion's operators give way to others between batches. That is not enough: a join may look at billions of pairs
//! before it has a batch, and planning does not give way at all. So the one who waits does so elsewhere, and what may take
//! long within one step asks [`Interrupt`] whether to go on.

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use futures::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::sql_error::SqlErrors;

/// Address space for the stack of a thread; memory is taken as it is touched. The parser, the planner, the optimiser and
/// the expressions are recursive: this is what the largest statement that [`crate::guard`] admits needs in an unoptimised
/// build, several times over.
const STACK_BYTES: usize = 128 * 1024 * 1024;

/// The threads on which statements are planned and run.
#[derive(Debug)]
pub(super) struct Executor {
    /// Always there; taken when it is dropped.
    runtime: Option<Runtime>,
}

impl Executor {
    pub(super) fn new() -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("trivium-sql")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Starts a statement and returns when it is planned.
    pub(super) async fn start(
        &self,
        planning: impl Future<Output = Result<SendableRecordBatchStream, Error>> + Send + 'static,
        interrupt: Arc<Interrupt>,
        errors: SqlErrors,
    ) -> Result<Execution, Error> {
        let Some(runtime) = &self.runtime else { return Err(Error::Internal("the engine has ended".into())) };
        let (planned, schema) = oneshot::channel();
        let (sender, batches) = mpsc::channel(1);
        let task = runtime.spawn(async move {
            let mut stream = match planning.await {
                Ok(stream) => stream,
                Err(error) => return drop(planned.send(Err(error))),
            };
            drop(planned.send(Ok(stream.schema())));
            while let Some(batch) = stream.next().await {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        let mut execution = Execution { schema: Arc::new(Schema::empty()), batches, task, interrupt, errors };
        let planned = tokio::time::timeout(execution.interrupt.left(), schema).await;
        execution.schema = planned.map_err(|_| execution.interrupt.timeout())?.map_err(|_| panicked())??;
        Ok(execution)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Does not wait: it may be dropped where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn panicked() -> Error {
    Error::Internal("running the statement panicked".into())
}

/// A statement that runs. Ends it when it is dropped.
#[derive(Debug)]
pub(super) struct Execution {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    task: JoinHandle<()>,
    interrupt: Arc<Interrupt>,
    errors: SqlErrors,
}

impl Execution {
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(super) async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        match tokio::time::timeout(self.interrupt.left(), self.batches.recv()).await {
            Err(_) => Some(Err(self.interrupt.timeout())),
            Ok(Some(Ok(batch))) => Some(Ok(batch)),
            Ok(Some(Err(_))) if self.interrupt.is_due() => Some(Err(self.interrupt.timeout())),
            Ok(Some(Err(error))) => Some(Err(self.errors.convert(error))),
            Ok(None) => match (&mut self.task).await {
                Ok(()) => None,
                Err(_) => Some(Err(panicked())),
            },
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.interrupt.cancelled.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

/// Whether a statement may go on.
#[derive(Debug)]
pub(super) struct Interrupt {
    deadline: Instant,
    after: Duration,
    cancelled: AtomicBool,
}

impl Interrupt {
    pub(super) fn after(after: Duration) -> Arc<Self> {
        Arc::new(Self { deadline: Instant::now() + after, after, cancelled: AtomicBool::new(false) })
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn is_due(&self) -> bool {
        self.left().is_zero()
    }

    fn timeout(&self) -> Error {
        Error::Timeout { after: self.after }
    }

    fn check(&self) -> PlanResult<()> {
        if self.cancelled.load(Ordering::Relaxed) || self.is_due() {
            return Err(DataFusionError::External(Box::new(self.timeout())));
        }
        Ok(())
    }
}

/// Lets the conditions of joins ask the [`Interrupt`] with every batch of pairs.
#[derive(Debug)]
pub(super) struct InterruptJoins {
    pub(super) interrupt: Arc<Interrupt>,
}

impl InterruptJoins {
    fn wrap(&self, filter: &JoinFilter) -> JoinFilter {
        let inner = Arc::clone(filter.expression());
        let expression = Arc::new(Interruptible { inner, interrupt: Arc::clone(&self.interrupt) });
        JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    }
}

impl PhysicalOptimizerRule for InterruptJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|plan| {
            if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
                && let Some(filter) = join.filter()
            {
                let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(self.wrap(filter))).build()?;
                return Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>));
            }
            if let Some(join) = plan.downcast_ref::<HashJoinExec>()
                && let Some(filter) = join.filter()
            {
                return Ok(Transformed::yes(join.builder().with_filter(Some(self.wrap(filter))).build_exec()?));
            }
            Ok(Transformed::no(plan))
        });
        Ok(wrapped?.data)
    }

    fn name(&self) -> &'static str {
        "interrupt_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An expression that fails once its statement is to end.
#[derive(Debug)]
struct Interruptible {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Arc<Interrupt>,
}

impl fmt::Display for Interruptible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl PartialEq for Interruptible {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Interruptible {}

impl Hash for Interruptible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for Interruptible {
    fn data_type(&self, input: &Schema) -> PlanResult<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> PlanResult<bool> {
        self.inner.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> PlanResult<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> PlanResult<ColumnarValue> {
        self.interrupt.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> PlanResult<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, interrupt: Arc::clone(&self.interrupt) }))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(formatter)
    }
}
