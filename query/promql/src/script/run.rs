//! Running scripts.

use std::fmt;

use super::command::{Command, Eval, ExpectedValue, When};
use super::target::{Answer, SampleValue, Target, TargetSample, TargetSeries, Value};
use super::{Script, compare, convert, invariance};

/// An instant query is also asked as a range of three steps of this length, of which the middle one must be the same.
const STEP: i64 = 60_000;

/// Queries with these give something else as a range, and at another time.
const RANGE_FUNCTIONS: [&str; 4] = ["start()", "end()", "range()", "step()"];

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Where the script comes from, for messages.
    pub file: String,
    /// One for each `eval`, and for each other command that failed.
    pub outcomes: Vec<Outcome>,
}

/// What came of one command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Line of the script, from 1.
    pub line: usize,
    /// The query, or the name of the command.
    pub command: String,
    /// The result.
    pub verdict: Verdict,
}

/// The result of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is as expected.
    Passed,
    /// What was expected, and what came.
    Failed(String),
    /// Why it was not run.
    Skipped(String),
}

impl Report {
    /// How many evaluations passed.
    pub fn passed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Passed).count()
    }

    /// The commands that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)))
    }

    /// The evaluations that were not run.
    pub fn skipped(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Skipped(_)))
    }

    fn push(&mut self, line: usize, command: &str, verdict: Verdict) {
        self.outcomes.push(Outcome { line, command: command.to_owned(), verdict });
    }
}

/// `file:line: query: expected … got …` for each failure, and the counts.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            let Outcome { line, command, verdict } = outcome;
            match verdict {
                Verdict::Passed => {}
                Verdict::Failed(why) => writeln!(f, "{}:{line}: {command}: {why}", self.file)?,
                Verdict::Skipped(why) => writeln!(f, "{}:{line}: {command}: skipped: {why}", self.file)?,
            }
        }
        let (failed, skipped) = (self.failures().count(), self.skipped().count());
        write!(f, "{}: {} passed, {failed} failed, {skipped} skipped", self.file, self.passed())
    }
}

/// Runs all commands of a script in order; a failure does not end it.
///
/// As Prometheus' own runner does, an instant query is also asked as the middle of a range, and with all its selectors
/// fixed by `@` for other times; it must always give the same.
pub fn run(file: &str, script: &Script, target: &mut impl Target) -> Report {
    let mut report = Report { file: file.to_owned(), outcomes: Vec::new() };
    for command in &script.commands {
        match command {
            Command::Clear { line } => {
                if let Err(why) = target.clear() {
                    report.push(*line, "clear", Verdict::Failed(why));
                }
            }
            Command::Load(load) => {
                if let Err(why) = convert::series(load).and_then(|series| target.load(series)) {
                    report.push(load.line, "load", Verdict::Failed(why));
                }
            }
            Command::Eval(eval) => report.push(eval.line, &eval.query, evaluate(eval, target)),
        }
    }
    report
}

fn evaluate(eval: &Eval, target: &mut impl Target) -> Verdict {
    if let Some(why) = target.skips(eval) {
        return Verdict::Skipped(why);
    }
    let result = match eval.when {
        When::Instant(time) => instant(eval, time, target),
        When::Range { start, end, step } => check(eval, target.range(&eval.query, start, end, step)).map(|_| ()),
    };
    match result {
        Ok(()) => Verdict::Passed,
        Err(why) => Verdict::Failed(why),
    }
}

/// Compares an answer, or a failure; gives the answer back.
fn check(eval: &Eval, answer: Result<Answer, String>) -> Result<Option<Answer>, String> {
    match (answer, &eval.expectations.failure) {
        (Ok(answer), None) => compare::compare(eval, &answer).map(|()| Some(answer)),
        (Ok(_), Some(expected)) => Err(format!("expected the query to fail with {expected}, got an answer")),
        (Err(got), Some(expected)) => compare::failure(expected, &got).map(|()| None),
        (Err(got), None) => Err(format!("expected an answer, got the error {got:?}")),
    }
}

fn instant(eval: &Eval, time: i64, target: &mut impl Target) -> Result<(), String> {
    let Some(answer) = check(eval, target.instant(&eval.query, time))? else { return Ok(()) };
    if is_same_as_range(eval) {
        range_mode(eval, time, &answer, target)?;
    }
    match invariance::fixed_query(&eval.query, time) {
        Some(query) if !depends_on_range(eval) => at_other_times(eval, &query, time, target),
        _ => Ok(()),
    }
}

/// Asks the query with all selectors fixed for other times: the result must be the same.
fn at_other_times(eval: &Eval, query: &str, time: i64, target: &mut impl Target) -> Result<(), String> {
    for other in invariance::other_times(time) {
        let result = check(eval, target.instant(query, other));
        result.map_err(|why| format!("asked as {query} at {}s: {why}", other as f64 / 1000.0))?;
    }
    Ok(())
}

fn range_mode(eval: &Eval, time: i64, answer: &Answer, target: &mut impl Target) -> Result<(), String> {
    let range = target.range(&eval.query, time.saturating_sub(STEP), time.saturating_add(STEP), STEP);
    let in_range_mode = |why: String| format!("asked as a range: {why}");
    let range = range.map_err(|error| in_range_mode(format!("expected an answer, got the error {error:?}")))?;
    let value = middle_step(range.value, time, &answer.value).map_err(in_range_mode)?;
    compare::value(eval, &value).map_err(in_range_mode)
}

fn is_same_as_range(eval: &Eval) -> bool {
    let is_steady = matches!(eval.expectations.result, ExpectedValue::Scalar(_) | ExpectedValue::Series(_));
    is_steady && !eval.expectations.ordered && !depends_on_range(eval)
}

fn depends_on_range(eval: &Eval) -> bool {
    RANGE_FUNCTIONS.iter().any(|function| eval.query.contains(function))
}

/// What a range says for one time, in the form of the answer of an instant query.
fn middle_step(range: Value, time: i64, instant: &Value) -> Result<Value, String> {
    let Value::Matrix(series) = range else { return Err("expected a range of series".to_owned()) };
    if !series.windows(2).all(|pair| pair[0].labels.iter().le(pair[1].labels.iter())) {
        return Err("expected the series of a range in the order of their labels".to_owned());
    }
    let at_time = |series: TargetSeries| {
        let value = series.samples.into_iter().find(|(at, _)| *at == time)?.1;
        Some(TargetSample { labels: series.labels, value })
    };
    let samples: Vec<TargetSample> = series.into_iter().filter_map(at_time).collect();
    match (instant, samples.as_slice()) {
        (Value::Scalar(_), [TargetSample { value: SampleValue::Float(number), .. }]) => Ok(Value::Scalar(*number)),
        (Value::Scalar(_), _) => Err("expected one number for each step".to_owned()),
        _ => Ok(Value::Vector(samples)),
    }
}
