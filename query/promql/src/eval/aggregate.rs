//! Aggregations that yield one series for each group.

use hashbrown::HashMap;
use std::sync::Arc;

use super::kahan::{Mean, Sum, Variance};
use super::labels::{is_label_name, string_arg};
use super::matrix::{ABSENT, Column, Sample, is_absent};
use super::over_time::HistogramTotal;
use super::quantile::quantile;
use super::{Evaluator, QueryError, Result, Steps, parallel};
use crate::annotations::{Annotations, Note};
use crate::ast::{Aggregate, AggregateOp, Position};
use crate::labels::{Labels, METRIC_NAME};
use crate::number::{format_float, quote};

/// Columns that are aggregated together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) labels: Labels,
    /// Places of its columns, ascending.
    pub(super) members: Vec<usize>,
}

impl Aggregate {
    /// The labels of a series' group.
    fn group_labels(&self, labels: &Labels) -> Labels {
        let is_named = |name: &str| self.grouping.iter().any(|label| label == name);
        if self.without {
            labels.filtered(|name| !is_named(name) && name != METRIC_NAME)
        } else if self.grouping.is_empty() {
            Labels::default()
        } else {
            labels.filtered(is_named)
        }
    }
}

pub(super) fn groups(aggregate: &Aggregate, columns: &[Column]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    if !aggregate.without && aggregate.grouping.is_empty() {
        let members: Vec<usize> = (0..columns.len()).collect();
        return if members.is_empty() { groups } else { vec![Group { labels: Labels::default(), members }] };
    }
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for (index, column) in columns.iter().enumerate() {
        let labels = aggregate.group_labels(&column.labels);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            groups.push(Group { labels, members: Vec::new() });
            groups.len() - 1
        });
        groups[place].members.push(index);
    }
    groups
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, position: Position, steps: Steps) -> Result<Vec<Column>> {
        use AggregateOp::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        if aggregate.op == CountValues {
            return self.count_values(aggregate, steps);
        }
        let param = match &aggregate.param {
            Some(param) => self.scalar(param, steps)?,
            None => Vec::new(),
        };
        let columns = self.vector(&aggregate.expr, steps)?;
        if matches!(aggregate.op, Topk | Bottomk | Limitk | LimitRatio) {
            return self.select_series(aggregate, &param, columns, position, steps);
        }
        if aggregate.op == Quantile {
            self.note_quantiles(aggregate, &param);
        }
        let position = aggregate.expr.position;
        let work = columns.len() * steps.count;
        let results = parallel::map(groups(aggregate, &columns), work * 2, |group| {
            let mut notes = GroupNotes { position, annotations: Annotations::default() };
            (aggregate_group(aggregate.op, &group, &columns, &param, steps, &mut notes), notes.annotations)
        });
        let mut output = Vec::with_capacity(results.len());
        for (column, annotations) in results {
            self.annotations.borrow_mut().merge(annotations);
            if !column.is_empty() {
                output.push(column);
            }
        }
        Ok(output)
    }

    /// Notes the quantiles out of range: the highest, the lowest and NaN.
    fn note_quantiles(&self, aggregate: &Aggregate, param: &[f64]) {
        let position = aggregate.param.as_ref().map_or(Position::default(), |param| param.position);
        let highest = param.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = param.iter().copied().fold(f64::INFINITY, f64::min);
        let nan = param.iter().copied().find(|quantile| quantile.is_nan());
        let wrong = [nan, Some(highest).filter(|q| *q > 1.0 && q.is_finite()), Some(lowest).filter(|q| *q < 0.0)];
        for quantile in wrong.into_iter().flatten() {
            self.note(&Note::InvalidQuantile(quantile), position);
        }
        if param.contains(&f64::INFINITY) {
            self.note(&Note::InvalidQuantile(f64::INFINITY), position);
        }
    }

    fn count_values(&self, aggregate: &Aggregate, steps: Steps) -> Result<Vec<Column>> {
        let label = aggregate.param.as_ref().map(string_arg).unwrap_or_default();
        if !is_label_name(label) {
            return Err(QueryError::Execution(format!("invalid label name {}", quote(label))));
        }
        let columns = self.vector(&aggregate.expr, steps)?;
        let mut output: Vec<Column> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for column in &columns {
            self.check()?;
            let group = aggregate.group_labels(&column.labels);
            // A label of the group's own that has the value's name counts if it is named by `without`.
            let hides = aggregate.without && aggregate.grouping.iter().any(|name| name == label);
            for step in 0..steps.count {
                let text = match column.at(step) {
                    None => continue,
                    Some(Sample::Float(value)) => format_float(value),
                    Some(Sample::Histogram(histogram)) => histogram.to_string(),
                };
                let labels = if hides { group.clone() } else { group.with(label, &text) };
                let place = *places.entry(labels.clone()).or_insert_with(|| {
                    output.push(Column::empty(labels, steps.count));
                    output.len() - 1
                });
                let count = &mut output[place].floats[step];
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
        }
        Ok(output)
    }
}

