//! fsync fails: strace makes the k-th fdatasync of each thread return EIO without doing it. The server must acknowledge nothing
//! of that group and end; what a power cut leaves at that moment must hold all that was acknowledged.

use std::time::Duration;

use crate::ledger::Ledger;
use crate::load::{Clients, Trouble};
use crate::machine::{JOURNAL_ORDERED, Mount, can_mount, can_trace, copy_image};
use crate::random::Random;
use crate::run::{Effort, Outcome, Run};
use crate::scenario::kill::BUSY;
use crate::scenario::power::{Cut, check, unanswered};
use crate::server::{Launch, signal};

const MIB: u64 = 256;

/// The last fdatasync that is tried.
const K_MAX: u64 = 200;

/// How long the server may run before or after the fault: not every k is reached by the WAL's thread.
const PATIENCE: Duration = Duration::from_secs(12);

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_trace().and_then(|()| can_mount(&run.folder)) {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, run.stream())?;
    let mut random = Random::new(run.seed);
    let mut outcome = run.outcome();
    let mut cycle = 0;
    while effort.allows(cycle) && outcome.failures.is_empty() {
        // The first ones are those of the start; from then on chance, or in a long run one after the other.
        let k = if cycle < 8 || effort.is_long { 1 + cycle % K_MAX } else { random.between(1, K_MAX) };
        one(&run, &clients, k, &mut outcome).await?;
        cycle += 1;
        outcome.cycles = cycle;
    }
    run.finish(outcome, &clients)
}

async fn one(run: &Run, clients: &Clients, k: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let first = clients.ledger.next();
    let mount = Mount::create(&run.folder.join("disk.img"), &run.folder.join("disk"), MIB)?;
    let inject = format!("inject=fdatasync:error=EIO:when={k}");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
    let launch = run.launch().flags(&BUSY).wrapper(&wrapper);
    let launch = Launch { data: mount.point.join("data"), ..launch };
    let mut server = match launch.start() {
        Ok(server) => server,
        Err(error) => {
            let said = format!("{error:#}");
            outcome.count("refused_start", 1);
            if !said.contains("trivium:") {
                outcome.fail(format!("k = {k}: no message: {said}"));
            }
            return Ok(());
        }
    };
    let running = clients.phase().start(&server, 4, Trouble::End);
    let ended = server.wait_for_end(PATIENCE);
    outcome.count(if ended.is_some() { "ended_by_itself" } else { "went_on" }, 1);
    if let Some(status) = ended
        && status.code() != Some(2)
    {
        outcome.fail(format!("k = {k}: it ended with {status} instead of exit code 2: {}", server.said()));
    }
    // A copy is not one moment, and a server that went on would write and acknowledge meanwhile.
    if ended.is_none() {
        signal("-STOP", server.server_pid());
    }
    // Before the kernel writes back what nobody synced.
    let folder = run.folder.join("cut");
    std::fs::create_dir_all(&folder)?;
    let mut fates = clients.ledger.fates(first);
    copy_image(&run.folder.join("disk.img"), &folder.join("disk.img"))?;
    server.kill()?;
    let summary = running.finish().await?;
    if summary.bad_refusals > 0 {
        outcome.fail(format!("k = {k}: a refusal that loses data: {:?}", summary.first_bad_refusal));
    }
    unanswered(clients, first, &mut fates);
    drop(mount);
    let cut = Cut { folder, option: JOURNAL_ORDERED, fates, name: format!("k = {k}") };
    let (verdict, problem) = check(&run.launch(), clients, cut).await?;
    outcome.verdict.add(verdict);
    if let Some(problem) = problem {
        outcome.fail(problem);
    }
    Ok(())
}
