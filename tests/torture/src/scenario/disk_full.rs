//! A small file system fills up, by what is stored or by somebody else's file, and is freed again. The server lives through it,
//! queries go on, and nothing acknowledged is lost: a restart afterwards, at times after kill -9, shows what is on the disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Trouble};
use crate::machine::{Mount, can_mount};
use crate::payload::Stream;
use crate::run::{Effort, Outcome, Run};
use crate::server::{Launch, Server, pause};
use crate::verify::{Reader, offline};

/// The file system: room for the catalog, the WAL and a few hundred parts.
const MIB: u64 = 96;

/// So often a disk fills up before the next takes its place.
const FILLS: u64 = 3;

/// Acknowledgements before a disk fills up: several buffers and groups of the WAL.
const ACKED_MIN: u64 = 200;

/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(4);

/// How soon after room is there again a request must be accepted.
const RESUME_MAX: Duration = Duration::from_secs(10);

/// One file system and the folder of a server on it.
struct Disk {
    clients: Clients,
    launch: Launch,
    mount: Mount,
    /// The first request of this folder.
    first: u64,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_mount(&run.folder) {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    let stream = Stream { padding: 1_000, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let mut outcome = run.outcome();
    let mut cycle = 0;
    while effort.allows(cycle) && outcome.failures.is_empty() {
        let mount = mount(&run.folder, cycle)?;
        let launch = run.launch().flags(&["--buffer-mib", "2", "--seal-after", "1s"]);
        let launch = Launch { data: mount.point.join("data"), ..launch };
        let disk = Disk { clients: clients.clone(), launch, mount, first: clients.ledger.next() };
        let mut server = disk.launch.start()?;
        for _ in 0..FILLS {
            if !effort.allows(cycle) || !outcome.failures.is_empty() {
                break;
            }
            server = disk.cycle(server, cycle, &mut outcome).await?;
            cycle += 1;
            outcome.cycles = cycle;
        }
        stop(server, &mut outcome)?;
        let (findings, _) = offline(&run.binary, &disk.launch.data)?;
        if !findings.is_empty() {
            outcome.fail(format!("trivium verify --deep: {findings:?}"));
        }
    }
    run.finish(outcome, &clients)
}

fn mount(folder: &Path, cycle: u64) -> anyhow::Result<Mount> {
    let point = folder.join("disk");
    // Ext4 and tmpfs in turn: they differ in when they say that they are full.
    if cycle.is_multiple_of(2) {
        Mount::create(&folder.join("disk.img"), &point, MIB)
    } else {
        Mount::memory(&point, MIB)
    }
}

impl Disk {
    /// One fill. What a server that lived through it can show may be in its memory only, so that another reads it from the disk.
    async fn cycle(&self, server: Server, cycle: u64, outcome: &mut Outcome) -> anyhow::Result<Server> {
        let from = self.clients.ledger.next();
        self.fill_and_free(&server, cycle, outcome).await?;
        if is_killed(cycle) {
            // Before the seals that failed are made up for: much is in the WAL only.
            server.kill()?;
        } else {
            // Let the seals and merges that failed be done.
            pause(Duration::from_secs(2));
            self.read(&server, from, &format!("cycle {cycle}"), outcome).await;
            stop(server, outcome)?;
        }
        let server = self.launch.start().with_context(|| format!("cycle {cycle}: no start afterwards"))?;
        self.read(&server, self.first, &format!("cycle {cycle}, after the restart"), outcome).await;
        Ok(server)
    }

    async fn fill_and_free(&self, server: &Server, cycle: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
        let foreign = self.mount.point.join("foreign");
        // By data: a file takes all but a little, which the load then fills. By somebody else: a file takes everything at once.
        let leave = if cycle.is_multiple_of(2) { 6 << 20 } else { 0 };
        let phase = self.clients.phase();
        let running = phase.start(server, 4, Trouble::GoOn);
        // Something of this cycle is on the disk, and more on its way.
        let until = Instant::now() + Duration::from_secs(30);
        while phase.seen.acked.load(Ordering::Relaxed) < ACKED_MIN {
            anyhow::ensure!(Instant::now() < until, "cycle {cycle}: the server takes nothing on a disk with room");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fill(&foreign, self.mount.free().saturating_sub(leave))?;
        let until = Instant::now() + Duration::from_secs(30);
        while phase.seen.refused.load(Ordering::Relaxed) == 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(FULL_FOR).await;
        let refused = phase.seen.refused.load(Ordering::Relaxed);
        outcome.count("refused_while_full", refused);
        if refused == 0 {
            outcome.fail(format!("cycle {cycle}: the disk never became full"));
        }
        if let Err(error) = Reader::new(&self.clients, server).ask_sql("SELECT count(*) FROM logs").await {
            outcome.fail(format!("cycle {cycle}: a query on a full disk: {error:#}"));
        }
        fs::remove_file(&foreign)?;
        let freed = Instant::now();
        let resumed = resume(&self.clients, server).await?;
        let worst = outcome.figures.get("resume_ms_max").and_then(|value| value.as_u64()).unwrap_or(0);
        outcome.figure("resume_ms_max", worst.max(u64::try_from(freed.elapsed().as_millis()).unwrap_or(u64::MAX)));
        if !resumed {
            let said = server.said();
            outcome.fail(format!("cycle {cycle}: no request was accepted within {RESUME_MAX:?} of room: {said}"));
        }
        let summary = running.finish().await?;
        if summary.bad_refusals > 0 {
            outcome.fail(format!("cycle {cycle}: a refusal that loses data: {:?}", summary.first_bad_refusal));
        }
        Ok(())
    }

    async fn read(&self, server: &Server, from: u64, when: &str, outcome: &mut Outcome) {
        let verdict = Reader::new(&self.clients, server).verify(&self.clients.ledger.fates(from)).await;
        if !verdict.is_clean() {
            outcome.fail(format!("{when}: {:?}", verdict.examples));
        }
        outcome.verdict.add(verdict);
    }
}

/// Two fills end by kill -9 and two by an order: each way to fill up meets each end, on either file system.
fn is_killed(cycle: u64) -> bool {
    (cycle / 2).is_multiple_of(2)
}

fn stop(server: Server, outcome: &mut Outcome) -> anyhow::Result<()> {
    let status = server.stop()?;
    if !status.success() {
        outcome.fail(format!("the orderly stop ended with {status}"));
    }
    Ok(())
}

/// Whether a request is accepted soon.
async fn resume(clients: &Clients, server: &Server) -> anyhow::Result<bool> {
    let until = Instant::now() + RESUME_MAX;
    while Instant::now() < until {
        let number = clients.ledger.begin()?;
        if clients.send(&server.otlp_http, number).await? == Fate::Ack {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(false)
}

/// Writes so many bytes, or as many as there is room for.
fn fill(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let block = vec![0x55_u8; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(block.len()).min(block.len());
        if file.write_all(&block[..now]).is_err() {
            break;
        }
        left -= now as u64;
    }
    // Delayed allocation claims the blocks only now.
    drop(file.sync_all());
    Ok(())
}
