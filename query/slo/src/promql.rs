//! The little that this crate must understand of PromQL: selectors, and the place of the slice's length.

use crate::definition::SliceWidth;
use crate::duration::render_window;

/// The parameter that stands for the length of a slice.
pub(crate) const SLICE_PARAMETER: &str = "$slice";

/// Bytes of one expression.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// The instant query that answers for one slice when it is evaluated at the slice's end.
///
/// An expression with `$slice` is taken as it is, with the length in its place: `sum(increase(x_total[$slice]))`. A mere
/// selector becomes the sum by the groups of its increase (`counter`), which the caller must let
/// be written with the modifier `anchored`, or of its samples. Anything else is left alone.
pub fn promql_of_slice(expression: &str, slice: SliceWidth, group_by: &[String], counter: bool) -> String {
    let range = render_window(slice.seconds());
    let expression = expression.trim();
    if expression.contains(SLICE_PARAMETER) {
        return expression.replace(SLICE_PARAMETER, &range);
    }
    if !is_selector(expression) {
        return expression.to_owned();
    }
    // `anchored` counts from the sample before the slice instead of extrapolating: slices then add up exactly.
    let (function, anchor) = if counter { ("increase", " anchored") } else { ("sum_over_time", "") };
    let by = if group_by.is_empty() { String::new() } else { format!(" by ({})", group_by.join(", ")) };
    format!("sum{by} ({function}({expression}[{range}]{anchor}))")
}

/// Whether the expression is one selector, `name`, `name{…}` or `{…}`, and nothing more.
pub(crate) fn is_selector(expression: &str) -> bool {
    let (name, rest) = split_name(expression.trim());
    match rest.chars().next() {
        None => !name.is_empty(),
        Some('{') => closing_brace(rest) == Some(rest.len() - 1),
        Some(_) => false,
    }
}

/// The selector with `suffix` after its name and the matchers added: `x{a="b"}` becomes `x_bucket{a="b",le="1"}`.
pub(crate) fn extend_selector(selector: &str, suffix: &str, matcher: &str) -> String {
    let (name, rest) = split_name(selector.trim());
    let inner = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let inner = inner.trim().trim_end_matches(',');
    let matchers = [inner, matcher].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
    if matchers.is_empty() { format!("{name}{suffix}") } else { format!("{name}{suffix}{{{matchers}}}") }
}

/// Whether text and brackets are closed: what this crate can check before the evaluator parses it.
pub(crate) fn check(expression: &str) -> Result<(), String> {
    if expression.trim().is_empty() {
        return Err("the query is empty; write a PromQL expression".to_owned());
    }
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("the query has {} bytes; {EXPRESSION_BYTES_MAX} are the most", expression.len()));
    }
    let mut open = Vec::new();
    let mut quote = None;
    let mut chars = expression.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some('"' | '\''), '\\') => drop(chars.next()),
            (Some(end), _) if end == char => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(char),
            (None, '(' | '[' | '{') => open.push(char),
            (None, ')' | ']' | '}') => {
                let expected = open.pop();
                if !matches!((expected, char), (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')) {
                    return Err(format!("the query has a {char:?} that closes nothing: {expression}"));
                }
            }
            (None, _) => {}
        }
    }
    match (quote, open.pop()) {
        (Some(quote), _) => Err(format!("the query has a {quote} that is not closed: {expression}")),
        (None, Some(bracket)) => Err(format!("the query has a {bracket:?} that is not closed: {expression}")),
        (None, None) => Ok(()),
    }
}

fn split_name(selector: &str) -> (&str, &str) {
    let is_name = |(at, char): (usize, char)| {
        char.is_ascii_alphabetic() || char == '_' || char == ':' || (at > 0 && char.is_ascii_digit())
    };
    let end = selector.char_indices().find(|entry| !is_name(*entry)).map_or(selector.len(), |(at, _)| at);
    let (name, rest) = selector.split_at(end);
    (name, rest.trim_start())
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (Some('"' | '\''), '\\') => drop(chars.next()),
            (Some(end), _) if end == char => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(char),
            (None, '}') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_becomes_the_increase_of_a_slice() {
        let ask = |expression: &str| promql_of_slice(expression, SliceWidth::FIVE_MINUTES, &["route".to_owned()], true);
        assert_eq!(
            ask(r#"x_total{code!~"5..|}"}"#),
            r#"sum by (route) (increase(x_total{code!~"5..|}"}[5m] anchored))"#
        );
        assert_eq!(ask("sum(increase(x_total[$slice]))"), "sum(increase(x_total[5m]))");
        assert_eq!(ask(r#"a{x="1"} / b{y="2"}"#), r#"a{x="1"} / b{y="2"}"#);
        assert_eq!(promql_of_slice("x", SliceWidth::MINUTE, &[], false), "sum (sum_over_time(x[1m]))");
        assert!(is_selector(r#"{__name__="x"}"#) && is_selector("a:b") && !is_selector("1") && !is_selector(""));
    }

    #[test]
    fn selectors_are_extended() {
        assert_eq!(extend_selector("x", "_count", ""), "x_count");
        assert_eq!(extend_selector(r#"x{a="b",}"#, "_bucket", r#"le="1""#), r#"x_bucket{a="b",le="1"}"#);
    }

    #[test]
    fn open_brackets_and_quotes_are_found() {
        assert_eq!(check(r#"sum(rate(x{a="(\"["}[5m]))"#), Ok(()));
        for (wrong, what) in [("", "empty"), ("sum(x", "'('"), ("x}", "closes nothing"), ("x{a=\"b}", "not closed")] {
            assert!(check(wrong).unwrap_err().contains(what), "{wrong}");
        }
    }
}
