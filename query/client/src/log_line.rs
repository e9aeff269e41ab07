//! One log record as one line.

use serde_json::Value;

use crate::terminal::{Terminal, Tone, fit};
use crate::value::{display, integer, text, time};

/// Columns of the service's name.
const SERVICE_WIDTH: usize = 14;

/// The whole line: time, severity, service, body, trace.
pub(crate) fn render(record: &Value, terminal: Terminal) -> String {
    let (severity, tone) = severity(record);
    let time = terminal.paint(Tone::Faint, &time(&record["time"]));
    let severity = terminal.paint(tone, &fit(&severity, 5));
    let service = terminal.paint(Tone::Name, &fit(&text(record, "service"), SERVICE_WIDTH));
    let trace = match text(record, "trace_id") {
        trace if trace.is_empty() => String::new(),
        trace => terminal.paint(Tone::Faint, &format!("  trace={trace}")),
    };
    format!("{time} {severity} {service} {}{trace}", body(record))
}

/// The body as one line; an event without a body is called by its name.
pub(crate) fn body(record: &Value) -> String {
    match display(&record["body"]) {
        body if body.is_empty() => text(record, "event_name"),
        body => body,
    }
}

/// The severity as it was sent, else by its number, and how it looks.
pub(crate) fn severity(record: &Value) -> (String, Tone) {
    let number = integer(&record["severity_number"]).unwrap_or(0);
    let (name, tone) = match number {
        1..=4 => ("TRACE", Tone::Faint),
        5..=8 => ("DEBUG", Tone::Faint),
        9..=12 => ("INFO", Tone::Good),
        13..=16 => ("WARN", Tone::Warning),
        17..=20 => ("ERROR", Tone::Failure),
        21..=24 => ("FATAL", Tone::Failure),
        _ => ("-", Tone::Plain),
    };
    let sent = text(record, "severity_text");
    (if sent.is_empty() { name.into() } else { sent }, tone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_says() {
        let record = json!({
            "time": "1790000000123456789", "severity_number": 17, "service": "payment\u{1b}[0m",
            "body": "failed\n\tat Pool.java:1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        });
        let line = render(&record, Terminal { width: None, colours: false });
        assert_eq!(
            line,
            "2026-09-21 14:13:20.123 ERROR payment\\u{1b}… failed\\n\\tat Pool.java:1  trace=4bf92f3577b34da6a3ce929d0e0e4736"
        );
        let coloured = render(&record, Terminal { width: None, colours: true });
        assert!(coloured.contains("\u{1b}[31mERROR\u{1b}[0m"), "{coloured:?}");
    }

    #[test]
    fn the_severity_is_the_senders_word() {
        assert_eq!(
            severity(&json!({"severity_text": "Warning", "severity_number": 13})),
            ("Warning".into(), Tone::Warning)
        );
        assert_eq!(severity(&json!({"severity_number": 22})), ("FATAL".into(), Tone::Failure));
        assert_eq!(severity(&json!({})), ("-".into(), Tone::Plain));
    }

    #[test]
    fn an_event_without_a_body_is_called_by_its_name() {
        assert_eq!(body(&json!({"body": null, "event_name": "deployment.started"})), "deployment.started");
    }
}
