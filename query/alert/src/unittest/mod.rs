//! Unit tests of rules in promtool's file format, run by the state machine that evaluates them for real.
//!
//! As in promtool all groups are evaluated every `evaluation_interval` from time 0 on, and missing data resolve alerts
//! unless a rule says otherwise. Rules of `type: sql | logs` have no rows.

mod compare;
mod file;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use trivium_model::{ManualClock, MemoryStateStore, UnixNanos};

use crate::alert::{AlertState, to_map};
use crate::duration::{format_duration, millis};
use crate::file::{Group, NoData, RuleFileError, RuleSet};
use crate::runner::{Deps, Options, Runner, StatusCell, unknown};
use crate::seam::{Querier, Sink};
use crate::template::Templates;
use compare::{AlertView, Sample, show_alerts, show_samples};
use file::{AlertTest, ExprTest, TestFile, TestGroup};
use source::{Silent, TestSource};

/// Evaluations of one group of tests.
const MAX_EVALUATIONS: i64 = 1_000_000;

/// What came of a file of tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitTestReport {
    /// One for each group of tests.
    pub tests: Vec<UnitTestOutcome>,
    /// What is odd but no failure.
    pub warnings: Vec<String>,
}

impl UnitTestReport {
    /// Whether all tests passed.
    pub fn passed(&self) -> bool {
        self.tests.iter().all(|test| test.failures.is_empty())
    }
}

/// What came of one group of tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitTestOutcome {
    /// Its name, or its number from 1.
    pub name: String,
    /// What is not as expected, with what was expected and what was there.
    pub failures: Vec<String>,
}

/// Why tests cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitTestError {
    /// The file of tests is wrong.
    #[error("{0}")]
    File(String),
    /// The rules are wrong.
    #[error(transparent)]
    Rules(#[from] RuleFileError),
}

/// Runs the tests of a file. `rules` reads the rule files that it names, relative to where it is.
pub async fn unit_test(
    text: &str,
    templates: Arc<dyn Templates>,
    rules: &(dyn Fn(&[String]) -> Result<RuleSet, RuleFileError> + Sync),
) -> Result<UnitTestReport, UnitTestError> {
    let file = TestFile::parse(text).map_err(UnitTestError::File)?;
    let mut rules = rules(&file.rule_files)?;
    let order = |group: &Group| file.group_eval_order.iter().position(|name| *name == group.name).unwrap_or(0);
    rules.groups.sort_by_key(order);
    let mut report = UnitTestReport { tests: Vec::new(), warnings: Vec::new() };
    if rules.groups.is_empty() {
        report.warnings.push(format!("no rules in {}", file.rule_files.join(", ")));
    }
    for (index, test) in file.tests.iter().enumerate() {
        let name = if test.name.is_empty() { format!("{}", index + 1) } else { test.name.clone() };
        let failures = run(&file, test, &rules, &templates).await.unwrap_or_else(|error| vec![error]);
        report.tests.push(UnitTestOutcome { name, failures });
    }
    Ok(report)
}

/// Runs the tests of a file on disk; paths of rule files are relative to it.
pub async fn unit_test_file(path: &str, templates: Arc<dyn Templates>) -> Result<UnitTestReport, UnitTestError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| UnitTestError::File(format!("{path} cannot be read: {error}")))?;
    let folder = path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let checks = Arc::clone(&templates);
    let rules = move |patterns: &[String]| {
        let beside = |pattern: &String| match &folder {
            Some(folder) if !pattern.starts_with('/') => format!("{folder}/{pattern}"),
            _ => pattern.clone(),
        };
        let patterns: Vec<String> = patterns.iter().map(beside).collect();
        RuleSet::load(&patterns, &*checks)
    };
    unit_test(&text, templates, &rules).await
}

/// Rules under test.
struct Bench {
    start_ms: i64,
    source: Arc<TestSource>,
    runners: Vec<(Runner, StatusCell)>,
    fuzzy: bool,
}

async fn run(
    file: &TestFile,
    test: &TestGroup,
    rules: &RuleSet,
    templates: &Arc<dyn Templates>,
) -> Result<Vec<String>, String> {
    let interval_ms = millis(file.evaluation_interval).max(1);
    let end_ms = test.end_ms();
    if end_ms / interval_ms > MAX_EVALUATIONS {
        return Err(format!("the test needs more than {MAX_EVALUATIONS} evaluations"));
    }
    let source = Arc::new(TestSource::new(test, file.evaluation_interval)?);
    let options = Options {
        evaluation_interval: file.evaluation_interval,
        no_data: NoData::Resolve,
        external_labels: test.external_labels.clone(),
        external_url: test.external_url.clone(),
        ..Options::default()
    };
    let mut bench = Bench { start_ms: test.start_ms, runners: Vec::new(), fuzzy: file.fuzzy_compare, source };
    bench.load(rules, options, templates).await?;
    let mut failures = Vec::new();
    let mut alert_tests: Vec<&AlertTest> = test.alert_rule_test.iter().collect();
    alert_tests.sort_by_key(|test| test.eval_time);
    let mut alert_tests = alert_tests.into_iter().peekable();
    let mut ts = 0;
    while ts <= end_ms {
        let errors = bench.evaluate(ts).await;
        if !errors.is_empty() {
            failures.extend(errors);
            return Ok(failures);
        }
        // A test looks at the evaluation at or before its time.
        while let Some(alert_test) = alert_tests.next_if(|test| millis(test.eval_time) < ts + interval_ms) {
            failures.extend(bench.check_alerts(test, alert_test));
        }
        ts += interval_ms;
    }
    for expr_test in &test.promql_expr_test {
        failures.extend(bench.check_expr(expr_test).await);
    }
    Ok(failures)
}

