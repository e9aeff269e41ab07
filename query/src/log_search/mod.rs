//! Log search: a language that needs no manual, and its execution over parts and buffered rows.
//!
//! Flow: [`parser`] reads the text into an [`ast::Node`]; [`compile`] makes it ready: tests of rows (`matcher`, `leaf`) and
//! what the indexes can answer (`plan`). [`search`] then takes the pieces of the snapshot in the order of the answer,
//! asks the indexes of each part for candidates, reads the columns of the tests, and only for the records that are shown
//! the rest. DataFusion plans nothing here.

pub(crate) mod ast;
mod attribute_facets;
mod caseless;
mod chunks;
mod columns;
mod cursor;
mod execute;
mod facets;
pub mod field;
#[cfg(test)]
pub(crate) mod fixture;
mod histogram;
mod json_text;
mod leaf;
mod matcher;
mod memo;
mod overview;
mod page;
pub mod parser;
mod part_facts;
mod plan;
pub(crate) mod record;
mod scan;
pub mod severity;
mod severity_test;
mod span_field;
mod suggest;
mod syntax_error;
mod tail;
mod term;
mod text;
mod tokenize;
mod top;
mod value;
mod worker;

pub use cursor::Cursor;
pub use execute::{SearchAnswer, SearchRequest, search};
pub use facets::{FACET_ROWS_MAX, FACETS_MAX, VALUES_MAX, ValueCounts};
pub use field::Field;
pub use histogram::{BUCKETS_MAX, Buckets, Histogram};
pub use matcher::{CompiledQuery, Evaluation, compile, compile_for_spans, compile_text};
pub use part_facts::PartFacts;
pub use span_field::SpanField;
pub use syntax_error::SyntaxError;
pub use tail::{Tail, TailBatch};
