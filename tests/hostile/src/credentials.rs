//! N2, N3, A1, X5: credentials, through every door of a server that asks for them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::build;
use crate::case::Signal;
use crate::reply::{PATIENCE, Reply, framed, grpc, http1, shown};
use crate::server::{Server, binary};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const WRITE: [(&str, &str); 2] =
    [("content-type", "application/x-protobuf;proto=prometheus.WriteRequest"), ("content-encoding", "snappy")];

/// Codes of gRPC.
const PERMISSION_DENIED: i32 = 7;
const UNIMPLEMENTED: i32 = 12;
const UNAUTHENTICATED: i32 = 16;

/// What is stored by somebody else, and must be in no answer.
const CANARY: &str = "canary-6c1f";

/// A server that asks for credentials, and its first admin.
struct Guarded {
    server: Server,
    admin: String,
}

impl Guarded {
    fn start(binary: &PathBuf) -> Self {
        let server = Server::start_logged(binary, &["--auth", "required"]);
        let token = std::fs::read_to_string(server.data_folder().join("first-admin-token")).expect("the first token");
        Self { admin: format!("Bearer {}", token.trim()), server }
    }

    /// Asks the API with a credential or none.
    async fn api(&self, method: Method, path: &str, authorization: Option<&str>, body: Option<Value>) -> Reply {
        let mut headers = vec![JSON];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        http1(&self.server.api, method, path, &headers, body.into()).await
    }

    async fn make(&self, path: &str, body: Value) -> Value {
        let reply = self.api(Method::POST, path, Some(&self.admin), Some(body)).await;
        assert!((200..300).contains(&reply.status), "{path}: {} {}", reply.status, reply.text());
        reply.json()
    }

    async fn tenant(&self, name: &str) {
        self.make("/api/v1/auth/tenants", json!({ "name": name })).await;
    }

    async fn token(&self, role: &str, tenant: &str) -> String {
        let made = self.make("/api/v1/auth/tokens", json!({"name": role, "role": role, "tenant": tenant})).await;
        format!("Bearer {}", made["token"].as_str().expect("a token"))
    }

    /// Sends a log record of a service by HTTP; the status.
    async fn export(&self, headers: &[(&str, &str)], service: &str) -> u16 {
        let headers = [&[PROTOBUF], headers].concat();
        http1(&self.server.http, Method::POST, "/v1/logs", &headers, build::good_log(service).into()).await.status
    }

    /// The same by gRPC; the code.
    async fn export_grpc(&self, path: &str, headers: &[(&str, &str)], service: &str) -> i32 {
        let message = framed(false, &build::good_log(service));
        grpc(&self.server.grpc, path, headers, message).await.grpc_code()
    }

