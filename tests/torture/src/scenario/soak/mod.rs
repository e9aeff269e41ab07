//! Hours of mixed load with short time constants: small buffers, early seals, merges, parts that expire, queries, two kills. What
//! a process and its folder use must not grow.

mod queries;
mod slope;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::ledger::Ledger;
use crate::load::{Clients, Seen, quantile};
use crate::machine::Cgroup;
use crate::payload::{Stream, TIME_STEP};
use crate::run::{Effort, Outcome, Run};
use crate::server::{Launch, Server};
use crate::verify::Reader;
use queries::Queries;
use slope::{Slope, floors, median, slope};

/// Clients that export, each this often.
const CLIENTS: u64 = 6;
const EXPORT_EVERY: Duration = Duration::from_millis(100);

/// From one look at the process to the next.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// Hours of which the least memory is taken.
const FLOOR_HOURS: f64 = 1.0 / 60.0;

/// When the server is killed, in thousandths of the time: two short lives and a long one.
const KILLS: [u32; 2] = [60, 120];

/// The memory that it may have: caches are full soon, and what grows after that is a leak. With the defaults of a large machine they
/// fill for hours.
const LIMIT_MIB: u64 = 512;

/// So many retentions of each life do not count: in the first the folder grows to its size, in the second everything of it is
/// replaced once, and buffers, caches and pools with it. Lives that are shorter say nothing about growth.
const WARM_UP_RETENTIONS: u32 = 2;

/// The goal: more than so much growth an hour is a leak.
const SLOPE_MAX_MIB: f64 = 1.0;

/// How much younger than the retention is what must be there: a moment lies between the kill and our clock, and the server looks in
/// whole seconds.
const MARGIN: Duration = Duration::from_secs(5);

const NO_RETENTION: &str = "none";

/// A look at the process and its folder.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    life: usize,
    hours: f64,
    rss_mib: f64,
    descriptors: u64,
    threads: u64,
    files: u64,
    disk_mib: f64,
    catalog_kib: f64,
    ack_p99_ms: f64,
}

struct Soak {
    run: Run,
    group: Cgroup,
    clients: Clients,
    outcome: Outcome,
    started: Instant,
    retention: Duration,
    samples: Vec<Sample>,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    let group = match Cgroup::create(&format!("trivium-soak-{}", std::process::id()), LIMIT_MIB << 20) {
        Ok(group) => group,
        Err(error) => return Ok(Outcome::skipped(run.name, &format!("{error:#}"))),
    };
    let total = effort.until.saturating_duration_since(Instant::now());
    let stream = Stream { base: now(), ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let retention = (total / 6).clamp(Duration::from_secs(60), Duration::from_secs(1_200));
    let outcome = run.outcome();
    let mut soak = Soak { run, group, clients, outcome, started: Instant::now(), retention, samples: Vec::new() };
    let ends: Vec<Duration> = KILLS.into_iter().chain([1_000]).map(|thousandths| total * thousandths / 1_000).collect();
    for (life, end) in ends.iter().enumerate() {
        soak.life(life, soak.started + *end).await?;
        if !soak.outcome.failures.is_empty() {
            break;
        }
    }
    soak.report();
    soak.group.report(&mut soak.outcome);
    soak.outcome.figure("limit_mib", LIMIT_MIB);
    soak.run.finish(soak.outcome, &soak.clients)
}

/// The numbers of so much time, as the times of requests go.
fn numbers(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / TIME_STEP
}

#[expect(clippy::disallowed_methods, reason = "what is exported must be of now: it expires")]
fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

impl Soak {
    fn launch(&self, retention: &str) -> Launch {
        let flags = ["--buffer-mib", "4", "--seal-after", "5s", "--retention", retention];
        Launch { cgroup: Some(self.group.path.clone()), ..self.run.launch().flags(&flags) }
    }

    /// The number of a request that is exported now: times of records are those of the clock.
    fn number_now(&self) -> u64 {
        numbers(self.started.elapsed())
    }

    /// From a start to a kill, with everything that had not expired by then read at the end.
    async fn life(&mut self, life: usize, end: Instant) -> anyhow::Result<()> {
        let mut server = self.launch(&format!("{}s", self.retention.as_secs())).start()?;
        self.outcome.greatest("ready_after_ms_max", server.ready_after.as_secs_f64() * 1e3);
        let phase = self.clients.phase();
        let exporting = self.export(&phase, &server);
        let queries = Queries::start(&self.clients, &server, self.started);
        let mut acked = 0;
        while Instant::now() < end && server.ended().is_none() {
            tokio::time::sleep(SAMPLE_EVERY).await;
            let sample = sample(&server, &self.run.launch().data, &phase.seen, life, self.started);
            phase.seen.forget_latencies();
            acked += 1;
            self.samples.push(sample);
        }
        if let Some(status) = server.ended() {
            self.outcome.fail(format!("the server ended with {status}: {}", server.said()));
        }
        let kept_from = self.number_now().saturating_sub(numbers(self.retention.saturating_sub(MARGIN)));
        server.kill()?;
        phase.stop();
        for task in exporting {
            task.await??;
        }
        queries.finish(&mut self.outcome).await?;
        let bad = phase.seen.bad_refusals.load(Ordering::Relaxed);
        if bad > 0 {
            self.outcome.fail(format!("a refusal that loses data: {:?}", phase.seen.summary().first_bad_refusal));
        }
        self.outcome.count("acked", phase.seen.acked.load(Ordering::Relaxed));
        self.outcome.count("samples", acked);
        self.outcome.cycles += 1;
        self.read(kept_from).await
    }

