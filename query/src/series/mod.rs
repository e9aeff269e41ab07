//! Series as PromQL sees them: a view over the table `metrics`, made when it is queried; nothing is stored twice.
//!
//! | stored | seen by PromQL |
//! |---|---|
//! | gauge, sum | a series of floats under the translated name ([`translate`]) |
//! | histogram | classic series `_bucket`, `_sum`, `_count`; under its own OpenTelemetry name a native histogram with custom buckets |
//! | exponential histogram | a native histogram |
//! | summary | classic series with `quantile`, `_sum`, `_count` |
//! | Prometheus sample (remote write, scrape) | itself, name and labels as they were sent |
//! | resource | `job` and `instance` of its series, and `target_info` |
//!
//! Every metric is also found under the name that its service gave it (`{"http.server.request.duration"}`), with its
//! attributes as they were sent. A data point without a recorded value is a staleness marker. Delta temporality is kept:
//! [`Series::is_delta`](trivium_promql::Series) lets `rate` and `increase` sum exactly.

mod answers;
mod collect;
mod exemplars;
mod index;
mod labels;
mod lookup;
mod native;
mod plan;
mod points;
mod postings;
mod prefilter;
mod samples;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod translate;
mod unread;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use trivium_model::PartId;

pub(crate) use answers::RangeQuery;
pub(crate) use exemplars::SeriesExemplars;
pub(crate) use lookup::{Cardinality, MetricMetadata};
pub(crate) use source::StoredSeries;
pub use translate::TranslationStrategy;
pub(crate) use unread::Unread;

use answers::AnswerCache;
use index::IndexCache;
use labels::LabelCache;
use postings::PostingsCache;
use samples::SampleCache;

/// Milliseconds between the samples of `target_info`: half of the lookback, so that it is never stale.
const TARGET_INFO_STEP: i64 = 150_000;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// How often what is known of parts that are gone is forgotten. Merges and retention replace all parts within hours: without it
/// the caches fill to their bounds with what nobody can ask for any more.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How the view is made.
#[derive(Clone, Debug)]
pub struct SeriesConfig {
    /// How names are translated.
    pub translation: TranslationStrategy,
    /// Resource attributes that become labels of every series of their resource.
    pub promote_resource_attributes: Vec<String>,
    /// Whether name and version of the scope become the labels `otel_scope_name` and `otel_scope_version`.
    pub promote_scope: bool,
    /// Whether `target_info` keeps the attributes that `job` and `instance` are made of.
    pub keep_identifying_resource_attributes: bool,
    /// Bytes that may be remembered of series from one query to the next: labels, where samples are, decoded columns.
    pub cache_bytes_max: u64,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        Self {
            translation: TranslationStrategy::default(),
            promote_resource_attributes: Vec::new(),
            promote_scope: false,
            keep_identifying_resource_attributes: false,
            cache_bytes_max: 1 << 30,
        }
    }
}

/// What queries for series share: the configuration and what was learned of parts and series.
#[derive(Debug)]
pub struct SeriesState {
    config: SeriesConfig,
    indexes: IndexCache,
    postings: PostingsCache,
    samples: SampleCache,
    labels: LabelCache,
    pub(crate) answers: AnswerCache,
    forgot_at: Mutex<Instant>,
}

impl SeriesState {
    /// Nothing is known yet. At most so many bytes of answers are kept.
    pub fn new(config: SeriesConfig, answer_bytes_max: usize) -> Arc<Self> {
        let answers = AnswerCache::new(answer_bytes_max);
        Arc::new(Self {
            indexes: IndexCache::new(config.translation, config.cache_bytes_max / 2),
            samples: SampleCache::new(config.cache_bytes_max / 4),
            postings: PostingsCache::new(config.cache_bytes_max / 8),
            labels: LabelCache::new(config.cache_bytes_max / 8),
            answers,
            config,
            forgot_at: Mutex::new(Instant::now()),
        })
    }

    /// Forgets from time to time what is known of parts that are not among these.
    fn forget_others(&self, parts: impl FnOnce() -> HashSet<PartId>) {
        {
            let mut forgot_at = self.forgot_at.lock().unwrap_or_else(PoisonError::into_inner);
            if forgot_at.elapsed() < FORGET_EVERY {
                return;
            }
            *forgot_at = Instant::now();
        }
        self.keep_only(&parts());
    }

    fn keep_only(&self, parts: &HashSet<PartId>) {
        self.indexes.keep_only(parts);
        self.postings.keep_only(parts);
        self.samples.keep_only(parts);
    }
}
