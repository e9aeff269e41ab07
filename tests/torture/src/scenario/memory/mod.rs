//! Five times the load that the server can take and more, from thousands of connections over HTTP and gRPC, a fifth of it bad,
//! with heavy queries all the while, in a small memory cgroup.

mod foes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Summary, Trouble};
use crate::machine::{Cgroup, Halves};
use crate::payload::Stream;
use crate::run::{Effort, Outcome, Run, say};
use crate::server::{Launch, Server};
use foes::Foes;

/// Connections that measure what the server can take.
const CONNECTIONS: u64 = 16;

/// Queries at once that sort and join while the server is overloaded.
const QUERIES: u64 = 10;

/// How soon after the overload an acknowledgement must be quick again.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// The goal for acknowledgements during the overload.
const ACK_P99_MS_GOAL: f64 = 1_000.0;

/// What an overload of a memory limit needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) mib: u64,
    /// Connections that overload it, of which a fifth send what cannot be accepted.
    pub(crate) connections: u64,
    pub(crate) foes: Which,
    /// The part of the limit that resident memory may reach.
    pub(crate) rss_percent_max: u64,
    pub(crate) goodput_percent_min: u64,
}

/// What makes an overload worse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Which {
    pub(crate) bad: bool,
    pub(crate) bombs: bool,
    pub(crate) queries: bool,
}

/// What a phase of load showed.
struct Phase {
    clients: Summary,
    acked_per_second: f64,
    attempts_per_second: f64,
    acked_per_second_by_minute: Vec<f64>,
    rss_max: u64,
    group_rss_max: u64,
    seconds: f64,
}

pub(crate) async fn run(run: Run, effort: Effort, limits: Limits) -> anyhow::Result<Outcome> {
    let group = match Cgroup::create(&format!("trivium-torture-{}", std::process::id()), limits.mib << 20) {
        Ok(group) => group,
        Err(error) => return Ok(Outcome::skipped(run.name, &format!("{error:#}"))),
    };
    let stream = Stream { records: 200, padding: 600, ..run.stream() };
    let mut clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    clients.has_grpc = true;
    let mut outcome = run.outcome();
    outcome.cycles = 1;
    let halves = Halves::split()?;
    let pinned = halves.as_ref().map(Halves::wrapper);
    let launch = run.launch().wrapper(pinned.as_ref().map_or(&[], |words| words));
    let launch = Launch { cgroup: Some(group.path.clone()), ..launch };
    outcome.figure("processors_of_server", halves.as_ref().map(|halves| &halves.of_server));
    let mut server = launch.start()?;
    let total = effort.until.saturating_duration_since(Instant::now());
    // The length of the run is that of the overload. What is usual is known only when merges of its first minutes have come due.
    let usual_for = if effort.is_long { total / 2 } else { total / 4 };
    let usual = phase(&clients, &mut server, &group, (CONNECTIONS, Trouble::Insist), usual_for).await?;
    say_phase(&run, "without overload", &usual);
    let bad = if limits.foes.bad { limits.connections / 5 } else { 0 };
    let foes = Arc::new(Foes::new(clients.http.clone(), &server, run.seed, limits.foes.bombs));
    let enemies = foes.start(bad, if limits.foes.queries { QUERIES } else { 0 });
    let overload = (limits.connections - bad, Trouble::Insist);
    let over = phase(&clients, &mut server, &group, overload, total).await?;
    say_phase(&run, "overloaded", &over);
    foes.stop();
    let recovery = recover(&clients, &server, usual.clients.ack_p50_ms).await?;
    for enemy in enemies {
        enemy.await?;
    }
    foes.report(&mut outcome);
    report(&mut outcome, limits, &usual, &over, recovery);
    if let Some(status) = server.ended() {
        outcome.fail(format!("the server ended with {status}: {}", server.said()));
    }
    group.report(&mut outcome);
    server.kill()?;
    run.read_back(&clients, "after the overload", &mut outcome).await?;
    run.finish(outcome, &clients)
}

