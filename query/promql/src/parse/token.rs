//! The tokens of PromQL.

use crate::ast::{AggregateOp, BinaryOp, Position};

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    /// What the lexer could not read.
    Error(String),
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// `=` within braces.
    Assign,
    MatchRegex,
    NotMatchRegex,
    At,
    Number,
    Duration,
    String,
    Identifier,
    /// An identifier with colons.
    MetricIdentifier,
    Operator(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
}

/// Words with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
}

/// A token and its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) position: Position,
}

impl Kind {
    /// The kind of a word that is no plain identifier; words are not case-sensitive.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        use AggregateOp as A;
        let kind = match word.to_ascii_lowercase().as_str() {
            "and" => Self::Operator(BinaryOp::And),
            "or" => Self::Operator(BinaryOp::Or),
            "unless" => Self::Operator(BinaryOp::Unless),
            "atan2" => Self::Operator(BinaryOp::Atan2),
            "bitand" => Self::Operator(BinaryOp::BitAnd),
            "bitor" => Self::Operator(BinaryOp::BitOr),
            "bitxor" => Self::Operator(BinaryOp::BitXor),
            "inf" | "nan" => Self::Number,
            "sum" => Self::Aggregate(A::Sum),
            "avg" => Self::Aggregate(A::Avg),
            "count" => Self::Aggregate(A::Count),
            "min" => Self::Aggregate(A::Min),
            "max" => Self::Aggregate(A::Max),
            "group" => Self::Aggregate(A::Group),
            "stddev" => Self::Aggregate(A::Stddev),
            "stdvar" => Self::Aggregate(A::Stdvar),
            "topk" => Self::Aggregate(A::Topk),
            "bottomk" => Self::Aggregate(A::Bottomk),
            "count_values" => Self::Aggregate(A::CountValues),
            "quantile" => Self::Aggregate(A::Quantile),
            "limitk" => Self::Aggregate(A::Limitk),
            "limit_ratio" => Self::Aggregate(A::LimitRatio),
            word => Self::Keyword(Keyword::of_word(word)?),
        };
        Some(kind)
    }

    /// Whether the token can be a metric's name.
    pub(super) fn is_metric_name(&self) -> bool {
        use Keyword::{Bool, GroupLeft, GroupRight, Ignoring, On};
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) => true,
            // There may be metrics named like the newer operators.
            Self::Operator(op) => op.is_set() || op.is_bitwise(),
            Self::Keyword(keyword) => !matches!(keyword, Bool | On | Ignoring | GroupLeft | GroupRight),
            _ => false,
        }
    }

    /// Whether the token can be a label in `by (…)` and the like.
    pub(super) fn is_label_name(&self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Keyword(_) => true,
            Self::Operator(op) => op.is_set() || op.is_bitwise() || *op == BinaryOp::Atan2,
            _ => false,
        }
    }

    /// The token as error messages show it.
    pub(super) fn describe(&self, text: &str) -> String {
        match self {
            Self::End => "end of input".to_owned(),
            Self::Error(message) => message.clone(),
            Self::Operator(_) | Self::Assign | Self::MatchRegex | Self::NotMatchRegex | Self::At => {
                format!("<op:{text}>")
            }
            Self::Aggregate(_) => format!("<aggr:{text}>"),
            Self::Keyword(_) => format!("<{text}>"),
            Self::Identifier => format!("identifier {text:?}"),
            Self::MetricIdentifier => format!("metric identifier {text:?}"),
            Self::Number => format!("number {}", shortened(text)),
            Self::Duration => format!("duration {}", shortened(text)),
            Self::String => format!("string {}", shortened(text)),
            _ => format!("{text:?}"),
        }
    }
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(10).collect();
    if short.len() < text.len() { format!("{short:?}...") } else { format!("{text:?}") }
}

impl Keyword {
    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "offset" => Self::Offset,
            "smoothed" => Self::Smoothed,
            "anchored" => Self::Anchored,
            "by" => Self::By,
            "without" => Self::Without,
            "on" => Self::On,
            "ignoring" => Self::Ignoring,
            "group_left" => Self::GroupLeft,
            "group_right" => Self::GroupRight,
            "fill" => Self::Fill,
            "fill_left" => Self::FillLeft,
            "fill_right" => Self::FillRight,
            "bool" => Self::Bool,
            "start" => Self::Start,
            "end" => Self::End,
            "step" => Self::Step,
            "range" => Self::Range,
            _ => return None,
        })
    }
}
