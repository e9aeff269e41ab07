//! `histogram_quantile` and its like, over classic histograms (series of buckets) and native ones.

use hashbrown::HashMap;
use std::sync::Arc;

use super::matrix::{Column, Values, is_absent};
use super::{Evaluator, Result, Steps};
use crate::annotations::Note;
use crate::ast::{Call, Expr, ExprKind, Position};
use crate::histogram::{ClassicBucket, Histogram, NanObservations, classic_fraction, classic_quantile};
use crate::labels::Labels;
use crate::number::format_open_metrics;

const BUCKET_LABEL: &str = "le";

/// A classic histogram: columns of cumulative counts.
#[derive(Debug, Default)]
struct Buckets {
    labels: Labels,
    /// Upper bounds and the places of their columns.
    bounds: Vec<(f64, usize)>,
}

/// All histograms in a vector.
struct Histograms {
    columns: Vec<Column>,
    classic: Vec<Buckets>,
    /// The classic histogram with the same name and labels as the native ones of a column.
    rivals: Vec<Option<usize>>,
}

/// What to calculate at a step.
enum Wanted {
    Quantile(f64),
    Fraction(f64, f64),
}

impl Evaluator<'_> {
    pub(super) fn histogram_call(&self, call: &Call, steps: Steps) -> Result<Values> {
        let args = &call.args;
        match call.function.name {
            "histogram_quantile" => {
                let quantiles = self.quantiles(&args[0], steps)?;
                let histograms = self.histograms(&args[1], steps)?;
                let places = (args[0].position, args[1].position);
                let columns = self.calculate(&histograms, steps, places, |step| Wanted::Quantile(quantiles[step]));
                self.finish(columns)
            }
            "histogram_fraction" => {
                let (lower, upper) = (self.scalar(&args[0], steps)?, self.scalar(&args[1], steps)?);
                let histograms = self.histograms(&args[2], steps)?;
                let places = (args[0].position, args[2].position);
                let wanted = |step: usize| Wanted::Fraction(lower[step], upper[step]);
                let columns = self.calculate(&histograms, steps, places, wanted);
                self.finish(columns)
            }
            _ => self.histogram_quantiles(args, steps),
        }
    }

    /// Several quantiles at once, told apart by a label.
    fn histogram_quantiles(&self, args: &[Expr], steps: Steps) -> Result<Values> {
        let ExprKind::String(label) = &args[1].unwrapped().kind else { return Ok(Values::Vector(Vec::new())) };
        let mut all_quantiles = Vec::new();
        for arg in &args[2..] {
            all_quantiles.push(self.quantiles(arg, steps)?);
        }
        let histograms = self.histograms(&args[0], steps)?;
        let places = (args[0].position, args[1].position);
        let mut results: Vec<Column> = Vec::new();
        for quantiles in all_quantiles {
            for column in self.calculate(&histograms, steps, places, |step| Wanted::Quantile(quantiles[step])) {
                // A quantile that changes makes another series at every change.
                let mut by_value: Vec<(u64, Column)> = Vec::new();
                for (step, value) in column.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                    let bits = quantiles[step].to_bits();
                    let place = by_value.iter().position(|(other, _)| *other == bits).unwrap_or_else(|| {
                        let labels = column.labels.with(label, &format_open_metrics(quantiles[step]));
                        let drops_name = column.drops_name;
                        by_value.push((bits, Column { drops_name, ..Column::empty(labels, steps.count) }));
                        by_value.len() - 1
                    });
                    by_value[place].1.floats[step] = *value;
                }
                results.extend(by_value.into_iter().map(|(_, column)| column));
            }
        }
        self.finish(results)
    }

    fn quantiles(&self, arg: &Expr, steps: Steps) -> Result<Vec<f64>> {
        let quantiles = self.scalar(arg, steps)?;
        for quantile in quantiles.iter().filter(|quantile| !(0.0..=1.0).contains(*quantile)) {
            self.note(&Note::InvalidQuantile(*quantile), arg.position);
        }
        Ok(quantiles)
    }

    /// The name to tell in a note; without delayed removal it is gone by then.
    fn noted_name<'a>(&self, labels: &'a Labels) -> &'a str {
        if self.options.delayed_name_removal { labels.metric_name() } else { "" }
    }

    fn histograms(&self, arg: &Expr, steps: Steps) -> Result<Histograms> {
        let columns = self.vector(arg, steps)?;
        let mut classic: Vec<Buckets> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for (index, column) in columns.iter().enumerate() {
            if column.floats.iter().all(|value| is_absent(*value)) {
                continue;
            }
            let bound = column.labels.get(BUCKET_LABEL);
            let Some(upper) = parse_bound(bound) else {
                let metric = self.noted_name(&column.labels);
                self.note(&Note::BadBucketLabel { metric, value: bound }, arg.position);
                continue;
            };
            let labels = column.labels.filtered(|name| name != BUCKET_LABEL);
            let place = *places.entry(labels.clone()).or_insert_with(|| {
                classic.push(Buckets { labels, bounds: Vec::new() });
                classic.len() - 1
            });
            classic[place].bounds.push((upper, index));
        }
        let rival = |column: &Column| places.get(&column.labels).copied().filter(|_| !column.histograms.is_empty());
        let rivals = columns.iter().map(rival).collect();
        Ok(Histograms { columns, classic, rivals })
    }

    fn calculate(
        &self,
        histograms: &Histograms,
        steps: Steps,
        places: (Position, Position),
        wanted: impl Fn(usize) -> Wanted,
    ) -> Vec<Column> {
        let columns = &histograms.columns;
        let conflict = |native: usize, step: usize| {
            let rival = histograms.rivals[native].map(|rival| &histograms.classic[rival]);
            rival.is_some_and(|rival| rival.bounds.iter().any(|(_, index)| !is_absent(columns[*index].floats[step])))
        };
        let mut results = Vec::new();
        for (native, source) in columns.iter().enumerate().filter(|(_, column)| !column.histograms.is_empty()) {
            let mut column = Column::empty(source.labels.clone(), steps.count);
            self.drop_name(&mut column);
            for (step, histogram) in source.histograms.iter().enumerate() {
                let Some(histogram) = histogram.as_ref().filter(|_| is_absent(source.floats[step])) else { continue };
                if conflict(native, step) {
                    let metric = self.noted_name(&source.labels);
                    self.note(&Note::MixedClassicNative { metric }, places.1);
                    continue;
                }
                column.floats[step] = self.of_native(histogram, &wanted(step), &column.labels, places.0);
            }
            results.push(column);
        }
        let mut natives: Vec<Vec<usize>> = vec![Vec::new(); histograms.classic.len()];
        for (native, rival) in histograms.rivals.iter().enumerate() {
            rival.iter().for_each(|place| natives[*place].push(native));
        }
        for (buckets, natives) in histograms.classic.iter().zip(natives) {
            let mut column = Column::empty(buckets.labels.clone(), steps.count);
            self.drop_name(&mut column);
            for step in 0..steps.count {
                let conflicts = natives.iter().any(|native| columns[*native].histograms[step].is_some());
                let counts: Vec<ClassicBucket> = buckets
                    .bounds
                    .iter()
                    .map(|(upper, index)| ClassicBucket { upper: *upper, count: columns[*index].floats[step] })
                    .filter(|bucket| !is_absent(bucket.count))
                    .collect();
                if !counts.is_empty() && !conflicts {
                    column.floats[step] =
                        self.of_classic(counts, &wanted(step), &buckets.labels, (steps.time(step), places.1));
                }
            }
            results.push(column);
        }
        results
    }

    fn of_native(&self, histogram: &Arc<Histogram>, wanted: &Wanted, labels: &Labels, position: Position) -> f64 {
        let metric = labels.metric_name();
        match *wanted {
            Wanted::Quantile(quantile) => {
                let result = histogram.quantile(quantile);
                match result.nan_observations {
                    Some(NanObservations::Result) => self.note(&Note::QuantileNan { metric }, position),
                    Some(NanObservations::Skew) => self.note(&Note::QuantileSkewed { metric }, position),
                    None => {}
                }
                result.value
            }
            Wanted::Fraction(lower, upper) => {
                let result = histogram.fraction(lower, upper);
                if result.has_nan_observations {
                    self.note(&Note::FractionNan { metric }, position);
                }
                result.value
            }
        }
    }

    fn of_classic(&self, buckets: Vec<ClassicBucket>, wanted: &Wanted, labels: &Labels, place: (i64, Position)) -> f64 {
        let (time, position) = place;
        match *wanted {
            Wanted::Quantile(quantile) => {
                let result = classic_quantile(quantile, buckets);
                if let Some(fix) = result.fix {
                    let metric = self.noted_name(labels);
                    self.note(&Note::ForcedMonotonicity { metric, time, fix }, position);
                }
                result.value
            }
            Wanted::Fraction(lower, upper) => classic_fraction(lower, upper, buckets),
        }
    }
}

/// The bound of a bucket.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}
