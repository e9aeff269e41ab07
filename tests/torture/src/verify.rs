//! Reads back through paths that have little in common, and compares with the ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::{Value, json};

use crate::ledger::Fate;
use crate::load::Clients;
use crate::payload::{SERVICE, Signal, Stream, TIME_STEP, hex};
use crate::server::Server;

/// Requests that one SQL statement reads.
const WINDOW: usize = 1_000;

/// Traces that one verification asks for by their ID.
const TRACES_MAX: usize = 30;

/// Warnings that are kept of the answers.
const WARNINGS_MAX: usize = 1_000;

/// Records of one page of the log search.
const PAGE: u64 = 5_000;

/// Identifiers that a report names.
const EXAMPLES_MAX: usize = 5;

/// What one or more readings found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// Records that were compared, each counted once per path.
    pub(crate) records: u64,
    pub(crate) lost: u64,
    pub(crate) duplicate: u64,
    pub(crate) phantom: u64,
    pub(crate) corrupt: u64,
    /// Requests without an answer of which only some records are there.
    pub(crate) torn: u64,
    /// Records of requests that were refused for good and are there nevertheless.
    pub(crate) rejected_stored: u64,
    /// Answers that said they lack something.
    pub(crate) partial_answers: u64,
    /// Other findings: an error of a query, a finding of `trivium verify`.
    pub(crate) problems: u64,
    pub(crate) examples: Vec<String>,
    /// Acknowledged requests of which something is missing.
    #[serde(skip)]
    pub(crate) lost_requests: BTreeSet<u64>,
    /// What the answers warned of.
    #[serde(skip)]
    pub(crate) warnings: BTreeSet<String>,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.phantom += other.phantom;
        self.corrupt += other.corrupt;
        self.torn += other.torn;
        self.rejected_stored += other.rejected_stored;
        self.partial_answers += other.partial_answers;
        self.problems += other.problems;
        self.lost_requests.extend(other.lost_requests);
        self.warnings.extend(other.warnings);
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX * 4);
    }

    /// Nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_truthful() && self.lost == 0 && self.partial_answers == 0 && self.problems == 0
    }

    /// Nothing that is there is wrong, though something may be missing.
    pub(crate) fn is_truthful(&self) -> bool {
        self.duplicate + self.phantom + self.corrupt + self.torn + self.rejected_stored == 0
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }

    /// Takes over what an answer says about itself.
    fn take_notes(&mut self, answer: &Value) {
        self.partial_answers += u64::from(answer["partial"] == true || answer["truncated"] == true);
        for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if self.warnings.len() < WARNINGS_MAX {
                self.warnings.insert(warning.to_owned());
            }
        }
    }

    pub(crate) fn problem(&mut self, text: String) {
        self.problems += 1;
        self.example(text);
    }
}

/// The records that one path showed.
#[derive(Debug, Default)]
struct Found {
    counts: HashMap<(u64, u64), u32>,
    verdict: Verdict,
}

impl Found {
    fn add(&mut self, stream: &Stream, path: &str, id: Option<&str>, content: Option<&str>) {
        let Some((number, index)) = id.and_then(|id| stream.place(id)) else {
            self.verdict.phantom += 1;
            self.verdict.example(format!("{path}: a record of ID {id:?}"));
            return;
        };
        *self.counts.entry((number, index)).or_default() += 1;
        let expected = stream.content(number, index);
        if content.is_some_and(|content| content != expected) {
            self.verdict.corrupt += 1;
            self.verdict.example(format!("{path}: {number}/{index} is {content:?} instead of {expected:?}"));
        }
    }

    /// Compares with what the clients know.
    fn judge(mut self, stream: &Stream, path: &str, signal: Signal, fates: &BTreeMap<u64, Fate>) -> Verdict {
        let mut verdict = std::mem::take(&mut self.verdict);
        for (&number, &fate) in fates.iter().filter(|(number, _)| stream.signal(**number) == signal) {
            let mut present = 0;
            for index in 0..stream.records {
                let count = self.counts.remove(&(number, index)).unwrap_or(0);
                verdict.records += 1;
                present += u64::from(count > 0);
                if count > 1 {
                    verdict.duplicate += 1;
                    verdict.example(format!("{path}: {number}/{index} is there {count} times"));
                }
            }
            match fate {
                Fate::Ack if present < stream.records => {
                    verdict.lost += stream.records - present;
                    verdict.lost_requests.insert(number);
                    verdict
                        .example(format!("{path}: acknowledged {number} has {present} of {} records", stream.records));
                }
                Fate::Reject if present > 0 => {
                    verdict.rejected_stored += present;
                    verdict.example(format!("{path}: rejected {number} has {present} records"));
                }
                Fate::Sent | Fate::Ambiguous if present > 0 && present < stream.records => {
                    verdict.torn += 1;
                    verdict.example(format!("{path}: {number}, never answered, has {present} records"));
                }
                _ => {}
            }
        }
        verdict.phantom += self.counts.len() as u64;
        if let Some(place) = self.counts.keys().next() {
            verdict.example(format!("{path}: {place:?} was never sent"));
        }
        verdict
    }
}

