//! From tokens to a tree, with the names of functions and variables checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Command, Node, Operand, Pipeline, Source, Template, Term};
use crate::error::Error;
use crate::lexer::{self, Kind, Literal, Piece, Token};

/// Blocks and parentheses within each other: deeper ones would overflow the stack.
const DEPTH_MAX: usize = 50;

/// Parses a file: its body under the file's name, and the templates it defines.
pub(crate) fn parse(
    source: &Arc<Source>,
    is_function: &dyn Fn(&str) -> bool,
    variables: &[&str],
) -> Result<BTreeMap<String, Arc<Template>>, Error> {
    let pieces = lexer::split(&source.text).map_err(|(at, message)| Error::at(source, at, message))?;
    let mut parser = Parser {
        source,
        is_function,
        pieces: pieces.into_iter(),
        action: Vec::new().into_iter(),
        end: 0,
        variables: std::iter::once("$").chain(variables.iter().copied()).map(str::to_owned).collect(),
        range_depth: 0,
        depth: 0,
        defined: BTreeMap::new(),
    };
    let (body, stop) = parser.nodes()?;
    if let Some(stop) = stop {
        return Err(parser.error(stop.at, format!("unexpected {{{{{}}}}}", stop.word)));
    }
    let mut templates = parser.defined;
    // A file of nothing but definitions must not replace a template of its name.
    let empty = body.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()));
    if !(empty && templates.contains_key(&source.name)) {
        templates.insert(source.name.clone(), Arc::new(Template { source: Arc::clone(source), body }));
    }
    Ok(templates)
}

/// The keyword that ended a list of nodes.
struct Stop {
    at: usize,
    word: String,
}

struct Parser<'a> {
    source: &'a Arc<Source>,
    is_function: &'a dyn Fn(&str) -> bool,
    pieces: std::vec::IntoIter<Piece<'a>>,
    action: std::vec::IntoIter<Token>,
    /// Where the current action began, for errors at its end.
    end: usize,
    variables: Vec<String>,
    range_depth: usize,
    depth: usize,
    defined: BTreeMap<String, Arc<Template>>,
}

