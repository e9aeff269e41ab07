//! Adding, subtracting and scaling histograms.

use super::bounds::exponential_bound;
use super::layout::{index_at_schema, spans};
use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, MAX_SCHEMA, MIN_SCHEMA, ResetHint};

/// Exponential and custom buckets cannot be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct Incompatible;

/// Why a resolution cannot be reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReduceError {
    /// Custom buckets have no resolution.
    #[error("cannot reduce the resolution of custom buckets")]
    Custom,
    /// The target is not a lower resolution.
    #[error("cannot reduce resolution from schema {0} to {1}")]
    NotLower(i32, i32),
}

/// What had to be reconciled to put two histograms together; worth a note to the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// One had a counter reset, the other explicitly not: the hint is unknown now.
    pub reset_collision: bool,
    /// Custom buckets had different bounds: only the common ones are left.
    pub bounds_reconciled: bool,
}

impl Histogram {
    /// The sum of two histograms, at the lower resolution and the larger zero bucket of the two.
    pub fn add(&self, other: &Self) -> Result<(Self, Merge), Incompatible> {
        let mut parts = Parts::<f64>::from(self);
        let merge = parts.merge(Parts::from(other))?;
        Ok((parts.into(), merge))
    }

    /// The difference of two histograms. The reset hint is as for [`add`](Self::add); the `-` of PromQL makes it a
    /// gauge.
    pub fn sub(&self, other: &Self) -> Result<(Self, Merge), Incompatible> {
        let mut parts = Parts::<f64>::from(self);
        let mut other = Parts::from(other);
        other.scale(-1.0);
        let merge = parts.merge(other)?;
        Ok((parts.into(), merge))
    }

    /// All counts and the sum times a factor. A negative one makes a gauge.
    pub fn mul(&self, factor: f64) -> Self {
        let mut scaled = self.map(|number| number * factor);
        if factor < 0.0 {
            scaled.reset_hint = ResetHint::Gauge;
        }
        scaled
    }

    /// All counts and the sum divided. A negative divisor makes a gauge; zero leaves no buckets.
    pub fn div(&self, divisor: f64) -> Self {
        let mut scaled = self.map(|number| number / divisor);
        if divisor < 0.0 {
            scaled.reset_hint = ResetHint::Gauge;
        }
        if divisor == 0.0 {
            scaled.positive_spans.clear();
            scaled.positive_buckets.clear();
            scaled.negative_spans.clear();
            scaled.negative_buckets.clear();
        }
        scaled
    }

    /// The histogram with all signs turned, a gauge.
    pub fn negate(&self) -> Self {
        self.mul(-1.0)
    }

    /// Merges buckets down to a lower resolution.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), ReduceError> {
        if self.uses_custom_buckets() || schema == CUSTOM_BUCKETS_SCHEMA {
            return Err(ReduceError::Custom);
        }
        if schema >= self.schema || schema < MIN_SCHEMA {
            return Err(ReduceError::NotLower(self.schema, schema));
        }
        let mut parts = Parts::<f64>::from(&*self);
        parts.reduce(schema);
        *self = parts.into();
        Ok(())
    }

    fn map(&self, scale: impl Fn(f64) -> f64) -> Self {
        let mut mapped = self.clone();
        let numbers = [&mut mapped.zero_count, &mut mapped.count, &mut mapped.sum];
        let buckets = mapped.positive_buckets.iter_mut().chain(&mut mapped.negative_buckets);
        numbers.into_iter().chain(buckets).for_each(|number| *number = scale(*number));
        mapped
    }
}

/// A number that can be summed up: a plain float, or one that keeps track of what rounding lost.
pub(super) trait Tally: Copy + Default {
    fn of(value: f64) -> Self;
    fn add(&mut self, other: Self);
    fn scale(&mut self, factor: f64);
    fn value(self) -> f64;
}

impl Tally for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn add(&mut self, other: Self) {
        *self += other;
    }

    fn scale(&mut self, factor: f64) {
        *self *= factor;
    }

    fn value(self) -> f64 {
        self
    }
}

/// A histogram taken apart for merging.
#[derive(Clone, Debug)]
pub(super) struct Parts<N> {
    pub(super) reset_hint: ResetHint,
    schema: i32,
    zero_threshold: f64,
    zero_count: N,
    count: N,
    sum: N,
    positive: Vec<(i64, N)>,
    negative: Vec<(i64, N)>,
    custom_values: Vec<f64>,
}

