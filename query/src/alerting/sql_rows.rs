//! Rules in SQL: a row is a sample.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use trivium_model::{TenantId, UnixNanos};
use trivium_promql::{Labels, SampleValue, VectorSample};

use crate::engine::{SqlAnswer, SqlRequest};
use crate::state::QueryState;

/// Rows of one result; a rule that alerts on more is wrong.
const ROWS_MAX: usize = 10_000;

/// The column of the value; without it the last numeric column is taken.
const VALUE: &str = "value";

/// Runs the statement as if now were `at`.
pub(super) async fn samples(
    state: &QueryState,
    tenant: TenantId,
    sql: &str,
    at: UnixNanos,
) -> Result<Vec<VectorSample>, String> {
    let request = SqlRequest { tenant, sql: sql.to_owned(), timeout: None, rows_max: Some(ROWS_MAX), now: Some(at) };
    let mut answer = state.engine.run(&request).await.map_err(|error| error.to_string())?;
    let mut samples = Vec::new();
    while let Some(batch) = answer.next().await {
        samples.extend(samples_of(&batch.map_err(|error| error.to_string())?)?);
    }
    if answer.truncated() {
        return Err(format!("the statement answers more than {ROWS_MAX} rows; filter or aggregate"));
    }
    whole(&answer)?;
    Ok(samples)
}

/// Whether a statement of which all rows have come saw all it asked for: evaluating the rest would be wrong.
pub(super) fn whole(answer: &SqlAnswer) -> Result<(), String> {
    if answer.incomplete() {
        let why = answer.notes().1.join("; ");
        return Err(format!("the statement did not see all rows, so its result would be wrong: {why}"));
    }
    Ok(())
}

fn samples_of(batch: &RecordBatch) -> Result<Vec<VectorSample>, String> {
    let schema = batch.schema();
    let fields = schema.fields();
    let is_number =
        |place: &usize| fields[*place].data_type().is_numeric() || *fields[*place].data_type() == DataType::Boolean;
    let value = fields.iter().position(|field| field.name() == VALUE);
    let value = value.or_else(|| (0..fields.len()).rev().find(is_number));
    let value = value.ok_or("the statement needs a numeric column, best named `value`: it is what the alert tells")?;
    let numbers = cast(batch.column(value), &DataType::Float64)
        .map_err(|_| format!("the column {} is {}, not a number", fields[value].name(), fields[value].data_type()))?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let options = FormatOptions::default();
    let labels = (0..fields.len()).filter(|place| *place != value).map(|place| {
        let formatter = ArrayFormatter::try_new(batch.column(place), &options).map_err(|error| error.to_string())?;
        Ok((label_name(fields[place].name()), batch.column(place), formatter))
    });
    let labels: Vec<_> = labels.collect::<Result<_, String>>()?;
    let rows = (0..batch.num_rows()).filter(|row| numbers.is_valid(*row));
    let sample = |row: usize| {
        let pairs = labels.iter().filter(|(_, column, _)| column.is_valid(row));
        let pairs = pairs.map(|(name, _, formatter)| (name.clone(), formatter.value(row).to_string()));
        VectorSample { labels: Labels::new(pairs), value: SampleValue::Float(numbers.value(row)) }
    };
    Ok(rows.map(sample).collect())
}

/// The name of a column as a label: `resource['service.name']` and the like are given names that templates can say.
pub(super) fn label_name(column: &str) -> String {
    let name: String = column
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};

    use super::*;

    fn shown(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<String>, String> {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
        let samples = samples_of(&batch.expect("a batch"))?;
        let show = |sample: VectorSample| {
            let labels = sample.labels.iter().map(|label| format!("{}={}", label.name, label.value));
            let SampleValue::Float(value) = sample.value else { panic!("a float") };
            format!("{} {value}", labels.collect::<Vec<_>>().join(","))
        };
        Ok(samples.into_iter().map(show).collect())
    }

    #[test]
    fn a_row_is_a_sample() {
        let service: ArrayRef = Arc::new(StringArray::from(vec![Some("cart"), None, Some("pay")]));
        let count: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), Some(4), None]));
        let value: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None, Some(1.0)]));
        let columns = vec![("service.name", Arc::clone(&service)), ("count(*)", Arc::clone(&count))];
        assert_eq!(shown(columns), Ok(vec!["service_name=cart 3".into(), " 4".into()]), "the last number, not null");
        let columns = vec![("value", value), ("service", Arc::clone(&service)), ("n", count)];
        assert_eq!(shown(columns), Ok(vec!["n=3,service=cart 0.5".into(), "service=pay 1".into()]));
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
        assert_eq!(shown(vec![("late", flag)]), Ok(vec![" 1".into(), " 0".into(), " 1".into()]));
        assert!(shown(vec![("service", service)]).is_err_and(|error| error.contains("numeric column")));
    }
}
