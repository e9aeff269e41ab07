//! HTTP/1.1 without TLS: slow, silent, many and greedy peers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{GET_CLOSE, Server, closed, eventually, exchange, is_closed, seconds};

const KEEP_ALIVE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Reads one answer whose body has the length that its head says.
async fn answer(stream: &mut tokio::net::TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        text.push(stream.read_u8().await.expect("an answer"));
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(text).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).await.expect("a body");
    head
}

#[tokio::test]
async fn requests_know_where_they_come_from() {
    let server = Server::start(|listener| listener).await;
    let answer = exchange(server.connect().await, GET_CLOSE).await;
    assert!(answer.contains("address: 127.0.0.1:") && answer.contains("is_tls: false, certificate: None"), "{answer}");
    assert_eq!(server.metric(r#"trivium_listener_accepted_connections_total{listener="test"}"#), 1);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_of_use_is_closed() {
    let server = Server::start(|listener| listener).await;
    for said in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n", "G", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
        let mut stream = server.connect().await;
        stream.write_all(said.as_bytes()).await.expect("it is sent");
        let ((), took) = seconds(closed(&mut stream)).await;
        assert_eq!(took, 75, "{said:?}");
    }
    // With one letter, hyper may be the first to notice.
    let silent = server.metric(r#"trivium_listener_closed_connections_total{listener="test",reason="silent"}"#);
    assert!((3..=4).contains(&silent), "{silent}");
    server.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_does_not_buy_time() {
    let server = Server::start(|listener| listener).await;
    let (mut read, mut write) = server.connect().await.into_split();
    let drip = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'x')) {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    });
    let ((), took) = seconds(closed(&mut read)).await;
    assert!((75..=78).contains(&took), "{took} s");
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_time_and_kept_before() {
    let server = Server::start(|listener| listener).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(KEEP_ALIVE).await.expect("it is sent");
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_secs(70)).await;
    }
    let ((), took) = seconds(closed(&mut stream)).await;
    assert_eq!(took, 5);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_costs_its_connection() {
    let server = Server::start(|listener| listener).await;
    for head in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let mut stream = server.connect().await;
        let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n1\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut said = String::new();
        let (_, took) = seconds(stream.read_to_string(&mut said)).await;
        assert!(took <= 61, "{took} s");
        assert!(said.starts_with("HTTP/1.1 4"), "{said}");
    }
}

/// A refusal is read by whoever sends its whole request first, and does not wait for one that is never ended.
#[tokio::test]
async fn who_is_refused_early_reads_the_refusal() {
    let server = Server::start(|listener| listener).await;
    let body = vec![b'x'; 64 << 20];
    for end in ["close", "keep-alive"] {
        let mut stream = server.connect().await;
        let head =
            format!("POST /refuse HTTP/1.1\r\nhost: a\r\nconnection: {end}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        stream.write_all(&body).await.expect("all of it is taken");
        let said = answer(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_refused_request_is_not_waited_for_long() {
    let server = Server::start(|listener| listener).await;
    for (head, most) in [("content-length: 1000000", 6), ("content-length: 1000000\r\nexpect: 100-continue", 1)] {
        let mut stream = server.connect().await;
        let request = format!("POST /refuse HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut said = String::new();
        let (_, took) = seconds(stream.read_to_string(&mut said)).await;
        assert!(said.starts_with("HTTP/1.1 413"), "{said}");
        assert!(took <= most, "{took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_what_was_asked_for_is_closed() {
    let server = Server::start(|listener| listener).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is sent");
    let open = r#"trivium_listener_connections{listener="test"}"#;
    eventually("the connection", || server.metric(open) == 1).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(server.metric(open), 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.metric(open), 0);
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn above_the_number_of_connections_the_idlest_goes() {
    let server = Server::start(|listener| listener.with_connections_max(4)).await;
    let mut working = server.connect().await;
    working.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("it is sent");
    server.arrived.notified().await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(server.connect().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The oldest of them works now and then.
    idle[0].write_all(KEEP_ALIVE).await.expect("it is sent");
    answer(&mut idle[0]).await;
    for round in 0..2 {
        server.assert_alive().await;
        let reason = r#"trivium_listener_closed_connections_total{listener="test",reason="idle"}"#;
        eventually("an eviction", || server.metric(reason) == round + 1).await;
        // Its place is free again, and the next is idle in its stead.
        idle.push(server.connect().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_closed(&mut idle[1]).await, "the one that never asked for anything");
    assert!(!is_closed(&mut idle[0]).await, "it asked last");
    server.go_on.notify_one();
    let mut said = String::new();
    working.read_to_string(&mut said).await.expect("an answer");
    assert!(said.ends_with("done"), "a request in work is never given up: {said}");
}

#[tokio::test(start_paused = true)]
async fn twenty_times_as_many_idle_connections_as_there_may_be_keep_nobody_out() {
    let server = Server::start(|listener| listener.with_connections_max(50)).await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(server.connect().await);
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        server.assert_alive().await;
    }
    assert!(server.metric(r#"trivium_listener_connections{listener="test"}"#) <= 50 + 256);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_work_end_and_waits_for_nobody_else() {
    let server = Server::start(|listener| listener).await;
    let mut idle = server.connect().await;
    let mut silent = server.connect().await;
    idle.write_all(KEEP_ALIVE).await.expect("it is sent");
    answer(&mut idle).await;
    let mut working = server.connect().await;
    working.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is sent");
    server.arrived.notified().await;
    server.stop.cancel();
    closed(&mut idle).await;
    closed(&mut silent).await;
    server.go_on.notify_one();
    let mut said = String::new();
    working.read_to_string(&mut said).await.expect("an answer");
    assert!(said.ends_with("done"), "{said}");
    let (ended, took) = seconds(server.serving).await;
    assert!(ended.is_ok_and(|result| result.is_ok()) && took == 0, "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let server = Server::start(|listener| listener).await;
    let mut working = server.connect().await;
    working.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is sent");
    server.arrived.notified().await;
    server.stop.cancel();
    let (_, took) = seconds(server.serving).await;
    assert_eq!(took, 8);
    assert!(is_closed(&mut working).await);
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let server = Server::start(|listener| listener).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for request in [long, many] {
        let answer = exchange(server.connect().await, &request).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{}", &answer[..answer.len().min(100)]);
    }
    let server = Server::start(|listener| listener.with_http1_buffer_bytes(16 * 1024)).await;
    for (bytes, status) in [(10_000, 200), (20_000, 431)] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "x".repeat(bytes));
        let answer = exchange(server.connect().await, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{}", &answer[..answer.len().min(100)]);
    }
    for malformed in ["\u{16}\u{3}\u{1}", "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost : a\r\n\r\n"] {
        let answer = exchange(server.connect().await, malformed).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}
