//! Recording and alerting rules as Prometheus evaluates them: files, schedule, state machine, unit tests, backtest.
//!
//! Knows neither HTTP nor storage nor DataFusion.

mod alert;
mod api;
mod backtest;
mod duration;
mod file;
mod inputs;
mod lint;
mod log_query;
mod manager;
mod record;
mod row_inputs;
mod runner;
mod schedule;
mod seam;
mod status;
mod template;
mod unittest;

pub use alert::{Alert, AlertState, Change, fingerprint};
pub use api::{
    AlertAnswer, AlertingAnswer, AlertsAnswer, CommonAnswer, GroupAnswer, RecordingAnswer, RuleAnswer, RulesAnswer,
    RulesQuery, alerts_answer, rules_answer,
};
pub use backtest::{
    BacktestError, BacktestReport, BacktestRequest, Firing, Grouping, Interval, Noise, NotificationModel, Overlap,
    RuleReport, SimpleGrouping, Verdicts, backtest,
};
pub use duration::{format_duration, parse_duration};
pub use file::{
    Group, MAX_FILE_BYTES, NoData, Problem, Rule, RuleFileError, RuleKind, RuleQuery, RuleSet, SourceFile,
    TemplateCheck, parse_rule_file, read_files,
};
pub use lint::{Finding, Level, LintOptions, lint, lint_selectors};
pub use log_query::{Comparison, LogAggregation, LogQuery, Threshold};
pub use manager::{LeaseOptions, RuleManager};
pub use runner::{Deps, Options};
pub use seam::{AlertNotice, Completeness, Notifier, Querier, RowQuery, SampleToWrite, Sink, StepRange, WriteValue};
pub use status::{Evaluation, GroupMetrics, GroupStatus, Health, RuleStatus};
pub use template::{GoTemplates, QueryFn, TemplateData, Templates};
pub use unittest::{UnitTestError, UnitTestOutcome, UnitTestReport, unit_test, unit_test_file};

#[cfg(test)]
mod world;