    /// How many log records of a service somebody sees.
    async fn records(&self, authorization: &str, service: &str) -> String {
        let sql = json!({"sql": format!("SELECT count(*) FROM logs WHERE service_name = '{service}'")});
        let reply = self.api(Method::POST, "/api/v1/sql", Some(authorization), Some(sql)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["rows"][0][0].to_string().replace('"', "")
    }
}

/// A request as it is written, and the whole answer.
async fn whole(to: &str, request: &str) -> (u16, String) {
    let talk = async {
        let mut stream = TcpStream::connect(to).await.expect("the server listens");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::time::timeout(PATIENCE, talk).await.expect("an answer in time");
    (answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), answer)
}

/// N2: the tenant is the credential's, whatever a header says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_chooses_a_tenant() {
    let Some(binary) = binary() else { return };
    let guarded = Guarded::start(&binary);
    for name in ["acme", "other"] {
        guarded.tenant(name).await;
    }
    let (ingest, viewer) = (guarded.token("ingest", "acme").await, guarded.token("viewer", "acme").await);
    let others = guarded.token("viewer", "other").await;
    let logs = Signal::Logs.grpc_path();
    for asked in ["other", "default", "0", "1", "", "ACME", " acme,other", "acme|other", "../other", "acme%00"] {
        let with = |token| [("authorization", token), ("x-scope-orgid", asked)];
        assert_eq!(guarded.export(&with(&ingest), "stray").await, 403, "{asked:?}");
        assert_eq!(guarded.export_grpc(logs, &with(&ingest), "stray").await, PERMISSION_DENIED, "{asked:?}");
        let block = snap::raw::Encoder::new().compress_vec(b"").expect("Snappy takes any bytes");
        let headers = [&WRITE[..], &with(&ingest)].concat();
        let path = "/prometheus/api/v1/write";
        let reply = http1(&guarded.server.api, Method::POST, path, &headers, block.into()).await;
        assert_eq!(reply.status, 403, "{asked:?}: {}", reply.text());
        for path in ["/api/v1/logs", "/prometheus/api/v1/query?query=1", "/api/v1/auth/me"] {
            let reply = http1(&guarded.server.api, Method::GET, path, &with(&viewer), Bytes::new()).await;
            assert_eq!(reply.status, 403, "{path} {asked:?}: {}", reply.text());
        }
    }
    // Twice: a proxy in front may have looked at the other one.
    let twice = [("authorization", &*ingest), ("x-scope-orgid", "acme"), ("x-scope-orgid", "other")];
    let status = guarded.export(&twice, "stray").await;
    assert!(status == 403 || status == 200, "{status}");
    // By which other products choose: nobody reads them.
    let mine = [("authorization", &*ingest), ("x-scope-orgid", "acme")];
    assert_eq!(guarded.export(&mine, "mine").await, 200);
    for name in ["organization", "org-id", "tenant", "x-tenant", "x-grafana-org-id", "accountid", "stream-name"] {
        assert_eq!(guarded.export(&[("authorization", &ingest), (name, "other")], "mine").await, 200, "{name}");
    }
    for path in ["/v1/logs?tenant=other", "/v1/logs?org_id=other"] {
        let headers = [PROTOBUF, ("authorization", &*ingest)];
        let body = build::logs("mine", vec![build::log(path)]);
        let reply = http1(&guarded.server.http, Method::POST, path, &headers, body.into()).await;
        assert_eq!(reply.status, 200, "{path}");
    }
    // Requests of the same bytes are stored once.
    assert_eq!(guarded.records(&viewer, "mine").await, "3");
    for stranger in [&others, &guarded.admin] {
        for service in ["mine", "stray"] {
            assert_eq!(guarded.records(stranger, service).await, "0", "{service}");
        }
    }
}

/// N3: who may only write reads nothing, by whatever form of a path, and who may only read writes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_writing_reads_nothing_and_one_for_reading_writes_nothing() {
    let Some(binary) = binary() else { return };
    let guarded = Guarded::start(&binary);
    let (ingest, viewer) = (guarded.token("ingest", "default").await, guarded.token("viewer", "default").await);
    assert_eq!(guarded.export(&[("authorization", &ingest)], CANARY).await, 200);
    assert_eq!(guarded.records(&viewer, CANARY).await, "1");
    for path in [
        "/api/v1/logs",
        "/api/v1/logs/tail",
        "/api/v1/traces",
        "/api/v1/traces/4bf92f3577b34da6a3ce929d0e0e4736",
        "/api/v1/services",
        "/api/v1/service_graph",
        "/api/v1/correlate/x",
        "/api/v1/views",
        "/api/v1/alerts",
        "/api/v1/auth/tokens",
        "/api/v1/auth/audit",
        "/api/v1/admin/quarantine",
        "/metrics",
        "/prometheus/api/v1/query?query=up",
        "/prometheus/api/v1/query?query=up&path=/prometheus/api/v1/write",
        "/prometheus/api/v1/series?match%5B%5D=up",
        "/prometheus/api/v1/labels",
        "/alertmanager/api/v2/alerts",
    ] {
        let reply = guarded.api(Method::GET, path, Some(&ingest), None).await;
        assert_eq!(reply.status, 403, "{path}: {}", shown(&reply.text()));
        let stranger = guarded.api(Method::GET, path, None, None).await;
        assert_eq!(stranger.status, 401, "{path}: {}", shown(&stranger.text()));
        assert!(stranger.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
    let sql = Some(json!({"sql": "SELECT * FROM logs"}));
    assert_eq!(guarded.api(Method::POST, "/api/v1/sql", Some(&ingest), sql).await.status, 403);
    forms_of_paths(&guarded, &ingest).await;
    let reading = [("authorization", &*viewer)];
    assert_eq!(guarded.export(&reading, "stray").await, 403);
    let block = snap::raw::Encoder::new().compress_vec(b"").expect("Snappy takes any bytes");
    let headers = [&WRITE[..], &reading].concat();
    let written = http1(&guarded.server.api, Method::POST, "/prometheus/api/v1/write", &headers, block.into()).await;
    assert_eq!(written.status, 403);
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        assert_eq!(guarded.export_grpc(signal.grpc_path(), &reading, "stray").await, PERMISSION_DENIED);
        assert_eq!(guarded.export_grpc(signal.grpc_path(), &[], "stray").await, UNAUTHENTICATED);
    }
    // A path that is almost one of a service passes nobody by (grpc-go, CVE-2026-33186).
    let lower = Signal::Logs.grpc_path().to_lowercase();
    for path in [&*format!("/{}", Signal::Logs.grpc_path()), &lower, "/x/Export"] {
        assert_eq!(guarded.export_grpc(path, &[("authorization", &ingest)], "stray").await, UNIMPLEMENTED, "{path}");
        assert_eq!(guarded.export_grpc(path, &[], "stray").await, UNAUTHENTICATED, "{path}");
    }
    assert_eq!(guarded.records(&viewer, "stray").await, "0");
}

