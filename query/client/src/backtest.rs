//! What rules would have done, for people.

use std::fmt::Write;

use chrono::DateTime;
use serde_json::Value;

use crate::terminal::{Terminal, Tone};
use crate::value::text;

/// Firings of a rule that are shown one by one.
const FIRINGS_MAX: usize = 10;

pub(crate) fn render(report: &Value, terminal: Terminal) -> String {
    let mut output = String::new();
    for rule in report["rules"].as_array().into_iter().flatten() {
        let number = |name: &str| rule[name].as_f64().unwrap_or_default();
        let firings = rule["firings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tone = if firings.is_empty() { Tone::Faint } else { Tone::Warning };
        append(
            &mut output,
            format_args!(
                "{}  {} firings in {} s, {} flaps, {} evaluations, {} failed",
                terminal.paint(tone, &text(rule, "rule")),
                number("firingsTotal"),
                number("firingSeconds"),
                number("flaps"),
                number("evaluations"),
                number("failures")
            ),
        );
        if let Some(noise) = rule["noise"]["score"].as_f64() {
            append(&mut output, format_args!(", noise {noise:.0} of 100"));
        }
        output.push('\n');
        if let Some(error) = rule["firstError"].as_str() {
            line(&mut output, format_args!("  {}", terminal.paint(Tone::Failure, error)));
        }
        for firing in firings.iter().take(FIRINGS_MAX) {
            let until = firing["resolvedAtMs"].as_i64().map_or_else(|| "still firing".to_owned(), time);
            let since = firing["firedAtMs"].as_i64().map(time).unwrap_or_default();
            let labels: Vec<String> = firing["labels"]
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| *name != "alertname")
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                .collect();
            line(&mut output, format_args!("  {since} – {until}  {}", labels.join(" ")));
            if let Some(summary) = firing["annotations"]["summary"].as_str() {
                line(&mut output, format_args!("    {summary}"));
            }
        }
        if firings.len() > FIRINGS_MAX {
            line(&mut output, format_args!("  … and {} more; --json shows all", firings.len() - FIRINGS_MAX));
        }
        for overlap in rule["overlaps"].as_array().into_iter().flatten() {
            let share = overlap["jaccard"].as_f64().unwrap_or_default() * 100.0;
            line(&mut output, format_args!("  fires with {} {share:.0} % of the time", text(overlap, "rule")));
        }
    }
    append(&mut output, format_args!("{} notifications", report["notifications"]));
    output
}

fn append(output: &mut String, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("writing to a String cannot fail");
}

fn line(output: &mut String, text: std::fmt::Arguments<'_>) {
    append(output, text);
    output.push('\n');
}

fn time(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis)
        .map(|time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
        .unwrap_or_default()
}
