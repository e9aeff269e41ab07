//! What a query answers.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::labels::Labels;

/// One sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// One series of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// Its value at the time of the query.
    pub value: SampleValue,
}

/// One series of a range vector, or of the answer to a range query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatrixSeries {
    /// Its labels.
    pub labels: Labels,
    /// Times in milliseconds, and floats.
    pub floats: Vec<(i64, f64)>,
    /// Times in milliseconds, and native histograms.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A string.
    String(String),
    /// One sample for each series, in the order that `sort` and `topk` give.
    Vector(Vec<VectorSample>),
    /// Series in the order of their labels.
    Matrix(Vec<MatrixSeries>),
}

/// A value and what there is to tell about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Each begins with `PromQL warning: ` and ends with its place in the query.
    pub warnings: Vec<String>,
    /// Each begins with `PromQL info: ` and ends with its place in the query.
    pub infos: Vec<String>,
}