/// Where groups leave their notes.
struct GroupNotes {
    position: Position,
    annotations: Annotations,
}

impl GroupNotes {
    fn add(&mut self, note: &Note<'_>) {
        self.annotations.add(note, self.position);
    }
}

fn aggregate_group(
    op: AggregateOp,
    group: &Group,
    columns: &[Column],
    param: &[f64],
    steps: Steps,
    notes: &mut GroupNotes,
) -> Column {
    let members = || group.members.iter().map(|index| &columns[*index]);
    let mut output = Column::empty(group.labels.clone(), steps.count);
    output.drops_name = members().any(|column| column.drops_name);
    let has_histograms = members().any(|column| !column.histograms.is_empty());
    if !has_histograms && fold_floats(op, members(), &mut output.floats) {
        return output;
    }
    let mut values = Vec::new();
    for step in 0..steps.count {
        values.clear();
        values.extend(members().filter_map(|column| Some((column.labels.metric_name(), column.at(step)?))));
        let q = param.get(step).copied().unwrap_or(f64::NAN);
        if let Some(result) = aggregate_step(op, &values, q, notes) {
            output.set(step, result);
        }
    }
    output
}

/// Aggregates column by column, where there are only floats. Says whether it did.
fn fold_floats<'a>(op: AggregateOp, members: impl Iterator<Item = &'a Column>, output: &mut [f64]) -> bool {
    match op {
        AggregateOp::Sum => sum_columns(members, output),
        AggregateOp::Avg => {
            let mut means: Vec<Option<Mean>> = vec![None; output.len()];
            for column in members {
                for (mean, value) in means.iter_mut().zip(&column.floats).filter(|(_, value)| !is_absent(**value)) {
                    *mean = Some(mean.map_or_else(|| Mean::of(*value), |mean| mean.plus(*value)));
                }
            }
            for (result, mean) in output.iter_mut().zip(means) {
                *result = mean.map_or(ABSENT, Mean::value);
            }
        }
        AggregateOp::Count => fold(members, output, |count, _| count + 1.0, |_| 1.0),
        AggregateOp::Group => fold(members, output, |one, _| one, |_| 1.0),
        AggregateOp::Min => {
            fold(members, output, |least, value| if least > value || least.is_nan() { value } else { least }, |v| v);
        }
        AggregateOp::Max => {
            fold(members, output, |most, value| if most < value || most.is_nan() { value } else { most }, |v| v);
        }
        _ => return false,
    }
    true
}

fn fold<'a>(
    members: impl Iterator<Item = &'a Column>,
    output: &mut [f64],
    next: impl Fn(f64, f64) -> f64,
    first: impl Fn(f64) -> f64,
) {
    for column in members {
        for (result, value) in output.iter_mut().zip(&column.floats).filter(|(_, value)| !is_absent(**value)) {
            *result = if is_absent(*result) { first(*value) } else { next(*result, *value) };
        }
    }
}

