//! What operators do, with the real binary: back up under load and restore, repair, look into the quarantine.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::recovery::{ANOTHER_DAY, RECORDS, check, parts, send, verify};
use crate::support::{BINARY, Server};

fn trivium(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Four clients export without a pause, into parts so small that they are merged all the time, while three backups are made.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_with_everything_that_was_acknowledged_before_it() {
    let (folder, backup) = (tempdir().expect("a temporary folder"), tempdir().expect("a temporary folder"));
    let server = Server::start(folder.path(), &["--buffer-mib", "1", "--seal-after", "1s"]);
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let acknowledged = Arc::new(std::sync::Mutex::new(HashSet::new()));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (server.client().clone(), server.otlp_http.clone());
            let (next, stop, acknowledged) = (Arc::clone(&next), Arc::clone(&stop), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                // A load, not a flood: what is restored and read back three times should stay small.
                let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
                while !stop.load(Ordering::SeqCst) {
                    pace.tick().await;
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if send(&client, &url, number).await {
                        acknowledged.lock().expect("shared").insert(number);
                    }
                }
            })
        })
        .collect();
    for round in 0..3 {
        while acknowledged.lock().expect("shared").len() < 200 * (round + 1) {
            server.flush().await;
        }
        let before: Vec<u64> = acknowledged.lock().expect("shared").iter().copied().collect();
        let made = trivium(&["backup", text(backup.path()), "--json", "--data-dir", text(folder.path())]);
        assert!(made.status.success(), "{}", said(&made));
        let report: Value = serde_json::from_slice(&made.stdout).expect("JSON");
        assert_eq!((&report["damaged"], &report["wal_damage"]), (&json!([]), &json!([])));
        let parent = tempdir().expect("a temporary folder");
        let restored = parent.path().join("data");
        let output = trivium(&["restore", text(backup.path()), "--data-dir", text(&restored)]);
        assert!(output.status.success(), "{}", said(&output));
        let twin = Server::start(&restored, &[]);
        check(&twin, &before, &format!("backup {round}")).await;
        twin.stop();
        verify(&restored);
        let again = trivium(&["restore", text(backup.path()), "--data-dir", text(&restored)]);
        assert!(!again.status.success() && said(&again).contains("is not empty"), "{}", said(&again));
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("a client");
    }
    let refused = trivium(&["backup", "gs://bucket/trivium", "--data-dir", text(folder.path())]);
    assert!(!refused.status.success() && said(&refused).contains("backups go to folders"), "{}", said(&refused));
}

/// SQLite's journal is in the catalog then, so that whoever copies the one file of a stopped server has all of it.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_orderly_stop_the_catalog_is_one_file() {
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    assert!(send(server.client(), &server.otlp_http, 1).await);
    server.flush().await;
    let journal = folder.path().join("catalog.sqlite-wal");
    assert!(journal.exists(), "it runs");
    server.stop();
    assert!(!journal.exists(), "it was closed");
    verify(folder.path());
}

