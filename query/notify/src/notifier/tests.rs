use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use trivium_model::{Clock, ManualClock, MemoryStateStore, StateStore, TenantId, TimeRange, UnixNanos};

use super::{Deliver, Notifier, Surroundings, Timer};
use crate::alert::AlertInput;
use crate::config::Config;
use crate::engine::{Outcome, SendJob};

const START: UnixNanos = UnixNanos(1_795_262_400_000_000_000);

const CONFIG: &str = "
route: {receiver: hook, group_wait: 30s, group_interval: 5m, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: 'http://x'}]}]
";

/// Time that passes as soon as nothing else is to be done, until its end.
#[derive(Debug)]
struct Passing {
    clock: Arc<ManualClock>,
    end: UnixNanos,
}

impl Timer for Passing {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            if self.clock.now() >= self.end {
                std::future::pending::<()>().await;
            }
            self.clock.advance(duration.max(Duration::from_millis(1)));
        })
    }
}

#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Deliver for Heard {
    async fn deliver(&self, job: &SendJob, _: Duration) -> Outcome {
        let notification = &job.notification;
        let at = notification.at.since(START).as_secs();
        self.0.lock().unwrap().push(format!("{at} {} {}", notification.reason.as_str(), notification.alerts.len()));
        Outcome::Sent
    }
}

struct World {
    store: Arc<MemoryStateStore>,
    clock: Arc<ManualClock>,
    heard: Heard,
}

impl World {
    fn new() -> Self {
        Self { store: Arc::default(), clock: Arc::new(ManualClock::new(START)), heard: Heard::default() }
    }

    async fn process(&self, holder: &str, until: u64) -> Notifier {
        let end = START.after(Duration::from_secs(until));
        let surroundings = Surroundings {
            store: Arc::<MemoryStateStore>::clone(&self.store),
            tenant: TenantId(1),
            clock: Arc::<ManualClock>::clone(&self.clock),
            timer: Arc::new(Passing { clock: Arc::clone(&self.clock), end }),
            holder: holder.into(),
        };
        let config = Arc::new(Config::parse(CONFIG, Path::new(".")).unwrap());
        Notifier::open(config, Arc::new(self.heard.clone()), surroundings).await.unwrap()
    }

