//! Functions of single values.

use std::sync::Arc;

use super::matrix::{ABSENT, Column, Values, is_absent};
use super::{Evaluator, Result, Steps};
use crate::ast::{Call, Expr};
use crate::calendar::DateTime;
use crate::histogram::Histogram;

/// The lesser, or NaN if either is.
pub(super) fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The greater, or NaN if either is.
pub(super) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

pub(super) fn float_function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "sgn" => |value| {
            if value > 0.0 {
                1.0
            } else if value < 0.0 {
                -1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

pub(super) fn date_function(name: &str) -> Option<fn(DateTime) -> i64> {
    Some(match name {
        "days_in_month" => DateTime::days_in_month,
        "day_of_month" => |time| time.day,
        "day_of_week" => DateTime::day_of_week,
        "day_of_year" => DateTime::day_of_year,
        "hour" => DateTime::hour,
        "minute" => DateTime::minute,
        "month" => |time| time.month,
        "year" => |time| time.year,
        _ => return None,
    })
}

pub(super) fn histogram_function(name: &str) -> Option<fn(&Histogram) -> f64> {
    Some(match name {
        "histogram_count" => |histogram| histogram.count,
        "histogram_sum" => |histogram| histogram.sum,
        "histogram_avg" => Histogram::avg,
        "histogram_stddev" => Histogram::stddev,
        "histogram_stdvar" => Histogram::stdvar,
        _ => return None,
    })
}

impl Evaluator<'_> {
    /// A function of a date: of each float as seconds since the epoch, or of the time of evaluation.
    pub(super) fn date_call(&self, call: &Call, function: fn(DateTime) -> i64, steps: Steps) -> Result<Values> {
        if let Some(arg) = call.args.first() {
            return self.each_float(arg, steps, |_, value| Some(function(DateTime::from_seconds(value as i64)) as f64));
        }
        // Prometheus cuts the milliseconds off towards zero.
        let floats = steps.times().map(|time| function(DateTime::from_seconds(time / 1000)) as f64).collect();
        Ok(Values::Vector(vec![Column { floats, ..Column::default() }]))
    }

    /// A number about each histogram; floats are left out.
    pub(super) fn histogram_statistic(
        &self,
        arg: &Expr,
        function: fn(&Histogram) -> f64,
        steps: Steps,
    ) -> Result<Values> {
        let mut columns = self.vector(arg, steps)?;
        for column in &mut columns {
            self.drop_name(column);
            let histograms: Vec<Option<Arc<Histogram>>> = std::mem::take(&mut column.histograms);
            for (step, float) in column.floats.iter_mut().enumerate() {
                let histogram = histograms.get(step).and_then(Option::as_deref);
                *float = if is_absent(*float) { histogram.map_or(ABSENT, function) } else { ABSENT };
            }
        }
        self.finish(columns)
    }
}
