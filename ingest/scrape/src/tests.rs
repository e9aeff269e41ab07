use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;
use trivium_model::{Clock, UnixNanos};
use trivium_proto::prometheus::v2;

use super::*;
use crate::config::Group;
use crate::fetch::{Fetch, Fetched, HttpFetch};
use crate::target::Target;
use crate::worker::{Deps, next, offset};

/// A wall clock that moves with tokio's paused time.
#[derive(Debug)]
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(1_700_000_000_123_000_000).after(self.0.elapsed())
    }
}

struct Recorder(mpsc::UnboundedSender<Bytes>);

#[async_trait]
impl Sink for Recorder {
    async fn send(&self, request: Bytes) -> Result<(), String> {
        self.0.send(request).map_err(|error| error.to_string())
    }
}

/// Answers as the script says, then fails.
struct Script(Mutex<Vec<Result<&'static str, String>>>);

#[async_trait]
impl Fetch for Script {
    async fn fetch(&self, _: &config::Job, _: &Target) -> Result<Fetched, String> {
        let mut answers = self.0.lock().expect("a lock");
        let answer = if answers.is_empty() { Err("the script is over".into()) } else { answers.remove(0) };
        answer.map(|body| Fetched { content_type: "text/plain".into(), body: body.into() })
    }
}

fn config(job: &str) -> ScrapeConfig {
    let text = format!(
        "global: {{scrape_interval: 15s, external_labels: {{site: eu}}}}\n\
         scrape_configs: [{{job_name: j{job}, static_configs: [{{targets: ['db:1']}}]}}]"
    );
    ScrapeConfig::parse(&text, Path::new("")).expect("a valid configuration")
}

fn start(config: ScrapeConfig, script: &[Result<&'static str, String>]) -> (Scraper, mpsc::UnboundedReceiver<Bytes>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let deps = Deps {
        sink: Arc::new(Recorder(sender)),
        fetch: Arc::new(Script(Mutex::new(script.to_vec()))),
        clock: Arc::new(PausedClock(Instant::now())),
        metrics: ScrapeMetrics::default(),
    };
    (Scraper::start_with(config, deps), receiver)
}

/// The samples of a request: the series without the labels that all have, its value, `stale` for a marker; and the time.
fn samples(request: &Bytes) -> (BTreeMap<String, String>, i64) {
    let request = v2::Request::decode(&request[..]).expect("a request");
    let text = |symbol: u32| request.symbols[symbol as usize].as_str();
    let (mut samples, mut time) = (BTreeMap::new(), 0);
    for series in &request.timeseries {
        let labels: Vec<(&str, &str)> =
            series.labels_refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect();
        assert!(labels.is_sorted() && labels.contains(&("site", "eu")) && labels.contains(&("job", "j")), "{labels:?}");
        let shown: Vec<String> = labels
            .iter()
            .filter(|(name, _)| !["site", "job", "instance"].contains(name))
            .map(|(name, value)| if *name == "__name__" { (*value).to_owned() } else { format!("{name}={value}") })
            .collect();
        let sample = series.samples[0];
        let is_stale = sample.value.to_bits() == 0x7ff0_0000_0000_0002;
        let value = if is_stale { "stale".to_owned() } else { sample.value.to_string() };
        samples.insert(shown.join(" "), value);
        time = time.max(sample.timestamp);
    }
    samples.remove("scrape_duration_seconds");
    (samples, time)
}

fn expected(samples: &[(&str, &str)], report: [&str; 4]) -> BTreeMap<String, String> {
    let names = ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
    let pairs = samples.iter().copied().chain(names.into_iter().zip(report));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn series_that_vanish_fail_or_stop_are_marked_stale() {
    let script = [
        Ok("a 1\nb{job=\"own\"} 2\nb{job=\"own\"} 3\n"),
        Ok("a 2\n"),
        Err("down".to_owned()),
        Ok("a 3\n"),
        Ok("a x\n"),
    ];
    let (scraper, mut requests) = start(config(""), &script);
    let mut times = Vec::new();
    for wanted in [
        expected(&[("a", "1"), ("b exported_job=own", "2")], ["1", "3", "3", "2"]),
        expected(&[("a", "2"), ("b exported_job=own", "stale")], ["1", "1", "1", "0"]),
        expected(&[("a", "stale")], ["0", "0", "0", "0"]),
        expected(&[("a", "3")], ["1", "1", "1", "1"]),
        expected(&[("a", "stale")], ["0", "0", "0", "0"]),
    ] {
        let (found, time) = samples(&requests.recv().await.expect("a request"));
        assert_eq!(found, wanted);
        times.push(time);
    }
    assert!(times.is_sorted_by(|left, right| right - left == 15_000), "{times:?}");
    let status = scraper.targets().remove(0);
    assert_eq!(status.last_error.as_deref(), Some("line 1: \"x\" is not a number"));
    scraper.stop().await;
    let (found, _) = samples(&requests.recv().await.expect("the last request"));
    assert_eq!(found, expected(&[], ["stale"; 4]));
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_is_the_same_and_stops_what_is_gone() {
    let (scraper, mut requests) = start(config(""), &[Ok("a 1\n"), Ok("a 2\n")]);
    assert!(requests.recv().await.is_some());
    scraper.reload(config(""));
    let (found, _) = samples(&requests.recv().await.expect("a request"));
    assert_eq!(found["a"], "2", "not marked stale in between");
    scraper.reload(ScrapeConfig::parse("scrape_configs: []", Path::new("")).expect("valid"));
    let (found, _) = samples(&requests.recv().await.expect("a request"));
    assert_eq!(found, expected(&[("a", "stale")], ["stale"; 4]));
    scraper.stop().await;
}

#[tokio::test(start_paused = true)]
async fn limits_and_metric_relabelling() {
    let rules =
        ", sample_limit: 1, metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: 'go_.*'}]";
    let (scraper, mut requests) = start(config(rules), &[Ok("go_x 1\na 1\n"), Ok("a 1\nb 2\n")]);
    let (found, _) = samples(&requests.recv().await.expect("a request"));
    assert_eq!(found, expected(&[("a", "1")], ["1", "2", "1", "1"]));
    let (found, _) = samples(&requests.recv().await.expect("a request"));
    assert_eq!((found["up"].as_str(), found["a"].as_str(), found.contains_key("b")), ("0", "stale", false));
    scraper.stop().await;
}

#[test]
fn schedules_are_aligned_and_spread() {
    let (interval, shift) = (Duration::from_secs(10), Duration::from_millis(1500));
    for (now, wanted) in
        [(0, 1_500_000_000), (1_500_000_000, 11_500_000_000), (-1, 1_500_000_000), (11_499_999_999, 11_500_000_000)]
    {
        assert_eq!(next(UnixNanos(now), interval, shift), UnixNanos(wanted), "{now}");
    }
    assert_eq!(next(UnixNanos(5), interval, Duration::ZERO), UnixNanos(10_000_000_000));
    let offsets: std::collections::BTreeSet<Duration> =
        (0..20).map(|port| offset(&target(&format!("a:{port}")))).collect();
    assert!(offsets.len() > 15 && offsets.iter().all(|offset| *offset < Duration::from_secs(15)));
}

fn target(address: &str) -> Target {
    Target::build(&config("").jobs[0], &Group::default(), address).expect("valid").expect("kept")
}

/// A target of flesh: answers by path.
async fn serve() -> String {
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    let gzip = |text: &str| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    let (small, bomb) = (gzip("a 1\n"), gzip(&" ".repeat(1 << 20)));
    let typed = |body: Vec<u8>| ([("content-type", "text/plain; version=0.0.4"), ("content-encoding", "gzip")], body);
    let router = axum::Router::new()
        .route("/gzip", get(move || async move { typed(small) }))
        .route("/bomb", get(move || async move { typed(bomb) }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [("location", "/gzip")]) }))
        .route(
            "/headers",
            get(|headers: HeaderMap| async move {
                let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap_or("")).to_owned();
                format!("{}\n{}", header("authorization"), header("accept"))
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn fetch(address: &str, path: &str, job: &str) -> Result<Fetched, String> {
    let job = config(&format!(", metrics_path: {path}{job}")).jobs.remove(0);
    let target = Target::build(&job, &Group::default(), address)?.expect("kept");
    HttpFetch::new().expect("a client").fetch(&job, &target).await
}

#[tokio::test]
async fn a_real_server_is_fetched() {
    let address = serve().await;
    assert_eq!(fetch(&address, "/gzip", "").await.expect("an answer").body, "a 1\n");
    assert_eq!(fetch(&address, "/moved", "").await.expect("an answer").body, "a 1\n");
    for (path, job, wanted) in [
        ("/moved", ", follow_redirects: false", "302"),
        ("/nowhere", "", "404"),
        ("/bomb", ", body_size_limit: 64KB", "body_size_limit"),
    ] {
        let error = fetch(&address, path, job).await.expect_err(path);
        assert!(error.contains(wanted), "{path}: {error}");
    }
    let auth = ", scrape_native_histograms: true, basic_auth: {username: u, password: p}";
    let headers = fetch(&address, "/headers", auth).await.expect("an answer").body;
    assert!(headers.starts_with(b"Basic dTpw\napplication/vnd.google.protobuf"), "{headers:?}");
    let headers = fetch(&address, "/headers", ", authorization: {credentials: t}").await.expect("an answer").body;
    assert!(headers.starts_with(b"Bearer t\napplication/openmetrics-text"), "{headers:?}");
}

/// Ends the process with the test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn prometheus_itself_is_scraped_when_installed() {
    if !Path::new("/usr/bin/prometheus").exists() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yml"), "").expect("written");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let child = std::process::Command::new("/usr/bin/prometheus")
        .args(["--config.file=p.yml", "--storage.tsdb.path=data", &format!("--web.listen-address={port}")])
        .current_dir(folder.path())
        .stderr(std::process::Stdio::null())
        .spawn();
    let _child = Child(child.expect("prometheus starts"));
    for job in ["", ", scrape_native_histograms: true"] {
        let mut answer = Err(String::new());
        for _ in 0..200 {
            answer = fetch(&port.to_string(), "/metrics", job).await;
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let answer = answer.expect("prometheus answers within 20 s");
        let format = parse::Format::of(&answer.content_type).expect("a known format");
        let exposition = parse::parse(&answer.body, format, true).expect("a valid exposition");
        assert!(exposition.samples.len() > 200, "{} samples", exposition.samples.len());
        let job = config("").jobs.remove(0);
        let mut cache = cache::SeriesCache::default();
        let resolved = cache.resolve(&exposition, &job, &Labels::default()).expect("valid labels");
        assert_eq!(resolved.kept.len(), exposition.samples.len());
    }
}
