//! A part cut into pieces of rows with known bounds of time, from the page index of its time column: pieces that cannot
//! contribute to an answer are never read.

use datafusion::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use datafusion::parquet::file::page_index::column_index::ColumnIndexMetaData;
use datafusion::parquet::file::statistics::Statistics;
use trivium_model::{TimeRange, UnixNanos};
use trivium_storage::{Part, RowRanges};

use super::columns::TIME;
use crate::error::Error;

/// Bytes that one piece may take in memory, estimated from the size of its row group.
pub(super) const CHUNK_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Rows of a part whose times lie between two bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) rows: RowRanges,
    /// Inclusive.
    pub(super) first: i64,
    /// Inclusive.
    pub(super) last: i64,
    /// What the rows take in memory with all their columns, about.
    pub(super) bytes: u64,
}

/// The pieces of the candidate rows that overlap `range`, of about `rows_target` candidates each.
pub(super) fn chunks_of_part(
    part: &Part,
    candidates: &RowRanges,
    range: TimeRange,
    rows_target: u64,
) -> Result<Vec<Chunk>, Error> {
    let metadata = part.metadata()?;
    let pages = pages(&metadata, part.record().first_time, part.record().last_time);
    Ok(merge(pages, candidates, range, rows_target))
}

/// Rows of one page, or of a row group without page index.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PageBounds {
    start: u32,
    end: u32,
    first: i64,
    last: i64,
    bytes_per_row: u64,
}

fn pages(metadata: &ParquetMetaData, first: UnixNanos, last: UnixNanos) -> Vec<PageBounds> {
    let mut pages = Vec::new();
    let mut start = 0;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = u32::try_from(group.num_rows()).unwrap_or(0);
        let whole = whole_group(group, start, start + rows, first, last);
        match pages_of_group(metadata, index, group, &whole) {
            Some(found) => pages.extend(found),
            None => pages.push(whole),
        }
        start += rows;
    }
    pages
}

fn time_column(group: &RowGroupMetaData) -> Option<usize> {
    group.columns().iter().position(|column| column.column_path().string() == TIME)
}

fn whole_group(group: &RowGroupMetaData, start: u32, end: u32, first: UnixNanos, last: UnixNanos) -> PageBounds {
    let bytes_per_row = u64::try_from(group.total_byte_size()).unwrap_or(0) / u64::from(end - start).max(1);
    let statistics = time_column(group).and_then(|column| group.column(column).statistics());
    let bounds = match statistics {
        Some(Statistics::Int64(values)) => values.min_opt().copied().zip(values.max_opt().copied()),
        _ => None,
    };
    let (first, last) = bounds.unwrap_or((first.0, last.0));
    PageBounds { start, end, first, last, bytes_per_row }
}

fn pages_of_group(
    metadata: &ParquetMetaData,
    index: usize,
    group: &RowGroupMetaData,
    whole: &PageBounds,
) -> Option<Vec<PageBounds>> {
    let column = time_column(group)?;
    let ColumnIndexMetaData::INT64(bounds) = metadata.column_index()?.get(index)?.get(column)? else { return None };
    let locations = metadata.offset_index()?.get(index)?.get(column)?.page_locations();
    let row_of = |page: usize| match locations.get(page) {
        Some(location) => u32::try_from(location.first_row_index).ok().map(|row| whole.start + row),
        None => Some(whole.end),
    };
    let (firsts, lasts) = (bounds.min_values(), bounds.max_values());
    if firsts.len() != locations.len() || lasts.len() != locations.len() {
        return None;
    }
    (0..locations.len())
        .map(|page| {
            let (start, end) = (row_of(page)?, row_of(page + 1)?);
            let (first, last) = (*firsts.get(page)?, *lasts.get(page)?);
            (start <= end).then_some(PageBounds { start, end, first, last, bytes_per_row: whole.bytes_per_row })
        })
        .collect()
}

