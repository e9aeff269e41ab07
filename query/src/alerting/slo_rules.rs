//! The alerts of SLOs as rules: they go through the same state machine, and are listed, silenced and notified like all
//! others.

use std::collections::BTreeMap;
use std::time::Duration;

use trivium_alert::{
    GoTemplates, Group, NoData, QueryFn, Rule, RuleKind, RuleQuery, TemplateCheck, TemplateData, Templates,
};
use trivium_slo::{BUDGET_LEFT_ALERT, BURN_RATE_ALERT, EXHAUSTION_ALERT, POLICY_ALERT, SloDefinition, Slos};

use super::slo_series::SLO_ALERT;

/// How often alerts of SLOs are evaluated, unless all rules are evaluated more often: their slices change every minute at
/// most.
const INTERVAL: Duration = Duration::from_secs(30);

/// Before the name of an annotation that the SLO itself writes.
const ANNOTATION: &str = "{{/* slo */}}";

/// The rules of an SLO; none when it has no alerts.
pub(super) fn group(slo: &SloDefinition, evaluation_interval: Duration) -> Option<Group> {
    let alerting = &slo.alerting;
    let mut rules = Vec::new();
    let mut add = |name: &str, filter: String, hold: Duration| rules.push(rule(slo, name, &filter, hold));
    if !alerting.pairs.is_empty() {
        add(BURN_RATE_ALERT, String::new(), Duration::ZERO);
    }
    if !alerting.budget_left.is_empty() {
        add(BUDGET_LEFT_ALERT, String::new(), Duration::ZERO);
    }
    if alerting.exhaustion_within.is_some() {
        add(EXHAUSTION_ALERT, String::new(), Duration::ZERO);
    }
    for policy in &alerting.policies {
        let hold = Duration::from_secs(policy.alert_after_seconds.unsigned_abs());
        add(POLICY_ALERT, format!(",alert_policy={:?}", policy.name), hold);
    }
    (!rules.is_empty()).then(|| Group {
        file: slo.defined_at.0.clone(),
        name: format!("slo:{}", slo.name),
        interval: Some(INTERVAL.min(evaluation_interval)),
        query_offset: None,
        limit: 0,
        rules,
    })
}

fn rule(slo: &SloDefinition, name: &str, filter: &str, hold: Duration) -> Rule {
    let annotations = ["summary", "description", "runbook_url"];
    let mut annotations: BTreeMap<String, String> =
        annotations.into_iter().map(|name| (name.to_owned(), format!("{ANNOTATION}{name}"))).collect();
    if slo.runbook_url.is_none() {
        annotations.remove("runbook_url");
    }
    Rule {
        kind: RuleKind::Alerting,
        name: name.to_owned(),
        query: RuleQuery::PromQl(format!("{SLO_ALERT}{{alertname={name:?},slo={:?}{filter}}}", slo.name)),
        inputs: None,
        hold,
        keep_firing_for: Duration::ZERO,
        labels: BTreeMap::new(),
        annotations,
        // What is not measured is held by the SLO itself.
        no_data: Some(NoData::Resolve),
        no_data_for: None,
        line: slo.defined_at.1,
    }
}

/// Go's templates, and the texts of SLOs.
#[derive(Debug)]
pub(crate) struct SloTemplates {
    templates: GoTemplates,
    slos: Slos,
}

impl SloTemplates {
    pub(super) fn new(slos: Slos) -> Self {
        Self { templates: GoTemplates::default(), slos }
    }

    /// What the SLO says of the alert with these labels.
    fn annotation(&self, name: &str, data: &TemplateData<'_>) -> Option<String> {
        let labels: BTreeMap<String, String> = data
            .labels
            .iter()
            .filter(|label| &*label.name != trivium_promql::METRIC_NAME)
            .map(|label| (label.name.to_string(), label.value.to_string()))
            .collect();
        let reports = self.slos.alerts().into_iter().flat_map(|(_, report)| report.active);
        reports.into_iter().find(|alert| alert.labels == labels)?.annotations.get(name).cloned()
    }
}

impl TemplateCheck for SloTemplates {
    fn check(&self, text: &str) -> Result<(), String> {
        self.templates.check(text)
    }
}

impl Templates for SloTemplates {
    fn expand(&self, text: &str, data: &TemplateData<'_>, query: QueryFn<'_>) -> Result<String, String> {
        match text.strip_prefix(ANNOTATION) {
            Some(name) => Ok(self.annotation(name, data).unwrap_or_default()),
            None => self.templates.expand(text, data, query),
        }
    }
}
