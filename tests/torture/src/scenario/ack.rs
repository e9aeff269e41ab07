//! What durability costs: the same load on a disk whose fdatasync takes 4 ms, and on one whose fdatasync is not waited for, as in
//! a server that acknowledges what the page cache has.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::ledger::Ledger;
use crate::load::{Clients, Summary, Trouble};
use crate::machine::{Halves, can_trace};
use crate::payload::Stream;
use crate::run::{Effort, Outcome, Run};

/// Connections that measure what the server can take, and those that then send less.
const CONNECTIONS: u64 = 64;

/// The part of what it can take at which the latency is measured.
const SHARE: f64 = 0.6;

/// What strace makes of fdatasync: it is not done, for the disk of the machine would add what it likes.
const INSTANT: &str = "inject=fdatasync:retval=0";
const FOUR_MS: &str = "inject=fdatasync:retval=0:delay_enter=4000";

/// The goals.
const P50_MS_MAX: f64 = 12.0;
const P99_MS_MAX: f64 = 40.0;
const THROUGHPUT_PERCENT_MIN: f64 = 90.0;

/// How often a phase looks whether its server is there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A load, and what came of it.
struct Phase {
    clients: Summary,
    acked_per_second: f64,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_trace() {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    let stream = Stream { records: 100, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let mut outcome = run.outcome();
    outcome.cycles = 1;
    let halves = Halves::split()?;
    let time = effort.until.saturating_duration_since(Instant::now()) / 3;
    let instant = phase(&run, &clients, halves.as_ref(), INSTANT, (Trouble::GoOn, time)).await?;
    let durable = phase(&run, &clients, halves.as_ref(), FOUR_MS, (Trouble::GoOn, time)).await?;
    // Each connection sends, waits for the answer, and rests so long that all together send their share.
    let beat_ms = 1e3 * CONNECTIONS as f64 / (SHARE * durable.acked_per_second).max(f64::MIN_POSITIVE);
    let rest = Trouble::Pace((beat_ms - durable.clients.ack_p50_ms * SHARE).max(1.0).round() as u64);
    let usual = phase(&run, &clients, halves.as_ref(), FOUR_MS, (rest, time)).await?;
    outcome.figure("processors_of_server", halves.as_ref().map(|halves| &halves.of_server));
    drop(halves);
    report(&mut outcome, &instant, &durable, &usual);
    run.read_back(&clients, "after the load", &mut outcome).await?;
    run.finish(outcome, &clients)
}

/// Loads a server of its own on the folder of the run.
async fn phase(
    run: &Run,
    clients: &Clients,
    halves: Option<&Halves>,
    disk: &str,
    (trouble, time): (Trouble, Duration),
) -> anyhow::Result<Phase> {
    let pinned = halves.map(Halves::wrapper);
    // Only fdatasync stops for strace; every other call runs as ever.
    let traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", disk];
    let wrapper: Vec<&str> = pinned.iter().flatten().copied().chain(traced).collect();
    let mut server = run.launch().wrapper(&wrapper).start()?;
    let phase = clients.phase();
    let started = Instant::now();
    let running = phase.start(&server, CONNECTIONS, trouble);
    // So long is measured, and no longer than there is something to measure.
    while started.elapsed() < time {
        if let Some(status) = server.ended() {
            bail!("the server ended with {status}: {}", server.said());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let summary = running.finish().await?;
    server.kill()?;
    if summary.broken > 0 {
        bail!("{} requests were answered nothing by a server that was well", summary.broken);
    }
    Ok(Phase { acked_per_second: summary.acked as f64 / elapsed, clients: summary })
}

fn report(outcome: &mut Outcome, instant: &Phase, durable: &Phase, usual: &Phase) {
    let percent = |of: f64, all: f64| 100.0 * of / all.max(f64::MIN_POSITIVE);
    let throughput = percent(durable.acked_per_second, instant.acked_per_second);
    outcome.figure("requests_per_second_not_synced", instant.acked_per_second);
    outcome.figure("requests_per_second_durable", durable.acked_per_second);
    outcome.figure("throughput_percent", throughput);
    outcome.figure("load_percent", percent(usual.acked_per_second, durable.acked_per_second));
    outcome.figure("ack_p50_ms", usual.clients.ack_p50_ms);
    outcome.figure("ack_p99_ms", usual.clients.ack_p99_ms);
    outcome.figure("not_synced", &instant.clients);
    outcome.figure("durable", &durable.clients);
    outcome.figure("usual", &usual.clients);
    for (what, reached, is_met) in [
        ("% of the throughput without syncs", throughput, throughput >= THROUGHPUT_PERCENT_MIN),
        ("ms is the median acknowledgement", usual.clients.ack_p50_ms, usual.clients.ack_p50_ms <= P50_MS_MAX),
        ("ms is the slowest acknowledgement of 99 %", usual.clients.ack_p99_ms, usual.clients.ack_p99_ms <= P99_MS_MAX),
    ] {
        if !is_met {
            outcome.fail(format!("{reached:.1} {what}"));
        }
    }
}
