//! T: what goes wrong before a message is read. Most of the family is in ingest/tests/otlp_conformance; here is what only a
//! whole server shows: the same through its real listeners, and what it costs in memory.

use crate::build::{field, good_log, gzip, gzip_bomb};
use crate::case::{Case, Door, Expect, Signal, case, text};
use crate::reply::framed;

const LOGS: Signal = Signal::Logs;
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const MIB: usize = 1 << 20;

fn request(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("{}\r\nhost: localhost\r\n\r\n", head.replace('\n', "\r\n")).into_bytes(), body.to_vec()].concat()
}

fn raw(family: &'static str, head: &'static str, body: &'static [u8], expect: Expect) -> Case {
    case(family, head, Door::RawHttp, move |_| request(head, body), expect)
}

/// A message of so many bytes that holds nothing: an unknown field.
fn padding(bytes: usize) -> Vec<u8> {
    let padding = field(100, &vec![0; bytes - 10]);
    assert!(padding.len().abs_diff(bytes) < 10);
    padding
}

/// A zstd frame that says it holds 2^40 bytes, with the window that goes with it.
fn vast_zstd() -> Vec<u8> {
    // Magic number; descriptor with a content size of eight bytes and a window; 2^41 bytes of window; a raw block of one.
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0b1100_0000, 0xf8];
    [&head[..], &(1_u64 << 40).to_le_bytes(), &[0x09, 0, 0, 0x0a]].concat()
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = http();
    cases.extend(bodies());
    cases.extend(grpc());
    cases
}

fn http() -> Vec<Case> {
    let json = "content-type: application/json";
    let too_long: &'static str = "POST /v1/logs HTTP/1.1\ncontent-type: application/json\ncontent-length: 67108865";
    vec![
        case("T1", "an empty body", Door::Otlp(LOGS), |_| Vec::new(), Expect::Stored(0)),
        raw("T2", "GET /v1/traces HTTP/1.1", b"", Expect::Refused(405, 0, "allow: POST")),
        raw(
            "T3",
            "POST /v1/logs HTTP/1.1\ncontent-type: text/plain\ncontent-length: 2",
            b"{}",
            Expect::Refused(415, 0, ""),
        ),
        case("T4", "protobuf called JSON", Door::Json(LOGS), good_log, Expect::Refused(400, 0, "JSON")),
        raw("T5", too_long, b"", Expect::Refused(413, 0, "")),
        case(
            "T13",
            "100,000 bytes of headers",
            Door::RawHttp,
            |_| request(&format!("GET / HTTP/1.1\nx: {}", "a".repeat(100_000)), b""),
            Expect::Refused(431, 0, ""),
        ),
        case(
            "T13",
            "1,000 headers to the API",
            Door::RawApi,
            |_| {
                let headers: String = (0..1_000).map(|number| format!("\nx{number}: a")).collect();
                request(&format!("GET /healthz HTTP/1.1{headers}"), b"")
            },
            Expect::Refused(431, 0, ""),
        ),
        case(
            "T14",
            "two content lengths",
            Door::RawHttp,
            |_| request("POST /v1/logs HTTP/1.1\ncontent-length: 1\ncontent-length: 2", b"{}"),
            Expect::Refused(400, 0, ""),
        ),
        case(
            "T14",
            "a length and chunks to the API",
            Door::RawApi,
            |_| {
                let head = "POST /api/v1/sql HTTP/1.1\ncontent-type: application/json\ncontent-length: 7\ntransfer-encoding: chunked";
                request(head, b"2\r\n{}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n")
            },
            Expect::Refused(400, 0, ""),
        ),
        case(
            "T20",
            "100-continue for too much",
            Door::RawHttp,
            move |_| {
                request(&format!("POST /v1/logs HTTP/1.1\n{json}\nexpect: 100-continue\ncontent-length: 67108865"), b"")
            },
            Expect::Refused(413, 0, ""),
        ),
        text("T19", Door::Get, "//api/v1/sql", Expect::Answer(&[404, 405], "")),
        text("T19", Door::Get, "/API/V1/logs", Expect::Answer(&[404], "")),
    ]
}

fn bodies() -> Vec<Case> {
    let bad = || Expect::Refused(400, 0, "");
    let large = || Expect::Refused(413, 0, "");
    vec![
        case("T5", "64 MiB and 1 KiB", Door::Otlp(LOGS), |_| padding(64 * MIB + 1024), Expect::Refused(413, 8, "")),
        case("T6", "10 GiB of zeroes in 10 MiB", Door::Coded(LOGS, "gzip"), |_| gzip_bomb(10 * 1024), large()),
        case(
            "T7",
            "gzip in gzip",
            Door::Coded(LOGS, "gzip, gzip"),
            |service| gzip(&gzip(&good_log(service))),
            Expect::Refused(415, 0, ""),
        ),
        case("T8", "zstd that promises 2^40 bytes", Door::Coded(LOGS, "zstd"), |_| vast_zstd(), bad()),
        case(
            "T8",
            "zstd of 1 GiB",
            Door::Coded(LOGS, "zstd"),
            |_| zstd::bulk::compress(&vec![0; MIB], 1).expect("memory takes all").repeat(1024),
            large(),
        ),
        case("T9", "brotli", Door::Coded(LOGS, "br"), good_log, Expect::Refused(415, 0, "")),
        case("T9", "snappy", Door::Coded(LOGS, "snappy"), good_log, Expect::Refused(415, 0, "")),
        case(
            "T10",
            "a gzip that ends early",
            Door::Coded(LOGS, "gzip"),
            |service| gzip(&good_log(service))[..20].to_vec(),
            bad(),
        ),
        case(
            "T10",
            "rubbish behind the gzip",
            Door::Coded(LOGS, "gzip"),
            |service| [gzip(&good_log(service)), b"rubbish".to_vec()].concat(),
            bad(),
        ),
    ]
}

fn grpc() -> Vec<Case> {
    let declared = |_: &str| vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3];
    vec![
        case("T16", "a frame of 4 GiB", Door::Grpc(EXPORT, &[]), declared, Expect::Refused(200, 8, "")),
        case(
            "T17",
            "a compressed flag without a compression",
            Door::Grpc(EXPORT, &[]),
            |service| framed(true, &gzip(&good_log(service))).to_vec(),
            Expect::Refused(200, 13, ""),
        ),
        case(
            "T17",
            "brotli",
            Door::Grpc(EXPORT, &[("grpc-encoding", "br")]),
            |service| framed(true, &good_log(service)).to_vec(),
            Expect::Refused(200, 12, "gzip"),
        ),
        case(
            "T19",
            "a method that is not there",
            Door::Grpc("/opentelemetry.proto.collector.logs.v1.LogsService/Import", &[]),
            |service| framed(false, &good_log(service)).to_vec(),
            Expect::Refused(200, 12, ""),
        ),
        case(
            "T19",
            "two slashes",
            Door::Grpc("//opentelemetry.proto.collector.logs.v1.LogsService/Export", &[]),
            |service| framed(false, &good_log(service)).to_vec(),
            Expect::Refused(200, 12, ""),
        ),
        case(
            "T19",
            "another case",
            Door::Grpc("/OpenTelemetry.proto.collector.logs.v1.LogsService/Export", &[]),
            |service| framed(false, &good_log(service)).to_vec(),
            Expect::Refused(200, 12, ""),
        ),
        case(
            "T23",
            "the same record twice in a request",
            Door::Otlp(LOGS),
            |service| crate::build::logs(service, vec![crate::build::log("twin"); 2]),
            Expect::Stored(2),
        ),
    ]
}
