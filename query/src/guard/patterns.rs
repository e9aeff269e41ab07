//! Refuses regular expressions that would be compiled once for every row, or too many of them.
//!
//! The library compiles a pattern into up to 10 MiB. DataFusion keeps each different pattern of a batch compiled: patterns
//! made of a column's values took 14 GiB for one statement over 300,000 series.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};

use super::too_large;
use crate::error::Error;

/// Regular expressions of one statement.
const PATTERNS_MAX: usize = 32;

/// Functions whose second argument is a pattern.
const FUNCTIONS: &[&str] = &["regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace"];

/// Refuses a plan with patterns that are not constant, or with too many.
pub(crate) fn check_patterns(plan: &LogicalPlan) -> Result<(), Error> {
    let (mut patterns, mut varying) = (0, None);
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                if let Some(pattern) = pattern_of(expression) {
                    patterns += 1;
                    if !is_constant(pattern) {
                        varying = Some(pattern.to_string());
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map_err(|error| Error::Internal(format!("cannot look for regular expressions: {error}")))?;
    if let Some(pattern) = varying {
        return Err(Error::invalid(format!(
            "the regular expression {pattern} differs from row to row; write it as a constant, or use strpos(), \
             starts_with() or LIKE for values of a column"
        )));
    }
    if patterns > PATTERNS_MAX {
        return Err(too_large(
            format!("it has {patterns} regular expressions"),
            format!("{PATTERNS_MAX} regular expressions; join some by |, or send several statements"),
        ));
    }
    Ok(())
}

fn pattern_of(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::ScalarFunction(call) if FUNCTIONS.contains(&call.func.name()) => call.args.get(1),
        Expr::SimilarTo(like) => Some(&like.pattern),
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch => {
                Some(&binary.right)
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_constant(pattern: &Expr) -> bool {
    let varies =
        |part: &Expr| Ok(matches!(part, Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_)));
    !pattern.is_volatile() && !pattern.exists(varies).unwrap_or(true)
}
