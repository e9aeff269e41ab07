//! What changed when an alert fired. Pure algorithms: plain values in, plain serialisable values out; no storage, no HTTP,
//! no clock, no tasks. Each is bounded in time and memory by its parameters, because a diagnosis runs while something is
//! wrong, on whatever the services send.
//!
//! - [`patterns`]: which log patterns are new or grew.
//! - [`attributes`]: which attributes tell bad spans from the others.
//! - [`versions`]: which deploys precede the onset.
//! - [`graph`]: who calls whom, where the time went, and which service is the likely origin.
//! - [`incident`]: which alerts belong together.

pub mod attributes;
pub mod graph;
pub mod incident;
pub mod patterns;
mod rank;
mod token;
pub mod versions;
mod visit;
