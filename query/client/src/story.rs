//! The story of an ID: the traces it belongs to, each as a tree, then what belongs to no trace, then where to go on.

use serde_json::Value;

use crate::terminal::{Terminal, Tone, harmless};
use crate::value::{counted, display, duration, integer, list, text, time};
use crate::{log_line, waterfall};

/// Lines after which further traces get one line each.
const LINES_MAX: usize = 200;

/// Up to how many rows of a signal the server looks for, and of a trace ID.
const ROWS_MAX: usize = 1_000;
const ROWS_OF_A_TRACE_MAX: usize = 10_000;

/// Renders the answer of `GET /api/v1/correlate/{id}`. What bears the ID itself is marked `▸`.
pub(crate) fn render(answer: &Value, terminal: Terminal) -> String {
    if answer["why_nothing"].is_object() {
        return nothing(answer, terminal);
    }
    let mut lines = vec![heading(answer, terminal)];
    for trace in list(answer, "traces") {
        let rest = lines.len() > LINES_MAX;
        lines.push(String::new());
        if rest {
            lines.push(summary(trace, terminal));
        } else {
            lines.extend(waterfall::render(trace, terminal).lines().map(str::to_owned));
        }
    }
    let logs = list(answer, "logs").iter().map(|record| log_line::render(record, terminal));
    section(&mut lines, "log records of no trace", logs, terminal);
    section(&mut lines, "exemplars", list(answer, "exemplars").iter().map(exemplar), terminal);
    section(&mut lines, "worth following", list(answer, "follow").iter().map(follow), terminal);
    if answer["truncated"] == Value::Bool(true) {
        lines.push(terminal.paint(Tone::Warning, "(there is more than what is shown)"));
    }
    lines.join("\n")
}

fn heading(answer: &Value, terminal: Terminal) -> String {
    let id = terminal.paint(Tone::Strong, &text(answer, "id"));
    let number =
        |name: &str| integer(&answer["counts"][name]).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let rows_max = if answer["kind"] == "trace" { ROWS_OF_A_TRACE_MAX } else { ROWS_MAX };
    let is_cut = |name: &str| answer["truncated"] == true && number(name) >= rows_max;
    let count = |name: &str, noun: &str| match number(name) {
        // Traces and exemplars of the rows that were not read are not counted either.
        count if is_cut(name) || (matches!(name, "traces" | "exemplars") && (is_cut("logs") || is_cut("spans"))) => {
            format!("{count} or more {noun}s")
        }
        count => counted(count, noun),
    };
    let (logs, spans) = (count("logs", "log record"), count("spans", "span"));
    let (exemplars, traces) = (count("exemplars", "exemplar"), count("traces", "trace"));
    format!("{id}  is borne by {logs}, {spans} and {exemplars}, in {traces}")
}

/// A trace in one line.
fn summary(trace: &Value, terminal: Terminal) -> String {
    let summary = &trace["summary"];
    let id = terminal.paint(Tone::Strong, &format!("trace {}", text(trace, "trace_id")));
    let (spans, logs) = (counted(list(trace, "spans").len(), "span"), counted(list(trace, "logs").len(), "log record"));
    let took = integer(&summary["duration"]).map(duration).unwrap_or_default();
    let root = format!("{} {}", text(summary, "root_service"), text(summary, "root_name"));
    format!("{id}  {}  {took}  {root}  {spans}, {logs}", time(&summary["start_time"]))
}

fn section(lines: &mut Vec<String>, title: &str, rows: impl Iterator<Item = String>, terminal: Terminal) {
    let mut rows = rows.peekable();
    if rows.peek().is_some() {
        lines.extend([String::new(), terminal.paint(Tone::Strong, title)]);
        lines.extend(rows);
    }
}

fn exemplar(exemplar: &Value) -> String {
    let trace = text(exemplar, "trace_id");
    let (service, metric) = (text(exemplar, "service"), text(exemplar, "metric"));
    let (series, value) = (display(&exemplar["series"]), text(exemplar, "value"));
    format!("{}  {service}  {metric}{series} = {value}  trace={trace}", time(&exemplar["time"]))
}

fn follow(value: &Value) -> String {
    let count = |name: &str| integer(&value[name]).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let (logs, spans) = (counted(count("logs"), "log record"), counted(count("spans"), "span"));
    format!("{} {}  ({logs}, {spans})", text(value, "key"), text(value, "value"))
}

