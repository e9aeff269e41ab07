//! Matchers of labels and their two syntaxes.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::labels::{Labels, quote};

pub use parse::MatcherError;
pub(crate) use parse::is_plain;

/// Bytes that one compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Matchers of one list in a request or in the configuration.
pub(crate) const MATCHERS_MAX: usize = 256;

/// How a matcher compares; in Alertmanager's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOperator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOperator {
    pub(crate) fn new(is_equal: bool, is_regex: bool) -> Self {
        match (is_equal, is_regex) {
            (true, false) => Self::Equal,
            (false, false) => Self::NotEqual,
            (true, true) => Self::Regex,
            (false, true) => Self::NotRegex,
        }
    }

    pub(crate) fn is_regex(self) -> bool {
        matches!(self, Self::Regex | Self::NotRegex)
    }

    pub(crate) fn is_equal(self) -> bool {
        matches!(self, Self::Equal | Self::Regex)
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label. A missing label is empty; regular expressions match the whole value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How to compare.
    pub operator: MatchOperator,
    /// With what.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher; refused when the regular expression is none.
    pub fn new(name: &str, operator: MatchOperator, value: &str) -> Result<Self, MatcherError> {
        let regex = operator.is_regex().then(|| whole(value)).transpose()?;
        Ok(Self { name: name.to_owned(), operator, value: value.to_owned(), regex })
    }

    /// Reads one matcher such as `severity=~"page|ticket"`.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let mut matchers = parse::matchers(text)?;
        match (matchers.len(), matchers.pop()) {
            (1, Some(matcher)) => Ok(matcher),
            (0, _) => Err(MatcherError("no matchers".into())),
            (count, _) => Err(MatcherError(format!("expected 1 matcher, found {count}"))),
        }
    }

    /// Whether a value of the label fits.
    pub fn matches_value(&self, value: &str) -> bool {
        match (self.operator, &self.regex) {
            (MatchOperator::Equal, _) => value == self.value,
            (MatchOperator::NotEqual, _) => value != self.value,
            (MatchOperator::Regex, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            (MatchOperator::NotRegex, regex) => !regex.as_ref().is_some_and(|regex| regex.is_match(value)),
        }
    }

    fn order(&self) -> (&str, &str, MatchOperator) {
        (&self.name, &self.value, self.operator)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = self.operator.symbol();
        if is_plain(&self.name) {
            // The classic syntax, in which such a text is read, knows no other escapes.
            write!(out, "{}{symbol}\"{}\"", self.name, escape(&self.value))
        } else {
            write!(out, "{}{symbol}{}", quote(&self.name), quote(&self.value))
        }
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// A regular expression for the whole of a value.
pub(crate) fn whole(pattern: &str) -> Result<Regex, MatcherError> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| MatcherError(format!("{pattern:?} is not a regular expression: {error}")))
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matchers(pub Vec<Matcher>);

impl Matchers {
    /// Reads a list such as `{a="b", c!~"d.*"}` in the UTF-8 syntax, and where it means something, in the classic one.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        parse::matchers(text).map(Self)
    }

    /// Whether all hold.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| matcher.matches_value(labels.value(&matcher.name)))
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|left, right| left.order().cmp(&right.order()));
    }
}

impl fmt::Display for Matchers {
    /// `{a="b",c="d"}`, as in group keys.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (at, matcher) in self.0.iter().enumerate() {
            write!(out, "{}{matcher}", if at > 0 { "," } else { "" })?;
        }
        out.write_str("}")
    }
}
