//! The server over TLS and mutual TLS, as real clients meet it; where it refuses to listen; headers of its answers.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{BINARY, PATIENCE, Server, output_of, python};

/// A CA with the files of a server and of a client.
struct Certificates {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&key).expect("a certificate");
        let folder = tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).expect("it is written");
        let certificates = Self { folder, issuer: Issuer::new(params, key) };
        certificates.issue("server", "first");
        certificates.issue("client", "collector");
        certificates
    }

    /// Writes a new certificate for this machine.
    fn issue(&self, file: &str, name: &str) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("it is written");
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).expect("it is written");
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).to_str().expect("UTF-8").to_owned()
    }

    fn server_flags(&self) -> Vec<String> {
        vec!["--tls-cert-file".into(), self.text("server.pem"), "--tls-key-file".into(), self.text("server.key")]
    }

    /// A client that trusts the CA, with a certificate or without.
    fn client(&self, has_certificate: bool) -> reqwest::Client {
        let ca = std::fs::read(self.path("ca.pem")).expect("it is there");
        let mut builder = reqwest::Client::builder()
            .tls_built_in_root_certs(false)
            .add_root_certificate(reqwest::Certificate::from_pem(&ca).expect("a CA"));
        if has_certificate {
            let identity =
                [self.path("client.pem"), self.path("client.key")].map(|path| std::fs::read(path).expect("PEM"));
            builder = builder.identity(reqwest::Identity::from_pem(&identity.concat()).expect("an identity"));
        }
        builder.build().expect("a client")
    }
}

/// A server that speaks TLS; killed when dropped.
struct TlsServer {
    child: Child,
    bound: Value,
}

impl TlsServer {
    fn start(folder: &Path, flags: &[String]) -> Self {
        let mut child = serve(folder, flags).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("the addresses");
        let bound = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"));
        Self { child, bound }
    }

    fn url(&self, listener: &str) -> String {
        format!("https://{}", self.address(listener))
    }

    fn address(&self, listener: &str) -> &str {
        self.bound[listener].as_str().expect("an address")
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn serve(folder: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--log-level", "warn", "--retention", "none", "--data-dir"]).arg(folder);
    command.args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(flags);
    command
}

async fn number(client: &reqwest::Client, server: &TlsServer, sql: &str) -> u64 {
    let request = client.post(format!("{}/api/v1/sql", server.url("http"))).json(&json!({ "sql": sql }));
    let body: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let value = &body["rows"][0][0];
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{sql}: {body}"))
}

const LOG: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000000",
    "body":{"stringValue":"over TLS"}}]}]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_speaks_tls_and_takes_a_new_certificate() {
    let (folder, certificates) = (tempdir().expect("a folder"), Certificates::new());
    let server = TlsServer::start(&folder.path().join("data"), &certificates.server_flags());
    let client = certificates.client(false);
    assert_eq!(server.bound["ui"], format!("{}/", server.url("http")));
    let info = client.get(format!("{}/prometheus/api/v1/status/runtimeinfo", server.url("http"))).send().await;
    let info: Value = info.expect("an answer").json().await.expect("JSON");
    let told = &info["data"]["otlp"]["http"];
    assert_eq!((&told["address"], &told["scheme"]), (&server.bound["otlp_http"], &json!("https")), "{info}");
    assert_eq!((&told["token"], &told["client_certificate"]), (&json!(false), &json!(false)), "{info}");
    let export = client.post(format!("{}/v1/logs", server.url("otlp_http")));
    let sent = export.header("content-type", "application/json").body(LOG).send().await.expect("an answer");
    assert_eq!(sent.status(), 200);
    assert!(!sent.headers().contains_key("strict-transport-security"), "an address is not told");
    let ca = reqwest::Certificate::from_pem(&std::fs::read(certificates.path("ca.pem")).expect("it is there"));
    let http1 = reqwest::Client::builder().add_root_certificate(ca.expect("a CA")).http1_only().build();
    let named = http1.expect("a client").get(server.url("http")).header("host", "trivium.example");
    let named = named.send().await.expect("an answer");
    assert_eq!(named.headers()["strict-transport-security"], "max-age=31536000");
    assert_eq!(number(&client, &server, "SELECT count(*) FROM logs WHERE body = 'over TLS'").await, 1);
    let strange = reqwest::Client::builder().tls_built_in_root_certs(false).build().expect("a client");
    assert!(strange.get(format!("{}/healthz", server.url("http"))).send().await.is_err(), "no CA, no trust");
    for listener in ["otlp_grpc", "otlp_http", "http"] {
        let plain = reqwest::get(format!("http://{}/healthz", server.address(listener))).await.expect("an answer");
        assert_eq!(plain.status(), 400, "{listener}");
        assert!(plain.text().await.expect("text").contains("https://"), "{listener}");
    }
    certificates.issue("server", "second");
    let reload = client.post(format!("{}/-/reload", server.url("http"))).send().await.expect("an answer");
    assert_eq!(reload.status(), 200);
    for listener in ["otlp_grpc", "otlp_http", "http"] {
        assert!(subject(&certificates, server.address(listener), &[]).contains("second"), "{listener}");
    }
    std::fs::write(certificates.path("server.pem"), "no certificate").expect("it is written");
    let reload = client.post(format!("{}/-/reload", server.url("http"))).send().await.expect("an answer");
    assert_eq!(reload.status(), 400);
    assert!(reload.text().await.expect("text").contains("has no certificate in PEM"));
    assert!(subject(&certificates, server.address("http"), &[]).contains("second"));
}

