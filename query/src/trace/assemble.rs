//! From the spans of one trace to a tree in reading order, and what is worth knowing at a glance.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use arrow::array::RecordBatch;
use hashbrown::{HashMap, HashSet};
use trivium_model::TraceId;
use trivium_storage::attributes::write_string;

use super::span::Spans;
use crate::error::Error;
use crate::lookup::id_at;

/// One span in its place in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpanNode {
    /// Which batch, which row.
    pub(crate) batch: usize,
    pub(crate) row: usize,
    pub(crate) depth: u32,
    /// Another span of the trace has the same ID and other content.
    pub(crate) is_conflict: bool,
}

/// A trace: its spans in reading order and its summary.
#[derive(Debug)]
pub(crate) struct TraceView {
    pub(crate) trace_id: TraceId,
    pub(crate) nodes: Vec<SpanNode>,
    pub(crate) summary: Summary,
}

/// What is worth knowing of a trace at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) root_service: String,
    pub(crate) root_name: String,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) spans: usize,
    pub(crate) errors: usize,
    /// Spans whose parent is not there.
    pub(crate) missing_parents: usize,
    pub(crate) services: BTreeMap<String, usize>,
}

/// One span while the tree is being built.
struct Item<'batch> {
    batch: usize,
    row: usize,
    time: i64,
    span_id: &'batch [u8],
    parent: Option<&'batch [u8]>,
    is_conflict: bool,
}

/// Builds the trees of all traces in the batches.
pub(crate) fn assemble(batches: &[RecordBatch]) -> Result<Vec<TraceView>, Error> {
    let columns = batches.iter().map(Spans::new).collect::<Result<Vec<_>, _>>()?;
    let mut traces: BTreeMap<TraceId, Vec<Item<'_>>> = BTreeMap::new();
    for (batch, spans) in columns.iter().enumerate() {
        for row in 0..spans.len() {
            let Some(trace_id) = id_at(spans.trace_ids, row) else { continue };
            let item = Item {
                batch,
                row,
                time: spans.times[row],
                span_id: spans.span_id(row),
                parent: spans.parent_id(row),
                is_conflict: false,
            };
            traces.entry(trace_id).or_default().push(item);
        }
    }
    Ok(traces.into_iter().map(|(trace_id, items)| view(trace_id, items, &columns)).collect())
}

fn view(trace_id: TraceId, items: Vec<Item<'_>>, columns: &[Spans<'_>]) -> TraceView {
    let mut items = without_copies(items, columns);
    items.sort_by_key(|item| (item.time, item.span_id));
    let summary = summarise(&items, columns);
    TraceView { trace_id, nodes: in_reading_order(&items), summary }
}

/// A span that arrived twice with the same content is one span; with other content both are kept and marked.
fn without_copies<'batch>(items: Vec<Item<'batch>>, columns: &[Spans<'batch>]) -> Vec<Item<'batch>> {
    let mut by_id: HashMap<&[u8], Vec<Item<'batch>>> = HashMap::new();
    for item in items {
        by_id.entry(item.span_id).or_default().push(item);
    }
    let mut kept = Vec::new();
    for mut same in by_id.into_values() {
        if same.len() > 1 {
            let mut seen = HashSet::new();
            same.retain(|item| {
                let mut json = String::new();
                columns[item.batch].write_open(&mut json, item.row);
                seen.insert(json)
            });
            let is_conflict = same.len() > 1;
            same.iter_mut().for_each(|item| item.is_conflict = is_conflict);
        }
        kept.append(&mut same);
    }
    kept
}

/// Depth first, siblings by time. Every span comes exactly once, also when parents form a circle: what no root reaches is
/// walked from its earliest span.
fn in_reading_order(items: &[Item<'_>]) -> Vec<SpanNode> {
    let mut by_id: HashMap<&[u8], usize> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        by_id.entry(item.span_id).or_insert(index);
    }
    let parent_of = |item: &Item<'_>| item.parent.and_then(|parent| by_id.get(parent).copied());
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match parent_of(item) {
            Some(parent) if parent != index => children.entry(parent).or_default().push(index),
            _ => roots.push(index),
        }
    }
    let mut nodes = Vec::with_capacity(items.len());
    let mut visited = vec![false; items.len()];
    for root in roots.into_iter().chain(0..items.len()) {
        let mut open = vec![(root, 0)];
        while let Some((index, depth)) = open.pop() {
            if std::mem::replace(&mut visited[index], true) {
                continue;
            }
            let item = &items[index];
            nodes.push(SpanNode { batch: item.batch, row: item.row, depth, is_conflict: item.is_conflict });
            let below = children.get(&index).map(Vec::as_slice).unwrap_or_default();
            open.extend(below.iter().rev().map(|child| (*child, depth + 1)));
        }
    }
    nodes
}

