//! Files that people write: rules, notification routes, objectives, scrape configurations.

use std::path::Path;

use trivium_alert::{RuleSet, SourceFile, TemplateCheck, lint};

pub(super) const WORDS: &[&str] = &[
    ":",
    "- ",
    "\n",
    "  ",
    "&a",
    "*a",
    "<<",
    "!!str",
    "|",
    ">",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "#",
    "---",
    "~",
    "null",
    "5m",
    "0s",
    "-1s",
    "1e9",
    "groups",
    "rules",
    "alert",
    "expr",
    "record",
    "for",
    "labels",
    "annotations",
    "interval",
    "route",
    "receiver",
    "matchers",
    "group_by",
    "...",
    "receivers",
    "webhook_configs",
    "url",
    "inhibit_rules",
    "time_intervals",
    "times",
    "weekdays",
    "months",
    "years",
    "days_of_month",
    "location",
    "mute_time_intervals",
    "regex",
    "target_label",
    "relabel_configs",
    "static_configs",
    "targets",
    "apiVersion",
    "kind",
    "spec",
    "objectives",
    "indicator",
    "budgetingMethod",
    "timeWindow",
    "sum(rate(x[5m])) > 1",
    "{{ .Value }}",
];

struct AnyTemplate;

impl TemplateCheck for AnyTemplate {
    fn check(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

pub(super) fn rule_seeds() -> Vec<Vec<u8>> {
    [include_str!("../../../../deploy/demo/rules.yaml"), include_str!("../../corpus/rules.yaml")].map(seed).into()
}

pub(super) fn alertmanager_seeds() -> Vec<Vec<u8>> {
    vec![seed(include_str!("../../corpus/alertmanager.yaml"))]
}

pub(super) fn slo_seeds() -> Vec<Vec<u8>> {
    [include_str!("../../../../deploy/demo/slos.yaml"), include_str!("../../corpus/openslo.yaml")].map(seed).into()
}

pub(super) fn scrape_seeds() -> Vec<Vec<u8>> {
    vec![seed(include_str!("../../corpus/scrape.yaml"))]
}

fn seed(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

pub(super) fn rules(input: &[u8]) -> Result<bool, String> {
    let file = SourceFile { path: "rules.yaml".into(), text: String::from_utf8_lossy(input).into_owned() };
    let Ok(rules) = RuleSet::parse(&[file], &AnyTemplate) else { return Ok(false) };
    lint(&rules, &trivium_alert::LintOptions::default());
    Ok(true)
}

pub(super) fn alertmanager(input: &[u8]) -> Result<bool, String> {
    Ok(trivium_notify::Config::parse(&String::from_utf8_lossy(input), Path::new("/nowhere")).is_ok())
}

pub(super) fn slos(input: &[u8]) -> Result<bool, String> {
    let file = trivium_slo::SourceFile { path: "slo.yaml".into(), text: String::from_utf8_lossy(input).into_owned() };
    Ok(trivium_slo::load(&[file]).is_ok())
}

pub(super) fn scrape(input: &[u8]) -> Result<bool, String> {
    Ok(trivium_scrape::ScrapeConfig::parse(&String::from_utf8_lossy(input), Path::new("/nowhere")).is_ok())
}
