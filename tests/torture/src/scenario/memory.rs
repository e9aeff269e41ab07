//! Five times the load that the server can take, in a small memory cgroup.

use std::time::{Duration, Instant};

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Summary, Trouble};
use crate::machine::Cgroup;
use crate::payload::Stream;
use crate::run::{Effort, Outcome, Run};
use crate::server::{Launch, Server};
use crate::verify::Reader;

/// Connections that measure what the server can take.
const CONNECTIONS: u64 = 16;

/// How many times as many overload it.
const OVERLOAD: u64 = 5;

/// How soon after the overload an acknowledgement must be quick again.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// What an overload of a memory limit needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) mib: u64,
    /// The part of the limit that resident memory may reach.
    pub(crate) rss_percent_max: u64,
    pub(crate) goodput_percent_min: u64,
}

pub(crate) async fn run(run: Run, effort: Effort, limits: Limits) -> anyhow::Result<Outcome> {
    let group = match Cgroup::create(&format!("trivium-torture-{}", std::process::id()), limits.mib << 20) {
        Ok(group) => group,
        Err(error) => return Ok(Outcome::skipped(run.name, &format!("{error:#}"))),
    };
    let stream = Stream { records: 400, padding: 200, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let mut outcome = run.outcome();
    outcome.cycles = 1;
    outcome.figure("limit_mib", limits.mib);
    let launch = Launch { cgroup: Some(group.path.clone()), ..run.launch() };
    let mut server = launch.start()?;
    let total = effort.until.saturating_duration_since(Instant::now());
    let (usual, usual_rate, _) = phase(&clients, &server, CONNECTIONS, total / 5).await?;
    let (over, over_rate, peak) = phase(&clients, &server, CONNECTIONS * OVERLOAD, total / 2).await?;
    let recovery = recover(&clients, &server, usual.ack_p50_ms).await?;
    report(&mut outcome, limits, (&usual, usual_rate), (&over, over_rate), peak, recovery);
    if let Some(status) = server.ended() {
        outcome.fail(format!("the server ended with {status}: {}", server.said()));
    }
    outcome.figure("oom_kills", group.oom_kills());
    if group.oom_kills() > 0 {
        outcome.fail("the kernel killed the server for want of memory".into());
    }
    server.kill()?;
    // Without the limit: what counts here is whether everything is there.
    let server = run.launch().start()?;
    let verdict = Reader { http: &clients.http, server: &server, stream: &clients.stream };
    let verdict = verdict.verify(&clients.ledger.fates(0)).await;
    if !verdict.is_clean() {
        outcome.fail(format!("after the overload: {:?}", verdict.examples));
    }
    outcome.verdict.add(verdict);
    server.kill()?;
    let counts = clients.ledger.counts();
    run.finish(outcome, counts, &stream)
}

/// Loads for a while: what the clients saw, acknowledged requests a second, the highest resident memory.
async fn phase(
    clients: &Clients,
    server: &Server,
    connections: u64,
    time: Duration,
) -> anyhow::Result<(Summary, f64, u64)> {
    let phase = clients.phase();
    let started = Instant::now();
    let running = phase.start(server, connections, Trouble::Push);
    let mut peak = 0;
    while started.elapsed() < time {
        peak = peak.max(server.rss());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let acked = phase.seen.summary().acked as f64;
    Ok((running.finish().await?, acked / elapsed, peak))
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

fn report(
    outcome: &mut Outcome,
    limits: Limits,
    (usual, usual_rate): (&Summary, f64),
    (over, over_rate): (&Summary, f64),
    peak: u64,
    recovery: Option<Duration>,
) {
    let goodput = 100.0 * over_rate / usual_rate.max(f64::MIN_POSITIVE);
    let rss_percent = 100 * (peak >> 20) / limits.mib;
    outcome.figure("usual", usual);
    outcome.figure("overload", over);
    outcome.figure("usual_requests_per_second", usual_rate);
    outcome.figure("overload_requests_per_second", over_rate);
    outcome.figure("goodput_percent", goodput);
    outcome.figure("rss_max_mib", peak >> 20);
    outcome.figure("rss_percent_of_limit", rss_percent);
    outcome.figure("recovery_ms", recovery.map(|time| time.as_millis()));
    if over.bad_refusals + usual.bad_refusals > 0 {
        outcome.fail(format!("a refusal that loses data: {:?}", over.first_bad_refusal));
    }
    if goodput < limits.goodput_percent_min as f64 {
        outcome.fail(format!("goodput fell to {goodput:.0} % of what the server can take"));
    }
    if rss_percent > limits.rss_percent_max {
        outcome.fail(format!("{} MiB resident are {rss_percent} % of the limit", peak >> 20));
    }
    if recovery.is_none() {
        outcome.fail(format!("acknowledgements are slow {RECOVERY_MAX:?} after the overload"));
    }
}
