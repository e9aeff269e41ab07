use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use trivium_model::{Clock, ManualClock, MemoryStateStore, TenantId, TimeRange, UnixNanos};

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
    let history = trivium_model::StateStore::history(&*world.store, TenantId(1), "notification", TimeRange::ALL, 10);
    assert_eq!(history.await.unwrap().len(), 1);
}
