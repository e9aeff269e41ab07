//! Cuts a query into tokens.

use super::token::{Keyword, Kind, Token};
use crate::ast::{BinaryOp, Position};

/// All tokens of a query, with an [`Kind::End`] or [`Kind::Error`] at the end. Comments are left out.
pub(super) fn tokens(query: &str) -> Vec<Token> {
    let mut lexer = Lexer { query, bytes: query.as_bytes(), at: 0, parens: 0, in_braces: false, in_brackets: false };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let kind = lexer.next().unwrap_or_else(Kind::Error);
        let is_last = matches!(kind, Kind::End | Kind::Error(_));
        tokens.push(Token { kind, position: Position { start, end: lexer.at } });
        if is_last {
            return tokens;
        }
    }
}

struct Lexer<'a> {
    query: &'a str,
    bytes: &'a [u8],
    at: usize,
    parens: usize,
    in_braces: bool,
    in_brackets: bool,
}

fn is_alpha(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

fn is_word(byte: u8) -> bool {
    is_alpha(byte) || byte.is_ascii_digit()
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Consumes the next byte if it is this one.
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_while(&mut self, accepted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&accepted) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            if self.peek() != Some(b'#') {
                return;
            }
            self.skip_while(|byte| byte != b'\n' && byte != b'\r');
        }
    }

    fn character(&self) -> char {
        self.query[self.at..].chars().next().unwrap_or_default()
    }

    fn next(&mut self) -> Result<Kind, String> {
        let Some(byte) = self.peek() else { return self.end() };
        match byte {
            b'"' | b'\'' | b'`' => return self.string(byte),
            _ if self.in_braces => return self.next_in_braces(byte),
            b'0'..=b'9' => return self.number_or_duration(),
            b'.' if self.peek_at(1).is_some_and(|byte| byte.is_ascii_digit()) => return self.number_or_duration(),
            b':' if self.in_brackets => {}
            _ if is_alpha(byte) || byte == b':' => return self.word(),
            _ => {}
        }
        let character = self.character();
        self.at += character.len_utf8();
        self.symbol(byte, character)
    }

    fn end(&self) -> Result<Kind, String> {
        if self.in_braces {
            Err("unexpected end of input inside braces".to_owned())
        } else if self.parens > 0 {
            Err("unclosed left parenthesis".to_owned())
        } else if self.in_brackets {
            Err("unclosed left bracket".to_owned())
        } else {
            Ok(Kind::End)
        }
    }

    /// The token of a symbol outside braces whose first character was consumed.
    fn symbol(&mut self, byte: u8, character: char) -> Result<Kind, String> {
        use BinaryOp as Op;
        let operator = |op| Ok(Kind::Operator(op));
        match byte {
            b',' => Ok(Kind::Comma),
            b':' => Ok(Kind::Colon),
            b'@' => Ok(Kind::At),
            b'+' => operator(Op::Add),
            b'-' => operator(Op::Sub),
            b'*' => operator(Op::Mul),
            b'/' => operator(Op::Div),
            b'%' => operator(Op::Mod),
            b'^' => operator(Op::Pow),
            b'=' if self.accept(b'=') => operator(Op::Equal),
            b'=' if self.peek() == Some(b'~') => Err("unexpected character after '=': '~'".to_owned()),
            b'=' => Ok(Kind::Assign),
            b'!' if self.accept(b'=') => operator(Op::NotEqual),
            b'!' => Err(format!("unexpected character after '!': {:?}", self.character())),
            b'<' if self.accept(b'=') => operator(Op::LessEqual),
            b'<' if self.accept(b'/') => operator(Op::TrimUpper),
            b'<' => operator(Op::Less),
            b'>' if self.accept(b'=') => operator(Op::GreaterEqual),
            b'>' if self.accept(b'/') => operator(Op::TrimLower),
            b'>' => operator(Op::Greater),
            b'(' => {
                self.parens += 1;
                Ok(Kind::LeftParen)
            }
            b')' if self.parens == 0 => Err("unexpected right parenthesis ')'".to_owned()),
            b')' => {
                self.parens -= 1;
                Ok(Kind::RightParen)
            }
            b'{' => {
                self.in_braces = true;
                Ok(Kind::LeftBrace)
            }
            b'[' if self.in_brackets => Err("unexpected left bracket '['".to_owned()),
            b'[' => {
                self.in_brackets = true;
                Ok(Kind::LeftBracket)
            }
            b']' if !self.in_brackets => Err("unexpected right bracket ']'".to_owned()),
            b']' => {
                self.in_brackets = false;
                Ok(Kind::RightBracket)
            }
            _ => Err(format!("unexpected character: {character:?}")),
        }
    }

    fn next_in_braces(&mut self, byte: u8) -> Result<Kind, String> {
        if is_alpha(byte) {
            self.skip_while(is_word);
            return Ok(Kind::Identifier);
        }
        let character = self.character();
        self.at += character.len_utf8();
        match byte {
            b',' => Ok(Kind::Comma),
            b'}' => {
                self.in_braces = false;
                Ok(Kind::RightBrace)
            }
            b'=' if self.accept(b'~') => Ok(Kind::MatchRegex),
            b'=' => Ok(Kind::Assign),
            b'!' if self.accept(b'~') => Ok(Kind::NotMatchRegex),
            b'!' if self.accept(b'=') => Ok(Kind::Operator(BinaryOp::NotEqual)),
            b'!' => Err(format!("unexpected character after '!' inside braces: {:?}", self.character())),
            b'{' => Err("unexpected left brace '{'".to_owned()),
            _ => Err(format!("unexpected character inside braces: {character:?}")),
        }
    }

    fn string(&mut self, quote: u8) -> Result<Kind, String> {
        self.at += 1;
        loop {
            match self.peek() {
                None if quote == b'`' => return Err("unterminated raw string".to_owned()),
                None | Some(b'\n') if quote != b'`' => return Err("unterminated quoted string".to_owned()),
                Some(b'\\') if quote != b'`' => {
                    self.at += 1;
                    self.at += self.character().len_utf8().min(self.bytes.len() - self.at);
                }
                Some(byte) => {
                    self.at += 1;
                    if byte == quote {
                        return Ok(Kind::String);
                    }
                }
                None => return Err("unterminated quoted string".to_owned()),
            }
        }
    }

    fn word(&mut self) -> Result<Kind, String> {
        let start = self.at;
        if self.in_brackets {
            self.skip_while(|byte| is_alpha(byte) || byte == b'_');
            return match Kind::of_word(&self.query[start..self.at]) {
                None if ["min_of", "max_of"]
                    .iter()
                    .any(|name| self.query[start..self.at].eq_ignore_ascii_case(name)) =>
                {
                    Ok(Kind::Identifier)
                }
                Some(kind @ Kind::Keyword(Keyword::Step | Keyword::Range)) => Ok(kind),
                Some(kind @ Kind::Aggregate(crate::ast::AggregateOp::Min | crate::ast::AggregateOp::Max)) => Ok(kind),
                _ => Err(format!(
                    "unexpected character in duration expression: {:?}",
                    self.query[start..].chars().next().unwrap_or_default()
                )),
            };
        }
        self.skip_while(|byte| is_word(byte) || byte == b':');
        let word = &self.query[start..self.at];
        match Kind::of_word(word) {
            // As there were metrics of these names before there was the modifier.
            Some(Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) if !self.calls() => {
                Ok(Kind::Identifier)
            }
            Some(kind) => Ok(kind),
            None if word.contains(':') => Ok(Kind::MetricIdentifier),
            None => Ok(Kind::Identifier),
        }
    }

    /// Whether an opening parenthesis follows.
    fn calls(&self) -> bool {
        let rest = self.query[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
        rest.starts_with('(')
    }

    fn number_or_duration(&mut self) -> Result<Kind, String> {
        let start = self.at;
        if self.number() {
            return Ok(Kind::Number);
        }
        if self.rest_of_duration() {
            return Ok(Kind::Duration);
        }
        let bad = self.query.get(start..self.at).unwrap_or_default();
        Err(format!("bad number or duration syntax: {bad:?}"))
    }

    /// Consumes a number; stops where it is none.
    fn number(&mut self) -> bool {
        let is_hex = self.peek() == Some(b'0') && matches!(self.peek_at(1), Some(b'x' | b'X'));
        if is_hex {
            self.at += 2;
            self.accept(b'_');
        }
        let is_digit = |byte: u8| if is_hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        let (mut dotted, mut exponent) = (false, false);
        while let Some(byte) = self.peek() {
            let after = self.peek_at(1);
            match byte {
                _ if is_digit(byte) => self.at += 1,
                b'.' if !dotted && !is_hex && !matches!(after, Some(b'_' | b'.')) => {
                    dotted = true;
                    self.at += 1;
                }
                b'e' | b'E' if !exponent && !is_hex => {
                    let signed = usize::from(matches!(after, Some(b'+' | b'-')));
                    if !self.peek_at(1 + signed).is_some_and(|byte| byte.is_ascii_digit()) {
                        return false;
                    }
                    exponent = true;
                    self.at += 1 + signed;
                }
                b'_' if after.is_some_and(is_digit) => self.at += 1,
                _ => break,
            }
        }
        !self.peek().is_some_and(|byte| is_word(byte) || byte == b'.')
    }

    /// Consumes the units and further parts of a duration whose first digits were consumed.
    fn rest_of_duration(&mut self) -> bool {
        loop {
            let Some(b's' | b'm' | b'h' | b'd' | b'w' | b'y') = self.peek() else { return false };
            self.at += 1;
            self.accept(b's');
            let digits = self.at;
            self.skip_while(|byte| byte.is_ascii_digit());
            if self.at == digits {
                return !self.peek().is_some_and(is_word);
            }
        }
    }
}