/// Joins neighbouring pages until a piece has enough candidates, and cuts pages that have too many.
fn merge(pages: Vec<PageBounds>, candidates: &RowRanges, range: TimeRange, rows_target: u64) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut open = false;
    for page in pages {
        let overlaps = range.overlaps(UnixNanos(page.first), UnixNanos(page.last));
        let rows_max = rows_target.min(CHUNK_BYTES_MAX / page.bytes_per_row.max(1)).max(64);
        let rows = if overlaps { within(candidates, page.start, page.end) } else { RowRanges::none() };
        for rows in cut(&rows, rows_max) {
            let bytes = rows.len() * page.bytes_per_row;
            match chunks.last_mut().filter(|chunk| open && chunk.rows.len() + rows.len() <= rows_max) {
                Some(chunk) => {
                    chunk.rows = RowRanges::from_sorted(chunk.rows.iter().chain(rows.iter()));
                    chunk.first = chunk.first.min(page.first);
                    chunk.last = chunk.last.max(page.last);
                    chunk.bytes += bytes;
                }
                None => chunks.push(Chunk { rows, first: page.first, last: page.last, bytes }),
            }
            open = true;
        }
    }
    chunks
}

fn within(rows: &RowRanges, start: u32, end: u32) -> RowRanges {
    rows.intersect(&RowRanges::from_sorted([start..end]))
}

/// The rows in pieces of at most `rows_max`.
fn cut(rows: &RowRanges, rows_max: u64) -> Vec<RowRanges> {
    if rows.is_empty() {
        return Vec::new();
    }
    if rows.len() <= rows_max {
        return vec![rows.clone()];
    }
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut room = rows_max;
    for mut range in rows.iter() {
        while !range.is_empty() {
            let taken = u32::try_from(room).unwrap_or(u32::MAX).min(range.end - range.start);
            piece.push(range.start..range.start + taken);
            range.start += taken;
            room -= u64::from(taken);
            if room == 0 {
                pieces.push(RowRanges::from_sorted(std::mem::take(&mut piece)));
                room = rows_max;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(RowRanges::from_sorted(piece));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(start: u32, end: u32, first: i64, last: i64) -> PageBounds {
        PageBounds { start, end, first, last, bytes_per_row: 100 }
    }

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange { start: UnixNanos(start), end: UnixNanos(end) }
    }

    #[test]
    fn pages_outside_the_range_are_left_out() {
        let pages = vec![page(0, 1_000, 0, 9), page(1_000, 2_000, 10, 19), page(2_000, 3_000, 0, 5)];
        let chunks = merge(pages, &RowRanges::all(3_000), range(10, 20), 1_000);
        assert_eq!(
            chunks,
            [Chunk { rows: RowRanges::from_sorted([1_000..2_000]), first: 10, last: 19, bytes: 100_000 }]
        );
    }

    #[test]
    fn sparse_candidates_of_many_pages_are_one_piece() {
        let pages = (0..10)
            .map(|page_number| page(page_number * 100, page_number * 100 + 100, i64::from(page_number), 50))
            .collect();
        let candidates = RowRanges::from_sorted([5..7, 950..951]);
        let chunks = merge(pages, &candidates, TimeRange::ALL, 1_000);
        assert_eq!(chunks, [Chunk { rows: candidates, first: 0, last: 50, bytes: 300 }]);
    }

    #[test]
    fn large_pages_are_cut_and_no_row_is_lost() {
        let chunks =
            merge(vec![page(0, 10_000, 0, 9)], &RowRanges::from_sorted([1..5_000, 6_000..9_999]), TimeRange::ALL, 700);
        assert!(chunks.iter().all(|chunk| chunk.rows.len() <= 700));
        let rows = RowRanges::from_sorted(chunks.iter().flat_map(|chunk| chunk.rows.iter()));
        assert_eq!(rows, RowRanges::from_sorted([1..5_000, 6_000..9_999]));
    }

    #[test]
    fn large_rows_make_small_pieces() {
        let mut huge = page(0, 1_000, 0, 9);
        huge.bytes_per_row = 100_000;
        let chunks = merge(vec![huge], &RowRanges::all(1_000), TimeRange::ALL, 8_192);
        assert!(chunks.iter().all(|chunk| chunk.rows.len() <= 168), "{chunks:?}");
    }
}
