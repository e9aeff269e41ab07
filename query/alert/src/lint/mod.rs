//! What is allowed in rules and yet a mistake.

mod expr;
mod template;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use trivium_model::TenantId;
use trivium_promql::ast::Expr;
use trivium_promql::{ParseOptions, Value, parse};

use crate::file::{Group, Rule, RuleKind, RuleQuery, RuleSet};
use crate::inputs::vector_selectors;
use crate::seam::Querier;

/// Selectors that are asked for in one run.
const MAX_SELECTORS: usize = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// May be meant.
    Warning,
    /// Cannot be meant.
    Error,
}

/// Something odd about a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The check that found it, such as `missing-severity`.
    pub check: &'static str,
    /// Where the rule stands.
    pub file: String,
    /// The line of the rule.
    pub line: u64,
    /// Its group.
    pub group: String,
    /// Its name.
    pub rule: String,
    /// What was found and what to do.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = if self.level == Level::Error { "error" } else { "warning" };
        let Self { file, line, rule, message, check, .. } = self;
        write!(f, "{file}:{line}: {level}: {rule}: {message} [{check}]")
    }
}

/// What the checks take for granted.
#[derive(Clone, Copy, Debug)]
pub struct LintOptions {
    /// How often samples come: a rate needs two of them.
    pub scrape_interval: Duration,
    /// How often groups without interval are evaluated.
    pub evaluation_interval: Duration,
}

impl Default for LintOptions {
    fn default() -> Self {
        Self { scrape_interval: Duration::from_secs(60), evaluation_interval: Duration::from_secs(60) }
    }
}

/// Checks rules by what is written in them.
pub fn lint(rules: &RuleSet, options: &LintOptions) -> Vec<Finding> {
    let mut linter = Linter { options, recorded: recorded(rules, options), findings: Vec::new() };
    linter.duplicates(rules);
    for group in &rules.groups {
        group.rules.iter().for_each(|rule| linter.rule(group, rule));
    }
    linter.findings
}

/// Tells which selectors match no series at a time.
pub async fn lint_selectors(
    rules: &RuleSet,
    querier: &Arc<dyn Querier>,
    tenant: TenantId,
    at_ms: i64,
) -> Result<Vec<Finding>, String> {
    let recorded = recorded(rules, &LintOptions::default());
    let (mut findings, mut known) = (Vec::new(), HashMap::new());
    for group in &rules.groups {
        for rule in &group.rules {
            let Some(expr) = promql(rule) else { continue };
            for selector in plain_selectors(&expr, &recorded) {
                if !known.contains_key(&selector) {
                    if known.len() >= MAX_SELECTORS {
                        return Err(format!("the rules have more than {MAX_SELECTORS} different selectors"));
                    }
                    let answer = querier.promql(tenant, &format!("count({selector})"), at_ms).await?;
                    known.insert(selector.clone(), matches!(answer, Value::Vector(samples) if samples.is_empty()));
                }
                if known.get(&selector) == Some(&true) {
                    let message = format!("{selector} matches no series now; is the name or a label wrong?");
                    findings.push(finding(Level::Warning, "selector-matches-nothing", group, rule, message));
                }
            }
        }
    }
    Ok(findings)
}

/// Names that rules record, with how often they do.
fn recorded(rules: &RuleSet, options: &LintOptions) -> HashMap<String, Duration> {
    let of_group = |group: &Group| {
        let interval = group.interval.unwrap_or(options.evaluation_interval);
        let names = group.rules.iter().filter(|rule| rule.kind == RuleKind::Recording).map(|rule| rule.name.clone());
        names.map(move |name| (name, interval)).collect::<Vec<_>>()
    };
    rules.groups.iter().flat_map(of_group).collect()
}

fn promql(rule: &Rule) -> Option<Expr> {
    match &rule.query {
        RuleQuery::PromQl(text) => parse(text, &ParseOptions::EXPERIMENTAL).ok(),
        RuleQuery::Sql(_) | RuleQuery::Logs(_) => None,
    }
}

/// The selectors of what is stored, without their ranges and offsets.
fn plain_selectors(expr: &Expr, recorded: &HashMap<String, Duration>) -> Vec<String> {
    let mut selectors = HashSet::new();
    for (expr, selector) in vector_selectors(expr) {
        let name = selector.matchers.iter().find(|matcher| matcher.name == "__name__");
        let is_of_rules = name.is_some_and(|name| {
            recorded.contains_key(&name.value) || matches!(name.value.as_str(), "ALERTS" | "ALERTS_FOR_STATE")
        });
        if !is_of_rules {
            selectors.insert(expr::plain(expr, selector).to_string());
        }
    }
    let mut selectors: Vec<String> = selectors.into_iter().collect();
    selectors.sort_unstable();
    selectors
}

