//! Writes the columns of a part. Flat columns are encoded here, because the generic Arrow writer hashes every value of
//! every dictionary column again; lists go through it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampNanosecondType,
    UInt32Type, UInt64Type,
};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use trivium_model::SignalKind;

use crate::part::gather::Rows;
use crate::schema::{RECEIVED_AT, TIME, WAL_POSITION};

use super::chunk::{Bounds, Compressor, EncodedChunk, Storing};
use super::fixed::{Fallback, Layout, PAGE_ROWS, Values, fixed_chunk, null_chunk};
use super::text::{TextColumn, plain_text_chunk};

/// Rows of one row group. What a row costs depends on how much of it repeats within the row group's dictionaries; what a
/// needle costs, on how much of them has to be decoded for one row.
const ROW_GROUP_ROWS: usize = 128 * 1024;
/// Rows of a page of lists: a reader passes over their repetition levels one by one.
const LIST_PAGE_ROWS: usize = 1_024;
/// Rows of one row group of metrics: points are small, and all metrics of one exporter share its times.
const METRICS_ROW_GROUP_ROWS: usize = 1024 * 1024;
/// The Zstandard level of logs and spans. Level 3 takes twice the time and, on log bodies, more bytes.
const ZSTD_LEVEL: i32 = 1;
/// The Zstandard level of metrics, where it finds what level 1 does not.
const METRICS_ZSTD_LEVEL: i32 = 3;
/// Columns that are compared for equality at most: bounds on them would prune nothing.
const UNBOUNDED: [&str; 8] =
    ["attributes", "resource", "scope", "description", "metadata", "trace_state", "resource_schema_url", "body_type"];

/// Encodes the rows of `table`, one batch, in the order of `order`. `sorted_by` names the leading sort columns.
pub(crate) fn write_columns(
    signal: SignalKind,
    rows: &Rows<'_>,
    order: &[u32],
    sorted_by: &[&str],
) -> Result<Bytes, ParquetError> {
    let (row_group_rows, level) = match signal {
        SignalKind::Logs | SignalKind::Traces => (ROW_GROUP_ROWS, ZSTD_LEVEL),
        SignalKind::Metrics => (METRICS_ROW_GROUP_ROWS, METRICS_ZSTD_LEVEL),
    };
    let table = &rows.table;
    let schema = table.schema();
    let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
    let properties = Arc::new(properties(&schema, &descriptor, sorted_by)?);
    let mut file = SerializedFileWriter::new(Vec::new(), descriptor.root_schema_ptr(), properties)?;
    let mut writer = TableWriter {
        descriptor: &descriptor,
        columns: table
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| Column::new(array, field.name(), &rows.texts))
            .collect(),
        nested: ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema)),
        shared: if signal == SignalKind::Metrics { &SHARED } else { &[] },
        schema,
        zstd: Compressor::new(level)?,
    };
    for (index, rows) in order.chunks(row_group_rows).enumerate() {
        let mut row_group = file.next_row_group()?;
        writer.row_group(index, rows, &mut row_group)?;
        row_group.close()?;
    }
    Ok(Bytes::from(file.into_inner()?))
}

fn properties(
    schema: &SchemaRef,
    descriptor: &SchemaDescriptor,
    sorted_by: &[&str],
) -> Result<WriterProperties, ParquetError> {
    let leaf = |name: &&str| descriptor.columns().iter().position(|column| column.path().string() == **name);
    let sorting = sorted_by.iter().filter_map(leaf);
    let sorting =
        sorting.map(|column| SortingColumn { column_idx: column as i32, descending: false, nulls_first: false });
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_data_page_row_count_limit(LIST_PAGE_ROWS)
        .set_sorting_columns(Some(sorting.collect()))
        .set_created_by(concat!("trivium ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    add_encoded_arrow_schema_to_metadata(schema, &mut properties);
    Ok(properties)
}

enum Column<'a> {
    /// Every value is null.
    Null,
    Dictionary(Box<TextColumn<'a>>),
    /// Text that does not repeat.
    Plain(&'a [Option<&'a str>]),
    Other(&'a ArrayRef),
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef, name: &str, texts: &'a [Option<&'a str>]) -> Self {
        if *array.data_type() == DataType::Utf8 {
            return Self::Plain(texts);
        }
        if array.null_count() == array.len() {
            return Self::Null;
        }
        match array.as_dictionary_opt::<Int32Type>() {
            Some(dictionary) => Self::Dictionary(Box::new(TextColumn::new(dictionary, !UNBOUNDED.contains(&name)))),
            None => Self::Other(array),
        }
    }
}

