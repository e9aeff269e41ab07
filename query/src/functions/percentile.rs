//! `approx_percentile_cont` for many groups at once, in the place of DataFusion's own, which keeps a t-digest of its own for
//! every group: with a hundred thousand groups (service, operation, minute) that is most of the time of a RED query.
//!
//! Values are appended to one list with the number of their group and sorted by group at the end, so small groups are
//! exact. When the list has grown large, groups of more than [`EXACT_VALUES`] values keep weighted means instead, fine at
//! both tails as in a merging t-digest (Dunning, Ertl 2019).

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, ListArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Coercion, EmitTo, GroupsAccumulator, Signature, TypeSignature,
    TypeSignatureClass, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::expressions::Literal;

/// Values that a group keeps as they are when the list is made smaller; more become weighted means.
const EXACT_VALUES: usize = 512;

/// Weighted means of a group, about.
const MEANS: f64 = 256.0;

/// Values in the list at which it is first made smaller.
const COMPACT_AT: usize = 4 * 1024 * 1024;

/// The name that SQL knows; DataFusion's own function has it too.
const ONE: &str = "approx_percentile_cont";

/// The name of the function that [`crate::optimizer::SharePercentiles`] puts in the place of several calls.
const MANY: &str = "approx_percentiles";

/// `approx_percentile_cont(expression, percentile)`, also `approx_percentile_cont(percentile) WITHIN GROUP (ORDER BY …)`.
pub(crate) fn approx_percentile_cont() -> AggregateUDF {
    // The third argument, the size of a t-digest, is taken for the sake of queries that were written for DataFusion.
    let shapes = vec![TypeSignature::Coercible(vec![float(); 2]), TypeSignature::Coercible(vec![float(); 3])];
    AggregateUDF::from(ApproxPercentile { signature: Signature::one_of(shapes, Volatility::Immutable), is_list: false })
}

/// `approx_percentiles(expression, percentile, …)`: a list, from one set of values.
pub(crate) fn approx_percentiles() -> AggregateUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    AggregateUDF::from(ApproxPercentile { signature, is_list: true })
}

fn float() -> Coercion {
    Coercion::new_implicit(
        TypeSignatureClass::Native(logical_float64()),
        vec![TypeSignatureClass::Numeric],
        NativeType::Float64,
    )
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxPercentile {
    signature: Signature,
    is_list: bool,
}

impl AggregateUDFImpl for ApproxPercentile {
    fn name(&self) -> &'static str {
        if self.is_list { MANY } else { ONE }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.is_list { list_type() } else { DataType::Float64 })
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Float64; arguments.len()])
    }

    fn supports_within_group_clause(&self) -> bool {
        !self.is_list
    }

    /// The values, and their weights unless every weight is one.
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name: &str| Arc::new(Field::new(format_state_name(args.name, name), list_type(), false));
        Ok(vec![field("values"), field("weights")])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Percentiles::new(wanted(&args, self.is_list)?, self.is_list))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Percentiles::new(wanted(&args, self.is_list)?, self.is_list)))
    }
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float64, true))
}

fn list_type() -> DataType {
    DataType::List(item())
}

/// The wanted percentiles, from 0 to 1.
fn wanted(args: &AccumulatorArgs, is_list: bool) -> Result<Vec<f64>> {
    let is_descending = args.order_bys.first().is_some_and(|order| order.options.descending);
    let literals = &args.exprs[1..if is_list { args.exprs.len() } else { 2.min(args.exprs.len()) }];
    let percentile = |expr: &Arc<dyn PhysicalExpr>| match expr.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Float64(Some(value))) if (0.0..=1.0).contains(value) => {
            Ok(if is_descending { 1.0 - value } else { *value })
        }
        _ => plan_err!("the percentile of {ONE} must be a number from 0 to 1, such as 0.99"),
    };
    literals.iter().map(percentile).collect()
}

/// The values of all groups.
#[derive(Debug)]
struct Percentiles {
    wanted: Vec<f64>,
    is_list: bool,
    /// The group of each value.
    groups: Vec<u32>,
    values: Vec<f64>,
    /// Empty while every weight is one.
    weights: Vec<f64>,
    group_count: usize,
    compact_at: usize,
}

/// The values of all groups, one group after the other.
struct Sorted {
    /// Where the values of group `i` begin; one more than there are groups.
    starts: Vec<usize>,
    values: Vec<f64>,
    /// Empty when every weight is one.
    weights: Vec<f64>,
}

