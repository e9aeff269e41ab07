//! The `expr` of `type: logs` rules: a log search, an aggregation of the hits and the time it looks back.
//!
//! ```text
//! severity:error AND service:payment | count() by (service.name) [5m] > 10
//! └────────── log search ──────────┘   └ aggregation ┘ └ groups ┘ └range┘ └ threshold, optional ┘
//! ```
//!
//! Aggregations: `count()`, `rate()` (hits per second), `count_distinct(field)`, `sum(field)`, `avg(field)`,
//! `min(field)`, `max(field)` and `quantile(0.95, field)`. The search is everything before the last `|` outside of quotes;
//! it is handed on as it is. One sample for each group that has hits; without `by` one sample in all, which counts 0 when
//! nothing was found. A sample that does not meet the threshold is left out.

use std::time::Duration;

use crate::duration::parse_duration;

/// Longer queries are refused.
const MAX_BYTES: usize = 64 * 1024;

/// More fields in `by` are refused.
const MAX_FIELDS: usize = 32;

/// A log search with an aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// The text as it was written.
    pub text: String,
    /// The log search.
    pub search: String,
    /// What is told about the hits.
    pub aggregation: LogAggregation,
    /// The fields that hits are grouped by; they are the labels of the samples.
    pub by: Vec<String>,
    /// How far the search looks back.
    pub range: Duration,
    /// What a sample must meet.
    pub threshold: Option<Threshold>,
}

/// What is told about hits.
#[derive(Clone, Debug, PartialEq)]
pub enum LogAggregation {
    /// How many.
    Count,
    /// How many a second.
    Rate,
    /// How many different values a field has.
    CountDistinct(String),
    /// The sum of a field.
    Sum(String),
    /// The mean of a field.
    Avg(String),
    /// The smallest value of a field.
    Min(String),
    /// The largest value of a field.
    Max(String),
    /// A quantile of a field, from 0 to 1.
    Quantile(f64, String),
}

/// How a sample is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub value: f64,
}

impl Threshold {
    /// Whether a value meets it.
    pub fn is_met(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Greater => value > self.value,
            Comparison::GreaterEqual => value >= self.value,
            Comparison::Less => value < self.value,
            Comparison::LessEqual => value <= self.value,
            Comparison::Equal => value == self.value,
            Comparison::NotEqual => value != self.value,
        }
    }
}

impl LogQuery {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "expected a log search, `|`, an aggregation and a range, such as `severity:error | count() by (service.name) [5m]`";
        if text.len() > MAX_BYTES {
            return Err(format!("a log query of {} bytes is longer than {MAX_BYTES}", text.len()));
        }
        let pipe = last_pipe(text).ok_or(SHAPE)?;
        let (search, rest) = (text[..pipe].trim(), text[pipe + 1..].trim());
        let (name, rest) = rest.split_once('(').ok_or(SHAPE)?;
        let (arguments, rest) = rest.split_once(')').ok_or("`(` of the aggregation is not closed")?;
        let aggregation = aggregation(name.trim(), arguments.trim())?;
        let (by, rest) = groups(rest.trim())?;
        let rest = rest.strip_prefix('[').ok_or_else(|| format!("expected a range such as [5m], got {rest:?}"))?;
        let (range, rest) = rest.split_once(']').ok_or("`[` of the range is not closed")?;
        let range = parse_duration(range.trim())?;
        if range.is_zero() {
            return Err("the range must be greater than 0".to_owned());
        }
        let threshold = threshold(rest.trim())?;
        Ok(Self { text: text.to_owned(), search: search.to_owned(), aggregation, by, range, threshold })
    }
}

/// The place of the last `|` outside of double quotes.
fn last_pipe(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut found) = (false, false, None);
    for (place, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '|' if !quoted => found = Some(place),
            _ => {}
        }
    }
    found
}

