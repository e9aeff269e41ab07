use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;
use trivium_model::UnixNanos;

use super::coercion::{as_number, literal_for};

/// Brings the values of `IN` lists and `BETWEEN` into the type of what they are compared with.
#[derive(Debug)]
pub(crate) struct CoerceLists {
    /// What `'now-15m'` counts from.
    pub(crate) now: UnixNanos,
}

impl AnalyzerRule for CoerceLists {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let schema = match &plan {
                LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
                other => merge_schema(&other.inputs()),
            };
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expression| {
                let name = names.save(&expression);
                let rewritten = expression.transform_up(|expression| self.rewrite(expression, &schema))?;
                Ok(rewritten.update_data(|expression| name.restore(expression)))
            })
        })
        .map(|plan| plan.data)
    }

    fn name(&self) -> &'static str {
        "coerce_lists"
    }
}

impl CoerceLists {
    fn rewrite(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
        match expression {
            Expr::InList(InList { expr, list, negated }) => {
                let (expr, list) = self.coerce(*expr, list, schema)?;
                Ok(Transformed::yes(Expr::InList(InList { expr: Box::new(expr), list, negated })))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let (expr, bounds) = self.coerce(*expr, vec![*low, *high], schema)?;
                let mut bounds = bounds.into_iter().map(Box::new);
                match (bounds.next(), bounds.next()) {
                    (Some(low), Some(high)) => {
                        Ok(Transformed::yes(Expr::Between(Between { expr: Box::new(expr), negated, low, high })))
                    }
                    _ => Err(DataFusionError::Internal("BETWEEN lost a bound".into())),
                }
            }
            other => Ok(Transformed::no(other)),
        }
    }

    fn coerce(&self, expr: Expr, values: Vec<Expr>, schema: &DFSchema) -> Result<(Expr, Vec<Expr>)> {
        let Ok(data_type) = expr.get_type(schema) else { return Ok((expr, values)) };
        let numeric = |value: &Expr| value.get_type(schema).is_ok_and(|data_type| data_type.is_numeric());
        if let Some(number) = as_number(&expr)
            && values.iter().all(numeric)
        {
            return Ok((number, values));
        }
        let coerce = |value: Expr| match &value {
            Expr::Literal(scalar, _) => Ok(literal_for(&data_type, scalar, self.now)?.map_or(value, lit)),
            _ => Ok(value),
        };
        let values = values.into_iter().map(coerce).collect::<Result<Vec<Expr>>>()?;
        Ok((expr, values))
    }
}
