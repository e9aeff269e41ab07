//! An SQL answer in the three formats that a client can ask for.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use serde_json::{Value, json};

use super::json::{Rows, type_name};
use crate::error::Error;

/// What the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    NdJson,
    Arrow,
}

const NDJSON: &str = "application/x-ndjson";
const ARROW: &str = "application/vnd.apache.arrow.stream";

impl Format {
    pub(super) fn from_accept(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains(ARROW) => Self::Arrow,
            Some(accept) if accept.contains(NDJSON) => Self::NdJson,
            _ => Self::Json,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => NDJSON,
            Self::Arrow => ARROW,
        }
    }
}

/// What is said of an answer after its rows.
#[derive(Debug)]
pub(super) struct Ending {
    /// There are more rows than were wanted.
    pub(super) truncated: bool,
    /// Rows are missing, for whatever reason.
    pub(super) partial: bool,
    /// Rows are missing that the client did not renounce with its number of rows.
    pub(super) incomplete: bool,
    pub(super) warnings: Vec<String>,
    pub(super) elapsed: Duration,
}

/// Turns batches into bytes.
pub(super) struct Render {
    kind: Kind,
    rows: u64,
}

enum Kind {
    Json { columns: Value },
    NdJson,
    Arrow { schema: SchemaRef, writer: Box<StreamWriter<Vec<u8>>> },
}

impl Render {
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Result<Self, Error> {
        let kind = match format {
            Format::Json => {
                let column = |field: &FieldRef| json!({"name": field.name(), "type": type_name(field.data_type())});
                Kind::Json { columns: schema.fields().iter().map(column).collect() }
            }
            Format::NdJson => Kind::NdJson,
            Format::Arrow => {
                let schema = plain_schema(schema);
                let mut writer = Box::new(StreamWriter::try_new(Vec::new(), &schema)?);
                // The schema is written by `start`.
                writer.get_mut().clear();
                Kind::Arrow { schema, writer }
            }
        };
        Ok(Self { kind, rows: 0 })
    }

    /// What comes before the first row. How the answer ends, when that is known already, goes into the metadata of an Arrow
    /// schema, which every reader shows and none needs.
    pub(super) fn start(&self, ending: Option<&Ending>) -> Result<Vec<u8>, Error> {
        match &self.kind {
            Kind::Json { columns } => Ok(format!("{{\"columns\":{columns},\"rows\":[").into_bytes()),
            Kind::NdJson => Ok(Vec::new()),
            Kind::Arrow { schema, .. } => {
                let metadata = ending.into_iter().flat_map(|ending| {
                    [
                        ("trivium.partial", ending.partial.to_string()),
                        ("trivium.warnings", json!(ending.warnings).to_string()),
                    ]
                });
                let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).collect();
                let schema = schema.as_ref().clone().with_metadata(metadata);
                Ok(std::mem::take(StreamWriter::try_new(Vec::new(), &schema)?.get_mut()))
            }
        }
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        let first = self.rows == 0;
        self.rows += batch.num_rows() as u64;
        match &mut self.kind {
            Kind::Json { .. } => {
                let (rows, mut output) = (Rows::new(batch)?, String::new());
                for row in 0..rows.len() {
                    if !(first && row == 0) {
                        output.push(',');
                    }
                    rows.write_array(&mut output, row);
                }
                Ok(output.into_bytes())
            }
            Kind::NdJson => {
                let (rows, mut output) = (Rows::new(batch)?, String::new());
                for row in 0..rows.len() {
                    rows.write_object(&mut output, row);
                    output.push('\n');
                }
                Ok(output.into_bytes())
            }
            Kind::Arrow { schema, writer } => {
                writer.write(&plain_batch(batch, schema)?)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// What comes after the last row.
    pub(super) fn finish(&mut self, ending: &Ending) -> Result<Vec<u8>, Error> {
        match &mut self.kind {
            Kind::Json { .. } => {
                let elapsed_ms = (ending.elapsed.as_secs_f64() * 1e6).round() / 1e3;
                let tail = format!(
                    "],\"row_count\":{},\"truncated\":{},\"elapsed_ms\":{elapsed_ms},\"partial\":{},\"warnings\":{}}}",
                    self.rows,
                    ending.truncated,
                    ending.partial,
                    json!(ending.warnings)
                );
                Ok(tail.into_bytes())
            }
            Kind::NdJson => Ok(Vec::new()),
            Kind::Arrow { writer, .. } => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// How an answer ends that fails on its way; `None` when the format has no place for an error.
    pub(super) fn fail(&mut self, error: &Value) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Json { .. } => {
                let error = error.get("error").cloned().unwrap_or_default();
                Some(format!("],\"row_count\":{},\"partial\":true,\"error\":{error}}}", self.rows).into_bytes())
            }
            Kind::NdJson => Some(format!("{error}\n").into_bytes()),
            Kind::Arrow { .. } => None,
        }
    }

    /// Whether the bytes themselves say how the answer ended.
    pub(super) fn tells_ending(&self) -> bool {
        matches!(self.kind, Kind::Json { .. })
    }
}

/// The schema with text as plain UTF-8, which every Arrow reader knows.
fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Dictionary(_, value) => plain_type(value),
            other => plain_type(other),
        };
        Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
    });
    Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
