//! The wall clock jumps by an hour or a year, forward and back, between restarts.

use std::time::Duration;

use crate::ledger::Ledger;
use crate::load::{Clients, Trouble};
use crate::machine::has;
use crate::random::Random;
use crate::run::{Effort, Outcome, Run};
use crate::scenario::kill::BUSY;
use crate::verify::{Reader, offline};

const JUMPS: [&str; 6] = ["+1h", "-1h", "+365d", "-365d", "+0", "-2d"];

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if !has("faketime") {
        return Ok(Outcome::skipped(run.name, "faketime is not installed"));
    }
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, run.stream())?;
    let mut random = Random::new(run.seed);
    let mut outcome = run.outcome();
    let mut cycle = 0;
    while effort.allows(cycle) && outcome.failures.is_empty() {
        let jump = JUMPS[usize::try_from(random.below(JUMPS.len() as u64))?];
        let launch = run.launch().flags(&BUSY).wrapper(&["faketime", "-f", jump]);
        let server = launch.start()?;
        let running = clients.phase().start(&server, 4, Trouble::End);
        tokio::time::sleep(Duration::from_millis(random.between(500, 2_000))).await;
        let summary = running.finish().await?;
        if summary.bad_refusals + summary.broken > 0 {
            outcome.fail(format!("the clock at {jump}: {:?}", summary.first_bad_refusal));
        }
        let reader = Reader::new(&clients, &server);
        let verdict = reader.verify(&clients.ledger.fates(0)).await;
        if !verdict.is_clean() {
            outcome.fail(format!("the clock at {jump}: {:?}", verdict.examples));
        }
        outcome.verdict.add(verdict);
        if random.percent(50) {
            server.kill()?;
        } else if !server.stop()?.success() {
            outcome.fail(format!("the clock at {jump}: the stop failed"));
        }
        cycle += 1;
        outcome.cycles = cycle;
    }
    run.launch().start()?.stop()?;
    let (findings, _) = offline(&run.binary, &run.launch().data)?;
    if !findings.is_empty() {
        outcome.fail(format!("trivium verify --deep: {findings:?}"));
    }
    run.finish(outcome, &clients)
}
