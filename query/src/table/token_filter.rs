//! What the parts' indexes can answer of a predicate.
//!
//! Every rule here may only widen: a row for which the predicate is true must be among the rows of the filter. What is not
//! understood is [`TokenFilter::All`].

use std::fmt::Write;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, LikeExpr, Literal,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use trivium_model::SignalKind;
use trivium_storage::TokenFilter;
use trivium_storage::tokens::{filter_for_phrase, is_id_token};

use super::signal::{Indexed, indexed};
use crate::functions::{Attribute, Matches};

/// Values of an `IN` list up to which the indexes are asked. Beyond, reading the column costs less.
const VALUES_MAX: usize = 20_000;

/// The rows of a signal's part for which `predicate` may be true. A dynamic filter counts as it is at this moment.
pub(super) fn token_filter(signal: SignalKind, predicate: &Arc<dyn PhysicalExpr>) -> TokenFilter {
    let any: &dyn PhysicalExpr = predicate.as_ref();
    if let Some(binary) = any.downcast_ref::<BinaryExpr>() {
        return of_binary(signal, binary);
    }
    if let Some(list) = any.downcast_ref::<InListExpr>() {
        return of_list(signal, list);
    }
    if let Some(like) = any.downcast_ref::<LikeExpr>() {
        return of_like(signal, like);
    }
    if let Some(dynamic) = any.downcast_ref::<DynamicFilterPhysicalExpr>() {
        return dynamic.current().map_or(TokenFilter::All, |current| token_filter(signal, &current));
    }
    if let Some(case) = any.downcast_ref::<CaseExpr>() {
        return of_case(signal, case);
    }
    if let Some(literal) = any.downcast_ref::<Literal>() {
        // `false` and null leave no row.
        return match literal.value() {
            ScalarValue::Boolean(Some(false) | None) => TokenFilter::Or(Vec::new()),
            _ => TokenFilter::All,
        };
    }
    match any.downcast_ref::<ScalarFunctionExpr>() {
        Some(function) => of_matches(signal, function),
        None => TokenFilter::All,
    }
}

/// Whether a part of the predicate becomes known only while the query runs.
pub(super) fn has_dynamic_filter(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    predicate.is::<DynamicFilterPhysicalExpr>() || predicate.children().into_iter().any(has_dynamic_filter)
}

fn of_binary(signal: SignalKind, binary: &BinaryExpr) -> TokenFilter {
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::And => conjunction(vec![token_filter(signal, left), token_filter(signal, right)]),
        Operator::Or => disjunction(vec![token_filter(signal, left), token_filter(signal, right)]),
        Operator::Eq => match (literal(left), literal(right)) {
            (None, Some(value)) => equals(signal, left, value),
            (Some(value), None) => equals(signal, right, value),
            _ => TokenFilter::All,
        },
        _ => TokenFilter::All,
    }
}

fn of_list(signal: SignalKind, list: &InListExpr) -> TokenFilter {
    if list.negated() || list.len() > VALUES_MAX {
        return TokenFilter::All;
    }
    let value = |item| literal(item).map_or(TokenFilter::All, |value| equals(signal, list.expr(), value));
    disjunction(list.list().iter().map(value).collect())
}

/// The filter of a join with several partitions: the partition decides the branch, so any branch may hold.
fn of_case(signal: SignalKind, case: &CaseExpr) -> TokenFilter {
    let branches = case.when_then_expr().iter().map(|(_, then)| token_filter(signal, then));
    // Without ELSE the value is null, which keeps no row.
    disjunction(branches.chain(case.else_expr().map(|other| token_filter(signal, other))).collect())
}

fn of_like(signal: SignalKind, like: &LikeExpr) -> TokenFilter {
    let pattern = literal(like.pattern()).and_then(ScalarValue::try_as_str).flatten();
    match (is_text(signal, like.expr()), pattern) {
        // Without regard to case more letters are equal than those of one lower case.
        (true, Some(pattern)) if !like.negated() && !like.case_insensitive() => conjunction(inner_tokens(pattern)),
        _ => TokenFilter::All,
    }
}

fn of_matches(signal: SignalKind, function: &ScalarFunctionExpr) -> TokenFilter {
    let (Some(_), [column, query]) = (function.fun().inner().downcast_ref::<Matches>(), function.args()) else {
        return TokenFilter::All;
    };
    let query = literal(query).and_then(ScalarValue::try_as_str).flatten();
    match (is_text(signal, column), query.and_then(|query| crate::log_search::compile_text(query).ok())) {
        (true, Some(query)) => query.token_filter().clone(),
        _ => TokenFilter::All,
    }
}

