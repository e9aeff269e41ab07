//! Runs a target on many inputs and keeps what went wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use trivium_mutate::{Random, mutated};

use crate::targets::Target;

/// Inputs that did not end in a panic and are mutated further; the oldest makes room.
const CORPUS_MAX: usize = 512;

/// How many inputs a target is given, and from which seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Where the numbers begin.
    pub seed: u64,
    /// Inputs at most.
    pub inputs: u64,
    /// Time at most.
    pub time: Duration,
    /// Where each input is written before it is tried, so that one which ends the process is there afterwards.
    pub keep: Option<&'a Path>,
}

/// An input with which something went wrong.
#[derive(Clone, Debug)]
pub struct Found {
    /// The input.
    pub input: Vec<u8>,
    /// What happened.
    pub what: String,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Inputs that were tried.
    pub tried: u64,
    /// Of them, those that the target could read.
    pub read: u64,
    /// The longest that one input took.
    pub longest: Duration,
    /// What went wrong, at most ten.
    pub found: Vec<Found>,
}

const FOUND_MAX: usize = 10;

/// Tries one input: whether the target could read it, or what went wrong.
pub fn replay(target: &Target, input: &[u8]) -> Result<bool, String> {
    let begun = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = begun.elapsed();
    match result {
        Err(panic) => Err(format!("panic: {}", message(panic.as_ref()))),
        Ok(Err(broken)) => Err(format!("the model disagrees: {broken}")),
        Ok(Ok(_)) if took > target.within => Err(format!("it took {took:?}")),
        Ok(Ok(was_read)) => Ok(was_read),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("of an unknown kind").to_owned()
}

/// Runs a target.
pub fn fuzz(target: &Target, plan: &Plan<'_>) -> Outcome {
    let mut random = Random::new(plan.seed ^ crc32c::crc32c(target.name.as_bytes()) as u64);
    let mut corpus = target.seeds.clone();
    let mut outcome = Outcome::default();
    let begun = Instant::now();
    let seeds: Vec<Vec<u8>> = corpus.clone();
    let mut next = seeds.into_iter();
    while outcome.tried < plan.inputs && begun.elapsed() < plan.time && outcome.found.len() < FOUND_MAX {
        let seed = next.next();
        let is_seed = seed.is_some();
        let input = seed.unwrap_or_else(|| mutated(target.kind, &corpus, &mut random));
        if let Some(path) = plan.keep {
            drop(std::fs::write(path, &input));
        }
        let started = Instant::now();
        let result = replay(target, &input);
        outcome.tried += 1;
        outcome.longest = outcome.longest.max(started.elapsed());
        match result {
            Err(what) => outcome.found.push(Found { input, what }),
            Ok(was_read) => {
                outcome.read += u64::from(was_read);
                // Without knowing which code ran, what could be read is the best guess at what leads further.
                if was_read && !is_seed && random.one_in(4) {
                    if corpus.len() < CORPUS_MAX {
                        corpus.push(input);
                    } else {
                        let at = random.below(CORPUS_MAX);
                        corpus[at] = input;
                    }
                }
            }
        }
    }
    outcome
}
