//! Tests of one value: equal, in a range, like a pattern.

use std::cmp::Ordering;
use std::ops::Bound;

use regex::Regex;

use super::ast::FieldTest;
use super::json_text::{self, JsonValue};
use super::syntax_error::SyntaxError;
use super::text::whole_regex;

/// A compiled [`FieldTest`].
#[derive(Clone, Debug)]
pub(super) enum ValueTest {
    Exists,
    Equals { text: String, number: Option<Number> },
    Regex(Regex),
    Range { lower: Bound<Operand>, upper: Bound<Operand> },
}

/// One end of a range.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    text: String,
    number: Option<Number>,
}

impl Operand {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), number: Number::parse(text) }
    }
}

impl ValueTest {
    pub(super) fn compile(test: &FieldTest) -> Result<Self, SyntaxError> {
        Ok(match test {
            FieldTest::Exists => Self::Exists,
            FieldTest::Equals(text) => Self::Equals { text: text.clone(), number: Number::parse(text) },
            FieldTest::Pattern(pattern) => Self::Regex(whole_regex(&pattern.0)?),
            FieldTest::Regex(regex) => Self::Regex(regex.regex.clone()),
            FieldTest::Range { lower, upper } => Self::Range {
                lower: lower.as_ref().map(|text| Operand::new(text)),
                upper: upper.as_ref().map(|text| Operand::new(text)),
            },
        })
    }

    /// Tests a value of text; one that looks like a number counts as the number.
    pub(super) fn matches_text(&self, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Equals { text, .. } => value.eq_ignore_ascii_case(text),
            Self::Regex(regex) => regex.is_match(value),
            Self::Range { lower, upper } => in_range(value, Number::parse(value), lower, upper),
        }
    }

    pub(super) fn matches_number(&self, value: Number, text: &str) -> bool {
        match self {
            Self::Equals { number: Some(number), .. } => value.compare(*number) == Some(Ordering::Equal),
            Self::Range { lower, upper } => in_range(text, Some(value), lower, upper),
            _ => self.matches_text(text),
        }
    }

    /// Tests a value of any type; a list matches when one of its elements does.
    pub(super) fn matches_json(&self, value: &JsonValue<'_>) -> bool {
        match value {
            JsonValue::Number(text) => match Number::parse(text) {
                Some(number) => self.matches_number(number, text),
                None => self.matches_text(text),
            },
            JsonValue::List(list) => {
                matches!(self, Self::Exists) || json_text::any_leaf(list, &mut |leaf| self.matches_json(leaf))
            }
            value => self.matches_text(&value.text()),
        }
    }
}

/// Numbers are compared with numbers, and text with text when the bound is no number.
fn in_range(text: &str, number: Option<Number>, lower: &Bound<Operand>, upper: &Bound<Operand>) -> bool {
    let compare = |operand: &Operand| match operand.number {
        Some(bound) => number.and_then(|number| number.compare(bound)),
        None => Some(text.cmp(&operand.text)),
    };
    let above = match lower {
        Bound::Included(operand) => compare(operand).is_some_and(Ordering::is_ge),
        Bound::Excluded(operand) => compare(operand).is_some_and(Ordering::is_gt),
        Bound::Unbounded => true,
    };
    above
        && match upper {
            Bound::Included(operand) => compare(operand).is_some_and(Ordering::is_le),
            Bound::Excluded(operand) => compare(operand).is_some_and(Ordering::is_lt),
            Bound::Unbounded => true,
        }
}

/// A number as written: integers keep all their digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i128),
    Double(f64),
}

impl Number {
    /// Reads digits, a sign, a point and an exponent; nothing that only Rust takes for a number.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
        if !text.bytes().all(numeric) {
            return None;
        }
        text.parse().map(Self::Int).ok().or_else(|| text.parse().map(Self::Double).ok())
    }

    /// `None` when one is not a number.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (left, right) => left.double().partial_cmp(&right.double()),
        }
    }

    fn double(self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "only for a comparison with a number that is a double itself"
            )]
            Self::Int(int) => int as f64,
            Self::Double(double) => double,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &FieldTest, json: &str, expected: bool) {
        let compiled = ValueTest::compile(test).expect("a valid test");
        assert_eq!(compiled.matches_json(&json_text::read(json)), expected, "{test} of {json}");
    }

    #[test]
    fn numbers_are_equal_as_numbers_and_keep_all_digits() {
        let equals = |text: &str| FieldTest::Equals(text.to_owned());
        check(&equals("500"), "500", true);
        check(&equals("500"), "500.0", true);
        check(&equals("5e2"), "500", true);
        check(&equals("500"), r#""500""#, true);
        check(&equals("500"), r#""500.0""#, false);
        check(&equals("9007199254740993"), "9007199254740992", false);
        check(&equals("nan"), r#"{"$double":"NaN"}"#, true);
        check(&equals("true"), "true", true);
        check(&equals("two"), r#"[1,"Two"]"#, true);
    }

    #[test]
    fn ranges_compare_numbers_with_numbers_and_text_with_text() {
        let above = |text: &str| FieldTest::Range { lower: Bound::Excluded(text.to_owned()), upper: Bound::Unbounded };
        check(&above("499"), "500", true);
        check(&above("499"), r#""500""#, true);
        check(&above("500"), "500", false);
        check(&above("499.5"), "500", true);
        check(&above("5"), r#""high""#, false);
        check(&above("high"), r#""low""#, true);
        check(&above("-1"), r#"{"$double":"NaN"}"#, false);
        check(&above("9223372036854775806"), "9223372036854775807", true);
    }
}
