//! One question to the server, and what can go wrong with it, in words.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response, Url};
use serde_json::Value;

use crate::terminal::harmless;

/// A running server: its address, and what opens it.
#[derive(Clone, Debug)]
pub struct Server {
    url: Url,
    client: Client,
}

impl Server {
    /// The server at an address. The token is read from its file, never from the command line, where every user of the
    /// machine sees it; the CA's certificate is believed besides those that the machine trusts.
    pub fn new(url: &str, token_file: Option<&Path>, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = parsed.with_context(|| format!("{url:?} is not an address such as http://127.0.0.1:4319"))?;
        Ok(Self { url, client: client(Client::builder(), token_file, ca_file)? })
    }

    /// Its address.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// A GET request; the segments are the path below `/api/v1`, encoded here.
    pub(crate) fn get(&self, segments: &[&str]) -> RequestBuilder {
        self.client.get(self.path(segments))
    }

    /// A POST request with a JSON body.
    pub(crate) fn post(&self, segments: &[&str], body: &Value) -> RequestBuilder {
        self.client.post(self.path(segments)).json(body)
    }

    /// Sends; an error when the server is not there or answers one.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Value>(&body) {
            Ok(answer) if answer["error"].is_object() => Err(anyhow!(explain(&answer["error"]))),
            _ => bail!("{} answered {status}: {}", self.url, harmless(body.get(..300).unwrap_or(&body))),
        }
    }

    /// Sends and reads the answer as it came.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> anyhow::Result<String> {
        let response = self.send(request).await?;
        response.text().await.with_context(|| format!("the answer of {} broke off", self.url))
    }

    fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .expect("an http address has a path")
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(segments);
        url
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        if error.is_connect() {
            return anyhow!(
                "no server answers at {}; start one with `trivium serve`, or say where it is with --url",
                self.url
            );
        }
        let mut causes = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            causes = format!("{causes}: {cause}");
            source = cause.source();
        }
        anyhow!("the request to {} failed: {causes}", self.url)
    }
}

/// A client that shows the token of a file with every request and believes the CA of another.
pub fn client(mut builder: ClientBuilder, token_file: Option<&Path>, ca_file: Option<&Path>) -> anyhow::Result<Client> {
    if let Some(file) = token_file {
        let token = fs::read_to_string(file).with_context(|| format!("cannot read the token in {}", file.display()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .with_context(|| format!("{} holds no token", file.display()))?;
        value.set_sensitive(true);
        builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
    }
    if let Some(file) = ca_file {
        let pem = fs::read(file).with_context(|| format!("cannot read the CA in {}", file.display()))?;
        let certificate = Certificate::from_pem(&pem);
        builder = builder.add_root_certificate(
            certificate.with_context(|| format!("{} holds no certificate in PEM", file.display()))?,
        );
    }
    builder.build().context("cannot make an HTTP client")
}

/// Reads JSON that the server promised.
pub(crate) fn parse(answer: &str) -> anyhow::Result<Value> {
    serde_json::from_str(answer).context("the server's answer is not JSON; is it a Trivium of another version?")
}

/// The message of an error answer, with the hint when there is one.
fn explain(error: &Value) -> String {
    let message = harmless(error["message"].as_str().unwrap_or("the server gave no reason")).into_owned();
    match error["hint"].as_str().filter(|hint| !hint.is_empty()) {
        Some(hint) => format!("{message}\nhint: {}", harmless(hint)),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn segments_are_encoded() {
        let api = Server::new("http://127.0.0.1:4319", None, None).expect("an address");
        assert_eq!(api.path(&["traces", "a/b?c d"]).as_str(), "http://127.0.0.1:4319/api/v1/traces/a%2Fb%3Fc%20d");
        let below = Server::new("http://gateway/trivium/", None, None).expect("an address");
        assert_eq!(below.path(&["sql"]).as_str(), "http://gateway/trivium/api/v1/sql");
    }

    #[test]
    fn addresses_that_cannot_work_are_refused() {
        for url in ["", "127.0.0.1:4319", "ftp://x", "http://"] {
            let error = Server::new(url, None, None).expect_err(url);
            assert!(error.to_string().contains("is not an address"), "{error}");
        }
    }

    #[test]
    fn errors_are_told_in_words() {
        let error = json!({ "kind": "invalid_argument", "message": "unknown column\u{1b}[1m", "hint": "try body" });
        assert_eq!(explain(&error), "unknown column\\u{1b}[1m\nhint: try body");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        // A port that was free a moment ago; nothing listens on it.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let api = Server::new(&format!("http://{address}"), None, None).expect("an address");
        let error = api.ask(api.get(&["logs"])).await.expect_err("nothing listens");
        let message = error.to_string();
        assert!(message.contains(&address.to_string()) && message.contains("trivium serve"), "{message}");
    }
}
