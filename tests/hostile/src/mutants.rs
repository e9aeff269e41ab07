//! What nobody thought of: inputs of the table changed at random, through the doors they were written for.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trivium_mutate::{BYTES_MAX, Kind, Random, mutated};

use crate::case::Door;
use crate::cases;
use crate::driver::{FLAGS, PEAK_MIB_MAX, Said, ailments, send};
use crate::reply::{PATIENCE, shown};
use crate::server::{Server, binary};

/// How many there are in `make test`; `TRIVIUM_MUTANTS` asks for another number.
const MUTANTS: u64 = 3_000;

/// After so many it is asked whether the server is well.
const ROUND: u64 = 1_000;

/// How many are under way at once.
const WORKERS: u64 = 8;

/// A query of chance may run for ever, and a backtest begin in 1970: they are stopped soon, for the sake of the others.
const TIMEOUTS: [&str; 4] = ["--query-timeout", "2s", "--backtest-timeout", "2s"];

/// How long a server that was sent half a request may wait for the rest of it before it is told that none comes.
const REST: Duration = Duration::from_millis(100);

/// gRPC: `INTERNAL` is right for a broken frame only, `UNKNOWN` never.
const INTERNAL: i32 = 13;
const UNKNOWN: i32 = 2;

/// A door with the inputs that the table has for it.
struct Opened {
    door: Door,
    inputs: Vec<Vec<u8>>,
}

/// All doors, with inputs that are not larger than a mutant.
fn doors() -> Vec<Opened> {
    let mut doors: Vec<Opened> = Vec::new();
    for case in cases::all() {
        let input = (case.input)("mutant");
        if input.len() > BYTES_MAX {
            continue;
        }
        match doors.iter_mut().find(|opened| opened.door == case.door) {
            Some(opened) => opened.inputs.push(input),
            None => doors.push(Opened { door: case.door, inputs: vec![input] }),
        }
    }
    doors
}

fn kind(door: Door) -> Kind {
    match door {
        Door::Otlp(_) | Door::Write(_) => Kind::Protobuf,
        Door::Coded(..) | Door::Grpc(..) | Door::RawHttp | Door::RawApi | Door::Snappy => Kind::Bytes,
        Door::Json(_) => Kind::Text(&["null", "true", "[]", "{}", "\"\"", "1e999", "\\ud800"]),
        Door::Sql | Door::SqlBody => {
            Kind::Text(&["SELECT", "FROM", "logs", "spans", "metrics", "NULL", "JOIN", "OVER", "*"])
        }
        Door::Promql | Door::PromqlRange => {
            Kind::Text(&["sum", "by", "rate", "[5m]", "offset", "up", "{}", "=~", "bool"])
        }
        Door::LogSearch => Kind::Text(&["AND", "OR", "NOT", "*", "body:", "[1 TO 2]", "^2", "~1"]),
        Door::Get | Door::Post(..) => Kind::Text(&["/", "%00", "%2e%2e", "?", "&", "=", "-1", "null", "{}", "[]"]),
    }
}

/// Sends bytes that may be a request; an answer need not come, an end must.
async fn knock(to: &str, bytes: &[u8]) -> Said {
    let talk = async {
        let mut stream = TcpStream::connect(to).await.expect("the server listens");
        // The server may answer and close before all of it is written.
        drop(stream.write_all(bytes).await);
        let mut answer = vec![0; 64 * 1024];
        let first = match tokio::time::timeout(REST, stream.read(&mut answer)).await {
            Ok(read) => read,
            Err(_) => {
                drop(stream.shutdown().await);
                stream.read(&mut answer).await
            }
        };
        let text = String::from_utf8_lossy(&answer[..first.unwrap_or(0)]).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        // No answer is none that blames anybody.
        Said::bare(status.unwrap_or(400), text)
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("an end in time")
}

async fn through(server: &Server, door: Door, by_grpc: bool, input: Vec<u8>) -> Said {
    match door {
        Door::RawHttp => knock(&server.http, &input).await,
        Door::RawApi => knock(&server.api, &input).await,
        Door::Get => {
            let path = String::from_utf8_lossy(&input);
            knock(
                &server.api,
                format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(),
            )
            .await
        }
        _ => send(server, door, by_grpc, input).await,
    }
}

/// What is wrong with an answer to anything at all.
fn problem(door: Door, said: &Said) -> Option<String> {
    let code = said.code.filter(|&code| code == UNKNOWN || code == INTERNAL && !matches!(door, Door::Grpc(..)));
    (said.blames_the_server() || code.is_some())
        .then(|| format!("{} {:?} {}", said.status, said.code, shown(&said.text)))
}

/// What came of some mutants: how often each status, and what was wrong.
#[derive(Default)]
struct Outcome {
    statuses: BTreeMap<String, u64>,
    problems: Vec<String>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.problems.extend(other.problems);
    }
}

