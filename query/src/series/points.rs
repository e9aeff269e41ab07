//! From rows to samples.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use trivium_promql::{Histogram, Label, STALE_NAN_BITS, format_float};
use trivium_storage::RowRanges;

use super::NANOS_PER_MILLI;
use super::index::{PointKind, Run, SeriesIndex};
use super::native;
use super::plan::{Projection, columns_of};
use super::source::Source;
use crate::error::Error;

/// The flag of a data point without a recorded value (opentelemetry/proto/metrics/v1/metrics.proto, `DataPointFlags`).
const NO_RECORDED_VALUE: u32 = 1;

/// A value of a series at one time.
#[derive(Clone, Debug)]
pub(super) enum Point {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Point {
    /// How many samples it counts as against the limit of a query.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Float(_) => 1,
            Self::Histogram(histogram) => histogram.weight(),
        }
    }
}

/// What distinguishes the series that come from one view: the bits of the bound or the quantile.
pub(super) type Part = Option<u64>;

/// The rows of a batch, opened for one projection.
pub(super) struct Points<'a> {
    batch: &'a RecordBatch,
    pub(super) times: &'a [i64],
    flags: &'a [u32],
    values: Option<&'a ArrayRef>,
    start_times: Option<&'a ArrayRef>,
}

impl<'a> Points<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let missing = |name: &str| Error::Internal(format!("metrics without the column {name}"));
        let column = |name: &str| batch.column_by_name(name);
        let times = column("time").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
        let flags = column("flags").and_then(|column| column.as_primitive_opt::<UInt32Type>());
        Ok(Self {
            batch,
            times: times.ok_or_else(|| missing("time"))?.values(),
            flags: flags.ok_or_else(|| missing("flags"))?.values(),
            values: column("value"),
            start_times: column("start_time"),
        })
    }

    pub(super) fn is_stale(&self, row: usize) -> bool {
        self.flags[row] & NO_RECORDED_VALUE != 0
    }

    /// The start time in milliseconds, 0 when it is unknown or not read.
    pub(super) fn start_time(&self, row: usize) -> i64 {
        let column = self.start_times.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
        column.filter(|column| column.is_valid(row)).map_or(0, |column| column.value(row).div_euclid(NANOS_PER_MILLI))
    }

    fn value(&self, row: usize) -> Option<f64> {
        let values = self.values?.as_primitive_opt::<Float64Type>()?;
        values.is_valid(row).then(|| values.value(row))
    }

    /// The samples that a row gives to a projection, each with its place among the view's series.
    pub(super) fn push(
        &self,
        row: usize,
        (kind, projection, is_delta): (PointKind, Projection, bool),
        take: &mut dyn FnMut(Part, Point),
    ) {
        let batch = self.batch;
        let float = |value: f64| Point::Float(value);
        match projection {
            Projection::Value if kind == PointKind::Prometheus => match self.value(row) {
                Some(value) => take(None, float(value)),
                None => {
                    if let Some(histogram) = native::prometheus(batch, row) {
                        take(None, Point::Histogram(Arc::new(histogram)));
                    }
                }
            },
            Projection::Value => {
                if let Some(value) = self.value(row) {
                    take(None, float(value));
                }
            }
            Projection::Sum => {
                if let Some(sum) = native::number::<Float64Type>(batch, "sum", row) {
                    take(None, float(sum));
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
            Projection::Count => {
                if let Some(count) = native::number::<UInt64Type>(batch, "count", row) {
                    take(None, float(count as f64));
                }
            }
            Projection::Bucket => self.buckets(row, take),
            Projection::Quantile => self.quantiles(row, take),
            Projection::Native => {
                let histogram = match kind {
                    PointKind::ExponentialHistogram => native::exponential(batch, row, is_delta),
                    _ => native::custom(batch, row, is_delta),
                };
                if let Some(histogram) = histogram {
                    take(None, Point::Histogram(Arc::new(histogram)));
                }
            }
        }
    }

    /// Buckets count up to their bounds; the last one, everything.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    fn buckets(&self, row: usize, take: &mut dyn FnMut(Part, Point)) {
        let counts = native::list::<UInt64Type>(self.batch, "bucket_counts", row);
        let bounds = native::list::<Float64Type>(self.batch, "explicit_bounds", row);
        let mut sum = 0_u64;
        if let (Some(counts), Some(bounds)) = (counts, bounds) {
            for (count, bound) in counts.values().iter().zip(bounds.values()) {
                sum = sum.saturating_add(*count);
                take(Some(bound.to_bits()), Point::Float(sum as f64));
            }
        }
        if let Some(count) = native::number::<UInt64Type>(self.batch, "count", row) {
            take(Some(f64::INFINITY.to_bits()), Point::Float(count as f64));
        }
    }

    fn quantiles(&self, row: usize, take: &mut dyn FnMut(Part, Point)) {
        let quantiles = native::list::<Float64Type>(self.batch, "quantiles", row);
        let values = native::list::<Float64Type>(self.batch, "quantile_values", row);
        if let (Some(quantiles), Some(values)) = (quantiles, values) {
            for (quantile, value) in quantiles.values().iter().zip(values.values()) {
                take(Some(quantile.to_bits()), Point::Float(*value));
            }
        }
    }
}

/// The value that stands for the end of a series.
pub(super) fn stale() -> Point {
    Point::Float(f64::from_bits(STALE_NAN_BITS))
}

/// The label that a part of a view has more than its series.
pub(super) fn part_label(projection: Projection, part: Part) -> Option<Label> {
    let value = format_float(f64::from_bits(part?)).into();
    Some(Label { name: if projection == Projection::Quantile { "quantile" } else { "le" }.into(), value })
}

/// The parts of a view that the last row of a run has.
pub(super) fn parts_of_row(source: &Source<'_>, run: &Run, projection: Projection) -> Result<Vec<Part>, Error> {
    let row = SeriesIndex::last_row(run);
    let (batches, row) = match source {
        Source::Batch(batch, _) => (vec![(*batch).clone()], row as usize),
        Source::Part(part, index) => {
            let kind = index.metrics[run.metric as usize].kind;
            let columns: Vec<&str> = [&["time", "flags"], columns_of(kind, projection)].concat();
            (part.read(Some(&columns), Some(&RowRanges::from_sorted([row..row + 1])))?, 0)
        }
    };
    let Some(batch) = batches.first() else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    Points::of(batch)?.push(row, (PointKind::Histogram, projection, false), &mut |part, _| parts.push(part));
    Ok(parts)
}