/// Reads a running server.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    http: &'a reqwest::Client,
    server: &'a Server,
    stream: &'a Stream,
    traces_max: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(clients: &'a Clients, server: &'a Server) -> Self {
        Self { http: &clients.http, server, stream: &clients.stream, traces_max: TRACES_MAX }
    }

    /// Asks for so many traces only: where there are few requests, and readings are many.
    pub(crate) fn traces_max(self, traces_max: usize) -> Self {
        Self { traces_max, ..self }
    }

    /// All paths over the requests of a ledger. What the server does not answer is a problem.
    pub(crate) async fn verify(&self, fates: &BTreeMap<u64, Fate>) -> Verdict {
        let mut verdict = Verdict::default();
        for signal in Signal::ALL {
            verdict.add(self.sql(signal, fates).await.unwrap_or_else(|error| failed("SQL", &error)));
        }
        verdict.add(self.log_search(fates).await.unwrap_or_else(|error| failed("log search", &error)));
        verdict.add(self.traces(fates).await.unwrap_or_else(|error| failed("trace by ID", &error)));
        verdict.add(self.promql(fates).await.unwrap_or_else(|error| failed("PromQL", &error)));
        verdict
    }

    async fn sql(&self, signal: Signal, fates: &BTreeMap<u64, Fate>) -> anyhow::Result<Verdict> {
        let content = match signal {
            Signal::Logs => "body",
            Signal::Traces => "name",
            Signal::Metrics => "coalesce(value, sum)",
        };
        let mut verdict = Verdict::default();
        for (first, end) in windows(fates) {
            let (start, stop) = (self.stream.time(first, 0), self.stream.time(end, 0));
            let sql = format!(
                "SELECT attributes['t.id'], {content} FROM {} WHERE service_name = '{SERVICE}' \
                 AND time >= to_timestamp_nanos({start}) AND time < to_timestamp_nanos({stop})",
                signal.table()
            );
            let answer = self.ask_sql(&sql).await?;
            let mut found = Found::default();
            found.verdict.take_notes(&answer);
            for row in answer["rows"].as_array().context("rows")? {
                let number = row[1].as_f64().map(|number| format!("{number:.0}"));
                let content = if signal == Signal::Metrics { number.as_deref() } else { row[1].as_str() };
                found.add(self.stream, "SQL", row[0].as_str(), content.or(Some("")));
            }
            let window = fates.range(first..end).map(|(number, fate)| (*number, *fate)).collect();
            verdict.add(found.judge(self.stream, "SQL", signal, &window));
        }
        Ok(verdict)
    }

    pub(crate) async fn ask_sql(&self, sql: &str) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/sql", self.server.http);
        let body = json!({"sql": sql, "max_rows": 1_000_000, "timeout": "120s"});
        let answer = self.http.post(url).json(&body).timeout(std::time::Duration::from_secs(150)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{sql}: {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.server.http)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path}: {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    async fn log_search(&self, fates: &BTreeMap<u64, Fate>) -> anyhow::Result<Verdict> {
        let Some((first, end)) = bounds(fates) else { return Ok(Verdict::default()) };
        let (start, stop) = (self.stream.time(first, 0), self.stream.time(end, 0));
        let mut found = Found::default();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/logs?query=service:{SERVICE}&start={start}&end={stop}&limit={PAGE}{cursor}");
            let answer = self.get(&path).await?;
            found.verdict.take_notes(&answer);
            for log in answer["logs"].as_array().context("logs")? {
                found.add(
                    self.stream,
                    "log search",
                    log["attributes"]["t.id"].as_str(),
                    log["body"].as_str().or(Some("")),
                );
            }
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(found.judge(self.stream, "log search", Signal::Logs, fates)),
            }
        }
    }

    /// A sample of the traces, spread over the range.
    async fn traces(&self, fates: &BTreeMap<u64, Fate>) -> anyhow::Result<Verdict> {
        let numbers: Vec<u64> = fates.keys().copied().filter(|n| self.stream.signal(*n) == Signal::Traces).collect();
        let step = numbers.len().div_ceil(self.traces_max.max(1)).max(1);
        let mut verdict = Verdict::default();
        for &number in numbers.iter().rev().step_by(step) {
            let id = hex(&self.stream.trace_id(number));
            let fate = fates.get(&number).copied().unwrap_or(Fate::Sent);
            let answer = match self.get(&format!("/api/v1/traces/{id}")).await {
                Err(error) if error.to_string().contains("404") => json!({"spans": []}),
                other => other?,
            };
            let mut found = Found::default();
            found.verdict.take_notes(&answer);
            for span in answer["spans"].as_array().context("spans")? {
                let content = span["name"].as_str().or(Some(""));
                found.add(self.stream, "trace by ID", span["attributes"]["t.id"].as_str(), content);
            }
            verdict.add(found.judge(self.stream, "trace by ID", Signal::Traces, &BTreeMap::from([(number, fate)])));
        }
        Ok(verdict)
    }

    /// The number of gauges in the last window.
    async fn promql(&self, fates: &BTreeMap<u64, Fate>) -> anyhow::Result<Verdict> {
        let Some((first, end)) = windows(fates).into_iter().next_back() else { return Ok(Verdict::default()) };
        let per_request = (0..self.stream.records).filter(|index| index % 4 >= 2).count() as u64;
        let (mut least, mut most) = (0, 0);
        for (_, fate) in fates.range(first..end).filter(|(number, _)| self.stream.signal(**number) == Signal::Metrics) {
            least += u64::from(*fate == Fate::Ack) * per_request;
            most += u64::from(*fate != Fate::Reject) * per_request;
        }
        // Half a step before the first request until half a step before the one after the last.
        let millis = self.stream.base / 1_000_000 + end * (TIME_STEP / 1_000_000) - 5;
        let range = (end - first) * (TIME_STEP / 1_000_000);
        let query = format!("sum(count_over_time({{\"t.gauge\"}}[{range}ms]))");
        let time = format!("{}.{:03}", millis / 1_000, millis % 1_000);
        let url = format!("{}/prometheus/api/v1/query", self.server.http);
        let answer = self.http.post(url).form(&[("query", query.as_str()), ("time", &time)]).send().await?;
        let status = answer.status();
        let answer: Value = serde_json::from_str(&answer.text().await?)?;
        if !status.is_success() {
            bail!("{query}: {status}: {answer}");
        }
        let value = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0").parse::<f64>()?;
        let count = value as u64;
        let mut verdict = Verdict { records: most, ..Verdict::default() };
        verdict.lost = least.saturating_sub(count);
        verdict.duplicate = count.saturating_sub(most);
        verdict.take_notes(&answer);
        verdict.partial_answers = u64::from(!verdict.warnings.is_empty());
        if count < least || count > most {
            verdict.example(format!("PromQL: {query} at {time} is {count}, not {least} to {most}"));
        }
        Ok(verdict)
    }
}

