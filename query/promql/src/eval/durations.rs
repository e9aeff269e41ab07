//! The values of durations that depend on the query.

use super::{Evaluator, QueryError, Result};
use crate::ast::{Duration, DurationExpr, DurationOp, Position};

impl Evaluator<'_> {
    /// A range or step in milliseconds.
    pub(super) fn positive_millis(&self, duration: &Duration) -> Result<i64> {
        let millis = self.millis(duration)?;
        match duration {
            Duration::Computed(_, position) if millis <= 0 => Err(error(*position, "duration must be greater than 0")),
            _ => Ok(millis),
        }
    }

    /// An offset in milliseconds.
    pub(super) fn offset_millis(&self, offset: Option<&Duration>) -> Result<i64> {
        offset.map_or(Ok(0), |offset| self.millis(offset))
    }

    fn millis(&self, duration: &Duration) -> Result<i64> {
        let (expr, position) = match duration {
            Duration::Fixed(millis) => return Ok(*millis),
            Duration::Computed(expr, position) => (expr, *position),
        };
        let seconds = self.seconds(expr, position)?;
        // The longest duration that Go can tell.
        if !seconds.is_finite() || seconds.abs() > 9_223_372_036.0 {
            return Err(error(position, "duration is out of range"));
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, expr: &DurationExpr, position: Position) -> Result<f64> {
        Ok(match expr {
            DurationExpr::Number(number) => number.value,
            DurationExpr::Step => self.step_seconds(),
            DurationExpr::Range => self.range_seconds(),
            DurationExpr::Negate(operand) => -self.seconds(operand, position)?,
            DurationExpr::Paren(inner) => self.seconds(inner, position)?,
            DurationExpr::Min(left, right) => self.seconds(left, position)?.min(self.seconds(right, position)?),
            DurationExpr::Max(left, right) => self.seconds(left, position)?.max(self.seconds(right, position)?),
            DurationExpr::Binary(op, left, right) => {
                let (left, right) = (self.seconds(left, position)?, self.seconds(right, position)?);
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div if right == 0.0 => return Err(error(position, "division by zero")),
                    DurationOp::Div => left / right,
                    DurationOp::Mod if right == 0.0 => return Err(error(position, "modulo by zero")),
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                }
            }
        })
    }

    /// The step of a range query; an instant query has none.
    pub(super) fn step_seconds(&self) -> f64 {
        if self.is_range { self.query.step as f64 / 1000.0 } else { 0.0 }
    }

    pub(super) fn range_seconds(&self) -> f64 {
        (self.query_end - self.query.start) as f64 / 1000.0
    }
}

fn error(position: Position, message: &str) -> QueryError {
    QueryError::Execution(format!("{}:{}: {message}", position.start, position.end))
}
