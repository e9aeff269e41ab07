//! What a script consists of.

use std::sync::Arc;

use regex::Regex;

use crate::histogram::Histogram;
use crate::labels::Labels;

/// One command of a script.
#[derive(Clone, Debug)]
pub enum Command {
    /// Forget all samples.
    Clear {
        /// Line of the script, from 1.
        line: usize,
    },
    /// Add samples.
    Load(Load),
    /// Ask, and compare the answer.
    Eval(Box<Eval>),
}

/// `load STEP` with its series.
#[derive(Clone, Debug)]
pub struct Load {
    /// Line of the script, from 1.
    pub line: usize,
    /// Milliseconds from point to point; the first is at 0.
    pub step: i64,
    /// Whether classic histograms are also loaded as native ones with custom buckets (`load_with_nhcb`).
    pub with_custom_buckets: bool,
    /// The series.
    pub series: Vec<LoadedLine>,
}

/// One line of a [`Load`].
#[derive(Clone, Debug)]
pub struct LoadedLine {
    /// Line of the script, from 1.
    pub line: usize,
    /// Labels with the metric's name.
    pub labels: Labels,
    /// One point for each step, `None` for a gap.
    pub points: Vec<Option<Point>>,
    /// Start time of each point relative to its time, in milliseconds (from an `@st` line).
    pub start_offsets: Vec<Option<i64>>,
}

/// One sample as written.
#[derive(Clone, Debug)]
pub enum Point {
    /// A number; `stale` is the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// Its data.
        histogram: Arc<Histogram>,
        /// Whether the counter reset hint was given, so that it is to be compared.
        with_hint: bool,
    },
}

/// `eval` with its expectations.
#[derive(Clone, Debug)]
pub struct Eval {
    /// Line of the script, from 1.
    pub line: usize,
    /// The query.
    pub query: String,
    /// For which times.
    pub when: When,
    /// What the answer must be.
    pub expectations: Expectations,
}

/// The times of a query in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// One time.
    Instant(i64),
    /// Steps from `start` to `end`.
    Range {
        /// First step.
        start: i64,
        /// No step after this.
        end: i64,
        /// From step to step.
        step: i64,
    },
}

/// What an answer must be.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// The query must fail, and so.
    pub failure: Option<Message>,
    /// Each must be among the warnings, and each warning among these.
    pub warnings: Vec<Message>,
    /// Each must be among the infos, and each info among these.
    pub infos: Vec<Message>,
    /// There must be at least one warning (`eval_warn`).
    pub some_warning: bool,
    /// There must be at least one info (`eval_info`).
    pub some_info: bool,
    /// There must be no warnings.
    pub no_warnings: bool,
    /// There must be no infos.
    pub no_infos: bool,
    /// The series must come in the order of the script.
    pub ordered: bool,
    /// The value.
    pub result: ExpectedValue,
}

/// A message, as it must be.
#[derive(Clone, Debug)]
pub enum Message {
    /// Whatever.
    Any,
    /// Word by word.
    Text(String),
    /// Matched somewhere.
    Regex(Regex),
}

/// The value of an answer, as it must be.
#[derive(Clone, Debug)]
pub enum ExpectedValue {
    /// A scalar.
    Scalar(f64),
    /// A string.
    String(String),
    /// Series with one point each for an instant query, or one for each step.
    Series(Vec<ExpectedSeries>),
    /// An instant query that selects a range: series with a point for each step between the times of samples.
    RangeVector {
        /// First time.
        start: i64,
        /// Last time.
        end: i64,
        /// From time to time.
        step: i64,
        /// The series.
        series: Vec<ExpectedSeries>,
    },
}

impl Default for ExpectedValue {
    fn default() -> Self {
        Self::Series(Vec::new())
    }
}

/// One series of an answer, as it must be.
#[derive(Clone, Debug)]
pub struct ExpectedSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its points, `None` for a gap.
    pub points: Vec<Option<Point>>,
}