    fn export(&self, phase: &Clients, server: &Server) -> Vec<tokio::task::JoinHandle<anyhow::Result<()>>> {
        let exporter = |_| {
            let (clients, url, started) = (phase.clone(), server.otlp_http.clone(), self.started);
            tokio::spawn(async move {
                while !clients.is_stopped() {
                    clients.ledger.leap(numbers(started.elapsed()));
                    let number = clients.ledger.begin()?;
                    clients.send(&url, number).await?;
                    tokio::time::sleep(EXPORT_EVERY).await;
                }
                Ok(())
            })
        };
        (0..CLIENTS).map(exporter).collect()
    }

    /// All that had not expired at the kill is there after it. Nothing expires meanwhile: the reading takes its time.
    async fn read(&mut self, from: u64) -> anyhow::Result<()> {
        let server = self.launch(NO_RETENTION).start()?;
        let fates = self.clients.ledger.fates(from);
        let started = Instant::now();
        let verdict = Reader::new(&self.clients, &server).verify(&fates).await;
        if !verdict.is_clean() {
            self.outcome.fail(format!("after the kill: {:?}", verdict.examples));
        }
        self.outcome.greatest("requests_read_max", fates.len() as f64);
        self.outcome.greatest("reading_seconds_max", started.elapsed().as_secs_f64());
        self.outcome.verdict.add(verdict);
        server.kill()
    }

    /// A life without its beginning.
    fn warm(&self, life: usize) -> Vec<Sample> {
        let samples = || self.samples.iter().filter(|sample| sample.life == life);
        let warm_up = (self.retention * WARM_UP_RETENTIONS).as_secs_f64() / 3_600.0;
        let from = samples().next().map_or(0.0, |first| first.hours) + warm_up;
        samples().filter(|sample| sample.hours >= from).copied().collect()
    }

    fn report(&mut self) {
        let lives: Vec<Vec<Sample>> = (0..=KILLS.len()).map(|life| self.warm(life)).collect();
        let points = |value: fn(&Sample) -> f64| -> Vec<Vec<(f64, f64)>> {
            lives.iter().map(|life| life.iter().map(|sample| (sample.hours, value(sample))).collect()).collect()
        };
        let rss: Vec<_> = points(|sample| sample.rss_mib).iter().map(|life| floors(life, FLOOR_HOURS)).collect();
        if let Some(rss) = slope(&rss) {
            self.outcome.figure("rss_mib_per_hour", told(rss));
            self.outcome.figure("rss_slope", rss);
            if rss.low > SLOPE_MAX_MIB {
                self.outcome.fail(format!("memory grows: {} MiB an hour", told(rss)));
            }
        }
        for (name, value) in [
            ("catalog_kib_per_hour", (|sample| sample.catalog_kib) as fn(&Sample) -> f64),
            ("disk_mib_per_hour", |sample| sample.disk_mib),
            ("files_per_hour", |sample| sample.files as f64),
            ("ack_p99_ms_per_hour", |sample| sample.ack_p99_ms),
        ] {
            if let Some(slope) = slope(&points(value)) {
                self.outcome.figure(name, told(slope));
            }
        }
        let Some(long) = lives.last().filter(|life| life.len() >= 4) else { return };
        let quarter = long.len() / 4;
        let drift = |value: fn(&Sample) -> f64| {
            median(long[long.len() - quarter..].iter().map(value)) - median(long[..quarter].iter().map(value))
        };
        self.outcome.figure("descriptors_drift", drift(|sample| sample.descriptors as f64));
        self.outcome.figure("threads_drift", drift(|sample| sample.threads as f64));
        let most = |value: fn(&Sample) -> f64| self.samples.iter().map(value).fold(0.0, f64::max);
        let (rss, disk, files) = (most(|s| s.rss_mib), most(|s| s.disk_mib), most(|s| s.files as f64));
        let (descriptors, threads) = (most(|s| s.descriptors as f64), most(|s| s.threads as f64));
        self.outcome.figure("rss_max_mib", rss);
        self.outcome.figure("disk_max_mib", disk);
        self.outcome.figure("files_max", files);
        self.outcome.figure("descriptors_max", descriptors);
        self.outcome.figure("threads_max", threads);
        self.outcome.figure("retention_seconds", self.retention.as_secs());
        self.outcome.figure("warm_up_seconds", (self.retention * WARM_UP_RETENTIONS).as_secs());
        let thin = self.samples.len().div_ceil(120).max(1);
        let thin: Vec<&Sample> = self.samples.iter().step_by(thin).collect();
        self.outcome.figure("course", thin);
    }
}

fn told(slope: Slope) -> String {
    format!("{:.2} (95 %: {:.2} to {:.2}, {} points)", slope.per_hour, slope.low, slope.high, slope.points)
}

fn sample(server: &Server, data: &Path, seen: &Seen, life: usize, started: Instant) -> Sample {
    const MIB: f64 = 1_048_576.0;
    let (files, bytes) = folder(data);
    let catalog = ["catalog.sqlite", "catalog.sqlite-wal"].map(|name| data.join(name));
    let catalog: u64 = catalog.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
    Sample {
        life,
        hours: started.elapsed().as_secs_f64() / 3_600.0,
        rss_mib: server.rss() as f64 / MIB,
        descriptors: server.descriptors(),
        threads: server.threads(),
        files,
        disk_mib: bytes as f64 / MIB,
        catalog_kib: catalog as f64 / 1_024.0,
        ack_p99_ms: quantile(&seen.latencies_ms(None), 990),
    }
}

/// Files and bytes below a folder that somebody changes meanwhile.
fn folder(path: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            let (inner_files, inner_bytes) = folder(&entry.path());
            (files, bytes) = (files + inner_files, bytes + inner_bytes);
        } else {
            (files, bytes) = (files + 1, bytes + metadata.len());
        }
    }
    (files, bytes)
}
