//! One trace as a tree: each span with its bar on the time line, its events and its log records below it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::log_line;
use crate::terminal::{Terminal, Tone, cut, fit};
use crate::value::{display, duration, integer, list, text, time};

/// Columns of the output when nobody looks at a terminal.
const WIDTH: usize = 140;

/// Deeper spans are not indented further.
const INDENT_MAX: usize = 24;

const DURATION_WIDTH: usize = 8;

/// Renders `{"trace_id", "spans": […], "logs": […]}`.
pub(crate) fn render(answer: &Value, terminal: Terminal) -> String {
    let spans = list(answer, "spans");
    let tree = Tree::new(spans);
    let mut logs = LogsBySpan::new(list(answer, "logs"));
    let frame = Frame::new(spans, terminal);
    let mut lines = vec![frame.heading(answer, spans.len(), list(answer, "logs").len())];
    for (index, depth) in tree.in_order() {
        let span = &spans[index];
        lines.push(frame.span(span, depth, tree.is_orphan(index)));
        lines.extend(list(span, "events").iter().map(|event| frame.event(event, depth)));
        lines.extend(logs.take(&text(span, "span_id")).into_iter().map(|record| frame.record(record, depth)));
    }
    let rest = logs.rest();
    if !rest.is_empty() {
        lines.push(terminal.paint(Tone::Strong, "log records of no span above"));
        lines.extend(rest.into_iter().map(|record| log_line::render(record, terminal)));
    }
    lines.join("\n")
}

/// Which span is below which.
struct Tree {
    roots: Vec<usize>,
    children: HashMap<usize, Vec<usize>>,
    orphans: HashSet<usize>,
}

impl Tree {
    fn new(spans: &[Value]) -> Self {
        let mut order: Vec<usize> = (0..spans.len()).collect();
        order.sort_by_key(|&index| start(&spans[index]));
        let by_id: HashMap<&str, usize> =
            spans.iter().enumerate().filter_map(|(index, span)| Some((span["span_id"].as_str()?, index))).collect();
        let mut tree = Self { roots: Vec::new(), children: HashMap::new(), orphans: HashSet::new() };
        for index in order {
            let parent = spans[index]["parent_span_id"].as_str().filter(|parent| !parent.is_empty());
            match parent.map(|parent| by_id.get(parent).copied().filter(|&parent| parent != index)) {
                Some(Some(parent)) => tree.children.entry(parent).or_default().push(index),
                Some(None) => {
                    tree.orphans.insert(index);
                    tree.roots.push(index);
                }
                None => tree.roots.push(index),
            }
        }
        tree
    }

    fn is_orphan(&self, index: usize) -> bool {
        self.orphans.contains(&index)
    }

    /// Every span once, parents first, with its depth. Spans that are each other's parents are taken last, as roots.
    fn in_order(&self) -> Vec<(usize, usize)> {
        let mut visited = HashSet::new();
        let mut ordered = Vec::new();
        let circular = self.children.keys().copied().collect::<std::collections::BTreeSet<_>>();
        for root in self.roots.iter().copied().chain(circular) {
            let mut stack = vec![(root, 0)];
            while let Some((index, depth)) = stack.pop() {
                if !visited.insert(index) {
                    continue;
                }
                ordered.push((index, depth));
                let children = self.children.get(&index).map(Vec::as_slice).unwrap_or_default();
                stack.extend(children.iter().rev().map(|&child| (child, depth + 1)));
            }
        }
        ordered
    }
}

/// The log records that no span has taken yet.
struct LogsBySpan<'a> {
    records: Vec<Option<&'a Value>>,
    by_span: HashMap<&'a str, Vec<usize>>,
}

impl<'a> LogsBySpan<'a> {
    fn new(records: &'a [Value]) -> Self {
        let mut by_span: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            by_span.entry(record["span_id"].as_str().unwrap_or_default()).or_default().push(index);
        }
        Self { records: records.iter().map(Some).collect(), by_span }
    }

    fn take(&mut self, span: &str) -> Vec<&'a Value> {
        let indices = if span.is_empty() { Vec::new() } else { self.by_span.remove(span).unwrap_or_default() };
        indices.into_iter().filter_map(|index| self.records[index].take()).collect()
    }

    fn rest(self) -> Vec<&'a Value> {
        self.records.into_iter().flatten().collect()
    }
}

