//! Client certificates that their CA has taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use trivium_listen::ClientCertificates::{NotAsked, Required};
use trivium_listen::{ListenMetrics, Reloaded, Tls};
use trivium_model::{Clock, ManualClock, SystemClock, UnixNanos};

use crate::support::{
    Authority, Folder, GET_CLOSE, Identity, Server, ask, client, client_of, closed, eventually, metric,
};

const NEXT_UPDATE: &str = "trivium_tls_crl_next_update_seconds";
const IN_2090: i64 = 3_786_912_000;
const IN_2098: i64 = 4_039_372_800;

/// A server's CA, a CA of clients, and a folder with both and a list that revokes some numbers.
fn door(revoked: &[u64]) -> (Authority, Authority, Folder) {
    let (ca, clients) = (Authority::new("ca"), Authority::new("clients"));
    let folder = Folder::new(&ca.issue("server.example"), Some(&clients));
    folder.write("crl.pem", &clients.revoke(revoked, [2021, 2098]));
    (ca, clients, folder)
}

fn is_served(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_revoked_client_is_not_connected_and_others_are() {
    let (ca, clients, folder) = door(&[7, 9]);
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (number, is_let_in) in [(6, true), (7, false), (8, true), (9, false)] {
            let identity = clients.issue_numbered("collector.example", number);
            let answer = ask(&server, &client_of(&ca, Some(&identity), &[], &[version])).await;
            assert_eq!(is_served(&answer), is_let_in, "{number}: {answer}");
        }
    }
    let failed = r#"trivium_listener_closed_connections_total{listener="test",reason="handshake_failed"}"#;
    eventually("four refusals", || server.metric(failed) == 4).await;
    // The same certificate, at a door that does not ask.
    let server = Server::start_tls(&tls, NotAsked).await;
    let answer = ask(&server, &client(&ca, Some(&clients.issue_numbered("collector.example", 7)), &[])).await;
    assert!(is_served(&answer), "{answer}");
}

#[tokio::test]
async fn a_newly_revoked_client_is_refused_after_a_reload_and_its_open_connection_ends() {
    let (ca, clients, folder) = door(&[]);
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    let [stays, goes] = [7, 8].map(|number| client(&ca, Some(&clients.issue_numbered("a.example", number)), &[]));
    assert!(is_served(&ask(&server, &goes).await));
    let mut staying = server.connect_tls(&stays).await.expect("a handshake");
    let mut going = server.connect_tls(&goes).await.expect("a handshake");
    let open = r#"trivium_listener_connections{listener="test"}"#;
    eventually("two connections", || server.metric(open) == 2).await;
    folder.write("crl.pem", &clients.revoke(&[8], [2022, 2098]));
    assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Changed);
    closed(&mut going).await;
    let distrusted = r#"trivium_listener_closed_connections_total{listener="test",reason="distrusted"}"#;
    assert_eq!(server.metric(distrusted), 1);
    assert_eq!(ask(&server, &goes).await, "", "nor can it resume its session");
    staying.write_all(GET_CLOSE.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    staying.read_to_string(&mut answer).await.expect("an answer");
    assert!(is_served(&answer), "{answer}");
    assert!(is_served(&ask(&server, &stays).await));
}

