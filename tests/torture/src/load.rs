//! Clients that export until they are told to stop, and write down what they were answered.

mod grpc;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prost::Message;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use serde::Serialize;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceResponse;

use crate::ledger::{Fate, Ledger};
use crate::payload::{Body, Signal, Stream};
use crate::random::Random;
use crate::server::Server;
use grpc::Grpc;

/// How long a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many of a hundred acknowledged requests are sent once more where nothing else is said.
const RESEND_PERCENT: u64 = 3;

/// What the clients of a phase saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) acked: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Refusals by which a client drops its data, or that do not say when to come back.
    pub(crate) bad_refusals: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) resent: AtomicU64,
    /// When a request was acknowledged, and microseconds from the request to the acknowledgement.
    latencies: Mutex<Vec<(Instant, u32)>>,
    first_bad: Mutex<Option<String>>,
}

/// [`Seen`] as it stands in reports.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) bad_refusals: u64,
    pub(crate) broken: u64,
    pub(crate) resent: u64,
    pub(crate) ack_p50_ms: f64,
    pub(crate) ack_p99_ms: f64,
    pub(crate) first_bad_refusal: Option<String>,
}

impl Seen {
    pub(crate) fn summary(&self) -> Summary {
        let latencies = self.latencies_ms(None);
        let quantile = |permille| quantile(&latencies, permille);
        Summary {
            acked: self.acked.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            bad_refusals: self.bad_refusals.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
            resent: self.resent.load(Ordering::Relaxed),
            ack_p50_ms: quantile(500),
            ack_p99_ms: quantile(990),
            first_bad_refusal: self.first_bad.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The milliseconds of acknowledgements since some moment, in order.
    pub(crate) fn latencies_ms(&self, since: Option<Instant>) -> Vec<f64> {
        let all = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        // They are in order of time but for those that came at the same moment.
        let first = since.map_or(0, |since| all.partition_point(|(at, _)| *at < since));
        let mut latencies: Vec<f64> = all[first..].iter().map(|(_, micros)| f64::from(*micros) / 1000.0).collect();
        latencies.sort_unstable_by(f64::total_cmp);
        latencies
    }

    /// How many requests a second were acknowledged in each whole minute since some moment.
    pub(crate) fn acked_per_second_by_minute(&self, since: Instant) -> Vec<f64> {
        let all = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = |at: Instant| at.saturating_duration_since(since).as_secs() / 60;
        let minutes = all.last().map_or(0, |(at, _)| minute(*at));
        let mut counts = vec![0_u32; usize::try_from(minutes).unwrap_or(0)];
        for (at, _) in all.iter() {
            if let Some(count) = usize::try_from(minute(*at)).ok().and_then(|minute| counts.get_mut(minute)) {
                *count += 1;
            }
        }
        counts.into_iter().map(|count| f64::from(count) / 60.0).collect()
    }

    /// Forgets the latencies up to now: of hours they would be many.
    pub(crate) fn forget_latencies(&self) {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn bad(&self, text: String) {
        self.bad_refusals.fetch_add(1, Ordering::Relaxed);
        self.first_bad.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
    }
}

/// A quantile of numbers in order; 0 of none.
pub(crate) fn quantile(sorted: &[f64], permille: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * permille / 1000).copied().unwrap_or(0.0)
}

/// Who sends.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) http: reqwest::Client,
    pub(crate) ledger: Ledger,
    pub(crate) stream: Stream,
    pub(crate) seen: Arc<Seen>,
    /// How many of a hundred acknowledged requests are sent once more.
    pub(crate) resend_percent: u64,
    /// Whether every other client speaks gRPC. Requests that another phase sends again must not change their door: the server
    /// knows a request by its bytes.
    pub(crate) has_grpc: bool,
    stop: Arc<AtomicBool>,
}

/// Where a client sends to, and what it speaks there.
#[derive(Debug)]
enum Door {
    /// The base address of OTLP over HTTP.
    Http(String),
    Grpc(Grpc),
}

impl Door {
    fn body(&self, stream: &Stream, number: u64) -> Body {
        match self {
            Self::Http(_) => stream.body(number),
            Self::Grpc(_) => stream.grpc_body(number),
        }
    }
}

/// What a client does when the server cannot be reached or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// End at a broken connection: the server is gone.
    End,
    /// Wait a while and go on with the next request.
    GoOn,
    /// Send the same bytes again after a moment, shorter than the server asks for, until they are acknowledged.
    Insist,
    /// Wait so many milliseconds after each request, whatever was answered.
    Pace(u64),
}