/// The time line and the columns of the output.
struct Frame {
    terminal: Terminal,
    first: i64,
    length: i64,
    name_width: usize,
    bar_width: usize,
}

impl Frame {
    fn new(spans: &[Value], terminal: Terminal) -> Self {
        let first = spans.iter().map(start).min().unwrap_or(0);
        let last = spans.iter().map(|span| start(span).saturating_add(length(span))).max().unwrap_or(0);
        let width = terminal.width.unwrap_or(WIDTH).max(60);
        let bar_width = width / 3;
        let name_width = width - bar_width - DURATION_WIDTH - 4;
        Self { terminal, first, length: last.saturating_sub(first).max(1), name_width, bar_width }
    }

    fn heading(&self, answer: &Value, spans: usize, logs: usize) -> String {
        let id = self.terminal.paint(Tone::Strong, &format!("trace {}", text(answer, "trace_id")));
        let first = time(&Value::from(self.first));
        format!("{id}  {first}  {}  {spans} spans, {logs} log records", duration(self.length))
    }

    fn span(&self, span: &Value, depth: usize, orphan: bool) -> String {
        let failed = integer(&span["status_code"]) == Some(2) || span["status_code"] == "error";
        let mark = if failed { "✗ " } else { "" };
        let missing = if orphan { " (parent not found)" } else { "" };
        let message = text(span, "status_message");
        let reason = if failed && !message.is_empty() { format!(": {message}") } else { String::new() };
        let name = format!(
            "{:indent$}{mark}{}  {}{reason}{missing}",
            "",
            text(span, "service_name"),
            text(span, "name"),
            indent = indent(depth)
        );
        let tone = if failed { Tone::Failure } else { Tone::Plain };
        let name = self.terminal.paint(tone, &fit(&name, self.name_width));
        let took = span["duration"].as_str().map_or_else(|| display(&span["duration"]), str::to_owned);
        let took = took.parse().map_or_else(|_| "?".into(), duration);
        let bar_tone = if failed { Tone::Failure } else { Tone::Name };
        let (offset, length) = self.bar(span);
        let bar = self.terminal.paint(bar_tone, &"▇".repeat(length));
        format!("{name} {took:>DURATION_WIDTH$}  {:offset$}{bar}", "")
    }

    /// Where the bar of a span begins and how many columns it takes.
    fn bar(&self, span: &Value) -> (usize, usize) {
        let columns = |nanos: i64| {
            let share = nanos.max(0) as f64 / self.length as f64;
            (share * self.bar_width as f64).round() as usize
        };
        let offset = columns(start(span).saturating_sub(self.first)).min(self.bar_width - 1);
        (offset, columns(length(span)).clamp(1, self.bar_width - offset))
    }

    fn event(&self, event: &Value, depth: usize) -> String {
        let attributes = attributes(&event["attributes"]);
        let of = |key: &str| text(&attributes, key);
        let name = text(event, "name");
        let what = match name.as_str() {
            "exception" => format!("exception {}: {}", of("exception.type"), of("exception.message")),
            _ => name,
        };
        self.below(depth, "•", &what, Tone::Warning)
    }

    fn record(&self, record: &Value, depth: usize) -> String {
        let (severity, tone) = log_line::severity(record);
        self.below(depth, "│", &format!("{severity} {}", log_line::body(record)), tone)
    }

    /// A line that belongs to the span above it.
    fn below(&self, depth: usize, sign: &str, what: &str, tone: Tone) -> String {
        let line = format!("{:indent$}{sign} {what}", "", indent = indent(depth) + 2);
        let line = match self.terminal.width {
            Some(width) => cut(&line, width).into_owned(),
            None => line,
        };
        self.terminal.paint(tone, &line)
    }
}

