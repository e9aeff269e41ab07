//! Runs a search over a snapshot. Blocking: callers put it on a thread of its own.

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use trivium_model::TimeRange;
use trivium_storage::Snapshot;

use super::cursor::Cursor;
use super::facets::{Facets, ValueCounts};
use super::field::Field;
use super::histogram::{Buckets, Histogram, clip};
use super::matcher::CompiledQuery;
use super::overview::{Counted, Overview};
use super::page::{Page, PageRequest};
use super::part_facts::PartFacts;
use super::scan::{ScanPlan, Scanned, Source, scan, sources};
use super::suggest;
use crate::error::Error;

/// What is asked of the logs.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// Which records.
    pub query: CompiledQuery,
    /// From when; all of time is fine, because the newest records are looked at first.
    pub range: TimeRange,
    /// How many records.
    pub limit: usize,
    /// The newest first; else the oldest.
    pub descending: bool,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// Whether to count all matches over time.
    pub histogram: Option<Buckets>,
    /// Fields whose values are counted over all matches.
    pub facets: Vec<Field>,
    /// Rows that are read for the facets at most, the first ones in order; [`FACET_ROWS_MAX`](super::FACET_ROWS_MAX) is enough
    /// to know what is frequent.
    pub facet_rows_max: u64,
    /// When to stop and answer with what was found.
    pub deadline: Instant,
}

/// What was found.
#[derive(Debug)]
pub struct SearchAnswer {
    /// The records as JSON, in order.
    pub records: Vec<String>,
    /// Where the next page starts; `None` on the last.
    pub next_cursor: Option<Cursor>,
    /// How many records match: exactly when `matched_exact`, else at least.
    pub matched: u64,
    /// Whether every record of the range was looked at.
    pub matched_exact: bool,
    /// Counts over time.
    pub histogram: Option<Histogram>,
    /// Counts of values, field by field.
    pub facets: Vec<(Field, ValueCounts)>,
    /// Whether time ran out, or a part could not be read: records may be missing, counts are too low.
    pub partial: bool,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// Rows that were looked at one by one.
    pub rows_read: u64,
}

/// Runs a search. A cancelled one answers early with what it has. `facts` are kept between searches.
pub fn search(
    snapshot: &Snapshot,
    request: &SearchRequest,
    facts: &PartFacts,
    cancel: &CancellationToken,
) -> Result<SearchAnswer, Error> {
    if let Some(cursor) = request.cursor.filter(|cursor| cursor.descending != request.descending) {
        let order = if cursor.descending { "desc" } else { "asc" };
        return Err(Error::invalid_with_hint(
            "the cursor belongs to the other order",
            format!("ask with order={order}"),
        ));
    }
    request.facets.iter().try_for_each(Facets::check)?;
    let sources = sources(snapshot, request.range)?;
    let histogram = request.histogram.map(|buckets| empty_histogram(buckets, request.range, &sources)).transpose()?;
    let (histogram, overview) = match histogram {
        // Counting all records needs no look at them, and leaves the search for the first ones free to stop early.
        Some(empty) if request.query.matches_everything() && request.facets.is_empty() => {
            let (range, deadline) = (request.range, request.deadline);
            (None, Some(Overview { sources: &sources, range, facts, deadline, cancel }.count(empty)?))
        }
        histogram => (histogram, None),
    };
    let plan = ScanPlan {
        query: &request.query,
        sources: &sources,
        range: request.range,
        descending: request.descending,
        // One more, to know whether there is another page.
        wanted: if request.limit == 0 { 0 } else { request.limit.saturating_add(1) },
        cursor: request.cursor,
        histogram,
        facets: &request.facets,
        facet_rows_max: request.facet_rows_max,
        facts,
        deadline: request.deadline,
        cancel,
    };
    let needs_no_rows = overview.is_some() && request.limit == 0;
    let scanned = if needs_no_rows { Scanned::default() } else { scan(&plan)? };
    let page =
        PageRequest { sources: &sources, limit: request.limit, descending: request.descending, cursor: request.cursor }
            .page(&scanned)?;
    let exact = scanned.complete && (request.cursor.is_none() || plan.counts_everything());
    Ok(answer(request, &sources, (scanned, exact), page, overview))
}

fn answer(
    request: &SearchRequest,
    sources: &[Source],
    (scanned, exact): (Scanned, bool),
    page: Page,
    overview: Option<Counted>,
) -> SearchAnswer {
    let mut warnings = request.query.warnings().to_vec();
    warnings.extend(scanned.warnings);
    let mut answer = SearchAnswer {
        records: page.records,
        next_cursor: page.next,
        matched: scanned.matched,
        matched_exact: exact,
        histogram: scanned.histogram,
        facets: scanned.facets,
        partial: scanned.partial,
        warnings: Vec::new(),
        rows_read: scanned.rows_read,
    };
    if let Some(counted) = overview {
        answer.matched = counted.histogram.total();
        answer.partial |= counted.partial;
        answer.matched_exact = !answer.partial;
        answer.histogram = Some(counted.histogram);
        warnings.extend(counted.warnings);
    }
    if answer.partial {
        warnings.push("the search did not see all records: counts are too low, and records may be missing".into());
    }
    if scanned.facets_cut {
        answer.partial = true;
        let order = if request.descending { "newest" } else { "oldest" };
        warnings.push(format!(
            "the facets were counted over about the {order} {} records that were read; narrow the time or the query for exact counts",
            request.facet_rows_max
        ));
    }
    if page.cut_by_bytes {
        warnings.push("the records are large: the page has fewer than asked for; go on with next_cursor".into());
    }
    warnings.extend(suggest::warnings(&scanned.unseen_keys, sources));
    warnings.dedup();
    answer.warnings = warnings;
    answer
}

/// Buckets over the part of the range in which there are records.
fn empty_histogram(buckets: Buckets, range: TimeRange, sources: &[Source]) -> Result<Histogram, Error> {
    let mut bounds: Option<(i64, i64)> = None;
    for source in sources {
        let Some((first, last)) = source.time_bounds()? else { continue };
        bounds = Some(bounds.map_or((first, last), |known| (known.0.min(first), known.1.max(last))));
    }
    let (first, last) = bounds.and_then(|(first, last)| clip(range, first, last)).unwrap_or((0, 0));
    Histogram::new(buckets, first, last)
}

#[cfg(test)]
#[path = "execute_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "parts_tests.rs"]
mod parts_tests;
