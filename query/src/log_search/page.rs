//! From the places of hits to records as JSON: only the rows that are shown are read whole.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use trivium_storage::RowRanges;
use xxhash_rust::xxh3::xxh3_64;

use super::cursor::Cursor;
use super::record::LogRecords;
use super::scan::{Scanned, Source};
use super::top::{Place, SortKey};
use crate::error::Error;

/// Records that are read whole at once.
const ROWS_AT_ONCE: usize = 256;
/// Bytes of the records of one page; the page ends early when they are reached.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One page of records.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// As JSON, in order.
    pub(super) records: Vec<String>,
    /// Where the next page starts; `None` when there is none.
    pub(super) next: Option<Cursor>,
    /// Whether the page ended before the limit because its records are large.
    pub(super) cut_by_bytes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Hit {
    key: SortKey,
    place: Place,
    /// Of the content; known only where records of the same key must be told apart.
    hash: Option<u64>,
}

/// What a page is made from.
#[derive(Debug)]
pub(super) struct PageRequest<'request> {
    pub(super) sources: &'request [Source],
    pub(super) limit: usize,
    pub(super) descending: bool,
    pub(super) cursor: Option<Cursor>,
}

impl PageRequest<'_> {
    /// The first page after the cursor.
    pub(super) fn page(&self, scanned: &Scanned) -> Result<Page, Error> {
        let mut hits = self.hits_at_cursor(&scanned.at_cursor)?;
        hits.extend(scanned.rows.iter().map(|&(key, place)| Hit { key, place, hash: None }));
        if self.limit == 0 {
            return Ok(Page::default());
        }
        self.order_group_at(&mut hits, self.limit)?;
        let wanted = hits.get(..self.limit).unwrap_or(&hits);
        let records = self.records(wanted)?;
        let cut_by_bytes = records.len() < wanted.len();
        if !cut_by_bytes {
            let next = self.cursor_after(&hits, records.len());
            return Ok(Page { records, next, cut_by_bytes });
        }
        // The page ends within records of one key that were not ordered yet.
        let shown = records.len();
        self.order_group_at(&mut hits, shown)?;
        let mut records = self.records(hits.get(..shown).unwrap_or(&hits))?;
        while records.len() < shown && self.order_group_at(&mut hits, records.len())? {
            let fewer = records.len();
            records = self.records(hits.get(..fewer).unwrap_or(&hits))?;
        }
        let next = self.cursor_after(&hits, records.len());
        Ok(Page { records, next, cut_by_bytes })
    }

    /// The hits that share the key of the cursor and were not shown, in order.
    fn hits_at_cursor(&self, places: &[Place]) -> Result<Vec<Hit>, Error> {
        let Some(cursor) = self.cursor.filter(|_| !places.is_empty()) else { return Ok(Vec::new()) };
        let mut hits: Vec<Hit> = places.iter().map(|&place| Hit { key: cursor.key, place, hash: None }).collect();
        self.order_by_content(&mut hits)?;
        let mut shown = cursor.shown;
        hits.retain(|hit| match hit.hash.unwrap_or_default().cmp(&cursor.hash) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if shown > 0 => {
                shown -= 1;
                false
            }
            _ => true,
        });
        Ok(hits)
    }

    /// Orders the hits of one key by their content when a page ends between them. Says whether there was something to do.
    fn order_group_at(&self, hits: &mut [Hit], end: usize) -> Result<bool, Error> {
        let (Some(last), Some(next)) = (end.checked_sub(1).and_then(|last| hits.get(last)), hits.get(end)) else {
            return Ok(false);
        };
        if last.key != next.key || last.hash.is_some() {
            return Ok(false);
        }
        let key = last.key;
        let start = hits.partition_point(|hit| hit.key > key);
        let length = hits.iter().skip(start).take_while(|hit| hit.key == key).count();
        self.order_by_content(hits.get_mut(start..start + length).unwrap_or_default())?;
        Ok(true)
    }

    fn order_by_content(&self, hits: &mut [Hit]) -> Result<(), Error> {
        for chunk in hits.chunks_mut(ROWS_AT_ONCE) {
            let records = self.read(chunk)?;
            for hit in chunk {
                hit.hash = records.get(&hit.place).map(|record| xxh3_64(record.as_bytes()));
            }
        }
        hits.sort_by_key(|hit| (hit.hash, hit.place));
        Ok(())
    }

    fn cursor_after(&self, hits: &[Hit], shown: usize) -> Option<Cursor> {
        let next = hits.get(shown)?;
        let last = hits.get(shown.checked_sub(1)?)?;
        let descending = self.descending;
        let Some(hash) = last.hash.filter(|_| last.key == next.key) else {
            // All records of the key were shown: no hash is greater.
            return Some(Cursor { descending, key: last.key, hash: u64::MAX, shown: u32::MAX });
        };
        let same = |hit: &&Hit| hit.key == last.key && hit.hash == Some(hash);
        let on_this_page = u32::try_from(hits.iter().take(shown).filter(same).count()).unwrap_or(u32::MAX);
        let before =
            self.cursor.filter(|cursor| cursor.key == last.key && cursor.hash == hash).map_or(0, |cursor| cursor.shown);
        Some(Cursor { descending, key: last.key, hash, shown: before.saturating_add(on_this_page) })
    }

    /// The records as JSON, fewer when they are large, but at least one.
    fn records(&self, hits: &[Hit]) -> Result<Vec<String>, Error> {
        let mut records = Vec::new();
        let mut bytes = 0;
        for chunk in hits.chunks(ROWS_AT_ONCE) {
            let mut read = self.read(chunk)?;
            for hit in chunk {
                let record = read.remove(&hit.place).unwrap_or_default();
                bytes += record.len();
                if bytes > PAGE_BYTES_MAX && !records.is_empty() {
                    return Ok(records);
                }
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Reads the rows of some hits whole.
    fn read(&self, hits: &[Hit]) -> Result<BTreeMap<Place, String>, Error> {
        let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for hit in hits {
            rows.entry(hit.place.source).or_default().push(hit.place.row);
        }
        let mut records = BTreeMap::new();
        for (source, mut rows) in rows {
            rows.sort_unstable();
            rows.dedup();
            match self.sources.get(usize::try_from(source).unwrap_or(usize::MAX)) {
                Some(Source::Part(part)) => {
                    let ranges = RowRanges::from_sorted(rows.iter().map(|&row| row..row + 1));
                    let mut rows = rows.into_iter();
                    for batch in part.read(None, Some(&ranges))? {
                        let numbers = (0..batch.num_rows()).zip(rows.by_ref());
                        render(&batch, source, numbers, &mut records)?;
                    }
                }
                Some(Source::Buffered(batch)) => {
                    let numbers = rows.into_iter().map(|row| (usize::try_from(row).unwrap_or(usize::MAX), row));
                    render(batch, source, numbers, &mut records)?;
                }
                None => {}
            }
        }
        Ok(records)
    }
}

fn render(
    batch: &RecordBatch,
    source: u32,
    rows: impl Iterator<Item = (usize, u32)>,
    records: &mut BTreeMap<Place, String>,
) -> Result<(), Error> {
    let columns = LogRecords::new(batch)?;
    for (index, row) in rows.filter(|(index, _)| *index < batch.num_rows()) {
        let mut json = String::new();
        columns.write(&mut json, index);
        records.insert(Place { source, row }, json);
    }
    Ok(())
}
