//! Traces: one by its ID, many by what their spans are like. Reads parts directly, never plans SQL.

pub(crate) mod assemble;
pub(crate) mod reader;
pub(crate) mod search;
pub(crate) mod services;
pub(crate) mod span;
#[cfg(test)]
mod tests;

pub(crate) use assemble::{TraceView, assemble};
