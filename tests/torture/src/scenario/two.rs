//! Several processes want the same folder at the same moment: one gets it, the others refuse and say why.

use crate::ledger::Ledger;
use crate::load::{Clients, Trouble};
use crate::run::{Effort, Outcome, Run};
use crate::verify::Reader;

const RIVALS: usize = 4;

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, run.stream())?;
    let mut outcome = run.outcome();
    let mut cycle = 0;
    while effort.allows(cycle) && outcome.failures.is_empty() {
        let launch = run.launch();
        let rivals: Vec<_> = (0..RIVALS).map(|_| launch.spawn()).collect::<anyhow::Result<_>>()?;
        let (mut winners, mut refusals) = (Vec::new(), 0);
        for rival in rivals {
            match rival.wait() {
                Ok(server) => winners.push(server),
                Err(error) if format!("{error:#}").contains("in use by another process") => refusals += 1,
                Err(error) => outcome.fail(format!("no reason given: {error:#}")),
            }
        }
        if winners.len() != 1 || refusals != RIVALS - 1 {
            outcome.fail(format!("{} servers on one folder, {refusals} refusals", winners.len()));
        }
        if let Some(server) = winners.pop() {
            let phase = clients.phase();
            let running = phase.start(&server, 2, Trouble::End);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            running.finish().await?;
            let reader = Reader::new(&clients, &server);
            let verdict = reader.verify(&clients.ledger.fates(0)).await;
            if !verdict.is_clean() {
                outcome.fail(format!("{:?}", verdict.examples));
            }
            outcome.verdict.add(verdict);
            server.kill()?;
        }
        cycle += 1;
        outcome.cycles = cycle;
    }
    run.finish(outcome, &clients)
}
