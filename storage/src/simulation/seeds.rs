//! Lives of stores that follow from a seed: random requests and work, processes that end anywhere, disks that fail.
//!
//! `TRIVIUM_SIMULATION_SEEDS=100000 cargo test -p trivium-storage --lib simulation::seeds -- --nocapture` runs many;
//! `TRIVIUM_SIMULATION_FIRST_SEED=4711 TRIVIUM_SIMULATION_SEEDS=1` runs one of them again.

use std::sync::Mutex;
use std::time::Duration;

use trivium_model::SignalKind;

use super::disk::{Fault, Omission, Pause};
use super::steps::{Draft, Step};
use super::world::{End, Moment, TENANTS, World, config};
use super::{on_all_cores, run};
use crate::fs::testing::{Chance, Crash};

/// Seeds of every run of the tests.
const SEEDS: u64 = 2_000;

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    seeds: u64,
    /// Ends of processes, those in order aside.
    ends: u64,
    /// Those of them before the store was open.
    ends_at_start: u64,
    faults: u64,
    operations: u64,
    acknowledged: u64,
    /// Tells two sequences of operations apart.
    trace: u64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.ends += other.ends;
        self.ends_at_start += other.ends_at_start;
        self.faults += other.faults;
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.trace ^= other.trace;
    }
}

fn signal(chance: &mut Chance) -> SignalKind {
    // Logs have the most files.
    [SignalKind::Logs, SignalKind::Logs, SignalKind::Metrics, SignalKind::Traces][chance.below(4) as usize]
}

fn draft(chance: &mut Chance) -> Draft {
    let hours = [0, 0, 1, 30, 47, 60][chance.below(6) as usize];
    let age = |chance: &mut Chance| Duration::from_secs((hours + 24 * (chance.below(8) / 7)) * 3600 + chance.below(60));
    let rows = 1 + chance.below(6);
    Draft {
        tenant: chance.below(TENANTS.into()) as u32,
        signal: signal(chance),
        ages: (0..rows).map(|_| age(chance)).collect(),
        padding: if chance.below(3) == 0 { chance.below(1500) as usize } else { 0 },
    }
}

fn drafts(chance: &mut Chance) -> Vec<Draft> {
    (0..1 + chance.below(4)).map(|_| draft(chance)).collect()
}

fn step(chance: &mut Chance) -> Step {
    let pause = [Pause::PartFile, Pause::Publish, Pause::WalRemoval][chance.below(3) as usize];
    match chance.below(32) {
        0..=11 => Step::Append(draft(chance)),
        12..=14 => Step::AppendTogether(drafts(chance)),
        15..=17 => Step::Resend(chance.below(20) as usize),
        18..=20 => Step::Seal(signal(chance)),
        21..=22 => Step::SealMeanwhile(signal(chance), pause, drafts(chance)),
        23..=25 => Step::Merge(signal(chance)),
        26 => Step::Expire,
        27 => Step::RemoveUnread,
        28 => Step::TrimWal,
        29 => [Step::ForgetRequests, Step::Canary, Step::Flush][chance.below(3) as usize].clone(),
        30 => Step::Wait(Duration::from_secs(1 + chance.below(300))),
        _ => Step::Wait(Duration::from_secs(3600 * chance.below(20))),
    }
}

/// What goes wrong in the life of a process.
fn trouble(world: &World, chance: &mut Chance) {
    let now = world.disk.operations();
    match chance.below(8) {
        // Most likely during the start.
        0 => world.disk.stop_at(now + chance.below(30)),
        1..=4 => world.disk.stop_at(now + chance.below(160)),
        5 | 6 => {
            let from = now + chance.below(120);
            let fault = [Fault::Full, Fault::Failing, Fault::Unreadable][chance.below(3) as usize];
            world.disk.fail(from..from + 1 + chance.below(12), fault);
        }
        _ => {}
    }
}

fn end(chance: &mut Chance) -> End {
    let seed = chance.below(1 << 30);
    let cuts = [Crash::OnlySynced, Crash::Everything, Crash::NothingCut, Crash::Some(seed), Crash::Torn(seed)];
    match chance.below(6) {
        5 => End::Killed,
        index => End::PowerCut(cuts[index as usize]),
    }
}

