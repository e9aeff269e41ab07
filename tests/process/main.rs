//! Tests that start the real binary, drive it over the network, kill it and restart it. Each has its own folder and ports.

mod alerting;
mod clients;
mod commands;
mod credentials;
mod diagnosis;
mod doors;
mod encryption;
mod external;
mod isolation;
mod operation;
mod prometheus;
mod recovery;
mod redaction;
mod s3;
mod scraping;
mod scripts;
mod self_telemetry;
mod support;
mod tls;
mod trainticket;
