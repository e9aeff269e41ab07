//! A corpus of planted secrets: none of them is in the WAL, in a part, in an index or in the catalog.

mod corpus;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::registry::Registry;
use prost::Message;
use trivium_ingest::decode::ReplayDecoder;
use trivium_ingest::{
    Coding, ExportRequest, Ingest, IngestConfig, IngestDeps, Outcome, PayloadFormat, Redaction, Sink,
};
use trivium_model::{ManualClock, SignalKind, TenantId, UnixNanos, WireFormat};
use trivium_redact::Rules;
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::RealFileSystem;
use trivium_storage::tokens::filter_for_phrase;
use trivium_storage::{Storage, StorageConfig, StorageDeps};

use crate::corpus::{NOW, RULES, SECRETS};

struct Server {
    storage: Storage,
    ingest: Ingest,
    redaction: Option<Arc<Redaction>>,
    registry: Registry,
}

fn rules(text: &str, folder: &Path) -> Rules {
    std::fs::write(folder.join("redaction.key"), "0123456789abcdef0123456789abcdef\n").expect("written");
    Rules::parse(text, folder).expect("valid rules")
}

impl Server {
    async fn start(folder: &Path, rules: Option<Rules>) -> Self {
        let clock = Arc::new(ManualClock::new(UnixNanos(NOW)));
        let deps = StorageDeps {
            fs: Arc::new(RealFileSystem::new()),
            clock: Arc::clone(&clock) as Arc<_>,
            catalog: Arc::new(SqliteCatalog::open(folder).await.expect("a catalog")),
            decoder: Arc::new(ReplayDecoder),
            seed: 1,
        };
        let storage = Storage::open(folder, StorageConfig::default(), deps).await.expect("it opens").0;
        let mut registry = Registry::default();
        let redaction = rules.map(|rules| Arc::new(Redaction::new(rules, &mut registry).expect("randomness")));
        let sink = Arc::new(storage.clone()) as Arc<dyn Sink>;
        let deps = IngestDeps { sink, clock, registry: &mut registry };
        let ingest = trivium_ingest::build_with(IngestConfig::default(), deps, redaction.clone());
        Self { storage, ingest, redaction, registry }
    }

    async fn export(
        &self,
        signal: SignalKind,
        wire_format: WireFormat,
        format: PayloadFormat,
        body: Vec<u8>,
    ) -> Outcome {
        let (tenant, coding, body) = (TenantId::DEFAULT, Coding::Identity, Bytes::from(body));
        let request = ExportRequest { tenant, signal, wire_format, format, coding, body };
        self.ingest.pipeline().export(request).await.expect("taken")
    }

    async fn export_logs(&self, note: &str) -> Outcome {
        self.export(
            SignalKind::Logs,
            WireFormat::Otlp,
            PayloadFormat::Protobuf,
            corpus::log_request(note).encode_to_vec(),
        )
        .await
    }

    /// Sends the corpus through every encoding.
    async fn export_corpus(&self) {
        for (signal, wire_format, format, body) in corpus::requests() {
            let outcome = self.export(signal, wire_format, format, body).await;
            assert!(outcome.accepted > 0 && outcome.rejected.is_empty(), "{signal} {wire_format:?}: {outcome:?}");
        }
        let (format, body) = (PayloadFormat::Protobuf, corpus::write_descriptions());
        let outcome = self.export(SignalKind::Metrics, WireFormat::RemoteWrite1, format, body).await;
        assert_eq!((outcome.accepted, outcome.rejected.len()), (0, 0));
    }

    fn rows(&self, signal: SignalKind) -> usize {
        let snapshot = self.storage.snapshot(TenantId::DEFAULT, signal);
        let parts = snapshot.parts.iter().flat_map(|part| part.read(None, None).expect("readable"));
        parts.chain(snapshot.buffered).map(|batch| batch.num_rows()).sum()
    }

    /// Everything that a query can see, as text.
    fn visible(&self) -> String {
        let mut text = self.descriptions();
        for signal in SignalKind::ALL {
            let snapshot = self.storage.snapshot(TenantId::DEFAULT, signal);
            let parts = snapshot.parts.iter().flat_map(|part| part.read(None, None).expect("readable"));
            for batch in parts.chain(snapshot.buffered) {
                text.push_str(&format!("{batch:?}"));
            }
        }
        text
    }

    /// What remote write 1.0 said of metrics, which is kept in memory.
    fn descriptions(&self) -> String {
        format!("{:?}", self.storage.metric_descriptions(TenantId::DEFAULT))
    }

    /// The secrets whose words an index of a part knows.
    fn indexed(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        for signal in SignalKind::ALL {
            for part in &self.storage.snapshot(TenantId::DEFAULT, signal).parts {
                let knows =
                    |secret: &str| !part.candidate_rows(&filter_for_phrase(secret)).expect("an index").is_empty();
                found.extend(SECRETS.iter().filter(|secret| knows(secret)));
            }
        }
        found
    }

    fn metric(&self, line: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).expect("a file")));
        }
    }
}

