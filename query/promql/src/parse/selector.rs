//! `metric{label="value", "quoted.name"=~"regex"}`.

use super::token::Kind;
use super::{ParseError, Parser};
use crate::ast::{BinaryOp, Extension, Position, VectorSelector};
use crate::labels::{METRIC_NAME, MatchKind, Matcher};

impl Parser<'_> {
    pub(super) fn vector_selector(&mut self) -> Result<(VectorSelector, Position), ParseError> {
        let start = self.peek().position.start;
        let mut name = None;
        if self.peek().kind.is_metric_name() {
            let position = self.advance().position;
            name = Some(self.text(position).to_owned());
        } else if self.peek().kind != Kind::LeftBrace {
            return Err(self.unexpected("", ""));
        }
        let mut matchers = Vec::new();
        if self.accept(&Kind::LeftBrace).is_some() {
            self.matchers(&mut matchers)?;
        }
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        let position = Position { start, end: self.last_end() };
        Ok((VectorSelector { name, matchers, offset: None, at: None, extension: Extension::None }, position))
    }

    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), ParseError> {
        while self.accept(&Kind::RightBrace).is_none() {
            matchers.push(self.matcher()?);
            if self.accept(&Kind::Comma).is_none() && self.peek().kind != Kind::RightBrace {
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
        Ok(())
    }

    fn matcher(&mut self) -> Result<Matcher, ParseError> {
        let token = self.peek().clone();
        let is_quoted = token.kind == Kind::String;
        let name = match token.kind {
            Kind::Identifier => self.text(token.position).to_owned(),
            Kind::String => self.string(token.position)?,
            _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
        };
        self.advance();
        let operator = self.peek().kind.clone();
        if is_quoted && matches!(operator, Kind::Comma | Kind::RightBrace) {
            return Ok(Matcher::equal(METRIC_NAME, name));
        }
        if !matches!(
            operator,
            Kind::Assign | Kind::MatchRegex | Kind::NotMatchRegex | Kind::Operator(BinaryOp::NotEqual)
        ) {
            return Err(self.unexpected("label matching", "label matching operator"));
        }
        self.advance();
        let Some(quoted) = self.accept(&Kind::String) else {
            return Err(self.unexpected("label matching", "string"));
        };
        let value = self.string(quoted.position)?;
        let regex = |parser: &mut Self| {
            let compiled = parser.regexes.anchored(&value);
            compiled
                .map_err(|message| parser.error(token.position, format!("error parsing regexp: {message}: `{value}`")))
        };
        let kind = match operator {
            Kind::Assign => MatchKind::Equal,
            Kind::MatchRegex => MatchKind::Regex(regex(self)?),
            Kind::NotMatchRegex => MatchKind::NotRegex(regex(self)?),
            _ => MatchKind::NotEqual,
        };
        Ok(Matcher { name, kind, value })
    }
}
