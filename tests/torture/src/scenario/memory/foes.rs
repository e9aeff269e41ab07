//! Clients that send what cannot be accepted, and queries that take all they can get.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::random::Random;
use crate::run::Outcome;
use crate::server::Server;

/// Bytes that a bomb becomes: more than a request may have.
const BOMB_BYTES: usize = 80 << 20;

/// The bad inputs between two bombs, of each connection.
const BOMB_EVERY: u64 = 200;

/// Queries that sort, join and group all there is.
const HEAVY: [&str; 5] = [
    "SELECT body FROM logs ORDER BY body DESC, time LIMIT 100",
    "SELECT count(DISTINCT attributes['t.id']) FROM spans",
    "SELECT a.trace_id, count(*) FROM logs a JOIN spans b ON a.trace_id = b.trace_id GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
    "SELECT substr(body, 1, 20), count(*) FROM logs GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
    "SELECT count(*) FROM logs a, logs b WHERE a.body < b.body",
];

/// The path of an input, its headers and its body.
struct Input {
    name: &'static str,
    path: &'static str,
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: Vec<u8>,
}

/// What the foes send and what they were answered.
pub(super) struct Foes {
    http: reqwest::Client,
    otlp: String,
    api: String,
    seed: u64,
    inputs: Vec<Input>,
    bomb: Option<Input>,
    answers: Mutex<BTreeMap<String, u64>>,
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Foes {
    pub(super) fn new(http: reqwest::Client, server: &Server, seed: u64, has_bombs: bool) -> Self {
        let (otlp, api) = (server.otlp_http.clone(), server.http.clone());
        let (answers, wrong) = (Mutex::default(), Mutex::default());
        Self {
            http,
            otlp,
            api,
            seed,
            inputs: inputs(),
            bomb: has_bombs.then(bomb),
            answers,
            wrong,
            stop: AtomicBool::new(false),
        }
    }

    pub(super) fn start(self: &Arc<Self>, bad: u64, queries: u64) -> Vec<JoinHandle<()>> {
        let senders = (0..bad).map(|number| {
            let foes = Arc::clone(self);
            tokio::spawn(async move { foes.send(number).await })
        });
        let askers = (0..queries).map(|number| {
            let foes = Arc::clone(self);
            tokio::spawn(async move { foes.ask(number).await })
        });
        senders.chain(askers).collect()
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn send(&self, number: u64) {
        let mut random = Random::new(self.seed ^ number.rotate_left(20));
        let mut sent = random.below(BOMB_EVERY);
        while self.goes_on() {
            sent += 1;
            let place = usize::try_from(random.below(self.inputs.len() as u64)).unwrap_or(0);
            let bomb = self.bomb.as_ref().filter(|_| sent.is_multiple_of(BOMB_EVERY));
            let input = bomb.unwrap_or(&self.inputs[place]);
            let mut request = self.http.post(format!("{}{}", self.otlp, input.path));
            request = request.header(CONTENT_TYPE, input.content_type);
            if let Some(encoding) = input.encoding {
                request = request.header(CONTENT_ENCODING, encoding);
            }
            match request.body(input.body.clone()).send().await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    drop(answer.bytes().await);
                    let is_right = matches!(status, 400 | 413 | 415 | 429 | 503);
                    self.take(&format!("bad_input_{status}"), !is_right, || {
                        format!("{} was answered {status}", input.name)
                    });
                }
                // A server may close what it does not want to read to the end.
                Err(_) => self.take("bad_input_closed", false, String::new),
            }
            tokio::time::sleep(Duration::from_millis(random.between(200, 1_000))).await;
        }
    }

    async fn ask(&self, number: u64) {
        let mut place = usize::try_from(number).unwrap_or(0);
        while self.goes_on() {
            place += 1;
            let sql = HEAVY[place % HEAVY.len()];
            let body = json!({"sql": sql, "timeout": "10s"});
            match self.http.post(format!("{}/api/v1/sql", self.api)).json(&body).send().await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    drop(answer.bytes().await);
                    let is_right = matches!(status, 200 | 422 | 429 | 503 | 504);
                    self.take(&format!("query_{status}"), !is_right, || format!("{sql} was answered {status}"));
                    if status == 429 || status == 503 {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
                Err(_) => self.take("query_broken", false, String::new),
            }
        }
    }

    fn take(&self, name: &str, is_wrong: bool, what: impl Fn() -> String) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default() += 1;
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if is_wrong && wrong.len() < 5 {
            wrong.push(what());
        }
    }

    pub(super) fn report(&self, outcome: &mut Outcome) {
        outcome.figure("foes", &*self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        for wrong in self.wrong.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            outcome.fail(wrong.clone());
        }
    }
}

fn inputs() -> Vec<Input> {
    let (protobuf, json) = ("application/x-protobuf", "application/json");
    let input = |name, path, content_type, encoding, body: &[u8]| Input {
        name,
        path,
        content_type,
        encoding,
        body: body.to_vec(),
    };
    let mut cut = gzip(&vec![b'x'; 50_000]);
    cut.truncate(cut.len() / 2);
    vec![
        input("no protobuf", "/v1/logs", protobuf, None, &[0xff; 2_000]),
        input("a varint without an end", "/v1/traces", protobuf, None, &[0x80; 40]),
        input("no JSON", "/v1/logs", json, None, b"{\"resourceLogs\": [{"),
        input("deep JSON", "/v1/metrics", json, None, "[".repeat(100_000).as_bytes()),
        input("text", "/v1/logs", "text/plain", None, b"hello"),
        input("an unknown encoding", "/v1/logs", protobuf, Some("br"), b"hello"),
        input("half a gzip", "/v1/traces", protobuf, Some("gzip"), &cut),
    ]
}

fn bomb() -> Input {
    Input {
        name: "a gzip bomb",
        path: "/v1/logs",
        content_type: "application/x-protobuf",
        encoding: Some("gzip"),
        body: gzip(&vec![0; BOMB_BYTES]),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A Vec takes everything.
    drop(encoder.write_all(bytes));
    encoder.finish().unwrap_or_default()
}