impl<N: Tally> From<&Histogram> for Parts<N> {
    fn from(histogram: &Histogram) -> Self {
        let tally = |(index, count)| (index, N::of(count));
        Self {
            reset_hint: histogram.reset_hint,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: N::of(histogram.zero_count),
            count: N::of(histogram.count),
            sum: N::of(histogram.sum),
            positive: histogram.positive_entries().map(tally).collect(),
            negative: histogram.negative_entries().map(tally).collect(),
            custom_values: histogram.custom_values.clone(),
        }
    }
}

impl<N: Tally> From<Parts<N>> for Histogram {
    fn from(parts: Parts<N>) -> Self {
        let side = |entries: &[(i64, N)]| {
            let counts = entries.iter().map(|(_, count)| count.value()).collect::<Vec<_>>();
            (spans(entries.iter().map(|(index, _)| *index)), counts)
        };
        let (positive_spans, positive_buckets) = side(&parts.positive);
        let (negative_spans, negative_buckets) = side(&parts.negative);
        Self {
            reset_hint: parts.reset_hint,
            schema: parts.schema,
            zero_threshold: parts.zero_threshold,
            zero_count: parts.zero_count.value(),
            count: parts.count.value(),
            sum: parts.sum.value(),
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_values: parts.custom_values,
        }
    }
}

impl<N: Tally> Parts<N> {
    /// Adds another histogram.
    pub(super) fn merge(&mut self, mut other: Self) -> Result<Merge, Incompatible> {
        let is_custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
        if is_custom != (other.schema == CUSTOM_BUCKETS_SCHEMA) {
            return Err(Incompatible);
        }
        let mut merge = Merge { reset_collision: self.merge_hint(other.reset_hint), bounds_reconciled: false };
        if is_custom {
            merge.bounds_reconciled = self.reconcile_bounds(&mut other);
        } else {
            self.reconcile_zero_buckets(&mut other);
            let schema = self.schema.min(other.schema);
            self.reduce(schema);
            other.reduce(schema);
        }
        self.zero_count.add(other.zero_count);
        self.count.add(other.count);
        self.sum.add(other.sum);
        add_side(&mut self.positive, &other.positive);
        add_side(&mut self.negative, &other.negative);
        Ok(merge)
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.for_each(|number| number.scale(factor));
    }

    pub(super) fn for_each(&mut self, mut apply: impl FnMut(&mut N)) {
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().for_each(&mut apply);
        self.positive.iter_mut().chain(&mut self.negative).for_each(|(_, number)| apply(number));
    }

    /// The hint of the sum, and whether the two contradict each other.
    fn merge_hint(&mut self, other: ResetHint) -> bool {
        use ResetHint::{Gauge, Unknown};
        let (hint, collision) = match (self.reset_hint, other) {
            (a, b) if a == b => (a, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Unknown, _) | (_, Unknown) => (Unknown, false),
            _ => (Unknown, true),
        };
        self.reset_hint = hint;
        collision
    }

    fn reduce(&mut self, schema: i32) {
        if schema < self.schema {
            self.positive = reduce(&self.positive, self.schema, schema);
            self.negative = reduce(&self.negative, self.schema, schema);
            self.schema = schema;
        }
    }

    /// Widens the zero buckets of both until they are the same and cut through no bucket with observations.
    fn reconcile_zero_buckets(&mut self, other: &mut Self) {
        loop {
            if self.zero_threshold > other.zero_threshold {
                other.widen_zero_bucket(self.zero_threshold);
            } else if other.zero_threshold > self.zero_threshold {
                self.widen_zero_bucket(other.zero_threshold);
            } else {
                return;
            }
        }
    }

    /// Moves the buckets below the threshold into the zero bucket; a threshold within a bucket that has observations
    /// is raised to its upper bound.
    fn widen_zero_bucket(&mut self, threshold: f64) {
        let raised = raised_threshold(&[&self.positive, &self.negative], self.schema, threshold);
        for side in [&mut self.positive, &mut self.negative] {
            let within = side.partition_point(|(index, _)| exponential_bound(index - 1, self.schema) < raised);
            side.drain(..within).for_each(|(_, count)| self.zero_count.add(count));
        }
        self.zero_threshold = raised;
    }