fn failed(path: &str, error: &anyhow::Error) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.problem(format!("{path}: {error:#}"));
    verdict
}

fn bounds(fates: &BTreeMap<u64, Fate>) -> Option<(u64, u64)> {
    Some((*fates.first_key_value()?.0, fates.last_key_value()?.0 + 1))
}

/// Ranges of numbers that hold a bounded count of requests each, without gaps between them: numbers may leap.
fn windows(fates: &BTreeMap<u64, Fate>) -> Vec<(u64, u64)> {
    let Some((_, end)) = bounds(fates) else { return Vec::new() };
    let starts: Vec<u64> = fates.keys().copied().step_by(WINDOW).collect();
    let ends = starts.iter().copied().skip(1).chain([end]);
    starts.iter().copied().zip(ends).collect()
}

/// `trivium verify --deep` of a folder that no server uses: its findings and the rows in parts.
pub(crate) fn offline(binary: &Path, data: &Path) -> anyhow::Result<(Vec<String>, u64)> {
    let output = Command::new(binary).args(["verify", "--deep", "--json", "--data-dir"]).arg(data).output()?;
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Ok((vec![String::from_utf8_lossy(&output.stderr).into_owned()], 0));
    };
    let findings = report["findings"].as_array().context("findings")?;
    let text = |finding: &Value| format!("{}: {}", finding["path"].as_str().unwrap_or(""), finding["problem"]);
    let rows = report["rows"].as_str().unwrap_or("0").parse()?;
    Ok((findings.iter().map(text).collect(), rows))
}

