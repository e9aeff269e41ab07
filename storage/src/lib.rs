//! Durability, parts, retention. Owns Tantivy, Parquet and the catalog; knows no wire format and no query language.

pub mod attributes;
pub mod backup;
mod buffer;
mod canary;
pub mod catalog;
mod compaction;
mod config;
mod crash_loop;
mod described;
pub mod encryption;
mod error;
pub mod folder;
pub mod fs;
pub mod keys;
mod maintenance;
pub mod part;
pub mod quarantine;
mod recovery;
mod remembered;
mod rows;
pub mod schema;
mod seal;
#[cfg(test)]
mod simulation;
mod storage;
mod table;
mod telemetry;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod verify;
pub mod wal;

pub use config::StorageConfig;
pub use described::MetricDescription;
pub use error::Error;
pub use part::{EncodedPart, NewPart, PageCache, Part, PartFile, PartRecord, TokenFilter, encode_part};
pub use recovery::RecoveryReport;
pub use rows::RowRanges;
pub use storage::{AppendRequest, Appended, PayloadDecoder, Rejection, Snapshot, Storage, StorageDeps};
pub use telemetry::StorageMetrics;
