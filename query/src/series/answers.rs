//! Answers of range queries, kept for the dashboard that asks again in half a minute.
//!
//! Each step of a range query depends on nothing but the samples around it, so an answer can be cut into chunks of
//! [`CHUNK_STEPS`] steps, at the same places whatever range is asked for. A chunk is reused when the parts around it are
//! exactly those that it was computed from and no open buffer has a row there: a late sample, a deletion or a damaged part
//! changes that, and then it is computed anew. What cannot be cut safely is not kept: [`is_divisible`].

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use trivium_model::TenantId;
use trivium_promql::{Answer, MatrixSeries, Selection, Series, SeriesSource, SourceError, Value};

use super::source::{StoredSeries, Window};

/// Steps of a chunk: a quarter of an hour of a dashboard that is refreshed every 15 seconds.
const CHUNK_STEPS: i64 = 64;

/// A chunk is expected to take this much, which fixes how many places the cache has in the beginning.
const CHUNK_BYTES_TYPICAL: usize = 32 * 1024;

/// A larger chunk would push out too much else.
const CHUNK_SHARE_MAX: usize = 16;

/// What a query is, but for its range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    tenant: TenantId,
    query: Arc<str>,
    /// Milliseconds.
    lookback: i64,
    step: i64,
    /// Start of the range modulo the step.
    phase: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    question: Question,
    chunk: i64,
}

#[derive(Debug)]
struct Chunk {
    /// The samples that it was computed from, and what held them.
    window: Window,
    fingerprint: u64,
    series: Vec<MatrixSeries>,
    infos: Vec<String>,
}

/// Steps since the epoch, and a chunk that has them.
type Piece = (Range<i64>, Arc<Chunk>);

#[derive(Clone, Debug)]
struct ChunkWeight;

impl Weighter<Key, Arc<Chunk>> for ChunkWeight {
    fn weight(&self, key: &Key, chunk: &Arc<Chunk>) -> u64 {
        (key.question.query.len() + chunk_bytes(&chunk.series) + 256) as u64
    }
}

fn chunk_bytes(series: &[MatrixSeries]) -> usize {
    // Labels are shared with the label cache; histograms are counted with a typical number of buckets.
    series.iter().map(|series| 96 + series.floats.len() * 16 + series.histograms.len() * 400).sum()
}

/// Chunks of answers by use, bounded in bytes.
#[derive(Debug)]
pub(crate) struct AnswerCache {
    chunks: Cache<Key, Arc<Chunk>, ChunkWeight>,
    bytes_max: usize,
}

/// A range query. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeQuery<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) query: &'a str,
    pub(crate) lookback: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
}

impl AnswerCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        let places = (bytes_max / CHUNK_BYTES_TYPICAL).max(16);
        Self { chunks: Cache::with_weighter(places, bytes_max as u64, ChunkWeight), bytes_max }
    }

    /// Answers a range query; `evaluate` is called with the source to read from and a first and a last step, for those
    /// steps that are not known. An error of it is the error of the whole.
    pub(crate) fn answer<E>(
        &self,
        asked: RangeQuery<'_>,
        series: &StoredSeries,
        evaluate: impl Fn(&dyn SeriesSource, i64, i64) -> Result<Answer, E>,
    ) -> Result<Answer, E> {
        let phase = asked.start.rem_euclid(asked.step);
        let (first, last) = (asked.start.div_euclid(asked.step), (asked.end - phase).div_euclid(asked.step));
        if self.bytes_max == 0 || last - first < CHUNK_STEPS || !is_divisible(asked.query) {
            return evaluate(series, asked.start, asked.end);
        }
        let RangeQuery { tenant, lookback, step, .. } = asked;
        let question = Question { tenant, query: asked.query.into(), lookback, step, phase };
        let (known, missing) = self.known(&question, first..last + 1, series);
        let mut pieces = known;
        let mut warnings = Vec::new();
        for span in missing {
            let recorded = Recorded::new(series);
            let answer = evaluate(&recorded, question.time(span.start), question.time(span.end - 1))?;
            let Value::Matrix(matrix) = answer.value else { return Ok(Answer { value: answer.value, ..answer }) };
            let piece = Arc::new(Chunk { window: Window::EMPTY, fingerprint: 0, series: matrix, infos: answer.infos });
            // What lacks a part must not outlast its repair.
            if answer.warnings.is_empty() && series.unread().is_empty() {
                self.keep(&question, &span, &piece, &recorded);
            }
            warnings.extend(answer.warnings);
            pieces.push((span, piece));
        }
        pieces.sort_unstable_by_key(|(span, _)| span.start);
        Ok(merged(&question, pieces, warnings))
    }

    /// The chunks that are known and still true, and the spans between them. Spans are numbers of steps since the epoch.
    fn known(&self, question: &Question, steps: Range<i64>, series: &StoredSeries) -> (Vec<Piece>, Vec<Range<i64>>) {
        let (mut known, mut missing) = (Vec::new(), Vec::<Range<i64>>::new());
        for number in steps.start.div_euclid(CHUNK_STEPS)..=(steps.end - 1).div_euclid(CHUNK_STEPS) {
            let whole = number * CHUNK_STEPS..(number + 1) * CHUNK_STEPS;
            let span = whole.start.max(steps.start)..whole.end.min(steps.end);
            let chunk = self.chunks.get(&Key { question: question.clone(), chunk: number });
            match chunk.filter(|chunk| series.fingerprint(chunk.window) == Some(chunk.fingerprint)) {
                Some(chunk) => known.push((span, chunk)),
                None => match missing.last_mut() {
                    Some(before) if before.end == span.start => before.end = span.end,
                    _ => missing.push(span),
                },
            }
        }
        (known, missing)
    }

    /// Keeps the whole chunks of what was computed, where no buffer is open.
    fn keep(&self, question: &Question, span: &Range<i64>, piece: &Chunk, recorded: &Recorded<'_>) {
        let Some(read) = recorded.window.get() else { return };
        let before = question.time(span.start) - read.after;
        let behind = read.until - question.time(span.end - 1);
        let first = (span.start + CHUNK_STEPS - 1).div_euclid(CHUNK_STEPS);
        for number in first..span.end.div_euclid(CHUNK_STEPS) {
            let steps = number * CHUNK_STEPS..(number + 1) * CHUNK_STEPS;
            let (start, end) = (question.time(steps.start), question.time(steps.end - 1));
            let window = Window { after: start - before, until: end + behind };
            let Some(fingerprint) = recorded.series.fingerprint(window) else { continue };
            let series: Vec<MatrixSeries> = piece.series.iter().filter_map(|series| cut(series, start, end)).collect();
            if chunk_bytes(&series) > self.bytes_max / CHUNK_SHARE_MAX {
                continue;
            }
            let chunk = Chunk { window, fingerprint, series, infos: piece.infos.clone() };
            self.chunks.insert(Key { question: question.clone(), chunk: number }, Arc::new(chunk));
        }
    }
}

