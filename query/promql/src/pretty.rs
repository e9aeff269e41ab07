//! Long expressions over several lines, as Prometheus' `/format_query` breaks them.

use crate::ast::{Aggregate, Binary, Call, Expr, ExprKind};

/// An expression that is longer than this is broken up.
const MAX_LINE: usize = 100;

impl Expr {
    /// The expression as text, over several lines where it is long, each level indented by two spaces.
    pub fn pretty(&self) -> String {
        let mut text = String::new();
        write(self, 0, &mut text);
        text
    }
}

fn indent(level: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", level));
}

fn write(expr: &Expr, level: usize, text: &mut String) {
    let line = expr.to_string();
    let fits = line.len() <= MAX_LINE;
    match &expr.kind {
        // Signs stand before what is indented no further than they.
        ExprKind::Unary(unary) => {
            indent(level, text);
            text.push(if unary.negates { '-' } else { '+' });
            let mut operand = String::new();
            write(&unary.operand, level, &mut operand);
            text.push_str(operand.trim());
        }
        // As Prometheus has it, a subquery on one line is not indented.
        ExprKind::Subquery(_) if fits => text.push_str(&line),
        ExprKind::Subquery(subquery) => {
            write(&subquery.expr, level, text);
            text.push_str(&subquery.suffix());
        }
        ExprKind::Aggregate(aggregate) if !fits => write_aggregate(aggregate, level, text),
        ExprKind::Call(call) if !fits => write_call(call, level, text),
        ExprKind::Binary(binary) if !fits => write_binary(binary, level, text),
        ExprKind::Paren(inner) if !fits => {
            indent(level, text);
            text.push_str("(\n");
            write(inner, level + 1, text);
            close(level, text);
        }
        _ => {
            indent(level, text);
            text.push_str(&line);
        }
    }
}

fn close(level: usize, text: &mut String) {
    text.push('\n');
    indent(level, text);
    text.push(')');
}

fn write_aggregate(aggregate: &Aggregate, level: usize, text: &mut String) {
    indent(level, text);
    text.push_str(&aggregate.prefix());
    text.push_str("(\n");
    if let Some(param) = &aggregate.param {
        write(param, level + 1, text);
        text.push_str(",\n");
    }
    write(&aggregate.expr, level + 1, text);
    close(level, text);
}

fn write_call(call: &Call, level: usize, text: &mut String) {
    indent(level, text);
    text.push_str(call.function.name);
    text.push_str("(\n");
    for (index, arg) in call.args.iter().enumerate() {
        if index > 0 {
            text.push_str(",\n");
        }
        write(arg, level + 1, text);
    }
    close(level, text);
}

fn write_binary(binary: &Binary, level: usize, text: &mut String) {
    write(&binary.left, level + 1, text);
    text.push('\n');
    indent(level, text);
    text.push_str(&binary.operation());
    text.push('\n');
    write(&binary.right, level + 1, text);
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseOptions, parse};

    fn pretty(query: &str) -> String {
        parse(query, &ParseOptions::EXPERIMENTAL).map_or_else(|error| error.to_string(), |expr| expr.pretty())
    }

    #[test]
    fn short_expressions_stay_on_one_line() {
        assert_eq!(pretty("sum(a)by(b)>1"), "sum by (b) (a) > 1");
        let name = "a".repeat(100);
        assert_eq!(pretty(&name), name);
        let longer = format!("{name}b");
        assert_eq!(pretty(&longer), longer, "a selector cannot be broken");
    }

    #[test]
    fn long_expressions_are_broken_level_by_level() {
        let errors = r#"sum by (service, route) (rate(http_server_requests_total{cluster="eu-1",code=~"5.."}[5m]))"#;
        let all = r#"sum by (service, route) (rate(http_server_requests_total{cluster="eu-1"}[5m]))"#;
        assert_eq!(
            pretty(&format!("{errors} / on(service) group_left {all}")),
            format!("  {errors}\n/ on (service) group_left ()\n  {all}")
        );
        assert_eq!(
            pretty(&format!("topk by(x)(5, {errors} > bool -({all}))")),
            format!("topk by (x) (\n  5,\n    {errors}\n  > bool\n    -({all})\n)")
        );
    }

    #[test]
    fn arguments_parentheses_and_subqueries_are_broken() {
        let long = format!("{}{{le=\"1\"}}", "b".repeat(90));
        assert_eq!(
            pretty(&format!("histogram_quantile(0.9, -({long} + 1))")),
            format!("histogram_quantile(\n  0.9,\n  -(\n      {long}\n    +\n      1\n  )\n)")
        );
        assert_eq!(
            pretty(&format!("max_over_time(({long} + 1)[1h:5m] offset 1d)")),
            format!("max_over_time(\n  (\n      {long}\n    +\n      1\n  )[1h:5m] offset 1d\n)")
        );
    }

    #[test]
    fn what_is_broken_means_the_same() {
        let long = "x".repeat(60);
        let query = format!("sum(rate({long}[5m:1m])) / count_values(\"v\", abs({long} ^ -2) or on() vector(1)) @ 5");
        let query = query.trim_end_matches(" @ 5");
        let options = ParseOptions::EXPERIMENTAL;
        let again = parse(&pretty(query), &options).map(|expr| expr.to_string());
        assert_eq!(again.ok(), parse(query, &options).map(|expr| expr.to_string()).ok());
    }
}
