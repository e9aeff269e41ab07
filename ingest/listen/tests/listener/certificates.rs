//! Certificates that change while the server runs, for better or worse.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use trivium_listen::ClientCertificates::{NotAsked, Required};
use trivium_listen::{ListenMetrics, Reloaded, Tls};
use trivium_model::{ManualClock, SystemClock, UnixNanos};

use crate::support::{Authority, Folder, GET_CLOSE, Server, client, eventually, metric};

/// The first second of a year, roughly.
fn year(year: i64) -> UnixNanos {
    UnixNanos((year - 1970) * 31_556_952 * 1_000_000_000)
}

#[tokio::test]
async fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = Folder::new(&old.issue("server.example"), None);
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, NotAsked).await;
    let mut open = server.connect_tls(&client(&old, None, &[])).await.expect("a handshake");
    assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Unchanged);
    folder.put(&new.issue("server.example"));
    assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Changed);
    assert!(server.connect_tls(&client(&old, None, &[])).await.is_err());
    assert!(server.connect_tls(&client(&new, None, &[])).await.is_ok());
    open.write_all(GET_CLOSE.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_certificate_as_it_is() {
    let ca = Authority::new("ca");
    let (good, other) = (ca.issue("server.example"), ca.issue("server.example"));
    let folder = Folder::new(&good, Some(&ca));
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, NotAsked).await;
    let expired = ca.issue_between("server.example", 2001, 2002);
    let huge = "x".repeat(2 << 20);
    let changes: [(&str, &[(&str, &str)]); 8] = [
        ("cannot be used together", &[("cert.pem", &other.certificate)]),
        ("cannot be used together", &[("key.pem", &other.key)]),
        ("has no certificate in PEM", &[("cert.pem", "")]),
        ("has no private key in PEM", &[("key.pem", &good.certificate)]),
        ("PEM", &[("cert.pem", "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n")]),
        ("is larger than", &[("key.pem", &huge)]),
        ("is valid from", &[("cert.pem", &expired.certificate), ("key.pem", &expired.key)]),
        ("has no certificate in PEM", &[("ca.pem", "nothing")]),
    ];
    for (expected, files) in changes {
        for (name, text) in files {
            folder.write(name, text);
        }
        let error = tls.reload().await.expect_err(expected).to_string();
        assert!(error.contains(expected) && error.contains(".pem"), "{error}");
        assert!(server.connect_tls(&client(&ca, None, &[])).await.is_ok(), "{expected}");
        folder.put(&good);
        folder.write("ca.pem", &ca.certificate.pem());
    }
    std::fs::remove_file(folder.path("key.pem")).expect("it is there");
    let error = tls.reload().await.expect_err("a file is missing").to_string();
    assert!(error.starts_with("cannot read") && error.contains("key.pem"), "{error}");
    folder.put(&good);
    assert_eq!(tls.reload().await.expect("all is as it was"), Reloaded::Unchanged);
}

/// What is read with other files is used together with them, or not at all.
#[tokio::test]
async fn what_is_read_is_used_when_it_is_applied_and_takes_nothing_newer_back() {
    let [old, read, newer] = ["old", "read", "newer"].map(Authority::new);
    let folder = Folder::new(&old.issue("server.example"), None);
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, NotAsked).await;
    let is_met = async |ca: &Authority| server.connect_tls(&client(ca, None, &[])).await.is_ok();
    folder.put(&read.issue("server.example"));
    let fresh = tls.read().await.expect("the files are good").expect("they changed");
    assert!(is_met(&old).await && !is_met(&read).await, "nothing was applied yet");
    tls.apply(fresh);
    assert!(is_met(&read).await && !is_met(&old).await);
    assert!(tls.read().await.expect("the files are good").is_none());
    // Between reading and applying somebody else exchanges the files, as the watch does.
    folder.put(&old.issue("server.example"));
    let outdated = tls.read().await.expect("the files are good").expect("they changed");
    folder.put(&newer.issue("server.example"));
    assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Changed);
    tls.apply(outdated);
    assert!(is_met(&newer).await && !is_met(&old).await);
}

#[tokio::test]
async fn a_start_fails_with_the_file_and_the_reason() {
    let ca = Authority::new("ca");
    let folder = Folder::new(&ca.issue("server.example"), None);
    folder.write("key.pem", &ca.issue("server.example").key);
    let loading = Tls::load(folder.files(), Arc::new(SystemClock), ListenMetrics::default());
    let error = loading.await.expect_err("they do not match").to_string();
    assert!(error.contains("cert.pem") && error.contains("key.pem"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn watching_takes_changes_and_tells_a_problem_once() {
    let ca = Authority::new("ca");
    let folder = Folder::new(&ca.issue("server.example"), None);
    let (metrics, stop) = (ListenMetrics::default(), CancellationToken::new());
    let clock = Arc::new(ManualClock::new(year(2030)));
    let tls = Tls::load(folder.files(), Arc::<ManualClock>::clone(&clock), metrics.clone())
        .await
        .expect("the files are good");
    let until = "trivium_tls_certificate_not_after_seconds";
    assert_eq!(metric(&metrics, until), 4_070_908_800);
    let watching = {
        let (tls, stop) = (Arc::clone(&tls), stop.clone());
        tokio::spawn(async move { tls.watch(Duration::from_secs(10), stop.cancelled()).await })
    };
    let count = |result: &str| metric(&metrics, &format!("trivium_tls_reloads_total{{result=\"{result}\"}}"));
    folder.put(&ca.issue_between("server.example", 2029, 2031));
    tokio::time::sleep(Duration::from_secs(11)).await;
    eventually("a reload", || count("ok") == 1).await;
    assert_eq!(metric(&metrics, until), 1_924_992_000);
    // Not yet valid: told once, and taken when its time has come although the file does not change any more.
    folder.put(&ca.issue_between("server.example", 2032, 2033));
    tokio::time::sleep(Duration::from_secs(100)).await;
    eventually("a problem", || count("error") == 1).await;
    clock.advance(Duration::from_secs(2 * 31_556_952 + 1_000_000));
    tokio::time::sleep(Duration::from_secs(11)).await;
    eventually("a reload", || count("ok") == 2).await;
    assert_eq!(count("error"), 1);
    stop.cancel();
    watching.await.expect("it ends");
}

#[tokio::test]
async fn a_session_of_a_ca_that_was_taken_away_cannot_be_resumed() {
    let (ca, first, second) = (Authority::new("ca"), Authority::new("first"), Authority::new("second"));
    let folder = Folder::new(&ca.issue("server.example"), Some(&first));
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    let config = client(&ca, Some(&first.issue("collector.example")), &[]);
    let ask = async || {
        let mut stream = server.connect_tls(&config).await.ok()?;
        stream.write_all(GET_CLOSE.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let is_resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        Some((String::from_utf8_lossy(&answer).into_owned(), is_resumed))
    };
    let (answer, is_resumed) = ask().await.expect("an answer");
    assert!(answer.contains("CN=collector.example") && !is_resumed, "{answer}");
    let (answer, is_resumed) = ask().await.expect("an answer");
    assert!(answer.contains("CN=collector.example") && is_resumed, "a resumed session knows its client: {answer}");
    folder.write("ca.pem", &second.certificate.pem());
    assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Changed);
    let answer = ask().await.map(|(answer, _)| answer).unwrap_or_default();
    assert_eq!(answer, "");
}