struct TableWriter<'a> {
    descriptor: &'a SchemaDescriptor,
    columns: Vec<Column<'a>>,
    nested: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// Leaf columns whose values come again for every metric.
    shared: &'static [&'static str],
    zstd: Compressor,
}

impl TableWriter<'_> {
    fn row_group(
        &mut self,
        index: usize,
        order: &[u32],
        row_group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    ) -> Result<(), ParquetError> {
        let descriptor = self.descriptor;
        let roots: Vec<usize> =
            (0..descriptor.num_columns()).map(|leaf| descriptor.get_column_root_idx(leaf)).collect();
        let mut arrow_writers: Option<Vec<Option<ArrowColumnWriter>>> = None;
        for root in 0..self.columns.len() {
            let leaves: Vec<usize> = (0..roots.len()).filter(|leaf| roots[*leaf] == root).collect();
            if let Column::Other(array) = &self.columns[root]
                && (array.data_type().is_nested() || *array.data_type() == DataType::Boolean)
            {
                if arrow_writers.is_none() {
                    arrow_writers = Some(self.nested.create_column_writers(index)?.into_iter().map(Some).collect());
                }
                let writers = arrow_writers.iter_mut().flatten().enumerate();
                let writers = writers.filter(|(leaf, _)| leaves.contains(leaf)).filter_map(|(_, writer)| writer.take());
                for chunk in nested_chunks(&self.schema, root, array, order, writers.collect())? {
                    chunk.append_to_row_group(row_group)?;
                }
                continue;
            }
            for leaf in leaves {
                let chunk = self.chunk(root, descriptor.column(leaf), order)?;
                row_group.append_column(&chunk.bytes, chunk.close)?;
            }
        }
        Ok(())
    }

    fn chunk(&mut self, root: usize, column: ColumnDescPtr, order: &[u32]) -> Result<EncodedChunk, ParquetError> {
        let zstd = &mut self.zstd;
        match &mut self.columns[root] {
            Column::Null => null_chunk(column, order.len(), zstd),
            Column::Dictionary(text) => text.chunk(column, order, zstd),
            Column::Plain(texts) => plain_text_chunk(column, texts, order, zstd),
            Column::Other(array) => {
                let is_shared = self.shared.contains(&column.name());
                let integers = if is_shared { [&SHARED_TIME, &SHARED_POSITION] } else { [&SIGNED_64, &UNSIGNED_64] };
                other_chunk(column, array, order, integers, zstd)
            }
        }
    }
}

fn nested_chunks(
    schema: &SchemaRef,
    root: usize,
    array: &ArrayRef,
    order: &[u32],
    mut writers: Vec<ArrowColumnWriter>,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let rows = take(array, &UInt32Array::from(order.to_vec()), None)?;
    for (leaf, writer) in compute_leaves(schema.field(root), &rows)?.iter().zip(&mut writers) {
        writer.write(leaf)?;
    }
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

fn other_chunk(
    column: ColumnDescPtr,
    array: &ArrayRef,
    order: &[u32],
    [signed, unsigned]: [&Layout<u64>; 2],
    zstd: &mut Compressor,
) -> Result<EncodedChunk, ParquetError> {
    let rows = order.len();
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = primitive::<TimestampNanosecondType, u64>(array, order, |time| time as u64);
            fixed_chunk(column, &values, rows, signed, zstd)
        }
        DataType::Int64 => {
            fixed_chunk(column, &primitive::<Int64Type, u64>(array, order, |value| value as u64), rows, signed, zstd)
        }
        DataType::UInt64 => {
            fixed_chunk(column, &primitive::<UInt64Type, u64>(array, order, |value| value), rows, unsigned, zstd)
        }
        DataType::Float64 => {
            fixed_chunk(column, &primitive::<Float64Type, u64>(array, order, f64::to_bits), rows, &DOUBLE, zstd)
        }
        DataType::Int32 => fixed_chunk(
            column,
            &primitive::<Int32Type, u32>(array, order, |value| value as u32),
            rows,
            &SIGNED_32,
            zstd,
        ),
        DataType::UInt32 => {
            fixed_chunk(column, &primitive::<UInt32Type, u32>(array, order, |value| value), rows, &UNSIGNED_32, zstd)
        }
        DataType::FixedSizeBinary(16) => {
            fixed_chunk(column, &ids::<16>(array.as_fixed_size_binary(), order), rows, &id_layout(), zstd)
        }
        DataType::FixedSizeBinary(8) => {
            fixed_chunk(column, &ids::<8>(array.as_fixed_size_binary(), order), rows, &id_layout(), zstd)
        }
        other => Err(ParquetError::NYI(format!("a column of type {other} in a part"))),
    }
}

