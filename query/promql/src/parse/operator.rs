//! Unary and binary operators, by precedence.

use super::token::{Keyword, Kind};
use super::{ParseError, Parsed, Parser};
use crate::ast::{Binary, BinaryOp, Cardinality, Expr, ExprKind, Matching, Number, Position, Unary};

const UNARY: u8 = 5;
const POWER: u8 = 6;

fn precedence(op: BinaryOp) -> u8 {
    use BinaryOp as Op;
    match op {
        Op::Or => 1,
        Op::And | Op::Unless => 2,
        Op::Add | Op::Sub => 4,
        Op::Mul | Op::Div | Op::Mod | Op::Atan2 | Op::BitAnd | Op::BitOr | Op::BitXor => UNARY,
        Op::Pow => POWER,
        _ => 3,
    }
}

impl Parser<'_> {
    /// Any expression.
    pub(super) fn expression(&mut self) -> Result<Parsed, ParseError> {
        self.binary(1)
    }

    /// Operators that bind at least so strongly.
    fn binary(&mut self, min_precedence: u8) -> Result<Parsed, ParseError> {
        self.depth += 1;
        self.check_nesting(0)?;
        let (mut left, mut height) = self.unary()?;
        while let Kind::Operator(op) = self.peek().kind
            && precedence(op) >= min_precedence
        {
            let place = self.advance().position;
            if op.is_bitwise() && !self.options.experimental_functions {
                return Err(
                    self.error(place, format!("binary operator {:?} is experimental and not enabled", op.as_str()))
                );
            }
            let (matching, returns_bool) = self.modifiers()?;
            // The power operator is the only one that associates to the right.
            let next = if op == BinaryOp::Pow { POWER } else { precedence(op) + 1 };
            let (right, right_height) = self.binary(next)?;
            height = height.max(right_height) + 1;
            self.check_nesting(height)?;
            let position = Position { start: left.position.start, end: right.position.end };
            let binary = Binary { op, left, right, matching, returns_bool };
            left = Expr { kind: ExprKind::Binary(Box::new(binary)), position };
        }
        self.depth -= 1;
        Ok((left, height))
    }

    fn unary(&mut self) -> Result<Parsed, ParseError> {
        let Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek().kind else { return self.postfix() };
        let start = self.advance().position.start;
        let negates = op == BinaryOp::Sub;
        let (operand, height) = self.binary(POWER)?;
        let position = Position { start, end: operand.position.end };
        if let ExprKind::Number(number) = operand.kind {
            let value = if negates { -number.value } else { number.value };
            return Ok((Expr { kind: ExprKind::Number(Number { value, ..number }), position }, height));
        }
        let kind = ExprKind::Unary(Box::new(Unary { negates, operand }));
        self.check_nesting(height + 1)?;
        Ok((Expr { kind, position }, height + 1))
    }

    /// `bool on (…) group_left (…) fill (…)`, all of it optional.
    fn modifiers(&mut self) -> Result<(Matching, bool), ParseError> {
        let mut matching = Matching::default();
        let returns_bool = self.accept(&Kind::Keyword(Keyword::Bool)).is_some();
        let Kind::Keyword(keyword) = self.peek().kind else { return Ok((matching, returns_bool)) };
        if matches!(keyword, Keyword::On | Keyword::Ignoring) {
            self.advance();
            matching.on = keyword == Keyword::On;
            matching.labels = self.label_list()?;
            if let Kind::Keyword(side @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.peek().kind {
                self.advance();
                let is_left = side == Keyword::GroupLeft;
                matching.cardinality = if is_left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.peek().kind == Kind::LeftParen {
                    matching.include = self.label_list()?;
                }
            }
        }
        self.fill(&mut matching)?;
        Ok((matching, returns_bool))
    }

    fn fill(&mut self, matching: &mut Matching) -> Result<(), ParseError> {
        while let Kind::Keyword(keyword @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) = self.peek().kind {
            let repeated = match keyword {
                Keyword::FillLeft => matching.fill_left.is_some(),
                Keyword::FillRight => matching.fill_right.is_some(),
                _ => matching.fill_left.is_some() || matching.fill_right.is_some(),
            };
            if repeated {
                return Err(self.unexpected("", ""));
            }
            let position = self.advance().position;
            if !self.options.fill_modifiers {
                return Err(self.error(position, "binop fill modifiers are experimental and not enabled"));
            }
            self.expect(&Kind::LeftParen, "fill modifier", "\"(\"")?;
            let value = self.signed_number("fill modifier")?;
            self.expect(&Kind::RightParen, "fill modifier", "\")\"")?;
            if keyword != Keyword::FillRight {
                matching.fill_left = Some(value);
            }
            if keyword != Keyword::FillLeft {
                matching.fill_right = Some(value);
            }
        }
        Ok(())
    }

    /// A number or duration with an optional sign.
    pub(super) fn signed_number(&mut self, context: &str) -> Result<f64, ParseError> {
        let negates = match self.peek().kind {
            Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.advance();
                op == BinaryOp::Sub
            }
            _ => false,
        };
        let number = self.number()?.ok_or_else(|| self.unexpected(context, "number"))?;
        Ok(if negates { -number.value } else { number.value })
    }
}
