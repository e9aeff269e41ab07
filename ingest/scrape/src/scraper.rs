//! Keeps one worker for each target that configuration and files name.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trivium_model::Clock;

use crate::Sink;
use crate::config::{Job, ScrapeConfig};
use crate::discovery::Discovery;
use crate::fetch::HttpFetch;
use crate::metrics::ScrapeMetrics;
use crate::target::Target;
use crate::worker::{Deps, TargetStatus, Worker};

type Statuses = Arc<Mutex<Vec<Arc<Mutex<TargetStatus>>>>>;

/// The running scraper.
#[derive(Debug)]
pub struct Scraper {
    config: watch::Sender<Arc<ScrapeConfig>>,
    statuses: Statuses,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Scraper {
    /// Starts scraping on the current runtime.
    pub fn start(
        config: ScrapeConfig,
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
        metrics: ScrapeMetrics,
    ) -> Result<Self, reqwest::Error> {
        let fetch = Arc::new(HttpFetch::new()?);
        Ok(Self::start_with(config, Deps { sink, fetch, clock, metrics }))
    }

    pub(crate) fn start_with(config: ScrapeConfig, deps: Deps) -> Self {
        let (sender, receiver) = watch::channel(Arc::new(config));
        let (stop, statuses) = (CancellationToken::new(), Statuses::default());
        let manager = Manager {
            deps,
            statuses: Arc::clone(&statuses),
            discovery: Discovery::default(),
            workers: HashMap::new(),
            external_labels: Arc::default(),
        };
        let task = tokio::spawn(manager.run(receiver, stop.clone()));
        Self { config: sender, statuses, stop, task }
    }

    /// Takes another configuration. Targets that stay the same are scraped on as if nothing had happened.
    pub fn reload(&self, config: ScrapeConfig) {
        self.config.send_replace(Arc::new(config));
    }

    /// How all targets are.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.iter().map(|status| status.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// Stops; returns when every series is marked stale. The sink must still take requests.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the scraper died");
        }
    }
}

struct Running {
    job: Arc<Job>,
    status: Arc<Mutex<TargetStatus>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Manager {
    deps: Deps,
    statuses: Statuses,
    discovery: Discovery,
    workers: HashMap<(String, Target), Running>,
    external_labels: Arc<BTreeMap<String, String>>,
}

impl Manager {
    async fn run(mut self, mut config: watch::Receiver<Arc<ScrapeConfig>>, stop: CancellationToken) {
        loop {
            let current = Arc::clone(&config.borrow_and_update());
            self.sync(&current).await;
            let refresh = current.jobs.iter().flat_map(|job| &job.files).map(|files| files.refresh_interval).min();
            let refreshed = async {
                match refresh {
                    Some(interval) => tokio::time::sleep(interval).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                changed = config.changed() => if changed.is_err() { break },
                () = refreshed => {}
            }
        }
        let all = self.workers.drain().map(|(_, running)| running).collect();
        stop_all(all).await;
        self.publish();
    }

    /// Makes the workers those that configuration and files want.
    async fn sync(&mut self, config: &ScrapeConfig) {
        let is_external_new = *self.external_labels != config.external_labels;
        if is_external_new {
            self.external_labels = Arc::new(config.external_labels.clone());
        }
        let mut wanted: HashMap<(String, Target), Arc<Job>> = HashMap::new();
        for job in &config.jobs {
            let shared = Arc::new(job.clone());
            for target in self.targets_of(job) {
                wanted.insert((job.name.clone(), target), Arc::clone(&shared));
            }
        }
        let gone = |key: &(String, Target), running: &mut Running| {
            is_external_new || wanted.get(key).is_none_or(|job| **job != *running.job)
        };
        let gone = self.workers.extract_if(|key, running| gone(key, running)).map(|(_, running)| running).collect();
        stop_all(gone).await;
        for (key, job) in wanted {
            if !self.workers.contains_key(&key) {
                let running = self.spawn(job, key.1.clone());
                self.workers.insert(key, running);
            }
        }
        self.publish();
    }

    fn targets_of(&mut self, job: &Job) -> Vec<Target> {
        let mut targets = Vec::new();
        for group in self.discovery.groups(job) {
            for address in &group.targets {
                match Target::build(job, &group, address) {
                    Ok(target) => targets.extend(target),
                    Err(problem) => tracing::warn!(job = job.name, problem, "a target cannot be scraped"),
                }
            }
        }
        if job.limits.targets > 0 && targets.len() > job.limits.targets {
            let (found, limit) = (targets.len(), job.limits.targets);
            tracing::warn!(job = job.name, found, limit, "more targets than target_limit; none of them is scraped");
            targets.clear();
        }
        targets
    }

    fn spawn(&self, job: Arc<Job>, target: Target) -> Running {
        let worker = Worker::new(Arc::clone(&job), target, Arc::clone(&self.external_labels), self.deps.clone());
        let (status, stop) = (Arc::clone(&worker.status), CancellationToken::new());
        let task = tokio::spawn(worker.run(stop.clone()));
        Running { job, status, stop, task }
    }

    fn publish(&self) {
        self.deps.metrics.targets.set(i64::try_from(self.workers.len()).unwrap_or(i64::MAX));
        let statuses = self.workers.values().map(|running| Arc::clone(&running.status)).collect();
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner) = statuses;
    }
}

/// How long workers may take to mark their series stale.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

async fn stop_all(workers: Vec<Running>) {
    for running in &workers {
        running.stop.cancel();
    }
    for running in workers {
        if tokio::time::timeout(STOP_TIMEOUT, running.task).await.is_err() {
            tracing::warn!("a target's series could not be marked stale in time");
        }
    }
}
