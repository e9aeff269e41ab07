//! What every scenario has: a folder, a binary, a seed, and a place for its findings.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::ledger::Counts;
use crate::payload::Stream;
use crate::server::Launch;
use crate::verify::Verdict;

/// How long and how often, by what came first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) cycles: u64,
    pub(crate) until: Instant,
}

impl Effort {
    pub(crate) fn new(cycles: u64, time: Duration) -> Self {
        Self { cycles, until: Instant::now() + time }
    }

    /// Whether cycle number `cycle`, from 0 on, is still to be run.
    pub(crate) fn allows(&self, cycle: u64) -> bool {
        cycle < self.cycles && Instant::now() < self.until
    }
}

/// The result of a scenario, as it is written into the report.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    /// Why it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<String>,
    pub(crate) seed: u64,
    pub(crate) cycles: u64,
    pub(crate) seconds: f64,
    pub(crate) requests: Counts,
    pub(crate) records_acked: u64,
    pub(crate) verdict: Verdict,
    pub(crate) panics: Vec<String>,
    /// What else the scenario measured.
    pub(crate) figures: Map<String, Value>,
    /// What broke a promise; empty when it passed.
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    pub(crate) fn skipped(scenario: &str, reason: &str) -> Self {
        Self { scenario: scenario.into(), skipped: Some(reason.into()), ..Self::default() }
    }

    pub(crate) fn figure(&mut self, name: &str, value: impl Serialize) {
        self.figures.insert(name.into(), serde_json::to_value(value).unwrap_or(Value::Null));
    }

    /// Adds to a number among the figures.
    pub(crate) fn count(&mut self, name: &str, more: u64) {
        let before = self.figures.get(name).and_then(Value::as_u64).unwrap_or(0);
        self.figure(name, before + more);
    }

    pub(crate) fn fail(&mut self, what: String) {
        say(&format!("FAILED: {what}"));
        self.failures.push(what);
    }
}

/// One scenario's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) python: Option<PathBuf>,
    started: Instant,
}

impl Run {
    /// An empty folder of the scenario's own below `parent`.
    pub(crate) fn new(name: &'static str, binary: &Path, parent: &Path, seed: u64) -> anyhow::Result<Self> {
        let folder = parent.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        say(&format!("{name}: seed {seed}, folder {}", folder.display()));
        let python = std::env::home_dir().map(|home| home.join(".cache/trivium-venv/bin/python"));
        let python = python.filter(|python| python.exists());
        Ok(Self { name, binary: binary.into(), folder, seed, python, started: Instant::now() })
    }

    pub(crate) fn stream(&self) -> Stream {
        Stream { seed: self.seed, records: 20, padding: 0 }
    }

    pub(crate) fn launch(&self) -> Launch {
        Launch::new(&self.binary, &self.folder)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { scenario: self.name.into(), seed: self.seed, ..Outcome::default() }
    }

    /// Completes an outcome; after a failure keeps what is needed to look into it.
    pub(crate) fn finish(&self, mut outcome: Outcome, counts: Counts, stream: &Stream) -> anyhow::Result<Outcome> {
        outcome.requests = counts;
        outcome.records_acked = counts.acked * stream.records;
        outcome.seconds = self.started.elapsed().as_secs_f64();
        outcome.panics = crate::server::panics(&self.folder.join("server.log"));
        if let Some(panic) = outcome.panics.first().cloned() {
            outcome.fail(format!("the server panicked: {panic}"));
        }
        if outcome.failures.is_empty() {
            fs::remove_dir_all(&self.folder)?;
        } else {
            self.keep_evidence(&outcome)?;
        }
        say(&format!(
            "{}: {} cycles in {:.0} s, {} records acknowledged, lost {}, duplicate {}, corrupt {}, {}",
            self.name,
            outcome.cycles,
            outcome.seconds,
            outcome.records_acked,
            outcome.verdict.lost,
            outcome.verdict.duplicate,
            outcome.verdict.corrupt,
            if outcome.failures.is_empty() { "passed" } else { "FAILED" },
        ));
        Ok(outcome)
    }

    fn keep_evidence(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let archive = self.folder.join("data.tar.gz");
        let data = self.folder.join("data");
        if data.exists() {
            drop(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&self.folder).arg("data").status());
        }
        let repro = json!({
            "command": std::env::args().collect::<Vec<_>>(),
            "scenario": self.name,
            "seed": self.seed,
            "binary": self.binary,
            "binary_xxh3": binary_hash(&self.binary),
            "data": archive,
            "ledger": self.folder.join("ledger"),
            "log": self.folder.join("server.log"),
            "outcome": outcome,
        });
        let path = self.folder.join("repro.json");
        fs::write(&path, serde_json::to_string_pretty(&repro)?)?;
        say(&format!("{}: evidence in {}", self.name, path.display()));
        Ok(())
    }
}

/// By which a binary is recognised.
pub(crate) fn binary_hash(path: &Path) -> String {
    fs::read(path).map(|bytes| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes))).unwrap_or_default()
}

/// A line for whoever watches; one who has seen enough (`| head`) is no error.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
