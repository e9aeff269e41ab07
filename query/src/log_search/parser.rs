//! The grammar of log search: recursive descent with a depth guard, every character looked at a bounded number of times.
//!
//! ```text
//! or    = and { ("OR" | "||") and }
//! and   = unary { ["AND" | "&&"] unary }
//! unary = ("NOT" | "-" | "!") unary | "+" unary | "(" or ")" | term
//! term  = word | "phrase" | /regex/ | field ":" value
//! value = word | "text" | /regex/ | "*" | (">" | ">=" | "<" | "<=" | "=") bound | "[" bound "TO" bound "]" | "(" or ")"
//! ```

use super::ast::Node;
use super::field::Field;
use super::syntax_error::SyntaxError;

/// Bytes of one query.
pub const QUERY_BYTES_MAX: usize = 10 * 1024;
/// Levels of groups and negations.
pub const DEPTH_MAX: usize = 32;
/// Words, phrases and field tests of one query.
pub const TERMS_MAX: usize = 1_024;
/// Terms with wildcards of one query.
pub const PATTERNS_MAX: usize = 64;
/// Regular expressions of one query: each may take a megabyte compiled.
pub const REGEXES_MAX: usize = 16;

/// A query that was read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What to search.
    pub node: Node,
    /// What the writer may have meant differently.
    pub warnings: Vec<String>,
}

/// Reads a query. An empty one finds everything.
pub fn parse(query: &str) -> Result<Parsed, SyntaxError> {
    if query.len() > QUERY_BYTES_MAX {
        let message = format!("the query has {} bytes, more than {QUERY_BYTES_MAX}", query.len());
        return Err(SyntaxError::new(query, 0, message, "search for fewer things at once"));
    }
    let mut parser = Parser::new(query);
    parser.skip_space();
    if parser.peek().is_none() {
        return Ok(Parsed { node: Node::All, warnings: Vec::new() });
    }
    let node = parser.or()?;
    if parser.peek().is_some() {
        // Only a closing parenthesis ends a group early.
        return Err(parser.error("`)` without a `(` before it", "remove it, or quote it: \")\""));
    }
    Ok(Parsed { node, warnings: parser.warnings })
}

/// Where the parser is, and what it has used up of the limits.
#[derive(Debug)]
pub(super) struct Parser<'query> {
    pub(super) query: &'query str,
    pub(super) at: usize,
    /// The field whose group, `field:( … )`, we are in.
    pub(super) group_field: Option<Field>,
    pub(super) patterns: usize,
    pub(super) regexes: usize,
    depth: usize,
    terms: usize,
    warnings: Vec<String>,
}

impl<'query> Parser<'query> {
    fn new(query: &'query str) -> Self {
        Self { query, at: 0, group_field: None, patterns: 0, regexes: 0, depth: 0, terms: 0, warnings: Vec::new() }
    }

    pub(super) fn rest(&self) -> &'query str {
        self.query.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The character after the next one.
    pub(super) fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.query.len() - self.rest().trim_start().len();
    }

    /// Steps over `text` when it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    pub(super) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> SyntaxError {
        self.error_at(self.at, message, hint)
    }

    pub(super) fn error_at(&self, at: usize, message: impl Into<String>, hint: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.query, at, message, hint)
    }

    /// Whether the operator comes next: a word in upper case, or symbols.
    fn at_operator(&self, word: &str, symbol: &str) -> bool {
        if !symbol.is_empty() && self.rest().starts_with(symbol) {
            return true;
        }
        self.rest().strip_prefix(word).is_some_and(|after| after.chars().next().is_none_or(ends_word))
    }

    fn take_operator(&mut self, word: &str, symbol: &str) -> bool {
        if !self.at_operator(word, symbol) {
            return false;
        }
        self.at += if self.rest().starts_with(word) { word.len() } else { symbol.len() };
        self.skip_space();
        true
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("groups and negations are nested deeper than {DEPTH_MAX} levels");
            return Err(self.error(message, "remove parentheses that change nothing"));
        }
        Ok(())
    }

    pub(super) fn or(&mut self) -> Result<Node, SyntaxError> {
        let mut children = vec![self.and()?];
        while self.take_operator("OR", "||") {
            children.push(self.and()?);
        }
        Ok(one_or(children, Node::Or))
    }

    fn and(&mut self) -> Result<Node, SyntaxError> {
        let mut children = vec![self.unary()?];
        loop {
            self.skip_space();
            if self.peek().is_none_or(|char| char == ')') || self.at_operator("OR", "||") {
                return Ok(one_or(children, Node::And));
            }
            self.take_operator("AND", "&&");
            children.push(self.unary()?);
        }
    }

    fn unary(&mut self) -> Result<Node, SyntaxError> {
        self.skip_space();
        self.refuse_missing_operand()?;
        if self.take_operator("NOT", "") || self.take_sign(['-', '!']) {
            self.enter()?;
            let child = self.unary()?;
            self.depth -= 1;
            return Ok(Node::Not(Box::new(child)));
        }
        self.take_sign(['+', '+']);
        if self.peek() == Some('(') {
            return self.group();
        }
        self.count_term()?;
        self.term()
    }

    fn refuse_missing_operand(&self) -> Result<(), SyntaxError> {
        for (word, symbol) in [("AND", "&&"), ("OR", "||")] {
            if self.at_operator(word, symbol) {
                let message = format!("{word} where a search term should be");
                return Err(self.error(message, format!("write a term on both sides; the word itself is \"{word}\"")));
            }
        }
        match self.peek() {
            None => {
                Err(self
                    .error("the query ends where a search term should be", "add a term, or remove what asks for one"))
            }
            Some(')') => {
                Err(self.error("`)` where a search term should be", "put a term into the group, or quote it: \"()\""))
            }
            Some(_) => Ok(()),
        }
    }

    /// Steps over a sign that belongs to the term behind it: `-word` is a negation, `--flag` and `- ` are text.
    fn take_sign(&mut self, signs: [char; 2]) -> bool {
        let Some(sign) = self.peek().filter(|char| signs.contains(char)) else { return false };
        let belongs = self
            .peek_second()
            .is_some_and(|next| next != sign && next != '>' && (next == '(' || !ends_word(next) || next == '"'));
        if belongs {
            self.at += sign.len_utf8();
        }
        belongs
    }

    pub(super) fn group(&mut self) -> Result<Node, SyntaxError> {
        let open = self.at;
        self.at += 1;
        self.enter()?;
        let node = self.or()?;
        self.depth -= 1;
        if !self.take(")") {
            return Err(self.error_at(open, "`(` is never closed", "add a `)`, or quote it: \"(\""));
        }
        Ok(node)
    }

    fn count_term(&mut self) -> Result<(), SyntaxError> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(self.error(format!("more than {TERMS_MAX} terms"), "search for fewer things at once"));
        }
        Ok(())
    }

    /// Adds a warning; each text once, and only as many as somebody would read.
    pub(super) fn warn(&mut self, warning: String) {
        if self.warnings.len() < 8 && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Whether a word ends before the character.
pub(super) fn ends_word(char: char) -> bool {
    char.is_whitespace() || matches!(char, '(' | ')' | '"')
}

fn one_or(mut children: Vec<Node>, join: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match children.pop() {
        Some(only) if children.is_empty() => only,
        Some(last) => {
            children.push(last);
            join(children)
        }
        None => Node::All,
    }
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