/// Each secret that is somewhere in the files of a folder, with the file.
fn planted(folder: &Path) -> Vec<(&'static str, String)> {
    let mut contents = Vec::new();
    files(folder, &mut contents);
    let mut found = Vec::new();
    for (name, bytes) in &contents {
        for secret in SECRETS {
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push((secret, name.clone()));
            }
        }
    }
    found
}

/// Without rules every secret is found by the same search, so that it would be found with them.
#[tokio::test(flavor = "multi_thread")]
async fn the_search_finds_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), None).await;
    server.export_corpus().await;
    let found = planted(folder.path());
    let visible = server.visible();
    for secret in SECRETS {
        assert!(found.iter().any(|(known, _)| *known == secret), "{secret} is not in the WAL");
        assert!(visible.contains(secret), "{secret} is not in the rows");
        // A password in a text that is no `password=` is nobody's to find.
        let is_described = server.descriptions().contains(secret) || secret == SECRETS[0];
        assert!(is_described, "{secret} is not in the help texts");
    }
    server.storage.flush().await.expect("published");
    let indexed = server.indexed();
    assert!(SECRETS.iter().all(|secret| indexed.contains(secret)), "only {indexed:?} are indexed");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_reaches_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = tempfile::tempdir().expect("a folder");
    {
        let server = Server::start(folder.path(), Some(rules(RULES, keys.path()))).await;
        server.export_corpus().await;
        assert_eq!(planted(folder.path()), [], "in the WAL");
        assert!(SECRETS.iter().all(|secret| !server.visible().contains(secret)), "in the rows");
        assert!(server.descriptions().contains("the order was placed"), "what is no secret of a help text is kept");
        for rule in ["credentials", "mail", "card", "jwt", "auth", "aws", "key", "iban", "badge"] {
            let count = server.metric(&format!("trivium_ingest_redacted_total{{signal=\"logs\",rule=\"{rule}\"}}"));
            assert!(count > 0.0, "{rule} is not counted");
        }
    }
    // The rows come from the WAL, then from parts.
    let server = Server::start(folder.path(), None).await;
    assert!(SignalKind::ALL.iter().all(|signal| server.rows(*signal) > 0));
    server.storage.flush().await.expect("published");
    assert_eq!(planted(folder.path()), [], "in a part");
    assert_eq!(server.indexed(), [] as [&str; 0]);
    let visible = server.visible();
    assert!(SECRETS.iter().all(|secret| !visible.contains(secret)), "in the rows");
    assert!(visible.contains("the order was placed"), "what is no secret is kept");
    let hashed = rules(RULES, keys.path()).hash_key().expect("a key").hashed(b"alice.planted@example.com");
    assert!(visible.contains(&hashed), "a hashed value can be found by its hash");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_stored_once_across_restarts_and_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = tempfile::tempdir().expect("a folder");
    {
        let server = Server::start(folder.path(), Some(rules(RULES, keys.path()))).await;
        assert!(!server.export_logs("one").await.duplicate);
        let counted = server.metric("trivium_ingest_redacted_total{signal=\"logs\",rule=\"mail\"}");
        assert!(server.export_logs("one").await.duplicate);
        assert_eq!(server.metric("trivium_ingest_redacted_total{signal=\"logs\",rule=\"mail\"}"), counted);
        let others = RULES.replace("action: drop", "action: replace");
        server.redaction.as_ref().expect("rules").replace(rules(&others, keys.path()));
        assert!(server.export_logs("one").await.duplicate, "other rules make no other request of it");
    }
    let server = Server::start(folder.path(), Some(rules(RULES, keys.path()))).await;
    assert!(server.export_logs("one").await.duplicate, "after a restart");
    assert_eq!(server.rows(SignalKind::Logs), 1);
}

/// Two requests that are the same without their secrets are two all the same.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_differ_in_their_secrets_are_both_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "rules: [{name: mail, pattern: email, action: drop}]";
    let server = Server::start(folder.path(), Some(rules(text, folder.path()))).await;
    for note in ["a@example.com", "b@example.com", "a@example.com"] {
        server.export_logs(note).await;
    }
    assert_eq!(server.rows(SignalKind::Logs), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_secrets_is_stored_byte_by_byte() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let rules = rules("rules: [{name: none, regex: nobody.writes.this, action: drop}]", folders[0].path());
    let server = Server::start(folders[1].path(), Some(rules)).await;
    server.export_logs("plain").await;
    let payload = corpus::log_request("plain").encode_to_vec();
    let mut contents = Vec::new();
    files(folders[1].path(), &mut contents);
    assert!(contents.iter().any(|(_, bytes)| bytes.windows(payload.len()).any(|window| window == payload)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_the_decoders_to_refuse() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), Some(rules(RULES, folder.path()))).await;
    let (tenant, signal) = (TenantId::DEFAULT, SignalKind::Logs);
    let (wire_format, format, coding) = (WireFormat::Otlp, PayloadFormat::Protobuf, Coding::Identity);
    let body = Bytes::from_static(&[0x0a, 5, 1]);
    let request = ExportRequest { tenant, signal, wire_format, format, coding, body };
    let error = server.ingest.pipeline().export(request).await.expect_err("no request").to_string();
    assert!(error.contains("a field that is longer than its message at byte 1"), "{error}");
}
