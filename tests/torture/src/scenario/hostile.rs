//! Queries that would stop a careless engine, while clients export.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::ledger::Ledger;
use crate::load::{Clients, Trouble};
use crate::run::{Effort, Outcome, Run};
use crate::server::Server;
use crate::verify::Reader;

/// The time that each query asks for.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How much later the answer may come.
const LATENESS_MAX: Duration = Duration::from_secs(1);

/// How much slower acknowledgements may become.
const SLOWDOWN_MAX: f64 = 2.0;

enum Question {
    Sql(String),
    Logs(String),
    Promql(String),
}

fn questions() -> Vec<Question> {
    let sql = |text: String| Question::Sql(text);
    let deep = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    vec![
        sql("SELECT count(*) FROM logs a, logs b, spans c, metrics d WHERE a.body <> b.body".into()),
        sql("SELECT count(*) FROM logs a JOIN logs b ON a.body < b.body JOIN logs c ON b.body < c.body".into()),
        sql("SELECT count(*) FROM generate_series(1, 1000000000000)".into()),
        sql("SELECT * FROM generate_series(1, 100000000) ORDER BY 1 DESC".into()),
        sql("SELECT repeat('x', 2147483647)".into()),
        sql("SELECT lpad('x', 2147483647, 'y') FROM logs".into()),
        sql("SELECT string_agg(body, body) FROM logs a CROSS JOIN (SELECT 1 FROM logs) b".into()),
        sql("SELECT array_agg(a.body) FROM logs a, logs b".into()),
        sql(format!("SELECT {}", deep("(", ")", 5_000))),
        sql(format!("SELECT {}", deep("-(", ")", 20_000))),
        sql(format!("SELECT {}", vec!["1"; 5_000].join("+"))),
        sql(format!("SELECT 1 FROM logs WHERE {}", vec!["body = 'x'"; 20_000].join(" OR "))),
        sql(format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 200_000].join(","))),
        sql(format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(2_000), " END".repeat(2_000))),
        sql(format!("SELECT * FROM {}logs{}", "(SELECT * FROM ".repeat(300), ")".repeat(300))),
        sql("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t".into()),
        sql("SELECT count(*) FROM logs WHERE body ~ '(a{1000}){1000}'".into()),
        sql("SELECT count(*) FROM logs WHERE body ~ '(x+x+)+y'".into()),
        sql(r"SELECT count(*) FROM logs WHERE regexp_replace(body, '\p{L}{1000}', 'x') = 'y'".into()),
        sql("SELECT count(*) OVER (ORDER BY a.body, b.body) FROM logs a, logs b".into()),
        sql("SELECT DISTINCT a.body || b.body FROM logs a, logs b".into()),
        sql("SELECT count(DISTINCT a.body || b.body) FROM logs a, logs b".into()),
        sql("SELECT * FROM '/etc/passwd'".into()),
        sql("COPY logs TO '/tmp/trivium-torture-copy'".into()),
        sql("SELECT 1; DROP TABLE logs".into()),
        sql(format!("SELECT '{}'", "x".repeat(400_000))),
        Question::Logs("/(a{1000}){1000}/".into()),
        Question::Logs(r"/(\p{L}+\p{L}+)+z/".into()),
        Question::Logs("(".repeat(10_000)),
        Question::Logs(vec!["*a*"; 500].join(" OR ")),
        Question::Logs("NOT ".repeat(5_000) + "x"),
        Question::Promql(deep("(", ")", 5_000)),
        Question::Promql("-".repeat(10_000) + "1"),
        Question::Promql("max_over_time(rate({__name__=~\".+\"}[5m])[30d:1s])[30d:1s]".into()),
        Question::Promql("max_over_time(max_over_time({__name__=~\".+\"}[30d:1s])[30d:1s])".into()),
        Question::Promql("count_values(\"v\", {__name__=~\".+\"})".into()),
        Question::Promql("{__name__=~\"(a{1000}){1000}\"}".into()),
        Question::Promql("label_replace({__name__=~\".+\"}, \"a\", \"$1\", \"b\", \"(.*)(.*)(.*)(.*)x\")".into()),
        Question::Promql("rate(x[99999999999y])".into()),
        Question::Promql("{__name__=~\".+\"} * on() group_left() {__name__=~\".+\"}".into()),
    ]
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, run.stream())?;
    let mut outcome = run.outcome();
    let mut server = run.launch().start()?;
    let quiet = clients.phase();
    let running = quiet.start(&server, 2, Trouble::GoOn);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = running.finish().await?;
    let loaded = clients.phase();
    let running = loaded.start(&server, 2, Trouble::GoOn);
    let (mut cycle, mut latest, mut peak) = (0, Duration::ZERO, 0);
    for question in questions() {
        if !effort.allows(cycle) {
            break;
        }
        let (text, asked) = (text(&question), Instant::now());
        let answer = ask(&clients.http, &server, &question).await;
        let lateness = asked.elapsed().saturating_sub(TIMEOUT);
        latest = latest.max(lateness);
        peak = peak.max(server.rss());
        match answer {
            Ok(500) => outcome.fail(format!("{text}: answered 500")),
            Ok(status) => outcome.count(&format!("answered_{status}"), 1),
            Err(error) => outcome.fail(format!("{text}: {error:#}")),
        }
        if lateness > LATENESS_MAX {
            outcome.fail(format!("{text}: answered {lateness:.1?} after its time was over"));
        }
        if let Some(status) = server.ended() {
            outcome.fail(format!("{text}: the server ended with {status}: {}", server.said()));
            break;
        }
        cycle += 1;
        outcome.cycles = cycle;
    }
    let during = running.finish().await?;
    let slowdown = during.ack_p99_ms / before.ack_p99_ms.max(1.0);
    outcome.figure("ack_p99_ms_before", before.ack_p99_ms);
    outcome.figure("ack_p99_ms_during", during.ack_p99_ms);
    outcome.figure("ack_p99_slowdown", slowdown);
    outcome.figure("cancel_lateness_ms_max", u64::try_from(latest.as_millis()).unwrap_or(u64::MAX));
    outcome.figure("rss_max_mib", peak >> 20);
    // On two cores shared with the clients this is a figure to watch, not a promise.
    outcome.figure("ack_slowdown_within_goal", slowdown <= SLOWDOWN_MAX);
    let reader = Reader { http: &clients.http, server: &server, stream: &clients.stream };
    let verdict = reader.verify(&clients.ledger.fates(0)).await;
    if !verdict.is_clean() {
        outcome.fail(format!("after the queries: {:?}", verdict.examples));
    }
    outcome.verdict.add(verdict);
    server.kill()?;
    let (counts, stream) = (clients.ledger.counts(), clients.stream);
    run.finish(outcome, counts, &stream)
}

fn text(question: &Question) -> String {
    let (language, text) = match question {
        Question::Sql(text) => ("SQL", text),
        Question::Logs(text) => ("log search", text),
        Question::Promql(text) => ("PromQL", text),
    };
    format!("{language} {}", text.chars().take(80).collect::<String>())
}

/// The status of the answer, read whole.
async fn ask(http: &reqwest::Client, server: &Server, question: &Question) -> anyhow::Result<u16> {
    let base = &server.http;
    let seconds = format!("{}s", TIMEOUT.as_secs());
    let request = match question {
        Question::Sql(sql) => http.post(format!("{base}/api/v1/sql")).json(&json!({"sql": sql, "timeout": seconds})),
        Question::Logs(query) => {
            http.get(format!("{base}/api/v1/logs")).query(&[("query", query), ("timeout", &seconds)])
        }
        Question::Promql(query) => {
            http.post(format!("{base}/prometheus/api/v1/query")).form(&[("query", query), ("timeout", &seconds)])
        }
    };
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    // An answer that was cut on its way is an answer.
    drop(answer.bytes().await);
    Ok(status)
}