impl Sorted {
    fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// The values of a group in ascending order, with their weights.
    fn ascending(&mut self, group: usize) -> Vec<(f64, f64)> {
        let range = self.starts[group]..self.starts[group + 1];
        let mut pairs: Vec<(f64, f64)> =
            range.map(|index| (self.values[index], self.weights.get(index).copied().unwrap_or(1.0))).collect();
        pairs.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
        pairs
    }

    /// The percentiles of a group; empty when it has no values.
    fn percentiles(&mut self, group: usize, wanted: &[f64]) -> Vec<f64> {
        if !self.weights.is_empty() {
            let pairs = self.ascending(group);
            return wanted.iter().filter_map(|percentile| weighted_percentile(&pairs, *percentile)).collect();
        }
        let values = &mut self.values[self.starts[group]..self.starts[group + 1]];
        values.sort_unstable_by(f64::total_cmp);
        wanted.iter().filter_map(|percentile| exact_percentile(values, *percentile)).collect()
    }
}

impl Percentiles {
    fn new(wanted: Vec<f64>, is_list: bool) -> Self {
        Self {
            wanted,
            is_list,
            groups: Vec::new(),
            values: Vec::new(),
            weights: Vec::new(),
            group_count: 0,
            compact_at: COMPACT_AT,
        }
    }

    fn push(&mut self, group: usize, value: f64, weight: f64) -> Result<()> {
        let Ok(number) = u32::try_from(group) else { return exec_err!("more than 2^32 groups") };
        // Every weight is one in nearly all cases, and then none is stored.
        #[expect(clippy::float_cmp, reason = "one is exact")]
        if weight != 1.0 && self.weights.is_empty() {
            self.weights.resize(self.values.len(), 1.0);
            self.weights.push(weight);
        } else if !self.weights.is_empty() {
            self.weights.push(weight);
        }
        self.groups.push(number);
        self.values.push(value);
        Ok(())
    }

    /// Makes the list smaller when it has become large.
    fn compact_if_large(&mut self) -> Result<()> {
        if self.values.len() < self.compact_at {
            return Ok(());
        }
        let count = self.group_count;
        let mut sorted = self.take_sorted(EmitTo::All);
        self.group_count = count;
        for group in 0..count {
            let pairs = sorted.ascending(group);
            let kept = if pairs.len() <= EXACT_VALUES { pairs } else { means(&pairs) };
            kept.into_iter().try_for_each(|(value, weight)| self.push(group, value, weight))?;
        }
        self.compact_at = COMPACT_AT.max(2 * self.values.len());
        Ok(())
    }

    /// Takes the emitted groups out, sorted by group.
    fn take_sorted(&mut self, emit_to: EmitTo) -> Sorted {
        let emitted = match emit_to {
            EmitTo::All => self.group_count,
            EmitTo::First(count) => count,
        };
        let (groups, values) = (std::mem::take(&mut self.groups), std::mem::take(&mut self.values));
        let weights = std::mem::take(&mut self.weights);
        let mut starts = vec![0; emitted + 1];
        for group in groups.iter().map(|group| *group as usize).filter(|group| *group < emitted) {
            starts[group + 1] += 1;
        }
        for group in 0..emitted {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut sorted = Sorted { values: vec![0.0; starts[emitted]], weights: Vec::new(), starts };
        if !weights.is_empty() {
            sorted.weights.resize(sorted.values.len(), 1.0);
        }
        self.group_count -= emitted;
        for (index, group) in groups.iter().map(|group| *group as usize).enumerate() {
            if group >= emitted {
                let weight = weights.get(index).copied().unwrap_or(1.0);
                self.push(group - emitted, values[index], weight).expect("the number of a group became smaller");
                continue;
            }
            sorted.values[next[group]] = values[index];
            if let Some(weight) = weights.get(index) {
                sorted.weights[next[group]] = *weight;
            }
            next[group] += 1;
        }
        sorted
    }
}

impl GroupsAccumulator for Percentiles {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.group_count = group_count;
        let column = values[0].as_primitive::<Float64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            if column.is_valid(row) && is_selected(filter, row) {
                self.push(*group, column.value(row), 1.0)?;
            }
        }
        self.compact_if_large()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut sorted = self.take_sorted(emit_to);
        let found = (0..sorted.groups()).map(|group| sorted.percentiles(group, &self.wanted));
        if !self.is_list {
            return Ok(Arc::new(found.map(|percentiles| percentiles.first().copied()).collect::<Float64Array>()));
        }
        let (mut starts, mut items) = (vec![0], Vec::new());
        for percentiles in found {
            items.extend(percentiles);
            starts.push(items.len());
        }
        list(starts, items)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let Sorted { starts, values, weights } = self.take_sorted(emit_to);
        let no_weights = vec![0; starts.len()];
        let weights = list(if weights.is_empty() { no_weights } else { starts.clone() }, weights)?;
        Ok(vec![list(starts, values)?, weights])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], group_count: usize) -> Result<()> {
        self.group_count = group_count;
        let (values, weights) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        let items = |list: &ListArray, row: usize| {
            let ends = &list.value_offsets()[row..row + 2];
            (ends[0] as usize, ends[1] as usize)
        };
        let all_values = values.values().as_primitive::<Float64Type>().values();
        let all_weights = weights.values().as_primitive::<Float64Type>().values();
        for (row, group) in group_indices.iter().enumerate() {
            let (start, end) = items(values, row);
            let (first_weight, end_weight) = items(weights, row);
            let weights = &all_weights[first_weight..end_weight];
            for (index, value) in all_values[start..end].iter().enumerate() {
                self.push(*group, *value, weights.get(index).copied().unwrap_or(1.0))?;
            }
        }
        self.compact_if_large()
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let column = values[0].as_primitive::<Float64Type>();
        let (mut starts, mut items) = (vec![0], Vec::with_capacity(column.len()));
        for row in 0..column.len() {
            if column.is_valid(row) && is_selected(filter, row) {
                items.push(column.value(row));
            }
            starts.push(items.len());
        }
        let no_weights = list(vec![0; starts.len()], Vec::new())?;
        Ok(vec![list(starts, items)?, no_weights])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<u32>()
            + (self.values.capacity() + self.weights.capacity()) * size_of::<f64>()
    }
}

