//! From the text of a query to its checked syntax tree.

mod check;
mod duration;
mod lexer;
mod literal;
mod operator;
mod postfix;
mod primary;
mod regex;
mod selector;
mod token;

#[cfg(test)]
mod tests;

pub(crate) use regex::anchored as anchored_regex;
use token::{Kind, Token};

use crate::ast::{Expr, Position};
use crate::labels::Matcher;

/// What the parser accepts.
#[derive(Clone, Copy, Debug)]
pub struct ParseOptions {
    /// Functions and aggregations that Prometheus has behind `promql-experimental-functions`.
    pub experimental_functions: bool,
    /// Arithmetics in ranges, steps and offsets.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
    /// How deep expressions may be nested.
    pub max_nesting: usize,
}

impl ParseOptions {
    /// The stable language only.
    pub const STABLE: Self = Self {
        experimental_functions: false,
        duration_expressions: false,
        extended_range_selectors: false,
        fill_modifiers: false,
        max_nesting: 1_000,
    };

    /// All there is.
    pub const EXPERIMENTAL: Self = Self {
        experimental_functions: true,
        duration_expressions: true,
        extended_range_selectors: true,
        fill_modifiers: true,
        max_nesting: 1_000,
    };
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self::STABLE
    }
}

/// Why a query is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line_and_column}: parse error: {message}")]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub position: Position,
    line_and_column: String,
}

/// Parses and checks an expression.
pub fn parse(query: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(query, options);
    if parser.peek().kind == Kind::End {
        return Err(parser.error(Position::default(), "no expression found in input"));
    }
    let (expr, _) = parser.expression()?;
    if parser.peek().kind != Kind::End {
        return Err(parser.unexpected("", ""));
    }
    check::check(&expr).map_err(|(position, message)| parser.error(parser.without_blanks(position), message))?;
    Ok(expr)
}

/// Parses a series selector, as `match[]` of the HTTP API takes it.
pub fn parse_selector(query: &str) -> Result<Vec<Matcher>, ParseError> {
    selector(query, &mut regex::Budget::default())
}

/// Parses the selectors of one request; their regular expressions together take no more memory than those of one query.
pub fn parse_selectors<'q>(queries: impl IntoIterator<Item = &'q str>) -> Result<Vec<Vec<Matcher>>, ParseError> {
    let mut regexes = regex::Budget::default();
    queries.into_iter().map(|query| selector(query, &mut regexes)).collect()
}

fn selector(query: &str, regexes: &mut regex::Budget) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(query, &ParseOptions::STABLE);
    std::mem::swap(&mut parser.regexes, regexes);
    let (selector, position) = parser.vector_selector()?;
    if parser.peek().kind != Kind::End {
        return Err(parser.unexpected("", ""));
    }
    check::check_selector(&selector, position).map_err(|(position, message)| parser.error(position, message))?;
    std::mem::swap(&mut parser.regexes, regexes);
    Ok(selector.matchers)
}

/// How deep parentheses, signs and operators to the right may be nested; a level costs the parser more stack than it
/// costs anything that walks the tree, and chains of operators need none.
const MAX_RECURSION: usize = 256;

/// An expression and how many levels it has.
type Parsed = (Expr, usize);

struct Parser<'a> {
    query: &'a str,
    options: &'a ParseOptions,
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    regexes: regex::Budget,
}

impl<'a> Parser<'a> {
    fn new(query: &'a str, options: &'a ParseOptions) -> Self {
        Self { query, options, tokens: lexer::tokens(query), next: 0, depth: 0, regexes: regex::Budget::default() }
    }

    /// The next token; the last one is never passed.
    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn peek_second(&self) -> &Kind {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].kind
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn accept(&mut self, kind: &Kind) -> Option<Token> {
        (self.peek().kind == *kind).then(|| self.advance())
    }

    fn expect(&mut self, kind: &Kind, context: &str, expected: &str) -> Result<Token, ParseError> {
        self.accept(kind).ok_or_else(|| self.unexpected(context, expected))
    }

    fn text(&self, position: Position) -> &'a str {
        self.query.get(position.start..position.end).unwrap_or_default()
    }

    /// Where the token before the next one ends.
    fn last_end(&self) -> usize {
        self.next.checked_sub(1).map_or(0, |index| self.tokens[index].position.end)
    }

    fn error(&self, position: Position, message: impl Into<String>) -> ParseError {
        ParseError { message: message.into(), position, line_and_column: position.in_query(self.query) }
    }

    /// A position that does not start with blanks.
    fn without_blanks(&self, position: Position) -> Position {
        let text = self.query.get(position.start..).unwrap_or_default();
        let blanks = text.len() - text.trim_start().len();
        Position { start: position.start + blanks, ..position }
    }

    /// An error about the next token.
    fn unexpected(&self, context: &str, expected: &str) -> ParseError {
        let token = self.peek();
        if let Kind::Error(message) = &token.kind {
            return self.error(token.position, message.clone());
        }
        let mut message = format!("unexpected {}", token.kind.describe(self.text(token.position)));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.error(token.position, message)
    }

    /// Checks the number of levels, so that nothing that walks the tree runs out of stack.
    fn check_nesting(&self, levels: usize) -> Result<(), ParseError> {
        let limit = self.options.max_nesting;
        if levels > limit || self.depth > limit.min(MAX_RECURSION) {
            let limit = if levels > limit { limit } else { limit.min(MAX_RECURSION) };
            let message = format!("expression is nested too deeply: more than {limit} levels");
            return Err(self.error(self.peek().position, message));
        }
        Ok(())
    }
}
