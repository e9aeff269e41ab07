//! HTTP/2 frames that no honest client sends, written by hand.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, closed, seconds};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

/// `GET /` with the authority `a`, from HPACK's static table.
const GET: &[u8] = &[0x82, 0x84, 0x86, 0x41, 1, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

async fn connect(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(PREFACE).await.expect("it is sent");
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("it is sent");
    stream
}

/// Reads frames to the end of the connection; the code of the last GOAWAY.
async fn goaway(stream: &mut TcpStream) -> Option<u32> {
    let mut code = None;
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        if head[3] == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().expect("four bytes")));
        }
    }
    code
}

/// Sends as long as the server takes it, while what it says is read.
async fn flood(stream: TcpStream, frames: impl Iterator<Item = Vec<u8>>) -> Option<u32> {
    let (read, mut write) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut stream = read;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.ok();
        said
    });
    for frame in frames {
        if write.write_all(&frame).await.is_err() {
            break;
        }
    }
    let said = reading.await.expect("it ends");
    let mut rest = &said[..];
    let mut code = None;
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let kind = rest[3];
        let Some(payload) = rest.get(9..9 + length) else { break };
        if kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().expect("four bytes")));
        }
        rest = &rest[9 + length..];
    }
    code
}

#[tokio::test]
async fn rapid_reset_ends_the_connection_and_no_other() {
    let server = Server::start(|listener| listener).await;
    let mut other = connect(&server).await;
    let frames = (0..100_000_u32).map(|index| {
        let stream = 2 * index + 1;
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, GET), reset].concat()
    });
    let code = flood(connect(&server).await, frames).await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    other.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, GET)).await.expect("it is still open");
    let mut head = [0; 9];
    while head[3] != HEADERS {
        other.read_exact(&mut head).await.expect("it is answered");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        other.read_exact(&mut payload).await.expect("it is answered");
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let server = Server::start(|listener| listener).await;
    // Literal headers that are not indexed, none of which is ever complete enough to be answered.
    let literal = [&[0, 1, b'x', 0x7f, 0x81, 0x7d][..], &[b'y'; 16_000]].concat();
    let first = frame(HEADERS, END_STREAM, 1, GET);
    let more = std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, &literal));
    let code = flood(connect(&server).await, std::iter::once(first).chain(more)).await;
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    server.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_never_ended_is_given_up() {
    let server = Server::start(|listener| listener).await;
    let mut stream = connect(&server).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).await.expect("it is sent");
    let ((), took) = seconds(closed(&mut stream)).await;
    assert!(took <= 60, "a ping cannot be answered within a head, so {took} s are too many");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_without_a_word_is_noticed() {
    let server = Server::start(|listener| listener).await;
    let mut stream = connect(&server).await;
    let (_, took) = seconds(goaway(&mut stream)).await;
    assert!((30..=80).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn pings_and_settings_whose_answers_nobody_reads_are_not_hoarded() {
    let server = Server::start(|listener| listener).await;
    for kind in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut stream = connect(&server).await;
        let batch = kind.repeat(1_000);
        // What fits into the sockets' buffers, and no more: the server stops reading when it cannot answer.
        let mut bytes = 0;
        while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), stream.write(&batch)).await {
            match written {
                Ok(written) => bytes += written,
                Err(_) => break,
            }
            assert!(bytes < 256 << 20, "the server takes any number of frames without answering");
        }
        server.assert_alive().await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(server.metric(r#"trivium_listener_connections{listener="test"}"#), 0);
}
