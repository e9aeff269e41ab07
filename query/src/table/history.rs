//! The tables `alerts_history` and `notifications_history`: what the evaluators wrote down.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use serde_json::Value;
use trivium_model::HistoryEvent;

/// Events that a statement sees, the newest ones.
pub(super) const EVENTS_MAX: u32 = 200_000;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Where a column comes from: a member of the event.
enum Member {
    /// Its text, or its JSON.
    Text(&'static str),
    /// A number, also one that is written as text.
    Number(&'static str),
    /// Milliseconds since 1970.
    Millis(&'static str),
    /// Nanoseconds since 1970, written as text.
    Nanos(&'static str),
    /// A whole number.
    Count(&'static str),
}

const ALERTS: &[(&str, Member)] = &[
    ("rule", Member::Text("rule")),
    ("state", Member::Text("transition")),
    ("labels", Member::Text("labels")),
    ("annotations", Member::Text("annotations")),
    ("value", Member::Number("value")),
    ("active_since", Member::Millis("activeAtMs")),
    ("group_name", Member::Text("group")),
    ("file", Member::Text("file")),
    ("fingerprint", Member::Text("fingerprint")),
    ("completeness", Member::Text("completeness")),
    ("error", Member::Text("error")),
    // Of acknowledgements.
    ("author", Member::Text("author")),
    ("note", Member::Text("note")),
];

const NOTIFICATIONS: &[(&str, Member)] = &[
    ("receiver", Member::Text("receiver")),
    ("integration", Member::Text("integration")),
    ("group_key", Member::Text("group_key")),
    ("group_labels", Member::Text("group_labels")),
    ("reason", Member::Text("reason")),
    ("outcome", Member::Text("outcome")),
    ("error", Member::Text("error")),
    ("attempts", Member::Count("attempts")),
    ("alerts", Member::Text("alerts")),
    ("alerts_total", Member::Count("alerts_total")),
    ("sampled_at", Member::Nanos("sampled_at")),
    ("evaluated_at", Member::Nanos("evaluated_at")),
    ("flushed_at", Member::Nanos("flushed_at")),
    ("finished_at", Member::Nanos("finished_at")),
];

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// Transitions of alerts.
pub(super) fn alerts(events: &[HistoryEvent]) -> Result<Arc<dyn TableProvider>> {
    table(events, ALERTS)
}

/// Notifications, sent or not.
pub(super) fn notifications(events: &[HistoryEvent]) -> Result<Arc<dyn TableProvider>> {
    table(events, NOTIFICATIONS)
}

fn table(events: &[HistoryEvent], members: &[(&str, Member)]) -> Result<Arc<dyn TableProvider>> {
    let values: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(&event.value).unwrap_or_default()).collect();
    let times: TimestampNanosecondArray = events.iter().map(|event| Some(event.at.0)).collect();
    let mut fields = vec![Field::new("time", timestamp(), false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times)];
    for (name, member) in members {
        let column = column(&values, member);
        fields.push(Field::new(*name, column.data_type().clone(), true));
        columns.push(column);
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn column(values: &[Value], member: &Member) -> ArrayRef {
    let of = |name: &str| {
        values.iter().map(move |value| value.get(name).filter(|value| !value.is_null())).collect::<Vec<_>>()
    };
    let integer = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    match member {
        Member::Text(name) => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Arc::new(of(name).into_iter().map(|value| value.map(text)).collect::<StringArray>())
        }
        Member::Number(name) => {
            let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
            Arc::new(of(name).into_iter().map(|value| value.and_then(number)).collect::<Float64Array>())
        }
        Member::Count(name) => {
            Arc::new(of(name).into_iter().map(|value| value.and_then(integer)).collect::<Int64Array>())
        }
        Member::Millis(name) => {
            let nanos = |value: &Value| integer(value).map(|millis| millis.saturating_mul(NANOS_PER_MILLI));
            Arc::new(of(name).into_iter().map(|value| value.and_then(nanos)).collect::<TimestampNanosecondArray>())
        }
        Member::Nanos(name) => {
            Arc::new(of(name).into_iter().map(|value| value.and_then(integer)).collect::<TimestampNanosecondArray>())
        }
    }
}
