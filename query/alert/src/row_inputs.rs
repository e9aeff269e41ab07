//! Whether the inputs of a rule over rows (SQL, log search) are there. Rows do not say what they were made of, so this is
//! asked: by the rule's own `inputs`, for a log search else by the same search without its conditions, and for SQL by the
//! newest time of the signals that the statement reads.

use std::collections::{BTreeSet, HashSet};

use trivium_model::{SignalKind, TenantId};
use trivium_promql::{Labels, SampleValue};

use crate::alert::Alert;
use crate::file::{Rule, RuleQuery};
use crate::log_query::{LogAggregation, LogQuery};
use crate::seam::{Completeness, Querier, RowQuery};

/// A signal of which nothing came for this long is not there, as a series for PromQL.
const LOOKBACK_MS: i64 = 300_000;

/// Times at which alerts were last seen that are looked at in one evaluation; further alerts are judged by the oldest.
const TIMES_MAX: usize = 16;

/// Where inputs are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowInputs<'a> {
    pub(crate) querier: &'a dyn Querier,
    pub(crate) tenant: TenantId,
    pub(crate) rule: &'a Rule,
    /// How complete the data of this evaluation were.
    pub(crate) completeness: Completeness,
    /// The query offset in milliseconds.
    pub(crate) offset_ms: i64,
}

/// The label sets that have inputs, and the names of their labels.
struct Present {
    names: BTreeSet<String>,
    sets: HashSet<Labels>,
}

impl Present {
    /// Whether what an alert was made of is there, as far as the inputs tell it apart.
    fn has(&self, source: &Labels) -> bool {
        self.sets.contains(&Labels::new(
            source.iter().filter(|label| self.names.contains(&*label.name)).map(|label| (&*label.name, &*label.value)),
        ))
    }
}

impl RowInputs<'_> {
    /// Which of the alerts had inputs when they were last seen and have none at `ts`.
    pub(crate) async fn vanished(&self, alerts: Vec<&Alert>, ts: i64) -> HashSet<Labels> {
        let all = |alerts: Vec<&Alert>| alerts.into_iter().map(|alert| alert.labels.clone()).collect();
        if self.is_silent(ts) {
            return all(alerts);
        }
        let Some(query) = self.query() else { return HashSet::new() };
        let Some(now) = self.present(&query, ts).await else { return HashSet::new() };
        let missing = alerts.into_iter().filter(|alert| !now.has(&alert.source));
        // What was missing before was looked at then.
        let (mut vanished, new): (Vec<&Alert>, Vec<&Alert>) =
            missing.partition(|alert| alert.no_data_since_ms.is_some());
        let mut times: Vec<i64> = new.iter().map(|alert| alert.seen_ms).collect();
        times.sort_unstable();
        times.dedup();
        times.truncate(TIMES_MAX);
        for at in times.iter().copied() {
            let last = times.last() == Some(&at);
            let of_time = new.iter().filter(|alert| alert.seen_ms == at || last && alert.seen_ms > at);
            if let Some(then) = self.present(&query, at).await {
                vanished.extend(of_time.filter(|alert| then.has(&alert.source)));
            }
        }
        all(vanished)
    }

    /// Whether any input is there.
    pub(crate) async fn any(&self, ts: i64) -> bool {
        if self.is_silent(ts) {
            return false;
        }
        let Some(query) = self.query() else { return true };
        // An error says nothing: what cannot be asked is not missing.
        self.present(&query, ts).await.is_none_or(|present| !present.sets.is_empty())
    }

    /// Whether it is known, without asking, that nothing comes. What a rule names as its inputs counts more.
    fn is_silent(&self, ts: i64) -> bool {
        let oldest = ts.saturating_sub(self.offset_ms).saturating_sub(LOOKBACK_MS);
        let is_old = matches!(self.rule.query, RuleQuery::Sql(_))
            && self.completeness.watermark_ms.is_some_and(|watermark| watermark < oldest);
        self.completeness.share == Some(0.0) || self.rule.inputs.is_none() && is_old
    }

    fn query(&self) -> Option<RuleQuery> {
        match (&self.rule.inputs, &self.rule.query) {
            (Some(inputs), _) => Some(inputs.clone()),
            (None, RuleQuery::Logs(logs)) => Some(RuleQuery::Logs(any_record(logs))),
            (None, RuleQuery::Sql(_) | RuleQuery::PromQl(_)) => None,
        }
    }

    /// The label sets whose value is not 0.
    async fn present(&self, query: &RuleQuery, ts: i64) -> Option<Present> {
        let at_ms = ts.saturating_sub(self.offset_ms);
        let rows = match query {
            RuleQuery::Sql(text) => self.querier.rows(self.tenant, RowQuery::Sql(text), at_ms).await,
            RuleQuery::Logs(logs) => self.querier.rows(self.tenant, RowQuery::Logs(logs), at_ms).await,
            RuleQuery::PromQl(_) => return None,
        };
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(rule = self.rule.name, error, "cannot tell whether the inputs of a rule are there");
                return None;
            }
        };
        let rows = rows.into_iter().filter(|row| !matches!(row.value, SampleValue::Float(value) if value == 0.0));
        let sets: HashSet<Labels> = rows.map(|row| row.labels).collect();
        let names = sets.iter().flat_map(Labels::iter).map(|label| label.name.to_string()).collect();
        Some(Present { names, sets })
    }
}

