//! Lines of a series and its points: `metric{label="value"} 1 2+3x4 _ stale`.

use std::sync::Arc;

use super::command::Point;
use super::cursor::Cursor;
use super::duration::take_duration;
use super::histogram::{Literal, take_histogram};
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::series::STALE_NAN_BITS;

/// More points than this in one line are a mistake.
pub(super) const MAX_POINTS: usize = 100_000;

/// What a series line holds.
pub(super) enum Line {
    Points(Labels, Vec<Option<Point>>),
    /// An `@st` line: start times relative to the times of points.
    StartOffsets(Labels, Vec<Option<i64>>),
    /// An `@st` line without a series: for all series after it that have no such line of their own.
    DefaultStartOffsets(Vec<Option<i64>>),
}

pub(super) fn parse_series(line: &str) -> Result<Line, String> {
    let mut cursor = Cursor::new(line);
    if cursor.take("@st") {
        return Ok(Line::DefaultStartOffsets(take_items(&mut cursor, start_offsets)?));
    }
    let labels = take_labels(&mut cursor)?;
    if cursor.take("@st") {
        return Ok(Line::StartOffsets(labels, take_items(&mut cursor, start_offsets)?));
    }
    Ok(Line::Points(labels, take_items(&mut cursor, points)?))
}

fn take_labels(cursor: &mut Cursor<'_>) -> Result<Labels, String> {
    let here = cursor.here();
    let name = cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("expected a metric name, got {here}"));
    }
    let mut pairs = Vec::new();
    if !name.is_empty() {
        pairs.push(("__name__".to_owned(), name.to_owned()));
    }
    if !cursor.take("{") {
        return if name.is_empty() { Err(format!("expected a series, got {here}")) } else { Ok(Labels::new(pairs)) };
    }
    loop {
        cursor.skip_spaces();
        if cursor.take("}") {
            break;
        }
        pairs.push(take_label(cursor, pairs.is_empty())?);
        cursor.skip_spaces();
        if !cursor.take(",") && cursor.peek() != Some('}') {
            return Err(format!("expected \",\" or \"}}\" after a label, got {}", cursor.here()));
        }
    }
    Ok(Labels::new(pairs))
}

/// A label, or the quoted name of the metric if there is no other.
fn take_label(cursor: &mut Cursor<'_>, may_be_metric: bool) -> Result<(String, String), String> {
    let here = cursor.here();
    let quoted = matches!(cursor.peek(), Some('"' | '\'' | '`'));
    let name =
        if quoted { cursor.string()? } else { cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned() };
    if name.is_empty() {
        return Err(format!("expected a label name, got {here}"));
    }
    cursor.skip_spaces();
    if quoted && may_be_metric && matches!(cursor.peek(), Some(',' | '}')) {
        return Ok(("__name__".to_owned(), name));
    }
    cursor.expect("=").map_err(|message| format!("after label {name:?}: {message}"))?;
    cursor.skip_spaces();
    let value = cursor.string().map_err(|message| format!("value of label {name:?}: {message}"))?;
    Ok((name, value))
}

type Items<T> = Vec<Option<T>>;

