//! What a person types.

use std::process::Command;

use tempfile::tempdir;

use crate::support::{BINARY, Server, output_of};

fn trivium(arguments: &[&str]) -> String {
    output_of(Command::new(BINARY).args(arguments))
}

/// The demo's history, then every command that asks.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_found_by_every_command() {
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    trivium(&["demo", "--endpoint", &server.otlp_http, "--history", "10m", "--no-live"]);
    for table in ["logs", "spans", "metrics"] {
        assert!(server.number(&format!("SELECT count(*) FROM {table}")).await > 100, "{table}");
    }
    let url = server.http.as_str();
    let table =
        trivium(&["sql", "SELECT service_name, count(*) AS spans FROM spans GROUP BY 1 ORDER BY 2 DESC", "--url", url]);
    assert!(table.contains("service_name") && table.contains("checkout"), "{table}");
    let logs = trivium(&["logs", "service:payment level:error", "--limit", "5", "--url", url]);
    assert!(logs.contains("payment"), "{logs}");
    let rows = server.sql("SELECT attributes['order.id'], trace_id FROM logs WHERE attributes['order.id'] IS NOT NULL AND trace_id IS NOT NULL AND service_name = 'checkout' LIMIT 1").await;
    let (order, trace) = (rows[0][0].as_str().expect("an order"), rows[0][1].as_str().expect("a trace"));
    let story = trivium(&["find", order, "--url", url]);
    assert!(story.contains(trace), "the story of {order} must name trace {trace}:\n{story}");
    let tree = trivium(&["trace", trace, "--url", url]);
    assert!(tree.contains("checkout"), "{tree}");
    let raw = trivium(&["find", order, "--json", "--url", url]);
    assert!(serde_json::from_str::<serde_json::Value>(&raw).is_ok(), "{raw}");
}

/// What `config` prints is what `--config` reads, and flags and environment win in their order.
#[test]
fn configuration_round_trips_and_has_its_precedence() {
    let folder = tempdir().expect("a temporary folder");
    let path = folder.path().join("trivium.toml");
    std::fs::write(&path, trivium(&["config", "--retention", "7d", "--buffer-mib", "32"])).expect("written");
    let file = path.to_str().expect("a path in UTF-8");
    let from_file = trivium(&["config", "--config", file]);
    assert!(from_file.contains("retention = \"7days\"") && from_file.contains("buffer_mib = 32"), "{from_file}");
    let mut command = Command::new(BINARY);
    let command = command.env("TRIVIUM_BUFFER_MIB", "48").env("TRIVIUM_RETENTION", "2d");
    let said = output_of(command.args(["config", "--config", file, "--retention", "none"]));
    assert!(said.contains("retention = \"none\"") && said.contains("buffer_mib = 48"), "{said}");
}

/// A wrong setting is named with what would be right.
#[test]
fn a_wrong_configuration_is_explained() {
    let folder = tempdir().expect("a temporary folder");
    let path = folder.path().join("trivium.toml");
    std::fs::write(&path, "retension = \"30d\"\n").expect("written");
    let output = Command::new(BINARY).args(["config", "--config"]).arg(&path).output().expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("retension") && said.contains("retention"), "{said}");
}

/// Ready means: a write would be accepted and found.
#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_metrics_are_served() {
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        let answer = server.client().get(format!("{}{path}", server.http)).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.expect("a body");
        assert!(path != "/metrics" || text.contains("trivium_storage_wal_bytes"), "{text}");
    }
}
