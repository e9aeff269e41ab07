//! A disk whose fsync takes 200 ms: acknowledgements become slow, nothing else.

use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::load::{Clients, Trouble};
use crate::machine::can_trace;
use crate::run::{Effort, Outcome, Run};
use crate::verify::Reader;

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_trace() {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, run.stream())?;
    let mut outcome = run.outcome();
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"];
    let wrapper = [&wrapper[..], &["inject=fdatasync:delay_enter=200000"]].concat();
    let launch = run.launch().wrapper(&wrapper);
    let server = launch.start()?;
    let phase = clients.phase();
    let running = phase.start(&server, 64, Trouble::GoOn);
    let mut peak = 0;
    let end = effort.until.min(Instant::now() + Duration::from_secs(20));
    while Instant::now() < end {
        peak = peak.max(server.rss());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let summary = running.finish().await?;
    outcome.cycles = 1;
    outcome.figure("rss_max_mib", peak >> 20);
    outcome.figure("clients", &summary);
    if summary.bad_refusals > 0 {
        outcome.fail(format!("a refusal that loses data: {:?}", summary.first_bad_refusal));
    }
    server.kill()?;
    let server = run.launch().start()?;
    let verdict = Reader::new(&clients, &server);
    let verdict = verdict.verify(&clients.ledger.fates(0)).await;
    if !verdict.is_clean() {
        outcome.fail(format!("after the kill: {:?}", verdict.examples));
    }
    outcome.verdict.add(verdict);
    server.kill()?;
    run.finish(outcome, &clients)
}
