//! Logins at a provider that listens on the loopback interface and checks what it must.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::*;
use crate::authenticator::{AuthDeps, Authenticator};
use crate::config::AuthConfig;
use crate::fetch::{OutgoingAnswer, OutgoingRequest};
use crate::jwt::testing::Signer;
use crate::layer::AuthLayer;
use crate::refuse::Door;
use crate::routes::{self, RouteTable};
use crate::testing::{NOW_SECONDS, World, config};

/// HTTP/1.1 over TCP, as far as the provider speaks it.
#[derive(Debug)]
struct TcpClient;

#[async_trait]
impl HttpClient for TcpClient {
    async fn fetch(&self, request: OutgoingRequest) -> Result<OutgoingAnswer, String> {
        let rest = request.url.strip_prefix("http://").ok_or("not http")?;
        let (host, path) = rest.split_once('/').ok_or("no path")?;
        let mut head = format!("{} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", request.method);
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().map_err(|error| error.to_string())?));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
        let exchange = async {
            let mut stream = TcpStream::connect(host).await?;
            stream.write_all(&[head.as_bytes(), &request.body].concat()).await?;
            let mut answer = Vec::new();
            stream.take(1024 * 1024).read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = exchange.await.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
        Ok(OutgoingAnswer { status, body: Bytes::from(body.to_owned()) })
    }
}

#[derive(Clone)]
struct Authorized {
    challenge: String,
    nonce: String,
    redirect: String,
}

/// What the provider does wrong, if anything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    OtherNonce,
    OtherAudience,
    ManyAudiences,
    OtherIssuer,
    Expired,
    ForeignKey,
    Unsigned,
    OtherDiscovery,
    Down,
    NoToken,
    HugeAnswer,
}

struct Idp {
    url: String,
    signer: Signer,
    foreign: Signer,
    codes: Mutex<HashMap<String, Authorized>>,
    fault: Mutex<Fault>,
    claims: Mutex<Value>,
}

impl Idp {
    fn fault(&self) -> Fault {
        *self.fault.lock().expect("no test panicked")
    }
}

type Shared = State<Arc<Idp>>;

async fn discovery(State(idp): Shared) -> Response {
    let url = &idp.url;
    let issuer = if idp.fault() == Fault::OtherDiscovery { "https://other" } else { url };
    if idp.fault() == Fault::Down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let padding = if idp.fault() == Fault::HugeAnswer { "x".repeat(200_000) } else { String::new() };
    axum::Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
        "padding": padding,
    }))
    .into_response()
}

async fn authorize(State(idp): Shared, Query(asked): Query<HashMap<String, String>>) -> Response {
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|found| found == value);
    let is_valid = is("response_type", "code")
        && is("client_id", "trivium&co")
        && is("code_challenge_method", "S256")
        && is("scope", "openid profile email")
        && asked.get("code_challenge").is_some_and(|challenge| challenge.len() == 43)
        && asked.get("state").is_some_and(|state| state.len() == 43);
    if !is_valid {
        return (StatusCode::BAD_REQUEST, format!("{asked:?}")).into_response();
    }
    let code = random_text(20).expect("randomness");
    let authorized = Authorized {
        challenge: asked["code_challenge"].clone(),
        nonce: asked["nonce"].clone(),
        redirect: asked["redirect_uri"].clone(),
    };
    let back = format!("{}?code={code}&state={}", authorized.redirect, asked["state"]);
    idp.codes.lock().expect("a lock").insert(code, authorized);
    Redirect::to(&back).into_response()
}

async fn token(State(idp): Shared, headers: HeaderMap, body: String) -> Response {
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let refused = |what: &str| (StatusCode::BAD_REQUEST, axum::Json(json!({"error": what}))).into_response();
    let expected = format!("Basic {}", STANDARD.encode("trivium%26co:se%3Acret"));
    if headers.get(AUTHORIZATION).is_none_or(|found| *found != *expected) {
        return refused("invalid_client");
    }
    let Some(login) = idp.codes.lock().expect("a lock").remove(&form["code"]) else { return refused("invalid_grant") };
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    if challenge != login.challenge
        || form["redirect_uri"] != login.redirect
        || form["grant_type"] != "authorization_code"
    {
        return refused("invalid_grant");
    }
    let fault = idp.fault();
    if fault == Fault::NoToken {
        return axum::Json(json!({"access_token": "x"})).into_response();
    }
    let mut claims = idp.claims.lock().expect("a lock").clone();
    let url = idp.url.as_str();
    claims["iss"] = if fault == Fault::OtherIssuer { "https://other" } else { url }.into();
    claims["aud"] = match fault {
        Fault::OtherAudience => json!("somebody else"),
        Fault::ManyAudiences => json!(["trivium&co", "somebody else"]),
        _ => json!("trivium&co"),
    };
    claims["nonce"] = if fault == Fault::OtherNonce { "another".into() } else { login.nonce.into() };
    claims["exp"] = (NOW_SECONDS + if fault == Fault::Expired { -100 } else { 300 }).into();
    let signed = match fault {
        Fault::ForeignKey => idp.foreign.token("ES256", &claims),
        Fault::Unsigned => idp.signer.sign(&json!({"alg": "none"}), &claims),
        _ => idp.signer.token("RS256", &claims),
    };
    axum::Json(json!({"access_token": "x", "token_type": "Bearer", "id_token": signed})).into_response()
}