/// Sums of columns, step by step in the order of the columns; free of branches, so that several steps are summed up at
/// once.
fn sum_columns<'a>(members: impl Iterator<Item = &'a Column>, output: &mut [f64]) {
    let count = output.len();
    // Nothing added to -0 leaves any other value as it is.
    let mut sums = vec![-0.0; count];
    let mut errors = vec![0.0; count];
    let mut seen = vec![0_u64; count];
    for column in members {
        let floats = &column.floats[..count];
        for step in 0..count {
            let present = !is_absent(floats[step]);
            let value = if present { floats[step] } else { -0.0 };
            let sum = Sum { sum: sums[step], error: errors[step] }.plus(value);
            (sums[step], errors[step]) = (sum.sum, sum.error);
            seen[step] |= u64::from(present);
        }
    }
    for (step, result) in output.iter_mut().enumerate().filter(|(step, _)| seen[*step] != 0) {
        *result = Sum { sum: sums[step], error: errors[step] }.total();
    }
}

type Named<'a> = (&'a str, Sample<'a>);

/// One group at one step, in which there may be histograms.
fn aggregate_step(
    op: AggregateOp,
    values: &[Named<'_>],
    q: f64,
    notes: &mut GroupNotes,
) -> Option<crate::value::SampleValue> {
    use crate::value::SampleValue::Float;
    if values.is_empty() {
        return None;
    }
    match op {
        AggregateOp::Sum | AggregateOp::Avg => return total(op, values, notes),
        AggregateOp::Count => return Some(Float(values.len() as f64)),
        AggregateOp::Group => return Some(Float(1.0)),
        _ => {}
    }
    let is_float = |value: &Named<'_>| match value.1 {
        Sample::Float(value) => Some(value),
        Sample::Histogram(_) => None,
    };
    let mut floats: Vec<f64> = values.iter().filter_map(is_float).collect();
    if floats.len() < values.len() {
        notes.add(&Note::IgnoredInAggregation { aggregation: op.as_str() });
    }
    let first = *floats.first()?;
    let rest = floats.iter().copied();
    Some(Float(match op {
        AggregateOp::Min => {
            rest.fold(first, |least, value| if least > value || least.is_nan() { value } else { least })
        }
        AggregateOp::Max => rest.fold(first, |most, value| if most < value || most.is_nan() { value } else { most }),
        AggregateOp::Stdvar => rest.fold(Variance::default(), Variance::plus).value(),
        AggregateOp::Stddev => rest.fold(Variance::default(), Variance::plus).value().sqrt(),
        _ => quantile(q, &mut floats),
    }))
}

/// The sum or average: of floats, or of histograms, but not of both.
fn total(op: AggregateOp, values: &[Named<'_>], notes: &mut GroupNotes) -> Option<crate::value::SampleValue> {
    use crate::value::SampleValue::{Float, Histogram};
    let mut floats: Option<(Sum, Mean)> = None;
    let mut histograms: Option<HistogramTotal> = None;
    for (metric, value) in values {
        match value {
            Sample::Float(value) => {
                floats = Some(match floats {
                    None => (Sum { sum: *value, error: 0.0 }, Mean::of(*value)),
                    Some((sum, mean)) => (sum.plus(*value), mean.plus(*value)),
                });
            }
            Sample::Histogram(histogram) => match &mut histograms {
                None => histograms = Some(HistogramTotal::new(histogram)),
                Some(total) => {
                    if total.add(histogram).is_err() {
                        notes.add(&Note::MixedBucketSchemas { metric });
                        return None;
                    }
                }
            },
        }
    }
    let is_sum = op == AggregateOp::Sum;
    match (floats, histograms) {
        (Some(_), Some(_)) => {
            notes.add(&Note::MixedFloatsHistogramsInAggregation);
            None
        }
        (Some((sum, mean)), None) => Some(Float(if is_sum { sum.total() } else { mean.value() })),
        (None, Some(histograms)) => {
            if histograms.resets_collide() {
                notes.add(&Note::CounterResetCollision { operation: "aggregation" });
            }
            if histograms.reconciled {
                notes.add(&Note::ReconciledBounds { operation: "aggregation" });
            }
            let mut result = if is_sum { histograms.sum() } else { histograms.mean() };
            result.compact(0);
            Some(Histogram(Arc::new(result)))
        }
        (None, None) => None,
    }
}