fn finding(level: Level, check: &'static str, group: &Group, rule: &Rule, message: impl Into<String>) -> Finding {
    Finding {
        level,
        check,
        file: group.file.clone(),
        line: rule.line,
        group: group.name.clone(),
        rule: rule.name.clone(),
        message: message.into(),
    }
}

struct Linter<'a> {
    options: &'a LintOptions,
    recorded: HashMap<String, Duration>,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn add(&mut self, level: Level, check: &'static str, group: &Group, rule: &Rule, message: impl Into<String>) {
        self.findings.push(finding(level, check, group, rule, message));
    }

    fn duplicates(&mut self, rules: &RuleSet) {
        let mut seen = HashMap::new();
        for group in &rules.groups {
            for rule in &group.rules {
                let key = (rule.kind == RuleKind::Recording, &rule.name, &rule.labels);
                let place = format!("{}:{}", group.file, rule.line);
                if let Some(first) = seen.insert(key, place) {
                    let message = format!("another rule of this name has the same labels, at {first}; name them apart");
                    self.add(Level::Warning, "duplicate-rule", group, rule, message);
                }
            }
        }
    }

    fn rule(&mut self, group: &Group, rule: &Rule) {
        let expr = promql(rule);
        if let Some(expr) = &expr {
            let recorded = &self.recorded;
            let interval_of = |name: &str| recorded.get(name).copied().unwrap_or(self.options.scrape_interval);
            for (check, message) in expr::rates(expr, &interval_of) {
                self.add(Level::Warning, check, group, rule, message);
            }
            if let Some(message) = expr::impossible_factor(expr) {
                self.add(Level::Error, "impossible-burn-factor", group, rule, message);
            }
        }
        match rule.kind {
            RuleKind::Recording => self.recording(group, rule),
            RuleKind::Alerting => self.alerting(group, rule, expr.as_ref()),
        }
    }

    fn recording(&mut self, group: &Group, rule: &Rule) {
        for (name, text) in rule.labels.iter().filter(|(_, text)| text.contains("{{")) {
            let message = format!("label {name} is {text:?}, but templates are not expanded in recording rules");
            self.add(Level::Error, "unparsed-template", group, rule, message);
        }
    }

    fn alerting(&mut self, group: &Group, rule: &Rule, expr: Option<&Expr>) {
        const WANTED: [(&str, &str, &str); 3] = [
            ("summary", "missing-summary", "who is woken by it must see in one line what is wrong"),
            ("description", "missing-description", "say what is hurt, since when, and how badly"),
            ("runbook_url", "missing-runbook", "say where it stands what to do"),
        ];
        for (annotation, check, why) in WANTED {
            if rule.annotations.get(annotation).is_none_or(|text| text.trim().is_empty()) {
                self.add(Level::Warning, check, group, rule, format!("no annotation {annotation}: {why}"));
            }
        }
        if !rule.labels.contains_key("severity") {
            let message = "no label severity: nobody can tell whether it is worth waking up for";
            self.add(Level::Warning, "missing-severity", group, rule, message);
        }
        if rule.hold.is_zero() && expr.is_some_and(expr::has_threshold) {
            let message = "no `for`: a single sample over the threshold is enough to fire";
            self.add(Level::Warning, "missing-for", group, rule, message);
        }
        let labels = expr.map(expr::labels);
        let texts = rule.annotations.iter().map(|(name, text)| ("annotation", name, text));
        for (what, name, text) in texts.chain(rule.labels.iter().map(|(name, text)| ("label", name, text))) {
            if let Some(found) = template::outside_of_action(text) {
                let message = format!("{what} {name} has {found} outside of {{{{ }}}}, where it is plain text");
                self.add(Level::Warning, "unparsed-template", group, rule, message);
            }
            for label in template::labels_used(text) {
                if labels.as_ref().is_some_and(|labels| labels.lacks(&label)) {
                    let message = format!("{what} {name} uses label {label}, which the expression does not keep");
                    self.add(Level::Error, "template-label-missing", group, rule, message);
                }
            }
        }
    }
}
