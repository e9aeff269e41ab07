//! Reads back through paths that have little in common, and compares with the ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::{Value, json};

use crate::ledger::Fate;
use crate::load::Clients;
use crate::payload::{NOTHING, SERVICE, Signal, Stream, TIME_STEP};
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
    /// Takes a record: its ID, and the line of what else was shown of it.
    fn add(&mut self, stream: &Stream, path: &str, id: Option<&str>, line: &str) {
        let Some((number, index)) = id.and_then(|id| stream.place(id)) else {
            self.verdict.phantom += 1;
            self.verdict.example(format!("{path}: a record of ID {id:?}"));
            return;
        };
        *self.counts.entry((number, index)).or_default() += 1;
        let expected = stream.line(number, index);
        if line != expected {
            self.verdict.corrupt += 1;
            self.verdict.example(format!("{path}: {number}/{index} is {line:?} instead of {expected:?}"));
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
                Fate::Partial => {
                    verdict.problem(format!("{path}: only some of {number} was accepted, {present} records"))
                }
                Fate::Ack | Fate::Reject | Fate::Sent | Fate::Ambiguous => {}
            }
        }
        verdict.phantom += self.counts.len() as u64;
        if let Some(place) = self.counts.keys().next() {
            verdict.example(format!("{path}: {place:?} was never sent"));
        }
        verdict
    }
}

