//! What `/api/v1/rules` and `/api/v1/alerts` answer, as Prometheus writes it, with a few fields more.
//!
//! Beyond Prometheus groups have `missedIterations`, rules `queryType`, `completeness` and `evaluations`, alerts `noDataSince`
//! and `firedAt`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};
use trivium_promql::{Labels, Matcher};

use crate::alert::{Alert, AlertState, Fnv, to_map};
use crate::file::{Rule, RuleKind};
use crate::seam::Completeness;
use crate::status::{Evaluation, GroupStatus, Health, RuleStatus};

/// What [`rules_answer`] is asked for.
#[derive(Clone, Debug, Default)]
pub struct RulesQuery {
    /// `type`: only alerting or only recording rules.
    pub kind: Option<RuleKind>,
    /// `rule_name[]`
    pub rule_names: Vec<String>,
    /// `rule_group[]`
    pub rule_groups: Vec<String>,
    /// `file[]`
    pub files: Vec<String>,
    /// `exclude_alerts`
    pub exclude_alerts: bool,
    /// `match[]`, parsed by [`trivium_promql::parse_selector`]: a rule must meet all matchers of one of them.
    pub matchers: Vec<Vec<Matcher>>,
    /// `group_limit`
    pub group_limit: Option<usize>,
    /// `group_next_token`
    pub group_next_token: Option<String>,
}

/// The `data` of `/api/v1/rules`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesAnswer {
    /// The groups that have a rule to show.
    pub groups: Vec<GroupAnswer>,
    /// What to ask for to have the groups that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_next_token: Option<String>,
}

/// One group.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupAnswer {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its rules.
    pub rules: Vec<RuleAnswer>,
    /// Seconds from evaluation to evaluation.
    pub interval: f64,
    /// Alerts or series that a rule may have.
    pub limit: usize,
    /// Seconds that the last evaluation took.
    pub evaluation_time: f64,
    /// When that was.
    pub last_evaluation: String,
    /// Slots that passed without evaluation since the start.
    pub missed_iterations: u64,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RuleAnswer {
    /// An alerting rule.
    Alerting(AlertingAnswer),
    /// A recording rule.
    Recording(RecordingAnswer),
}

/// What both kinds of rules tell.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommonAnswer {
    /// Its name.
    pub name: String,
    /// Its expression.
    pub query: String,
    /// `promql`, `sql` or `logs`.
    pub query_type: &'static str,
    /// How its last evaluation went.
    pub health: Health,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Seconds that it took.
    pub evaluation_time: f64,
    /// When it was.
    pub last_evaluation: String,
    /// How complete the data were.
    pub completeness: Completeness,
    /// The last evaluations, oldest first.
    pub evaluations: VecDeque<Evaluation>,
}

/// An alerting rule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertingAnswer {
    /// `unknown` before the first evaluation, then that of its most urgent alert.
    pub state: &'static str,
    /// `for` in seconds.
    pub duration: f64,
    /// `keep_firing_for` in seconds.
    pub keep_firing_for: f64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its texts, with templates.
    pub annotations: BTreeMap<String, String>,
    /// Its pending and firing alerts.
    pub alerts: Vec<AlertAnswer>,
    /// What all rules tell.
    #[serde(flatten)]
    pub common: CommonAnswer,
}

/// A recording rule.
#[derive(Clone, Debug, Serialize)]
pub struct RecordingAnswer {
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What all rules tell.
    #[serde(flatten)]
    pub common: CommonAnswer,
}

/// One alert.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertAnswer {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its texts.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: AlertState,
    /// When it became pending.
    #[serde(serialize_with = "time")]
    pub active_at: i64,
    /// Since when it only fires for `keep_firing_for`.
    #[serde(serialize_with = "some_time", skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<i64>,
    /// The value of the expression, as `1e+00`.
    pub value: String,
    /// When it began to fire.
    #[serde(serialize_with = "some_time", skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<i64>,
    /// Since when its data are missing.
    #[serde(serialize_with = "some_time", skip_serializing_if = "Option::is_none")]
    pub no_data_since: Option<i64>,
}

/// The `data` of `/api/v1/alerts`.
#[derive(Clone, Debug, Serialize)]
pub struct AlertsAnswer {
    /// All pending and firing alerts.
    pub alerts: Vec<AlertAnswer>,
}

/// Pending and firing alerts of all rules.
pub fn alerts_answer(groups: &[Arc<GroupStatus>]) -> AlertsAnswer {
    let rules = groups.iter().flat_map(|group| &group.rules);
    AlertsAnswer { alerts: rules.flat_map(active).collect() }
}

