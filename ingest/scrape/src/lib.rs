//! Scrapes Prometheus targets and hands what they expose on as remote write 2.0 requests.

mod cache;
mod config;
mod discovery;
mod fetch;
mod labels;
mod metrics;
mod parse;
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

/// How many samples a target's answer of this content type has, or why it is refused: what a scrape would say of it.
pub fn check_exposition(content_type: &str, body: &[u8]) -> Result<usize, String> {
    let format =
        parse::Format::of(content_type).ok_or_else(|| format!("content type {content_type:?} is not taken"))?;
    let exposition = parse::parse(body, format, true).map_err(|error| error.to_string())?;
    for sample in &exposition.samples {
        let kind = exposition.families.get(sample.family).map(|family| family.kind).unwrap_or_default();
        parse::labels(&sample.series, kind)?;
    }
    Ok(exposition.samples.len())
}