/// A path that has words of another, or is written in another form, is no way around the table of routes.
async fn forms_of_paths(guarded: &Guarded, ingest: &str) {
    for path in [
        "/api/v1/logs/",
        "//api/v1/logs",
        "/api//v1/logs",
        "/./api/v1/logs",
        "/v1/logs/../../api/v1/logs",
        "/prometheus/api/v1/write/../query?query=up",
        "/prometheus/api/v1/write%2f..%2fquery?query=up",
        "/api/v1/%6cogs",
        "/api/v1/logs%2f",
        "/api/v1/logs;/v1/logs",
        "/api/v1/logs%00",
        "/API/V1/LOGS",
        "/api/v1/logs?/v1/logs",
        "/api/v1/logs#/v1/logs",
        "http://localhost/api/v1/logs",
        "http://user@localhost/api/v1/logs",
        "/api/v1/auth/methods/../../logs",
        "/assets/../api/v1/logs",
    ] {
        for method in ["GET", "HEAD", "get", "OPTIONS", "TRACE"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {ingest}\r\nx-http-method-override: GET\r\n\
                 x-original-url: /api/v1/logs\r\nx-rewrite-url: /api/v1/logs\r\nconnection: close\r\n\r\n"
            );
            let (status, answer) = whole(&guarded.server.api, &request).await;
            // The UI's pages are for everybody and have no telemetry in them.
            let is_page = status == 200 && answer.contains("content-type: text/html");
            assert!((400..500).contains(&status) || is_page, "{method} {path}: {}", shown(&answer));
            assert!(!answer.contains(CANARY), "{method} {path}: {answer}");
        }
    }
}

/// A request from an address of this machine: all of 127.0.0.0/8 is.
async fn from(address: [u8; 4], server: &Server, path: &str, authorization: &str) -> (u16, HeaderMap) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((address, 0).into()).expect("an address of this machine");
    let stream = socket.connect(server.api.parse().expect("an address")).await.expect("the server listens");
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").header("authorization", authorization);
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("in time");
    let (parts, body) = answer.expect("an answer").into_parts();
    body.collect().await.expect("a whole answer");
    connection.abort();
    (parts.status.as_u16(), parts.headers)
}

/// The credential of a name and a password.
fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{name}:{password}").as_bytes(), b"+/"))
}

/// Base64 without padding but what `Basic` needs: our texts are made to need none.
fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last.iter().copied()).collect();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, index| bits << 8 | usize::from(chunk.get(index).copied().unwrap_or(0)));
        for index in 0..=chunk.len() {
            text.push(char::from(alphabet[bits >> (18 - 6 * index) & 63]));
        }
    }
    if last == b"+/" {
        text.extend(std::iter::repeat_n('=', (4 - text.len() % 4) % 4));
    }
    text
}

