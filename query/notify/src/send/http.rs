//! One HTTP request to a receiver: under the policy, without redirects, bounded in time and size.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::policy::{OutgoingPolicy, PolicyResolver, Refused};
use crate::config::{Auth, HttpSettings, SecretSource, TlsSettings};
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

/// Sends it. Errors do not show the URL, which may be a secret.
pub(crate) async fn send(request: Request<'_>, policy: &Arc<OutgoingPolicy>) -> Outcome {
    let prepared = prepare(&request, policy).await;
    let builder = match prepared {
        Ok(builder) => builder,
        Err(problem) => return Outcome::Permanent(problem),
    };
    match builder.send().await {
        Ok(answer) => judge(answer).await,
        Err(error) if is_refused(&error) => Outcome::Permanent(describe(&error.without_url())),
        Err(error) => Outcome::Transient { problem: describe(&error.without_url()), after: None },
    }
}

pub(super) async fn prepare(
    request: &Request<'_>,
    policy: &Arc<OutgoingPolicy>,
) -> Result<reqwest::RequestBuilder, String> {
    let url = Url::parse(request.url).map_err(|error| format!("not a URL: {error}"))?;
    let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
    if let Some(address) = literal {
        policy.check(address).map_err(|error| error.to_string())?;
    }
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(PolicyResolver(Arc::clone(policy))))
        .use_preconfigured_tls(tls(&request.settings.tls)?)
        .user_agent(concat!("trivium/", env!("CARGO_PKG_VERSION")))
        .timeout(request.timeout)
        .build()
        .map_err(|error| describe(&error))?;
    let mut headers = request.headers.clone();
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    if let Some(auth) = &request.settings.auth {
        headers.insert(AUTHORIZATION, authorization(auth).await?);
    }
    Ok(client.request(request.method.clone(), url).headers(headers).body(request.body.clone()))
}

async fn authorization(auth: &Auth) -> Result<HeaderValue, String> {
    let text = match auth {
        Auth::Basic { username, password } => {
            let pair = format!("{}:{}", reveal(username.as_ref()).await?, reveal(password.as_ref()).await?);
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        }
        Auth::Scheme { scheme, credentials } => format!("{scheme} {}", credentials.reveal().await?),
    };
    secret_header(&text)
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
async fn judge(mut answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    if status.is_success() {
        return Outcome::Sent;
    }
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let shown: String = String::from_utf8_lossy(&body).chars().take(ANSWER_SHOWN).collect();
    let problem = format!("unexpected status code {}: {}", status.as_u16(), shown.trim());
    if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        let after = after.map(|seconds| Duration::from_secs(seconds.min(RETRY_AFTER_MAX)));
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

/// A configuration of TLS with the provider named: nothing is installed for the whole process.
fn tls(settings: &TlsSettings) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    if settings.insecure_skip_verify {
        let trust = Arc::new(TrustAll(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(trust).with_no_client_auth());
    }
    if settings.server_name.is_some() {
        return Err("tls_config.server_name is supported for e-mail only; use the name in the URL".into());
    }
    let mut roots = rustls::RootCertStore::empty();
    match &settings.ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error| format!("cannot read certificates from {}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
    found.collect::<Result<_, _>>().map_err(failed)
}

/// What `insecure_skip_verify` asks for.
#[derive(Debug)]
struct TrustAll(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