async fn provider() -> Arc<Idp> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let idp = Arc::new(Idp {
        url: format!("http://{address}"),
        signer: Signer::new(),
        foreign: Signer::new(),
        codes: Mutex::default(),
        fault: Mutex::default(),
        claims: Mutex::new(json!({"sub": "1234", "email": "ann@example.com", "groups": ["staff", "sre"]})),
    });
    let keys = async |State(idp): Shared| axum::Json(idp.signer.jwks());
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/keys", get(keys))
        .with_state(Arc::clone(&idp));
    tokio::spawn(async move { axum::serve(listener, router).await });
    idp
}

async fn world(idp: &Idp) -> (World, Router) {
    let oidc = json!({
        "issuer": idp.url,
        "client_id": "trivium&co",
        "client_secret": "se:cret",
        "redirect_url": "http://trivium.example/api/v1/auth/oidc/callback",
        "name_claim": "email",
        "role_claim": "groups",
        "roles": {"sre": "editor"},
    });
    let oidc = Some(serde_json::from_value(oidc).expect("a configuration"));
    let world = World::with_client(AuthConfig { oidc, ..config() }, Arc::new(TcpClient)).await;
    let table = Arc::new(RouteTable::new(routes::auth()).expect("a table"));
    let layer = AuthLayer::new(Arc::clone(&world.auth), table, Door::Api);
    let router = crate::router(Arc::clone(&world.auth)).layer(layer);
    (world, router)
}

async fn ask(router: &Router, path: &str, cookie: &str) -> Response {
    let request = Request::builder().uri(path).header(COOKIE, cookie).body(Body::empty()).expect("a request");
    router.clone().oneshot(request).await.expect("an answer")
}

fn location(response: &Response) -> String {
    response.headers()[LOCATION].to_str().expect("text").to_owned()
}

fn cookies(response: &Response) -> String {
    let values = response.headers().get_all(SET_COOKIE).iter().map(|value| value.to_str().expect("text"));
    values.map(|value| value.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("; ")
}

/// What the browser does: start, the provider's page, and the path back to us.
async fn to_the_provider(router: &Router, start: &str) -> (String, String) {
    let started = ask(router, start, "").await;
    assert_eq!(started.status(), StatusCode::SEE_OTHER);
    let set = started.headers()[SET_COOKIE].to_str().expect("text");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
    let url = location(&started);
    let rest = url.strip_prefix("http://").expect("the provider");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).await.expect("the provider");
    let head = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let back = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_else(|| panic!("{answer}"));
    let back = back.strip_prefix("http://trivium.example").expect("to us").to_owned();
    (back, cookies(&started))
}

#[tokio::test]
async fn somebody_logs_in_at_the_provider() {
    let idp = provider().await;
    let (world, router) = world(&idp).await;
    let (back, cookie) = to_the_provider(&router, "/api/v1/auth/oidc/start?return=/logs?query=a").await;
    let done = ask(&router, &back, &cookie).await;
    assert_eq!((done.status(), location(&done).as_str()), (StatusCode::SEE_OTHER, "/logs?query=a"));
    let session = cookies(&done);
    assert!(session.contains("trivium_session=") && session.contains("trivium_oidc="), "{session}");
    let me = ask(&router, "/api/v1/auth/me", &session).await;
    let body = axum::body::to_bytes(me.into_body(), 4096).await.expect("a body");
    let me: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (&me["name"], &me["role"], &me["tenant"]),
        (&json!("ann@example.com"), &json!("editor"), &json!("default"))
    );

    // After a restart the session is still there; without the provider nobody vouches for it.
    let headers = HeaderMap::from_iter([(COOKIE, session.parse().expect("a value"))]);
    assert!(world.restarted().await.authenticate(&headers, None).await.is_ok());
    let deps = AuthDeps {
        store: Arc::clone(&world.store) as Arc<dyn trivium_model::StateStore>,
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        client: Arc::new(TcpClient),
    };
    let without = Authenticator::open(config(), deps).await.expect("an authenticator");
    assert!(without.authenticate(&headers, None).await.is_err());

    // The code and the state were for once.
    assert_eq!(ask(&router, &back, &cookie).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.auth.credentials.with(|index| index.sessions().count()), 1);
}

