//! From text to tokens: the text between actions, and what stands within them.

use std::ops::Range;

use crate::literal;
use crate::value::Value;

/// A piece of a template: text, or the tokens of one action.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Action { at: usize, tokens: Vec<Token> },
}

/// A token of an action.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) at: Range<usize>,
    pub(crate) kind: Kind,
    /// Whether white space stands before it: `$x.A` is one operand, `$x .A` is two.
    pub(crate) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Word(String),
    Field(String),
    Variable(String),
    Dot,
    Constant(Literal),
    Pipe,
    Declare,
    Assign,
    Comma,
    Open,
    Close,
}

/// A literal; equality is only needed for the other kinds.
#[derive(Clone, Debug)]
pub(crate) struct Literal(pub(crate) Value);

impl PartialEq for Literal {
    fn eq(&self, _other: &Self) -> bool {
        false
    }
}

/// What is wrong, and where.
pub(crate) type Fault = (usize, String);

/// Tokens of one template, so that a huge one costs no more than it must.
const TOKENS_MAX: usize = 65_536;

/// Splits a template into text and actions, white space trimmed where `{{-` and `-}}` say so.
pub(crate) fn split(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut tokens_total = 0;
    let (mut offset, mut trim) = (0, false);
    while let Some(found) = text[offset..].find("{{") {
        let open = offset + found;
        let after = open + 2;
        let trims_left = text[after..].starts_with('-') && text[after + 1..].starts_with(is_space);
        push_text(&mut pieces, &text[offset..open], trim, trims_left);
        let start = if trims_left { after + 1 } else { after };
        let body = &text[start..];
        let skipped = if trims_left { body.len() - body.trim_start_matches(is_space).len() } else { 0 };
        if body[skipped..].starts_with("/*") {
            (offset, trim) = comment(text, open, start + skipped)?;
            continue;
        }
        let mut lexer = Lexer { text, offset: start, tokens: Vec::new(), open };
        trim = lexer.action()?;
        offset = lexer.offset;
        tokens_total += lexer.tokens.len();
        if tokens_total > TOKENS_MAX {
            return Err((open, format!("more than {TOKENS_MAX} tokens: split the template")));
        }
        pieces.push(Piece::Action { at: open, tokens: lexer.tokens });
    }
    push_text(&mut pieces, &text[offset..], trim, false);
    Ok(pieces)
}

fn push_text<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start_matches(is_space) } else { text };
    let text = if trim_end { text.trim_end_matches(is_space) } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

/// The end of a comment, and whether it trims what follows.
fn comment(text: &str, open: usize, start: usize) -> Result<(usize, bool), Fault> {
    let end = text[start + 2..].find("*/").ok_or((open, "unclosed comment".to_owned()))? + start + 4;
    let rest = &text[end..];
    if rest.starts_with("}}") {
        return Ok((end + 2, false));
    }
    let spaces = rest.len() - rest.trim_start_matches(is_space).len();
    if spaces > 0 && rest[spaces..].starts_with("-}}") {
        return Ok((end + spaces + 3, true));
    }
    Err((open, "comment ends before closing delimiter".to_owned()))
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

struct Lexer<'a> {
    text: &'a str,
    offset: usize,
    tokens: Vec<Token>,
    open: usize,
}

impl Lexer<'_> {
    /// Reads to the closing braces; tells whether they trim the text that follows.
    fn action(&mut self) -> Result<bool, Fault> {
        loop {
            let rest = &self.text[self.offset..];
            let after = rest.trim_start_matches(is_space);
            let spaced = after.len() < rest.len();
            self.offset += rest.len() - after.len();
            if spaced && after.starts_with("-}}") {
                self.offset += 3;
                return Ok(true);
            }
            if after.starts_with("}}") {
                self.offset += 2;
                return Ok(false);
            }
            let start = self.offset;
            let kind = self.token(after)?;
            self.tokens.push(Token { at: start..self.offset, kind, spaced });
        }
    }

    fn token(&mut self, rest: &str) -> Result<Kind, Fault> {
        let Some(first) = rest.chars().next() else {
            return Err((self.open, "unclosed action".to_owned()));
        };
        let second = rest[first.len_utf8()..].chars().next().unwrap_or(' ');
        let (kind, length) = match first {
            '|' => (Kind::Pipe, 1),
            ',' => (Kind::Comma, 1),
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            '=' => (Kind::Assign, 1),
            ':' if second == '=' => (Kind::Declare, 2),
            ':' => return Err((self.offset, "expected :=".to_owned())),
            '"' => return self.constant(rest, literal::quoted(rest)),
            '`' => return self.constant(rest, literal::raw(rest)),
            '\'' => return self.constant(rest, literal::character(rest)),
            '.' if second.is_ascii_digit() => return self.constant(rest, literal::number(rest)),
            '.' => match word(&rest[1..]) {
                "" => (Kind::Dot, 1),
                name => (Kind::Field(name.to_owned()), 1 + name.len()),
            },
            '$' => {
                let name = word(&rest[1..]);
                (Kind::Variable(format!("${name}")), 1 + name.len())
            }
            '0'..='9' | '+' | '-' => return self.constant(rest, literal::number(rest)),
            first if is_word(first) => {
                let name = word(rest);
                (Kind::Word(name.to_owned()), name.len())
            }
            first => {
                let message = format!("unrecognized character in action: U+{:04X} {first:?}", u32::from(first));
                return Err((self.offset, message));
            }
        };
        self.offset += length;
        Ok(kind)
    }

    fn constant(&mut self, rest: &str, literal: Result<(Value, usize), String>) -> Result<Kind, Fault> {
        let (value, length) = literal.map_err(|message| (self.offset, message))?;
        self.offset += length;
        if rest[length..].starts_with(is_word) {
            return Err((self.offset, "bad number or string syntax: white space is missing".to_owned()));
        }
        Ok(Kind::Constant(Literal(value)))
    }
}

fn word(text: &str) -> &str {
    &text[..text.len() - text.trim_start_matches(is_word).len()]
}
