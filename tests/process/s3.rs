//! Backups to S3 with the real binary, against moto, which speaks its protocol.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::recovery::{check, send, verify};
use crate::support::{BINARY, Server, python};

const SECRET: &str = "geheimer-schluessel";

struct Moto {
    child: Child,
    address: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Moto {
    /// `None` when there is no Python with the packages of tests/clients/requirements.txt.
    fn start() -> Option<Self> {
        let mut command = python()?;
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("Python runs");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| line.split_once("http://").map(|(_, rest)| format!("http://{}", rest.trim())));
        // Its log must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { child, address: address.clone().unwrap_or_default() };
        address.is_some().then_some(server)
    }

    fn trivium(&self, secret: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.env("AWS_ACCESS_KEY_ID", "kennung").env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL", &self.address).env("AWS_ALLOW_HTTP", "true");
        let output = command.args(arguments).output().expect("the binary runs");
        assert!(!said(&output).contains(SECRET), "{}", said(&output));
        output
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A client exports without a pause, into parts so small that they are merged all the time, while two backups are made; the
/// second sends only what is new.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_to_s3_under_load_is_restored_with_everything_that_was_acknowledged_before_it() {
    let Some(moto) = Moto::start() else {
        println!("skipped: no Python with moto of tests/clients/requirements.txt; `make test` makes one");
        return;
    };
    let folder = tempdir().expect("a temporary folder");
    let data = folder.path().to_str().expect("a path in UTF-8");
    let server = Server::start(folder.path(), &["--buffer-mib", "1", "--seal-after", "1s"]);
    let made = server.client().put(format!("{}/bucket", moto.address)).send().await.expect("moto answers");
    assert!(made.status().is_success(), "{made:?}");
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = {
        let (client, url) = (server.client().clone(), server.otlp_http.clone());
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
            while !stop.load(Ordering::SeqCst) {
                pace.tick().await;
                assert!(send(&client, &url, acknowledged.load(Ordering::SeqCst)).await);
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    for round in 1..=2 {
        while acknowledged.load(Ordering::SeqCst) < 150 * round {
            server.flush().await;
        }
        let before: Vec<u64> = (0..acknowledged.load(Ordering::SeqCst)).collect();
        let made = moto.trivium(SECRET, &["backup", "s3://bucket/trivium", "--json", "--data-dir", data]);
        assert!(made.status.success(), "{}", said(&made));
        let report: Value = serde_json::from_slice(&made.stdout).expect("JSON");
        assert_eq!((&report["damaged"], &report["wal_damage"]), (&json!([]), &json!([])));
        let parent = tempdir().expect("a temporary folder");
        let restored = parent.path().join("data");
        let target = restored.to_str().expect("a path in UTF-8");
        let output = moto.trivium(SECRET, &["restore", "s3://bucket/trivium", "--data-dir", target]);
        assert!(output.status.success(), "{}", said(&output));
        let twin = Server::start(&restored, &[]);
        check(&twin, &before, &format!("backup {round}")).await;
        twin.stop();
        verify(&restored);
        let again = moto.trivium(SECRET, &["restore", "s3://bucket/trivium", "--data-dir", target]);
        assert!(!again.status.success() && said(&again).contains("is not empty"), "{}", said(&again));
    }
    stop.store(true, Ordering::SeqCst);
    client.await.expect("the client");
    let checked = moto.trivium(SECRET, &["verify", "s3://bucket/trivium"]);
    assert!(checked.status.success() && said(&checked).contains("2 snapshots with"), "{}", said(&checked));
    let missing = moto.trivium(SECRET, &["backup", "s3://nothing/trivium", "--data-dir", data]);
    assert!(!missing.status.success() && said(&missing).contains("there is no such bucket"), "{}", said(&missing));
    server.stop();
}
