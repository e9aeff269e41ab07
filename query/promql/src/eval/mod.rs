//! Evaluation. Every expression is evaluated once for all steps, over columns of values.

mod absent;
mod aggregate;
mod binary;
mod call;
mod classic;
mod durations;
mod elementwise;
mod extended;
mod info;
mod invariant;
mod kahan;
mod labels;
mod matching;
mod matrix;
mod operators;
mod over_time;
mod parallel;
mod quantile;
mod rate;
mod regression;
mod selector;
mod sort;
mod steps;
mod subquery;
mod top;
mod window;
mod xxhash;

use std::cell::{Cell, RefCell};

use matrix::{Column, Sample, Values, is_absent, merge_same_labels};
pub(crate) use steps::Steps;

use crate::annotations::{Annotations, Note};
use crate::ast::{At, Expr, ExprKind, Position, ValueType};
use crate::engine::{Check, EngineOptions, LimitExceeded, QueryError};
use crate::series::SeriesSource;
use crate::value::{MatrixSeries, Value, VectorSample};

type Result<T> = std::result::Result<T, QueryError>;

/// Evaluates one query.
pub(crate) struct Evaluator<'a> {
    source: &'a dyn SeriesSource,
    options: &'a EngineOptions,
    check: Check<'a>,
    /// The steps of the query, not of a subquery in it.
    query: Steps,
    query_end: i64,
    is_range: bool,
    annotations: RefCell<Annotations>,
    /// Samples that are held.
    samples: Cell<usize>,
    /// What the functions around the current expression look at.
    view: Cell<HistogramView>,
}

