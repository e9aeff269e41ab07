//! Recording and alerting rules as Prometheus evaluates them.
//!
//! Knows neither HTTP nor storage nor DataFusion.

mod duration;
mod file;
mod log_query;

pub use duration::{format_duration, parse_duration};
pub use file::{
    Group, MAX_FILE_BYTES, NoData, Problem, Rule, RuleFileError, RuleKind, RuleQuery, RuleSet, SourceFile,
    TemplateCheck, parse_rule_file,
};
pub use log_query::{Comparison, LogAggregation, LogQuery, Threshold};
