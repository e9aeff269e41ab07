//! The language of log search: what is read is run over a part, and the indexes of the part must know every row that it finds.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use tempfile::TempDir;
use trivium_query::Error;
use trivium_query::log_search::{CompiledQuery, Evaluation, compile, compile_for_spans, compile_text, parser};
use trivium_storage::{PageCache, Part, RowRanges};

use super::part::{self, folder};
use super::{Kind, Target, target};
use crate::corpus::separated;

const WORDS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "TO",
    "-",
    "+",
    "!",
    "(",
    ")",
    "\"",
    "/",
    "/i",
    "*",
    "?",
    ":",
    ":>=",
    ":<",
    "[",
    "]",
    "{",
    "}",
    "\\",
    "~2",
    "^3",
    "severity",
    "level:error",
    "service:cart",
    "body:",
    "exists:",
    "attributes.",
    "resource.",
    "trace_id:",
    "01010101010101010101010101010101",
    "order",
    "failed",
    "42",
    "-1",
    "true",
    "ä",
    "İ",
    "数据",
    " ",
    "&&",
    "||",
];

/// A part of logs, and its rows.
struct Logs {
    part: Part,
    rows: Vec<RecordBatch>,
    _folder: TempDir,
}

pub(super) fn targets() -> Vec<Target> {
    // Not before it is needed: it reads a part.
    let logs = OnceCell::new();
    let seeds = separated(include_str!("../../corpus/searches.txt"));
    vec![target("log_search", Kind::Text(WORDS), 1_500, seeds, move |input| {
        let logs = logs.get_or_init(open);
        logs.as_ref().map_or_else(|| Err("there is no part".into()), |logs| search(logs, input))
    })]
}

fn open() -> Option<Logs> {
    let (encoded, folder) = (part::make()?, folder()?);
    for (name, bytes) in &encoded.files {
        std::fs::write(folder.path().join(name), bytes).ok()?;
    }
    let pages = Arc::new(PageCache::new(1 << 20));
    let part = Part::open(encoded.record, folder.path().to_path_buf(), &pages);
    let rows = part.read(None, None).ok()?;
    Some(Logs { part, rows, _folder: folder })
}

fn search(logs: &Logs, input: &[u8]) -> Result<bool, String> {
    let text = String::from_utf8_lossy(input);
    if let Err(error) = parser::parse(&text) {
        let is_inside = error.offset <= text.len() && error.column <= text.chars().count() + 1;
        return if is_inside && !error.to_string().is_empty() {
            Ok(false)
        } else {
            Err(format!("it is wrong at {} of {} bytes", error.offset, text.len()))
        };
    }
    // What is read can still be refused: a regular expression that grows too large.
    drop(compile_for_spans(&text));
    if let Ok(query) = compile_text(&text) {
        query.matches_text("order 42 failed: Überlauf, straße");
    }
    let Ok(query) = compile(&text) else { return Ok(false) };
    let known = logs.part.candidate_rows(query.token_filter()).map_err(|error| error.to_string())?;
    let Some(found) = rows_of(&query, &logs.rows)? else { return Ok(false) };
    match found.into_iter().find(|row| !has(&known, *row)) {
        Some(row) => Err(format!("it finds row {row}, of which the indexes know nothing")),
        None => Ok(true),
    }
}

/// The rows that a search finds; `None` when it refuses what it meets.
fn rows_of(query: &CompiledQuery, batches: &[RecordBatch]) -> Result<Option<Vec<u32>>, String> {
    let mut evaluation = Evaluation::new(query);
    let (mut found, mut before) = (Vec::new(), 0_u32);
    for batch in batches {
        match evaluation.matching(batch) {
            Ok(rows) => found.extend(rows.set_indices().map(|row| before + row as u32)),
            Err(Error::Internal(problem)) => return Err(problem),
            Err(_) => return Ok(None),
        }
        before += batch.num_rows() as u32;
    }
    Ok(Some(found))
}

fn has(rows: &RowRanges, row: u32) -> bool {
    rows.iter().any(|range| range.contains(&row))
}