fn summarise(items: &[Item<'_>], columns: &[Spans<'_>]) -> Summary {
    let ids: HashSet<&[u8]> = items.iter().map(|item| item.span_id).collect();
    let mut summary = Summary { start: i64::MAX, end: i64::MIN, spans: items.len(), ..Summary::default() };
    for item in items {
        let spans = &columns[item.batch];
        summary.start = summary.start.min(item.time);
        summary.end = summary.end.max(item.time.saturating_add(spans.duration(item.row).unwrap_or(0).max(0)));
        summary.errors += usize::from(spans.status_codes[item.row] == 2);
        summary.missing_parents += usize::from(item.parent.is_some_and(|parent| !ids.contains(parent)));
        *summary.services.entry(spans.service(item.row).to_owned()).or_default() += 1;
    }
    let root = items.iter().find(|item| item.parent.is_none()).or_else(|| items.first());
    if let Some(root) = root {
        summary.root_service = columns[root.batch].service(root.row).to_owned();
        summary.root_name = columns[root.batch].name(root.row).to_owned();
    }
    summary
}

impl Summary {
    /// The services, in the order of their names.
    pub(crate) fn service_names(&self) -> BTreeSet<&str> {
        self.services.keys().map(String::as_str).collect()
    }

    /// Appends the members of the summary's JSON object, without braces.
    pub(crate) fn write_members(&self, output: &mut String) {
        output.push_str("\"root_service\":");
        write_string(output, &self.root_service);
        output.push_str(",\"root_name\":");
        write_string(output, &self.root_name);
        let duration = self.end.saturating_sub(self.start);
        let numbers = format_args!(
            ",\"start_time\":\"{}\",\"end_time\":\"{}\",\"duration\":\"{duration}\",\"span_count\":{},\"error_count\":{},\"missing_parents\":{}",
            self.start, self.end, self.spans, self.errors, self.missing_parents
        );
        output.write_fmt(numbers).expect("writing to a String cannot fail");
        output.push_str(",\"services\":[");
        for (index, service) in self.service_names().into_iter().enumerate() {
            if index > 0 {
                output.push(',');
            }
            write_string(output, service);
        }
        output.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<'a>(row: usize, id: &'a [u8], parent: Option<&'a [u8]>) -> Item<'a> {
        Item { batch: 0, row, time: row as i64, span_id: id, parent, is_conflict: false }
    }

    fn check(items: &[Item<'_>], expected: &[(usize, u32)]) {
        let order: Vec<(usize, u32)> = in_reading_order(items).iter().map(|node| (node.row, node.depth)).collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn children_follow_their_parents_in_time_order() {
        let items =
            [item(0, b"a", None), item(1, b"b", Some(b"a")), item(2, b"c", Some(b"a")), item(3, b"d", Some(b"b"))];
        check(&items, &[(0, 0), (1, 1), (3, 2), (2, 1)]);
    }

    #[test]
    fn orphans_are_roots() {
        check(&[item(0, b"a", Some(b"x")), item(1, b"b", Some(b"a"))], &[(0, 0), (1, 1)]);
    }

    #[test]
    fn circles_and_own_parents_end() {
        check(&[item(0, b"a", Some(b"b")), item(1, b"b", Some(b"a"))], &[(0, 0), (1, 1)]);
        check(&[item(0, b"a", Some(b"a"))], &[(0, 0)]);
    }
}