impl Clients {
    pub(crate) fn new(ledger: Ledger, stream: Stream) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).pool_max_idle_per_host(4_096).build()?;
        let (seen, stop) = (Arc::default(), Arc::default());
        Ok(Self { http, ledger, stream, seen, resend_percent: RESEND_PERCENT, has_grpc: false, stop })
    }

    /// The same clients with counts of their own.
    pub(crate) fn phase(&self) -> Self {
        Self { seen: Arc::default(), stop: Arc::default(), ..self.clone() }
    }

    /// The same clients once more, with the same counts.
    pub(crate) fn again(&self) -> Self {
        Self { stop: Arc::default(), ..self.clone() }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sends with `workers` connections until [`Self::stop`]; join the handles afterwards.
    pub(crate) fn start(&self, server: &Server, workers: u64, trouble: Trouble) -> Running {
        let tasks = (0..workers).map(|worker| {
            let clients = self.clone();
            let door = match self.has_grpc && worker % 2 == 1 {
                true => Door::Grpc(Grpc::new(&server.otlp_grpc)),
                false => Door::Http(server.otlp_http.clone()),
            };
            tokio::spawn(async move { clients.work(door, worker, trouble).await })
        });
        Running { tasks: tasks.collect(), clients: self.clone() }
    }

    async fn work(&self, mut door: Door, worker: u64, trouble: Trouble) -> anyhow::Result<()> {
        let mut random = Random::new(self.stream.seed ^ worker.rotate_left(32) ^ self.ledger.next());
        while !self.is_stopped() {
            let number = self.ledger.begin()?;
            let body = door.body(&self.stream, number);
            let mut fate = self.post(&mut door, number, body.clone()).await?;
            while fate == Fate::Ambiguous && trouble == Trouble::Insist && !self.is_stopped() {
                tokio::time::sleep(Duration::from_millis(random.between(200, 1_000))).await;
                fate = self.post(&mut door, number, body.clone()).await?;
            }
            if fate == Fate::Ack && random.percent(self.resend_percent) {
                // A client that lost the answer sends the same bytes again.
                self.seen.resent.fetch_add(1, Ordering::Relaxed);
                self.post(&mut door, number, body).await?;
            }
            match (fate, trouble) {
                (Fate::Ambiguous, Trouble::End) => return Ok(()),
                (Fate::Ambiguous, Trouble::GoOn) => tokio::time::sleep(Duration::from_millis(100)).await,
                (_, Trouble::Pace(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends one request and writes down the answer. A refusal that may pass proves nothing: the request may be in the WAL
    /// when the disk failed after it was written.
    pub(crate) async fn send(&self, url: &str, number: u64) -> anyhow::Result<Fate> {
        let mut door = Door::Http(url.to_owned());
        self.post(&mut door, number, self.stream.body(number)).await
    }

    async fn post(&self, door: &mut Door, number: u64, body: Body) -> anyhow::Result<Fate> {
        let signal = self.stream.signal(number);
        let fate = match door {
            Door::Http(url) => self.post_http(&format!("{url}{}", signal.path()), body).await,
            Door::Grpc(grpc) => self.call(grpc, signal, &body).await,
        };
        self.ledger.end(number, fate)?;
        Ok(fate)
    }

    async fn post_http(&self, url: &str, body: Body) -> Fate {
        let is_json = body.content_type.ends_with("json");
        let mut request = self.http.post(url).header(CONTENT_TYPE, body.content_type);
        if body.is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let started = Instant::now();
        let Ok(answer) = request.body(body.bytes).send().await else { return self.broken() };
        let status = answer.status().as_u16();
        let has_hint = answer.headers().contains_key(RETRY_AFTER);
        let Ok(body) = answer.bytes().await else { return self.broken() };
        if status == 200 {
            return self.taken(&body, is_json, started);
        }
        let said = format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)]));
        self.not_taken(matches!(status, 429 | 502 | 503 | 504), has_hint, said)
    }

    async fn call(&self, grpc: &mut Grpc, signal: Signal, body: &Body) -> Fate {
        let started = Instant::now();
        match grpc.export(signal, body, TIMEOUT).await {
            Ok(answer) if answer.code == 0 => self.taken(&answer.body, false, started),
            Ok(answer) => self.not_taken(answer.is_retried(), answer.has_hint(), answer.said()),
            Err(_) => self.broken(),
        }
    }

    fn broken(&self) -> Fate {
        self.seen.broken.fetch_add(1, Ordering::Relaxed);
        Fate::Ambiguous
    }

    fn taken(&self, answer: &[u8], is_json: bool, started: Instant) -> Fate {
        if rejected(answer, is_json) != Some(0) {
            self.bad(format!("partial success: {}", String::from_utf8_lossy(answer)));
            return Fate::Partial;
        }
        self.seen.acked.fetch_add(1, Ordering::Relaxed);
        let micros = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.seen.latencies.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), micros));
        Fate::Ack
    }

    fn not_taken(&self, is_retried: bool, has_hint: bool, said: String) -> Fate {
        if !is_retried {
            self.bad(said);
            return Fate::Reject;
        }
        self.seen.refused.fetch_add(1, Ordering::Relaxed);
        if !has_hint {
            self.bad(format!("no hint when to come back: {said}"));
        }
        Fate::Ambiguous
    }

    fn bad(&self, answer: String) {
        self.ledger.refused_badly(&answer);
        self.seen.bad(answer);
    }
}

/// Rejected records of an answer; the three signals use the same fields. `None` when it is no answer.
fn rejected(body: &[u8], is_json: bool) -> Option<i64> {
    if is_json {
        let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
        return Some(i64::from(answer.get("partialSuccess").is_some_and(|partial| partial != &serde_json::json!({}))));
    }
    let answer = ExportLogsServiceResponse::decode(body).ok()?;
    Some(answer.partial_success.map_or(0, |partial| partial.rejected_log_records))
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Running {
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
    clients: Clients,
}

impl Running {
    /// Stops the clients and waits until each has its last answer.
    pub(crate) async fn finish(self) -> anyhow::Result<Summary> {
        self.clients.stop();
        for task in self.tasks {
            task.await??;
        }
        Ok(self.clients.seen.summary())
    }
}
