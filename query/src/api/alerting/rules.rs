//! Rules and alerts as Prometheus answers them.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::RawQuery};
use serde::Serialize;
use serde_json::json;
use trivium_alert::{RuleKind, RulesQuery, alerts_answer, rules_answer};
use trivium_model::UnixNanos;
use trivium_promql::{Matcher, parse_selector};

use super::Of;
use crate::alerting::Asked;
use crate::api::ApiError;
use crate::api::time::parse_time;
use crate::error::Error;

fn success(data: impl Serialize) -> Response {
    Json(json!({"status": "success", "data": data})).into_response()
}

fn bad_data(message: &str) -> Response {
    let body = json!({"status": "error", "errorType": "bad_data", "error": message});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

pub(super) async fn rules(Of(alerting): Of, RawQuery(query): RawQuery) -> Response {
    let query = match rules_query(query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(message) => return bad_data(&message),
    };
    match rules_answer(&alerting.groups(), &query) {
        Ok(answer) => success(answer),
        Err(message) => bad_data(&message),
    }
}

fn rules_query(query: &str) -> Result<RulesQuery, String> {
    let mut wanted = RulesQuery::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "type" => {
                wanted.kind = match &*value {
                    "" => None,
                    "alert" => Some(RuleKind::Alerting),
                    "record" => Some(RuleKind::Recording),
                    _ => return Err(format!("not supported value {value:?}")),
                }
            }
            "rule_name[]" => wanted.rule_names.push(value),
            "rule_group[]" => wanted.rule_groups.push(value),
            "file[]" => wanted.files.push(value),
            "exclude_alerts" => wanted.exclude_alerts = flag(&value)?,
            "match[]" => wanted.matchers.push(selector(&value)?),
            "group_limit" => {
                let limit = value.parse().map_err(|_| format!("group_limit: {value:?} is not a whole number"))?;
                wanted.group_limit = Some(limit);
            }
            "group_next_token" => wanted.group_next_token = Some(value).filter(|token| !token.is_empty()),
            _ => {}
        }
    }
    Ok(wanted)
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "" | "false" | "0" => Ok(false),
        _ => Err(format!("exclude_alerts: {value:?} is neither true nor false")),
    }
}

fn selector(text: &str) -> Result<Vec<Matcher>, String> {
    parse_selector(text).map_err(|error| error.to_string())
}

pub(super) async fn alerts(Of(alerting): Of) -> Response {
    success(alerts_answer(&alerting.groups()))
}

pub(super) async fn alertmanagers(Of(alerting): Of) -> Response {
    let active: Vec<_> = alerting.alertmanager_urls().iter().map(|url| json!({"url": url})).collect();
    success(json!({"activeAlertmanagers": active, "droppedAlertmanagers": []}))
}

pub(super) async fn incidents(Of(alerting): Of) -> Response {
    Json(json!({"incidents": alerting.incidents()})).into_response()
}

pub(super) async fn diagnosis(Of(alerting): Of, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let asked = asked(&query.unwrap_or_default(), alerting.now())?;
    Ok(Json(alerting.explain_at(asked).await?).into_response())
}

/// `at=`, or `start=` and `end=`, and `service=`.
fn asked(query: &str, now: UnixNanos) -> Result<Asked, Error> {
    let given = |wanted: &str| {
        let found = form_urlencoded::parse(query.as_bytes()).find(|(name, value)| name == wanted && !value.is_empty());
        found.map(|(_, value)| value.into_owned())
    };
    let at = given("at").or_else(|| given("start")).ok_or_else(|| {
        Error::invalid("give the time since when something is wrong as at=, such as at=now-20m, or as start= and end=")
    })?;
    let onset = parse_time(&at, now)?;
    let until = given("end").map(|end| parse_time(&end, now)).transpose()?;
    if until.is_some_and(|until| until <= onset) {
        return Err(Error::invalid(format!("the range ends before it begins: start is {at}")));
    }
    Ok(Asked { onset, until, service: given("service") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(1_795_262_400_000_000_000);

    #[test]
    fn a_diagnosis_is_of_a_moment_or_of_a_range_and_a_service() {
        let moment = asked("at=now-20m", NOW).expect("it is read");
        assert_eq!((NOW.since(moment.onset).as_secs(), moment.until, moment.service), (1_200, None, None));
        let range = asked("start=1795260000&end=1795261000&service=check%20out", NOW).expect("it is read");
        let seconds = |time: UnixNanos| time.0 / 1_000_000_000;
        assert_eq!((seconds(range.onset), range.until.map(seconds)), (1_795_260_000, Some(1_795_261_000)));
        assert_eq!(range.service.as_deref(), Some("check out"));
        assert!(asked("service=a", NOW).is_err());
        assert!(asked("start=1795261000&end=1795260000", NOW).is_err());
    }
}