#[tokio::test]
async fn a_request_in_work_of_a_client_that_is_revoked_is_answered() {
    let (ca, clients, folder) = door(&[]);
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    let config = client(&ca, Some(&clients.issue_numbered("a.example", 7)), &[]);
    let mut working = server.connect_tls(&config).await.expect("a handshake");
    working.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is sent");
    server.arrived.notified().await;
    folder.write("crl.pem", &clients.revoke(&[7], [2022, 2098]));
    tls.reload().await.expect("the files are good");
    let distrusted = r#"trivium_listener_closed_connections_total{listener="test",reason="distrusted"}"#;
    eventually("it is told to go", || server.metric(distrusted) == 1).await;
    server.go_on.notify_one();
    let mut answer = String::new();
    working.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_client_of_a_ca_that_was_taken_away_loses_its_connection_without_any_list() {
    let (ca, first, second) = (Authority::new("ca"), Authority::new("first"), Authority::new("second"));
    let folder = Folder::new(&ca.issue("server.example"), Some(&first));
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    let mut open = server.connect_tls(&client(&ca, Some(&first.issue("a.example")), &[])).await.expect("a handshake");
    let connections = r#"trivium_listener_connections{listener="test"}"#;
    eventually("a connection", || server.metric(connections) == 1).await;
    folder.write("ca.pem", &second.certificate.pem());
    tls.reload().await.expect("the files are good");
    closed(&mut open).await;
}

#[tokio::test]
async fn a_list_that_cannot_be_used_leaves_the_one_before() {
    let (ca, clients, folder) = door(&[7]);
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    let impostor = Authority::new("clients");
    let good = std::fs::read_to_string(folder.path("crl.pem")).expect("it is there");
    let (half, stale) = (&good[..good.len() / 2], clients.revoke(&[], [2020, 2098]));
    let changes = [
        ("has no revocation list in PEM", String::new()),
        ("has no revocation list in PEM", clients.certificate.pem()),
        ("PEM", half.to_owned()),
        ("cannot be used", "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n".to_owned()),
        ("that its issuer CN=clients did not sign", impostor.revoke(&[], [2022, 2098])),
        ("that its issuer CN=clients did not sign", good.clone() + &impostor.revoke(&[], [2022, 2098])),
        ("of CN=clients that is older than the one in use", stale),
        ("has more than 256", good.repeat(257)),
        ("is larger than", "x".repeat((16 << 20) + 1)),
    ];
    let [in_order, revoked] = [6, 7].map(|number| client(&ca, Some(&clients.issue_numbered("a.example", number)), &[]));
    for (expected, text) in changes {
        folder.write("crl.pem", &text);
        let error = tls.reload().await.expect_err(expected).to_string();
        assert!(error.contains(expected) && error.contains("crl.pem"), "{error}");
        assert!(is_served(&ask(&server, &in_order).await), "{expected}");
        assert_eq!(ask(&server, &revoked).await, "", "{expected}");
    }
    std::fs::remove_file(folder.path("crl.pem")).expect("it is there");
    let error = tls.reload().await.expect_err("the file is missing").to_string();
    assert!(error.starts_with("cannot read") && error.contains("crl.pem"), "{error}");
    folder.write("crl.pem", &good);
    assert_eq!(tls.reload().await.expect("all is as it was"), Reloaded::Unchanged);
}

#[tokio::test]
async fn a_start_with_a_list_that_cannot_be_used_fails() {
    let (_, _, folder) = door(&[]);
    folder.write("crl.pem", &Authority::new("clients").revoke(&[], [2022, 2098]));
    let loading = Tls::load(folder.files(), Arc::new(SystemClock), ListenMetrics::default());
    let error = loading.await.expect_err("nobody could be let in").to_string();
    assert!(error.contains("crl.pem has a revocation list that its issuer CN=clients did not sign"), "{error}");
}

#[tokio::test]
async fn a_ca_without_a_list_vouches_for_nobody() {
    let (ca, clients, folder) = door(&[7]);
    let other = Authority::new("other");
    folder.write("ca.pem", &(clients.certificate.pem() + &other.certificate.pem()));
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    let [one, two] = [&clients, &other].map(|by| client(&ca, Some(&by.issue_numbered("a.example", 6)), &[]));
    assert!(is_served(&ask(&server, &one).await));
    assert_eq!(ask(&server, &two).await, "");
    // Lists of several CAs are in one file; a number is revoked for its issuer only.
    folder.write("crl.pem", &(clients.revoke(&[6], [2022, 2098]) + &other.revoke(&[7], [2022, 2090])));
    assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Changed);
    assert_eq!(ask(&server, &one).await, "");
    assert!(is_served(&ask(&server, &two).await));
}