#[tokio::test]
async fn a_login_belongs_to_the_browser_that_began_it() {
    let idp = provider().await;
    let (_world, router) = world(&idp).await;
    let start = "/api/v1/auth/oidc/start";
    let (back, cookie) = to_the_provider(&router, start).await;
    let (_, other) = to_the_provider(&router, start).await;
    for wrong in ["", &other, "trivium_oidc=", "trivium_oidc=x"] {
        assert_eq!(ask(&router, &back, wrong).await.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let guessed = format!("/api/v1/auth/oidc/callback?code=x&state={}", "A".repeat(43));
    let same = format!("trivium_oidc={}", "A".repeat(43));
    assert_eq!(ask(&router, &guessed, &same).await.status(), StatusCode::UNAUTHORIZED);
    for broken in ["", "?error=access_denied", "?code=a", "?state=b", "?error=%0d%0a%1b[31m"] {
        let path = format!("/api/v1/auth/oidc/callback{broken}");
        assert_eq!(ask(&router, &path, &cookie).await.status(), StatusCode::UNAUTHORIZED, "{broken}");
    }
    assert_eq!(ask(&router, &back, &cookie).await.status(), StatusCode::SEE_OTHER, "still good");
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_over() {
    let idp = provider().await;
    let (world, router) = world(&idp).await;
    let (back, cookie) = to_the_provider(&router, "/api/v1/auth/oidc/start").await;
    world.clock.advance(LOGIN_TIMEOUT);
    assert_eq!(ask(&router, &back, &cookie).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_the_provider_must_not_say_is_refused() {
    for fault in [
        Fault::OtherNonce,
        Fault::OtherAudience,
        Fault::ManyAudiences,
        Fault::OtherIssuer,
        Fault::Expired,
        Fault::ForeignKey,
        Fault::Unsigned,
        Fault::NoToken,
    ] {
        let idp = provider().await;
        let (world, router) = world(&idp).await;
        *idp.fault.lock().expect("a lock") = fault;
        let (back, cookie) = to_the_provider(&router, "/api/v1/auth/oidc/start").await;
        let refused = ask(&router, &back, &cookie).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{fault:?}");
        assert!(!refused.headers().contains_key(SET_COOKIE), "{fault:?}");
        assert_eq!(world.auth.credentials.with(|index| index.sessions().count()), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn who_has_no_role_has_no_access() {
    let idp = provider().await;
    let (world, router) = world(&idp).await;
    for claims in [
        json!({"sub": "1", "email": "bob@example.com", "groups": ["admin", "SRE"]}),
        json!({"sub": "1", "email": "bob@example.com"}),
        json!({"sub": "1", "groups": ["sre"]}),
    ] {
        *idp.claims.lock().expect("a lock") = claims.clone();
        let (back, cookie) = to_the_provider(&router, "/api/v1/auth/oidc/start").await;
        assert_eq!(ask(&router, &back, &cookie).await.status(), StatusCode::FORBIDDEN, "{claims}");
    }
    assert_eq!(world.auth.credentials.with(|index| index.sessions().count()), 0);
}

#[tokio::test]
async fn a_provider_that_is_down_or_another_is_trouble_that_passes() {
    for fault in [Fault::Down, Fault::OtherDiscovery, Fault::HugeAnswer] {
        let idp = provider().await;
        let (world, router) = world(&idp).await;
        *idp.fault.lock().expect("a lock") = fault;
        let answer = ask(&router, "/api/v1/auth/oidc/start", "").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
        assert!(answer.headers().contains_key("retry-after"));
        *idp.fault.lock().expect("a lock") = Fault::None;
        world.clock.advance(Duration::from_secs(5));
        assert_eq!(ask(&router, "/api/v1/auth/oidc/start", "").await.status(), StatusCode::SEE_OTHER, "{fault:?}");
    }
}

#[test]
fn a_login_returns_to_us_and_to_nobody_else() {
    for ours in ["/", "/logs?query=a%20b", "/trace/4bf9"] {
        assert_eq!(return_path(Some(ours)), ours);
    }
    let long = format!("/{}", "a".repeat(RETURN_BYTES_MAX));
    for other in ["", "//evil", "/\\evil", "\\\\evil", "https://evil", "evil", "/a\r\nb", "/\t/evil", "/é", &long] {
        assert_eq!(return_path(Some(other)), "/", "{other:?}");
    }
    assert_eq!(return_path(None), "/");
}
