//! The JSON body of a request, within a limit.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use futures::StreamExt;

use crate::error::Error;

/// What is still taken of a refused body, so that a client that sends everything before it reads hears our answer.
const DISCARDED_BYTES_MAX: usize = 64 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of a JSON body. A request without a content type is taken as JSON.
pub(super) async fn read_json(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let mut chunks = body.into_data_stream();
    let read = read(headers, &mut chunks, bytes_max).await;
    // A client that waits for `100 Continue` has sent nothing, and reading would tell it to begin.
    if read.is_err() && !headers.contains_key(EXPECT) {
        tokio::spawn(tokio::time::timeout(DISCARD_TIMEOUT, discard(chunks)));
    }
    read
}

async fn read(headers: &HeaderMap, chunks: &mut BodyDataStream, bytes_max: usize) -> Result<Vec<u8>, Error> {
    check_type(headers)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(Error::BodyTooLarge { bytes_max });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Error::invalid(format!("cannot receive the request: {error}")))?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(Error::BodyTooLarge { bytes_max });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn check_type(headers: &HeaderMap) -> Result<(), Error> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let found = String::from_utf8_lossy(value.as_bytes());
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() || essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::UnsupportedMediaType { found: found.into_owned() })
}

async fn discard(mut chunks: BodyDataStream) {
    let mut bytes = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        bytes += chunk.len();
        if bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}
