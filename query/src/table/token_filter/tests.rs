use arrow::datatypes::{DataType, Schema};
use datafusion::common::DFSchema;
use datafusion::execution::context::SessionContext;
use trivium_model::UnixNanos;

use super::super::signal::sql_schema;
use super::*;
use crate::functions;
use crate::optimizer::TelemetryPlanner;

/// The filter of a condition on a table, as text: `a & b`, `a | b`, `*` for every row.
fn filter_of(signal: SignalKind, sql: &str) -> String {
    let context = SessionContext::new();
    let mut state = context.state();
    for function in functions::scalar_functions() {
        datafusion::execution::FunctionRegistry::register_udf(&mut state, function).expect("a function");
    }
    let mut planners = state.expr_planners().to_vec();
    planners.insert(0, Arc::new(TelemetryPlanner { now: UnixNanos(0) }));
    let state =
        datafusion::execution::SessionStateBuilder::new_from_existing(state).with_expr_planners(planners).build();
    let schema: &Schema = &sql_schema(signal);
    let schema = DFSchema::try_from(schema.clone()).expect("a schema");
    let expression = state.create_logical_expr(sql, &schema).expect("an expression");
    let expression = state.create_physical_expr(expression, &schema).expect("a physical expression");
    render(&token_filter(signal, &expression))
}

fn render(filter: &TokenFilter) -> String {
    let list = |filters: &[TokenFilter], separator: &str| {
        format!("({})", filters.iter().map(render).collect::<Vec<_>>().join(separator))
    };
    match filter {
        TokenFilter::All => "*".into(),
        TokenFilter::Token(token) => token.clone(),
        TokenFilter::Prefix(prefix) => format!("{prefix}…"),
        TokenFilter::And(filters) => list(filters, " & "),
        TokenFilter::Or(filters) => list(filters, " | "),
    }
}

fn check(sql: &str, expected: &str) {
    assert_eq!(filter_of(SignalKind::Logs, sql), expected, "{sql}");
}

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn ids_and_attributes_are_looked_up() {
    check(&format!("trace_id = '{ID}'"), ID);
    check(&format!("X'{ID}' = trace_id AND severity_number > 8"), ID);
    check(&format!("trace_id = '{ID}' OR span_id = '00f067aa0ba902b7'"), &format!("({ID} | 00f067aa0ba902b7)"));
    check("attributes['order.id'] = 'A-10234'", "(10234 & a)");
    check("body = 'card declined'", "(card & declined)");
    check("severity_text = 'ERROR'", "error");
}

#[test]
fn resources_and_parents_are_looked_up_alone_and_in_lists() {
    check("resource['host.name'] = 'web-1'", "(1 & web)");
    check("resource['host.name'] IN ('web1', 'web2', 'web3', 'web4', 'db5')", "(web1 | web2 | web3 | web4 | db5)");
    let of_spans = |sql: &str| filter_of(SignalKind::Traces, sql);
    assert_eq!(of_spans("resource['host.name'] = 'web1'"), "web1");
    assert_eq!(of_spans("parent_span_id = '00f067aa0ba902b7'"), "00f067aa0ba902b7");
}

#[test]
fn what_the_indexes_do_not_cover_is_every_row() {
    for sql in [
        "resource['host.name'] <> 'web1'",
        "scope['name'] = 'lib'",
        "resource['host.name'] IN ('web1', 'web2') OR severity_number = 1",
        "service_name = 'cart'",
        "body <> 'card declined'",
        "attributes['code'] = 500",
        "attributes['code'] <> '500'",
        "attributes['a'] IS NULL",
        "trace_id = '4bf92f3577b34da6a3ce929d0e0e4736' OR severity_number = 1",
        "NOT (trace_id = '4bf92f3577b34da6a3ce929d0e0e4736')",
        "span_id = 'abcdefabcdefabcd'",
        "upper(body) = 'CARD'",
        "body ILIKE '% card %'",
        "attributes LIKE '%http.request.method%'",
        "resource LIKE '%k8s.pod.name%'",
        "matches(attributes, 'request')",
        "body NOT LIKE '% card %'",
        "attributes['a'] = ' - '",
    ] {
        check(sql, "*");
    }
    assert_eq!(filter_of(SignalKind::Metrics, "resource['host.name'] = 'web1'"), "*");
    assert_eq!(filter_of(SignalKind::Metrics, "metric_name = 'cpu'"), "*");
}

#[test]
fn like_gives_the_tokens_that_stand_whole() {
    check("body LIKE '%connection refused by peer%'", "(by & refused)");
    check("body LIKE '% connection refused %'", "(connection & refused)");
    check("body LIKE 'connection refused%'", "connection");
    check("body LIKE '%refused by'", "by");
    check("body LIKE 'user %'", "user");
    check("body LIKE 'user% logged _n now'", "(logged & now)");
    check("body LIKE '%x%'", "*");
    check(r"body LIKE '% 100\% %'", "*");
}

#[test]
fn searches_use_their_own_filter() {
    check(r#"matches(body, 'timeout AND "card declined"')"#, "(timeout & card & declined)");
    check("matches(service_name, 'cart')", "*");
}

#[test]
fn impossible_conditions_leave_no_row() {
    assert_eq!(filter_of(SignalKind::Logs, "trace_id = NULL"), "()");
    assert_eq!(filter_of(SignalKind::Logs, "false"), "()");
}

#[test]
fn lists_are_any_of_their_values() {
    let list = InListExpr::try_new(
        Arc::new(Column::new("trace_id", 7)),
        vec![
            Arc::new(Literal::new(ScalarValue::FixedSizeBinary(2, Some(vec![0x12, 0x34])))),
            Arc::new(Literal::new(ScalarValue::FixedSizeBinary(2, None))),
        ],
        false,
        &Schema::new(vec![arrow::datatypes::Field::new("trace_id", DataType::FixedSizeBinary(2), true); 8]),
    );
    let list: Arc<dyn PhysicalExpr> = Arc::new(list.expect("a list"));
    // Two bytes make no ID token, so that value says nothing.
    assert_eq!(render(&token_filter(SignalKind::Logs, &list)), "*");
}
