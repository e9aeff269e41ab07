//! The receivers: the only files that know HTTP and gRPC.
//!
//! All read a whole request with [`body`], hand it to the pipeline, and differ only in how they find the signal, the
//! encoding and the compression, and in how they say what became of it ([`response`], [`status`]).

mod body;
pub(crate) mod compression;
pub(crate) mod otlp_grpc;
pub(crate) mod otlp_http;
pub(crate) mod remote_write;
mod response;
mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Version;
use http::header::EXPECT;
use http::request::Parts;
use http_body::Body as _;
use tokio_util::task::TaskTracker;
use trivium_model::{SignalKind, TenantId};

use crate::admission::{Admission, Reservation};
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::telemetry::Telemetry;

/// What the receivers share.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) admission: Arc<Admission>,
    telemetry: Arc<Telemetry>,
    body_timeout: Duration,
    /// The tasks that read refused bodies to their end; each ends by itself within its own limits.
    discarding: TaskTracker,
}

impl Receiver {
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        admission: Arc<Admission>,
        telemetry: Arc<Telemetry>,
        body_timeout: Duration,
    ) -> Self {
        Self { pipeline, admission, telemetry, body_timeout, discarding: TaskTracker::new() }
    }

    /// Lets a request begin whose plain body will probably have so many bytes, before any of it is read, when there is room for it
    /// soon.
    async fn enter(&self, tenant: TenantId, signal: SignalKind, plain_bytes: usize) -> Result<Reservation, Error> {
        self.pipeline.quotas().admit(tenant, signal)?;
        self.admission.enter(plain_bytes).await
    }

    /// Gives up the body of a refused request, over HTTP/1.1 by reading it to its end.
    fn let_go(&self, parts: &Parts, body: Body) {
        if sends_on(parts, &body) {
            self.discarding.spawn(body::discard(body));
        }
    }
}

/// Whether the client may still be sending, and must be let finish to hear our refusal. Over HTTP/2 a refusal stops it by
/// itself, and with `Expect: 100-continue` it waits for us; reading would tell it to go on.
fn sends_on(parts: &Parts, body: &Body) -> bool {
    parts.version < Version::HTTP_2 && !parts.headers.contains_key(EXPECT) && !body.is_end_stream()
}

/// Whose records a request carries: what the layer that knows the credential put into its extensions, and nothing that the
/// sender says of itself.
fn tenant_of(parts: &Parts) -> TenantId {
    parts.extensions.get().copied().unwrap_or(TenantId::DEFAULT)
}

/// The signal behind a path, `None` when nothing is served there. Paths are compared as they are: another case, a double
/// or a trailing slash is another path, so that no form of it slips past a rule for the real one.
fn signal_at(path: &str, paths: [(&str, SignalKind); 3]) -> Option<SignalKind> {
    paths.iter().find(|(served, _)| *served == path).map(|(_, signal)| *signal)
}
