//! The figures of one scenario.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::{grouped, plain};

/// The ways to take a damage, as `damage` names them, and their columns.
const REACTIONS: [(&str, &str); 4] =
    [("intact", "intact"), ("partial", "partial, told"), ("torn_end", "torn end"), ("refused", "refused to start")];

pub(super) fn section(text: &mut String, name: &str, run: &str, outcome: &Value) -> anyhow::Result<()> {
    writeln!(text, "\n### {name}, {run}\n")?;
    if outcome["skipped"].is_string() {
        writeln!(text, "Skipped: {}.", plain(&outcome["skipped"]))?;
        return Ok(());
    }
    // Not for people: to be given to --seed.
    writeln!(text, "Seed {}.", outcome["seed"])?;
    if let Some(figures) = outcome["figures"].as_object() {
        list(text, figures)?;
        if let Some(reactions) = figures.get("reactions").and_then(Value::as_object) {
            tables(text, reactions)?;
        }
    }
    let failures: Vec<&str> = outcome["failures"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !failures.is_empty() {
        text.push('\n');
    }
    for failure in failures {
        writeln!(text, "- **failed**: {}", failure.replace('\n', " "))?;
    }
    Ok(())
}

fn list(text: &mut String, figures: &Map<String, Value>) -> anyhow::Result<()> {
    let shown = |(name, value): &(&String, &Value)| *name != "reactions" && !value.is_array() && *name != "rss_slope";
    let mut is_first = true;
    for (name, value) in figures.iter().filter(shown) {
        if is_first {
            text.push('\n');
            is_first = false;
        }
        match value.as_object() {
            Some(inner) => {
                let inner = inner.iter().filter(|(_, value)| !value.is_null());
                let inner: Vec<String> = inner.map(|(name, value)| entry(name, value)).collect();
                writeln!(text, "- {}: {}", words(name), inner.join(", "))?;
            }
            None => writeln!(text, "- {}: {}", words(name), plain(value))?,
        }
    }
    Ok(())
}

fn entry(name: &str, value: &Value) -> String {
    match (value["done"].as_u64(), value["of"].as_u64()) {
        (Some(done), Some(of)) => format!("{name} {} of {}", grouped(done), grouped(of)),
        _ => format!("{} {}", words(name), plain(value)),
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Counts of one row.
#[derive(Default)]
struct Counts {
    injected: u64,
    found: u64,
    reactions: BTreeMap<String, u64>,
}

/// Damages by the kind of file, and by what was done to it.
fn tables(text: &mut String, reactions: &Map<String, Value>) -> anyhow::Result<()> {
    let (mut files, mut damages) = (BTreeMap::new(), BTreeMap::new());
    for (kind, tally) in reactions {
        let (file, damage) = kind.split_once(": ").unwrap_or((kind, ""));
        for counts in [files.entry(file).or_insert_with(Counts::default), damages.entry(damage).or_default()] {
            counts.injected += tally["injected"].as_u64().unwrap_or(0);
            counts.found += tally["found"].as_u64().unwrap_or(0);
            for (reaction, count) in tally["reactions"].as_object().into_iter().flatten() {
                *counts.reactions.entry(reaction.clone()).or_default() += count.as_u64().unwrap_or(0);
            }
        }
    }
    for (title, rows) in [("file", files), ("damage", damages)] {
        let columns: Vec<&str> = REACTIONS.iter().map(|(_, column)| *column).collect();
        writeln!(text, "\n| {title} | injected | {} | found by `verify --deep` |", columns.join(" | "))?;
        writeln!(text, "|---|{}", "---|".repeat(columns.len() + 2))?;
        for (name, counts) in rows {
            let cells: Vec<String> = REACTIONS
                .iter()
                .map(|(reaction, _)| counts.reactions.get(*reaction).map_or("–".into(), |count| grouped(*count)))
                .collect();
            let (injected, found) = (grouped(counts.injected), grouped(counts.found));
            writeln!(text, "| {name} | {injected} | {} | {found} |", cells.join(" | "))?;
        }
    }
    Ok(())
}
