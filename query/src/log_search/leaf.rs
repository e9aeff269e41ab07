//! One test of a search on the rows of a batch.

use std::collections::BTreeSet;

use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int32Type, Int64Type, UInt32Type};
use trivium_model::{SpanId, TraceId};

use super::ast::{FieldTest, TextScope, TextTest};
use super::columns::{
    ATTRIBUTES, BODY, BODY_TYPE, EVENT_NAME, FLAGS, RESOURCE, SCOPE, SERVICE, SEVERITY_NUMBER, SEVERITY_TEXT, SPAN_ID,
    TRACE_ID, dictionary, dictionary_text, ids, numbers, text,
};
use super::field::Field;
use super::json_text::{self, JsonValue};
use super::memo::{Memo, Outcome, select};
use super::severity_test::SeverityTest;
use super::span_field::SpanField;
use super::syntax_error::SyntaxError;
use super::text::TextMatcher;
use super::value::{Number, ValueTest};
use crate::error::Error;

/// A compiled test.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    Text { scope: TextScope, matcher: TextMatcher, trace_id: Option<TraceId>, span_id: Option<SpanId> },
    Severity(SeverityTest),
    Field { field: Field, test: ValueTest, id: Option<Vec<u8>> },
}

/// What a leaf remembers from batch to batch.
#[derive(Debug, Default)]
pub(super) struct LeafState {
    first: Memo,
    second: Memo,
    /// Whether a record had the attribute that the leaf names.
    pub(super) key_seen: bool,
}

impl Leaf {
    pub(super) fn of_text(scope: TextScope, test: &TextTest) -> Result<Self, SyntaxError> {
        let word = match (scope, test) {
            (TextScope::Record, TextTest::Phrase(word)) => word.trim(),
            _ => "",
        };
        let (trace_id, span_id) = (word.parse().ok(), word.parse().ok());
        Ok(Self::Text { scope, matcher: TextMatcher::compile(test)?, trace_id, span_id })
    }

    pub(super) fn of_field(field: &Field, test: &FieldTest) -> Result<Self, SyntaxError> {
        if *field == Field::Severity {
            return Ok(Self::Severity(SeverityTest::compile(test)?));
        }
        // An ID that is none leaves no bytes to compare: nothing is equal to it.
        let id = match (field, test) {
            (Field::TraceId, FieldTest::Equals(id)) => {
                Some(id.parse().map(|id: TraceId| id.0.to_vec()).unwrap_or_default())
            }
            (Field::SpanId, FieldTest::Equals(id)) => {
                Some(id.parse().map(|id: SpanId| id.0.to_vec()).unwrap_or_default())
            }
            _ => None,
        };
        Ok(Self::Field { field: field.clone(), test: ValueTest::compile(test)?, id })
    }

    /// The columns that the test reads.
    pub(super) fn columns(&self, columns: &mut BTreeSet<&'static str>) {
        match self {
            Self::Text { scope: TextScope::Body, .. } => columns.extend([BODY]),
            Self::Text { trace_id, span_id, .. } => {
                columns.extend([BODY, EVENT_NAME, ATTRIBUTES]);
                columns.extend(trace_id.map(|_| TRACE_ID));
                columns.extend(span_id.map(|_| SPAN_ID));
            }
            Self::Severity(_) => columns.extend([SEVERITY_NUMBER, SEVERITY_TEXT]),
            Self::Field { field, .. } => columns.extend(columns_of(field)),
        }
    }

    /// The attribute that the test names.
    pub(super) fn attribute_key(&self) -> Option<&str> {
        match self {
            Self::Field { field, .. } => field.attribute_key(),
            _ => None,
        }
    }

    /// How dear a row is, for the order of tests.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Text { matcher: TextMatcher::Regex(_), .. } => 100,
            Self::Text { scope: TextScope::Record, .. } => 50,
            Self::Text { .. } => 40,
            Self::Field { field: Field::Body | Field::BodyPath(_), .. } => 60,
            Self::Field { field, .. } if field.attribute_key().is_some() => 20,
            Self::Severity(_) | Self::Field { .. } => 1,
        }
    }

    /// The rows of `selection` that match.
    pub(super) fn matching(
        &self,
        batch: &RecordBatch,
        selection: &BooleanBuffer,
        state: &mut LeafState,
    ) -> Result<BooleanBuffer, Error> {
        match self {
            Self::Text { scope: TextScope::Body, matcher, .. } => {
                text_rows(batch, BODY, selection, |text| matcher.matches(text))
            }
            Self::Text { matcher, trace_id, span_id, .. } => {
                let trace_id = trace_id.as_ref().map(|id| id.0.as_slice());
                let span_id = span_id.as_ref().map(|id| id.0.as_slice());
                record_rows(batch, selection, state, matcher, [(TRACE_ID, trace_id), (SPAN_ID, span_id)])
            }
            Self::Severity(test) => test.matching(batch, selection),
            Self::Field { field, id: Some(id), .. } => {
                let name = if *field == Field::TraceId { TRACE_ID } else { SPAN_ID };
                Ok(id_rows(ids(batch, name)?, selection, id))
            }
            Self::Field { field, test, .. } => field_rows(field, test, batch, selection, state),
        }
    }
}

