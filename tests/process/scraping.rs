//! `--scrape-config`: a machine without a collector is watched.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::support::{PATIENCE, Server};

async fn instant(server: &Server, query: &str) -> Value {
    let url = format!("{}/prometheus/api/v1/query", server.http);
    let answer = server.client().get(url).query(&[("query", query)]).send().await.expect("the server answers");
    let answer: Value = answer.json().await.expect("JSON");
    answer["data"]["result"].clone()
}

/// Asks until the answer is as wanted; the condition is what is waited for, not time.
async fn until(server: &Server, query: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = instant(server, query).await;
        if wanted(&result) {
            return result;
        }
        assert!(Instant::now() < deadline, "{query} answers {result} after {PATIENCE:?}");
    }
}

fn config(folder: &Path, target: &str) -> String {
    let file = folder.join("scrape.yml");
    let target = target.trim_start_matches("http://");
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n\
         - job_name: trivium\n  static_configs:\n  - targets: ['{target}']\n    labels: {{zone: eu}}\n"
    );
    std::fs::write(&file, text).expect("the file is written");
    file.to_string_lossy().into_owned()
}

/// Guarantee: a target's samples are found by PromQL with `job`, `instance` and the target's labels, `targets` tells how it
/// goes, and when the target dies `up` is 0, its series end at once, and the error is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_watched_and_its_death_is_seen() {
    let (watched, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let target = Server::start(watched.path(), &[]);
    let file = config(folder.path(), &target.http);
    let server = Server::start(&folder.path().join("data"), &["--scrape-config", &file]);

    let up = until(&server, "up", |result| result[0]["value"][1] == "1").await;
    let labels = &up[0]["metric"];
    assert_eq!((&labels["job"], &labels["zone"]), (&Value::from("trivium"), &Value::from("eu")), "{up}");
    assert_eq!(labels["instance"], target.http.trim_start_matches("http://"), "{up}");
    until(&server, "count(trivium_storage_parts)", |result| !result[0].is_null()).await;
    until(&server, "scrape_samples_scraped > 10", |result| !result[0].is_null()).await;
    let targets = server.get("/prometheus/api/v1/targets?state=active").await;
    let shown = &targets["data"]["activeTargets"][0];
    assert_eq!((&shown["health"], &shown["scrapePool"]), (&Value::from("up"), &Value::from("trivium")), "{targets}");
    let pools = server.get("/prometheus/api/v1/scrape_pools").await;
    assert_eq!(pools["data"]["scrapePools"], serde_json::json!(["trivium"]));

    target.kill();
    until(&server, "up", |result| result[0]["value"][1] == "0").await;
    until(&server, "trivium_storage_parts", |result| result[0].is_null()).await;
    let targets = server.get("/prometheus/api/v1/targets").await;
    let shown = &targets["data"]["activeTargets"][0];
    assert_eq!(shown["health"], "down", "{targets}");
    assert_ne!(shown["lastError"], "", "{targets}");
}
