//! Scrapes Prometheus targets and hands what they expose on as remote write 2.0 requests.

mod config;
mod labels;
mod parse;
mod relabel;

pub use config::{ConfigError, ScrapeConfig};
pub use labels::Labels;