async fn send_some(server: &Server, doors: &[Opened], random: &mut Random, count: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for _ in 0..count {
        let opened = random.pick(doors).expect("the table has doors");
        let input = mutated(kind(opened.door), &opened.inputs, random);
        let by_grpc = matches!(opened.door, Door::Otlp(_)) && random.one_in(2);
        let sent = input.clone();
        let said = AssertUnwindSafe(through(server, opened.door, by_grpc, input)).catch_unwind().await;
        let said = said.unwrap_or_else(|_| Said::bare(0, "no answer".into()));
        if let Some(problem) = problem(opened.door, &said) {
            let line = format!("{:?} by gRPC {by_grpc}: {problem}; sent {}", opened.door, sent.escape_ascii());
            println!("PROBLEM {line}");
            outcome.problems.push(line);
        }
        let status = said.code.map_or(said.status.to_string(), |code| format!("gRPC {code}"));
        *outcome.statuses.entry(status).or_default() += 1;
    }
    outcome
}

/// Changed inputs get an answer too, and the server stays what it was. `TRIVIUM_MUTANTS_SEED` asks for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mutant_ends_the_server_or_is_answered_500() {
    let Some(binary) = binary() else { return };
    let mut server = Arc::new(Server::start_watched(&binary, &[&FLAGS[..], &TIMEOUTS].concat()));
    let doors = Arc::new(doors());
    let (mutants, seed) = (asked("TRIVIUM_MUTANTS").unwrap_or(MUTANTS), asked("TRIVIUM_MUTANTS_SEED").unwrap_or(1));
    let mut workers: Vec<Random> = (0..WORKERS).map(|worker| Random::new(seed << 8 | worker)).collect();
    let mut outcome = Outcome::default();
    let mut peak = 0;
    for round in 0..mutants.div_ceil(ROUND) {
        let sending = workers.into_iter().map(|mut random| {
            let (server, doors) = (Arc::clone(&server), Arc::clone(&doors));
            tokio::spawn(async move { (send_some(&server, &doors, &mut random, ROUND / WORKERS).await, random) })
        });
        let sent = futures::future::join_all(sending).await;
        workers = Vec::new();
        for result in sent {
            let (some, random) = result.expect("a worker fails at nothing that is answered");
            outcome.add(some);
            workers.push(random);
        }
        let unshared = Arc::get_mut(&mut server).expect("the workers are done");
        assert!(unshared.is_alive(), "the server is gone\n{}", server.log());
        outcome.problems.extend(ailments(&server, &format!("after-mutants-{round}")).await);
        peak = peak.max(server.peak_mib());
    }
    let log = server.log();
    println!("{} mutants, seed {seed}, {} doors: {:?}, peak {peak} MiB", mutants, doors.len(), outcome.statuses);
    assert!(!log.contains("panicked"), "{log}");
    assert!(peak <= PEAK_MIB_MAX, "{peak} MiB in memory, at most {PEAK_MIB_MAX} are expected");
    assert!(outcome.problems.is_empty(), "\n{}", outcome.problems.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "a help for people")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
