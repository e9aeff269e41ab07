//! The lines of an `eval` block.

use regex::Regex;

use super::command::{Expectations, ExpectedSeries, ExpectedValue, Message};
use super::cursor::Cursor;
use super::duration::parse_duration;
use super::series::{Line, parse_series};

/// Whether more lines of the block follow.
pub(super) enum Next {
    Line,
    Done,
}

/// Reads one line of the block of an instant query or a range query.
pub(super) fn expectation(line: &str, is_instant: bool, expectations: &mut Expectations) -> Result<Next, String> {
    if expectations.failure.is_some() {
        if let Some(text) = line.strip_prefix("expected_fail_message") {
            expectations.failure = Some(Message::Text(text.trim().to_owned()));
            return Ok(Next::Done);
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            expectations.failure = Some(regex(pattern)?);
            return Ok(Next::Done);
        }
    }
    if let Some(range) = line.strip_prefix("expect range vector") {
        expectations.result = range_vector(range)?;
        return Ok(Next::Line);
    }
    if let Some(literal) = line.strip_prefix("expect string") {
        expectations.result = ExpectedValue::String(string(literal)?);
        return Ok(Next::Line);
    }
    if let Some(rest) = line.strip_prefix("expect").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
        expect(rest.trim(), expectations)?;
        return Ok(Next::Line);
    }
    if let Some(number) = scalar(line) {
        expectations.result = ExpectedValue::Scalar(number);
        return Ok(Next::Done);
    }
    series(line, is_instant, expectations)?;
    Ok(Next::Line)
}

fn series(line: &str, is_instant: bool, expectations: &mut Expectations) -> Result<(), String> {
    let Line::Points(labels, points) = parse_series(line)? else {
        return Err("start times (@st) can only be loaded".to_owned());
    };
    let expected = match &mut expectations.result {
        ExpectedValue::RangeVector { series, .. } => series,
        ExpectedValue::Series(series) => {
            if is_instant && points.len() > 1 {
                return Err("an instant query gives one value for each series; with \"expect range vector from … to \
                            … step …\" before the series it can be a range"
                    .to_owned());
            }
            series
        }
        ExpectedValue::Scalar(_) | ExpectedValue::String(_) => {
            return Err("a scalar or string is expected, there can be no series".to_owned());
        }
    };
    if points.is_empty() {
        return Err("expected a value after the series".to_owned());
    }
    expected.retain(|other| other.labels != labels);
    expected.push(ExpectedSeries { labels, points });
    Ok(())
}

/// `<kind> [msg:|regex: <text>]`.
fn expect(line: &str, expectations: &mut Expectations) -> Result<(), String> {
    let (kind, detail) = line.split_once([' ', '\t']).map_or((line, ""), |(kind, detail)| (kind, detail.trim()));
    let message = if detail.is_empty() {
        Message::Any
    } else if let Some(text) = detail.strip_prefix("msg:") {
        Message::Text(text.trim().to_owned())
    } else if let Some(pattern) = detail.strip_prefix("regex:") {
        regex(pattern)?
    } else {
        return Err(format!("expected \"msg: …\" or \"regex: …\" after expect {kind}, got {detail:?}"));
    };
    match kind {
        "fail" if expectations.failure.is_some() => return Err("a query can only fail once".to_owned()),
        "fail" => expectations.failure = Some(message),
        "warn" => expectations.warnings.push(message),
        "info" => expectations.infos.push(message),
        "no_warn" => expectations.no_warnings = true,
        "no_info" => expectations.no_infos = true,
        "ordered" => expectations.ordered = true,
        _ => {
            return Err(format!(
                "expected fail, warn, info, no_warn, no_info, ordered, string or range vector after expect, got {kind:?}"
            ));
        }
    }
    if expectations.no_warnings && !expectations.warnings.is_empty() {
        return Err("warn and no_warn cannot be expected together".to_owned());
    }
    if expectations.no_infos && !expectations.infos.is_empty() {
        return Err("info and no_info cannot be expected together".to_owned());
    }
    Ok(())
}

fn regex(pattern: &str) -> Result<Message, String> {
    let pattern = pattern.trim();
    Regex::new(pattern).map(Message::Regex).map_err(|_| format!("invalid regular expression {pattern:?}"))
}

/// ` from 10s to 1m step 10s`.
fn range_vector(line: &str) -> Result<ExpectedValue, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["from", start, "to", end, "step", step] = words.as_slice() else {
        return Err(format!("expected \"expect range vector from … to … step …\", got {line:?}"));
    };
    let (start, end, step) = (parse_duration(start)?, parse_duration(end)?, parse_duration(step)?);
    check_range(start, end, step)?;
    Ok(ExpectedValue::RangeVector { start, end, step, series: Vec::new() })
}

pub(super) fn check_range(start: i64, end: i64, step: i64) -> Result<(), String> {
    if end < start {
        return Err("the end of the range is before its start".to_owned());
    }
    if step <= 0 {
        return Err("the step must be more than zero".to_owned());
    }
    Ok(())
}

fn string(literal: &str) -> Result<String, String> {
    let mut cursor = Cursor::new(literal.trim_start());
    let text = cursor.string().map_err(|message| format!("after expect string: {message}"))?;
    if cursor.rest().is_empty() {
        Ok(text)
    } else {
        Err(format!("expected the end of the line, got {}", cursor.here()))
    }
}

/// A line that is nothing but a number, decimal or hexadecimal.
fn scalar(line: &str) -> Option<f64> {
    let (sign, magnitude) = line.strip_prefix('-').map_or((1.0, line), |rest| (-1.0, rest));
    if let Some(digits) = magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok().map(|number| sign * number as f64);
    }
    let mut cursor = Cursor::new(line);
    let number = cursor.float().ok()?;
    cursor.rest().is_empty().then_some(number)
}
