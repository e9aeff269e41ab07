use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_nested::extract::array_element;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, LogicalPlan, Projection, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::functions::{approx_percentile_cont, approx_percentiles};

/// Lets several percentiles of the same values share them: p50, p95 and p99 of a latency are asked for together, and each
/// would hold all values of all groups.
#[derive(Debug)]
pub(crate) struct SharePercentiles;

/// Calls with the same values.
struct Shared {
    value: Expr,
    filter: Option<Box<Expr>>,
    percentiles: Vec<ScalarValue>,
}

impl OptimizerRule for SharePercentiles {
    fn name(&self) -> &'static str {
        "share_percentiles"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
        let one = approx_percentile_cont();
        let mut shared: Vec<Shared> = Vec::new();
        // For each aggregate its place among the shared ones.
        let mut places = Vec::new();
        for expression in &aggregate.aggr_expr {
            places.push(call(expression, &one).map(|(value, filter, percentile)| {
                let known = shared.iter().position(|other| other.value == value && other.filter == filter);
                let at = known.unwrap_or_else(|| {
                    shared.push(Shared { value, filter, percentiles: Vec::new() });
                    shared.len() - 1
                });
                shared[at].percentiles.push(percentile);
                (at, shared[at].percentiles.len())
            }));
        }
        if shared.iter().all(|shared| shared.percentiles.len() < 2) {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        rewritten(aggregate, shared, &places).map(Transformed::yes)
    }
}

/// The arguments of a call that can share: values, filter, percentile.
fn call(expression: &Expr, one: &AggregateUDF) -> Option<(Expr, Option<Box<Expr>>, ScalarValue)> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expression else { return None };
    let [value, Expr::Literal(percentile @ ScalarValue::Float64(Some(_)), _)] = params.args.as_slice() else {
        return None;
    };
    let is_plain = !params.distinct && params.order_by.is_empty() && func.name() == one.name();
    is_plain.then(|| (value.clone(), params.filter.clone(), percentile.clone()))
}

/// The aggregate with one list for all calls that share, below a projection that takes the lists apart.
fn rewritten(aggregate: Aggregate, shared: Vec<Shared>, places: &[Option<(usize, usize)>]) -> Result<LogicalPlan> {
    let many = Arc::new(approx_percentiles());
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let mut aggregates: Vec<Expr> =
        aggregate.aggr_expr.iter().zip(places).filter(|(_, place)| place.is_none()).map(|(e, _)| e.clone()).collect();
    let names: Vec<String> = (0..shared.len()).map(|index| format!("__percentiles_{index}")).collect();
    for (shared, name) in shared.into_iter().zip(&names) {
        let mut args = vec![shared.value];
        args.extend(shared.percentiles.into_iter().map(lit));
        let call = AggregateFunction::new_udf(Arc::clone(&many), args, false, shared.filter, Vec::new(), None);
        aggregates.push(Expr::AggregateFunction(call).alias(name));
    }
    let columns = aggregate.schema.columns();
    let mut output: Vec<Expr> = columns[..groups].iter().cloned().map(Expr::Column).collect();
    for (column, place) in columns[groups..].iter().zip(places) {
        output.push(match place {
            None => Expr::Column(column.clone()),
            Some((at, position)) => {
                let list = Expr::Column(Column::from_name(&names[*at]));
                array_element(list, lit(i64::try_from(*position).unwrap_or(i64::MAX))).alias(&column.name)
            }
        });
    }
    let inner = Aggregate::try_new(aggregate.input, aggregate.group_expr, aggregates)?;
    Ok(LogicalPlan::Projection(Projection::try_new(output, Arc::new(LogicalPlan::Aggregate(inner)))?))
}
