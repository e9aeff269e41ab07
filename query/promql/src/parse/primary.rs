//! Literals, parentheses, function calls and aggregations.

use super::literal;
use super::token::{Keyword, Kind};
use super::{ParseError, Parsed, Parser};
use crate::ast::{Aggregate, AggregateOp, Call, Expr, ExprKind, Number, Position};
use crate::functions::Function;

impl Parser<'_> {
    /// An expression without operators around it.
    pub(super) fn primary(&mut self) -> Result<Parsed, ParseError> {
        let token = self.peek().clone();
        let calls = *self.peek_second() == Kind::LeftParen;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let number = self.number()?.ok_or_else(|| self.unexpected("", ""))?;
                Ok((Expr { kind: ExprKind::Number(number), position: token.position }, 1))
            }
            Kind::String => {
                self.advance();
                let text = self.string(token.position)?;
                Ok((Expr { kind: ExprKind::String(text), position: token.position }, 1))
            }
            Kind::LeftParen => self.parenthesized(),
            Kind::Aggregate(op) if calls => self.aggregate(op),
            Kind::Aggregate(op) if matches!(self.peek_second(), Kind::Keyword(Keyword::By | Keyword::Without)) => {
                self.aggregate(op)
            }
            Kind::Identifier | Kind::Keyword(Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range)
                if calls =>
            {
                self.call()
            }
            Kind::LeftBrace => self.selector(),
            ref kind if kind.is_metric_name() => self.selector(),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn selector(&mut self) -> Result<Parsed, ParseError> {
        let (selector, position) = self.vector_selector()?;
        Ok((Expr { kind: ExprKind::Vector(selector), position }, 1))
    }

    /// The next token if it is a number or a duration.
    pub(super) fn number(&mut self) -> Result<Option<Number>, ParseError> {
        let token = self.peek().clone();
        let text = self.text(token.position);
        let number = match token.kind {
            Kind::Number => {
                let value = literal::number(text);
                let value =
                    value.ok_or_else(|| self.error(token.position, format!("error parsing number: {text:?}")))?;
                Number { value, is_duration: false }
            }
            Kind::Duration => {
                let millis = literal::duration(text).map_err(|message| self.error(token.position, message))?;
                Number { value: millis as f64 / 1000.0, is_duration: true }
            }
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(number))
    }

    pub(super) fn string(&self, position: Position) -> Result<String, ParseError> {
        literal::string(self.text(position)).map_err(|message| self.error(position, message))
    }

    fn parenthesized(&mut self) -> Result<Parsed, ParseError> {
        let start = self.advance().position.start;
        let (inner, height) = self.expression()?;
        self.expect(&Kind::RightParen, "", "")?;
        self.check_nesting(height + 1)?;
        let position = Position { start, end: self.last_end() };
        Ok((Expr { kind: ExprKind::Paren(Box::new(inner)), position }, height + 1))
    }

    fn call(&mut self) -> Result<Parsed, ParseError> {
        let name = self.advance();
        let text = self.text(name.position);
        let Some(function) = Function::find(text) else {
            return Err(self.error(name.position, format!("unknown function with name {text:?}")));
        };
        if function.experimental && !self.options.experimental_functions {
            return Err(self.error(name.position, format!("function {text:?} is not enabled")));
        }
        let (args, height) = self.arguments()?;
        let position = Position { start: name.position.start, end: self.last_end() };
        Ok((Expr { kind: ExprKind::Call(Call { function, args }), position }, height + 1))
    }

    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), ParseError> {
        self.expect(&Kind::LeftParen, "", "")?;
        let (mut args, mut height) = (Vec::new(), 0);
        if self.accept(&Kind::RightParen).is_some() {
            return Ok((args, height));
        }
        loop {
            let (arg, arg_height) = self.expression()?;
            args.push(arg);
            height = height.max(arg_height);
            let Some(comma) = self.accept(&Kind::Comma) else { break };
            if self.peek().kind == Kind::RightParen {
                return Err(self.error(comma.position, "trailing commas not allowed in function call args"));
            }
        }
        self.expect(&Kind::RightParen, "", "")?;
        self.check_nesting(height + 1)?;
        Ok((args, height))
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Parsed, ParseError> {
        let start = self.advance().position.start;
        let mut modifier = self.aggregate_modifier()?;
        let (mut args, height) = match self.peek().kind {
            Kind::LeftParen => self.arguments()?,
            _ => return Err(self.unexpected("aggregation", "")),
        };
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
        }
        let (grouping, without) = modifier.unwrap_or_default();
        let position = Position { start, end: self.last_end() };
        if args.is_empty() {
            return Err(self.error(position, "no arguments for aggregate expression provided"));
        }
        if matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio) && !self.options.experimental_functions {
            let name = op.as_str();
            let message = format!(
                "{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
            );
            return Err(self.error(position, message));
        }
        let wanted = 1 + usize::from(op.has_parameter());
        let given = args.len();
        let Some(expr) = args.pop().filter(|_| given == wanted) else {
            let message =
                format!("wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}");
            return Err(self.error(position, message));
        };
        let aggregate = Aggregate { op, expr, param: args.pop(), grouping, without };
        Ok((Expr { kind: ExprKind::Aggregate(Box::new(aggregate)), position }, height + 1))
    }

    /// `by (…)` or `without (…)`, with whether it is the latter.
    fn aggregate_modifier(&mut self) -> Result<Option<(Vec<String>, bool)>, ParseError> {
        let Kind::Keyword(keyword @ (Keyword::By | Keyword::Without)) = self.peek().kind else { return Ok(None) };
        self.advance();
        Ok(Some((self.label_list()?, keyword == Keyword::Without)))
    }

    /// `(a, "b.c", sum,)`.
    pub(super) fn label_list(&mut self) -> Result<Vec<String>, ParseError> {
        self.expect(&Kind::LeftParen, "grouping opts", "\"(\"")?;
        let mut labels = Vec::new();
        while self.accept(&Kind::RightParen).is_none() {
            let token = self.peek().clone();
            let label = match &token.kind {
                Kind::String => self.string(token.position)?,
                kind if kind.is_label_name() => self.text(token.position).to_owned(),
                _ => return Err(self.unexpected("grouping opts", "label")),
            };
            if label.is_empty() {
                return Err(self.error(token.position, format!("invalid label name for grouping: {label:?}")));
            }
            self.advance();
            labels.push(label);
            if self.accept(&Kind::Comma).is_none() && self.peek().kind != Kind::RightParen {
                return Err(self.unexpected("grouping opts", "\",\" or \")\""));
            }
        }
        Ok(labels)
    }
}
