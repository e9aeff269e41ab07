//! kill -9 again and again: under load, during a flush with its seals and merges, while retention drops parts, and while the
//! server recovers from the kill before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Trouble};
use crate::payload::{Stream, TIME_BASE, TIME_STEP};
use crate::random::Random;
use crate::run::{Effort, Outcome, Run, in_lanes};
use crate::server::{Launch, Server, pause};
use crate::verify::{Reader, Verdict, duckdb, offline};

/// Cycles from one reading of everything to the next.
const FULL_EVERY: u64 = 25;

/// Cycles of one folder: then it is read by everybody once more and the next begins empty, so that a long run does not read the
/// same rows for hours.
const LIFE: u64 = 50;

/// Clients of each lane. In the short run rows cost more to read back than to write, and the kills are what counts.
const CLIENTS_SHORT: u64 = 4;
const CLIENTS_LONG: u64 = 8;

/// Requests of the time before that each reading reads again.
const OVERLAP: u64 = 200;

/// Small buffers, so that seals and merges are under way at any time.
pub(crate) const BUSY: [&str; 4] = ["--buffer-mib", "1", "--seal-after", "1s"];

/// Everything that is due is merged before a flush is answered, and other work shares the machine.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a reading may take at most, while more and more expires.
const READING_MAX: Duration = Duration::from_secs(60);

/// A retention is told in seconds, and a moment lies between its calculation and ours.
const WHOLE_SECOND: Duration = Duration::from_secs(1);

struct Kill {
    run: Run,
    clients: Clients,
    random: Random,
    outcome: Outcome,
    /// Clients that export.
    workers: u64,
    /// The first request of this folder.
    life_from: u64,
    /// Requests below it may have been dropped by retention.
    expired_below: u64,
    /// Since when the server that lives drops what is old, and which request was the oldest that it kept at first.
    dropping: Option<(Instant, u64)>,
    /// The first request that no reading has covered since it was sent.
    unread_from: u64,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    in_lanes(run, effort, |run, effort, _| lane(run, effort)).await
}

async fn lane(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    let ledger = Ledger::create(&run.folder.join("ledger"))?;
    let stream = Stream { records: if effort.is_long { 50 } else { 20 }, ..run.stream() };
    let mut clients = Clients::new(ledger, stream)?;
    clients.resend_percent = if effort.is_long { 10 } else { 5 };
    let random = Random::new(run.seed);
    let outcome = run.outcome();
    let workers = if effort.is_long { CLIENTS_LONG } else { CLIENTS_SHORT };
    let mut kill =
        Kill { run, clients, random, outcome, workers, life_from: 0, expired_below: 0, dropping: None, unread_from: 0 };
    // What was found until then is told, too.
    if let Err(error) = kill.lives(effort).await {
        kill.outcome.fail(format!("{error:#}"));
    }
    kill.outcome.figure("clients", kill.clients.seen.summary());
    kill.run.finish(kill.outcome, &kill.clients)
}

