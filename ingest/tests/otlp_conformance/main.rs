//! OTLP 1.11 conformance of the two listeners, row by row of the project's checklist (`T…` transport, `R…` responses; `B-T…`
//! the catalogue of bad input), over real sockets, with a store that records, fails, stalls or panics when told to.

mod bad_input;
mod grpc;
mod http;
mod limits;
mod pressure;
mod support;
