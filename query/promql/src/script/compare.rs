//! Comparing answers with what a script expects.

use std::collections::HashSet;
use std::fmt;

use super::command::{Eval, Expectations, ExpectedSeries, ExpectedValue, Message, Point, When};
use super::target::{Answer, RenderedHistogram, SampleValue, TargetSample, TargetSeries, Value};
use crate::histogram::{Histogram, ResetHint, almost_equal, format_general};
use crate::labels::Labels;
use crate::number::format_float;
use crate::series::is_stale;

/// Relative error allowed for numbers.
const TOLERANCE: f64 = 1e-6;

/// Compares notes and value; an error says what was expected and what came.
pub(super) fn compare(eval: &Eval, answer: &Answer) -> Result<(), String> {
    annotations(&eval.expectations, answer)?;
    value(eval, &answer.value)
}

/// Compares only the value.
pub(super) fn value(eval: &Eval, value: &Value) -> Result<(), String> {
    let expected = &eval.expectations.result;
    match (value, expected) {
        (Value::Scalar(got), ExpectedValue::Scalar(expected)) => numbers("scalar", *expected, *got),
        (Value::String(got), ExpectedValue::String(expected)) if got == expected => Ok(()),
        (Value::String(got), ExpectedValue::String(expected)) => {
            Err(format!("expected the string {expected:?}, got {got:?}"))
        }
        (Value::Vector(got), ExpectedValue::Series(expected)) => vector(expected, got, eval.expectations.ordered),
        (Value::Matrix(got), ExpectedValue::Series(expected)) => match eval.when {
            When::Range { start, end, step } => matrix(expected, got, Steps { start, end, step }),
            When::Instant(_) => Err(format!("expected a vector, got a range of {} series", got.len())),
        },
        (Value::Matrix(got), ExpectedValue::RangeVector { start, end, step, series }) => {
            matrix(series, got, Steps { start: *start, end: *end, step: *step })
        }
        _ => Err(format!("expected {}, got {}", kind_expected(expected), kind(value))),
    }
}

/// Checks the text of a failure.
pub(super) fn failure(expected: &Message, got: &str) -> Result<(), String> {
    if matches(expected, got) {
        return Ok(());
    }
    Err(format!("expected the query to fail with {expected}, got {got:?}"))
}

fn annotations(expectations: &Expectations, answer: &Answer) -> Result<(), String> {
    let Expectations { warnings, infos, some_warning, some_info, no_warnings, no_infos, .. } = expectations;
    messages("warning", warnings, *some_warning, *no_warnings, &answer.warnings)?;
    messages("info", infos, *some_info, *no_infos, &answer.infos)
}

fn messages(kind: &str, expected: &[Message], some: bool, none: bool, got: &[String]) -> Result<(), String> {
    if none && !got.is_empty() {
        return Err(format!("expected no {kind}, got {got:?}"));
    }
    if some && got.is_empty() {
        return Err(format!("expected some {kind}, got none"));
    }
    if let Some(missing) = expected.iter().find(|message| !got.iter().any(|text| matches(message, text))) {
        return Err(format!("expected {kind} {missing}, got {got:?}"));
    }
    let surplus = got.iter().find(|text| !expected.iter().any(|message| matches(message, text)));
    match surplus {
        Some(text) if !expected.is_empty() => Err(format!("expected no other {kind}, got {text:?}")),
        _ => Ok(()),
    }
}

/// Whether a text is as expected, with or without what the HTTP API adds to it: the position in the query, and before
/// that details on repaired buckets.
fn matches(message: &Message, text: &str) -> bool {
    let plain = without_position(text);
    let forms = [text, plain, without_details(plain)];
    match message {
        Message::Any => true,
        Message::Regex(regex) => forms.iter().any(|form| regex.is_match(form)),
        Message::Text(expected) => forms.contains(&expected.as_str()),
    }
}

/// Cuts off `, from buckets 1 to 10, with a max diff of …`.
fn without_details(text: &str) -> &str {
    match text.split_once(", from buckets ") {
        Some((front, details)) if details.contains(", with a max diff of ") => front,
        _ => text,
    }
}

