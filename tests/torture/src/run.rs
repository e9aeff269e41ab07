//! What every scenario has: a folder, a binary, a seed, and a place for its findings.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::ledger::{Counts, Ledger};
use crate::load::Clients;
use crate::payload::{Stream, TIME_BASE};
use crate::server::Launch;
use crate::verify::{Reader, Verdict};

/// Scenarios that a machine waits in more than it works run twice at once.
pub(crate) const LANES: u64 = 2;

/// A file system in memory, and how much room it must have.
const MEMORY: &str = "/dev/shm";
const MEMORY_MIB_MIN: u64 = 2_048;

/// How long and how often, by what came first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) cycles: u64,
    pub(crate) until: Instant,
    /// A run of hours instead of minutes.
    pub(crate) is_long: bool,
}

impl Effort {
    pub(crate) fn new(cycles: u64, time: Duration, is_long: bool) -> Self {
        Self { cycles, until: Instant::now() + time, is_long }
    }

    /// The part of one of [`LANES`] lanes.
    fn of_lane(self, lane: u64) -> Self {
        Self { cycles: (self.cycles + LANES - 1 - lane) / LANES, ..self }
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

    /// Keeps the greatest of several numbers among the figures.
    pub(crate) fn greatest(&mut self, name: &str, value: f64) {
        let before = self.figures.get(name).and_then(Value::as_f64).unwrap_or(f64::MIN);
        self.figure(name, before.max(value));
    }

    /// Adds what another lane found. Numbers among the figures are added; of extremes, which end with `_max` or `_ms`, and of
    /// the whole that lanes share, which is `of`, the greatest stays.
    fn merge(&mut self, other: Self) {
        self.cycles += other.cycles;
        self.seconds = self.seconds.max(other.seconds);
        self.requests.add(other.requests);
        self.records_acked += other.records_acked;
        self.verdict.add(other.verdict);
        self.panics.extend(other.panics);
        self.failures.extend(other.failures);
        for (name, value) in other.figures {
            let merged = merged(&name, self.figures.get(&name), value);
            self.figures.insert(name, merged);
        }
    }

    pub(crate) fn fail(&mut self, what: String) {
        say(&format!("FAILED: {what}"));
        self.failures.push(what);
    }
}

/// A figure of two lanes.
fn merged(name: &str, mine: Option<&Value>, theirs: Value) -> Value {
    match (mine, theirs) {
        (None | Some(Value::Null), theirs) => theirs,
        (Some(Value::Object(mine)), Value::Object(theirs)) => {
            let mut all = mine.clone();
            for (name, value) in theirs {
                let value = merged(&name, all.get(&name), value);
                all.insert(name, value);
            }
            Value::Object(all)
        }
        (Some(Value::Number(mine)), Value::Number(theirs)) => {
            let is_extreme = name == "of" || ["_max", "_ms"].iter().any(|end| name.ends_with(end));
            match (mine.as_u64(), theirs.as_u64()) {
                (Some(mine), Some(theirs)) if is_extreme => mine.max(theirs).into(),
                (Some(mine), Some(theirs)) => (mine + theirs).into(),
                _ => {
                    let (mine, theirs) = (mine.as_f64().unwrap_or(0.0), theirs.as_f64().unwrap_or(0.0));
                    json!(if is_extreme { mine.max(theirs) } else { mine + theirs })
                }
            }
        }
        (Some(mine), _) => mine.clone(),
    }
}

/// Runs a scenario in several folders at once, each with its share of the cycles.
pub(crate) async fn in_lanes<F, L>(run: Run, effort: Effort, lane: F) -> anyhow::Result<Outcome>
where
    F: Fn(Run, Effort, u64) -> L,
    L: Future<Output = anyhow::Result<Outcome>> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..LANES {
        tasks.spawn(lane(run.lane(number)?, effort.of_lane(number), number));
    }
    let mut outcome = run.outcome();
    while let Some(done) = tasks.join_next().await {
        outcome.merge(done??);
    }
    outcome.seconds = run.started.elapsed().as_secs_f64();
    if outcome.failures.is_empty() {
        run.clean()?;
    }
    run.say_result(&outcome);
    Ok(outcome)
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