    /// Brings custom buckets of both to their common bounds; says whether they differed.
    fn reconcile_bounds(&mut self, other: &mut Self) -> bool {
        if self.custom_values == other.custom_values {
            return false;
        }
        let common = common_bounds(&self.custom_values, &other.custom_values);
        for parts in [self, other] {
            parts.positive = regroup(&parts.positive, &parts.custom_values, &common);
            parts.custom_values.clone_from(&common);
        }
        true
    }
}

/// The smallest threshold, at least the given one, that cuts through no bucket with observations.
fn raised_threshold<N: Tally>(sides: &[&[(i64, N)]], schema: i32, threshold: f64) -> f64 {
    let mut threshold = threshold;
    loop {
        let cut = sides.iter().flat_map(|side| side.iter()).find_map(|(index, count)| {
            let upper = exponential_bound(*index, schema);
            let cuts = exponential_bound(index - 1, schema) < threshold && upper > threshold;
            (cuts && count.value() != 0.0).then_some(upper)
        });
        match cut {
            Some(upper) => threshold = upper,
            None => return threshold,
        }
    }
}

/// What the zero count would be with a larger threshold, and the threshold raised to where it cuts no bucket.
pub(super) fn zero_count_up_to(histogram: &Histogram, threshold: f64) -> (f64, f64) {
    if threshold <= histogram.zero_threshold {
        return (histogram.zero_count, histogram.zero_threshold);
    }
    let mut parts = Parts::<f64>::from(histogram);
    parts.widen_zero_bucket(threshold);
    (parts.zero_count, parts.zero_threshold)
}

/// The bounds that both have.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut others = b.iter().peekable();
    let mut common = Vec::new();
    for bound in a {
        while others.next_if(|other| *other < bound).is_some() {}
        if others.next_if(|other| *other == bound).is_some() {
            common.push(*bound);
        }
    }
    common
}

/// The counts of custom buckets for fewer bounds; all of `common` must be among `bounds`.
pub(super) fn regroup<N: Tally>(entries: &[(i64, N)], bounds: &[f64], common: &[f64]) -> Vec<(i64, N)> {
    let mut grouped: Vec<(i64, N)> = Vec::new();
    for (index, count) in entries {
        let bound = usize::try_from(*index).ok().and_then(|index| bounds.get(index));
        let target = bound.map_or(common.len(), |bound| common.partition_point(|kept| kept < bound)) as i64;
        push_or_add(&mut grouped, target, *count);
    }
    grouped
}

fn reduce<N: Tally>(entries: &[(i64, N)], from: i32, to: i32) -> Vec<(i64, N)> {
    let mut reduced = Vec::new();
    for (index, count) in entries {
        push_or_add(&mut reduced, index_at_schema(*index, from, to), *count);
    }
    reduced
}

fn push_or_add<N: Tally>(entries: &mut Vec<(i64, N)>, index: i64, count: N) {
    match entries.last_mut() {
        Some((last, total)) if *last == index => total.add(count),
        _ => entries.push((index, count)),
    }
}

/// Adds the counts of another histogram, bucket by bucket.
fn add_side<N: Tally>(side: &mut Vec<(i64, N)>, other: &[(i64, N)]) {
    let same_buckets = side.iter().map(|(index, _)| index).eq(other.iter().map(|(index, _)| index));
    if same_buckets {
        side.iter_mut().zip(other).for_each(|((_, total), (_, count))| total.add(*count));
    } else {
        *side = union(side, other);
    }
}

/// The buckets of both, in the order of their indexes.
fn union<N: Tally>(a: &[(i64, N)], b: &[(i64, N)]) -> Vec<(i64, N)> {
    let mut union = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    loop {
        let from_a = match (a.peek(), b.peek()) {
            (Some((x, _)), Some((y, _))) => x <= y,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return union,
        };
        if let Some((index, count)) = if from_a { a.next() } else { b.next() } {
            push_or_add(&mut union, index, count);
        }
    }
}

/// Whether a schema is of exponential buckets.
pub(super) fn is_exponential(schema: i32) -> bool {
    (MIN_SCHEMA..=MAX_SCHEMA).contains(&schema)
}
