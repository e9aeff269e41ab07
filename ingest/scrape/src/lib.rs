//! Scrapes Prometheus targets and hands what they expose on as remote write 2.0 requests.

mod cache;
mod config;
mod discovery;
mod fetch;
mod labels;
mod metrics;
mod parse;
mod relabel;
mod request;
mod scraper;
mod target;
mod worker;

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;

pub use config::{ConfigError, ScrapeConfig};
pub use labels::Labels;
pub use metrics::ScrapeMetrics;
pub use scraper::Scraper;
pub use worker::TargetStatus;

/// Where finished requests go.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes one `io.prometheus.write.v2.Request`, encoded and not compressed; an error says why it was not stored.
    async fn send(&self, request: Bytes) -> Result<(), String>;
}
