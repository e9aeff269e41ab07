//! Many connections of one address, and what others notice of them. All of 127.0.0.0/8 is loopback: each test has as many
//! addresses as it likes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use trivium_listen::PerAddress;

use crate::support::{GET_CLOSE, Server, closed, eventually, exchange, is_closed};

const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

async fn limited(max: usize) -> Server {
    Server::start(|listener| listener.with_connections_per_address(PerAddress { max, with_loopback: true })).await
}

async fn connect_from(server: &Server, address: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((address, 0))).expect("an address of this machine");
    socket.connect(server.address).await.expect("it listens")
}

fn count(server: &Server, reason: &str) -> i64 {
    let series = format!("trivium_listener_closed_connections_total{{listener=\"test\",reason=\"{reason}\"}}");
    server.metric(&series)
}

/// A connection with a request that waits to be let go on.
async fn working(server: &Server, address: Ipv4Addr) -> TcpStream {
    let mut stream = connect_from(server, address).await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("it is sent");
    server.arrived.notified().await;
    stream
}

#[tokio::test(start_paused = true)]
async fn an_address_with_too_many_connections_loses_its_idlest_and_no_other_does() {
    let server = limited(3).await;
    let mut other = connect_from(&server, OTHER).await;
    let mut greedy = Vec::new();
    for _ in 0..3 {
        greedy.push(connect_from(&server, GREEDY).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(count(&server, "address_idle"), 0, "as many as there may be");
    let answer = exchange(connect_from(&server, GREEDY).await, GET_CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "who comes last is served: {answer}");
    assert_eq!(count(&server, "address_idle"), 1);
    closed(&mut greedy[0]).await;
    assert!(!is_closed(&mut greedy[1]).await && !is_closed(&mut greedy[2]).await);
    assert!(!is_closed(&mut other).await, "the idlest of all is another's, and stays");
}

#[tokio::test(start_paused = true)]
async fn an_address_whose_connections_all_work_gets_no_other_and_everybody_else_does() {
    let server = limited(2).await;
    let working = [working(&server, GREEDY).await, working(&server, GREEDY).await];
    for round in 1..=20 {
        let mut refused = connect_from(&server, GREEDY).await;
        closed(&mut refused).await;
        assert_eq!(count(&server, "address_refused"), round);
        let answer = exchange(connect_from(&server, OTHER).await, GET_CLOSE).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    for stream in working {
        server.go_on.notify_one();
        let answer = exchange(stream, "").await;
        assert!(answer.ends_with("done"), "a request in work is never given up: {answer}");
    }
    let open = r#"trivium_listener_connections{listener="test"}"#;
    eventually("the end of all", || server.metric(open) == 0).await;
    let answer = exchange(connect_from(&server, GREEDY).await, GET_CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "its places are free again: {answer}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_connections_of_one_address_never_holds_more_than_it_may() {
    let server = limited(40).await;
    let mut other = connect_from(&server, OTHER).await;
    let mut idle = Vec::new();
    for _ in 0..800 {
        idle.push(connect_from(&server, GREEDY).await);
        tokio::task::yield_now().await;
    }
    let accepted = r#"trivium_listener_accepted_connections_total{listener="test"}"#;
    let turned_away = || count(&server, "address_idle") + count(&server, "address_refused");
    eventually("all have been looked at", || server.metric(accepted) + count(&server, "address_refused") == 801).await;
    eventually("who is above is gone", || server.metric(r#"trivium_listener_connections{listener="test"}"#) == 41)
        .await;
    assert_eq!(turned_away(), 760);
    assert!(!is_closed(&mut other).await);
}

#[tokio::test(start_paused = true)]
async fn loopback_and_a_limit_of_none_are_not_counted() {
    let exempt = PerAddress { max: 2, with_loopback: false };
    let unlimited = PerAddress { max: 0, with_loopback: true };
    for per_address in [exempt, unlimited] {
        let server = Server::start(|listener| listener.with_connections_per_address(per_address)).await;
        let mut streams = Vec::new();
        for _ in 0..50 {
            streams.push(connect_from(&server, GREEDY).await);
        }
        server.assert_alive().await;
        for stream in &mut streams {
            assert!(!is_closed(stream).await, "{per_address:?}");
        }
    }
}
