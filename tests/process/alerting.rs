//! Rules, SLOs and notifications in the running server: telemetry goes in by OTLP and remote write, people are told by
//! HTTP and mail, and nothing that happens to the process in between is seen by them.

mod amtool;
mod commands;
mod demo;
mod means;
mod notifications;
mod reload;
mod rules;
mod side_by_side;
mod slos;
mod tenants;
