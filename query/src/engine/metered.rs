//! Puts the operators of a plan within the bounds of a [`Meter`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, InListExpr, Literal};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};

use super::meter::{Kept, Meter, MeteredStream};
use crate::error::Error;

/// Bytes of the constants of one operator. As a column a constant stands in every row of a batch.
const CONSTANTS_BYTES_MAX: usize = 16 << 10;

/// The plan with every operator within the bounds.
pub(super) fn metered(plan: Arc<dyn ExecutionPlan>, meter: &Arc<Meter>) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|plan| {
        check_constants(&plan)?;
        let plan = checked_join(with_kept_input(plan)?, meter)?;
        Ok(Transformed::yes(Arc::new(MeteredExec::new(plan, Arc::clone(meter), Kept::No)) as Arc<dyn ExecutionPlan>))
    });
    Ok(wrapped?.data)
}

fn check_constants(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let mut bytes = 0;
    plan.apply_expressions(&mut |expression| {
        bytes += constant_bytes(expression);
        Ok(TreeNodeRecursion::Continue)
    })?;
    if bytes > CONSTANTS_BYTES_MAX {
        return Err(DataFusionError::External(Box::new(Error::Limit {
            what: format!("its constants have {bytes} bytes"),
            limit: format!("{CONSTANTS_BYTES_MAX} bytes for each step of the plan, without the values of IN lists"),
        })));
    }
    Ok(())
}

/// Bytes of the constants of an expression. Values of a list are only compared with, and dynamic filters are not ours.
fn constant_bytes(expression: &Arc<dyn PhysicalExpr>) -> usize {
    if expression.is::<InListExpr>() || expression.is::<DynamicFilterPhysicalExpr>() {
        return 0;
    }
    match expression.downcast_ref::<Literal>() {
        Some(literal) => literal.value().size(),
        None => expression.children().into_iter().map(constant_bytes).sum(),
    }
}

/// A window over everything keeps its whole input without asking for the memory.
fn with_kept_input(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !plan.is::<WindowAggExec>() {
        return Ok(plan);
    }
    let keep = |child: &Arc<dyn ExecutionPlan>| match child.downcast_ref::<MeteredExec>() {
        Some(metered) => Arc::new(MeteredExec { kept: Kept::Yes, ..metered.clone() }) as Arc<dyn ExecutionPlan>,
        None => Arc::clone(child),
    };
    let children = plan.children().into_iter().map(keep).collect();
    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
}

/// A join evaluates its condition for many pairs of rows before it makes a batch, if it ever does.
fn checked_join(plan: Arc<dyn ExecutionPlan>, meter: &Arc<Meter>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let filter = Some(checked_filter(filter, meter));
        return Ok(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(Some(checked_filter(filter, meter))).build_exec();
    }
    Ok(plan)
}

fn checked_filter(filter: &JoinFilter, meter: &Arc<Meter>) -> JoinFilter {
    let checked = Checked { inner: Arc::clone(filter.expression()), meter: Arc::clone(meter) };
    JoinFilter::new(Arc::new(checked), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// An operator within the bounds. It is added when a plan is complete, so it takes no part in optimisation.
#[derive(Clone, Debug)]
struct MeteredExec {
    input: Arc<dyn ExecutionPlan>,
    meter: Arc<Meter>,
    kept: Kept,
}

impl MeteredExec {
    fn new(input: Arc<dyn ExecutionPlan>, meter: Arc<Meter>, kept: Kept) -> Self {
        Self { input, meter, kept }
    }
}

impl DisplayAs for MeteredExec {
    fn fmt_as(&self, _form: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MeteredExec")
    }
}

impl ExecutionPlan for MeteredExec {
    fn name(&self) -> &'static str {
        "MeteredExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if children.is_empty() => Ok(Arc::new(Self { input, ..Self::clone(&self) })),
            _ => Err(DataFusionError::Internal("a metered operator is one operator".into())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stream = self.input.execute(partition, context)?;
        Ok(Box::pin(MeteredStream::new(stream, self.meter.scope(), self.kept)))
    }
}

/// An expression that fails once the query is to end.
#[derive(Debug)]
struct Checked {
    inner: Arc<dyn PhysicalExpr>,
    meter: Arc<Meter>,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, formatter)
    }
}

impl PhysicalExpr for Checked {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.meter.check()?;
        self.inner.evaluate(batch)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(inner) if children.is_empty() => Ok(Arc::new(Self { inner, meter: Arc::clone(&self.meter) })),
            _ => Err(DataFusionError::Internal("a checked expression is one expression".into())),
        }
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(formatter)
    }
}
