//! Bit flips, cuts, missing, swapped and stale files over every kind of file of a data folder. The server must recover, or
//! serve the rest and say so, or refuse to start with a message. It must never answer wrongly in silence.
//!
//! A part tells of itself: answers and the quarantine name it. So several parts of a folder are damaged at once, one file each,
//! and each is judged by what became of its own requests. Files that all depend on are damaged alone.

mod base;
mod inject;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ledger::Ledger;
use crate::load::Clients;
use crate::payload::Stream;
use crate::random::Random;
use crate::run::{Effort, LANES, Outcome, Run, in_lanes};
use crate::scenario::damage::base::{Base, PART_SIGNALS, copy, kinds, make, part_of};
use crate::scenario::damage::inject::{Done, Injector};
use crate::server::{Launch, Server};
use crate::verify::{Reader, Verdict, offline};

/// Of every hundred folders so many have damaged parts; the others have one damaged file that all depend on.
const PARTS_PERCENT: u64 = 45;

/// Of the parts of a folder so many stay whole at least: what is intact must be served.
const WHOLE_MIN: usize = 2;

/// Of a hundred damages of the long run so many go through headers and footers byte by byte.
const EDGE_PERCENT: u64 = 60;

/// Traces by ID of each reading; SQL and the log search read everything.
const TRACES_MAX: usize = 6;

/// Failures after which a lane gives up.
const FAILURES_MAX: usize = 5;

/// How the server took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Reaction {
    /// Every acknowledged record is there.
    Intact,
    /// Records are missing, and the server says so.
    Partial,
    /// The last requests before a kill are missing, none before them: when the end of a WAL that was not closed in order is
    /// gone, nothing proves that it was durable, and it cannot be told from a torn write (`wal/FORMAT.md`).
    TornEnd,
    Refused,
}

/// What is known of a kind of damage.
#[derive(Clone, Debug, Default, Serialize)]
struct Tally {
    injected: u64,
    /// `trivium verify --deep` named it.
    found: u64,
    reactions: BTreeMap<Reaction, u64>,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    in_lanes(run.in_memory()?, effort, lane).await
}

struct Lane {
    run: Run,
    clients: Clients,
    outcome: Outcome,
    injector: Injector,
    tallies: BTreeMap<String, Tally>,
}

async fn lane(run: Run, effort: Effort, number: u64) -> anyhow::Result<Outcome> {
    let ledger = Ledger::create(&run.folder.join("ledger"))?;
    let clients = Clients::new(ledger, Stream { records: 3, ..run.stream() })?;
    let edge_percent = if effort.is_long { EDGE_PERCENT } else { 0 };
    let injector = Injector::new(Random::new(run.seed), edge_percent, LANES, number);
    let outcome = run.outcome();
    let mut lane = Lane { run, clients, outcome, injector, tallies: BTreeMap::new() };
    let killed = make(&lane.run, &lane.clients, "killed").await?;
    let closed = make(&lane.run, &lane.clients, "closed").await?;
    let mut folders = 0;
    while effort.allows(lane.outcome.cycles) && lane.outcome.failures.len() < FAILURES_MAX {
        let base = if folders % 3 == 2 { &closed } else { &killed };
        lane.folder(base, effort.cycles - lane.outcome.cycles).await?;
        folders += 1;
    }
    lane.outcome.figure("folders", folders);
    lane.outcome.figure("reactions", &lane.tallies);
    if effort.is_long {
        lane.outcome.figure("edge_bytes", lane.injector.edges());
    }
    let (counts, stream) = (lane.clients.ledger.counts(), lane.clients.stream);
    lane.run.finish(lane.outcome, counts, &stream)
}

impl Lane {
    /// Damages a copy of a folder and judges what a server makes of it.
    async fn folder(&mut self, base: &Base, most: u64) -> anyhow::Result<()> {
        let damaged = self.run.folder.join("damaged");
        copy(&base.folder, &damaged)?;
        let done = match self.injector.random.percent(PARTS_PERCENT) {
            true => self.damage_parts(base, &damaged, usize::try_from(most)?)?,
            false => self.damage_one(base, &damaged)?,
        };
        if done.is_empty() {
            return Ok(());
        }
        let whats: Vec<&str> = done.iter().map(|done| done.what.as_str()).collect();
        let whats = whats.join("; ");
        self.outcome.cycles += done.len() as u64;
        if let Err(error) = self.judge(base, &damaged, &done).await {
            self.outcome.fail(format!("{whats}: {error:#}"));
            // As it was when the server was started: it changes what it finds.
            let kept = self.run.folder.join(format!("failed-{}", self.outcome.failures.len()));
            copy(&damaged, &kept)?;
        }
        Ok(())
    }

