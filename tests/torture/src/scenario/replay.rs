//! A large WAL, left by a server with room, is replayed in a small memory cgroup. Whoever comes meanwhile is told to come back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use crate::ledger::Ledger;
use crate::load::{Clients, Trouble};
use crate::machine::Cgroup;
use crate::payload::Stream;
use crate::run::{Effort, Outcome, Run};
use crate::server::{Launch, free_port};

/// The goal is half a minute for 2 GiB; a build without optimisation on a busy machine is given more.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long somebody who asks during the replay waits for an answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// From one question to the next.
const ASK_EVERY: Duration = Duration::from_millis(50);

pub(crate) async fn run(run: Run, effort: Effort, wal_mib: u64, limit_mib: u64) -> anyhow::Result<Outcome> {
    let group = match Cgroup::create(&format!("trivium-replay-{}", std::process::id()), limit_mib << 20) {
        Ok(group) => group,
        Err(error) => return Ok(Outcome::skipped(run.name, &format!("{error:#}"))),
    };
    let stream = Stream { records: 1_000, padding: 400, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let mut outcome = run.outcome();
    outcome.cycles = 1;
    // A buffer larger than the WAL: nothing is sealed.
    let server = run.launch().flags(&["--buffer-mib", "16384", "--seal-after", "1day"]).start()?;
    let running = clients.phase().start(&server, 8, Trouble::GoOn);
    let wal = run.launch().data.join("wal");
    while bytes(&wal) < wal_mib << 20 && Instant::now() < effort.until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.finish().await?;
    server.kill()?;
    let size = bytes(&wal);
    let ports = [free_port()?, free_port()?];
    let launch = Launch { cgroup: Some(group.path.clone()), patience: PATIENCE, ports, ..run.launch() };
    let visitors = Visitors::start(ports)?;
    let server = match launch.start() {
        Ok(server) => server,
        Err(error) => {
            outcome.figure("oom_kills", group.oom_kills());
            outcome.fail(format!("no start on a WAL of {} MiB: {error:#}", size >> 20));
            return run.finish(outcome, &clients);
        }
    };
    let seconds = server.ready_after.as_secs_f64();
    visitors.finish(seconds, &mut outcome).await?;
    outcome.figure("wal_mib", size >> 20);
    outcome.figure("limit_mib", limit_mib);
    outcome.figure("ready_after_seconds", seconds);
    outcome.figure("mib_per_second", (size >> 20) as f64 / seconds);
    outcome.figure("rss_mib_when_ready", server.rss() >> 20);
    group.report(&mut outcome);
    server.kill()?;
    run.read_back(&clients, "after the replay", &mut outcome).await?;
    run.finish(outcome, &clients)
}

/// Who comes while the WAL is replayed, and what they are answered.
struct Visitors {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<BTreeMap<String, u64>>,
}

impl Visitors {
    fn start([otlp_http, http]: [u16; 2]) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(ASK_TIMEOUT).pool_max_idle_per_host(0).build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut answers: BTreeMap<String, u64> = BTreeMap::new();
            let mut is_export = false;
            while !stopped.load(Ordering::Relaxed) {
                is_export = !is_export;
                let request = match is_export {
                    true => client.post(format!("http://127.0.0.1:{otlp_http}/v1/logs")),
                    false => client.get(format!("http://127.0.0.1:{http}/readyz")),
                };
                let answer = request.header(CONTENT_TYPE, "application/x-protobuf").send().await;
                // What comes after it is ready says nothing.
                if !stopped.load(Ordering::Relaxed) {
                    *answers.entry(name(answer)).or_default() += 1;
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
            answers
        });
        Ok(Self { stop, task })
    }

    async fn finish(self, seconds: f64, outcome: &mut Outcome) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.task.await?;
        let told = answers.get(TOLD).copied().unwrap_or(0);
        let wrong: u64 = answers.iter().filter(|(name, _)| name.starts_with(WRONG)).map(|(_, count)| count).sum();
        outcome.figure("visitors", &answers);
        outcome.figure("visitors_told_to_come_back", told);
        if wrong > 0 || answers.contains_key(NOTHING) {
            outcome.fail(format!("during the replay: {answers:?}"));
        }
        if told == 0 {
            outcome.fail(format!("in {seconds:.0} s of replay nobody was told to come back: {answers:?}"));
        }
        Ok(())
    }
}

const TOLD: &str = "answered_503_with_retry_after";
const WRONG: &str = "wrongly_";
const NOTHING: &str = "no_answer_in_a_second";

fn name(answer: reqwest::Result<reqwest::Response>) -> String {
    match answer {
        Ok(answer) => {
            let (status, has_hint) = (answer.status(), answer.headers().contains_key(RETRY_AFTER));
            match status.as_u16() {
                503 if has_hint => TOLD.to_owned(),
                503 => format!("{WRONG}answered_503_without_retry_after"),
                // It was ready already, and had not said so yet.
                _ if status.is_success() => "answered_ready".to_owned(),
                status => format!("{WRONG}answered_{status}"),
            }
        }
        Err(error) if error.is_timeout() => NOTHING.to_owned(),
        // Before the listener is bound.
        Err(error) if error.is_connect() => "refused_connection".to_owned(),
        Err(_) => "closed".to_owned(),
    }
}

fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
