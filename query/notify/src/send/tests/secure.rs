//! TLS on both sides, tokens, and mail over TLS: real servers on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::extract::Request;
use axum::response::IntoResponse;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// An authority, and the files of what it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes a certificate and its key into the authority's folder.
    fn write(&self, name: &str) {
        let (certificate, key) = self.issue(name);
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// What a server of this name does that lets in whom the authority knows, or everyone.
    fn server(&self, name: &str, wants_client: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if wants_client {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.issue(name);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

/// Connections whose handshake succeeded; `names` are those that clients asked for.
struct TlsListener {
    inner: TcpListener,
    acceptor: TlsAcceptor,
    names: Arc<Mutex<Vec<Option<String>>>>,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.inner.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                self.names.lock().unwrap().push(stream.get_ref().1.server_name().map(str::to_owned));
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// Serves over TLS; the port and the names that are asked for.
async fn serve(router: Router, config: Arc<ServerConfig>) -> (u16, Arc<Mutex<Vec<Option<String>>>>) {
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inner.local_addr().unwrap().port();
    let names = Arc::<Mutex<Vec<_>>>::default();
    let listener = TlsListener { inner, acceptor: config.into(), names: Arc::clone(&names) };
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, names)
}

/// A receiver that says which `Host` and `X-Own` it was asked with.
async fn hook(config: Arc<ServerConfig>) -> (u16, Arc<Mutex<Vec<Option<String>>>>, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&heard);
    let answer = move |request: Request| {
        let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        kept.lock().unwrap().push(format!("{} {}", header("host"), header("x-own")));
        async { StatusCode::OK }
    };
    let (port, names) = serve(Router::new().fallback(answer), config).await;
    (port, names, heard)
}

fn webhook(url: &str, http: &str) -> String {
    format!("webhook_configs: [{{url: '{url}', http_config: {{{http}}}}}]")
}

fn is_failure(outcome: &Outcome, expected: &str) {
    let (Outcome::Permanent(problem) | Outcome::Transient { problem, .. }) = outcome else { panic!("sent") };
    assert!(problem.contains(expected), "{problem}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_the_servers_is_checked() {
    let (ours, other) = (Authority::new(), Authority::new());
    ours.write("client");
    let (port, _, heard) = hook(ours.server("localhost", true)).await;
    let (url, told) = (format!("https://localhost:{port}/x"), || vec![alert("A", false)]);
    let (ca, cert, key) = (ours.path("ca.pem"), ours.path("client.pem"), ours.path("client.key"));
    let files = |ca: &PathBuf| {
        format!(
            "tls_config: {{ca_file: '{}', cert_file: '{}', key_file: '{}'}}",
            ca.display(),
            cert.display(),
            key.display()
        )
    };
    let receiver = webhook(&url, &format!("{}, http_headers: {{X-Own: {{secrets: [own]}}}}", files(&ca)));
    assert_eq!(deliver(&receiver, LOCAL, told()).await, Outcome::Sent);
    assert_eq!(heard.lock().unwrap().pop().unwrap(), format!("localhost:{port} own"));

    // Not by just anyone's authority, and not without a certificate of ours.
    let wrong = deliver(&webhook(&url, &files(&other.path("ca.pem"))), LOCAL, told()).await;
    is_failure(&wrong, "certificate");
    let nobody = webhook(&url, &format!("tls_config: {{ca_file: '{}'}}", ca.display()));
    assert_ne!(deliver(&nobody, LOCAL, told()).await, Outcome::Sent);

    // Files are read again for each request: one that is exchanged counts at once.
    other.write("client");
    let mine = [std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap()];
    std::fs::copy(other.path("client.pem"), &cert).unwrap();
    let mismatch = deliver(&receiver, LOCAL, told()).await;
    is_failure(&mismatch, "do not make a client certificate");
    std::fs::copy(other.path("client.key"), &key).unwrap();
    assert_ne!(deliver(&receiver, LOCAL, told()).await, Outcome::Sent, "a certificate of others");
    std::fs::write(&cert, &mine[0]).unwrap();
    std::fs::write(&key, "-----BEGIN HUSH-----").unwrap();
    let broken = deliver(&receiver, LOCAL, told()).await;
    is_failure(&broken, "has no private key in PEM");
    assert!(!format!("{broken:?}").contains("HUSH"), "{broken:?}");
    std::fs::write(&key, &mine[1]).unwrap();
    assert_eq!(deliver(&receiver, LOCAL, told()).await, Outcome::Sent);
}

#[tokio::test]
async fn the_server_may_have_another_name_than_the_url() {
    let authority = Authority::new();
    let (port, names, heard) = hook(authority.server("alerts.example", false)).await;
    let ca = authority.path("ca.pem").display().to_string();
    let tls = |rest: &str| format!("tls_config: {{ca_file: '{ca}'{rest}}}");
    let (url, told) = (format!("https://localhost:{port}/x"), || vec![alert("A", false)]);
    is_failure(&deliver(&webhook(&url, &tls("")), LOCAL, told()).await, "certificate");
    let named = webhook(&url, &tls(", server_name: alerts.example, min_version: TLS13"));
    assert_eq!(deliver(&named, LOCAL, told()).await, Outcome::Sent);
    assert_eq!(names.lock().unwrap().pop().unwrap().as_deref(), Some("alerts.example"));
    assert_eq!(heard.lock().unwrap().pop().unwrap().trim(), format!("localhost:{port}"));
    let by_address = webhook(&format!("https://127.0.0.1:{port}/x"), &tls(", server_name: alerts.example"));
    assert_eq!(deliver(&by_address, LOCAL, told()).await, Outcome::Sent);
    // The name leads nowhere that the URL would not.
    is_failure(&deliver(&named, "", told()).await, "loopback");
    is_failure(&deliver(&by_address, "", told()).await, "loopback");
    let unchecked = webhook(&url, "tls_config: {insecure_skip_verify: true}");
    assert_eq!(deliver(&unchecked, LOCAL, told()).await, Outcome::Sent);
}

/// An issuer of tokens `t1`, `t2`, … and a receiver that takes the newest but refuses those of `revoked`.
#[derive(Clone, Default)]
struct Issuer {
    asked: Arc<Mutex<Vec<(String, String)>>>,
    seen: Arc<Mutex<Vec<String>>>,
    revoked: Arc<Mutex<Vec<String>>>,
    /// Whether credentials are taken in the body only.
    wants_body: Arc<Mutex<bool>>,
    status: Arc<Mutex<u16>>,
}

impl Issuer {
    fn router(&self) -> Router {
        let (issuer, receiver) = (self.clone(), self.clone());
        let token = move |headers: HeaderMap, body: String| async move { issuer.token(&headers, body) };
        let hook = move |headers: HeaderMap| async move { receiver.hook(&headers) };
        Router::new().route("/token", post(token)).route("/hook", post(hook))
    }

    fn token(&self, headers: &HeaderMap, body: String) -> axum::response::Response {
        let credentials = headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
        if *self.wants_body.lock().unwrap() && !credentials.is_empty() {
            return (StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client","hint":"s3cret"}"#).into_response();
        }
        let status = *self.status.lock().unwrap();
        if status != 0 {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, r#"{"error":"unauthorized_client","error_description":"not s3cret"}"#).into_response();
        }
        let mut asked = self.asked.lock().unwrap();
        asked.push((credentials, body));
        let answer = json!({"access_token": format!("t{}", asked.len()), "token_type": "bearer", "expires_in": "3600"});
        answer.to_string().into_response()
    }

    fn hook(&self, headers: &HeaderMap) -> StatusCode {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        let is_revoked = self.revoked.lock().unwrap().contains(&token);
        self.seen.lock().unwrap().push(token);
        if is_revoked { StatusCode::UNAUTHORIZED } else { StatusCode::OK }
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

struct Oauth {
    issuer: Issuer,
    authority: Authority,
    senders: Senders,
    job: SendJob,
}

impl Oauth {
    async fn start() -> Self {
        let (issuer, authority) = (Issuer::default(), Authority::new());
        let (port, _) = serve(issuer.router(), authority.server("localhost", false)).await;
        std::fs::write(authority.path("secret"), "s3cret+/\n").unwrap();
        let receiver = format!(
            "webhook_configs: [{{url: 'https://localhost:{port}/hook', http_config: {{tls_config: {{ca_file: ca.pem}}, \
             oauth2: {{client_id: 'our id', client_secret_file: secret, scopes: [a, b], endpoint_params: {{audience: x&y}}, \
             token_url: 'https://localhost:{port}/token', tls_config: {{ca_file: ca.pem}}}}}}}}]"
        );
        let (senders, job) = prepared(&receiver, authority.folder.path(), LOCAL, vec![alert("A", false)]);
        Self { issuer, authority, senders, job }
    }

    async fn deliver(&self) -> Outcome {
        self.senders.deliver(&self.job, Duration::from_secs(10)).await
    }
}

#[tokio::test]
async fn a_token_is_kept_until_it_expires_or_is_refused() {
    let oauth = Oauth::start().await;
    for _ in 0..3 {
        assert_eq!(oauth.deliver().await, Outcome::Sent);
    }
    assert_eq!(oauth.issuer.seen(), ["Bearer t1", "Bearer t1", "Bearer t1"]);
    let (credentials, body) = oauth.issuer.asked.lock().unwrap()[0].clone();
    // "our id" and "s3cret+/" are encoded before they are put together.
    assert_eq!(credentials, "Basic b3VyK2lkOnMzY3JldCUyQiUyRg==");
    assert_eq!(body, "grant_type=client_credentials&scope=a+b&audience=x%26y");

    oauth.issuer.revoked.lock().unwrap().push("Bearer t1".into());
    assert_eq!(oauth.deliver().await, Outcome::Sent);
    assert_eq!(oauth.issuer.seen(), ["Bearer t1", "Bearer t2"]);

    // Ten seconds before its end it is not shown any more.
    for (seconds, token) in [(3580, "Bearer t2"), (15, "Bearer t3")] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        assert_eq!(oauth.deliver().await, Outcome::Sent);
        assert_eq!(oauth.issuer.seen(), [token]);
    }

    // Who is refused with a new token too is not served: one more attempt, not a loop.
    let all = (3..9).map(|number| format!("Bearer t{number}"));
    oauth.issuer.revoked.lock().unwrap().extend(all);
    is_failure(&oauth.deliver().await, "unexpected status code 401");
    assert_eq!(oauth.issuer.seen(), ["Bearer t3", "Bearer t4"]);
}

#[tokio::test]
async fn an_issuer_that_refuses_is_told_of_without_secrets() {
    let oauth = Oauth::start().await;
    *oauth.issuer.status.lock().unwrap() = 403;
    let outcome = oauth.deliver().await;
    assert_eq!(
        outcome,
        Outcome::Permanent("oauth2: the token endpoint answers with status 403 (unauthorized_client)".into())
    );
    *oauth.issuer.status.lock().unwrap() = 503;
    assert!(matches!(oauth.deliver().await, Outcome::Transient { .. }));
    *oauth.issuer.status.lock().unwrap() = 0;
    *oauth.issuer.wants_body.lock().unwrap() = true;
    assert_eq!(oauth.deliver().await, Outcome::Sent);
    let (credentials, body) = oauth.issuer.asked.lock().unwrap()[0].clone();
    assert_eq!(credentials, "");
    assert!(body.ends_with("&client_id=our+id&client_secret=s3cret%2B%2F"), "{body}");
    std::fs::remove_file(oauth.authority.path("secret")).unwrap();
    assert_eq!(oauth.deliver().await, Outcome::Sent, "the token is still good");
    oauth.issuer.revoked.lock().unwrap().push("Bearer t1".into());
    is_failure(&oauth.deliver().await, "oauth2: cannot read");
    let shown = format!("{:?}{:?}", oauth.senders, oauth.job);
    for secret in ["s3cret", "Bearer t1", "x&y"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[tokio::test]
async fn the_issuer_must_be_one_that_may_be_asked() {
    let oauth = Oauth::start().await;
    let receiver = "webhook_configs: [{url: 'http://127.0.0.2:1/', http_config: {oauth2: {client_id: a, token_url: 'http://127.0.0.1:1/t'}}}]";
    let (senders, job) = prepared(receiver, oauth.authority.folder.path(), "127.0.0.2/32", vec![alert("A", false)]);
    let outcome = senders.deliver(&job, Duration::from_secs(10)).await;
    assert!(
        matches!(&outcome, Outcome::Permanent(problem) if problem.contains("127.0.0.1 is loopback")),
        "{outcome:?}"
    );
}

/// A mail server that upgrades to TLS when asked, or speaks nothing else.
async fn smtp_over_tls(listener: TcpListener, config: Arc<ServerConfig>, is_implicit: bool) -> Vec<String> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = Vec::new();
    if !is_implicit {
        stream.write_all(b"220 here\r\n").await.unwrap();
        let mut lines = BufReader::new(&mut stream);
        for answer in [&b"250-here\r\n250 STARTTLS\r\n"[..], b"220 go on\r\n"] {
            let mut line = String::new();
            lines.read_line(&mut line).await.unwrap();
            heard.push(line.trim().to_owned());
            lines.get_mut().write_all(answer).await.unwrap();
        }
    }
    let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return heard };
    let (read, write) = tokio::io::split(stream);
    heard.push("(TLS)".to_owned());
    heard.extend(mail_session(read, write, is_implicit).await);
    heard
}

#[tokio::test]
async fn mail_goes_over_tls_with_an_authority_and_a_certificate_of_its_own() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.write("client");
    for (is_implicit, ca, is_sent) in [
        (true, authority.path("ca.pem"), true),
        (false, authority.path("ca.pem"), true),
        (true, other.path("ca.pem"), false),
        (false, other.path("ca.pem"), false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(smtp_over_tls(listener, authority.server("mail.example", true), is_implicit));
        let receiver = format!(
            "email_configs: [{{to: a@x.org, from: t@x.org, smarthost: '127.0.0.1:{port}', auth_username: me, auth_password: pw, \
             force_implicit_tls: {is_implicit}, tls_config: {{server_name: mail.example, ca_file: '{}', cert_file: '{}', key_file: '{}'}}}}]",
            ca.display(),
            authority.path("client.pem").display(),
            authority.path("client.key").display(),
        );
        let outcome = deliver(&receiver, LOCAL, vec![alert("A", false)]).await;
        assert_eq!(outcome == Outcome::Sent, is_sent, "{is_implicit}: {outcome:?}");
        let heard = server.await.unwrap();
        let tls = heard.iter().position(|line| line == "(TLS)");
        let auth = heard.iter().position(|line| line.starts_with("AUTH PLAIN"));
        assert_eq!((tls.is_some(), auth.is_some(), auth > tls), (is_sent, is_sent, is_sent), "{heard:?}");
    }
}

#[tokio::test]
async fn external_alertmanagers_are_asked_as_the_file_says() {
    let (issuer, authority) = (Issuer::default(), Authority::new());
    let bodies = Arc::<Mutex<Vec<(String, Value)>>>::default();
    let kept = Arc::clone(&bodies);
    let alerts = move |headers: HeaderMap, body: String| async move {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        kept.lock().unwrap().push((token, serde_json::from_str(&body).unwrap()));
    };
    let router = issuer.router().route("/am/api/v2/alerts", post(alerts));
    let (port, _) = serve(router, authority.server("localhost", true)).await;
    authority.write("client");
    let tls = "{ca_file: ca.pem, cert_file: client.pem, key_file: client.key}";
    let text = format!(
        "alerting: {{alertmanagers: [{{scheme: https, path_prefix: am, static_configs: [{{targets: ['localhost:{port}']}}], \
         tls_config: {tls}, alert_relabel_configs: [{{action: drop, source_labels: [alertname], regex: B}}, {{target_label: to, replacement: am}}], \
         oauth2: {{client_id: c, token_url: 'https://localhost:{port}/token', tls_config: {tls}}}}}]}}"
    );
    let file = AlertingFile::parse(&text, authority.folder.path()).unwrap();
    let policy = OutgoingPolicy { allow: vec![LOCAL.parse().unwrap()] };
    let sender = ExternalSender::new(&[], &file, policy).unwrap();
    let alert =
        |name: &str| AlertInput { labels: [("alertname", name)].into_iter().collect(), ..AlertInput::default() };
    sender.send(&[alert("A"), alert("B")]);
    let is_over = async {
        while sender.metrics().iter().all(|sample| sample.value == 0.0 || sample.name.ends_with("queue_length")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = sender.run() => {}
        () = is_over => {}
    }
    let bodies = bodies.lock().unwrap();
    assert_eq!(bodies[0].0, "Bearer t1");
    assert_eq!(bodies[0].1.as_array().unwrap().len(), 1);
    assert_eq!(bodies[0].1[0]["labels"], json!({"alertname": "A", "to": "am"}));
}