fn columns_of(field: &Field) -> Vec<&'static str> {
    match field {
        Field::Service => vec![SERVICE],
        Field::Severity => vec![SEVERITY_NUMBER, SEVERITY_TEXT],
        Field::SeverityNumber => vec![SEVERITY_NUMBER],
        Field::SeverityText => vec![SEVERITY_TEXT],
        Field::TraceId => vec![TRACE_ID],
        Field::SpanId => vec![SPAN_ID],
        Field::EventName => vec![EVENT_NAME],
        Field::Body => vec![BODY],
        Field::BodyPath(_) => vec![BODY, BODY_TYPE],
        Field::Flags => vec![FLAGS],
        Field::ScopeName => vec![SCOPE],
        Field::Attribute(_) => vec![ATTRIBUTES, RESOURCE],
        Field::RecordAttribute(_) => vec![ATTRIBUTES],
        Field::ResourceAttribute(_) => vec![RESOURCE],
        Field::Span(field) => vec![field.column()],
    }
}

fn text_rows(
    batch: &RecordBatch,
    name: &str,
    selection: &BooleanBuffer,
    test: impl Fn(&str) -> bool,
) -> Result<BooleanBuffer, Error> {
    let column = text(batch, name)?;
    Ok(select(selection, |row| column.is_valid(row) && test(column.value(row))))
}

fn id_rows(column: &FixedSizeBinaryArray, selection: &BooleanBuffer, id: &[u8]) -> BooleanBuffer {
    select(selection, |row| column.is_valid(row) && column.value(row) == id)
}

/// A word in body, attribute values, event name or, when it is one, as trace or span ID.
fn record_rows(
    batch: &RecordBatch,
    selection: &BooleanBuffer,
    state: &mut LeafState,
    matcher: &TextMatcher,
    whole_ids: [(&str, Option<&[u8]>); 2],
) -> Result<BooleanBuffer, Error> {
    let mut found = text_rows(batch, BODY, selection, |text| matcher.matches(text))?;
    let mut open = selection & &!&found;
    let LeafState { first, second, .. } = state;
    for (name, memo, in_json) in [(ATTRIBUTES, first, true), (EVENT_NAME, second, false)] {
        let column = dictionary(batch, name)?;
        let test = |text: &str| if in_json { matches_in_json(matcher, text) } else { matcher.matches(text) }.into();
        let mut outcome = memo.outcomes(column, test);
        let here = select(&open, |row| outcome(row) == Outcome::Yes);
        found = &found | &here;
        open = &open & &!&here;
    }
    for (name, id) in whole_ids {
        if let Some(id) = id {
            found = &found | &id_rows(ids(batch, name)?, &open, id);
        }
    }
    Ok(found)
}

/// Whether a value of the set matches. Keys are no text of the record, and bytes are no text at all; lists and objects
/// are searched as the JSON text that the index has of them.
fn matches_in_json(matcher: &TextMatcher, set: &str) -> bool {
    matcher.may_match_in_json(set)
        && json_text::members(set).into_iter().flatten().any(|(_, value)| match json_text::read(value) {
            JsonValue::Bytes(_) | JsonValue::Null => false,
            value => matcher.matches(&value.text()),
        })
}