fn nothing(answer: &Value, terminal: Terminal) -> String {
    let why = &answer["why_nothing"];
    let searched = |name: &str| text(&why["searched"], name);
    let first = format!(
        "nothing bears {} among {} log records, {} spans and {} data points",
        harmless(answer["id"].as_str().unwrap_or_default()),
        searched("logs"),
        searched("spans"),
        searched("metrics")
    );
    let hint = terminal.paint(Tone::Faint, &text(why, "hint"));
    format!("{first}\n{hint}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Terminal = Terminal { width: Some(100), colours: false };

    fn trace(id: &str, spans: usize) -> Value {
        let span = json!({
            "span_id": "a", "depth": 0, "start_time": "0", "duration": "5000000", "service": "checkout",
            "name": "PlaceOrder", "status": {"code": "unset"}, "direct": true,
        });
        json!({
            "trace_id": id, "spans": vec![span; spans], "logs": [],
            "summary": {"root_service": "storefront", "root_name": "POST /checkout", "start_time": "0", "duration": "5000000"},
        })
    }

    #[test]
    fn a_story_has_its_traces_and_ways_on() {
        let answer = json!({
            "id": "ORD-2026-000123-x7", "kind": "other",
            "counts": {"logs": 2, "spans": 1, "exemplars": 1, "traces": 1},
            "traces": [trace("4bf9", 1)],
            "logs": [{"time": "0", "severity_number": 13, "service": "batch", "body": "ORD-2026-000123-x7 late"}],
            "exemplars": [{"metric": "shop.payment.amount", "service": "payment", "series": {"payment.currency": "EUR"},
                           "time": "0", "value": 59.9, "trace_id": "4bf9"}],
            "follow": [{"key": "request.id", "value": "7f\u{1b}", "logs": 9, "spans": 4}],
            "truncated": true,
        });
        let rendered = render(&answer, PLAIN);
        let expected = [
            "ORD-2026-000123-x7  is borne by 2 log records, 1 span and 1 exemplar, in 1 trace",
            "",
            "trace 4bf9  1970-01-01 00:00:00.000  5.00ms  1 span, 0 log records",
            "▸ checkout  PlaceOrder                                    5.00ms  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇",
            "",
            "log records of no trace",
            "1970-01-01 00:00:00.000 WARN  batch          ORD-2026-000123-x7 late",
            "",
            "exemplars",
            "1970-01-01 00:00:00.000  payment  shop.payment.amount{\"payment.currency\":\"EUR\"} = 59.9  trace=4bf9",
            "",
            "worth following",
            "request.id 7f\\u{1b}  (9 log records, 4 spans)",
            "(there is more than what is shown)",
        ];
        assert_eq!(rendered.lines().collect::<Vec<_>>(), expected, "\n{rendered}");
    }

    #[test]
    fn a_count_that_is_a_limit_is_told_as_one() {
        let first_line = |kind: &str, truncated: bool| {
            let counts = json!({"logs": 1000, "spans": 7, "exemplars": 1, "traces": 293});
            let answer = json!({"id": "payment", "kind": kind, "counts": counts, "truncated": truncated});
            render(&answer, PLAIN).lines().next().map(str::to_owned).expect("a heading")
        };
        let expected =
            "payment  is borne by 1000 or more log records, 7 spans and 1 or more exemplars, in 293 or more traces";
        assert_eq!(first_line("other", true), expected);
        let exact = "payment  is borne by 1000 log records, 7 spans and 1 exemplar, in 293 traces";
        assert_eq!([first_line("other", false), first_line("trace", true)], [exact, exact]);
    }

    #[test]
    fn after_some_lines_traces_are_told_in_one() {
        let answer = json!({ "id": "x", "counts": {}, "traces": [trace("1", 300), trace("2", 300)] });
        let rendered = render(&answer, PLAIN);
        assert!(rendered.lines().count() < 310, "{rendered}");
        let last = "trace 2  1970-01-01 00:00:00.000  5.00ms  storefront POST /checkout  300 spans, 0 log records";
        assert_eq!(rendered.lines().next_back(), Some(last));
    }

    #[test]
    fn nothing_is_explained() {
        let answer = json!({ "id": "4bf9\u{1b}", "why_nothing": {
            "searched": {"logs": 10, "metrics": 30, "spans": 20}, "hint": "was it cut when it was copied?",
        }});
        assert_eq!(
            render(&answer, PLAIN),
            "nothing bears 4bf9\\u{1b} among 10 log records, 20 spans and 30 data points\nwas it cut when it was copied?"
        );
    }
}
