//! One question to the server, and what can go wrong with it, in words.

use std::borrow::Cow;
use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind};
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
            _ => bail!("{} answered {status}: {}", self.url, harmless(body.get(..300).unwrap_or(&body).trim())),
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
        let url = &self.url;
        match failure(error) {
            Failure::NoServer(cause) => anyhow!(
                "no server answers at {url} ({cause}); start one with `trivium serve`, or say where it is with --url"
            ),
            Failure::Tls(cause) => anyhow!("no TLS with {url}: {cause}"),
            Failure::Other(cause) => anyhow!("the request to {url} failed: {cause}"),
        }
    }
}

/// Why a request was not answered, with the cause in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nobody listens there, the name is unknown, the way is blocked.
    NoServer(String),
    /// Somebody listens, and the two do not agree on TLS or on a certificate. Another attempt ends in the same way.
    Tls(String),
    /// The connection broke off, or took too long.
    Other(String),
}

/// What became of a request that was not answered.
pub fn failure(error: &reqwest::Error) -> Failure {
    kind_of(error, error.is_connect())
}

fn kind_of(error: &(dyn Error + 'static), while_connecting: bool) -> Failure {
    let chain = || std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    let Some(io) = chain().find_map(|error| error.downcast_ref()).map(innermost) else {
        let causes = chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let causes = harmless(&causes).into_owned();
        return if while_connecting { Failure::NoServer(causes) } else { Failure::Other(causes) };
    };
    let cause = harmless(&io.to_string()).into_owned();
    match io.kind() {
        ErrorKind::InvalidData => Failure::Tls(with_hint(cause)),
        // Somebody was there and hung up, perhaps in the middle of the handshake.
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Failure::Other(cause),
        _ if while_connecting => Failure::NoServer(cause),
        _ => Failure::Other(cause),
    }
}

/// Errors of TLS come as an I/O error within another, which is not its source.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        error = inner;
    }
    error
}

/// What to do about it, as far as the words of rustls tell.
fn with_hint(cause: String) -> String {
    let hint = if cause.contains("UnknownIssuer") {
        "the certificate is of an authority that this machine does not know; name it with --ca-file"
    } else if cause.contains("CertificateRequired") {
        "the server wants a certificate from its clients, and commands have none; ask through a listener that wants none"
    } else if cause.contains("corrupt message") {
        "does it speak TLS? If not, its address begins with http://"
    } else if cause.contains("not valid for name") {
        "call the server by a name that its certificate has"
    } else {
        "look at the server's certificate, and at --ca-file when its authority is your own"
    };
    format!("{cause}; {hint}")
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

/// The message of an error answer, with the hint when there is one. A message may have lines, such as the place in a query;
/// some end with the hint already.
fn explain(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("the server gave no reason");
    let mut lines: Vec<Cow<'_, str>> = message.lines().map(harmless).collect();
    let hint = error["hint"].as_str().filter(|hint| !hint.is_empty()).map(|hint| format!("hint: {}", harmless(hint)));
    if let Some(hint) = hint.filter(|hint| lines.last().is_none_or(|last| last != hint)) {
        lines.push(hint.into());
    }
    lines.join("\n")
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

    #[test]
    fn the_place_in_a_query_is_shown_below_it_and_the_hint_once() {
        let message =
            "cannot read the query at column 5: `(` is never closed\n  foo:(bar\u{1b}\n      ^\nhint: add a `)`";
        let told = explain(&json!({ "message": message, "hint": "add a `)`" }));
        let lines: Vec<_> = told.lines().collect();
        let expected = [
            "cannot read the query at column 5: `(` is never closed",
            "  foo:(bar\\u{1b}",
            "      ^",
            "hint: add a `)`",
        ];
        assert_eq!(lines, expected);
    }

    /// As hyper hands it on: an I/O error of the connector around the one of the handshake.
    #[test]
    fn a_certificate_that_is_not_believed_is_no_missing_server() {
        let tls = |text: &str| io::Error::other(io::Error::new(ErrorKind::InvalidData, text.to_owned()));
        let told = |error: &io::Error, while_connecting: bool| kind_of(error, while_connecting);
        let unknown = told(&tls("invalid peer certificate: UnknownIssuer\u{1b}"), true);
        let Failure::Tls(cause) = unknown else { panic!("{unknown:?}") };
        assert!(cause.starts_with("invalid peer certificate: UnknownIssuer\\u{1b}; "), "{cause}");
        assert!(cause.ends_with("name it with --ca-file"), "{cause}");
        // A server tells only after the handshake that it wants a certificate.
        let wanted = told(&tls("received fatal alert: CertificateRequired"), false);
        assert!(matches!(&wanted, Failure::Tls(cause) if cause.contains("from its clients")), "{wanted:?}");
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        assert_eq!(told(&refused, true), Failure::NoServer("connection refused".into()));
        let reset = io::Error::from(ErrorKind::ConnectionReset);
        assert_eq!(told(&reset, true), Failure::Other("connection reset".into()));
    }

    #[tokio::test]
    async fn a_server_without_tls_is_not_said_to_be_missing() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let plain = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("written");
            // Until the client hangs up.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
        };
        let api = Server::new(&format!("https://{address}"), None, None).expect("an address");
        let (answer, ()) = tokio::join!(api.ask(api.get(&["logs"])), plain);
        let message = answer.expect_err("it speaks no TLS").to_string();
        assert!(message.starts_with("no TLS with https://127.0.0.1") && message.contains("http://"), "{message}");
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
