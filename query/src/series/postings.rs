//! Which series of an index have some value of a label: what spares a query for a few of a million series the look at each.
//!
//! Made when a label is first asked for, of one index and one label, and kept by use. A value is known by 32 bits of its hash:
//! series of another value with the same hash are ruled out when their labels are made.

use std::sync::Arc;

use hashbrown::HashSet;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use trivium_model::PartId;
use trivium_promql::{METRIC_NAME, MatchKind, Matcher};
use trivium_storage::attributes::entries;
use xxhash_rust::xxh3::xxh3_64;

use super::SeriesConfig;
use super::index::{IndexKey, PointKind, Run, SeriesIndex};
use super::translate::{TranslationStrategy, label_name};

/// Indexes of fewer series are looked through as they are.
const RUNS_MIN: usize = 4_096;

/// Labels that are made of something else than one attribute of the series.
const MADE_UP: [&str; 9] = [
    METRIC_NAME,
    "job",
    "instance",
    "le",
    "quantile",
    "__type__",
    "service.name",
    "service.namespace",
    "service.instance.id",
];

/// The runs of an index by the value of one label.
#[derive(Debug)]
pub(super) struct Postings {
    /// Hashes of values with places in [`SeriesIndex::runs`], sorted.
    by_value: Vec<(u32, u32)>,
    /// The runs of which it cannot be told, in their order.
    untold: Vec<u32>,
}

impl Postings {
    fn of(index: &SeriesIndex, label: &str, config: &SeriesConfig) -> Self {
        let mut postings = Self { by_value: Vec::with_capacity(index.runs.len()), untold: Vec::new() };
        // Runs of one series share their attributes, often next to each other.
        let mut last: Option<(u32, bool, Option<u32>)> = None;
        for (place, run) in (0_u32..).zip(&index.runs) {
            let is_final = index.metrics[run.metric as usize].kind == PointKind::Prometheus;
            let value = match last {
                Some((attributes, kind, value)) if attributes == run.attributes && kind == is_final => value,
                _ => value_of(index, run, label, config, is_final),
            };
            last = Some((run.attributes, is_final, value));
            match value {
                Some(hash) => postings.by_value.push((hash, place)),
                None => postings.untold.push(place),
            }
        }
        postings.by_value.sort_unstable();
        postings
    }

    /// The places of the runs that may have the value, in their order.
    fn places(&self, value: &str) -> Vec<u32> {
        let hash = hash_of(value);
        let start = self.by_value.partition_point(|(other, _)| *other < hash);
        let equal = self.by_value[start..].iter().take_while(|(other, _)| *other == hash).map(|(_, place)| *place);
        let mut places: Vec<u32> = equal.chain(self.untold.iter().copied()).collect();
        if !self.untold.is_empty() {
            places.sort_unstable();
        }
        places
    }
}

/// The hash of the value that a run has for the label, that of the empty text when it has none; `None` when it may have been
/// put together of several attributes or come from the resource.
fn value_of(index: &SeriesIndex, run: &Run, label: &str, config: &SeriesConfig, is_final: bool) -> Option<u32> {
    let mut found = None;
    for (key, value) in entries(index.text(run.attributes)) {
        let is_it = if is_final { key == label } else { label_name(&key, config.translation) == label };
        if is_it {
            if found.is_some() {
                return None;
            }
            found = Some(hash_of(&value.text()));
        }
    }
    match found {
        Some(hash) => Some(hash),
        None if is_final => Some(hash_of("")),
        None => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "32 bits are enough to rule nearly all others out")]
fn hash_of(value: &str) -> u32 {
    xxh3_64(value.as_bytes()) as u32
}

/// Whether postings can tell the series that a matcher selects.
fn serves(matcher: &Matcher, config: &SeriesConfig) -> bool {
    let is_promoted = |name: &String| {
        [config.translation, TranslationStrategy::NoTranslation]
            .into_iter()
            .any(|strategy| label_name(name, strategy) == matcher.name)
    };
    matches!(matcher.kind, MatchKind::Equal)
        && !matcher.value.is_empty()
        && !MADE_UP.contains(&matcher.name.as_str())
        && !matcher.name.starts_with("otel_scope_")
        && !config.promote_resource_attributes.iter().any(is_promoted)
}

#[derive(Clone, Debug)]
struct PostingsWeight;

impl Weighter<(IndexKey, Arc<str>), Arc<Postings>> for PostingsWeight {
    fn weight(&self, key: &(IndexKey, Arc<str>), postings: &Arc<Postings>) -> u64 {
        let bytes = 128 + key.1.len() + postings.by_value.capacity() * 8 + postings.untold.capacity() * 4;
        bytes as u64
    }
}

/// Postings by use, bounded in bytes.
#[derive(Debug)]
pub(super) struct PostingsCache(Cache<(IndexKey, Arc<str>), Arc<Postings>, PostingsWeight>);

impl PostingsCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Cache::with_weighter(256, bytes_max, PostingsWeight))
    }

    pub(super) fn keep_only(&self, parts: &HashSet<PartId>) {
        self.0.retain(|(key, _), _| key.is_of(parts));
    }

    /// The places of the runs that the matchers may select, in their order; `None` stands for all.
    pub(super) fn candidates(
        &self,
        index: &SeriesIndex,
        matchers: &[&Matcher],
        config: &SeriesConfig,
    ) -> Option<Vec<u32>> {
        if index.runs.len() < RUNS_MIN {
            return None;
        }
        let of_matcher = |matcher: &&&Matcher| {
            let key = (index.key, Arc::from(matcher.name.as_str()));
            let made = self.0.get_or_insert_with(&key, || {
                Ok::<_, std::convert::Infallible>(Arc::new(Postings::of(index, &matcher.name, config)))
            });
            let Ok(postings) = made;
            postings.places(&matcher.value)
        };
        let served = matchers.iter().filter(|matcher| serves(matcher, config));
        served.map(|matcher| of_matcher(&matcher)).min_by_key(Vec::len)
    }
}
