//! Errors with their place.

use std::fmt;

use crate::ast::Source;

/// Why a template was refused, or why its execution stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The template's name.
    pub template: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The expression that failed in execution.
    pub expression: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl Error {
    pub(crate) fn at(source: &Source, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = source.place(offset);
        Self { template: source.name.clone(), line, column, expression: None, message: message.into() }
    }

    pub(crate) fn in_expression(source: &Source, at: &std::ops::Range<usize>, message: impl Into<String>) -> Self {
        let text = source.text.get(at.clone()).unwrap_or_default().trim();
        let shown = if text.chars().count() > EXPRESSION_MAX {
            text.chars().take(EXPRESSION_MAX).chain("...".chars()).collect()
        } else {
            text.to_owned()
        };
        Self { expression: Some(shown), ..Self::at(source, at.start, message) }
    }
}

/// As much of an expression as a message repeats; Go cuts there too.
const EXPRESSION_MAX: usize = 20;

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "template: {}:{}:{}: ", self.template, self.line, self.column)?;
        if let Some(expression) = &self.expression {
            write!(formatter, "executing {:?} at <{expression}>: ", self.template)?;
        }
        formatter.write_str(&self.message)
    }
}
