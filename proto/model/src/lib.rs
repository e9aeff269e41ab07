//! The vocabulary shared by every crate: signals, identifiers, time, limits and error kinds.
//!
//! Refuses everything that does I/O, needs a runtime, or knows a wire or storage format.

mod error;
mod id;
mod job;
pub mod limit;
mod signal;
mod state;
mod time;
mod validity;
mod wire_format;

pub use error::ErrorKind;
pub use id::{InvalidId, PartId, RequestKey, SpanId, TenantId, TraceId, WalPosition};
pub use job::service_of_job;
pub use signal::SignalKind;
pub use state::{HistoryEvent, Lease, MemoryStateStore, StateChange, StateError, StateFuture, StateRecord, StateStore};
pub use time::{Clock, ManualClock, SystemClock, TimeRange, UnixNanos};
pub use validity::Validity;
pub use wire_format::WireFormat;