/// Items with spaces between them up to the end of the line.
fn take_items<T>(
    cursor: &mut Cursor<'_>,
    item: fn(&mut Cursor<'_>, &mut Items<T>) -> Result<(), String>,
) -> Result<Items<T>, String> {
    let mut items = Vec::new();
    loop {
        let before = cursor.rest().len();
        cursor.skip_spaces();
        if cursor.rest().is_empty() {
            return Ok(items);
        }
        if cursor.rest().len() == before {
            return Err(format!("expected a space, got {}", cursor.here()));
        }
        if cursor.take("_") {
            let gaps = repetitions(cursor)?.unwrap_or(1);
            reserve(&items, gaps)?;
            items.extend((0..gaps).map(|_| None));
        } else {
            item(cursor, &mut items)?;
        }
    }
}

/// `xN`, if it comes next.
fn repetitions(cursor: &mut Cursor<'_>) -> Result<Option<usize>, String> {
    if !cursor.take("x") {
        return Ok(None);
    }
    let number = cursor.unsigned().map_err(|message| format!("after x: {message}"))?;
    // Far above any limit is as good as beyond it.
    Ok(Some(usize::try_from(number).unwrap_or(usize::MAX)))
}

/// Refuses lines that would grow beyond all bounds, before anything is allocated.
fn reserve<T>(items: &Items<T>, more: usize) -> Result<(), String> {
    match items.len().checked_add(more) {
        Some(total) if total <= MAX_POINTS => Ok(()),
        _ => Err(format!("a series has more than {MAX_POINTS} points")),
    }
}

fn points(cursor: &mut Cursor<'_>, points: &mut Items<Point>) -> Result<(), String> {
    if cursor.take("{{") {
        return histograms(cursor, points);
    }
    let (mut value, may_step) =
        if cursor.take("stale") { (f64::from_bits(STALE_NAN_BITS), false) } else { (cursor.float()?, true) };
    let has_step = may_step && matches!(cursor.peek(), Some('+' | '-'));
    let step = if has_step { cursor.float()? } else { 0.0 };
    let times = repetitions(cursor)?;
    if has_step && times.is_none() {
        return Err(format!("expected x and how often to add the step, got {}", cursor.here()));
    }
    // `axN` is one value and N more.
    let number = times.unwrap_or(0).saturating_add(1);
    reserve(points, number)?;
    for _ in 0..number {
        points.push(Some(Point::Float(value)));
        // Keeps the bits of a staleness marker.
        if has_step {
            value += step;
        }
    }
    Ok(())
}

fn histograms(cursor: &mut Cursor<'_>, points: &mut Items<Point>) -> Result<(), String> {
    let Literal { histogram: first, with_hint } = take_histogram(cursor)?;
    let subtract = cursor.peek() == Some('-');
    let step = if cursor.take("+{{") || cursor.take("-{{") { Some(take_histogram(cursor)?.histogram) } else { None };
    let times = repetitions(cursor)?;
    if step.is_some() && times.is_none() {
        return Err(format!("expected x and how often to add the histogram, got {}", cursor.here()));
    }
    let times = times.unwrap_or(0);
    reserve(points, times.saturating_add(1))?;
    let mut current = Arc::new(first);
    points.push(Some(Point::Histogram { histogram: Arc::clone(&current), with_hint }));
    for _ in 0..times {
        if let Some(step) = &step {
            current = Arc::new(combine(&current, step, subtract)?);
        }
        points.push(Some(Point::Histogram { histogram: Arc::clone(&current), with_hint }));
    }
    Ok(())
}

fn combine(current: &Histogram, step: &Histogram, subtract: bool) -> Result<Histogram, String> {
    // The script says what happens; whether it looks like a reset is not its concern.
    let combined = if subtract { current.sub(step) } else { current.add(step) };
    combined.map(|(histogram, _)| histogram).map_err(|error| format!("error combining histograms: {error}"))
}

fn start_offsets(cursor: &mut Cursor<'_>, offsets: &mut Items<i64>) -> Result<(), String> {
    // `*` is the same as before.
    let before = cursor.take("*").then(|| offsets.iter().rev().find_map(|offset| *offset).unwrap_or(0));
    let mut offset = if let Some(before) = before { before } else { take_duration(cursor)? };
    let has_step = matches!(cursor.peek(), Some('+' | '-'));
    let step = if has_step { take_duration(cursor)? } else { 0 };
    let times = repetitions(cursor)?;
    if has_step && times.is_none() {
        return Err(format!("expected x and how often to add the step, got {}", cursor.here()));
    }
    let number = times.unwrap_or(0).saturating_add(1);
    reserve(offsets, number)?;
    for _ in 0..number {
        offsets.push(Some(offset));
        offset = offset.saturating_add(step);
    }
    Ok(())
}
