//! Power cuts: the file of a mounted ext4 holds what reached the disk. Copies of it, taken under load, are mounted elsewhere and
//! a server started on each: whatever had been acknowledged before the copy must be there. Some disks end by a cut of the
//! living file system instead, and every fourth has a journal that may tell of data before they are written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Trouble};
use crate::machine::{JOURNAL_ORDERED, JOURNAL_WRITEBACK, Mount, can_mount, copy_image, has, must};
use crate::payload::Stream;
use crate::random::Random;
use crate::run::{Effort, Outcome, Run};
use crate::scenario::kill::BUSY;
use crate::server::{Launch, Server, signal};
use crate::verify::{Reader, Verdict};

const MIB: u64 = 128;

/// Images of one life of the server; then it begins with an empty disk, so that reading stays short.
const IMAGES_PER_DISK: u64 = 8;

/// Images that are looked at while the next are taken.
const CHECKED_AT_ONCE: usize = 2;

/// How long a server may live on after its disk is gone.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// Traces by ID of each image; SQL and the log search read everything.
const TRACES_MAX: usize = 8;

/// What a power cut left.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The folder of the image `disk.img`.
    pub(crate) folder: PathBuf,
    /// How it is mounted.
    pub(crate) option: &'static str,
    pub(crate) fates: BTreeMap<u64, Fate>,
    /// For reports.
    pub(crate) name: String,
}

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_mount(&run.folder) {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    // What is lost or kept is a request; that it is kept wholly, a few records show as well as many.
    let stream = Stream { records: 4, ..run.stream() };
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, stream)?;
    let random = Random::new(run.seed);
    let outcome = run.outcome();
    let slots = Arc::new(Semaphore::new(CHECKED_AT_ONCE));
    let mut power = Power { run, clients, random, outcome, slots, checks: JoinSet::new(), effort, disks: 0, images: 0 };
    while power.goes_on() {
        power.disk().await?;
    }
    power.collect(true).await?;
    power.run.finish(power.outcome, &power.clients)
}

struct Power {
    run: Run,
    clients: Clients,
    random: Random,
    outcome: Outcome,
    slots: Arc<Semaphore>,
    checks: JoinSet<anyhow::Result<(Verdict, Option<String>)>>,
    effort: Effort,
    disks: u64,
    images: u64,
}

impl Power {
    fn goes_on(&self) -> bool {
        self.effort.allows(self.images) && self.outcome.failures.is_empty()
    }

    /// One disk from its first byte to its last.
    async fn disk(&mut self) -> anyhow::Result<()> {
        let (option, name) = match self.disks % 4 {
            3 => (JOURNAL_WRITEBACK, "copies_data_writeback"),
            _ => (JOURNAL_ORDERED, "copies_data_ordered"),
        };
        let first = self.clients.ledger.next();
        let folder = self.run.folder.join(format!("disk-{}", self.disks));
        std::fs::create_dir_all(&folder)?;
        let mount = Mount::create_with(&folder.join("disk.img"), &folder.join("mount"), MIB, option)?;
        let launch = Launch { data: mount.point.join("data"), ..self.run.launch().flags(&BUSY) };
        let server = launch.start()?;
        let running = self.clients.phase().start(&server, 8, Trouble::GoOn);
        for _ in 1..IMAGES_PER_DISK {
            if !self.goes_on() {
                break;
            }
            self.load(&server).await;
            let cut = self.copy(&server, &folder, first, option)?;
            self.check(cut, name).await?;
            signal("-CONT", server.server_pid());
        }
        if self.goes_on() && has("python3") {
            self.load(&server).await;
            // What was under way at the cut proves nothing: of a transaction that it aborts, ext4 tells an fsync that waits for it
            // success (`jbd2_complete_transaction` looks for the transaction, not at how it ended). With nothing of ours in it,
            // 300 such cuts under 127,087 fdatasyncs lost 66 that were told to be done, each the last, up to 413 µs after the
            // cut (Linux 6.18, ARCHITECTURE.md). What is sent later is written to a file system that is gone.
            let fates = self.clients.ledger.fates(first);
            let name = format!("image {}, the power cut of a living disk", self.images);
            let cut = Cut { folder, option, fates, name };
            mount.cut_power()?;
            let gone_at = self.clients.ledger.next();
            self.last_image(server, running, mount, cut, first, gone_at).await?;
        } else {
            server.kill()?;
            running.finish().await?;
            drop(mount);
            std::fs::remove_dir_all(&folder)?;
        }
        self.disks += 1;
        Ok(())
    }