    /// One file of each of several parts.
    fn damage_parts(&mut self, base: &Base, damaged: &Path, most: usize) -> anyhow::Result<Vec<Done>> {
        let mut left: Vec<PathBuf> = base.parts.keys().cloned().collect();
        let mut all = Vec::new();
        while left.len() > WHOLE_MIN && all.len() < most {
            let place = usize::try_from(self.injector.random.below(left.len() as u64))?;
            let part = left.swap_remove(place);
            let files = kinds(&damaged.join(&part))?;
            let names: Vec<&String> = files.keys().collect();
            let Some(name) = self.injector.pick(&names).map(|name| (*name).clone()) else { continue };
            let signal = PART_SIGNALS.iter().find(|signal| part.starts_with(Path::new("parts").join(signal)));
            let signal = signal.copied().unwrap_or_default();
            // Swapped with a part that nothing else happens to, of the same signal.
            let others: Vec<PathBuf> = left.iter().filter(|other| other.parent() == part.parent()).cloned().collect();
            let others: Vec<PathBuf> = others.iter().map(|other| damaged.join(other).join(&name)).collect();
            let path = damaged.join(&part).join(&name);
            let kind = format!("{name} of {signal}");
            let done = self.injector.inject(damaged, &path, &kind, &others, &base.earlier)?;
            if let Some(done) = done {
                left.retain(|part| !done.paths.iter().any(|path| path.starts_with(part)));
                all.push(done);
            }
        }
        Ok(all)
    }

    /// A file that is not of a part.
    fn damage_one(&mut self, base: &Base, damaged: &Path) -> anyhow::Result<Vec<Done>> {
        let kinds: BTreeMap<String, Vec<PathBuf>> =
            kinds(damaged)?.into_iter().filter(|(name, _)| name != "lock" && !name.starts_with("parts/")).collect();
        let names: Vec<&String> = kinds.keys().collect();
        let Some(name) = self.injector.pick(&names).map(|name| (*name).clone()) else { return Ok(Vec::new()) };
        let Some(path) = self.injector.pick(&kinds[&name]).cloned() else { return Ok(Vec::new()) };
        let others: Vec<PathBuf> = kinds[&name].iter().filter(|other| **other != path).cloned().collect();
        Ok(self.injector.inject(damaged, &path, &name, &others, &base.earlier)?.into_iter().collect())
    }

    /// Starts the server on the damaged folder and decides whether what it says is true.
    async fn judge(&mut self, base: &Base, damaged: &Path, done: &[Done]) -> anyhow::Result<()> {
        let (findings, _) = offline(&self.run.binary, damaged)?;
        let hits: Vec<bool> = done.iter().map(|done| is_found(done, &findings)).collect();
        let launch = Launch { data: damaged.into(), ..self.run.launch() };
        let mut server = match launch.start() {
            Ok(server) => server,
            Err(error) => {
                let said = format!("{error:#}");
                anyhow::ensure!(said.contains("trivium:") && !said.contains("panicked"), "no message: {said}");
                anyhow::ensure!(done.iter().all(|done| part_of(done).is_none()), "a part stopped the start: {said}");
                self.count(done, &hits, &vec![Reaction::Refused; done.len()]);
                return Ok(());
            }
        };
        let reader = Reader::new(&self.clients, &server).traces_max(TRACES_MAX);
        let first = reader.verify(&base.fates).await;
        // What was said to be partial at first must not become silence later.
        let second = reader.verify(&base.fates).await;
        anyhow::ensure!(server.ended().is_none(), "the server ended by itself: {}", server.said());
        let told = self.told(&server, damaged).await;
        server.kill()?;
        let mut reactions = vec![Reaction::Intact; done.len()];
        for verdict in [&first, &second] {
            anyhow::ensure!(verdict.is_truthful(), "a wrong answer: {verdict:?}");
            for (reaction, done) in reactions.iter_mut().zip(done) {
                *reaction = (*reaction).max(react(base, done, verdict, &told)?);
            }
            let missing = unexplained(base, done, verdict);
            anyhow::ensure!(missing.is_empty(), "requests of undamaged files are missing: {missing:?}");
        }
        self.count(done, &hits, &reactions);
        for ((done, is_found), reaction) in done.iter().zip(&hits).zip(&reactions) {
            // Files of parts have checksums; and what is missing must be found by whoever looks.
            let must_be_found = part_of(done).is_some() || *reaction == Reaction::Partial;
            anyhow::ensure!(*is_found || !must_be_found, "undetected by trivium verify: {}", done.what);
        }
        Ok(())
    }

