//! Reads columns back, only the pages that are needed.

#[derive(Debug)]
pub(crate) struct ColumnReader;
