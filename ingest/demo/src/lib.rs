//! Telemetry of a shop that does not exist: traces, logs and metrics of twelve services that fit together, from one seed,
//! with a bad deploy in it. See `README.md`.
//!
//! [`Demo::next`] is called with the advancing time and answers OTLP export requests. What they contain depends on the
//! configuration alone; how the items are cut into requests depends on the calls too. Reads no clock, sends nothing.

mod attribute;
mod backend;
mod background;
mod browsing;
mod checkout;
mod metrics;
mod pack;
mod payment;
mod random;
mod runtime;
mod shop;
mod story;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use trivium_model::{SignalKind, UnixNanos};

use crate::metrics::{Instruments, Interval};
use crate::random::Random;
use crate::shop::{Deploy, Instance, InstanceId, Service, Shop};
use crate::story::{Item, Memory, Pending, Story, Visit};

/// A time or a duration in nanoseconds.
pub(crate) type Nanos = i64;

const SECOND: Nanos = 1_000_000_000;

/// How often an instance exports its metrics.
const METRICS_INTERVAL: Nanos = 20 * SECOND;

/// How often the notification service looks at its queue.
const POLL_INTERVAL: Nanos = 5 * SECOND;

/// How long before the incident a harmless deploy of another service is: a false trail.
const HARMLESS_DEPLOY: Nanos = 13 * 60 * SECOND;

/// How long before the end of the history the incident begins.
const INCIDENT_BEFORE_END: Duration = Duration::from_secs(20 * 60);

/// How long ago the deploys were of a story that goes on: any time that is surely over.
const LONG_AGO: Nanos = 3_600 * SECOND;

/// A mean year is exact enough for the numbers of orders.
const YEAR: Nanos = 31_556_952 * SECOND;

/// Numbers of orders that are set aside for each visit, nearly twice as many as are used: a story that begins later has
/// greater numbers.
const ORDERS_PER_VISIT: f64 = 1.0 / 6.0;

/// Visitors that come again and again.
const USERS: usize = 3_000;

/// What the demo tells.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Equal seeds tell equal stories.
    pub seed: u64,
    /// When the story begins; cut to the second.
    pub start: UnixNanos,
    /// How much of the story lies in the past when it is first told. The story itself goes on without end.
    pub history: Duration,
    /// When the bad deploy begins, counted from `start`; `None` when it is long over, and what it brought runs.
    pub incident_at: Option<Duration>,
    /// Visits a second on average; each is one trace of 5 to 40 spans.
    pub rate: f64,
}

impl DemoConfig {
    /// The story whose first `history` lies before `now`, with the incident 20 minutes before `now`, or at two thirds of
    /// a history that is shorter than an hour.
    pub fn starting_before(now: UnixNanos, history: Duration) -> Self {
        let incident_at = history.saturating_sub(INCIDENT_BEFORE_END).max(history * 2 / 3);
        Self { seed: 42, start: now.before(history), history, incident_at: Some(incident_at), rate: 3.0 }
    }

    /// The story goes on after `newest`, the last that was told of it: its history is what is missing until `now`, the
    /// incident lasts, and no ID comes again.
    pub fn continuing(newest: UnixNanos, now: UnixNanos) -> Self {
        let start = newest.after(Duration::from_secs(1));
        Self { start, history: now.since(start), incident_at: None, ..Self::starting_before(now, Duration::ZERO) }
    }
}

/// One OTLP export request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoRequest {
    /// Which of the three export services it is for.
    pub signal: SignalKind,
    /// The `Export…ServiceRequest` as protobuf.
    pub payload: Bytes,
    /// How many spans, log records or data points it holds.
    pub items: u64,
    /// The time of its newest item.
    pub time: UnixNanos,
}

/// What goes wrong, for tests and documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The service whose deploy is the cause.
    pub service: &'static str,
    /// The version before.
    pub previous_version: &'static str,
    /// The version that is deployed.
    pub version: &'static str,
    /// When the deploy begins; of a story that goes on, when it does. First effects come half a minute later, the full ones
    /// after four minutes.
    pub start: UnixNanos,
    /// What the service says in its logs.
    pub message: &'static str,
    /// The services that suffer from it, nearest first.
    pub spreads_to: [&'static str; 3],
}

/// The story and how far it is told.
#[derive(Debug)]
pub struct Demo {
    config: DemoConfig,
    start: Nanos,
    /// Everything up to here is told; a whole second.
    now: Nanos,
    next_visit: Nanos,
    visits: Random,
    chatter: Random,
    gauges: Random,
    users: Vec<String>,
    shop: Shop,
    instruments: Instruments,
    memory: Memory,
    pending: Vec<Pending>,
}

/// What came due, in the order of time.
#[derive(Default)]
struct Due {
    spans: Vec<pack::Sent<trivium_proto::otlp::trace::v1::Span>>,
    logs: Vec<pack::Sent<trivium_proto::otlp::logs::v1::LogRecord>>,
    metrics: Vec<DemoRequest>,
}

