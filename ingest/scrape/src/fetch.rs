//! Fetches an exposition over HTTP.

use std::io::Read;

use async_trait::async_trait;
use base64::Engine;
use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};

use crate::config::{Auth, Job, Secret};
use crate::target::Target;

const TEXT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
    application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
    text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6";

/// What a target answered.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

/// The seam at which tests answer in place of a target.
#[async_trait]
pub(crate) trait Fetch: Send + Sync {
    async fn fetch(&self, job: &Job, target: &Target) -> Result<Fetched, String>;
}

/// The HTTP client; it keeps a connection to each target.
#[derive(Debug)]
pub(crate) struct HttpFetch {
    following: reqwest::Client,
    staying: reqwest::Client,
}

impl HttpFetch {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = |redirects| {
            reqwest::Client::builder()
                .redirect(redirects)
                .no_proxy()
                .pool_max_idle_per_host(1)
                .user_agent(concat!("trivium/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Ok(Self {
            following: client(reqwest::redirect::Policy::limited(10))?,
            staying: client(reqwest::redirect::Policy::none())?,
        })
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, job: &Job, target: &Target) -> Result<Fetched, String> {
        let client = if job.follow_redirects { &self.following } else { &self.staying };
        let accept = if job.native_histograms { format!("{PROTOBUF},{TEXT}") } else { TEXT.to_owned() };
        let mut request = client
            .get(&target.url)
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, "gzip")
            .header("X-Prometheus-Scrape-Timeout-Seconds", target.timeout.as_secs_f64().to_string());
        if let Some(auth) = &job.auth {
            request = request.header(AUTHORIZATION, authorization(auth).await?);
        }
        let mut response = request.send().await.map_err(|error| describe(&error))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("the target answered {}", response.status()));
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let (content_type, encoding) = (header(CONTENT_TYPE), header(CONTENT_ENCODING));
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
            if body.len() + chunk.len() > job.limits.body_bytes {
                return Err(too_large(job));
            }
            body.extend_from_slice(&chunk);
        }
        let body = match encoding.as_str() {
            "" | "identity" => body.freeze(),
            "gzip" => gunzip(&body, job)?,
            other => return Err(format!("the target compressed its answer by {other:?}, which was not asked for")),
        };
        Ok(Fetched { content_type, body })
    }
}

fn gunzip(body: &[u8], job: &Job) -> Result<Bytes, String> {
    let mut plain = Vec::new();
    let limit = job.limits.body_bytes as u64;
    let mut reader = flate2::read::MultiGzDecoder::new(body).take(limit.saturating_add(1));
    reader.read_to_end(&mut plain).map_err(|error| format!("the answer is not valid gzip: {error}"))?;
    if plain.len() as u64 > limit { Err(too_large(job)) } else { Ok(plain.into()) }
}

fn too_large(job: &Job) -> String {
    format!("the exposition is larger than body_size_limit = {} bytes", job.limits.body_bytes)
}

async fn authorization(auth: &Auth) -> Result<HeaderValue, String> {
    let text = match auth {
        Auth::Basic { username, password } => {
            let pair = format!("{}:{}", reveal(username).await?, reveal(password).await?);
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        }
        Auth::Scheme { scheme, credentials } => format!("{scheme} {}", reveal(credentials).await?),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| "the credentials do not fit a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

async fn reveal(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::Inline(text) => Ok(text.clone()),
        Secret::File(path) => match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        },
    }
}

/// An error with its causes, which say more than itself.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