/// A new list may be appended to the file or put before the old one: the new one decides either way, at a start and after a
/// reload.
#[tokio::test]
async fn of_two_lists_of_a_ca_in_one_file_the_newer_one_decides() {
    let (ca, clients, folder) = door(&[]);
    let other = Authority::new("other");
    folder.write("ca.pem", &(clients.certificate.pem() + &other.certificate.pem()));
    let (old, new) = (clients.revoke(&[6], [2021, 2098]), clients.revoke(&[6, 7], [2022, 2098]));
    let others = other.revoke(&[8], [2023, 2098]);
    // Made in the same second: the one that was appended.
    let same = [clients.revoke(&[6], [2022, 2098]), new.clone()].concat();
    let served = async |tls: &Arc<Tls>| {
        let server = Server::start_tls(tls, Required).await;
        let mut numbers = Vec::new();
        for number in [6, 7, 8] {
            let config = client(&ca, Some(&clients.issue_numbered("a.example", number)), &[]);
            if is_served(&ask(&server, &config).await) {
                numbers.push(number);
            }
        }
        numbers
    };
    for (case, text) in [
        ("appended", [&*old, &*new].concat()),
        ("put before", [&*new, &*old].concat()),
        ("with another CA's between", [&*old, &*others, &*new].concat()),
        ("of the same second", same + &others),
    ] {
        folder.write("crl.pem", &(old.clone() + &others));
        let tls = folder.load().await;
        assert_eq!(served(&tls).await, [7, 8], "{case}: the old list alone");
        folder.write("crl.pem", &text);
        assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Changed, "{case}");
        assert_eq!(served(&tls).await, [8], "{case}: after a reload");
        assert_eq!(served(&folder.load().await).await, [8], "{case}: at a start");
    }
}

/// A client may bring the certificate of a CA below the one that is trusted.
#[tokio::test]
async fn a_ca_between_can_be_revoked_too() {
    let (ca, root, folder) = door(&[]);
    let between = root.intermediate("between", 40);
    let identity = between.issue_numbered("a.example", 7);
    let chain = identity.certificate.clone() + &between.certificate.pem();
    let config = client(&ca, Some(&Identity { certificate: chain, key: identity.key }), &[]);
    let tls = folder.load().await;
    let server = Server::start_tls(&tls, Required).await;
    let cases = [
        ("no list of the CA between", false, root.revoke(&[7], [2022, 2098])),
        ("neither is revoked", true, root.revoke(&[7], [2022, 2098]) + &between.revoke(&[8], [2022, 2098])),
        ("the client is", false, root.revoke(&[], [2022, 2098]) + &between.revoke(&[7], [2023, 2098])),
        ("the CA between is", false, root.revoke(&[40], [2023, 2098]) + &between.revoke(&[], [2024, 2098])),
    ];
    for (case, is_let_in, lists) in cases {
        folder.write("crl.pem", &lists);
        assert_eq!(tls.reload().await.expect("the files are good"), Reloaded::Changed);
        assert_eq!(is_served(&ask(&server, &config).await), is_let_in, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_out_of_date_is_told_and_keeps_out_whom_it_names() {
    let (ca, clients, folder) = door(&[7]);
    folder.write("crl.pem", &clients.revoke(&[7], [2021, 2090]));
    let (metrics, stop) = (ListenMetrics::default(), CancellationToken::new());
    let clock = Arc::new(ManualClock::new(UnixNanos((IN_2090 - 60) * 1_000_000_000)));
    let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let tls = Tls::load(folder.files(), shared, metrics.clone()).await.expect("the files are good");
    assert_eq!(metric(&metrics, NEXT_UPDATE), IN_2090);
    let watching = {
        let (tls, stop) = (Arc::clone(&tls), stop.clone());
        tokio::spawn(async move { tls.watch(Duration::from_secs(10), stop.cancelled()).await })
    };
    clock.advance(Duration::from_secs(3_600));
    let server = Server::start_tls(&tls, Required).await;
    let [in_order, revoked] = [6, 7].map(|number| client(&ca, Some(&clients.issue_numbered("a.example", number)), &[]));
    assert!(is_served(&ask(&server, &in_order).await), "a forgotten renewal does not end all telemetry");
    assert_eq!(ask(&server, &revoked).await, "");
    // The next list is taken by itself.
    folder.write("crl.pem", &clients.revoke(&[6, 7], [2090, 2098]));
    tokio::time::sleep(Duration::from_secs(11)).await;
    eventually("a reload", || metric(&metrics, "trivium_tls_reloads_total{result=\"ok\"}") == 1).await;
    assert_eq!(metric(&metrics, NEXT_UPDATE), IN_2098);
    assert_eq!(ask(&server, &in_order).await, "");
    stop.cancel();
    watching.await.expect("it ends");
}
