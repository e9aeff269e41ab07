//! Somebody who looks at a dashboard while others export.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::load::Clients;
use crate::payload::{SERVICE, TIME_STEP};
use crate::run::Outcome;
use crate::server::Server;

/// From one question to the next.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Requests back from now that are asked for: about a minute.
const BACK: u64 = 6_000;

pub(super) struct Queries {
    stop: Arc<AtomicBool>,
    task: JoinHandle<BTreeMap<String, u64>>,
}

impl Queries {
    pub(super) fn start(clients: &Clients, server: &Server, started: Instant) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (clients, api, stopped) = (clients.clone(), server.http.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut answers: BTreeMap<String, u64> = BTreeMap::new();
            let mut place = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                place += 1;
                let number = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX) / TIME_STEP;
                let name = match request(&clients, &api, number, place).send().await {
                    Ok(answer) => {
                        let status = answer.status().as_u16();
                        drop(answer.bytes().await);
                        format!("answered_{status}")
                    }
                    Err(_) => "broken".to_owned(),
                };
                *answers.entry(name).or_default() += 1;
                tokio::time::sleep(ASK_EVERY).await;
            }
            answers
        });
        Self { stop, task }
    }

    pub(super) async fn finish(self, outcome: &mut Outcome) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for (name, count) in self.task.await? {
            if name == "answered_500" {
                outcome.fail(format!("{count} queries were answered 500"));
            }
            outcome.count(&format!("queries_{name}"), count);
        }
        Ok(())
    }
}

fn request(clients: &Clients, api: &str, number: u64, place: u64) -> reqwest::RequestBuilder {
    let (http, stream) = (&clients.http, &clients.stream);
    let (start, end) = (stream.time(number.saturating_sub(BACK), 0), stream.time(number, 0));
    match place % 5 {
        0 => http.get(format!("{api}/api/v1/logs?query=service:{SERVICE}%20retry&start={start}&end={end}&limit=100")),
        1 => http.get(format!("{api}/api/v1/traces/{:032x}", stream.trace_id(number.saturating_sub(BACK / 2)))),
        2 => {
            let (query, seconds) = ("sum(rate({\"t.sum\"}[1m]))", end / 1_000_000_000);
            let form = [("query", query.to_owned()), ("time", seconds.to_string())];
            http.post(format!("{api}/prometheus/api/v1/query")).form(&form)
        }
        3 => {
            let sql = format!(
                "SELECT severity_number, count(*) FROM logs WHERE time >= to_timestamp_nanos({start}) GROUP BY 1"
            );
            http.post(format!("{api}/api/v1/sql")).json(&json!({"sql": sql}))
        }
        _ => {
            let sql = format!(
                "SELECT name, count(*) FROM spans WHERE time >= to_timestamp_nanos({start}) GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
            );
            http.post(format!("{api}/api/v1/sql")).json(&json!({"sql": sql}))
        }
    }
}