/// The rules that are asked for. The error is for the client.
pub fn rules_answer(groups: &[Arc<GroupStatus>], query: &RulesQuery) -> Result<RulesAnswer, String> {
    if query.group_next_token.is_some() && query.group_limit.is_none() {
        let message = "group_limit needs to be set in order to paginate over the groups";
        return Err(message.to_owned());
    }
    if query.group_limit == Some(0) {
        return Err("group_limit needs to be greater than 0".to_owned());
    }
    let mut sorted: Vec<&Arc<GroupStatus>> = groups.iter().collect();
    sorted.sort_by(|left, right| (&left.group.file, &left.group.name).cmp(&(&right.group.file, &right.group.name)));
    let mut answer = RulesAnswer { groups: Vec::new(), group_next_token: None };
    let mut found_token = query.group_next_token.is_none();
    for status in sorted {
        let token = group_token(&status.group.file, &status.group.name);
        found_token |= query.group_next_token.as_ref() == Some(&token);
        if !found_token || !is_wanted(status, query) {
            continue;
        }
        let group = group_answer(status, query);
        if group.rules.is_empty() && !status.group.rules.is_empty() {
            continue;
        }
        if query.group_limit == Some(answer.groups.len()) {
            answer.group_next_token = Some(token);
            break;
        }
        answer.groups.push(group);
    }
    match query.group_next_token {
        Some(_) if !found_token => Err("invalid group_next_token: no such group; begin without it".to_owned()),
        _ => Ok(answer),
    }
}

fn group_token(file: &str, name: &str) -> String {
    let mut hash = Fnv::default();
    hash.write(file.as_bytes());
    hash.write(&[255]);
    hash.write(name.as_bytes());
    format!("{:016x}", hash.0)
}

fn is_wanted(status: &GroupStatus, query: &RulesQuery) -> bool {
    let among = |list: &[String], text: &String| list.is_empty() || list.contains(text);
    among(&query.rule_groups, &status.group.name) && among(&query.files, &status.group.file)
}

fn group_answer(status: &GroupStatus, query: &RulesQuery) -> GroupAnswer {
    let rules = status.group.rules.iter().zip(&status.rules).filter(|(rule, _)| {
        (query.rule_names.is_empty() || query.rule_names.contains(&rule.name))
            && query.kind.is_none_or(|kind| kind == rule.kind)
            && matches(rule, &query.matchers)
    });
    GroupAnswer {
        name: status.group.name.clone(),
        file: status.group.file.clone(),
        rules: rules.map(|(rule, status)| rule_answer(rule, status, query.exclude_alerts)).collect(),
        interval: seconds(status.interval_ms),
        limit: status.group.limit,
        evaluation_time: status.metrics.last_duration_seconds,
        last_evaluation: rfc3339(status.last_evaluation_ms),
        missed_iterations: status.metrics.iterations_missed_total,
    }
}

/// Whether the labels of a rule meet one of the selectors. Labels with templates match nothing but their own text.
fn matches(rule: &Rule, selectors: &[Vec<Matcher>]) -> bool {
    let labels = Labels::new(rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let meets = |matchers: &Vec<Matcher>| matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)));
    selectors.is_empty() || selectors.iter().any(meets)
}

fn rule_answer(rule: &Rule, status: &RuleStatus, exclude_alerts: bool) -> RuleAnswer {
    let common = CommonAnswer {
        name: rule.name.clone(),
        query: rule.query.text().to_owned(),
        query_type: rule.query.type_name(),
        health: status.health,
        last_error: status.last_error.clone(),
        evaluation_time: status.evaluation_seconds,
        last_evaluation: rfc3339(status.last_evaluation_ms),
        completeness: status.completeness,
        evaluations: status.evaluations.clone(),
    };
    match rule.kind {
        RuleKind::Recording => RuleAnswer::Recording(RecordingAnswer { labels: rule.labels.clone(), common }),
        RuleKind::Alerting => RuleAnswer::Alerting(AlertingAnswer {
            state: status.state.map_or("unknown", AlertState::as_str),
            duration: rule.hold.as_secs_f64(),
            keep_firing_for: rule.keep_firing_for.as_secs_f64(),
            labels: rule.labels.clone(),
            annotations: rule.annotations.clone(),
            alerts: if exclude_alerts { Vec::new() } else { active(status).collect() },
            common,
        }),
    }
}

fn active(status: &RuleStatus) -> impl Iterator<Item = AlertAnswer> + '_ {
    status.alerts.iter().filter(|alert| alert.state != AlertState::Inactive).map(AlertAnswer::from)
}

impl From<&Alert> for AlertAnswer {
    fn from(alert: &Alert) -> Self {
        Self {
            labels: to_map(&alert.labels),
            annotations: alert.annotations.clone(),
            state: alert.state,
            active_at: alert.active_at_ms,
            keep_firing_since: alert.keep_firing_since_ms,
            value: exponential(alert.value),
            fired_at: alert.fired_at_ms,
            no_data_since: alert.no_data_since_ms,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "intervals are far below 2^53 ms")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// A time as Go writes it; what never was is its zero time.
fn rfc3339(millis: Option<i64>) -> String {
    let time = millis.and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn time<S: Serializer>(millis: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(Some(*millis)))
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference")]
fn some_time<S: Serializer>(millis: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*millis))
}

/// A number with exponent as Go writes it: shortest digits, at least two of the exponent.
fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return trivium_promql::format_float(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests;