/// Damage of every kind that repair knows, its exit statuses, and the way back from quarantine, offline and on a server.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_put_right_and_brought_back() {
    let folder = tempdir().expect("a temporary folder");
    let data = text(folder.path());
    let server = Server::start(folder.path(), &[]);
    for number in [1, ANOTHER_DAY] {
        assert!(send(server.client(), &server.otlp_http, number).await);
        server.flush().await;
    }
    let busy = trivium(&["verify", "--repair", "--data-dir", data]);
    assert_eq!(busy.status.code(), Some(1), "{}", said(&busy));
    assert!(said(&busy).contains("in use by another process"), "{}", said(&busy));
    server.stop();
    let sound = trivium(&["verify", "--deep", "--repair", "--data-dir", data]);
    assert_eq!(sound.status.code(), Some(0), "{}", said(&sound));
    let folders = parts(folder.path());
    let flip = |file: &str, part: usize| {
        let path = folders[part].join(file);
        let mut bytes = std::fs::read(&path).expect("readable");
        let middle = bytes.len() / 8;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("written");
    };
    flip("text.idx", 0);
    flip("columns.parquet", 1);
    let found = trivium(&["verify", "--data-dir", data]);
    assert_eq!(found.status.code(), Some(2), "{}", said(&found));
    let repaired = trivium(&["verify", "--repair", "--json", "--data-dir", data]);
    assert_eq!(repaired.status.code(), Some(3), "{}", said(&repaired));
    let report: Value = serde_json::from_slice(&repaired.stdout).expect("JSON");
    assert_eq!((report["actions"].as_array().map(Vec::len), &report["left"]), (Some(2), &json!([])), "{report}");
    assert_eq!(trivium(&["verify", "--deep", "--data-dir", data]).status.code(), Some(0));

    let list = trivium(&["quarantine", "list", "--json", "--data-dir", data]);
    let items: Vec<Value> = serde_json::from_slice(&list.stdout).expect("JSON");
    let part = items.iter().find(|item| item["kind"] == "part").expect("the part");
    assert_eq!(part["rows"], RECORDS, "{part}");
    let name = part["name"].as_str().expect("a name");
    let shown = trivium(&["quarantine", "show", name, "--data-dir", data]);
    assert!(shown.status.success() && said(&shown).contains("rows can be decoded"), "{}", said(&shown));
    let refused = trivium(&["quarantine", "restore", name, "--data-dir", data]);
    assert!(!refused.status.success() && said(&refused).contains("--salvage"), "{}", said(&refused));

    // The operator found an intact copy of the file elsewhere, here by undoing the damage.
    let columns = folder.path().join("quarantine").join(name).join("columns.parquet");
    let mut bytes = std::fs::read(&columns).expect("readable");
    let middle = bytes.len() / 8;
    bytes[middle] ^= 1;
    std::fs::write(&columns, bytes).expect("written");
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.number("SELECT count(*) FROM logs").await, RECORDS);
    let rows = server.sql("SELECT kind, signal, rows, reason FROM quarantine WHERE kind = 'part'").await;
    assert_eq!((&rows[0][0], &rows[0][1]), (&json!("part"), &json!("logs")), "{rows:?}");
    let listed = server.get("/api/v1/admin/quarantine").await;
    assert!(listed["items"].as_array().is_some_and(|items| items.len() == 3), "{listed}");
    let url = format!("{}/api/v1/admin/quarantine/restore", server.http);
    for (name, status) in [("nothing", 404), ("../wal", 404), (name, 200), (name, 404)] {
        let answer = server.client().post(&url).json(&json!({ "name": name })).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{name}: {}", answer.text().await.unwrap_or_default());
    }
    check(&server, &[1, ANOTHER_DAY], "after the way back").await;
    server.kill();
    let server = Server::start(folder.path(), &[]);
    check(&server, &[1, ANOTHER_DAY], "after a kill").await;
    server.stop();
    verify(folder.path());
}

/// Kills without a pause: the server says so, serves what it has and takes no more for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_is_told() {
    let folder = tempdir().expect("a temporary folder");
    let flags = ["--crash-loop-starts", "2"];
    for number in 0..2 {
        let server = Server::start(folder.path(), &flags);
        assert!(send(server.client(), &server.otlp_http, number).await);
        server.kill();
    }
    let server = Server::start(folder.path(), &flags);
    assert!(!send(server.client(), &server.otlp_http, 2).await, "it is quiet");
    check(&server, &[0, 1], "what is stored is served").await;
    let ready = server.client().get(format!("{}/readyz", server.http)).send().await.expect("an answer");
    assert_eq!(ready.status().as_u16(), 503);
    let problem = ready.text().await.expect("a body");
    assert!(problem.contains("did not end in order"), "{problem}");
    let metrics = server.client().get(format!("{}/metrics", server.http)).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("a body");
    for line in [
        "trivium_storage_crash_loop 1",
        "trivium_storage_unclean_starts 2",
        "trivium_storage_previous_shutdown_unclean 1",
        "trivium_storage_wal_recovered_records 100",
        "trivium_storage_wal_quarantined_bytes 0",
        "trivium_storage_quarantine_items 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("trivium_storage_unpublished_age_seconds{signal=\"logs\"}"), "{metrics}");
}
