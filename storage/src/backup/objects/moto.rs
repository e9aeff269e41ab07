//! Against a real server of S3's protocol: moto, of `tests/clients/requirements.txt`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use trivium_model::{Clock, ManualClock, SystemClock};

use crate::backup::{BackupOptions, Location, Progress, RestoreOptions, backup, check, restore};
use crate::testing::{append, bodies, expected, open};
use crate::verify::{Options, verify};

struct Moto {
    child: Child,
    address: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Moto {
    /// `None` when there is no Python with moto.
    fn start() -> Option<Self> {
        let python = std::env::var_os("TRIVIUM_PYTHON").map(PathBuf::from).or_else(|| {
            let path = std::env::home_dir()?.join(".cache/trivium-venv/bin/python");
            path.exists().then_some(path)
        })?;
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let mut lines = BufReader::new(child.stderr.take()?).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| line.split_once("http://").map(|(_, rest)| format!("http://{}", rest.trim())));
        // Its log must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { child, address: address.clone().unwrap_or_default() };
        address.map(|_| server)
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("AWS_ACCESS_KEY_ID", "kennung"),
            ("AWS_SECRET_ACCESS_KEY", "geheim"),
            ("AWS_SESSION_TOKEN", "marke"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", &self.address),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    async fn make_bucket(&self, name: &str) {
        let address: std::net::SocketAddr = self.address.trim_start_matches("http://").parse().expect("an address");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        let request =
            format!("PUT /{name} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn silent() -> Progress {
    Arc::new(|_, _| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_to_s3_and_comes_back() {
    let Some(moto) = Moto::start() else {
        println!("skipped: no Python with moto of tests/clients/requirements.txt; `make test` makes one");
        return;
    };
    moto.make_bucket("bucket").await;
    let environment = moto.environment();
    let place = |address: &str| Location::parse(address, &environment).expect("a place");
    let source = tempfile::tempdir().expect("a folder");
    let storage = open(source.path()).await;
    append(&storage, 0..3, 0).await;
    storage.flush().await.expect("published");
    append(&storage, 3..5, 0).await;
    let data = source.path();
    let back_up = |location: Location| async move {
        let keep = BackupOptions { keep: Some(1), check: true };
        backup(data, &location, keep, Arc::new(SystemClock), silent()).await
    };
    let keyless = BTreeMap::from(
        [
            ("AWS_ENDPOINT_URL", moto.address.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let keyless =
        back_up(Location::parse("s3://bucket/one", &keyless).expect("a place")).await.expect_err("no keys").to_string();
    assert!(keyless.contains("no keys were given"), "{keyless}");
    let missing = back_up(place("s3://nothing/here")).await.expect_err("no bucket").to_string();
    assert!(missing.contains("there is no such bucket") && !missing.contains("geheim"), "{missing}");
    let here = place("s3://bucket/one/two");
    let first = back_up(here.clone()).await.expect("a backup");
    assert_eq!((first.parts, first.copied_parts, first.wal_frames), (1, 1, 2));
    let second = back_up(here.clone()).await.expect("a backup");
    assert_eq!((second.copied_parts, second.removed), (0, vec![first.snapshot]));
    let foreign = back_up(place("s3://bucket")).await.expect_err("foreign").to_string();
    assert!(foreign.contains("it holds one/two"), "{foreign}");
    let checked = check(&here, silent()).await.expect("checked");
    assert_eq!((checked.snapshots.len(), checked.findings), (1, vec![]));
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("data");
    restore(&here, &folder, RestoreOptions::default(), silent()).await.expect("restored");
    assert_eq!(verify(&folder, Options { deep: true, ..Options::default() }).await.expect("checked").findings, []);
    assert_eq!(bodies(&open(&folder).await), expected(0..5));
}

/// In chunks, with conditional writes, removal of many, and a lock that is there already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_objects_locks_and_removal_work_with_the_protocol() {
    let Some(moto) = Moto::start() else {
        println!("skipped: no Python with moto of tests/clients/requirements.txt; `make test` makes one");
        return;
    };
    moto.make_bucket("bucket").await;
    let builder = AmazonS3Builder::new().with_bucket_name("bucket").with_endpoint(&moto.address).with_allow_http(true);
    let store = builder.with_access_key_id("a").with_secret_access_key("b").build().expect("a client");
    let objects = super::Objects::new(Arc::new(store), "p", "s3://bucket/p".into(), super::Retries::USUAL);
    let folder = tempfile::tempdir().expect("a folder");
    let (path, file) = super::tests::long_file(folder.path(), "long", 20 << 20);
    let fs: Arc<dyn crate::fs::FileSystem> = Arc::new(crate::fs::RealFileSystem::new());
    assert_eq!(objects.send(&fs, &path, "parts/long", &file, &|_| ()).await.expect("sent"), None);
    assert_eq!(objects.sum("parts/long", file.bytes, &|_| ()).await.expect("read"), file.crc32c);
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let lease = super::Lease::take(&objects, Arc::<ManualClock>::clone(&clock)).await.expect("free");
    let other = super::Lease::take(&objects, Arc::new(SystemClock)).await.expect_err("taken").to_string();
    assert!(other.contains("another backup"), "{other}");
    clock.advance(std::time::Duration::from_secs(600));
    lease.keep().await.expect("renewed");
    clock.advance(std::time::Duration::from_secs(3600));
    let dead = lease;
    let lease = super::Lease::take(&objects, Arc::<ManualClock>::clone(&clock)).await.expect("taken over");
    assert!(dead.keep().await.expect_err("lost").to_string().contains("took over"));
    lease.release().await.expect("let go");
    super::Lease::take(&objects, Arc::new(SystemClock)).await.expect("free").release().await.expect("let go");
    objects.remove(&["parts/long".into(), "parts/never".into()]).await.expect("removed");
    assert!(objects.list("").await.expect("listed").is_empty());
}
