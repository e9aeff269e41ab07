//! Five times the load that the server can take and more, from thousands of connections over HTTP and gRPC, a fifth of it bad,
//! with heavy queries all the while, in a small memory cgroup.

mod foes;

use std::collections::BTreeMap;
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
    /// What the threads of each name had of a processor for each acknowledged request, in microseconds.
    threads: BTreeMap<String, f64>,
    seconds: f64,
}

/// What the server can take is measured on both sides of the overload.
struct Phases {
    before: Phase,
    over: Phase,
    after: Phase,
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
    // The length of the run is that of the overload.
    let total = effort.until.saturating_duration_since(Instant::now());
    let usual = (CONNECTIONS, Trouble::Insist);
    let before = phase(&clients, &mut server, &group, usual, total / 4).await?;
    say_phase(&run, "before the overload", &before);
    let bad = if limits.foes.bad { limits.connections / 5 } else { 0 };
    let foes = Arc::new(Foes::new(clients.http.clone(), &server, run.seed, limits.foes.bombs));
    let enemies = foes.start(bad, if limits.foes.queries { QUERIES } else { 0 });
    let overload = (limits.connections - bad, Trouble::Insist);
    let over = phase(&clients, &mut server, &group, overload, total).await?;
    say_phase(&run, "overloaded", &over);
    foes.stop();
    let recovery = recover(&clients, &server, before.clients.ack_p50_ms).await?;
    for enemy in enemies {
        enemy.await?;
    }
    foes.report(&mut outcome);
    // The same once more: by now merges have come due, and a machine that others share may have become slower or quicker.
    let after = phase(&clients, &mut server, &group, usual, total / 4).await?;
    say_phase(&run, "after the overload", &after);
    report(&mut outcome, limits, &Phases { before, over, after }, recovery);
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
    let (started, threads) = (Instant::now(), server.processor_time());
    let running = phase.start(server, connections, trouble);
    let (mut rss_max, mut group_rss_max) = (0, 0);
    while started.elapsed() < time && server.ended().is_none() {
        rss_max = rss_max.max(server.rss());
        group_rss_max = group_rss_max.max(group.rss());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let summary = phase.seen.summary();
    let micros = |seconds: f64| (1e6 * seconds / summary.acked.max(1) as f64).round();
    let threads = server.processor_time_since(&threads).into_iter().map(|(name, (ran, _))| (name, micros(ran)));
    let threads = threads.filter(|(_, micros)| *micros > 0.0).collect();
    let attempts = (summary.acked + summary.refused + summary.broken) as f64;
    Ok(Phase {
        clients: running.finish().await?,
        acked_per_second: summary.acked as f64 / elapsed,
        attempts_per_second: attempts / elapsed,
        acked_per_second_by_minute: phase.seen.acked_per_second_by_minute(started),
        rss_max,
        group_rss_max,
        threads,
        seconds: elapsed,
    })
}

/// Tells of a phase as soon as it is over: reading everything back takes longer than the load.
fn say_phase(run: &Run, what: &str, phase: &Phase) {
    let Summary { acked, refused, ack_p99_ms, .. } = phase.clients;
    say(&format!(
        "{}: {what}: {:.0} requests a second acknowledged ({acked} in {:.0} s; by minute {}), {refused} refused, p99 {ack_p99_ms:.0} ms, {} MiB, microseconds of processor each: {:?}",
        run.name,
        phase.acked_per_second,
        phase.seconds,
        by_minute(phase),
        phase.rss_max >> 20,
        phase.threads
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

fn report(outcome: &mut Outcome, limits: Limits, phases: &Phases, recovery: Option<Duration>) {
    let Phases { before, over, after } = phases;
    let usual = f64::midpoint(before.acked_per_second, after.acked_per_second).max(f64::MIN_POSITIVE);
    let (goodput, offered) = (100.0 * over.acked_per_second / usual, over.attempts_per_second / usual);
    let rss_percent = 100 * (over.rss_max >> 20) / limits.mib;
    outcome.figure("limit_mib", limits.mib);
    outcome.figure("connections", limits.connections);
    outcome.figure("overload_seconds", over.seconds);
    outcome.figure("before", &before.clients);
    outcome.figure("overload", &over.clients);
    outcome.figure("after", &after.clients);
    outcome.figure("usual_requests_per_second", usual);
    outcome.figure("overload_requests_per_second", over.acked_per_second);
    outcome.figure("offered_times_of_usual", offered);
    for (name, phase) in [("before", before), ("overload", over), ("after", after)] {
        outcome.figure(&format!("{name}_by_minute"), by_minute(phase));
        outcome.figure(&format!("{name}_microseconds_of_threads"), &phase.threads);
    }
    outcome.figure("goodput_percent", goodput);
    outcome.figure("rss_max_mib", over.rss_max >> 20);
    outcome.figure("cgroup_rss_max_mib", over.group_rss_max >> 20);
    outcome.figure("rss_percent_of_limit", rss_percent);
    outcome.figure("recovery_ms", recovery.map(|time| time.as_millis()));
    outcome.figure("ack_p99_within_goal", over.clients.ack_p99_ms <= ACK_P99_MS_GOAL);
    let bad = [before, over, after].iter().map(|phase| phase.clients.bad_refusals).sum::<u64>();
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
