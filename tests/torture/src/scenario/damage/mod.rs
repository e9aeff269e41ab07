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

use anyhow::Context;
use serde::Serialize;

use crate::ledger::Ledger;
use crate::load::Clients;
use crate::payload::Stream;
use crate::random::Random;
use crate::run::{Effort, LANES, Outcome, Run, in_lanes};
use crate::scenario::damage::base::{Base, PART_SIGNALS, copy, kinds, make, part_of};
use crate::scenario::damage::inject::{Done, Injector};
use crate::server::{Launch, Server};
use crate::verify::{Reader, Verdict, Way, offline};

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
    lane.run.finish(lane.outcome, &lane.clients)
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
        // What was said to be partial at first must not become silence later.
        let readings = [self.read(base, &server, damaged).await, self.read(base, &server, damaged).await];
        anyhow::ensure!(server.ended().is_none(), "the server ended by itself: {}", server.said());
        server.kill()?;
        let mut reactions = vec![Reaction::Intact; done.len()];
        for reading in &readings {
            for (reaction, done) in reactions.iter_mut().zip(done) {
                *reaction = (*reaction).max(react(base, done, reading)?);
            }
            reading.check(base, done)?;
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

    /// Reads in all ways, each for itself: what one answer says does not excuse the silence of another.
    async fn read(&self, base: &Base, server: &Server, damaged: &Path) -> Reading {
        let told = self.told(server, damaged).await;
        let reader = Reader::new(&self.clients, server).traces_max(TRACES_MAX);
        let mut answers = Vec::new();
        for way in reader.ways(&base.fates) {
            answers.push((way, reader.read(way, &base.fates).await));
        }
        Reading { told, answers }
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

/// What a server answered, and what it had said before it was asked: what it puts aside later excuses no silence now.
struct Reading {
    told: Told,
    answers: Vec<(Way, Verdict)>,
}

impl Reading {
    /// No answer is wrong, and none lacks what was not damaged.
    fn check(&self, base: &Base, done: &[Done]) -> anyhow::Result<()> {
        for (way, verdict) in &self.answers {
            anyhow::ensure!(verdict.is_truthful(), "{way:?}: a wrong answer: {verdict:?}");
            let missing = unexplained(base, done, verdict);
            anyhow::ensure!(missing.is_empty(), "{way:?}: requests of undamaged files are missing: {missing:?}");
            let parts = done.iter().filter(|done| part_of(done).is_some());
            let parts: Vec<String> = parts.flat_map(|done| &done.paths).map(|path| part_id(path)).collect();
            if !parts.is_empty() {
                self.check_whole(&parts, verdict).with_context(|| format!("{way:?}"))?;
            }
        }
        Ok(())
    }

    /// A sum that is short, and an error, do not tell whose rows they lack; they must name a damaged part.
    fn check_whole(&self, parts: &[String], verdict: &Verdict) -> anyhow::Result<()> {
        let is_short = verdict.lost > 0 && verdict.lost_requests.is_empty();
        let is_named = parts.iter().any(|part| names(verdict, &self.told, part));
        anyhow::ensure!(is_named || !is_short, "a sum is short and nothing says so: {verdict:?}");
        let is_reason = |text: &String| parts.iter().any(|part| text.contains(part));
        let has_reason = verdict.examples.iter().any(is_reason);
        anyhow::ensure!(has_reason || verdict.problems == 0, "an error that names no damaged part: {verdict:?}");
        Ok(())
    }

    /// Whether what is missing, however it is read, is the last that was sent.
    fn lacks_the_end_only(&self, base: &Base) -> bool {
        let lost: BTreeSet<u64> =
            self.answers.iter().flat_map(|(_, verdict)| &verdict.lost_requests).copied().collect();
        lost.first().is_some_and(|first| base.fates.range(first..).all(|(number, _)| lost.contains(number)))
    }
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

/// Whether an answer, or what was put aside before it, names a part.
fn names(verdict: &Verdict, told: &Told, part: &str) -> bool {
    verdict.warnings.iter().chain(&told.quarantine).any(|text| text.contains(part))
}

/// What became of the requests that one damaged file is about.
fn react(base: &Base, done: &Done, reading: &Reading) -> anyhow::Result<Reaction> {
    let mut reaction = Reaction::Intact;
    for (way, verdict) in &reading.answers {
        let this = match part_of(done) {
            Some(_) => react_of_part(base, done, verdict, &reading.told),
            None => react_alone(base, done, verdict, reading),
        };
        reaction = reaction.max(this.with_context(|| format!("{way:?}"))?);
    }
    Ok(reaction)
}

fn react_of_part(base: &Base, done: &Done, verdict: &Verdict, told: &Told) -> anyhow::Result<Reaction> {
    let mut reaction = Reaction::Intact;
    for path in &done.paths {
        let own = path.parent().and_then(|part| base.parts.get(part));
        if !own.is_some_and(|own| own.iter().any(|number| verdict.lost_requests.contains(number))) {
            continue;
        }
        let id = part_id(path);
        anyhow::ensure!(
            names(verdict, told, &id),
            "records of part {id} are missing and nothing names it: {verdict:?}"
        );
        reaction = Reaction::Partial;
    }
    Ok(reaction)
}

/// The same for a file that all depend on.
fn react_alone(base: &Base, done: &Done, verdict: &Verdict, reading: &Reading) -> anyhow::Result<Reaction> {
    if verdict.lost == 0 {
        return Ok(if verdict.problems > 0 { Reaction::Partial } else { Reaction::Intact });
    }
    let told = &reading.told;
    if told.is_counted || !told.quarantine.is_empty() || verdict.partial_answers + verdict.problems > 0 {
        return Ok(Reaction::Partial);
    }
    let may_be_torn = base.was_killed && done.kind.starts_with("WAL: ");
    let is_end = may_be_torn && reading.lacks_the_end_only(base);
    anyhow::ensure!(is_end, "records are missing and nothing says so: {verdict:?}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Fate;
    use crate::payload::Signal;

    const PART: &str = "parts/logs/0a";

    /// A folder of three requests, the first of which lie in a part.
    fn base() -> Base {
        Base {
            folder: PathBuf::new(),
            earlier: PathBuf::new(),
            fates: (1..4).map(|number| (number, Fate::Ack)).collect(),
            was_killed: true,
            parts: BTreeMap::from([(PathBuf::from(PART), BTreeSet::from([1, 2]))]),
        }
    }

    fn damaged(path: &str, kind: &str) -> Done {
        Done { kind: kind.into(), what: String::new(), paths: vec![PathBuf::from(path)] }
    }

    fn answer(lost: &[u64], warnings: &[&str]) -> Verdict {
        let mut verdict = Verdict { lost: lost.len() as u64, ..Verdict::default() };
        verdict.lost_requests = lost.iter().copied().collect();
        verdict.warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
        verdict
    }

    fn reading(quarantine: &[&str], answers: Vec<Verdict>) -> Reading {
        let quarantine = quarantine.iter().map(|name| (*name).to_owned()).collect();
        let answers = answers.into_iter().map(|verdict| (Way::Sql(Signal::Logs), verdict)).collect();
        Reading { told: Told { quarantine, is_counted: false }, answers }
    }

    #[test]
    fn one_answer_does_not_excuse_the_silence_of_another() {
        let (base, done) = (base(), damaged("parts/logs/0a/columns.parquet", "columns.parquet of logs: Cut"));
        let (told, silent) = (answer(&[1], &["rows of part 0a are missing"]), answer(&[1], &[]));
        let all_told = reading(&[], vec![told.clone(), told.clone()]);
        assert_eq!(react(&base, &done, &all_told).expect("told"), Reaction::Partial);
        assert!(react(&base, &done, &reading(&[], vec![told, silent.clone()])).is_err());
        let put_aside = reading(&["0a"], vec![silent]);
        assert_eq!(react(&base, &done, &put_aside).expect("told by the quarantine"), Reaction::Partial);
    }

    #[test]
    fn a_sum_that_is_short_names_a_damaged_part() {
        let (base, done) = (base(), [damaged("parts/logs/0a/columns.parquet", "columns.parquet of logs: Cut")]);
        let short = |warnings: &[&str]| Verdict { lost: 3, ..answer(&[], warnings) };
        assert!(reading(&[], vec![short(&[])]).check(&base, &done).is_err());
        assert!(reading(&[], vec![short(&["part 0a is damaged"])]).check(&base, &done).is_ok());
    }

    #[test]
    fn only_the_end_of_a_wal_may_be_missing_in_silence() {
        let (base, done) = (base(), damaged("wal/1.wal", "WAL: Cut"));
        let end = reading(&[], vec![answer(&[3], &[]), answer(&[2, 3], &[])]);
        assert_eq!(react(&base, &done, &end).expect("the end"), Reaction::TornEnd);
        assert!(react(&base, &done, &reading(&[], vec![answer(&[2], &[])])).is_err());
    }
}