/// What of the histograms of a selector is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HistogramView {
    /// Anything.
    #[default]
    Any,
    /// Counts and sums. Prometheus does not read the buckets then, so it looks for resets while it reads.
    Statistics,
    /// The buckets, whatever functions are within.
    Buckets,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        source: &'a dyn SeriesSource,
        options: &'a EngineOptions,
        check: Check<'a>,
        query: Steps,
        query_end: i64,
        is_range: bool,
    ) -> Self {
        let (annotations, samples, view) = (RefCell::default(), Cell::default(), Cell::default());
        Self { source, options, check, query, query_end, is_range, annotations, samples, view }
    }

    pub(crate) fn into_annotations(self) -> Annotations {
        self.annotations.into_inner()
    }

    /// The answer to the whole query.
    pub(crate) fn answer(&self, expr: &Expr) -> Result<Value> {
        if expr.value_type() == ValueType::Matrix {
            return self.range_vector(expr);
        }
        match self.eval(expr, self.query)? {
            Values::Scalar(values) if self.is_range => {
                let floats = self.query.times().zip(values).collect();
                Ok(Value::Matrix(vec![MatrixSeries { floats, ..MatrixSeries::default() }]))
            }
            Values::Scalar(values) => Ok(Value::Scalar(values.first().copied().unwrap_or(f64::NAN))),
            Values::Vector(columns) => {
                let columns = self.without_dropped_names(columns)?;
                Ok(if self.is_range { self.matrix(columns) } else { vector(&columns) })
            }
        }
    }

    /// With delayed removal, names go at the very end.
    fn without_dropped_names(&self, mut columns: Vec<Column>) -> Result<Vec<Column>> {
        if !self.options.delayed_name_removal {
            return Ok(columns);
        }
        for column in columns.iter_mut().filter(|column| column.drops_name) {
            column.labels = column.labels.without_metadata();
        }
        merge_same_labels(columns)
    }

    fn matrix(&self, columns: Vec<Column>) -> Value {
        let mut series: Vec<MatrixSeries> = columns
            .into_iter()
            .filter_map(|column| {
                let times = self.query.times();
                let floats: Vec<_> = times.zip(&column.floats).filter(|(_, value)| !is_absent(**value)).collect();
                let floats = floats.into_iter().map(|(time, value)| (time, *value)).collect::<Vec<_>>();
                let histograms = self.query.times().zip(column.histograms);
                let histograms: Vec<_> = histograms.filter_map(|(time, value)| Some((time, value?))).collect();
                let is_empty = floats.is_empty() && histograms.is_empty();
                (!is_empty).then_some(MatrixSeries { labels: column.labels, floats, histograms })
            })
            .collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Value::Matrix(series)
    }

    /// The values of an expression that is no range vector and no string.
    fn eval(&self, expr: &Expr, steps: Steps) -> Result<Values> {
        self.check()?;
        let before = self.samples.get();
        let values = if steps.count > 1 && invariant::is_worth_once(expr) {
            self.eval_node(expr, steps.first())?.repeated(steps.count)
        } else {
            self.eval_node(expr, steps)?
        };
        self.samples.set(before);
        self.hold(values.weight())?;
        Ok(values)
    }

    fn eval_node(&self, expr: &Expr, steps: Steps) -> Result<Values> {
        match &expr.kind {
            ExprKind::Number(number) => {
                self.hold(steps.count)?;
                Ok(Values::Scalar(vec![number.value; steps.count]))
            }
            ExprKind::Vector(selector) => Ok(Values::Vector(self.vector_selector(selector, steps)?)),
            ExprKind::Paren(inner) => self.eval(inner, steps),
            ExprKind::Call(call) => self.call(call, expr.position, steps),
            ExprKind::Aggregate(aggregate) => Ok(Values::Vector(self.aggregate(aggregate, expr.position, steps)?)),
            ExprKind::Binary(binary) => self.binary(binary, expr.position, steps),
            ExprKind::Unary(unary) => {
                let values = self.eval(&unary.operand, steps)?;
                if unary.negates { self.negate(values) } else { Ok(values) }
            }
            ExprKind::String(_) | ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                Err(QueryError::Execution("unexpected type of expression".to_owned()))
            }
        }
    }

    fn vector(&self, expr: &Expr, steps: Steps) -> Result<Vec<Column>> {
        match self.eval(expr, steps)? {
            Values::Vector(columns) => Ok(columns),
            Values::Scalar(_) => Err(QueryError::Execution("expected an instant vector".to_owned())),
        }
    }

    fn scalar(&self, expr: &Expr, steps: Steps) -> Result<Vec<f64>> {
        match self.eval(expr, steps)? {
            Values::Scalar(values) => Ok(values),
            Values::Vector(_) => Err(QueryError::Execution("expected a scalar".to_owned())),
        }
    }

    /// Evaluates something of whose histograms only this is used.
    fn viewing<T>(&self, view: HistogramView, evaluate: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.view.get();
        if before != HistogramView::Buckets {
            self.view.set(view);
        }
        let result = evaluate();
        self.view.set(before);
        result
    }

    fn check(&self) -> Result<()> {
        (self.check)().map_err(QueryError::Ended)
    }

    /// Counts samples that will be held against the limit.
    fn hold(&self, samples: usize) -> Result<()> {
        let held = self.samples.get().saturating_add(samples);
        let max = self.options.limits.max_samples;
        if held > max {
            return Err(QueryError::Limit(LimitExceeded::samples(max)));
        }
        self.samples.set(held);
        Ok(())
    }

    fn note(&self, note: &Note<'_>, position: Position) {
        self.annotations.borrow_mut().add(note, position);
    }

    /// The time of an `@`.
    fn time_of(&self, at: At) -> i64 {
        match at {
            At::Time(millis) => millis.clamp(i64::MIN / 8, i64::MAX / 8),
            At::Start => self.query.start,
            At::End => self.query_end,
        }
    }

    /// Says that a column no longer holds what its name says.
    fn drop_name(&self, column: &mut Column) {
        if !self.options.delayed_name_removal {
            column.labels = column.labels.without_metadata();
        }
        column.drops_name = true;
    }

    /// What remains of columns that were computed anew: those with values, each label set once.
    fn finish(&self, mut columns: Vec<Column>) -> Result<Values> {
        columns.retain(|column| !column.is_empty());
        Ok(Values::Vector(merge_same_labels(columns)?))
    }

    fn negate(&self, values: Values) -> Result<Values> {
        let columns = match values {
            Values::Scalar(values) => return Ok(Values::Scalar(values.into_iter().map(|value| -value).collect())),
            Values::Vector(columns) => columns,
        };
        let negated = columns.into_iter().map(|mut column| {
            self.drop_name(&mut column);
            column.floats.iter_mut().filter(|value| !is_absent(**value)).for_each(|value| *value = -*value);
            for histogram in column.histograms.iter_mut().flatten() {
                *histogram = histogram.negate().into();
            }
            column
        });
        self.finish(negated.collect())
    }
}

fn vector(columns: &[Column]) -> Value {
    let samples = columns.iter().filter_map(|column| {
        let value = column.at(0)?.to_value();
        Some(VectorSample { labels: column.labels.clone(), value })
    });
    Value::Vector(samples.collect())
}
