//! The fields that a span has and a log record has not: `kind`, `duration`, `status`, `name`. In a search of spans they
//! go before attributes of these names, which `attributes.KEY` still reaches.

use std::fmt;
use std::ops::Bound;

use super::ast::{FieldTest, Node};
use super::field::Field;
use crate::api::time::parse_duration;

/// A field of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanField {
    /// `kind`: server, client, producer, consumer, internal, unspecified.
    Kind,
    /// `duration`: a length of time with its unit.
    Duration,
    /// `status`: error, ok, unset.
    Status,
    /// `name`, `operation`: the whole name.
    Name,
}

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// What is wrong with a test of a field.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) field: Field,
    pub(super) message: String,
    pub(super) hint: String,
}

impl SpanField {
    fn resolve(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "kind" => Some(Self::Kind),
            "duration" => Some(Self::Duration),
            "status" => Some(Self::Status),
            "name" | "operation" => Some(Self::Name),
            _ => None,
        }
    }

    /// The column that has it.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Duration => "duration",
            Self::Status => "status_code",
            Self::Name => "name",
        }
    }

    /// The test in terms of the column's values.
    fn test(self, test: &FieldTest) -> Result<FieldTest, (String, String)> {
        match self {
            Self::Name => Ok(test.clone()),
            Self::Kind => code_test("kind", &KINDS, test),
            Self::Status => code_test("status", &STATUSES, test),
            Self::Duration => duration_test(test),
        }
    }
}

impl fmt::Display for SpanField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kind => "kind",
            Self::Duration => "duration",
            Self::Status => "status",
            Self::Name => "name",
        })
    }
}

fn code_test(name: &str, names: &[&str], test: &FieldTest) -> Result<FieldTest, (String, String)> {
    let hint = format!("{name} is one of {}", names.join(", "));
    match test {
        FieldTest::Exists => Ok(FieldTest::Exists),
        FieldTest::Equals(text) => match names.iter().position(|known| known.eq_ignore_ascii_case(text)) {
            Some(code) => Ok(FieldTest::Equals(code.to_string())),
            None => Err((format!("there is no {name} {text:?}"), hint)),
        },
        _ => Err((format!("`{name}` is compared with a whole name only"), hint)),
    }
}

fn duration_test(test: &FieldTest) -> Result<FieldTest, (String, String)> {
    const HINT: &str = "write for example duration:>100ms, duration:<=1.5s, duration:[10ms TO 1s]";
    let nanos = |text: &String| match parse_duration(text) {
        Ok(duration) => Ok(duration.as_nanos().to_string()),
        Err(_) => Err((format!("{text:?} is not a duration with its unit"), HINT.to_owned())),
    };
    let bound = |bound: &Bound<String>| match bound {
        Bound::Included(text) => nanos(text).map(Bound::Included),
        Bound::Excluded(text) => nanos(text).map(Bound::Excluded),
        Bound::Unbounded => Ok(Bound::Unbounded),
    };
    match test {
        FieldTest::Exists => Ok(FieldTest::Exists),
        FieldTest::Equals(text) => nanos(text).map(FieldTest::Equals),
        FieldTest::Range { lower, upper } => Ok(FieldTest::Range { lower: bound(lower)?, upper: bound(upper)? }),
        FieldTest::Pattern(_) | FieldTest::Regex(_) => {
            Err(("`duration` is compared with durations only".to_owned(), HINT.to_owned()))
        }
    }
}

/// A search as it is meant of spans.
pub(super) fn of_spans(node: Node) -> Result<Node, Problem> {
    let all = |children: Vec<Node>| children.into_iter().map(of_spans).collect::<Result<Vec<Node>, Problem>>();
    match node {
        Node::All | Node::Text { .. } => Ok(node),
        Node::And(children) => Ok(Node::And(all(children)?)),
        Node::Or(children) => Ok(Node::Or(all(children)?)),
        Node::Not(child) => Ok(Node::Not(Box::new(of_spans(*child)?))),
        Node::Field { field, test } => of_field(field, test),
    }
}

fn of_field(field: Field, test: FieldTest) -> Result<Node, Problem> {
    let is_of_logs =
        matches!(field, Field::Severity | Field::SeverityNumber | Field::SeverityText | Field::BodyPath(_));
    if is_of_logs {
        let message = format!("a span has no `{field}`");
        return Err(Problem { field, message, hint: "a span that failed has status:error".to_owned() });
    }
    let Field::Attribute(name) = &field else { return Ok(Node::Field { field, test }) };
    let Some(of_span) = SpanField::resolve(name) else { return Ok(Node::Field { field, test }) };
    match of_span.test(&test) {
        Ok(test) => Ok(Node::Field { field: Field::Span(of_span), test }),
        Err((message, hint)) => Err(Problem { field, message, hint }),
    }
}
