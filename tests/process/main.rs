//! Tests that start the real binary, drive it over the network, kill it and restart it. Each has its own folder and ports.

#![expect(clippy::disallowed_methods, reason = "the test harness reads its settings from the environment")]

mod clients;
mod commands;
mod external;
mod recovery;
mod support;
mod trainticket;
