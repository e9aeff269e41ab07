//! One life of a store with everything in it, ended before every single operation, in every manner; and the start after it,
//! ended again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trivium_model::SignalKind;

use super::disk::Pause;
use super::steps::{Draft, Step};
use super::world::{End, Moment, World, config};
use super::{on_all_cores, run};
use crate::fs::testing::Crash;

const HOUR: u64 = 3600;

fn draft(tenant: u32, signal: SignalKind, rows: usize, hours: u64, padding: usize) -> Draft {
    // A request of more than two rows has its last row on the day before.
    let age = |row: usize| Duration::from_secs(if row >= 2 { hours + 24 } else { hours } * HOUR);
    Draft { tenant, signal, ages: (0..rows).map(age).collect(), padding }
}

/// Requests, seals and their neighbours, a merge, retention, both kinds of removal, an end in order.
fn script() -> Vec<Step> {
    use SignalKind::{Logs, Metrics, Traces};
    let logs = |rows, hours| draft(0, Logs, rows, hours, 40);
    let mut steps = vec![
        Step::Append(logs(2, 0)),
        Step::Append(draft(1, Metrics, 1, 0, 0)),
        Step::AppendTogether(vec![logs(1, 1), draft(1, Logs, 2, 2, 700), draft(0, Traces, 1, 0, 600)]),
        Step::Resend(1),
        Step::Seal(Logs),
        Step::Append(logs(3, 1)),
        Step::SealMeanwhile(Logs, Pause::PartFile, vec![logs(1, 0), draft(0, Metrics, 1, 0, 0)]),
        Step::SealMeanwhile(Logs, Pause::Publish, vec![logs(2, 30)]),
        Step::SealMeanwhile(Metrics, Pause::WalRemoval, vec![logs(2, 30)]),
        Step::Canary,
        Step::Seal(Logs),
        Step::Append(logs(2, 30)),
        Step::Seal(Logs),
        Step::Seal(Traces),
        // The day before has two parts and more, and gets no more rows.
        Step::Merge(Logs),
        Step::Append(logs(1, 0)),
        Step::RemoveUnread,
        Step::Append(draft(1, Logs, 3, 60, 0)),
        Step::Seal(Logs),
        Step::Resend(0),
        Step::Wait(Duration::from_secs(12 * HOUR)),
        Step::Expire,
        Step::RemoveUnread,
        Step::ForgetRequests,
        Step::Append(draft(0, Traces, 2, 0, 0)),
    ];
    steps.push(Step::Flush);
    steps.push(Step::Append(logs(2, 0)));
    steps
}

const SEED: u64 = 1;

fn settings() -> crate::StorageConfig {
    config(1 << 20, 1200)
}

/// What everything was before each operation of a life with these steps, which ends in order.
fn moments_of(steps: Vec<Step>) -> Vec<Moment> {
    run(async {
        let mut world = World::new(Moment::first(), settings(), SEED);
        let moments = record(&world);
        assert!(world.start().await.expect("nothing is wrong"), "nothing keeps it from starting");
        for step in steps {
            world.step(step).await.expect("nothing is wrong");
        }
        world.close().await;
        let mut moments = std::mem::take(&mut *moments.lock().expect("nobody panicked"));
        moments.push(world.moment());
        moments
    })
}

fn record(world: &World) -> Arc<Mutex<Vec<Moment>>> {
    let (kept, moment) = (Arc::new(Mutex::new(Vec::new())), world.moments());
    let keeps = Arc::clone(&kept);
    world.disk.observe(Box::new(move |_| keeps.lock().expect("nobody panicked").push(moment())));
    kept
}

fn ends(operation: u64) -> [End; 5] {
    let power_cut = [Crash::OnlySynced, Crash::Everything, Crash::Some(operation), Crash::Torn(operation)];
    let [synced, everything, some, torn] = power_cut.map(End::PowerCut);
    [synced, everything, some, torn, End::Killed]
}

/// Starts on what an end left; the moments before each operation of the start.
async fn recover(world: &mut World) -> Result<Vec<Moment>, String> {
    let moments = record(world);
    if !world.start().await? {
        return Err("nothing keeps it from starting".into());
    }
    world.disk.observe(Box::new(|_| ()));
    Ok(std::mem::take(&mut *moments.lock().expect("nobody panicked")))
}

/// What comes after a start: every request comes again, and everything finds its place.
async fn go_on(world: &mut World) -> Result<(), String> {
    for back in 0..12 {
        world.step(Step::Resend(back)).await?;
    }
    world.tidy().await
}

#[derive(Debug, Default)]
struct Tally {
    starts: AtomicU64,
}

fn check_end(operation: u64, moment: &Moment, end: End, tally: &Tally) {
    let context = format!("ended before operation {operation}, {end:?}");
    let checked = run(async {
        let mut world = World::new(moment.after(end), settings(), operation + 2);
        let moments =
            recover(&mut world).await.map_err(|error| format!("{error}\n{}", world.disk.last_operations()))?;
        tally.starts.fetch_add(1, Ordering::Relaxed);
        // Each moment of the start has its turn with one of the operations around it.
        let turns = moments.iter().enumerate().skip((operation % 8) as usize).step_by(8);
        for (number, moment) in turns {
            for end in [End::PowerCut(Crash::OnlySynced), End::PowerCut(Crash::Torn(operation)), End::Killed] {
                let mut again = World::new(moment.after(end), settings(), operation + 3);
                recover(&mut again).await.map_err(|error| format!("start ended before {number}, {end:?}: {error}"))?;
                tally.starts.fetch_add(1, Ordering::Relaxed);
            }
        }
        go_on(&mut world).await.map_err(|error| format!("{error}\n{}", world.disk.last_operations()))
    });
    if let Err(error) = checked {
        panic!("{context}: {error}");
    }
}

/// Nothing acknowledged is lost or doubled, whichever operation is the last one, and whatever it leaves.
#[test]
fn no_end_of_a_process_or_machine_costs_an_acknowledged_row() {
    let (moments, tally) = (moments_of(script()), Tally::default());
    let every = moments.len() as u64 * 5;
    on_all_cores(every, |number| {
        let (operation, variant) = (number / 5, (number % 5) as usize);
        check_end(operation, &moments[operation as usize], ends(operation)[variant], &tally);
    });
    let starts = tally.starts.load(Ordering::Relaxed);
    println!("{} operations, each the last one in 5 manners; {starts} starts", moments.len());
}
