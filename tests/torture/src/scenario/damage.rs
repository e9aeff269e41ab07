//! Bit flips, cuts, missing, swapped and stale files over every kind of file of a data folder. The server must recover, or
//! serve the rest and say so, or refuse to start with a message. It must never answer wrongly in silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::ledger::{Fate, Ledger};
use crate::load::Clients;
use crate::machine::must;
use crate::random::Random;
use crate::run::{Effort, Outcome, Run};
use crate::server::{Launch, Server};
use crate::verify::{Reader, Verdict, offline};

/// Requests per flush while the folders are made.
const REQUESTS: u64 = 24;

/// Flushes, each of which makes a part per signal.
const FLUSHES: u64 = 3;

/// Bytes at either end of a file that are damaged more often than their share.
const EDGE: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    FlipInside,
    FlipAtStart,
    FlipAtEnd,
    Cut,
    Empty,
    Missing,
    Swapped,
    Stale,
}

const DAMAGES: [Damage; 8] = [
    Damage::FlipInside,
    Damage::FlipAtStart,
    Damage::FlipAtEnd,
    Damage::Cut,
    Damage::Empty,
    Damage::Missing,
    Damage::Swapped,
    Damage::Stale,
];

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

/// A folder to damage.
struct Base {
    folder: PathBuf,
    /// The same folder at an earlier time.
    earlier: PathBuf,
    fates: BTreeMap<u64, Fate>,
    /// It was killed, and has requests that are in the WAL only.
    was_killed: bool,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    let ledger = Ledger::create(&run.folder.join("ledger"))?;
    let clients = Clients::new(ledger, run.stream())?;
    let mut outcome = run.outcome();
    let killed = make(&run, &clients, "killed").await?;
    let closed = make(&run, &clients, "closed").await?;
    let mut random = Random::new(run.seed);
    let mut reactions: BTreeMap<String, BTreeMap<Reaction, u64>> = BTreeMap::new();
    let mut cycle = 0;
    while effort.allows(cycle) && outcome.failures.len() < 5 {
        let base = if cycle % 3 == 2 { &closed } else { &killed };
        let damaged = run.folder.join("damaged");
        copy(&base.folder, &damaged)?;
        let Some((kind, what)) = inject(base, &damaged, &mut random)? else { continue };
        let may_be_torn = base.was_killed && kind.starts_with("WAL: ");
        match judge(&run, &clients, base, &damaged, may_be_torn, &mut outcome).await {
            Ok(reaction) => *reactions.entry(kind).or_default().entry(reaction).or_default() += 1,
            Err(error) => {
                outcome.fail(format!("{what}: {error:#}"));
                copy(&damaged, &run.folder.join(format!("failed-{}", outcome.failures.len())))?;
            }
        }
        cycle += 1;
        outcome.cycles = cycle;
    }
    outcome.figure("reactions", reactions);
    let (counts, stream) = (clients.ledger.counts(), clients.stream);
    run.finish(outcome, counts, &stream)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    must("cp", &["-a", &from.to_string_lossy(), &to.to_string_lossy()])
}

/// A folder with several parts of each signal and, when it is to be killed, with requests that are in the WAL only.
async fn make(run: &Run, clients: &Clients, name: &'static str) -> anyhow::Result<Base> {
    let folder = run.folder.join(name);
    let earlier = run.folder.join(format!("{name}-earlier"));
    let launch = Launch { data: folder.clone(), ..run.launch() };
    let server = launch.start()?;
    let first = clients.ledger.next();
    for flush in 0..FLUSHES {
        send(clients, &server, REQUESTS).await?;
        if flush == 1 {
            copy(&folder, &earlier)?;
        }
        let url = format!("{}/-/flush", server.http);
        clients.http.post(url).send().await?.error_for_status().context("the flush")?;
    }
    let was_killed = name == "killed";
    if was_killed {
        send(clients, &server, REQUESTS).await?;
        server.kill()?;
    } else {
        server.stop()?;
    }
    Ok(Base { folder, earlier, fates: clients.ledger.fates(first), was_killed })
}

/// One after the other, so that each is a group of the WAL.
async fn send(clients: &Clients, server: &Server, requests: u64) -> anyhow::Result<()> {
    for _ in 0..requests {
        let number = clients.ledger.begin()?;
        anyhow::ensure!(clients.send(&server.otlp_http, number).await? == Fate::Ack, "an undamaged server refused");
    }
    Ok(())
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

/// What a file is: `columns.parquet of logs`, `WAL`, `catalog.sqlite-wal`.
fn kind(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["parts", signal, _, file] => format!("{file} of {signal}"),
        ["wal", file] if file.ends_with(".wal") => "WAL".into(),
        ["wal", file] => format!("wal/{file}"),
        _ => relative.to_string_lossy().into_owned(),
    }
}

