//! Results as a file, and RELIABILITY.md from such files.

mod details;
mod goals;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use crate::run::{Outcome, binary_hash};

const HEAD: &str = "# What Trivium survives

Written by `torture report` from measured runs; change nothing by hand. `tests/torture/README.md` tells what each scenario does
and what counts as lost. Every acknowledged record is read back through SQL, log search, traces by ID and PromQL, at the end also
by `trivium verify --deep` and by DuckDB from the Parquet files.

The *gate* runs with every change, on a build without optimisation, in at most nine minutes; the *long run* takes hours, on a
release build. Each scenario shows its last run of either kind.

";

/// The binary and the machine of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Build {
    commit: String,
    /// Debug or release.
    build: String,
    binary_xxh3: String,
    binary_bytes: u64,
    processors: usize,
    processor: String,
    memory_mib: u64,
    kernel: String,
    started: String,
}

impl Build {
    pub(crate) fn of(binary: &Path, build: Option<&str>, commit: &str) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: String, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let kib = after(read("/proc/meminfo"), "MemTotal");
        let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]).output();
        Self {
            commit: commit.into(),
            build: build.map_or_else(|| guess(binary), str::to_owned),
            binary_xxh3: binary_hash(binary),
            binary_bytes: std::fs::metadata(binary).map(|metadata| metadata.len()).unwrap_or(0),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            processor: after(read("/proc/cpuinfo"), "model name"),
            memory_mib: kib.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            started: date.map(|date| String::from_utf8_lossy(&date.stdout).trim().to_owned()).unwrap_or_default(),
        }
    }
}

/// Cargo's folders and names of files tell.
fn guess(binary: &Path) -> String {
    let path = binary.to_string_lossy();
    let known = ["release", "debug"].into_iter().find(|kind| path.contains(kind));
    known.unwrap_or("unknown").to_owned()
}

/// Writes what a run has found so far, in the place of what the file held: `report` puts several files together.
pub(crate) fn write(path: &Path, build: &Build, is_gate: bool, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut results = json!({"run": if is_gate { "gate" } else { "long" }, "outcomes": outcomes});
    if let (Some(all), Value::Object(build)) = (results.as_object_mut(), serde_json::to_value(build)?) {
        all.extend(build);
    }
    std::fs::write(path, serde_json::to_string_pretty(&results)? + "\n")
        .with_context(|| format!("cannot write the results to {}", path.display()))
}

/// The last run of a scenario, and the file that it stands in.
#[derive(Clone, Debug)]
struct Last {
    outcome: Value,
    run: Value,
}

/// What was measured: the last outcomes of the gate and of the long run by scenario.
#[derive(Debug, Default)]
struct Measured {
    gate: BTreeMap<String, Last>,
    long: BTreeMap<String, Last>,
    /// What something else measured, by the name of the goal.
    extra: BTreeMap<String, String>,
}

