//! What a statement may be: one, reading only, and of bounded size.
//!
//! The size is checked on the tokens, before anything recursive looks at them: neither the parser nor the planner meets a
//! statement that could exhaust the stack. Filters of the user interface never come here as text.

mod casts;
mod growth;
mod patterns;

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::DataFusionError;
use datafusion::logical_expr::sqlparser::ast::{
    Expr as SqlExpr, GroupByExpr, ObjectName, Query, Select, SetExpr, Statement as SqlStatement, TableFactor, Visit,
    Visitor,
};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::error::Error;

pub(crate) use casts::check_casts;
pub(crate) use growth::check_plan;
pub(crate) use patterns::check_patterns;

/// Bytes of a statement: an `IN` list of 7,000 trace IDs.
const SQL_BYTES_MAX: usize = 256 * 1024;

/// Names, operators and literals of a statement, without the literals of lists: what becomes a level of its tree when each
/// stands below the one before. DataFusion plans a chain of so many within a second or two, even built without
/// optimisation.
const NODES_MAX: usize = 1_000;

/// Levels of parentheses, brackets and `CASE`.
const DEPTH_MAX: usize = 64;

/// Recursions of the parser: a level of nesting takes several.
const PARSER_RECURSION_MAX: usize = 512;

/// Joins of one statement. Cross joins multiply rows, and the planner's work grows with the number of inputs.
const JOINS_MAX: usize = 16;

/// Subqueries that stand as values within one another. The optimiser's work doubles with each.
const SUBQUERY_DEPTH_MAX: usize = 6;

/// Sets of columns that one `GROUP BY` may group by: each is an aggregation of its own over all rows.
const GROUPING_SETS_MAX: usize = 64;

/// `SELECT`s and tables of a statement after each name of a `WITH` is replaced by what it stands for, as the planner does.
const SOURCES_MAX: u64 = 256;

/// Reads a statement and refuses what may not be planned.
pub(crate) fn admit(sql: &str) -> Result<Statement, Error> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(too_large(format!("it has {} bytes", sql.len()), format!("{SQL_BYTES_MAX} bytes")));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Error::invalid(format!("cannot read the statement: {error}")))?;
    check_size(&tokens)?;
    let mut parser = DFParserBuilder::new(tokens)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(PARSER_RECURSION_MAX)
        .build()
        .map_err(|error| unreadable(&error))?;
    let mut statements = parser.parse_statements().map_err(|error| unreadable(&error))?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => check_statement(statement),
        (None, _) => Err(Error::invalid("the statement is empty")),
        (Some(_), more) => {
            Err(Error::invalid(format!("{} statements were sent; one statement is run at a time", more + 1)))
        }
    }
}

fn too_large(what: String, limit: String) -> Error {
    Error::Limit { what, limit }
}

fn unreadable(error: &DataFusionError) -> Error {
    let message = match error {
        DataFusionError::SQL(error, _) => error.to_string(),
        other => other.message().into_owned(),
    };
    let message = message.trim_start_matches("sql parser error: ").trim_start_matches("ParserError: ");
    Error::invalid(format!("cannot read the statement: {message}"))
}

fn check_size(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let (mut nodes, mut depth) = (0_usize, 0_usize);
    let mut in_list = false;
    for token in tokens {
        let mut opens_item = false;
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Comma => opens_item = true,
            Token::Period | Token::SemiColon | Token::EOF => {}
            Token::LParen => (depth, opens_item) = (depth + 1, true),
            // A chain of subscripts is as deep as it is long.
            Token::LBracket | Token::LBrace => (depth, nodes) = (depth + 1, nodes + 1),
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            // The literals of a list stand side by side.
            Token::Number(..) if in_list => {}
            literal if in_list && is_text(literal) => {}
            Token::Minus if in_list => (nodes, opens_item) = (nodes + 1, true),
            Token::Word(word) => {
                nodes += 1;
                match word.value.to_ascii_uppercase().as_str() {
                    "CASE" if word.quote_style.is_none() => depth += 1,
                    "END" if word.quote_style.is_none() => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            _ => nodes += 1,
        }
        in_list = opens_item;
        if depth > DEPTH_MAX {
            return Err(too_large(
                format!("it is nested more than {DEPTH_MAX} levels deep"),
                format!("{DEPTH_MAX} levels of parentheses, brackets and CASE; name inner queries in a WITH"),
            ));
        }
    }
    if nodes > NODES_MAX {
        let what = format!("it has {nodes} names, operators and literals");
        let limit = format!(
            "{NODES_MAX}, without the literals of lists; write a long OR as column IN (…), or send several statements"
        );
        return Err(too_large(what, limit));
    }
    Ok(())
}

fn is_text(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(_) | Token::HexStringLiteral(_) | Token::NationalStringLiteral(_))
}

