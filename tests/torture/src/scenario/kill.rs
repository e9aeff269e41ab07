//! kill -9 again and again: under load, during a flush with its seals and merges, while retention drops parts, and while the
//! server recovers from the kill before.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Trouble};
use crate::payload::{TIME_BASE, TIME_STEP};
use crate::random::Random;
use crate::run::{Effort, Outcome, Run};
use crate::server::{Launch, Server, pause};
use crate::verify::{Reader, Verdict, duckdb, offline};

/// Cycles from one reading of everything to the next.
const FULL_EVERY: u64 = 25;

/// Requests that each cycle leaves to the next reading at most.
const CLIENTS: u64 = 8;

/// Small buffers, so that seals and merges are under way at any time.
pub(crate) const BUSY: [&str; 4] = ["--buffer-mib", "1", "--seal-after", "1s"];

struct Kill {
    run: Run,
    clients: Clients,
    random: Random,
    outcome: Outcome,
    /// Requests below it may have been dropped by retention.
    expired_below: u64,
    /// The first request that no reading has covered since it was sent.
    unread_from: u64,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    let ledger = Ledger::create(&run.folder.join("ledger"))?;
    let clients = Clients::new(ledger, run.stream())?;
    let random = Random::new(run.seed);
    let outcome = run.outcome();
    let mut kill = Kill { run, clients, random, outcome, expired_below: 0, unread_from: 0 };
    let mut cycle = 0;
    while effort.allows(cycle) && kill.outcome.failures.is_empty() {
        kill.cycle(cycle).await?;
        cycle += 1;
        kill.outcome.cycles = cycle;
    }
    if kill.outcome.failures.is_empty() {
        kill.last_reading().await?;
    }
    let (counts, stream) = (kill.clients.ledger.counts(), kill.clients.stream);
    kill.outcome.figure("clients", kill.clients.seen.summary());
    kill.run.finish(kill.outcome, counts, &stream)
}

impl Kill {
    async fn cycle(&mut self, cycle: u64) -> anyhow::Result<()> {
        let launch = self.launch();
        if self.random.percent(10) {
            // Dies while it recovers from the last kill.
            let starting = launch.spawn()?;
            pause(Duration::from_micros(self.random.between(500, 250_000)));
            starting.kill()?;
            self.outcome.count("killed_in_recovery", 1);
        }
        let server = match launch.start() {
            Ok(server) => server,
            Err(error) => {
                self.outcome.fail(format!("cycle {cycle}: {error:#}"));
                return Ok(());
            }
        };
        let worst = self.outcome.figures.get("ready_after_ms_max").and_then(|value| value.as_f64()).unwrap_or(0.0);
        self.outcome.figure("ready_after_ms_max", worst.max(server.ready_after.as_secs_f64() * 1e3));
        let from = if cycle % FULL_EVERY == FULL_EVERY - 1 { 0 } else { self.unread_from };
        self.resend(&server).await?;
        self.read(&server, from, &format!("cycle {cycle}")).await;
        self.load_and_kill(server).await
    }

    fn launch(&mut self) -> Launch {
        let mut flags: Vec<String> = match self.random.percent(80) {
            true => BUSY.iter().map(|flag| (*flag).to_owned()).collect(),
            false => Vec::new(),
        };
        if self.clients.ledger.next() > 8_000 && self.random.percent(10) {
            flags.extend(["--retention".to_owned(), self.retention()]);
            self.outcome.count("killed_in_retention", 1);
        }
        Launch { flags, ..self.run.launch() }
    }

    /// A retention that ends in the older half of what was sent. As time goes by, more expires: half a minute is left for that.
    #[expect(clippy::disallowed_methods, reason = "the server under test lives in real time too")]
    fn retention(&mut self) -> String {
        let half = self.clients.ledger.next() / 2;
        self.expired_below = self.expired_below.max(half + 3_000);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let oldest = Duration::from_nanos(TIME_BASE + half * TIME_STEP);
        format!("{}s", now.saturating_sub(oldest).as_secs())
    }

    /// Half of the requests that were not answered are sent again, as a client's retry would.
    async fn resend(&mut self, server: &Server) -> anyhow::Result<()> {
        for (number, fate) in self.clients.ledger.fates(self.unread_from.max(self.expired_below)) {
            if fate == Fate::Ambiguous && self.random.percent(50) {
                self.clients.send(&server.otlp_http, number).await?;
                self.outcome.count("retried_after_kill", 1);
            }
        }
        Ok(())
    }

    async fn load_and_kill(&mut self, server: Server) -> anyhow::Result<()> {
        let before = self.clients.ledger.next();
        let clients = self.clients.again();
        let running = clients.start(&server, CLIENTS, Trouble::End);
        let flush = self.random.percent(30).then(|| {
            let request = self.clients.http.post(format!("{}/-/flush", server.http));
            let wait = Duration::from_millis(self.random.between(20, 800));
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                drop(request.send().await);
            })
        });
        self.outcome.count("killed_with_flush", u64::from(flush.is_some()));
        tokio::time::sleep(Duration::from_millis(self.random.between(50, 3_000))).await;
        server.kill()?;
        let summary = running.finish().await?;
        if let Some(flush) = flush {
            drop(flush.await);
        }
        if summary.bad_refusals > 0 {
            self.outcome.fail(format!("a refusal that loses data: {:?}", summary.first_bad_refusal));
        }
        self.unread_from = before.saturating_sub(500);
        Ok(())
    }

    fn fates(&self, from: u64) -> BTreeMap<u64, Fate> {
        let mut fates = self.clients.ledger.fates(from);
        for (_, fate) in fates.range_mut(..self.expired_below.max(from)) {
            // Dropped or not, but wholly.
            *fate = Fate::Ambiguous;
        }
        fates
    }

    async fn read(&mut self, server: &Server, from: u64, when: &str) {
        let reader = Reader { http: &self.clients.http, server, stream: &self.clients.stream };
        let verdict = reader.verify(&self.fates(from)).await;
        self.take(verdict, when);
    }

    fn take(&mut self, verdict: Verdict, when: &str) {
        if !verdict.is_clean() {
            self.outcome.fail(format!("{when}: {:?}", verdict.examples));
        }
        self.outcome.verdict.add(verdict);
    }

    /// Everything, online; then flushed, closed and read by programs that are not the server.
    async fn last_reading(&mut self) -> anyhow::Result<()> {
        let server = self.run.launch().start()?;
        self.read(&server, 0, "at the end").await;
        let flushed = self.clients.http.post(format!("{}/-/flush", server.http)).send().await?;
        if !flushed.status().is_success() {
            self.outcome.fail(format!("the flush was answered {}", flushed.status()));
        }
        self.read(&server, 0, "after the flush").await;
        let status = server.stop()?;
        if !status.success() {
            self.outcome.fail(format!("the orderly stop ended with {status}"));
        }
        let data = self.run.launch().data;
        let (findings, rows) = offline(&self.run.binary, &data)?;
        if !findings.is_empty() {
            self.outcome.fail(format!("trivium verify --deep: {findings:?}"));
        }
        self.outcome.figure("rows_in_parts", rows);
        match duckdb(self.run.python.as_deref(), &data, &self.clients.stream, &self.fates(0)) {
            Some(verdict) => self.take(verdict, "DuckDB"),
            None => self.outcome.figure("duckdb", "skipped: no Python with it"),
        }
        Ok(())
    }
}