/// Damages one file: its kind with the damage, and what exactly was done. `None` when it cannot be done to that file.
fn inject(base: &Base, damaged: &Path, random: &mut Random) -> anyhow::Result<Option<(String, String)>> {
    let mut all = Vec::new();
    files(damaged, &mut all)?;
    // Kinds come in turn, not files: there are many parts and one catalog.
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in all {
        kinds.entry(kind(damaged, &path)).or_default().push(path);
    }
    let names: Vec<&String> = kinds.keys().filter(|name| *name != "lock").collect();
    let name = names[pick(random, names.len())].clone();
    let same = &kinds[&name];
    let path = &same[pick(random, same.len())];
    let damage = DAMAGES[pick(random, DAMAGES.len())];
    let relative = path.strip_prefix(damaged)?;
    let length = fs::metadata(path)?.len();
    let mut detail = String::new();
    match damage {
        Damage::FlipInside | Damage::FlipAtStart | Damage::FlipAtEnd | Damage::Cut if length == 0 => return Ok(None),
        Damage::FlipInside => detail = flip(path, random.below(length), random)?,
        Damage::FlipAtStart => detail = flip(path, random.below(length.min(EDGE)), random)?,
        Damage::FlipAtEnd => detail = flip(path, length - 1 - random.below(length.min(EDGE)), random)?,
        Damage::Cut => {
            let to = random.below(length);
            detail = format!(" to {to} of {length} bytes");
            fs::File::options().write(true).open(path)?.set_len(to)?;
        }
        Damage::Empty => fs::write(path, b"")?,
        Damage::Missing => fs::remove_file(path)?,
        Damage::Swapped => {
            let others: Vec<&PathBuf> = same.iter().filter(|other| *other != path).collect();
            if others.is_empty() {
                return Ok(None);
            }
            let other = others[pick(random, others.len())];
            detail = format!(" with {}", other.strip_prefix(damaged)?.display());
            let (bytes, theirs) = (fs::read(path)?, fs::read(other)?);
            fs::write(path, theirs)?;
            fs::write(other, bytes)?;
        }
        Damage::Stale => {
            let older = base.earlier.join(relative);
            if !older.exists() || fs::read(&older)? == fs::read(path)? {
                return Ok(None);
            }
            fs::copy(older, path)?;
        }
    }
    Ok(Some((format!("{name}: {damage:?}"), format!("{damage:?}{detail}: {}", relative.display()))))
}

fn pick(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length.max(1) as u64)).unwrap_or(0)
}

fn flip(path: &Path, at: u64, random: &mut Random) -> anyhow::Result<String> {
    let mut bytes = fs::read(path)?;
    let bit = random.below(8);
    if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
        *byte ^= 1 << bit;
    }
    fs::write(path, bytes)?;
    Ok(format!(" of bit {bit} at byte {at}"))
}

/// Starts the server on the damaged folder and decides whether what it says is true.
async fn judge(
    run: &Run,
    clients: &Clients,
    base: &Base,
    damaged: &Path,
    may_be_torn: bool,
    outcome: &mut Outcome,
) -> anyhow::Result<Reaction> {
    let (findings, _) = offline(&run.binary, damaged)?;
    outcome.count("found_by_verify", u64::from(!findings.is_empty()));
    let launch = Launch { data: damaged.into(), ..run.launch() };
    let mut server = match launch.start() {
        Ok(server) => server,
        Err(error) => {
            let said = format!("{error:#}");
            anyhow::ensure!(said.contains("trivium:") && !said.contains("panicked"), "no message: {said}");
            return Ok(Reaction::Refused);
        }
    };
    let reader = Reader { http: &clients.http, server: &server, stream: &clients.stream };
    let first = reader.verify(&base.fates).await;
    // What was said to be partial at first must not become silence later.
    let second = reader.verify(&base.fates).await;
    anyhow::ensure!(server.ended().is_none(), "the server ended by itself: {}", server.said());
    let quarantined = quarantined(clients, &server, damaged).await;
    server.kill()?;
    let mut reaction = Reaction::Intact;
    for verdict in [first, second] {
        reaction = reaction.max(react(base, &verdict, quarantined, may_be_torn)?);
    }
    Ok(reaction)
}

fn react(base: &Base, verdict: &Verdict, quarantined: bool, may_be_torn: bool) -> anyhow::Result<Reaction> {
    anyhow::ensure!(verdict.is_truthful(), "a wrong answer: {verdict:?}");
    let is_told = quarantined || verdict.partial_answers + verdict.problems > 0;
    if verdict.lost == 0 {
        return Ok(if verdict.problems > 0 { Reaction::Partial } else { Reaction::Intact });
    }
    if is_told {
        return Ok(Reaction::Partial);
    }
    let first = verdict.lost_requests.first().copied().unwrap_or(0);
    let is_end = base.fates.range(first..).all(|(number, _)| verdict.lost_requests.contains(number));
    anyhow::ensure!(may_be_torn && is_end, "records are missing and nothing says so: {verdict:?}");
    Ok(Reaction::TornEnd)
}

/// Whether the server counts damage or has put some aside.
async fn quarantined(clients: &Clients, server: &Server, damaged: &Path) -> bool {
    let has_files = fs::read_dir(damaged.join("quarantine")).is_ok_and(|mut entries| entries.next().is_some());
    let metrics = match clients.http.get(format!("{}/metrics", server.http)).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    };
    let count = metrics.lines().find_map(|line| line.strip_prefix("trivium_storage_quarantined_total "));
    has_files || count.is_some_and(|count| count.trim() != "0")
}