/// Scenario: the certificate is a new one when a reload is refused for the rules; then the rules are right.
/// Guarantee: a refused reload leaves the certificate as it was too, the next one takes both.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_reload_exchanges_no_certificate() {
    let (folder, certificates) = (tempdir().expect("a folder"), Certificates::new());
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, "groups: []\n").expect("it is written");
    let mut flags = certificates.server_flags();
    flags.extend(["--rules".into(), rules.to_str().expect("UTF-8").to_owned()]);
    let server = TlsServer::start(&folder.path().join("data"), &flags);
    let client = certificates.client(false);
    let reload = async || {
        let answer = client.post(format!("{}/-/reload", server.url("http"))).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    certificates.issue("server", "second");
    std::fs::write(&rules, "groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]\n").expect("it is written");
    let (status, said) = reload().await;
    assert!(status == 400 && said.contains("rules.yml"), "{said}");
    let met = subject(&certificates, server.address("http"), &[]);
    // Every ten seconds the server looks at these files by itself, which it counts.
    let metrics = client.get(format!("{}/metrics", server.url("http"))).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    let is_taken_by_itself = metrics.contains("trivium_tls_reloads_total{result=\"ok\"} 1");
    assert!(met.contains("first") || is_taken_by_itself, "{met}");
    std::fs::write(&rules, "groups: []\n").expect("it is written");
    let (status, said) = reload().await;
    assert_eq!(status, 200, "{said}");
    assert!(subject(&certificates, server.address("http"), &[]).contains("second"));
}

