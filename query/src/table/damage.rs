//! Damage within a part costs its rows, not the answer, and the answer says so.
//!
//! A reader stumbles over damaged bytes in many ways: errors of the format, of decompression, of arithmetic on garbage, and
//! panics. So the error is not asked what it means; the bytes are: when they are not what was written, the error is damage.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use trivium_storage::Part;

use crate::engine::Notes;
use crate::error::Error;

/// Watches over the reading of one part.
#[derive(Clone)]
pub(super) struct Watch {
    part: Arc<Part>,
    notes: Arc<Notes>,
}

/// How reading failed.
enum Failure {
    Error(DataFusionError),
    Panic(Box<dyn Any + Send>),
}

impl Watch {
    pub(super) fn new(part: Arc<Part>, notes: Arc<Notes>) -> Self {
        Self { part, notes }
    }

    /// The planner of the part's file, under watch.
    pub(super) fn planner(self, inner: Box<dyn MorselPlanner>) -> Box<dyn MorselPlanner> {
        Box::new(Watched { inner, watch: self })
    }

    /// Notes the damage that made reading fail. What is no damage stays a failure.
    async fn judge(self, failure: Failure) -> Result<()> {
        if let Failure::Error(error) = &failure
            && is_ours(error)
        {
            return failure.raise();
        }
        let part = Arc::clone(&self.part);
        let verified = tokio::task::spawn_blocking(move || part.verify_columns()).await;
        match verified.map_err(|error| DataFusionError::External(Box::new(error)))? {
            Ok(()) => failure.raise(),
            Err(damage) => {
                let record = self.part.record();
                tracing::error!(error = %damage, part = %record.id, "a part cannot be read; answering from the others");
                self.notes.missing(format!(
                    "up to {} {} of the damaged part {} are missing; run `trivium verify`",
                    record.rows,
                    record.signal.table(),
                    record.id
                ));
                Ok(())
            }
        }
    }

    /// The rows of the part up to the damage.
    fn stream(self, rows: BoxStream<'static, Result<RecordBatch>>) -> BoxStream<'static, Result<RecordBatch>> {
        let rows = AssertUnwindSafe(rows).catch_unwind();
        let next = |state: Option<(_, Self)>| async move {
            let (mut rows, watch): (stream::CatchUnwind<AssertUnwindSafe<BoxStream<'static, _>>>, Self) = state?;
            let failure = match rows.next().await? {
                Ok(Ok(batch)) => return Some((Ok(batch), Some((rows, watch)))),
                Ok(Err(error)) => Failure::Error(error),
                Err(panic) => Failure::Panic(panic),
            };
            watch.judge(failure).await.err().map(|error| (Err(error), None))
        };
        stream::unfold(Some((rows, self)), next).boxed()
    }
}

impl Failure {
    fn raise(self) -> Result<()> {
        match self {
            Self::Error(error) => Err(error),
            Self::Panic(panic) => resume_unwind(panic),
        }
    }
}

/// Whether the query was stopped, or needs too much memory: that is said of intact parts and damaged ones alike.
fn is_ours(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => true,
        DataFusionError::External(error) => error.is::<Error>(),
        _ => false,
    }
}

/// A planner or a stream of rows of one part.
struct Watched<T> {
    inner: T,
    watch: Watch,
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watched").field("part", &self.watch.part.record().id).finish_non_exhaustive()
    }
}

impl MorselPlanner for Watched<Box<dyn MorselPlanner>> {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, watch } = *self;
        let failure = match catch_unwind(AssertUnwindSafe(|| inner.plan())) {
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(plan))) => return Ok(Some(watched(plan, &watch))),
            Ok(Err(error)) => Failure::Error(error),
            Err(panic) => Failure::Panic(panic),
        };
        Ok(Some(MorselPlan::new().with_pending_planner(nothing_but_damage(watch, failure))))
    }
}

async fn nothing_but_damage(watch: Watch, failure: Failure) -> Result<Box<dyn MorselPlanner>> {
    watch.judge(failure).await?;
    Ok(Box::new(Nothing))
}

/// All that a plan still has to do, under watch.
fn watched(mut plan: MorselPlan, watch: &Watch) -> MorselPlan {
    let morsels = plan.take_morsels().into_iter();
    let morsels = morsels.map(|inner| Box::new(Watched { inner, watch: watch.clone() }) as Box<dyn Morsel>);
    let planners = plan.take_ready_planners().into_iter().map(|inner| watch.clone().planner(inner));
    let mut all = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
    if let Some(pending) = plan.take_pending_planner() {
        let watch = watch.clone();
        all.set_pending_planner(async move {
            match AssertUnwindSafe(pending).catch_unwind().await {
                Ok(Ok(inner)) => Ok(watch.planner(inner)),
                Ok(Err(error)) => nothing_but_damage(watch, Failure::Error(error)).await,
                Err(panic) => nothing_but_damage(watch, Failure::Panic(panic)).await,
            }
        });
    }
    all
}

impl Morsel for Watched<Box<dyn Morsel>> {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { inner, watch } = *self;
        watch.stream(inner.into_stream())
    }
}

/// A file without a row of the answer.
#[derive(Debug)]
pub(super) struct Nothing;

impl MorselPlanner for Nothing {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(None)
    }
}
