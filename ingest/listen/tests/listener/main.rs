//! The listener as peers meet it, over real sockets of the loopback interface and in virtual time.

mod addresses;
mod certificates;
mod headers;
mod http2;
mod plain;
mod revocation;
mod support;
mod tls;
