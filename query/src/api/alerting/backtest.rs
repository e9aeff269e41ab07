//! `POST /api/v1/rules/backtest`: what rules would have done.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use trivium_alert::{
    BacktestError, BacktestRequest, Grouping, RuleSet, SimpleGrouping, SourceFile, backtest as run, parse_duration,
};

use super::Of;
use crate::api::ApiError;
use crate::api::time::parse_time;
use crate::error::Error;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Bytes of a request.
const BODY_BYTES_MAX: usize = 4 << 20;

/// What is asked: the text of a rule file, of one group or of one rule, and a range.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// A rule file: `groups: …`.
    #[serde(default)]
    rules: Option<String>,
    /// One group.
    #[serde(default)]
    group: Option<String>,
    /// One rule.
    #[serde(default)]
    rule: Option<String>,
    /// When the range begins; a week before its end unless told.
    #[serde(default)]
    start: Option<String>,
    /// When it ends; now unless told.
    #[serde(default)]
    end: Option<String>,
    /// How often the rules are evaluated unless they say.
    #[serde(default)]
    interval: Option<String>,
    /// Labels that notifications are grouped by; `alertname` unless told.
    #[serde(default)]
    group_by: Option<Vec<String>>,
}

pub(super) async fn backtest(Of(alerting): Of, body: Bytes) -> Result<Response, ApiError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Error::BodyTooLarge { bytes_max: BODY_BYTES_MAX }.into());
    }
    let request: Request = serde_json::from_slice(&body).map_err(|error| {
        let hint = "send {\"rules\": \"groups: …\"} or {\"rule\": \"alert: …\"}, with \"start\" and \"end\"";
        Error::invalid_with_hint(format!("cannot read the body: {error}"), hint)
    })?;
    let _permit = alerting.permit().await?;
    let text = file_text(&request)?;
    let file = SourceFile { path: "backtest".into(), text };
    let rules = RuleSet::parse(&[file], alerting.templates()).map_err(|error| Error::invalid(error.to_string()))?;
    let now = alerting.now();
    let end = request.end.as_deref().map_or(Ok(now), |text| parse_time(text, now))?;
    let start = request.start.as_deref().unwrap_or("now-7d");
    let start = parse_time(start, if request.start.is_some() { now } else { end })?;
    let mut options = alerting.options();
    if let Some(interval) = &request.interval {
        options.evaluation_interval = parse_duration(interval).map_err(Error::invalid)?;
    }
    let (start_ms, end_ms) = (start.0.div_euclid(NANOS_PER_MILLI), end.0.div_euclid(NANOS_PER_MILLI));
    let asked = BacktestRequest {
        rules,
        start_ms,
        end_ms,
        options,
        others: alerting.past_firings(start, end).await?,
        incidents: None,
        verdicts: BTreeMap::new(),
        utc_offset_ms: 0,
        timeout: Some(alerting.backtest_timeout()),
    };
    let mut grouping = Grouping::default();
    if let Some(group_by) = request.group_by {
        grouping.group_by = group_by;
    }
    let querier = Arc::clone(&alerting.querier);
    let report = run(querier, alerting.templates_arc(), asked, &mut SimpleGrouping::new(grouping)).await;
    let report = report.map_err(|error| match error {
        BacktestError::Invalid(problem) => Error::invalid(problem),
        BacktestError::Timeout { after, percent } => Error::Limit {
            what: format!(
                "{percent} % of the backtest's evaluations were done in time (take a shorter range, fewer rules or a \
                 longer interval)"
            ),
            limit: format!("{} (backtest_timeout)", humantime::format_duration(after)),
        },
    })?;
    Ok(Json(report).into_response())
}

/// The text of a rule file around what was given.
fn file_text(request: &Request) -> Result<String, Error> {
    let indented = |text: &str, first: &str, others: &str| {
        let lines = text.trim_end().lines().enumerate();
        lines.map(|(place, line)| format!("{}{line}\n", if place == 0 { first } else { others })).collect::<String>()
    };
    match (&request.rules, &request.group, &request.rule) {
        (Some(rules), None, None) => Ok(rules.clone()),
        (None, Some(group), None) => Ok(format!("groups:\n{}", indented(group, "- ", "  "))),
        (None, None, Some(rule)) => {
            Ok(format!("groups:\n- name: backtest\n  rules:\n{}", indented(rule, "  - ", "    ")))
        }
        _ => Err(Error::invalid("give one of \"rules\" (a rule file), \"group\" and \"rule\", as YAML text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Result<String, Error> {
        file_text(&serde_json::from_str(json).expect("a request"))
    }

    #[test]
    fn a_rule_or_a_group_becomes_a_file() {
        let rule = text(r#"{"rule": "alert: A\nexpr: up == 0\nlabels:\n  severity: page\n"}"#).expect("a rule");
        assert_eq!(
            rule,
            "groups:\n- name: backtest\n  rules:\n  - alert: A\n    expr: up == 0\n    labels:\n      severity: page\n"
        );
        let group = text(r#"{"group": "name: g\nrules: []"}"#).expect("a group");
        assert_eq!(group, "groups:\n- name: g\n  rules: []\n");
        assert!(text("{}").is_err() && text(r#"{"rule": "", "group": ""}"#).is_err());
    }
}
