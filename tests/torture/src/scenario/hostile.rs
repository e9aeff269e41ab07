//! Queries that would stop a careless engine, while clients export.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ledger::Ledger;
use crate::load::{Clients, Seen, Summary, Trouble, quantile};
use crate::run::{Effort, Outcome, Run};
use crate::server::Server;
use crate::verify::Reader;

/// The time that each query asks for.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How much later the answer may come.
const LATENESS_MAX: Duration = Duration::from_secs(1);

/// How much slower acknowledgements may become.
const SLOWDOWN_MAX: f64 = 2.0;

/// Clients that export all the time.
const CLIENTS: u64 = 2;

/// Load that is not measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// Load without queries, before and after them.
const CALM_SHORT: Duration = Duration::from_secs(6);
const CALM_LONG: Duration = Duration::from_secs(30);

/// Acknowledgements that must fall together with a question for its quantile to say something.
const ACKS_MIN: usize = 20;

/// Questions that the report names.
const SLOWEST_MAX: usize = 8;

/// What a question is asked in.
#[derive(Clone, Copy)]
enum Language {
    Sql,
    Logs,
    Promql,
}

/// What a question may be answered.
#[derive(Clone, Copy)]
enum Answer {
    /// It wants what no query may, or more than a query may say: refused, whatever is stored.
    Refused,
    /// Rows, or one of the limits of time, memory and places.
    Bounded,
}

impl Answer {
    fn allows(self, status: u16) -> bool {
        match self {
            Self::Refused => matches!(status, 400 | 403 | 422),
            Self::Bounded => matches!(status, 200 | 422 | 429 | 503 | 504),
        }
    }
}

struct Question {
    language: Language,
    text: String,
    answer: Answer,
}

fn refused(language: Language, text: impl Into<String>) -> Question {
    Question { language, text: text.into(), answer: Answer::Refused }
}

fn bounded(language: Language, text: impl Into<String>) -> Question {
    Question { language, text: text.into(), answer: Answer::Bounded }
}

/// One of them would write `copy`.
fn questions(copy: &Path) -> Vec<Question> {
    use Language::{Logs, Promql, Sql};
    let deep = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    vec![
        bounded(Sql, "SELECT count(*) FROM logs a, logs b, spans c, metrics d WHERE a.body <> b.body"),
        bounded(Sql, "SELECT count(*) FROM logs a JOIN logs b ON a.body < b.body JOIN logs c ON b.body < c.body"),
        refused(Sql, "SELECT count(*) FROM generate_series(1, 1000000000000)"),
        refused(Sql, "SELECT * FROM generate_series(1, 100000000) ORDER BY 1 DESC"),
        refused(Sql, "SELECT repeat('x', 2147483647)"),
        refused(Sql, "SELECT lpad('x', 2147483647, 'y') FROM logs"),
        refused(Sql, "SELECT string_agg(body, body) FROM logs a CROSS JOIN (SELECT 1 FROM logs) b"),
        bounded(Sql, "SELECT array_agg(a.body) FROM logs a, logs b"),
        refused(Sql, format!("SELECT {}", deep("(", ")", 5_000))),
        refused(Sql, format!("SELECT {}", deep("-(", ")", 20_000))),
        refused(Sql, format!("SELECT {}", vec!["1"; 5_000].join("+"))),
        refused(Sql, format!("SELECT 1 FROM logs WHERE {}", vec!["body = 'x'"; 20_000].join(" OR "))),
        refused(Sql, format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 200_000].join(","))),
        refused(Sql, format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(2_000), " END".repeat(2_000))),
        refused(Sql, format!("SELECT * FROM {}logs{}", "(SELECT * FROM ".repeat(300), ")".repeat(300))),
        refused(Sql, "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"),
        refused(Sql, "SELECT count(*) FROM logs WHERE body ~ '(a{1000}){1000}'"),
        bounded(Sql, "SELECT count(*) FROM logs WHERE body ~ '(x+x+)+y'"),
        refused(Sql, r"SELECT count(*) FROM logs WHERE regexp_replace(body, '\p{L}{1000}', 'x') = 'y'"),
        bounded(Sql, "SELECT count(*) OVER (ORDER BY a.body, b.body) FROM logs a, logs b"),
        bounded(Sql, "SELECT DISTINCT a.body || b.body FROM logs a, logs b"),
        bounded(Sql, "SELECT count(DISTINCT a.body || b.body) FROM logs a, logs b"),
        refused(Sql, "SELECT * FROM '/etc/passwd'"),
        refused(Sql, format!("COPY logs TO '{}'", copy.display())),
        refused(Sql, "SELECT 1; DROP TABLE logs"),
        refused(Sql, format!("SELECT '{}'", "x".repeat(400_000))),
        refused(Logs, "/(a{1000}){1000}/"),
        bounded(Logs, r"/(\p{L}+\p{L}+)+z/"),
        refused(Logs, "(".repeat(10_000)),
        refused(Logs, vec!["*a*"; 500].join(" OR ")),
        refused(Logs, "NOT ".repeat(5_000) + "x"),
        refused(Promql, deep("(", ")", 5_000)),
        refused(Promql, "-".repeat(10_000) + "1"),
        bounded(Promql, "max_over_time(rate({__name__=~\".+\"}[5m])[30d:1s])[30d:1s]"),
        bounded(Promql, "max_over_time(max_over_time({__name__=~\".+\"}[30d:1s])[30d:1s])"),
        bounded(Promql, "count_values(\"v\", {__name__=~\".+\"})"),
        refused(Promql, "{__name__=~\"(a{1000}){1000}\"}"),
        bounded(Promql, "label_replace({__name__=~\".+\"}, \"a\", \"$1\", \"b\", \"(.*)(.*)(.*)(.*)x\")"),
        bounded(Sql, "SELECT * FROM logs WHERE body = '' OR 1=1 --'"),
        bounded(Sql, "SELECT a.body, b.body FROM logs a, logs b ORDER BY a.body || b.body DESC"),
        bounded(Sql, "SELECT row_number() OVER (PARTITION BY body ORDER BY time DESC) FROM logs"),
        bounded(Sql, "SELECT sum(9223372036854775807) FROM logs"),
        refused(Sql, "EXPLAIN ANALYZE SELECT count(*) FROM logs a, logs b WHERE a.body < b.body"),
        refused(Sql, "SET datafusion.execution.batch_size = 1"),
        bounded(Logs, "x~9999 OR \"a b\"~4294967295"),
        refused(Logs, "(+".repeat(60) + "a" + &")".repeat(60)),
        bounded(Promql, "topk(1e18, {__name__=~\".+\"})"),
        refused(Promql, "{__name__=~\".*\"}"),
        refused(Promql, "rate(x[99999999999y])"),
        bounded(Promql, "{__name__=~\".+\"} * on() group_left() {__name__=~\".+\"}"),
    ]
}

