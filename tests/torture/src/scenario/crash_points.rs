//! kill -9 at the N-th call of each system call that changes files: strace sends the signal in the middle of a fixed script that
//! writes, seals, merges, drops by retention, truncates the WAL and closes. What was acknowledged must be there afterwards.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use crate::ledger::{Fate, Ledger};
use crate::load::Clients;
use crate::machine::{can_trace, must};
use crate::payload::{Stream, TIME_BASE, TIME_STEP};
use crate::run::{Effort, LANES, Outcome, Run, in_lanes};
use crate::server::{Launch, Server, signal};
use crate::verify::{Reader, offline};

/// The calls that change what a restart finds. strace counts them in each thread for itself.
const CALLS: [&str; 9] =
    ["fdatasync", "fsync", "pwrite64", "write", "rename", "unlinkat", "mkdir", "ftruncate", "openat"];

/// The N of a short run; a long one takes each from 1 on.
const SHORT: [u64; 8] = [8, 25, 3, 14, 40, 5, 60, 20];

/// The last N of a long run.
const N_MAX: u64 = 250;

/// After so many N in a row that were not reached, there are no more.
const UNREACHED_MAX: u64 = 3;

/// Requests between flushes.
const REQUESTS: u64 = 6;

/// Two days, as the times of requests go: what lies so much earlier expires.
const LEAP: u64 = 2 * 24 * 3_600 * 1_000_000_000 / TIME_STEP;

/// The figure that tells how many lanes came to the end of their calls.
pub(crate) const LANES_DONE: &str = "lanes_that_did_every_call";

/// How long the orderly stop may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The signal that strace is told to send.
const KILLED: i32 = 9;

/// Traces by ID of each reading.
const TRACES_MAX: usize = 8;

