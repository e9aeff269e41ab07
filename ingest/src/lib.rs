//! From bytes on the network to records that are durable in the WAL, and the answer that says so.
//!
//! Owns the two OTLP listeners, decoding, and admission. Refuses to know how records are stored ([`Sink`]) or queried.
//!
//! Flow: [`receiver`] (gRPC or HTTP) reads the request within the byte budget → [`pipeline`] decompresses, decodes,
//! redacts, appends and waits for the fsync → the receiver answers in the encoding of the request.
//!
//! Invariants: nothing is acknowledged before [`Sink::append`] returned; a record that is not stored is counted with its
//! reason, told to the sender and recorded; no answer carries a status that makes a client drop data we could take later.

mod admission;
mod config;
pub mod decode;
mod error;
mod pipeline;
mod quota;
mod receiver;
mod redaction;
mod service;
mod telemetry;

pub use config::{IngestConfig, InvalidConfig, Retention};
pub use error::Error;
pub use pipeline::{ExportRequest, Outcome, PayloadFormat, Pipeline, Sink};
pub use quota::TenantLimits;
pub use receiver::compression::Coding;
pub use redaction::{Redaction, RedactionError};
pub use service::{Ingest, IngestDeps, build, build_with};
pub use trivium_listen::serve;
