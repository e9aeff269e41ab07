//! The Alertmanagers of others that all alerts of a tenant are sent to, exchanged when its files name other ones.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trivium_notify::{AlertInput, AlertingFile, ExternalSender, MetricSample, OutgoingPolicy};

use super::definitions::AlertingFiles;

/// For how long what waits is still sent to Alertmanagers that are no longer named: longer than the ten seconds for which one
/// that does not answer is waited for, unless a file says otherwise.
const FAREWELL: Duration = Duration::from_secs(15);

/// Alertmanagers as files name them.
#[derive(Debug)]
pub(super) struct Named {
    sender: ExternalSender,
    /// Of all that the files say of them; a hash, because credentials are among it.
    fingerprint: u64,
}

impl Named {
    /// `None` when none are named. `text` is that of the file.
    pub(super) fn of(
        files: &AlertingFiles,
        (file, text): (&AlertingFile, &str),
        policy: OutgoingPolicy,
    ) -> Result<Option<Self>, String> {
        if files.alertmanager_urls.is_empty() && !file.has_alertmanagers() {
            return Ok(None);
        }
        let sender = ExternalSender::new(&files.alertmanager_urls, file, policy);
        let sender = sender.map_err(|error| format!("alertmanager_urls: {error}"))?;
        let mut hasher = DefaultHasher::new();
        // Paths in the file are relative to its folder.
        (&files.alertmanager_urls, files.alerting_config.as_deref().and_then(Path::parent), text).hash(&mut hasher);
        Ok(Some(Self { sender, fingerprint: hasher.finish() }))
    }
}

/// Sends alerts to those that are named now.
#[derive(Debug)]
pub(super) struct Alertmanagers {
    /// Ends all sending at once.
    stop: CancellationToken,
    current: Mutex<Option<Current>>,
    /// Those that send, and those that have been replaced and send what waits.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Current {
    sender: Arc<ExternalSender>,
    fingerprint: u64,
    replaced: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alertmanagers {
    /// None are named yet.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { stop, current: Mutex::default(), tasks: Mutex::default() }
    }

    /// From now on alerts go to these. The same ones go on undisturbed; others are sent what waits for them.
    pub(super) fn replace(&self, named: Option<Named>) {
        let mut current = lock(&self.current);
        if current.as_ref().map(|current| current.fingerprint) == named.as_ref().map(|named| named.fingerprint) {
            return;
        }
        let next = named.map(|named| self.begin(named));
        if let Some(former) = std::mem::replace(&mut *current, next) {
            former.replaced.cancel();
        }
    }

    fn begin(&self, named: Named) -> Current {
        let (sender, replaced) = (Arc::new(named.sender), CancellationToken::new());
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(run(Arc::clone(&sender), replaced.clone(), self.stop.clone()));
        Current { sender, fingerprint: named.fingerprint, replaced }
    }

    fn sender(&self) -> Option<Arc<ExternalSender>> {
        lock(&self.current).as_ref().map(|current| Arc::clone(&current.sender))
    }

    /// Hands alerts to all of them; never waits. Whether there are any.
    pub(super) fn send(&self, alerts: &[AlertInput]) -> bool {
        let sender = self.sender();
        sender.inspect(|sender| sender.send(alerts)).is_some()
    }

    /// Where they are, without credentials.
    pub(super) fn urls(&self) -> Vec<String> {
        self.sender().map(|sender| sender.urls()).unwrap_or_default()
    }

    /// The numbers to expose, of those that are named now.
    pub(super) fn metrics(&self) -> Vec<MetricSample> {
        self.sender().map(|sender| sender.metrics()).unwrap_or_default()
    }

    /// Waits until all sending has ended, once the token that it was given is cancelled.
    pub(super) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "sending to Alertmanagers died");
            }
        }
    }
}

async fn run(sender: Arc<ExternalSender>, replaced: CancellationToken, stop: CancellationToken) {
    let mut sending = pin!(sender.run());
    tokio::select! {
        () = &mut sending => return,
        () = stop.cancelled() => return,
        () = replaced.cancelled() => {}
    }
    tokio::select! {
        () = &mut sending => {}
        () = stop.cancelled() => {}
        () = tokio::time::sleep(FAREWELL) => {}
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// The Alertmanagers at these addresses, as a file names them.
    fn named(targets: &[&str]) -> Option<Named> {
        let text = format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: {targets:?}}}]}}]}}");
        let file = AlertingFile::parse(&text, Path::new("/etc")).expect("a file");
        let policy = OutgoingPolicy { allow: vec!["127.0.0.0/8".parse().expect("a network")] };
        Named::of(&AlertingFiles::default(), (&file, &text), policy).expect("addresses")
    }

    /// An Alertmanager that tells of each request before it answers.
    async fn alertmanager() -> (String, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (sender, receiver) = mpsc::unbounded_channel();
        let take = move |body: String| {
            sender.send(body).expect("the test waits for it");
            async {}
        };
        let router = Router::new().route("/api/v2/alerts", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, receiver)
    }

    fn alert(name: &str) -> AlertInput {
        AlertInput { labels: [("alertname", name)].into_iter().collect(), ..AlertInput::default() }
    }

    /// Scenario: other Alertmanagers are named while an alert waits for the ones of before, then none.
    /// Guarantee: the alert is still sent; later ones go to those that are named then; the same ones go on undisturbed.
    #[tokio::test]
    async fn others_take_over_and_what_waits_is_sent() {
        let stop = CancellationToken::new();
        let alertmanagers = Alertmanagers::new(stop.clone());
        assert!(!alertmanagers.send(&[alert("Early")]) && alertmanagers.urls().is_empty());
        let ((first, mut to_first), (second, mut to_second)) = (alertmanager().await, alertmanager().await);
        alertmanagers.replace(named(&[&first]));
        let sender = alertmanagers.sender().expect("one is named");
        alertmanagers.replace(named(&[&first]));
        assert!(Arc::ptr_eq(&sender, &alertmanagers.sender().expect("one is named")), "the same ones");
        // Nothing was awaited since it began: it waits.
        assert!(alertmanagers.send(&[alert("Waits")]));
        alertmanagers.replace(named(&[&second]));
        assert_eq!(alertmanagers.urls(), [format!("http://{second}")]);
        assert!(alertmanagers.send(&[alert("Later")]));
        let (waited, later) = (to_first.recv().await.expect("alerts"), to_second.recv().await.expect("alerts"));
        assert!(waited.contains("Waits") && later.contains("Later") && !later.contains("Waits"), "{waited} {later}");
        alertmanagers.replace(named(&[]));
        assert!(!alertmanagers.send(&[alert("Late")]) && alertmanagers.metrics().is_empty());
        stop.cancel();
        alertmanagers.ended().await;
        assert!(to_first.try_recv().is_err() && to_second.try_recv().is_err());
    }
}
