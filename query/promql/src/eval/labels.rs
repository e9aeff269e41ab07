//! Functions that change labels.

use super::matrix::{Column, Values, merge_same_labels};
use super::{Evaluator, QueryError, Result, Steps};
use crate::ast::{Expr, ExprKind};
use crate::labels::METRIC_NAME;
use crate::parse::anchored_regex;

/// The text of a string argument.
pub(super) fn string_arg(expr: &Expr) -> &str {
    match &expr.unwrapped().kind {
        ExprKind::String(text) => text,
        _ => "",
    }
}

/// Whether a name may be that of a label: any UTF-8 that is not empty. What was no UTF-8 in the query has replacement
/// characters by now.
pub(super) fn is_label_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::REPLACEMENT_CHARACTER)
}

fn check_name(name: &str, which: &str, function: &str) -> Result<()> {
    if is_label_name(name) {
        return Ok(());
    }
    Err(QueryError::Execution(format!("invalid {which} label name in {function}(): {name}")))
}

impl Column {
    fn set_label(&mut self, name: &str, value: &str) {
        self.labels = self.labels.with(name, value);
        if name == METRIC_NAME {
            self.drops_name = false;
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn label_replace(&self, args: &[Expr], steps: Steps) -> Result<Values> {
        let [target, replacement, source, pattern] = [1, 2, 3, 4].map(|index| string_arg(&args[index]));
        let regex = anchored_regex(pattern)
            .map_err(|_| QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
        check_name(target, "destination", "label_replace")?;
        let mut columns = self.vector(&args[0], steps)?;
        for column in &mut columns {
            let value = column.labels.get(source).to_owned();
            if let Some(captures) = regex.captures(&value) {
                let mut expanded = String::new();
                captures.expand(replacement, &mut expanded);
                column.set_label(target, &expanded);
            }
        }
        Ok(Values::Vector(merge_same_labels(columns)?))
    }

    pub(super) fn label_join(&self, args: &[Expr], steps: Steps) -> Result<Values> {
        let (target, separator) = (string_arg(&args[1]), string_arg(&args[2]));
        let sources: Vec<&str> = args[3..].iter().map(string_arg).collect();
        for source in &sources {
            check_name(source, "source", "label_join")?;
        }
        check_name(target, "destination", "label_join")?;
        let mut columns = self.vector(&args[0], steps)?;
        for column in &mut columns {
            let values: Vec<&str> = sources.iter().map(|source| column.labels.get(source)).collect();
            let joined = values.join(separator);
            column.set_label(target, &joined);
        }
        Ok(Values::Vector(merge_same_labels(columns)?))
    }
}
