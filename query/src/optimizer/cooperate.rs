use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::unnest::UnnestExec;

/// Makes every operator that multiplies rows give way to other tasks now and then. DataFusion does so where rows are read;
/// a cross join reads its inputs once and then makes batch after batch without ever being interrupted, so that neither its
/// deadline nor a client that goes away could end it.
#[derive(Debug)]
pub(crate) struct Cooperate;

impl PhysicalOptimizerRule for Cooperate {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let multiplies = plan.children().len() > 1 || plan.is::<UnnestExec>();
            if multiplies {
                Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan))))
            } else {
                Ok(Transformed::no(plan))
            }
        })
        .map(|plan| plan.data)
    }

    fn name(&self) -> &'static str {
        "cooperate"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
