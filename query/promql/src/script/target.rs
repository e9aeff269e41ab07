//! What a script is run against.

use std::sync::Arc;

use super::command::Eval;
use crate::histogram::{Histogram, RenderedBucket};
use crate::labels::Labels;
use crate::series::Series;

/// Something that can load samples and answer queries: the engine over memory, or a server over HTTP. An error is the
/// text that a user would see.
pub trait Target {
    /// Forgets all samples.
    fn clear(&mut self) -> Result<(), String>;

    /// Adds samples; they are seen by the next query. Later loads may be older; at the same time the last one counts.
    fn load(&mut self, series: Vec<Series>) -> Result<(), String>;

    /// Asks for one time, in milliseconds since the epoch.
    fn instant(&mut self, query: &str, time: i64) -> Result<Answer, String>;

    /// Asks for a range of times.
    fn range(&mut self, query: &str, start: i64, end: i64, step: i64) -> Result<Answer, String>;

    /// Why this evaluation cannot be asked of this target, if so.
    fn skips(&self, _eval: &Eval) -> Option<String> {
        None
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its value.
    pub value: Value,
    /// Warnings, as `PromQL warning: …`.
    pub warnings: Vec<String>,
    /// Notes, as `PromQL info: …`.
    pub infos: Vec<String>,
}

/// The value of an answer.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A string.
    String(String),
    /// One sample for each series.
    Vector(Vec<TargetSample>),
    /// Samples over time for each series.
    Matrix(Vec<TargetSeries>),
}

/// One series of a vector.
#[derive(Clone, Debug)]
pub struct TargetSample {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: SampleValue,
}

/// One series of a matrix.
#[derive(Clone, Debug)]
pub struct TargetSeries {
    /// Its labels.
    pub labels: Labels,
    /// Times in milliseconds and values, ascending.
    pub samples: Vec<(i64, SampleValue)>,
}

/// One value.
#[derive(Clone, Debug)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A histogram with all its fields; compared exactly.
    Histogram(Arc<Histogram>),
    /// A histogram as the HTTP API gives it; the expected one is rendered likewise.
    Rendered(RenderedHistogram),
}

/// A histogram without schema, zero threshold and hint.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedHistogram {
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Buckets with observations, ascending.
    pub buckets: Vec<RenderedBucket>,
}

impl From<&Histogram> for RenderedHistogram {
    fn from(histogram: &Histogram) -> Self {
        Self { count: histogram.count, sum: histogram.sum, buckets: histogram.rendered_buckets() }
    }
}
