//! The loop of one target: wait, fetch, resolve, hand on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trivium_model::{Clock, UnixNanos};
use xxhash_rust::xxh3::xxh3_64;

use crate::Sink;
use crate::cache::{Resolved, SeriesCache};
use crate::config::Job;
use crate::fetch::{Fetch, Fetched};
use crate::labels::{LabelBuilder, Labels};
use crate::metrics::ScrapeMetrics;
use crate::parse::{self, Exposition, Format, Value};
use crate::request::{Point, RequestWriter};
use crate::target::Target;

/// The NaN that marks a series as gone.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// How far the start of a scrape may be behind its schedule and still bear the scheduled time: even distances compress better.
const ALIGNMENT_TOLERANCE: Duration = Duration::from_millis(2);

/// What every worker shares.
#[derive(Clone)]
pub(crate) struct Deps {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: ScrapeMetrics,
}

/// How a target is, as of its last scrape.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// The job it belongs to.
    pub job: String,
    /// Its labels after relabelling.
    pub labels: Labels,
    /// Where it is scraped.
    pub url: String,
    /// How often.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Duration,
    /// Start of the last scrape; `None` before the first.
    pub last_scrape: Option<UnixNanos>,
    /// How long it took.
    pub last_duration: Duration,
    /// Why it failed; `None` when it did not.
    pub last_error: Option<String>,
}

/// One target and what is remembered of it.
pub(crate) struct Worker {
    pub(crate) job: Arc<Job>,
    pub(crate) target: Target,
    pub(crate) external_labels: Arc<BTreeMap<String, String>>,
    pub(crate) deps: Deps,
    pub(crate) status: Arc<Mutex<TargetStatus>>,
    pub(crate) cache: SeriesCache,
}

/// The numbers that a scrape reports about itself.
#[derive(Clone, Copy, Debug, Default)]
struct Report {
    up: f64,
    seconds: f64,
    scraped: usize,
    after_relabelling: usize,
    added: usize,
}

impl Worker {
    pub(crate) fn new(
        job: Arc<Job>,
        target: Target,
        external_labels: Arc<BTreeMap<String, String>>,
        deps: Deps,
    ) -> Self {
        let status = TargetStatus {
            job: job.name.clone(),
            labels: target.labels.clone(),
            url: target.url.clone(),
            interval: target.interval,
            timeout: target.timeout,
            last_scrape: None,
            last_duration: Duration::ZERO,
            last_error: None,
        };
        Self { job, target, external_labels, deps, status: Arc::new(Mutex::new(status)), cache: SeriesCache::default() }
    }

