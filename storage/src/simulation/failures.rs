//! What a disk refuses once, it is asked for again.

use std::time::Duration;

use trivium_model::SignalKind;

use super::disk::Fault;
use super::steps::{Draft, Step};
use super::world::{End, Moment, World, config};
use super::{on_all_cores, run};
use crate::fs::testing::Crash;

fn append(signal: SignalKind) -> Step {
    let ages = vec![Duration::from_secs(30 * 3600)];
    Step::Append(Draft { tenant: 0, signal, ages, padding: 0 })
}

fn world() -> World {
    World::new(Moment::first(), config(1 << 20, 1200), 1)
}

async fn with_four_parts() -> Result<World, String> {
    let mut world = world();
    assert!(world.start().await?, "nothing keeps it from starting");
    for _ in 0..4 {
        world.step(append(SignalKind::Logs)).await?;
        world.step(Step::Seal(SignalKind::Logs)).await?;
    }
    Ok(world)
}

/// Files of replaced parts whose removal failed were nobody's until the next start.
#[test]
fn files_that_could_not_be_removed_are_removed_later() {
    for failing in 0..3 {
        let tidied = run(async {
            let mut world = with_four_parts().await?;
            world.step(Step::Merge(SignalKind::Logs)).await?;
            // A file, a folder, the catalog's answer.
            let operation = world.disk.operations() + [1, 3, 17][failing];
            world.disk.fail(operation..operation + 1, Fault::Failing);
            world.step(Step::RemoveUnread).await?;
            assert_eq!(world.disk.failures(), 1, "the removal met the failure");
            world.tidy().await
        });
        assert_eq!(tidied, Ok(()), "{failing}");
    }
}

/// A change of the catalog was made, its answer was lost, and so were the next attempts: the parts that it had replaced were served
/// on, and each later attempt to drop or merge them failed until the next start.
#[test]
fn a_change_is_served_whose_answer_is_lost_with_all_attempts() {
    let changes = [Step::Expire, Step::Merge(SignalKind::Logs)].into_iter();
    // Of a disk that cannot be read either nothing can be looked up until later.
    let faulty = changes.flat_map(|step| [Fault::Full, Fault::Unreadable].map(|fault| (step.clone(), fault)));
    for ((change, fault), failing) in faulty.flat_map(|each| (0..24).map(move |failing| (each.clone(), failing))) {
        let tidied = run(async {
            let mut world = with_four_parts().await?;
            if matches!(change, Step::Expire) {
                world.step(Step::Wait(Duration::from_secs(20 * 3600))).await?;
            }
            let first = world.disk.operations() + failing;
            // The answer, both further attempts, and what is looked up after them.
            world.disk.fail(first..first + 4, fault);
            world.step(change.clone()).await?;
            world.disk.fail(0..0, Fault::Full);
            let failures = world.disk.failures();
            world.step(change.clone()).await?;
            assert_eq!(world.disk.failures(), failures, "nothing excuses the second attempt");
            // What could not be removed either is removed by the next start.
            let mut world = world.next(End::Killed, 2);
            assert!(world.start().await?, "nothing keeps it from starting");
            world.tidy().await
        });
        assert_eq!(tidied, Ok(()), "{change:?}, {fault:?}, {failing}");
    }
}

/// A start, requests, seals, a merge, retention of nothing; a failure somewhere; a power cut.
async fn live_with(fault: Option<(u64, Fault)>) -> Result<u64, String> {
    let mut world = world();
    if let Some((operation, fault)) = fault {
        world.disk.fail(operation..operation + 1, fault);
    }
    if !world.start().await? {
        world = world.next(End::Killed, 2);
        world.start().await?;
    }
    for signal in [SignalKind::Traces, SignalKind::Logs, SignalKind::Logs] {
        world.step(append(signal)).await?;
        world.step(Step::Seal(signal)).await?;
    }
    for step in [Step::Merge(SignalKind::Logs), Step::RemoveUnread, append(SignalKind::Metrics), Step::Resend(1)] {
        world.step(step).await?;
    }
    let operations = world.disk.operations();
    let mut world = world.next(End::PowerCut(Crash::OnlySynced), 3);
    if !world.start().await? {
        return Err("nothing keeps it from starting".into());
    }
    world.tidy().await.map(|()| operations)
}

/// The process goes on with what the disk has not done, as far as it goes on at all, and builds nothing on it.
#[test]
fn no_single_failure_of_the_disk_costs_an_acknowledged_row() {
    let operations = run(live_with(None)).expect("nothing fails");
    on_all_cores(operations * 3, |number| {
        let fault = [Fault::Full, Fault::Failing, Fault::Unreadable][(number % 3) as usize];
        if let Err(error) = run(live_with(Some((number / 3, fault)))) {
            panic!("operation {} fails, {fault:?}: {error}", number / 3);
        }
    });
}
