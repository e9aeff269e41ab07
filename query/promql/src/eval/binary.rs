//! Binary expressions: with scalars, and sets of vectors.

use hashbrown::HashMap;

use super::matrix::{ABSENT, Column, Sample, Values, is_absent};
use super::operators::{apply, arithmetic, comparison};
use super::{Evaluator, HistogramView, QueryError, Result, Steps};
use crate::ast::{Binary, BinaryOp, Matching, Position, ValueType};
use crate::labels::{Labels, is_metadata};
use crate::value::SampleValue;

impl Matching {
    /// The labels by which series match.
    pub(super) fn signature(&self, labels: &Labels) -> Labels {
        let is_named = |name: &str| self.labels.iter().any(|label| label == name);
        if self.on { labels.filtered(is_named) } else { labels.filtered(|name| !is_named(name) && !is_metadata(name)) }
    }
}

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &Binary, position: Position, steps: Steps) -> Result<Values> {
        let view = match binary.op {
            BinaryOp::TrimUpper | BinaryOp::TrimLower => HistogramView::Buckets,
            _ => self.view.get(),
        };
        self.viewing(view, || self.operate(binary, position, steps))
    }

    fn operate(&self, binary: &Binary, position: Position, steps: Steps) -> Result<Values> {
        match [&binary.left, &binary.right].map(|side| side.value_type()) {
            [ValueType::Scalar, ValueType::Scalar] => {
                let (left, right) = (self.scalar(&binary.left, steps)?, self.scalar(&binary.right, steps)?);
                Ok(Values::Scalar(scalars(binary.op, &left, &right)?))
            }
            [ValueType::Vector, ValueType::Scalar] => {
                let vector = self.vector(&binary.left, steps)?;
                let scalar = self.scalar(&binary.right, steps)?;
                self.with_scalar(binary, vector, &scalar, false, position)
            }
            [ValueType::Scalar, ValueType::Vector] => {
                let scalar = self.scalar(&binary.left, steps)?;
                let vector = self.vector(&binary.right, steps)?;
                self.with_scalar(binary, vector, &scalar, true, position)
            }
            _ => {
                let left = self.vector(&binary.left, steps)?;
                let right = self.vector(&binary.right, steps)?;
                if binary.op.is_set() {
                    set_operation(binary, left, right, steps)
                } else {
                    self.match_vectors(binary, position, left, right, steps)
                }
            }
        }
    }

    /// An operator on a vector and a scalar, which is on the left if `swapped`.
    fn with_scalar(
        &self,
        binary: &Binary,
        mut vector: Vec<Column>,
        scalar: &[f64],
        swapped: bool,
        position: Position,
    ) -> Result<Values> {
        let drops = binary.op.changes_metric() || binary.returns_bool;
        for column in &mut vector {
            if drops {
                self.drop_name(column);
            }
            if column.histograms.is_empty() && with_floats(binary, &mut column.floats, scalar, swapped) {
                continue;
            }
            for (step, scalar) in scalar.iter().enumerate() {
                let Some(sample) = column.at(step) else { continue };
                let scalar = Sample::Float(*scalar);
                let (left, right) = if swapped { (scalar, sample) } else { (sample, scalar) };
                let outcome = apply(binary.op, left, right, |note| self.note(note, position));
                let result = outcome.and_then(|outcome| match (binary.returns_bool, outcome.holds) {
                    (true, holds) => Some(SampleValue::Float(f64::from(u8::from(holds)))),
                    (false, false) => None,
                    // A comparison keeps the vector's value, wherever it stands.
                    (false, true) if binary.op.is_comparison() => Some(sample.to_value()),
                    (false, true) => Some(outcome.value),
                });
                column.floats[step] = ABSENT;
                if let Some(slot) = column.histograms.get_mut(step) {
                    *slot = None;
                }
                if let Some(result) = result {
                    column.set(step, result);
                }
            }
        }
        self.finish(vector)
    }
}

/// Where there are only floats. Says whether the operator is one of floats.
fn with_floats(binary: &Binary, floats: &mut [f64], scalar: &[f64], swapped: bool) -> bool {
    let present = floats.iter_mut().zip(scalar).filter(|(value, _)| !is_absent(**value));
    if let Some(function) = arithmetic(binary.op) {
        present.for_each(|(value, scalar)| {
            *value = if swapped { function(*scalar, *value) } else { function(*value, *scalar) };
        });
        return true;
    }
    let Some(holds) = comparison(binary.op) else { return false };
    present.for_each(|(value, scalar)| {
        let holds = if swapped { holds(*scalar, *value) } else { holds(*value, *scalar) };
        *value = match (binary.returns_bool, holds) {
            (true, holds) => f64::from(u8::from(holds)),
            (false, true) => *value,
            (false, false) => ABSENT,
        };
    });
    true
}

fn scalars(op: BinaryOp, left: &[f64], right: &[f64]) -> Result<Vec<f64>> {
    let pairs = left.iter().zip(right);
    if let Some(function) = arithmetic(op) {
        return Ok(pairs.map(|(a, b)| function(*a, *b)).collect());
    }
    match comparison(op) {
        Some(function) => Ok(pairs.map(|(a, b)| f64::from(u8::from(function(*a, *b)))).collect()),
        None => Err(QueryError::Execution(format!("operator {:?} not allowed for Scalar operations", op.as_str()))),
    }
}

/// `and`, `or` and `unless`: which series of one side there are at a step depends on those of the other side with the
/// same signature.
fn set_operation(binary: &Binary, mut left: Vec<Column>, mut right: Vec<Column>, steps: Steps) -> Result<Values> {
    let presence = |columns: &[Column]| {
        let mut present: HashMap<Labels, Vec<bool>> = HashMap::new();
        for column in columns {
            let signature = binary.matching.signature(&column.labels);
            let steps = present.entry(signature).or_insert_with(|| vec![false; steps.count]);
            steps.iter_mut().enumerate().for_each(|(step, present)| *present |= column.has(step));
        }
        present
    };
    let keep = |columns: &mut Vec<Column>, others: &HashMap<Labels, Vec<bool>>, if_present: bool| {
        for column in columns.iter_mut() {
            let present = others.get(&binary.matching.signature(&column.labels));
            for step in 0..steps.count {
                if present.is_some_and(|present| present[step]) != if_present {
                    column.floats[step] = ABSENT;
                    if let Some(slot) = column.histograms.get_mut(step) {
                        *slot = None;
                    }
                }
            }
        }
        columns.retain(|column| !column.is_empty());
    };
    match binary.op {
        BinaryOp::And => keep(&mut left, &presence(&right), true),
        BinaryOp::Unless => keep(&mut left, &presence(&right), false),
        _ => {
            keep(&mut right, &presence(&left), false);
            left.append(&mut right);
            return Ok(Values::Vector(super::merge_same_labels(left)?));
        }
    }
    Ok(Values::Vector(left))
}
