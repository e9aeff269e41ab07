//! What rules are evaluated on: where samples come from, where they go, and who is told of alerts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use trivium_model::TenantId;
use trivium_promql::{Histogram, Labels, MatrixSeries, Value, VectorSample};

use crate::alert::AlertState;
use crate::file::RuleQuery;
use crate::log_query::LogQuery;

/// What a rule that is not PromQL asks.
#[derive(Clone, Copy, Debug)]
pub enum RowQuery<'a> {
    /// SQL: a row is a sample. Its value is the column `value`, else the last numeric column; other columns are labels.
    Sql(&'a str),
    /// A log search with an aggregation. The threshold need not be applied.
    Logs(&'a LogQuery),
}

/// How complete the data were that a result was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completeness {
    /// Newest time of a sample or record that had been received, in milliseconds; none when it is not known.
    pub watermark_ms: Option<i64>,
    /// Share of the expected data that was there, from 0 to 1; none when it is not known.
    pub share: Option<f64>,
}

/// Answers the queries of rules. Errors are for people.
#[async_trait]
pub trait Querier: Send + Sync + fmt::Debug {
    /// Evaluates PromQL at a time in milliseconds.
    async fn promql(&self, tenant: TenantId, query: &str, at_ms: i64) -> Result<Value, String>;

    /// Evaluates PromQL at every step of a range; for backtests.
    async fn promql_range(&self, tenant: TenantId, query: &str, range: StepRange) -> Result<Vec<MatrixSeries>, String>;

    /// Evaluates SQL or a log search at a time in milliseconds.
    async fn rows(&self, tenant: TenantId, query: RowQuery<'_>, at_ms: i64) -> Result<Vec<VectorSample>, String>;

    /// How complete the data are that the query asks for. Called once for each evaluation of a rule: must be cheap.
    async fn completeness(&self, tenant: TenantId, query: &RuleQuery, at_ms: i64) -> Completeness;
}

/// The steps of a range query, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRange {
    /// First step.
    pub start_ms: i64,
    /// No step is later.
    pub end_ms: i64,
    /// Distance of the steps.
    pub step_ms: i64,
}

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
    /// The marker that the series has ended.
    Stale,
}

/// A sample to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleToWrite {
    /// Labels with the metric's name.
    pub labels: Labels,
    /// Its time in milliseconds.
    pub t_ms: i64,
    /// Its value.
    pub value: WriteValue,
}

/// Takes the output of rules.
#[async_trait]
pub trait Sink: Send + Sync + fmt::Debug {
    /// Writes samples; when it returns, the next query sees them. Answers with those that were refused, by index, and why.
    async fn append(&self, tenant: TenantId, samples: Vec<SampleToWrite>) -> Result<Vec<(usize, String)>, String>;
}

/// An alert as it is told to whoever notifies people: what Prometheus sends to an Alertmanager, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertNotice {
    /// Its labels, with external ones where they do not collide.
    pub labels: BTreeMap<String, String>,
    /// Its texts.
    pub annotations: BTreeMap<String, String>,
    /// When it began to fire, in milliseconds.
    pub starts_at_ms: i64,
    /// When it was resolved, or until when it is to be taken as firing without another word.
    pub ends_at_ms: i64,
    /// Firing or (resolved) inactive.
    pub state: AlertState,
    /// Where its expression can be looked at.
    pub generator_url: String,
    /// What identifies it: the hash of its labels without external ones.
    pub fingerprint: u64,
    /// The value of its expression.
    pub value: f64,
    /// Since when its data are missing.
    pub no_data_since_ms: Option<i64>,
    /// `file;group` of its rule.
    pub group: String,
    /// The name of its rule.
    pub rule: String,
    /// The expression of its rule.
    pub expr: String,
    /// The slot that it was told in.
    pub slot_ms: i64,
    /// How complete the data were.
    pub completeness: Completeness,
}

/// Is told of alerts. It queues and retries on its own; alerts that go on firing are told again after `resend_delay`,
/// resolved ones likewise for 15 minutes, and those of the last slot once more after a restart.
#[async_trait]
pub trait Notifier: Send + Sync + fmt::Debug {
    /// Takes the alerts of one evaluation of a group.
    async fn notify(&self, tenant: TenantId, alerts: Vec<AlertNotice>);
}
