//! Rule files: Prometheus' format unchanged, strictly read, with a few fields of our own.
//!
//! Beyond Prometheus a rule may say `type: promql | sql | logs` (what its `expr` is written in), and group and rule
//! `no_data: resolve | keep | alerting` with `no_data_for: 15m` (see [`NoData`]).

mod check;
mod load;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use trivium_model::SignalKind;

use crate::log_query::LogQuery;

pub use load::{RuleSet, SourceFile, read_files};

/// Longer rule files are refused.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// What is wrong with a rule file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when it is not known.
    pub line: u64,
    /// What was found and what is expected.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

/// Why rule files cannot be used: all that is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct RuleFileError {
    /// One or more.
    pub problems: Vec<Problem>,
}

/// Checks the templates of alerts when a file is read.
pub trait TemplateCheck {
    /// What is wrong with a template, if anything.
    fn check(&self, text: &str) -> Result<(), String>;
}

/// Rules that are evaluated together, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The file it stands in.
    pub file: String,
    /// Its name, unique in the file.
    pub name: String,
    /// How often; the global interval if none.
    pub interval: Option<Duration>,
    /// How far queries look back from the slot; the global offset if none.
    pub query_offset: Option<Duration>,
    /// How many alerts or series a rule may have; 0 for any number.
    pub limit: usize,
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Group {
    /// What identifies it: `file;name`.
    pub fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }
}

/// What a rule makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Series.
    Recording,
    /// Alerts.
    Alerting,
}

/// What a rule asks.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleQuery {
    /// PromQL as Prometheus prints it.
    PromQl(String),
    /// SQL: a row is a sample. Its value is the column `value`, else the last numeric column; other columns are labels.
    Sql(String),
    /// A log search with an aggregation.
    Logs(LogQuery),
}

impl RuleQuery {
    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::PromQl(text) | Self::Sql(text) => text,
            Self::Logs(query) => &query.text,
        }
    }

    /// The signals that it reads.
    pub fn signals(&self) -> Vec<SignalKind> {
        match self {
            Self::PromQl(_) => vec![SignalKind::Metrics],
            Self::Sql(text) => crate::row_inputs::signals(text),
            Self::Logs(_) => vec![SignalKind::Logs],
        }
    }

    /// The `type` of the rule file.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::PromQl(_) => "promql",
            Self::Sql(_) => "sql",
            Self::Logs(_) => "logs",
        }
    }
}

/// What becomes of an alert that is no longer in the result because its inputs are gone: the selectors of the expression
/// match no series where they did when the alert was last seen; of rows, the rule's `inputs` have none with the labels of
/// the alert. (A series that is there and no longer meets the condition always resolves.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoData {
    /// It resolves, as in Prometheus.
    Resolve,
    /// A firing alert stays for `no_data_for` and is shown as having no data; then it resolves.
    Keep,
    /// It stays until data return; and a rule that has no alert but had inputs raises one, labelled `no_data="true"`.
    Alerting,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Whether it records or alerts.
    pub kind: RuleKind,
    /// The series or alert it makes.
    pub name: String,
    /// What it asks.
    pub query: RuleQuery,
    /// What tells, in the same language, which label sets there are data of. Rules in PromQL need none.
    pub inputs: Option<RuleQuery>,
    /// How long an alert is pending (`for`).
    pub hold: Duration,
    /// How long an alert keeps firing without result.
    pub keep_firing_for: Duration,
    /// Labels it adds, with those of its group.
    pub labels: BTreeMap<String, String>,
    /// Texts of its alerts.
    pub annotations: BTreeMap<String, String>,
    /// What missing data mean; the global choice if none.
    pub no_data: Option<NoData>,
    /// How long an alert without data is kept; the global time if none.
    pub no_data_for: Option<Duration>,
    /// Its line in the file.
    pub line: u64,
}

impl PartialEq for Rule {
    /// Whether nothing changed but the place in the file.
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.name == other.name
            && (&self.query, &self.inputs) == (&other.query, &other.inputs)
            && (self.hold, self.keep_firing_for) == (other.hold, other.keep_firing_for)
            && (&self.labels, &self.annotations) == (&other.labels, &other.annotations)
            && (self.no_data, self.no_data_for) == (other.no_data, other.no_data_for)
    }
}

/// Reads a rule file; all that is wrong is told at once.
pub fn parse_rule_file(file: &str, text: &str, templates: &dyn TemplateCheck) -> Result<Vec<Group>, RuleFileError> {
    check::Checker::new(file, templates).read(text)
}