/// Reads every ID of the parts' Parquet files.
const DUCKDB: &str = r#"
import duckdb, sys
for table, folder, content in (("logs", "logs", "body"), ("spans", "traces", "name"), ("metrics", "metrics", "coalesce(value, sum)")):
    try:
        rows = duckdb.sql(f"""SELECT attributes->>'$."t.id"', {content} FROM read_parquet('{sys.argv[1]}/parts/{folder}/*/columns.parquet')""").fetchall()
    except duckdb.IOException:
        rows = []
    for id, text in rows:
        print(table, id, f"{text:.0f}" if isinstance(text, float) else text, sep="\t")
"#;

/// What DuckDB finds in the Parquet files of a folder that was flushed and closed. `None` without a Python that has it.
pub(crate) fn duckdb(
    python: Option<&Path>,
    data: &Path,
    stream: &Stream,
    fates: &BTreeMap<u64, Fate>,
) -> Option<Verdict> {
    let output = Command::new(python?).arg("-c").arg(DUCKDB).arg(data).output().ok()?;
    if !output.status.success() {
        let error = anyhow::anyhow!("{}", String::from_utf8_lossy(&output.stderr));
        return Some(failed("DuckDB", &error));
    }
    let mut found: HashMap<&str, Found> = HashMap::new();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        let mut cells = line.splitn(3, '\t');
        let (table, id, content) = (cells.next()?, cells.next(), cells.next());
        found.entry(table).or_default().add(stream, "DuckDB", id, content.or(Some("")));
    }
    let mut verdict = Verdict::default();
    for signal in Signal::ALL {
        verdict.add(found.remove(signal.table()).unwrap_or_default().judge(stream, "DuckDB", signal, fates));
    }
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream { seed: 5, records: 3, padding: 0, base: 0 };

    /// The first request of log records, and what its readings find.
    fn number() -> u64 {
        (0..).find(|number| STREAM.signal(*number) == Signal::Logs).expect("a third of all requests are logs")
    }

    fn found(places: &[(u64, u64)]) -> Found {
        let mut found = Found::default();
        for &(number, index) in places {
            let id = format!("{:032x}", STREAM.id(number, index));
            found.add(&STREAM, "test", Some(&id), Some(&STREAM.content(number, index)));
        }
        found
    }

    fn judge(found: Found, fate: Fate) -> Verdict {
        found.judge(&STREAM, "test", Signal::Logs, &BTreeMap::from([(number(), fate)]))
    }

    #[test]
    fn an_acknowledged_request_is_there_once() {
        let n = number();
        assert!(judge(found(&[(n, 0), (n, 1), (n, 2)]), Fate::Ack).is_clean());
        assert_eq!(judge(found(&[(n, 0), (n, 2)]), Fate::Ack).lost, 1);
        assert_eq!(judge(found(&[(n, 0), (n, 1), (n, 2), (n, 1)]), Fate::Ack).duplicate, 1);
        assert_eq!(judge(Found::default(), Fate::Ack).lost, 3);
    }

    #[test]
    fn windows_leave_nothing_out_where_numbers_leap() {
        let numbers = (0..1_500).chain(9_000_000..9_000_700);
        let fates: BTreeMap<u64, Fate> = numbers.map(|number| (number, Fate::Ack)).collect();
        assert_eq!(windows(&fates), [(0, 1_000), (1_000, 9_000_500), (9_000_500, 9_000_700)]);
        assert_eq!(windows(&BTreeMap::new()), []);
    }

    #[test]
    fn an_unanswered_request_is_there_wholly_or_not_at_all() {
        let n = number();
        assert!(judge(found(&[(n, 0), (n, 1), (n, 2)]), Fate::Ambiguous).is_clean());
        assert!(judge(Found::default(), Fate::Ambiguous).is_clean());
        assert_eq!(judge(found(&[(n, 1)]), Fate::Sent).torn, 1);
        assert_eq!(judge(found(&[(n, 1)]), Fate::Reject).rejected_stored, 1);
    }

    #[test]
    fn what_was_never_sent_or_came_back_changed_is_found_out() {
        let n = number();
        assert_eq!(judge(found(&[(n, 0), (n, 1), (n, 2), (n + 90, 0)]), Fate::Ack).phantom, 1);
        for id in [None, Some(""), Some("zz"), Some("00000000000000060000000000000000")] {
            let mut found = Found::default();
            found.add(&STREAM, "test", id, None);
            assert_eq!(judge(found, Fate::Ambiguous).phantom, 1, "{id:?}");
        }
        let mut changed = found(&[(n, 0), (n, 1)]);
        changed.add(&STREAM, "test", Some(&format!("{:032x}", STREAM.id(n, 2))), Some("something else"));
        assert_eq!(judge(changed, Fate::Ack).corrupt, 1);
    }
}
