//! `format_query` and `parse_query`, and the walk over a query's selectors.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use trivium_promql::ast::{
    Aggregate, At, Binary, Call, Cardinality, Duration, Expr, ExprKind, Extension, MatrixSelector, Subquery, ValueType,
    VectorSelector,
};
use trivium_promql::{MatchKind, Matcher, Variadic, format_float, parse};

use super::body::data;
use super::error::ApiError;
use super::form::Form;
use super::json::{escape_html, write_text};
use super::query::{parse_options, query_text};
use crate::state::QueryState;

fn parsed(state: &QueryState, form: &Form) -> Result<Expr, ApiError> {
    let query = query_text(form)?;
    parse(&query, &parse_options(&state.config.promql)).map_err(|error| ApiError::parameter("query", error))
}

pub(super) async fn format_query(State(state): State<Arc<QueryState>>, form: Form) -> Result<Response, ApiError> {
    let mut json = String::new();
    write_text(&mut json, &parsed(&state, &form)?.pretty());
    Ok(data(&json))
}

pub(super) async fn parse_query(State(state): State<Arc<QueryState>>, form: Form) -> Result<Response, ApiError> {
    Ok(data(&escape_html(&tree(&parsed(&state, &form)?).to_string())))
}

/// The matchers of all selectors of an expression.
pub(crate) fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut Vec<Vec<Matcher>>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => found.push(selector.matchers.clone()),
        ExprKind::Matrix(matrix) => found.push(matrix.selector.matchers.clone()),
        ExprKind::Subquery(subquery) => collect(&subquery.expr, found),
        ExprKind::Call(call) => call.args.iter().for_each(|argument| collect(argument, found)),
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|parameter| collect(parameter, found));
            collect(&aggregate.expr, found);
        }
        ExprKind::Binary(binary) => {
            collect(&binary.left, found);
            collect(&binary.right, found);
        }
        ExprKind::Unary(unary) => collect(&unary.operand, found),
        ExprKind::Paren(inner) => collect(inner, found),
    }
}

/// The syntax tree as Prometheus' user interface takes it.
fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => json!({"type": "numberLiteral", "val": format_float(number.value)}),
        ExprKind::String(text) => json!({"type": "stringLiteral", "val": text}),
        ExprKind::Vector(selector) => {
            let mut node = selector_members(selector);
            node.insert("type".into(), "vectorSelector".into());
            Value::Object(node)
        }
        ExprKind::Matrix(matrix) => matrix_selector(matrix),
        ExprKind::Subquery(subquery) => subquery_tree(subquery),
        ExprKind::Call(call) => call_tree(call),
        ExprKind::Aggregate(aggregate) => aggregation(aggregate),
        ExprKind::Binary(binary) => binary_tree(binary),
        ExprKind::Unary(unary) => {
            json!({"type": "unaryExpr", "op": if unary.negates { "-" } else { "+" }, "expr": tree(&unary.operand)})
        }
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
    }
}

/// Milliseconds; what has to be computed is not known yet.
fn millis(duration: Option<&Duration>) -> i64 {
    if let Some(Duration::Fixed(millis)) = duration { *millis } else { 0 }
}

fn timestamp(at: Option<At>) -> Value {
    if let Some(At::Time(millis)) = at { millis.into() } else { Value::Null }
}

fn start_or_end(at: Option<At>) -> Value {
    match at {
        Some(At::Start) => "start".into(),
        Some(At::End) => "end".into(),
        Some(At::Time(_)) | None => Value::Null,
    }
}

fn selector_members(selector: &VectorSelector) -> Map<String, Value> {
    let matchers: Vec<Value> = selector.matchers.iter().map(matcher).collect();
    let mut members = Map::new();
    for (name, value) in [
        ("name", selector.name.clone().unwrap_or_default().into()),
        ("offset", millis(selector.offset.as_ref()).into()),
        ("matchers", matchers.into()),
        ("timestamp", timestamp(selector.at)),
        ("startOrEnd", start_or_end(selector.at)),
        ("anchored", (selector.extension == Extension::Anchored).into()),
        ("smoothed", (selector.extension == Extension::Smoothed).into()),
    ] {
        members.insert(name.into(), value);
    }
    members
}

fn matcher(matcher: &Matcher) -> Value {
    let kind = match matcher.kind {
        MatchKind::Equal => "=",
        MatchKind::NotEqual => "!=",
        MatchKind::Regex(_) => "=~",
        MatchKind::NotRegex(_) => "!~",
    };
    json!({"name": matcher.name, "value": matcher.value, "type": kind})
}

fn matrix_selector(matrix: &MatrixSelector) -> Value {
    let mut node = selector_members(&matrix.selector);
    node.insert("type".into(), "matrixSelector".into());
    node.insert("range".into(), millis(Some(&matrix.range)).into());
    Value::Object(node)
}

fn subquery_tree(subquery: &Subquery) -> Value {
    json!({
        "type": "subquery",
        "expr": tree(&subquery.expr),
        "range": millis(Some(&subquery.range)),
        "offset": millis(subquery.offset.as_ref()),
        "step": millis(subquery.step.as_ref()),
        "timestamp": timestamp(subquery.at),
        "startOrEnd": start_or_end(subquery.at),
    })
}

fn call_tree(call: &Call) -> Value {
    let function = call.function;
    let variadic = match function.variadic {
        Variadic::No => 0,
        Variadic::AtMost(count) => i64::try_from(count).unwrap_or(i64::MAX),
        Variadic::Any => -1,
    };
    let types: Vec<&str> = function.args.iter().map(|kind| kind.short()).collect();
    json!({
        "type": "call",
        "func": {"name": function.name, "argTypes": types, "variadic": variadic, "returnType": function.returns.short()},
        "args": call.args.iter().map(tree).collect::<Vec<_>>(),
    })
}

fn aggregation(aggregate: &Aggregate) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregate.op.as_str(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.param.as_ref().map(tree),
        "grouping": aggregate.grouping,
        "without": aggregate.without,
    })
}

fn binary_tree(binary: &Binary) -> Value {
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    let matching = (is_vector(&binary.left) && is_vector(&binary.right)).then(|| {
        let matching = &binary.matching;
        let card = match matching.cardinality {
            _ if binary.op.is_set() => "many-to-many",
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        };
        json!({
            "card": card,
            "labels": matching.labels,
            "on": matching.on,
            "include": matching.include,
            "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
        })
    });
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "matching": matching,
        "bool": binary.returns_bool,
    })
}
