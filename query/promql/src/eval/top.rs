//! Aggregations that pick series: `topk`, `bottomk`, `limitk` and `limit_ratio`.

use std::collections::BTreeMap;

use super::aggregate::groups;
use super::matrix::{Column, Sample};
use super::xxhash::hash_labels;
use super::{Evaluator, QueryError, Result, Steps};
use crate::annotations::Note;
use crate::ast::{Aggregate, AggregateOp, Position};
use crate::histogram::format_general;

impl Evaluator<'_> {
    pub(super) fn select_series(
        &self,
        aggregate: &Aggregate,
        param: &[f64],
        columns: Vec<Column>,
        position: Position,
        steps: Steps,
    ) -> Result<Vec<Column>> {
        if !self.check_parameter(aggregate, param)? {
            return Ok(Vec::new());
        }
        let hashes: Vec<f64> = if aggregate.op == AggregateOp::LimitRatio {
            columns.iter().map(|column| hash_labels(&column.labels) as f64 / u64::MAX as f64).collect()
        } else {
            Vec::new()
        };
        let mut picked = Picked { output: BTreeMap::new(), order: Vec::new(), steps };
        for group in groups(aggregate, &columns) {
            for (step, param) in param.iter().enumerate() {
                self.check()?;
                let members = group.members.iter().copied().filter(|index| columns[*index].has(step));
                match aggregate.op {
                    AggregateOp::LimitRatio => {
                        let ratio = param.clamp(-1.0, 1.0);
                        let is_in = |hash: f64| if ratio >= 0.0 { hash < ratio } else { hash >= 1.0 + ratio };
                        members
                            .filter(|index| is_in(hashes[*index]))
                            .for_each(|index| picked.add(&columns, index, step));
                    }
                    AggregateOp::Limitk => {
                        members.take(limit(*param, &columns)).for_each(|index| picked.add(&columns, index, step));
                    }
                    op => {
                        let mut top =
                            Top { k: limit(*param, &columns), is_top: op == AggregateOp::Topk, heap: Vec::new() };
                        for index in members {
                            match columns[index].at(step) {
                                Some(Sample::Float(value)) => top.offer(value, index),
                                _ if top.k > 0 => {
                                    self.note(&Note::IgnoredInAggregation { aggregation: op.as_str() }, position);
                                }
                                _ => {}
                            }
                        }
                        top.into_order().into_iter().for_each(|index| picked.add(&columns, index, step));
                    }
                }
            }
        }
        Ok(picked.into_columns())
    }

    /// Refuses parameters that are no numbers of series; says whether any series can be picked.
    fn check_parameter(&self, aggregate: &Aggregate, param: &[f64]) -> Result<bool> {
        let max = param.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = param.iter().copied().fold(f64::INFINITY, f64::min);
        let has_nan = param.iter().any(|value| value.is_nan());
        let refuse = |message: String| Err(QueryError::Execution(message));
        if aggregate.op == AggregateOp::LimitRatio {
            if max == 0.0 && min == 0.0 && !has_nan {
                return Ok(false);
            }
            if has_nan {
                return refuse("Ratio value is NaN".to_owned());
            }
            let position = aggregate.param.as_ref().map_or(Position::default(), |param| param.position);
            if max > 1.0 {
                self.note(&Note::InvalidRatio { given: max, used: 1.0 }, position);
            }
            if min < -1.0 {
                self.note(&Note::InvalidRatio { given: min, used: -1.0 }, position);
            }
            return Ok(true);
        }
        if has_nan {
            return refuse("Parameter value is NaN".to_owned());
        }
        if max < 1.0 {
            return Ok(false);
        }
        if min <= i64::MIN as f64 {
            return refuse(format!("Scalar value {} underflows int64", format_general(min)));
        }
        if max >= i64::MAX as f64 {
            return refuse(format!("Scalar value {} overflows int64", format_general(max)));
        }
        Ok(true)
    }
}

/// A number of series, no more than there are.
fn limit(param: f64, columns: &[Column]) -> usize {
    if param < 1.0 { 0 } else { (param as usize).min(columns.len()) }
}

/// The values picked of each column.
struct Picked {
    output: BTreeMap<usize, Column>,
    /// Columns as they were first picked.
    order: Vec<usize>,
    steps: Steps,
}

impl Picked {
    fn add(&mut self, columns: &[Column], index: usize, step: usize) {
        let source = &columns[index];
        let (order, count) = (&mut self.order, self.steps.count);
        let column = self.output.entry(index).or_insert_with(|| {
            order.push(index);
            Column { drops_name: source.drops_name, ..Column::empty(source.labels.clone(), count) }
        });
        if let Some(sample) = source.at(step) {
            column.set(step, sample.to_value());
        }
    }

    fn into_columns(mut self) -> Vec<Column> {
        self.order.iter().filter_map(|index| self.output.remove(index)).collect()
    }
}

/// The k best values so far, the worst of them at the root of a heap; NaN is worse than all.
struct Top {
    k: usize,
    is_top: bool,
    heap: Vec<(f64, usize)>,
}

impl Top {
    fn is_worse(&self, a: f64, b: f64) -> bool {
        a.is_nan() || if self.is_top { a < b } else { a > b }
    }

    fn offer(&mut self, value: f64, index: usize) {
        if self.k == 0 {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push((value, index));
            self.rise();
            return;
        }
        let worst = self.heap[0].0;
        let beats = if self.is_top { worst < value } else { worst > value };
        if beats || (worst.is_nan() && !value.is_nan()) {
            self.heap[0] = (value, index);
            self.sink();
        }
    }

    fn rise(&mut self) {
        let mut child = self.heap.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.is_worse(self.heap[child].0, self.heap[parent].0) {
                return;
            }
            self.heap.swap(child, parent);
            child = parent;
        }
    }

    fn sink(&mut self) {
        let mut parent = 0;
        loop {
            let mut child = 2 * parent + 1;
            if child >= self.heap.len() {
                return;
            }
            if child + 1 < self.heap.len() && self.is_worse(self.heap[child + 1].0, self.heap[child].0) {
                child += 1;
            }
            if !self.is_worse(self.heap[child].0, self.heap[parent].0) {
                return;
            }
            self.heap.swap(child, parent);
            parent = child;
        }
    }

    /// The columns, best first; of equal ones the first comes first.
    fn into_order(mut self) -> Vec<usize> {
        let is_top = self.is_top;
        self.heap.sort_by(|(a, i), (b, j)| {
            let order = match (a.is_nan(), b.is_nan()) {
                (false, false) if is_top => b.total_cmp(a),
                (false, false) => a.total_cmp(b),
                (a, b) => a.cmp(&b),
            };
            order.then(i.cmp(j))
        });
        self.heap.into_iter().map(|(_, index)| index).collect()
    }
}
