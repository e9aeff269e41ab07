use std::fmt;
use std::ops::Bound;

use regex::Regex;

use super::field::Field;

/// A parsed search.
#[derive(Clone, Debug)]
pub enum Node {
    /// Every record: the empty query and `*`.
    All,
    /// A test of a record's texts, token by token.
    Text {
        /// Which texts.
        scope: TextScope,
        /// What must stand in one of them.
        test: TextTest,
    },
    /// A test of the value of one field.
    Field {
        /// Which field.
        field: Field,
        /// What its value must be.
        test: FieldTest,
    },
    /// All of them.
    And(Vec<Node>),
    /// Any of them.
    Or(Vec<Node>),
    /// Not this.
    Not(Box<Node>),
}

/// Which texts of a record a [`TextTest`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextScope {
    /// Body, attribute values and event name; a word that is a whole trace or span ID finds these columns too.
    Record,
    /// The body alone.
    Body,
}

/// What must stand in a text.
#[derive(Clone, Debug)]
pub enum TextTest {
    /// The tokens of the text, one after the other. A text without a token is searched as it stands.
    Phrase(String),
    /// Consecutive tokens of which at least one has a wildcard.
    Pattern(Pattern),
    /// A regular expression, anywhere in the text.
    Regex(RegexTest),
}

/// What the value of a field must be.
#[derive(Clone, Debug)]
pub enum FieldTest {
    /// The whole value, ASCII letters in any case; numbers are equal as numbers.
    Equals(String),
    /// The whole value, with wildcards.
    Pattern(Pattern),
    /// A regular expression, anywhere in the value.
    Regex(RegexTest),
    /// Between two bounds: as numbers when the bounds are numbers, else in byte order.
    Range {
        /// The lower bound.
        lower: Bound<String>,
        /// The upper bound.
        upper: Bound<String>,
    },
    /// Any value.
    Exists,
}

/// A text with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub Vec<Piece>);

/// One piece of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Literal(String),
    /// `*`: any characters, also none.
    AnyRun,
    /// `?`: one character.
    AnyOne,
}

/// A regular expression that compiled within the limits.
#[derive(Clone, Debug)]
pub struct RegexTest {
    /// As written between the slashes.
    pub source: String,
    /// Whether `i` followed the closing slash.
    pub ignore_case: bool,
    /// The compiled expression.
    pub regex: Regex,
}

/// The structure as an S-expression, for tests and for `explain`.
impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Text { scope: TextScope::Record, test } => write!(formatter, "{test}"),
            Self::Text { scope: TextScope::Body, test } => write!(formatter, "(body {test})"),
            Self::Field { field, test } => write!(formatter, "({field} {test})"),
            Self::And(children) => write_list(formatter, "and", children),
            Self::Or(children) => write_list(formatter, "or", children),
            Self::Not(child) => write!(formatter, "(not {child})"),
        }
    }
}

fn write_list(formatter: &mut fmt::Formatter<'_>, name: &str, children: &[Node]) -> fmt::Result {
    write!(formatter, "({name}")?;
    children.iter().try_for_each(|child| write!(formatter, " {child}"))?;
    formatter.write_str(")")
}

impl fmt::Display for TextTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phrase(text) => write!(formatter, "{text:?}"),
            Self::Pattern(pattern) => write!(formatter, "{pattern}"),
            Self::Regex(regex) => write!(formatter, "{regex}"),
        }
    }
}

impl fmt::Display for FieldTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(text) => write!(formatter, "= {text:?}"),
            Self::Pattern(pattern) => write!(formatter, "= {pattern}"),
            Self::Regex(regex) => write!(formatter, "~ {regex}"),
            Self::Exists => formatter.write_str("exists"),
            Self::Range { lower, upper } => {
                match lower {
                    Bound::Included(text) => write!(formatter, "[{text:?}")?,
                    Bound::Excluded(text) => write!(formatter, "{{{text:?}")?,
                    Bound::Unbounded => formatter.write_str("[*")?,
                }
                match upper {
                    Bound::Included(text) => write!(formatter, " {text:?}]"),
                    Bound::Excluded(text) => write!(formatter, " {text:?}}}"),
                    Bound::Unbounded => formatter.write_str(" *]"),
                }
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`")?;
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => formatter.write_str(text)?,
                Piece::AnyRun => formatter.write_str("*")?,
                Piece::AnyOne => formatter.write_str("?")?,
            }
        }
        formatter.write_str("`")
    }
}

impl fmt::Display for RegexTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}/{}", self.source, if self.ignore_case { "i" } else { "" })
    }
}