impl Parser<'_> {
    fn error(&self, at: usize, message: impl Into<String>) -> Error {
        Error::at(self.source, at, message)
    }

    fn peek(&self) -> Option<&Token> {
        self.action.as_slice().first()
    }

    fn peek_kind(&self) -> Option<&Kind> {
        self.peek().map(|token| &token.kind)
    }

    fn peek_word(&self) -> Option<&str> {
        match self.peek_kind() {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn enter(&mut self, at: usize) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(at, format!("blocks or parentheses are nested deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }

    /// Nodes up to `end`, `else` or the end of the file.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<Stop>), Error> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text.to_owned())),
                Piece::Action { at, tokens } => {
                    self.end = at;
                    self.action = tokens.into_iter();
                    if let Some(word) = self.peek_word()
                        && matches!(word, "end" | "else")
                    {
                        let word = word.to_owned();
                        self.action.next();
                        return Ok((nodes, Some(Stop { at, word })));
                    }
                    nodes.extend(self.node(at)?);
                }
            }
        }
        Ok((nodes, None))
    }

    fn node(&mut self, at: usize) -> Result<Option<Node>, Error> {
        let word = self.peek_word().unwrap_or_default().to_owned();
        let node = match word.as_str() {
            "if" | "with" => self.branches(at, &word)?,
            "range" => self.range(at)?,
            "define" => {
                self.define(at)?;
                return Ok(None);
            }
            "block" => self.block(at)?,
            "template" => self.call(at)?,
            "break" | "continue" => {
                self.action.next();
                if self.range_depth == 0 {
                    return Err(self.error(at, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                self.close()?;
                if word == "break" { Node::Break } else { Node::Continue }
            }
            _ => {
                let pipeline = self.pipeline("command", false)?;
                self.close()?;
                Node::Action(pipeline)
            }
        };
        Ok(Some(node))
    }

    /// The action must end here.
    fn close(&mut self) -> Result<(), Error> {
        match self.action.next() {
            None => Ok(()),
            Some(token) => Err(self.unexpected(&token, "action")),
        }
    }

    fn unexpected(&self, token: &Token, context: &str) -> Error {
        let text = self.source.text.get(token.at.clone()).unwrap_or_default();
        self.error(token.at.start, format!("unexpected {text:?} in {context}"))
    }

    /// `if … else if … else … end`, and `with` likewise.
    fn branches(&mut self, at: usize, word: &str) -> Result<Node, Error> {
        self.enter(at)?;
        let scope = self.variables.len();
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            self.action.next();
            let condition = self.pipeline(word, false)?;
            self.close()?;
            let (body, stop) = self.nodes()?;
            branches.push((condition, body));
            let stop = stop.ok_or_else(|| self.unclosed(at, word))?;
            if stop.word == "end" {
                self.close()?;
                break;
            }
            if self.peek_word() == Some(word) {
                continue;
            }
            self.close()?;
            otherwise = self.last_else(at, word)?;
            break;
        }
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(if word == "if" { Node::If { branches, otherwise } } else { Node::With { branches, otherwise } })
    }

    fn unclosed(&self, at: usize, word: &str) -> Error {
        self.error(at, format!("unexpected end of the template: {{{{{word}}}}} has no {{{{end}}}}"))
    }

    fn last_else(&mut self, at: usize, word: &str) -> Result<Vec<Node>, Error> {
        let (body, stop) = self.nodes()?;
        let stop = stop.ok_or_else(|| self.unclosed(at, word))?;
        if stop.word != "end" {
            return Err(self.error(stop.at, "expected end; found {{else}}"));
        }
        self.close()?;
        Ok(body)
    }

    fn range(&mut self, at: usize) -> Result<Node, Error> {
        self.enter(at)?;
        self.action.next();
        let scope = self.variables.len();
        let over = self.pipeline("range", true)?;
        self.close()?;
        self.range_depth += 1;
        let (body, stop) = self.nodes()?;
        self.range_depth -= 1;
        let stop = stop.ok_or_else(|| self.unclosed(at, "range"))?;
        let otherwise = if stop.word == "end" { Vec::new() } else { self.last_else(at, "range")? };
        self.close()?;
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Node::Range { over, body, otherwise })
    }

    /// The name of a template, which must be a constant string.
    fn name(&mut self, context: &str) -> Result<String, Error> {
        match self.action.next() {
            Some(Token { kind: Kind::Constant(Literal(crate::value::Value::String(name))), .. }) => {
                Ok(name.to_string())
            }
            Some(token) => Err(self.unexpected(&token, &format!("{context}: its name must be a string"))),
            None => Err(self.error(self.end, format!("missing name for {context}"))),
        }
    }

    /// The body of a template within this file: it sees neither variables nor loops of what is around it.
    fn body(&mut self, at: usize, name: &str, word: &str) -> Result<(), Error> {
        self.enter(at)?;
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (body, stop) = self.nodes()?;
        let stop = stop.ok_or_else(|| self.unclosed(at, word))?;
        if stop.word != "end" {
            return Err(self.error(stop.at, format!("unexpected {{{{else}}}} in {word} clause")));
        }
        self.close()?;
        self.variables = variables;
        self.range_depth = range_depth;
        self.depth -= 1;
        self.defined.insert(name.to_owned(), Arc::new(Template { source: Arc::clone(self.source), body }));
        Ok(())
    }

    fn define(&mut self, at: usize) -> Result<(), Error> {
        if self.depth > 0 {
            return Err(self.error(at, "unexpected {{define}}: it must stand outside of blocks"));
        }
        self.action.next();
        let name = self.name("define clause")?;
        self.close()?;
        self.body(at, &name, "define")
    }

    fn block(&mut self, at: usize) -> Result<Node, Error> {
        self.action.next();
        let name = self.name("block clause")?;
        let data = self.pipeline("block clause", false)?;
        self.close()?;
        self.body(at, &name, "block")?;
        Ok(Node::Call { at: at..at, name, data: Some(data) })
    }

    fn call(&mut self, at: usize) -> Result<Node, Error> {
        self.action.next();
        let end = self.action.as_slice().last().map_or(at, |token| token.at.end);
        let name = self.name("template clause")?;
        let data = match self.peek() {
            None => None,
            Some(_) => Some(self.pipeline("template clause", false)?),
        };
        self.close()?;
        Ok(Node::Call { at: at + 2..end, name, data })
    }

    fn pipeline(&mut self, context: &str, is_range: bool) -> Result<Pipeline, Error> {
        let (variables, assigns) = self.declarations(is_range)?;
        let mut commands = Vec::new();
        loop {
            if self.peek().is_none_or(|token| matches!(token.kind, Kind::Close)) {
                let what = if commands.is_empty() { "value for " } else { "command after | in " };
                return Err(self.error(self.end, format!("missing {what}{context}")));
            }
            commands.push(self.command(context, commands.is_empty())?);
            match self.peek_kind() {
                Some(Kind::Pipe) => {
                    self.action.next();
                }
                _ => break,
            }
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and for `range` also `$i, $x :=`.
    fn declarations(&mut self, is_range: bool) -> Result<(Vec<String>, bool), Error> {
        let tokens = self.action.as_slice();
        let kind = |index: usize| tokens.get(index).map(|token| &token.kind);
        let (names, operator) = match (kind(0), kind(1), kind(2), kind(3)) {
            (Some(Kind::Variable(name)), Some(operator @ (Kind::Declare | Kind::Assign)), _, _) => {
                (vec![name.clone()], operator.clone())
            }
            (
                Some(Kind::Variable(first)),
                Some(Kind::Comma),
                Some(Kind::Variable(second)),
                Some(operator @ (Kind::Declare | Kind::Assign)),
            ) if is_range => (vec![first.clone(), second.clone()], operator.clone()),
            _ => return Ok((Vec::new(), false)),
        };
        let assigns = operator == Kind::Assign;
        let at = tokens[0].at.start;
        if assigns && let Some(name) = names.iter().find(|name| !self.variables.contains(name)) {
            return Err(self.error(at, format!("undefined variable {name:?}")));
        }
        for _ in 0..names.len() * 2 {
            self.action.next();
        }
        Ok((names, assigns))
    }

    fn command(&mut self, context: &str, first_stage: bool) -> Result<Command, Error> {
        let mut operands: Vec<Operand> = Vec::new();
        let start = self.peek().map_or(self.end, |token| token.at.start);
        while let Some(token) = self.peek() {
            if matches!(token.kind, Kind::Pipe | Kind::Close) {
                break;
            }
            if !operands.is_empty() && !token.spaced && !matches!(token.kind, Kind::Open) {
                let token = token.clone();
                return Err(self.unexpected(&token, "operand: white space is missing"));
            }
            operands.push(self.operand(context)?);
        }
        let end = operands.last().map_or(start, |operand| operand.at.end);
        if let Some(first) = operands.first() {
            let executable = matches!(first.term, Term::Function(_)) || !first.fields.is_empty();
            if !first_stage && !executable && !matches!(first.term, Term::Variable(_) | Term::Pipeline(_)) {
                return Err(self.error(start, "non executable command in pipeline stage"));
            }
            if matches!(first.term, Term::Nil) {
                return Err(self.error(start, "nil is not a command"));
            }
        }
        Ok(Command { at: start..end, operands })
    }

    fn operand(&mut self, context: &str) -> Result<Operand, Error> {
        let Some(token) = self.action.next() else {
            return Err(self.error(self.end, format!("missing value for {context}")));
        };
        let mut fields = Vec::new();
        let mut takes_fields = true;
        let mut end = token.at.end;
        let term = match &token.kind {
            Kind::Dot => {
                takes_fields = false;
                Term::Dot
            }
            Kind::Field(name) => {
                fields.push(name.clone());
                Term::Dot
            }
            Kind::Variable(name) => {
                if !self.variables.contains(name) {
                    return Err(self.error(token.at.start, format!("undefined variable {name:?}")));
                }
                Term::Variable(name.clone())
            }
            Kind::Constant(Literal(value)) => {
                takes_fields = false;
                Term::Constant(value.clone())
            }
            Kind::Word(word) => {
                takes_fields = false;
                self.word(word, token.at.start)?
            }
            Kind::Open => {
                self.enter(token.at.start)?;
                let pipeline = self.pipeline("parenthesized pipeline", false)?;
                match self.action.next() {
                    Some(close @ Token { kind: Kind::Close, .. }) => end = close.at.end,
                    _ => return Err(self.error(token.at.start, "unclosed left paren")),
                }
                self.depth -= 1;
                Term::Pipeline(Box::new(pipeline))
            }
            _ => return Err(self.unexpected(&token, context)),
        };
        let end = self.chain(end, takes_fields, &mut fields)?;
        Ok(Operand { at: token.at.start..end, term, fields })
    }

    fn word(&self, word: &str, at: usize) -> Result<Term, Error> {
        Ok(match word {
            "true" => Term::Constant(true.into()),
            "false" => Term::Constant(false.into()),
            "nil" => Term::Nil,
            "if" | "else" | "end" | "range" | "with" | "define" | "block" | "template" | "break" | "continue" => {
                return Err(self.error(at, format!("unexpected <{word}> in command")));
            }
            name if (self.is_function)(name) => Term::Function(name.to_owned()),
            name => return Err(self.error(at, format!("function {name:?} not defined"))),
        })
    }

    /// The fields right behind a term; gives back where the operand ends.
    fn chain(&mut self, mut end: usize, takes_fields: bool, fields: &mut Vec<String>) -> Result<usize, Error> {
        while let Some(Token { at, kind: Kind::Field(name), spaced: false }) = self.peek() {
            if !takes_fields {
                let message = "unexpected . after a term that has no fields: put it into parentheses";
                return Err(self.error(at.start, message));
            }
            fields.push(name.clone());
            end = at.end;
            self.action.next();
        }
        Ok(end)
    }
}
