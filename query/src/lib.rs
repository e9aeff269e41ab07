//! Answers questions: SQL, log search, traces, correlation. The only crate that knows DataFusion.
//!
//! Flow: an HTTP handler in [`api`] takes a permit, asks [`Storage`](trivium_storage::Storage) for a snapshot and answers
//! from it; SQL goes through [`Engine`], point look-ups (an ID, a trace, a log search) read parts directly and never plan
//! SQL. Refuses everything that writes: statements are checked against an allow-list before they are planned, and no object
//! store but the parts' own is reachable.

mod admission;
pub mod alerting;
pub mod api;
mod config;
mod correlate;
mod engine;
mod error;
mod functions;
mod guard;
pub mod log_search;
mod lookup;
mod optimizer;
pub mod series;
mod service_graph;
mod sql_error;
mod state;
mod table;
mod telemetry;
#[cfg(test)]
mod testing;
mod trace;

pub use admission::{Admission, Permit};
pub use api::{alerting_router, router};
pub use config::{OtlpListener, OtlpListeners, PromqlConfig, QueryConfig};
pub use engine::{Engine, SqlAnswer, SqlRequest};
pub use error::Error;
pub use state::{QueryState, build};
pub use telemetry::QueryMetrics;