impl Question {
    fn time(&self, step: i64) -> i64 {
        step * self.step + self.phase
    }
}

/// Whether every step can be computed without knowing the others or the range: not with `@`, whose samples may lie
/// anywhere, with a subquery, whose own steps do not move with the query's, or with the functions that tell the range.
/// Errs on the safe side, for a look at the text is enough.
fn is_divisible(query: &str) -> bool {
    if query.contains('@') || query.contains('#') {
        return false;
    }
    let mut within_brackets = false;
    for byte in query.bytes() {
        match byte {
            b'[' => within_brackets = true,
            b']' => within_brackets = false,
            b':' if within_brackets => return false,
            _ => {}
        }
    }
    ["start", "end", "range", "step"].iter().all(|name| {
        query.match_indices(name).all(|(at, name)| {
            let before = query.as_bytes()[..at].last();
            let is_word = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_' && *byte != b':');
            let after = query.as_bytes()[at + name.len()..].trim_ascii_start();
            !(is_word && after.first() == Some(&b'('))
        })
    })
}

/// The points of a series between two times, both inclusive.
fn cut(series: &MatrixSeries, start: i64, end: i64) -> Option<MatrixSeries> {
    fn points<T: Clone>(points: &[(i64, T)], start: i64, end: i64) -> Vec<(i64, T)> {
        let from = points.partition_point(|(time, _)| *time < start);
        let to = points.partition_point(|(time, _)| *time <= end);
        points[from..to].to_vec()
    }
    let floats = points(&series.floats, start, end);
    let histograms = points(&series.histograms, start, end);
    let is_there = !floats.is_empty() || !histograms.is_empty();
    is_there.then(|| MatrixSeries { labels: series.labels.clone(), floats, histograms })
}

/// Pieces in the order of time, joined to one answer.
fn merged(question: &Question, pieces: Vec<Piece>, mut warnings: Vec<String>) -> Answer {
    let mut places = HashMap::new();
    let mut all: Vec<MatrixSeries> = Vec::new();
    let mut infos: Vec<String> = Vec::new();
    for (span, chunk) in pieces {
        let (start, end) = (question.time(span.start), question.time(span.end - 1));
        infos.extend(chunk.infos.iter().cloned());
        for series in chunk.series.iter().filter_map(|series| cut(series, start, end)) {
            let place = *places.entry(series.labels.clone()).or_insert(all.len());
            match all.get_mut(place) {
                Some(before) => {
                    before.floats.extend(series.floats);
                    before.histograms.extend(series.histograms);
                }
                None => all.push(series),
            }
        }
    }
    all.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
    for texts in [&mut warnings, &mut infos] {
        texts.sort_unstable();
        texts.dedup();
    }
    Answer { value: Value::Matrix(all), warnings, infos }
}

/// Notes between which times samples are asked for.
struct Recorded<'a> {
    series: &'a StoredSeries,
    window: Cell<Option<Window>>,
}

impl<'a> Recorded<'a> {
    fn new(series: &'a StoredSeries) -> Self {
        Self { series, window: Cell::new(None) }
    }
}

impl SeriesSource for Recorded<'_> {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let (after, until) = (selection.after, selection.until);
        let window = self.window.get().unwrap_or(Window { after, until });
        self.window.set(Some(Window { after: window.after.min(after), until: window.until.max(until) }));
        self.series.select(selection)
    }
}
