//! Reading scripts line by line.

use super::command::{Command, Eval, Expectations, Load, LoadedLine, Message, When};
use super::duration::parse_duration;
use super::expect::{Next, check_range, expectation};
use super::series::{Line, parse_series};

/// More points than this in one script are a mistake.
const MAX_SCRIPT_POINTS: usize = 4_000_000;

/// What is wrong with a script, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What was expected.
    pub message: String,
}

/// A script that was read.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Its commands in order.
    pub commands: Vec<Command>,
}

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut lines = Lines::new(text);
        let mut script = Self::default();
        let mut points = 0;
        while let Some((line, text)) = lines.next() {
            if text.is_empty() {
                continue;
            }
            let keyword = text.split_whitespace().next().unwrap_or_default().to_lowercase();
            let command = if keyword == "clear" {
                Command::Clear { line }
            } else if keyword.starts_with("load") {
                let load = load(line, text, &mut lines)?;
                points += load.series.iter().map(|series| series.points.len()).sum::<usize>();
                Command::Load(load)
            } else if keyword.starts_with("eval") {
                Command::Eval(Box::new(eval(line, text, &mut lines)?))
            } else {
                return Err(at(line)(format!("expected clear, load or eval, got {text:?}")));
            };
            if points > MAX_SCRIPT_POINTS {
                return Err(at(line)(format!("the script loads more than {MAX_SCRIPT_POINTS} points")));
            }
            script.commands.push(command);
        }
        Ok(script)
    }
}

fn at<M: Into<String>>(line: usize) -> impl Fn(M) -> ParseError {
    move |message| ParseError { line, message: message.into() }
}

/// The lines of a script without comments, with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { lines: text.lines().enumerate() }
    }

    /// The next line, empty for a comment.
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let (index, line) = self.lines.next()?;
        let line = line.trim();
        Some((index + 1, if line.starts_with('#') { "" } else { line }))
    }

    /// The next line of a block; a blank line ends it.
    fn next_in_block(&mut self) -> Option<(usize, &'a str)> {
        self.next().filter(|(_, line)| !line.is_empty())
    }
}

fn load(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Load, ParseError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (with_custom_buckets, step) = match words.as_slice() {
        ["load", step] => (false, step),
        ["load_with_nhcb", step] => (true, step),
        _ => return Err(at(line)(format!("expected \"load STEP\" or \"load_with_nhcb STEP\", got {text:?}"))),
    };
    let step = parse_duration(step).map_err(at(line))?;
    let mut load = Load { line, step, with_custom_buckets, series: Vec::new() };
    let (mut starts, mut default_starts) = (Vec::new(), Vec::new());
    while let Some((line, text)) = lines.next_in_block() {
        match parse_series(text).map_err(at(line))? {
            Line::StartOffsets(labels, offsets) => starts.push((line, labels, offsets)),
            Line::DefaultStartOffsets(offsets) => default_starts = offsets,
            Line::Points(labels, points) => {
                // As in Prometheus the last line of a series counts.
                load.series.retain(|other| other.labels != labels);
                let start_offsets = default_starts.iter().copied().cycle().take(points.len()).collect();
                load.series.push(LoadedLine { line, labels, points, start_offsets });
            }
        }
    }
    for (line, labels, offsets) in starts {
        let series = load.series.iter_mut().find(|series| series.labels == labels);
        let series = series.ok_or_else(|| at(line)("start times (@st) of a series that this load does not have"))?;
        series.start_offsets = offsets;
    }
    Ok(load)
}

fn eval(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Eval, ParseError> {
    let (mut expectations, rest) = modifier(text).map_err(at(line))?;
    let (when, query) = when(rest).map_err(at(line))?;
    if expectations.ordered && !matches!(when, When::Instant(_)) {
        return Err(at(line)("only the result of an instant query has an order"));
    }
    while let Some((line, text)) = lines.next_in_block() {
        match expectation(text, matches!(when, When::Instant(_)), &mut expectations).map_err(at(line))? {
            Next::Line => {}
            Next::Done => break,
        }
    }
    Ok(Eval { line, query: query.to_owned(), when, expectations })
}

/// Splits off `eval` and the old ways to expect something: `eval_fail`, `eval_warn`, `eval_info`, `eval_ordered`.
fn modifier(text: &str) -> Result<(Expectations, &str), String> {
    let mut expectations = Expectations::default();
    let (keyword, rest) = word(text);
    match keyword {
        "eval" => {}
        "eval_fail" => expectations.failure = Some(Message::Any),
        "eval_warn" => expectations.some_warning = true,
        "eval_info" => expectations.some_info = true,
        "eval_ordered" => expectations.ordered = true,
        _ => return Err(format!("expected eval, got {keyword:?}")),
    }
    Ok((expectations, rest))
}

/// `instant [at TIME] QUERY` or `range from TIME to TIME step DURATION QUERY`.
fn when(text: &str) -> Result<(When, &str), String> {
    let (kind, rest) = word(text);
    let (when, query) = match kind {
        "instant" => match word(rest) {
            ("at", rest) => {
                let (time, query) = word(rest);
                (When::Instant(parse_duration(time)?), query)
            }
            _ => (When::Instant(0), rest),
        },
        "range" => {
            let (start, rest) = after("from", rest)?;
            let (end, rest) = after("to", rest)?;
            let (step, query) = after("step", rest)?;
            check_range(start, end, step)?;
            (When::Range { start, end, step }, query)
        }
        _ => return Err(format!("expected \"instant [at TIME]\" or \"range from … to … step …\", got {kind:?}")),
    };
    if query.is_empty() { Err("expected a query".to_owned()) } else { Ok((when, query)) }
}

/// The duration after a keyword.
fn after<'a>(keyword: &str, text: &'a str) -> Result<(i64, &'a str), String> {
    match word(text) {
        (found, rest) if found == keyword => {
            let (duration, rest) = word(rest);
            Ok((parse_duration(duration)?, rest))
        }
        (found, _) => Err(format!("expected {keyword:?}, got {found:?}")),
    }
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}
