//! Durations of ranges, steps and offsets, which may be arithmetics.

use super::token::{Keyword, Kind};
use super::{ParseError, Parser};
use crate::ast::{AggregateOp, BinaryOp, Duration, DurationExpr, DurationOp, Number, Position};

/// The longest duration that Go can tell, in seconds.
const MAX_SECONDS: f64 = 9_223_372_036.854_776;

const EXPECTED: &str = "number, duration, step(), or range()";

/// As a sign or a factor.
fn operator(kind: &Kind) -> Option<(DurationOp, u8)> {
    let Kind::Operator(op) = kind else { return None };
    Some(match op {
        BinaryOp::Add => (DurationOp::Add, 1),
        BinaryOp::Sub => (DurationOp::Sub, 1),
        BinaryOp::Mul => (DurationOp::Mul, 2),
        BinaryOp::Div => (DurationOp::Div, 2),
        BinaryOp::Mod => (DurationOp::Mod, 2),
        BinaryOp::Pow => (DurationOp::Pow, 3),
        _ => return None,
    })
}

impl Parser<'_> {
    /// The duration of a range or a step.
    pub(super) fn positive_duration(&mut self, context: &str, expected: &str) -> Result<Duration, ParseError> {
        let start = self.peek().position.start;
        if !self.starts_duration() {
            return Err(self.unexpected(context, expected));
        }
        let expr = self.duration_expr(1)?;
        let position = Position { start, end: self.last_end() };
        if let DurationExpr::Number(number) = expr
            && number.value <= 0.0
        {
            return Err(self.error(position, "duration must be greater than 0"));
        }
        match self.duration_of(expr, position)? {
            // Less than a millisecond holds no sample, and would be printed as 0s, which cannot be read again.
            Duration::Fixed(0) => Err(self.error(position, "duration must be greater than 0")),
            duration => Ok(duration),
        }
    }

    /// The duration of an offset: operators belong to it only within parentheses, so that `x offset 5m + y` is a sum
    /// of vectors.
    pub(super) fn offset_duration(&mut self) -> Result<Duration, ParseError> {
        let start = self.peek().position.start;
        if !self.starts_duration() {
            return Err(self.unexpected("offset", EXPECTED));
        }
        let expr = self.duration_unary(3)?;
        let position = Position { start, end: self.last_end() };
        self.duration_of(expr, position)
    }

    fn starts_duration(&self) -> bool {
        use Kind::{Aggregate, Keyword as Word};
        matches!(
            self.peek().kind,
            Kind::Number
                | Kind::Duration
                | Kind::LeftParen
                | Kind::Operator(BinaryOp::Add | BinaryOp::Sub)
                | Word(Keyword::Step | Keyword::Range)
                | Aggregate(AggregateOp::Min | AggregateOp::Max)
        ) || self.extreme().is_some()
    }

    /// Whether the smaller or the larger of two durations comes next: `min` and `max`, since Prometheus 3.10 also
    /// `min_of` and `max_of`.
    fn extreme(&self) -> Option<AggregateOp> {
        match self.peek().kind {
            Kind::Aggregate(op @ (AggregateOp::Min | AggregateOp::Max)) => Some(op),
            Kind::Identifier => match self.text(self.peek().position).to_ascii_lowercase().as_str() {
                "min_of" => Some(AggregateOp::Min),
                "max_of" => Some(AggregateOp::Max),
                _ => None,
            },
            _ => None,
        }
    }

    fn duration_of(&self, expr: DurationExpr, position: Position) -> Result<Duration, ParseError> {
        let DurationExpr::Number(number) = expr else {
            if !self.options.duration_expressions {
                return Err(self.error(position, "experimental duration expression is not enabled"));
            }
            return Ok(Duration::Computed(Box::new(expr), position));
        };
        if !number.value.is_finite() || number.value.abs() > MAX_SECONDS {
            return Err(self.error(position, "duration out of range"));
        }
        // Through nanoseconds, as Prometheus has it: less than a millisecond is cut off.
        Ok(Duration::Fixed(((number.value * 1e9).round() / 1e6) as i64))
    }

    fn duration_expr(&mut self, min_precedence: u8) -> Result<DurationExpr, ParseError> {
        self.depth += 1;
        self.check_nesting(0)?;
        let mut left = self.duration_unary(2)?;
        let mut height = 0;
        while let Some((op, precedence)) = operator(&self.peek().kind)
            && precedence >= min_precedence
        {
            let position = self.advance().position;
            let right = self.duration_expr(if op == DurationOp::Pow { precedence } else { precedence + 1 })?;
            let is_zero = matches!(right, DurationExpr::Number(number) if number.value == 0.0);
            match op {
                DurationOp::Div if is_zero => return Err(self.error(position, "division by zero")),
                DurationOp::Mod if is_zero => return Err(self.error(position, "modulo by zero")),
                _ => {}
            }
            height += 1;
            self.check_nesting(self.depth + height)?;
            left = DurationExpr::Binary(op, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    /// A sign binds what follows up to this precedence.
    fn duration_unary(&mut self, min_precedence: u8) -> Result<DurationExpr, ParseError> {
        let Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek().kind else {
            return self.duration_atom();
        };
        self.advance();
        // `-2^2` in brackets is -(2^2), but after `offset` the power is not part of the duration.
        let operand = if min_precedence == 2 { self.duration_expr(3)? } else { self.duration_atom()? };
        Ok(match (op, operand) {
            (BinaryOp::Sub, DurationExpr::Number(number)) => {
                DurationExpr::Number(Number { value: -number.value, ..number })
            }
            (BinaryOp::Sub, operand) => DurationExpr::Negate(Box::new(operand)),
            (_, operand) => operand,
        })
    }

    fn duration_atom(&mut self) -> Result<DurationExpr, ParseError> {
        if let Some(number) = self.number()? {
            return Ok(DurationExpr::Number(number));
        }
        if let Some(op) = self.extreme() {
            return self.extreme_of_two(op);
        }
        match self.peek().kind {
            Kind::LeftParen => {
                self.advance();
                let inner = self.duration_expr(1)?;
                self.expect(&Kind::RightParen, "duration expression", "\")\"")?;
                Ok(DurationExpr::Paren(Box::new(inner)))
            }
            Kind::Keyword(keyword @ (Keyword::Step | Keyword::Range)) => {
                self.advance();
                self.expect(&Kind::LeftParen, "duration expression", "\"(\"")?;
                self.expect(&Kind::RightParen, "duration expression", "\")\"")?;
                Ok(if keyword == Keyword::Step { DurationExpr::Step } else { DurationExpr::Range })
            }
            _ => Err(self.unexpected("duration expression", EXPECTED)),
        }
    }

    fn extreme_of_two(&mut self, op: AggregateOp) -> Result<DurationExpr, ParseError> {
        self.advance();
        self.expect(&Kind::LeftParen, "duration expression", "\"(\"")?;
        let left = Box::new(self.duration_expr(1)?);
        self.expect(&Kind::Comma, "duration expression", "\",\"")?;
        let right = Box::new(self.duration_expr(1)?);
        self.expect(&Kind::RightParen, "duration expression", "\")\"")?;
        Ok(if op == AggregateOp::Min { DurationExpr::Min(left, right) } else { DurationExpr::Max(left, right) })
    }
}
