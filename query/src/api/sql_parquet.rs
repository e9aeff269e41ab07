//! An SQL answer as a Parquet file, made while it is sent.
//!
//! A row group is closed as soon as it has [`GROUP_BYTES`] in memory, so that an answer of any size needs no more than that. The
//! file ends with its footer: one that broke off is no Parquet file to any reader.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;
use serde_json::json;

use super::sql_render::{Ending, plain_batch, plain_type};
use crate::error::Error;

/// Bytes in memory of the row group that is being written.
const GROUP_BYTES: usize = 16 << 20;

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 20;

/// Writes rows as Parquet; what is complete can be taken at any time.
pub(super) struct ParquetRows {
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetRows {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        let fields = schema.fields().iter().map(written).collect::<Result<Vec<FieldRef>, Error>>()?;
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("trivium ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(unwritable)?;
        Ok(Self { schema, writer })
    }

    /// Takes rows; gives what has become complete by them, often nothing.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        self.writer.write(&plain_batch(batch, &self.schema)?).map_err(unwritable)?;
        if self.writer.memory_size() >= GROUP_BYTES {
            self.writer.flush().map_err(unwritable)?;
        }
        Ok(self.take())
    }

    /// The rest of the file.
    pub(super) fn finish(&mut self, ending: &Ending) -> Result<Vec<u8>, Error> {
        let notes = [
            ("trivium.truncated", ending.truncated.to_string()),
            ("trivium.partial", ending.partial.to_string()),
            ("trivium.warnings", json!(ending.warnings).to_string()),
        ];
        for (key, value) in notes {
            self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        self.writer.finish().map_err(unwritable)?;
        Ok(self.take())
    }

    /// The writer counts what it has written and never looks back at it.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }
}

fn unwritable(error: ParquetError) -> Error {
    Error::invalid(format!("the answer cannot be written as Parquet: {error}"))
}

/// A column as it stands in the file. Parquet knows no intervals of months, days and nanoseconds: they become text.
fn written(field: &FieldRef) -> Result<FieldRef, Error> {
    let data_type = match field.data_type() {
        DataType::Interval(_) => DataType::Utf8,
        other => plain_type(other),
    };
    if !is_known(&data_type) {
        let message = format!("column {:?} is of the type {data_type}, which Parquet has no place for", field.name());
        return Err(Error::invalid_with_hint(message, "cast it to text"));
    }
    Ok(Arc::new(Field::new(field.name(), data_type, field.is_nullable())))
}

fn is_known(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => false,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => is_known(item.data_type()),
        DataType::Struct(fields) => !fields.is_empty() && fields.iter().all(|field| is_known(field.data_type())),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::{FixedSizeBinaryArray, Int64Array};
    use arrow::datatypes::{IntervalUnit, UnionFields, UnionMode};
    use axum::body::Bytes;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn an_answer_of_any_size_needs_the_memory_of_a_row_group() {
        let fields =
            vec![Field::new("id", DataType::FixedSizeBinary(1024), false), Field::new("n", DataType::Int64, true)];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let mut rows = ParquetRows::new(&schema).expect("a writer");
        let mut random = SmallRng::seed_from_u64(7);
        let (mut file, mut most) = (Vec::new(), 0);
        for batch in 0..300_i64 {
            let mut bytes = vec![0; 256 * 1024];
            random.fill(&mut bytes[..]);
            let ids = FixedSizeBinaryArray::try_from_iter(bytes.chunks(1024)).expect("IDs");
            let numbers = Int64Array::from(vec![Some(batch); 256]);
            let batch =
                RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(numbers)]).expect("rows");
            file.extend(rows.batch(&batch).expect("it is written"));
            most = most.max(rows.writer.memory_size());
        }
        assert!(file.len() > 2 * GROUP_BYTES, "{} bytes were ready before the end", file.len());
        assert!(most < GROUP_BYTES + (2 << 20), "{most} bytes were held");
        let ending = Ending {
            truncated: true,
            partial: false,
            incomplete: false,
            warnings: vec!["a part is missing".into()],
            elapsed: Duration::ZERO,
        };
        file.extend(rows.finish(&ending).expect("the footer"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).expect("a Parquet file");
        assert!(reader.metadata().num_row_groups() > 2);
        assert_eq!(reader.metadata().file_metadata().num_rows(), 300 * 256);
    }

    #[test]
    fn what_parquet_has_no_place_for_is_refused_in_words() {
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let list = DataType::List(Arc::new(Field::new("item", interval, true)));
        let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
        for data_type in [list, union, DataType::Struct(Vec::<Field>::new().into())] {
            let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("strange", data_type, true)]));
            let error = ParquetRows::new(&schema).err().expect("a refusal").to_string();
            assert!(error.contains("\"strange\"") && error.contains("Parquet"), "{error}");
        }
    }
}
