//! PromQL as Prometheus 3 speaks it: parsing, type check, evaluation over runs of samples, and test scripts.
//!
//! Knows neither HTTP nor storage nor DataFusion: samples come through [`SeriesSource`].

pub mod histogram;
mod labels;
pub mod script;
mod series;

pub use histogram::Histogram;
pub use labels::{Label, Labels, MatchKind, Matcher};
pub use series::{STALE_NAN_BITS, Selection, Series, SeriesSource, SourceError, is_stale};