const SIGNED_64: Layout<u64> = Layout {
    dictionary_percent: 12,
    dictionary_trial: 4_096,
    fallbacks: &[Fallback::Delta, Fallback::ByteStreamSplit, Fallback::Plain],
    page_rows: PAGE_ROWS,
    code_page_rows: PAGE_ROWS,
    storing: Storing::Auto,
    bounds: |values| {
        let signed = values.iter().map(|value| *value as i64);
        signed.clone().min().zip(signed.max()).map_or(Bounds::None, |(least, most)| Bounds::Int64(least, most))
    },
};

const UNSIGNED_64: Layout<u64> = Layout {
    bounds: |values| {
        let values = values.iter().copied();
        values.clone().min().zip(values.max()).map_or(Bounds::None, |(least, most)| Bounds::UInt64(least, most))
    },
    ..SIGNED_64
};

/// Times that come again, in the same sequence, after tens of thousands of others: within one page of codes the sequence
/// costs nothing when it is repeated.
const SHARED_TIME: Layout<u64> = Layout {
    dictionary_percent: 50,
    dictionary_trial: 256 * 1024,
    code_page_rows: METRICS_ROW_GROUP_ROWS,
    ..SIGNED_64
};

const SHARED_POSITION: Layout<u64> = Layout { bounds: UNSIGNED_64.bounds, ..SHARED_TIME };

/// The columns in which all points of one export are alike.
const SHARED: [&str; 4] = [TIME, "start_time", RECEIVED_AT, WAL_POSITION];

/// Large pages: equal and nearly equal series lie side by side, and Zstandard sees no further than a page.
const DOUBLE: Layout<u64> = Layout {
    dictionary_percent: 12,
    fallbacks: &[Fallback::Plain],
    page_rows: 16 * PAGE_ROWS,
    bounds: |_| Bounds::None,
    ..SIGNED_64
};

const SIGNED_32: Layout<u32> = Layout {
    dictionary_percent: 25,
    dictionary_trial: 4_096,
    fallbacks: &[Fallback::Plain],
    page_rows: PAGE_ROWS,
    code_page_rows: PAGE_ROWS,
    storing: Storing::Auto,
    bounds: |values| {
        let signed = values.iter().map(|value| *value as i32);
        signed.clone().min().zip(signed.max()).map_or(Bounds::None, |(least, most)| Bounds::Int32(least, most))
    },
};

const UNSIGNED_32: Layout<u32> = Layout {
    bounds: |values| {
        let values = values.iter().copied();
        values.clone().min().zip(values.max()).map_or(Bounds::None, |(least, most)| Bounds::UInt32(least, most))
    },
    ..SIGNED_32
};

/// Random bytes: a dictionary where they repeat, else as they are.
fn id_layout<const N: usize>() -> Layout<[u8; N]> {
    Layout {
        dictionary_percent: 15,
        dictionary_trial: 4_096,
        fallbacks: &[Fallback::Plain],
        page_rows: PAGE_ROWS,
        code_page_rows: PAGE_ROWS,
        storing: Storing::Auto,
        bounds: |_| Bounds::None,
    }
}

fn primitive<T: ArrowPrimitiveType, V>(array: &ArrayRef, order: &[u32], convert: fn(T::Native) -> V) -> Values<V> {
    let array = array.as_primitive::<T>();
    let values = array.values();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Values { present: order.iter().map(|row| convert(values[*row as usize])).collect(), levels: None },
        Some(nulls) => Values {
            present: present_rows(order, nulls).map(|row| convert(values[row])).collect(),
            levels: Some(order.iter().map(|row| u32::from(nulls.is_valid(*row as usize))).collect()),
        },
    }
}

fn ids<const N: usize>(array: &FixedSizeBinaryArray, order: &[u32]) -> Values<[u8; N]> {
    let (ids, _) = array.value_data().as_chunks::<N>();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Values { present: order.iter().map(|row| ids[*row as usize]).collect(), levels: None },
        Some(nulls) => Values {
            present: present_rows(order, nulls).map(|row| ids[row]).collect(),
            levels: Some(order.iter().map(|row| u32::from(nulls.is_valid(*row as usize))).collect()),
        },
    }
}

fn present_rows(order: &[u32], nulls: &NullBuffer) -> impl Iterator<Item = usize> {
    order.iter().map(|row| *row as usize).filter(|row| nulls.is_valid(*row))
}
