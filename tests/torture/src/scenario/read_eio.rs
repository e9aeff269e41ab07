//! Reads fail: strace makes the k-th pread64 of each thread return EIO, once or again and again, while the server answers queries
//! and merges parts. Answers must say what they lack, or be errors; nothing is put aside for what may pass, and afterwards, with a
//! disk that reads again, everything is there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Trouble};
use crate::machine::can_trace;
use crate::payload::Stream;
use crate::random::Random;
use crate::run::{Effort, Outcome, Run};
use crate::scenario::kill::BUSY;
use crate::server::Server;
use crate::verify::{Reader, Verdict, Way};

/// The last pread64 that is tried.
const K_MAX: u64 = 300;

/// Positions of one folder; then the next begins empty.
const PER_FOLDER: u64 = 5;

/// Traces by ID of each reading.
const TRACES_MAX: usize = 8;

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_trace() {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    let run = run.in_memory()?;
    let stream = Stream { records: 4, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let mut random = Random::new(run.seed);
    let mut outcome = run.outcome();
    let mut cycle = 0;
    let mut first = 0;
    while effort.allows(cycle) && outcome.failures.is_empty() {
        if cycle.is_multiple_of(PER_FOLDER) {
            first = clients.ledger.next();
            drop(std::fs::remove_dir_all(run.launch().data));
        }
        let k = random.between(1, K_MAX);
        // Once, or every few reads from then on.
        let when = if random.percent(50) { k.to_string() } else { format!("{k}+{}", random.between(2, 40)) };
        one(&run, &clients, &when, first, &mut outcome).await?;
        cycle += 1;
        outcome.cycles = cycle;
    }
    run.finish(outcome, &clients)
}

async fn one(run: &Run, clients: &Clients, when: &str, first: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let inject = format!("inject=pread64:error=EIO:when={when}");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pread64", "-e", &inject];
    let launch = run.launch().flags(&BUSY).wrapper(&wrapper);
    let mut server = match launch.start() {
        Ok(server) => server,
        Err(error) => {
            let said = format!("{error:#}");
            outcome.count("refused_start", 1);
            // The first reads of all are those of the dynamic loader, which has words of its own.
            let has_message = said.contains("trivium:") || said.contains("error while loading shared libraries");
            if !has_message || said.contains("panicked") {
                outcome.fail(format!("when = {when}: no message: {said}"));
            }
            return Ok(());
        }
    };
    let running = clients.phase().start(&server, 2, Trouble::Pace(20));
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(clients.http.post(format!("{}/-/flush", server.http)).send().await);
        read_while_reads_fail(clients, &server, when, first, outcome).await;
    }
    let summary = running.finish().await?;
    if summary.bad_refusals > 0 {
        outcome.fail(format!("when = {when}: a refusal that loses data: {:?}", summary.first_bad_refusal));
    }
    if let Some(status) = server.ended() {
        outcome.count("ended_by_itself", 1);
        if status.code() != Some(2) {
            outcome.fail(format!("when = {when}: it ended with {status}: {}", server.said()));
        }
    }
    server.kill()?;
    afterwards(run, clients, when, first, outcome).await
}

/// Each answer is judged for itself: what one says does not excuse the silence of another.
async fn read_while_reads_fail(clients: &Clients, server: &Server, when: &str, first: u64, outcome: &mut Outcome) {
    // Requests that begin from now on have later times than what is asked for.
    let fates: BTreeMap<u64, Fate> = clients.ledger.fates(first);
    let reader = Reader::new(clients, server).traces_max(TRACES_MAX);
    for way in reader.ways(&fates) {
        judge(when, way, &reader.read(way, &fates).await, outcome);
    }
}

/// The disk reads again.
async fn afterwards(run: &Run, clients: &Clients, when: &str, first: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let launch = run.launch();
    let server = match launch.start() {
        Ok(server) => server,
        Err(error) => {
            outcome.fail(format!("when = {when}: no start afterwards: {error:#}"));
            return Ok(());
        }
    };
    let verdict = Reader::new(clients, &server).traces_max(TRACES_MAX).verify(&clients.ledger.fates(first)).await;
    if !verdict.is_clean() {
        outcome.fail(format!("when = {when}: afterwards: {:?}", verdict.examples));
    }
    let put_aside = names(&launch.data.join("quarantine"));
    if !put_aside.is_empty() {
        outcome.fail(format!("when = {when}: put aside though only reads failed: {put_aside:?}"));
    }
    outcome.verdict.add(verdict);
    server.kill()
}

/// Nothing wrong; what is missing is told.
fn judge(when: &str, way: Way, verdict: &Verdict, outcome: &mut Outcome) {
    outcome.count("answers", 1);
    if !verdict.is_truthful() {
        outcome.fail(format!("when = {when}, {way:?}: a wrong answer: {:?}", verdict.examples));
    }
    let is_told = verdict.partial_answers + verdict.problems > 0;
    if verdict.lost > 0 && !is_told {
        outcome.fail(format!("when = {when}, {way:?}: records are missing in silence: {:?}", verdict.examples));
    }
    outcome.count("answers_that_told_or_failed", u64::from(is_told));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
