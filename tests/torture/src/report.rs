//! Results as a file, and RELIABILITY.md from such files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::run::{Outcome, binary_hash};

const HEAD: &str = "# What Trivium survives

Written by `torture report` from measured runs; change nothing by hand. `tests/torture/README.md` tells what each scenario does
and what counts as lost. Every acknowledged record is read back through SQL, log search, traces by ID and PromQL, at the end also
by `trivium verify --deep` and by DuckDB from the Parquet files.

";

/// Writes results; of a scenario that is in the file already only the new one stays.
pub(crate) fn write(path: &Path, binary: &Path, commit: &str, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let results = json!({
        "commit": commit,
        "binary_xxh3": binary_hash(binary),
        "binary_bytes": std::fs::metadata(binary).map(|metadata| metadata.len()).unwrap_or(0),
        "processors": processors,
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "outcomes": outcomes,
    });
    std::fs::write(path, serde_json::to_string_pretty(&results)? + "\n")
        .with_context(|| format!("cannot write the results to {}", path.display()))
}

/// The document.
pub(crate) fn markdown(paths: &[PathBuf]) -> anyhow::Result<String> {
    let mut text = HEAD.to_owned();
    let mut latest: BTreeMap<String, (Value, String)> = BTreeMap::new();
    for path in paths {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let results: Value = serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?;
        let commit = results["commit"].as_str().unwrap_or_default().to_owned();
        for outcome in results["outcomes"].as_array().context("no outcomes")? {
            let name = outcome["scenario"].as_str().unwrap_or_default().to_owned();
            latest.insert(name, (outcome.clone(), commit.clone()));
        }
    }
    text.push_str("| scenario | commit | cycles | seconds | records acknowledged | records read back | lost | duplicate | phantom | corrupt | panics | result |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (name, (outcome, commit)) in &latest {
        row(&mut text, name, outcome, commit)?;
    }
    text.push_str("\n## Figures\n");
    for (name, (outcome, _)) in &latest {
        writeln!(text, "\n### {name}\n\nSeed {}.\n", outcome["seed"])?;
        if let Some(figures) = outcome["figures"].as_object() {
            list(&mut text, figures)?;
        }
        for failure in outcome["failures"].as_array().into_iter().flatten() {
            writeln!(text, "- **failed**: {}", failure.as_str().unwrap_or_default().replace('\n', " "))?;
        }
    }
    Ok(text)
}

fn row(text: &mut String, name: &str, outcome: &Value, commit: &str) -> anyhow::Result<()> {
    if let Some(reason) = outcome["skipped"].as_str() {
        writeln!(text, "| {name} | {commit} | – | – | – | – | – | – | – | – | – | skipped: {reason} |")?;
        return Ok(());
    }
    let verdict = &outcome["verdict"];
    let panics = outcome["panics"].as_array().map_or(0, Vec::len);
    let passed = outcome["failures"].as_array().is_none_or(Vec::is_empty);
    // What a damaged folder has lost is told under its figures: the damage was done on purpose.
    writeln!(
        text,
        "| {name} | {commit} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {panics} | {} |",
        outcome["cycles"],
        outcome["seconds"].as_f64().unwrap_or(0.0),
        outcome["records_acked"],
        verdict["records"],
        verdict["lost"],
        verdict["duplicate"],
        verdict["phantom"],
        verdict["corrupt"],
        if passed { "passed" } else { "**failed**" },
    )?;
    Ok(())
}

fn list(text: &mut String, figures: &Map<String, Value>) -> anyhow::Result<()> {
    for (name, value) in figures {
        match value.as_object() {
            Some(inner) => {
                let inner: Vec<String> = inner.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
                writeln!(text, "- {name}: {}", inner.join(", "))?;
            }
            None => writeln!(text, "- {name}: {}", plain(value))?,
        }
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => format!("{:.1}", number.as_f64().unwrap_or(0.0)),
        Value::String(text) => text.clone(),
        Value::Object(inner) => {
            let inner: Vec<String> = inner.iter().map(|(name, value)| format!("{name} {value}")).collect();
            format!("({})", inner.join(", "))
        }
        other => other.to_string(),
    }
}
