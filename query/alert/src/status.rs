//! What there is to tell about groups, for the API and for metrics.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use trivium_promql::Labels;

use crate::alert::{Alert, AlertState};
use crate::file::Group;
use crate::seam::Completeness;

/// Evaluations that are remembered of each rule.
const EVALUATIONS: usize = 20;

/// How a rule's last evaluation went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There was none.
    #[default]
    Unknown,
    /// Well.
    Ok,
    /// It failed.
    Err,
}

/// One evaluation of a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// The slot in milliseconds.
    pub slot_ms: i64,
    /// How long it took.
    pub duration_seconds: f64,
    /// How many samples the expression gave.
    pub samples: usize,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a rule is.
#[derive(Clone, Debug, Default)]
pub struct RuleStatus {
    /// How its last evaluation went.
    pub health: Health,
    /// Why it failed.
    pub last_error: Option<String>,
    /// When it was last evaluated, in milliseconds.
    pub last_evaluation_ms: Option<i64>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// The most urgent state of its alerts; none before the first evaluation.
    pub state: Option<AlertState>,
    /// Its alerts, also those that are resolved and still told of.
    pub alerts: Arc<Vec<Alert>>,
    /// How complete its data were.
    pub completeness: Completeness,
    /// Its last evaluations, oldest first.
    pub evaluations: VecDeque<Evaluation>,
}

impl RuleStatus {
    pub(crate) fn note(&mut self, evaluation: Evaluation) {
        if self.evaluations.len() == EVALUATIONS {
            self.evaluations.pop_front();
        }
        self.evaluations.push_back(evaluation);
    }
}

/// Numbers about a group, under Prometheus' names without `prometheus_rule_`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupMetrics {
    /// `group_iterations_total`, with the missed ones.
    pub iterations_total: u64,
    /// `group_iterations_missed_total`
    pub iterations_missed_total: u64,
    /// `evaluations_total`
    pub evaluations_total: u64,
    /// `evaluation_failures_total`
    pub evaluation_failures_total: u64,
    /// `group_last_duration_seconds`
    pub last_duration_seconds: f64,
    /// `group_interval_seconds`
    pub interval_seconds: f64,
    /// `group_last_evaluation_timestamp_seconds`
    pub last_evaluation_timestamp_seconds: f64,
    /// `group_last_evaluation_samples`
    pub last_evaluation_samples: usize,
    /// `group_rules`
    pub rules: usize,
}

/// How a group is.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The group as configured.
    pub group: Arc<Group>,
    /// How often it is evaluated, in milliseconds.
    pub interval_ms: i64,
    /// When it was last evaluated, in milliseconds.
    pub last_evaluation_ms: Option<i64>,
    /// The slot that was evaluated last.
    pub last_slot_ms: Option<i64>,
    /// Its rules in order.
    pub rules: Vec<RuleStatus>,
    /// The series that its rules wrote last.
    pub(crate) series: Vec<Arc<HashSet<Labels>>>,
    /// Numbers.
    pub metrics: GroupMetrics,
}

impl GroupStatus {
    /// Whether a series is among those that were written last.
    pub(crate) fn writes(&self, labels: &Labels) -> bool {
        self.series.iter().any(|series| series.contains(labels))
    }
}