/// Cuts off ` (1:15)`.
fn without_position(text: &str) -> &str {
    let Some((front, position)) = text.rsplit_once(" (") else { return text };
    let is_position =
        position.strip_suffix(')').and_then(|position| position.split_once(':')).is_some_and(|(line, column)| {
            [line, column].iter().all(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
        });
    if is_position { front } else { text }
}

fn vector(expected: &[ExpectedSeries], got: &[TargetSample], ordered: bool) -> Result<(), String> {
    check_series(expected, got.iter().map(|sample| (&sample.labels, sample.value.to_string())))?;
    for (position, sample) in got.iter().enumerate() {
        let place = expected.iter().position(|series| series.labels == sample.labels);
        let Some(place) = place else { continue };
        let name = &sample.labels;
        if ordered && place != position {
            return Err(format!("expected {name} at position {}, got it at {}", place + 1, position + 1));
        }
        match expected[place].points.first() {
            Some(Some(point)) => point_matches(point, &sample.value).map_err(|why| format!("{name}: {why}"))?,
            _ => return Err(format!("{name}: expected no value, got {}", sample.value)),
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Steps {
    start: i64,
    end: i64,
    step: i64,
}

fn matrix(expected: &[ExpectedSeries], got: &[TargetSeries], steps: Steps) -> Result<(), String> {
    let is_sorted = got.windows(2).all(|pair| pair[0].labels.iter().le(pair[1].labels.iter()));
    if !is_sorted {
        let names: Vec<String> = got.iter().map(|series| series.labels.to_string()).collect();
        return Err(format!("expected the series of a range in the order of their labels, got {}", names.join(", ")));
    }
    check_series(expected, got.iter().map(|series| (&series.labels, list(&series.samples))))?;
    for series in got {
        if let Some(expected) = expected.iter().find(|expected| expected.labels == series.labels) {
            points(expected, series, steps).map_err(|why| format!("{}: {why}", &series.labels))?;
        }
    }
    Ok(())
}

fn points(expected: &ExpectedSeries, got: &TargetSeries, steps: Steps) -> Result<(), String> {
    let Steps { start, end, step } = steps;
    let times = (0_i64..).map(|position| position.saturating_mul(step).saturating_add(start));
    let mut wanted = Vec::new();
    for (time, point) in times.zip(&expected.points) {
        if time > end {
            return Err(format!("{} points are expected, but the range ends before", expected.points.len()));
        }
        wanted.extend(point.as_ref().map(|point| (time, point)));
    }
    let all = || format!("expected {}, got {}", list(&wanted), list(&got.samples));
    if wanted.len() != got.samples.len() {
        return Err(format!("expected {} points, got {}: {}", wanted.len(), got.samples.len(), all()));
    }
    for ((time, point), (got_time, value)) in wanted.iter().zip(&got.samples) {
        if time != got_time {
            return Err(format!("expected a point at {}, got it at {}: {}", seconds(*time), seconds(*got_time), all()));
        }
        point_matches(point, value).map_err(|why| format!("at {}: {why}: {}", seconds(*time), all()))?;
    }
    Ok(())
}

/// No series may be missing, unexpected, or there twice.
fn check_series<'a>(
    expected: &[ExpectedSeries],
    got: impl Iterator<Item = (&'a Labels, String)>,
) -> Result<(), String> {
    let wanted: HashSet<&Labels> = expected.iter().map(|series| &series.labels).collect();
    let mut seen = HashSet::new();
    for (labels, value) in got {
        if !wanted.contains(labels) {
            return Err(format!("expected no series {}, got it with {value}", labels));
        }
        if !seen.insert(labels.clone()) {
            return Err(format!("expected {} once, got it twice", labels));
        }
    }
    match expected.iter().find(|series| !seen.contains(&series.labels)) {
        Some(missing) => {
            let points = missing.points.iter().map(|point| point.as_ref().map_or("_".to_owned(), Point::to_string));
            Err(format!(
                "expected {} with {}, got no such series",
                &missing.labels,
                points.collect::<Vec<_>>().join(" ")
            ))
        }
        None => Ok(()),
    }
}

fn point_matches(expected: &Point, got: &SampleValue) -> Result<(), String> {
    match (expected, got) {
        (Point::Float(expected), SampleValue::Float(got)) => numbers("value", *expected, *got),
        (Point::Histogram { histogram, with_hint }, SampleValue::Histogram(got)) => {
            histograms(histogram, *with_hint, got)
        }
        (Point::Histogram { histogram, .. }, SampleValue::Rendered(got)) => rendered(histogram, got),
        (expected, got) => Err(format!("expected {expected}, got {got}")),
    }
}

fn numbers(what: &str, expected: f64, got: f64) -> Result<(), String> {
    if almost_equal(expected, got, TOLERANCE) {
        return Ok(());
    }
    Err(format!("expected {what} {}, got {}", number(expected), number(got)))
}

/// A number as a script writes it.
fn number(value: f64) -> String {
    if is_stale(value) { "stale".to_owned() } else { format_float(value) }
}

/// Compares everything but, unless it was written, the hint.
fn histograms(expected: &Histogram, with_hint: bool, got: &Histogram) -> Result<(), String> {
    let (mut a, mut b) = (expected.clone(), got.clone());
    a.compact(0);
    b.compact(0);
    let close =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b, TOLERANCE));
    let equal = a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && (!a.uses_custom_buckets() || a.custom_values == b.custom_values)
        && close(&[a.count, a.sum, a.zero_count], &[b.count, b.sum, b.zero_count])
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && close(&a.positive_buckets, &b.positive_buckets)
        && close(&a.negative_buckets, &b.negative_buckets);
    let same_hint = !with_hint || a.reset_hint == b.reset_hint;
    if equal && same_hint {
        return Ok(());
    }
    let expected = if with_hint { a } else { Histogram { reset_hint: ResetHint::Unknown, ..a } };
    let got = if with_hint { b } else { Histogram { reset_hint: ResetHint::Unknown, ..b } };
    Err(format!("expected {}, got {}", expected.test_expression(), got.test_expression()))
}

fn rendered(expected: &Histogram, got: &RenderedHistogram) -> Result<(), String> {
    let expected = RenderedHistogram::from(expected);
    let close = |a: f64, b: f64| almost_equal(a, b, TOLERANCE);
    let equal = close(expected.count, got.count)
        && close(expected.sum, got.sum)
        && expected.buckets.len() == got.buckets.len()
        && expected.buckets.iter().zip(&got.buckets).all(|(a, b)| {
            a.boundary_rule == b.boundary_rule
                && close(a.left, b.left)
                && close(a.right, b.right)
                && close(a.count, b.count)
        });
    if equal { Ok(()) } else { Err(format!("expected {expected}, got {got}")) }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Scalar(number) => format!("the scalar {number}"),
        Value::String(text) => format!("the string {text:?}"),
        Value::Vector(samples) => format!("a vector of {} series", samples.len()),
        Value::Matrix(series) => format!("a range of {} series", series.len()),
    }
}

fn kind_expected(expected: &ExpectedValue) -> String {
    match expected {
        ExpectedValue::Scalar(number) => format!("the scalar {number}"),
        ExpectedValue::String(text) => format!("the string {text:?}"),
        ExpectedValue::Series(series) => format!("{} series", series.len()),
        ExpectedValue::RangeVector { series, .. } => format!("a range of {} series", series.len()),
    }
}

fn seconds(time: i64) -> String {
    format!("{}s", time as f64 / 1000.0)
}

/// Values with their times, at most the first 20.
fn list<T: fmt::Display>(values: &[(i64, T)]) -> String {
    let shown = values.iter().take(20).map(|(time, value)| format!("{value}@{}", seconds(*time)));
    let mut text = format!("[{}", shown.collect::<Vec<_>>().join(" "));
    if values.len() > 20 {
        text.push_str(" …");
    }
    text + "]"
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => write!(f, "any message"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Regex(regex) => write!(f, "a message that matches {:?}", regex.as_str()),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => write!(f, "{}", number(*value)),
            Self::Histogram { histogram, .. } => write!(f, "{}", histogram.test_expression()),
        }
    }
}

impl fmt::Display for SampleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => write!(f, "{}", number(*value)),
            Self::Histogram(histogram) => write!(f, "{}", histogram.test_expression()),
            Self::Rendered(histogram) => write!(f, "{histogram}"),
        }
    }
}

impl fmt::Display for RenderedHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_general(self.count), format_general(self.sum))?;
        for bucket in &self.buckets {
            let open = if matches!(bucket.boundary_rule, 1 | 3) { '[' } else { '(' };
            let close = if matches!(bucket.boundary_rule, 0 | 3) { ']' } else { ')' };
            let [left, right, count] = [bucket.left, bucket.right, bucket.count].map(format_general);
            write!(f, ", {open}{left},{right}{close}:{count}")?;
        }
        write!(f, "}}")
    }
}
