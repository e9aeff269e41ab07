//! What one request after the other does not show: storms of requests, clients that leave, queries that are many, and
//! whether ingest goes on meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::build::{gauge, good_log, metrics, point};
use crate::reply::{Reply, http1};
use crate::server::{Server, binary};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// A query is cancelled within a second; the rest is what the next one takes in a build that is not optimised, on a machine
/// that others use too. A query that is not cancelled runs for 30 s.
const CANCELLED_WITHIN: Duration = Duration::from_secs(4);

/// Statements that would run for hours.
const ENDLESS: [&str; 3] = [
    "SELECT sum(a.value * b.value * c.value) FROM metrics a CROSS JOIN metrics b CROSS JOIN metrics c",
    "SELECT sum(length(a.attributes || b.attributes)) FROM metrics a CROSS JOIN metrics b CROSS JOIN metrics c",
    "SELECT count(*) FROM metrics a JOIN metrics b ON a.value <> b.value JOIN metrics c ON b.value <> c.value",
];

async fn post_logs(server: &Server, body: Vec<u8>) -> Reply {
    http1(&server.http, Method::POST, "/v1/logs", &[PROTOBUF], body.into()).await
}

async fn count(server: &Server, service: &str) -> String {
    let rows = server.rows_of(&format!("SELECT count(*) FROM logs WHERE service_name = '{service}'")).await;
    rows[0][0].as_str().unwrap_or_default().to_owned()
}

/// A server with 3,000 data points, enough for a cross join to be endless.
async fn with_points(binary: &Path, flags: &[&str]) -> Server {
    let server = Server::start(&binary.to_path_buf(), flags);
    let points = (0..3_000).map(|number| {
        let time_unix_nano = crate::build::NOW + number;
        trivium_proto::otlp::metrics::v1::NumberDataPoint { time_unix_nano, ..point(number as f64) }
    });
    let body = metrics("pressure", vec![gauge("m", points.collect())]);
    let reply = http1(&server.http, Method::POST, "/v1/metrics", &[PROTOBUF], body.into()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    server
}

/// T22: a storm of retries stores one request once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_five_times_at_once_is_stored_once() {
    let Some(binary) = binary() else { return };
    let server = Arc::new(Server::start(&binary, &[]));
    let mut storm = JoinSet::new();
    for _ in 0..5 {
        let server = Arc::clone(&server);
        storm.spawn(async move { post_logs(&server, good_log("storm")).await.status });
    }
    assert_eq!(storm.join_all().await, [200; 5]);
    assert_eq!(count(&server, "storm").await, "1");
}

/// T12: a client that leaves before the answer may send again; the record is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_before_the_answer_may_send_again() {
    let Some(binary) = binary() else { return };
    let server = Server::start(&binary, &[]);
    let body = good_log("gone");
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&server.http).await.expect("listening");
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("sent");
    }
    assert_eq!(post_logs(&server, body).await.status, 200);
    assert_eq!(count(&server, "gone").await, "1");
}

/// Sends a query and leaves after a while without having read the answer.
async fn ask_and_leave(server: &Server, request: &str) {
    let mut stream = TcpStream::connect(&server.api).await.expect("listening");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut nothing = [0; 1];
    let waiting = tokio::io::AsyncReadExt::read(&mut stream, &mut nothing);
    let answered = tokio::time::timeout(Duration::from_millis(700), waiting).await;
    assert!(answered.is_err(), "this query was to be endless: {request}");
}

fn sql_request(sql: &str) -> String {
    let body = json!({ "sql": sql }).to_string();
    let length = body.len();
    format!(
        "POST /api/v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// D11: with room for one query, the next one is answered as soon as the client of an endless one is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_when_its_client_is_gone() {
    let Some(binary) = binary() else { return };
    let server = with_points(&binary, &["--query-concurrency", "1"]).await;
    // The median of an hour, at each of four million seconds.
    let promql = "quantile_over_time(0.5,vector(time())[1h:1s])[50d:1s]";
    let promql = format!("GET /prometheus/api/v1/query?query=max_over_time({promql})&time=1700000000 HTTP/1.1");
    let requests = ENDLESS.map(sql_request).into_iter().chain([format!("{promql}\r\nhost: localhost\r\n\r\n")]);
    for request in requests {
        ask_and_leave(&server, &request).await;
        let gone = Instant::now();
        let reply = server.sql("SELECT 1").await;
        let took = gone.elapsed();
        println!("{took:?} after the client had left: {request}");
        assert_eq!(reply.status, 200, "{request}: {}", reply.text());
        assert!(took < CANCELLED_WITHIN, "{took:?} after the client had left the next query was answered: {request}");
    }
}

/// Sends a record every few milliseconds until it is told to stop; how long the answers took.
async fn keep_sending(server: Arc<Server>, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        let reply = post_logs(&server, good_log(&format!("steady-{}", took.len()))).await;
        assert_eq!(reply.status, 200, "ingest was refused while queries ran: {}", reply.text());
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took
}

/// D11, Overload: 200 endless queries at once. Each has an answer, refusals say when to come back, and whatever is sent
/// meanwhile is taken and found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_endless_queries_do_not_stop_ingest() {
    let Some(binary) = binary() else { return };
    let flags = ["--query-concurrency", "4", "--query-memory-mib", "128", "--query-timeout", "3s"];
    let server = Arc::new(with_points(&binary, &flags).await);
    let stop = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(keep_sending(Arc::clone(&server), Arc::clone(&stop)));
    let mut queries = JoinSet::new();
    for number in 0..200 {
        let server = Arc::clone(&server);
        queries.spawn(async move { server.sql(ENDLESS[number % ENDLESS.len()]).await });
    }
    let replies = queries.join_all().await;
    let of = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    println!("{} ran out of time, {} out of memory, {} were told to come back", of(504), of(422), of(429));
    assert_eq!(of(504) + of(422) + of(429), 200, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    assert!(of(429) > 0, "none of 200 was told to come back");
    assert!(replies.iter().all(|reply| reply.status != 429 || !reply.header("retry-after").is_empty()));
    stop.store(true, Ordering::Release);
    let mut took = sending.await.expect("every record was taken");
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{} records meanwhile: p50 {p50:?}, p99 {p99:?}", took.len());
    assert!(p99 < Duration::from_secs(2), "ingest was starved: p50 {p50:?}, p99 {p99:?}");
    let rows = server.rows_of("SELECT count(*) FROM logs WHERE service_name LIKE 'steady-%'").await;
    assert_eq!(rows, json!([[took.len().to_string()]]));
}

/// A family of small requests that are cheap to send and dear to answer, in a row on one connection each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_leave_room_for_others() {
    let Some(binary) = binary() else { return };
    let server = Server::start(&binary, &[]);
    let mut idle = Vec::new();
    for _ in 0..500 {
        for listener in [&server.api, &server.http, &server.grpc] {
            idle.push(TcpStream::connect(listener).await.expect("listening"));
        }
    }
    assert_eq!(post_logs(&server, good_log("among-idle")).await.status, 200);
    assert_eq!(count(&server, "among-idle").await, "1");
    let health = http1(&server.api, Method::GET, "/healthz", &[], Bytes::new()).await;
    assert_eq!(health.status, 200);
}

