//! What we ask of other servers: the seam behind which the policy for outgoing requests is.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// How long another server may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A request to another server.
#[derive(Clone, Debug)]
pub struct OutgoingRequest {
    /// GET or POST.
    pub method: Method,
    /// Where to; `http` or `https`.
    pub url: String,
    /// Its headers. Those with secrets are marked as sensitive.
    pub headers: HeaderMap,
    /// Its body, a form, for POST.
    pub body: Bytes,
    /// How long it may take, all in all.
    pub timeout: Duration,
    /// How many bytes of the answer are read; a longer one is an error.
    pub answer_bytes_max: usize,
}

/// Its answer.
#[derive(Clone, Debug)]
pub struct OutgoingAnswer {
    /// Its status. Redirects are not followed.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Asks other servers: providers of keys and of logins. The implementation follows no redirects, keeps to the policy for
/// outgoing requests when it connects, and to the bounds of the request.
#[async_trait]
pub trait HttpClient: Send + Sync + std::fmt::Debug {
    /// Asks, and says in words what went wrong.
    async fn fetch(&self, request: OutgoingRequest) -> Result<OutgoingAnswer, String>;
}

/// A client that asks nobody: for servers without such providers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoClient;

#[async_trait]
impl HttpClient for NoClient {
    async fn fetch(&self, request: OutgoingRequest) -> Result<OutgoingAnswer, String> {
        Err(format!("{} cannot be asked: this server asks nobody", request.url))
    }
}

/// Gets a document that must be there.
pub(crate) async fn get(client: &dyn HttpClient, url: &str, answer_bytes_max: usize) -> Result<Bytes, String> {
    let (headers, body) = (HeaderMap::new(), Bytes::new());
    let request =
        OutgoingRequest { method: Method::GET, url: url.to_owned(), headers, body, timeout: TIMEOUT, answer_bytes_max };
    let answer = bounded(client, request).await.map_err(|problem| format!("{url} was not fetched: {problem}"))?;
    if answer.status == StatusCode::OK {
        Ok(answer.body)
    } else {
        Err(format!("{url} answered {}", answer.status.as_u16()))
    }
}

/// Asks within the bounds, even if the client does not keep to them.
pub(crate) async fn bounded(client: &dyn HttpClient, request: OutgoingRequest) -> Result<OutgoingAnswer, String> {
    let (timeout, bytes_max) = (request.timeout, request.answer_bytes_max);
    match tokio::time::timeout(timeout, client.fetch(request)).await {
        Err(_) => Err(format!("no answer within {timeout:?}")),
        Ok(Ok(answer)) if answer.body.len() > bytes_max => Err(format!("the answer has more than {bytes_max} bytes")),
        Ok(result) => result,
    }
}
