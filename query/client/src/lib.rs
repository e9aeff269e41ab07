//! Asks a running server over its HTTP API and renders the answers for a terminal: the commands `trivium sql`, `logs`,
//! `trace` and `find`. Knows nothing of storage or queries; prints nothing itself.
//!
//! Everything that comes from telemetry is made harmless before it is rendered: it may be hostile to a terminal. The JSON
//! answers are handed on as they came.

mod log_line;
mod request;
mod story;
mod table;
mod tail;
mod terminal;
mod value;
mod waterfall;

use anyhow::Context;
use serde_json::{Value, json};

use crate::request::{Api, parse};
use crate::tail::EventReader;
use crate::terminal::{Terminal, Tone, harmless};

/// What to search log records for, as in `GET /api/v1/logs`.
#[derive(Clone, Debug, Default)]
pub struct LogSearch {
    /// The search language's text; empty for everything.
    pub query: String,
    /// Earliest time: RFC 3339, Unix seconds or `now-15m`.
    pub start: Option<String>,
    /// Latest time.
    pub end: Option<String>,
    /// How many records, the newest that match.
    pub limit: usize,
}

/// Asks a SQL statement; a table, or the JSON answer as it came.
pub async fn sql(url: &str, sql: &str, json: bool) -> anyhow::Result<String> {
    let api = Api::new(url)?;
    let answer = api.ask(api.post(&["sql"], &json!({ "sql": sql }))).await?;
    rendered(answer, json, table::render)
}

/// Searches log records; one line each with the newest last, or the JSON answer as it came.
pub async fn logs(url: &str, search: &LogSearch, json: bool) -> anyhow::Result<String> {
    let api = Api::new(url)?;
    let mut parameters = vec![("query", search.query.clone()), ("limit", search.limit.to_string())];
    parameters.extend(search.start.clone().map(|start| ("start", start)));
    parameters.extend(search.end.clone().map(|end| ("end", end)));
    let answer = api.ask(api.get(&["logs"]).query(&parameters)).await?;
    rendered(answer, json, log_lines)
}

/// Gives each new log record to `print`, as a line or as JSON, until it answers `false` or the server ends the stream.
pub async fn tail(url: &str, query: &str, json: bool, mut print: impl FnMut(&str) -> bool) -> anyhow::Result<()> {
    let api = Api::new(url)?;
    let terminal = Terminal::detect();
    let mut response = api.send(api.get(&["logs", "tail"]).query(&[("query", query)])).await?;
    let mut reader = EventReader::default();
    while let Some(piece) = response.chunk().await.with_context(|| format!("the stream of {url} broke off"))? {
        for event in reader.read(&piece)? {
            let line = match event.name.as_str() {
                "error" => anyhow::bail!("the server ended the stream: {}", harmless(&event.data)),
                _ if json => event.data,
                "message" | "log" | "record" => log_line::render(&parse(&event.data)?, terminal),
                name => terminal.paint(Tone::Warning, &format!("[{}] {}", harmless(name), harmless(&event.data))),
            };
            if !print(&line) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// One trace as a tree with its log records, or the JSON answer as it came.
pub async fn trace(url: &str, id: &str, json: bool) -> anyhow::Result<String> {
    let api = Api::new(url)?;
    let answer = api.ask(api.get(&["traces", id])).await?;
    rendered(answer, json, waterfall::render)
}

/// Everything that bears an ID, or the JSON answer as it came.
pub async fn find(url: &str, id: &str, json: bool) -> anyhow::Result<String> {
    let api = Api::new(url)?;
    let answer = api.ask(api.get(&["correlate", id])).await?;
    rendered(answer, json, story::render)
}

fn rendered(answer: String, json: bool, render: fn(&Value, Terminal) -> String) -> anyhow::Result<String> {
    if json {
        return Ok(answer);
    }
    Ok(render(&parse(&answer)?, Terminal::detect()))
}

/// The records of an answer of `GET /api/v1/logs`, which come newest first: on a terminal the newest is read first, at the
/// bottom.
fn log_lines(answer: &Value, terminal: Terminal) -> String {
    let records = value::list(answer, "logs");
    if records.is_empty() {
        return terminal.paint(Tone::Faint, "(no log record matches)");
    }
    records.iter().rev().map(|record| log_line::render(record, terminal)).collect::<Vec<_>>().join("\n")
}
