//! Durability, parts, retention. Owns Tantivy, Parquet and the catalog; knows no wire format and no query language.

pub mod attributes;
mod error;
pub mod part;
pub mod rows;
pub mod schema;
mod storage;
pub mod tokens;

pub use error::Error;
pub use part::{Part, PartFile, PartRecord, TokenFilter};
pub use rows::RowRanges;
pub use storage::{AppendRequest, Appended, PayloadDecoder, Rejection, Snapshot, Storage};
