//! The alerts of an SLO, evaluated on its slices. Whether they fire is up to the state machine of rules.

use std::time::Duration;

use serde::Serialize;

use crate::budget::{Burn, COVERAGE_FLOOR, Reading, lower_bound};
use crate::definition::{AlertPolicy, BudgetingMethod, BurnPair, Comparison, Labels, Severity, SloDefinition};
use crate::duration::{HOUR, render, render_window};
use crate::querier::Group;
use crate::slice::Timeline;

/// The alert of a pair of windows.
pub const BURN_RATE_ALERT: &str = "SloBurnRate";

/// The alert of a share of the budget that is left.
pub const BUDGET_LEFT_ALERT: &str = "SloBudgetLeft";

/// The alert of a budget that will be used up soon.
pub const EXHAUSTION_ALERT: &str = "SloBudgetExhaustion";

/// The alert of an OpenSLO alert policy.
pub const POLICY_ALERT: &str = "SloAlertPolicy";

/// The burn rate of this window predicts exhaustion.
const EXHAUSTION_BURN_SECONDS: i64 = 6 * HOUR;

/// What all alerts of an SLO say at one time. Series of labels that are in neither list are inactive.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlertReport {
    /// Until when slices were complete, seconds since 1970.
    pub at: i64,
    /// The conditions that hold.
    pub active: Vec<ActiveAlert>,
    /// The alerts that keep whatever state they are in, because too little is known.
    pub held: Vec<HeldAlert>,
}

/// A condition that holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActiveAlert {
    /// Its labels, with `alertname`.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// The number that the condition is about: a burn rate, or the share of the budget that is left.
    pub value: f64,
    /// How long it must hold before it fires.
    #[serde(skip)]
    pub hold: Duration,
    /// Whether its end is worth a notification.
    pub notify_resolved: bool,
}

/// An alert that neither fires nor resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldAlert {
    /// Its labels, with `alertname`.
    pub labels: Labels,
    /// Why.
    pub reason: String,
}

enum Verdict {
    Active { value: f64, annotations: Labels },
    Inactive,
    Held(String),
}

/// Evaluates all alerts of an SLO. `stale` says why nothing can be concluded at all.
pub(crate) fn evaluate(slo: &SloDefinition, timeline: &Timeline, stale: Option<&str>) -> AlertReport {
    let mut report = AlertReport { at: timeline.end_seconds(), ..AlertReport::default() };
    let groups: Vec<Option<&Group>> =
        if slo.group_by.is_empty() { vec![None] } else { timeline.groups().map(Some).collect() };
    for group in groups {
        Evaluation { slo, reading: Reading::latest(slo, timeline, group), group, stale, report: &mut report }.run();
    }
    report
}

struct Evaluation<'a> {
    slo: &'a SloDefinition,
    reading: Reading<'a>,
    group: Option<&'a Group>,
    stale: Option<&'a str>,
    report: &'a mut AlertReport,
}