/// What exporting clients saw in a phase, and what the server's threads did.
struct Phase {
    clients: Summary,
    seconds: f64,
    threads: BTreeMap<String, (f64, f64)>,
}

struct Hostile {
    clients: Clients,
    server: Server,
    outcome: Outcome,
    /// How late the latest answer came.
    latest: Duration,
    rss_max: u64,
    /// The slowest acknowledgements that fell together with each question.
    slowest: BTreeMap<String, f64>,
    /// A file that a question would write.
    copy: PathBuf,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    let asking_for = effort.until.saturating_duration_since(Instant::now());
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, run.stream())?;
    let (outcome, server) = (run.outcome(), run.launch().start()?);
    let (latest, rss_max, slowest) = (Duration::ZERO, 0, BTreeMap::new());
    let copy = run.folder.join("copy.csv");
    let mut hostile = Hostile { clients, server, outcome, latest, rss_max, slowest, copy };
    let calm_for = if effort.is_long { CALM_LONG } else { CALM_SHORT };
    // The first rows open files and fill caches.
    hostile.load(async |_, _| tokio::time::sleep(WARM_UP).await).await?;
    let before = hostile.load(async |_, _| tokio::time::sleep(calm_for).await).await?;
    // The time is that of the questions.
    let effort = Effort { until: Instant::now() + asking_for, ..effort };
    let during = hostile.load(async |hostile, seen| hostile.ask_all(effort, seen).await).await?;
    let after = hostile.load(async |_, _| tokio::time::sleep(calm_for).await).await?;
    let Hostile { clients, server, mut outcome, latest, rss_max, slowest, copy } = hostile;
    if copy.exists() {
        outcome.fail(format!("a query wrote {}", copy.display()));
    }
    for (name, phase) in [("before", &before), ("during", &during), ("after", &after)] {
        report(&mut outcome, name, phase);
    }
    let slowdown = during.clients.ack_p99_ms / before.clients.ack_p99_ms.max(1.0);
    outcome.figure("ack_p99_slowdown", slowdown);
    outcome.figure("ack_p50_slowdown", during.clients.ack_p50_ms / before.clients.ack_p50_ms.max(0.1));
    outcome.figure("cancel_lateness_ms_max", u64::try_from(latest.as_millis()).unwrap_or(u64::MAX));
    outcome.figure("rss_max_mib", rss_max >> 20);
    // On two cores shared with the clients this is a figure to watch, not a promise.
    outcome.figure("ack_slowdown_within_goal", slowdown <= SLOWDOWN_MAX);
    let mut slowest: Vec<(String, f64)> = slowest.into_iter().collect();
    slowest.sort_by(|a, b| b.1.total_cmp(&a.1));
    slowest.truncate(SLOWEST_MAX);
    outcome.figure("ack_p99_ms_of_questions", slowest.into_iter().collect::<BTreeMap<_, _>>());
    let verdict = Reader::new(&clients, &server).verify(&clients.ledger.fates(0)).await;
    if !verdict.is_clean() {
        outcome.fail(format!("after the queries: {:?}", verdict.examples));
    }
    outcome.verdict.add(verdict);
    server.kill()?;
    run.finish(outcome, &clients)
}