/// The rows in which an expression can equal a value.
fn equals(signal: SignalKind, expression: &Arc<dyn PhysicalExpr>, value: &ScalarValue) -> TokenFilter {
    if value.is_null() {
        return TokenFilter::Or(Vec::new());
    }
    if let ScalarValue::FixedSizeBinary(_, Some(bytes)) = value {
        return match column_kind(signal, expression) {
            Some(Indexed::Id) => id_token(bytes),
            _ => TokenFilter::All,
        };
    }
    match value.try_as_str().flatten() {
        Some(text) if is_attribute(signal, expression) || column_kind(signal, expression) == Some(Indexed::Text) => {
            filter_for_phrase(text)
        }
        _ => TokenFilter::All,
    }
}

/// An ID without a digit looks like a word, and words are looked up elsewhere.
fn id_token(bytes: &[u8]) -> TokenFilter {
    let token = hex(bytes);
    if is_id_token(&token) { TokenFilter::Token(token) } else { TokenFilter::All }
}

/// Whether the expression is the text of a top-level attribute of an indexed set.
fn is_attribute(signal: SignalKind, expression: &Arc<dyn PhysicalExpr>) -> bool {
    let expression = without_cast(expression);
    let Some(function) = expression.downcast_ref::<ScalarFunctionExpr>() else { return false };
    let [set, _] = function.args() else { return false };
    function.fun().inner().downcast_ref::<Attribute>().is_some_and(Attribute::is_text)
        && column_kind(signal, set) == Some(Indexed::Attributes)
}

/// Whether all tokens of an expression are in the indexes. Those of a whole attribute set are not: its keys are missing.
fn is_text(signal: SignalKind, expression: &Arc<dyn PhysicalExpr>) -> bool {
    column_kind(signal, expression) == Some(Indexed::Text)
}

fn column_kind(signal: SignalKind, expression: &Arc<dyn PhysicalExpr>) -> Option<Indexed> {
    without_cast(expression).downcast_ref::<Column>().and_then(|column| indexed(signal, column.name()))
}

fn without_cast(expression: &Arc<dyn PhysicalExpr>) -> &Arc<dyn PhysicalExpr> {
    match expression.downcast_ref::<CastExpr>() {
        Some(cast) => without_cast(cast.expr()),
        None => expression,
    }
}

/// The value of a constant; a cast from one form of text to another does not change it.
fn literal(expression: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    match expression.downcast_ref::<CastExpr>() {
        Some(cast) if cast.cast_type().is_string() => {
            cast.expr().downcast_ref::<Literal>().map(Literal::value).filter(|value| value.try_as_str().is_some())
        }
        _ => expression.downcast_ref::<Literal>().map(Literal::value),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// The tokens of a `LIKE` pattern that stand whole in every matching text: those that touch no wildcard and no end at
/// which the pattern is open.
fn inner_tokens(pattern: &str) -> Vec<TokenFilter> {
    if pattern.contains('\\') {
        return Vec::new();
    }
    let mut filters = Vec::new();
    for (index, piece) in pattern.split(['%', '_']).enumerate() {
        let last = index == pattern.matches(['%', '_']).count();
        let word = |c: char| c.is_alphanumeric() || c == '_';
        // A piece that begins or ends in the middle of the text may begin or end within a token.
        let piece = if index == 0 { piece } else { piece.trim_start_matches(word) };
        let piece = if last { piece } else { piece.trim_end_matches(word) };
        filters.push(match piece.is_empty() {
            true => TokenFilter::All,
            false => filter_for_phrase(piece),
        });
    }
    filters
}

/// All of them, without those that say nothing.
fn conjunction(filters: Vec<TokenFilter>) -> TokenFilter {
    let mut filters: Vec<TokenFilter> = filters.into_iter().filter(|filter| *filter != TokenFilter::All).collect();
    match filters.len() {
        0 => TokenFilter::All,
        1 => filters.remove(0),
        _ => TokenFilter::And(filters),
    }
}

/// Any of them; nothing is known when one says nothing.
fn disjunction(mut filters: Vec<TokenFilter>) -> TokenFilter {
    if filters.contains(&TokenFilter::All) {
        return TokenFilter::All;
    }
    if filters.len() == 1 { filters.remove(0) } else { TokenFilter::Or(filters) }
}

#[cfg(test)]
mod tests;
