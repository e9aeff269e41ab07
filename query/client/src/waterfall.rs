//! One trace as a tree: each span with its bar on the time line, its events and its log records below it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::log_line;
use crate::terminal::{Terminal, Tone, cut, fit};
use crate::value::{counted, duration, integer, list, text, time};

/// Columns of the output when nobody looks at a terminal.
const WIDTH: usize = 140;

/// Deeper spans are not indented further.
const INDENT_MAX: usize = 24;

const DURATION_WIDTH: usize = 8;

/// Renders `{"trace_id", "spans": […], "logs": […], "truncated"?}`. The spans come in reading order and know their depth.
pub(crate) fn render(answer: &Value, terminal: Terminal) -> String {
    let spans = list(answer, "spans");
    let ids: HashSet<&str> = spans.iter().filter_map(|span| span["span_id"].as_str()).collect();
    let mut logs = LogsBySpan::new(list(answer, "logs"));
    let frame = Frame::new(answer, spans, terminal);
    let mut lines = vec![frame.heading(answer, spans.len(), list(answer, "logs").len())];
    for span in spans {
        let depth = integer(&span["depth"]).and_then(|depth| usize::try_from(depth).ok()).unwrap_or(0);
        let is_orphan = span["parent_span_id"].as_str().is_some_and(|parent| !ids.contains(parent));
        lines.push(frame.span(span, depth, is_orphan));
        lines.extend(list(span, "events").iter().map(|event| frame.event(event, depth)));
        lines.extend(logs.take(&text(span, "span_id")).into_iter().map(|record| frame.record(record, depth)));
    }
    let rest = logs.rest();
    if !rest.is_empty() {
        lines.push(terminal.paint(Tone::Strong, "log records of no span above"));
        lines.extend(rest.into_iter().map(|record| log_line::render(record, terminal)));
    }
    if answer["truncated"] == Value::Bool(true) {
        lines.push(terminal.paint(Tone::Warning, "(the trace is larger than what is shown)"));
    }
    lines.join("\n")
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
    fn new(answer: &Value, spans: &[Value], terminal: Terminal) -> Self {
        // Of some traces only log records are known.
        let begun = integer(&answer["summary"]["start_time"]).unwrap_or(0);
        let first = spans.iter().map(start).min().unwrap_or(begun);
        let last = spans.iter().map(|span| start(span).saturating_add(length(span))).max().unwrap_or(begun);
        let width = terminal.width.unwrap_or(WIDTH).max(60);
        let bar_width = width / 3;
        let name_width = width - bar_width - DURATION_WIDTH - 4;
        Self { terminal, first, length: last.saturating_sub(first).max(1), name_width, bar_width }
    }

    fn heading(&self, answer: &Value, spans: usize, logs: usize) -> String {
        let id = self.terminal.paint(Tone::Strong, &format!("trace {}", text(answer, "trace_id")));
        let first = time(&Value::from(self.first));
        let (spans, logs) = (counted(spans, "span"), counted(logs, "log record"));
        format!("{id}  {first}  {}  {spans}, {logs}", duration(self.length))
    }

    fn span(&self, span: &Value, depth: usize, orphan: bool) -> String {
        let failed = span["status"]["code"] == "error";
        let mark = if failed { "✗ " } else { "" };
        let missing = if orphan { " (parent not found)" } else { "" };
        let message = text(&span["status"], "message");
        let reason = if failed && !message.is_empty() { format!(": {message}") } else { String::new() };
        let name = format!(
            "{:indent$}{}{mark}{}  {}{reason}{missing}",
            "",
            direct(span),
            text(span, "service"),
            text(span, "name"),
            indent = indent(depth)
        );
        let tone = if failed { Tone::Failure } else { Tone::Plain };
        let name = self.terminal.paint(tone, &fit(&name, self.name_width));
        let took = integer(&span["duration"]).map_or_else(|| "?".into(), duration);
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
        let of = |key: &str| text(&event["attributes"], key);
        let name = text(event, "name");
        let what = match name.as_str() {
            "exception" => format!("exception {}: {}", of("exception.type"), of("exception.message")),
            _ => name,
        };
        self.below(depth, "•", &what, Tone::Warning)
    }

    fn record(&self, record: &Value, depth: usize) -> String {
        let (severity, tone) = log_line::severity(record);
        self.below(depth, "│", &format!("{}{severity} {}", direct(record), log_line::body(record)), tone)
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
    integer(&span["start_time"]).unwrap_or(0)
}

fn length(span: &Value) -> i64 {
    integer(&span["duration"]).unwrap_or(0).max(0)
}

/// The mark of a row that bears the ID that was asked for.
fn direct(row: &Value) -> &'static str {
    if row["direct"] == Value::Bool(true) { "▸ " } else { "" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Terminal = Terminal { width: Some(90), colours: false };

    fn span(id: &str, parent: Option<&str>, depth: usize, start: i64, length: i64) -> Value {
        json!({
            "span_id": id, "parent_span_id": parent, "depth": depth, "start_time": start.to_string(),
            "duration": length.to_string(), "service": format!("service-{id}"), "name": format!("work {id}"),
            "status": {"code": "unset"},
        })
    }

    fn check(answer: &Value, expected: &[&str]) {
        let rendered = render(answer, PLAIN);
        assert_eq!(rendered.lines().collect::<Vec<_>>(), expected, "\n{rendered}");
    }

    #[test]
    fn spans_stand_below_their_parents_with_their_logs() {
        let mut failed = span("b", Some("a"), 1, 50_000_000, 50_000_000);
        failed["status"] = json!({"code": "error", "message": "no answer"});
        let attributes = json!({"exception.type": "Timeout", "exception.message": "5s\u{1b}"});
        failed["events"] = json!([{"name": "exception", "attributes": attributes}]);
        let mut direct = span("c", Some("a"), 1, 0, 25_000_000);
        direct["direct"] = json!(true);
        let answer = json!({
            "trace_id": "4bf9",
            "spans": [span("a", None, 0, 0, 100_000_000), direct, failed],
            "logs": [
                {"span_id": "b", "body": "gave up\nreally", "severity_number": 17, "time": "90000000", "direct": true},
                {"span_id": null, "body": "no span", "severity_number": 9, "time": "90000000", "service": "x"},
            ],
            "truncated": true,
        });
        check(
            &answer,
            &[
                "trace 4bf9  1970-01-01 00:00:00.000  100ms  3 spans, 2 log records",
                "service-a  work a                                   100ms  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇",
                "  ▸ service-c  work c                              25.0ms  ▇▇▇▇▇▇▇▇",
                "  ✗ service-b  work b: no answer                   50.0ms                 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇",
                "    • exception Timeout: 5s\\u{1b}",
                "    │ ▸ ERROR gave up\\nreally",
                "log records of no span above",
                "1970-01-01 00:00:00.090 INFO  x              no span",
                "(the trace is larger than what is shown)",
            ],
        );
    }

    #[test]
    fn a_span_without_its_parent_says_so() {
        let rendered = render(&json!({ "trace_id": "1", "spans": [span("a", Some("gone"), 0, 0, 10)] }), PLAIN);
        assert!(rendered.contains("service-a  work a (parent not found)"), "{rendered}");
    }

    #[test]
    fn a_deep_chain_fits_the_terminal() {
        let parent = |depth: usize| depth.checked_sub(1).map(|parent| parent.to_string());
        let spans: Vec<Value> = (0..10_000)
            .map(|depth| span(&depth.to_string(), parent(depth).as_deref(), depth, depth as i64, 20_000 - depth as i64))
            .collect();
        let rendered = render(&json!({ "trace_id": "1", "spans": spans }), PLAIN);
        assert_eq!(rendered.lines().count(), 10_001);
        assert!(rendered.lines().all(|line| crate::terminal::width(line) <= 90));
    }

    #[test]
    fn extreme_times_do_not_break_the_time_line() {
        let times = [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (0, i64::MIN)];
        let spans: Vec<Value> = times.into_iter().map(|(start, length)| span("a", None, 0, start, length)).collect();
        let rendered = render(&json!({ "trace_id": "1", "spans": spans }), PLAIN);
        assert_eq!(rendered.lines().count(), 4, "{rendered}");
        let without = render(&json!({ "trace_id": "1", "spans": [{"span_id": "a"}], "logs": [] }), PLAIN);
        assert_eq!(without.lines().count(), 2, "{without}");
    }
}
