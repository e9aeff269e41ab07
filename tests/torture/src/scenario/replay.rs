//! A large WAL, left by a server with room, is replayed in a small memory cgroup.

use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::load::{Clients, Trouble};
use crate::machine::Cgroup;
use crate::payload::Stream;
use crate::run::{Effort, Outcome, Run};
use crate::server::Launch;
use crate::verify::Reader;

/// The goal is half a minute for 2 GiB; a build without optimisation on a busy machine is given more.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn run(run: Run, effort: Effort, wal_mib: u64, limit_mib: u64) -> anyhow::Result<Outcome> {
    let group = match Cgroup::create(&format!("trivium-replay-{}", std::process::id()), limit_mib << 20) {
        Ok(group) => group,
        Err(error) => return Ok(Outcome::skipped(run.name, &format!("{error:#}"))),
    };
    let stream = Stream { records: 1_000, padding: 400, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let mut outcome = run.outcome();
    outcome.cycles = 1;
    // A buffer larger than the WAL: nothing is sealed.
    let server = run.launch().flags(&["--buffer-mib", "16384", "--seal-after", "1day"]).start()?;
    let running = clients.phase().start(&server, 8, Trouble::GoOn);
    let wal = run.launch().data.join("wal");
    while bytes(&wal) < wal_mib << 20 && Instant::now() < effort.until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.finish().await?;
    server.kill()?;
    let size = bytes(&wal);
    let launch = Launch { cgroup: Some(group.path.clone()), patience: PATIENCE, ..run.launch() };
    let server = match launch.start() {
        Ok(server) => server,
        Err(error) => {
            outcome.figure("oom_kills", group.oom_kills());
            outcome.fail(format!("no start on a WAL of {} MiB: {error:#}", size >> 20));
            return run.finish(outcome, clients.ledger.counts(), &stream);
        }
    };
    let seconds = server.ready_after.as_secs_f64();
    outcome.figure("wal_mib", size >> 20);
    outcome.figure("limit_mib", limit_mib);
    outcome.figure("ready_after_seconds", seconds);
    outcome.figure("mib_per_second", (size >> 20) as f64 / seconds);
    outcome.figure("rss_mib_when_ready", server.rss() >> 20);
    outcome.figure("oom_kills", group.oom_kills());
    if group.oom_kills() > 0 {
        outcome.fail("the kernel killed the server for want of memory".into());
    }
    server.kill()?;
    let server = run.launch().start()?;
    let verdict = Reader { http: &clients.http, server: &server, stream: &clients.stream };
    let verdict = verdict.verify(&clients.ledger.fates(0)).await;
    if !verdict.is_clean() {
        outcome.fail(format!("after the replay: {:?}", verdict.examples));
    }
    outcome.verdict.add(verdict);
    server.kill()?;
    let counts = clients.ledger.counts();
    run.finish(outcome, counts, &stream)
}

fn bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