/// A question to a server, or several of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Sql(Signal),
    LogSearch,
    /// The trace of the request of that number.
    Trace(u64),
    Promql,
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

    /// Reads the requests of a ledger in all ways.
    pub(crate) async fn verify(&self, fates: &BTreeMap<u64, Fate>) -> Verdict {
        let mut verdict = Verdict::default();
        for way in self.ways(fates) {
            verdict.add(self.read(way, fates).await);
        }
        verdict
    }

    /// All ways to read the requests of a ledger; by ID a sample of the traces, spread over the range.
    pub(crate) fn ways(&self, fates: &BTreeMap<u64, Fate>) -> Vec<Way> {
        let numbers: Vec<u64> = fates.keys().copied().filter(|n| self.stream.signal(*n) == Signal::Traces).collect();
        let step = numbers.len().div_ceil(self.traces_max.max(1)).max(1);
        let traces = numbers.iter().rev().step_by(step).map(|number| Way::Trace(*number));
        let sql = Signal::ALL.into_iter().map(Way::Sql);
        sql.chain([Way::LogSearch]).chain(traces).chain([Way::Promql]).collect()
    }

    /// Reads in one way. What the server does not answer is a problem.
    pub(crate) async fn read(&self, way: Way, fates: &BTreeMap<u64, Fate>) -> Verdict {
        let (name, verdict) = match way {
            Way::Sql(signal) => ("SQL", self.sql(signal, fates).await),
            Way::LogSearch => ("log search", self.log_search(fates).await),
            Way::Trace(number) => ("trace by ID", self.trace(number, fates).await),
            Way::Promql => ("PromQL", self.promql(fates).await),
        };
        verdict.unwrap_or_else(|error| failed(name, &error))
    }

    async fn sql(&self, signal: Signal, fates: &BTreeMap<u64, Fate>) -> anyhow::Result<Verdict> {
        // As `Stream::line` has them. JSON has no floats of its own.
        let columns = match signal {
            Signal::Logs => "time, trace_id, severity_number, body",
            Signal::Traces => "time, trace_id, span_id, parent_span_id, duration, name",
            Signal::Metrics => "time, metric_name, CAST(coalesce(value, sum) AS VARCHAR)",
        };
        let mut verdict = Verdict::default();
        for (first, end) in windows(fates) {
            let (start, stop) = (self.stream.time(first, 0), self.stream.time(end, 0));
            let sql = format!(
                "SELECT attributes['t.id'], {columns} FROM {} WHERE service_name = '{SERVICE}' \
                 AND time >= to_timestamp_nanos({start}) AND time < to_timestamp_nanos({stop})",
                signal.table()
            );
            let answer = self.ask_sql(&sql).await?;
            let mut found = Found::default();
            found.verdict.take_notes(&answer);
            for row in answer["rows"].as_array().context("rows")? {
                let (id, cells) = row.as_array().and_then(|row| row.split_first()).context("a row")?;
                found.add(self.stream, "SQL", id.as_str(), &line(cells));
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
        let mut verdict = Verdict::default();
        for (first, end) in windows(fates) {
            let found = self.logs_between(self.stream.time(first, 0), self.stream.time(end, 0)).await?;
            let window = fates.range(first..end).map(|(number, fate)| (*number, *fate)).collect();
            verdict.add(found.judge(self.stream, "log search", Signal::Logs, &window));
        }
        Ok(verdict)
    }

    /// All pages of a log search.
    async fn logs_between(&self, start: u64, stop: u64) -> anyhow::Result<Found> {
        let mut found = Found::default();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/logs?query=service:{SERVICE}&start={start}&end={stop}&limit={PAGE}{cursor}");
            let answer = self.get(&path).await?;
            found.verdict.take_notes(&answer);
            for log in answer["logs"].as_array().context("logs")? {
                let line = line(["time", "trace_id", "severity_number", "body"].map(|name| &log[name]));
                found.add(self.stream, "log search", log["attributes"]["t.id"].as_str(), &line);
            }
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(found),
            }
        }
    }

    async fn trace(&self, number: u64, fates: &BTreeMap<u64, Fate>) -> anyhow::Result<Verdict> {
        let answer = match self.get(&format!("/api/v1/traces/{:032x}", self.stream.trace_id(number))).await {
            Err(error) if error.to_string().contains(": 404 ") => json!({"spans": []}),
            other => other?,
        };
        let mut found = Found::default();
        found.verdict.take_notes(&answer);
        for span in answer["spans"].as_array().context("spans")? {
            let names = ["start_time", "trace_id", "span_id", "parent_span_id", "duration", "name"];
            let line = line(names.map(|name| &span[name]));
            found.add(self.stream, "trace by ID", span["attributes"]["t.id"].as_str(), &line);
        }
        let fate = fates.get(&number).copied().unwrap_or(Fate::Sent);
        Ok(found.judge(self.stream, "trace by ID", Signal::Traces, &BTreeMap::from([(number, fate)])))
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

/// Cells of a row as [`Stream::line`] has them.
fn line<'a>(cells: impl IntoIterator<Item = &'a Value>) -> String {
    let mut line = String::new();
    for cell in cells {
        if !line.is_empty() {
            line.push(' ');
        }
        match cell {
            Value::Null => line.push_str(NOTHING),
            Value::String(text) => line.push_str(text),
            other => line.push_str(&other.to_string()),
        }
    }
    line
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

/// Reads everything that a line has from the parts' Parquet files.
const DUCKDB: &str = r#"
import duckdb, sys
ids = ", ".join(f"coalesce(lower(hex({column})), '-')" for column in ("trace_id", "span_id", "parent_span_id"))
for table, folder, columns in (
    ("logs", "logs", "coalesce(lower(hex(trace_id)), '-'), severity_number, body"),
    ("spans", "traces", ids + ", duration, name"),
    ("metrics", "metrics", "metric_name, coalesce(value, sum)"),
):
    line = f"concat_ws(' ', epoch_ns(time), {columns})"
    try:
        rows = duckdb.sql(f"""SELECT attributes->>'$."t.id"', {line} FROM read_parquet('{sys.argv[1]}/parts/{folder}/*/columns.parquet')""").fetchall()
    except duckdb.IOException:
        rows = []
    for id, text in rows:
        print(table, id, text, sep="\t")
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
        let (table, id, line) = (cells.next()?, cells.next(), cells.next());
        found.entry(table).or_default().add(stream, "DuckDB", id, line.unwrap_or_default());
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
            found.add(&STREAM, "test", Some(&id), &STREAM.line(number, index));
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
            found.add(&STREAM, "test", id, "");
            assert_eq!(judge(found, Fate::Ambiguous).phantom, 1, "{id:?}");
        }
        let id = format!("{:032x}", STREAM.id(n, 2));
        // Something else, and the same at another time.
        for line in ["something else".to_owned(), STREAM.line(n, 2).replacen(&STREAM.time(n, 2).to_string(), "3", 1)] {
            let mut changed = found(&[(n, 0), (n, 1)]);
            changed.add(&STREAM, "test", Some(&id), &line);
            assert_eq!(judge(changed, Fate::Ack).corrupt, 1, "{line}");
        }
    }

    #[test]
    fn a_part_of_a_request_that_was_accepted_is_no_pass() {
        assert!(!judge(found(&[(number(), 0)]), Fate::Partial).is_clean());
    }

    #[test]
    fn cells_make_a_line() {
        let row = json!(["12", null, 9, "a body"]);
        assert_eq!(line(row.as_array().expect("an array")), "12 - 9 a body");
    }
}
