//! Power cuts: the file of a mounted ext4 holds what reached the disk. A copy of it, taken under load, is mounted elsewhere and
//! a server started on it: whatever had been acknowledged before the copy must be there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::ledger::{Fate, Ledger};
use crate::load::{Clients, Trouble};
use crate::machine::{Mount, can_mount, must};
use crate::random::Random;
use crate::run::{Effort, Outcome, Run};
use crate::scenario::kill::BUSY;
use crate::server::{Launch, Server, signal};
use crate::verify::Reader;

const MIB: u64 = 256;

/// Images of one life of the server; then it begins with an empty disk, so that reading stays short.
const IMAGES_PER_DISK: u64 = 10;

pub(crate) async fn run(run: Run, effort: Effort) -> anyhow::Result<Outcome> {
    if let Err(reason) = can_mount(&run.folder) {
        return Ok(Outcome::skipped(run.name, &reason));
    }
    let clients = Clients::new(Ledger::create(&run.folder.join("ledger"))?, run.stream())?;
    let mut random = Random::new(run.seed);
    let mut outcome = run.outcome();
    let mut cycle = 0;
    while effort.allows(cycle) && outcome.failures.is_empty() {
        let first = clients.ledger.next();
        let image = run.folder.join("disk.img");
        let mount = Mount::create(&image, &run.folder.join("disk"), MIB)?;
        let launch = Launch { data: mount.point.join("data"), ..run.launch().flags(&BUSY) };
        let server = launch.start()?;
        for _ in 0..IMAGES_PER_DISK {
            if !effort.allows(cycle) || !outcome.failures.is_empty() {
                break;
            }
            let cut = cut(&run, &clients, &server, &mut random, first).await?;
            check(&run, &clients, cut, cycle, &mut outcome).await?;
            cycle += 1;
            outcome.cycles = cycle;
        }
        server.kill()?;
    }
    let (counts, stream) = (clients.ledger.counts(), clients.stream);
    run.finish(outcome, counts, &stream)
}

/// Loads the server for a while and copies the disk at some moment of it. The image is `cut.img`.
async fn cut(
    run: &Run,
    clients: &Clients,
    server: &Server,
    random: &mut Random,
    first: u64,
) -> anyhow::Result<BTreeMap<u64, Fate>> {
    let phase = clients.phase();
    let running = phase.start(server, 8, Trouble::GoOn);
    let flush = random.percent(40).then(|| clients.http.post(format!("{}/-/flush", server.http)));
    let flush = flush.map(|request| tokio::spawn(request.send()));
    tokio::time::sleep(Duration::from_millis(random.between(100, 1_500))).await;
    let mut fates = copy_disk(server, clients, &run.folder, first)?;
    running.finish().await?;
    if let Some(flush) = flush {
        drop(flush.await);
    }
    for number in first..clients.ledger.next() {
        // Sent while the disk was copied: there or not.
        fates.entry(number).or_insert(Fate::Ambiguous);
    }
    Ok(fates)
}

/// What was known just before the copy. The server stands still meanwhile: a copy is not one moment.
pub(crate) fn copy_disk(
    server: &Server,
    clients: &Clients,
    folder: &Path,
    first: u64,
) -> anyhow::Result<BTreeMap<u64, Fate>> {
    signal("-STOP", server.server_pid());
    let fates = clients.ledger.fates(first);
    let (image, copy) = (folder.join("disk.img"), folder.join("cut.img"));
    let copied = must("cp", &["--sparse=always", &image.to_string_lossy(), &copy.to_string_lossy()]);
    signal("-CONT", server.server_pid());
    copied.map(|()| fates)
}

/// Mounts `cut.img`, starts a server on it and reads everything.
pub(crate) async fn check(
    run: &Run,
    clients: &Clients,
    fates: BTreeMap<u64, Fate>,
    cycle: u64,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let image = run.folder.join("cut.img");
    let mount = Mount::of(&image, &run.folder.join("cut"))?;
    let launch = Launch { data: mount.point.join("data"), ..run.launch() };
    match launch.start() {
        Err(error) => outcome.fail(format!("image {cycle}: {error:#}")),
        Ok(server) => {
            let reader = Reader { http: &clients.http, server: &server, stream: &clients.stream };
            let verdict = reader.verify(&fates).await;
            if !verdict.is_clean() {
                outcome.fail(format!("image {cycle}: {:?}", verdict.examples));
            }
            outcome.verdict.add(verdict);
            server.kill()?;
        }
    }
    if !outcome.failures.is_empty() {
        drop(must("cp", &["-a", &launch.data.to_string_lossy(), &run.folder.join("data").to_string_lossy()]));
    }
    Ok(())
}
