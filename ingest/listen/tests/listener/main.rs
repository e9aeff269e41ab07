//! The listener as peers meet it, over real sockets of the loopback interface and in virtual time.

mod certificates;
mod http2;
mod plain;
mod support;
mod tls;