/// One process from its start to its end.
async fn live(world: &mut World, chance: &mut Chance, figures: &mut Figures) -> Result<(), String> {
    trouble(world, chance);
    let has_started = world.start().await?;
    figures.ends_at_start += u64::from(!has_started);
    for _ in 0..3 + chance.below(14) {
        let step = step(chance);
        world.step(step).await?;
    }
    figures.ends += 1;
    if chance.below(4) == 0 {
        figures.ends -= u64::from(!world.disk.is_stopped());
        world.close().await;
    }
    count(world, figures);
    Ok(())
}

fn count(world: &World, figures: &mut Figures) {
    figures.operations += world.disk.operations();
    figures.faults += world.disk.failures();
    figures.trace = figures.trace.rotate_left(1) ^ world.disk.trace();
}

/// Ends in order with everything in its place, and is found as it was.
async fn settle(world: &mut World, chance: &mut Chance, figures: &mut Figures) -> Result<(), String> {
    if !world.start().await? {
        return Err("nothing keeps it from starting".into());
    }
    for _ in 0..4 {
        world.step(Step::Resend(chance.below(20) as usize)).await?;
    }
    figures.acknowledged = world.ledger().stored() as u64;
    world.tidy().await?;
    count(world, figures);
    Ok(())
}

/// The lives of one store; `omission` is a mistake that it has.
pub(super) async fn simulate(seed: u64, omission: Option<Omission>) -> Result<Figures, String> {
    let mut chance = Chance::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let mut figures = Figures { seeds: 1, ..Figures::default() };
    let config = config(1 << (18 + chance.below(4)), 300 << chance.below(5));
    let mut world = World::new(Moment::first(), config, chance.below(1 << 30)).leaving_out(omission);
    let processes = 1 + chance.below(4);
    for process in 0..=processes {
        let lived = if process < processes {
            live(&mut world, &mut chance, &mut figures).await
        } else {
            settle(&mut world, &mut chance, &mut figures).await
        };
        lived.map_err(|error| format!("process {process}: {error}\n{}", world.disk.last_operations()))?;
        let (end, names) = (end(&mut chance), chance.below(1 << 30));
        world = world.next(end, names);
    }
    if !world.start().await? {
        return Err("nothing keeps it from starting".into());
    }
    Ok(figures)
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

#[test]
fn no_seed_loses_or_doubles_what_was_acknowledged() {
    let seeds = number("TRIVIUM_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = number("TRIVIUM_SIMULATION_FIRST_SEED").unwrap_or(0);
    let total = Mutex::new(Figures::default());
    on_all_cores(seeds, |index| {
        let seed = first + index;
        let figures = run(simulate(seed, None)).unwrap_or_else(|error| {
            panic!(
                "seed {seed} fails; TRIVIUM_SIMULATION_FIRST_SEED={seed} TRIVIUM_SIMULATION_SEEDS=1 \
                 cargo test -p trivium-storage --lib simulation::seeds runs it again\n{error}"
            )
        });
        let mut total = total.lock().expect("nobody panicked");
        total.add(&figures);
        if total.seeds % 1000 == 0 {
            println!("{} of {seeds} seeds", total.seeds);
        }
    });
    let Figures { seeds, ends, ends_at_start, faults, operations, acknowledged, .. } =
        total.into_inner().expect("nobody panicked");
    println!(
        "seeds {seeds}, crashes {ends}, of them at the start {ends_at_start}, failed operations {faults}, operations {operations}, \
         acknowledged requests {acknowledged}, lost 0, duplicate 0"
    );
}

/// A failure can be looked at as often as one likes.
#[test]
fn a_seed_makes_the_same_operations_every_time() {
    for seed in [3, 14, 159] {
        let [one, two] = [(), ()].map(|()| run(simulate(seed, None)).expect("it holds"));
        assert_eq!(one, two, "seed {seed}");
    }
}
