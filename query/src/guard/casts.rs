//! Refuses casts to values of a fixed size that is large.
//!
//! Arrow sets memory aside for rows × size × width before it casts, null or not, and asks nobody: a single statement without any
//! table, `[1]::BIGINT[2147483647]` over some thousand rows, aborted the process.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::too_large;
use crate::error::Error;

/// Elements, or bytes, of one value: the longest IDs have 16.
const SIZE_MAX: u64 = 64;

/// Refuses a plan with a cast to something larger. Before the optimiser sees it, which casts what is constant.
pub(crate) fn check_casts(plan: &LogicalPlan) -> Result<(), Error> {
    let mut largest = 0;
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                let target = match expression {
                    Expr::Cast(cast) => Some(cast.field.data_type()),
                    Expr::TryCast(cast) => Some(cast.field.data_type()),
                    _ => None,
                };
                largest = target.map_or(0, fixed_size).max(largest);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map_err(|error| Error::Internal(format!("cannot look for casts: {error}")))?;
    if largest > SIZE_MAX {
        return Err(too_large(
            format!("it casts to values of {largest} elements or bytes each"),
            format!("{SIZE_MAX} for types of a fixed size; cast to a list without one, such as BIGINT[]"),
        ));
    }
    Ok(())
}

/// Elements or bytes that each value has whatever is in it.
fn fixed_size(data_type: &DataType) -> u64 {
    let size = |size: i32| u64::try_from(size).unwrap_or_default();
    match data_type {
        DataType::FixedSizeBinary(bytes) => size(*bytes),
        DataType::FixedSizeList(item, elements) => size(*elements).saturating_mul(fixed_size(item.data_type()).max(1)),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => {
            fixed_size(item.data_type())
        }
        DataType::Map(entries, _) => fixed_size(entries.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| fixed_size(field.data_type())).max().unwrap_or(0),
        DataType::Dictionary(_, values) => fixed_size(values),
        DataType::RunEndEncoded(_, values) => fixed_size(values.data_type()),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| fixed_size(field.data_type())).max().unwrap_or(0),
        _ => 0,
    }
}
