//! Mutated input for every parser and every on-disk format.
//!
//! A [`Target`] takes bytes and must return: no panic, no hang, no more memory than its limits allow. Some hold what they
//! read against a model: what is printed reads back as itself, what prost decodes is accepted or refused record by record.
//! [`fuzz`] is deterministic: a target, a seed and a number name one input. See `README.md` for how to run it longer.

mod corpus;
mod run;
mod targets;

#[cfg(test)]
mod tests;

pub use run::{Found, Outcome, Plan, fuzz, replay};
pub use targets::{Target, targets};