fn is_selected(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn list(starts: Vec<usize>, items: Vec<f64>) -> Result<ArrayRef> {
    let offsets: std::result::Result<Vec<i32>, _> = starts.into_iter().map(i32::try_from).collect();
    let Ok(offsets) = offsets else { return exec_err!("the values of one batch of groups are more than 2^31") };
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(item(), offsets, Arc::new(Float64Array::from(items)), None)?))
}

/// The percentile of ascending values, interpolated between the two nearest ranks as SQL's `percentile_cont` is.
fn exact_percentile(values: &[f64], percentile: f64) -> Option<f64> {
    let rank = percentile * values.len().checked_sub(1)? as f64;
    let low = *values.get(rank.floor() as usize)?;
    Some(between(low, *values.get(rank.ceil() as usize)?, rank.fract()))
}

/// The same of values with weights: each counts as often as its weight says.
fn weighted_percentile(pairs: &[(f64, f64)], percentile: f64) -> Option<f64> {
    let total: f64 = pairs.iter().map(|(_, weight)| weight).sum();
    let rank = percentile * (total - 1.0).max(0.0);
    let at = |rank: f64| {
        let mut before = 0.0;
        let found = pairs.iter().find(|(_, weight)| {
            before += weight;
            rank < before
        });
        found.or(pairs.last()).map(|(value, _)| *value)
    };
    Some(between(at(rank.floor())?, at(rank.floor() + 1.0)?, rank.fract()))
}

fn between(low: f64, high: f64, share: f64) -> f64 {
    // Without the test an infinite neighbour that counts for nothing would make the answer NaN.
    if share > 0.0 { low + (high - low) * share } else { low }
}

/// Weighted means of ascending values: large in the middle, single values at both ends.
fn means(pairs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let total: f64 = pairs.iter().map(|(_, weight)| weight).sum();
    let mut means: Vec<(f64, f64)> = Vec::new();
    let mut before = 0.0;
    for (value, weight) in pairs.iter().copied() {
        let share = (before + weight / 2.0) / total;
        let room = 4.0 * total * share * (1.0 - share) / MEANS;
        match means.last_mut() {
            Some((mean, sum)) if *sum + weight <= room => {
                *mean += (value - *mean) * weight / (*sum + weight);
                *sum += weight;
            }
            _ => means.push((value, weight)),
        }
        before += weight;
    }
    means
}

