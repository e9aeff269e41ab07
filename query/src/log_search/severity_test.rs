use std::ops::Bound;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;

use super::ast::FieldTest;
use super::columns::{SEVERITY_NUMBER, SEVERITY_TEXT, dictionary, dictionary_text, numbers};
use super::memo::select;
use super::severity;
use super::syntax_error::SyntaxError;
use super::value::ValueTest;
use crate::error::Error;

/// A test of the severity, which is a number, a text, or both.
#[derive(Clone, Debug)]
pub(super) enum SeverityTest {
    /// The effective number lies within, both inclusive.
    Numbers(i32, i32),
    /// The record has a severity at all.
    Exists,
    /// A test of the text, and without one of the name of the class.
    Text(ValueTest),
}

impl SeverityTest {
    pub(super) fn compile(test: &FieldTest) -> Result<Self, SyntaxError> {
        Ok(match test {
            FieldTest::Exists => Self::Exists,
            FieldTest::Equals(text) => match severity::bound_numbers(text) {
                Some((first, last)) => Self::Numbers(first, last),
                None => Self::Text(ValueTest::compile(test)?),
            },
            FieldTest::Range { lower, upper } => Self::Numbers(first_number(lower), last_number(upper)),
            FieldTest::Pattern(_) | FieldTest::Regex(_) => Self::Text(ValueTest::compile(test)?),
        })
    }

    pub(super) fn matching(&self, batch: &RecordBatch, selection: &BooleanBuffer) -> Result<BooleanBuffer, Error> {
        let sent = numbers::<Int32Type>(batch, SEVERITY_NUMBER)?.values();
        let texts = dictionary(batch, SEVERITY_TEXT)?;
        Ok(select(selection, |row| {
            let number = sent.get(row).copied().unwrap_or_default();
            let text = || dictionary_text(texts, row);
            match self {
                Self::Numbers(first, last) if number != 0 => (*first..=*last).contains(&number),
                Self::Numbers(first, last) => (*first..=*last).contains(&severity::effective_number(0, text())),
                Self::Exists => number != 0 || text().is_some(),
                Self::Text(test) => test.matches_text(text().unwrap_or_else(|| name(number))),
            }
        }))
    }
}

fn name(number: i32) -> &'static str {
    severity::CLASSES.get(severity::class_of_number(number)).copied().unwrap_or_default()
}

/// The lowest number of a range. A record without severity is in no range, whatever its lower bound.
fn first_number(bound: &Bound<String>) -> i32 {
    let numbers = |text: &String| severity::bound_numbers(text);
    match bound {
        Bound::Included(text) => numbers(text).map_or(i32::MAX, |(first, _)| first),
        Bound::Excluded(text) => numbers(text).map_or(i32::MAX, |(_, last)| last.saturating_add(1)),
        Bound::Unbounded => 1,
    }
}

fn last_number(bound: &Bound<String>) -> i32 {
    let numbers = |text: &String| severity::bound_numbers(text);
    match bound {
        Bound::Included(text) => numbers(text).map_or(i32::MIN, |(_, last)| last),
        Bound::Excluded(text) => numbers(text).map_or(i32::MIN, |(first, _)| first.saturating_sub(1)),
        Bound::Unbounded => i32::MAX,
    }
}
