//! An SQL answer in the formats that a client can ask for.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use serde_json::{Value, json};

use super::json::{Rows, type_name};
use super::sql_parquet::ParquetRows;
use crate::error::Error;

/// What the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// An object a row, and nothing else.
    NdJson,
    /// The columns, an array a row, and how it ended: lines for those who show rows while they come.
    Lines,
    Arrow,
    Parquet,
}

const NDJSON: &str = "application/x-ndjson";
const LINES: &str = "application/x-ndjson; rows=arrays";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const PARQUET: &str = "application/vnd.apache.parquet";

/// Bytes of an answer before the first of them is sent, so that nearly every failure still has its status.
pub(super) const HOLD_BYTES: usize = 4 << 20;

impl Format {
    pub(super) fn from_accept(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains(ARROW) => Self::Arrow,
            Some(accept) if accept.contains(PARQUET) => Self::Parquet,
            Some(accept) if accept.contains(NDJSON) && accept.contains("rows=arrays") => Self::Lines,
            Some(accept) if accept.contains(NDJSON) => Self::NdJson,
            _ => Self::Json,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => NDJSON,
            Self::Lines => LINES,
            Self::Arrow => ARROW,
            Self::Parquet => PARQUET,
        }
    }

    /// Bytes that are held back. Who reads lines wants the first rows at once and is told at the end how it went.
    pub(super) fn hold_bytes(self) -> usize {
        if self == Self::Lines { 1 } else { HOLD_BYTES }
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
    Lines { columns: Value },
    Arrow { schema: SchemaRef, writer: Box<StreamWriter<Vec<u8>>> },
    Parquet(Box<ParquetRows>),
}

impl Render {
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Result<Self, Error> {
        let kind = match format {
            Format::Json => Kind::Json { columns: columns(schema) },
            Format::NdJson => Kind::NdJson,
            Format::Lines => Kind::Lines { columns: columns(schema) },
            Format::Parquet => Kind::Parquet(Box::new(ParquetRows::new(schema)?)),
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
            Kind::NdJson | Kind::Parquet(_) => Ok(Vec::new()),
            Kind::Lines { columns } => Ok(format!("{{\"columns\":{columns}}}\n").into_bytes()),
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
            Kind::Lines { .. } => {
                let (rows, mut output) = (Rows::new(batch)?, String::new());
                for row in 0..rows.len() {
                    rows.write_array(&mut output, row);
                    output.push('\n');
                }
                Ok(output.into_bytes())
            }
            Kind::Parquet(rows) => rows.batch(batch),
            Kind::Arrow { schema, writer } => {
                writer.write(&plain_batch(batch, schema)?)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// What comes after the last row.
    pub(super) fn finish(&mut self, ending: &Ending) -> Result<Vec<u8>, Error> {
        match &mut self.kind {
            Kind::Json { .. } => Ok(format!("],{}}}", ended(self.rows, ending)).into_bytes()),
            Kind::Lines { .. } => Ok(format!("{{{}}}\n", ended(self.rows, ending)).into_bytes()),
            Kind::NdJson => Ok(Vec::new()),
            Kind::Parquet(rows) => rows.finish(ending),
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
            Kind::NdJson | Kind::Lines { .. } => Some(format!("{error}\n").into_bytes()),
            Kind::Arrow { .. } | Kind::Parquet(_) => None,
        }
    }

    /// Whether the bytes themselves say how the answer ended.
    pub(super) fn tells_ending(&self) -> bool {
        matches!(self.kind, Kind::Json { .. } | Kind::Lines { .. })
    }
}

fn columns(schema: &SchemaRef) -> Value {
    let column = |field: &FieldRef| json!({"name": field.name(), "type": type_name(field.data_type())});
    schema.fields().iter().map(column).collect()
}

/// The members of an object that say how an answer ended.
fn ended(rows: u64, ending: &Ending) -> String {
    let elapsed_ms = (ending.elapsed.as_secs_f64() * 1e6).round() / 1e3;
    format!(
        "\"row_count\":{rows},\"truncated\":{},\"elapsed_ms\":{elapsed_ms},\"partial\":{},\"warnings\":{}",
        ending.truncated,
        ending.partial,
        json!(ending.warnings)
    )
}

/// The schema with text as plain UTF-8, which every Arrow reader knows.
fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| Arc::new(Field::new(field.name(), plain_type(field.data_type()), field.is_nullable())));
    Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
}

pub(super) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

pub(super) fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