/// All rows as one group: aggregates without GROUP BY, and windows.
#[derive(Debug)]
struct OneGroup(Percentiles);

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; values[0].len()];
        self.0.update_batch(values, &groups, None, 1)
    }

    /// May be called again and again while a window grows, so what was taken out is put back.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (groups, values) = (self.0.groups.clone(), self.0.values.clone());
        let weights = self.0.weights.clone();
        self.0.group_count = 1;
        let found = ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0);
        (self.0.groups, self.0.values, self.0.weights) = (groups, values, weights);
        found
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.group_count = 1;
        let states = self.0.state(EmitTo::All)?;
        states.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        self.0.merge_batch(states, &groups, 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn column(values: &[f64]) -> Vec<ArrayRef> {
        vec![Arc::new(Float64Array::from(values.to_vec()))]
    }

    /// Sorts everything: the definition of `percentile_cont`.
    fn expected(values: &[f64], percentile: f64) -> Option<f64> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let rank = percentile * (values.len().checked_sub(1)? as f64);
        let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
        Some(low + (high - low) * rank.fract())
    }

    #[test]
    fn groups_are_exact_and_independent_whatever_way_they_take() {
        let mut random = SmallRng::seed_from_u64(1);
        let rows: Vec<(usize, f64)> =
            (0..5_000).map(|_| (random.random_range(0..40_usize), random.random_range(-5.0..1e6))).collect();
        let groups: Vec<usize> = rows.iter().map(|row| row.0).collect();
        let values: Vec<f64> = rows.iter().map(|row| row.1).collect();
        for percentile in [0.0, 0.5, 0.95, 0.99, 1.0] {
            let wanted: Vec<Option<f64>> = (0..41)
                .map(|group| {
                    let own: Vec<f64> = rows.iter().filter(|row| row.0 == group).map(|row| row.1).collect();
                    expected(&own, percentile)
                })
                .collect();
            let mut direct = Percentiles::new(vec![percentile], false);
            direct.update_batch(&column(&values), &groups, None, 41).expect("values");
            // Through states, in two batches of groups, as two partitions and a final aggregate do.
            let mut partial = Percentiles::new(vec![percentile], false);
            partial.update_batch(&column(&values[..2_500]), &groups[..2_500], None, 41).expect("values");
            let mut merged = Percentiles::new(vec![percentile], false);
            let first = partial.state(EmitTo::First(10)).expect("a state");
            merged.merge_batch(&first, &(0..10).collect::<Vec<_>>(), 41).expect("merged");
            let rest = partial.state(EmitTo::All).expect("a state");
            merged.merge_batch(&rest, &(10..41).collect::<Vec<_>>(), 41).expect("merged");
            let raw = partial.convert_to_state(&column(&values[2_500..]), None).expect("a state");
            merged.merge_batch(&raw, &groups[2_500..], 41).expect("merged");
            for accumulator in [&mut direct, &mut merged] {
                let mut found: Vec<Option<f64>> = Vec::new();
                for emit_to in [EmitTo::First(7), EmitTo::All] {
                    let column = accumulator.evaluate(emit_to).expect("percentiles");
                    found.extend(column.as_primitive::<Float64Type>());
                }
                assert_eq!(found, wanted, "percentile {percentile}");
            }
        }
    }

    #[test]
    fn large_groups_keep_their_tails() {
        let mut random = SmallRng::seed_from_u64(2);
        let values: Vec<f64> = (0..200_000).map(|_| random.random_range(0.0_f64..1.0).powi(8) * 1e9).collect();
        for percentile in [0.01, 0.5, 0.95, 0.99, 0.999] {
            let mut accumulator = Percentiles::new(vec![percentile], false);
            accumulator.compact_at = 10_000;
            for part in values.chunks(3_000) {
                accumulator.update_batch(&column(part), &vec![0; part.len()], None, 1).expect("values");
                accumulator.compact_at = accumulator.compact_at.min(10_000);
            }
            assert!(accumulator.values.len() < 14_000, "{} values are kept", accumulator.values.len());
            let found = accumulator.evaluate(EmitTo::All).expect("a percentile");
            let found = found.as_primitive::<Float64Type>().value(0);
            let below = values.iter().filter(|value| **value <= found).count() as f64 / values.len() as f64;
            let allowed = 0.02 * percentile.min(1.0 - percentile) + 0.0005;
            assert!((below - percentile).abs() <= allowed, "{percentile}: rank {below}");
        }
    }

    #[test]
    fn what_is_null_or_filtered_does_not_count() {
        let values: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0), Some(100.0)]))];
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), None]);
        let mut accumulator = Percentiles::new(vec![0.5], false);
        accumulator.update_batch(&values, &[0, 0, 0, 0], Some(&filter), 2).expect("values");
        let found = accumulator.evaluate(EmitTo::All).expect("percentiles");
        assert_eq!(found.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(2.0), None]);
    }
}
