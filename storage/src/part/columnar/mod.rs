//! The columns of a part as one plain Parquet file.

mod chunk;
mod encode;
mod fixed;
mod pages;
mod reader;
mod text;
mod writer;

pub(crate) use reader::ColumnReader;
pub(crate) use writer::write_columns;
