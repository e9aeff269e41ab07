//! What it costs to find out who a request comes from.
//!
//! `cargo run --release -p trivium-auth --example cost`
//!
//! Rounds of calls by a server with 10,000 tokens; printed are the fastest and the median round, per call. Nothing is printed
//! but nanoseconds, and nothing is asked of a network or a disk after the start.

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use tower::Service;
use trivium_auth::{
    AuthConfig, AuthDeps, AuthLayer, Authenticator, ClaimMapping, Door, How, JwtConfig, Mode, NewToken, NewUser,
    NoClient, PasswordCost, Principal, Role, RouteTable, Secret, Signals, routes,
};
use trivium_model::{Clock, MemoryStateStore, SystemClock, TenantId};

const TOKENS: usize = 10_000;
const CALLS: usize = 2_000;
const ROUNDS: usize = 500;

type Failure = Box<dyn std::error::Error>;

/// Calls in rounds; the fastest and the median round, per call.
fn measure(what: &str, mut call: impl FnMut(usize)) {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            (0..CALLS).for_each(&mut call);
            begun.elapsed() / u32::try_from(CALLS).unwrap_or(u32::MAX)
        })
        .collect();
    rounds.sort();
    print(what, rounds[0], rounds[ROUNDS / 2]);
}

fn print(what: &str, fastest: Duration, median: Duration) {
    println!("{what:<58} {:>8} {:>8}", fastest.as_nanos(), median.as_nanos());
}

/// Completes what needs not to wait, without a runtime around it.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn authorized(scheme: &str, credential: &str) -> Result<HeaderMap, Failure> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {credential}"))?;
    value.set_sensitive(true);
    // What a collector sends besides.
    let mut headers = HeaderMap::new();
    for (name, value) in [("host", "trivium.example:4318"), ("user-agent", "OTel-OTLP-Exporter-Go/1.38.0")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// An issuer of web tokens.
struct Issuer {
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
    expires: i64,
}

impl Issuer {
    fn new(clock: &dyn Clock) -> Result<Self, Failure> {
        let text: String = include_str!("../testdata/rsa.pk8.base64").split_whitespace().collect();
        let wrong = |error: &dyn std::fmt::Display| error.to_string();
        let seed = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|error| wrong(&error))?;
        Ok(Self {
            ed25519: Ed25519KeyPair::from_pkcs8(seed.as_ref()).map_err(|error| wrong(&error))?,
            rsa: RsaKeyPair::from_pkcs8(&STANDARD.decode(text)?).map_err(|error| wrong(&error))?,
            expires: clock.now().0 / 1_000_000_000 + 3_600,
        })
    }

    fn keys(&self) -> Value {
        let rsa = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [
            {"kty": "OKP", "kid": "EdDSA", "crv": "Ed25519", "x": text(self.ed25519.public_key().as_ref())},
            {"kty": "RSA", "kid": "RS256", "n": text(&rsa.n), "e": text(&rsa.e)},
        ]})
    }

    /// A token as issuers make them, with claims that we do not need.
    fn token(&self, algorithm: &str, number: usize) -> Result<HeaderMap, Failure> {
        let header = json!({"alg": algorithm, "kid": algorithm, "typ": "JWT"});
        let claims = json!({
            "iss": "https://issuer.example", "aud": "trivium", "sub": format!("service-{number}"), "exp": self.expires,
            "azp": "collector", "scope": "openid profile email", "sid": "7a1c0a53-4b5f-4f0e-9a5c-0d4b6a1f2e3d",
            "realm_access": {"roles": ["ingest", "offline_access", "uma_authorization"]},
        });
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", text(&header), text(&claims));
        let signature = match algorithm {
            "EdDSA" => self.ed25519.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let random = SystemRandom::new();
                let made = self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature);
                made.map_err(|error| error.to_string())?;
                signature
            }
        };
        authorized("Bearer", &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn admin() -> Principal {
    Principal {
        tenant: TenantId::DEFAULT,
        tenant_name: "default".into(),
        role: Role::Admin,
        name: "root".into(),
        how: How::Password,
        signals: Signals::ALL,
    }
}

async fn open(issuer: &Issuer, clock: Arc<dyn Clock>) -> Result<Arc<Authenticator>, Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys.json");
    std::fs::write(&file, issuer.keys().to_string())?;
    let claims = ClaimMapping { role_claim: Some("realm_access.roles".into()), ..ClaimMapping::default() };
    let claims = ClaimMapping { roles: [("ingest".to_owned(), Role::Ingest)].into(), ..claims };
    let jwt = JwtConfig {
        issuer: "https://issuer.example".into(),
        audience: "trivium".into(),
        jwks_file: Some(file),
        jwks_url: None,
        claims,
    };
    let password_cost = PasswordCost { memory_kib: 8, passes: 1 };
    let config = AuthConfig { mode: Mode::Required, jwt: vec![jwt], password_cost, ..AuthConfig::default() };
    let deps = AuthDeps { store: Arc::new(MemoryStateStore::default()), clock, client: Arc::new(NoClient) };
    let authenticator = Authenticator::open(config, deps).await?;
    // The keys are read with the first token.
    authenticator.authenticate(&issuer.token("EdDSA", 0)?, None).await?;
    Ok(authenticator)
}

