//! `info`: adds labels of info series, such as `target_info`, to the series of the same job and instance.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::matrix::{ABSENT, Column, Values, is_absent};
use super::{Evaluator, QueryError, Result, Steps};
use crate::ast::{Call, ExprKind, VectorSelector};
use crate::labels::{Labels, METRIC_NAME, MatchKind, Matcher};

const TARGET_INFO: &str = "target_info";

/// How the names of info series end.
const ANY_INFO: &str = ".+_info";

/// The labels that say of what a series is.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// An info series, and when its samples were taken.
struct InfoSeries {
    labels: Labels,
    times: Column,
}

impl Evaluator<'_> {
    pub(super) fn info(&self, call: &Call, steps: Steps) -> Result<Values> {
        let base = self.vector(&call.args[0], steps)?;
        let matchers: &[Matcher] = match call.args.get(1).map(|arg| &arg.kind) {
            Some(ExprKind::Vector(selector)) => &selector.matchers,
            _ => &[],
        };
        let (names, data): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| matcher.name == METRIC_NAME);
        let default_name = Matcher::equal(METRIC_NAME, TARGET_INFO);
        let any_info = Matcher::regex(METRIC_NAME, ANY_INFO.to_owned()).map_err(QueryError::Execution)?;
        // Info series themselves are left as they are.
        let info_names: Vec<&Matcher> = if call.args.len() > 1 { names.clone() } else { vec![&default_name] };
        let says_which = info_names.iter().any(|matcher| is_positive(matcher));
        let is_info = |column: &Column| {
            let name = column.labels.metric_name();
            says_which && info_names.iter().all(|matcher| matcher.matches(name))
        };
        let ignored: Vec<bool> = base.iter().map(is_info).collect();
        let names = match names.as_slice() {
            [] => vec![&default_name],
            // Said is only which not: of those that look like info series.
            _ if !says_which => names.into_iter().chain([&any_info]).collect(),
            _ => names,
        };
        let infos = self.info_series(&base, &ignored, &names, &data, &call.args[0], steps)?;
        let mut by_target: HashMap<Labels, Vec<&InfoSeries>> = HashMap::new();
        for info in &infos {
            by_target.entry(target_of(&info.labels)).or_default().push(info);
        }
        let mut output: Vec<Column> = Vec::new();
        for (column, ignored) in base.into_iter().zip(ignored) {
            if ignored {
                output.push(column);
                continue;
            }
            self.check()?;
            let candidates = by_target.get(&target_of(&column.labels)).map_or(&[][..], Vec::as_slice);
            output.extend(enrich(&column, candidates, &data, steps)?);
        }
        self.finish(output)
    }

    /// The info series of the jobs and instances of the base series.
    fn info_series(
        &self,
        base: &[Column],
        ignored: &[bool],
        names: &[&Matcher],
        data: &[&Matcher],
        arg: &crate::ast::Expr,
        steps: Steps,
    ) -> Result<Vec<InfoSeries>> {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (column, _) in base.iter().zip(ignored).filter(|(_, ignored)| !**ignored) {
            for name in IDENTIFYING {
                let value = column.labels.get(name);
                if !value.is_empty() {
                    values.entry(name).or_default().insert(value);
                }
            }
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let mut matchers: Vec<Matcher> = names.iter().chain(data).map(|matcher| Matcher::clone(matcher)).collect();
        for (name, values) in values {
            let escaped: Vec<String> = values.into_iter().map(regex::escape).collect();
            matchers.push(Matcher::regex(name, escaped.join("|")).map_err(QueryError::Execution)?);
        }
        // Info series are read at the times of the first selector in the argument.
        let like = first_selector(arg);
        let offset = like.and_then(|selector| selector.offset.clone());
        let at = like.and_then(|selector| selector.at);
        let selector = VectorSelector { name: None, matchers, offset, at, extension: Default::default() };
        let values = self.vector_selector(&selector, steps)?;
        if let Some(column) = values.iter().find(|column| !column.histograms.is_empty()) {
            let message = format!("this should be an info metric, with float samples: {}", column.labels);
            return Err(QueryError::Execution(message));
        }
        let times = self.sample_times(&selector, steps)?;
        Ok(times.into_iter().map(|times| InfoSeries { labels: times.labels.clone(), times }).collect())
    }
}