impl Evaluation<'_> {
    fn run(&mut self) {
        let slo = self.slo;
        for pair in &slo.alerting.pairs {
            let verdict = self.stale().unwrap_or_else(|| self.pair(pair));
            self.tell(pair_labels(slo, self.group, pair), verdict, Duration::ZERO, true);
        }
        for left in &slo.alerting.budget_left {
            let verdict = self.stale().unwrap_or_else(|| self.budget_left(*left));
            let mut labels = labels_of(slo, self.group, BUDGET_LEFT_ALERT, Severity::Ticket);
            labels.insert("budget_left_percent".to_owned(), left.to_string());
            self.tell(labels, verdict, Duration::ZERO, true);
        }
        if let Some(within) = slo.alerting.exhaustion_within {
            let verdict = self.stale().unwrap_or_else(|| self.exhaustion(within));
            let mut labels = labels_of(slo, self.group, EXHAUSTION_ALERT, Severity::Ticket);
            labels.insert("exhaustion".to_owned(), render_window(within));
            self.tell(labels, verdict, Duration::ZERO, true);
        }
        for policy in &slo.alerting.policies {
            let verdict = self.policy(policy);
            let hold = Duration::from_secs(policy.alert_after_seconds.unsigned_abs());
            self.tell(policy_labels(slo, self.group, policy), verdict, hold, policy.when_resolved);
        }
    }

    fn tell(&mut self, labels: Labels, verdict: Verdict, hold: Duration, notify_resolved: bool) {
        match verdict {
            Verdict::Active { value, mut annotations } => {
                if let Some(runbook) = &self.slo.runbook_url {
                    annotations.insert("runbook_url".to_owned(), runbook.clone());
                }
                self.report.active.push(ActiveAlert { labels, annotations, value, hold, notify_resolved });
            }
            Verdict::Held(reason) => self.report.held.push(HeldAlert { labels, reason }),
            Verdict::Inactive => {}
        }
    }

    /// Slices that ended long ago say nothing of now.
    fn stale(&self) -> Option<Verdict> {
        self.stale.map(|reason| Verdict::Held(reason.to_owned()))
    }

    fn pair(&self, pair: &BurnPair) -> Verdict {
        let (long, short) = (self.reading.burn(pair.long_seconds), self.reading.burn(pair.short_seconds));
        let (Some(long_rate), Some(short_rate)) = (long.rate, short.rate) else {
            return Verdict::Held(no_data(if long.rate.is_none() { &long } else { &short }));
        };
        if long_rate <= pair.factor || short_rate <= pair.factor || !self.is_enough(&long) {
            return Verdict::Inactive;
        }
        let summary = format!("{} burns its error budget {} times as fast as allowed", self.name(), number(long_rate));
        let description = format!("{} {}", self.numbers(&long, &short), self.outlook(pair.long_seconds));
        Verdict::Active { value: long_rate, annotations: annotations(summary, description) }
    }

    /// The low-traffic guard.
    fn is_enough(&self, long: &Burn) -> bool {
        let alerting = &self.slo.alerting;
        if long.bad < alerting.min_bad_events || long.total < alerting.min_total {
            return false;
        }
        self.slo.method != BudgetingMethod::Occurrences || lower_bound(long.bad) > long.total * self.slo.budget_ratio()
    }

    fn budget_left(&self, percent: f64) -> Verdict {
        let budget = self.reading.budget();
        if budget.coverage < COVERAGE_FLOOR && budget.start < self.reading.now() {
            return Verdict::Held(format!("only {} of the window was measured", share(budget.coverage)));
        }
        if budget.left_share * 100.0 > percent {
            return Verdict::Inactive;
        }
        let summary = match budget.left_share {
            left if left <= 0.0 => format!("the error budget of {} is {}", self.name(), spent(left)),
            left => format!("{} has {} of its error budget left", self.name(), share(left)),
        };
        let description = format!(
            "{} of {} {} in the window of {} were bad; {} are allowed.",
            number(budget.bad),
            number(budget.total),
            self.unit(),
            self.slo.window.period(),
            number(budget.budget_events),
        );
        Verdict::Active { value: budget.left_share, annotations: annotations(summary, description) }
    }

    fn exhaustion(&self, within: i64) -> Verdict {
        let burn = self.reading.burn(EXHAUSTION_BURN_SECONDS);
        let Some(rate) = burn.rate else { return Verdict::Held(no_data(&burn)) };
        let budget = self.reading.budget();
        // A budget that is gone already is the matter of the alert on what is left.
        let left = self.reading.exhaustion_seconds(EXHAUSTION_BURN_SECONDS).filter(|_| budget.left_share > 0.0);
        let ends_before = self.slo.window.is_calendar().then_some((budget.end - self.reading.now()) as f64);
        let is_soon = |left: f64| left <= within as f64 && ends_before.is_none_or(|end| left < end);
        let Some(left) = left.filter(|left| rate > 1.0 && is_soon(*left) && self.is_enough(&burn)) else {
            return Verdict::Inactive;
        };
        let summary = format!("the error budget of {} is used up in {}", self.name(), render(left));
        let description = format!(
            "{} of the budget is left, and in the last {} it burned {} times as fast as allowed.",
            share(budget.left_share),
            render_window(EXHAUSTION_BURN_SECONDS),
            number(rate),
        );
        Verdict::Active { value: rate, annotations: annotations(summary, description) }
    }

    fn policy(&self, policy: &AlertPolicy) -> Verdict {
        let burn = self.reading.burn(policy.lookback_seconds);
        let window = render_window(policy.lookback_seconds);
        let (value, summary, description) = match burn.rate.filter(|_| self.stale.is_none()) {
            None if let Some(reason) = self.stale.filter(|_| policy.when_no_data) => {
                (0.0, format!("{} has no data", self.name()), format!("The {reason}."))
            }
            None if self.stale.is_some() => return self.stale().unwrap_or(Verdict::Inactive),
            None if policy.when_no_data => {
                let summary = format!("{} has no data", self.name());
                (0.0, summary, format!("Only {} of the last {window} was measured.", share(burn.coverage)))
            }
            None => return Verdict::Held(no_data(&burn)),
            Some(rate) if policy.when_breaching && policy.op.holds(rate, policy.threshold) => {
                let summary =
                    format!("{} burns its error budget at {} times the allowed rate", self.name(), number(rate));
                let sign = match policy.op {
                    Comparison::Lte => "at most",
                    Comparison::Lt => "less than",
                    Comparison::Gte => "at least",
                    Comparison::Gt => "more than",
                };
                let threshold = number(policy.threshold);
                let description = format!(
                    "In the last {window} {} of {} {} were bad; the policy {} alerts at {sign} {threshold}. {}",
                    number(burn.bad),
                    number(burn.total),
                    self.unit(),
                    policy.name,
                    self.outlook(policy.lookback_seconds),
                );
                (rate, summary, description)
            }
            Some(_) => return Verdict::Inactive,
        };
        let mut annotations = annotations(summary, description);
        if !policy.targets.is_empty() {
            annotations.insert("notification_targets".to_owned(), policy.targets.join(","));
        }
        Verdict::Active { value, annotations }
    }

    fn numbers(&self, long: &Burn, short: &Burn) -> String {
        let ratio = |burn: &Burn| share(if burn.total > 0.0 { burn.bad / burn.total } else { 0.0 });
        format!(
            "In the last {} {} of {} {} were bad ({}), in the last {} {}; the objective allows {}.",
            render_window(long.seconds),
            number(long.bad),
            number(long.total),
            self.unit(),
            ratio(long),
            render_window(short.seconds),
            ratio(short),
            share(self.slo.budget_ratio()),
        )
    }

    fn outlook(&self, seconds: i64) -> String {
        let left = self.reading.budget().left_share;
        let period = self.slo.window.period();
        match self.reading.exhaustion_seconds(seconds) {
            _ if left <= 0.0 => format!("The budget of {period} is {}.", spent(left)),
            Some(end) => format!(
                "{} of the budget of {period} is left; at this rate it is used up in {}.",
                share(left),
                render(end)
            ),
            None => format!("{} of the budget of {period} is left.", share(left)),
        }
    }

    fn name(&self) -> String {
        let name = self.slo.display_name.as_ref().unwrap_or(&self.slo.name);
        self.group.map_or_else(|| name.clone(), |group| format!("{name} ({})", group.join(", ")))
    }

    fn unit(&self) -> &'static str {
        if self.slo.method == BudgetingMethod::Occurrences { "events" } else { "slices" }
    }
}