    /// Scrapes until told to stop, then marks all series stale.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let offset = offset(&self.target);
        let mut last = UnixNanos::MIN;
        loop {
            let now = self.deps.clock.now();
            // A wall clock that was set back, or lags behind the timer, must not bring the same scrape twice.
            let is_near = last.since(now) < self.target.interval;
            let scheduled = next(if is_near { now.max(last) } else { now }, self.target.interval, offset);
            last = scheduled;
            let wait = tokio::time::sleep(scheduled.since(now));
            tokio::select! {
                () = stop.cancelled() => break,
                () = wait => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.scrape(scheduled) => {}
            }
        }
        self.finish().await;
    }

    async fn scrape(&mut self, scheduled: UnixNanos) {
        let (now, started) = (self.deps.clock.now(), Instant::now());
        let start = if now.since(scheduled) <= ALIGNMENT_TOLERANCE { scheduled } else { now };
        let fetch = self.deps.fetch.fetch(&self.job, &self.target);
        let fetched = match tokio::time::timeout(self.target.timeout, fetch).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no whole answer within the scrape timeout of {:?}", self.target.timeout)),
        };
        let (requests, report, problem) = self.digest(fetched, millis(start), started);
        self.deps.metrics.scrapes.inc();
        if let Some(problem) = &problem {
            self.deps.metrics.failures.inc();
            tracing::debug!(url = self.target.url, problem, "a scrape failed");
        }
        {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            status.last_scrape = Some(start);
            status.last_duration = Duration::from_secs_f64(report.seconds);
            status.last_error = problem;
        }
        self.send(requests).await;
    }

    /// Turns an answer into requests. Nothing of a scrape that failed is kept, but that it failed.
    fn digest(
        &mut self,
        fetched: Result<Fetched, String>,
        now: i64,
        started: Instant,
    ) -> (Vec<bytes::Bytes>, Report, Option<String>) {
        let external_labels = Arc::clone(&self.external_labels);
        let mut writer = RequestWriter::new(&external_labels);
        let mut report = Report::default();
        self.cache.begin();
        let written = fetched.and_then(|fetched| self.samples(&fetched, now, &mut report, &mut writer));
        report.seconds = started.elapsed().as_secs_f64();
        let vanished = if written.is_ok() { self.cache.vanished() } else { self.cache.clear(true) };
        report.up = if written.is_ok() { 1.0 } else { 0.0 };
        for labels in vanished {
            push(&mut writer, &labels, STALE, now);
        }
        self.report(&mut writer, Some(report), now);
        (writer.finish(), report, written.err())
    }

    fn samples(
        &mut self,
        fetched: &Fetched,
        now: i64,
        report: &mut Report,
        writer: &mut RequestWriter<'_>,
    ) -> Result<(), String> {
        let format = Format::of(&fetched.content_type).or(self.job.fallback).ok_or_else(|| {
            format!("content type {:?} is none of ours; fallback_scrape_protocol can name one", fetched.content_type)
        })?;
        let exposition =
            parse::parse(&fetched.body, format, self.job.native_histograms).map_err(|error| error.to_string())?;
        report.scraped = exposition.samples.len();
        let resolved = self.cache.resolve(&exposition, &self.job, &self.target.labels)?;
        report.after_relabelling = resolved.after_relabelling;
        report.added = resolved.added;
        self.deps.metrics.samples.inc_by(resolved.kept.len() as u64);
        self.deps.metrics.duplicates.inc_by(resolved.duplicates as u64);
        self.write(&exposition, &resolved, now, writer);
        Ok(())
    }

    fn write(&self, exposition: &Exposition<'_>, resolved: &Resolved, now: i64, writer: &mut RequestWriter<'_>) {
        for (at, labels) in &resolved.kept {
            let Some(sample) = exposition.samples.get(*at) else { continue };
            let timestamp = sample.timestamp.filter(|_| self.job.honor_timestamps).unwrap_or(now);
            writer.push(&Point {
                labels,
                value: &sample.value,
                timestamp,
                start: sample.start,
                exemplars: &sample.exemplars,
                family: exposition.families.get(sample.family),
            });
        }
    }

    /// The series about the scrape itself; without a report they are marked stale.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn report(&self, writer: &mut RequestWriter<'_>, report: Option<Report>, now: i64) {
        let values = report.map(|report| {
            let (scraped, kept) = (report.scraped as f64, report.after_relabelling as f64);
            [report.up, report.seconds, scraped, kept, report.added as f64]
        });
        let names = [
            "up",
            "scrape_duration_seconds",
            "scrape_samples_scraped",
            "scrape_samples_post_metric_relabeling",
            "scrape_series_added",
        ];
        for (name, value) in names.into_iter().zip(values.unwrap_or([STALE; 5])) {
            let mut labels: LabelBuilder = self.target.labels.iter().collect();
            labels.set("__name__", name);
            push(writer, &labels.build(), value, now);
        }
    }

    async fn finish(&mut self) {
        let has_scraped = self.status.lock().unwrap_or_else(PoisonError::into_inner).last_scrape.is_some();
        if !has_scraped {
            return;
        }
        let now = millis(self.deps.clock.now());
        let external_labels = Arc::clone(&self.external_labels);
        let mut writer = RequestWriter::new(&external_labels);
        for labels in self.cache.clear(false) {
            push(&mut writer, &labels, STALE, now);
        }
        self.report(&mut writer, None, now);
        self.send(writer.finish()).await;
    }

    async fn send(&self, requests: Vec<bytes::Bytes>) {
        for request in requests {
            if let Err(problem) = self.deps.sink.send(request).await {
                self.deps.metrics.refused_requests.inc();
                tracing::warn!(url = self.target.url, problem, "cannot store what a scrape brought");
            }
        }
    }
}

fn push(writer: &mut RequestWriter<'_>, labels: &Labels, value: f64, timestamp: i64) {
    writer.push(&Point { labels, value: &Value::Float(value), timestamp, start: 0, exemplars: &[], family: None });
}

fn millis(time: UnixNanos) -> i64 {
    time.0.div_euclid(1_000_000)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).max(1)
}

/// Where in the interval a target is scraped: the same after a restart, different for each target. Whole milliseconds.
pub(crate) fn offset(target: &Target) -> Duration {
    let mut identity = target.url.clone();
    for (name, value) in target.labels.iter() {
        identity.extend(["\0", name, "\0", value]);
    }
    let interval = u64::try_from(target.interval.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(xxh3_64(identity.as_bytes()) % interval)
}

/// The first scheduled time after `now`. Computed from the clock each time, so that nothing drifts.
pub(crate) fn next(now: UnixNanos, interval: Duration, offset: Duration) -> UnixNanos {
    let (interval, offset) = (i128::from(nanos(interval)), i128::from(nanos(offset)) - i128::from(offset.is_zero()));
    let rounds = (i128::from(now.0) - offset).div_euclid(interval) + 1;
    UnixNanos(i64::try_from(rounds * interval + offset).unwrap_or(i64::MAX))
}
