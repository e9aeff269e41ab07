//! The evaluation of one rule.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use trivium_promql::{Labels, METRIC_NAME, SampleValue, VectorSample};

use super::{ChangeList, Deps, Options, RuleState};
use crate::alert::{Alert, Incoming, Terms, to_map};
use crate::duration::millis;
use crate::file::{Group, NoData, RuleKind, RuleQuery};
use crate::inputs::Inputs;
use crate::row_inputs::RowInputs;
use crate::seam::{AlertNotice, RowQuery, SampleToWrite, WriteValue};
use crate::template::{Expander, TemplateData, vector};

/// The label that Prometheus puts the name of the alert in.
const ALERT_NAME: &str = "alertname";

/// The label of the alert that is raised because data are missing.
const NO_DATA_LABEL: &str = "no_data";

/// What the rules of a group are evaluated with.
pub(super) struct Context<'a> {
    pub(super) deps: &'a Deps,
    pub(super) options: &'a Options,
    pub(super) group: &'a Group,
    pub(super) slot_ms: i64,
    pub(super) offset_ms: i64,
    pub(super) interval_ms: i64,
}

/// What came of an evaluation.
pub(super) struct Outcome {
    /// What is to be written; or why there is nothing.
    pub(super) samples: Result<Vec<(Labels, WriteValue)>, String>,
    /// How many samples the expression gave.
    pub(super) results: usize,
    pub(super) changes: ChangeList,
    /// The alerts that are to be told of.
    pub(super) told: Vec<Alert>,
}