    /// Lets a process run until its time is over.
    async fn run(&self, process: &Notifier, until: u64) {
        let end = START.after(Duration::from_secs(until));
        let over = async {
            while self.clock.now() < end {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = process.run() => {}
            () = over => {}
        }
    }
}

fn firing(name: &str) -> Vec<AlertInput> {
    let labels = [("alertname", name)].into_iter().collect();
    let ends_at = Some(START.after(Duration::from_secs(100 * 3600)));
    vec![AlertInput { labels, starts_at: Some(START), ends_at, ..AlertInput::default() }]
}

#[tokio::test]
async fn hours_pass_in_milliseconds() {
    let world = World::new();
    let process = world.process("a", 3 * 3600).await;
    assert_eq!(process.put(firing("A")).await.unwrap(), Vec::<String>::new());
    world.run(&process, 3 * 3600).await;
    let heard = world.heard.0.lock().unwrap().clone();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(heard[0].ends_with("first notification 1") && heard[2].ends_with("repeat interval elapsed 1"), "{heard:?}");
    let samples = process.metrics();
    let total = samples.iter().find(|one| one.name == "alertmanager_notifications_total").unwrap();
    assert!((total.value - 3.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn one_process_notifies_and_another_takes_over_without_repeating() {
    let world = World::new();
    let first = world.process("a", 100).await;
    let second = world.process("b", 1000).await;
    assert!(first.is_leader() && !second.is_leader());
    assert_eq!(second.put(firing("A")).await.unwrap_err().status, 503);
    first.put(firing("A")).await.unwrap();
    world.run(&first, 100).await;
    assert_eq!(world.heard.0.lock().unwrap().len(), 1);
    // The first is gone; its right runs out.
    world.run(&second, 1000).await;
    assert!(second.is_leader());
    assert_eq!(second.alerts(&crate::AlertQuery::default()).unwrap().len(), 1);
    assert_eq!(world.heard.0.lock().unwrap().len(), 1, "it knows what was told");
    // The one that lost it may not change anything any more.
    assert_eq!(first.put(firing("B")).await.unwrap_err().status, 500);
    assert!(!first.is_leader());
    second.put(firing("C")).await.unwrap();
    let history = world.store.history(TenantId(1), "notification", TimeRange::ALL, 10);
    assert_eq!(history.await.unwrap().len(), 1);
}

fn acknowledged(process: &Notifier) -> Option<(String, String)> {
    let alerts = process.alerts(&crate::AlertQuery::default()).unwrap();
    alerts.first()?.acknowledgement.clone().map(|one| (one.by, one.note))
}

fn posted(by: &str, note: &str) -> crate::PostableAcknowledgement {
    crate::PostableAcknowledgement { by: by.into(), note: note.into() }
}

#[tokio::test]
async fn an_acknowledgement_outlives_the_process_and_ends_with_its_alert() {
    let world = World::new();
    let process = world.process("a", 60).await;
    process.put(firing("A")).await.unwrap();
    let fingerprint = process.alerts(&crate::AlertQuery::default()).unwrap()[0].fingerprint.clone();
    process.acknowledge(&fingerprint, posted(" Ada ", "rolling back")).await.unwrap();
    // Sent again, as rules do every minute, it is still the same alert.
    process.put(firing("A")).await.unwrap();
    drop(process);
    let process = world.process("a", 60).await;
    let told = Some(("Ada".to_owned(), "rolling back".to_owned()));
    assert_eq!(acknowledged(&process), told);
    // Somebody else takes over.
    process.acknowledge(&fingerprint, posted("Grace", "")).await.unwrap();
    assert_eq!(acknowledged(&process), Some(("Grace".to_owned(), String::new())));

    let mut resolved = firing("A");
    resolved[0].ends_at = Some(world.clock.now());
    process.put(resolved).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(process.acknowledge(&fingerprint, posted("Ada", "")).await.unwrap_err().status, 404);
    let mut again = firing("A");
    again[0].starts_at = Some(world.clock.now());
    process.put(again).await.unwrap();
    assert_eq!(acknowledged(&process), None, "a later alert is a new one");

    let history = world.store.history(TenantId(1), "alert", TimeRange::ALL, 9).await.unwrap();
    let told: Vec<serde_json::Value> = history.iter().map(|one| serde_json::from_str(&one.value).unwrap()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|one| one["transition"] == "acknowledged"
        && one["rule"] == "A"
        && one["author"] == "Ada"
        && one["note"] == "rolling back"
        && one["labels"]["alertname"] == "A"));
}

#[tokio::test]
async fn an_acknowledgement_is_taken_back_once_and_its_texts_are_bounded() {
    let world = World::new();
    let process = world.process("a", 60).await;
    process.put(firing("A")).await.unwrap();
    let fingerprint = process.alerts(&crate::AlertQuery::default()).unwrap()[0].fingerprint.clone();
    process.acknowledge(&fingerprint, posted("Ada", "")).await.unwrap();
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(1));
        process.unacknowledge(&fingerprint, "Ada").await.unwrap();
        assert_eq!(acknowledged(&process), None);
    }
    let history = world.store.history(TenantId(1), "alert", TimeRange::ALL, 9).await.unwrap();
    assert_eq!(history.len(), 2, "taking back what is not there is no event");
    let refused = [
        (fingerprint.as_str(), posted("  ", ""), 400),
        (fingerprint.as_str(), posted(&"a".repeat(257), ""), 400),
        (fingerprint.as_str(), posted("Ada", &"n".repeat(4097)), 400),
        ("+00000000000000f", posted("Ada", ""), 400),
        ("00000000000000ff", posted("Ada", ""), 404),
    ];
    for (fingerprint, body, status) in refused {
        assert_eq!(process.acknowledge(fingerprint, body).await.unwrap_err().status, status);
    }
}