impl Demo {
    /// A story that has not begun.
    pub fn new(config: DemoConfig) -> Self {
        let start = config.start.0.div_euclid(SECOND) * SECOND;
        let incident = config.incident_at.map_or(start - LONG_AGO, |at| start.saturating_add(nanos(at)));
        let mut deploys = vec![Deploy { service: Service::Payment, version: payment::BAD_VERSION, at: incident }];
        let harmless = incident - HARMLESS_DEPLOY;
        if harmless > start || config.incident_at.is_none() {
            deploys.push(Deploy { service: Service::Recommendation, version: "1.9.3", at: harmless });
        }
        let mut random = Random::new(config.seed, 1);
        let shop = Shop::new(&mut random, start, deploys);
        let users = (0..USERS).map(|_| format!("u_{}", random.hex(12))).collect();
        // The shop and its visitors are the same at every start; what they do, and every ID that they are given, is not.
        let seed = config.seed ^ start.cast_unsigned();
        Self {
            start,
            now: start,
            next_visit: start,
            visits: Random::new(seed, 2),
            chatter: Random::new(seed, 3),
            gauges: Random::new(seed, 4),
            users,
            shop,
            instruments: Instruments::default(),
            memory: memory(start, config.rate),
            pending: Vec::new(),
            config,
        }
    }

    /// What goes wrong in this story.
    pub fn incident(&self) -> Incident {
        Incident {
            service: Service::Payment.name(),
            previous_version: payment::GOOD_VERSION,
            version: payment::BAD_VERSION,
            start: UnixNanos(self.start).after(self.config.incident_at.unwrap_or_default()),
            message: "connection pool exhausted: waited 5000ms for a connection to payments-db",
            spreads_to: [Service::Checkout, Service::Gateway, Service::Storefront].map(Service::name),
        }
    }

    /// Tells the story on to the last whole second before `until`: the requests that services send until then, in the
    /// order of their times. Nothing when that is told already.
    pub fn next(&mut self, until: UnixNanos) -> Vec<DemoRequest> {
        let mut due = Due::default();
        while self.now <= until.0.saturating_sub(SECOND) {
            self.tell_second(&mut due);
        }
        let mut requests = pack::spans(&self.shop, due.spans);
        requests.extend(pack::logs(&self.shop, due.logs));
        requests.extend(due.metrics);
        requests.sort_by_key(|request| (request.time, request.signal));
        requests
    }

    fn tell_second(&mut self, due: &mut Due) {
        let end = self.now + SECOND;
        while self.next_visit < end {
            let start = self.next_visit;
            self.story().visit_shop(start);
            let gap = self.visits.gap(self.rate_at(start));
            self.next_visit += (gap * SECOND as f64) as Nanos;
        }
        if (end - self.start) % POLL_INTERVAL == 0 {
            self.story().notify(end);
        }
        background::second(&self.shop, &mut self.chatter, self.now, &mut self.pending);
        self.now = end;
        self.collect(due);
        if (end - self.start) % METRICS_INTERVAL == 0 {
            due.metrics.push(self.export_metrics());
        }
    }

    fn story(&mut self) -> Story<'_> {
        let user = self.users[self.visits.below(USERS)].clone();
        let visit = Visit { request: self.visits.uuid(), user, cart: format!("cart-{}", self.visits.hex(8)) };
        Story {
            shop: &self.shop,
            random: &mut self.visits,
            pending: &mut self.pending,
            memory: &mut self.memory,
            visit,
        }
    }

    /// More visits at some times than at others.
    fn rate_at(&self, time: Nanos) -> f64 {
        let seconds = (time - self.start) as f64 / SECOND as f64;
        let tide = 0.25 * (seconds / 3_600.0 * std::f64::consts::TAU).sin();
        let ripple = 0.10 * (seconds / 437.0 * std::f64::consts::TAU).sin();
        self.config.rate * (1.0 + tide + ripple)
    }

    /// Moves what has happened by now from `pending` to where it is sent from.
    fn collect(&mut self, due: &mut Due) {
        let now = self.now;
        let mut happened: Vec<Pending> = self.pending.extract_if(.., |pending| pending.time <= now).collect();
        happened.sort_by_key(|pending| pending.time);
        for Pending { time, instance, item } in happened {
            match item {
                Item::Span(scope, span) => due.spans.push((time, instance, scope, span)),
                Item::Log(scope, record) => due.logs.push((time, instance, scope, record)),
                Item::Observation(observation) => self.instruments.observe(instance, time, observation),
            }
        }
    }

    fn export_metrics(&mut self) -> DemoRequest {
        let now = self.now;
        let mut exports = Vec::new();
        // An instance that has stopped since the last export flushes what it still holds.
        let exports_now =
            |instance: &Instance| instance.from < now && instance.lives((now - METRICS_INTERVAL).max(instance.from));
        for (index, instance) in self.shop.instances.iter().enumerate().filter(|(_, instance)| exports_now(instance)) {
            let previous = (now - METRICS_INTERVAL).max(instance.from);
            let interval = Interval { started: instance.from, previous, now };
            let mut metrics = self.instruments.export(InstanceId(index), interval);
            let unread = self.memory.outbox.len();
            metrics.extend(runtime::metrics(instance, &mut self.gauges, interval, unread));
            exports.push((InstanceId(index), metrics));
        }
        pack::metrics(&self.shop, now, exports)
    }
}

/// Orders are numbered within a year.
fn memory(start: Nanos, rate: f64) -> Memory {
    let seconds = start.rem_euclid(YEAR) as f64 / SECOND as f64;
    Memory {
        year: 1970 + start.div_euclid(YEAR),
        orders: (seconds * rate * ORDERS_PER_VISIT) as u32,
        ..Memory::default()
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
