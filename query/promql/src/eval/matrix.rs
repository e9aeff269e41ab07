//! Columns of values: what an expression yields for one series at every step.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::sync::Arc;

use crate::engine::QueryError;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::series::STALE_NAN_BITS;
use crate::value::SampleValue;

/// Stands for no value in a column. No computation yields it: it is the marker of staleness, which ends a series and is
/// never a value.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

#[inline]
pub(super) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One series at every step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub(super) labels: Labels,
    /// Whether its name is to go at the end of the query.
    pub(super) drops_name: bool,
    /// One float for each step, or [`ABSENT`].
    pub(super) floats: Vec<f64>,
    /// One histogram for each step where there is no float; empty if there is none at all.
    pub(super) histograms: Vec<Option<Arc<Histogram>>>,
}

/// A value of a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

impl Sample<'_> {
    pub(super) fn to_value(self) -> SampleValue {
        match self {
            Self::Float(value) => SampleValue::Float(value),
            Self::Histogram(histogram) => SampleValue::Histogram(Arc::clone(histogram)),
        }
    }
}

impl Column {
    /// A column without any value.
    pub(super) fn empty(labels: Labels, count: usize) -> Self {
        Self { labels, drops_name: false, floats: vec![ABSENT; count], histograms: Vec::new() }
    }

    pub(super) fn at(&self, step: usize) -> Option<Sample<'_>> {
        let float = self.floats[step];
        if !is_absent(float) {
            return Some(Sample::Float(float));
        }
        self.histograms.get(step)?.as_ref().map(Sample::Histogram)
    }

    pub(super) fn has(&self, step: usize) -> bool {
        !is_absent(self.floats[step]) || self.histograms.get(step).is_some_and(Option::is_some)
    }

    pub(super) fn set(&mut self, step: usize, value: SampleValue) {
        match value {
            SampleValue::Float(value) => self.floats[step] = value,
            SampleValue::Histogram(histogram) => self.set_histogram(step, histogram),
        }
    }

    pub(super) fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms = vec![None; self.floats.len()];
        }
        self.histograms[step] = Some(histogram);
    }

    /// Whether there is no value at any step.
    pub(super) fn is_empty(&self) -> bool {
        self.floats.iter().all(|value| is_absent(*value)) && self.histograms.iter().all(Option::is_none)
    }

    /// How much it counts against the limit of samples.
    pub(super) fn weight(&self) -> usize {
        let histograms = self.histograms.iter().flatten().map(|histogram| histogram.weight());
        self.floats.iter().filter(|value| !is_absent(**value)).count() + histograms.sum::<usize>()
    }

    /// The same value at every step.
    pub(super) fn repeated(mut self, count: usize) -> Self {
        self.floats = vec![self.floats.first().copied().unwrap_or(ABSENT); count];
        if let Some(histogram) = self.histograms.first().cloned() {
            self.histograms = vec![histogram; count];
        }
        self
    }

    /// Takes over the values of another column with the same labels; `None` where both have one.
    fn merge(&mut self, other: Self) -> Option<()> {
        for step in 0..other.floats.len() {
            if let Some(sample) = other.at(step) {
                if self.has(step) {
                    return None;
                }
                self.set(step, sample.to_value());
            }
        }
        Some(())
    }
}

/// Puts columns with the same labels together.
pub(super) fn merge_same_labels(columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    if columns.len() < 2 {
        return Ok(columns);
    }
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(columns.len());
    let mut merged: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        match places.entry(column.labels.clone()) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(column);
            }
            Entry::Occupied(place) => merged[*place.get()].merge(column).ok_or_else(|| {
                QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
            })?,
        }
    }
    Ok(merged)
}

/// The values of an expression at every step.
#[derive(Debug)]
pub(super) enum Values {
    Scalar(Vec<f64>),
    Vector(Vec<Column>),
}

impl Values {
    pub(super) fn repeated(self, count: usize) -> Self {
        match self {
            Self::Scalar(values) => Self::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); count]),
            Self::Vector(columns) => Self::Vector(columns.into_iter().map(|column| column.repeated(count)).collect()),
        }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Scalar(values) => values.len(),
            Self::Vector(columns) => columns.iter().map(Column::weight).sum(),
        }
    }
}