struct Lane {
    run: Run,
    clients: Clients,
    outcome: Outcome,
    /// A folder whose rows expire when the script begins.
    before: std::path::PathBuf,
    old: BTreeMap<u64, Fate>,
    /// For the server: what is older expires.
    retention: String,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_trace() {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    in_lanes(run.in_memory()?, effort, lane).await
}

async fn lane(run: Run, effort: Effort, number: u64) -> anyhow::Result<Outcome> {
    let stream = Stream { records: 4, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let (before, outcome) = (run.folder.join("before"), run.outcome());
    let mut lane = Lane { run, clients, outcome, before, old: BTreeMap::new(), retention: String::new() };
    lane.prepare().await?;
    let mut unreached: BTreeMap<&str, u64> = BTreeMap::new();
    let mut round = 0;
    while effort.allows(lane.outcome.cycles) && lane.outcome.failures.is_empty() {
        let n = match effort.is_long {
            true => 1 + number + round * LANES,
            false => SHORT[usize::try_from(round * LANES + number)? % SHORT.len()],
        };
        let left: Vec<&str> =
            CALLS.into_iter().filter(|call| *unreached.entry(call).or_default() < UNREACHED_MAX).collect();
        if left.is_empty() || n > N_MAX || (!effort.is_long && round * LANES >= SHORT.len() as u64) {
            break;
        }
        for call in left {
            if !effort.allows(lane.outcome.cycles) || !lane.outcome.failures.is_empty() {
                break;
            }
            let was_reached = lane.point(call, n).await?;
            let count = unreached.entry(call).or_default();
            *count = if was_reached { 0 } else { *count + 1 };
        }
        round += 1;
    }
    lane.outcome.figure(LANES_DONE, u64::from(effort.is_long && effort.allows(lane.outcome.cycles)));
    lane.run.finish(lane.outcome, &lane.clients)
}

impl Lane {
    /// Parts and a WAL that the script begins with.
    #[expect(clippy::disallowed_methods, reason = "the server under test lives in real time too")]
    async fn prepare(&mut self) -> anyhow::Result<()> {
        let launch = Launch { data: self.before.clone(), ..self.run.launch() };
        let server = launch.start()?;
        send(&self.clients, &server, REQUESTS).await;
        flush(&self.clients, &server).await;
        send(&self.clients, &server, REQUESTS).await;
        server.kill()?;
        // Dropped or not, but wholly.
        self.old = self.clients.ledger.fates(0).into_keys().map(|number| (number, Fate::Ambiguous)).collect();
        self.clients.ledger.leap(LEAP);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let oldest = Duration::from_nanos(TIME_BASE + LEAP / 2 * TIME_STEP);
        self.retention = format!("{}s", now.saturating_sub(oldest).as_secs());
        Ok(())
    }

    /// Runs the script with the signal at the `n`-th of a call; whether it came.
    async fn point(&mut self, call: &str, n: u64) -> anyhow::Result<bool> {
        let data = self.run.launch().data;
        drop(std::fs::remove_dir_all(&data));
        must("cp", &["-a", &self.before.to_string_lossy(), &data.to_string_lossy()])?;
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={n}"));
        let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let launch = self.run.launch().flags(&["--retention", &self.retention]).wrapper(&wrapper);
        let first = self.clients.ledger.next();
        let was_reached = match launch.start() {
            Ok(mut server) => match script(&self.clients, &mut server).await {
                Some(status) if status.success() => false,
                // Strace ends as what it traced.
                Some(status) if status.signal() == Some(KILLED) => true,
                status => {
                    let how = status.map_or_else(|| "it hung".to_owned(), |status| status.to_string());
                    self.outcome.fail(format!("{call} {n}: neither stopped nor killed, {how}: {}", server.said()));
                    return Ok(true);
                }
            },
            Err(error) if format!("{error:#}").contains("signal: 9") => {
                self.outcome.count("killed_in_start", 1);
                true
            }
            Err(error) => {
                self.outcome.fail(format!("{call} {n}: {error:#}"));
                return Ok(true);
            }
        };
        if was_reached {
            self.outcome.cycles += 1;
            self.outcome.count(&format!("killed_in_{call}"), 1);
            self.check(&format!("{call} {n}"), first).await?;
        }
        Ok(was_reached)
    }

    async fn check(&mut self, point: &str, first: u64) -> anyhow::Result<()> {
        let mut fates = self.old.clone();
        fates.extend(self.clients.ledger.fates(first));
        let launch = self.run.launch();
        let server = match launch.start() {
            Ok(server) => server,
            Err(error) => {
                self.outcome.fail(format!("{point}: {error:#}"));
                return Ok(());
            }
        };
        let verdict = Reader::new(&self.clients, &server).traces_max(TRACES_MAX).verify(&fates).await;
        if !verdict.is_clean() {
            self.outcome.fail(format!("{point}: {:?}", verdict.examples));
        }
        self.outcome.verdict.add(verdict);
        // In order: a kill might leave a merge that it began meanwhile half written.
        let status = server.stop()?;
        if !status.success() {
            self.outcome.fail(format!("{point}: the stop afterwards ended with {status}"));
        }
        let (findings, _) = offline(&self.run.binary, &launch.data)?;
        if !findings.is_empty() {
            self.outcome.fail(format!("{point}: trivium verify --deep: {findings:?}"));
        }
        Ok(())
    }
}

/// Exports, seals, merges and closes; how it ended, if it did.
async fn script(clients: &Clients, server: &mut Server) -> Option<ExitStatus> {
    // While it lives: strace, which is there a little longer, would end by our SIGTERM and not as the server did.
    let inner = server.server_pid();
    for _ in 0..2 {
        send(clients, server, REQUESTS).await;
        flush(clients, server).await;
    }
    send(clients, server, REQUESTS).await;
    if inner != server.pid() {
        signal("-15", inner);
    }
    server.wait_for_end(PATIENCE)
}

/// One after the other; until the server is gone.
async fn send(clients: &Clients, server: &Server, requests: u64) {
    for _ in 0..requests {
        let Ok(number) = clients.ledger.begin() else { return };
        if !clients.send(&server.otlp_http, number).await.is_ok_and(|fate| fate == Fate::Ack) {
            return;
        }
    }
}

async fn flush(clients: &Clients, server: &Server) {
    drop(clients.http.post(format!("{}/-/flush", server.http)).send().await);
}
