//! Test scripts in Prometheus' language (`promqltest`): a parser, and a runner for anything that can load samples and
//! answer queries.
//!
//! ```text
//! load 1m
//!   requests_total{job="api"} 0+10x10 _ stale {{schema:0 count:1 sum:2 buckets:[1]}}
//!
//! eval instant at 10m sum by (job) (requests_total)
//!   expect no_warn
//!   {job="api"} 100
//! ```
//!
//! A blank line or a comment ends a block. In series `0x8` is a zero nine times, not a hexadecimal number; a result that
//! is a bare number may be hexadecimal.

mod command;
mod compare;
mod convert;
mod cursor;
mod duration;
mod engine;
mod expect;
mod histogram;
mod invariance;
mod memory;
mod parse;
mod run;
mod series;
mod target;

#[cfg(test)]
mod tests;

pub use command::{Command, Eval, Expectations, ExpectedSeries, ExpectedValue, Load, LoadedLine, Message, Point, When};
pub use engine::EngineTarget;
pub use memory::MemorySource;
pub use parse::{ParseError, Script};
pub use run::{Outcome, Report, Verdict, run};
pub use target::{Answer, RenderedHistogram, SampleValue, Target, TargetSample, TargetSeries, Value};
