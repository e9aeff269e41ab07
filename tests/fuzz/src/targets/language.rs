//! Query languages, matchers, templates.

use std::collections::BTreeMap;

use trivium_promql::script::MemorySource;
use trivium_promql::{Engine, EngineOptions, Labels, ParseOptions, Series, parse};
use trivium_template::{Limits, Mode, TemplateSet, Time, Value};

use crate::corpus::separated;

pub(super) const PROMQL_WORDS: &[&str] = &[
    "sum",
    "by",
    "without",
    "rate",
    "(",
    ")",
    "[5m]",
    "[5m:1m]",
    "{",
    "}",
    "offset",
    "@",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "atan2",
    "==",
    "!=",
    "=~",
    "!~",
    ">=",
    "^",
    "%",
    "-",
    "\"",
    "'",
    "`",
    "Inf",
    "NaN",
    "start()",
    "end()",
    "histogram_quantile",
    "label_replace",
    "absent_over_time",
    "1e308",
    "0x",
    ",",
    "$1",
    "#",
    "\\u",
    "keep_metric_names",
    "limitk",
    "info",
    "count_values",
    "h",
    "x",
    "smoothed",
    "anchored",
    "step()",
    "fill",
];

pub(super) const LOG_QUERY_WORDS: &[&str] = &[
    "|",
    "count",
    "count_distinct",
    "rate",
    "avg",
    "sum",
    "min",
    "max",
    "p99",
    "by",
    "over",
    "5m",
    ">",
    ">=",
    "<",
    "==",
    "!=",
    "(",
    ")",
    ",",
    ":",
    "*",
    "/",
    "\"",
    "AND",
    "OR",
    "NOT",
    "TO",
    "[",
    "]",
];

pub(super) const MATCHER_WORDS: &[&str] =
    &["{", "}", "=", "!=", "=~", "!~", ",", "\"", "\\n", "\\", "(", ")*", "[", "]", "."];

pub(super) const TEMPLATE_WORDS: &[&str] = &[
    "{{", "}}", "{{-", "-}}", "if", "else", "end", "range", "with", "define", "template", "block", "break", "continue",
    ".", "$", ":=", "=", "|", "(", ")", "printf", "index", "slice", "len", "eq", "and", "or", "not", "html", "js",
    "call", "nil", "true", "\"%v\"", "%!d", "%*d", "%[1]v", "`", "'", "/*", "*/", "0x1p-2", "1i", ".Labels", ".Value",
    ".List", "\"x\"",
];

pub(super) fn promql_seeds() -> Vec<Vec<u8>> {
    separated(include_str!("../../corpus/promql.txt"))
}

pub(super) fn log_query_seeds() -> Vec<Vec<u8>> {
    separated(include_str!("../../corpus/log_queries.txt"))
}

pub(super) fn matcher_seeds() -> Vec<Vec<u8>> {
    separated(include_str!("../../corpus/matchers.txt"))
}

pub(super) fn template_seeds() -> Vec<Vec<u8>> {
    separated(include_str!("../../corpus/templates.txt"))
}

fn source() -> MemorySource {
    let mut source = MemorySource::default();
    let one = |name: &str, job: &str, factor: f64| Series {
        labels: Labels::new([("__name__", name), ("job", job), ("le", "0.5")]),
        times: (0..30).map(|step| step * 60_000).collect(),
        values: (0..30).map(|step| f64::from(step) * factor).collect(),
        ..Series::default()
    };
    let odd =
        Series { values: vec![f64::NAN, f64::INFINITY, -0.0], times: vec![0, 60_000, 120_000], ..one("x", "odd", 1.0) };
    let series = vec![
        one("x", "a", 1.0),
        one("x", "b", -2.5),
        one("y", "a", 1e300),
        one("up", "api", 0.0),
        one("h_bucket", "a", 3.0),
        odd,
    ];
    source.load(series).unwrap_or_default();
    source
}

/// A query is read, printed, read again as itself, and evaluated at an instant and over a range.
pub(super) fn promql(input: &[u8]) -> Result<bool, String> {
    let text = String::from_utf8_lossy(input);
    for options in [ParseOptions::STABLE, ParseOptions::EXPERIMENTAL] {
        let Ok(expr) = parse(&text, &options) else { continue };
        let printed = expr.to_string();
        let again = parse(&printed, &options).map_err(|error| format!("{printed:?} is printed, but {error}"))?;
        if again.to_string() != printed {
            return Err(format!("{printed:?} reads back as {:?}", again.to_string()));
        }
    }
    let mut options = EngineOptions { parse: ParseOptions::EXPERIMENTAL, ..EngineOptions::default() };
    options.limits.max_samples = 100_000;
    options.limits.max_points = 100;
    let (engine, source) = (Engine::new(options), source());
    let now = engine.instant(&source, &text, 1_740_000);
    let range = engine.range(&source, &text, 0, 1_740_000, 60_000);
    Ok(now.is_ok() || range.is_ok())
}

pub(super) fn log_query(input: &[u8]) -> Result<bool, String> {
    Ok(trivium_alert::LogQuery::parse(&String::from_utf8_lossy(input)).is_ok())
}

/// Matchers are read and printed. They are not read back: names that need quotes and control characters are printed in a form
/// that is not read.
pub(super) fn matchers(input: &[u8]) -> Result<bool, String> {
    let Ok(matchers) = trivium_notify::Matchers::parse(&String::from_utf8_lossy(input)) else { return Ok(false) };
    Ok(!matchers.to_string().is_empty())
}

/// A template is run as text and as HTML on data of every kind.
pub(super) fn template(input: &[u8]) -> Result<bool, String> {
    let text = String::from_utf8_lossy(input);
    let functions =
        trivium_template::functions::alertmanager::functions(Time::from_unix_nanos(1_700_000_000_000_000_000));
    let entry = |name: &str| Value::map(BTreeMap::from([("name".to_owned(), Value::from(name))]));
    let data = Value::map(BTreeMap::from([
        ("Labels".to_owned(), Value::labels([("instance", "a:1"), ("a", "<b>")])),
        ("Value".to_owned(), Value::from(1.5)),
        ("List".to_owned(), Value::list(vec![entry("x"), entry("y")])),
    ]));
    let set = TemplateSet::new(Limits::default());
    let plain = set.expand(&text, Mode::Text, &data, &functions);
    let html = set.expand(&text, Mode::Html, &data, &functions);
    Ok(plain.is_ok() || html.is_ok())
}