impl Measured {
    fn read(paths: &[PathBuf], extra: &[String]) -> anyhow::Result<Self> {
        let mut measured = Self::default();
        for path in paths {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut run: Value = serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?;
            let outcomes = run["outcomes"].take();
            let is_gate = run["run"] == "gate";
            for outcome in outcomes.as_array().with_context(|| format!("{}: no outcomes", path.display()))? {
                let name = outcome["scenario"].as_str().unwrap_or_default().to_owned();
                let of = if is_gate { &mut measured.gate } else { &mut measured.long };
                of.insert(name, Last { outcome: outcome.clone(), run: run.clone() });
            }
        }
        for extra in extra {
            let text = match extra.strip_prefix('@') {
                Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?,
                None => extra.clone(),
            };
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let (name, value) = line.split_once('=').with_context(|| format!("{line:?} is not NAME=VALUE"))?;
                measured.extra.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(measured)
    }
}

/// The document.
pub(crate) fn markdown(paths: &[PathBuf], extra: &[String]) -> anyhow::Result<String> {
    let measured = Measured::read(paths, extra)?;
    let mut text = HEAD.to_owned();
    goals::table(&mut text, &measured)?;
    text.push_str("\n## Scenarios\n\n");
    text.push_str(
        "| scenario | run | build | commit | cycles | seconds | records acknowledged | records read back | lost | duplicate | \
         phantom | corrupt | panics | result |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let names: std::collections::BTreeSet<&String> = measured.gate.keys().chain(measured.long.keys()).collect();
    for name in &names {
        for (run, all) in [("gate", &measured.gate), ("long", &measured.long)] {
            if let Some(last) = all.get(*name) {
                row(&mut text, name, run, last)?;
            }
        }
    }
    runs(&mut text, &measured)?;
    text.push_str("\n## Figures\n");
    for name in names {
        for (run, all) in [("gate", &measured.gate), ("long run", &measured.long)] {
            if let Some(last) = all.get(name) {
                details::section(&mut text, name, run, &last.outcome)?;
            }
        }
    }
    Ok(text)
}

fn row(text: &mut String, name: &str, run: &str, last: &Last) -> anyhow::Result<()> {
    let outcome = &last.outcome;
    let (build, commit) = (plain(&last.run["build"]), plain(&last.run["commit"]));
    write!(text, "| {name} | {run} | {build} | {commit} | ")?;
    if let Some(reason) = outcome["skipped"].as_str() {
        writeln!(text, "– | – | – | – | – | – | – | – | – | skipped: {reason} |")?;
        return Ok(());
    }
    let verdict = &outcome["verdict"];
    let panics = outcome["panics"].as_array().map_or(0, Vec::len);
    let passed = outcome["failures"].as_array().is_none_or(Vec::is_empty);
    // What a damaged folder has lost is told under its figures: the damage was done on purpose.
    writeln!(
        text,
        "{} | {:.0} | {} | {} | {} | {} | {} | {} | {panics} | {} |",
        plain(&outcome["cycles"]),
        outcome["seconds"].as_f64().unwrap_or(0.0),
        plain(&outcome["records_acked"]),
        plain(&verdict["records"]),
        plain(&verdict["lost"]),
        plain(&verdict["duplicate"]),
        plain(&verdict["phantom"]),
        plain(&verdict["corrupt"]),
        if passed { "passed" } else { "**failed**" },
    )?;
    Ok(())
}

/// When and where the runs were.
fn runs(text: &mut String, measured: &Measured) -> anyhow::Result<()> {
    let mut lines = std::collections::BTreeSet::new();
    for last in measured.gate.values().chain(measured.long.values()) {
        let run = &last.run;
        lines.insert(format!(
            "- {} UTC, {} run: {} build of {} ({} MiB, xxh3 {}); {} processors, {}, {} MiB of memory, Linux {}",
            plain(&run["started"]),
            plain(&run["run"]),
            plain(&run["build"]),
            plain(&run["commit"]),
            run["binary_bytes"].as_u64().unwrap_or(0) >> 20,
            plain(&run["binary_xxh3"]),
            plain(&run["processors"]),
            plain(&run["processor"]),
            plain(&run["memory_mib"]),
            plain(&run["kernel"]),
        ));
    }
    text.push_str("\n## Runs\n\n");
    for line in lines {
        writeln!(text, "{line}")?;
    }
    Ok(())
}

/// A value as people read it: large numbers in groups of three digits.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(number), _) => grouped(number),
            (None, Some(number)) if number.abs() < 10.0 => format!("{number:.2}"),
            (None, number) => format!("{:.1}", number.unwrap_or(0.0)),
        },
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(plain(&json!(3.456)), "3.46");
        assert_eq!(plain(&json!(34.56)), "34.6");
        assert_eq!(plain(&json!(false)), "no");
    }

    #[test]
    fn the_path_tells_how_a_binary_was_built() {
        assert_eq!(guess(Path::new("/x/target/debug/trivium")), "debug");
        assert_eq!(guess(Path::new("/tmp/bin/trivium-release")), "release");
        assert_eq!(guess(Path::new("/tmp/bin/trivium")), "unknown");
    }
}
