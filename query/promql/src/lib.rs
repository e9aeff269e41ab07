//! PromQL as Prometheus 3 speaks it: parsing, type check, evaluation over runs of samples, and test scripts.
//!
//! Knows neither HTTP nor storage nor DataFusion: samples come through [`SeriesSource`].

mod annotations;
pub mod ast;
mod calendar;
mod engine;
mod eval;
mod functions;
pub mod histogram;
mod labels;
mod number;
mod parse;
mod pretty;
mod print;
pub mod script;
mod series;
mod value;

pub use engine::{Check, Engine, EngineOptions, LimitExceeded, LimitKind, Limits, QueryError, When};
pub use functions::{FUNCTIONS, Function, Variadic};
pub use histogram::Histogram;
pub use labels::{Label, Labels, METRIC_NAME, METRIC_TYPE, METRIC_UNIT, MatchKind, Matcher};
pub use number::format_float;
pub use parse::{ParseError, ParseOptions, parse, parse_selector, parse_selectors};
pub use series::{STALE_NAN_BITS, Selection, Series, SeriesSource, SourceError, is_stale};
pub use value::{Answer, MatrixSeries, SampleValue, Value, VectorSample};
