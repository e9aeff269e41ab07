//! Go's `text/template` language, as rule annotations and notification templates use it.
//!
//! Knows neither rules nor notifications: data come as values, functions beyond the built-in ones from the caller. Work,
//! depth and output are bounded, because templates come from users and run on every evaluation. An interpreter of our own,
//! because the one on crates.io (gtmpl) has not moved for years and has some 150 places where it can panic.
//!
//! - [`TemplateSet`] holds parsed templates; errors of syntax, unknown functions and variables show when they are added.
//! - [`functions::prometheus`] and [`functions::alertmanager`] are the ready sets of [`Functions`].
//! - [`notification::Data`] is what Alertmanager's templates work on.
//!
//! Where it differs from Go: lines and columns of errors count from 1, the month and the weekday of a time are names only,
//! complex numbers are refused, and values in HTML are escaped by following the output rather than by analysing the template.

mod access;
mod ast;
mod error;
mod execute;
pub mod functions;
mod html;
mod json;
mod lexer;
mod limits;
mod literal;
pub mod notification;
mod number;
mod parse;
mod print;
mod set;
#[cfg(test)]
mod tests;
mod time;
pub mod value;

pub use error::Error;
pub use functions::{Call, Function, Functions};
pub use limits::Limits;
pub use set::{Mode, TemplateSet};
pub use time::Time;
pub use value::{Object, Value};

/// Templates by the names that Alertmanager's configuration refers to, such as `slack.default.title`.
pub const DEFAULT_TEMPLATES: &str = include_str!("default.tmpl");
