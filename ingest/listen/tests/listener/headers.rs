//! The headers of every answer, good or bad, with TLS and without.

use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use trivium_listen::ClientCertificates::NotAsked;

use crate::support::{Authority, Folder, Server, client, exchange};

const HSTS: &str = "strict-transport-security";

/// What is asked, and the status of its answer.
const REQUESTS: [(&str, &str, u16); 6] = [
    ("GET", "/", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/%00/../..%2f", 404),
    ("DELETE", "/", 405),
    ("POST", "/refuse", 413),
    ("OPTIONS", "*", 404),
];

fn request(method: &str, path: &str, host: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
}

/// The value of a header that is there once, or not at all.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let mut values = head.lines().filter_map(|line| line.split_once(": ").filter(|(found, _)| *found == name));
    let value = values.next().map(|(_, value)| value);
    assert!(values.next().is_none(), "two of {name}: {head}");
    value
}

fn assert_hygiene(answer: &str, what: &str) {
    assert_eq!(header(answer, "x-content-type-options"), Some("nosniff"), "{what}: {answer}");
    assert_eq!(header(answer, "referrer-policy"), Some("no-referrer"), "{what}");
    assert_eq!(header(answer, "cache-control"), Some("no-store"), "{what}");
    assert_eq!(header(answer, "cross-origin-resource-policy"), Some("same-origin"), "{what}");
    let policy = header(answer, "content-security-policy");
    assert_eq!(policy, Some("default-src 'none'; frame-ancestors 'none'"), "{what}");
    assert_eq!(header(answer, "server"), None, "{what}");
}

#[tokio::test]
async fn every_answer_without_tls_has_the_headers_and_asks_for_no_tls() {
    let server = Server::start(|listener| listener).await;
    for (method, path, status) in REQUESTS {
        let answer = exchange(server.connect().await, &request(method, path, "trivium.example")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answer}");
        assert_hygiene(&answer, path);
        assert_eq!(header(&answer, HSTS), None, "never over plain HTTP: {answer}");
    }
}

#[tokio::test]
async fn every_answer_over_tls_has_browsers_stay_with_it_but_at_addresses_and_localhost() {
    let ca = Authority::new("ca");
    let tls = Folder::new(&ca.issue("server.example"), None).load().await;
    let server = Server::start_tls(&tls, NotAsked).await;
    let ask = async |request: &str| {
        let stream = server.connect_tls(&client(&ca, None, &["http/1.1"])).await.expect("a handshake");
        exchange(stream, request).await
    };
    for (method, path, status) in REQUESTS {
        let answer = ask(&request(method, path, "trivium.example:4319")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answer}");
        assert_hygiene(&answer, path);
        assert_eq!(header(&answer, HSTS), Some("max-age=31536000"), "{method} {path}");
    }
    for host in ["127.0.0.1:4319", "[::1]:4319", "localhost", "LOCALHOST.:1", "a.localhost", "127.1", "", "%"] {
        let answer = ask(&request("GET", "/", host)).await;
        assert_eq!(header(&answer, HSTS), None, "{host}: {answer}");
    }
}

#[tokio::test]
async fn over_http2_the_name_is_the_authority() {
    let ca = Authority::new("ca");
    let tls = Folder::new(&ca.issue("server.example"), None).load().await;
    let server = Server::start_tls(&tls, NotAsked).await;
    let stream = server.connect_tls(&client(&ca, None, &["h2"])).await.expect("a handshake");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    for (uri, expected) in [
        ("https://server.example:4319/", Some("max-age=31536000")),
        ("https://server.example/nowhere", Some("max-age=31536000")),
        ("https://127.0.0.1:4319/", None),
        ("https://localhost/", None),
    ] {
        let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let told = answer.headers().get(HSTS).map(|value| value.to_str().expect("text"));
        assert_eq!(told, expected, "{uri}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{uri}");
    }
}

/// Whoever speaks plain HTTP to a port of TLS has no encrypted answer to believe either.
#[tokio::test]
async fn the_answer_to_plain_http_on_a_port_of_tls_asks_for_nothing() {
    let ca = Authority::new("ca");
    let tls = Folder::new(&ca.issue("server.example"), None).load().await;
    let server = Server::start_tls(&tls, NotAsked).await;
    let answer = exchange(server.connect().await, &request("GET", "/", "trivium.example")).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(header(&answer, HSTS), None);
    assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    assert!(header(&answer, "content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
}
