//! promtool's file format.

use std::collections::HashSet;
use std::time::Duration;

use chrono::DateTime;
use serde::{Deserialize, Deserializer, de};
use trivium_promql::Labels;
use trivium_promql::script::{Command, LoadedLine, Point, Script};

use super::Pairs;
use super::compare::{AlertView, Sample, SampleContent};
use crate::duration::{millis, parse_duration};

/// About the year 5138: far from where times overflow.
const MAX_SECONDS: u64 = 100_000_000_000;

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// A time as RFC 3339 or in seconds since 1970.
fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return Ok(time.timestamp_millis());
    }
    let seconds = text.parse().ok().filter(|seconds: &i64| seconds.unsigned_abs() < MAX_SECONDS);
    let wrong = || de::Error::custom(format!("{text:?} is neither a time as RFC 3339 nor seconds since 1970"));
    seconds.map(|seconds| seconds * 1000).ok_or_else(wrong)
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    #[serde(default)]
    pub(super) rule_files: Vec<String>,
    #[serde(default = "one_minute", deserialize_with = "duration")]
    pub(super) evaluation_interval: Duration,
    #[serde(default)]
    pub(super) group_eval_order: Vec<String>,
    #[serde(default)]
    pub(super) fuzzy_compare: bool,
    #[serde(default)]
    pub(super) tests: Vec<TestGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestGroup {
    #[serde(default, deserialize_with = "some_duration")]
    pub(super) interval: Option<Duration>,
    /// The time that all others of the test are counted from.
    #[serde(default, rename = "start_timestamp", deserialize_with = "timestamp")]
    pub(super) start_ms: i64,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) input_series: Vec<InputSeries>,
    #[serde(default)]
    pub(super) alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    pub(super) promql_expr_test: Vec<ExprTest>,
    #[serde(default)]
    pub(super) external_labels: Pairs,
    #[serde(default)]
    pub(super) external_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSeries {
    series: String,
    values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertTest {
    #[serde(deserialize_with = "duration")]
    pub(super) eval_time: Duration,
    #[serde(default)]
    pub(super) alertname: String,
    #[serde(default)]
    pub(super) exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedAlert {
    #[serde(default)]
    exp_labels: Option<Pairs>,
    #[serde(default)]
    exp_annotations: Option<Pairs>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExprTest {
    pub(super) expr: String,
    #[serde(deserialize_with = "duration")]
    pub(super) eval_time: Duration,
    #[serde(default)]
    exp_samples: Option<Vec<ExpectedSample>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedSample {
    #[serde(default)]
    labels: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    histogram: Option<String>,
}

impl TestFile {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let options = serde_saphyr::options! { with_snippet: false };
        let file: Self = serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
        if file.evaluation_interval.is_zero() {
            return Err("evaluation_interval must be greater than 0".to_owned());
        }
        let mut names = HashSet::new();
        if let Some(name) = file.group_eval_order.iter().find(|name| !names.insert(*name)) {
            return Err(format!("group name repeated in evaluation order: {name}"));
        }
        for test in file.tests.iter().flat_map(|test| &test.alert_rule_test) {
            if test.alertname.is_empty() {
                let message = "an item under alert_rule_test misses required attribute alertname at eval_time";
                return Err(format!("{message} {}", crate::duration::format_duration(test.eval_time)));
            }
        }
        Ok(file)
    }
}

impl TestGroup {
    /// The last time that is looked at.
    pub(super) fn end_ms(&self) -> i64 {
        let alerts = self.alert_rule_test.iter().map(|test| test.eval_time);
        let times = alerts.chain(self.promql_expr_test.iter().map(|test| test.eval_time));
        times.max().map_or(0, millis)
    }

    /// The series with their points.
    pub(super) fn lines(&self) -> Result<Vec<LoadedLine>, String> {
        let lines = self.input_series.iter().map(|input| line(&input.series, &input.values));
        lines.collect()
    }
}

/// A series as a line of a script, which has the same language.
fn line(series: &str, values: &str) -> Result<LoadedLine, String> {
    let [series, values] = [series, values].map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let script = Script::parse(&format!("load 1m\n{series} {values}\n"));
    let script = script.map_err(|error| format!("series {series:?}: {}", error.message))?;
    match script.commands.into_iter().next() {
        Some(Command::Load(mut load)) if load.series.len() == 1 => Ok(load.series.remove(0)),
        _ => Err(format!("series {series:?} is none")),
    }
}

impl ExpectedAlert {
    pub(super) fn view(&self, alertname: &str) -> AlertView {
        let mut labels = self.exp_labels.clone().unwrap_or_default();
        labels.insert("alertname".to_owned(), alertname.to_owned());
        // An empty value is no label.
        labels.retain(|_, value| !value.is_empty());
        AlertView { labels, annotations: self.exp_annotations.clone().unwrap_or_default() }
    }
}

impl ExprTest {
    pub(super) fn samples(&self) -> Result<Vec<Sample>, String> {
        self.exp_samples.iter().flatten().map(ExpectedSample::sample).collect()
    }
}

impl ExpectedSample {
    fn sample(&self) -> Result<Sample, String> {
        let labels = match self.labels.trim() {
            "" => Labels::default(),
            text => line(text, "0").map_err(|error| format!("labels {text:?}: {error}"))?.labels,
        };
        let content = match (&self.histogram, &self.value) {
            (Some(text), _) => match line("x", text)?.points.into_iter().next() {
                Some(Some(Point::Histogram { histogram, .. })) => SampleContent::Histogram(histogram),
                _ => return Err(format!("{text:?} is no histogram")),
            },
            (None, Some(text)) => SampleContent::Float(float(text)?),
            (None, None) => SampleContent::Float(0.0),
        };
        Ok(Sample { labels, content })
    }
}

/// A number as YAML or Prometheus writes it.
fn float(text: &str) -> Result<f64, String> {
    let plain = text.trim().to_ascii_lowercase().replace('_', "");
    let plain = plain.replace(".inf", "inf").replace(".nan", "nan");
    plain.parse().map_err(|_| format!("value {text:?} is no number"))
}
