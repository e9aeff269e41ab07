//! Function calls.

use super::matrix::{ABSENT, Column, Values, is_absent};
use super::{Evaluator, HistogramView, QueryError, Result, Steps, elementwise};
use crate::ast::{Call, Expr, ExprKind, Position, ValueType};

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &Call, _position: Position, steps: Steps) -> Result<Values> {
        let name = call.function.name;
        match name {
            "absent_over_time" => return self.absent_over_time(call, steps),
            _ if call.args.iter().any(|arg| arg.value_type() == ValueType::Matrix) => {
                return self.range_call(call, steps);
            }
            "time" => return Ok(Values::Scalar(steps.times().map(|time| time as f64 / 1000.0).collect())),
            "pi" => return Ok(constant(std::f64::consts::PI, steps)),
            "start" => return Ok(constant(self.query.start as f64 / 1000.0, steps)),
            "end" => return Ok(constant(self.query_end as f64 / 1000.0, steps)),
            "step" => return Ok(constant(self.step_seconds(), steps)),
            "range" => return Ok(constant(self.range_seconds(), steps)),
            "min_of" => return self.of_two(call, steps, elementwise::min),
            "max_of" => return self.of_two(call, steps, elementwise::max),
            "scalar" => return Ok(Values::Scalar(to_scalar(&self.vector(&call.args[0], steps)?, steps))),
            "vector" => {
                let floats = self.scalar(&call.args[0], steps)?;
                return Ok(Values::Vector(vec![Column { floats, ..Column::default() }]));
            }
            "absent" => return self.absent(call, steps),
            "timestamp" => return self.timestamp(&call.args[0], steps),
            "label_replace" => return self.label_replace(&call.args, steps),
            "label_join" => return self.label_join(&call.args, steps),
            "info" => return self.info(call, steps),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => return self.sort(call, steps),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                return self.viewing(HistogramView::Buckets, || self.histogram_call(call, steps));
            }
            _ => {}
        }
        if let Some(function) = elementwise::date_function(name) {
            return self.date_call(call, function, steps);
        }
        if let Some(function) = elementwise::histogram_function(name) {
            let arg = &call.args[0];
            if !matches!(name, "histogram_count" | "histogram_sum" | "histogram_avg") {
                return self.histogram_statistic(arg, function, steps);
            }
            return self.viewing(HistogramView::Statistics, || self.histogram_statistic(arg, function, steps));
        }
        if let Some(function) = elementwise::float_function(name) {
            return self.each_float(&call.args[0], steps, |_, value| Some(function(value)));
        }
        self.bounded_call(call, steps)
    }

    /// A function of two scalars.
    fn of_two(&self, call: &Call, steps: Steps, function: fn(f64, f64) -> f64) -> Result<Values> {
        let (left, right) = (self.scalar(&call.args[0], steps)?, self.scalar(&call.args[1], steps)?);
        Ok(Values::Scalar(left.into_iter().zip(right).map(|(left, right)| function(left, right)).collect()))
    }

    /// `round` and `clamp`, whose scalars may differ from step to step.
    fn bounded_call(&self, call: &Call, steps: Steps) -> Result<Values> {
        let mut scalars = Vec::new();
        for arg in &call.args[1..] {
            scalars.push(self.scalar(arg, steps)?);
        }
        let arg = |index: usize, step: usize| scalars.get(index).map_or(f64::NAN, |values: &Vec<f64>| values[step]);
        let clamp = |value: f64, min: f64, max: f64| {
            (min <= max || min.is_nan() || max.is_nan()).then(|| elementwise::max(min, elementwise::min(max, value)))
        };
        let vector = &call.args[0];
        match call.function.name {
            "round" => self.each_float(vector, steps, |step, value| {
                let nearest = if scalars.is_empty() { 1.0 } else { arg(0, step) };
                // The inverse loses less accuracy.
                let inverse = 1.0 / nearest;
                Some((value * inverse + 0.5).floor() / inverse)
            }),
            "clamp" => self.each_float(vector, steps, |step, value| clamp(value, arg(0, step), arg(1, step))),
            "clamp_min" => self.each_float(vector, steps, |step, value| clamp(value, arg(0, step), f64::INFINITY)),
            "clamp_max" => self.each_float(vector, steps, |step, value| clamp(value, f64::NEG_INFINITY, arg(0, step))),
            name => Err(QueryError::Execution(format!("unknown function {name}"))),
        }
    }

    /// A function of each float; histograms are left out.
    pub(super) fn each_float(
        &self,
        arg: &Expr,
        steps: Steps,
        function: impl Fn(usize, f64) -> Option<f64>,
    ) -> Result<Values> {
        let mut columns = self.vector(arg, steps)?;
        for column in &mut columns {
            self.drop_name(column);
            column.histograms = Vec::new();
            for (step, value) in column.floats.iter_mut().enumerate() {
                if !is_absent(*value) {
                    *value = function(step, *value).unwrap_or(ABSENT);
                }
            }
        }
        self.finish(columns)
    }

    /// When samples were taken; of anything but a selector, the time of evaluation.
    fn timestamp(&self, arg: &Expr, steps: Steps) -> Result<Values> {
        let mut columns = if let ExprKind::Vector(selector) = &arg.unwrapped().kind {
            self.sample_times(selector, steps)?
        } else {
            let mut columns = self.vector(arg, steps)?;
            for column in &mut columns {
                for (step, time) in steps.times().enumerate() {
                    if column.has(step) {
                        column.floats[step] = time as f64 / 1000.0;
                    }
                }
                column.histograms = Vec::new();
            }
            columns
        };
        columns.iter_mut().for_each(|column| self.drop_name(column));
        self.finish(columns)
    }
}

fn constant(value: f64, steps: Steps) -> Values {
    Values::Scalar(vec![value; steps.count])
}

/// The only float of each step, or NaN.
fn to_scalar(columns: &[Column], steps: Steps) -> Vec<f64> {
    let only = |step: usize| {
        let mut floats = columns.iter().map(|column| column.floats[step]).filter(|value| !is_absent(*value));
        match (floats.next(), floats.next()) {
            (Some(value), None) => value,
            _ => f64::NAN,
        }
    };
    (0..steps.count).map(only).collect()
}
