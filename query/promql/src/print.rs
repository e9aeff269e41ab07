//! Expressions as text, in the form that Prometheus' `/format_query` gives on one line.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::ast::{
    Aggregate, At, Binary, Cardinality, Duration, DurationExpr, DurationOp, Expr, ExprKind, Extension, Matching,
    Number, Subquery, VectorSelector,
};
use crate::histogram::format_general;
use crate::labels::{Label, Labels, METRIC_NAME, MatchKind, Matcher};
use crate::number::{format_duration, format_float, quote};

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic());
    starts && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

fn label_name(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { quote(name) }
}

fn label_list(names: &[String]) -> String {
    names.iter().map(|name| label_name(name)).collect::<Vec<_>>().join(", ")
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Vector(selector) => selector.fmt(f),
            ExprKind::Matrix(matrix) => {
                write_series(&matrix.selector, f)?;
                write!(f, "[{}]", matrix.range)?;
                write_extension(&matrix.selector, f)?;
                write_at(matrix.selector.at, f)?;
                write_offset(matrix.selector.offset.as_ref(), f)
            }
            ExprKind::Subquery(subquery) => subquery.fmt(f),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                for (index, arg) in call.args.iter().enumerate() {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(f, "{separator}{arg}")?;
                }
                f.write_char(')')
            }
            ExprKind::Aggregate(aggregate) => aggregate.fmt(f),
            ExprKind::Binary(binary) => binary.fmt(f),
            ExprKind::Unary(unary) => {
                write!(f, "{}{}", if unary.negates { '-' } else { '+' }, unary.operand)
            }
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            f.write_str(&format_duration((self.value * 1000.0).round() as i64))
        } else {
            f.write_str(&format_float(self.value))
        }
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_series(self, f)?;
        write_at(self.at, f)?;
        write_extension(self, f)?;
        write_offset(self.offset.as_ref(), f)
    }
}

fn write_series(selector: &VectorSelector, f: &mut Formatter<'_>) -> fmt::Result {
    let is_name = |matcher: &&Matcher| {
        matcher.name == METRIC_NAME
            && matches!(matcher.kind, MatchKind::Equal)
            && selector.name.as_ref().is_some_and(|name| *name == matcher.value)
    };
    let mut matchers: Vec<String> =
        selector.matchers.iter().filter(|matcher| !is_name(matcher)).map(ToString::to_string).collect();
    matchers.sort_unstable();
    f.write_str(selector.name.as_deref().unwrap_or_default())?;
    if matchers.is_empty() && selector.name.is_some() { Ok(()) } else { write!(f, "{{{}}}", matchers.join(",")) }
}

fn write_at(at: Option<At>, f: &mut Formatter<'_>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Time(millis)) => write!(f, " @ {:.3}", millis as f64 / 1000.0),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
    }
}

fn write_extension(selector: &VectorSelector, f: &mut Formatter<'_>) -> fmt::Result {
    match selector.extension {
        Extension::None => Ok(()),
        Extension::Anchored => f.write_str(" anchored"),
        Extension::Smoothed => f.write_str(" smoothed"),
    }
}

fn write_offset(offset: Option<&Duration>, f: &mut Formatter<'_>) -> fmt::Result {
    match offset {
        None | Some(Duration::Fixed(0)) => Ok(()),
        Some(offset) => write!(f, " offset {offset}"),
    }
}

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let operator = match self.kind {
            MatchKind::Equal => "=",
            MatchKind::NotEqual => "!=",
            MatchKind::Regex(_) => "=~",
            MatchKind::NotRegex(_) => "!~",
        };
        write!(f, "{}{operator}{}", label_name(&self.name), quote(&self.value))
    }
}

impl Display for Labels {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let pair = |label: &Label| format!("{}={}", label_name(&label.name), quote(&label.value));
        let pairs: Vec<String> = self.iter().map(pair).collect();
        write!(f, "{{{}}}", pairs.join(", "))
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, Suffix(self))
    }
}

/// What follows the expression of a subquery.
struct Suffix<'a>(&'a Subquery);

impl Display for Suffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", self.0.range)?;
        if let Some(step) = &self.0.step {
            step.fmt(f)?;
        }
        f.write_char(']')?;
        write_at(self.0.at, f)?;
        write_offset(self.0.offset.as_ref(), f)
    }
}

impl Subquery {
    /// Range, step and modifiers as text.
    pub(crate) fn suffix(&self) -> String {
        Suffix(self).to_string()
    }
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(millis) => f.write_str(&format_duration(*millis)),
            Self::Computed(expr, _) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Step => f.write_str("step()"),
            Self::Range => f.write_str("range()"),
            Self::Negate(operand) => write!(f, "-{operand}"),
            Self::Paren(inner) => write!(f, "({inner})"),
            Self::Binary(op, left, right) => write!(f, "{left} {} {right}", op.as_str()),
            Self::Min(left, right) => write!(f, "min({left}, {right})"),
            Self::Max(left, right) => write!(f, "max({left}, {right})"),
        }
    }
}

impl DurationOp {
    fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.prefix())?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Aggregate {
    /// The operator with the grouping.
    pub(crate) fn prefix(&self) -> String {
        let op = self.op.as_str();
        if self.without {
            format!("{op} without ({}) ", label_list(&self.grouping))
        } else if self.grouping.is_empty() {
            op.to_owned()
        } else {
            format!("{op} by ({}) ", label_list(&self.grouping))
        }
    }
}

impl Binary {
    /// The operator with its modifiers.
    pub(crate) fn operation(&self) -> String {
        let modifier = if self.returns_bool { " bool" } else { "" };
        format!("{}{modifier}{}", self.op.as_str(), self.matching)
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.operation(), self.right)
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if self.on || group.is_some() || !self.labels.is_empty() {
            write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, label_list(&self.labels))?;
        }
        if let Some(group) = group {
            write!(f, " group_{group} ({})", label_list(&self.include))?;
        }
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
                write!(f, " fill ({})", format_general(left))
            }
            (left, right) => {
                if let Some(left) = left {
                    write!(f, " fill_left ({})", format_general(left))?;
                }
                if let Some(right) = right {
                    write!(f, " fill_right ({})", format_general(right))?;
                }
                Ok(())
            }
        }
    }
}