    /// The same with a folder and a seed of its own.
    fn lane(&self, number: u64) -> anyhow::Result<Self> {
        let folder = self.folder.join(format!("lane-{number}"));
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, seed: self.seed ^ (number << 40), ..self.clone() })
    }

    /// The same with a folder in memory where there is room: what dies here are processes, not disks, and none need be waited for.
    pub(crate) fn in_memory(self) -> anyhow::Result<Self> {
        let root = Path::new(MEMORY);
        let output = Command::new("df").args(["--output=avail", "-BM", MEMORY]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let mib = text.lines().nth(1).and_then(|line| line.trim().trim_end_matches('M').parse().ok()).unwrap_or(0_u64);
        if mib < MEMORY_MIB_MIN {
            return Ok(self);
        }
        let folder = root.join(format!("trivium-torture-{}", std::process::id())).join(self.name);
        fs::create_dir_all(&folder)?;
        fs::remove_dir(&self.folder)?;
        say(&format!("{}: works in {}", self.name, folder.display()));
        Ok(Self { folder, ..self })
    }

    pub(crate) fn stream(&self) -> Stream {
        Stream { seed: self.seed, records: 20, padding: 0, base: TIME_BASE }
    }

    pub(crate) fn launch(&self) -> Launch {
        Launch::new(&self.binary, &self.folder)
    }

    /// Reads everything from a server that nothing limits: what counts is whether it is there.
    pub(crate) async fn read_back(&self, clients: &Clients, when: &str, outcome: &mut Outcome) -> anyhow::Result<()> {
        let server = self.launch().start()?;
        let verdict = Reader::new(clients, &server).verify(&clients.ledger.fates(0)).await;
        if !verdict.is_clean() {
            outcome.fail(format!("{when}: {:?}", verdict.examples));
        }
        outcome.verdict.add(verdict);
        server.kill()
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { scenario: self.name.into(), seed: self.seed, ..Outcome::default() }
    }

    /// Completes an outcome; after a failure keeps what is needed to look into it.
    pub(crate) fn finish(&self, mut outcome: Outcome, clients: &Clients) -> anyhow::Result<Outcome> {
        outcome.requests = clients.ledger.counts();
        outcome.records_acked = outcome.requests.acked * clients.stream.records;
        if let Some(problem) = unserved(&outcome, &clients.ledger) {
            outcome.fail(problem);
        }
        outcome.seconds = self.started.elapsed().as_secs_f64();
        outcome.panics = crate::server::panics(&self.folder.join("server.log"));
        if let Some(panic) = outcome.panics.first().cloned() {
            outcome.fail(format!("the server panicked: {panic}"));
        }
        if outcome.failures.is_empty() {
            self.clean()?;
        } else {
            self.keep_evidence(&outcome)?;
        }
        self.say_result(&outcome);
        Ok(outcome)
    }

    /// Removes the folder, and the one of this process in memory when it was the last in it.
    fn clean(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder)?;
        let of_process = |parent: &&Path| parent.parent() == Some(Path::new(MEMORY));
        if let Some(parent) = self.folder.parent().filter(of_process) {
            drop(fs::remove_dir(parent));
        }
        Ok(())
    }

    fn say_result(&self, outcome: &Outcome) {
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

/// What no misfortune excuses: the clients send nothing that may be refused for good, and what nobody acknowledged cannot be lost.
/// Other programs that send garbage on purpose have no ledger.
fn unserved(outcome: &Outcome, ledger: &Ledger) -> Option<String> {
    let Counts { acked, bad_refusals, .. } = outcome.requests;
    if let Some(first) = ledger.first_bad_refusal() {
        return Some(format!("{bad_refusals} refusals that lose data, the first: {first}"));
    }
    // A lane may have no cycle of its own.
    (acked == 0 && outcome.cycles > 0).then(|| "nothing was acknowledged: this shows nothing".to_owned())
}

/// By which a binary is recognised.
pub(crate) fn binary_hash(path: &Path) -> String {
    fs::read(path).map(|bytes| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes))).unwrap_or_default()
}

/// A line for whoever watches; one who has seen enough (`| head`) is no error.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Fate;

    #[test]
    fn lanes_share_the_cycles_and_their_figures_are_put_together() {
        let effort = Effort::new(7, Duration::from_secs(1), false);
        assert_eq!([effort.of_lane(0).cycles, effort.of_lane(1).cycles], [4, 3]);
        let mut first = Outcome { cycles: 4, ..Outcome::default() };
        first.figure("kills", 2);
        first.figure("ready_ms_max", 7.5);
        first.figure("clients", json!({"acked": 1, "ack_p99_ms": 4.0, "note": null}));
        first.figure("edge_bytes", json!({"format": {"done": 3, "of": 8}}));
        let mut second = Outcome { cycles: 3, ..Outcome::default() };
        second.figure("kills", 3);
        second.figure("ready_ms_max", 2.5);
        second.figure("clients", json!({"acked": 5, "ack_p99_ms": 9.0, "note": "b"}));
        second.figure("edge_bytes", json!({"format": {"done": 4, "of": 9}}));
        second.failures.push("something".into());
        first.merge(second);
        let expected = json!({
            "kills": 5, "ready_ms_max": 7.5, "clients": {"acked": 6, "ack_p99_ms": 9.0, "note": "b"},
            "edge_bytes": {"format": {"done": 7, "of": 9}},
        });
        assert_eq!((first.cycles, Value::Object(first.figures), first.failures.len()), (7, expected, 1));
    }

    #[test]
    fn a_run_whose_clients_were_not_served_is_no_pass() {
        let path = std::env::temp_dir().join(format!("trivium-torture-unserved-{}", std::process::id()));
        let ledger = Ledger::create(&path).expect("a file");
        let problem = |cycles| unserved(&Outcome { cycles, requests: ledger.counts(), ..Outcome::default() }, &ledger);
        assert!(problem(1).is_some_and(|problem| problem.contains("nothing was acknowledged")));
        assert_eq!(problem(0), None, "another lane may have had the cycles");
        let number = ledger.begin().expect("written");
        ledger.end(number, Fate::Ack).expect("written");
        assert_eq!(problem(1), None);
        ledger.refused_badly("400: no");
        assert_eq!(problem(1).as_deref(), Some("1 refusals that lose data, the first: 400: no"));
        fs::remove_file(&path).expect("removed");
    }
}
