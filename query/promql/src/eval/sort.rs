//! The `sort` functions. Only the order of an instant query's answer shows their effect.

use std::cmp::Ordering;

use super::labels::string_arg;
use super::matrix::{Column, Values};
use super::{Evaluator, Result, Steps};
use crate::ast::Call;

impl Evaluator<'_> {
    pub(super) fn sort(&self, call: &Call, steps: Steps) -> Result<Values> {
        let mut columns = self.vector(&call.args[0], steps)?;
        let name = call.function.name;
        if matches!(name, "sort" | "sort_desc") {
            for column in &mut columns {
                column.histograms = Vec::new();
            }
            columns.retain(|column| !column.is_empty());
            let descends = name == "sort_desc";
            if steps.count == 1 {
                columns.sort_by(|a, b| nan_last(a.floats[0], b.floats[0], descends));
            }
            return Ok(Values::Vector(columns));
        }
        let labels: Vec<&str> = call.args[1..].iter().map(string_arg).collect();
        columns.sort_by(|a, b| by_labels(a, b, &labels));
        if name == "sort_by_label_desc" {
            columns.reverse();
        }
        Ok(Values::Vector(columns))
    }
}

/// NaN comes last in both directions.
fn nan_last(a: f64, b: f64, descends: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descends { order.reverse() } else { order }
        }
    }
}

/// By the labels that were asked for, and then by all.
fn by_labels(a: &Column, b: &Column, labels: &[&str]) -> Ordering {
    let different = labels.iter().map(|label| natural(a.labels.get(label), b.labels.get(label)));
    different.into_iter().find(|order| *order != Ordering::Equal).unwrap_or_else(|| a.labels.cmp(&b.labels))
}

/// As people sort: numbers within the text by their values.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (chunks(a), chunks(b));
    loop {
        let (x, y) = match (a.next(), b.next()) {
            (Some(x), Some(y)) => (x, y),
            (x, y) => return x.is_some().cmp(&y.is_some()),
        };
        let order = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Runs of digits and runs of anything else.
fn chunks(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let first = text.chars().next()?;
        let end = text.find(|c: char| c.is_ascii_digit() != first.is_ascii_digit()).unwrap_or(text.len());
        let (chunk, rest) = text.split_at(end);
        text = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::natural;

    #[test]
    fn numbers_in_text_count() {
        for (a, b) in [("a2", "a10"), ("", "a"), ("2", "10"), ("a", "a1"), ("a1b", "a1c"), ("1", "a")] {
            assert_eq!(natural(a, b), Ordering::Less, "{a} {b}");
        }
    }
}