/// Words of which statements and searches are made by chance; the query languages that need the whole engine are fuzzed here.
const SQL_WORDS: [&str; 64] = [
    "SELECT",
    "FROM",
    "logs",
    "spans",
    "metrics",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "JOIN",
    "ON",
    "USING",
    "UNION ALL",
    "WITH",
    "AS",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "IN",
    "NOT",
    "NULL",
    "IS",
    "BETWEEN",
    "AND",
    "OR",
    "LIKE",
    "~",
    "(",
    ")",
    "[",
    "]",
    ",",
    "*",
    ".",
    "=",
    "<",
    "||",
    "::",
    "1",
    "-1",
    "9223372036854775807",
    "1e308",
    "'a'",
    "''",
    "\"time\"",
    "body",
    "attributes",
    "['k']",
    "count",
    "sum",
    "max",
    "OVER",
    "PARTITION BY",
    "INTERVAL '1 day'",
    "now",
    "EXISTS",
    "DISTINCT",
    "HAVING",
    "LATERAL",
    "unnest",
    "VALUES",
    "EXPLAIN",
];

const SEARCH_WORDS: [&str; 34] = [
    "error",
    "AND",
    "OR",
    "NOT",
    "-",
    "+",
    "!",
    "(",
    ")",
    "\"",
    "/",
    "\\",
    "*",
    "?",
    ":",
    ">",
    "<=",
    "[",
    "]",
    "TO",
    "service",
    "level",
    "trace_id",
    "attributes.k",
    "body",
    "duration",
    "5ms",
    "1e400",
    "00",
    "~",
    "^",
    "\u{1f600}",
    "\0",
    "status:error",
];

/// The same texts in every run: the number of a text decides it (SplitMix64).
fn chance(beginning: &str, words: &[&str], number: u64) -> String {
    let mut state = number;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ (mixed >> 27)) >> 33).unwrap_or(0)
    };
    let length = 1 + next() % 12;
    let mut text = if next() % 4 > 0 { beginning.to_owned() } else { String::new() };
    for _ in 0..length {
        if next() % 4 > 0 {
            text.push(' ');
        }
        text.push_str(words[next() % words.len()]);
    }
    text
}

/// Statements and searches by chance are answered or refused, and none is a defect of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_by_chance_are_answered_or_refused() {
    let Some(binary) = binary() else { return };
    let mut server = with_points(&binary, &["--query-timeout", "2s"]).await;
    assert_eq!(post_logs(&server, good_log("chance")).await.status, 200);
    let mut answered = [0_u32; 3];
    for number in 0..400 {
        let statement = chance("SELECT count(*) FROM logs WHERE body = 'good'", &SQL_WORDS, number);
        let search = chance("good", &SEARCH_WORDS, number);
        let parameter: String = form_urlencoded::byte_serialize(search.as_bytes()).collect();
        let replies = [
            (server.sql(&statement).await, &statement),
            (server.get(&format!("/api/v1/logs?query={parameter}&facets=service&histogram=true")).await, &search),
            (server.get(&format!("/api/v1/traces?query={parameter}")).await, &search),
        ];
        for ((reply, text), answered) in replies.iter().zip(&mut answered) {
            let expected = matches!(reply.status, 200 | 400 | 403 | 404 | 422 | 504);
            assert!(expected, "{text:?} is answered with {} {}", reply.status, reply.text());
            *answered += u32::from(reply.status == 200);
        }
    }
    assert!(server.is_alive());
    println!("{answered:?} of 400 statements, log searches and trace searches had an answer");
    assert!(answered[1] > 0 && answered[2] > 0, "{answered:?}");
}