/// A1: a thousand wrong passwords are answered 401 a few times, and 429 with the time to wait from then on; the owner
/// elsewhere notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessed_passwords_are_slowed_down_and_the_owner_elsewhere_is_not() {
    let Some(binary) = binary() else { return };
    let guarded = Guarded::start(&binary);
    let right = basic("alice", "correct horse battery");
    let user = json!({"name": "alice", "password": "correct horse battery", "role": "viewer"});
    guarded.make("/api/v1/auth/users", user).await;
    let (attacker, home) = ([127, 0, 0, 66], [127, 0, 0, 2]);
    let (mut wrong, mut throttled) = (0, 0);
    for number in 0..1_000 {
        let guess = basic("alice", &format!("guess number {number}"));
        let (status, headers) = from(attacker, &guarded.server, "/api/v1/logs", &guess).await;
        match status {
            401 => wrong += 1,
            429 => {
                throttled += 1;
                let wait = headers["retry-after"].to_str().ok().and_then(|seconds| seconds.parse::<u64>().ok());
                assert!(wait.is_some_and(|seconds| (1..=900).contains(&seconds)), "{headers:?}");
            }
            status => panic!("guess {number}: {status}"),
        }
    }
    // Five are free, and one more for each pause that passes meanwhile: of 1, 2, 4 … seconds.
    assert!((5..=15).contains(&wrong), "{wrong} guesses were looked at, {throttled} were not");
    assert_eq!(from(attacker, &guarded.server, "/api/v1/logs", &right).await.0, 429, "right or wrong is not told");
    assert_eq!(from(home, &guarded.server, "/api/v1/logs", &right).await.0, 200);
    assert_eq!(from(attacker, &guarded.server, "/api/v1/logs", &guarded.admin).await.0, 200, "tokens are not guessed");
}

/// A1: web tokens that nobody signed, or that a shared secret did, are no credentials.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_tokens_that_no_issuer_signed_are_refused() {
    let Some(binary) = binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (keys, config) = (folder.path().join("keys.json"), folder.path().join("auth.toml"));
    // One key of an issuer, and two that must not be taken: a shared secret and an empty one.
    let oct = |kid: &str, secret: &str| json!({"kty": "oct", "kid": kid, "alg": "HS256", "k": secret});
    let ed25519 = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let issuer = json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": ed25519});
    let set = json!({"keys": [issuer, oct("shared", "c2VjcmV0"), oct("empty", "")]});
    std::fs::write(&keys, set.to_string()).expect("it is written");
    let text = format!(
        "[[jwt]]\nissuer = \"https://issuer.example\"\naudience = \"trivium\"\njwks_file = {keys:?}\n\
         default_role = \"admin\"\n"
    );
    std::fs::write(&config, text).expect("it is written");
    let flags = ["--auth", "required", "--auth-config", config.to_str().expect("UTF-8")];
    let server = Server::start(&binary, &flags);
    let claims = json!({"iss": "https://issuer.example", "aud": "trivium", "sub": "root", "exp": 4_000_000_000_u64});
    let text = |value: &Value| base64(value.to_string().as_bytes(), b"-_");
    for algorithm in ["none", "None", "NONE", "", "HS256", "HS512", "EdDSA", "RS256", "ES256"] {
        for kid in ["ed", "shared", "empty", "../keys.json", ""] {
            for signature in ["", "AA", &"A".repeat(86)] {
                let header = json!({"alg": algorithm, "kid": kid, "typ": "JWT"});
                let token = format!("Bearer {}.{}.{signature}", text(&header), text(&claims));
                let headers = [("authorization", &*token)];
                let reply = http1(&server.api, Method::GET, "/api/v1/auth/me", &headers, Bytes::new()).await;
                assert_eq!(reply.status, 401, "{algorithm:?} {kid:?} {signature:?}: {}", reply.text());
                let told = reply.text();
                assert!(!told.contains("signature") && !told.contains(algorithm) || algorithm.is_empty(), "{told}");
            }
        }
    }
}