impl Bench {
    async fn load(&mut self, rules: &RuleSet, options: Options, templates: &Arc<dyn Templates>) -> Result<(), String> {
        let options = Arc::new(options);
        for group in &rules.groups {
            // Every group is evaluated at the same times, whatever its interval.
            let group = Arc::new(Group { interval: None, ..group.clone() });
            let deps = Deps {
                querier: Arc::clone(&self.source) as Arc<dyn Querier>,
                sink: Arc::clone(&self.source) as Arc<dyn Sink>,
                store: Arc::new(MemoryStateStore::default()),
                notifier: Arc::new(Silent),
                templates: Arc::clone(templates),
                clock: Arc::new(ManualClock::new(UnixNanos(0))),
            };
            let cell = unknown(&group, &options);
            let runner = Runner::load(deps, Arc::clone(&options), group, Arc::clone(&cell)).await;
            self.runners.push((runner.map_err(|error| error.to_string())?.forgetful(), cell));
        }
        Ok(())
    }

    /// Evaluates all groups; the errors of their rules.
    async fn evaluate(&mut self, ts: i64) -> Vec<String> {
        let mut errors = Vec::new();
        for (runner, cell) in &mut self.runners {
            if runner.evaluate(self.start_ms.saturating_add(ts), None).await.is_err() {
                errors.push("the state of the test is lost".to_owned());
            }
            let status = Arc::clone(&cell.lock().unwrap_or_else(PoisonError::into_inner));
            for (rule, state) in status.group.rules.iter().zip(&status.rules) {
                if let Some(error) = &state.last_error {
                    let time = format_duration(duration(ts));
                    errors.push(format!("    rule: {}, time: {time}, err: {error}", rule.name));
                }
            }
        }
        errors
    }

    fn check_alerts(&self, group: &TestGroup, test: &AlertTest) -> Option<String> {
        let mut expected: Vec<AlertView> = test.exp_alerts.iter().map(|alert| alert.view(&test.alertname)).collect();
        let mut found = Vec::new();
        for (_, cell) in &self.runners {
            let status = Arc::clone(&cell.lock().unwrap_or_else(PoisonError::into_inner));
            let named = status.group.rules.iter().zip(&status.rules).filter(|(rule, _)| rule.name == test.alertname);
            for alert in named.flat_map(|(_, state)| state.alerts.iter()) {
                if alert.state == AlertState::Firing {
                    found.push(AlertView { labels: to_map(&alert.labels), annotations: alert.annotations.clone() });
                }
            }
        }
        expected.sort();
        found.sort();
        if expected == found {
            return None;
        }
        let name = if group.name.is_empty() { String::new() } else { format!("    name: {},\n", group.name) };
        let (alert, time) = (&test.alertname, format_duration(test.eval_time));
        let (expected, found) = (show_alerts(&expected), show_alerts(&found));
        Some(format!("{name}    alertname: {alert}, time: {time}, \n        exp:{expected}, \n        got:{found}"))
    }

    async fn check_expr(&self, test: &ExprTest) -> Option<String> {
        let (expr, time) = (&test.expr, format_duration(test.eval_time));
        let failed = |what: String| Some(format!("    expr: {expr:?}, time: {time}, {what}"));
        let mut expected = match test.samples() {
            Ok(expected) => expected,
            Err(error) => return failed(format!("err: {error}")),
        };
        let mut found = match self.source.vector(expr, self.start_ms.saturating_add(millis(test.eval_time))) {
            Ok(found) => found.into_iter().map(Sample::from).collect::<Vec<_>>(),
            Err(error) => return failed(format!("err: {error}")),
        };
        expected.sort_by(|left, right| left.labels.cmp(&right.labels));
        found.sort_by(|left, right| left.labels.cmp(&right.labels));
        let is_equal = expected.len() == found.len()
            && expected.iter().zip(&found).all(|(expected, found)| expected.is(found, self.fuzzy));
        if is_equal {
            return None;
        }
        failed(format!("\n        exp: {}\n        got: {}", show_samples(&expected), show_samples(&found)))
    }
}

fn duration(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Labels or annotations as they are written in a file.
type Pairs = BTreeMap<String, String>;