fn no_data(burn: &Burn) -> String {
    format!("only {} of the last {} was measured", share(burn.coverage), render_window(burn.seconds))
}

fn annotations(summary: String, description: String) -> Labels {
    [("summary".to_owned(), summary), ("description".to_owned(), description)].into()
}

/// The labels that every alert of this SLO and severity has.
fn labels_of(slo: &SloDefinition, group: Option<&Group>, alert: &str, severity: Severity) -> Labels {
    let mut labels = slo.labels.clone();
    labels.extend(match severity {
        Severity::Page => slo.alerting.page_labels.clone(),
        Severity::Ticket => slo.alerting.ticket_labels.clone(),
    });
    for (name, value) in slo.group_by.iter().zip(group.iter().flat_map(|group| group.iter())) {
        labels.insert(name.clone(), value.clone());
    }
    let own =
        [("alertname", alert), ("slo", &slo.name), ("slo_service", &slo.service), ("severity", severity.as_str())];
    labels.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    labels
}

pub(crate) fn pair_labels(slo: &SloDefinition, group: Option<&Group>, pair: &BurnPair) -> Labels {
    let mut labels = labels_of(slo, group, BURN_RATE_ALERT, pair.severity);
    let exhaustion = slo.window.period().nominal_seconds() as f64 / pair.factor;
    labels.extend([
        ("long_window".to_owned(), render_window(pair.long_seconds)),
        ("short_window".to_owned(), render_window(pair.short_seconds)),
        ("burn_factor".to_owned(), pair.factor.to_string()),
        ("exhaustion".to_owned(), render(exhaustion)),
    ]);
    labels
}

fn policy_labels(slo: &SloDefinition, group: Option<&Group>, policy: &AlertPolicy) -> Labels {
    let mut labels = labels_of(slo, group, POLICY_ALERT, Severity::Page);
    labels.insert("severity".to_owned(), policy.severity.clone());
    labels.insert("alert_policy".to_owned(), policy.name.clone());
    labels.insert("long_window".to_owned(), render_window(policy.lookback_seconds));
    labels
}

/// A number as people read it: three digits of what is small, thousands apart.
fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return trimmed(value, 2);
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// How a budget is of which nothing is left. What is overdrawn is told as how often it was used: -2350 % of a budget is nothing
/// that anybody could picture.
fn spent(left_share: f64) -> String {
    match number(1.0 - left_share).as_str() {
        "1" => "used up".to_owned(),
        times => format!("used {times} times over"),
    }
}

fn share(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = if percent.abs() < 1.0 { 4 } else { 2 };
    format!("{} %", trimmed(percent, decimals))
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests;