/// A1: what could not protect anybody is no configuration to start with.
#[test]
fn a_start_with_an_issuer_that_anybody_could_be_is_refused() {
    let Some(binary) = binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("auth.toml");
    let wrong = [
        "[[jwt]]\nissuer = \"\"\naudience = \"trivium\"\njwks_file = \"k\"\ndefault_role = \"admin\"\n",
        "[[jwt]]\nissuer = \"https://a\"\naudience = \"\"\njwks_file = \"k\"\ndefault_role = \"admin\"\n",
        "[[jwt]]\nissuer = \"https://a\"\naudience = \"trivium\"\ndefault_role = \"admin\"\n",
        "[[jwt]]\nissuer = \"https://a\"\naudience = \"trivium\"\njwks_file = \"k\"\n",
        "[[jwt]]\nissuer = \"https://a\"\naudience = \"trivium\"\nsecret = \"s\"\ndefault_role = \"admin\"\n",
    ];
    for text in wrong {
        std::fs::write(&config, text).expect("it is written");
        let mut command = Command::new(&binary);
        command.args(["serve", "--auth", "required", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"]);
        command.args(["--http", "127.0.0.1:0", "--auth-config"]).arg(&config).arg("--data-dir").arg(folder.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let begun = std::time::Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().expect("the process is ours") {
                break Some(status);
            }
            if begun.elapsed() > PATIENCE {
                child.kill().expect("the process is ours");
                break None;
            }
            std::thread::yield_now();
        };
        assert!(ended.is_some_and(|status| !status.success()), "it serves with\n{text}");
    }
}

/// X5: nothing of the server's own is told to strangers, and no secret to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_and_no_log_line_has_a_secret() {
    let Some(binary) = binary() else { return };
    let guarded = Guarded::start(&binary);
    let password = "planted-secret-0f3a";
    // The token of the first start ends with the first admin; what it was is nobody's business either.
    let token = guarded.token("viewer", "default").await;
    guarded.make("/api/v1/auth/users", json!({"name": "alice", "password": password, "role": "admin"})).await;
    let secrets =
        [password, token.rsplit('_').next().expect("a secret"), guarded.admin.rsplit('_').next().expect("one")];
    let with = basic("alice", password);
    let mut texts = Vec::new();
    for path in [
        "/metrics",
        "/config",
        "/-/config",
        "/status/config",
        "/api/v1/status/config",
        "/prometheus/api/v1/status/config",
        "/prometheus/api/v1/status/flags",
        "/prometheus/api/v1/status/runtimeinfo",
        "/alertmanager/api/v2/status",
        "/debug",
        "/debug/pprof/",
        "/debug/vars",
        "/api/v1/auth/tokens",
        "/api/v1/auth/users",
        "/api/v1/auth/audit",
        "/api/v1/auth/tenants",
        "/api/v1/openapi.json",
        "/api/v1/auth/me",
    ] {
        let stranger = guarded.api(Method::GET, path, None, None).await;
        let is_page = stranger.status == 200 && stranger.header("content-type").starts_with("text/html");
        assert!(matches!(stranger.status, 401 | 404) || is_page, "{path}: {}", stranger.status);
        for authorization in [&with, &token, &guarded.admin] {
            let reply = guarded.api(Method::GET, path, Some(authorization), None).await;
            texts.push((path.to_owned(), reply.text() + &format!("{:?}", reply.headers)));
        }
    }
    // What is wrong is quoted in refusals, and secrets are not.
    for wrong in [format!("{token}x"), format!("Bearer  {token}"), basic("alice", &format!("{password}!"))] {
        let reply = guarded.api(Method::GET, "/api/v1/auth/me", Some(&wrong), None).await;
        texts.push(("a wrong credential".into(), reply.text()));
    }
    let login = json!({"name": "alice", "password": password, "unknown": true});
    texts.push(("a login".into(), guarded.api(Method::POST, "/api/v1/auth/login", None, Some(login)).await.text()));
    texts.push(("the log".into(), guarded.server.log()));
    for (what, text) in &texts {
        for secret in secrets {
            assert!(!text.contains(secret), "{what} has a secret: {}", shown(text));
        }
    }
    assert!(texts.iter().any(|(_, text)| text.contains("alice")), "something was told at all");
}
