//! The order of the rows in a part.
//!
//! | signal | order |
//! |---|---|
//! | logs | service name, time |
//! | spans | trace (traces by their first time), time |
//! | metrics | metric name, resource, series, time |
//!
//! Equal rows keep their order of arrival. Every order is a list of groups with times inside, so a sort is: number the
//! groups, order the groups, count the rows into them, sort each by time (which is mostly sorted already).

use arrow::array::{Array, AsArray, DictionaryArray, RecordBatch};
use arrow::datatypes::{Int32Type, TimestampNanosecondType, UInt64Type};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use trivium_model::SignalKind;

use crate::error::Error;
use crate::schema::{SERVICE_NAME, TIME};

/// The columns that Parquet's `sorting_columns` may name: those by whose values the rows ascend.
pub(crate) fn sorted_by(signal: SignalKind) -> &'static [&'static str] {
    match signal {
        SignalKind::Logs => &[SERVICE_NAME, TIME],
        SignalKind::Traces => &[],
        SignalKind::Metrics => &["metric_name", "resource"],
    }
}

/// Row numbers of `table` in the order of the part.
pub(crate) fn order(signal: SignalKind, table: &RecordBatch) -> Result<Vec<u32>, Error> {
    let times = column(table, TIME)?.as_primitive::<TimestampNanosecondType>().values();
    let (groups, rank) = match signal {
        SignalKind::Logs => by_service(table)?,
        SignalKind::Traces => by_trace(table, times)?,
        SignalKind::Metrics => by_series(table)?,
    };
    Ok(arrange(&groups, &rank, times))
}

fn column<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, Error> {
    let column = table.column_by_name(name).ok_or_else(|| Error::Internal(format!("a batch without column {name}")))?;
    Ok(column.as_ref())
}

fn text<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a DictionaryArray<Int32Type>, Error> {
    column(table, name)?
        .as_dictionary_opt()
        .ok_or_else(|| Error::Internal(format!("column {name} is not dictionary text")))
}

/// Per dictionary value its place among the texts; equal texts share one.
fn ranks(array: &DictionaryArray<Int32Type>) -> Vec<u32> {
    let values = array.values().as_string::<i32>();
    let mut sorted: Vec<u32> = (0..values.len() as u32).collect();
    sorted.sort_unstable_by_key(|value| values.value(*value as usize));
    let mut ranks = vec![0; values.len()];
    let mut rank = 0;
    for (index, value) in sorted.iter().enumerate() {
        if index > 0 && values.value(sorted[index - 1] as usize) != values.value(*value as usize) {
            rank += 1;
        }
        ranks[*value as usize] = rank;
    }
    ranks
}

/// The group of each row, and of each group its place.
type Groups = (Vec<u32>, Vec<u32>);

fn by_service(table: &RecordBatch) -> Result<Groups, Error> {
    let services = text(table, SERVICE_NAME)?;
    let ranks = ranks(services);
    let groups = services.keys().values().iter().map(|key| ranks[*key as usize]).collect();
    // The ranks are the places already.
    let places = (0..ranks.len() as u32).collect();
    Ok((groups, places))
}

fn by_trace(table: &RecordBatch, times: &[i64]) -> Result<Groups, Error> {
    let ids = column(table, "trace_id")?.as_fixed_size_binary();
    let (ids, _) = ids.value_data().as_chunks::<16>();
    let mut known: HashMap<[u8; 16], u32> = HashMap::new();
    let mut first_times: Vec<i64> = Vec::new();
    let mut groups = Vec::with_capacity(ids.len());
    for (id, time) in ids.iter().zip(times) {
        let group = match known.entry(*id) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                first_times.push(*time);
                *entry.insert(first_times.len() as u32 - 1)
            }
        };
        let first = &mut first_times[group as usize];
        *first = (*first).min(*time);
        groups.push(group);
    }
    let places = places(first_times.len(), |group| first_times[group]);
    Ok((groups, places))
}

fn by_series(table: &RecordBatch) -> Result<Groups, Error> {
    let (resources, names) = (text(table, "resource")?, text(table, "metric_name")?);
    let (resource_ranks, name_ranks) = (ranks(resources), ranks(names));
    let series = column(table, "series_id")?.as_primitive::<UInt64Type>().values();
    let mut known: HashMap<(u32, u32, u64), u32> = HashMap::new();
    let mut keys: Vec<(u32, u32, u64)> = Vec::new();
    let mut groups = Vec::with_capacity(series.len());
    let rows = resources.keys().values().iter().zip(names.keys().values()).zip(series);
    for ((resource, name), series) in rows {
        let key = (name_ranks[*name as usize], resource_ranks[*resource as usize], *series);
        groups.push(match known.entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                keys.push(key);
                *entry.insert(keys.len() as u32 - 1)
            }
        });
    }
    let places = places(keys.len(), |group| keys[group]);
    Ok((groups, places))
}

fn places<K: Ord>(groups: usize, key: impl Fn(usize) -> K) -> Vec<u32> {
    let mut sorted: Vec<u32> = (0..groups as u32).collect();
    sorted.sort_by_key(|group| key(*group as usize));
    let mut places = vec![0; groups];
    for (place, group) in sorted.iter().enumerate() {
        places[*group as usize] = place as u32;
    }
    places
}

/// Rows by the place of their group, then by time.
fn arrange(groups: &[u32], places: &[u32], times: &[i64]) -> Vec<u32> {
    let mut starts = vec![0_u32; places.len() + 1];
    for group in groups {
        starts[places[*group as usize] as usize + 1] += 1;
    }
    for place in 1..starts.len() {
        starts[place] += starts[place - 1];
    }
    let mut next = starts.clone();
    let mut rows = vec![0_u32; groups.len()];
    for (row, group) in groups.iter().enumerate() {
        let at = &mut next[places[*group as usize] as usize];
        rows[*at as usize] = row as u32;
        *at += 1;
    }
    for bounds in starts.windows(2) {
        let group = &mut rows[bounds[0] as usize..bounds[1] as usize];
        if !group.is_sorted_by_key(|row| times[*row as usize]) {
            group.sort_by_key(|row| times[*row as usize]);
        }
    }
    rows
}