fn aggregation(name: &str, arguments: &str) -> Result<LogAggregation, String> {
    let field = || {
        let is_field = !arguments.is_empty() && !arguments.contains([',', '(', ' ']);
        is_field.then(|| arguments.to_owned()).ok_or_else(|| format!("{name}() takes one field, got {arguments:?}"))
    };
    let none = |found| if arguments.is_empty() { Ok(found) } else { Err(format!("{name}() takes no argument")) };
    match name {
        "count" => none(LogAggregation::Count),
        "rate" => none(LogAggregation::Rate),
        "count_distinct" => field().map(LogAggregation::CountDistinct),
        "sum" => field().map(LogAggregation::Sum),
        "avg" => field().map(LogAggregation::Avg),
        "min" => field().map(LogAggregation::Min),
        "max" => field().map(LogAggregation::Max),
        "quantile" => {
            let (quantile, field) = arguments.split_once(',').unwrap_or((arguments, ""));
            let quantile = quantile.trim().parse().ok().filter(|quantile: &f64| (0.0..=1.0).contains(quantile));
            match (quantile, field.trim()) {
                (Some(quantile), field) if !field.is_empty() => {
                    Ok(LogAggregation::Quantile(quantile, field.to_owned()))
                }
                _ => Err("quantile() takes a number from 0 to 1 and a field".to_owned()),
            }
        }
        _ => Err(format!(
            "unknown aggregation {name:?}; there are count, rate, count_distinct, sum, avg, min, max and quantile"
        )),
    }
}

fn groups(text: &str) -> Result<(Vec<String>, &str), String> {
    let Some(rest) = text.strip_prefix("by") else { return Ok((Vec::new(), text)) };
    let rest = rest.trim_start().strip_prefix('(').ok_or("expected `(` after `by`")?;
    let (fields, rest) = rest.split_once(')').ok_or("`(` after `by` is not closed")?;
    let fields: Vec<String> = fields.split(',').map(|field| field.trim().to_owned()).collect();
    if fields.iter().any(String::is_empty) {
        return Err("`by` needs the names of fields".to_owned());
    }
    if fields.len() > MAX_FIELDS {
        return Err(format!("`by` has more than {MAX_FIELDS} fields"));
    }
    Ok((fields, rest.trim_start()))
}

fn threshold(text: &str) -> Result<Option<Threshold>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let operators = [
        (">=", Comparison::GreaterEqual),
        ("<=", Comparison::LessEqual),
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        (">", Comparison::Greater),
        ("<", Comparison::Less),
    ];
    let found = operators.into_iter().find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?)));
    let (comparison, number) = found.ok_or_else(|| format!("expected a comparison such as `> 10`, got {text:?}"))?;
    let value = number.trim().parse().map_err(|_| format!("{:?} is not a number", number.trim()))?;
    Ok(Some(Threshold { comparison, value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_taken_apart() {
        let text = "severity:error AND \"a | b\" | quantile(0.95, duration_ms) by (service.name, env) [1h30m] >= 10.5";
        let query = LogQuery::parse(text).unwrap();
        assert_eq!(query.search, "severity:error AND \"a | b\"");
        assert_eq!(query.aggregation, LogAggregation::Quantile(0.95, "duration_ms".to_owned()));
        assert_eq!(query.by, ["service.name", "env"]);
        assert_eq!(query.range, Duration::from_secs(5400));
        assert_eq!(query.threshold, Some(Threshold { comparison: Comparison::GreaterEqual, value: 10.5 }));
        let query = LogQuery::parse("* | count() [5m]").unwrap();
        assert_eq!((query.by.len(), query.threshold), (0, None));
    }

    #[test]
    fn what_is_no_query_is_refused_with_a_reason() {
        let refused = [
            ("severity:error", "expected a log search"),
            ("a | count(x) [5m]", "takes no argument"),
            ("a | sum() [5m]", "takes one field"),
            ("a | median(x) [5m]", "unknown aggregation"),
            ("a | count() by () [5m]", "names of fields"),
            ("a | count()", "expected a range"),
            ("a | count() [0s]", "greater than 0"),
            ("a | count() [5m] > x", "not a number"),
            ("a | quantile(2, x) [5m]", "from 0 to 1"),
        ];
        for (text, reason) in refused {
            let error = LogQuery::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
