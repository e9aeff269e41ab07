//! Requests of other parts of the server under the same policy: keys of token issuers, providers of logins.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::http::{Request, describe, prepare};
use super::policy::OutgoingPolicy;
use crate::config::HttpSettings;

/// A request to another server.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// How.
    pub method: Method,
    /// Where to.
    pub url: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// How long it may take, all in all.
    pub timeout: Duration,
    /// How many bytes of the answer are read; a longer one is an error.
    pub answer_bytes_max: usize,
}

impl OutgoingPolicy {
    /// Asks another server, as notifications are sent: only addresses that the policy allows, no redirects, no proxy. Says in
    /// words what went wrong.
    pub async fn fetch(self: &Arc<Self>, request: FetchRequest) -> Result<(StatusCode, Vec<u8>), String> {
        let FetchRequest { method, url, headers, body, timeout, answer_bytes_max } = request;
        let settings = HttpSettings::default();
        let request = Request { settings: &settings, method, url: &url, headers, body, timeout };
        let builder = prepare(&request, self).await?;
        let mut answer = builder.send().await.map_err(|error| describe(&error.without_url()))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| describe(&error.without_url()))? {
            if body.len() + chunk.len() > answer_bytes_max {
                return Err(format!("the answer has more than {answer_bytes_max} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status(), body))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::get;

    use super::*;

    async fn fetch(policy: &OutgoingPolicy, url: String) -> Result<(StatusCode, Vec<u8>), String> {
        let (headers, body, timeout) = (HeaderMap::new(), Vec::new(), Duration::from_secs(30));
        let request = FetchRequest { method: Method::GET, url, headers, body, timeout, answer_bytes_max: 100 };
        Arc::new(policy.clone()).fetch(request).await
    }

    #[tokio::test]
    async fn the_policy_and_the_bounds_hold() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let router = Router::new()
            .route("/small", get(|| async { "small" }))
            .route("/large", get(|| async { "x".repeat(101) }))
            .route("/away", get(|| async { Redirect::to("/small") }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = |host: &str, path: &str| format!("http://{host}:{port}/{path}");

        let strict = OutgoingPolicy::default();
        for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"] {
            let refused = fetch(&strict, url(host, "small")).await.expect_err(host);
            assert!(refused.contains("refused"), "{host}: {refused}");
        }
        let open = OutgoingPolicy { allow: vec!["127.0.0.0/8".parse().expect("a network")] };
        assert_eq!(fetch(&open, url("127.0.0.1", "small")).await, Ok((StatusCode::OK, b"small".to_vec())));
        let large = fetch(&open, url("127.0.0.1", "large")).await.expect_err("too large");
        assert!(large.contains("more than 100 bytes"), "{large}");
        let away = fetch(&open, url("127.0.0.1", "away")).await.expect("an answer");
        assert_eq!(away.0, StatusCode::SEE_OTHER);
    }
}