fn read_only(statement: &str) -> Error {
    let words: Vec<&str> = statement.split_whitespace().take(2).collect();
    // The first word says what it is; the second only where the first alone would not.
    let name = match words.as_slice() {
        [first @ ("CREATE" | "DROP" | "ALTER" | "EXPLAIN" | "SELECT"), second, ..] => format!("{first} {second}"),
        [first, ..] => (*first).to_owned(),
        [] => "this statement".to_owned(),
    };
    Error::ReadOnly { statement: name }
}

fn check_statement(statement: Statement) -> Result<Statement, Error> {
    match &statement {
        Statement::Statement(inner) => {
            check_query(inner)?;
            Ok(statement)
        }
        Statement::Explain(explain) => {
            if explain.options.analyze {
                return Err(read_only("EXPLAIN ANALYZE"));
            }
            match explain.statement.as_ref() {
                Statement::Statement(inner) => check_query(inner)?,
                other => return Err(read_only(&other.to_string())),
            }
            Ok(statement)
        }
        other => Err(read_only(&other.to_string())),
    }
}

fn check_query(statement: &SqlStatement) -> Result<(), Error> {
    if !matches!(statement, SqlStatement::Query(_)) {
        return Err(read_only(&statement.to_string()));
    }
    let mut checker = Checker::default();
    match statement.visit(&mut checker) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Looks at every part of a query for what is no reading, however deep it stands.
#[derive(Default)]
struct Checker {
    joins: usize,
    /// Subqueries that stand as values around what is looked at.
    subqueries: usize,
    /// The queries around what is looked at, the outermost first.
    scopes: Vec<Scope>,
}

/// A query and what its `WITH` names.
#[derive(Default)]
struct Scope {
    /// The queries of its `WITH`, by where they are in memory.
    names: Vec<(*const Query, String)>,
    /// How many sources each name stands for.
    sizes: HashMap<String, u64>,
    sources: u64,
}

impl Scope {
    fn of(query: &Query) -> Self {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = tables.map(|table| (&raw const *table.query, table.alias.name.value.to_lowercase()));
        Self { names: names.collect(), ..Self::default() }
    }
}

impl Visitor for Checker {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return ControlFlow::Break(Error::invalid("WITH RECURSIVE is not supported: it has no bound"));
        }
        if !query.locks.is_empty() {
            return ControlFlow::Break(read_only("FOR UPDATE"));
        }
        self.scopes.push(Scope::of(query));
        self.check_body(&query.body)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let (Some(done), Some(outer)) = (self.scopes.pop(), self.scopes.last_mut()) else {
            return ControlFlow::Continue(());
        };
        match outer.names.iter().find(|(of, _)| std::ptr::eq(*of, query)) {
            Some((_, name)) => {
                outer.sizes.insert(name.clone(), done.sources);
                ControlFlow::Continue(())
            }
            None => self.add_sources(done.sources),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Error> {
        let name = relation.to_string().to_lowercase().replace('"', "");
        let known = self.scopes.iter().rev().find_map(|scope| scope.sizes.get(&name));
        let sources = known.copied().unwrap_or(1);
        self.add_sources(sources)
    }

    fn pre_visit_expr(&mut self, expression: &SqlExpr) -> ControlFlow<Error> {
        if is_subquery(expression) {
            self.subqueries += 1;
        }
        if self.subqueries <= SUBQUERY_DEPTH_MAX {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(too_large(
            format!("subqueries are nested more than {SUBQUERY_DEPTH_MAX} levels deep"),
            format!("{SUBQUERY_DEPTH_MAX} levels; use joins, or name inner queries in a WITH"),
        ))
    }

    fn post_visit_expr(&mut self, expression: &SqlExpr) -> ControlFlow<Error> {
        if is_subquery(expression) {
            self.subqueries -= 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        if select.into.is_some() {
            return ControlFlow::Break(read_only("SELECT INTO"));
        }
        let inputs = select.from.iter().map(|from| 1 + from.joins.len()).sum::<usize>();
        self.joins += inputs.saturating_sub(1);
        if self.joins > JOINS_MAX {
            return ControlFlow::Break(too_large(
                format!("it joins more than {JOINS_MAX} times"),
                format!("{JOINS_MAX} joins; aggregate before you join, or send several statements"),
            ));
        }
        let grouping = match &select.group_by {
            GroupByExpr::Expressions(expressions, _) => grouping_sets(expressions),
            GroupByExpr::All(_) => 1,
        };
        if grouping > GROUPING_SETS_MAX {
            return ControlFlow::Break(too_large(
                format!("its GROUP BY stands for more than {GROUPING_SETS_MAX} sets of columns"),
                format!("{GROUPING_SETS_MAX} sets: CUBE of six columns; name those you want in GROUPING SETS"),
            ));
        }
        self.add_sources(1)
    }

    fn pre_visit_statement(&mut self, statement: &SqlStatement) -> ControlFlow<Error> {
        match statement {
            SqlStatement::Query(_) => ControlFlow::Continue(()),
            other => ControlFlow::Break(read_only(&other.to_string())),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        match factor {
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => ControlFlow::Break(Error::invalid(
                format!("{factor} is not a table; there are no functions that make rows"),
            )),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// How many sets of columns a `GROUP BY` stands for: those of its members multiply.
fn grouping_sets(expressions: &[SqlExpr]) -> usize {
    let sets = |expression: &SqlExpr| match expression {
        SqlExpr::Cube(columns) => 1_usize.checked_shl(u32::try_from(columns.len()).unwrap_or(u32::MAX)),
        SqlExpr::Rollup(columns) => Some(columns.len() + 1),
        SqlExpr::GroupingSets(sets) => Some(sets.len()),
        _ => Some(1),
    };
    expressions.iter().map(|one| sets(one).unwrap_or(usize::MAX)).fold(1, usize::saturating_mul)
}

fn is_subquery(expression: &SqlExpr) -> bool {
    matches!(expression, SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. })
}

impl Checker {
    fn add_sources(&mut self, sources: u64) -> ControlFlow<Error> {
        let Some(scope) = self.scopes.last_mut() else { return ControlFlow::Continue(()) };
        scope.sources = scope.sources.saturating_add(sources);
        if scope.sources <= SOURCES_MAX {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(too_large(
            "it reads too many tables, where each name of a WITH counts as what it stands for".into(),
            format!(
                "{SOURCES_MAX} SELECTs and tables; name each query of a WITH less often, or send several statements"
            ),
        ))
    }

    fn check_body(&self, body: &SetExpr) -> ControlFlow<Error> {
        match body {
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => ControlFlow::Break(read_only(&statement.to_string())),
            SetExpr::SetOperation { left, right, .. } => {
                self.check_body(left)?;
                self.check_body(right)
            }
            SetExpr::Query(_) | SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => {
                ControlFlow::Continue(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trivium_model::ErrorKind;

    fn check(sql: &str, expected: &str) {
        let error = admit(sql).expect_err(sql).to_string();
        assert!(error.contains(expected), "{sql}: {error}");
    }

    #[test]
    fn queries_and_plans_are_admitted() {
        for sql in [
            "SELECT 1",
            "select * from logs where body like '%;%' -- drop",
            "WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL SELECT 2;",
            "(SELECT 1) UNION (SELECT 2) ORDER BY 1",
            "EXPLAIN SELECT 1",
            "VALUES (1), (2)",
        ] {
            assert!(admit(sql).is_ok(), "{sql}: {:?}", admit(sql).err());
        }
    }

    #[test]
    fn one_statement_at_a_time() {
        check("SELECT 1; DROP TABLE logs", "2 statements");
        check(" ; ", "empty");
        check("", "empty");
        check("SELEC 1", "cannot read the statement");
    }

    #[test]
    fn everything_that_writes_is_refused_as_such() {
        for sql in [
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TABLE t AS SELECT 1",
            "DROP TABLE logs",
            "INSERT INTO logs VALUES (1)",
            "COPY logs TO '/tmp/x'",
            "COPY (SELECT 1) TO '/tmp/x'",
            "UPDATE logs SET body = 'x'",
            "DELETE FROM logs",
            "TRUNCATE TABLE logs",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "SHOW ALL",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "BEGIN",
            "COMMIT",
            "EXPLAIN ANALYZE SELECT 1",
            "EXPLAIN COPY logs TO '/tmp/x'",
            "EXPLAIN DROP TABLE logs",
            "SELECT * INTO t FROM logs",
            "WITH a AS (SELECT 1) INSERT INTO logs SELECT * FROM a",
            "SELECT * FROM logs FOR UPDATE",
            "SELECT * FROM (SELECT * INTO t FROM logs)",
            "DESCRIBE logs",
            "KILL 1",
            "ANALYZE TABLE logs",
        ] {
            match admit(sql) {
                Err(Error::ReadOnly { .. }) => {}
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    #[test]
    fn size_is_bounded_before_anything_recurses() {
        let cases = [
            format!("SELECT {}1", "1 + ".repeat(2_000)),
            format!("SELECT 1 WHERE {} false", "true OR ".repeat(20_000)),
            format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
            format!("SELECT {}1{}", "[".repeat(100), "]".repeat(100)),
            format!("SELECT {}1", "- ".repeat(5_000)),
            format!("SELECT {}true", "NOT ".repeat(5_000)),
            format!("SELECT {} 1 {}", "CASE WHEN true THEN ".repeat(65), "END ".repeat(65)),
            format!("SELECT * FROM {}", vec!["logs"; 18].join(" CROSS JOIN ")),
            format!("SELECT * FROM {}", vec!["logs"; 18].join(", ")),
            format!("SELECT '{}'", "x".repeat(300_000)),
        ];
        for sql in cases {
            let error = admit(&sql).expect_err(sql.get(..40).unwrap_or_default());
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        }
    }

    #[test]
    fn deep_chains_below_the_limits_do_not_exhaust_the_stack() {
        for sql in [
            format!("SELECT {}1", "- ".repeat(900)),
            format!("SELECT {}true", "NOT ".repeat(900)),
            format!("SELECT {}1{}", "(".repeat(64), ")".repeat(64)),
            format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(400)),
        ] {
            // Admitted or refused, but never a crash.
            drop(admit(&sql));
        }
    }

    #[test]
    fn what_makes_rows_without_bound_is_refused() {
        check("WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT 1 FROM t) SELECT * FROM t", "RECURSIVE");
        check("SELECT * FROM TABLE(generate_series(1, 10))", "is not a table");
        let columns: Vec<String> = (0..70).map(|column| format!("c{column}")).collect();
        for group in ["CUBE(a, b, c, d, e, f, g)", "CUBE(a, b, c, d), ROLLUP(e, f, g, h)"] {
            check(&format!("SELECT count(*) FROM logs GROUP BY {group}"), "64 sets of columns");
        }
        check(&format!("SELECT count(*) FROM logs GROUP BY CUBE({})", columns.join(", ")), "64 sets of columns");
        admit("SELECT count(*) FROM logs GROUP BY CUBE(a, b, c), ROLLUP(d, e)").expect("few enough");
    }
}
