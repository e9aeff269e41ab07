//! Tokens of OAuth 2 with the grant of client credentials, kept until they expire or are refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::http::{self, Request, basic, secret_header};
use super::policy::OutgoingPolicy;
use crate::config::{HttpSettings, Oauth2};
use crate::engine::Outcome;

/// A token is not used in its last seconds: it must still be good when it arrives.
const MARGIN: Duration = Duration::from_secs(10);

/// What a token may be told to live; more is asked for again.
const LIFE_MAX: u64 = 366 * 86_400;

/// Letters of an issuer's error code that are shown.
const CODE_SHOWN: usize = 64;

/// The tokens of all receivers of a configuration. There are as many as there are ways to get one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens(Arc<Mutex<HashMap<Oauth2, Arc<Cell>>>>);

/// Held while a token is fetched: those who need the same one wait for it.
type Cell = tokio::sync::Mutex<State>;

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// Whether the issuer wants the credentials in the body.
    in_body: bool,
}

#[derive(Debug)]
struct Token {
    /// Marked as sensitive: it is not shown.
    header: HeaderValue,
    until: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    /// Seconds; some issuers write them as a text.
    expires_in: Option<Value>,
}

impl Tokens {
    /// The header with a token that is still good.
    pub(super) async fn get(
        &self,
        oauth2: &Oauth2,
        policy: &Arc<OutgoingPolicy>,
        timeout: Duration,
    ) -> Result<HeaderValue, Outcome> {
        let cell = self.cell(oauth2);
        let mut state = cell.lock().await;
        if let Some(token) = &state.token
            && token.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(token.header.clone());
        }
        let token = fetch(oauth2, policy, timeout, &mut state.in_body).await?;
        let header = token.header.clone();
        state.token = Some(token);
        Ok(header)
    }

    /// A token that was refused is not shown again, unless there is another one already.
    pub(super) async fn forget(&self, oauth2: &Oauth2, header: &HeaderValue) {
        let cell = self.cell(oauth2);
        let mut state = cell.lock().await;
        if state.token.as_ref().is_some_and(|token| token.header == *header) {
            state.token = None;
        }
    }

    fn cell(&self, oauth2: &Oauth2) -> Arc<Cell> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(oauth2.clone()).or_default())
    }
}

/// Credentials go into the header, as the standard wants it, or, where an issuer refuses that, into the body.
async fn fetch(
    oauth2: &Oauth2,
    policy: &Arc<OutgoingPolicy>,
    timeout: Duration,
    in_body: &mut bool,
) -> Result<Token, Outcome> {
    let begun = Instant::now();
    let first = ask(oauth2, policy, timeout, *in_body).await?;
    let (status, after, body) = match first {
        (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, ..) => {
            let second = ask(oauth2, policy, timeout, !*in_body).await?;
            if second.0.is_success() {
                *in_body = !*in_body;
                second
            } else {
                first
            }
        }
        other => other,
    };
    if !status.is_success() {
        let problem = format!("oauth2: the token endpoint answers with status {}{}", status.as_u16(), code(&body));
        return Err(http::failed(status, after, problem));
    }
    read(&body, begun).map_err(Outcome::Permanent)
}

type Answered = (StatusCode, Option<Duration>, Vec<u8>);

async fn ask(
    oauth2: &Oauth2,
    policy: &Arc<OutgoingPolicy>,
    timeout: Duration,
    in_body: bool,
) -> Result<Answered, Outcome> {
    let failed = |problem| Outcome::Permanent(format!("oauth2: {problem}"));
    let secret = match &oauth2.client_secret {
        Some(secret) => secret.reveal().await.map_err(failed)?,
        None => String::new(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if !in_body {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let header = basic(&encode(&oauth2.client_id), &encode(&secret));
        headers.insert(AUTHORIZATION, secret_header(&header).map_err(failed)?);
    }
    let body = form(oauth2, in_body.then_some(secret.as_str()));
    let settings = HttpSettings { tls: oauth2.tls.clone(), ..HttpSettings::default() };
    let request = Request {
        settings: &settings,
        method: Method::POST,
        url: &oauth2.token_url.0,
        headers,
        body: body.into_bytes(),
        timeout,
    };
    let mut answer = http::exchange(&request, None, policy).await.map_err(|outcome| match outcome {
        Outcome::Permanent(problem) => failed(problem),
        Outcome::Transient { problem, after } => {
            Outcome::Transient { problem: format!("oauth2: the token endpoint: {problem}"), after }
        }
        Outcome::Sent => Outcome::Sent,
    })?;
    let after = http::retry_after(&answer);
    Ok((answer.status(), after, http::read(&mut answer).await))
}

fn form(oauth2: &Oauth2, secret: Option<&str>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !oauth2.scopes.is_empty() {
        form.append_pair("scope", &oauth2.scopes.join(" "));
    }
    for (name, value) in &oauth2.params {
        form.append_pair(name, &value.0);
    }
    if let Some(secret) = secret {
        form.append_pair("client_id", &oauth2.client_id).append_pair("client_secret", secret);
    }
    form.finish()
}

/// What an answer gives. It is never shown: it holds the token.
fn read(body: &[u8], begun: Instant) -> Result<Token, String> {
    let wrong = "oauth2: the token endpoint answers with something else than a JSON object with access_token";
    let answer: Answer = serde_json::from_slice(body).map_err(|_| wrong.to_owned())?;
    if answer.access_token.is_empty() {
        return Err(wrong.to_owned());
    }
    let scheme = match answer.token_type.as_deref() {
        Some(kind) if kind.eq_ignore_ascii_case("mac") => "MAC",
        Some(kind) if !kind.is_empty() && !kind.eq_ignore_ascii_case("bearer") => {
            return Err("oauth2: the token endpoint gives tokens of another type than Bearer".into());
        }
        _ => "Bearer",
    };
    let header =
        secret_header(&format!("{scheme} {}", answer.access_token)).map_err(|error| format!("oauth2: {error}"))?;
    let seconds = answer.expires_in.and_then(|seconds| seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()));
    let until = seconds.filter(|seconds| *seconds > 0).map(|seconds| {
        let life = Duration::from_secs(seconds.min(LIFE_MAX));
        begun + life.saturating_sub(MARGIN)
    });
    Ok(Token { header, until })
}

/// The error code that the standard has, if the answer has one.
fn code(body: &[u8]) -> String {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let code = answer.as_ref().and_then(|answer| answer.get("error")?.as_str());
    let is_code =
        |code: &&str| code.len() <= CODE_SHOWN && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    code.filter(is_code).map_or_else(String::new, |code| format!(" ({code})"))
}
