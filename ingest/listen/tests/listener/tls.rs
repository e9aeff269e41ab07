//! TLS: protocols, client certificates, and handshakes that go wrong.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trivium_listen::ClientCertificates::{NotAsked, Required};

use crate::support::{
    Authority, Folder, GET_CLOSE, Identity, Server, ask, client, client_of, closed, eventually, exchange, is_closed,
    seconds,
};

#[tokio::test]
async fn http1_and_http2_are_spoken_in_both_versions_of_tls() {
    let ca = Authority::new("ca");
    let tls = Folder::new(&ca.issue("server.example"), None).load().await;
    let server = Server::start_tls(&tls, NotAsked).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client_of(&ca, None, &["http/1.1"], &[version]);
        let answer = exchange(server.connect_tls(&config).await.expect("a handshake"), GET_CLOSE).await;
        assert!(answer.contains("is_tls: true, certificate: None"), "{answer}");
        let config = client_of(&ca, None, &["h2", "http/1.1"], &[version]);
        let stream = server.connect_tls(&config).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = http::Request::get("https://server.example/").body(Empty::<bytes::Bytes>::new());
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("is_tls: true"));
    }
    // Without a word about protocols, the first bytes tell.
    let answer = exchange(server.connect_tls(&client(&ca, None, &[])).await.expect("a handshake"), GET_CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn only_certificates_of_the_ca_open_a_door_that_requires_them() {
    let (ca, client_ca, stranger) = (Authority::new("ca"), Authority::new("clients"), Authority::new("clients"));
    let folder = Folder::new(&ca.issue("server.example"), Some(&client_ca));
    let server = Server::start_tls(&folder.load().await, Required).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let asked = async |identity: Option<Identity>| {
            ask(&server, &client_of(&ca, identity.as_ref(), &["http/1.1"], &[version])).await
        };
        let answer = asked(Some(client_ca.issue("collector.example"))).await;
        assert!(answer.contains("subject: \"CN=collector.example\""), "{answer}");
        assert!(answer.contains("common_name: Some(\"collector.example\"), dns_names: [\"collector.example\"]"));
        assert_eq!(asked(None).await, "", "no certificate");
        assert_eq!(asked(Some(stranger.issue("collector.example"))).await, "", "a CA of the same name");
        assert_eq!(asked(Some(ca.issue("collector.example"))).await, "", "the server's CA");
        assert_eq!(asked(Some(client_ca.issue_between("old.example", 2001, 2002))).await, "", "expired");
        assert_eq!(asked(Some(client_ca.issue_between("new.example", 2090, 2091))).await, "", "not yet valid");
    }
    let failed = r#"trivium_listener_closed_connections_total{listener="test",reason="handshake_failed"}"#;
    eventually("ten refusals", || server.metric(failed) == 10).await;
    // The same certificate, at a door that does not ask.
    let server = Server::start_tls(&folder.load().await, NotAsked).await;
    let answer = ask(&server, &client(&ca, Some(&client_ca.issue("collector.example")), &[])).await;
    assert!(answer.contains("certificate: None"), "{answer}");
}

#[tokio::test]
async fn a_door_that_requires_certificates_without_a_ca_for_them_stays_shut() {
    let ca = Authority::new("ca");
    let server = Server::start_tls(&Folder::new(&ca.issue("server.example"), None).load().await, Required).await;
    assert_eq!(ask(&server, &client(&ca, None, &[])).await, "");
}

#[tokio::test]
async fn plain_http_gets_an_answer_that_people_understand() {
    let ca = Authority::new("ca");
    let server = Server::start_tls(&Folder::new(&ca.issue("server.example"), None).load().await, NotAsked).await;
    let large = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n{}", "x".repeat(60_000));
    for request in [GET_CLOSE, &large, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"] {
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the answer is not cut off by a reset");
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("https://"), "{answer}");
    }
    let counted = r#"trivium_listener_closed_connections_total{listener="test",reason="plain_http"}"#;
    eventually("three refusals", || server.metric(counted) == 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_given_up() {
    let ca = Authority::new("ca");
    let server = Server::start_tls(&Folder::new(&ca.issue("server.example"), None).load().await, NotAsked).await;
    // Nothing, the head of a record, a record that is announced, and one that is no handshake.
    for (said, expected) in [(&[][..], 10), (&[22], 10), (&[22, 3, 1, 2, 0], 10), (&[22, 3, 1, 0, 4, 99, 0, 0, 0], 0)] {
        let mut stream = server.connect().await;
        stream.write_all(said).await.expect("it is sent");
        let ((), took) = seconds(closed(&mut stream)).await;
        assert_eq!(took, expected, "{said:?}");
    }
    // A plain request of which only the first byte comes.
    let mut stream = server.connect().await;
    stream.write_all(b"G").await.expect("it is sent");
    let ((), took) = seconds(closed(&mut stream)).await;
    assert!(took <= 10, "{took} s");
    let answer = ask(&server, &client(&ca, None, &[])).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn slow_handshakes_keep_nobody_out() {
    let ca = Authority::new("ca");
    let server = Server::start_tls(&Folder::new(&ca.issue("server.example"), None).load().await, NotAsked).await;
    let mut slow = Vec::new();
    for _ in 0..600 {
        let mut stream = server.connect().await;
        stream.write_all(&[22]).await.expect("it is sent");
        slow.push(stream);
        tokio::task::yield_now().await;
    }
    let (answer, took) = seconds(ask(&server, &client(&ca, None, &[]))).await;
    assert!(answer.starts_with("HTTP/1.1 200") && took == 0, "{answer} after {took} s");
    let evicted = r#"trivium_listener_closed_connections_total{listener="test",reason="slow_handshake"}"#;
    assert_eq!(server.metric(evicted), 600 - 512 + 1);
    assert!(is_closed(&mut slow[0]).await && !is_closed(&mut slow[599]).await);
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_plain_connections_hold_within_tls() {
    let ca = Authority::new("ca");
    let tls = Folder::new(&ca.issue("server.example"), None).load().await;
    let server = Server::start(|listener| listener.with_tls(tls, NotAsked).with_connections_max(3)).await;
    let config = client(&ca, None, &[]);
    for said in ["", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nx: "] {
        let mut stream = server.connect_tls(&config).await.expect("a handshake");
        stream.write_all(said.as_bytes()).await.expect("it is sent");
        let ((), took) = seconds(closed(&mut stream)).await;
        assert_eq!(took, 75, "{said:?}");
    }
    let mut stream = server.connect_tls(&config).await.expect("a handshake");
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is sent");
    let open = r#"trivium_listener_connections{listener="test"}"#;
    // TLS has a buffer of its own, which takes a little more after the first time.
    tokio::time::sleep(Duration::from_secs(122)).await;
    assert_eq!(server.metric(open), 0, "nobody reads the answer");
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(server.connect_tls(&config).await.expect("a handshake"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = ask(&server, &config).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(is_closed(&mut idle[0]).await && !is_closed(&mut idle[2]).await);
}
