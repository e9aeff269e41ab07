//! The folders that are damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::ledger::Fate;
use crate::load::Clients;
use crate::machine::must;
use crate::payload::{Signal, TIME_STEP};
use crate::run::Run;
use crate::scenario::damage::inject::Done;
use crate::server::{Launch, Server};

/// Requests per flush at least while the folders are made.
const REQUESTS: u64 = 15;

/// Flushes, each of which makes a part per signal.
const FLUSHES: u64 = 4;

/// The folders below `parts/`.
pub(super) const PART_SIGNALS: [&str; 3] = ["logs", "metrics", "traces"];

/// A day of requests, as their times go: parts of different days are not merged.
const DAY: u64 = 24 * 3_600 * 1_000_000_000 / TIME_STEP;

/// A folder to damage.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) folder: PathBuf,
    /// The same folder at an earlier time.
    pub(super) earlier: PathBuf,
    pub(super) fates: BTreeMap<u64, Fate>,
    /// It was killed, and has requests that are in the WAL only.
    pub(super) was_killed: bool,
    /// The folders of parts, below this one, and the requests in each.
    pub(super) parts: BTreeMap<PathBuf, BTreeSet<u64>>,
}

/// A folder with several parts of each signal and, when it is to be killed, with requests that are in the WAL only.
pub(super) async fn make(run: &Run, clients: &Clients, name: &'static str) -> anyhow::Result<Base> {
    let folder = run.folder.join(name);
    let earlier = run.folder.join(format!("{name}-earlier"));
    let launch = Launch { data: folder.clone(), ..run.launch() };
    let server = launch.start()?;
    let first = clients.ledger.next();
    let mut parts = BTreeMap::new();
    for flush in 0..FLUSHES {
        let from = clients.ledger.next();
        send(clients, &server).await?;
        if flush == 1 {
            copy(&folder, &earlier)?;
        }
        let url = format!("{}/-/flush", server.http);
        clients.http.post(url).send().await?.error_for_status().context("the flush")?;
        take_new_parts(clients, &folder, from, &mut parts)?;
        clients.ledger.leap((clients.ledger.next() / DAY + 1) * DAY);
    }
    let was_killed = name == "killed";
    if was_killed {
        send(clients, &server).await?;
        server.kill()?;
    } else {
        server.stop()?;
    }
    for part in parts.keys() {
        anyhow::ensure!(folder.join(part).is_dir(), "{} was merged away", part.display());
    }
    clients.ledger.leap((clients.ledger.next() / DAY + 1) * DAY);
    Ok(Base { folder, earlier, fates: clients.ledger.fates(first), was_killed, parts })
}

/// One after the other, so that each is a group of the WAL; until there is something of each signal.
async fn send(clients: &Clients, server: &Server) -> anyhow::Result<()> {
    let mut missing: Vec<Signal> = Signal::ALL.to_vec();
    let mut sent = 0;
    while sent < REQUESTS || !missing.is_empty() {
        let number = clients.ledger.begin()?;
        anyhow::ensure!(clients.send(&server.otlp_http, number).await? == Fate::Ack, "an undamaged server refused");
        missing.retain(|signal| *signal != clients.stream.signal(number));
        sent += 1;
    }
    Ok(())
}

/// The flush made one part of each signal, of all that was sent since `from`.
fn take_new_parts(
    clients: &Clients,
    folder: &Path,
    from: u64,
    parts: &mut BTreeMap<PathBuf, BTreeSet<u64>>,
) -> anyhow::Result<()> {
    for signal in PART_SIGNALS {
        let all = PathBuf::from("parts").join(signal);
        let is_of = |number: &u64| clients.stream.signal(*number).path().ends_with(signal);
        let numbers: BTreeSet<u64> = (from..clients.ledger.next()).filter(is_of).collect();
        let mut new = Vec::new();
        for entry in fs::read_dir(folder.join(&all))? {
            let part = all.join(entry?.file_name());
            if !parts.contains_key(&part) {
                new.push(part);
            }
        }
        anyhow::ensure!(new.len() == 1, "a flush made {} parts of {signal}", new.len());
        parts.extend(new.into_iter().map(|part| (part, numbers.clone())));
    }
    Ok(())
}

pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    must("cp", &["-a", &from.to_string_lossy(), &to.to_string_lossy()])
}

/// Files by what they are: `WAL`, `catalog.sqlite-wal`, `parts/logs/…/columns.parquet`.
pub(super) fn kinds(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut found = Vec::new();
    files(folder, &mut found)?;
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in found {
        let relative = path.strip_prefix(folder)?;
        let is_wal = relative.starts_with("wal") && relative.extension().is_some_and(|extension| extension == "wal");
        let kind = if is_wal { "WAL".to_owned() } else { relative.to_string_lossy().into_owned() };
        kinds.entry(kind).or_default().push(path);
    }
    Ok(kinds)
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

/// The folder of the part that was damaged, below the data folder.
pub(super) fn part_of(done: &Done) -> Option<&Path> {
    done.paths.first().filter(|path| path.starts_with("parts"))?.parent()
}