fn field_rows(
    field: &Field,
    test: &ValueTest,
    batch: &RecordBatch,
    selection: &BooleanBuffer,
    state: &mut LeafState,
) -> Result<BooleanBuffer, Error> {
    let memo = &mut state.first;
    Ok(match field {
        Field::Service => dictionary_rows(batch, SERVICE, selection, memo, |text| test.matches_text(text).into())?,
        Field::Severity | Field::SeverityText => {
            dictionary_rows(batch, SEVERITY_TEXT, selection, memo, |text| test.matches_text(text).into())?
        }
        Field::EventName => dictionary_rows(batch, EVENT_NAME, selection, memo, |text| test.matches_text(text).into())?,
        Field::ScopeName => dictionary_rows(batch, SCOPE, selection, memo, |json| value_outcome(json, "name", test))?,
        Field::RecordAttribute(_) | Field::ResourceAttribute(_) | Field::Attribute(_) => {
            attribute_rows(field, test, batch, selection, state)?
        }
        Field::Body => text_rows(batch, BODY, selection, |text| test.matches_text(text))?,
        Field::BodyPath(path) => body_path_rows(path, test, batch, selection)?,
        Field::SeverityNumber => {
            let column = numbers::<Int32Type>(batch, SEVERITY_NUMBER)?.values();
            integer_rows(column, test, selection)
        }
        Field::Flags => integer_rows(numbers::<UInt32Type>(batch, FLAGS)?.values(), test, selection),
        Field::Span(SpanField::Name) => {
            dictionary_rows(batch, SpanField::Name.column(), selection, memo, |text| test.matches_text(text).into())?
        }
        Field::Span(SpanField::Duration) => {
            integer_rows(numbers::<Int64Type>(batch, SpanField::Duration.column())?.values(), test, selection)
        }
        Field::Span(field @ (SpanField::Kind | SpanField::Status)) => {
            integer_rows(numbers::<Int32Type>(batch, field.column())?.values(), test, selection)
        }
        Field::TraceId => hex_rows(ids(batch, TRACE_ID)?, test, selection),
        Field::SpanId => hex_rows(ids(batch, SPAN_ID)?, test, selection),
    })
}

fn dictionary_rows(
    batch: &RecordBatch,
    name: &str,
    selection: &BooleanBuffer,
    memo: &mut Memo,
    test: impl Fn(&str) -> Outcome,
) -> Result<BooleanBuffer, Error> {
    let mut outcome = memo.outcomes(dictionary(batch, name)?, test);
    Ok(select(selection, |row| outcome(row) == Outcome::Yes))
}

fn value_outcome(json: &str, key: &str, test: &ValueTest) -> Outcome {
    json_text::find(json, key).map_or(Outcome::Absent, |value| test.matches_json(&value).into())
}

fn attribute_rows(
    field: &Field,
    test: &ValueTest,
    batch: &RecordBatch,
    selection: &BooleanBuffer,
    state: &mut LeafState,
) -> Result<BooleanBuffer, Error> {
    let key = field.attribute_key().unwrap_or_default();
    let LeafState { first, second, key_seen } = state;
    let mut found = BooleanBuffer::new_unset(selection.len());
    let mut open = selection.clone();
    let columns = match field {
        Field::RecordAttribute(_) => [Some(ATTRIBUTES), None],
        Field::ResourceAttribute(_) => [None, Some(RESOURCE)],
        _ => [Some(ATTRIBUTES), Some(RESOURCE)],
    };
    for (name, memo) in columns.into_iter().zip([first, second]) {
        let Some(name) = name else { continue };
        let mut outcome = memo.outcomes(dictionary(batch, name)?, |json| value_outcome(json, key, test));
        let mut absent = arrow::array::BooleanBufferBuilder::new(open.len());
        absent.append_n(open.len(), false);
        let here = select(&open, |row| {
            let outcome = outcome(row);
            absent.set_bit(row, outcome == Outcome::Absent);
            outcome == Outcome::Yes
        });
        found = &found | &here;
        let absent = absent.finish();
        *key_seen = *key_seen || absent.count_set_bits() < open.count_set_bits();
        open = absent;
    }
    Ok(found)
}

fn body_path_rows(
    path: &str,
    test: &ValueTest,
    batch: &RecordBatch,
    selection: &BooleanBuffer,
) -> Result<BooleanBuffer, Error> {
    let (bodies, types) = (text(batch, BODY)?, dictionary(batch, BODY_TYPE)?);
    Ok(select(selection, |row| {
        bodies.is_valid(row)
            && dictionary_text(types, row) == Some("kvlist")
            && value_outcome(bodies.value(row), path, test) == Outcome::Yes
    }))
}

fn integer_rows<N: Copy + Into<i64>>(column: &[N], test: &ValueTest, selection: &BooleanBuffer) -> BooleanBuffer {
    select(selection, |row| {
        let Some(number) = column.get(row).map(|&number| number.into()) else { return false };
        test.matches_number(Number::Int(i128::from(number)), &number.to_string())
    })
}

fn hex_rows(column: &FixedSizeBinaryArray, test: &ValueTest, selection: &BooleanBuffer) -> BooleanBuffer {
    let mut hex = String::new();
    select(selection, |row| {
        if column.is_null(row) {
            return false;
        }
        hex.clear();
        for byte in column.value(row) {
            hex.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')));
        }
        test.matches_text(&hex)
    })
}