fn report(outcome: &mut Outcome, name: &str, phase: &Phase) {
    outcome.figure(&format!("ack_p50_ms_{name}"), phase.clients.ack_p50_ms);
    outcome.figure(&format!("ack_p99_ms_{name}"), phase.clients.ack_p99_ms);
    outcome.figure(&format!("acks_per_second_{name}"), phase.clients.acked as f64 / phase.seconds);
    // Of a hundred: what the threads of a name had of a processor, and for how long they were ready and had to wait for one.
    let percent = |seconds: f64| (100.0 * seconds / phase.seconds).round();
    let threads = phase.threads.iter().filter(|(_, (ran, waited))| percent(ran + waited) >= 1.0);
    let threads = threads
        .map(|(name, (ran, waited))| (name.clone(), format!("ran {} % waited {} %", percent(*ran), percent(*waited))));
    outcome.figure(&format!("threads_{name}"), threads.collect::<BTreeMap<_, _>>());
}

impl Hostile {
    /// Exports as long as something else goes on.
    async fn load(&mut self, meanwhile: impl AsyncFnOnce(&mut Self, &Seen)) -> anyhow::Result<Phase> {
        let phase = self.clients.phase();
        let (started, threads) = (Instant::now(), self.server.processor_time());
        let running = phase.start(&self.server, CLIENTS, Trouble::GoOn);
        meanwhile(self, &phase.seen).await;
        let seconds = started.elapsed().as_secs_f64();
        let threads = self.server.processor_time_since(&threads);
        Ok(Phase { clients: running.finish().await?, seconds, threads })
    }

    async fn ask_all(&mut self, effort: Effort, seen: &Seen) {
        let questions = questions(&self.copy);
        let mut cycle = 0;
        while effort.allows(cycle) && self.outcome.failures.is_empty() {
            let place = usize::try_from(cycle).unwrap_or(0) % questions.len();
            self.ask(&questions[place], seen).await;
            cycle += 1;
            self.outcome.cycles = cycle;
        }
    }

    async fn ask(&mut self, question: &Question, seen: &Seen) {
        let (text, asked) = (text(question), Instant::now());
        let answer = ask(&self.clients.http, &self.server, question).await;
        let lateness = asked.elapsed().saturating_sub(TIMEOUT);
        self.latest = self.latest.max(lateness);
        self.rss_max = self.rss_max.max(self.server.rss());
        let latencies = seen.latencies_ms(Some(asked));
        if latencies.len() >= ACKS_MIN {
            let worst = self.slowest.entry(text.clone()).or_default();
            *worst = worst.max(quantile(&latencies, 990));
        }
        match answer {
            Ok(status) if !question.answer.allows(status) => self.outcome.fail(format!("{text}: answered {status}")),
            Ok(status) => self.outcome.count(&format!("answered_{status}"), 1),
            Err(error) => self.outcome.fail(format!("{text}: {error:#}")),
        }
        if lateness > LATENESS_MAX {
            self.outcome.fail(format!("{text}: answered {lateness:.1?} after its time was over"));
        }
        if let Some(status) = self.server.ended() {
            self.outcome.fail(format!("{text}: the server ended with {status}: {}", self.server.said()));
        }
    }
}

fn text(question: &Question) -> String {
    let language = match question.language {
        Language::Sql => "SQL",
        Language::Logs => "log search",
        Language::Promql => "PromQL",
    };
    format!("{language} {}", question.text.chars().take(80).collect::<String>())
}

/// The status of the answer, read whole.
async fn ask(http: &reqwest::Client, server: &Server, question: &Question) -> anyhow::Result<u16> {
    let base = &server.http;
    let seconds = format!("{}s", TIMEOUT.as_secs());
    let query = [("query", &question.text), ("timeout", &seconds)];
    let request = match question.language {
        Language::Sql => {
            http.post(format!("{base}/api/v1/sql")).json(&json!({"sql": question.text, "timeout": seconds}))
        }
        Language::Logs => http.get(format!("{base}/api/v1/logs")).query(&query),
        Language::Promql => http.post(format!("{base}/prometheus/api/v1/query")).form(&query),
    };
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    // An answer that was cut on its way is an answer.
    drop(answer.bytes().await);
    Ok(status)
}
