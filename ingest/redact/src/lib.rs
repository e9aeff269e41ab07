//! Takes secrets and personal data out of export requests before they reach the WAL.
//!
//! Owns the rules file, what the rules find, and the rewriting of protobuf messages: OTLP of the three signals and both
//! versions of Prometheus remote write. Refuses to know where requests come from and where they are stored.
//!
//! Flow: [`Rules::load`] reads and checks the file → [`Rules::redact`] walks a request → `screen` tells for a record at
//! once of which rules a text in it can match → `text` finds what is secret → `rewrite` copies the message around what changed.
//!
//! Invariants: a request in which nothing is found is handed back as it came, without allocation. What cannot be read is
//! never passed on unread. Every bound of the decoder (depth, rows, bytes) holds here too.

mod action;
mod builtin;
mod config;
mod glob;
mod hit;
mod keys;
mod leaf;
mod remote_write;
mod rewrite;
mod rules;
mod scan;
mod schema;
mod screen;
mod text;
mod walk;
mod wire;

pub use action::HashKey;
pub use builtin::NAMES as BUILT_IN_PATTERNS;
pub use config::RulesError;
pub use hit::{Counts, Hit, Observer, UNREADABLE, shortened};
pub use rules::Rules;
pub use walk::Unreadable;