/// Whether a matcher says what there must be, not what there must not be.
fn is_positive(matcher: &Matcher) -> bool {
    matches!(matcher.kind, MatchKind::Equal | MatchKind::Regex(_))
}

/// The labels that say of what a series is.
fn target_of(labels: &Labels) -> Labels {
    labels.filtered(|name| IDENTIFYING.contains(&name))
}

fn first_selector(expr: &crate::ast::Expr) -> Option<&VectorSelector> {
    match &expr.kind {
        ExprKind::Vector(selector) => Some(selector),
        ExprKind::Matrix(matrix) => Some(&matrix.selector),
        ExprKind::Paren(inner) => first_selector(inner),
        ExprKind::Unary(unary) => first_selector(&unary.operand),
        ExprKind::Subquery(subquery) => first_selector(&subquery.expr),
        ExprKind::Aggregate(aggregate) => first_selector(&aggregate.expr),
        ExprKind::Binary(binary) => first_selector(&binary.left).or_else(|| first_selector(&binary.right)),
        ExprKind::Call(call) => call.args.iter().find_map(first_selector),
        ExprKind::Number(_) | ExprKind::String(_) => None,
    }
}

/// A base series with the labels of its info series; where these change, it becomes several.
fn enrich(base: &Column, candidates: &[&InfoSeries], data: &[&Matcher], steps: Steps) -> Result<Vec<Column>> {
    let needs_info = data.iter().any(|matcher| !matcher.matches(""));
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut output: Vec<Column> = Vec::new();
    for step in (0..steps.count).filter(|step| base.has(*step)) {
        let newest = newest_by_name(candidates, step)?;
        if newest.is_empty() && needs_info {
            continue;
        }
        let added = added_labels(base, &newest, data)?;
        let mut labels = base.labels.clone();
        for (name, value) in added {
            labels = labels.with(name, value);
        }
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            output.push(Column { drops_name: base.drops_name, ..Column::empty(labels, steps.count) });
            output.len() - 1
        });
        if let Some(sample) = base.at(step) {
            output[place].set(step, sample.to_value());
        }
    }
    Ok(output)
}

/// The newest info series of each name at a step.
fn newest_by_name<'a>(candidates: &[&'a InfoSeries], step: usize) -> Result<Vec<&'a InfoSeries>> {
    let mut newest: Vec<(&'a InfoSeries, f64)> = Vec::new();
    for info in candidates {
        let time = info.times.floats.get(step).copied().unwrap_or(ABSENT);
        if is_absent(time) {
            continue;
        }
        let name = info.labels.metric_name();
        match newest.iter_mut().find(|(other, _)| other.labels.metric_name() == name) {
            None => newest.push((info, time)),
            Some((_, other)) if *other > time => {}
            Some(entry) if entry.1 < time => *entry = (info, time),
            Some(_) => {
                return Err(QueryError::Execution(format!("found duplicate series for info metric {name}")));
            }
        }
    }
    Ok(newest.into_iter().map(|(info, _)| info).collect())
}

/// The labels to add: of all info series, those that were asked for and that the base series lacks.
fn added_labels<'a>(base: &Column, infos: &[&'a InfoSeries], data: &[&Matcher]) -> Result<BTreeMap<&'a str, &'a str>> {
    let mut added = BTreeMap::new();
    for label in infos.iter().flat_map(|info| info.labels.iter()) {
        let (name, value) = (&*label.name, &*label.value);
        let is_wanted = data.is_empty() || data.iter().any(|matcher| matcher.name == name);
        if name == METRIC_NAME || !is_wanted {
            continue;
        }
        if added.get(name).is_some_and(|other| *other != value) {
            return Err(QueryError::Execution(format!("conflicting label: {name}")));
        }
        if base.labels.get(name).is_empty() {
            added.insert(name, value);
        }
    }
    Ok(added)
}
