//! The engine: from the text of a query to its answer.

use std::fmt;
use std::ops::Deref;

use crate::ast::{Expr, ExprKind, ValueType};
use crate::eval::{Evaluator, Steps};
use crate::parse::{ParseError, ParseOptions, parse};
use crate::series::{SeriesSource, SourceError};
use crate::value::{Answer, Value};

/// How much a query may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Samples held in memory at once.
    pub max_samples: usize,
    /// Steps of a range query.
    pub max_points: usize,
    /// Series that one selector may yield.
    pub max_series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_samples: 50_000_000, max_points: 11_000, max_series: usize::MAX }
    }
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// What the parser accepts.
    pub parse: ParseOptions,
    /// How old a sample may be to stand for an instant, in milliseconds.
    pub lookback_delta: i64,
    /// Keeps metric names until the whole query is evaluated, so that they can be used within it.
    pub delayed_name_removal: bool,
    /// Takes start times of series as evidence of counter resets.
    pub use_start_timestamps: bool,
    /// Knows counters by their `__type__` label instead of by their names.
    pub type_and_unit_labels: bool,
    /// The step of a subquery without one, in milliseconds.
    pub default_subquery_step: i64,
    /// How much a query may use.
    pub limits: Limits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            parse: ParseOptions::default(),
            lookback_delta: 300_000,
            delayed_name_removal: false,
            use_start_timestamps: false,
            type_and_unit_labels: false,
            default_subquery_step: 60_000,
            limits: Limits::default(),
        }
    }
}

/// One of the [`Limits`], or one that the source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// [`Limits::max_samples`].
    Samples,
    /// [`Limits::max_points`].
    Points,
    /// [`Limits::max_series`].
    Series,
    /// A limit of the source, which its message names.
    Source,
}

impl LimitKind {
    /// How a user gets below the limit, or an operator raises it. A limit of the source says that itself.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Samples => "select fewer series, a shorter range or a larger step, or raise the limit on samples",
            Self::Points => "take a larger step or a shorter range, or raise the limit on points",
            Self::Series => "add matchers that select fewer series, or raise the limit on series",
            Self::Source => "",
        }
    }
}

/// A limit that a query would exceed. As text it says what was wanted and what the limit is; a reference to it is a
/// reference to that text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Which limit.
    pub limit: LimitKind,
    /// Its value; unknown if it is the source's.
    pub max: Option<usize>,
    message: String,
}

impl LimitExceeded {
    pub(crate) fn samples(max: usize) -> Self {
        let message = "query processing would load too many samples into memory in query execution";
        Self { limit: LimitKind::Samples, max: Some(max), message: format!("{message} (limit: {max})") }
    }

    pub(crate) fn series(found: usize, max: usize) -> Self {
        let message = format!("a selector matches {found} series, more than the limit of {max}");
        Self { limit: LimitKind::Series, max: Some(max), message }
    }

    fn points(max: usize) -> Self {
        let message = format!(
            "exceeded maximum resolution of {max} points per timeseries. Try decreasing the query resolution (?step=XX)"
        );
        Self { limit: LimitKind::Points, max: Some(max), message }
    }

    fn source(message: String) -> Self {
        Self { limit: LimitKind::Source, max: None, message }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Deref for LimitExceeded {
    type Target = str;

    fn deref(&self) -> &str {
        &self.message
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It is no query.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Its parameters make no sense.
    #[error("{0}")]
    Parameter(String),
    /// It cannot be evaluated on this data.
    #[error("{0}")]
    Execution(String),
    /// It would use more than it may.
    #[error("{0}")]
    Limit(LimitExceeded),
    /// It took too long, or its client is gone.
    #[error("{0}")]
    Ended(String),
    /// The samples could not be had.
    #[error("{0}")]
    Storage(String),
}

impl From<SourceError> for QueryError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Ended(message) => Self::Ended(message),
            SourceError::Limit(message) => Self::Limit(LimitExceeded::source(message)),
            SourceError::Storage(message) => Self::Storage(message),
        }
    }
}

/// When a query is evaluated, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once.
    Instant(i64),
    /// At every step from the start to the end.
    Range {
        /// First step.
        start: i64,
        /// No step is later.
        end: i64,
        /// Distance of the steps.
        step: i64,
    },
}

/// Says that a query should end, and why; asked often and from several threads.
pub type Check<'a> = &'a (dyn Fn() -> Result<(), String> + Sync);

/// Evaluates queries.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    options: EngineOptions,
}

/// Times beyond are refused, so that arithmetics on them cannot overflow.
const MAX_TIME: i64 = i64::MAX / 8;

impl Engine {
    /// An engine with these options.
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// Its options.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Parses and checks a query.
    pub fn parse(&self, query: &str) -> Result<Expr, ParseError> {
        parse(query, &self.options.parse)
    }

    /// Evaluates a query once.
    pub fn instant(&self, source: &dyn SeriesSource, query: &str, time: i64) -> Result<Answer, QueryError> {
        self.run(source, query, When::Instant(time), &|| Ok(()))
    }

    /// Evaluates a query at every step.
    pub fn range(
        &self,
        source: &dyn SeriesSource,
        query: &str,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<Answer, QueryError> {
        self.run(source, query, When::Range { start, end, step }, &|| Ok(()))
    }

    /// Evaluates a query as long as the check lets it.
    pub fn run(
        &self,
        source: &dyn SeriesSource,
        query: &str,
        when: When,
        check: Check<'_>,
    ) -> Result<Answer, QueryError> {
        let expr = self.parse(query)?;
        let (steps, end) = self.steps(when)?;
        let is_range = matches!(when, When::Range { .. });
        let value_type = expr.value_type();
        if is_range && !matches!(value_type, ValueType::Vector | ValueType::Scalar) {
            let message = "invalid expression type";
            let (given, only) = (value_type.documented(), "must be Scalar or instant Vector");
            return Err(QueryError::Parameter(format!("{message} {given:?} for range query, {only}")));
        }
        let evaluator = Evaluator::new(source, &self.options, check, steps, end, is_range);
        let value = if let ExprKind::String(text) = &expr.unwrapped().kind {
            Value::String(text.clone())
        } else {
            evaluator.answer(&expr)?
        };
        let (warnings, infos) = evaluator.into_annotations().texts(query);
        Ok(Answer { value, warnings, infos })
    }

    fn steps(&self, when: When) -> Result<(Steps, i64), QueryError> {
        let (start, end, step) = match when {
            When::Instant(time) => (time, time, 1),
            When::Range { start, end, step } => (start, end, step),
        };
        let refuse = |message: &str| Err(QueryError::Parameter(message.to_owned()));
        if step <= 0 {
            return refuse("zero or negative query resolution step widths are not accepted. Try a positive integer");
        }
        if end < start {
            return refuse("end timestamp must not be before start time");
        }
        if start < -MAX_TIME || end > MAX_TIME || step > MAX_TIME {
            return refuse("time is out of range");
        }
        let steps = Steps::between(start, end, step);
        let max = self.options.limits.max_points;
        if steps.count > max {
            return Err(QueryError::Limit(LimitExceeded::points(max)));
        }
        Ok((steps, end))
    }
}
