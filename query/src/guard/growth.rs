//! Refuses statements whose plan would grow out of proportion while it is optimised.
//!
//! The optimiser puts the definition of a column in the place of its name when it moves a filter down, and writes some
//! expressions (`BETWEEN`, `COALESCE`, `CASE`) with an operand repeated. Nested, either doubles the plan at every level: a
//! hundred short levels would need more memory than there is. So the size after all of this is computed beforehand.

use std::collections::HashMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::too_large;
use crate::error::Error;

/// Nodes of all expressions of one operator after growth.
const EXPANDED_NODES_MAX: u64 = 100_000;

/// Values of a list up to which the optimiser writes one comparison for each.
const SHORT_LIST: usize = 3;

/// Functions that the optimiser writes with an operand repeated.
const REPEATING: &[&str] = &["coalesce", "nvl", "nvl2", "nullif"];

/// The size that each column's definition may grow to, by name. Columns of the same name count as the larger.
type Sizes = HashMap<String, u64>;

/// Refuses a plan that would grow too large.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<(), Error> {
    sizes_of(plan).map(|_| ())
}

fn sizes_of(plan: &LogicalPlan) -> Result<Sizes, Error> {
    let mut inputs = Sizes::new();
    for input in plan.inputs() {
        for (name, size) in sizes_of(input)? {
            let known = inputs.entry(name).or_default();
            *known = size.max(*known);
        }
    }
    let expressions = plan.expressions();
    let sizes =
        expressions.iter().map(|expression| expanded(expression, &inputs)).collect::<Result<Vec<u64>, Error>>()?;
    if sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size)) > EXPANDED_NODES_MAX {
        return Err(too_large(
            "its expressions build on one another so often that it would grow out of proportion".into(),
            format!(
                "{EXPANDED_NODES_MAX} names, operators and literals after planning; nest less, or send several statements"
            ),
        ));
    }
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => {
            let names = expressions.iter().map(|expression| expression.schema_name().to_string());
            Ok(plain_names(expressions.iter(), names).zip(sizes).collect())
        }
        // Its columns have the names of its first input and the definitions of any.
        LogicalPlan::Union(_) => {
            let largest = inputs.values().copied().max().unwrap_or(1);
            Ok(inputs.into_keys().map(|name| (name, largest)).collect())
        }
        _ => Ok(inputs),
    }
}

/// The names by which the operators above know the columns.
fn plain_names<'a>(
    expressions: impl Iterator<Item = &'a Expr>,
    names: impl Iterator<Item = String>,
) -> impl Iterator<Item = String> {
    expressions.zip(names).map(|(expression, name)| match expression {
        Expr::Column(column) => column.name.clone(),
        _ => name,
    })
}

fn expanded(expression: &Expr, columns: &Sizes) -> Result<u64, Error> {
    if let Expr::Column(column) = expression {
        return Ok(columns.get(&column.name).copied().unwrap_or(1));
    }
    let mut failed = None;
    let mut sum = 1_u64;
    // The visit ends at the first error of ours and has none of its own.
    let visited = expression.apply_children(|child| match expanded(child, columns) {
        Ok(size) => {
            sum = sum.saturating_add(size);
            Ok(TreeNodeRecursion::Continue)
        }
        Err(error) => {
            failed = Some(error);
            Ok(TreeNodeRecursion::Stop)
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    visited.map_err(|error| Error::Internal(format!("cannot size an expression: {error}")))?;
    match expression {
        Expr::Exists(exists) => sizes_of(&exists.subquery.subquery).map(|_| ())?,
        Expr::InSubquery(inside) => sizes_of(&inside.subquery.subquery).map(|_| ())?,
        Expr::ScalarSubquery(scalar) => sizes_of(&scalar.subquery).map(|_| ())?,
        _ => {}
    }
    Ok(sum.saturating_mul(repetitions(expression)))
}

/// How often the optimiser may write an operand of the expression.
fn repetitions(expression: &Expr) -> u64 {
    match expression {
        Expr::Between(_) => 2,
        Expr::Case(case) => 1 + case.when_then_expr.len().min(SHORT_LIST) as u64,
        Expr::InList(list) if list.list.len() <= SHORT_LIST => list.list.len().max(1) as u64,
        Expr::ScalarFunction(call) if REPEATING.contains(&call.func.name()) => 2,
        _ => 1,
    }
}