/// Whom openssl meets at an address.
fn subject(certificates: &Certificates, address: &str, flags: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-CAfile", &certificates.text("ca.pem"), "-verify_return_error"]);
    let output = command.args(flags).stdin(Stdio::null()).output().expect("openssl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_check_of_rules_believes_the_ca_that_it_is_given() {
    let (folder, certificates) = (tempdir().expect("a folder"), Certificates::new());
    let server = TlsServer::start(&folder.path().join("data"), &certificates.server_flags());
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, "groups: [{name: g, rules: [{alert: A, expr: up == 0}]}]\n").expect("it is written");
    let check = || {
        let mut command = Command::new(BINARY);
        command.args(["rules", "check", "--url", &server.url("http")]).arg(&rules);
        command
    };
    let said = output_of(check().arg("--ca-file").arg(certificates.path("ca.pem")));
    assert!(said.contains("matches no series now"), "{said}");
    let refused = check().output().expect("the command runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("name it with --ca-file"), "{said}");
}

#[test]
fn old_versions_of_tls_are_not_spoken() {
    let (folder, certificates) = (tempdir().expect("a folder"), Certificates::new());
    let server = TlsServer::start(&folder.path().join("data"), &certificates.server_flags());
    for (flag, is_spoken) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        // At its default level, openssl itself refuses to try what is old.
        let said = subject(&certificates, server.address("http"), &[flag, "-cipher", "ALL:@SECLEVEL=0"]);
        assert_eq!(said.contains("Verify return code: 0 (ok)") && said.contains("first"), is_spoken, "{flag}\n{said}");
    }
    let said = subject(&certificates, server.address("otlp_grpc"), &["-alpn", "h2,http/1.1"]);
    assert!(said.contains("ALPN protocol: h2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_lets_in_who_has_a_certificate_where_it_is_required() {
    let (folder, certificates) = (tempdir().expect("a folder"), Certificates::new());
    let mut flags = certificates.server_flags();
    flags.extend(["--tls-client-ca-file".into(), certificates.text("ca.pem")]);
    flags.extend(["--tls-client-ca-listeners".into(), "otlp_grpc,otlp_http".into()]);
    let server = TlsServer::start(&folder.path().join("data"), &flags);
    let (stranger, known) = (certificates.client(false), certificates.client(true));
    let export = |client: &reqwest::Client| {
        let request = client.post(format!("{}/v1/logs", server.url("otlp_http")));
        request.header("content-type", "application/json").body(LOG).send()
    };
    assert!(export(&stranger).await.is_err());
    assert_eq!(export(&known).await.expect("an answer").status(), 200);
    assert_eq!(number(&stranger, &server, "SELECT count(*) FROM logs").await, 1, "the API asks for no certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_exports_over_mutual_tls() {
    if python().is_none() {
        return;
    }
    let (folder, certificates) = (tempdir().expect("a folder"), Certificates::new());
    let mut flags = certificates.server_flags();
    flags.extend(["--tls-client-ca-file".into(), certificates.text("ca.pem")]);
    let server = TlsServer::start(&folder.path().join("data"), &flags);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/export.py");
    let client = certificates.client(true);
    for (protocol, listener) in [("grpc", "otlp_grpc"), ("http", "otlp_http")] {
        let endpoint = server.url(listener).replace("127.0.0.1", "localhost");
        let marker = format!("python-{protocol}-tls");
        let mut command = python().expect("checked above");
        command.arg(&script).args([protocol, &endpoint, &marker]);
        // They would win over what the SDK is told.
        command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
        for (variable, file) in
            [("CERTIFICATE", "ca.pem"), ("CLIENT_CERTIFICATE", "client.pem"), ("CLIENT_KEY", "client.key")]
        {
            command.env(format!("OTEL_EXPORTER_OTLP_{variable}"), certificates.path(file));
        }
        let trace_id = output_of(&mut command);
        let sql = format!("SELECT count(*) FROM spans WHERE trace_id = '{}'", trace_id.trim());
        assert_eq!(number(&client, &server, &sql).await, 1, "{protocol}");
    }
}

/// What a server that refuses to start says.
fn refusal(flags: &[&str]) -> String {
    let folder = tempdir().expect("a folder");
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    // A later flag wins over an earlier one only in the environment: the addresses are given anew here.
    let mut command = Command::new(BINARY);
    command.args(["serve", "--data-dir"]).arg(folder.path().join("data")).args(&flags).env_remove("RUST_BACKTRACE");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the process is ours") {
            break status;
        }
        if Instant::now() > until {
            drop(child.kill());
            panic!("{flags:?} did not end");
        }
        std::thread::yield_now();
    };
    let mut said = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
    assert!(!status.success(), "{flags:?}: {said}");
    assert!(!folder.path().join("data").exists(), "nothing was touched");
    said
}

#[test]
fn it_refuses_to_listen_where_others_reach_it_without_tls_and_authentication() {
    let certificates = Certificates::new();
    let (cert, key) = (certificates.text("server.pem"), certificates.text("server.key"));
    let local = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"];
    let said = refusal(&[&local[..], &["--http", "0.0.0.0:0"]].concat());
    for part in ["http = 0.0.0.0:0 is not a loopback", "--insecure-no-tls", "--insecure-no-auth", "--http 127.0.0.1:0"]
    {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("otlp_grpc"), "{said}");
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key];
    let said = refusal(&[&local[..], &["--http", "[::]:0"], &tls].concat());
    assert!(said.contains("no authentication") && !said.contains("no TLS"), "{said}");
    let said =
        refusal(&[&local[..], &["--http", "127.0.0.1:0", "--tls-cert-file", &cert, "--tls-key-file", &cert]].concat());
    assert!(said.contains("server.pem has no private key in PEM"), "{said}");
    let said = refusal(&[&tls[..], &["--demo"]].concat());
    assert!(said.contains("trivium demo --endpoint https://"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_explicitly_is_told_in_the_metrics() {
    let folder = tempdir().expect("a folder");
    let mut command = Command::new(BINARY);
    command.args(["serve", "--log-level", "error", "--insecure-no-tls", "--insecure-no-auth", "--data-dir"]);
    command.arg(folder.path()).args([
        "--otlp-grpc",
        "127.0.0.1:0",
        "--otlp-http",
        "127.0.0.1:0",
        "--http",
        "0.0.0.0:0",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("the addresses");
    let server = TlsServer { child, bound: serde_json::from_str(&line).expect("JSON") };
    let url = format!("http://{}/metrics", server.address("http").replace("0.0.0.0", "127.0.0.1"));
    let metrics = reqwest::get(url).await.expect("an answer").text().await.expect("text");
    for lacks in ["tls", "auth"] {
        assert!(
            metrics.contains(&format!("trivium_listener_exposed{{listener=\"http\",lacks=\"{lacks}\"}} 1")),
            "{metrics}"
        );
    }
    assert!(!metrics.contains("trivium_listener_exposed{listener=\"otlp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_keep_browsers_in_check() {
    let folder = tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    let requests = [
        (&get, &server.http, "/", ""),
        (&get, &server.http, "/logs", ""),
        (&get, &server.http, "/assets/nothing.js", ""),
        (&get, &server.http, "/nowhere", ""),
        (&get, &server.http, "/%00/../..%2f", ""),
        (&get, &server.http, "/healthz", ""),
        (&get, &server.http, "/readyz", ""),
        (&get, &server.http, "/metrics", ""),
        (&post, &server.http, "/-/flush", ""),
        (&get, &server.http, "/-/flush", ""),
        (&get, &server.http, "/api/v1/logs?query=%22", ""),
        (&get, &server.http, "/api/v1/traces/x", ""),
        (&get, &server.http, "/api/v1/alerts", ""),
        (&get, &server.http, "/api/v1/correlate/%3Cscript%3Ealert(1)%3C%2Fscript%3E", ""),
        (&post, &server.http, "/api/v1/sql", r#"{"sql":"SELECT 1"}"#),
        (&post, &server.http, "/api/v1/sql", r#"{"sql":"SELECT nothing FROM nowhere"}"#),
        (&post, &server.http, "/api/v1/sql", "{"),
        (&get, &server.http, "/prometheus/api/v1/query?query=1", ""),
        (&get, &server.http, "/prometheus/api/v1/query?query=(", ""),
        (&post, &server.http, "/prometheus/api/v1/write", "x"),
        (&post, &server.otlp_http, "/v1/logs", "{}"),
        (&post, &server.otlp_http, "/v1/logs", "{"),
        (&get, &server.otlp_http, "/v1/logs", ""),
        (&get, &server.otlp_http, "/nowhere", ""),
    ];
    for (method, listener, path, body) in requests {
        let request = server.client().request(method.clone(), format!("{listener}{path}")).body(body);
        let answer = request.header("content-type", "application/json").send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.expect("text");
        let header = |name: &str| {
            assert!(headers.get_all(name).iter().count() <= 1, "{method} {path}: two of {name}");
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let what = format!("{method} {path}: {status}");
        assert_ne!(status.as_u16(), 500, "{what}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{what}");
        assert_eq!(header("strict-transport-security"), "", "{what}: never over plain HTTP");
        let policy = header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{what}: {policy}");
        let expected =
            if header("content-type").starts_with("text/html") { "default-src 'self'" } else { "default-src 'none'" };
        let is_page = matches!(path, "/" | "/logs");
        assert!(policy.starts_with(expected), "{what}: {policy}");
        assert!(!header("cache-control").is_empty() && headers.get("server").is_none(), "{what}");
        for trace in ["panicked at", "stack backtrace", ".rs:", "/.cargo/", "RUST_BACKTRACE"] {
            assert!(!text.contains(trace), "{what} tells {trace:?}: {text}");
        }
        assert_eq!(header("content-type").starts_with("text/html"), is_page, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_keep_the_api_from_answering() {
    let folder = tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let address = server.http.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    // More than there may be with 20 000 descriptors, and fewer than this process may open itself.
    for _ in 0..4_500 {
        let Ok(stream) = tokio::net::TcpStream::connect(&address).await else { break };
        idle.push(stream);
    }
    let answering = server.client().get(format!("{}/healthz", server.http)).send();
    let answer = tokio::time::timeout(Duration::from_secs(10), answering).await.expect("in time").expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[test]
fn what_deploy_configures_is_understood() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let text = std::fs::read_to_string(deploy.join("kubernetes/configuration.yaml")).expect("it is there");
    let (_, toml) = text.split_once("trivium.toml: |\n").expect("a file in it");
    let folder = tempdir().expect("a folder");
    let file = folder.path().join("trivium.toml");
    std::fs::write(&file, toml).expect("it is written");
    let printed = output_of(Command::new(BINARY).args(["config", "--config"]).arg(&file));
    assert!(printed.contains("tls_client_ca_listeners = [\"otlp_grpc\", \"otlp_http\"]"), "{printed}");
    let help = output_of(Command::new(BINARY).args(["serve", "--help"]));
    for file in ["systemd/trivium.service", "container/Containerfile", "kubernetes/statefulset.yaml"] {
        let text = std::fs::read_to_string(deploy.join(file)).expect("it is there");
        let commands = text.lines().filter(|line| line.contains("serve") && !line.starts_with('#'));
        let flags = commands.flat_map(|line| line.split([' ', ',', '"', '['])).filter(|word| word.starts_with("--"));
        let flags: Vec<&str> = flags.collect();
        assert!(flags.len() >= 2 && flags.iter().all(|flag| help.contains(flag)), "{file}: {flags:?}");
    }
}
