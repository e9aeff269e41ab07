use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use trivium_model::UnixNanos;

use super::coercion::{as_number, as_text, is_text, literal_for};
use crate::functions::{attribute, is_attribute, join_texts};

/// Aggregates that need numbers; an attribute given to them is one.
const NUMERIC_AGGREGATES: &[&str] = &[
    "sum",
    "avg",
    "median",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "percentile_cont",
];

/// Gives operators their meaning for telemetry.
#[derive(Debug)]
pub(crate) struct TelemetryPlanner {
    /// What `'now-15m'` counts from.
    pub(crate) now: UnixNanos,
}

impl ExprPlanner for TelemetryPlanner {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (raw.left.get_type(schema), raw.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(raw));
        };
        match &raw.op {
            BinaryOperator::StringConcat if is_text(&left) || is_text(&right) => {
                Ok(PlannerResult::Planned(join_texts(raw.left, raw.right)))
            }
            op if is_comparison(op) => self.comparison(raw, &left, &right),
            op if is_arithmetic(op) => Ok(PlannerResult::Original(with_numbers(raw))),
            _ => Ok(PlannerResult::Original(raw)),
        }
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        match (&raw.field_access, raw.expr.get_type(schema)) {
            (GetFieldAccess::NamedStructField { name }, Ok(data_type)) if is_text(&data_type) => {
                let arguments = vec![raw.expr, lit(name.clone())];
                Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(attribute(), arguments))))
            }
            _ => Ok(PlannerResult::Original(raw)),
        }
    }

    fn plan_aggregate(&self, mut raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if NUMERIC_AGGREGATES.contains(&raw.func.name()) {
            if let Some(first) = raw.args.first_mut()
                && let Some(number) = as_number(first)
            {
                *first = number;
            }
            for sort in &mut raw.order_by {
                sort.expr = as_number(&sort.expr).unwrap_or_else(|| sort.expr.clone());
            }
        }
        Ok(PlannerResult::Original(raw))
    }
}

impl TelemetryPlanner {
    fn comparison(
        &self,
        raw: RawBinaryExpr,
        left: &DataType,
        right: &DataType,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left: mut left_side, right: mut right_side } = raw;
        let equality = matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq);
        if let Expr::Literal(value, _) = &right_side
            && let Some(value) = literal_for(left, value, self.now)?
        {
            right_side = lit(value);
        } else if let Expr::Literal(value, _) = &left_side
            && let Some(value) = literal_for(right, value, self.now)?
        {
            left_side = lit(value);
        } else {
            (left_side, right_side) = match_attribute(left_side, right_side, right, equality);
            (right_side, left_side) = match_attribute(right_side, left_side, left, equality);
            (left_side, right_side) = match_id(left_side, left, right_side, right);
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left: left_side, right: right_side }))
    }
}

/// Compares an attribute with what is no text: numbers as numbers, `true` and `false` as the text they are.
fn match_attribute(attribute: Expr, other: Expr, other_type: &DataType, equality: bool) -> (Expr, Expr) {
    if is_attribute(&attribute).is_none() {
        return (attribute, other);
    }
    if let Expr::Literal(value, _) = &other
        && (equality || matches!(value, ScalarValue::Boolean(_)))
        && let Some(text) = as_text(value)
    {
        return (attribute, text);
    }
    match as_number(&attribute) {
        Some(number) if other_type.is_numeric() => (number, other),
        _ => (attribute, other),
    }
}

/// Compares an ID with text that is not a literal, such as an attribute that holds one.
fn match_id(left: Expr, left_type: &DataType, right: Expr, right_type: &DataType) -> (Expr, Expr) {
    let is_id = |data_type: &DataType| matches!(data_type, DataType::FixedSizeBinary(_));
    let hex = |id: Expr| Expr::ScalarFunction(ScalarFunction::new_udf(crate::functions::hex(), vec![id]));
    match (is_id(left_type) && is_text(right_type), is_text(left_type) && is_id(right_type)) {
        (true, _) => (hex(left), right),
        (_, true) => (left, hex(right)),
        _ => (left, right),
    }
}

fn with_numbers(raw: RawBinaryExpr) -> RawBinaryExpr {
    let number = |side: Expr| as_number(&side).unwrap_or(side);
    RawBinaryExpr { op: raw.op, left: number(raw.left), right: number(raw.right) }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
}
