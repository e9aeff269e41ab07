//! Scrapes Prometheus targets and hands what they expose on as remote write 2.0 requests.

mod cache;
mod config;
mod discovery;
mod labels;
mod parse;
mod relabel;
mod request;
mod target;

pub use config::{ConfigError, ScrapeConfig};
pub use labels::Labels;
