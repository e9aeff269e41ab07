use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use trivium_model::SignalKind;
use trivium_storage::schema::table_schema;

use super::{logs, metrics, spans};

/// What the text of a column tells about the tokens by which the parts' indexes find its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexed {
    /// An ID column: its hexadecimal form is one token.
    Id,
    /// Free text: its tokens.
    Text,
    /// An attribute set: the tokens of its values.
    Attributes,
}

/// How the indexes of a signal's parts cover a column; `None` when they do not.
pub(super) fn indexed(signal: SignalKind, column: &str) -> Option<Indexed> {
    let columns = match signal {
        SignalKind::Logs => logs::INDEXED,
        SignalKind::Metrics => metrics::INDEXED,
        SignalKind::Traces => spans::INDEXED,
    };
    columns.iter().find(|(name, _)| *name == column).map(|(_, indexed)| *indexed)
}

/// The schema that SQL sees: the store's, with text as views, because DataFusion groups, joins and compares these fastest.
/// Attribute sets stay dictionaries: a key is looked up once per distinct set.
pub(super) fn sql_schema(signal: SignalKind) -> SchemaRef {
    let fields: Vec<FieldRef> = table_schema(signal).fields().iter().map(sql_field).collect();
    Arc::new(Schema::new(fields))
}

fn sql_field(field: &FieldRef) -> FieldRef {
    let is_set = ["attributes", "resource", "scope", "metadata"].contains(&field.name().as_str());
    match field.data_type() {
        DataType::Dictionary(_, value) if !is_set && **value == DataType::Utf8 => view(field),
        DataType::Utf8 => view(field),
        _ => Arc::clone(field),
    }
}

fn view(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), DataType::Utf8View, field.is_nullable()))
}
