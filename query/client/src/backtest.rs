//! What rules would have done, for people.

use std::fmt::Write;

use chrono::DateTime;
use serde_json::Value;

use crate::terminal::{Terminal, Tone};
use crate::value::{counted, duration, text};

/// Firings of a rule that are shown one by one.
const FIRINGS_MAX: usize = 10;

pub(crate) fn render(report: &Value, terminal: Terminal) -> String {
    let mut output = String::new();
    for rule in report["rules"].as_array().into_iter().flatten() {
        let number = |name: &str| rule[name].as_f64().unwrap_or_default();
        let count = |name: &str, noun: &str| counted(number(name) as usize, noun);
        let mut fired = count("firingsTotal", "firing");
        if number("firingSeconds") > 0.0 {
            append(&mut fired, format_args!(", {} in all", duration((number("firingSeconds") * 1e9) as i64)));
        }
        let firings = rule["firings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tone = if firings.is_empty() { Tone::Faint } else { Tone::Warning };
        append(
            &mut output,
            format_args!(
                "{}  {fired}, {}, {}, {} failed",
                terminal.paint(tone, &text(rule, "rule")),
                count("flaps", "flap"),
                count("evaluations", "evaluation"),
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
    let notifications = report["notifications"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    output.push_str(&counted(notifications, "notification"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Terminal = Terminal { width: None, colours: false };

    #[test]
    fn a_report_is_told_in_words_of_people() {
        let firing = json!({"firedAtMs": 1_790_000_000_000_i64, "labels": {"alertname": "QueueLong", "job": "orders"}});
        let rule = json!({
            "rule": "QueueLong", "firingsTotal": 1, "firingSeconds": 1432.113, "flaps": 2, "evaluations": 10_080,
            "failures": 0, "noise": {"score": 12.0}, "firings": [firing],
        });
        let quiet = json!({ "rule": "Quiet", "firingsTotal": 0, "firingSeconds": 0.0, "flaps": 1, "evaluations": 1, "failures": 1 });
        let expected = [
            "QueueLong  1 firing, 23m52s in all, 2 flaps, 10080 evaluations, 0 failed, noise 12 of 100",
            "  2026-09-21 14:13:20Z – still firing  job=orders",
            "Quiet  0 firings, 1 flap, 1 evaluation, 1 failed",
            "1 notification",
        ];
        let told = render(&json!({ "rules": [rule, quiet], "notifications": 1 }), PLAIN);
        assert_eq!(told.lines().collect::<Vec<_>>(), expected, "\n{told}");
    }
}