/// Every token of a server that is full of them.
async fn tokens(authenticator: &Authenticator) -> Result<Vec<HeaderMap>, Failure> {
    let mut tokens = Vec::with_capacity(TOKENS);
    for number in 0..TOKENS {
        let name = format!("collector {number}");
        let new = NewToken { name, role: Role::Ingest, tenant: None, signals: None, expires_in_seconds: None };
        let (_, secret) = authenticator.create_token(&admin(), new).await?;
        tokens.push(authorized("Bearer", secret.reveal())?);
    }
    Ok(tokens)
}

fn must(is_ok: bool) {
    assert!(is_ok, "the answer is not the one that is measured");
}

fn of_credentials(authenticator: &Authenticator, tokens: &[HeaderMap], basic: &HeaderMap) -> Result<(), Failure> {
    let known = |headers: &HeaderMap| {
        now(authenticator.authenticate(black_box(headers), None)).is_some_and(|found| found.is_ok())
    };
    measure("a token, the same again", |_| must(known(&tokens[0])));
    measure("a token, another of 10,000 each time", |call| must(known(&tokens[call * 7 % tokens.len()])));
    let unknown = authorized("Bearer", &format!("trv_AAAAAAAA_{}", "x".repeat(43)))?;
    measure("an unknown token", |_| must(!known(&unknown)));
    let malformed = authorized("Bearer", "trv_x")?;
    measure("a malformed token", |_| must(!known(&malformed)));
    measure("no credential", |_| must(!known(&HeaderMap::new())));
    measure("name and password, seen before", |_| must(known(basic)));
    Ok(())
}

fn of_web_tokens(authenticator: &Authenticator, issuer: &Issuer) -> Result<(), Failure> {
    let known = |headers: &HeaderMap| {
        now(authenticator.authenticate(black_box(headers), None)).is_some_and(|found| found.is_ok())
    };
    for algorithm in ["EdDSA", "RS256"] {
        let seen = issuer.token(algorithm, 1)?;
        measure(&format!("a web token ({algorithm}), seen before"), |_| must(known(&seen)));
    }
    for algorithm in ["EdDSA", "RS256"] {
        let new: Vec<HeaderMap> =
            (0..2_000).map(|number| issuer.token(algorithm, 10 + number)).collect::<Result<_, _>>()?;
        let mut each: Vec<Duration> = new
            .iter()
            .map(|headers| {
                let begun = Instant::now();
                must(known(headers));
                begun.elapsed()
            })
            .collect();
        each.sort();
        print(&format!("a web token ({algorithm}), never seen"), each[0], each[1_000]);
    }
    Ok(())
}

/// The whole layer in front of a route: the table, the credential, the principal in the extensions.
fn of_the_layer(authenticator: &Arc<Authenticator>, tokens: &[HeaderMap]) -> Result<(), Failure> {
    let table = Arc::new(RouteTable::new(routes::otlp_http())?);
    let bare = axum::Router::<()>::new().route("/v1/logs", post(|| async { "" }));
    let layered = bare.clone().layer(AuthLayer::new(Arc::clone(authenticator), table, Door::OtlpHttp));
    for (what, mut router, count) in [
        ("a router without the layer", bare.clone(), 1),
        ("the same, another token in the request each time", bare, tokens.len()),
        ("a router with the layer", layered.clone(), 1),
        ("the same, another token in the request each time", layered, tokens.len()),
    ] {
        measure(what, |call| {
            let mut request = Request::post("/v1/logs").body(Body::empty()).unwrap_or_default();
            *request.headers_mut() = tokens[call * 7 % count].clone();
            let answer: Option<Result<_, Infallible>> = now(router.call(request));
            must(answer.is_some_and(|answer| answer.is_ok_and(|answer| answer.status() == 200)));
        });
    }
    Ok(())
}

/// While another thread does nothing else.
fn of_two_threads(authenticator: &Arc<Authenticator>, tokens: &[HeaderMap]) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                black_box(now(authenticator.authenticate(&tokens[0], None)).is_some());
            }
        });
        measure("a token, while another thread uses the same", |_| {
            must(now(authenticator.authenticate(black_box(&tokens[0]), None)).is_some_and(|found| found.is_ok()));
        });
        is_over.store(true, Ordering::Relaxed);
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuer = Issuer::new(&*clock)?;
    let authenticator = open(&issuer, clock).await?;
    let tokens = tokens(&authenticator).await?;
    let password = "correct horse battery";
    let user = NewUser { name: "alice".into(), password: Secret::new(password), role: Role::Viewer, tenant: None };
    authenticator.create_user(&admin(), user).await?;
    let basic = authorized("Basic", &STANDARD.encode(format!("alice:{password}")))?;
    authenticator.authenticate(&basic, None).await?;
    println!("{:<58} {:>8} {:>8}", "nanoseconds", "fastest", "median");
    of_credentials(&authenticator, &tokens, &basic)?;
    of_web_tokens(&authenticator, &issuer)?;
    of_the_layer(&authenticator, &tokens)?;
    of_two_threads(&authenticator, &tokens);
    Ok(())
}
