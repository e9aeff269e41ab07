//! Reading request bodies within the size limit, the byte budget and the time limit, the same for HTTP and gRPC.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::admission::Reservation;
use crate::error::Error;
use crate::receiver::compression::Coding;

/// Capacity that is set aside at once for a body of unknown length.
const FIRST_BYTES: usize = 16 * 1024;

/// How much of a refused body is read and thrown away, and for how long.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// What bounds a body.
pub(super) struct Bounds {
    /// Most bytes on the wire.
    pub(super) bytes_max: usize,
    /// Time for the whole body.
    pub(super) timeout: Duration,
    /// How the body is compressed.
    pub(super) coding: Coding,
    /// Looks at what has come so far, from the start, and may know from it how long the whole is; an error ends the reading.
    pub(super) inspect: fn(&[u8]) -> Result<Option<usize>, Error>,
}

/// Reads a whole body. `declared_bytes` is what the sender promised: it is the first capacity, and already reserved. A body that
/// tells its length itself waits in line when it has told it.
pub(super) async fn read(
    body: &mut Body,
    declared_bytes: Option<usize>,
    bounds: &Bounds,
    reservation: &mut Reservation,
) -> Result<Bytes, Error> {
    let reading = read_untimed(body, declared_bytes, bounds, reservation);
    let timed_out = |_| Err(Error::BodyTimeout { timeout: bounds.timeout });
    tokio::time::timeout(bounds.timeout, reading).await.unwrap_or_else(timed_out)
}

async fn read_untimed(
    body: &mut Body,
    declared_bytes: Option<usize>,
    bounds: &Bounds,
    reservation: &mut Reservation,
) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    let mut has_entered = declared_bytes.is_some();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Malformed(describe(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > bounds.bytes_max {
            return Err(Error::TooLarge);
        }
        let is_all = whole.is_empty() && body.is_end_stream();
        if !is_all {
            if whole.capacity() == 0 {
                whole.reserve(declared_bytes.unwrap_or(FIRST_BYTES).max(data.len()));
            }
            whole.extend_from_slice(&data);
        }
        let so_far = if is_all { &data[..] } else { &whole[..] };
        // Before its bytes are charged for: they are here already, and a request that may wait must not be refused for them.
        if let (Some(bytes), false) = ((bounds.inspect)(so_far)?, has_entered) {
            reservation.enter(bounds.coding.plain_bytes(bytes)).await?;
            has_entered = true;
        }
        reservation.hold(so_far.len())?;
        if is_all {
            return Ok(data);
        }
    }
    Ok(whole.freeze())
}

/// An error with its sources: hyper keeps the cause there.
fn describe(error: &axum::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Reads on after a refusal, keeping nothing. A client over HTTP/1.1 that sends its whole body before it reads would find
/// the connection reset and the answer gone, and would send the same again.
pub(super) async fn discard(mut body: Body) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    if tokio::time::timeout(DISCARD_TIMEOUT, reading).await.is_err() {
        tracing::debug!("a client did not finish sending a refused body in time; its connection is closed");
    }
}
