//! Subqueries: an expression at steps of its own, as a range vector.

use super::matrix::Column;
use super::selector::{RangeSeries, RangeVector};
use super::{Evaluator, HistogramView, QueryError, Result, Steps};
use crate::ast::{Extension, Subquery};
use crate::engine::LimitExceeded;
use crate::histogram::ResetHint;
use crate::series::Series;

impl Evaluator<'_> {
    pub(super) fn subquery(&self, subquery: &Subquery, steps: Steps) -> Result<RangeVector> {
        let range = self.positive_millis(&subquery.range)?;
        let offset = self.offset_millis(subquery.offset.as_ref())?;
        let at = subquery.at.map(|at| self.time_of(at));
        let mut vector = RangeVector { series: Vec::new(), range, offset, at, extension: Extension::None };
        if steps.count == 0 {
            return Ok(vector);
        }
        let step = match &subquery.step {
            Some(step) => self.positive_millis(step)?,
            None => self.options.default_subquery_step,
        };
        let inner = inner_steps(vector.end(steps.start) - range, vector.end(steps.end()), step.max(1));
        if inner.count > self.options.limits.max_samples {
            let max = self.options.limits.max_samples;
            return Err(QueryError::Limit(LimitExceeded::samples(max)));
        }
        // Resets between the steps can only be found in the buckets.
        let columns = self.viewing(HistogramView::Buckets, || self.vector(&subquery.expr, inner))?;
        vector.series = columns.into_iter().map(|column| series_of(column, inner)).collect();
        Ok(vector)
    }
}

/// The multiples of the step since the epoch, later than `after` and up to `until`.
fn inner_steps(after: i64, until: i64, step: i64) -> Steps {
    Steps::between((after.div_euclid(step) + 1) * step, until, step)
}

fn series_of(column: Column, steps: Steps) -> RangeSeries {
    let mut samples = Series { labels: column.labels.clone(), ..Series::default() };
    for (step, time) in steps.times().enumerate() {
        match column.at(step) {
            None => {}
            Some(super::Sample::Float(value)) => {
                samples.times.push(time);
                samples.values.push(value);
            }
            Some(super::Sample::Histogram(histogram)) => {
                let mut histogram = std::sync::Arc::clone(histogram);
                // Samples between the steps are not seen, so nothing is known of a reset any more.
                if matches!(histogram.reset_hint, ResetHint::Reset | ResetHint::NotReset) {
                    std::sync::Arc::make_mut(&mut histogram).reset_hint = ResetHint::Unknown;
                }
                samples.histograms.push((time, histogram));
            }
        }
    }
    RangeSeries { samples, drops_name: column.drops_name }
}
