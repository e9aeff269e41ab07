//! What to say about a field that no record has.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};

use super::columns::{ATTRIBUTES, RESOURCE, dictionary};
use super::json_text;
use super::scan::Source;
use trivium_storage::RowRanges;

/// Rows of each of the newest sources whose keys are looked at.
const ROWS_MAX: u32 = 512;
/// How many sources.
const SOURCES_MAX: usize = 3;
/// Names that a warning offers.
const NAMES_MAX: usize = 3;

/// One warning for each key that recent records do not have.
pub(super) fn warnings(unseen: &[String], sources: &[Source]) -> Vec<String> {
    if unseen.is_empty() {
        return Vec::new();
    }
    let known = known_keys(sources);
    let unknown = unseen.iter().filter(|key| !known.contains(*key) && !is_path_into(key, &known));
    unknown.take(NAMES_MAX).map(|key| warning(key, &known)).collect()
}

fn warning(key: &str, known: &BTreeSet<String>) -> String {
    let shown: String = key.chars().take(100).collect();
    let names = close_names(key, known);
    if names.is_empty() {
        return format!("no record that was looked at has the field `{shown}`");
    }
    format!("no record that was looked at has the field `{shown}`; did you mean {}?", names.join(", "))
}

/// Whether a dotted name may lead into a nested attribute.
fn is_path_into(key: &str, known: &BTreeSet<String>) -> bool {
    key.match_indices('.').any(|(dot, _)| key.get(..dot).is_some_and(|prefix| known.contains(prefix)))
}

/// The keys of some recent records. Sources that cannot be read say nothing here; the search has told of them.
fn known_keys(sources: &[Source]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for source in sources.iter().rev().take(SOURCES_MAX) {
        let batches = match source {
            Source::Buffered(batch) => {
                vec![batch.slice(0, batch.num_rows().min(usize::try_from(ROWS_MAX).unwrap_or(0)))]
            }
            Source::Part(part) => {
                let rows = part.record().rows;
                let newest = RowRanges::from_sorted([rows.saturating_sub(ROWS_MAX)..rows]);
                part.read(Some(&[ATTRIBUTES, RESOURCE]), Some(&newest)).unwrap_or_default()
            }
        };
        batches.iter().for_each(|batch| add_keys(batch, &mut keys));
    }
    keys
}

fn add_keys(batch: &RecordBatch, keys: &mut BTreeSet<String>) {
    for name in [ATTRIBUTES, RESOURCE] {
        let Ok(column) = dictionary(batch, name) else { continue };
        let values = column.values().as_string::<i32>();
        let entries: BTreeSet<usize> = (0..column.len()).filter_map(|row| column.key(row)).collect();
        for entry in entries.into_iter().filter(|&entry| entry < values.len()) {
            for (key, _) in json_text::members(values.value(entry)).into_iter().flatten() {
                if !keys.contains(key.as_ref()) {
                    keys.insert(key.into_owned());
                }
            }
        }
    }
}

fn close_names(key: &str, known: &BTreeSet<String>) -> Vec<String> {
    let wanted = key.to_lowercase();
    let mut names: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|name| closeness(&wanted, &name.to_lowercase()).map(|distance| (distance, name.as_str())))
        .collect();
    if ["message", "msg", "text", "log", "line"].contains(&wanted.as_str()) {
        names.push((0, "body"));
    }
    names.sort_unstable();
    names.into_iter().take(NAMES_MAX).map(|(_, name)| format!("`{name}`")).collect()
}

/// How far apart two names are; `None` when nobody would mistake one for the other.
fn closeness(wanted: &str, name: &str) -> Option<usize> {
    let allowed = (wanted.chars().count() / 4).clamp(1, 3);
    let last = |name: &str| name.rsplit(['.', '_']).next().map(str::to_owned);
    let distance = edit_distance(wanted, name, allowed);
    let same_end = (wanted.len() > 2 && name.ends_with(wanted)) || (last(wanted) == last(name) && wanted.contains('.'));
    distance.or(same_end.then_some(allowed + 1))
}

/// The Levenshtein distance, when it is at most `allowed`.
pub(super) fn edit_distance(left: &str, right: &str, allowed: usize) -> Option<usize> {
    let right: Vec<char> = right.chars().take(257).collect();
    if left.len() > 256 || right.len() > 256 {
        return None;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        for (slot, to) in row.iter_mut().skip(1).zip(&right) {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = *slot;
            *slot = substituted.min(diagonal + 1).min(previous + 1);
            previous = *slot;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().filter(|&distance| distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_nearly_right_are_offered() {
        let known: BTreeSet<String> =
            ["http.route", "http.request.method", "user.id", "url.path"].into_iter().map(str::to_owned).collect();
        for (key, offered) in [
            ("htp.route", vec!["`http.route`"]),
            ("HTTP.Route", vec!["`http.route`"]),
            ("route", vec!["`http.route`"]),
            ("usr.id", vec!["`user.id`"]),
            ("message", vec!["`body`"]),
            ("completely.different", vec![]),
        ] {
            assert_eq!(close_names(key, &known), offered, "{key}");
        }
        assert_eq!(warning("zzz", &known), "no record that was looked at has the field `zzz`");
    }

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(edit_distance("kitten", "sitting", 3), Some(3));
        assert_eq!(edit_distance("kitten", "sitting", 2), None);
        assert_eq!(edit_distance("", "ab", 2), Some(2));
        assert_eq!(edit_distance("ab", "", 2), Some(2));
    }
}