    fn count(&mut self, done: &[Done], hits: &[bool], reactions: &[Reaction]) {
        for ((done, is_found), reaction) in done.iter().zip(hits).zip(reactions) {
            let tally = self.tallies.entry(done.kind.clone()).or_default();
            tally.injected += 1;
            tally.found += u64::from(*is_found);
            *tally.reactions.entry(*reaction).or_default() += 1;
        }
    }

    /// What was put aside, and whether the server counts any damage.
    async fn told(&self, server: &Server, damaged: &Path) -> Told {
        let entries = fs::read_dir(damaged.join("quarantine")).into_iter().flatten().flatten();
        let quarantine = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let metrics = match self.clients.http.get(format!("{}/metrics", server.http)).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        let count = metrics.lines().find_map(|line| line.strip_prefix("trivium_storage_quarantined_total "));
        Told { quarantine, is_counted: count.is_some_and(|count| count.trim() != "0") }
    }
}

/// What a server says of damage besides its answers.
struct Told {
    /// The names in `quarantine/`.
    quarantine: Vec<String>,
    /// It counts something that it put aside.
    is_counted: bool,
}

/// Whether the check of the folder names what was damaged.
fn is_found(done: &Done, findings: &[String]) -> bool {
    match part_of(done) {
        // A part by its ID; of a swap both.
        Some(_) => done.paths.iter().all(|path| {
            let id = part_id(path);
            findings.iter().any(|finding| finding.contains(&id))
        }),
        None => !findings.is_empty(),
    }
}

/// The ID of the part that a file lies in.
fn part_id(path: &Path) -> String {
    path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What became of the requests that one damaged file is about.
fn react(base: &Base, done: &Done, verdict: &Verdict, told: &Told) -> anyhow::Result<Reaction> {
    if part_of(done).is_none() {
        return react_alone(base, done, verdict, told);
    }
    let mut reaction = Reaction::Intact;
    for path in &done.paths {
        let own = path.parent().and_then(|part| base.parts.get(part));
        if !own.is_some_and(|own| own.iter().any(|number| verdict.lost_requests.contains(number))) {
            continue;
        }
        let id = part_id(path);
        let names_it = |text: &String| text.contains(&id);
        let is_told = verdict.warnings.iter().any(names_it) || told.quarantine.iter().any(names_it);
        anyhow::ensure!(is_told, "records of part {id} are missing and nothing names it: {verdict:?}");
        reaction = Reaction::Partial;
    }
    Ok(reaction)
}

/// The same for a file that all depend on.
fn react_alone(base: &Base, done: &Done, verdict: &Verdict, told: &Told) -> anyhow::Result<Reaction> {
    let is_told = told.is_counted || !told.quarantine.is_empty() || verdict.partial_answers + verdict.problems > 0;
    if verdict.lost == 0 {
        return Ok(if verdict.problems > 0 { Reaction::Partial } else { Reaction::Intact });
    }
    if is_told {
        return Ok(Reaction::Partial);
    }
    let first = verdict.lost_requests.first().copied().unwrap_or(0);
    let is_end = base.fates.range(first..).all(|(number, _)| verdict.lost_requests.contains(number));
    let may_be_torn = base.was_killed && done.kind.starts_with("WAL: ");
    anyhow::ensure!(may_be_torn && is_end, "records are missing and nothing says so: {verdict:?}");
    Ok(Reaction::TornEnd)
}

/// Missing requests that are in no file that was damaged.
fn unexplained(base: &Base, done: &[Done], verdict: &Verdict) -> BTreeSet<u64> {
    if done.iter().any(|done| part_of(done).is_none()) {
        return BTreeSet::new();
    }
    let damaged: BTreeSet<&Path> = done.iter().flat_map(|done| &done.paths).filter_map(|path| path.parent()).collect();
    let explained =
        |number: &u64| damaged.iter().any(|part| base.parts.get(*part).is_some_and(|own| own.contains(number)));
    verdict.lost_requests.iter().copied().filter(|number| !explained(number)).collect()
}
