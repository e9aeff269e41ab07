//! One HTTP request to a receiver: under the policy, without redirects, bounded in time and size.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};

use super::policy::{OutgoingPolicy, PolicyResolver, Refused};
use super::tls;
use super::token::Tokens;
use crate::config::{Auth, HttpSettings, SecretSource};
use crate::engine::Outcome;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Characters of an answer that an error shows.
const ANSWER_SHOWN: usize = 200;

/// A pause that a receiver may ask for.
const RETRY_AFTER_MAX: u64 = 3600;

/// A request in the making.
pub(crate) struct Request<'a> {
    pub(crate) settings: &'a HttpSettings,
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Duration,
}

/// What all requests share: where one may go, and the tokens that were given.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) policy: Arc<OutgoingPolicy>,
    pub(crate) tokens: Tokens,
}

impl Network {
    pub(crate) fn new(policy: OutgoingPolicy) -> Self {
        Self { policy: Arc::new(policy), tokens: Tokens::default() }
    }
}

/// Sends it. Errors do not show the URL, which may be a secret.
pub(crate) async fn send(request: Request<'_>, network: &Network) -> Outcome {
    let sent = async {
        let Some(Auth::Oauth2(oauth2)) = &request.settings.auth else {
            return judge(exchange(&request, None, &network.policy).await?).await;
        };
        let mut token = network.tokens.get(oauth2, &network.policy, request.timeout).await?;
        let mut answer = exchange(&request, Some(&token), &network.policy).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            // Revoked before its time, or the server forgot it: once more, with another.
            network.tokens.forget(oauth2, &token).await;
            token = network.tokens.get(oauth2, &network.policy, request.timeout).await?;
            answer = exchange(&request, Some(&token), &network.policy).await?;
        }
        judge(answer).await
    };
    sent.await.err().unwrap_or(Outcome::Sent)
}

/// One request and its answer, whatever its status; else why there is none.
pub(super) async fn exchange(
    request: &Request<'_>,
    authorization: Option<&HeaderValue>,
    policy: &Arc<OutgoingPolicy>,
) -> Result<reqwest::Response, Outcome> {
    let mut builder = prepare(request, policy).await.map_err(Outcome::Permanent)?;
    if let Some(authorization) = authorization {
        builder = builder.header(AUTHORIZATION, authorization);
    }
    builder.send().await.map_err(|error| {
        let is_refused = is_refused(&error);
        let problem = describe(&error.without_url());
        if is_refused { Outcome::Permanent(problem) } else { Outcome::Transient { problem, after: None } }
    })
}

impl OutgoingPolicy {
    /// A URL, unless its host is an address that must not be asked. A name is looked at when it is resolved. Public for
    /// `tests/fuzz`, which must not send anything.
    #[doc(hidden)]
    pub fn admit(&self, url: &str) -> Result<Url, String> {
        let url = Url::parse(url).map_err(|error| format!("not a URL: {error}"))?;
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if let Some(address) = literal {
            self.check(address).map_err(|error| error.to_string())?;
        }
        Ok(url)
    }
}

pub(super) async fn prepare(
    request: &Request<'_>,
    policy: &Arc<OutgoingPolicy>,
) -> Result<reqwest::RequestBuilder, String> {
    let mut url = policy.admit(request.url)?;
    let mut headers = request.headers.clone();
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let mut client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .dns_resolver(Arc::new(PolicyResolver(Arc::clone(policy))))
        .use_preconfigured_tls(tls::client(&request.settings.tls).await?)
        .user_agent(concat!("trivium/", env!("CARGO_PKG_VERSION")))
        .timeout(request.timeout);
    if let Some(name) = &request.settings.tls.server_name
        && url.scheme() == "https"
    {
        client = named(client, &mut url, &mut headers, name, policy).await?;
    }
    let client = client.build().map_err(|error| describe(&error))?;
    if let Some(auth) = authorization(request.settings.auth.as_ref()).await? {
        headers.insert(AUTHORIZATION, auth);
    }
    for (name, value) in &request.settings.headers {
        headers.append(name.clone(), secret_header(&value.reveal().await?)?);
    }
    Ok(client.request(request.method.clone(), url).headers(headers).body(request.body.clone()))
}

/// TLS with another name than that of the URL: the name takes the host's place, and goes to the addresses of the host.
async fn named(
    client: reqwest::ClientBuilder,
    url: &mut Url,
    headers: &mut HeaderMap,
    name: &str,
    policy: &Arc<OutgoingPolicy>,
) -> Result<reqwest::ClientBuilder, String> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses = policy.resolve(&host, port).await.map_err(|error| format!("{host}: {error}"))?;
    let shown = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    headers.insert(HOST, HeaderValue::from_str(&shown).map_err(|_| "the host does not fit a header".to_owned())?);
    url.set_host(Some(name)).map_err(|error| format!("tls_config.server_name: {error}"))?;
    Ok(client.resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses))
}

async fn authorization(auth: Option<&Auth>) -> Result<Option<HeaderValue>, String> {
    let text = match auth {
        // A token is of each request.
        None | Some(Auth::Oauth2(_)) => return Ok(None),
        Some(Auth::Basic { username, password }) => {
            basic(&reveal(username.as_ref()).await?, &reveal(password.as_ref()).await?)
        }
        Some(Auth::Scheme { scheme, credentials }) => format!("{scheme} {}", credentials.reveal().await?),
    };
    secret_header(&text).map(Some)
}

pub(super) fn basic(username: &str, password: &str) -> String {
    let pair = format!("{username}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

pub(crate) fn secret_header(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "the credentials do not fit a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

async fn reveal(secret: Option<&SecretSource>) -> Result<String, String> {
    match secret {
        Some(secret) => secret.reveal().await,
        None => Ok(String::new()),
    }
}

/// Success is 2xx; overload and faults of the other side pass, all else does not.
async fn judge(mut answer: reqwest::Response) -> Result<(), Outcome> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let after = retry_after(&answer);
    let body = read(&mut answer).await;
    let shown: String = String::from_utf8_lossy(&body).chars().take(ANSWER_SHOWN).collect();
    Err(failed(status, after, format!("unexpected status code {}: {}", status.as_u16(), shown.trim())))
}

pub(super) fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_MAX)))
}

/// What is read of an answer that is not asked for more.
pub(super) async fn read(answer: &mut reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(ANSWER_BYTES_MAX);
    body
}

pub(super) fn failed(status: StatusCode, after: Option<Duration>, problem: String) -> Outcome {
    if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        Outcome::Transient { problem, after }
    } else {
        Outcome::Permanent(problem)
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with its causes, which say more than itself.
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