    /// Lets the clients export for a moment, at times with a flush in it.
    async fn load(&mut self, server: &Server) {
        if self.random.percent(40) {
            let request = self.clients.http.post(format!("{}/-/flush", server.http));
            tokio::spawn(request.send());
        }
        tokio::time::sleep(Duration::from_millis(self.random.between(100, 300))).await;
    }

    /// The disk as it is at a moment at which the server stands still.
    fn copy(&self, server: &Server, disk: &Path, first: u64, option: &'static str) -> anyhow::Result<Cut> {
        signal("-STOP", server.server_pid());
        let mut fates = self.clients.ledger.fates(first);
        let folder = self.run.folder.join(format!("cut-{}", self.images));
        std::fs::create_dir_all(&folder)?;
        copy_image(&disk.join("disk.img"), &folder.join("disk.img"))?;
        unanswered(&self.clients, first, &mut fates);
        Ok(Cut { folder, option, fates, name: format!("image {}", self.images) })
    }

    /// The power went while the server lived. Nothing that it had acknowledged before may be missing, and nothing that was sent
    /// from `gone_at` on may be acknowledged.
    async fn last_image(
        &mut self,
        mut server: Server,
        running: crate::load::Running,
        mount: Mount,
        mut cut: Cut,
        first: u64,
        gone_at: u64,
    ) -> anyhow::Result<()> {
        let ended = server.wait_for_end(LAST_BREATH);
        self.outcome.count("ended_by_itself_without_disk", u64::from(ended.is_some()));
        server.kill()?;
        running.finish().await?;
        drop(mount);
        let later = self.clients.ledger.fates(gone_at);
        let acked: Vec<u64> = later.iter().filter(|(_, fate)| **fate == Fate::Ack).map(|(number, _)| *number).collect();
        self.outcome.count("sent_to_a_server_without_disk", later.len() as u64);
        if !acked.is_empty() {
            self.outcome.fail(format!("{}: acknowledged though sent after it: {acked:?}", cut.name));
        }
        unanswered(&self.clients, first, &mut cut.fates);
        self.check(cut, "live_cuts").await
    }

    /// Has an image looked at, by somebody else when somebody has time.
    async fn check(&mut self, cut: Cut, kind: &str) -> anyhow::Result<()> {
        self.outcome.count(kind, 1);
        self.images += 1;
        let slot = Arc::clone(&self.slots).acquire_owned().await?;
        let (launch, clients) = (self.run.launch(), self.clients.clone());
        self.checks.spawn(async move {
            let checked = check(&launch, &clients, cut).await;
            drop(slot);
            checked
        });
        self.collect(false).await
    }

    /// Takes what is known of images; waits for all when it is the end.
    async fn collect(&mut self, is_end: bool) -> anyhow::Result<()> {
        loop {
            let next = if is_end { self.checks.join_next().await } else { self.checks.try_join_next() };
            let Some(checked) = next else { return Ok(()) };
            let (verdict, problem) = checked??;
            self.outcome.cycles += 1;
            self.outcome.verdict.add(verdict);
            if let Some(problem) = problem {
                self.outcome.fail(problem);
            }
        }
    }
}

/// Requests that were sent while a disk was copied are there or not.
pub(crate) fn unanswered(clients: &Clients, first: u64, fates: &mut BTreeMap<u64, Fate>) {
    for number in first..clients.ledger.next() {
        fates.entry(number).or_insert(Fate::Ambiguous);
    }
}

/// Mounts an image, starts a server on it and reads everything; then the image is gone, unless something is wrong with it.
pub(crate) async fn check(launch: &Launch, clients: &Clients, cut: Cut) -> anyhow::Result<(Verdict, Option<String>)> {
    let mount = Mount::of(&cut.folder.join("disk.img"), &cut.folder.join("mount"), cut.option)?;
    let launch = Launch { data: mount.point.join("data"), ..launch.clone() };
    let (verdict, problem) = match launch.start() {
        Err(error) => (Verdict::default(), Some(format!("{}: {error:#}", cut.name))),
        Ok(server) => {
            let verdict = Reader::new(clients, &server).traces_max(TRACES_MAX).verify(&cut.fates).await;
            server.kill()?;
            let problem = (!verdict.is_clean()).then(|| format!("{}: {:?}", cut.name, verdict.examples));
            (verdict, problem)
        }
    };
    if problem.is_some() {
        let kept = cut.folder.with_extension("data");
        drop(must("cp", &["-a", &launch.data.to_string_lossy(), &kept.to_string_lossy()]));
    }
    drop(mount);
    if problem.is_none() {
        std::fs::remove_dir_all(&cut.folder)?;
    }
    Ok((verdict, problem))
}