/// Loads for a while.
async fn phase(
    clients: &Clients,
    server: &mut Server,
    group: &Cgroup,
    (connections, trouble): (u64, Trouble),
    time: Duration,
) -> anyhow::Result<Phase> {
    let phase = clients.phase();
    let started = Instant::now();
    let running = phase.start(server, connections, trouble);
    let (mut rss_max, mut group_rss_max) = (0, 0);
    while started.elapsed() < time && server.ended().is_none() {
        rss_max = rss_max.max(server.rss());
        group_rss_max = group_rss_max.max(group.rss());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let summary = phase.seen.summary();
    let attempts = (summary.acked + summary.refused + summary.broken) as f64;
    Ok(Phase {
        clients: running.finish().await?,
        acked_per_second: summary.acked as f64 / elapsed,
        attempts_per_second: attempts / elapsed,
        acked_per_second_by_minute: phase.seen.acked_per_second_by_minute(started),
        rss_max,
        group_rss_max,
        seconds: elapsed,
    })
}

/// Tells of a phase as soon as it is over: reading everything back takes longer than the load.
fn say_phase(run: &Run, what: &str, phase: &Phase) {
    let Summary { acked, refused, ack_p99_ms, .. } = phase.clients;
    say(&format!(
        "{}: {what}: {:.0} requests a second acknowledged ({acked} in {:.0} s; by minute {}), {refused} refused, p99 {ack_p99_ms:.0} ms, {} MiB",
        run.name,
        phase.acked_per_second,
        phase.seconds,
        by_minute(phase),
        phase.rss_max >> 20
    ));
}

/// How long it takes until an acknowledgement is as quick as before; `None` when it takes too long.
async fn recover(clients: &Clients, server: &Server, usual_ms: f64) -> anyhow::Result<Option<Duration>> {
    let started = Instant::now();
    while started.elapsed() < RECOVERY_MAX {
        let number = clients.ledger.begin()?;
        let sent = Instant::now();
        let fate = clients.send(&server.otlp_http, number).await?;
        if fate == Fate::Ack && sent.elapsed().as_secs_f64() * 1e3 <= (usual_ms * 2.0).max(50.0) {
            return Ok(Some(started.elapsed()));
        }
    }
    Ok(None)
}

/// Acknowledged requests a second, minute by minute: what is put off, such as merges, comes due later.
fn by_minute(phase: &Phase) -> String {
    let minutes: Vec<String> = phase.acked_per_second_by_minute.iter().map(|acked| format!("{acked:.0}")).collect();
    minutes.join(" ")
}

fn report(outcome: &mut Outcome, limits: Limits, usual: &Phase, over: &Phase, recovery: Option<Duration>) {
    let goodput = 100.0 * over.acked_per_second / usual.acked_per_second.max(f64::MIN_POSITIVE);
    let offered = over.attempts_per_second / usual.acked_per_second.max(f64::MIN_POSITIVE);
    let rss_percent = 100 * (over.rss_max >> 20) / limits.mib;
    outcome.figure("limit_mib", limits.mib);
    outcome.figure("connections", limits.connections);
    outcome.figure("overload_seconds", over.seconds);
    outcome.figure("usual", &usual.clients);
    outcome.figure("overload", &over.clients);
    outcome.figure("usual_requests_per_second", usual.acked_per_second);
    outcome.figure("overload_requests_per_second", over.acked_per_second);
    outcome.figure("offered_times_of_usual", offered);
    outcome.figure("usual_by_minute", by_minute(usual));
    outcome.figure("overload_by_minute", by_minute(over));
    outcome.figure("goodput_percent", goodput);
    outcome.figure("rss_max_mib", over.rss_max >> 20);
    outcome.figure("cgroup_rss_max_mib", over.group_rss_max >> 20);
    outcome.figure("rss_percent_of_limit", rss_percent);
    outcome.figure("recovery_ms", recovery.map(|time| time.as_millis()));
    outcome.figure("ack_p99_within_goal", over.clients.ack_p99_ms <= ACK_P99_MS_GOAL);
    let bad = over.clients.bad_refusals + usual.clients.bad_refusals;
    outcome.figure("refusals_without_hint", bad);
    if bad > 0 {
        outcome.fail(format!("a refusal that loses data: {:?}", over.clients.first_bad_refusal));
    }
    if goodput < limits.goodput_percent_min as f64 {
        outcome.fail(format!("goodput fell to {goodput:.0} % of what the server can take"));
    }
    if rss_percent > limits.rss_percent_max {
        outcome.fail(format!("{} MiB resident are {rss_percent} % of the limit", over.rss_max >> 20));
    }
    if recovery.is_none() {
        outcome.fail(format!("acknowledgements are slow {RECOVERY_MAX:?} after the overload"));
    }
}
