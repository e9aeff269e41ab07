//! Asks a running server over its HTTP API and renders the answers for a terminal: the commands `trivium sql`, `logs`,
//! `trace` and `find`. Knows nothing of storage or queries; prints nothing itself.
//!
//! Everything that comes from telemetry is made harmless before it is rendered: it may be hostile to a terminal. The JSON
//! answers are handed on as they came.

mod backtest;
mod log_line;
mod request;
mod story;
mod table;
mod tail;
mod terminal;
mod value;
mod waterfall;

pub use request::{Failure, Server, client, failure};

use anyhow::Context;
use serde_json::{Value, json};

use crate::request::parse;
use crate::tail::EventReader;
use crate::terminal::{Terminal, Tone};

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
pub async fn sql(server: &Server, sql: &str, json: bool) -> anyhow::Result<String> {
    let answer = server.ask(server.post(&["sql"], &json!({ "sql": sql }))).await?;
    rendered(answer, json, table::render)
}

/// Searches log records; one line each with the newest last, or the JSON answer as it came.
pub async fn logs(server: &Server, search: &LogSearch, json: bool) -> anyhow::Result<String> {
    let mut parameters = vec![("query", search.query.clone()), ("limit", search.limit.to_string())];
    parameters.extend(search.start.clone().map(|start| ("start", start)));
    parameters.extend(search.end.clone().map(|end| ("end", end)));
    let answer = server.ask(server.get(&["logs"]).query(&parameters)).await?;
    rendered(answer, json, log_lines)
}

/// Gives each new log record to `print`, as a line or as JSON, until it answers `false` or the server ends the stream.
pub async fn tail(server: &Server, query: &str, json: bool, mut print: impl FnMut(&str) -> bool) -> anyhow::Result<()> {
    let terminal = Terminal::detect();
    let mut response = server.send(server.get(&["logs", "tail"]).query(&[("query", query)])).await?;
    let mut reader = EventReader::default();
    while let Some(piece) =
        response.chunk().await.with_context(|| format!("the stream of {} broke off", server.url()))?
    {
        for event in reader.read(&piece)? {
            let line = match event.name.as_str() {
                "end" => anyhow::bail!("the server ended the stream: {}", value::text(&parse(&event.data)?, "reason")),
                "message" if json => event.data,
                "message" => log_line::render(&parse(&event.data)?, terminal),
                // A program that reads JSON lines wants records only.
                "skipped" if !json => {
                    let count = value::text(&parse(&event.data)?, "count");
                    terminal.paint(Tone::Warning, &format!("({count} records came too fast and are not shown)"))
                }
                _ => continue,
            };
            if !print(&line) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Tries rules on stored history: what they would have done, or the JSON answer as it came. `request` is the body of
/// `POST /api/v1/rules/backtest`.
pub async fn backtest(server: &Server, request: &Value, json: bool) -> anyhow::Result<String> {
    let answer = server.ask(server.post(&["rules", "backtest"], request)).await?;
    rendered(answer, json, backtest::render)
}

/// One trace as a tree with its log records, or the JSON answer as it came.
pub async fn trace(server: &Server, id: &str, json: bool) -> anyhow::Result<String> {
    check_id(id)?;
    let answer = server.ask(server.get(&["traces", id])).await?;
    rendered(answer, json, waterfall::render)
}

/// Everything that bears an ID, or the JSON answer as it came.
pub async fn find(server: &Server, id: &str, json: bool) -> anyhow::Result<String> {
    check_id(id)?;
    let answer = server.ask(server.get(&["correlate", id])).await?;
    rendered(answer, json, story::render)
}

/// Without an ID the path would be another one. A variable of the shell that is not set is the usual cause.
fn check_id(id: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        !id.trim().is_empty(),
        "the ID is empty: paste a trace ID, a span ID, an order number, or any word"
    );
    Ok(())
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
    let mut lines: Vec<String> = records.iter().rev().map(|record| log_line::render(record, terminal)).collect();
    let matched = value::integer(&answer["matched"]).and_then(|matched| usize::try_from(matched).ok());
    let note = match matched {
        _ if records.is_empty() => "(no log record matches)".into(),
        Some(matched) if matched > records.len() => format!("(the newest {} of {matched})", records.len()),
        _ if answer["next_cursor"].is_string() => format!("(the newest {}, there are more)", records.len()),
        _ => String::new(),
    };
    let notes = (!note.is_empty()).then(|| terminal.paint(Tone::Faint, &note));
    let warnings = value::list(answer, "warnings").iter();
    lines.extend(
        notes.into_iter().chain(warnings.map(|warning| terminal.paint(Tone::Warning, &value::display(warning)))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terminal = Terminal { width: None, colours: false };

    #[test]
    fn the_newest_record_stands_at_the_bottom() {
        let record = |body: &str| json!({ "time": "0", "severity_number": 9, "service": "cart", "body": body });
        let answer =
            json!({ "logs": [record("second"), record("first")], "matched": 7, "warnings": ["took too long\u{1b}"] });
        let lines = log_lines(&answer, PLAIN);
        let lines: Vec<_> = lines.lines().collect();
        assert!(lines[0].ends_with("first") && lines[1].ends_with("second"), "{lines:?}");
        assert_eq!(lines[2..], ["(the newest 2 of 7)", "took too long\\u{1b}"]);
    }

    #[tokio::test]
    async fn an_empty_id_is_refused_before_anything_is_asked() {
        let server = Server::new("http://127.0.0.1:1", None, None).expect("an address");
        for id in ["", " \t"] {
            for answer in [find(&server, id, false).await, trace(&server, id, true).await] {
                let message = answer.expect_err("there is no ID").to_string();
                assert!(message.starts_with("the ID is empty"), "{message}");
            }
        }
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert_eq!(log_lines(&json!({ "logs": [], "matched": 0 }), PLAIN), "(no log record matches)");
    }
}
