//! Serves a router on a listener: HTTP/1.1 and HTTP/2, with or without TLS.
//!
//! Owns connections: how many, how long, how slow, with which certificate. Refuses to know what is served over them.
//!
//! Flow: [`Listener`] accepts → TLS handshake, if any → hyper → [`Peer`] into the extensions of each request → the router.
//!
//! Invariants: whatever peers do or leave undone, a listener accepts the next connection; a connection that costs us a
//! place without asking for anything loses it first; a certificate that cannot be used never replaces one that can.

mod certificate;
mod connections;
mod descriptors;
mod exposure;
mod handshake;
mod headers;
mod listener;
mod request;
mod source;
mod stream;
mod telemetry;
mod tls;
mod windows;

pub use certificate::PeerCertificate;
pub use descriptors::{connections_max, raise_descriptor_limit};
pub use exposure::{Allowed, Door, Exposed, Refusal, check_exposure};
pub use headers::{with_security_headers, with_transport_security};
pub use listener::{Listener, serve};
pub use request::Peer;
pub use source::PerAddress;
pub use telemetry::ListenMetrics;
pub use tls::{ClientCertificates, Fresh, Reloaded, Tls, TlsError, TlsFiles};
