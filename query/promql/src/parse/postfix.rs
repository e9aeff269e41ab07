//! What may follow a selector: ranges, subqueries, `offset`, `@`, `anchored` and `smoothed`.

use super::token::{Keyword, Kind};
use super::{ParseError, Parsed, Parser};
use crate::ast::{At, Duration, Expr, ExprKind, Extension, MatrixSelector, Position, Subquery};

impl Parser<'_> {
    pub(super) fn postfix(&mut self) -> Result<Parsed, ParseError> {
        let (mut expr, mut height) = self.primary()?;
        loop {
            match self.peek().kind {
                Kind::LeftBracket => {
                    expr = self.range(expr)?;
                    height += 1;
                    self.check_nesting(height)?;
                    continue;
                }
                Kind::At => self.at(&mut expr)?,
                Kind::Keyword(Keyword::Offset) => self.offset(&mut expr)?,
                Kind::Keyword(keyword @ (Keyword::Anchored | Keyword::Smoothed)) => {
                    self.extension(&mut expr, keyword)?;
                }
                _ => return Ok((expr, height)),
            }
            expr.position.end = self.last_end();
        }
    }

    /// `[range]`, `[range:]` or `[range:step]`.
    fn range(&mut self, expr: Expr) -> Result<Expr, ParseError> {
        let bracket = self.advance().position;
        let range = self.positive_duration("subquery or range selector", "number, duration, step(), or range()")?;
        let start = expr.position.start;
        if self.accept(&Kind::Colon).is_some() {
            let mut step = None;
            if self.peek().kind != Kind::RightBracket {
                let expected = "number, duration, step(), range(), or \"]\"";
                step = Some(self.positive_duration("subquery selector", expected)?);
            }
            self.expect(&Kind::RightBracket, "subquery selector", "\"]\"")?;
            let position = Position { start, end: self.last_end() };
            let subquery = Subquery { expr, range, step, offset: None, at: None };
            return Ok(Expr { kind: ExprKind::Subquery(Box::new(subquery)), position });
        }
        self.expect(&Kind::RightBracket, "subquery or range", "\":\" or \"]\"")?;
        let error_position = Position { start: bracket.start, end: self.last_end() };
        let ExprKind::Vector(selector) = expr.kind else {
            return Err(self.error(error_position, "ranges only allowed for vector selectors"));
        };
        if selector.offset.is_some() {
            return Err(self.error(error_position, "no offset modifiers allowed before range"));
        }
        if selector.at.is_some() {
            return Err(self.error(error_position, "no @ modifiers allowed before range"));
        }
        let position = Position { start, end: self.last_end() };
        Ok(Expr { kind: ExprKind::Matrix(MatrixSelector { selector, range }), position })
    }

    fn offset(&mut self, expr: &mut Expr) -> Result<(), ParseError> {
        self.advance();
        let duration = self.offset_duration()?;
        let slot = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.offset,
            ExprKind::Matrix(matrix) => &mut matrix.selector.offset,
            ExprKind::Subquery(subquery) => &mut subquery.offset,
            _ => {
                let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(self.error(expr.position, message));
            }
        };
        if slot.as_ref().is_some_and(|before| !matches!(before, Duration::Fixed(0))) {
            return Err(self.error(expr.position, "offset may not be set multiple times"));
        }
        *slot = Some(duration);
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Result<(), ParseError> {
        self.advance();
        let at = match self.peek().kind {
            Kind::Keyword(keyword @ (Keyword::Start | Keyword::End)) => {
                self.advance();
                self.expect(&Kind::LeftParen, "@", "timestamp")?;
                self.expect(&Kind::RightParen, "@", "timestamp")?;
                if keyword == Keyword::Start { At::Start } else { At::End }
            }
            _ => {
                if !matches!(self.peek().kind, Kind::Number | Kind::Duration | Kind::Operator(_)) {
                    return Err(self.unexpected("@", "timestamp"));
                }
                let seconds = self.signed_number("@")?;
                if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
                    let message = format!("timestamp out of bounds for @ modifier: {seconds:.6}");
                    return Err(self.error(expr.position, message));
                }
                At::Time((seconds * 1000.0).round() as i64)
            }
        };
        let slot = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.at,
            ExprKind::Matrix(matrix) => &mut matrix.selector.at,
            ExprKind::Subquery(subquery) => &mut subquery.at,
            _ => {
                let message =
                    "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(self.error(expr.position, message));
            }
        };
        if slot.is_some() {
            return Err(self.error(expr.position, "@ <timestamp> may not be set multiple times"));
        }
        *slot = Some(at);
        Ok(())
    }

    fn extension(&mut self, expr: &mut Expr, keyword: Keyword) -> Result<(), ParseError> {
        self.advance();
        let (name, extension) = match keyword {
            Keyword::Anchored => ("anchored", Extension::Anchored),
            _ => ("smoothed", Extension::Smoothed),
        };
        if !self.options.extended_range_selectors {
            return Err(self.error(expr.position, format!("{name} modifier is experimental and not enabled")));
        }
        let slot = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.extension,
            ExprKind::Matrix(matrix) => &mut matrix.selector.extension,
            ExprKind::Subquery(_) => {
                return Err(self.error(expr.position, format!("{name} modifier is not supported for subqueries")));
            }
            _ => return Err(self.error(expr.position, format!("{name} modifier not implemented"))),
        };
        if *slot != Extension::None && *slot != extension {
            return Err(self.error(expr.position, "anchored and smoothed modifiers cannot be used together"));
        }
        *slot = extension;
        Ok(())
    }
}
