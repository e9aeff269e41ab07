//! Parts that were written before a column was added to their table are read as if it had been there, null in every row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::error::Error;

/// Adds those of the wanted columns that the part does not have. `None` stands for all columns of the table.
pub(crate) fn complete(
    table: &SchemaRef,
    part: &SchemaRef,
    wanted: Option<&[&str]>,
    batches: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>, Error> {
    let is_wanted = |field: &&FieldRef| wanted.is_none_or(|names| names.contains(&field.name().as_str()));
    let is_in_part = |field: &FieldRef| part.field_with_name(field.name()).is_ok();
    if table.fields().iter().filter(is_wanted).all(is_in_part) {
        return Ok(batches);
    }
    let fields: Vec<FieldRef> = table.fields().iter().filter(is_wanted).map(Arc::clone).collect();
    let schema = Arc::new(Schema::new(fields));
    batches.into_iter().map(|batch| complete_batch(&schema, &batch)).collect()
}

fn complete_batch(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let rows = batch.num_rows();
    let column = |field: &FieldRef| -> ArrayRef {
        let known = batch.column_by_name(field.name()).map(Arc::clone);
        known.unwrap_or_else(|| new_null_array(field.data_type(), rows))
    };
    let columns = schema.fields().iter().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn schema(names: &[&str]) -> SchemaRef {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Int32, true)).collect();
        Arc::new(Schema::new(fields))
    }

    fn names(batches: &[RecordBatch]) -> Vec<String> {
        batches[0].schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    #[test]
    fn what_a_part_lacks_is_null() {
        let (table, part) = (schema(&["a", "new", "b"]), schema(&["a", "b"]));
        let column = |value| -> ArrayRef { Arc::new(Int32Array::from(vec![value, value])) };
        let batch = RecordBatch::try_new(Arc::clone(&part), vec![column(1), column(2)]).expect("a batch");
        let all = complete(&table, &part, None, vec![batch.clone()]).expect("complete");
        assert_eq!(names(&all), ["a", "new", "b"]);
        assert_eq!(all[0].column(1).null_count(), 2);
        assert_eq!(all[0].column(2), &column(2));
        let one = batch.project(&[1]).expect("a column");
        let some = complete(&table, &part, Some(&["new", "b"]), vec![one]).expect("complete");
        assert_eq!(names(&some), ["new", "b"]);
        let same = complete(&table, &part, Some(&["a"]), vec![batch.project(&[0]).expect("a column")]);
        assert_eq!(names(&same.expect("as it is")), ["a"]);
    }
}
