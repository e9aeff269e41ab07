//! What SQL means beyond DataFusion: `attributes['key']`, IDs written in hexadecimal, times as people write them.
//!
//! Operators are given their meaning when a statement is read ([`planner`]), because DataFusion checks types there; lists
//! and ranges have no such hook and are rewritten by an analyzer rule ([`analyzer`]) before types are coerced.

mod analyzer;
mod coercion;
mod percentiles;
mod planner;

pub(crate) use analyzer::CoerceLists;
pub(crate) use percentiles::SharePercentiles;
pub(crate) use planner::TelemetryPlanner;
