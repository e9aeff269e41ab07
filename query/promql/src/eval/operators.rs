//! Binary operators on single values.

use std::sync::Arc;

use super::matrix::Sample;
use crate::annotations::Note;
use crate::ast::BinaryOp;
use crate::histogram::{Histogram, Incompatible, Merge, ResetHint};
use crate::value::SampleValue;

/// Arithmetics on floats, if the operator is that.
pub(super) fn arithmetic(op: BinaryOp) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        BinaryOp::Add => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Mod => |a, b| a % b,
        BinaryOp::Pow => power,
        BinaryOp::Atan2 => f64::atan2,
        BinaryOp::BitAnd => |a, b| bitwise(a, b, |a, b| a & b),
        BinaryOp::BitOr => |a, b| bitwise(a, b, |a, b| a | b),
        BinaryOp::BitXor => |a, b| bitwise(a, b, |a, b| a ^ b),
        _ => return None,
    })
}

/// The largest whole number up to which a float tells all of them apart.
const MAX_WHOLE: f64 = 9_007_199_254_740_991.0;

/// An operator on bits; NaN unless both are whole, not negative and exact.
fn bitwise(a: f64, b: f64, operate: fn(u64, u64) -> u64) -> f64 {
    let is_exact = |value: f64| (0.0..=MAX_WHOLE).contains(&value) && value.fract() == 0.0;
    if is_exact(a) && is_exact(b) { operate(a as u64, b as u64) as f64 } else { f64::NAN }
}

/// As Go has it: 1 to any power is 1, and so is -1 to an infinite one.
fn power(base: f64, exponent: f64) -> f64 {
    base.powf(exponent)
}

/// A comparison of floats, if the operator is that.
pub(super) fn comparison(op: BinaryOp) -> Option<fn(f64, f64) -> bool> {
    Some(match op {
        BinaryOp::Equal => |a, b| a == b,
        BinaryOp::NotEqual => |a, b| a != b,
        BinaryOp::Less => |a, b| a < b,
        BinaryOp::LessEqual => |a, b| a <= b,
        BinaryOp::Greater => |a, b| a > b,
        BinaryOp::GreaterEqual => |a, b| a >= b,
        _ => return None,
    })
}

/// The result of an operator on two samples.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The result, or the left sample for a comparison.
    pub(super) value: SampleValue,
    /// Whether a comparison holds; anything else always does.
    pub(super) holds: bool,
}

impl Outcome {
    fn of(histogram: Histogram) -> Option<Self> {
        Some(Self { value: SampleValue::Histogram(Arc::new(histogram)), holds: true })
    }
}

/// Applies an operator; `None` with a note if it cannot be applied to such samples.
pub(super) fn apply(
    op: BinaryOp,
    left: Sample<'_>,
    right: Sample<'_>,
    mut note: impl FnMut(&Note<'_>),
) -> Option<Outcome> {
    let incompatible = |note: &mut dyn FnMut(&Note<'_>), left: &str, right: &str| {
        note(&Note::IncompatibleTypes { left, operator: op.as_str(), right });
        None
    };
    match (left, right) {
        (Sample::Float(a), Sample::Float(b)) => {
            if let Some(function) = arithmetic(op) {
                return Some(Outcome { value: SampleValue::Float(function(a, b)), holds: true });
            }
            match comparison(op) {
                Some(function) => Some(Outcome { value: SampleValue::Float(a), holds: function(a, b) }),
                None => incompatible(&mut note, "float", "float"),
            }
        }
        (Sample::Float(a), Sample::Histogram(b)) => match op {
            BinaryOp::Mul => Outcome::of(compacted(b.mul(a))),
            _ => incompatible(&mut note, "float", "histogram"),
        },
        (Sample::Histogram(a), Sample::Float(b)) => match op {
            BinaryOp::Mul => Outcome::of(compacted(a.mul(b))),
            BinaryOp::Div => Outcome::of(compacted(a.div(b))),
            BinaryOp::TrimUpper => Outcome::of(a.trim_upper(b)),
            BinaryOp::TrimLower => Outcome::of(a.trim_lower(b)),
            _ => incompatible(&mut note, "histogram", "float"),
        },
        (Sample::Histogram(a), Sample::Histogram(b)) => match op {
            BinaryOp::Add => merged(op, a.add(b), "addition", &mut note),
            BinaryOp::Sub => merged(op, a.sub(b), "subtraction", &mut note),
            BinaryOp::Equal => Some(Outcome { value: left.to_value(), holds: a == b }),
            BinaryOp::NotEqual => Some(Outcome { value: left.to_value(), holds: a != b }),
            _ => incompatible(&mut note, "histogram", "histogram"),
        },
    }
}

fn compacted(mut histogram: Histogram) -> Histogram {
    histogram.compact(0);
    histogram
}

fn merged(
    op: BinaryOp,
    outcome: Result<(Histogram, Merge), Incompatible>,
    operation: &str,
    note: &mut dyn FnMut(&Note<'_>),
) -> Option<Outcome> {
    let Ok((mut result, merge)) = outcome else {
        note(&Note::IncompatibleBuckets { operator: op.as_str() });
        return None;
    };
    if op == BinaryOp::Sub {
        result.reset_hint = ResetHint::Gauge;
    }
    // With such a conflict Prometheus gives the warning and no result.
    if merge.reset_collision {
        note(&Note::CounterResetCollision { operation });
        return None;
    }
    if merge.bounds_reconciled {
        note(&Note::ReconciledBounds { operation });
    }
    Outcome::of(compacted(result))
}