fn indent(depth: usize) -> usize {
    (2 * depth).min(INDENT_MAX)
}

fn start(span: &Value) -> i64 {
    integer(&span["time"]).unwrap_or(0)
}

fn length(span: &Value) -> i64 {
    integer(&span["duration"]).unwrap_or(0).max(0)
}

/// Attributes come as an object, or as its text.
fn attributes(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Terminal = Terminal { width: Some(90), colours: false };

    fn span(id: &str, parent: Option<&str>, start: i64, length: i64) -> Value {
        json!({
            "span_id": id, "parent_span_id": parent, "time": start.to_string(), "duration": length.to_string(),
            "service_name": format!("service-{id}"), "name": format!("work {id}"), "status_code": 0,
        })
    }

    fn check(answer: &Value, expected: &[&str]) {
        let rendered = render(answer, PLAIN);
        assert_eq!(rendered.lines().collect::<Vec<_>>(), expected, "\n{rendered}");
    }

    #[test]
    fn spans_stand_below_their_parents_with_their_logs() {
        let mut failed = span("b", Some("a"), 50_000_000, 50_000_000);
        failed["status_code"] = json!(2);
        failed["status_message"] = json!("no answer");
        failed["events"] = json!([{"name": "exception", "attributes": {"exception.type": "Timeout", "exception.message": "5s\u{1b}"}}]);
        let answer = json!({
            "trace_id": "4bf9",
            "spans": [failed, span("c", Some("a"), 0, 25_000_000), span("a", None, 0, 100_000_000)],
            "logs": [
                {"span_id": "b", "body": "gave up\nreally", "severity_number": 17, "time": "90000000"},
                {"span_id": null, "body": "no span", "severity_number": 9, "time": "90000000", "service_name": "x"},
            ],
        });
        check(
            &answer,
            &[
                "trace 4bf9  1970-01-01 00:00:00.000  100ms  3 spans, 2 log records",
                "service-a  work a                                   100ms  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇",
                "  service-c  work c                                25.0ms  ▇▇▇▇▇▇▇▇",
                "  ✗ service-b  work b: no answer                   50.0ms                 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇",
                "    • exception Timeout: 5s\\u{1b}",
                "    │ ERROR gave up\\nreally",
                "log records of no span above",
                "1970-01-01 00:00:00.090 INFO  x              no span",
            ],
        );
    }

    #[test]
    fn no_span_is_lost_whatever_its_parent() {
        let answer = json!({ "trace_id": "1", "spans": [
            span("a", Some("gone"), 0, 10), span("b", Some("c"), 0, 10), span("c", Some("b"), 0, 10), span("d", Some("d"), 0, 10),
        ]});
        let rendered = render(&answer, PLAIN);
        assert_eq!(rendered.lines().count(), 5, "{rendered}");
        for id in ["a", "b", "c", "d"] {
            assert_eq!(rendered.matches(&format!("work {id}")).count(), 1, "{rendered}");
        }
        assert!(rendered.contains("service-a  work a (parent not found)"), "{rendered}");
    }

    #[test]
    fn a_deep_chain_fits_the_terminal() {
        let spans: Vec<Value> = (0..10_000)
            .map(|depth| {
                span(&depth.to_string(), (depth > 0).then(|| (depth - 1).to_string()).as_deref(), depth, 20_000 - depth)
            })
            .collect();
        let rendered = render(&json!({ "trace_id": "1", "spans": spans }), PLAIN);
        assert_eq!(rendered.lines().count(), 10_001);
        assert!(rendered.lines().all(|line| crate::terminal::width(line) <= 90));
    }

    #[test]
    fn extreme_times_do_not_break_the_time_line() {
        let spans =
            [span("a", None, i64::MIN, i64::MAX), span("b", None, i64::MAX, i64::MAX), span("c", None, 0, i64::MIN)];
        let rendered = render(&json!({ "trace_id": "1", "spans": spans }), PLAIN);
        assert_eq!(rendered.lines().count(), 4, "{rendered}");
    }
}