impl Context<'_> {
    fn at_ms(&self) -> i64 {
        self.slot_ms.saturating_sub(self.offset_ms)
    }

    pub(super) async fn evaluate(&self, state: &mut RuleState) -> Outcome {
        let mut outcome = Outcome { samples: Ok(Vec::new()), results: 0, changes: Vec::new(), told: Vec::new() };
        let result = match self.query(&state.rule.query).await {
            Ok(result) => result,
            Err(error) => {
                outcome.samples = Err(error);
                return outcome;
            }
        };
        outcome.results = result.len();
        match state.rule.kind {
            RuleKind::Recording => outcome.samples = self.record(state, result),
            RuleKind::Alerting => self.alert(state, result, &mut outcome).await,
        }
        outcome
    }

    async fn query(&self, query: &RuleQuery) -> Result<Vec<VectorSample>, String> {
        let (querier, tenant, at_ms) = (&self.deps.querier, self.options.tenant, self.at_ms());
        match query {
            RuleQuery::PromQl(text) => vector(querier.promql(tenant, text, at_ms).await?),
            RuleQuery::Sql(text) => querier.rows(tenant, RowQuery::Sql(text), at_ms).await,
            RuleQuery::Logs(logs) => {
                let mut rows = querier.rows(tenant, RowQuery::Logs(logs), at_ms).await?;
                if let Some(threshold) = logs.threshold {
                    rows.retain(|row| matches!(row.value, SampleValue::Float(value) if threshold.is_met(value)));
                }
                Ok(rows)
            }
        }
    }

    fn record(&self, state: &RuleState, result: Vec<VectorSample>) -> Result<Vec<(Labels, WriteValue)>, String> {
        let rule = &state.rule;
        let mut seen = HashSet::with_capacity(result.len());
        let mut samples = Vec::with_capacity(result.len());
        for sample in result {
            let mut labels = sample.labels.with(METRIC_NAME, &rule.name);
            for (name, value) in &rule.labels {
                labels = labels.with(name, value);
            }
            if !seen.insert(labels.clone()) {
                let message = "vector contains metrics with the same labelset after applying rule labels";
                return Err(message.to_owned());
            }
            let value = match sample.value {
                SampleValue::Float(value) => WriteValue::Float(value),
                SampleValue::Histogram(histogram) => WriteValue::Histogram(histogram),
            };
            samples.push((labels, value));
        }
        let limit = self.group.limit;
        if limit > 0 && samples.len() > limit {
            return Err(format!("exceeded limit of {limit} with {} series", samples.len()));
        }
        Ok(samples)
    }

    async fn alert(&self, state: &mut RuleState, result: Vec<VectorSample>, outcome: &mut Outcome) {
        let mut incoming = match self.expand(state, result).await {
            Ok(incoming) => incoming,
            Err(error) => {
                outcome.samples = Err(error);
                return;
            }
        };
        let no_data = state.rule.no_data.unwrap_or(self.options.no_data);
        let vanished = self.vanished(state, &incoming, no_data).await;
        if no_data == NoData::Alerting {
            incoming.extend(self.missing_inputs(state, &incoming, &vanished).await);
        }
        let no_data_ms = match no_data {
            NoData::Resolve => 0,
            NoData::Keep => millis(state.rule.no_data_for.unwrap_or(self.options.no_data_for)),
            NoData::Alerting => i64::MAX,
        };
        let terms = Terms {
            hold_ms: millis(state.rule.hold),
            keep_firing_ms: millis(state.rule.keep_firing_for),
            no_data_ms,
            limit: self.group.limit,
        };
        match state.alerts.advance(self.slot_ms, terms, incoming, &vanished) {
            Ok(changes) => {
                outcome.changes = changes;
                let samples = state.alerts.samples().into_iter();
                outcome.samples = Ok(samples.map(|(labels, value)| (labels, WriteValue::Float(value))).collect());
                let resend_delay_ms = millis(self.options.resend_delay);
                outcome.told = state.alerts.take_due(self.slot_ms, resend_delay_ms, self.interval_ms);
            }
            Err(error) => outcome.samples = Err(error),
        }
    }

    /// The alerts of a result with their labels and texts.
    async fn expand(&self, state: &RuleState, result: Vec<VectorSample>) -> Result<Vec<Incoming>, String> {
        let (deps, options, rule) = (self.deps, self.options, &state.rule);
        let mut expander = Expander::new(&*deps.templates, &*deps.querier, options.tenant, self.at_ms());
        let mut seen = HashSet::with_capacity(result.len());
        let mut incoming = Vec::with_capacity(result.len());
        for sample in result {
            let value = match sample.value {
                SampleValue::Float(value) => value,
                SampleValue::Histogram(_) => 0.0,
            };
            let data = TemplateData {
                labels: &sample.labels,
                external_labels: &options.external_labels,
                external_url: &options.external_url,
                value,
                now_ms: self.slot_ms,
            };
            let source = sample.labels.with(METRIC_NAME, "");
            let mut labels = source.clone();
            for (name, text) in &rule.labels {
                labels = labels.with(name, &expander.expand(text, &data).await);
            }
            labels = labels.with(ALERT_NAME, &rule.name);
            if !seen.insert(labels.clone()) {
                let message = "vector contains metrics with the same labelset after applying alert labels";
                return Err(message.to_owned());
            }
            let mut annotations = BTreeMap::new();
            for (name, text) in &rule.annotations {
                annotations.insert(name.clone(), expander.expand(text, &data).await);
            }
            incoming.push(Incoming { source, labels, annotations, value });
        }
        Ok(incoming)
    }

    /// The firing alerts that are not in the result because their inputs are gone.
    async fn vanished(&self, state: &RuleState, incoming: &[Incoming], no_data: NoData) -> HashSet<Labels> {
        if no_data == NoData::Resolve {
            return HashSet::new();
        }
        let present: HashSet<Labels> = incoming.iter().map(|one| one.labels.clone()).collect();
        let missing: Vec<&Alert> = state.alerts.firing_without(&present).collect();
        if missing.is_empty() {
            return HashSet::new();
        }
        match &state.rule.query {
            RuleQuery::PromQl(_) => self.inputs(state).vanished(missing, self.slot_ms).await,
            RuleQuery::Sql(_) | RuleQuery::Logs(_) => self.row_inputs(state).vanished(missing, self.slot_ms).await,
        }
    }

    fn row_inputs<'a>(&'a self, state: &'a RuleState) -> RowInputs<'a> {
        RowInputs {
            querier: &*self.deps.querier,
            tenant: self.options.tenant,
            rule: &state.rule,
            completeness: state.status.completeness,
            offset_ms: self.offset_ms,
        }
    }

    fn inputs<'a>(&'a self, state: &'a RuleState) -> Inputs<'a> {
        Inputs {
            querier: &*self.deps.querier,
            tenant: self.options.tenant,
            selectors: &state.selectors,
            offset_ms: self.offset_ms,
        }
    }

    /// The alert that says that a rule has no data to judge by, if that is so and no alert fires that says it.
    async fn missing_inputs(
        &self,
        state: &mut RuleState,
        incoming: &[Incoming],
        vanished: &HashSet<Labels>,
    ) -> Option<Incoming> {
        if !incoming.is_empty() || !vanished.is_empty() {
            state.inputs_seen_ms = Some(self.slot_ms).filter(|_| !incoming.is_empty()).or(state.inputs_seen_ms);
            return None;
        }
        let is_there = match &state.rule.query {
            RuleQuery::PromQl(_) => state.selectors.is_empty() || self.inputs(state).any(self.slot_ms).await,
            RuleQuery::Sql(_) | RuleQuery::Logs(_) => self.row_inputs(state).any(self.slot_ms).await,
        };
        if is_there {
            state.inputs_seen_ms = Some(self.slot_ms);
            return None;
        }
        state.inputs_seen_ms?;
        let sample = VectorSample { labels: Labels::default(), value: SampleValue::Float(f64::NAN) };
        let mut raised = self.expand(state, vec![sample]).await.ok()?.pop()?;
        raised.labels = raised.labels.with(NO_DATA_LABEL, "true");
        Some(raised)
    }

    /// Writes the samples of a rule and ends the series that it no longer has.
    pub(super) async fn write(&self, state: &mut RuleState, samples: Vec<(Labels, WriteValue)>) -> Result<(), String> {
        let t_ms = self.at_ms();
        let series: HashSet<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
        let mut gone: Vec<Labels> = state.series.difference(&series).cloned().collect();
        gone.sort_unstable();
        let samples = samples.into_iter().chain(gone.into_iter().map(|labels| (labels, WriteValue::Stale)));
        let samples: Vec<SampleToWrite> =
            samples.map(|(labels, value)| SampleToWrite { labels, t_ms, value }).collect();
        let refused =
            if samples.is_empty() { Vec::new() } else { self.deps.sink.append(self.options.tenant, samples).await? };
        if *state.series != series {
            state.series = Arc::new(series);
            state.series_changed = true;
        }
        match refused.first() {
            None => Ok(()),
            Some((_, reason)) => Err(format!("{} samples of the rule were refused: {reason}", refused.len())),
        }
    }

    pub(super) fn notice(&self, state: &RuleState, alert: &Alert) -> AlertNotice {
        let mut labels = self.options.external_labels.clone();
        labels.extend(to_map(&alert.labels));
        let expr = state.rule.query.text().to_owned();
        AlertNotice {
            labels,
            annotations: alert.annotations.clone(),
            starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
            ends_at_ms: alert.resolved_at_ms.or(alert.valid_until_ms).unwrap_or(self.slot_ms),
            state: alert.state,
            generator_url: generator_url(&self.options.external_url, &expr),
            fingerprint: alert.fingerprint(),
            value: alert.value,
            no_data_since_ms: alert.no_data_since_ms,
            group: self.group.key(),
            rule: state.rule.name.clone(),
            expr,
            slot_ms: self.slot_ms,
            completeness: state.status.completeness,
        }
    }
}

/// Where an expression can be looked at, as Prometheus has it.
fn generator_url(external_url: &str, expr: &str) -> String {
    let mut url = format!("{}/graph?g0.expr=", external_url.trim_end_matches('/'));
    for byte in expr.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            b' ' => url.push('+'),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("&g0.tab=1");
    url
}

#[cfg(test)]
mod tests {
    use super::generator_url;

    #[test]
    fn generator_urls_are_those_of_prometheus() {
        let url = generator_url("http://host:1/", "sum by (job) (up{a=\"b\"}) > 1");
        assert_eq!(url, "http://host:1/graph?g0.expr=sum+by+%28job%29+%28up%7Ba%3D%22b%22%7D%29+%3E+1&g0.tab=1");
    }
}
