//! Scraping, as the file named by `scrape_config_file` says.

mod targets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use trivium_ingest::{Coding, ExportRequest, PayloadFormat, Pipeline};
use trivium_model::{Clock, SignalKind, TenantId, WireFormat};
use trivium_scrape::{ScrapeConfig, ScrapeMetrics, Scraper, Sink, TargetStatus};

pub(crate) use targets::router as targets_router;

/// The running scraper and where its configuration is.
pub(crate) struct Scraping {
    file: PathBuf,
    scraper: Mutex<Option<Scraper>>,
}

impl std::fmt::Debug for Scraping {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scraping").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Scraping {
    /// Reads the file and begins to scrape.
    pub(crate) fn start(
        file: &Path,
        pipeline: Arc<Pipeline>,
        clock: Arc<dyn Clock>,
        metrics: ScrapeMetrics,
    ) -> anyhow::Result<Self> {
        let sink = Arc::new(PipelineSink(pipeline));
        let scraper = Scraper::start(load(file)?, sink, clock, metrics).map_err(|error| anyhow!("{error}"))?;
        Ok(Self { file: file.to_path_buf(), scraper: Mutex::new(Some(scraper)) })
    }

    /// Reads the file again; nothing changes yet.
    pub(crate) fn read(&self) -> anyhow::Result<ScrapeConfig> {
        load(&self.file)
    }

    /// Scrapes what was [`Self::read`].
    pub(crate) async fn apply(&self, config: ScrapeConfig) -> &Path {
        if let Some(scraper) = &*self.scraper.lock().await {
            scraper.reload(config);
        }
        &self.file
    }

    /// What is scraped, and how it went last.
    async fn targets(&self) -> Vec<TargetStatus> {
        self.scraper.lock().await.as_ref().map(Scraper::targets).unwrap_or_default()
    }

    /// Marks all series stale and ends.
    pub(crate) async fn stop(&self) {
        if let Some(scraper) = self.scraper.lock().await.take() {
            scraper.stop().await;
        }
    }
}

fn load(file: &Path) -> anyhow::Result<ScrapeConfig> {
    ScrapeConfig::load(file).with_context(|| format!("the scrape configuration {} cannot be used", file.display()))
}

/// Scraped samples go the way of all others.
struct PipelineSink(Arc<Pipeline>);

#[async_trait]
impl Sink for PipelineSink {
    async fn send(&self, body: Bytes) -> Result<(), String> {
        let request = ExportRequest {
            tenant: TenantId::DEFAULT,
            signal: SignalKind::Metrics,
            wire_format: WireFormat::RemoteWrite2,
            format: PayloadFormat::Protobuf,
            coding: Coding::Identity,
            body,
        };
        let outcome = self.0.export(request).await.map_err(|error| error.to_string())?;
        match outcome.rejected.first() {
            Some(rejected) => Err(format!("{}: {}", rejected.reason, rejected.example)),
            None => Ok(()),
        }
    }
}