/// Records of any kind in the same time, by that field of the groups that says best who writes them.
fn any_record(logs: &LogQuery) -> LogQuery {
    let is_service = |field: &&String| matches!(field.as_str(), "service" | "service.name");
    let by = logs.by.iter().find(is_service).or_else(|| logs.by.first());
    LogQuery {
        text: String::new(),
        search: "*".to_owned(),
        aggregation: LogAggregation::Count,
        by: by.into_iter().cloned().collect(),
        range: logs.range,
        threshold: None,
    }
}

/// The signals whose tables an SQL statement names, outside of texts and comments; all of them when it names none.
pub(crate) fn signals(sql: &str) -> Vec<SignalKind> {
    let mut found = BTreeSet::new();
    let mut rest = sql;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic() || matches!(letter, '\'' | '-' | '/'))
    {
        let tail = &rest[start..];
        let after = |mark: &str, from: usize| tail[from..].find(mark).map_or(tail.len(), |at| from + at + mark.len());
        let end = match tail {
            _ if tail.starts_with('\'') => after("'", 1),
            _ if tail.starts_with("--") => after("\n", 2),
            _ if tail.starts_with("/*") => after("*/", 2),
            _ => tail.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(tail.len()).max(1),
        };
        match tail[..end].to_ascii_lowercase().as_str() {
            "logs" => found.insert(SignalKind::Logs.index()),
            "metrics" | "exemplars" | "series" => found.insert(SignalKind::Metrics.index()),
            "spans" | "span_events" | "span_links" => found.insert(SignalKind::Traces.index()),
            _ => false,
        };
        rest = &tail[end..];
    }
    let all = SignalKind::ALL.into_iter();
    all.filter(|signal| found.is_empty() || found.contains(&signal.index())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signals_of_a_statement_are_its_tables() {
        use SignalKind::{Logs, Metrics, Traces};
        for (sql, expected) in [
            ("SELECT count(*) FROM logs", vec![Logs]),
            ("select 1 from Spans s join public.logs l on true", vec![Logs, Traces]),
            ("SELECT 'spans', 'it''s metrics' FROM logs -- metrics\n/* spans */ WHERE a = 1 - 2 / 3", vec![Logs]),
            ("SELECT 1 FROM span_events", vec![Traces]),
            ("SELECT my_logs FROM \"metrics\"", vec![Metrics]),
            ("SELECT 1", vec![Logs, Metrics, Traces]),
            ("SELECT 'open", vec![Logs, Metrics, Traces]),
            ("SELECT é FROM logs /*", vec![Logs]),
        ] {
            assert_eq!(signals(sql), expected, "{sql}");
        }
    }

    #[test]
    fn the_records_of_a_log_rule_are_counted_by_their_service() {
        let by = |text: &str| any_record(&LogQuery::parse(text).unwrap()).by;
        assert_eq!(by("x | count() by (zone, service.name) [5m] > 1"), ["service.name"]);
        assert_eq!(by("x | sum(ms) by (zone, host) [5m]"), ["zone"]);
        assert_eq!(by("x | count() [5m]"), Vec::<String>::new());
    }
}