impl Kill {
    async fn lives(&mut self, effort: Effort) -> anyhow::Result<()> {
        let mut cycle = 0;
        while effort.allows(cycle) && self.outcome.failures.is_empty() {
            self.cycle(cycle).await?;
            cycle += 1;
            self.outcome.cycles = cycle;
            if cycle.is_multiple_of(LIFE) && effort.allows(cycle) {
                self.next_life().await?;
            }
        }
        match self.outcome.failures.is_empty() {
            true => self.last_reading().await,
            false => Ok(()),
        }
    }

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
        self.outcome.greatest("ready_after_ms_max", server.ready_after.as_secs_f64() * 1e3);
        let from = if cycle % FULL_EVERY == FULL_EVERY - 1 { self.life_from } else { self.unread_from };
        self.resend(&server).await?;
        self.read(&server, from, &format!("cycle {cycle}")).await;
        self.load_and_kill(server).await
    }

    fn launch(&mut self) -> Launch {
        let mut flags: Vec<String> = match self.random.percent(80) {
            true => BUSY.iter().map(|flag| (*flag).to_owned()).collect(),
            false => Vec::new(),
        };
        if self.clients.ledger.next() - self.life_from > 8_000 && self.random.percent(10) {
            flags.extend(["--retention".to_owned(), self.retention()]);
            self.outcome.count("killed_in_retention", 1);
        }
        Launch { flags, ..self.run.launch() }
    }

    /// A retention that ends in the older half of what was sent. As time goes by, more expires.
    #[expect(clippy::disallowed_methods, reason = "the server under test lives in real time too")]
    fn retention(&mut self) -> String {
        let half = self.life_from + (self.clients.ledger.next() - self.life_from) / 2;
        self.dropping = Some((Instant::now(), half));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let oldest = Duration::from_nanos(TIME_BASE + half * TIME_STEP);
        format!("{}s", now.saturating_sub(oldest).as_secs())
    }

    /// Half of the requests that were not answered are sent again, as a client's retry would.
    async fn resend(&mut self, server: &Server) -> anyhow::Result<()> {
        for (number, fate) in self.clients.ledger.fates(self.unread_from.max(self.dropped_below(READING_MAX))) {
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
        let running = clients.start(&server, self.workers, Trouble::End);
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
        self.expired_below = self.dropped_below(WHOLE_SECOND);
        self.dropping = None;
        let summary = running.finish().await?;
        if let Some(flush) = flush {
            drop(flush.await);
        }
        if summary.bad_refusals > 0 {
            self.outcome.fail(format!("a refusal that loses data: {:?}", summary.first_bad_refusal));
        }
        self.unread_from = before.saturating_sub(OVERLAP).max(self.life_from);
        Ok(())
    }

    /// Requests below it may have been dropped, now or in `ahead`.
    fn dropped_below(&self, ahead: Duration) -> u64 {
        let dropping = self.dropping.map_or(0, |(since, half)| {
            let nanos = u64::try_from((since.elapsed() + ahead).as_nanos()).unwrap_or(u64::MAX);
            half + nanos / TIME_STEP
        });
        dropping.max(self.expired_below)
    }

    fn fates(&self, from: u64) -> BTreeMap<u64, Fate> {
        let mut fates = self.clients.ledger.fates(from);
        for (_, fate) in fates.range_mut(..self.dropped_below(READING_MAX).max(from)) {
            // Dropped or not, but wholly.
            *fate = Fate::Ambiguous;
        }
        fates
    }

    async fn read(&mut self, server: &Server, from: u64, when: &str) {
        let reader = Reader::new(&self.clients, server);
        let verdict = reader.verify(&self.fates(from)).await;
        self.take(verdict, when);
    }

    fn take(&mut self, verdict: Verdict, when: &str) {
        if !verdict.is_clean() {
            self.outcome.fail(format!("{when}: {:?}", verdict.examples));
        }
        self.outcome.verdict.add(verdict);
    }

    /// The last requests as they were left by the kill; then everything, flushed, closed and read by programs that are not the
    /// server.
    async fn last_reading(&mut self) -> anyhow::Result<()> {
        let server = self.run.launch().start()?;
        self.read(&server, self.unread_from, "at the end").await;
        let flush = self.clients.http.post(format!("{}/-/flush", server.http)).timeout(FLUSH_TIMEOUT);
        let flushed = flush.send().await?;
        if !flushed.status().is_success() {
            self.outcome.fail(format!("the flush was answered {}", flushed.status()));
        }
        self.read(&server, self.life_from, "after the flush").await;
        let status = server.stop()?;
        if !status.success() {
            self.outcome.fail(format!("the orderly stop ended with {status}"));
        }
        let data = self.run.launch().data;
        let (findings, rows) = offline(&self.run.binary, &data)?;
        if !findings.is_empty() {
            self.outcome.fail(format!("trivium verify --deep: {findings:?}"));
        }
        self.outcome.count("rows_in_parts", rows);
        match duckdb(self.run.python.as_deref(), &data, &self.clients.stream, &self.fates(self.life_from)) {
            Some(verdict) => self.take(verdict, "DuckDB"),
            None => self.outcome.figure("duckdb", "skipped: no Python with it"),
        }
        Ok(())
    }

    async fn next_life(&mut self) -> anyhow::Result<()> {
        self.last_reading().await?;
        if self.outcome.failures.is_empty() {
            std::fs::remove_dir_all(self.run.launch().data)?;
            self.life_from = self.clients.ledger.next();
            self.unread_from = self.life_from;
            self.expired_below = self.life_from;
        }
        Ok(())
    }
}
